//! What fans may do by law and without anybody's help: withdraw from the contract about music that nobody heard, get their emails once more; and what a
//! promoter shows a bank when a payment is disputed.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Fan, answer, key},
    house::House,
    releases::bundle,
};

async fn rescind(fan: &Fan, key: &str, body: &Value) -> Answer {
    answer(fan.request("POST", "/rescissions").header("idempotency-key", key).json(body)).await
}

async fn page(house: &House, path: &str) -> String {
    house.anybody().request("GET", path).send().await.unwrap().text().await.unwrap()
}

/// A form as a browser sends it.
async fn form(house: &House, path: &str, fields: &str) -> (u16, String) {
    let url = house.anybody().url.clone();
    let sent = house.anybody().request("POST", path).header("origin", url).header("content-type", "application/x-www-form-urlencoded").body(fields.to_owned());
    let answer = sent.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn music_that_nobody_heard_can_be_withdrawn_from_for_fourteen_days() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let offer = bundle(&festival, &festival.pass("Weekend pass", 0b111).await, 10).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 2)]).await;
    assert!(fan.get("/rescission-terms").await.expect(200)["terms"].is_null(), "it is not paid");
    fan.pay(&key(), "simulated_instant").await.expect(201);
    house.run_workers().await;
    let terms = fan.get("/rescission-terms").await.expect(200)["terms"].clone();
    assert_eq!(terms["albums"][0]["copies"], 2);
    let path = format!("/o/{}/{}", fan.order, fan.secret);
    assert!(page(&house, &path).await.contains("Withdraw from contract here"));
    let (status, sure) = form(&house, &format!("{path}/rescissions"), "").await;
    assert!(status == 200 && sure.contains("Confirm withdrawal") && sure.contains("mara@x.example"), "{sure}");

    let shares = fan.get("").await.expect(200)["lines"][0]["shares"].clone();
    let album = 2 * shares.as_array().unwrap().iter().find(|s| !s["release_id"].is_null()).unwrap()["minor"].as_i64().unwrap();
    let other = json!({ "expected": { "minor": album - 1, "currency": "EUR" } });
    assert_eq!(rescind(&fan, &key(), &other).await.problem(), "amount-changed");
    let once = key();
    let refund = rescind(&fan, &once, &json!({ "expected": { "minor": album, "currency": "EUR" } })).await.expect(201);
    assert_eq!(rescind(&fan, &once, &json!({})).await.expect(201)["refund_id"], refund["refund_id"]);
    rescind(&fan, &key(), &json!({})).await.expect(409);
    house.run_workers().await;
    assert_eq!((fan.status().await.as_str(), fan.get("/rescission-terms").await.expect(200)["terms"].is_null()), ("partly_refunded", true));
    assert!(fan.tickets().await.iter().all(|ticket| ticket["status"] == "valid"), "a pass for a date stays");
    let confirmed = house.emails().into_iter().filter(|mail| mail.subject.contains("we have your withdrawal")).count();
    assert_eq!(confirmed, 1);

    // Whoever heard it may not any more, and neither may who is late.
    let heard = house.anybody().order("jonas@x.example", &[(&offer, 1)]).await;
    heard.pay(&key(), "simulated_instant").await.expect(201);
    let late = house.anybody().order("theo@x.example", &[(&offer, 1)]).await;
    late.pay(&key(), "simulated_instant").await.expect(201);
    let song = page(&house, &format!("/o/{}/{}", heard.order, heard.secret)).await;
    let at = song.find("/files/").expect("a link to a file");
    let link: String = song[at..].chars().take_while(|c| *c != '"').collect();
    house.anybody().request("GET", &link).send().await.unwrap();
    assert!(heard.get("/rescission-terms").await.expect(200)["terms"].is_null());
    rescind(&heard, &key(), &json!({})).await.expect(409);
    house.advance(TimeDelta::days(14));
    assert!(!late.get("/rescission-terms").await.expect(200)["terms"].is_null());
    house.advance(TimeDelta::seconds(1));
    rescind(&late, &key(), &json!({})).await.expect(409);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_email_comes_again_and_nobody_learns_who_ordered() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let offer = festival.offer(&festival.pass("Weekend pass", 0b111).await, 10, 13900).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    house.run_workers().await;
    let count = || house.emails().iter().filter(|mail| mail.recipient == "mara@x.example").count();
    assert_eq!(count(), 1);
    let (known, unknown) =
        (form(&house, "/f/night-ferry/lost", "email=Mara%40x.example").await, form(&house, "/f/night-ferry/lost", "email=nobody%40x.example").await);
    assert_eq!((known.0, &known.1), (200, &unknown.1));
    house.run_workers().await;
    assert_eq!(count(), 2);
    // From the page of the order, too; three times an hour at most, whoever asks.
    for _ in 0..5 {
        assert_eq!(form(&house, &format!("/o/{}/{}/emails", fan.order, fan.secret), "").await.0, 200);
        form(&house, "/f/night-ferry/lost", "email=mara%40x.example").await;
    }
    house.run_workers().await;
    assert_eq!(count(), 4);
    house.advance(TimeDelta::minutes(61));
    form(&house, "/f/night-ferry/lost", "email=mara%40x.example").await;
    house.run_workers().await;
    assert_eq!(count(), 5);
    assert!(page(&house, "/f/night-ferry").await.contains("/f/night-ferry/lost"));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispute_file_says_what_happened_in_its_order() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    festival.promoter.send("PUT", &festival.path("/refund-rule"), &json!({ "hours_before": 24, "kept_ppm": 100_000 })).await.expect(200);
    house.advance(TimeDelta::seconds(1));
    let offer = bundle(&festival, &festival.pass("Weekend pass", 0b111).await, 10).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    house.run_workers().await;
    house.advance("2026-06-19T18:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let code = fan.tickets().await[0]["ticket_code"].as_str().unwrap().to_owned();
    festival.device().await.scan(&code, house.app.clock.now()).await.expect(201);
    let file = festival.promoter.get(&format!("/v1/orders/{}/dispute-file", fan.order)).await.expect(200);
    assert_eq!((&file["terms"]["hours_before"], &file["order"]["total"]["minor"]), (&json!(24), &json!(14900)));
    let kinds: Vec<&str> = file["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    for kind in ["placed", "payment_captured", "email_sent", "admitted"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert_eq!(kinds.last(), Some(&"admitted"));
    house.close().await;
}
