//! Money back through the public face: whole, in parts, again and again, at once, while somebody comes in, while the bank refuses; and nobody is left
//! without money and without a ticket.

use chrono::TimeDelta;
use gatefold::{
    accounts::{self, Scope},
    id::{FestivalId, PromoterId, RefundId},
    payments::{
        RefundOutcome,
        refunds::{self, told},
        simulated::{Mood, Refunding, sign},
    },
};
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Fan, Festival, Promoter, answer, key},
    browser::scene,
    claims::Holder,
    control::signed_in,
    faults::until,
    house::House,
    races::at_once,
    releases::bundle,
};

/// A festival with a pass on sale.
async fn on_sale(house: &House, capacity: i64) -> (Festival, String) {
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, capacity, 13900).await;
    (festival, offer)
}

/// An order that is paid.
async fn bought(house: &House, offer: &str, quantity: i64) -> Fan {
    bought_by(house, offer, quantity, "mara@lindqvist.example").await
}

/// Asks for money back.
pub async fn refund(promoter: &Promoter, order: &str, key: &str, body: &Value) -> Answer {
    answer(promoter.request("POST", &format!("/v1/orders/{order}/refunds")).header("idempotency-key", key).json(body)).await
}

async fn decide(festival: &Festival, refund: &Value, decision: &str, note: &str) -> Answer {
    let path = format!("/v1/refunds/{}/decisions", refund["refund_id"].as_str().unwrap());
    festival.promoter.send("POST", &path, &json!({ "decision": decision, "note": note })).await
}

async fn statuses(fan: &Fan) -> Vec<String> {
    fan.tickets().await.iter().map(|t| t["status"].as_str().unwrap().to_owned()).collect()
}

async fn states(fan: &Fan) -> Vec<(String, i64)> {
    let items = fan.get("/refunds").await.expect(200)["items"].as_array().unwrap().clone();
    items.iter().map(|r| (r["status"].as_str().unwrap().to_owned(), r["amount"]["minor"].as_i64().unwrap())).collect()
}

/// What the bank has given back.
pub async fn at_the_bank(house: &House) -> i64 {
    let mut conn = house.database().await;
    sqlx::query_scalar("select coalesce(sum(amount_minor) filter (where status = 'succeeded'), 0)::bigint from simulated_refunds")
        .fetch_one(&mut conn)
        .await
        .unwrap()
}

/// What an account of the books has.
async fn account(house: &House, name: &str) -> i64 {
    let mut conn = house.database().await;
    sqlx::query_scalar("select coalesce(sum(minor), 0)::bigint from journal_entries where account like $1").bind(name).fetch_one(&mut conn).await.unwrap()
}

fn subjects(house: &House) -> Vec<String> {
    house.emails().into_iter().map(|email| email.subject).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_order_goes_back_with_its_tickets_albums_stock_and_books() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = bundle(&festival, &pass, 10).await;
    let fan = bought(&house, &offer, 2).await;
    let device = festival.device().await;
    let code = fan.tickets().await[0]["ticket_code"].as_str().unwrap().to_owned();
    Holder::of(&house.anybody(), &fan.tickets().await[1]).claim("Noor Haddad").await.expect(200);
    house.run_workers().await;

    let body = json!({ "reason": "asked", "note": "ill" });
    let quote = festival.promoter.send("POST", &format!("/v1/orders/{}/refund-quotes", fan.order), &body).await.expect(200);
    assert_eq!((&quote["amount"]["minor"], quote["ticket_ids"].as_array().unwrap().len(), &quote["used"]), (&json!(29_800), 2, &json!(0)));
    assert_eq!(statuses(&fan).await, ["valid", "valid"], "a quote changes nothing");
    let (same, expected) = (key(), json!({ "reason": "asked", "note": "ill", "expected": quote["amount"] }));
    let asked = refund(&festival.promoter, &fan.order, &same, &expected).await.expect(201);
    assert_eq!((&asked["status"], &asked["amount"]["minor"]), (&json!("requested"), &json!(29_800)));
    // From now on its tickets open no gate, its stock is still taken, and the money is owed.
    assert_eq!((statuses(&fan).await, fan.status().await), (vec!["suspended".to_owned(); 2], "paid".to_owned()));
    house.advance("2026-06-19T14:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let refused = device.scan(&code, house.app.clock.now()).await.expect(201);
    assert_eq!((&refused["verdict"], &refused["reason"]), (&json!("refused"), &json!("suspended")));
    assert_eq!((festival.stock(&offer).await, account(&house, "owed").await, account(&house, "promoter").await), ((0, 2), -29_800, 0));

    house.run_workers().await;
    assert_eq!((fan.status().await, statuses(&fan).await), ("refunded".to_owned(), vec!["void".to_owned(); 2]));
    assert_eq!(states(&fan).await, [("done".to_owned(), 29_800)]);
    assert_eq!((festival.stock(&offer).await, at_the_bank(&house).await, account(&house, "owed").await), ((0, 0), 29_800, 0));
    assert!(fan.get("/albums").await.expect(200)["items"].as_array().unwrap().is_empty(), "the album went back, too");
    assert_eq!(account(&house, "clearing:%").await + account(&house, "rights:%").await + account(&house, "tax:%").await, 0);
    let told = subjects(&house);
    assert_eq!(told.iter().filter(|s| s.contains("your money is on its way")).count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|s| s.contains("A ticket is returned")).count(), 1, "the holder who left an address is told: {told:?}");
    // The same key gets the same refund; anything else finds nothing.
    assert_eq!(refund(&festival.promoter, &fan.order, &same, &expected).await.expect(201)["refund_id"], asked["refund_id"]);
    let other = refund(&festival.promoter, &fan.order, &same, &json!({ "reason": "mistake" })).await;
    assert_eq!((other.status, other.problem()), (422, "key-reused"));
    let nothing = refund(&festival.promoter, &fan.order, &key(), &body).await;
    assert_eq!((nothing.status, nothing.problem()), (409, "nothing-left"));
    let page = house.anybody().get(&format!("/o/{}/{}", fan.order, fan.secret)).await;
    assert!(page.status == 200 && page.body.as_str().unwrap().contains("€298.00") && page.body.as_str().unwrap().contains("Went back"), "{page:?}");
    // What came back is sold again.
    bought(&house, &offer, 10).await;
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_go_back_one_by_one_to_the_last_cent_and_never_more() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = bundle(&festival, &pass, 10).await;
    let fan = bought(&house, &offer, 3).await;
    let back = async |parts: Value, more: Value| {
        let mut body = json!({ "reason": "goodwill", "note": "a courtesy", "parts": parts });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = refund(&festival.promoter, &fan.order, &key(), &body).await;
        house.run_workers().await;
        answer
    };
    // A unit, of which five euros are kept; the album of another one; money without a ticket.
    let unit = back(json!([{ "line_no": 1, "units": 1 }]), json!({ "kept": { "minor": 500, "currency": "EUR" } })).await.expect(201);
    assert_eq!((&unit["amount"]["minor"], &unit["kept"]["minor"]), (&json!(14_400), &json!(500)));
    assert_eq!((fan.status().await, festival.stock(&offer).await), ("partly_refunded".to_owned(), (0, 2)));
    let album = back(json!([{ "line_no": 1, "component_no": 2, "units": 1 }]), json!({})).await.expect(201);
    assert_eq!((&album["amount"]["minor"], festival.stock(&offer).await), (&json!(1_600), (0, 2)));
    let copies = fan.get("/albums").await.expect(200)["items"][0]["copies"].clone();
    assert_eq!(copies, json!(1), "two of three copies went back");
    let money = back(json!([{ "line_no": 1, "component_no": 1, "amount": { "minor": 1_000, "currency": "EUR" } }]), json!({})).await.expect(201);
    assert_eq!((&money["amount"]["minor"], money["ticket_ids"].as_array().unwrap().len()), (&json!(1_000), 0));
    // A ticket by its id: its unit, with what is left of the album.
    let valid = fan.tickets().await.into_iter().find(|t| t["status"] == "valid").unwrap();
    let ticket = back(json!([{ "line_no": 1, "ticket_ids": [valid["ticket_id"]] }]), json!({})).await.expect(201);
    assert_eq!(ticket["amount"]["minor"], json!(12_800 + 1_600), "half of the 25,600 that are left of two passes");
    for (parts, place) in [
        (json!([{ "line_no": 1, "units": 2 }]), "/parts/0/units"),
        (json!([{ "line_no": 1, "ticket_ids": [valid["ticket_id"]] }]), "/parts/0/ticket_ids/0"),
        (json!([{ "line_no": 1, "amount": { "minor": 12_801, "currency": "EUR" } }]), "/parts/0/amount/minor"),
        (json!([{ "line_no": 7 }]), "/parts/0/line_no"),
        (json!([{ "line_no": 1, "units": 1, "amount": { "minor": 1, "currency": "EUR" } }]), "/parts/0"),
    ] {
        let refused = back(parts, json!({})).await;
        assert_eq!((refused.status, refused.body["errors"][0]["pointer"].as_str()), (422, Some(place)), "{}", refused.body);
    }
    let kept = back(json!([]), json!({ "kept": { "minor": 12_801, "currency": "EUR" } })).await;
    assert_eq!((kept.status, kept.body["errors"][0]["pointer"].as_str()), (422, Some("/kept/minor")));
    let other = back(json!([]), json!({ "expected": { "minor": 1, "currency": "EUR" } })).await;
    assert_eq!((other.problem(), &other.body["amount"]["minor"]), ("amount-changed", &json!(12_800)));
    back(json!([]), json!({})).await.expect(201);
    assert_eq!((fan.status().await, festival.stock(&offer).await), ("refunded".to_owned(), (0, 0)));
    assert_eq!((at_the_bank(&house).await, account(&house, "kept").await), (3 * 14_900 - 500, -500));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_who_give_all_of_it_back_at_once_give_it_back_once() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 10).await;
    let fan = bought(&house, &offer, 2).await;
    let all = async |same: Option<String>| {
        at_once(10, |_| {
            let (promoter, order, key) = (festival.promoter.clone(), fan.order.clone(), same.clone().unwrap_or_else(key));
            async move { refund(&promoter, &order, &key, &json!({ "reason": "asked" })).await }
        })
        .await
    };
    let answers = all(None).await;
    assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1, "{answers:?}");
    assert!(answers.iter().filter(|a| a.status != 201).all(|a| a.problem() == "nothing-left"), "{answers:?}");
    let again = bought(&house, &offer, 1).await;
    let same = key();
    let answers = at_once(10, |_| {
        let (promoter, order, key) = (festival.promoter.clone(), again.order.clone(), same.clone());
        async move { refund(&promoter, &order, &key, &json!({ "reason": "asked" })).await.expect(201)["refund_id"].clone() }
    })
    .await;
    assert!(answers.iter().all(|id| *id == answers[0]));
    // Workers of two servers ask the bank at once.
    tokio::join!(house.run_workers(), house.run_workers(), house.run_workers());
    assert_eq!((at_the_bank(&house).await, festival.stock(&offer).await), (3 * 13_900, (0, 0)));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_the_bank_refuses_ends_with_money_or_with_a_ticket() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 10).await;
    let mood = house.app.the::<Mood>();
    mood.refund(Refunding::Refused);
    let fans = [bought(&house, &offer, 1).await, bought(&house, &offer, 1).await, bought(&house, &offer, 1).await];
    let mut asked = Vec::new();
    for fan in &fans {
        asked.push(refund(&festival.promoter, &fan.order, &key(), &json!({ "reason": "asked" })).await.expect(201));
    }
    // While the bank may still pay it, nobody else does.
    assert_eq!(decide(&festival, &asked[0], "by_hand", "cash").await.status, 409);
    house.run_workers().await;
    for fan in &fans {
        assert_eq!((states(fan).await, statuses(fan).await), (vec![("failed".to_owned(), 13_900)], vec!["suspended".to_owned()]));
    }
    let cases = festival.promoter.get(&festival.path("/refund-cases")).await.expect(200);
    assert_eq!((cases["items"].as_array().unwrap().len(), &cases["items"][0]["last_error"]), (3, &json!("the bank of the buyer refused it")));
    assert_eq!(subjects(&house).iter().filter(|s| s.contains("did not arrive")).count(), 3);

    mood.refund(Refunding::AtOnce);
    decide(&festival, &asked[0], "again", "").await.expect(200);
    let silent = decide(&festival, &asked[1], "by_hand", " ").await;
    assert_eq!((silent.status, silent.body["errors"][0]["pointer"].as_str()), (422, Some("/note")));
    decide(&festival, &asked[1], "by_hand", "transfer of 3 March").await.expect(200);
    decide(&festival, &asked[2], "withdrawn", "he comes all the same").await.expect(200);
    house.run_workers().await;
    assert_eq!((states(&fans[0]).await, states(&fans[1]).await), (vec![("done".to_owned(), 13_900)], vec![("done".to_owned(), 13_900)]));
    assert_eq!((fans[2].status().await, statuses(&fans[2]).await), ("paid".to_owned(), vec!["valid".to_owned()]));
    assert_eq!((at_the_bank(&house).await, account(&house, "by_hand").await, festival.stock(&offer).await), (13_900, -13_900, (0, 1)));
    assert_eq!(decide(&festival, &asked[2], "again", "").await.status, 409, "what is decided stays");
    let letters = subjects(&house);
    let written = |words: &str| letters.iter().filter(|subject| subject.contains(words)).count();
    assert_eq!((written("your order is as it was"), written("your money was paid"), written("your money is on its way")), (1, 1, 1), "{letters:?}");
    let mut conn = house.database().await;
    let acts: i64 = sqlx::query_scalar("select count(*) from audit where action = 'refund.decided'").fetch_one(&mut conn).await.unwrap();
    assert_eq!(acts, 3);
    // What was withdrawn can be asked for again.
    refund(&festival.promoter, &fans[2].order, &key(), &json!({ "reason": "asked" })).await.expect(201);
    house.run_workers().await;
    assert_eq!(fans[2].status().await, "refunded");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_is_silent_slow_or_without_funds_is_asked_until_the_money_went() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 10).await;
    let mood = house.app.the::<Mood>();
    let fan = bought(&house, &offer, 1).await;
    let step = async |minutes: i64| {
        house.advance(TimeDelta::minutes(minutes));
        house.run_workers().await;
        states(&fan).await[0].0.clone()
    };
    mood.fail(true);
    let asked = refund(&festival.promoter, &fan.order, &key(), &json!({ "reason": "asked" })).await.expect(201);
    assert_eq!(step(0).await, "submitted", "nobody knows whether the bank heard it");
    mood.fail(false);
    mood.refund(Refunding::NoFunds);
    assert_eq!(step(1).await, "waiting_for_funds");
    // Nobody decides anything: within the hour it is asked again by itself.
    assert_eq!(step(30).await, "waiting_for_funds");
    let cases = festival.promoter.get(&festival.path("/refund-cases")).await.expect(200);
    assert_eq!(cases["items"].as_array().unwrap().len(), 1);
    assert_eq!(step(31).await, "waiting_for_funds");
    mood.refund(Refunding::Later);
    decide(&festival, &asked, "again", "").await.expect(200);
    assert_eq!(step(0).await, "submitted");
    assert_eq!((step(5).await, statuses(&fan).await), ("submitted".to_owned(), vec!["suspended".to_owned()]));
    mood.refund(Refunding::AtOnce);
    assert_eq!((step(5).await, at_the_bank(&house).await), ("done".to_owned(), 13_900));

    // Of a try that was given up nothing is believed. Contradictions end in one state: refused after it went, and gone after it was refused.
    let id: RefundId = serde_json::from_value(asked["refund_id"].clone()).unwrap();
    let round = refunds::refund(&house.app.pools.web, id).await.unwrap().unwrap().round;
    told(&house.app, id, round + 7, Ok(RefundOutcome::Refused("the account is closed".to_owned())), None).await.unwrap();
    assert_eq!(states(&fan).await[0].0, "done");
    told(&house.app, id, round, Ok(RefundOutcome::Refused("the account is closed".to_owned())), None).await.unwrap();
    assert_eq!((states(&fan).await[0].0.as_str(), account(&house, "owed").await), ("failed", -13_900));
    assert_eq!(decide(&festival, &asked, "withdrawn", "").await.status, 409, "its unit may be sold again");
    for _ in 0..2 {
        told(&house.app, id, round, Ok(RefundOutcome::Done { provider_ref: None }), None).await.unwrap();
    }
    told(&house.app, id, round, Err("late".to_owned()), None).await.unwrap();
    told(&house.app, id, round, Ok(RefundOutcome::NoFunds("late".to_owned())), None).await.unwrap();
    assert_eq!((states(&fan).await[0].0.as_str(), account(&house, "owed").await, festival.stock(&offer).await), ("done", 0, (0, 0)));
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_of_a_used_ticket_needs_finance_and_a_reason() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 10).await;
    let fan = bought(&house, &offer, 2).await;
    let device = festival.device().await;
    house.advance("2026-06-19T14:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let code = fan.tickets().await[0]["ticket_code"].as_str().unwrap().to_owned();
    assert_eq!(device.scan(&code, house.app.clock.now()).await.expect(201)["verdict"], "admitted");
    let mut conn = house.database().await;
    let owner: PromoterId = sqlx::query_scalar("select promoter_id from festivals where slug = 'night-ferry'").fetch_one(&mut conn).await.unwrap();
    let scopes = [Scope::OrdersRead, Scope::RefundsWrite];
    let token = accounts::new_token(&mut conn, owner, None::<FestivalId>, "support", &scopes, house.app.clock.now()).await.unwrap();
    let support = Promoter { http: house.anybody(), token };
    let all = json!({ "reason": "goodwill", "note": "his bag was stolen inside" });
    let denied = refund(&support, &fan.order, &key(), &all).await;
    assert_eq!((denied.status, denied.problem()), (403, "forbidden"));
    let silent = refund(&festival.promoter, &fan.order, &key(), &json!({ "reason": "goodwill" })).await;
    assert_eq!((silent.status, silent.body["errors"][0]["pointer"].as_str()), (422, Some("/note")));
    // What nobody used goes first, so a unit of two needs neither.
    let unit = refund(&support, &fan.order, &key(), &json!({ "reason": "asked", "parts": [{ "line_no": 1, "units": 1 }] })).await.expect(201);
    assert_ne!(unit["ticket_ids"][0], fan.tickets().await[0]["ticket_id"]);
    refund(&festival.promoter, &fan.order, &key(), &all).await.expect(201);
    house.run_workers().await;
    assert_eq!(fan.status().await, "refunded");
    let said: Vec<Value> =
        sqlx::query_scalar("select after from audit where action = 'refund.requested' order by after ->> 'used'").fetch_all(&mut conn).await.unwrap();
    assert_eq!(said.iter().map(|after| after["used"].as_i64().unwrap()).collect::<Vec<_>>(), [0, 1], "{said:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_is_scanned_while_it_is_returned_is_used_or_refused() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 100).await;
    let device = festival.device().await;
    house.advance("2026-06-19T14:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let (mut used, mut refused) = (0, 0);
    // Whoever was behind last gets a start, until both were first: at most so often.
    let mut start = 0_i64;
    for round in 0..80 {
        if used > 2 && refused > 2 && round >= 30 {
            break;
        }
        let fan = bought(&house, &offer, 1).await;
        let code = fan.tickets().await[0]["ticket_code"].as_str().unwrap().to_owned();
        let (first, second) = (key(), json!({ "reason": "asked" }));
        // Whoever is first by a hair's breadth changes from round to round.
        let scan = async {
            tokio::time::sleep(std::time::Duration::from_millis(start.max(0).unsigned_abs())).await;
            device.scan(&code, house.app.clock.now()).await.expect(201)
        };
        let refunding = async {
            tokio::time::sleep(std::time::Duration::from_millis((-start).max(0).unsigned_abs())).await;
            refund(&festival.promoter, &fan.order, &first, &second).await
        };
        let (scan, refund) = tokio::join!(scan, refunding);
        match (scan["verdict"].as_str().unwrap(), refund.status) {
            ("admitted", 422) => (used, start) = (used + 1, start + 1),
            ("refused", 201) => (refused, start) = (refused + 1, start - 1),
            other => panic!("{other:?} {scan} {refund:?}"),
        }
    }
    println!("{used} came in, {refused} were refused");
    assert!(used > 0 && refused > 0, "no race was run: {used} {refused}");
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cost_nothing_is_returned_for_nothing_and_counts_for_the_limit_of_a_fan_no_more() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Guest", 0b1).await;
    let offer = festival
        .offer_of(json!({
            "terms": { "name": { "en": "Guest list" }, "max_per_fan": 2 }, "capacity": 10,
            "tiers": [{ "name": { "en": "Now" }, "price": { "minor": 0, "currency": "EUR" } }],
            "components": [{ "pass_id": pass, "weight": 1, "tax_kind": "fixed", "tax_ppm": 90000 }]
        }))
        .await;
    let fan = house.anybody().order("mara@lindqvist.example", &[(&offer, 2)]).await;
    fan.pay(&key(), "free").await.expect(201);
    assert_eq!(house.anybody().place(&key(), "mara@lindqvist.example", &[(&offer, 1)]).await.problem(), "fan-limit");
    refund(&festival.promoter, &fan.order, &key(), &json!({ "reason": "asked", "parts": [{ "line_no": 1, "units": 1 }] })).await.expect(201);
    house.run_workers().await;
    assert_eq!((fan.status().await, festival.stock(&offer).await), ("partly_refunded".to_owned(), (0, 1)));
    house.anybody().order("mara@lindqvist.example", &[(&offer, 1)]).await;
    assert_eq!(house.anybody().place(&key(), "mara@lindqvist.example", &[(&offer, 1)]).await.problem(), "fan-limit");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_paid_and_ones_own_is_given_back() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 10).await;
    let held = house.anybody().order("mara@lindqvist.example", &[(&offer, 1)]).await;
    let early = refund(&festival.promoter, &held.order, &key(), &json!({ "reason": "asked" })).await;
    assert_eq!((early.status, early.problem()), (409, "conflict"));
    let house_reason = refund(&festival.promoter, &held.order, &key(), &json!({ "reason": "late_money" })).await;
    assert_eq!((house_reason.status, house_reason.body["errors"][0]["pointer"].as_str()), (422, Some("/reason")));
    let fan = bought(&house, &offer, 1).await;
    let stranger = house.promoter("Somebody Else").await;
    assert_eq!(refund(&stranger, &fan.order, &key(), &json!({ "reason": "asked" })).await.status, 404);
    assert_eq!(refund(&festival.promoter, &fan.order, "short", &json!({ "reason": "asked" })).await.status, 422);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_gives_a_part_back_at_the_desk_and_withdraws_what_the_bank_refused() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = bundle(&festival, &pass, 10).await;
    let fan = bought(&house, &offer, 2).await;
    let session = signed_in(&house, "night.ferry.foundation@promoter.example").await;
    house.app.the::<Mood>().refund(Refunding::Refused);
    let input = json!({ "url": house.url, "session": session, "order": fan.order });
    let looking = scene("refund", &input);
    let refusing = async {
        until("a refund", std::time::Duration::from_secs(60), async || !states(&fan).await.is_empty()).await;
        house.run_workers().await;
    };
    let (seen, ()) = tokio::join!(looking, refusing);
    assert_eq!(seen["none"], "Say how many, in whole pieces, of at least one line.");
    assert_eq!(seen["five"], json!(["“five” is no amount of this currency.", "1"]));
    assert_eq!((&seen["sure"], &seen["asked"], &seen["cases"], &seen["valid"]), (&json!("€144.00 goes back"), &json!(1), &json!(1), &json!(2)), "{seen}");
    assert_eq!(seen["sideways"], json!([]), "pages that scroll sideways");
    assert_eq!(seen["errors"], json!([]), "errors of the browser");
    assert_eq!((states(&fan).await, statuses(&fan).await), (vec![("withdrawn".to_owned(), 14_400)], vec!["valid".to_owned(); 2]));
    house.run_workers().await;
    house.close().await;
}

async fn return_twin(fan: &Fan) -> Answer {
    answer(fan.request("POST", "/twin-returns")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_bought_twice_is_noticed_before_it_is_paid_and_handed_back_for_a_day() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = bundle(&festival, &pass, 30).await;
    let minutes = |n| house.advance(TimeDelta::minutes(n));
    let page = async |fan: &Fan| house.anybody().get(&format!("/o/{}/{}", fan.order, fan.secret)).await.body.as_str().unwrap().to_owned();
    let notice = "You bought this a moment ago.";
    let first = house.anybody().order("mara@lindqvist.example", &[(&offer, 2)]).await;
    let other = house.anybody().order("Mara@Lindqvist.example", &[(&offer, 2)]).await;
    assert!(!page(&other).await.contains(notice), "nothing is paid");
    first.pay(&key(), "simulated_instant").await.expect(201);
    minutes(9);
    assert!(page(&other).await.contains(notice) && !page(&first).await.contains("Bought twice?"));
    other.pay(&key(), "simulated_instant").await.expect(201);
    // Another number of the same, and somebody else's: no twins.
    let three = bought_by(&house, &offer, 3, "mara@lindqvist.example").await;
    let noor = bought_by(&house, &offer, 2, "noor@x.example").await;
    for fan in [&first, &three, &noor] {
        let refused = return_twin(fan).await;
        assert_eq!((refused.status, refused.problem()), (409, "conflict"));
    }
    assert_eq!(return_twin(&Fan { secret: noor.secret.clone(), ..other.clone() }).await.status, 404);
    assert!(page(&other).await.contains("Bought twice?") && page(&other).await.contains("€298.00"));
    // The form asks once more.
    let form = format!("/o/{}/{}/twin-returns", other.order, other.secret);
    let asked = house.anybody().request("POST", &form).header("origin", &house.url).send().await.unwrap();
    assert_eq!((asked.status().as_u16(), other.status().await.as_str()), (200, "paid"));
    assert!(asked.text().await.unwrap().contains("€298.00 goes back"));
    minutes(22 * 60);
    let back = return_twin(&other).await.expect(200);
    assert_eq!(return_twin(&other).await.expect(200)["refund_id"], back["refund_id"], "the same again");
    house.run_workers().await;
    assert_eq!((other.status().await, first.status().await, festival.stock(&offer).await), ("refunded".to_owned(), "paid".to_owned(), (0, 7)));
    assert_eq!(return_twin(&first).await.status, 409, "the one that is left stays");

    // Half an hour later is another purchase, a minute less is not. After half an hour it was meant; once something of it was heard, taken or a day is over, it stays.
    minutes(31);
    let meant = bought_by(&house, &offer, 2, "mara@lindqvist.example").await;
    assert_eq!(return_twin(&meant).await.status, 409);
    let (heard, taken, late) = (
        bought_by(&house, &offer, 2, "mara@lindqvist.example").await,
        bought_by(&house, &offer, 2, "mara@lindqvist.example").await,
        bought_by(&house, &offer, 2, "mara@lindqvist.example").await,
    );
    minutes(29);
    let apart = bought_by(&house, &offer, 2, "mara@lindqvist.example").await;
    assert_eq!(return_twin(&apart).await.expect(200)["amount"]["minor"], 29_800);
    let track = heard.get("/albums").await.expect(200)["items"][0]["tracks"][0]["stream_url"].as_str().unwrap().to_owned();
    house.anybody().request("GET", &track).send().await.unwrap();
    Holder::of(&house.anybody(), &taken.tickets().await[0]).claim("Noor Haddad").await.expect(200);
    assert_eq!((return_twin(&heard).await.status, return_twin(&taken).await.status), (409, 409));
    house.advance(TimeDelta::hours(25));
    assert_eq!(return_twin(&late).await.status, 409);
    house.run_workers().await;
    house.close().await;
}

async fn bought_by(house: &House, offer: &str, quantity: i64, email: &str) -> Fan {
    let fan = house.anybody().order(email, &[(offer, quantity)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    fan
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voided_ticket_and_the_use_of_a_voucher_are_after_a_refund_what_they_were() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 10).await;
    festival.promoter.make(&festival.path("/vouchers"), json!({ "code": "FERRY20", "terms": { "max_uses": 1 }, "percent_off": 20 })).await;
    let uses = async || festival.promoter.get(&festival.path("/vouchers")).await.expect(200)["items"][0]["used"].as_i64().unwrap();
    let body = json!({ "email": "mara@x.example", "lines": [{ "offer_id": offer, "quantity": 2 }], "voucher": "FERRY20" });
    let placed = answer(house.anybody().request("POST", "/v1/orders").header("idempotency-key", key()).json(&body)).await.expect(201);
    let text = |name: &str| placed[name].as_str().unwrap().to_owned();
    let fan = Fan { http: house.anybody(), order: text("order_id"), secret: text("secret") };
    fan.pay(&key(), "simulated_instant").await.expect(201);
    let ticket = fan.tickets().await[0]["ticket_id"].as_str().unwrap().to_owned();
    festival.promoter.send("POST", &format!("/v1/tickets/{ticket}/voidings"), &json!({ "note": "lost" })).await.expect(200);
    // Refused and withdrawn: the voided one is void as before, and can be re-issued.
    house.app.the::<Mood>().refund(Refunding::Refused);
    let asked = refund(&festival.promoter, &fan.order, &key(), &json!({ "reason": "asked" })).await.expect(201);
    house.run_workers().await;
    decide(&festival, &asked, "withdrawn", "").await.expect(200);
    assert_eq!(decide(&festival, &asked, "withdrawn", "").await.expect(200)["status"], "withdrawn", "the same again");
    let mut now = statuses(&fan).await;
    now.sort_unstable();
    assert_eq!(now, ["valid", "void"]);
    let mut conn = house.database().await;
    let findings = gatefold::reports::invariants::check(&mut conn, house.app.clock.now()).await.unwrap();
    assert!(findings.iter().all(|finding| finding.breaches == 0), "{findings:?}");
    festival.promoter.send("POST", &format!("/v1/tickets/{ticket}/reissues"), &json!({ "note": "found" })).await.expect(200);
    assert_eq!((statuses(&fan).await, uses().await), (vec!["valid".to_owned(); 2], 1));
    // Given back for good, the use of the voucher is there again.
    house.app.the::<Mood>().refund(Refunding::AtOnce);
    refund(&festival.promoter, &fan.order, &key(), &json!({ "reason": "asked" })).await.expect(201);
    house.run_workers().await;
    assert_eq!((fan.status().await, uses().await, at_the_bank(&house).await), ("refunded".to_owned(), 0, 22_240));
    let sales = festival.promoter.get(&format!("/v1/orders/{}", fan.order)).await.expect(200);
    assert_eq!(sales["status"], "refunded");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_without_network_hears_that_a_ticket_is_returned_and_that_it_is_not() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 10).await;
    let fan = bought(&house, &offer, 1).await;
    let mut conn = house.database().await;
    let mut last = 0;
    let mut moved = async || {
        let now: i64 = sqlx::query_scalar("select position from tickets").fetch_one(&mut conn).await.unwrap();
        std::mem::replace(&mut last, now) < now
    };
    assert!(moved().await);
    house.app.the::<Mood>().refund(Refunding::Refused);
    let asked = refund(&festival.promoter, &fan.order, &key(), &json!({ "reason": "asked" })).await.expect(201);
    assert!(moved().await, "suspended");
    house.run_workers().await;
    decide(&festival, &asked, "withdrawn", "").await.expect(200);
    assert!(moved().await, "valid again");
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_shows_an_order_to_its_own_members_and_names_to_those_who_may_read_them() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 10).await;
    let fan = house.anybody().order_for("Mara Lindqvist", "mara@lindqvist.example", &[(&offer, 1)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    house.promoter("Brine Collective").await.festival("brine").await;
    let mut conn = house.database().await;
    let paths = [format!("/desk/night-ferry/orders/{}", fan.order), "/desk/night-ferry/money".to_owned()];
    let look = async |session: &str, path: &str| {
        let page = house.anybody().request("GET", path).header("cookie", session).send().await.unwrap();
        (page.status().as_u16(), page.text().await.unwrap())
    };
    let owner = signed_in(&house, "night.ferry.foundation@promoter.example").await;
    for (role, sees, names) in [("owner", true, true), ("finance", true, true), ("support", true, false), ("editor", false, false), ("access", false, false)] {
        sqlx::query("update members set roles = array[$1] where email_key = 'night.ferry.foundation@promoter.example'")
            .bind(role)
            .execute(&mut conn)
            .await
            .unwrap();
        for path in &paths {
            let (status, text) = look(&owner, path).await;
            assert_eq!(status, if sees { 200 } else { 403 }, "{role} {path}");
            assert!(names || (!text.contains("lindqvist") && !text.contains("Lindqvist")), "{role} reads a name on {path}");
        }
        let (_, text) = look(&owner, &paths[0]).await;
        assert_eq!(text.contains("lindqvist.example"), names, "{role}");
        assert_eq!(text.contains("id=\"give-back\""), sees, "{role} gives money back");
    }
    sqlx::query("update members set roles = array['owner'] where true").execute(&mut conn).await.unwrap();
    let stranger = signed_in(&house, "brine.collective@promoter.example").await;
    for path in [&paths[0], &paths[1], &format!("/desk/brine/orders/{}", fan.order)] {
        assert_eq!(look(&stranger, path).await.0, 404, "{path}");
    }
    assert_eq!(look("", &paths[0]).await.0, 303);
    // Another site has no hand in it.
    let foreign = house.anybody().request("POST", &format!("{}/refunds", paths[0])).header("cookie", &owner).header("origin", "https://evil.example");
    assert_eq!(foreign.send().await.unwrap().status().as_u16(), 403);
    assert_eq!((fan.status().await, states(&fan).await.len(), festival.stock(&offer).await), ("paid".to_owned(), 0, (0, 1)));
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fan_gives_tickets_back_by_the_rule_of_their_order_and_by_no_other() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = bundle(&festival, &pass, 20).await;
    let back = async |fan: &Fan, key: &str, tickets: &[&Value]| {
        answer(fan.request("POST", "/returns").header("idempotency-key", key).json(&json!({ "ticket_ids": tickets }))).await
    };
    let before = bought(&house, &offer, 1).await;
    house.advance(TimeDelta::seconds(1));
    let rule = json!({ "hours_before": 48, "kept_ppm": 100_000 });
    festival.promoter.send("PUT", &festival.path("/refund-rule"), &rule).await.expect(200);
    assert_eq!(house.anybody().get(&festival.path("/refund-rule")).await.expect(200)["rule"], rule);
    house.advance(TimeDelta::seconds(1));
    let fan = bought(&house, &offer, 3).await;
    // Who ordered before there was a rule has none.
    assert_eq!(
        (before.get("/return-terms").await.expect(200), back(&before, &key(), &[&before.tickets().await[0]["ticket_id"]]).await.status),
        (json!({}), 409)
    );
    let tickets = fan.tickets().await;
    Holder::of(&house.anybody(), &tickets[2]).claim("Noor Haddad").await.expect(200);
    let terms = fan.get("/return-terms").await.expect(200)["terms"].clone();
    assert_eq!((&terms["until"], &terms["kept_ppm"], terms["ticket_ids"].as_array().unwrap().len()), (&json!("2026-06-17T12:00:00+00:00"), &json!(100_000), 2));
    let taken = back(&fan, &key(), &[&tickets[2]["ticket_id"]]).await;
    assert_eq!((taken.status, taken.body["errors"][0]["pointer"].as_str()), (422, Some("/ticket_ids/0")));
    // A tenth is kept, the album goes along; the same key is one return.
    let same = key();
    let first = back(&fan, &same, &[&tickets[0]["ticket_id"]]).await.expect(201);
    assert_eq!((&first["amount"]["minor"], &first["kept"]["minor"], first["ticket_ids"].as_array().unwrap().len()), (&json!(13_410), &json!(1_490), 1));
    assert_eq!(back(&fan, &same, &[&tickets[0]["ticket_id"]]).await.expect(201)["refund_id"], first["refund_id"]);
    house.run_workers().await;
    assert_eq!((fan.status().await, festival.stock(&offer).await), ("partly_refunded".to_owned(), (0, 3)));
    // The rule gets worse: for whoever orders from now on. An album that was heard stays.
    house.advance(TimeDelta::seconds(1));
    festival.promoter.send("POST", &festival.path("/refund-rule/ends"), &json!({})).await.expect(200);
    assert_eq!(house.anybody().get(&festival.path("/refund-rule")).await.expect(200), json!({}));
    house.advance(TimeDelta::seconds(1));
    assert_eq!(bought(&house, &offer, 1).await.get("/return-terms").await.expect(200), json!({}));
    let track = fan.get("/albums").await.expect(200)["items"][0]["tracks"][0]["stream_url"].as_str().unwrap().to_owned();
    house.anybody().request("GET", &track).send().await.unwrap();
    // Through the page, in two steps.
    let form = format!("/o/{}/{}/returns", fan.order, fan.secret);
    let choice = ("ticket", tickets[1]["ticket_id"].as_str().unwrap());
    let page = house.anybody().get(&format!("/o/{}/{}", fan.order, fan.secret)).await.body.as_str().unwrap().to_owned();
    assert!(page.contains("10 % of the price is kept"), "{page}");
    let quoted = crate::control::form(house.anybody().request("POST", &form).header("origin", &house.url), &[choice]).send().await.unwrap();
    assert!(quoted.text().await.unwrap().contains("€119.70 goes back"));
    let key = key();
    let sure = [choice, ("key", key.as_str()), ("sure", "11970")];
    let done = crate::control::form(house.anybody().request("POST", &form).header("origin", &house.url), &sure).send().await.unwrap();
    assert_eq!(done.status().as_u16(), 303);
    house.run_workers().await;
    assert_eq!((at_the_bank(&house).await, festival.stock(&offer).await), (13_410 + 11_970, (0, 3)));
    // Two days before it is over.
    festival.promoter.send("PUT", &festival.path("/refund-rule"), &rule).await.expect(200);
    let late = bought(&house, &offer, 1).await;
    assert!(late.get("/return-terms").await.expect(200)["terms"].is_object());
    house.advance("2026-06-17T12:00:01Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    assert_eq!(late.get("/return-terms").await.expect(200), json!({}));
    assert_eq!(back(&late, &crate::actors::key(), &[&late.tickets().await[0]["ticket_id"]]).await.problem(), "conflict");
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_alone_and_a_heard_album_need_finance_and_amounts_the_currency_of_the_order() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = bundle(&festival, &pass, 10).await;
    let fan = bought(&house, &offer, 1).await;
    let mut conn = house.database().await;
    let owner: PromoterId = sqlx::query_scalar("select promoter_id from festivals where slug = 'night-ferry'").fetch_one(&mut conn).await.unwrap();
    let token = accounts::new_token(&mut conn, owner, None::<FestivalId>, "support", &[Scope::RefundsWrite], house.app.clock.now()).await.unwrap();
    let support = Promoter { http: house.anybody(), token };
    let track = fan.get("/albums").await.expect(200)["items"][0]["tracks"][0]["stream_url"].as_str().unwrap().to_owned();
    house.anybody().request("GET", &track).send().await.unwrap();
    let part = |part: Value| json!({ "reason": "goodwill", "note": "a courtesy", "parts": [part] });
    let money = part(json!({ "line_no": 1, "amount": { "minor": 100, "currency": "EUR" } }));
    let album = part(json!({ "line_no": 1, "component_no": 2 }));
    for body in [&money, &album] {
        assert_eq!(refund(&support, &fan.order, &key(), body).await.status, 403, "{body}");
        let mut silent = body.clone();
        silent["note"] = json!(" ");
        let refused = refund(&festival.promoter, &fan.order, &key(), &silent).await;
        assert_eq!((refused.status, refused.body["errors"][0]["pointer"].as_str()), (422, Some("/note")), "{body}");
    }
    // The pass alone, that nobody used, needs neither.
    let pass = part(json!({ "line_no": 1, "component_no": 1 }));
    let quote = support.send("POST", &format!("/v1/orders/{}/refund-quotes", fan.order), &pass).await.expect(200);
    assert_eq!((&quote["used"], &quote["amount"]["minor"]), (&json!(0), &json!(13_300)));
    // Fifty euros are not fifty yen, whether an amount was seen or not.
    for body in [
        part(json!({ "line_no": 1, "amount": { "minor": 5_000, "currency": "JPY" } })),
        json!({ "reason": "asked", "kept": { "minor": 500, "currency": "CNY" } }),
        json!({ "reason": "asked", "expected": { "minor": 14_900, "currency": "CNY" } }),
    ] {
        assert_eq!(refund(&festival.promoter, &fan.order, &key(), &body).await.status, 422, "{body}");
    }
    assert!(states(&fan).await.is_empty());
    refund(&festival.promoter, &fan.order, &key(), &money).await.expect(201);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_of_before_closed_without_giving_it_back_comes_back() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 10).await;
    let fan = bought(&house, &offer, 2).await;
    house.app.the::<Mood>().refund(Refunding::NoFunds);
    let asked = refund(&festival.promoter, &fan.order, &key(), &json!({ "reason": "asked" })).await.expect(201);
    house.run_workers().await;
    // It asks its provider, closes the refund with a journal, and knows nothing of tickets.
    let mut conn = house.database().await;
    for statement in [
        "insert into journals (festival_id, journal_id, kind, at) select festival_id, gen_random_uuid(), 'refund', requested_at from refunds",
        "insert into journal_entries select r.festival_id, j.journal_id, e.account, r.currency, e.sign * r.amount_minor from refunds r \
         join journals j on j.kind = 'refund' cross join (values ('owed', 1), ('clearing:simulated', -1)) as e (account, sign)",
        "update refunds set status = 'done', ended_at = requested_at, journal_id = (select journal_id from journals where kind = 'refund')",
    ] {
        sqlx::query(statement).execute(&mut conn).await.unwrap();
    }
    assert_eq!((statuses(&fan).await, fan.status().await.as_str()), (vec!["suspended".to_owned(); 2], "paid"));
    for _ in 0..2 {
        house.run_workers().await;
    }
    assert_eq!((statuses(&fan).await, fan.status().await.as_str(), festival.stock(&offer).await), (vec!["void".to_owned(); 2], "refunded", (0, 0)));
    assert_eq!(subjects(&house).iter().filter(|s| s.contains("your money is on its way")).count(), 1, "{asked}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_amount_than_was_asked_for_is_never_paid_and_goes_back_whole() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 10).await;
    for (minor, currency) in [(13_901, "EUR"), (1, "EUR"), (13_900, "USD")] {
        let fan = house.anybody().order("mara@lindqvist.example", &[(&offer, 1)]).await;
        let payment = fan.pay(&key(), "simulated").await.expect(201);
        let told = json!({ "event_id": format!("evt_{minor}_{currency}"), "payment_id": payment["payment_id"], "status": "succeeded", "amount": { "minor": minor, "currency": currency } });
        for _ in 0..2 {
            let body = told.to_string();
            let signature = sign(&house.app, body.as_bytes());
            let notified = house.anybody().request("POST", "/v1/payment-notifications/simulated").header("content-type", "application/octet-stream");
            answer(notified.header("gatefold-signature", signature).body(body)).await.expect(200);
        }
        assert_eq!((fan.status().await.as_str(), fan.tickets().await.len()), ("held", 0), "{minor} {currency}");
        let refunds = fan.get("/refunds").await.expect(200);
        assert_eq!((refunds["items"].as_array().unwrap().len(), &refunds["items"][0]["amount"]), (1, &json!({ "minor": minor, "currency": currency })));
        // The right amount is still taken, once.
        fan.pay(&key(), "simulated_instant").await.expect(201);
        assert_eq!((fan.status().await.as_str(), fan.tickets().await.len()), ("paid", 1));
        house.run_workers().await;
        assert_eq!(states(&fan).await, [("done".to_owned(), minor)]);
    }
    assert_eq!((festival.stock(&offer).await, at_the_bank(&house).await), ((0, 3), 13_901 + 1 + 13_900));
    let letters = house.emails().into_iter().filter(|email| email.text.contains("that is not its price")).count();
    assert_eq!(letters, 3);
    let mut conn = house.database().await;
    let events: i64 = sqlx::query_scalar("select count(*) from provider_events").fetch_one(&mut conn).await.unwrap();
    assert_eq!(events, 3, "told twice is written down once");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_a_leaked_key_gets_another_code_when_its_refund_is_withdrawn() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 10).await;
    let fan = bought(&house, &offer, 1).await;
    let before = fan.tickets().await[0].clone();
    house.app.the::<Mood>().refund(Refunding::NoFunds);
    let asked = refund(&festival.promoter, &fan.order, &key(), &json!({ "reason": "asked" })).await.expect(201);
    house.run_workers().await;
    // The key leaks while the ticket is suspended: the walk passes it by.
    festival.promoter.send("POST", &festival.path("/signing-keys"), &json!({})).await.expect(200);
    festival.promoter.send("POST", &festival.path("/signing-keys/1/reissues"), &json!({})).await.expect(200);
    house.advance(TimeDelta::seconds(11));
    house.run_workers().await;
    decide(&festival, &asked, "withdrawn", "").await.expect(200);
    let after = fan.tickets().await[0].clone();
    assert_eq!((&after["status"], after["generation"].as_i64()), (&json!("valid"), before["generation"].as_i64().map(|generation| generation + 1)));
    assert_ne!(after["ticket_code"], before["ticket_code"]);
    house.run_workers().await;
    house.close().await;
}
