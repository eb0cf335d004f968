//! The whole way: a promoter sets up, a fan buys, hears, and is let in once.

use chrono::TimeDelta;
use gatefold::secrets::Purpose;
use serde_json::{Value, json};

use crate::{
    actors::{answer, key},
    house::House,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_fan_buys_a_pass_and_is_let_in_once() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 10, 13900).await;

    let fan = house.anybody().order("mara@lindqvist.example", &[(&offer, 2)]).await;
    let order = fan.get("").await.expect(200);
    assert_eq!((order["status"].as_str(), order["total"]["minor"].as_i64()), (Some("held"), Some(27800)));
    assert_eq!(festival.stock(&offer).await, (2, 0));
    assert!(fan.tickets().await.is_empty());

    let payment = fan.pay(&key(), "simulated_instant").await.expect(201);
    assert_eq!(payment["status"], "captured");
    assert_eq!(fan.status().await, "paid");
    assert_eq!(festival.stock(&offer).await, (0, 2));
    let tickets = fan.tickets().await;
    assert_eq!(tickets.len(), 2);

    house.advance("2026-06-19T18:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let device = festival.device().await;
    let code = tickets[0]["ticket_code"].as_str().unwrap();
    let first = device.scan(code, house.app.clock.now()).await.expect(201);
    assert_eq!(first["verdict"], "admitted");
    assert_eq!(first["pass"]["name"]["en"], "Weekend pass");
    house.advance(TimeDelta::minutes(5));
    let second = device.scan(code, house.app.clock.now()).await.expect(201);
    assert_eq!((&second["verdict"], &second["reason"]), (&json!("refused"), &json!("already_inside")));
    assert_eq!(second["first_entry"]["entered_at"], first["decided_at"]);
    assert_eq!(second["first_entry"]["gate"]["en"], "North Quay");
    let other = device.scan(tickets[1]["ticket_code"].as_str().unwrap(), house.app.clock.now()).await.expect(201);
    assert_eq!(other["verdict"], "admitted");

    let scans = festival.promoter.get(&festival.path("/scans")).await.expect(200);
    assert_eq!(scans["items"].as_array().unwrap().len(), 3);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_has_one_effect() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 10, 13900).await;
    let fan = house.anybody();
    let key_one = key();
    let first = fan.place(&key_one, "mara@x.example", &[(&offer, 1)]).await.expect(201);
    let again = fan.place(&key_one, "mara@x.example", &[(&offer, 1)]).await.expect(201);
    assert_eq!(first, again);
    assert_eq!(fan.place(&key_one, "mara@x.example", &[(&offer, 2)]).await.problem(), "key-reused");
    // The key belongs to the address: another buyer who chose the same one is another buyer.
    let other = fan.place(&key_one, "jonas@x.example", &[(&offer, 1)]).await.expect(201);
    assert_ne!(first["order_id"], other["order_id"]);
    assert_eq!(festival.stock(&offer).await, (2, 0));
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_accepted_gets_a_clear_answer_and_holds_nothing() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 10, 13900).await;
    let fan = house.anybody();
    for quantity in [json!(0), json!(-1), json!(2_147_483_648_i64), json!(1e20), json!(1.5), json!("3"), Value::Null] {
        let body = json!({ "email": "mara@x.example", "lines": [{ "offer_id": offer, "quantity": quantity }] });
        let answer = answer(fan.request("POST", "/v1/orders").header("idempotency-key", key()).json(&body)).await;
        assert!(matches!(answer.status, 400 | 422), "{quantity}: {} {}", answer.status, answer.body);
    }
    let no_key = fan.post("/v1/orders", &json!({ "email": "mara@x.example", "lines": [{ "offer_id": offer, "quantity": 1 }] })).await;
    assert_eq!((no_key.status, no_key.problem()), (400, "key-missing"));
    for (email, lines, slug) in [
        ("not an address", vec![(offer.as_str(), 1)], "invalid"),
        ("mara@x.example", vec![(offer.as_str(), 11)], "order-limit"),
        ("mara@x.example", vec![("01a203a6-2370-8c6e-bd38-126100000001", 1)], "invalid"),
        ("mara@x.example", vec![(offer.as_str(), 10), (offer.as_str(), 1)], "order-limit"),
    ] {
        assert_eq!(fan.place(&key(), email, &lines).await.problem(), slug, "{email} {lines:?}");
    }
    let nul = json!({ "email": "mara@x.example", "name": "Mara\u{0}", "lines": [{ "offer_id": offer, "quantity": 1 }] });
    let refused = answer(fan.request("POST", "/v1/orders").header("idempotency-key", key()).json(&nul)).await;
    assert_eq!((refused.problem(), &refused.body["errors"][0]["pointer"]), ("invalid", &json!("/name")));
    let not_json = answer(fan.request("POST", "/v1/orders").header("content-type", "application/json").body("{")).await;
    assert_eq!((not_json.status, not_json.problem()), (400, "malformed"));
    let extra = fan.post("/v1/orders", &json!({ "email": "mara@x.example", "lines": [], "discount": 100 })).await;
    assert_eq!(extra.problem(), "invalid");
    assert_eq!(festival.stock(&offer).await, (0, 0));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_over_goes_back_to_the_shelf() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 3, 13900).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 3)]).await;
    let refused = house.anybody().place(&key(), "jonas@x.example", &[(&offer, 1)]).await;
    assert_eq!((refused.problem(), &refused.body["availability"]), ("sold-out", &json!("held_out")));
    house.advance(TimeDelta::minutes(11));
    house.run_workers().await;
    assert_eq!(fan.status().await, "expired");
    assert_eq!(fan.pay(&key(), "simulated_instant").await.problem(), "not-held");
    let next = house.anybody().order("jonas@x.example", &[(&offer, 3)]).await;
    next.pay(&key(), "simulated_instant").await.expect(201);
    let refused = house.anybody().place(&key(), "mara@x.example", &[(&offer, 1)]).await;
    assert_eq!(refused.body["availability"], "sold_out");
    assert_eq!(festival.stock(&offer).await, (0, 3));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_went_up_meanwhile_holds_nothing_and_a_placed_order_keeps_its_price() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 10, 11900).await;
    let before = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    let tier = json!({ "name": { "en": "Now" }, "price": { "minor": 13900, "currency": "EUR" } });
    festival.promoter.send("PUT", &format!("/v1/offers/{offer}/tiers/1"), &tier).await.expect(200);
    let body = json!({ "email": "jonas@x.example", "lines": [{ "offer_id": offer, "quantity": 1 }], "expected_total": { "minor": 11900, "currency": "EUR" } });
    let changed = answer(house.anybody().request("POST", "/v1/orders").header("idempotency-key", key()).json(&body)).await;
    assert_eq!((changed.status, changed.problem(), &changed.body["total"]["minor"]), (409, "price-changed", &json!(13900)));
    let payment = before.pay(&key(), "simulated_instant").await.expect(201);
    assert_eq!(payment["amount"]["minor"], 11900);
    assert_eq!(festival.stock(&offer).await, (0, 1));
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_late_finds_its_stock_or_goes_back() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 1, 13900).await;
    // The bank captures and never tells; the hold ends; the money is found when we ask.
    for (taken_meanwhile, status) in [(false, "paid"), (true, "unfulfillable")] {
        let fan = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
        let payment = fan.pay(&key(), "simulated").await.expect(201);
        assert_eq!(payment["status"], "submitted");
        let id: gatefold::id::PaymentId = payment["payment_id"].as_str().unwrap().parse().unwrap();
        // The buyer lets the time to decide pass; the bank is told to give up and the hold ends.
        house.advance(TimeDelta::minutes(16));
        house.run_workers().await;
        assert_eq!(fan.status().await, "expired");
        if taken_meanwhile {
            house.anybody().order("jonas@x.example", &[(&offer, 1)]).await.pay(&key(), "simulated_instant").await.expect(201);
        }
        // A real bank may capture all the same.
        gatefold::payments::decided(&house.app, id, gatefold::payments::Outcome::Captured(None), None).await.unwrap();
        gatefold::payments::decided(&house.app, id, gatefold::payments::Outcome::Captured(None), None).await.unwrap();
        assert_eq!(fan.status().await, status);
        house.run_workers().await;
        if !taken_meanwhile {
            assert_eq!(fan.tickets().await.len(), 1);
            let raise = json!({ "capacity": 2 });
            let offers = festival.promoter.get(&festival.path("/offers")).await.expect(200);
            let stock = offers["items"][0]["stock_id"].as_str().unwrap().to_owned();
            let raised = festival.promoter.request("PUT", &format!("/v1/stocks/{stock}")).header("confirm", "2").json(&raise);
            crate::actors::answer(raised).await.expect(200);
        }
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_notification_is_made_up_for_by_asking() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 1, 13900).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    let payment = fan.pay(&key(), "simulated").await.expect(201);
    let id = payment["payment_id"].as_str().unwrap().parse().unwrap();
    gatefold::payments::simulated::decide(&house.app, id, gatefold::payments::simulated::Decision::PaySilently).await.unwrap();
    assert_eq!(fan.status().await, "held");
    house.advance(TimeDelta::minutes(2));
    house.run_workers().await;
    assert_eq!(fan.status().await, "paid");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_end_in_their_minute_also_behind_one_whose_payment_is_open() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 10, 13900).await;
    let order = async |email: &str| house.anybody().order(email, &[(&offer, 1)]).await;
    let paying = order("first@x.example").await;
    house.advance(TimeDelta::minutes(1));
    let second = order("second@x.example").await;
    house.advance(TimeDelta::minutes(1));
    let paid = order("third@x.example").await;
    paid.pay(&key(), "simulated_instant").await.expect(201);
    let fourth = order("fourth@x.example").await;
    house.advance(TimeDelta::minutes(7));
    paying.pay(&key(), "simulated").await.expect(201);
    house.advance(TimeDelta::seconds(150));
    house.run_workers().await;
    assert_eq!([paying.status().await, second.status().await, fourth.status().await], ["held", "expired", "held"]);
    house.advance(TimeDelta::minutes(1));
    house.run_workers().await;
    assert_eq!([paying.status().await, fourth.status().await], ["held", "expired"]);
    // The bank was never told anything: the payment is closed when its time is over, and then the hold ends, too.
    house.advance(TimeDelta::minutes(13));
    house.run_workers().await;
    house.run_workers().await;
    assert_eq!([paying.status().await, paid.status().await], ["expired", "paid"]);
    assert_eq!(festival.stock(&offer).await, (0, 1));
    // Behind everything that ended, a new hold ends as well.
    let last = order("last@x.example").await;
    house.advance(TimeDelta::minutes(11));
    house.run_workers().await;
    assert_eq!(last.status().await, "expired");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_link_pays_nothing() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 10, 13900).await;
    let mut fan = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    let raised = sqlx::query("update orders set link_generation = 1").execute(&mut house.database().await).await.unwrap();
    assert_eq!(raised.rows_affected(), 1);
    assert_eq!(fan.pay(&key(), "simulated_instant").await.expect(404)["type"], "/problems/not-found");
    assert_eq!(festival.stock(&offer).await, (1, 0));
    fan.secret = house.app.secrets.link(Purpose::OrderLink, fan.order.parse().unwrap(), 1);
    fan.pay(&key(), "simulated_instant").await.expect(201);
    assert_eq!(festival.stock(&offer).await, (0, 1));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_are_believed_only_with_their_signature_and_have_one_effect() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 1, 13900).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    let payment = fan.pay(&key(), "simulated").await.expect(201);
    let body = json!({ "event_id": "evt_1", "payment_id": payment["payment_id"], "status": "succeeded" }).to_string();
    let good = gatefold::payments::simulated::sign(&house.app, body.as_bytes());
    let send = async |signature: Option<&str>, body: &str| {
        let mut request =
            house.anybody().request("POST", "/v1/payment-notifications/simulated").header("content-type", "application/octet-stream").body(body.to_owned());
        if let Some(signature) = signature {
            request = request.header("gatefold-signature", signature);
        }
        answer(request).await
    };
    for bad in [None, Some("1.00"), Some("nonsense"), Some(good.replace('.', "0.").as_str())] {
        assert_eq!(send(bad, &body).await.problem(), "bad-signature");
    }
    assert_eq!(send(Some(&good), &body.replace("succeeded", "declined")).await.problem(), "bad-signature");
    let huge = "x".repeat(5 << 20);
    assert_eq!(send(Some(&good), &huge).await.status, 413);
    assert_eq!(fan.status().await, "held");
    let told = futures_util::future::join_all((0..20).map(|_| send(Some(&good), &body))).await;
    assert!(told.iter().all(|t| t.status == 200), "{told:?}");
    assert_eq!(fan.status().await, "paid");
    assert_eq!(fan.tickets().await.len(), 1);
    house.advance(TimeDelta::minutes(6));
    assert_eq!(send(Some(&good), &body).await.problem(), "bad-signature", "an old signature is no signature");
    house.run_workers().await;
    house.close().await;
}
