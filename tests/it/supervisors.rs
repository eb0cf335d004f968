//! Supervisors at the gates: signed in by the digits of a shift or known by a card, they let in whom the rules refuse, by name; they search and look up.

use chrono::{DateTime, TimeDelta, Utc};
use gatefold::{
    accounts::{Member, Scope, Staff, shift},
    audit::Actor,
    id::{FestivalId, MemberId, PromoterId},
    words::Language,
};
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Device, Festival, answer, key},
    house::House,
    races::at_once,
};

/// The first member of a festival's promoter.
async fn member(house: &House, festival: &Festival) -> Member {
    let mut conn = house.database().await;
    let (promoter, member_id, name): (PromoterId, MemberId, String) = sqlx::query_as(
        "select m.promoter_id, m.member_id, m.name from members m join festivals f on f.promoter_id = m.promoter_id where f.festival_id = $1 order by m.created_at limit 1",
    )
    .bind(i32::try_from(festival.id).unwrap())
    .fetch_one(&mut conn)
    .await
    .unwrap();
    let staff = Staff { promoter, actor: Actor::Member(member_id), festival: None, scopes: Scope::ALL.to_vec(), masked: false };
    Member { member_id, name, roles: vec!["owner".to_owned()], language: Language::En, staff }
}

/// Begins a shift of the first member; its digits.
pub async fn shift(house: &House, festival: &Festival) -> String {
    let member = member(house, festival).await;
    shift::begin(&house.app, &member, FestivalId(i32::try_from(festival.id).unwrap()), TimeDelta::hours(8)).await.unwrap().code
}

struct Evening {
    house: House,
    festival: Festival,
    offer: String,
}

impl Evening {
    /// The first evening of a festival, with a pass that never lets in twice.
    async fn open() -> Self {
        let house = House::open().await;
        let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
        house.advance("2026-06-19T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
        let once = json!({ "name": { "en": "Once" }, "color": "#ff0000", "color_name": { "en": "red" }, "day_mask": 1, "reentry": "never" });
        let pass = festival.promoter.make(&festival.path("/passes"), once).await["pass_id"].as_str().unwrap().to_owned();
        let offer = festival.offer(&pass, 100, 100).await;
        Self { house, festival, offer }
    }

    async fn codes(&self, n: i64) -> Vec<String> {
        self.codes_of("Mara Lindqvist", n).await
    }

    async fn codes_of(&self, name: &str, n: i64) -> Vec<String> {
        let fan = self.house.anybody().order_for(name, &format!("fan{}@x.example", key()), &[(&self.offer, n)]).await;
        fan.pay(&key(), "simulated_instant").await.expect(201);
        let codes = fan.tickets().await.iter().map(|t| t["ticket_code"].as_str().unwrap().to_owned()).collect();
        self.house.run_workers().await;
        codes
    }

    async fn supervisors_device(&self) -> Device {
        let pairing = self.festival.promoter.make(&self.festival.path("/pairings"), json!({ "gate_id": self.festival.gate, "profile": "supervisor" })).await;
        self.house.anybody().pair(pairing["pairing_code"].as_str().unwrap()).await
    }

    async fn scan(&self, device: &Device, code: &str, more: Value) -> Answer {
        self.house.advance(TimeDelta::seconds(1));
        device.scan_as(&uuid::Uuid::now_v7().to_string(), code, self.house.app.clock.now(), more).await
    }

    async fn overrides(&self) -> Vec<Value> {
        self.festival.promoter.get(&self.festival.path("/overrides")).await.expect(200)["items"].as_array().unwrap().clone()
    }

    async fn ledger(&self) -> Vec<String> {
        let page = self.festival.promoter.get(&self.festival.path("/discrepancies?limit=200&open=true")).await.expect(200);
        page["items"].as_array().unwrap().iter().map(|d| d["kind"].as_str().unwrap().to_owned()).collect()
    }

    async fn audited(&self, action: &str) -> i64 {
        let mut conn = self.house.database().await;
        sqlx::query_scalar("select count(*) from audit where action = $1").bind(action).fetch_one(&mut conn).await.unwrap()
    }

    async fn close(self) {
        self.house.run_workers().await;
        self.house.close().await;
    }
}

async fn post(device: &Device, path: &str, body: &Value) -> Answer {
    answer(device.http.request("POST", path).bearer_auth(&device.token).json(body)).await
}

async fn sign_in(device: &Device, digits: &str) -> Answer {
    post(device, "/v1/device-shifts", &json!({ "shift_code": digits })).await
}

/// A supervisor's word for whoever is in already.
fn because(why: &str) -> Value {
    json!({ "override": { "reasons": ["already_inside"], "because": why } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_who_is_signed_in_lets_in_by_name_and_with_a_reason() {
    let evening = Evening::open().await;
    let codes = evening.codes(3).await;
    let device = evening.festival.device().await;
    assert_eq!(evening.scan(&device, &codes[0], json!({})).await.expect(201)["verdict"], "admitted");
    assert_eq!(evening.scan(&device, &codes[0], json!({})).await.expect(201)["reason"], "already_inside");
    // Nobody is signed in.
    assert_eq!(evening.scan(&device, &codes[0], because("our_mistake")).await.expect(403)["status"], 403);
    let digits = shift(&evening.house, &evening.festival).await;
    let supervising = sign_in(&device, &digits).await.expect(200);
    assert_eq!(supervising["name"], "Night Ferry Foundation");
    let beat = post(&device, "/v1/heartbeats", &json!({ "waiting": 0 })).await.expect(200);
    assert_eq!(beat["supervisor"]["name"], "Night Ferry Foundation");

    // The second one is in as well; a repeat of the scan gets the same answer and counts once.
    let scan_id = uuid::Uuid::now_v7().to_string();
    for _ in 0..2 {
        let now = evening.house.app.clock.now();
        let let_in = device.scan_as(&scan_id, &codes[0], now, because("promoters_word")).await.expect(201);
        assert_eq!((&let_in["verdict"], &let_in["because"]), (&json!("admitted"), &json!("promoters_word")), "{let_in}");
    }
    // They had left and nobody scanned it: one is in, not two.
    evening.scan(&device, &codes[1], json!({})).await.expect(201);
    let back = evening.scan(&device, &codes[1], because("left_unscanned")).await.expect(201);
    assert_eq!(back["because"], "left_unscanned");
    let mut conn = evening.house.database().await;
    let open: Vec<i64> =
        sqlx::query_scalar("select count(*) filter (where left_at is null) from admissions group by ticket_id order by 1").fetch_all(&mut conn).await.unwrap();
    assert_eq!(open, [1, 2]);
    // A note is needed where the list of reasons has none; what refuses nothing needs nobody's word.
    evening.scan(&device, &codes[2], because("other")).await.expect(403);
    let typed = json!({ "override": { "reasons": ["already_inside"], "because": "other", "note": format!("here: {}", codes[2]) } });
    evening.scan(&device, &codes[2], typed).await.expect(403);
    let plain = json!({ "override": { "reasons": ["already_inside"], "because": "other", "note": "lost child" } });
    let plain = evening.scan(&device, &codes[2], plain).await.expect(201);
    assert_eq!((&plain["verdict"], plain.get("because")), (&json!("admitted"), None));

    let overrides = evening.overrides().await;
    let told: Vec<(&str, &str)> = overrides.iter().map(|o| (o["reasons"][0].as_str().unwrap(), o["because"].as_str().unwrap())).collect();
    assert_eq!(told, [("already_inside", "left_unscanned"), ("already_inside", "promoters_word")]);
    assert!(overrides.iter().all(|o| o["name"] == "Night Ferry Foundation"), "{overrides:?}");
    assert_eq!(evening.audited("entry.overridden").await, 2);
    assert!(evening.ledger().await.is_empty(), "whom a supervisor let in is no discrepancy");

    // Signed out, and at the end of the shift, nobody is; what was answered is answered again all the same, and whoever leaves leaves.
    post(&device, "/v1/device-shifts/ends", &json!({})).await.expect(200);
    let again = device.scan_as(&scan_id, &codes[0], evening.house.app.clock.now(), because("promoters_word")).await.expect(201);
    assert_eq!((&again["verdict"], &again["because"]), (&json!("admitted"), &json!("promoters_word")));
    evening.house.advance(TimeDelta::seconds(1));
    let mut leaving = because("our_mistake");
    leaving["kind"] = json!("exit");
    assert_eq!(evening.scan(&device, &codes[1], leaving).await.expect(201)["verdict"], "admitted");
    evening.scan(&device, &codes[2], because("our_mistake")).await.expect(403);
    sign_in(&device, &digits).await.expect(200);
    evening.house.advance(TimeDelta::hours(8));
    evening.house.run_workers().await;
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    evening.scan(&device, &codes[2], because("our_mistake")).await.expect(403);
    sign_in(&device, &digits).await.expect(403);
    evening.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_nobody_saw_is_not_overridden() {
    let evening = Evening::open().await;
    let codes = evening.codes(1).await;
    let (festival, device) = (&evening.festival, evening.festival.device().await);
    sign_in(&device, &shift(&evening.house, festival).await).await.expect(200);
    evening.scan(&device, &codes[0], json!({})).await.expect(201);
    // A gate that takes other passes alone: its refusal stands before the one of a ticket that somebody is in on.
    let other = festival.pass("Other", 1).await;
    let gate = festival.promoter.make(&festival.path("/gates"), json!({ "name": { "en": "Crew" }, "pass_ids": [other] })).await;
    let gate = gate["gate_id"].as_str().unwrap().to_owned();
    let crew = Festival { gate, ..festival.clone() }.device().await;
    let digits = shift(&evening.house, festival).await;
    sign_in(&crew, &digits).await.expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let word = |reasons: &[&str]| json!({ "override": { "reasons": reasons, "because": "our_mistake" } });
    assert_eq!(evening.scan(&crew, &codes[0], json!({})).await.expect(201)["reason"], "wrong_gate");
    let hidden = evening.scan(&crew, &codes[0], word(&["wrong_gate"])).await.expect(201);
    assert_eq!((&hidden["reason"], hidden["first_entry"]["gate"]["en"].as_str()), (&json!("already_inside"), Some("North Quay")));
    assert_eq!(evening.scan(&crew, &codes[0], word(&["already_inside"])).await.expect(201)["reason"], "wrong_gate");
    assert_eq!(evening.scan(&crew, &codes[0], word(&["wrong_gate", "already_inside"])).await.expect(201)["verdict"], "admitted");
    assert_eq!(evening.overrides().await[0]["reasons"], json!(["wrong_gate", "already_inside"]));
    // Before the next day opens a ticket of that day is let in for it, and is not fresh when it opens.
    let sunday = json!({ "name": { "en": "Saturday" }, "color": "#00ff00", "color_name": { "en": "green" }, "day_mask": 2, "reentry": "never" });
    let pass = festival.promoter.make(&festival.path("/passes"), sunday).await["pass_id"].as_str().unwrap().to_owned();
    let offer = festival.offer(&pass, 10, 100).await;
    let fan = evening.house.anybody().order("jo@x.example", &[(&offer, 1)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    let code = fan.tickets().await[0]["ticket_code"].as_str().unwrap().to_owned();
    evening.house.run_workers().await;
    evening.house.advance("2026-06-20T10:40:00Z".parse::<DateTime<Utc>>().unwrap() - evening.house.app.clock.now());
    evening.house.run_workers().await;
    let digits = shift(&evening.house, festival).await;
    sign_in(&device, &digits).await.expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let early = evening.scan(&device, &code, word(&["too_early"])).await.expect(201);
    assert_eq!((&early["verdict"], &early["day"]["en"]), (&json!("admitted"), &json!("Saturday")), "{early}");
    evening.house.advance(TimeDelta::minutes(30));
    assert_eq!(evening.scan(&device, &code, json!({})).await.expect(201)["reason"], "already_inside");
    evening.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_wrong_codes_and_a_device_takes_no_more_for_an_hour() {
    let evening = Evening::open().await;
    let device = evening.festival.device().await;
    let digits = shift(&evening.house, &evening.festival).await;
    let wrong = if digits == "000000" { "000001" } else { "000000" };
    for _ in 0..9 {
        sign_in(&device, wrong).await.expect(403);
    }
    // One that is right does not forgive what was wrong.
    sign_in(&device, &format!("{} {}", &digits[..3], &digits[3..])).await.expect(200);
    sign_in(&device, wrong).await.expect(403);
    let barred = sign_in(&device, &digits).await;
    assert_eq!((barred.status, barred.problem()), (429, "too-many-requests"));
    assert_eq!(evening.audited("supervisor.barred").await, 1);
    // Another device is not barred by it.
    sign_in(&evening.festival.device().await, &digits).await.expect(200);
    evening.house.advance(TimeDelta::minutes(61));
    evening.house.run_workers().await;
    sign_in(&device, &digits).await.expect(200);
    // Another shift of the same member ends the one before.
    let next = shift(&evening.house, &evening.festival).await;
    sign_in(&device, &digits).await.expect(403);
    sign_in(&device, &next).await.expect(200);
    // The digits of one festival are nothing at another.
    let elsewhere = evening.house.promoter("Brine").await.festival("brine").await;
    sign_in(&elsewhere.device().await, &next).await.expect(403);
    // Whoever pairs many phones guesses no more than a hundred times an hour, until those are revoked.
    let sheet = json!({ "gate_id": evening.festival.gate, "devices": 20 });
    let sheet = evening.festival.promoter.make(&evening.festival.path("/pairings"), sheet).await;
    let (mut wrong_ones, mut phones) = (0, Vec::new());
    while wrong_ones < 300 {
        let phone = evening.house.anybody().pair(sheet["pairing_code"].as_str().unwrap()).await;
        phones.push(phone.id.clone());
        let mut statuses = Vec::new();
        for _ in 0..10 {
            statuses.push(sign_in(&phone, wrong).await.status);
        }
        wrong_ones += statuses.iter().filter(|status| **status == 403).count();
        if statuses.contains(&429) {
            break;
        }
    }
    assert!((90..=100).contains(&wrong_ones), "{wrong_ones}");
    let fresh = evening.festival.device().await;
    sign_in(&fresh, &next).await.expect(429);
    for id in phones {
        evening.festival.promoter.send("POST", &format!("/v1/devices/{id}/revocations"), &json!({})).await.expect(200);
    }
    sign_in(&fresh, &next).await.expect(200);
    evening.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shifts_that_begin_and_sign_in_at_once_leave_one_of_each() {
    let evening = Evening::open().await;
    let festival = FestivalId(i32::try_from(evening.festival.id).unwrap());
    let member = member(&evening.house, &evening.festival).await;
    let begun = at_once(8, |_| {
        let (app, member) = (evening.house.app.clone(), member.clone());
        async move { shift::begin(&app, &member, festival, TimeDelta::hours(8)).await.map(|shift| shift.code) }
    })
    .await;
    let codes: Vec<String> = begun.into_iter().map(|code| code.unwrap()).collect();
    let running = shift::running(&evening.house.app, &member, festival).await.unwrap().unwrap().code;
    assert_eq!(codes.iter().filter(|code| **code == running).count(), 1);
    let device = evening.festival.device().await;
    for code in codes.iter().filter(|code| **code != running).take(3) {
        sign_in(&device, code).await.expect(403);
    }
    let answers = at_once(8, |_| {
        let (device, running) = (device.clone(), running.clone());
        async move { sign_in(&device, &running).await.status }
    })
    .await;
    assert_eq!(answers, [200; 8]);
    let mut conn = evening.house.database().await;
    let open: (i64, i64) = sqlx::query_as("select count(*), count(*) filter (where ended_at is null) from device_shifts").fetch_one(&mut conn).await.unwrap();
    assert_eq!(open, (8, 1));
    evening.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_answered_with_its_reason() {
    let evening = Evening::open().await;
    let code = evening.codes(1).await.remove(0);
    let device = evening.festival.device().await;
    for (word, status) in [
        (json!({ "reasons": [], "because": "hardship" }), 422),
        (json!({ "reasons": ["already_inside", "already_inside"], "because": "hardship" }), 422),
        (json!({ "reasons": ["bored"], "because": "hardship" }), 422),
        (json!({ "reasons": ["already_inside"], "because": "whim" }), 422),
        (json!({ "reasons": ["already_inside"], "because": "hardship", "note": "x".repeat(201) }), 422),
        (json!({ "reasons": ["already_inside"], "because": "hardship", "card_code": "G3" }), 403),
        (json!({ "reasons": ["already_inside"], "because": "hardship", "card_code": code }), 403),
    ] {
        evening.scan(&device, &code, json!({ "override": word.clone() })).await.expect(status);
    }
    for digits in ["", "abc", "12345", "1234567890123"] {
        sign_in(&device, digits).await.expect(422);
    }
    let festival = &evening.festival;
    for (path, status) in [("/supervisor-cards/zz/revocations", 404), ("/supervisor-cards/0/revocations", 404), ("/pairings/4242/revocations", 404)] {
        festival.promoter.send("POST", &festival.path(path), &json!({})).await.expect(status);
    }
    let card = |name: &str, day: i64, n: i64| json!({ "name": name, "day_index": day, "overrides": n });
    for (body, status) in [(card("Jo", 0, 0), 422), (card("Jo", 0, 256), 422), (card("Jo", 16, 5), 422), (card("Jo", 9, 5), 422), (card("  ", 0, 5), 422)] {
        festival.promoter.send("POST", &festival.path("/supervisor-cards"), &body).await.expect(status);
    }
    // Over is over: no card is issued for a day that was.
    evening.house.run_workers().await;
    evening.house.advance(TimeDelta::hours(10));
    festival.promoter.send("POST", &festival.path("/supervisor-cards"), &card("Jo", 0, 5)).await.expect(422);
    evening.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_lets_in_so_often_on_its_day_and_not_once_more_at_thirty_gates() {
    let evening = Evening::open().await;
    let codes = evening.codes(10).await;
    let devices = [evening.festival.device().await, evening.festival.device().await];
    for code in &codes {
        evening.scan(&devices[0], code, json!({})).await.expect(201);
    }
    let issue = async |day: i64, n: i64| {
        evening.festival.promoter.make(&evening.festival.path("/supervisor-cards"), json!({ "name": "Jo", "day_index": day, "overrides": n })).await
    };
    let card = issue(0, 4).await;
    let with = |card: &Value| json!({ "override": { "reasons": ["already_inside"], "because": "our_mistake", "card_code": card["card_code"] } });
    let answers = at_once(10, |i| {
        let (device, code, now, more) = (devices[i % 2].clone(), codes[i].clone(), evening.house.app.clock.now() + TimeDelta::seconds(5), with(&card));
        async move { device.scan_as(&uuid::Uuid::now_v7().to_string(), &code, now, more).await }
    })
    .await;
    let in_by_card = answers.iter().filter(|a| a.status == 201 && a.body["because"] == "our_mistake").count();
    assert_eq!(in_by_card, 4, "{answers:?}");
    assert!(answers.iter().all(|a| a.body["because"] == "our_mistake" || a.status == 403 || a.body["reason"] == "already_inside"), "{answers:?}");
    evening.scan(&devices[0], &codes[9], with(&card)).await.expect(403);
    let cards = evening.festival.promoter.get(&evening.festival.path("/supervisor-cards")).await.expect(200);
    assert_eq!((&cards["items"][0]["used"], &cards["items"][0]["name"]), (&json!(4), &json!("Jo")));
    assert!(evening.overrides().await.iter().all(|o| o["name"] == "Jo" && o.get("member_id").is_none()));

    // Of another day, of another festival, changed, revoked: it opens nothing.
    let (tomorrow, other) = (issue(1, 4).await, issue(0, 4).await);
    evening.scan(&devices[0], &codes[9], with(&tomorrow)).await.expect(403);
    let elsewhere = evening.house.promoter("Brine").await.festival("brine").await;
    let foreign = elsewhere.promoter.make(&elsewhere.path("/supervisor-cards"), json!({ "name": "Al", "day_index": 0 })).await;
    evening.scan(&devices[0], &codes[9], with(&foreign)).await.expect(403);
    let mut forged = other["card_code"].as_str().unwrap().to_owned();
    forged.replace_range(30..31, if &forged[30..31] == "A" { "B" } else { "A" });
    evening.scan(&devices[0], &codes[9], with(&json!({ "card_code": forged }))).await.expect(403);
    let revoke = evening.festival.path(&format!("/supervisor-cards/{}/revocations", other["card_number"].as_str().unwrap()));
    for _ in 0..2 {
        let revoked = evening.festival.promoter.send("POST", &revoke, &json!({})).await.expect(200);
        assert!(revoked["revoked_at"].is_string() && revoked.get("card_code").is_none(), "{revoked}");
    }
    evening.scan(&devices[0], &codes[9], with(&other)).await.expect(403);
    assert_eq!(evening.audited("supervisor_card.revoked").await, 1);
    // It is no ticket.
    assert_eq!(evening.scan(&devices[0], card["card_code"].as_str().unwrap(), json!({})).await.expect(201)["reason"], "unknown");
    evening.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_supervisors_did_without_network_is_known_by_name_whoever_reports_first() {
    let mut told = Vec::new();
    for order in [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10], [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]] {
        told.push(without_network(order).await);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
}

/// What the house says of the same facts, heard in an order and then once more.
async fn without_network(order: [usize; 12]) -> Value {
    let evening = Evening::open().await;
    let codes = evening.codes(6).await;
    let (north, south) = (evening.festival.device().await, evening.festival.device().await);
    evening.house.advance(TimeDelta::minutes(20));
    evening.house.run_workers().await;
    let digits = shift(&evening.house, &evening.festival).await;
    sign_in(&north, &digits).await.expect(200);
    let card = evening.festival.promoter.make(&evening.festival.path("/supervisor-cards"), json!({ "name": "Jo", "day_index": 0, "overrides": 1 })).await;
    evening.house.advance(TimeDelta::minutes(30));
    evening.house.run_workers().await;
    let now = evening.house.app.clock.now();
    let at = |minutes: i64| now - TimeDelta::minutes(minutes);
    let shown = |code: &str, minutes: i64, more: Value| {
        let mut scan = json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": code, "scanned_at": at(minutes), "verdict": "admitted" });
        scan.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        scan
    };
    let by_card = json!({ "override": { "reasons": ["already_inside"], "because": "hardship", "card_code": card["card_code"] } });
    // By a member on north, by a card on south, twice more than it may; by nobody on south.
    let facts = [
        (&south, shown(&codes[0], 20, json!({}))),
        (&north, shown(&codes[0], 10, because("promoters_word"))),
        (&north, shown(&codes[1], 20, json!({}))),
        (&south, shown(&codes[1], 10, by_card.clone())),
        (&south, shown(&codes[2], 20, json!({}))),
        (&south, shown(&codes[2], 10, by_card.clone())),
        (&north, shown(&codes[3], 20, json!({}))),
        (&south, shown(&codes[3], 10, because("our_mistake"))),
        // Another rule was overridden: that somebody was in the supervisor did not see.
        (&south, shown(&codes[4], 20, json!({}))),
        (&north, shown(&codes[4], 10, json!({ "override": { "reasons": ["wrong_gate"], "because": "our_mistake" } }))),
        // Before anybody was signed in.
        (&north, shown(&codes[5], 45, json!({}))),
        (&north, shown(&codes[5], 40, because("our_mistake"))),
    ];
    for i in order.into_iter().chain(0..12) {
        let (device, scan) = &facts[i];
        device.report(now, std::slice::from_ref(scan)).await.expect(200);
    }
    // The word of nobody is none, before a shift as without one: those are in the ledger, and the one whose rule nobody overrode.
    assert_eq!(evening.ledger().await, ["surplus_admission"; 3]);
    let overrides = evening.overrides().await;
    assert_eq!(overrides.len(), 4, "{overrides:?}");
    let names: Vec<&str> = overrides.iter().map(|o| o["name"].as_str().unwrap()).collect();
    assert_eq!(names.iter().filter(|n| **n == "Jo").count(), 2);
    assert_eq!(evening.audited("entry.overridden").await, 4);
    // Cards cannot count together without network; how often it was is seen.
    let cards = evening.festival.promoter.get(&evening.festival.path("/supervisor-cards")).await.expect(200);
    assert_eq!((&cards["items"][0]["used"], &cards["items"][0]["overrides"]), (&json!(2), &json!(1)));
    let mut told: Vec<Value> = overrides.iter().map(|o| json!([o["made_at"].as_str().map(|_| ()), o["name"], o["reasons"], o["because"]])).collect();
    told.sort_by_key(Value::to_string);
    evening.close().await;
    json!(told)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_searched_on_a_supervisors_device_while_somebody_is_signed_in() {
    let evening = Evening::open().await;
    evening.codes_of("Mara Lindqvist", 2).await;
    evening.codes_of("José Ángel Núñez", 1).await;
    let scanned = evening.codes_of("王小雨", 1).await;
    let (plain, device) = (evening.festival.device().await, evening.supervisors_device().await);
    let digits = shift(&evening.house, &evening.festival).await;
    let search = async |device: &Device, text: &str| post(device, "/v1/ticket-searches", &json!({ "text": text })).await;
    search(&device, "mara").await.expect(403);
    sign_in(&device, &digits).await.expect(200);
    sign_in(&plain, &digits).await.expect(200);
    search(&plain, "mara").await.expect(403);
    let names = async |text: &str| -> Vec<String> {
        let found = search(&device, text).await.expect(200);
        found["items"].as_array().unwrap().iter().map(|t| t["holder_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("lindq").await, ["Mara Lindqvist", "Mara Lindqvist"]);
    assert_eq!(names("MARA lind").await.len(), 2);
    assert_eq!(names("nunez jose").await, ["José Ángel Núñez"]);
    assert_eq!(names("小雨").await, ["王小雨"]);
    assert!(names("indqvist").await.is_empty(), "a name begins where it begins");
    for little in ["ma", "m a l", "\u{301}\u{301}\u{301}", "éa"] {
        search(&device, little).await.expect(422);
    }
    // By the number of the order, and by an address that is whole.
    let mara = search(&device, "lindq").await.expect(200)["items"][0].clone();
    let number = mara["order_number"].as_str().unwrap();
    assert_eq!(names(number).await.len(), 2);
    assert_eq!(names(&number.replace('-', "").to_lowercase()).await.len(), 2);
    assert!(names("fan@x.example").await.is_empty());
    let mut conn = evening.house.database().await;
    let email: String = sqlx::query_scalar("select email from orders where buyer_name like '王%'").fetch_one(&mut conn).await.unwrap();
    assert_eq!(names(&email.to_uppercase()).await, ["王小雨"]);
    // What was found is looked up, and scanned.
    let wang = search(&device, "王小雨").await.expect(200)["items"][0].clone();
    let code = post(&device, "/v1/code-lookups", &json!({ "ticket_id": wang["ticket_id"] })).await.expect(200);
    assert_eq!(code["ticket_code"], scanned[0].as_str());
    for (body, status) in [(json!({}), 400), (json!({ "ticket_id": uuid::Uuid::nil() }), 404)] {
        post(&device, "/v1/code-lookups", &body).await.expect(status);
    }
    assert_eq!(evening.audited("tickets.searched").await, 11);
    // At most twenty, and no more of the festival is read than that needs.
    for _ in 0..3 {
        evening.codes_of("Mara Lindqvist", 10).await;
    }
    assert_eq!(names("mara").await.len(), 20);
    evening.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sheet_pairs_as_many_phones_as_it_says_until_its_time() {
    let evening = Evening::open().await;
    let (promoter, path) = (&evening.festival.promoter, evening.festival.path("/pairings"));
    let sheet = promoter.make(&path, json!({ "gate_id": evening.festival.gate, "devices": 3 })).await;
    let code = sheet["pairing_code"].as_str().unwrap().to_owned();
    assert_eq!(code.rsplit('-').next().unwrap().len(), 26, "128 bits");
    let pair = async |code: &str| evening.house.anybody().post("/v1/devices", &json!({ "pairing_code": code, "name": "lane" })).await;
    // Wrong letters take nothing away.
    for _ in 0..12 {
        pair(&format!("{}-{}-{}", evening.festival.id, sheet["pairing_no"], "A".repeat(26))).await.expect(401);
    }
    let answers = at_once(8, |_| {
        let (house, code) = (evening.house.anybody(), code.clone());
        async move { house.post("/v1/devices", &json!({ "pairing_code": code, "name": "lane" })).await.status }
    })
    .await;
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 3, "{answers:?}");
    assert!(answers.iter().all(|status| matches!(status, 201 | 401)), "{answers:?}");
    assert!(promoter.get(&path).await.expect(200)["items"].as_array().unwrap().is_empty(), "a sheet that is used up is listed no more");
    // Revoked, it pairs nobody, and whom it paired stays.
    let sheet = promoter.make(&path, json!({ "gate_id": evening.festival.gate, "devices": 5 })).await;
    let code = sheet["pairing_code"].as_str().unwrap();
    let device = evening.house.anybody().pair(code).await;
    assert_eq!(promoter.get(&path).await.expect(200)["items"][0]["devices"], 1);
    promoter.send("POST", &format!("{path}/{}/revocations", sheet["pairing_no"]), &json!({})).await.expect(200);
    pair(code).await.expect(401);
    post(&device, "/v1/heartbeats", &json!({ "waiting": 0 })).await.expect(200);
    // Over, it pairs nobody.
    let until = evening.house.app.clock.now() + TimeDelta::hours(2);
    let sheet = promoter.make(&path, json!({ "gate_id": evening.festival.gate, "devices": 5, "until": until })).await;
    evening.house.run_workers().await;
    evening.house.advance(TimeDelta::hours(2));
    pair(sheet["pairing_code"].as_str().unwrap()).await.expect(401);
    promoter.send("POST", &path, &json!({ "gate_id": evening.festival.gate, "devices": 5, "until": until })).await.expect(422);
    assert_eq!(evening.audited("enrolment.offered").await, 3);
    evening.close().await;
}
