//! Many at once: never one too many, one effect of one key, one admission of one ticket.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Barrier;

use crate::{actors::key, house::House};

/// Runs `n` times at a barrier.
pub async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(n: usize, make: impl Fn(usize) -> F) -> Vec<T> {
    let barrier = Arc::new(Barrier::new(n));
    let tasks: Vec<_> = (0..n)
        .map(|i| {
            let (barrier, task) = (barrier.clone(), make(i));
            tokio::spawn(async move {
                barrier.wait().await;
                task.await
            })
        })
        .collect();
    let mut out = Vec::with_capacity(n);
    for task in tasks {
        out.push(task.await.unwrap());
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_unit_goes_to_exactly_one_of_64_buyers() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 1, 13900).await;
    let answers = at_once(64, |i| {
        let (fan, offer) = (house.anybody(), offer.clone());
        async move { fan.place(&key(), &format!("fan{i}@x.example"), &[(&offer, 1)]).await }
    })
    .await;
    assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1);
    assert!(answers.iter().filter(|a| a.status != 201).all(|a| a.problem() == "sold-out"), "{answers:?}");
    assert_eq!(festival.stock(&offer).await, (1, 0));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_fifty_times_is_one_order_and_one_payment() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 100, 13900).await;
    let one = key();
    let answers = at_once(50, |_| {
        let (fan, offer, one) = (house.anybody(), offer.clone(), one.clone());
        async move { fan.place(&one, "mara@x.example", &[(&offer, 1)]).await.expect(201) }
    })
    .await;
    assert!(answers.iter().all(|a| a == &answers[0]));
    assert_eq!(festival.stock(&offer).await, (1, 0));
    let fan = crate::actors::Fan {
        http: house.anybody(),
        order: answers[0]["order_id"].as_str().unwrap().to_owned(),
        secret: answers[0]["secret"].as_str().unwrap().to_owned(),
    };
    let pay = key();
    let paid = at_once(50, |_| {
        let (fan, pay) = (fan.clone(), pay.clone());
        async move { fan.pay(&pay, "simulated_instant").await.expect(201) }
    })
    .await;
    assert!(paid.iter().all(|p| p["payment_id"] == paid[0]["payment_id"]));
    assert_eq!(fan.tickets().await.len(), 1);
    assert_eq!(fan.get("/payments").await.expect(200)["items"].as_array().unwrap().len(), 1);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_ticket_at_32_gates_is_admitted_once() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 10, 13900).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    let code = fan.tickets().await[0]["ticket_code"].as_str().unwrap().to_owned();
    house.advance("2026-06-19T18:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let mut devices = Vec::new();
    for _ in 0..32 {
        devices.push(festival.device().await);
    }
    let now = house.app.clock.now();
    let answers = at_once(32, |i| {
        let (device, code) = (devices[i].clone(), code.clone());
        async move { device.scan(&code, now).await.expect(201) }
    })
    .await;
    assert_eq!(answers.iter().filter(|a| a["verdict"] == "admitted").count(), 1);
    assert!(answers.iter().filter(|a| a["verdict"] != "admitted").all(|a| a["reason"] == "already_inside" && a["first_entry"]["gate"]["en"] == "North Quay"));
    // The same scan again gets the first answer and makes no second row.
    let scan = uuid::Uuid::now_v7().to_string();
    let repeats = at_once(5, |_| {
        let (device, code, scan) = (devices[0].clone(), code.clone(), scan.clone());
        async move { device.scan_as(&scan, &code, now, json!({})).await.expect(201) }
    })
    .await;
    assert!(repeats.iter().all(|r| r == &repeats[0]));
    let scans = festival.promoter.get(&festival.path("/scans?limit=200")).await.expect(200);
    assert_eq!(scans["items"].as_array().unwrap().len(), 33);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buying_cancelling_and_expiring_at_once_lose_no_unit_and_lock_nobody_out() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 40, 13900).await;
    let mut database = house.database().await;
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    let before: i64 = sqlx::query_scalar(deadlocks).fetch_one(&mut database).await.unwrap();
    let outcomes = at_once(120, |i| {
        let (http, offer) = (house.anybody(), offer.clone());
        async move {
            let placed = http.place(&key(), &format!("fan{i}@x.example"), &[(&offer, 1 + i64::try_from(i % 3).unwrap())]).await;
            if placed.status != 201 {
                assert_eq!(placed.problem(), "sold-out");
                return;
            }
            let fan = crate::actors::Fan {
                http,
                order: placed.body["order_id"].as_str().unwrap().to_owned(),
                secret: placed.body["secret"].as_str().unwrap().to_owned(),
            };
            match i % 4 {
                0 => drop(futures_util::future::join_all((0..5).map(|_| fan.cancel())).await),
                1 => {
                    let pay = key();
                    let _ = futures_util::join!(fan.pay(&pay, "simulated_instant"), fan.cancel());
                }
                _ => drop(fan.pay(&key(), "simulated_instant").await),
            }
        }
    })
    .await;
    assert_eq!(outcomes.len(), 120);
    house.advance(chrono::TimeDelta::minutes(11));
    house.run_workers().await;
    let (held, sold) = festival.stock(&offer).await;
    assert_eq!(held, 0);
    assert!(sold <= 40 && sold > 0, "{sold}");
    // The statistics of Postgres come with a delay: ask for a fresh look.
    sqlx::query("select pg_stat_clear_snapshot()").execute(&mut database).await.unwrap();
    let after: i64 = sqlx::query_scalar(deadlocks).fetch_one(&mut database).await.unwrap();
    assert_eq!(after, before, "deadlocks");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_row_that_somebody_holds_sheds_its_buyers_in_time() {
    let house = House::open().await;
    let promoter = house.promoter("Night Ferry Foundation").await;
    let (one, two) = (promoter.festival("night-ferry").await, promoter.festival("low-tide").await);
    let (pass, other_pass) = (one.pass("Weekend pass", 0b111).await, two.pass("Weekend pass", 0b111).await);
    let (offer, other) = (one.offer(&pass, 10, 13900).await, two.offer(&other_pass, 10, 13900).await);
    let mut database = house.database().await;
    let mut lock = sqlx::Connection::begin(&mut database).await.unwrap();
    sqlx::query("select * from stocks where festival_id = $1 for update").bind(i32::try_from(one.id).unwrap()).execute(&mut *lock).await.unwrap();
    let begin = std::time::Instant::now();
    let shed = house.anybody().place(&key(), "mara@x.example", &[(&offer, 1)]).await;
    assert_eq!((shed.status, shed.problem()), (503, "unavailable"));
    assert!(shed.retry_after.is_some() && begin.elapsed().as_secs_f64() < 3.5);
    // Another festival still sells.
    house.anybody().order("mara@x.example", &[(&other, 1)]).await;
    lock.rollback().await.unwrap();
    house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    house.close().await;
}
