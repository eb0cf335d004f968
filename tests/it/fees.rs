//! Booking fees through the public face: inside the price, whoever bears them, named, booked apart, and kept or not when money goes back.

use serde_json::{Value, json};

use crate::{
    actors::{Fan, Festival, key},
    house::House,
    refunds::refund,
    releases::bundle,
};

async fn with_fee(house: &House, fee: &Value) -> (Festival, String) {
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let offer = bundle(&festival, &festival.pass("Weekend pass", 0b111).await, 100).await;
    festival.promoter.send("PUT", &festival.path("/booking-fee"), fee).await.expect(200);
    (festival, offer)
}

async fn bought(house: &House, offer: &str, email: &str, quantity: i64) -> (Fan, Value) {
    let placed = house.anybody().place(&key(), email, &[(offer, quantity)]).await.expect(201);
    let text = |name: &str| placed[name].as_str().unwrap().to_owned();
    let fan = Fan { http: house.anybody(), order: text("order_id"), secret: text("secret") };
    fan.pay(&key(), "simulated_instant").await.expect(201);
    (fan, placed)
}

async fn booked(house: &House, account: &str) -> i64 {
    sqlx::query_scalar("select coalesce(sum(minor), 0)::bigint from journal_entries where account = $1")
        .bind(account)
        .fetch_one(&mut house.database().await)
        .await
        .unwrap()
}

fn shares(order: &Value) -> Vec<(i64, i64)> {
    let of = |s: &Value| (s["component_no"].as_i64().unwrap(), s["minor"].as_i64().unwrap());
    order["lines"][0]["shares"].as_array().unwrap().iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fee_that_the_buyer_bears_is_inside_the_price_and_stays_or_goes_back() {
    let house = House::open().await;
    let fee = json!({ "fixed_minor": 150, "ppm": 50_000, "borne_by": "buyer", "tax_ppm": 210_000, "is_kept": true });
    let (festival, offer) = with_fee(&house, &fee).await;
    assert_eq!(house.anybody().get(&festival.path("/booking-fee")).await.expect(200)["booking_fee"], fee);

    // 149.00 are paid, before and after; 1.50 and a twenty-first of the rest of it are the fee.
    let page = house.anybody().request("GET", "/f/night-ferry").send().await.unwrap().text().await.unwrap();
    assert!(page.contains("€149") && page.contains("Booking fee") && page.contains("€8.52"), "{page}");
    let (fan, placed) = bought(&house, &offer, "mara@x.example", 2).await;
    assert_eq!((&placed["total"]["minor"], &placed["breakdown"]["fee"]["minor"]), (&json!(29800), &json!(2 * 852)));
    assert_eq!(shares(&placed), [(1, 12539), (2, 1509), (0, 852)]);
    assert_eq!((booked(&house, "fee").await, booked(&house, "tax:210000").await), (-2 * (852 - 148), -2 * (148 + 262)));
    let order = house.anybody().request("GET", &format!("/o/{}/{}", fan.order, fan.secret)).send().await.unwrap().text().await.unwrap();
    assert!(order.contains("Booking fee inside") && order.contains("€17.04"), "{order}");
    house.run_workers().await;

    // One unit goes back without it, by its own rule; the other with it, because somebody says so. Then nothing is left of the order.
    let one = json!({ "parts": [{ "line_no": 1, "units": 1 }], "reason": "asked" });
    let kept = refund(&festival.promoter, &fan.order, &key(), &one).await.expect(201);
    assert_eq!(kept["amount"]["minor"], 14900 - 852, "{kept}");
    house.run_workers().await;
    assert_eq!((fan.status().await, booked(&house, "fee").await), ("partly_refunded".to_owned(), -2 * 704));
    let rest = json!({ "reason": "festival_changed", "keep_fees": false });
    assert_eq!(refund(&festival.promoter, &fan.order, &key(), &rest).await.expect(201)["amount"]["minor"], 14900);
    house.run_workers().await;
    assert_eq!((fan.status().await, booked(&house, "fee").await), ("refunded".to_owned(), -704));
    assert_eq!(festival.stock(&offer).await, (0, 0));

    // By the rule of the order a fan gets it back less the fee; a voucher lowers the price, and the fee with it.
    festival.promoter.send("PUT", &festival.path("/refund-rule"), &json!({ "hours_before": 24, "kept_ppm": 0 })).await.expect(200);
    let (fan, _) = bought(&house, &offer, "jonas@x.example", 1).await;
    let ticket = fan.tickets().await[0]["ticket_id"].clone();
    let request = fan.request("POST", "/returns").header("idempotency-key", key()).json(&json!({ "ticket_ids": [ticket] }));
    assert_eq!(crate::actors::answer(request).await.expect(201)["amount"]["minor"], 14900 - 852);
    festival.promoter.make(&festival.path("/vouchers"), json!({ "code": "GUEST", "terms": {}, "percent_off": 100 })).await;
    let body = json!({ "email": "guest@x.example", "lines": [{ "offer_id": offer, "quantity": 1 }], "voucher": "guest" });
    let guest = crate::actors::answer(house.anybody().request("POST", "/v1/orders").header("idempotency-key", key()).json(&body)).await.expect(201);
    assert_eq!((guest["total"]["minor"].as_i64(), guest["breakdown"]["fee"]["minor"].as_i64()), (Some(0), Some(0)));
    assert_eq!(shares(&guest), [(1, 0), (2, 0)], "what costs nothing costs no fee");
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fee_that_the_promoter_bears_is_taken_from_what_they_are_owed_and_nobody_else_sees_it() {
    let house = House::open().await;
    let fee = json!({ "ppm": 40_000, "borne_by": "promoter", "is_kept": true });
    let (festival, offer) = with_fee(&house, &fee).await;
    let (fan, placed) = bought(&house, &offer, "mara@x.example", 1).await;
    assert_eq!(shares(&placed), [(1, 13300), (2, 1600)]);
    assert_eq!(placed["breakdown"]["fee"]["minor"], 0);
    assert_eq!(shares(&fan.get("").await.expect(200)), [(1, 13300), (2, 1600)]);
    let seen = festival.promoter.get(&format!("/v1/orders/{}", fan.order)).await.expect(200);
    assert_eq!(seen["lines"][0]["shares"][2]["fee"], json!({ "is_kept": true, "borne_minor": 596 }));
    assert_eq!((booked(&house, "fee").await, booked(&house, "promoter").await), (-596, -(13300 - 1098 - 596)));

    // All of the money goes back, and what the house took stays taken.
    let all = json!({ "reason": "asked" });
    assert_eq!(refund(&festival.promoter, &fan.order, &key(), &all).await.expect(201)["amount"]["minor"], 14900);
    house.run_workers().await;
    assert_eq!((fan.status().await, booked(&house, "fee").await, booked(&house, "promoter").await), ("refunded".to_owned(), -596, 596));

    let shown = house.anybody().get(&festival.path("/booking-fee")).await.expect(200);
    assert!(shown["booking_fee"].is_null(), "{shown}");
    assert_eq!(festival.promoter.get(&festival.path("/booking-fee")).await.expect(200)["booking_fee"]["ppm"], 40_000);

    // What is held keeps its fee, whatever is set before it is paid.
    let held = house.anybody().order("noor@x.example", &[(&offer, 1)]).await;
    festival.promoter.send("PUT", &festival.path("/booking-fee"), &json!({ "ppm": 500_000, "borne_by": "promoter", "is_kept": true })).await.expect(200);
    held.pay(&key(), "simulated_instant").await.expect(201);
    assert_eq!(booked(&house, "fee").await, -2 * 596);

    // Ended, nothing is taken any more.
    festival.promoter.send("DELETE", &festival.path("/booking-fee"), &json!(null)).await.expect(200);
    bought(&house, &offer, "jonas@x.example", 1).await;
    assert_eq!(booked(&house, "fee").await, -2 * 596);
    for bad in [json!({ "borne_by": "buyer", "is_kept": true }), json!({ "ppm": 600_000, "borne_by": "buyer", "is_kept": true })] {
        assert_eq!(festival.promoter.send("PUT", &festival.path("/booking-fee"), &bad).await.status, 422);
    }
    house.run_workers().await;
    house.close().await;
}
