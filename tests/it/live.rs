//! Live codes: a ticket that is bound to a phone, which makes its code anew every fifteen seconds; a picture of it opens nothing.

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::{BASE32_NOPAD, BASE64};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    actors::{Answer, Anybody, Device, Fan, Festival, answer, key},
    browser::scene,
    house::House,
    races::at_once,
    supervisors,
};

/// What a phone does.
struct Phone(SigningKey);

impl Phone {
    fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    fn binding(&self, ticket: &str) -> Value {
        let key = self.0.verifying_key().to_bytes();
        let signed = [b"gatefold-bind-v1\0".as_slice(), uuid::Uuid::parse_str(ticket).unwrap().as_bytes(), &key].concat();
        json!({ "public_key": BASE64.encode(&key), "proof": BASE64.encode(&self.0.sign(&signed).to_bytes()) })
    }

    /// Its code at a moment, by the certificate that it was given.
    fn code(&self, certificate: &str, at: DateTime<Utc>) -> String {
        let certificate = BASE64.decode(certificate.as_bytes()).unwrap();
        let seconds = u32::try_from(at.timestamp()).unwrap().to_be_bytes();
        let signed = [b"gatefold-show-v1\0".as_slice(), &Sha256::digest(&certificate), &seconds].concat();
        format!("G2{}", BASE32_NOPAD.encode(&[certificate.as_slice(), &seconds, &self.0.sign(&signed).to_bytes()].concat()))
    }
}

const EVENING: &str = "2026-06-19T18:00:00Z";

struct Night {
    house: House,
    festival: Festival,
    pass: String,
    fan: Fan,
    tickets: Vec<Value>,
}

impl Night {
    /// A festival with a pass that asks for live codes, and an order of it.
    async fn open(tickets: i64) -> Self {
        let house = House::open().await;
        let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
        let terms = json!({
            "name": { "en": "Friday" }, "color": "#ff0000", "color_name": { "en": "red" }, "day_mask": 1, "reentry": "after_exit", "needs_live_code": true
        });
        let pass = festival.promoter.make(&festival.path("/passes"), terms).await["pass_id"].as_str().unwrap().to_owned();
        let offer = festival.offer(&pass, 100, 100).await;
        let fan = house.anybody().order("mara@lindqvist.example", &[(&offer, tickets)]).await;
        fan.pay(&key(), "simulated_instant").await.expect(201);
        let tickets = fan.tickets().await;
        Self { house, festival, pass, fan, tickets }
    }

    fn until(&self, moment: &str) {
        self.house.advance(moment.parse::<DateTime<Utc>>().unwrap() - self.house.app.clock.now());
    }

    fn now(&self) -> DateTime<Utc> {
        self.house.app.clock.now()
    }

    fn id(&self, n: usize) -> &str {
        self.tickets[n]["ticket_id"].as_str().unwrap()
    }

    async fn try_to_bind(&self, n: usize, phone: &Phone) -> Answer {
        bind(&self.house.anybody(), self.id(n), &self.fan.secret, &phone.binding(self.id(n))).await
    }

    async fn bind(&self, n: usize, phone: &Phone) -> String {
        self.try_to_bind(n, phone).await.expect(200)["certificate"].as_str().unwrap().to_owned()
    }

    /// What a scan comes to: the reason of a refusal, or the verdict.
    async fn scan(&self, device: &Device, code: &str) -> String {
        said(&self.scan_as(device, code, json!({})).await)
    }

    async fn scan_as(&self, device: &Device, code: &str, more: Value) -> Value {
        device.scan_as(&uuid::Uuid::now_v7().to_string(), code, self.now(), more).await.expect(201)
    }

    async fn generation(&self, n: usize) -> i64 {
        self.festival.promoter.get(&format!("/v1/tickets/{}", self.id(n))).await.expect(200)["generation"].as_i64().unwrap()
    }

    async fn close(self) {
        self.house.run_workers().await;
        self.house.close().await;
    }
}

fn said(answer: &Value) -> String {
    answer["reason"].as_str().or(answer["verdict"].as_str()).unwrap().to_owned()
}

async fn bind(http: &Anybody, ticket: &str, secret: &str, body: &Value) -> Answer {
    answer(http.request("POST", &format!("/v1/tickets/{ticket}/bindings")).bearer_auth(format!("gf_order_{secret}")).json(body)).await
}

/// The secret of a ticket's own page.
fn own_secret(ticket: &Value) -> String {
    ticket["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_code_opens_the_gate_and_a_picture_of_it_does_not() {
    let night = Night::open(4).await;
    let (phone, other) = (Phone::new(1), Phone::new(2));
    // Bound in the last 48 hours before the doors of its day, which open at 16:00.
    night.until("2026-06-16T12:00:00Z");
    let early = night.try_to_bind(0, &phone).await;
    assert!(early.body["detail"].as_str().unwrap().contains("2026-06-17T"), "{}", early.body);
    early.expect(409);
    night.until("2026-06-18T12:00:00Z");
    let certificates = [night.bind(0, &phone).await, night.bind(1, &phone).await, night.bind(2, &phone).await];
    assert_eq!(night.bind(0, &phone).await, certificates[0], "the same phone gets the same certificate");
    assert_eq!(night.generation(0).await, 1);

    night.until(EVENING);
    let device = night.festival.device().await;
    let picture = night.tickets[3]["ticket_code"].as_str().unwrap();
    assert_eq!(night.scan(&device, picture).await, "live_code_required", "nobody bound it: its picture opens nothing either");
    let dead = night.tickets[0]["ticket_code"].as_str().unwrap();
    assert_eq!(night.scan(&device, dead).await, "revoked", "the code from before it was bound");
    let code = phone.code(&certificates[0], night.now());
    assert_eq!(night.scan(&device, &code).await, "admitted");
    assert_eq!(night.scan(&device, &code).await, "already_inside", "who relays it in time finds somebody in");
    // Thirty seconds either way, by the clock of the house.
    let at = night.now();
    let shown = |seconds: i64| phone.code(&certificates[1], at + TimeDelta::seconds(seconds));
    for (seconds, expected) in [(-31, "live_code_required"), (31, "live_code_required"), (-30, "admitted"), (30, "already_inside")] {
        assert_eq!(night.scan(&device, &shown(seconds)).await, expected, "{seconds}");
    }
    // Somebody else's phone, with a certificate that it got hold of.
    assert_eq!(night.scan(&device, &other.code(&certificates[2], night.now())).await, "forged");
    assert_eq!(night.scan(&device, &phone.code(&certificates[2], night.now())).await, "admitted");
    // Leaving and taking back need no fresh code.
    night.house.advance(TimeDelta::minutes(5));
    assert_eq!(said(&night.scan_as(&device, &code, json!({ "kind": "undo" })).await), "admitted");
    assert_eq!(said(&night.scan_as(&device, &shown(0), json!({ "kind": "exit" })).await), "admitted");

    // What the promoter turns off opens by any code again.
    night.festival.promoter.send("PATCH", &format!("/v1/passes/{}", night.pass), &json!({ "needs_live_code": false })).await.expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(night.scan(&device, picture).await, "admitted");
    assert_eq!(night.scan(&device, &code).await, "admitted", "an old one, too");
    assert_eq!(night.try_to_bind(3, &phone).await.status, 409);
    night.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_moves_with_its_holder_until_somebody_came_in() {
    let night = Night::open(4).await;
    let (old, new) = (Phone::new(1), Phone::new(2));
    night.until(EVENING);
    let device = night.festival.device().await;
    let before = night.bind(0, &old).await;
    let after = night.bind(0, &new).await;
    assert_eq!(night.scan(&device, &old.code(&before, night.now())).await, "revoked");
    assert_eq!(night.scan(&device, &new.code(&after, night.now())).await, "admitted");
    // From then on it stays, until a supervisor lets it go.
    night.try_to_bind(0, &old).await.expect(409);
    assert_eq!(night.bind(0, &new).await, after);
    let unbind = |device: &Device| answer(device.http.request("POST", &format!("/v1/tickets/{}/unbindings", night.id(0))).bearer_auth(&device.token));
    assert_eq!(unbind(&device).await.status, 403, "nobody is signed in");
    let digits = supervisors::shift(&night.house, &night.festival).await;
    answer(device.http.request("POST", "/v1/device-shifts").bearer_auth(&device.token).json(&json!({ "shift_code": digits }))).await.expect(200);
    assert_eq!(unbind(&device).await.status, 200);
    assert_eq!(unbind(&device).await.status, 409, "it is free already");
    // Whoever found the phone that it was on has its link, too.
    night.try_to_bind(0, &new).await.expect(409);
    let again = night.bind(0, &old).await;
    assert_eq!(night.scan(&device, &new.code(&after, night.now())).await, "revoked");
    assert_eq!(night.scan(&device, &old.code(&again, night.now())).await, "already_inside");
    let mut conn = night.house.database().await;
    let audited: i64 =
        sqlx::query_scalar("select count(*) from audit where action = 'ticket.unbound' and actor_kind = 'member'").fetch_one(&mut conn).await.unwrap();
    assert_eq!(audited, 1);

    // Whoever took the ticket by its link binds it, the buyer no more.
    let http = night.house.anybody();
    let secret = own_secret(&night.tickets[1]);
    bind(&http, night.id(1), &secret, &new.binding(night.id(1))).await.expect(200);
    let claim = http.request("POST", &format!("/v1/tickets/{}/claims", night.id(1))).bearer_auth(format!("gf_order_{secret}"));
    answer(claim.json(&json!({ "name": "Jonas" }))).await.expect(200);
    assert_eq!(night.try_to_bind(1, &old).await.status, 404);
    // The phone of before is let go; whoever sent the link has it still, and moves nothing any more.
    assert_eq!(night.generation(1).await, 2);
    bind(&http, night.id(1), &secret, &old.binding(night.id(1))).await.expect(200);
    bind(&http, night.id(1), &secret, &new.binding(night.id(1))).await.expect(409);
    bind(&http, night.id(1), &own_secret(&night.tickets[2]), &old.binding(night.id(1))).await.expect(404);

    // A phone that does not have the key; a proof for another ticket; bytes that are none.
    let id = night.id(2);
    let stolen = json!({ "public_key": old.binding(id)["public_key"], "proof": new.binding(id)["proof"] });
    for (body, place) in [
        (stolen, "/proof"),
        (old.binding(night.id(0)), "/proof"),
        (json!({ "public_key": BASE64.encode(&[0; 32]), "proof": BASE64.encode(&[0; 64]) }), "/proof"),
        (json!({ "public_key": "!".repeat(44), "proof": old.binding(id)["proof"] }), "/public_key"),
    ] {
        let refused = bind(&http, id, &night.fan.secret, &body).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!(place)), "{}", refused.body);
    }

    // Re-issued by the promoter it is bound to nothing, and void it is bound by nobody.
    night.festival.promoter.send("POST", &format!("/v1/tickets/{}/reissues", night.id(0)), &json!({})).await.expect(200);
    assert_eq!(night.scan(&device, &old.code(&again, night.now())).await, "revoked");
    night.festival.promoter.send("POST", &format!("/v1/tickets/{id}/voidings"), &json!({})).await.expect(200);
    night.try_to_bind(2, &old).await.expect(409);
    // From phone to phone twenty times, then at the gate.
    let mut bound = 0;
    while bound < 30 && night.try_to_bind(3, &Phone::new(10 + bound)).await.status == 200 {
        bound += 1;
    }
    assert_eq!(bound, 20);
    let unbinding = device.http.request("POST", &format!("/v1/tickets/{}/unbindings", night.id(3)));
    assert_eq!(answer(unbinding.bearer_auth(&device.token)).await.status, 200);
    night.bind(3, &Phone::new(99)).await;
    night.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_phones_that_want_a_ticket_at_once_one_has_it() {
    let night = Night::open(1).await;
    night.until(EVENING);
    let (id, secret) = (night.id(0).to_owned(), night.fan.secret.clone());
    let bound = at_once(8, |i| {
        let (http, id, secret) = (night.house.anybody(), id.clone(), secret.clone());
        async move { (i, bind(&http, &id, &secret, &Phone::new(u8::try_from(i).unwrap()).binding(&id)).await.expect(200)) }
    })
    .await;
    // Each took it from the one before; of eight certificates the last opens the gate.
    assert_eq!(night.generation(0).await, 8);
    let device = night.festival.device().await;
    let mut verdicts = Vec::new();
    for (i, answer) in &bound {
        let code = Phone::new(u8::try_from(*i).unwrap()).code(answer["certificate"].as_str().unwrap(), night.now());
        verdicts.push(night.scan(&device, &code).await);
    }
    verdicts.sort();
    assert_eq!((verdicts[0].as_str(), verdicts[1..].iter().all(|verdict| verdict == "revoked")), ("admitted", true), "{verdicts:?}");
    night.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_may_take_their_time_and_a_supervisor_lets_a_dead_phone_in() {
    let night = Night::open(3).await;
    let phone = Phone::new(1);
    night.until(EVENING);
    night.festival.promoter.send("PATCH", &format!("/v1/passes/{}", night.pass), &json!({ "check_instruction": "identity" })).await.expect(200);
    let device = night.festival.device().await;
    let certificates = [night.bind(0, &phone).await, night.bind(1, &phone).await];
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let code = phone.code(&certificates[0], night.now());
    let check = night.scan_as(&device, &code, json!({})).await;
    assert_eq!(said(&check), "check");
    // The document took a minute; the same code without the check that it answers for is too old by then.
    night.house.advance(TimeDelta::minutes(1));
    assert_eq!(night.scan(&device, &code).await, "live_code_required");
    assert_eq!(said(&night.scan_as(&device, &code, json!({ "after": check["scan_id"], "checked": "yes" })).await), "admitted");

    // A picture of the code, by a supervisor who saw that it is one.
    let digits = supervisors::shift(&night.house, &night.festival).await;
    answer(device.http.request("POST", "/v1/device-shifts").bearer_auth(&device.token).json(&json!({ "shift_code": digits }))).await.expect(200);
    let picture = night.tickets[2]["ticket_code"].as_str().unwrap();
    let word = json!({ "checked": "yes", "override": { "reasons": ["live_code_required"], "because": "our_mistake" } });
    let let_in = night.scan_as(&device, picture, word).await;
    assert_eq!((said(&let_in), &let_in["because"]), ("admitted".to_owned(), &json!("our_mistake")));

    // A screenshot stays one, whatever scan it says that it answers for.
    let screenshot = phone.code(&certificates[1], night.now());
    night.house.advance(TimeDelta::minutes(10));
    let refused = night.scan_as(&device, &screenshot, json!({})).await;
    for after in [refused["scan_id"].clone(), check["scan_id"].clone(), json!(uuid::Uuid::now_v7())] {
        let answer = night.scan_as(&device, &screenshot, json!({ "after": after, "checked": "yes" })).await;
        assert_eq!(said(&answer), "live_code_required");
    }
    let word = json!({ "after": refused["scan_id"], "checked": "yes", "override": { "reasons": ["live_code_required"], "because": "hardship" } });
    let let_in = night.scan_as(&device, &screenshot, word).await;
    assert_eq!((said(&let_in), &let_in["because"]), ("admitted".to_owned(), &json!("hardship")));
    assert_eq!(said(&night.scan_as(&device, &screenshot, json!({ "kind": "undo" })).await), "admitted");

    // Phones without network: what was live then is no discrepancy, what was a picture is one.
    night.house.advance(TimeDelta::minutes(10));
    let now = night.now();
    let live = phone.code(&certificates[1], now - TimeDelta::minutes(3));
    let report = |at: DateTime<Utc>| json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": live, "scanned_at": at, "verdict": "admitted", "checked": "yes" });
    let merged = device.report(now, &[report(now - TimeDelta::minutes(3) + TimeDelta::seconds(20))]).await.expect(200);
    assert_eq!(merged["items"][0]["discrepancies"], json!([]));
    night.house.advance(TimeDelta::minutes(1));
    let leave = json!({ "kind": "exit" });
    assert_eq!(said(&night.scan_as(&device, &live, leave).await), "admitted");
    night.house.advance(TimeDelta::minutes(1));
    let merged = device.report(night.now(), &[report(night.now())]).await.expect(200);
    assert_eq!(merged["items"][0]["discrepancies"], json!(["admitted_otherwise"]));
    night.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_makes_its_own_codes_without_network_and_two_decoders_read_them() {
    let night = Night::open(1).await;
    night.until(EVENING);
    let order = format!("{}/o/{}/{}", night.house.url, night.fan.order, night.fan.secret);
    let own = night.tickets[0]["url"].as_str().unwrap().replace(&night.house.app.settings.public_url, &night.house.url);
    let pairing = night.festival.promoter.make(&night.festival.path("/pairings"), json!({ "gate_id": night.festival.gate })).await;
    let input =
        json!({ "url": night.house.url, "order": order, "ticket": own, "picture": night.tickets[0]["ticket_code"], "pairing_code": pairing["pairing_code"] });
    let seen = scene("live", &input).await;
    println!("{seen}");
    assert_eq!(seen["faces"], json!(["free", "here", "here", "elsewhere", "here", "elsewhere"]), "{seen}");
    assert_eq!(seen["leads"], own, "the page of the order leads to that of the ticket");
    assert!(seen["isOffline"].as_bool().unwrap(), "{seen}");
    assert!(seen["sideways"].as_array().unwrap().is_empty() && seen["errors"].as_array().unwrap().is_empty(), "{seen}");
    let codes: Vec<&str> = seen["codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
    assert_eq!(codes.len(), 4);
    assert_ne!(codes[0], codes[1], "renewed");
    for (read, code) in seen["pictures"].as_array().unwrap().iter().zip(&codes) {
        let file = read.as_str().unwrap();
        let text = crate::print::by_zbar_file(file.as_ref()).await;
        assert_eq!(text.as_deref(), Some(*code), "zbar, {file}");
        let picture = image::open(file).unwrap().into_luma8();
        assert_eq!(crate::print::by_rqrr(&picture).as_deref(), Some(*code), "rqrr, {file}");
    }
    // A gate whose list is older than the binding: the festival's key vouches for it; a screenshot stays one there, too.
    assert_eq!((&seen["gate"]["live"], &seen["gate"]["picture"]), (&json!("admitted"), &json!("live_code_required")), "{seen}");
    let device = night.festival.device().await;
    assert_eq!(night.scan(&device, codes[0]).await, "revoked", "the phone of before");
    assert_eq!(night.scan(&device, codes[3]).await, "admitted");
    night.close().await;
}
