//! Exchange desks: a ticket becomes a wristband, which is scanned from then on; a lost one is dead, and another one takes its place.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Device, Festival, answer, key},
    browser::scene,
    house::House,
    races::at_once,
    supervisors,
};

/// A device of an exchange desk.
#[derive(Clone)]
pub struct Desk(pub Device);

/// Pairs a device for an exchange desk.
pub async fn desk(house: &House, festival: &Festival) -> Desk {
    let pairing = festival.promoter.make(&festival.path("/pairings"), json!({ "gate_id": festival.gate, "profile": "exchange" })).await;
    Desk(house.anybody().pair(pairing["pairing_code"].as_str().unwrap()).await)
}

impl Desk {
    async fn ask(&self, id: &str, code: &str, more: Value) -> Answer {
        let mut body = json!({ "exchange_id": id, "ticket_code": code });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&self.0, "/v1/exchanges", &body).await
    }

    /// Gives a band that carries something.
    pub async fn exchange(&self, code: &str, band: &str) -> Value {
        self.ask(&uuid::Uuid::now_v7().to_string(), code, json!({ "band": { "code": band } })).await.expect(200)
    }
}

async fn post(device: &Device, path: &str, body: &Value) -> Answer {
    answer(device.http.request("POST", path).bearer_auth(&device.token).json(body)).await
}

fn said(answer: &Value) -> String {
    answer["reason"].as_str().or(answer["verdict"].as_str()).unwrap().to_owned()
}

struct Day {
    house: House,
    festival: Festival,
    offer: String,
    device: Device,
    desk: Desk,
}

impl Day {
    async fn open() -> Self {
        let house = House::open().await;
        let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
        house.advance("2026-06-19T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
        let offer = festival.offer(&festival.pass("Weekend pass", 0b111).await, 1_000, 100).await;
        let (device, desk) = (festival.device().await, desk(&house, &festival).await);
        Self { house, festival, offer, device, desk }
    }

    async fn tickets(&self, n: i64) -> Vec<Value> {
        let fan = self.house.anybody().order(&format!("fan{}@x.example", key()), &[(&self.offer, n)]).await;
        fan.pay(&key(), "simulated_instant").await.expect(201);
        self.house.run_workers().await;
        fan.tickets().await
    }

    async fn scan(&self, code: &str, kind: &str) -> String {
        self.house.advance(TimeDelta::seconds(1));
        let now = self.house.app.clock.now();
        said(&self.device.scan_as(&uuid::Uuid::now_v7().to_string(), code, now, json!({ "kind": kind })).await.expect(201))
    }

    async fn end(&self, device: &Device, ticket: &Value, why: &str) -> Answer {
        post(device, &format!("/v1/tickets/{}/band-ends", text(ticket, "ticket_id")), &json!({ "why": why })).await
    }

    async fn stock(&self) -> Value {
        self.festival.promoter.get(&self.festival.path("/band-stocks")).await.expect(200)["items"][0].clone()
    }

    async fn close(self) {
        self.house.run_workers().await;
        self.house.close().await;
    }
}

fn text(of: &Value, name: &str) -> String {
    of[name].as_str().unwrap().to_owned()
}

/// What gates know of bands is at most a second old.
async fn a_second() {
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_becomes_a_band_and_its_picture_opens_nothing() {
    let day = Day::open().await;
    let tickets = day.tickets(4).await;
    let code = |n: usize| text(&tickets[n], "ticket_code");
    day.festival.promoter.send("PUT", &day.festival.path("/band-stocks/ffd21f"), &json!({ "delivered": 2 })).await.expect(200);
    // First the color, then the band; the same exchange again gets the same answer.
    let id = uuid::Uuid::now_v7().to_string();
    let first = day.desk.ask(&id, &code(0), json!({})).await.expect(200);
    assert_eq!((said(&first), &first["pass"]["color"], &first["left"], first.get("given_at")), ("admitted".to_owned(), &json!("#ffd21f"), &json!(2), None));
    assert_eq!(day.scan(&code(0), "look").await, "admitted", "nothing changed so far");
    for _ in 0..2 {
        let given = day.desk.ask(&id, &code(0), json!({ "band": { "code": " 04a1b2c3d4e5f6 " } })).await.expect(200);
        assert_eq!((said(&given), &given["band_end"], &given["left"]), ("admitted".to_owned(), &json!("E5F6"), &json!(1)), "{given}");
    }
    assert_eq!(said(&day.desk.exchange(&code(0), "04FFFFFFFF").await), "exchanged");
    a_second().await;
    assert_eq!(day.scan(&code(0), "entry").await, "exchanged");
    assert_eq!(day.scan("04A1B2C3D4E5F6", "entry").await, "admitted");
    assert_eq!(day.scan("04a1b2c3d4e5f6", "entry").await, "already_inside");
    assert_eq!(day.scan("04A1B2C3D4E5F6", "exit").await, "admitted");
    assert_eq!(day.scan("04A1B2C3D4E5F7", "entry").await, "unknown");

    // A band is on one wrist; what is none is not given; a plain one is.
    day.desk.ask(&uuid::Uuid::now_v7().to_string(), &code(1), json!({ "band": { "code": "04A1B2C3D4E5F6" } })).await.expect(409);
    for none in ["abc", "with a space", "ö04A1B2C3D4", &"A".repeat(65)] {
        assert_eq!(day.desk.ask(&uuid::Uuid::now_v7().to_string(), &code(1), json!({ "band": { "code": none } })).await.status, 422, "{none}");
    }
    assert_eq!(day.scan(&code(1), "look").await, "admitted", "what was refused changed nothing");
    let plain = day.desk.ask(&uuid::Uuid::now_v7().to_string(), &code(1), json!({ "band": {} })).await.expect(200);
    assert_eq!((said(&plain), plain.get("band_end"), &plain["left"]), ("admitted".to_owned(), None, &json!(0)));
    assert_eq!(day.scan(&code(1), "entry").await, "exchanged");
    assert_eq!(day.stock().await, json!({ "color": "#ffd21f", "delivered": 2, "given": 2, "lost": 0 }));
    // What is no ticket, and who is no desk.
    assert_eq!(said(&day.desk.exchange("G1NOTHING", "0411111111").await), "unknown");
    let body = json!({ "exchange_id": uuid::Uuid::now_v7(), "ticket_code": code(2) });
    assert_eq!(post(&day.device, "/v1/exchanges", &body).await.status, 403);

    // Given by mistake: the desk takes it back itself for a quarter of an hour, and the ticket is as it was, on paper, too.
    assert_eq!(day.end(&day.device, &tickets[1], "returned").await.status, 403);
    assert_eq!(day.end(&day.desk.0, &tickets[1], "lost").await.status, 403, "lost, says a supervisor");
    day.end(&day.desk.0, &tickets[1], "returned").await.expect(200);
    day.end(&day.desk.0, &tickets[1], "returned").await.expect(404);
    assert_eq!(day.scan(&code(1), "look").await, "admitted");
    assert_eq!(day.stock().await["given"], 1);
    day.house.advance(TimeDelta::minutes(16));
    assert_eq!(day.end(&day.desk.0, &tickets[0], "returned").await.status, 403);
    day.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_band_is_dead_and_another_one_takes_its_place() {
    let day = Day::open().await;
    let fan = day.house.anybody().order("mara@x.example", &[(&day.offer, 2)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    day.house.run_workers().await;
    let tickets = fan.tickets().await;
    day.desk.exchange(&text(&tickets[0], "ticket_code"), "AAAA0001").await;
    a_second().await;
    assert_eq!(day.scan("AAAA0001", "entry").await, "admitted");
    let digits = supervisors::shift(&day.house, &day.festival).await;
    post(&day.device, "/v1/device-shifts", &json!({ "shift_code": digits })).await.expect(200);
    day.end(&day.device, &tickets[0], "lost").await.expect(200);
    assert_eq!(day.scan("AAAA0001", "entry").await, "revoked");
    // The ticket is valid again, by the code of its page, and becomes another band; who is in stays in.
    let again = fan.tickets().await;
    assert_eq!(day.scan(&text(&again[0], "ticket_code"), "entry").await, "already_inside");
    day.desk.ask(&uuid::Uuid::now_v7().to_string(), &text(&again[0], "ticket_code"), json!({ "band": { "code": "AAAA0001" } })).await.expect(409);
    day.desk.exchange(&text(&again[0], "ticket_code"), "AAAA0002").await;
    assert_eq!((day.scan("AAAA0001", "entry").await, day.scan("AAAA0002", "exit").await), ("revoked".to_owned(), "admitted".to_owned()));
    assert_eq!(day.scan("AAAA0002", "entry").await, "admitted");
    assert_eq!(day.stock().await, json!({ "color": "#ffd21f", "given": 2, "lost": 1 }));
    // Somebody else's ticket is none of theirs, member or not.
    let other = day.house.promoter("Brine Collective").await.festival("brine").await;
    let foreign = day.house.anybody().order("noor@x.example", &[(&other.offer(&other.pass("Weekend pass", 0b111).await, 10, 100).await, 1)]).await;
    foreign.pay(&key(), "simulated_instant").await.expect(201);
    let theirs = foreign.tickets().await.remove(0);
    desk(&day.house, &other).await.exchange(&text(&theirs, "ticket_code"), "BBBB0001").await;
    assert_eq!(day.end(&day.device, &theirs, "lost").await.status, 404);
    assert_eq!(post(&day.device, &format!("/v1/tickets/{}/unbindings", text(&theirs, "ticket_id")), &json!({})).await.status, 404);
    assert_eq!(said(&day.desk.exchange(&text(&theirs, "ticket_code"), "BBBB0002").await), "wrong_festival");
    assert_eq!(day.scan("BBBB0001", "entry").await, "unknown");
    // One that came back goes onto another wrist.
    day.end(&day.device, &again[0], "returned").await.expect(200);
    assert_eq!(day.scan("AAAA0002", "entry").await, "revoked");
    day.desk.exchange(&text(&again[0], "ticket_code"), "AAAA0003").await;
    assert_eq!(day.scan("AAAA0002", "entry").await, "revoked", "its ticket is on a wrist again, by another band");
    day.desk.exchange(&text(&tickets[1], "ticket_code"), "AAAA0002").await;
    assert_eq!(day.scan("AAAA0002", "entry").await, "admitted");
    let audited: i64 = {
        let mut conn = day.house.database().await;
        sqlx::query_scalar("select count(*) from audit where action = 'band.ended' and actor_kind = 'member'").fetch_one(&mut conn).await.unwrap()
    };
    assert_eq!(audited, 2);

    // Gates without network: who came in by a band before it was lost is no discrepancy, who did afterwards is one.
    day.house.advance(TimeDelta::minutes(10));
    let now = day.house.app.clock.now();
    day.house.advance(TimeDelta::minutes(1));
    day.end(&day.device, &tickets[1], "lost").await.expect(200);
    day.house.advance(TimeDelta::minutes(10));
    let report = |kind: &str, minutes: i64| json!({ "scan_id": uuid::Uuid::now_v7(), "kind": kind, "ticket_code": "AAAA0002", "scanned_at": now + TimeDelta::minutes(minutes), "verdict": "admitted" });
    let sent = day.house.app.clock.now();
    let merged = day.device.report(sent, &[report("exit", -2), report("entry", -1), report("exit", 3), report("entry", 5)]).await.expect(200);
    let found: Vec<&Value> = merged["items"].as_array().unwrap().iter().map(|item| &item["discrepancies"]).collect();
    assert_eq!(found, [&json!([]), &json!([]), &json!([]), &json!(["revoked_admission"])], "{merged}");
    day.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wore_a_band_when_says_whose_entry_it_was() {
    let day = Day::open().await;
    let tickets = day.tickets(2).await;
    let code = |n: usize| text(&tickets[n], "ticket_code");
    day.desk.exchange(&code(0), "AAAA0001").await;
    a_second().await;
    let start = day.house.app.clock.now();
    let at = |minutes: i64| start + TimeDelta::minutes(minutes);
    let until = |minutes: i64| day.house.advance(at(minutes) - day.house.app.clock.now());
    // A gate without network lets the first one in at 2; the band comes back at 5 and goes onto the other wrist at 6; the gate reports at 30.
    until(5);
    day.end(&day.desk.0, &tickets[0], "returned").await.expect(200);
    until(6);
    day.desk.exchange(&code(1), "AAAA0001").await;
    until(30);
    let report = |kind: &str, minutes: i64| json!({ "scan_id": uuid::Uuid::now_v7(), "kind": kind, "ticket_code": "AAAA0001", "scanned_at": at(minutes), "verdict": "admitted" });
    let sent = day.house.app.clock.now();
    let merged = day.device.report(sent, &[report("entry", 2), report("entry", 8)]).await.expect(200);
    let found: Vec<&Value> = merged["items"].as_array().unwrap().iter().map(|item| &item["discrepancies"]).collect();
    assert_eq!(found, [&json!([]), &json!([])], "{merged}");
    assert_eq!((day.scan(&code(0), "entry").await, day.scan("AAAA0001", "entry").await), ("already_inside".to_owned(), "already_inside".to_owned()));
    // After it came back and before it was given again it was on nobody's wrist.
    let merged = day.device.report(sent, &[report("entry", 5)]).await.expect(200);
    assert_eq!(merged["items"][0]["discrepancies"], json!(["surplus_admission", "revoked_admission"]), "{merged}");
    day.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_comes_in_with_an_adult_who_wears_a_band() {
    let day = Day::open().await;
    let adult = day.festival.pass("Adult", 0b111).await;
    let terms = json!({ "name": { "en": "Child" }, "color": "#00ff00", "color_name": { "en": "green" }, "day_mask": 7, "reentry": "after_exit", "companion_pass_ids": [adult] });
    let child = day.festival.promoter.make(&day.festival.path("/passes"), terms).await;
    let (adults, children) = (day.festival.offer(&adult, 10, 100).await, day.festival.offer(&text(&child, "pass_id"), 10, 100).await);
    let fan = day.house.anybody().order("mara@x.example", &[(&adults, 1), (&children, 1)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    day.house.run_workers().await;
    let tickets = fan.tickets().await;
    let (adult, child) = (text(&tickets[0], "ticket_code"), text(&tickets[1], "ticket_code"));
    day.desk.exchange(&adult, "AAAA0001").await;
    a_second().await;
    assert_eq!(day.scan(&child, "entry").await, "needs_companion");
    assert_eq!(day.scan("AAAA0001", "entry").await, "admitted");
    assert_eq!(day.scan(&child, "entry").await, "admitted");
    day.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_at_the_desk_says_that_a_phone_is_dead() {
    let day = Day::open().await;
    let terms = json!({ "name": { "en": "Live" }, "color": "#0000ff", "color_name": { "en": "blue" }, "day_mask": 7, "reentry": "after_exit", "needs_live_code": true });
    let pass = day.festival.promoter.make(&day.festival.path("/passes"), terms).await;
    let fan = day.house.anybody().order("mara@x.example", &[(&day.festival.offer(&text(&pass, "pass_id"), 10, 100).await, 1)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    day.house.run_workers().await;
    a_second().await;
    let code = text(&fan.tickets().await[0], "ticket_code");
    let lifted = json!({ "lifts_live_code": true, "band": { "code": "BLUE0001" } });
    let ask = async |more: &Value| said(&day.desk.ask(&uuid::Uuid::now_v7().to_string(), &code, more.clone()).await.expect(200));
    assert_eq!(ask(&json!({ "band": { "code": "BLUE0001" } })).await, "live_code_required");
    assert_eq!(ask(&lifted).await, "live_code_required", "nobody is signed in");
    let digits = supervisors::shift(&day.house, &day.festival).await;
    post(&day.desk.0, "/v1/device-shifts", &json!({ "shift_code": digits })).await.expect(200);
    assert_eq!(ask(&json!({ "band": { "code": "BLUE0001" } })).await, "live_code_required", "and nobody said so");
    assert_eq!(ask(&lifted).await, "admitted");
    a_second().await;
    assert_eq!(day.scan("BLUE0001", "entry").await, "admitted", "a band needs no live code");
    let mut conn = day.house.database().await;
    let audited: i64 = sqlx::query_scalar("select count(*) from audit where action = 'ticket.exchanged_without_live_code'").fetch_one(&mut conn).await.unwrap();
    assert_eq!(audited, 1);
    day.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_desks_that_exchange_a_ticket_at_once_one_gives_a_band() {
    let day = Day::open().await;
    let other = desk(&day.house, &day.festival).await;
    for round in 0..10 {
        let tickets = day.tickets(2).await;
        let (code, second) = (text(&tickets[0], "ticket_code"), text(&tickets[1], "ticket_code"));
        // The same ticket twice, and the same band onto two wrists.
        let answers = at_once(4, |i| {
            let (desk, code) = (if i % 2 == 0 { day.desk.clone() } else { other.clone() }, if i < 2 { code.clone() } else { second.clone() });
            async move {
                let band = json!({ "band": { "code": format!("BAND{round:04}{}", if i < 2 { i } else { 9 }) } });
                desk.ask(&uuid::Uuid::now_v7().to_string(), &code, band).await
            }
        })
        .await;
        let given =
            |range: std::ops::Range<usize>| answers[range].iter().filter(|answer| answer.status == 200 && answer.body.get("given_at").is_some()).count();
        assert_eq!((given(0..2), given(2..4)), (1, 1), "{answers:?}");
    }
    assert_eq!(day.stock().await["given"], 20);
    day.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_gives_bands_on_a_phone_and_a_gate_without_network_knows_them() {
    let day = Day::open().await;
    let tickets = day.tickets(5).await;
    let codes: Vec<String> = tickets.iter().map(|ticket| text(ticket, "ticket_code")).collect();
    day.festival.promoter.send("PUT", &day.festival.path("/band-stocks/ffd21f"), &json!({ "delivered": 100 })).await.expect(200);
    let pairing = |profile: &str| json!({ "gate_id": day.festival.gate, "profile": profile });
    let desk = day.festival.promoter.make(&day.festival.path("/pairings"), pairing("exchange")).await;
    let gate = day.festival.promoter.make(&day.festival.path("/pairings"), pairing("scan")).await;
    let input = json!({ "url": day.house.url, "desk": desk["pairing_code"], "gate": gate["pairing_code"], "codes": codes, "bands": ["04A1B2C3D4E5F6", "0411223344", "04CAFE0001"] });
    let seen = scene("exchange", &input).await;
    println!("{seen}");
    assert_eq!(seen["asked"]["word"], "Give a band");
    assert_eq!((&seen["given"]["word"], &seen["given"]["left"]), (&json!("Band given"), &json!("99")));
    assert_eq!(
        (&seen["taken"], &seen["other"]["word"]),
        (&json!(true), &json!("Band given")),
        "a band that is on a wrist, then another one by a reader that types"
    );
    assert_eq!((&seen["sure"], &seen["plain"]["word"]), (&json!("Sure: no code on it?"), &json!("Band given")));
    assert_eq!(seen["alone"], "No network, so no bands. Send them to a gate: the code of the ticket opens it.");
    assert_eq!((&seen["found"]["word"], &seen["found"]["left"]), (&json!("Band given"), &json!("96")), "{seen}");
    assert_eq!((&seen["again"]["word"], &seen["again"]["reason"]), (&json!("Refused"), &json!("Used up")));
    assert_eq!((&seen["band"]["verdict"], &seen["band"]["offline"]), (&json!("admitted"), &json!(true)), "{seen}");
    assert_eq!((&seen["picture"]["verdict"], &seen["picture"]["reason"]), (&json!("refused"), &json!("Used up")), "{seen}");
    assert_eq!(
        (&seen["nobodys"]["verdict"], &seen["tens"]["verdict"]),
        (&json!("refused"), &json!("admitted")),
        "ten characters are a band where somebody wears it"
    );
    assert!(seen["sideways"].as_array().unwrap().is_empty() && seen["errors"].as_array().unwrap().is_empty(), "{seen}");
    let ledger = day.festival.promoter.get(&day.festival.path("/discrepancies")).await.expect(200);
    assert_eq!(ledger["items"].as_array().unwrap().iter().filter(|d| d["kind"] != "clock_off").count(), 0, "{ledger}");
    day.close().await;
}
