//! Devices without network report late, twice and in any order: who is in and what the ledger says come out the same.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Device, Festival, key},
    house::House,
};

/// A festival on its first evening, with tickets of a pass that lets in again after an exit, and of one that never does.
struct Evening {
    house: House,
    festival: Festival,
    codes: Vec<String>,
    never: Vec<String>,
    gates: [Device; 3],
}

fn at(house: &House, minutes: i64) -> DateTime<Utc> {
    house.app.clock.now() + TimeDelta::minutes(minutes)
}

async fn codes(house: &House, offer: &str, tickets: usize) -> Vec<String> {
    let mut codes = Vec::new();
    while codes.len() < tickets {
        let fan = house.anybody().order(&format!("fan{}@x.example", key()), &[(offer, 10)]).await;
        fan.pay(&key(), "simulated_instant").await.expect(201);
        codes.extend(fan.tickets().await.iter().map(|t| t["ticket_code"].as_str().unwrap().to_owned()));
    }
    house.run_workers().await;
    codes
}

impl Evening {
    async fn open(tickets: usize) -> Self {
        let house = House::open().await;
        let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
        let pass = festival.pass("Weekend pass", 0b111).await;
        let terms = json!({ "name": { "en": "Once" }, "color": "#ff0000", "color_name": { "en": "red" }, "day_mask": 1, "reentry": "never" });
        let once = festival.promoter.make(&festival.path("/passes"), terms).await["pass_id"].as_str().unwrap().to_owned();
        let (offer, once) = (festival.offer(&pass, 1_000, 100).await, festival.offer(&once, 1_000, 100).await);
        let (codes, never) = (codes(&house, &offer, tickets).await, codes(&house, &once, tickets).await);
        // Phones are paired when the doors open.
        house.advance("2026-06-19T12:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
        house.run_workers().await;
        let gates = [festival.device().await, festival.device().await, festival.device().await];
        house.advance(TimeDelta::hours(8));
        house.run_workers().await;
        Self { house, festival, codes, never, gates }
    }

    async fn ledger(&self, query: &str) -> Vec<Value> {
        let page = self.festival.promoter.get(&self.festival.path(&format!("/discrepancies?limit=200{query}"))).await.expect(200);
        page["items"].as_array().unwrap().clone()
    }

    /// The id of the ticket of a code, by its number.
    async fn ticket(&self, code: &str) -> String {
        let bytes = data_encoding::BASE32_NOPAD.decode(&code.as_bytes()[2..]).unwrap();
        let number = data_encoding::HEXLOWER.encode(&bytes[6..14]);
        let page = self.festival.promoter.get(&self.festival.path("/tickets?limit=200")).await.expect(200);
        page["items"].as_array().unwrap().iter().find(|t| t["number"] == number.as_str()).unwrap()["ticket_id"].as_str().unwrap().to_owned()
    }

    async fn close(self) {
        self.house.run_workers().await;
        self.house.close().await;
    }
}

/// A report of a device whose clock is right.
fn shown(code: &str, scanned_at: DateTime<Utc>, verdict: &str, more: &Value) -> Value {
    let mut scan = json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": code, "scanned_at": scanned_at, "verdict": verdict });
    scan.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    scan
}

fn admitted(code: &str, scanned_at: DateTime<Utc>) -> Value {
    shown(code, scanned_at, "admitted", &json!({}))
}

fn exit(code: &str, scanned_at: DateTime<Utc>) -> Value {
    shown(code, scanned_at, "admitted", &json!({ "kind": "exit" }))
}

fn kinds(answer: &Answer) -> Vec<Vec<String>> {
    let kinds = |item: &Value| item["discrepancies"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().to_owned()).collect();
    answer.body["items"].as_array().unwrap_or_else(|| panic!("{}", answer.body)).iter().map(kinds).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gates_without_network_let_in_one_ticket_and_the_ledger_has_it_whoever_reports_first() {
    let evening = Evening::open(4).await;
    let [north, south, _] = evening.gates.clone();
    let (early, late) = (at(&evening.house, -30), at(&evening.house, -20));
    // North sees the first ticket early, south late; both report, in both orders, twice.
    for (code, north_first) in [(&evening.codes[0], true), (&evening.codes[1], false)] {
        let (first, second) = (admitted(code, early), admitted(code, late));
        let mut reports = [(&north, &first), (&south, &second)];
        if !north_first {
            reports.reverse();
        }
        for _ in 0..2 {
            for (device, scan) in reports {
                device.report(evening.house.app.clock.now(), std::slice::from_ref(scan)).await.expect(200);
            }
        }
        let ledger: Vec<Value> = evening.ledger("&kind=surplus_admission").await.into_iter().filter(|d| d["scan_id"] == second["scan_id"]).collect();
        assert_eq!(ledger.len(), 1, "{ledger:?}");
        let surplus = &ledger[0];
        assert_eq!((&surplus["first_scan_id"], &surplus["reason"]), (&first["scan_id"], &json!("already_inside")), "{surplus}");
        assert_eq!((&surplus["device_id"], &surplus["first_device_id"]), (&json!(south.id), &json!(north.id)));
        assert_eq!(surplus["decision"], "open");
    }
    assert_eq!(evening.ledger("").await.len(), 2, "one a ticket, nothing else");
    // Both are in: the ticket opens no gate now.
    assert_eq!(north.scan(&evening.codes[1], Utc::now()).await.expect(201)["reason"], "already_inside");

    // An exit that is reported later explains an entry; the ledger keeps it as withdrawn.
    let code = &evening.codes[2];
    let (came, came_again) = (admitted(code, early), admitted(code, late));
    let answer = south.report(evening.house.app.clock.now(), &[came_again.clone(), came]).await;
    assert_eq!(kinds(&answer), [vec!["surplus_admission"], vec![]]);
    let answer = north.report(evening.house.app.clock.now(), &[exit(code, at(&evening.house, -25))]).await;
    assert_eq!(kinds(&answer), [Vec::<String>::new()]);
    let ledger = evening.ledger("").await;
    let explained = ledger.iter().find(|d| d["scan_id"] == came_again["scan_id"]).unwrap();
    assert!(explained["withdrawn_at"].is_string(), "{explained}");
    assert_eq!(evening.ledger("&open=true").await.len(), 2);
    evening.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_decided_otherwise_is_in_the_ledger_and_what_it_decided_alike_is_not() {
    let evening = Evening::open(20).await;
    let (house, festival) = (&evening.house, &evening.festival);
    let [gate, other, _] = evening.gates.clone();
    let now = house.app.clock.now();
    let refused = |code: &str, minutes: i64, reason: &str| shown(code, at(house, minutes), "refused", &json!({ "reason": reason }));
    let said = async |device: &Device, scan: Value| {
        let answer = device.report(now, &[scan]).await;
        kinds(&answer).remove(0)
    };
    let none = Vec::<String>::new();
    let codes = &evening.codes;

    // Alike: an entry, a duplicate that was refused, an exit, an entry again.
    assert_eq!(said(&gate, admitted(&codes[0], at(house, -50))).await, none);
    assert_eq!(said(&gate, refused(&codes[0], -49, "already_inside")).await, none);
    assert_eq!(said(&gate, exit(&codes[0], at(house, -48))).await, none);
    assert_eq!(said(&other, admitted(&codes[0], at(house, -47))).await, none);
    // Somebody who had left was turned away: the device had not heard of the exit.
    assert_eq!(said(&gate, admitted(&codes[1], at(house, -50))).await, none);
    assert_eq!(said(&other, refused(&codes[1], -40, "already_inside")).await, none);
    assert_eq!(said(&gate, exit(&codes[1], at(house, -45))).await, none);
    let ledger = evening.ledger("&kind=refused_otherwise").await;
    assert_eq!((ledger.len(), &ledger[0]["device_id"]), (1, &json!(other.id)), "{ledger:?}");
    // A pass without re-entry.
    assert_eq!(said(&gate, admitted(&evening.never[0], at(house, -50))).await, none);
    assert_eq!(said(&gate, exit(&evening.never[0], at(house, -45))).await, none);
    assert_eq!(said(&other, admitted(&evening.never[0], at(house, -40))).await, ["surplus_admission"]);
    // Somebody came in by another festival's code, one by a code of nobody; a refusal of it is right.
    assert_eq!(said(&gate, admitted("nonsense", at(house, -10))).await, ["admitted_otherwise"]);
    assert_eq!(said(&gate, refused("nonsense", -10, "unknown")).await, none);
    // The day before the festival.
    assert_eq!(said(&gate, admitted(&codes[2], at(house, -60 * 24))).await, ["admitted_otherwise", "clock_off"], "it was paired today");

    // Re-issued and voided while the gate had no network: what came before was right, what came after was not.
    let reissued = evening.ticket(&codes[3]).await;
    let change = json!({ "note": "lost phone" });
    festival.promoter.send("POST", &format!("/v1/tickets/{reissued}/reissues"), &change).await.expect(200);
    let voided = evening.ticket(&codes[4]).await;
    festival.promoter.send("POST", &format!("/v1/tickets/{voided}/voidings"), &change).await.expect(200);
    house.advance(TimeDelta::minutes(10));
    let now = house.app.clock.now();
    let said = async |scan: Value| kinds(&gate.report(now, &[scan]).await).remove(0);
    assert_eq!(said(admitted(&codes[3], now - TimeDelta::minutes(12))).await, none);
    assert_eq!(said(admitted(&codes[4], now - TimeDelta::minutes(5))).await, ["revoked_admission"]);
    assert_eq!(gate.scan(&codes[3], now).await.expect(201)["reason"], "revoked", "online the old code is dead");
    // Undone: it is valid again, by a new code.
    let revived = festival.promoter.send("POST", &format!("/v1/tickets/{voided}/reissues"), &change).await.expect(200);
    assert_eq!((&revived["status"], &revived["generation"]), (&json!("valid"), &json!(1)));

    // A clock that is ten minutes slow is corrected where the device knew it, and doubted where it did not.
    let slow = now - TimeDelta::minutes(10);
    let scan = shown(&codes[5], slow - TimeDelta::minutes(1), "admitted", &json!({ "offset_ms": 600_000 }));
    assert_eq!(kinds(&gate.report(slow, std::slice::from_ref(&scan)).await), [&[] as &[String]]);
    let scan = shown(&codes[6], slow - TimeDelta::minutes(1), "admitted", &json!({}));
    assert_eq!(kinds(&gate.report(slow, &[scan]).await), [["clock_off"]]);
    // An exit that everybody saw ends the entry that was reported late, so that the next one is surplus, too, although the server let in twice.
    let online = async |kind: &str| {
        house.advance(TimeDelta::minutes(10));
        let id = uuid::Uuid::now_v7().to_string();
        let body = gate.scan_as(&id, &codes[8], house.app.clock.now(), json!({ "kind": kind })).await.expect(201);
        assert_eq!(body["verdict"], "admitted");
        id
    };
    online("entry").await;
    let between = house.app.clock.now() + TimeDelta::minutes(5);
    online("exit").await;
    let last = online("entry").await;
    let now = house.app.clock.now();
    assert_eq!(kinds(&other.report(now, &[admitted(&codes[8], between)]).await), [["surplus_admission"]]);
    assert!(evening.ledger("&kind=surplus_admission").await.iter().any(|d| d["scan_id"] == last.as_str()), "two are in");
    // An add-on or a pass that a phone with an old list refused.
    let scan = shown(&codes[9], now, "refused", &json!({ "reason": "unknown" }));
    assert_eq!(kinds(&other.report(now, &[scan]).await), [["refused_otherwise"]]);
    // An undo that the server took and the phone did not hear of: it is taken back, however often somebody reports.
    gate.scan(&codes[10], now).await.expect(201);
    let undo = uuid::Uuid::now_v7().to_string();
    gate.scan_as(&undo, &codes[10], now, json!({ "kind": "undo" })).await.expect(201);
    let unheard = json!({ "scan_id": undo, "ticket_code": codes[10], "scanned_at": now, "kind": "undo", "verdict": "refused", "reason": "unknown" });
    for scan in [unheard, shown(&codes[10], now, "refused", &json!({ "reason": "unknown", "kind": "look" }))] {
        other.report(now, &[scan]).await.expect(200);
        let mut conn = house.database().await;
        let open: i64 = sqlx::query_scalar(
            "select count(*) from admissions a join tickets t using (festival_id, ticket_id) where to_hex(t.ticket_number) = ltrim($1, '0') and a.undone_at is null",
        )
        .bind(data_encoding::HEXLOWER.encode(&data_encoding::BASE32_NOPAD.decode(&codes[10].as_bytes()[2..]).unwrap()[6..14]))
        .fetch_one(&mut conn)
        .await
        .unwrap();
        assert_eq!(open, 0);
    }
    // A clock of another age is no reason to lose a scan.
    for absurd in ["1969-12-31T00:00:00Z", "9999-01-01T00:00:00Z", "0001-01-01T00:00:00Z"] {
        let scan = shown(&codes[11], absurd.parse().unwrap(), "refused", &json!({ "reason": "unknown" }));
        let answer = gate.report(now, &[scan]).await;
        assert!(kinds(&answer)[0].contains(&"clock_off".to_owned()), "{}", answer.body);
    }
    let scan =
        shown(&codes[7], "+262142-01-01T00:00:00Z".parse().unwrap_or(DateTime::<Utc>::MAX_UTC), "admitted", &json!({ "offset_ms": 4_000_000_000_000_i64 }));
    let answer = gate.report(now, &[scan]).await;
    assert!(matches!(answer.status, 200 | 400 | 422), "{}", answer.body);
    evening.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_both_decided_is_one_scan() {
    let evening = Evening::open(3).await;
    let (house, codes) = (&evening.house, &evening.codes);
    let [gate, ..] = evening.gates.clone();
    let now = house.app.clock.now();
    // The server let in and its answer was lost: the device decided alike, or otherwise.
    for (code, shown_as, expected) in
        [(&codes[0], json!({ "verdict": "admitted" }), vec![]), (&codes[1], json!({ "verdict": "refused", "reason": "unknown" }), vec!["refused_otherwise"])]
    {
        let scan_id = uuid::Uuid::now_v7().to_string();
        assert_eq!(gate.scan_as(&scan_id, code, now, json!({})).await.expect(201)["verdict"], "admitted");
        let mut report = json!({ "scan_id": scan_id, "ticket_code": code, "scanned_at": now });
        report.as_object_mut().unwrap().extend(shown_as.as_object().unwrap().clone());
        for _ in 0..2 {
            let answer = gate.report(now, std::slice::from_ref(&report)).await;
            assert_eq!(kinds(&answer), std::slice::from_ref(&expected));
            assert_eq!(answer.body["items"][0]["verdict"], "admitted", "the first verdict stays");
        }
        assert_eq!(gate.scan(code, now).await.expect(201)["reason"], "already_inside");
    }
    // The device let in while the server refused: whoever is in is in.
    let scan_id = uuid::Uuid::now_v7().to_string();
    gate.scan(&codes[2], now).await.expect(201);
    house.advance(TimeDelta::minutes(1));
    let now = house.app.clock.now();
    assert_eq!(gate.scan_as(&scan_id, &codes[2], now, json!({})).await.expect(201)["verdict"], "refused");
    let report = json!({ "scan_id": scan_id, "ticket_code": codes[2], "scanned_at": now, "verdict": "admitted" });
    assert_eq!(kinds(&gate.report(now, &[report]).await), [["surplus_admission"]]);

    // What cannot be is told where.
    for wrong in [
        json!({ "verdict": "refused" }),
        json!({ "verdict": "admitted", "reason": "unknown" }),
        json!({ "verdict": "perhaps" }),
        json!({ "verdict": "admitted", "offset_ms": 1e20 }),
    ] {
        let mut scan = json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": codes[0], "scanned_at": now });
        scan.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert!(matches!(gate.report(now, &[scan]).await.status, 400 | 422), "{wrong}");
    }
    assert!(matches!(gate.report(now, &[]).await.status, 400 | 422));
    let many: Vec<Value> = (0..501).map(|_| admitted("x", now)).collect();
    assert!(matches!(gate.report(now, &many).await.status, 400 | 422));
    evening.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_decides_by_name_and_takes_the_ledger_along() {
    let evening = Evening::open(3).await;
    let festival = &evening.festival;
    let ([gate, ..], now) = (evening.gates.clone(), evening.house.app.clock.now());
    for code in &evening.codes[..2] {
        gate.report(now, &[admitted(code, at(&evening.house, -9)), admitted(code, at(&evening.house, -5))]).await.expect(200);
    }
    let found = evening.ledger("&open=true").await;
    assert_eq!(found.len(), 2);
    let path = format!("/v1/discrepancies/{}/decisions", found[0]["discrepancy_id"].as_str().unwrap());
    let decide = async |decision: &str, note: &str| festival.promoter.send("POST", &path, &json!({ "decision": decision, "note": note })).await.expect(200);
    let decided = decide("staff_mistake", "=HYPERLINK(\"x\")").await;
    assert!(decided["decided_by"].is_string() && decided["decided_at"].is_string(), "{decided}");
    assert_eq!(evening.ledger("&open=true").await.len(), 1);
    // Whoever follows hears of it.
    let news = evening.ledger(&format!("&since={}", found.iter().map(|d| d["position"].as_i64().unwrap()).max().unwrap())).await;
    assert_eq!(news.iter().map(|d| d["decision"].as_str().unwrap()).collect::<Vec<_>>(), ["staff_mistake"]);
    let report = festival.promoter.get(&festival.path("/gate-reports")).await.expect(200)["items"][0].clone();
    assert_eq!(
        (&report["admissions"], &report["offline_admissions"], &report["surplus_admissions"], &report["open_discrepancies"]),
        (&json!(4), &json!(4), &json!(2), &json!(1))
    );

    let table = festival.promoter.get(&festival.path("/discrepancy-export")).await;
    let Value::String(table) = table.expect(200) else { panic!("no text") };
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("'=HYPERLINK"), "no formula: {table}");
    // Opened again; what was decided before stays in the audit.
    decide("open", "").await;
    assert_eq!(evening.ledger("&open=true").await.len(), 2);
    let mut conn = evening.house.database().await;
    let decisions: i64 = sqlx::query_scalar("select count(*) from audit where action = 'discrepancy.decided'").fetch_one(&mut conn).await.unwrap();
    assert_eq!(decisions, 2);
    evening.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_stands_where_its_holder_chose_among_the_allowed() {
    let evening = Evening::open(2).await;
    let (house, festival) = (&evening.house, &evening.festival);
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let south = text(&festival.promoter.make(&festival.path("/gates"), json!({ "name": { "en": "South Quay" } })).await, "gate_id");
    let east = text(&festival.promoter.make(&festival.path("/gates"), json!({ "name": { "en": "East Quay" } })).await, "gate_id");
    let stranger = house.promoter("Brine Collective").await.festival("brine").await;
    let pairing = json!({ "gate_id": festival.gate, "gate_ids": [south, festival.gate] });
    let pairing = festival.promoter.make(&festival.path("/pairings"), pairing).await;
    assert_eq!(pairing["gate_ids"], json!([festival.gate, south]));
    let phone = house.anybody().pair(pairing["pairing_code"].as_str().unwrap()).await;
    festival.promoter.send("POST", &festival.path("/pairings"), &json!({ "gate_id": festival.gate, "gate_ids": [stranger.gate] })).await.expect(404);
    house.advance(TimeDelta::minutes(2));
    let now = house.app.clock.now();

    let id = || uuid::Uuid::now_v7().to_string();
    phone.scan_as(&id(), &evening.codes[0], now, json!({ "gate_id": south })).await.expect(201);
    phone.scan_as(&id(), &evening.codes[1], now, json!({ "gate_id": east })).await.expect(422);
    // What happened is not lost, wherever the holder believed to be.
    let reports =
        [shown(&evening.codes[1], now, "admitted", &json!({ "gate_id": south })), shown(&evening.never[0], now, "admitted", &json!({ "gate_id": east }))];
    phone.report(now, &reports).await.expect(200);
    let report = festival.promoter.get(&festival.path("/gate-reports")).await.expect(200);
    let admissions = |gate: &str| report["items"].as_array().unwrap().iter().find(|r| r["gate_id"] == gate).unwrap()["admissions"].as_i64().unwrap();
    assert_eq!((admissions(&south), admissions(&festival.gate), admissions(&east)), (2, 1, 0));

    let alive = async |body: Value| crate::actors::answer(phone.http.request("POST", "/v1/heartbeats").bearer_auth(&phone.token).json(&body)).await;
    alive(json!({ "waiting": 0, "gate_id": south })).await.expect(200);
    alive(json!({ "waiting": 0, "gate_id": east })).await.expect(422);
    for _ in 0..2 {
        let devices = festival.promoter.get(&festival.path("/devices")).await.expect(200);
        let seen = devices["items"].as_array().unwrap().iter().find(|d| d["device_id"] == phone.id.as_str()).unwrap().clone();
        assert_eq!((&seen["gate_id"], &seen["waiting"]), (&json!(south), &json!(0)), "{seen}");
        // Written down, it is the same.
        house.run_workers().await;
    }
    evening.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_short_code_of_a_broken_screen_is_looked_up_by_a_supervisor_alone() {
    let evening = Evening::open(1).await;
    let (house, festival) = (&evening.house, &evening.festival);
    let offer = festival.offer(&festival.pass("Late pass", 0b111).await, 10, 100).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    let ticket = fan.tickets().await.remove(0);
    let pairing = festival.promoter.make(&festival.path("/pairings"), json!({ "gate_id": festival.gate, "profile": "supervisor" })).await;
    let supervisor = house.anybody().pair(pairing["pairing_code"].as_str().unwrap()).await;
    let ask = async |device: &Device, short: &str| {
        crate::actors::answer(device.http.request("POST", "/v1/code-lookups").bearer_auth(&device.token).json(&json!({ "short_code": short }))).await
    };
    let short = ticket["short_code"].as_str().unwrap();
    ask(&evening.gates[0], short).await.expect(403);
    for typed in [short.to_owned(), short.to_lowercase().replace(' ', "-"), short.replace(' ', "")] {
        assert_eq!(ask(&supervisor, &typed).await.expect(200)["ticket_code"], ticket["ticket_code"], "{typed}");
    }
    ask(&supervisor, "AAAAA AAAAA").await.expect(404);
    // Re-issued, the old letters stand for nothing.
    festival.promoter.send("POST", &format!("/v1/tickets/{}/reissues", ticket["ticket_id"].as_str().unwrap()), &json!({})).await.expect(200);
    ask(&supervisor, short).await.expect(404);
    let mut conn = house.database().await;
    let looked: i64 = sqlx::query_scalar("select count(*) from audit where action = 'ticket.looked_up'").fetch_one(&mut conn).await.unwrap();
    assert_eq!(looked, 3);
    evening.close().await;
}

/// A number from a seed (xorshift64*, Vigna 2016).
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    seed.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

fn shuffle<T>(items: &mut [T], seed: &mut u64) {
    for i in (1..items.len()).rev() {
        items.swap(i, usize::try_from(next(seed) % (i as u64 + 1)).unwrap());
    }
}

/// What came out for a ticket, without ids: entries with their ends, and the ledger.
async fn outcome(evening: &Evening, scripts: &BTreeMap<String, (String, String)>) -> BTreeMap<String, Vec<String>> {
    let mut conn = evening.house.database().await;
    let rows: Vec<(uuid::Uuid, String)> = sqlx::query_as(
        "select scan_id, format('in %s %s %s', entered_at, left_at, undone_at) from admissions \
         union all select scan_id, format('%s %s %s %s %s', kind, happened_at, reason, first_at, withdrawn_at is null) from discrepancies where withdrawn_at is null",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let mut by: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (scan, text) in rows {
        let (script, role) = &scripts[&scan.to_string()];
        by.entry(script.clone()).or_default().push(format!("{role}: {text}"));
    }
    for lines in by.values_mut() {
        lines.sort();
    }
    by
}

/// Merging is commutative and idempotent: one history of a ticket, told for two tickets in two orders, in other pieces, with repeats, and beside each
/// other, comes out the same.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_order_of_reports_the_outcome_is_the_same() {
    const TICKETS: usize = 60;
    let evening = Evening::open(2 * TICKETS).await;
    let gates = evening.gates.clone();
    let mut seed = std::env::var("GATEFOLD_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_127_u64);
    println!("seed {seed}");
    let now = evening.house.app.clock.now();
    // Which script and which role in it a scan plays: `a` and `b` are the two tellings.
    let mut scripts: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut tellings: [Vec<(usize, Value)>; 2] = [Vec::new(), Vec::new()];
    for n in 0..TICKETS {
        let pool = if n % 3 == 0 { &evening.never } else { &evening.codes };
        let mut moments: Vec<i64> = (1..60).collect();
        shuffle(&mut moments, &mut seed);
        for role in 0..2 + next(&mut seed) % 6 {
            let minute = moments.pop().unwrap();
            let device = usize::try_from(next(&mut seed) % 3).unwrap();
            let more = match next(&mut seed) % 6 {
                0 | 1 => json!({ "verdict": "admitted", "kind": "exit" }),
                2 => json!({ "verdict": "refused", "reason": "already_inside" }),
                3 if next(&mut seed).is_multiple_of(2) => json!({ "verdict": "admitted", "kind": "undo" }),
                _ => json!({ "verdict": "admitted" }),
            };
            for (telling, name) in [(0, "a"), (1, "b")] {
                let scan = shown(&pool[2 * n + telling], now - TimeDelta::minutes(minute), "admitted", &more);
                scripts.insert(scan["scan_id"].as_str().unwrap().to_owned(), (format!("{n}{name}"), format!("{role}")));
                tellings[telling].push((device, scan));
            }
        }
    }
    for telling in &mut tellings {
        shuffle(telling, &mut seed);
        // Everything a second time, in another order: some of it in the same piece.
        let mut again = telling.clone();
        shuffle(&mut again, &mut seed);
        telling.extend(again);
        let size = usize::try_from(1 + next(&mut seed) % 40).unwrap();
        let pieces: Vec<Vec<(usize, Value)>> = telling.chunks(size).map(<[_]>::to_vec).collect();
        let sent = pieces.into_iter().map(|piece| {
            let gates = gates.clone();
            async move {
                for (device, gate) in gates.iter().enumerate() {
                    let scans: Vec<Value> = piece.iter().filter(|(d, _)| *d == device).map(|(_, scan)| scan.clone()).collect();
                    while !scans.is_empty() && gate.report(now, &scans).await.status == 503 {}
                }
            }
        });
        futures_util::future::join_all(sent).await;
    }
    let outcome = outcome(&evening, &scripts).await;
    let mut otherwise = Vec::new();
    for n in 0..TICKETS {
        let [a, b] = ["a", "b"].map(|name| outcome.get(&format!("{n}{name}")).cloned().unwrap_or_default());
        if a != b {
            otherwise.push(format!("{n}:\n  {a:#?}\n  {b:#?}"));
        }
    }
    assert!(otherwise.is_empty(), "{}", otherwise.join("\n"));
    let lines: Vec<&String> = outcome.values().flatten().collect();
    for kind in ["surplus_admission", "refused_otherwise"] {
        assert!(lines.iter().filter(|l| l.contains(kind)).count() > 10, "too little happened: {kind}");
    }
    evening.close().await;
}
