//! Vouchers through the public face: a code lowers a price as often as it may, a use comes back with its order, and a copy of the database does
//! not know the code.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Anybody, Fan, Festival, answer, key},
    house::House,
    races::at_once,
};

async fn on_sale(house: &House, capacity: i64) -> (Festival, String) {
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, capacity, 13900).await;
    (festival, offer)
}

async fn voucher(festival: &Festival, code: &str, effect: &Value, terms: Value) -> Value {
    let mut body = json!({ "code": code, "terms": terms });
    body.as_object_mut().unwrap().extend(effect.as_object().unwrap().clone());
    festival.promoter.make(&festival.path("/vouchers"), body).await
}

async fn order(http: &Anybody, offer: &str, quantity: i64, email: &str, code: &str) -> Answer {
    let body = json!({ "email": email, "lines": [{ "offer_id": offer, "quantity": quantity }], "voucher": code });
    answer(http.request("POST", "/v1/orders").header("idempotency-key", key()).json(&body)).await
}

fn fan(http: &Anybody, placed: &Value) -> Fan {
    let text = |name: &str| placed[name].as_str().unwrap().to_owned();
    Fan { http: http.clone(), order: text("order_id"), secret: text("secret") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voucher_of_one_use_lowers_one_of_fifty_orders_and_its_use_comes_back() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 100).await;
    let made = voucher(&festival, "Ferry-20", &json!({ "percent_off": 20 }), json!({ "max_uses": 1 })).await;
    let uses = async || festival.promoter.get(&festival.path("/vouchers")).await.expect(200)["items"][0]["used"].as_i64().unwrap();
    let answers = at_once(50, |i| {
        let (http, offer) = (house.anybody(), offer.clone());
        async move { order(&http, &offer, 1, &format!("fan{i}@x.example"), "ferry 20").await }
    })
    .await;
    let placed: Vec<&Answer> = answers.iter().filter(|a| a.status == 201).collect();
    assert_eq!(placed.len(), 1);
    assert!(answers.iter().filter(|a| a.status != 201).all(|a| a.problem() == "voucher-refused" && a.body["reason"] == "used_up"), "{answers:?}");
    let line = &placed[0].body["lines"][0];
    assert_eq!((&line["unit"]["minor"], &line["discount"]["minor"], &placed[0].body["total"]["minor"]), (&json!(11120), &json!(2780), &json!(11120)));
    let first = fan(&house.anybody(), &placed[0].body);
    assert_eq!((festival.stock(&offer).await, uses().await), ((1, 0), 1));

    // Given up: the next one may. Expired: the next one may. Paid: it is gone.
    first.cancel().await.expect(200);
    assert_eq!(uses().await, 0);
    order(&house.anybody(), &offer, 1, "second@x.example", "FERRY20").await.expect(201);
    house.advance(TimeDelta::minutes(11));
    house.run_workers().await;
    assert_eq!(uses().await, 0);
    let third = order(&house.anybody(), &offer, 2, "third@x.example", "ferry-20").await.expect(201);
    fan(&house.anybody(), &third).pay(&key(), "simulated_instant").await.expect(201);
    house.run_workers().await;
    assert_eq!((festival.stock(&offer).await, uses().await), ((0, 2), 1));
    let path = format!("/v1/vouchers/{}", made["voucher_id"].as_str().unwrap());
    festival.promoter.send("PUT", &path, &json!({ "max_uses": 2 })).await.expect(200);
    order(&house.anybody(), &offer, 1, "fourth@x.example", "ferry20").await.expect(201);
    assert_eq!(festival.promoter.send("PUT", &path, &json!({ "max_uses": 1 })).await.status, 409);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voucher_takes_off_an_amount_or_everything_and_says_why_it_does_not_help() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 100).await;
    let other = festival.offer(&festival.pass("Day pass", 0b1).await, 100, 5000).await;
    let http = house.anybody();
    voucher(&festival, "TENOFF", &json!({ "minor_off": 1000 }), json!({ "offer_ids": [offer] })).await;
    voucher(&festival, "guest list", &json!({ "percent_off": 100 }), json!({})).await;
    voucher(&festival, "TOMORROW", &json!({ "percent_off": 10 }), json!({ "opens_at": house.app.clock.now() + TimeDelta::days(1) })).await;
    let body = json!({ "code": "ten-off", "terms": {}, "percent_off": 5 });
    assert_eq!(festival.promoter.send("POST", &festival.path("/vouchers"), &body).await.status, 409, "one code, one voucher");
    for (body, pointer) in [
        (json!({ "code": "x-y", "terms": {}, "percent_off": 5 }), "/code"),
        (json!({ "code": "WHATNOW", "terms": {} }), "/percent_off"),
        (json!({ "code": "WHATNOW", "terms": {}, "percent_off": 5, "minor_off": 5 }), "/percent_off"),
    ] {
        let refused = festival.promoter.send("POST", &festival.path("/vouchers"), &body).await;
        assert_eq!((refused.status, refused.body["errors"][0]["pointer"].as_str()), (422, Some(pointer)), "{refused:?}");
    }
    let reason = async |offer: &str, code: &str| order(&http, offer, 1, "mara@x.example", code).await.body["reason"].clone();
    assert_eq!(reason(&offer, "NOSUCH").await, "unknown");
    assert_eq!(reason(&offer, "tomorrow").await, "not_now");
    assert_eq!(reason(&other, "tenoff").await, "not_for_these");
    assert_eq!(festival.stock(&offer).await, (0, 0));

    // In a basket of both it lowers its own offer alone; the shares of a line add up to what is paid.
    let lines = json!([{ "offer_id": offer, "quantity": 2 }, { "offer_id": other, "quantity": 1 }]);
    let body = json!({ "email": "mara@x.example", "lines": lines, "voucher": "Ten Off" });
    let placed = answer(http.request("POST", "/v1/orders").header("idempotency-key", key()).json(&body)).await.expect(201);
    assert_eq!(placed["total"]["minor"], 2 * 12900 + 5000);
    for line in placed["lines"].as_array().unwrap() {
        let shares: i64 = line["shares"].as_array().unwrap().iter().map(|s| s["minor"].as_i64().unwrap()).sum();
        assert_eq!(json!(shares), line["unit"]["minor"]);
    }
    // Nothing is left to pay: the order is free and brings its tickets without a bank.
    let guest = order(&http, &offer, 1, "guest@x.example", "GUESTLIST").await.expect(201);
    assert_eq!(guest["total"]["minor"], 0);
    let guest = fan(&http, &guest);
    assert_eq!(guest.pay(&key(), "simulated_instant").await.status, 422);
    guest.pay(&key(), "free").await.expect(201);
    assert_eq!(guest.tickets().await.len(), 1);

    // The promoter reads the codes; the database does not.
    let listed = festival.promoter.get(&festival.path("/vouchers")).await.expect(200);
    assert!(listed["items"].as_array().unwrap().iter().any(|v| v["code"] == "guest list"), "{listed}");
    let mut database = house.database().await;
    let rows: Vec<String> = sqlx::query_scalar("select v::text from vouchers v").fetch_all(&mut database).await.unwrap();
    for code in ["TENOFF", "guest list", "GUESTLIST", "TOMORROW"] {
        let hex = data_encoding::HEXLOWER.encode(code.as_bytes());
        assert!(rows.len() == 3 && rows.iter().all(|row| !row.to_lowercase().contains(&code.to_lowercase()) && !row.contains(&hex)), "{code}: {rows:?}");
    }
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_money_takes_its_voucher_again_or_goes_back() {
    for taken_meanwhile in [false, true] {
        let house = House::open().await;
        let (festival, offer) = on_sale(&house, 100).await;
        voucher(&festival, "ONLYONE", &json!({ "percent_off": 50 }), json!({ "max_uses": 1 })).await;
        let slow = order(&house.anybody(), &offer, 1, "slow@x.example", "onlyone").await.expect(201);
        let slow = fan(&house.anybody(), &slow);
        let payment = slow.pay(&key(), "simulated").await.expect(201);
        house.advance(TimeDelta::minutes(16));
        house.run_workers().await;
        assert_eq!(slow.status().await, "expired");
        if taken_meanwhile {
            order(&house.anybody(), &offer, 1, "fast@x.example", "onlyone").await.expect(201);
        }
        let id = payment["payment_id"].as_str().unwrap().parse().unwrap();
        gatefold::payments::decided(&house.app, id, gatefold::payments::Outcome::Captured(None), None).await.unwrap();
        assert_eq!(slow.status().await, if taken_meanwhile { "unfulfillable" } else { "paid" });
        assert_eq!(festival.stock(&offer).await, if taken_meanwhile { (1, 0) } else { (0, 1) });
        house.run_workers().await;
        house.close().await;
    }
}
