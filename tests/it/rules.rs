//! What passes allow, gates take and zones hold, and what happens to everybody at once: through the API, with real scans.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    actors::{Device, Festival, key},
    house::House,
    races::at_once,
};

/// The first evening of a festival.
async fn evening() -> (House, Festival) {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    house.advance("2026-06-19T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
    (house, festival)
}

async fn pass(festival: &Festival, more: Value) -> String {
    let mut terms = json!({ "name": { "en": "Once" }, "color": "#ff0000", "color_name": { "en": "red" }, "day_mask": 1, "reentry": "never" });
    terms.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    festival.promoter.make(&festival.path("/passes"), terms).await["pass_id"].as_str().unwrap().to_owned()
}

/// The codes of an order of several offers, in their order.
async fn codes(house: &House, lines: &[(&str, i64)]) -> Vec<String> {
    let fan = house.anybody().order(&format!("fan{}@x.example", key()), lines).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    fan.tickets().await.iter().map(|t| t["ticket_code"].as_str().unwrap().to_owned()).collect()
}

/// What gates know of rules is at most a second old.
async fn a_second() {
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
}

/// What a scan of a kind comes to: the reason of a refusal, or the verdict.
async fn shown(house: &House, device: &Device, code: &str, kind: &str) -> String {
    house.advance(TimeDelta::seconds(1));
    let answer = device.scan_as(&uuid::Uuid::now_v7().to_string(), code, house.app.clock.now(), json!({ "kind": kind })).await.expect(201);
    answer["reason"].as_str().or(answer["verdict"].as_str()).unwrap().to_owned()
}

fn at(festival: &Festival, gate: &str) -> Festival {
    Festival { gate: gate.to_owned(), ..festival.clone() }
}

async fn close(house: House) {
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_takes_no_more_than_it_holds_and_one_for_one_that_leaves() {
    let (house, festival) = evening().await;
    let gate = festival.gate_into(json!({ "name": { "en": "Dock" }, "capacity": 5 })).await;
    let offer = festival.offer(&pass(&festival, json!({ "reentry": "after_exit" })).await, 100, 100).await;
    let codes = [codes(&house, &[(&offer, 10)]).await, codes(&house, &[(&offer, 10)]).await].concat();
    let device = at(&festival, &gate).device().await;
    a_second().await;
    let answers = at_once(20, |i| {
        let (device, code, now) = (device.clone(), codes[i].clone(), house.app.clock.now());
        async move { device.scan(&code, now).await.expect(201) }
    })
    .await;
    let (inside, outside): (Vec<_>, Vec<_>) = answers.iter().zip(&codes).partition(|(a, _)| a["verdict"] == "admitted");
    assert_eq!(inside.len(), 5);
    assert!(outside.iter().all(|(a, _)| a["reason"] == "zone_full"), "{outside:?}");
    let (one, waiting) = (inside[0].1, outside[0].1);
    assert_eq!(shown(&house, &device, waiting, "look").await, "zone_full");
    assert_eq!(shown(&house, &device, one, "exit").await, "admitted");
    assert_eq!(shown(&house, &device, waiting, "entry").await, "admitted");
    assert_eq!(shown(&house, &device, one, "entry").await, "zone_full");
    // An undo gives the place back, once.
    assert_eq!(shown(&house, &device, waiting, "undo").await, "admitted");
    assert_eq!(shown(&house, &device, waiting, "undo").await, "unknown");
    assert_eq!(shown(&house, &device, one, "entry").await, "admitted");
    assert_eq!(shown(&house, &device, waiting, "entry").await, "zone_full");

    // A phone without network let one in all the same: it is counted, and no discrepancy, for nobody else knew how full it was.
    let scan = json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": waiting, "scanned_at": house.app.clock.now(), "verdict": "admitted" });
    let merged = device.report(house.app.clock.now(), &[scan]).await.expect(200);
    assert_eq!(merged["items"][0]["discrepancies"], json!([]));
    assert_eq!(shown(&house, &device, one, "exit").await, "admitted");
    assert_eq!(shown(&house, &device, outside[1].1, "entry").await, "zone_full", "six were in, five are");
    // Nor is it one that a phone without network found the zone full.
    let scan = json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": outside[3].1, "scanned_at": house.app.clock.now(), "verdict": "refused", "reason": "zone_full" });
    let merged = device.report(house.app.clock.now(), &[scan]).await.expect(200);
    assert_eq!(merged["items"][0]["discrepancies"], json!([]));

    // More room, by a patch; where its gates stand stays.
    let zones = festival.promoter.get(&festival.path("/zones")).await.expect(200);
    let zone = format!("/v1/zones/{}", zones["items"][0]["zone_id"].as_str().unwrap());
    assert_eq!(festival.promoter.send("PATCH", &zone, &json!({ "capacity": 6 })).await.expect(200)["capacity"], 6);
    a_second().await;
    assert_eq!(shown(&house, &device, outside[1].1, "entry").await, "admitted");
    festival.promoter.send("PATCH", &zone, &json!({ "is_inner": true })).await.expect(422);
    festival.promoter.send("PATCH", &zone, &json!({ "capacity": null })).await.expect(200);
    a_second().await;
    assert_eq!(shown(&house, &device, outside[2].1, "entry").await, "admitted");
    close(house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inner_zone_is_entered_from_the_site_and_left_with_it() {
    let (house, festival) = evening().await;
    let inner = festival.gate_into(json!({ "name": { "en": "Tent" }, "capacity": 50, "is_inner": true })).await;
    let offer = festival.offer(&pass(&festival, json!({})).await, 100, 100).await;
    let codes = codes(&house, &[(&offer, 1)]).await;
    let (site, tent) = (festival.device().await, at(&festival, &inner).device().await);
    for (device, kind, expected) in [
        (&site, "entry", "admitted"),
        (&tent, "entry", "admitted"),
        (&tent, "entry", "already_inside"),
        (&tent, "exit", "admitted"),
        // The pass has one entry a day; inside the site people go where they like.
        (&tent, "entry", "admitted"),
        (&site, "entry", "already_inside"),
        (&site, "exit", "admitted"),
        (&site, "entry", "no_reentry"),
        (&tent, "entry", "admitted"),
    ] {
        assert_eq!(shown(&house, device, &codes[0], kind).await, expected, "{kind}");
    }
    close(house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_gates_and_entries_a_day_are_data_and_explain_themselves() {
    let (house, festival) = evening().await;
    let early = festival.promoter.make(&festival.path("/gates"), json!({ "name": { "en": "Early Lane", "zh": "快速通道" } })).await;
    let early = early["gate_id"].as_str().unwrap().to_owned();
    let windows = json!([
        { "day_index": 0, "from_at": "2026-06-19T11:00:00Z", "until_at": "2026-06-19T12:00:00Z", "gate_ids": [early] },
        { "day_index": 0, "from_at": "2026-06-19T12:00:00Z", "until_at": "2026-06-19T18:30:00Z" },
    ]);
    let vip = pass(&festival, json!({ "name": { "en": "VIP" }, "windows": windows, "reentry": "times_a_day", "entries_a_day": 2 })).await;
    let plain = pass(&festival, json!({ "name": { "en": "Day" }, "check_instruction": "age" })).await;
    let lane = format!("/v1/gates/{early}");
    assert_eq!(festival.promoter.send("PATCH", &lane, &json!({ "pass_ids": [vip] })).await.expect(200)["pass_ids"], json!([vip]));
    let offers = [festival.offer(&vip, 100, 100).await, festival.offer(&plain, 100, 100).await];
    let codes = codes(&house, &[(&offers[0], 1), (&offers[1], 1)]).await;
    let (main, lane) = (festival.device().await, at(&festival, &early).device().await);
    a_second().await;
    assert_eq!(shown(&house, &lane, &codes[1], "entry").await, "wrong_gate");
    assert_eq!(shown(&house, &lane, &codes[0], "entry").await, "admitted");
    assert_eq!(shown(&house, &main, &codes[0], "entry").await, "admitted", "an exit need not be scanned");
    assert_eq!(shown(&house, &main, &codes[0], "entry").await, "no_reentry");
    assert_eq!(shown(&house, &main, &codes[0], "exit").await, "admitted");
    house.advance(TimeDelta::hours(1));
    assert_eq!(shown(&house, &main, &codes[0], "entry").await, "too_late");

    // In words, in both languages, made from the same data.
    let said = house.anybody().get(&festival.path("/entry-rules")).await.expect(200);
    let of = |list: &str, name: &str| said[list].as_array().unwrap().iter().find(|e| e["name"]["en"] == name).map(|e| e["rules"].clone());
    assert_eq!(
        of("passes", "VIP").unwrap(),
        json!([
            { "en": "Friday: in from 13:00 to 14:00 at Early Lane.", "zh": "Friday：13:00 至 14:00 由 快速通道 入场。" },
            { "en": "Friday: in from 14:00 to 20:30.", "zh": "Friday：14:00 至 20:30 入场。" },
            { "en": "Up to 2 entries a day; exits are not scanned.", "zh": "每天最多入场 2 次，出场无需扫码。" },
        ])
    );
    let english = |rules: Value| rules.as_array().unwrap().iter().map(|r| r["en"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        english(of("passes", "Day").unwrap()),
        ["Friday: in from 14:00 to 05:00.", "One entry a day.", "Not at Early Lane.", "The gate looks at the age."]
    );
    assert_eq!(english(of("gates", "Early Lane").unwrap()), ["Takes VIP only."]);

    // Changed by a patch, but for the days, which stand in codes.
    let change = async |patch: Value| festival.promoter.send("PATCH", &format!("/v1/passes/{vip}"), &patch).await;
    assert_eq!(change(json!({ "windows": [], "reentry": "after_exit", "entries_a_day": null })).await.expect(200)["reentry"], "after_exit");
    a_second().await;
    assert_eq!(shown(&house, &main, &codes[0], "entry").await, "admitted");
    change(json!({ "day_mask": 3 })).await.expect(422);
    for (patch, place) in [
        (json!({ "reentry": "times_a_day" }), "/entries_a_day"),
        (json!({ "entries_a_day": 3 }), "/entries_a_day"),
        (json!({ "companion_pass_ids": [uuid::Uuid::new_v4()] }), "/companion_pass_ids"),
        (json!({ "companion_pass_ids": [format!("00000000{}", &plain[8..])] }), "/companion_pass_ids"),
        (json!({ "companion_pass_ids": [vip] }), "/companion_pass_ids"),
        (json!({ "windows": [{ "day_index": 1, "from_at": "2026-06-19T11:00:00Z", "until_at": "2026-06-19T12:00:00Z" }] }), "/windows/0/day_index"),
        (json!({ "windows": [{ "day_index": 0, "from_at": "2026-06-19T12:00:00Z", "until_at": "2026-06-19T12:00:00Z" }] }), "/windows/0/until_at"),
    ] {
        let problem = change(patch).await.expect(422);
        assert_eq!(problem["errors"][0]["pointer"], place, "{problem}");
    }
    close(house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_comes_in_with_its_adult_and_a_gate_says_who_is_missing() {
    let (house, festival) = evening().await;
    let adult = pass(&festival, json!({ "name": { "en": "Adult" }, "reentry": "after_exit" })).await;
    let child = pass(&festival, json!({ "name": { "en": "Child" }, "companion_pass_ids": [adult] })).await;
    let offers = [festival.offer(&adult, 100, 100).await, festival.offer(&child, 100, 100).await];
    let family = codes(&house, &[(&offers[0], 2), (&offers[1], 2)]).await;
    let others = codes(&house, &[(&offers[0], 1)]).await;
    let device = festival.device().await;
    assert_eq!(shown(&house, &device, &others[0], "entry").await, "admitted");
    assert_eq!(shown(&house, &device, &family[2], "entry").await, "needs_companion", "somebody else's adult is in");
    let entered = device.scan(&family[0], house.app.clock.now()).await.expect(201);
    assert_eq!((&entered["verdict"], &entered["others_not_in"]), (&json!("admitted"), &json!(3)));
    let entered = device.scan(&family[2], house.app.clock.now()).await.expect(201);
    assert_eq!((&entered["verdict"], &entered["others_not_in"]), (&json!("admitted"), &json!(2)));
    assert_eq!(shown(&house, &device, &family[0], "exit").await, "admitted");
    assert_eq!(shown(&house, &device, &family[3], "entry").await, "needs_companion", "the adult left");
    assert_eq!(shown(&house, &device, &family[2], "exit").await, "admitted", "whoever leaves leaves");
    // Both at once, in one batch or two, whoever is decided first: the adult comes in.
    let scans = at_once(2, |i| {
        let (device, code, now) = (device.clone(), family[if i == 0 { 1 } else { 3 }].clone(), house.app.clock.now());
        async move { device.scan(&code, now).await.expect(201) }
    })
    .await;
    assert_eq!(scans[0]["verdict"], "admitted");
    assert!(scans[1]["verdict"] == "admitted" || scans[1]["reason"] == "needs_companion", "{}", scans[1]);
    close(house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_says_what_is_to_be_handed_out_until_it_is() {
    let (house, festival) = evening().await;
    let weekend = pass(&festival, json!({ "reentry": "after_exit" })).await;
    let tent = festival.promoter.make(&festival.path("/add-ons"), json!({ "name": { "en": "Tent", "zh": "帐篷" } })).await;
    let component = |member: &str, id: &Value| json!({ member: id, "weight": 1, "tax_kind": "fixed", "tax_ppm": 0 });
    let offer = |components: Value| {
        json!({
            "terms": { "name": { "en": "x" } }, "capacity": 100, "tiers": [{ "name": { "en": "Now" }, "price": { "minor": 100, "currency": "EUR" } }],
            "components": components
        })
    };
    let camping = festival.offer_of(offer(json!([component("pass_id", &json!(weekend)), component("add_on_id", &tent["add_on_id"])]))).await;
    let fan = house.anybody().order("mara@x.example", &[(&camping, 2)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    let (passes, tents): (Vec<Value>, Vec<Value>) = fan.tickets().await.into_iter().partition(|t| t["kind"] == "pass");
    let code = |ticket: &Value| ticket["ticket_code"].as_str().unwrap().to_owned();
    let device = festival.device().await;
    let scan = async |code: &str, kind: &str| {
        house.advance(TimeDelta::seconds(1));
        device.scan_as(&uuid::Uuid::now_v7().to_string(), code, house.app.clock.now(), json!({ "kind": kind })).await.expect(201)
    };
    let told = |n: i64| json!([{ "name": { "en": "Tent", "zh": "帐篷" }, "quantity": n }]);
    let entered = scan(&code(&passes[0]), "entry").await;
    assert_eq!((&entered["to_collect"], &entered["others_not_in"]), (&told(2), &json!(1)), "an add-on is no company");
    assert_eq!(scan(&code(&passes[0]), "entry").await.get("to_collect"), None, "a refusal hands nothing out");
    // The scan of an add-on itself hands it over, once; taken back, it is to be handed out again.
    let handed = scan(&code(&tents[0]), "entry").await;
    assert_eq!((&handed["verdict"], handed.get("to_collect")), (&json!("admitted"), None));
    assert_eq!(scan(&code(&tents[0]), "entry").await["reason"], "exchanged");
    assert_eq!(scan(&code(&passes[1]), "look").await["to_collect"], told(1));
    scan(&code(&tents[0]), "undo").await;
    assert_eq!(scan(&code(&passes[1]), "look").await["to_collect"], told(2));
    scan(&code(&tents[0]), "entry").await;
    scan(&code(&tents[1]), "entry").await;
    assert_eq!(scan(&code(&passes[1]), "entry").await.get("to_collect"), None);
    close(house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_are_held_and_released() {
    let (house, festival) = evening().await;
    let offer = festival.offer(&pass(&festival, json!({ "reentry": "after_exit" })).await, 100, 100).await;
    let codes = codes(&house, &[(&offer, 3)]).await;
    let dock = festival.gate_into(json!({ "name": { "en": "Dock" } })).await;
    let (main, dock) = (festival.device().await, at(&festival, &dock).device().await);
    assert_eq!(shown(&house, &main, &codes[0], "entry").await, "admitted");
    let hold = festival.promoter.make(&festival.path("/gate-holds"), json!({ "gate_id": festival.gate, "note": "crush at the barrier" })).await;
    a_second().await;
    assert_eq!(shown(&house, &main, &codes[1], "entry").await, "gate_on_hold");
    assert_eq!(shown(&house, &main, &codes[0], "exit").await, "admitted");
    assert_eq!(shown(&house, &dock, &codes[1], "entry").await, "admitted");

    // A phone that was without network did not hear of it: it let somebody in, and the ledger says so; one that scanned before it began did right.
    let report = |minutes: i64, code: &str| json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": code, "scanned_at": house.app.clock.now() - TimeDelta::minutes(minutes), "verdict": "admitted" });
    house.advance(TimeDelta::minutes(5));
    let merged = main.report(house.app.clock.now(), &[report(1, &codes[2])]).await.expect(200);
    assert_eq!(merged["items"][0]["discrepancies"], json!(["admitted_otherwise"]));
    let end = format!("/v1/gate-holds/{}", hold["hold_id"].as_str().unwrap());
    let ended = festival.promoter.send("DELETE", &end, &json!({})).await.expect(200);
    house.advance(TimeDelta::seconds(1));
    assert_eq!(festival.promoter.send("DELETE", &end, &json!({})).await.expect(200)["ended_at"], ended["ended_at"], "again changes nothing");
    a_second().await;
    assert_eq!(shown(&house, &main, &codes[0], "entry").await, "admitted");
    let both = json!({ "gate_id": festival.gate, "zone_id": uuid::Uuid::new_v4() });
    festival.promoter.send("POST", &festival.path("/gate-holds"), &both).await.expect(422);
    let listed = festival.promoter.get(&festival.path("/gate-holds")).await.expect(200);
    assert_eq!(listed["items"][0]["note"], "crush at the barrier");
    close(house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_out_empties_the_site_and_people_may_come_back() {
    let (house, festival) = evening().await;
    let gate = festival.gate_into(json!({ "name": { "en": "Dock" }, "capacity": 2 })).await;
    let festival = at(&festival, &gate);
    let offer = festival.offer(&pass(&festival, json!({})).await, 100, 100).await;
    let codes = codes(&house, &[(&offer, 4)]).await;
    let device = festival.device().await;
    a_second().await;
    for code in &codes[..2] {
        assert_eq!(shown(&house, &device, code, "entry").await, "admitted");
    }
    assert_eq!(shown(&house, &device, &codes[2], "entry").await, "zone_full");
    house.advance(TimeDelta::minutes(1));
    let now = house.app.clock.now();
    let clearing = json!({ "readmits_until": now + TimeDelta::hours(1), "note": "thunderstorm" });
    festival.promoter.make(&festival.path("/clearings"), clearing).await;
    a_second().await;
    // Nobody is in: two come, and a pass that never lets in again lets in again, once.
    assert_eq!(shown(&house, &device, &codes[0], "entry").await, "admitted");
    assert_eq!(shown(&house, &device, &codes[0], "entry").await, "already_inside");
    assert_eq!(shown(&house, &device, &codes[2], "entry").await, "admitted");
    assert_eq!(shown(&house, &device, &codes[1], "entry").await, "zone_full");
    assert_eq!(shown(&house, &device, &codes[1], "exit").await, "admitted", "whom the clearing put out takes nobody's place");
    assert_eq!(shown(&house, &device, &codes[3], "entry").await, "zone_full");
    assert_eq!(shown(&house, &device, &codes[0], "exit").await, "admitted");
    assert_eq!(shown(&house, &device, &codes[0], "entry").await, "no_reentry");

    // A phone without network let somebody back in within that hour: no discrepancy. Behind it, one.
    let report = |code: &str, minutes: i64| json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": code, "scanned_at": now + TimeDelta::minutes(minutes), "verdict": "admitted" });
    house.advance(TimeDelta::hours(2));
    let merged = device.report(house.app.clock.now(), &[report(&codes[1], 30)]).await.expect(200);
    assert_eq!(merged["items"][0]["discrepancies"], json!([]), "back in");
    let merged = device.report(house.app.clock.now(), &[report(&codes[0], 90)]).await.expect(200);
    assert_eq!(merged["items"][0]["discrepancies"], json!(["surplus_admission"]), "too late");

    // One that lies ahead is called off; what has happened stays.
    let soon = json!({ "clears_at": house.app.clock.now() + TimeDelta::hours(3) });
    let soon = festival.promoter.make(&festival.path("/clearings"), soon).await["clearing_id"].as_str().unwrap().to_owned();
    festival.promoter.send("DELETE", &format!("/v1/clearings/{soon}"), &json!({})).await.expect(200);
    festival.promoter.send("DELETE", &format!("/v1/clearings/{soon}"), &json!({})).await.expect(404);
    let listed = festival.promoter.get(&festival.path("/clearings")).await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let past = format!("/v1/clearings/{}", listed["items"][0]["clearing_id"].as_str().unwrap());
    festival.promoter.send("DELETE", &past, &json!({})).await.expect(409);
    let before = json!({ "clears_at": house.app.clock.now() - TimeDelta::minutes(1) });
    festival.promoter.send("POST", &festival.path("/clearings"), &before).await.expect(422);
    close(house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stayed_over_the_turn_of_the_day_and_was_put_out_is_counted_on_neither() {
    let (house, festival) = evening().await;
    let festival = at(&festival, &festival.gate_into(json!({ "name": { "en": "Dock" }, "capacity": 2 })).await);
    let offer = festival.offer(&pass(&festival, json!({ "day_mask": 3, "reentry": "after_exit" })).await, 100, 100).await;
    let codes = codes(&house, &[(&offer, 1)]).await;
    let device = festival.device().await;
    a_second().await;
    assert_eq!(shown(&house, &device, &codes[0], "entry").await, "admitted");
    house.run_workers().await;
    house.advance("2026-06-20T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
    festival.promoter.make(&festival.path("/clearings"), json!({})).await;
    a_second().await;
    assert_eq!(shown(&house, &device, &codes[0], "entry").await, "admitted");
    // The house looks at its invariants when it closes: zones add up.
    close(house).await;
}
