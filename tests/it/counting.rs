//! People who are counted by hand, where nobody scans.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Device, Festival, answer, key},
    browser::scene,
    control::signed_in,
    house::House,
};

async fn send(device: &Device, counts: &[Value]) -> Answer {
    answer(device.http.request("POST", "/v1/head-counts").bearer_auth(&device.token).json(&json!({ "counts": counts }))).await
}

fn count(id: uuid::Uuid, kind: &str, people: i64, at: DateTime<Utc>) -> Value {
    json!({ "count_id": id, "kind": kind, "people": people, "counted_at": at })
}

/// Counts people on a device.
pub async fn counted(device: &Device, kind: &str, people: i64, at: DateTime<Utc>) {
    send(device, &[count(uuid::Uuid::now_v7(), kind, people, at)]).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_counted_by_hand_fill_a_zone_and_are_named_apart() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let dock = Festival { gate: festival.gate_into(json!({ "name": { "en": "Dock" }, "capacity": 10 })).await, ..festival.clone() };
    let offer = festival.offer(&festival.pass("Weekend pass", 0b111).await, 100, 13900).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 3)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    let codes: Vec<String> = fan.tickets().await.iter().map(|t| t["ticket_code"].as_str().unwrap().to_owned()).collect();
    house.run_workers().await;
    house.advance("2026-06-19T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
    let (device, elsewhere) = (dock.device().await, festival.device().await);
    let now = || house.app.clock.now();
    let scan = async |code: &str| {
        let said = device.scan(code, now()).await.expect(201);
        said["reason"].as_str().unwrap_or(said["verdict"].as_str().unwrap()).to_owned()
    };
    assert_eq!(scan(&codes[0]).await, "admitted");

    // The same report five times, among others: eight came in once, and one of them was none.
    let (eight, back) = (count(uuid::Uuid::now_v7(), "entry", 8, now()), count(uuid::Uuid::now_v7(), "entry", -1, now()));
    for _ in 0..5 {
        send(&device, &[back.clone(), eight.clone()]).await.expect(200);
    }
    // Two of one id in one report are one, as it was named first.
    let twice = uuid::Uuid::now_v7();
    send(&device, &[count(twice, "entry", 1, now()), count(twice, "entry", 50, now())]).await.expect(200);
    counted(&device, "exit", 1, now()).await;
    assert_eq!(scan(&codes[1]).await, "admitted", "seven by hand and two by scans");
    counted(&device, "entry", 1, now()).await;
    assert_eq!(scan(&codes[2]).await, "zone_full");
    counted(&elsewhere, "exit", 5, now()).await;
    assert_eq!(scan(&codes[2]).await, "zone_full", "who left by another gate left another zone");
    counted(&device, "medical_exit", 1, now()).await;
    assert_eq!(scan(&codes[2]).await, "admitted");

    for (people, pointer) in [(0, "/counts/0/people"), (501, "/people"), (-501, "/people")] {
        let refused = send(&device, &[count(uuid::Uuid::now_v7(), "entry", people, now())]).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!(pointer)), "{}", refused.body);
    }
    send(&device, &[]).await.expect(422);

    // The desk names both bases.
    let email: String = sqlx::query_scalar("select email from members order by created_at limit 1").fetch_one(&mut house.database().await).await.unwrap();
    let cookie = signed_in(&house, &email).await;
    let page = async |path: &str| {
        house.anybody().request("GET", &format!("/desk/night-ferry{path}")).header("cookie", &cookie).send().await.unwrap().text().await.unwrap()
    };
    assert!(page("/gates").await.contains("Counted by hand: in 9, out 6, medical exits 1."));
    let sheet = page("/gates/situation").await;
    let row = |name: &str, inside: &str, by_scans: u32, by_hand: u32| {
        let cells = format!(r#"<th scope="row">{name}</th><td class="n">{inside}</td><td class="n">{by_scans}</td><td class="n">{by_hand}</td>"#);
        assert!(sheet.contains(&cells), "{cells} is not on {sheet}");
    };
    row("Dock", "10", 3, 7);
    row("the whole site", "<b>5</b>", 3, 2);

    // A clearing ends what was counted before it; what is reported late of before counts for then.
    house.advance(TimeDelta::minutes(1));
    festival.promoter.make(&festival.path("/clearings"), json!({ "readmits_until": now() + TimeDelta::hours(1) })).await;
    let before = now() - TimeDelta::seconds(30);
    house.advance(TimeDelta::seconds(2));
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(scan(&codes[0]).await, "admitted", "the zone is empty");
    counted(&device, "entry", 10, before).await;
    counted(&device, "entry", 8, now()).await;
    assert_eq!(scan(&codes[1]).await, "admitted");
    assert_eq!(scan(&codes[2]).await, "zone_full");
    // Counted anew after ten minutes it is as full.
    house.advance(TimeDelta::minutes(11));
    assert_eq!(scan(&codes[2]).await, "zone_full");

    // Whoever leaves after the day was there on it; whoever comes in then comes for the next. At the gate that was chosen, at the moment of then.
    house.advance("2026-06-20T04:00:00Z".parse::<DateTime<Utc>>().unwrap() - now());
    let pairing = json!({ "gate_id": festival.gate, "gate_ids": [dock.gate] });
    let moves = festival.promoter.make(&festival.path("/pairings"), pairing).await;
    let moves = house.anybody().pair(moves["pairing_code"].as_str().unwrap()).await;
    let mut left = count(uuid::Uuid::now_v7(), "exit", 300, now() - TimeDelta::minutes(20));
    left["gate_id"] = json!(dock.gate);
    left["offset_ms"] = json!(600_000);
    send(&moves, &[left, count(uuid::Uuid::now_v7(), "entry", 2, now())]).await.expect(200);
    let rows: Vec<(String, i16, i16, DateTime<Utc>)> =
        sqlx::query_as("select gate_id::text, day_index, people, counted_at from head_counts where counted_at > $1 order by people desc")
            .bind(now() - TimeDelta::hours(1))
            .fetch_all(&mut house.database().await)
            .await
            .unwrap();
    assert_eq!(rows, [(dock.gate.clone(), 0, 300, now() - TimeDelta::minutes(10)), (festival.gate.clone(), 1, 2, now())]);
    house.close().await;
}

/// Whoever scans first into a zone makes its row and counts what is committed; a count by hand at that moment is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_count_by_hand_waits_for_the_row_that_somebody_makes() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let dock = Festival { gate: festival.gate_into(json!({ "name": { "en": "Dock" }, "capacity": 100 })).await, ..festival.clone() };
    house.advance("2026-06-19T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
    let (device, now) = (dock.device().await, house.app.clock.now());
    let mut conn = house.database().await;
    sqlx::query("begin").execute(&mut conn).await.unwrap();
    sqlx::query("insert into zone_counts (festival_id, zone_id, day_index, inside) select festival_id, zone_id, 0, 0 from zones")
        .execute(&mut conn)
        .await
        .unwrap();
    let counting = tokio::spawn(async move { counted(&device, "entry", 25, now).await });
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    crate::faults::until("the count waits", std::time::Duration::from_secs(10), async || {
        sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut house.database().await).await.unwrap() > 0 || counting.is_finished()
    })
    .await;
    // What the first scan does under its lock: nobody's count is committed yet.
    sqlx::query("update zone_counts set cleared_at = 'epoch', counted_at = $1").bind(now).execute(&mut conn).await.unwrap();
    sqlx::query("commit").execute(&mut conn).await.unwrap();
    counting.await.unwrap();
    let inside: i32 = sqlx::query_scalar("select inside from zone_counts").fetch_one(&mut conn).await.unwrap();
    assert_eq!(inside, 25);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_counts_without_network_and_through_a_reload() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let offer = festival.offer(&festival.pass("Weekend pass", 0b111).await, 100, 13900).await;
    house.anybody().order("mara@x.example", &[(&offer, 1)]).await.pay(&key(), "simulated_instant").await.expect(201);
    house.run_workers().await;
    house.advance("2026-06-19T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
    let pairing = festival.promoter.make(&festival.path("/pairings"), json!({ "gate_id": festival.gate })).await;
    let seen = scene("count", &json!({ "url": house.url, "pairing_code": pairing["pairing_code"] })).await;
    assert_eq!((&seen["shown"], &seen["kept"]), (&json!(["4", "1", "1"]), &json!(["4", "1", "1"])), "{seen}");
    assert!(seen["sideways"].as_array().unwrap().is_empty() && seen["errors"].as_array().unwrap().is_empty(), "{seen}");
    let sums: Vec<(String, i64)> =
        sqlx::query_as("select kind, sum(people) from head_counts group by kind order by kind").fetch_all(&mut house.database().await).await.unwrap();
    assert_eq!(sums, [("entry".to_owned(), 4), ("exit".to_owned(), 1), ("medical_exit".to_owned(), 1)]);
    house.close().await;
}
