//! The holder's own link: who takes a ticket takes its album with it, once; a link that nobody took can be taken back.

use serde_json::{Value, json};

use crate::{
    actors::{Anybody, Fan, answer, key},
    house::House,
    races::at_once,
    releases::bundle,
};

/// A holder with the link of a ticket.
#[derive(Clone)]
pub struct Holder {
    http: Anybody,
    ticket: String,
    secret: String,
}

impl Holder {
    pub fn of(http: &Anybody, ticket: &Value) -> Self {
        let secret = ticket["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        Self { http: http.clone(), ticket: ticket["ticket_id"].as_str().unwrap().to_owned(), secret }
    }

    pub async fn claim(&self, name: &str) -> crate::actors::Answer {
        let request = self.http.request("POST", &format!("/v1/tickets/{}/claims", self.ticket)).bearer_auth(format!("gf_order_{}", self.secret));
        answer(request.json(&json!({ "name": name, "email": "noor@x.example" }))).await
    }
}

async fn recall(fan: &Fan, ticket: &str) -> crate::actors::Answer {
    let request = fan.http.request("POST", &format!("/v1/tickets/{ticket}/recalls"));
    answer(request.bearer_auth(format!("gf_order_{}", fan.secret))).await
}

/// Three bundles of one order, paid.
async fn three(house: &House) -> (Fan, Vec<Holder>) {
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = bundle(&festival, &pass, 10).await;
    let fan = house.anybody().order("mara@lindqvist.example", &[(&offer, 3)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    let holders = fan.tickets().await.iter().map(|ticket| Holder::of(&house.anybody(), ticket)).collect();
    (fan, holders)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_takes_a_ticket_and_one_copy_of_its_album_once() {
    let house = House::open().await;
    let (_, holders) = three(&house).await;
    let first = holders[0].claim("Noor Haddad").await.expect(200);
    assert_eq!((&first["holder_name"], first["claimed_at"].is_string()), (&json!("Noor Haddad"), true));
    assert_eq!(holders[0].claim("Noor Haddad").await.expect(200), first, "the same again");
    let other = holders[0].claim("Somebody Else").await;
    assert_eq!((other.status, other.problem()), (409, "conflict"));
    for (holder, name) in holders[1..].iter().zip(["Lin Zhang", "Bo Chen"]) {
        let names = at_once(20, |_| {
            let (holder, name) = (holder.clone(), name.to_owned());
            async move { holder.claim(&name).await.expect(200)["holder_name"].clone() }
        })
        .await;
        assert!(names.iter().all(|n| n == name));
    }
    let mut database = house.database().await;
    let copies: (i32, i32, i64) =
        sqlx::query_as("select copies, claimed, (select count(*) from claims) from entitlements").fetch_one(&mut database).await.unwrap();
    assert_eq!(copies, (3, 3, 3));
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_taken_back_is_dead_and_a_claimed_one_stays() {
    let house = House::open().await;
    let (fan, holders) = three(&house).await;
    recall(&fan, &holders[0].ticket).await.expect(200);
    let dead = holders[0].claim("Noor Haddad").await;
    let missing = Holder { ticket: like(&holders[0].ticket), ..holders[0].clone() }.claim("Noor Haddad").await;
    let strip = |mut body: Value| {
        body.as_object_mut().unwrap().remove("request_id");
        body
    };
    assert_eq!((dead.status, strip(dead.body)), (404, strip(missing.body)));
    assert_eq!(house.anybody().get(&format!("/t/{}/{}", holders[0].ticket, holders[0].secret)).await.status, 404);
    let again = fan.tickets().await.iter().map(|ticket| Holder::of(&house.anybody(), ticket)).find(|h| h.ticket == holders[0].ticket).unwrap();
    assert_ne!(again.secret, holders[0].secret);
    again.claim("Noor Haddad").await.expect(200);
    assert_eq!(recall(&fan, &again.ticket).await.problem(), "conflict");
    // The link of one ticket opens neither another one nor the order.
    let other = Holder { ticket: holders[1].ticket.clone(), ..again.clone() };
    assert_eq!(other.claim("Noor Haddad").await.status, 404);
    let page = house.anybody().get(&format!("/t/{}/{}", again.ticket, again.secret)).await;
    let text = page.body.as_str().unwrap().to_owned();
    assert!(page.status == 200 && text.contains("Noor Haddad") && !text.contains("mara@lindqvist.example") && !text.contains(&holders[1].ticket));
    house.run_workers().await;
    house.close().await;
}

/// An id of the same festival that nothing has.
pub fn like(id: &str) -> String {
    let mut bytes = *id.parse::<uuid::Uuid>().unwrap().as_bytes();
    bytes[10] ^= 0xff;
    uuid::Uuid::from_bytes(bytes).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_album_of_a_unit_hangs_on_its_pass_not_on_its_parking() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let parking = festival.promoter.make(&festival.path("/add-ons"), json!({ "name": { "en": "Parking" } })).await;
    let terms = json!({ "title": "Low Tide", "artist": "Hull", "kind": "album", "language": "en", "about": { "en": "Live." } });
    let release = festival.promoter.make("/v1/releases", json!({ "terms": terms, "recording_ids": [] })).await;
    let component = |member: &str, id: &Value| json!({ member: id, "weight": 1, "tax_kind": "fixed", "tax_ppm": 90000 });
    let offer = festival
        .offer_of(json!({
            "terms": { "name": { "en": "All of it" } }, "capacity": 10,
            "tiers": [{ "name": { "en": "Now" }, "price": { "minor": 19900, "currency": "EUR" } }],
            "components": [component("add_on_id", &parking["add_on_id"]), component("pass_id", &json!(pass)), component("release_id", &release["release_id"])]
        }))
        .await;
    let fan = house.anybody().order("mara@lindqvist.example", &[(&offer, 2)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    let mut tickets = fan.tickets().await;
    tickets.sort_by_key(|ticket| ticket["kind"] == "pass");
    let mut database = house.database().await;
    for (ticket, claimed) in tickets.iter().zip([0, 0, 1, 2]) {
        Holder::of(&house.anybody(), ticket).claim("Noor Haddad").await.expect(200);
        let (copies, taken): (i32, i32) = sqlx::query_as("select copies, claimed from entitlements").fetch_one(&mut database).await.unwrap();
        assert_eq!((copies, taken), (2, claimed), "after {}", ticket["kind"]);
    }
    house.run_workers().await;
    let letter = house.emails().remove(0).text;
    assert_eq!(["Parking ", "Weekend pass "].map(|name| letter.matches(name).count()), [2, 2], "{letter}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_recalled_after_it_was_looked_at_takes_nothing() {
    let house = House::open().await;
    let (fan, holders) = three(&house).await;
    let id = gatefold::id::TicketId(holders[0].ticket.parse().unwrap());
    // The very moment between the look at the link and the claim.
    let seen = gatefold::tickets::ticket(&house.app.pools.web, id).await.unwrap().unwrap();
    recall(&fan, &holders[0].ticket).await.expect(200);
    let who = gatefold::library::Claimant { name: "Noor Haddad".to_owned(), email: None };
    assert!(matches!(gatefold::library::claim(&house.app, &seen, &who).await, Err(gatefold::library::ClaimError::NotFound)));
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_a_ticket_is_told_of_its_change() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let offer = bundle(&festival, &festival.pass("Weekend pass", 0b111).await, 10).await;
    let fan = house.anybody().order("mara@lindqvist.example", &[(&offer, 2)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    let tickets = fan.tickets().await;
    let noor = Holder::of(&house.anybody(), &tickets[0]);
    noor.claim("Noor Haddad").await.expect(200);
    house.run_workers().await;
    let change = async |n: usize, what: &str| {
        let path = format!("/v1/tickets/{}/{what}", tickets[n]["ticket_id"].as_str().unwrap());
        festival.promoter.send("POST", &path, &json!({ "note": "a note for the desk" })).await.expect(200);
        house.advance(chrono::TimeDelta::seconds(1));
        house.run_workers().await;
        house.emails().remove(0)
    };
    let told = change(0, "reissues").await;
    assert_eq!((told.recipient.as_str(), told.subject.as_str()), ("noor@x.example", "Your ticket has a new code: Night Ferry"));
    assert!(told.text.contains(&noor.secret) && told.html.contains("Weekend pass") && !told.text.contains("a note for the desk"), "{}", told.text);
    // Nobody took the other one; voided and re-issued it is told of twice, and voiding it again says nothing.
    let told = change(1, "voidings").await;
    assert_eq!((told.recipient.as_str(), told.subject.as_str()), ("mara@lindqvist.example", "Your ticket opens nothing any more: Night Ferry"));
    let so_far = house.emails().len();
    change(1, "voidings").await;
    assert_eq!(house.emails().len(), so_far);
    assert_eq!(change(1, "reissues").await.subject, "Your ticket has a new code: Night Ferry");
    assert_eq!(house.emails().len(), so_far + 1);
    house.close().await;
}
