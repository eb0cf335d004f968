//! A ticket is passed on: sent, taken, declined, taken back; in one moment it is another holder's and every code and link of before is dead. Whoever is first
//! at the gate or at the link wins, and never both.

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Anybody, Device, Fan, Festival, answer, key},
    browser::scene,
    claims::Holder,
    house::House,
    races::at_once,
    refunds::refund,
    releases::bundle,
};

/// A ticket as whoever has its link sees it.
#[derive(Clone)]
struct Own {
    http: Anybody,
    id: String,
    code: String,
    secret: String,
}

impl Own {
    fn of(http: &Anybody, ticket: &Value) -> Self {
        let text = |name: &str| ticket[name].as_str().unwrap().to_owned();
        let secret = text("url").rsplit('/').next().unwrap().to_owned();
        Self { http: http.clone(), id: text("ticket_id"), code: text("ticket_code"), secret }
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, path).bearer_auth(format!("gf_order_{}", self.secret))
    }

    async fn send(&self, email: &str) -> Answer {
        answer(self.request("POST", &format!("/v1/tickets/{}/transfers", self.id)).json(&json!({ "email": email, "name": "Noor" }))).await
    }

    async fn recall(&self, transfer: &Value) -> Answer {
        answer(self.request("POST", &format!("/v1/transfers/{}/recalls", transfer["transfer_id"].as_str().unwrap())).json(&json!({}))).await
    }

    async fn page(&self) -> (u16, String) {
        let page = self.http.request("GET", &format!("/t/{}/{}", self.id, self.secret)).send().await.unwrap();
        (page.status().as_u16(), page.text().await.unwrap())
    }
}

/// The link of whoever a ticket was sent to.
#[derive(Clone)]
struct Link {
    http: Anybody,
    id: String,
    secret: String,
}

impl Link {
    /// As the newest email to an address has it.
    async fn of(house: &House, email: &str) -> Self {
        house.run_workers().await;
        let mail = house.emails().into_iter().find(|mail| mail.recipient == email && mail.text.contains("/x/")).expect("an email with a link");
        let line = mail.text.lines().find(|line| line.contains("/x/")).unwrap().to_owned();
        let mut parts = line.rsplit('/');
        let (secret, id) = (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned());
        Self { http: house.anybody(), id, secret }
    }

    async fn post(&self, what: &str, body: &Value) -> Answer {
        let request = self.http.request("POST", &format!("/v1/transfers/{}/{what}", self.id));
        answer(request.bearer_auth(format!("gf_order_{}", self.secret)).json(body)).await
    }

    async fn take(&self) -> Answer {
        self.post("acceptances", &json!({ "name": "Noor Haddad" })).await
    }

    async fn status(&self) -> String {
        let request = self.http.request("GET", &format!("/v1/transfers/{}", self.id)).bearer_auth(format!("gf_order_{}", self.secret));
        answer(request).await.expect(200)["status"].as_str().unwrap().to_owned()
    }

    async fn page(&self) -> String {
        self.http.request("GET", &format!("/x/{}/{}", self.id, self.secret)).send().await.unwrap().text().await.unwrap()
    }
}

struct World {
    house: House,
    festival: Festival,
    fan: Fan,
    own: Vec<Own>,
}

impl World {
    async fn open(quantity: i64) -> Self {
        let house = House::open().await;
        let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
        let pass = festival.pass("Weekend pass", 0b111).await;
        let offer = bundle(&festival, &pass, 50).await;
        let fan = house.anybody().order_for("Mara Lindqvist", MARA, &[(&offer, quantity)]).await;
        fan.pay(&key(), "simulated_instant").await.expect(201);
        let own = fan.tickets().await.iter().map(|ticket| Own::of(&house.anybody(), ticket)).collect();
        house.run_workers().await;
        Self { house, festival, fan, own }
    }

    /// The doors are open.
    async fn doors(&self) -> Device {
        self.house.run_workers().await;
        self.house.advance("2026-06-19T14:00:00Z".parse::<DateTime<Utc>>().unwrap() - self.house.app.clock.now());
        self.festival.device().await
    }

    async fn verdict(&self, device: &Device, code: &str) -> (String, String) {
        let scanned = device.scan(code, self.house.app.clock.now()).await.expect(201);
        (scanned["verdict"].as_str().unwrap().to_owned(), scanned["reason"].as_str().unwrap_or_default().to_owned())
    }

    fn subjects(&self, to: &str) -> Vec<String> {
        self.house.emails().into_iter().filter(|mail| mail.recipient == to).map(|mail| mail.subject).collect()
    }

    async fn albums(&self) -> usize {
        self.fan.get("/albums").await.expect(200)["items"].as_array().unwrap().len()
    }
}

const NOOR: &str = "noor@haddad.example";
const MARA: &str = "mara@lindqvist.example";

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_the_senders_until_it_is_taken_and_in_that_moment_every_code_of_before_is_dead() {
    let world = World::open(1).await;
    let own = &world.own[0];
    let sent = own.send(NOOR).await.expect(201);
    assert_eq!((&sent["status"], own.send(" NOOR@haddad.example ").await.status), (&json!("sent"), 422), "an address has no blanks around it");
    assert_eq!(own.send("Noor@Haddad.example").await.expect(201)["transfer_id"], sent["transfer_id"], "the same again");
    assert_eq!(own.send("somebody@else.example").await.problem(), "conflict", "one at a time");
    let link = Link::of(&world.house, NOOR).await;
    assert!(link.page().await.contains("comes with it"), "the album is said before");
    assert_eq!((world.fan.tickets().await.len(), world.albums().await, link.status().await.as_str()), (1, 1, "sent"));

    // While it is on its way nobody takes it otherwise, and its link stays.
    let by_order =
        |what: &str| world.house.anybody().request("POST", &format!("/v1/tickets/{}/{what}", own.id)).bearer_auth(format!("gf_order_{}", world.fan.secret));
    assert_eq!(answer(by_order("claims").json(&json!({ "name": "Mara" }))).await.problem(), "conflict");
    assert_eq!(answer(by_order("recalls")).await.problem(), "conflict");
    // An email of before that leaves afterwards has nothing of the new holder's.
    world.festival.promoter.send("POST", &format!("/v1/tickets/{}/reissues", own.id), &json!({ "note": "lost" })).await.expect(200);

    let taken = link.take().await.expect(200);
    assert_eq!(link.take().await.expect(200), taken, "the same again");
    assert_eq!(link.post("acceptances", &json!({ "name": "Somebody Else" })).await.problem(), "conflict");
    let theirs = Own::of(&world.house.anybody(), &taken);
    assert_ne!((&theirs.code, &theirs.secret), (&own.code, &own.secret));
    // The order has neither code nor link nor album of it any more, and no other way to it.
    assert_eq!((world.fan.tickets().await.len(), world.albums().await), (0, 0));
    let order = world.house.anybody().request("GET", &format!("/o/{}/{}", world.fan.order, world.fan.secret)).send().await.unwrap().text().await.unwrap();
    assert!(order.contains("Passed on to Noor Haddad") && !order.contains(&theirs.secret) && !order.contains(taken["short_code"].as_str().unwrap()));
    for below in ["", "/code.svg", "/code.png"] {
        let path = format!("/v1/tickets/{}{below}", own.id);
        let by_order = answer(world.house.anybody().request("GET", &path).bearer_auth(format!("gf_order_{}", world.fan.secret))).await;
        assert_eq!((by_order.status, answer(own.request("GET", &path)).await.status), (404, 404), "{path}");
        assert_eq!(theirs.request("GET", &path).send().await.unwrap().status(), 200, "{path}");
    }
    let listed = answer(
        world.house.anybody().request("GET", &format!("/v1/orders/{}/transfers", world.fan.order)).bearer_auth(format!("gf_order_{}", world.fan.secret)),
    );
    assert_eq!(listed.await.expect(200)["items"][0]["status"], "accepted");
    assert_eq!(world.festival.promoter.get(&format!("/v1/orders/{}/transfers", world.fan.order)).await.expect(200)["items"].as_array().unwrap().len(), 1);
    let own_list = answer(theirs.request("GET", &format!("/v1/tickets/{}/transfers", theirs.id))).await.expect(200);
    assert!(own_list["items"].as_array().unwrap().is_empty(), "what former holders did is theirs: {own_list}");
    assert_eq!(own.send("third@x.example").await.status, 404);
    let claim = world.house.anybody().request("POST", &format!("/v1/tickets/{}/claims", own.id)).bearer_auth(format!("gf_order_{}", world.fan.secret));
    assert_eq!(answer(claim.json(&json!({ "name": "Mara" }))).await.status, 404);
    // Its pages say what they are.
    let (status, page) = own.page().await;
    assert!(status == 200 && page.contains("You passed this ticket on") && page.contains("Noor Haddad") && !page.contains("data-track"), "{page}");
    let (status, page) = theirs.page().await;
    assert!(status == 200 && page.contains("Noor Haddad") && page.contains("data-track") && !page.contains(MARA), "{page}");
    world.house.run_workers().await;
    assert!(!world.house.emails().iter().any(|mail| mail.recipient == MARA && mail.text.contains(&theirs.secret)), "her link is in no email of his");
    assert_eq!(world.subjects(NOOR), ["Night Ferry: the ticket is yours", "Mara Lindqvist sends you a ticket for Night Ferry"]);
    assert_eq!(world.subjects(MARA)[0], "Night Ferry: your ticket was taken");

    // It goes on from hand to hand, and what it opens is one gate, once.
    theirs.send("bo@chen.example").await.expect(201);
    let third = Own::of(&world.house.anybody(), &Link::of(&world.house, "bo@chen.example").await.take().await.expect(200));
    let device = world.doors().await;
    for dead in [&own.code, &theirs.code] {
        assert_eq!(world.verdict(&device, dead).await, ("refused".to_owned(), "revoked".to_owned()));
    }
    assert_eq!(world.verdict(&device, &third.code).await.0, "admitted");
    assert_eq!(third.send(NOOR).await.problem(), "conflict", "somebody came in on it");
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_album_that_was_claimed_stays_with_who_claimed_it() {
    let world = World::open(2).await;
    Holder::of(&world.house.anybody(), &world.fan.tickets().await[0]).claim("Noor Haddad").await.expect(200);
    let noor = Own::of(&world.house.anybody(), &world.fan.tickets().await[0]);
    assert!(noor.page().await.1.contains("The album that you took stays yours"));
    noor.send("bo@chen.example").await.expect(201);
    let link = Link::of(&world.house, "bo@chen.example").await;
    assert!(!link.page().await.contains("comes with it"));
    let bo = Own::of(&world.house.anybody(), &link.take().await.expect(200));
    assert!(!bo.page().await.1.contains("data-track"), "the album did not come with it");
    assert!(noor.page().await.1.contains("data-track"), "it stays where it was claimed");
    // Bo passes it on and leaves nothing behind; the other bundle of the order goes with its album.
    bo.send("lin@zhang.example").await.expect(201);
    Link::of(&world.house, "lin@zhang.example").await.take().await.expect(200);
    assert!(!bo.page().await.1.contains("data-track") && noor.page().await.1.contains("data-track"));
    world.own[1].send("ade@x.example").await.expect(201);
    let ade = Own::of(&world.house.anybody(), &Link::of(&world.house, "ade@x.example").await.take().await.expect(200));
    assert!(ade.page().await.1.contains("data-track") && !world.own[1].page().await.1.contains("data-track"));
    world.house.run_workers().await;
    assert!(
        world.subjects("noor@x.example").iter().any(|subject| subject == "Night Ferry: your ticket was taken"),
        "who claimed it with an address hears of it there"
    );
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_declined_or_taken_back_stays_and_can_be_sent_again() {
    let world = World::open(1).await;
    let own = &world.own[0];
    own.send(NOOR).await.expect(201);
    let link = Link::of(&world.house, NOOR).await;
    for _ in 0..2 {
        assert_eq!(link.post("declines", &json!({})).await.expect(200)["status"], "declined");
    }
    assert_eq!(link.take().await.problem(), "conflict");
    assert!(link.page().await.contains("You said no"));
    let sent = own.send(NOOR).await.expect(201);
    let link = Link::of(&world.house, NOOR).await;
    for _ in 0..2 {
        assert_eq!(own.recall(&sent).await.expect(200)["status"], "recalled");
    }
    assert_eq!((link.take().await.problem(), link.post("declines", &json!({})).await.problem()), ("conflict", "conflict"));
    assert!(link.page().await.contains("taken back"));
    world.house.run_workers().await;
    assert_eq!(world.subjects(MARA)[0], "Night Ferry: your ticket stays yours");
    assert_eq!(world.subjects(NOOR)[0], "Night Ferry: the ticket was taken back");
    assert_eq!(world.fan.tickets().await[0]["ticket_code"], json!(own.code), "nothing of it changed");
    // An open form sends emails to anybody: not without an end.
    for n in 2..10 {
        let sent = own.send(&format!("fan{n}@x.example")).await.expect(201);
        own.recall(&sent).await.expect(200);
    }
    assert_eq!(own.send(NOOR).await.problem(), "conflict");
    // Links that are guessed or of others open nothing.
    let other = Link { id: link.id.clone(), secret: own.secret.clone(), http: world.house.anybody() };
    assert_eq!(
        (other.take().await.status, other.http.request("GET", &format!("/x/{}/{}", other.id, other.secret)).send().await.unwrap().status().as_u16()),
        (404, 404)
    );
    assert_eq!(Own { secret: link.secret.clone(), ..own.clone() }.recall(&sent).await.status, 404);
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rule_the_gate_and_a_refund_end_it() {
    let world = World::open(3).await;
    let rule = async |rule: Value| world.festival.promoter.send("PUT", &world.festival.path("/transfer-rule"), &rule).await;
    assert_eq!(world.house.anybody().get(&world.festival.path("/transfer-rule")).await.expect(200), json!({ "open": true }));
    rule(json!({ "open": false })).await.expect(200);
    assert_eq!(world.own[0].send(NOOR).await.problem(), "conflict");
    assert!(!world.own[0].page().await.1.contains("transfer-email"));
    rule(json!({ "open": true, "hours_before": 24 })).await.expect(200);
    assert_eq!(rule(json!({ "open": true, "hours_before": -1 })).await.status, 422);
    for (i, own) in world.own.iter().enumerate() {
        own.send(&format!("fan{i}@x.example")).await.expect(201);
    }
    let links =
        [Link::of(&world.house, "fan0@x.example").await, Link::of(&world.house, "fan1@x.example").await, Link::of(&world.house, "fan2@x.example").await];
    // Its money goes back: it cannot be taken meanwhile.
    let ticket = json!({ "reason": "asked", "parts": [{ "line_no": 1, "ticket_ids": [world.own[2].id] }] });
    refund(&world.festival.promoter, &world.fan.order, &key(), &ticket).await.expect(201);
    assert_eq!(links[2].take().await.problem(), "conflict");
    // The day before it is too late; the rule lets it be taken a moment earlier.
    world.house.advance("2026-06-18T11:59:59Z".parse::<DateTime<Utc>>().unwrap() - world.house.app.clock.now());
    links[0].take().await.expect(200);
    world.house.advance(TimeDelta::seconds(1));
    assert_eq!(links[1].take().await.problem(), "conflict");
    assert!(links[1].page().await.contains("cannot be taken now"));
    // Somebody comes in on it: the transfer lapses, also where the rule would let it be.
    rule(json!({ "open": true })).await.expect(200);
    let device = world.doors().await;
    assert_eq!(world.verdict(&device, &world.own[1].code).await.0, "admitted");
    assert_eq!(links[1].take().await.problem(), "conflict");
    assert_eq!(links[1].status().await, "lapsed");
    assert!(links[1].page().await.contains("Somebody came in on it"));
    world.house.run_workers().await;
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_first_at_the_gate_or_at_the_link_wins_and_never_both() {
    let world = World::open(10).await;
    let mut links = Vec::new();
    for (i, own) in world.own.iter().enumerate() {
        own.send(&format!("fan{i}@x.example")).await.expect(201);
        links.push(Link::of(&world.house, &format!("fan{i}@x.example")).await);
    }
    let device = world.doors().await;
    let now = world.house.app.clock.now();
    let (mut taken, mut entered) = (0, 0);
    for (own, link) in world.own.iter().zip(&links) {
        let answers = at_once(4, |n| {
            let (device, code, link, own) = (device.clone(), own.code.clone(), link.clone(), own.clone());
            async move {
                match n {
                    0 => device.scan(&code, now).await.expect(201)["verdict"] == "admitted",
                    1 | 2 => link.take().await.status == 200,
                    _ => own.recall(&json!({ "transfer_id": link.id })).await.status == 200,
                }
            }
        })
        .await;
        let (came_in, took, recalled) = (answers[0], answers[1] || answers[2], answers[3]);
        assert!(!(came_in && took), "somebody came in by the code of before and somebody else took the ticket");
        assert!(!(took && recalled), "it was taken and taken back");
        taken += usize::from(took);
        entered += usize::from(came_in);
        let status = link.status().await;
        assert!(if took { status == "accepted" } else { status != "accepted" }, "{status}");
        // One of them can go in now, unless somebody is.
        let code = if took { link.take().await.expect(200)["ticket_code"].as_str().unwrap().to_owned() } else { own.code.clone() };
        let (verdict, reason) = world.verdict(&device, &code).await;
        assert_eq!((verdict.as_str(), reason.as_str()), if came_in { ("refused", "already_inside") } else { ("admitted", "") });
    }
    println!("{taken} were taken, {entered} came in");
    let mut conn = world.house.database().await;
    let deadlocks: i64 = sqlx::query_scalar("select deadlocks from pg_stat_database where datname = current_database()").fetch_one(&mut conn).await.unwrap();
    assert_eq!(deadlocks, 0);
    world.house.run_workers().await;
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_passed_it_on_a_moment_ago_binds_it_to_no_phone() {
    let world = World::open(1).await;
    let own = &world.own[0];
    let id: gatefold::id::TicketId = own.id.parse().unwrap();
    // As the request of the former holder saw it, before it waited for the lock.
    let seen = gatefold::tickets::ticket(&world.house.app.pools.web, id).await.unwrap().unwrap();
    own.send(NOOR).await.expect(201);
    Link::of(&world.house, NOOR).await.take().await.expect(200);
    let phone = SigningKey::from_bytes(&[7; 32]);
    let public = phone.verifying_key().to_bytes();
    let proof = phone.sign(&[b"gatefold-bind-v1\0".as_slice(), id.0.as_bytes(), &public].concat()).to_bytes();
    let bound = gatefold::entry::binding::bind(&world.house.app, &seen, &public, &proof).await;
    assert!(matches!(bound, Err(gatefold::entry::binding::BindError::NotFound)), "{bound:?}");
    world.house.run_workers().await;
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_passed_on_by_phone() {
    let world = World::open(1).await;
    let order = format!("{}/o/{}/{}", world.house.url, world.fan.order, world.fan.secret);
    let sent = scene("pass-on", &json!({ "order": order, "email": NOOR })).await;
    assert_eq!((&sent["sideways"], &sent["errors"]), (&json!([]), &json!([])), "{sent}");
    let link = Link::of(&world.house, NOOR).await;
    let url = format!("{}/x/{}/{}", world.house.url, link.id, link.secret);
    let taken = scene("take", &json!({ "order": order, "link": url, "ticket": sent["ticket"] })).await;
    assert_eq!((&taken["name"], &taken["gone"], &taken["passed"]), (&json!("Noor Haddad"), &json!(true), &json!(true)), "{taken}");
    assert_eq!((&taken["sideways"], &taken["errors"]), (&json!([]), &json!([])), "{taken}");
    world.house.run_workers().await;
    world.house.close().await;
}
