//! The night of an opening: pause, delay, extension, guard rails, freeze, and a payment provider that fails.

use std::process::Stdio;

use chrono::TimeDelta;
use gatefold::payments::simulated::Mood;
use serde_json::{Value, json};
use sqlx::Connection;

use crate::{
    actors::{Answer, Fan, Festival, answer, key},
    house::{House, fresh_database},
    servers::gatefold,
};

async fn on_sale(house: &House) -> (Festival, String) {
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 100, 13900).await;
    (festival, offer)
}

async fn confirming(festival: &Festival, method: &str, path: &str, words: &str, body: &Value) -> Answer {
    answer(festival.promoter.request(method, path).header("confirm", words).json(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_festival_sells_nothing_says_why_and_goes_on() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house).await;
    let held = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    festival.promoter.send("PUT", &festival.path("/pause"), &json!({ "sentence": { "en": "The crane is stuck. Back at nine." } })).await.expect(200);
    let refused = house.anybody().place(&key(), "jonas@x.example", &[(&offer, 1)]).await;
    assert_eq!((refused.status, refused.problem()), (409, "paused"));
    assert_eq!(refused.body["detail"], "The crane is stuck. Back at nine.");
    let page = house.anybody().request("GET", "/f/night-ferry").send().await.unwrap().text().await.unwrap();
    assert!(page.contains("The crane is stuck. Back at nine."), "fans read the sentence");
    // What is held can be paid.
    held.pay(&key(), "simulated_instant").await.expect(201);
    festival.promoter.request("DELETE", &festival.path("/pause")).send().await.unwrap().error_for_status().unwrap();
    house.anybody().order("jonas@x.example", &[(&offer, 1)]).await;
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_opening_takes_its_waiting_room_along_and_happens_once() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house).await;
    let opens = house.app.clock.now() + TimeDelta::minutes(30);
    festival.promoter.send("PATCH", &format!("/v1/offers/{offer}"), &json!({ "opens_at": opens })).await.expect(200);
    festival.promoter.send("PUT", &format!("/v1/offers/{offer}/waiting-room"), &json!({ "gathers_at": house.app.clock.now() })).await.expect(200);
    let delay = json!({ "opens_at": opens, "minutes": 15 });
    let delayed = festival.promoter.send("POST", &festival.path("/delays"), &delay).await.expect(200);
    assert_eq!(delayed["items"].as_array().unwrap().len(), 1);
    // Whoever taps twice delays once.
    assert_eq!(festival.promoter.send("POST", &festival.path("/delays"), &delay).await.status, 409);
    let room = house.anybody().get(&format!("/v1/offers/{offer}/waiting-room")).await.expect(200);
    let draws: chrono::DateTime<chrono::Utc> = room["draws_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(draws, opens + TimeDelta::minutes(15));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extended_holds_last_longer_and_none_longer_than_an_hour() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house).await;
    let first = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    let over = house.anybody().order("late@x.example", &[(&offer, 1)]).await;
    over.cancel().await.expect(200);
    house.advance(TimeDelta::minutes(9));
    let second = house.anybody().order("jonas@x.example", &[(&offer, 1)]).await;
    let extended = festival.promoter.send("POST", &festival.path("/hold-extensions"), &json!({ "minutes": 20 })).await.expect(200);
    assert_eq!(extended["extended"], 2);
    house.advance(TimeDelta::minutes(15));
    house.run_workers().await;
    assert_eq!((first.status().await, second.status().await), ("held".to_owned(), "held".to_owned()));
    for _ in 0..5 {
        festival.promoter.send("POST", &festival.path("/hold-extensions"), &json!({ "minutes": 60 })).await.expect(200);
        house.advance(TimeDelta::minutes(8));
    }
    // 64 minutes after the first was placed, 55 after the second.
    house.run_workers().await;
    assert_eq!((first.status().await, second.status().await), ("expired".to_owned(), "held".to_owned()));
    house.advance(TimeDelta::minutes(6));
    house.run_workers().await;
    assert_eq!(second.status().await, "expired");
    assert_eq!(festival.stock(&offer).await, (0, 0));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slip_of_the_hand_has_to_be_confirmed() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house).await;
    let tier = format!("/v1/offers/{offer}/tiers/1");
    let price = |minor: i64| json!({ "name": { "en": "Now" }, "price": { "minor": minor, "currency": "EUR" } });
    festival.promoter.send("PUT", &tier, &price(9731)).await.expect(200);
    let asked = festival.promoter.send("PUT", &tier, &price(973)).await;
    assert_eq!((asked.status, asked.problem(), asked.body["confirm"].as_str()), (409, "unconfirmed", Some("973 EUR")));
    assert_eq!(confirming(&festival, "PUT", &tier, "yes", &price(973)).await.status, 409);
    confirming(&festival, "PUT", &tier, "973 EUR", &price(973)).await.expect(200);

    let offers = festival.promoter.get(&festival.path("/offers")).await.expect(200);
    let stock = format!("/v1/stocks/{}", offers["items"][0]["stock_id"].as_str().unwrap());
    festival.promoter.send("PUT", &stock, &json!({ "capacity": 199 })).await.expect(200);
    let asked = festival.promoter.send("PUT", &stock, &json!({ "capacity": 1990 })).await;
    assert_eq!((asked.problem(), asked.body["confirm"].as_str()), ("unconfirmed", Some("1990")));
    confirming(&festival, "PUT", &stock, "1990", &json!({ "capacity": 1990 })).await.expect(200);
    festival.promoter.send("PATCH", &festival.path(""), &json!({ "licensed_capacity": 2000 })).await.expect(200);
    let asked = festival.promoter.send("PUT", &stock, &json!({ "capacity": 2001 })).await;
    assert!(asked.problem() == "unconfirmed" && asked.body["detail"].as_str().unwrap().contains("2000 people"), "{asked:?}");
    festival.promoter.send("PUT", &stock, &json!({ "capacity": 2000 })).await.expect(200);

    let opens = |at: chrono::DateTime<chrono::Utc>| json!({ "opens_at": at });
    let (path, now) = (format!("/v1/offers/{offer}"), house.app.clock.now());
    festival.promoter.send("PATCH", &path, &opens(now + TimeDelta::hours(1))).await.expect(200);
    let asked = festival.promoter.send("PATCH", &path, &opens(now - TimeDelta::hours(1))).await;
    assert_eq!((asked.problem(), asked.body["confirm"].as_str()), ("unconfirmed", Some("now")));
    confirming(&festival, "PATCH", &path, "now", &opens(now - TimeDelta::hours(1))).await.expect(200);
    house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    assert_eq!(festival.promoter.send("PATCH", &path, &opens(now + TimeDelta::hours(1))).await.problem(), "conflict");

    // An early tier that comes back lowers what is paid as a price does.
    let offers = festival.path("/offers");
    let early = festival.promoter.make(
        &offers,
        json!({
            "terms": { "name": { "en": "Steps" } }, "capacity": 100,
            "tiers": [
                { "name": { "en": "Early" }, "price": { "minor": 5000, "currency": "EUR" }, "until_at": now - TimeDelta::days(1) },
                { "name": { "en": "Now" }, "price": { "minor": 13900, "currency": "EUR" } }
            ],
            "components": [{ "pass_id": festival.pass("Step pass", 0b1).await, "weight": 1, "tax_kind": "fixed", "tax_ppm": 90000 }]
        }),
    );
    let steps = format!("/v1/offers/{}/tiers/1", early.await["offer_id"].as_str().unwrap());
    let again = json!({ "name": { "en": "Early" }, "price": { "minor": 5000, "currency": "EUR" }, "until_at": now + TimeDelta::days(1) });
    assert_eq!(festival.promoter.send("PUT", &steps, &again).await.body["confirm"], "5000 EUR");
    assert_eq!(festival.promoter.send("POST", &festival.path("/stocks"), &json!({ "name": "beds", "capacity": 2001 })).await.problem(), "unconfirmed");

    // Frozen: no price, no opening; a pause and more places are possible.
    festival.promoter.send("PUT", &festival.path("/freeze"), &json!({ "until": now + TimeDelta::hours(6) })).await.expect(200);
    assert_eq!(festival.promoter.send("PUT", &tier, &price(990)).await.problem(), "conflict");
    assert_eq!(confirming(&festival, "PATCH", &path, "now", &opens(now - TimeDelta::hours(2))).await.problem(), "conflict");
    assert_eq!(confirming(&festival, "PUT", &steps, "5000 EUR", &again).await.problem(), "conflict");
    festival.promoter.send("PUT", &stock, &json!({ "capacity": 1999 })).await.expect(200);
    festival.promoter.send("PATCH", &path, &json!({ "paused": { "en": "A moment." } })).await.expect(200);
    festival.promoter.request("DELETE", &festival.path("/freeze")).send().await.unwrap().error_for_status().unwrap();
    festival.promoter.send("PUT", &tier, &price(990)).await.expect(200);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_migration_runs_in_a_frozen_night() {
    let owner = fresh_database("frozen_night").await;
    let migrate = || {
        let mut command = gatefold("frozen-night", &owner, &["migrate"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let done = command.output().unwrap();
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let mut database = sqlx::PgConnection::connect_with(&owner).await.unwrap();
    let made = "insert into festivals (promoter_id, slug, kind, name, lead, place, currency, time_zone, spot, language, created_at, version, published_at, frozen_until) \
                select promoter_id, 'frozen', kind, name, lead, place, currency, time_zone, spot, language, created_at, 1, created_at, '2100-01-01' from festivals where festival_id = 0";
    sqlx::query(made).execute(&mut database).await.unwrap();
    assert!(migrate().0, "what is up to date may be said so");
    // As if this binary brought a migration that the database has not seen.
    sqlx::query("delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)").execute(&mut database).await.unwrap();
    let (good, said) = migrate();
    assert!(!good && said.contains("frozen is frozen until 2100"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bank_fails_nothing_new_is_sold_and_nobody_loses_a_hold() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house).await;
    let buyers: Vec<_> = futures_util::future::join_all((0..8).map(|i| {
        let (http, offer) = (house.anybody(), offer.clone());
        async move { http.order(&format!("fan{i}@x.example"), &[(&offer, 1)]).await }
    }))
    .await;
    house.app.the::<Mood>().fail(true);
    for buyer in &buyers[..6] {
        // The bank does not answer: the payment is unknown and is asked about later.
        assert_eq!(buyer.pay(&key(), "simulated").await.expect(201)["status"], "unknown");
    }
    let refused = house.anybody().place(&key(), "late@x.example", &[(&offer, 1)]).await;
    assert_eq!((refused.status, refused.problem(), refused.retry_after.as_deref()), (503, "payments-down", Some("15")));
    let mut fans = 0;
    // Holds are kept, also of those who have not tried to pay.
    house.run_workers().await;
    for _ in 0..18 {
        house.advance(TimeDelta::seconds(60));
        // Those who are let in a minute later try to pay, and the bank still does not answer.
        let trying = house.anybody().place(&key(), &format!("trying{}@x.example", house.app.clock.now().timestamp()), &[(&offer, 1)]).await;
        let again = house.anybody().place(&key(), &format!("again{}@x.example", house.app.clock.now().timestamp()), &[(&offer, 1)]).await;
        for placed in [trying, again].into_iter().filter(|placed| placed.status == 201) {
            let fan = Fan {
                http: house.anybody(),
                order: placed.body["order_id"].as_str().unwrap().to_owned(),
                secret: placed.body["secret"].as_str().unwrap().to_owned(),
            };
            fan.pay(&key(), "simulated").await.expect(201);
            fans += 1;
        }
        house.run_workers().await;
    }
    assert!(fans > 3, "some are let in to try");
    assert_eq!(buyers[7].status().await, "held", "18 minutes after it was placed");
    // The bank is back: a share of the buyers first, then everybody; what was unknown is decided.
    house.app.the::<Mood>().fail(false);
    house.advance(TimeDelta::seconds(16));
    let mut let_in = 0;
    for i in 0..20 {
        let placed = house.anybody().place(&key(), &format!("first{i}@x.example"), &[(&offer, 1)]).await;
        let_in += usize::from(placed.status == 201);
    }
    assert_eq!(let_in, 2, "a tenth at first");
    buyers[7].pay(&key(), "simulated").await.expect(201);
    house.advance(TimeDelta::seconds(30));
    for i in 0..5 {
        house.anybody().order(&format!("then{i}@x.example"), &[(&offer, 1)]).await;
    }
    house.advance(TimeDelta::minutes(1));
    house.run_workers().await;
    for buyer in &buyers[..6] {
        assert_eq!(buyer.status().await, "held");
        buyer.pay(&key(), "simulated_instant").await.expect(201);
    }
    house.run_workers().await;
    assert_eq!(festival.stock(&offer).await.1, 6);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hoards_holds_is_slowed_down_and_a_repeat_is_answered_all_the_same() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house).await;
    let http = house.anybody();
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(http.order("hoarder@x.example", &[(&offer, 1)]).await);
    }
    let last = key();
    let sixth = http.place(&last, "hoarder@x.example", &[(&offer, 1)]).await.expect(201);
    let refused = http.place(&key(), "Hoarder@X.example", &[(&offer, 1)]).await;
    assert_eq!((refused.status, refused.problem(), refused.retry_after.is_some()), (429, "too-many-requests", true));
    assert_eq!(http.place(&last, "hoarder@x.example", &[(&offer, 1)]).await.expect(201)["order_id"], sixth["order_id"]);
    // A neighbor behind the same address is not; paying or giving up makes room.
    http.order("neighbor@x.example", &[(&offer, 1)]).await;
    held[0].pay(&key(), "simulated_instant").await.expect(201);
    http.order("hoarder@x.example", &[(&offer, 1)]).await;
    held[1].cancel().await.expect(200);
    http.order("hoarder@x.example", &[(&offer, 1)]).await;
    // Six run out: the wait doubles with each, and the neighbor never notices.
    house.advance(TimeDelta::minutes(10) + TimeDelta::seconds(10));
    house.run_workers().await;
    assert_eq!(http.place(&key(), "hoarder@x.example", &[(&offer, 1)]).await.status, 429);
    http.order("neighbor@x.example", &[(&offer, 1)]).await;
    house.advance(TimeDelta::minutes(9));
    http.order("hoarder@x.example", &[(&offer, 1)]).await;
    assert_eq!(festival.stock(&offer).await, (2, 1));
    house.close().await;
}
