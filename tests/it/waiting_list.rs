//! Waiting lists through the public face: who wants what is sold out waits in line, nobody passes the line by, and whoever is next is invited by an order
//! that is held for them.

use chrono::TimeDelta;
use gatefold::{
    money::Money,
    payments::{
        Heard,
        refunds::{self, Dispute, RefundOutcome},
    },
};
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Fan, Festival, answer, key},
    house::House,
    races::at_once,
};

async fn join(house: &House, offer: &str, email: &str, quantity: i64) -> Answer {
    // Who comes within a millisecond comes at once.
    house.advance(TimeDelta::milliseconds(1));
    house.anybody().post(&format!("/v1/offers/{offer}/waits"), &json!({ "email": email, "quantity": quantity, "name": "Noor" })).await
}

/// The place of an address, by the link in its email: id and secret.
async fn place(house: &House, email: &str) -> (String, String) {
    house.run_workers().await;
    let mail = house.emails().into_iter().find(|mail| mail.recipient == email && mail.text.contains("/q/")).expect("an email with a link");
    let line = mail.text.lines().find(|line| line.contains("/q/")).unwrap().to_owned();
    let mut parts = line.rsplit('/');
    let (secret, id) = (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned());
    (id, secret)
}

async fn look(house: &House, (id, secret): &(String, String)) -> Value {
    let request = house.anybody().request("GET", &format!("/v1/waits/{id}"));
    answer(request.bearer_auth(format!("gf_order_{secret}"))).await.expect(200)
}

/// The order that an address was invited to, by the newest invitation.
fn invitation(house: &House, email: &str) -> Option<Fan> {
    let mail = house.emails().into_iter().rev().find(|mail| mail.recipient == email && mail.text.contains("held for you until"))?;
    let line = mail.text.lines().find(|line| line.contains("/o/"))?.to_owned();
    let mut parts = line.rsplit('/');
    let (secret, order) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    Some(Fan { http: house.anybody(), order, secret })
}

async fn sold_out(house: &House, capacity: i64) -> (Festival, String, Vec<Fan>) {
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let offer = festival.offer(&festival.pass("Weekend pass", 0b111).await, capacity, 13900).await;
    let mut fans = Vec::new();
    for i in 0..capacity {
        let fan = house.anybody().order(&format!("first{i}@x.example"), &[(&offer, 1)]).await;
        fan.pay(&key(), "simulated_instant").await.expect(201);
        fans.push(fan);
    }
    (festival, offer, fans)
}

async fn capacity(festival: &Festival, offer: &str, capacity: i64) {
    let stock = festival.promoter.get(&festival.path("/stocks")).await.expect(200);
    let offers = festival.promoter.get(&festival.path("/offers")).await.expect(200);
    let own = offers["items"].as_array().unwrap().iter().find(|o| o["offer_id"] == offer).unwrap()["stock_id"].clone();
    assert!(stock["items"].as_array().unwrap().iter().any(|s| s["stock_id"] == own));
    let path = format!("/v1/stocks/{}", own.as_str().unwrap());
    let resize = festival.promoter.request("PUT", &path).header("Confirm", capacity.to_string()).json(&json!({ "capacity": capacity }));
    answer(resize).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_next_gets_what_becomes_free_and_nobody_passes_the_line_by() {
    let house = House::open().await;
    let (festival, offer, _) = sold_out(&house, 2).await;
    assert_eq!(join(&house, &offer, "noor@x.example", 3).await.expect(200)["quantity"], 3);
    join(&house, &offer, "ines@x.example", 1).await.expect(200);
    join(&house, &offer, "theo@x.example", 1).await.expect(200);
    // The same address again changes nothing, and is answered alike.
    join(&house, &offer, " Ines@X.example", 2).await.expect(200);
    let (noor, ines, theo) = (place(&house, "noor@x.example").await, place(&house, "ines@x.example").await, place(&house, "theo@x.example").await);
    assert_eq!((look(&house, &noor).await["before"].clone(), look(&house, &theo).await["before"].clone()), (json!(0), json!(2)));
    let path = format!("/v1/offers/{offer}/waiting-list");
    let list = festival.promoter.get(&path).await.expect(200);
    assert_eq!((&list["units"], &list["people"]), (&json!(5), &json!(3)));

    // Two more: three do not fit, so who came second is next, and the third after them. A passer-by gets nothing of it, in the moment that it becomes free.
    capacity(&festival, &offer, 4).await;
    let passer_by = house.anybody().place(&key(), "passer@x.example", &[(&offer, 1)]).await;
    assert_eq!(passer_by.expect(409)["type"], "/problems/sold-out");
    let page = house.anybody().request("GET", "/f/night-ferry").send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Join the waiting list") && page.contains("/waiting-lists/"), "{page}");
    house.run_workers().await;
    assert_eq!((look(&house, &noor).await["status"].clone(), look(&house, &ines).await["status"].clone()), (json!("waiting"), json!("invited")));
    assert_eq!(look(&house, &theo).await["status"], "invited");
    let invited = invitation(&house, "ines@x.example").expect("an invitation");
    assert_eq!(invited.status().await, "held");
    // It is held for a day, not for ten minutes.
    house.advance(TimeDelta::hours(23));
    house.run_workers().await;
    invited.pay(&key(), "simulated_instant").await.expect(201);
    assert_eq!(invited.tickets().await.len(), 1);
    let list = festival.promoter.get(&path).await.expect(200);
    assert_eq!((&list["invited"], &list["bought"], &list["units"]), (&json!(1), &json!(1), &json!(3)));

    // Theo lets it pass: his order ends, and what it held waits for whoever fits; nobody does yet, and nobody else gets it.
    house.advance(TimeDelta::hours(2));
    house.run_workers().await;
    let late = invitation(&house, "theo@x.example").expect("an invitation");
    assert_eq!(late.status().await, "expired");
    assert_eq!(house.anybody().place(&key(), "passer@x.example", &[(&offer, 1)]).await.expect(409)["type"], "/problems/sold-out");
    // Noor leaves: the line is empty, and the shelf is everybody's.
    let leave = house.anybody().request("POST", &format!("/v1/waits/{}/departures", noor.0)).bearer_auth(format!("gf_order_{}", noor.1));
    assert_eq!(answer(leave.json(&json!({}))).await.expect(200)["status"], "left");
    house.anybody().place(&key(), "passer@x.example", &[(&offer, 1)]).await.expect(201);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_takes_whom_it_can_serve() {
    let house = House::open().await;
    let (festival, offer, fans) = sold_out(&house, 1).await;
    assert_eq!(join(&house, &offer, "nobody", 1).await.expect(422)["errors"][0]["pointer"], "/email");
    assert_eq!(join(&house, &offer, "noor@x.example", 99).await.expect(422)["errors"][0]["pointer"], "/quantity");
    let nowhere = offer.replace(&offer[..8], "00000000");
    join(&house, &nowhere, "noor@x.example", 1).await.expect(404);
    // A closed list takes nobody, and says so on the page.
    let path = format!("/v1/offers/{offer}/waiting-list");
    festival.promoter.send("PUT", &path, &json!({ "open": false, "invitation_hours": 2 })).await.expect(200);
    join(&house, &offer, "noor@x.example", 1).await.expect(409);
    house.advance(TimeDelta::seconds(2));
    let page = house.anybody().request("GET", "/f/night-ferry").send().await.unwrap().text().await.unwrap();
    assert!(!page.contains("Join the waiting list"), "{page}");
    festival.promoter.send("PUT", &path, &json!({ "open": true, "invitation_hours": 2 })).await.expect(200);
    join(&house, &offer, "noor@x.example", 1).await.expect(200);
    // Whoever has no order may not read it, and a wrong secret reads no place.
    let (id, _) = place(&house, "noor@x.example").await;
    let wrong = house.anybody().request("GET", &format!("/v1/waits/{id}")).bearer_auth(format!("gf_order_{}", "A".repeat(26)));
    answer(wrong).await.expect(404);
    // What is refunded goes to the line, for two hours.
    let all = json!({ "reason": "asked" });
    crate::refunds::refund(&festival.promoter, &fans[0].order, &key(), &all).await.expect(201);
    house.run_workers().await;
    let invited = invitation(&house, "noor@x.example").expect("an invitation");
    house.advance(TimeDelta::minutes(121));
    house.run_workers().await;
    assert_eq!(invited.status().await, "expired");
    // What can be had is waited for by nobody.
    join(&house, &offer, "theo@x.example", 1).await.expect(409);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_invite_whoever_is_next_once() {
    let house = House::open().await;
    let (festival, offer, _) = sold_out(&house, 1).await;
    for i in 0..6 {
        join(&house, &offer, &format!("w{i}@x.example"), 1).await.expect(200);
    }
    capacity(&festival, &offer, 4).await;
    let rounds = at_once(4, |_| {
        let app = house.app.clone();
        async move { gatefold::orders::invite_due(&app).await.unwrap() }
    })
    .await;
    assert!(rounds.iter().sum::<usize>() >= 3, "{rounds:?}");
    house.run_workers().await;
    let (held, sold) = festival.stock(&offer).await;
    assert_eq!((held, sold), (3, 1));
    let list = festival.promoter.get(&format!("/v1/offers/{offer}/waiting-list")).await.expect(200);
    assert_eq!((&list["invited"], &list["people"]), (&json!(3), &json!(3)));
    house.close().await;
}

async fn hand_back(fan: &Fan) -> Answer {
    let tickets: Vec<Value> = fan.tickets().await.into_iter().map(|ticket| ticket["ticket_id"].clone()).collect();
    answer(fan.request("POST", "/hand-backs").json(&json!({ "ticket_ids": tickets }))).await
}

async fn in_pool(fan: &Fan) -> String {
    fan.get("/hand-backs").await.expect(200)["items"].as_array().unwrap().last().unwrap()["status"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_back_goes_to_whoever_waits_and_its_money_comes_back() {
    let house = House::open().await;
    let (festival, offer, fans) = sold_out(&house, 1).await;
    let giver = &fans[0];
    let code = giver.tickets().await[0]["ticket_code"].as_str().unwrap().to_owned();
    assert_eq!(hand_back(giver).await.expect(200)["items"][0]["status"], "open");
    house.run_workers().await;
    // Nobody waits: it is theirs and valid, and the shelf is as empty as before.
    assert_eq!((in_pool(giver).await.as_str(), giver.tickets().await[0]["status"].as_str().unwrap()), ("open", "valid"));
    house.anybody().place(&key(), "passer@x.example", &[(&offer, 1)]).await.expect(409);

    join(&house, &offer, "noor@x.example", 1).await.expect(200);
    house.run_workers().await;
    assert_eq!((in_pool(giver).await.as_str(), festival.stock(&offer).await), ("offered", (1, 0)));
    let device = festival.device().await;
    assert_eq!(device.scan(&code, house.app.clock.now()).await.expect(201)["verdict"], "refused");
    house.anybody().place(&key(), "passer@x.example", &[(&offer, 1)]).await.expect(409);
    // While somebody is invited it is neither taken back nor refunded otherwise.
    let id = giver.get("/hand-backs").await.expect(200)["items"][0]["hand_back_id"].as_str().unwrap().to_owned();
    let withdraw = || answer(giver.request("POST", &format!("/hand-backs/{id}/withdrawals")).json(&json!({})));
    withdraw().await.expect(409);
    crate::refunds::refund(&festival.promoter, &giver.order, &key(), &json!({ "reason": "asked" })).await.expect(409);

    let taker = invitation(&house, "noor@x.example").expect("an invitation");
    taker.pay(&key(), "simulated_instant").await.expect(201);
    house.run_workers().await;
    assert_eq!((in_pool(giver).await.as_str(), giver.status().await.as_str()), ("sold", "refunded"));
    let back = giver.get("/refunds").await.expect(200);
    assert_eq!((&back["items"][0]["amount"]["minor"], &back["items"][0]["status"]), (&json!(13900), &json!("done")));
    assert_eq!((festival.stock(&offer).await, taker.tickets().await.len()), ((0, 1), 1));
    assert!(house.emails().iter().any(|mail| mail.recipient == "first0@x.example" && mail.text.contains("139.00")));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_pays_for_is_its_holders_again_or_goes_to_the_next() {
    let house = House::open().await;
    let (festival, offer, fans) = sold_out(&house, 2).await;
    for fan in &fans {
        hand_back(fan).await.expect(200);
        house.advance(TimeDelta::milliseconds(1));
    }
    // Two for one: both tickets are offered, and both are valid again when the invitation passed.
    join(&house, &offer, "noor@x.example", 2).await.expect(200);
    house.run_workers().await;
    assert_eq!(festival.stock(&offer).await, (2, 0));
    house.advance(TimeDelta::hours(25));
    house.run_workers().await;
    assert_eq!(festival.stock(&offer).await, (0, 2));
    for fan in &fans {
        assert_eq!((in_pool(fan).await.as_str(), fan.tickets().await[0]["status"].as_str().unwrap()), ("open", "valid"));
    }
    // The first is offered to the next; when they let it pass, to the one after them, without a moment at which somebody else could have it.
    join(&house, &offer, "ines@x.example", 1).await.expect(200);
    house.run_workers().await;
    join(&house, &offer, "theo@x.example", 1).await.expect(200);
    invitation(&house, "ines@x.example").unwrap().cancel().await.expect(200);
    house.anybody().place(&key(), "passer@x.example", &[(&offer, 1)]).await.expect(409);
    house.run_workers().await;
    let theo = invitation(&house, "theo@x.example").expect("an invitation");
    theo.pay(&key(), "simulated_instant").await.expect(201);
    house.run_workers().await;
    let states = [in_pool(&fans[0]).await, in_pool(&fans[1]).await];
    assert_eq!(states, ["sold", "open"]);
    assert_eq!(festival.stock(&offer).await, (0, 2));
    // The second thinks again, and hands back once more; on the eve it is theirs for good.
    let id = fans[1].get("/hand-backs").await.expect(200)["items"][0]["hand_back_id"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let withdraw = fans[1].request("POST", &format!("/hand-backs/{id}/withdrawals")).json(&json!({}));
        assert_eq!(answer(withdraw).await.expect(200)["status"], "withdrawn");
    }
    hand_back(&fans[1]).await.expect(200);
    house.advance("2026-06-18T13:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    house.run_workers().await;
    assert_eq!((in_pool(&fans[1]).await.as_str(), fans[1].tickets().await[0]["status"].as_str().unwrap()), ("over", "valid"));
    hand_back(&fans[1]).await.expect(422);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_had_once_whoever_moves_at_once() {
    let house = House::open().await;
    let (festival, offer, fans) = sold_out(&house, 4).await;
    for i in 0..4 {
        join(&house, &offer, &format!("w{i}@x.example"), 1).await.expect(200);
    }
    for fan in &fans {
        hand_back(fan).await.expect(200);
    }
    // Four servers move the pool and invite, while the holders take their tickets back or come in.
    let device = festival.device().await;
    let codes: Vec<String> = {
        let mut codes = Vec::new();
        for fan in &fans {
            codes.push(fan.tickets().await[0]["ticket_code"].as_str().unwrap().to_owned());
        }
        codes
    };
    house.advance("2026-06-17T12:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let holders: Vec<(Fan, String)> =
        fans.iter().map(|fan| Fan { http: house.anybody(), order: fan.order.clone(), secret: fan.secret.clone() }).zip(codes).collect();
    let holders = std::sync::Arc::new(holders);
    at_once(12, |i| {
        let (app, holders, device) = (house.app.clone(), holders.clone(), device.clone());
        async move {
            if i < 4 {
                let (fan, code) = &holders[i];
                if i % 2 == 0 {
                    let id = fan.get("/hand-backs").await.expect(200)["items"][0]["hand_back_id"].as_str().unwrap().to_owned();
                    answer(fan.request("POST", &format!("/hand-backs/{id}/withdrawals")).json(&json!({}))).await;
                } else {
                    device.scan(code, app.clock.now()).await;
                }
            } else if i % 2 == 0 {
                gatefold::payments::refunds::hand_backs::move_on(&app).await.unwrap();
            } else {
                gatefold::orders::invite_due(&app).await.unwrap();
            }
        }
    })
    .await;
    house.run_workers().await;
    let (held, sold) = festival.stock(&offer).await;
    assert_eq!(held + sold, 4);
    for i in 0..4 {
        if let Some(invited) = invitation(&house, &format!("w{i}@x.example")) {
            invited.pay(&key(), "simulated_instant").await.expect(201);
        }
    }
    house.run_workers().await;
    assert_eq!(festival.stock(&offer).await, (0, 4));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_list_is_promised_is_kept_from_offers_that_share_its_stock_and_its_tiers() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let beds = festival.promoter.make(&festival.path("/stocks"), json!({ "name": "beds", "capacity": 1 })).await["stock_id"].clone();
    let cabin = |name: &str, capacity: i64| {
        json!({ "terms": { "name": { "en": name } }, "capacity": capacity, "stocks": [{ "stock_id": beds, "units": 1 }],
                "tiers": [{ "name": { "en": "Early" }, "price": { "minor": 9900, "currency": "EUR" }, "capacity": 1 },
                          { "name": { "en": "Late" }, "price": { "minor": 11900, "currency": "EUR" } }],
                "components": [{ "pass_id": pass, "weight": 1, "tax_kind": "fixed", "tax_ppm": 90000 }] })
    };
    let (waited, beside) = (festival.offer_of(cabin("Cabin", 10)).await, festival.offer_of(cabin("Suite", 10)).await);
    let first = house.anybody().order("first@x.example", &[(&waited, 1)]).await;
    join(&house, &waited, "noor@x.example", 1).await.expect(200);
    // The bed is free again and promised: nobody has it by the other offer, and neither page shows it.
    first.cancel().await.expect(200);
    for offer in [&waited, &beside] {
        assert_eq!(house.anybody().place(&key(), "passer@x.example", &[(offer, 1)]).await.problem(), "sold-out");
    }
    let shown = house.anybody().get(&festival.path("/offers")).await.expect(200);
    assert!(shown["items"].as_array().unwrap().iter().all(|offer| offer["availability"] != "on_sale" && offer["availability"] != "few_left"), "{shown}");
    house.run_workers().await;
    // Invited, they have the early price that came back, and the list asks for nothing any more.
    let noor = invitation(&house, "noor@x.example").expect("an invitation");
    assert_eq!(noor.get("").await.expect(200)["total"]["minor"], 9900);
    noor.cancel().await.expect(200);
    house.anybody().place(&key(), "passer@x.example", &[(&beside, 1)]).await.expect(201);
    house.close().await;
}

/// What the bank of a buyer says of a payment that it takes back.
async fn bank_says(house: &House, fan: &Fan, outcome: RefundOutcome) {
    let payment = fan.get("/payments").await.expect(200)["items"][0]["payment_id"].as_str().unwrap().parse().unwrap();
    let dispute = Dispute { provider_ref: "dp_1".to_owned(), amount: Money::new(13900, "EUR".parse().unwrap()), is_inquiry: false, outcome };
    let heard = Heard { provider: "simulated".to_owned(), event_ref: format!("evt_{:?}", dispute.outcome) };
    refunds::disputed(&house.app, payment, &dispute, &heard).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_takes_back_the_money_of_an_offered_ticket_takes_it_once() {
    for is_won in [true, false] {
        let house = House::open().await;
        let (festival, offer, fans) = sold_out(&house, 1).await;
        let giver = &fans[0];
        hand_back(giver).await.expect(200);
        join(&house, &offer, "noor@x.example", 1).await.expect(200);
        house.run_workers().await;
        let taker = invitation(&house, "noor@x.example").expect("an invitation");
        bank_says(&house, giver, RefundOutcome::Pending { provider_ref: "dp_1".to_owned() }).await;
        let status = async || giver.tickets().await[0]["status"].as_str().unwrap().to_owned();
        let refunded = async || giver.get("/refunds").await.expect(200)["items"].as_array().unwrap().iter().filter(|r| r["status"] == "done").count();
        if is_won {
            // Paid meanwhile: the money of the giver goes back when their bank has given it up, and not before.
            taker.pay(&key(), "simulated_instant").await.expect(201);
            house.run_workers().await;
            assert_eq!((in_pool(giver).await.as_str(), status().await.as_str(), refunded().await), ("offered", "suspended", 0));
            bank_says(&house, giver, RefundOutcome::Kept).await;
            house.run_workers().await;
            assert_eq!((in_pool(giver).await.as_str(), status().await.as_str(), refunded().await), ("sold", "void", 1));
            assert_eq!((giver.status().await.as_str(), festival.stock(&offer).await), ("refunded", (0, 1)));
        } else {
            // Passed by meanwhile: it is nobody's while the bank has the money, and opens nothing.
            taker.cancel().await.expect(200);
            house.run_workers().await;
            assert_eq!((in_pool(giver).await.as_str(), status().await.as_str()), ("offered", "suspended"));
            bank_says(&house, giver, RefundOutcome::Done { provider_ref: None }).await;
            house.run_workers().await;
            assert_eq!((in_pool(giver).await.as_str(), status().await.as_str(), refunded().await), ("over", "void", 1));
            assert_eq!((giver.status().await.as_str(), festival.stock(&offer).await), ("refunded", (0, 0)));
        }
        house.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_moves_the_ticket_or_the_wait_of_another() {
    let house = House::open().await;
    let (_, offer, fans) = sold_out(&house, 2).await;
    let (own, other) = (&fans[0], &fans[1]);
    let foreign = json!({ "ticket_ids": [other.tickets().await[0]["ticket_id"]] });
    assert_eq!(answer(own.request("POST", "/hand-backs").json(&foreign)).await.expect(422)["errors"][0]["pointer"], "/ticket_ids/0");
    hand_back(other).await.expect(200);
    let id = other.get("/hand-backs").await.expect(200)["items"][0]["hand_back_id"].as_str().unwrap().to_owned();
    answer(own.request("POST", &format!("/hand-backs/{id}/withdrawals")).json(&json!({}))).await.expect(404);
    assert_eq!(in_pool(other).await, "open");
    join(&house, &offer, "noor@x.example", 5).await.expect(200);
    join(&house, &offer, "ines@x.example", 5).await.expect(200);
    let (noor, ines) = (place(&house, "noor@x.example").await, place(&house, "ines@x.example").await);
    let leave = house.anybody().request("POST", &format!("/v1/waits/{}/departures", noor.0)).bearer_auth(format!("gf_order_{}", ines.1));
    answer(leave.json(&json!({}))).await.expect(404);
    assert_eq!(look(&house, &noor).await["status"], "waiting");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_cannot_be_ended_keeps_no_other() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let (broken, whole) = (festival.offer(&pass, 5, 13900).await, festival.offer(&pass, 5, 13900).await);
    let (stuck, free) = (house.anybody().order("a@x.example", &[(&broken, 1)]).await, house.anybody().order("b@x.example", &[(&whole, 1)]).await);
    // As a slip of a hand leaves it: the counter says that nothing is held.
    let mut conn = house.database().await;
    let count = |held: i32| {
        sqlx::query("update stocks s set held = $2 from offers o where o.offer_id = $1 and s.stock_id = o.stock_id")
            .bind(broken.parse::<uuid::Uuid>().unwrap())
            .bind(held)
    };
    count(0).execute(&mut conn).await.unwrap();
    house.advance(TimeDelta::minutes(11));
    gatefold::orders::expire_due(&house.app).await.unwrap();
    assert_eq!((stuck.status().await.as_str(), free.status().await.as_str()), ("held", "expired"));
    count(1).execute(&mut conn).await.unwrap();
    house.run_workers().await;
    assert_eq!(stuck.status().await, "expired");
    house.close().await;
}
