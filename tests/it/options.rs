//! Option rounds: a festival changes, everybody who paid is asked, money that is wanted goes back by itself, and who says nothing gets the default.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Fan, Festival, answer, key},
    house::House,
    refunds::refund,
    releases::bundle,
};

async fn bought(house: &House, offer: &str, email: &str, quantity: i64) -> Fan {
    let fan = house.anybody().order(email, &[(offer, quantity)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    fan
}

async fn choose(fan: &Fan, choice: &str) -> Answer {
    answer(fan.request("POST", "/option-answers").json(&json!({ "choice": choice }))).await
}

async fn open(festival: &Festival, round: &Value) -> Answer {
    festival.promoter.send("POST", &festival.path("/option-rounds"), round).await
}

async fn sums(festival: &Festival, no: i64) -> Value {
    festival.promoter.get(&festival.path(&format!("/option-rounds/{no}"))).await.expect(200)["sums"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_paid_chooses_and_who_says_nothing_gets_the_default() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let offer = bundle(&festival, &festival.pass("Weekend pass", 0b111).await, 20).await;
    let mut fans = Vec::new();
    for name in ["keeps", "wants", "shares", "silent", "partly"] {
        fans.push(bought(&house, &offer, &format!("{name}@x.example"), 1).await);
    }
    let [keeps, wants, shares, silent, partly] = &fans[..] else { unreachable!() };
    let unpaid = house.anybody().order("unpaid@x.example", &[(&offer, 1)]).await;
    let cent = json!({ "reason": "goodwill", "note": "a cent", "parts": [{ "line_no": 1, "component_no": 1, "amount": { "minor": 100, "currency": "EUR" } }] });
    refund(&festival.promoter, &partly.order, &key(), &cent).await.expect(201);
    house.run_workers().await;
    house.advance(TimeDelta::seconds(1));
    choose(keeps, "keep").await.expect(409);

    let round = |days: i64| {
        json!({ "kind": "lost_day", "message": { "en": "Friday is drowned.", "zh": "周五被淹了。" }, "may_refund": true, "share_ppm": 333_333,
                "default_choice": "share", "deadline_at": house.app.clock.now() + TimeDelta::days(days) })
    };
    assert_eq!(open(&festival, &round(0)).await.expect(422)["errors"][0]["pointer"], "/deadline_at");
    let terms = round(7);
    assert_eq!(open(&festival, &terms).await.expect(201)["round_no"], 1);
    assert_eq!(open(&festival, &terms).await.expect(201)["round_no"], 1, "the same again is the same round");
    assert_eq!(open(&festival, &round(8)).await.expect(409)["type"], "/problems/conflict");
    let later = bought(&house, &offer, "later@x.example", 1).await;
    house.run_workers().await;
    let told: Vec<String> = house.emails().into_iter().filter(|mail| mail.text.contains("Friday is drowned.")).map(|mail| mail.recipient).collect();
    assert_eq!((told.len(), told.contains(&"later@x.example".to_owned())), (5, false), "{told:?}");

    // What each choice brings is said before: all of it, or a third of the pass (132.99, but for a cent of it that went back).
    let asked = keeps.get("/options").await.expect(200);
    let brings: Vec<(&str, i64)> =
        asked["options"].as_array().unwrap().iter().map(|o| (o["choice"].as_str().unwrap(), o["amount"]["minor"].as_i64().unwrap())).collect();
    assert_eq!(brings, [("keep", 0), ("refund", 14900), ("share", 4433)]);
    let page = house.anybody().request("GET", &format!("/o/{}/{}", keeps.order, keeps.secret)).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("What becomes of your order?") && page.contains("Friday is drowned.") && page.contains("€44.33"), "{page}");
    for fan in [&unpaid, &later] {
        assert!(fan.get("/options").await.expect(200)["round"].is_null());
        choose(fan, "keep").await.expect(409);
    }
    // Who ordered before and pays since is told within the hour.
    unpaid.pay(&key(), "simulated_instant").await.expect(201);
    house.advance(TimeDelta::minutes(61));
    house.run_workers().await;
    assert!(house.emails().iter().any(|mail| mail.recipient == "unpaid@x.example" && mail.text.contains("Friday is drowned.")));
    choose(&unpaid, "keep").await.expect(200);

    choose(keeps, "keep").await.expect(200);
    choose(wants, "keep").await.expect(200);
    choose(wants, "refund").await.expect(200);
    assert_eq!(choose(wants, "refund").await.expect(200)["choice"], "refund", "the same again changes nothing");
    choose(wants, "keep").await.expect(409);
    choose(shares, "share").await.expect(200);
    house.run_workers().await;
    assert_eq!((wants.status().await.as_str(), shares.status().await.as_str(), keeps.status().await.as_str()), ("refunded", "partly_refunded", "paid"));
    assert_eq!(shares.get("/refunds").await.expect(200)["items"][0]["amount"]["minor"], 4433);
    assert!(shares.tickets().await.iter().all(|ticket| ticket["status"] == "valid"), "they come on the other days");
    let so_far = sums(&festival, 1).await;
    let of = |name: &str| so_far[name].as_i64().unwrap();
    assert_eq!((of("orders"), of("keep"), of("refund"), of("share"), of("silent"), of("due")), (6, 2, 1, 1, 2, 0));
    assert_eq!((of("most_minor"), of("back_minor")), (6 * 14900 - 100, 14900 + 4433));

    // The deadline: who said nothing gets the share, once.
    house.advance(TimeDelta::days(8));
    choose(silent, "refund").await.expect(409);
    house.run_workers().await;
    assert_eq!((silent.get("/refunds").await.expect(200)["items"][0]["amount"]["minor"].clone(), keeps.status().await.as_str()), (json!(4433), "paid"));
    let backs =
        partly.get("/refunds").await.expect(200)["items"].as_array().unwrap().iter().map(|r| r["amount"]["minor"].as_i64().unwrap()).collect::<Vec<_>>();
    assert_eq!(backs, [100, 4399], "a third of what was left");
    let shown = festival.promoter.get(&festival.path("/option-rounds/1")).await.expect(200);
    assert_eq!((&shown["status"], &shown["problems"], &shown["sums"]["silent"]), (&json!("done"), &json!([]), &json!(0)));
    festival.promoter.send("POST", &festival.path("/option-rounds/1/ends"), &json!({})).await.expect(409);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_is_called_off_gives_nobody_the_default() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let offer = festival.offer(&festival.pass("Weekend pass", 0b111).await, 20, 13900).await;
    let (fan, other) = (bought(&house, &offer, "mara@x.example", 2).await, bought(&house, &offer, "jonas@x.example", 1).await);
    house.advance(TimeDelta::seconds(1));
    let terms = json!({ "kind": "postponed", "message": { "en": "Next year." }, "may_refund": true, "default_choice": "refund", "deadline_at": house.app.clock.now() + TimeDelta::days(2) });
    open(&festival, &terms).await.expect(201);
    choose(&fan, "share").await.expect(409);
    choose(&fan, "refund").await.expect(200);
    for _ in 0..2 {
        assert_eq!(festival.promoter.send("POST", &festival.path("/option-rounds/1/ends"), &json!({})).await.expect(200)["status"], "called_off");
    }
    choose(&other, "refund").await.expect(409);
    house.advance(TimeDelta::days(3));
    house.run_workers().await;
    assert_eq!((fan.status().await.as_str(), other.status().await.as_str()), ("refunded", "paid"), "what was asked for until then holds");
    // Another one may follow, and is told of anew.
    let again = json!({ "kind": "moved", "message": { "en": "To the dock." }, "may_refund": true, "default_choice": "keep", "deadline_at": house.app.clock.now() + TimeDelta::days(2) });
    assert_eq!(open(&festival, &again).await.expect(201)["round_no"], 2);
    house.run_workers().await;
    assert!(house.emails().iter().any(|mail| mail.recipient == "jonas@x.example" && mail.text.contains("To the dock.")));
    house.close().await;
}
