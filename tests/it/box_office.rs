//! Money that no provider takes: sent to an account, handed over at the door, or not asked for at all. An order waits for it until its deadline, a member
//! who has it says so, cash is numbered, and everything comes out of the stock that everybody buys from.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Fan, Festival, Promoter, answer, key},
    browser::scene,
    control::signed_in,
    house::House,
    races::at_once,
    refunds::refund,
    releases::bundle,
};

async fn opened(house: &House, capacity: i64) -> (Festival, String) {
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let offer = festival.offer(&festival.pass("Weekend pass", 0b111).await, capacity, 13900).await;
    (festival, offer)
}

async fn offers_transfers(festival: &Festival) {
    let terms = json!({ "days": 7, "hours_before": 24, "instructions": { "en": "IBAN NL91 ABNA 0417 1643 00\nNight Ferry Foundation" } });
    festival.promoter.send("PUT", &festival.path("/offline-methods/bank_transfer"), &terms).await.expect(200);
}

async fn agree(fan: &Fan, method: &str) -> Answer {
    answer(fan.request("POST", "/payment-agreements").json(&json!({ "method": method }))).await
}

async fn collect(promoter: &Promoter, order: &str, key: &str, method: &str, minor: i64) -> Answer {
    let body = json!({ "method": method, "amount": { "minor": minor, "currency": "EUR" }, "note": "statement 12" });
    answer(promoter.request("POST", &format!("/v1/orders/{order}/collections")).header("idempotency-key", key).json(&body)).await
}

async fn sell(promoter: &Promoter, festival: &Festival, key: &str, body: &Value) -> Answer {
    answer(promoter.request("POST", &festival.path("/box-office-sales")).header("idempotency-key", key).json(body)).await
}

async fn open_office(festival: &Festival, country: &str) -> Value {
    festival.promoter.send("PUT", &festival.path("/box-office"), &json!({ "country": country, "open": true })).await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_waits_for_its_transfer_and_is_paid_by_whoever_finds_it() {
    let house = House::open().await;
    let (festival, offer) = opened(&house, 3).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    assert_eq!(agree(&fan, "bank_transfer").await.problem(), "conflict", "nobody offers it yet");
    offers_transfers(&festival).await;
    let agreed = agree(&fan, "bank_transfer").await.expect(200);
    assert_eq!((&agreed["amount"]["minor"], agreed["reference"].as_str().unwrap().len()), (&json!(13900), 9));
    assert_eq!(agree(&fan, "bank_transfer").await.expect(200)["due_at"], agreed["due_at"], "agreeing again changes nothing");
    house.run_workers().await;
    let mail = house.emails().into_iter().find(|mail| mail.recipient == "mara@x.example").expect("an email");
    assert!(mail.text.contains("NL91 ABNA 0417 1643 00") && mail.text.contains(agreed["reference"].as_str().unwrap()), "{}", mail.text);
    let page = house.anybody().request("GET", &format!("/o/{}/{}", fan.order, fan.secret)).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("NL91 ABNA 0417 1643 00") && page.contains("Reference"), "{page}");

    // It outlives the holds around it, and does not keep them from ending.
    let forgotten = house.anybody().order("jonas@x.example", &[(&offer, 1)]).await;
    house.advance(TimeDelta::days(3));
    house.run_workers().await;
    assert_eq!((fan.status().await.as_str(), forgotten.status().await.as_str()), ("held", "expired"));

    // The whole sum, by a member who may; the same key gets the same payment again.
    assert_eq!(collect(&festival.promoter, &fan.order, &key(), "bank_transfer", 13800).await.expect(409)["total"]["minor"], 13900);
    assert_eq!(collect(&festival.promoter, &fan.order, &key(), "cash", 13900).await.problem(), "conflict", "cash needs a box office");
    let key_of_it = key();
    let paid = collect(&festival.promoter, &fan.order, &key_of_it, "bank_transfer", 13900).await.expect(201);
    assert_eq!((&paid["status"], &paid["provider"]), (&json!("captured"), &json!("bank_transfer")));
    assert_eq!(collect(&festival.promoter, &fan.order, &key_of_it, "bank_transfer", 13900).await.expect(201)["payment_id"], paid["payment_id"]);
    assert_eq!(collect(&festival.promoter, &fan.order, &key(), "bank_transfer", 13900).await.problem(), "already-paid");
    assert_eq!(fan.tickets().await.len(), 1);
    house.advance(TimeDelta::days(8));
    house.run_workers().await;
    assert_eq!((fan.status().await.as_str(), festival.stock(&offer).await), ("paid", (0, 1)));

    // It goes back as it came: by hand, and its fan is told so.
    refund(&festival.promoter, &fan.order, &key(), &json!({ "reason": "asked" })).await.expect(201);
    house.run_workers().await;
    let cases = festival.promoter.get(&festival.path("/refund-cases")).await.expect(200);
    let case = cases["items"][0]["refund_id"].as_str().unwrap().to_owned();
    assert!(house.emails().iter().any(|mail| mail.text.contains("pays it back by hand")));
    festival.promoter.send("POST", &format!("/v1/refunds/{case}/decisions"), &json!({ "decision": "by_hand", "note": "sent on 3 March" })).await.expect(200);
    assert_eq!((fan.status().await.as_str(), festival.stock(&offer).await), ("refunded", (0, 0)));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_after_the_deadline_finds_its_places_or_is_given_back() {
    let house = House::open().await;
    let (festival, offer) = opened(&house, 1).await;
    offers_transfers(&festival).await;
    let late = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    agree(&late, "bank_transfer").await.expect(200);
    house.advance(TimeDelta::days(8));
    house.run_workers().await;
    assert_eq!(late.status().await, "expired");
    agree(&late, "bank_transfer").await.expect(409);
    let other = house.anybody().order("jonas@x.example", &[(&offer, 1)]).await;
    assert!(
        collect(&festival.promoter, &late.order, &key(), "bank_transfer", 13900).await.expect(409)["detail"].as_str().unwrap().contains("give the money back")
    );
    other.cancel().await.expect(200);
    let same = key();
    let paid = collect(&festival.promoter, &late.order, &same, "bank_transfer", 13900).await.expect(201);
    assert_eq!(collect(&festival.promoter, &late.order, &same, "bank_transfer", 13900).await.expect(201)["payment_id"], paid["payment_id"]);
    assert_eq!((late.status().await.as_str(), late.tickets().await.len()), ("paid", 1));
    // Two orders of an address may wait, and no third: they keep places from others for days.
    let more = festival.offer(&festival.pass("Friday", 0b001).await, 10, 4000).await;
    for (i, status) in [200, 200, 409].into_iter().enumerate() {
        let fan = house.anybody().order("theo@x.example", &[(&more, 1)]).await;
        agree(&fan, "bank_transfer").await.expect(status);
        if i == 0 {
            // What waits can still be paid otherwise, and does not count then.
            let open = fan.pay(&key(), "simulated").await.expect(201);
            assert_eq!(collect(&festival.promoter, &fan.order, &key(), "bank_transfer", 4000).await.problem(), "payment-open");
            answer(
                house
                    .anybody()
                    .request("POST", &format!("/v1/payments/{}/cancellations", open["payment_id"].as_str().unwrap()))
                    .bearer_auth(format!("gf_order_{}", fan.secret)),
            )
            .await
            .expect(200);
        }
    }
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_sells_and_gives_away_from_the_same_stock_counted_apart() {
    let house = House::open().await;
    let (festival, offer) = opened(&house, 6).await;
    let promoter = &festival.promoter;
    let cash = json!({ "lines": [{ "offer_id": offer, "quantity": 1 }], "method": "cash" });
    assert_eq!(sell(promoter, &festival, &key(), &cash).await.problem(), "conflict", "it is closed");
    assert_eq!(open_office(&festival, "DE").await["warning"], "device");
    assert!(open_office(&festival, "NL").await["warning"].is_null());
    let one = key();
    let first = sell(promoter, &festival, &one, &cash).await.expect(201);
    assert_eq!((&first["receipt_no"], &first["total"]["minor"]), (&json!(1), &json!(13900)));
    assert_eq!(sell(promoter, &festival, &one, &cash).await.expect(201)["order_id"], first["order_id"], "the same key is the same sale");
    let card = json!({ "lines": [{ "offer_id": offer, "quantity": 2 }], "method": "card_terminal", "email": "walk@x.example", "name": "Walk-in" });
    assert_eq!(sell(promoter, &festival, &one, &card).await.problem(), "key-reused");
    let second = sell(promoter, &festival, &key(), &card).await.expect(201);
    assert!(second["receipt_no"].is_null());
    assert_eq!(sell(promoter, &festival, &key(), &cash).await.expect(201)["receipt_no"], 2);

    // Given away with a reason: nothing is to be paid, and it takes a place like every other.
    let comp = |reason: &str| json!({ "lines": [{ "offer_id": offer, "quantity": 1 }], "method": "comp", "reason": reason });
    assert_eq!(sell(promoter, &festival, &key(), &comp(" ")).await.expect(422)["errors"][0]["pointer"], "/reason");
    let given = sell(promoter, &festival, &key(), &comp("press")).await.expect(201);
    assert_eq!((&given["total"]["minor"], &given["lines"][0]["discount"]["minor"]), (&json!(0), &json!(13900)));
    house.run_workers().await;
    assert_eq!(festival.stock(&offer).await, (0, 5));
    let of =
        |sold: &Value| Fan { http: house.anybody(), order: sold["order_id"].as_str().unwrap().to_owned(), secret: sold["secret"].as_str().unwrap().to_owned() };
    assert_eq!((of(&first).tickets().await.len(), of(&second).tickets().await.len(), of(&given).tickets().await.len()), (1, 2, 1));
    // Who left no address gets no email; who left one gets theirs.
    assert_eq!(house.emails().iter().map(|mail| mail.recipient.as_str()).collect::<Vec<_>>(), ["walk@x.example"]);

    // The last one: whoever comes too late is told, and nothing is held.
    let two = json!({ "lines": [{ "offer_id": offer, "quantity": 2 }], "method": "cash" });
    assert_eq!(sell(promoter, &festival, &key(), &two).await.problem(), "sold-out");
    // After the public sale, and what the page hides.
    let close = json!({ "closes_at": house.app.clock.now() });
    promoter.send("PATCH", &format!("/v1/offers/{offer}"), &close).await.expect(200);
    house.advance(TimeDelta::seconds(1));
    assert_eq!(house.anybody().place(&key(), "mara@x.example", &[(&offer, 1)]).await.problem(), "over");
    assert_eq!(sell(promoter, &festival, &key(), &cash).await.expect(201)["receipt_no"], 3);

    let takings = promoter.get(&festival.path("/takings")).await.expect(200);
    let rows: Vec<(&str, i64, i64)> = takings["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["method"].as_str().unwrap(), t["orders"].as_i64().unwrap(), t["amount"]["minor"].as_i64().unwrap()))
        .collect();
    assert_eq!(rows, [("card_terminal", 1, 27800), ("cash", 3, 41700), ("comp", 1, 0)]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cash_is_numbered_without_gaps_whoever_sells_at_once() {
    let house = House::open().await;
    let (festival, offer) = opened(&house, 12).await;
    open_office(&festival, "NL").await;
    let (token, path) = (festival.promoter.token.clone(), festival.path("/box-office-sales"));
    let sold = at_once(16, |_| {
        let (http, token, path, offer) = (house.anybody(), token.clone(), path.clone(), offer.clone());
        async move {
            let body = json!({ "lines": [{ "offer_id": offer, "quantity": 1 }], "method": "cash" });
            answer(http.request("POST", &path).bearer_auth(token).header("idempotency-key", key()).json(&body)).await
        }
    })
    .await;
    let mut numbers: Vec<i64> = sold.iter().filter(|answer| answer.status == 201).map(|answer| answer.body["receipt_no"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=12).collect::<Vec<i64>>());
    assert!(sold.iter().filter(|answer| answer.status != 201).all(|answer| answer.problem() == "sold-out"));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fans_and_the_door_find_their_way_on_a_phone() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let (rare, offer) = (festival.offer(&pass, 1, 13900).await, bundle(&festival, &pass, 100).await);
    let only = house.anybody().order("only@x.example", &[(&rare, 1)]).await;
    only.pay(&key(), "simulated_instant").await.expect(201);
    let paid = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    paid.pay(&key(), "simulated_instant").await.expect(201);
    house.advance(TimeDelta::seconds(1));
    open_office(&festival, "DE").await;
    offers_transfers(&festival).await;
    let asks = json!({ "kind": "moved", "message": { "en": "To the dock." }, "may_refund": true, "default_choice": "keep", "deadline_at": house.app.clock.now() + TimeDelta::days(3) });
    festival.promoter.send("POST", &festival.path("/option-rounds"), &asks).await.expect(201);
    let waits = house.anybody().order("jonas@x.example", &[(&offer, 1)]).await;
    let session = signed_in(&house, "night.ferry.foundation@promoter.example").await;
    let page = |fan: &Fan| format!("{}/o/{}/{}", house.url, fan.order, fan.secret);
    let seen = scene("lists", &json!({ "url": house.url, "session": session, "waits": page(&waits), "paid": page(&paid) })).await;
    let has = |what: &str, words: &str| assert!(seen[what].as_str().unwrap().contains(words), "{what}: {seen}");
    has("joined", "You are on the list");
    has("agreed", "NL91 ABNA 0417 1643 00");
    has("pool", "Yours and valid until somebody is invited.");
    has("chosen", "You chose: I keep it");
    has("sure", "€16.00 goes back");
    has("sold", "Receipt no. 1");
    assert_eq!(seen["why"], json!(["Say why it is given away.", "2"]));
    assert_eq!((&seen["rescindable"], &seen["taken"]), (&json!(0), &json!(2)));
    assert_eq!((&seen["sideways"], &seen["errors"]), (&json!([]), &json!([])), "{seen}");
    house.run_workers().await;
    assert_eq!((waits.status().await.as_str(), festival.stock(&rare).await), ("paid", (0, 1)));
    house.close().await;
}
