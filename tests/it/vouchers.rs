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
        (json!({ "code": "WHATNOW", "opens": true, "terms": {} }), "/terms/offer_ids"),
        (json!({ "code": "WHATNOW", "opens": true, "terms": { "offer_ids": [offer], "budget_minor": 5 } }), "/terms/budget_minor"),
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
    for (taken_meanwhile, by_budget) in [(false, false), (true, false), (false, true), (true, true)] {
        let house = House::open().await;
        let (festival, offer) = on_sale(&house, 100).await;
        // By its count, and by its budget: half of 139.00 once.
        let terms = if by_budget { json!({ "budget_minor": 7000 }) } else { json!({ "max_uses": 1 }) };
        voucher(&festival, "ONLYONE", &json!({ "percent_off": 50 }), terms).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_voucher_opens_what_is_hidden_or_not_on_sale_yet_at_its_own_price_for_those_on_its_list() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let (pass, crew) = (festival.pass("Weekend pass", 0b111).await, festival.pass("Crew pass", 0b111).await);
    let (later, secret) = (festival.offer(&pass, 100, 13900).await, festival.offer(&crew, 100, 9900).await);
    let opens_at = house.app.clock.now() + TimeDelta::days(3);
    festival.promoter.send("PATCH", &format!("/v1/offers/{later}"), &json!({ "opens_at": opens_at })).await.expect(200);
    festival.promoter.send("PATCH", &format!("/v1/offers/{secret}"), &json!({ "hidden": true })).await.expect(200);
    let made =
        voucher(&festival, "EARLY BIRD", &json!({ "price_minor": 10000, "opens": true }), json!({ "offer_ids": [later, secret], "max_per_fan": 1 })).await;
    let http = house.anybody();
    let seen = async |code: Option<&str>| {
        let request = http.request("GET", &festival.path("/offers"));
        answer(match code {
            Some(code) => request.header("voucher", code),
            None => request,
        })
        .await
    };
    let shown = |offers: &Value| -> Vec<(String, i64, String)> {
        let of =
            |o: &Value| (o["offer_id"].as_str().unwrap().to_owned(), o["price"]["minor"].as_i64().unwrap(), o["availability"].as_str().unwrap().to_owned());
        let mut all: Vec<_> = offers["items"].as_array().unwrap().iter().map(of).collect();
        all.sort();
        all
    };
    let on_sale = |minor: i64, state: &str, id: &str| (id.to_owned(), minor, state.to_owned());

    // What nobody can have is not shown, and what is hidden is not sold, whoever knows its id.
    assert_eq!(shown(&seen(None).await.expect(200)), [on_sale(13900, "not_yet", &later)]);
    assert_eq!(http.place(&key(), "mara@x.example", &[(&secret, 1)]).await.status, 422);
    assert_eq!(http.place(&key(), "mara@x.example", &[(&later, 1)]).await.problem(), "not-yet");
    assert_eq!(festival.promoter.get(&festival.path("/offers")).await.expect(200)["items"].as_array().unwrap().len(), 2, "its promoter sees it");
    let stranger = house.promoter("Brine Foundation").await;
    assert_eq!(stranger.get(&festival.path("/offers")).await.expect(200)["items"].as_array().unwrap().len(), 1, "another promoter does not");
    let wrong = seen(Some("LATE BIRD")).await;
    assert_eq!((wrong.problem(), &wrong.body["reason"]), ("voucher-refused", &json!("unknown")));

    // The code makes of them what it says; its price is a price, not more than the offer's own.
    assert_eq!(shown(&seen(Some("early-bird")).await.expect(200)), {
        let mut both = vec![on_sale(10000, "on_sale", &later), on_sale(9900, "on_sale", &secret)];
        both.sort();
        both
    });
    let page = async |code: &str| {
        let response = http.request("POST", "/f/night-ferry/vouchers").form(&[("voucher", code)]).header("origin", &house.url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let public = http.request("GET", "/f/night-ferry").send().await.unwrap().text().await.unwrap();
    assert!(!public.contains(&secret) && public.contains("name=\"voucher\""), "{public}");
    let (status, opened) = page("early bird").await;
    assert!(
        status == 200 && opened.contains(&format!("offer-{secret}")) && opened.contains("value=\"early bird\"") && opened.contains("€100"),
        "{status} {opened}"
    );
    let (status, refused) = page("late bird").await;
    assert!(status == 409 && refused.contains("There is no such code") && !refused.contains(&secret), "{status} {refused}");

    // A presale: only who is on the list, however they write themselves; each once.
    let path = format!("/v1/vouchers/{}/addresses", made["voucher_id"].as_str().unwrap());
    let bad = festival.promoter.send("PUT", &path, &json!({ "addresses": ["mara@x.example", "nobody"] })).await;
    assert_eq!((bad.status, bad.body["errors"][0]["pointer"].as_str()), (422, Some("/addresses/1")));
    let listed = festival.promoter.send("PUT", &path, &json!({ "addresses": ["Mara@X.example", "jonas@x.example", "jonas@x.example"] })).await.expect(200);
    assert_eq!(listed["listed"], 2);
    let refused = order(&http, &later, 1, "noor@x.example", "earlybird").await;
    assert_eq!((refused.problem(), &refused.body["reason"]), ("voucher-refused", &json!("not_listed")));
    let placed = order(&http, &later, 2, "mara@x.example", "earlybird").await.expect(201);
    assert_eq!(placed["total"]["minor"], 20000);
    assert_eq!(order(&http, &secret, 1, "MARA@x.example", "earlybird").await.body["reason"], "fan_limit");
    assert_eq!(order(&http, &secret, 1, "jonas@x.example", "earlybird").await.expect(201)["total"]["minor"], 9900);
    fan(&http, &placed).cancel().await.expect(200);
    order(&http, &secret, 1, "mara@x.example", "earlybird").await.expect(201);
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("select address_key from voucher_addresses").fetch_all(&mut house.database().await).await.unwrap();
    assert!(rows.len() == 2 && rows.iter().all(|key| key.len() == 16), "keyed hashes, no addresses");
    festival.promoter.send("DELETE", &path, &json!(null)).await.expect(200);
    order(&http, &later, 1, "noor@x.example", "earlybird").await.expect(201);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_never_overspent_and_comes_back_with_its_orders() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 1000).await;
    let made = voucher(&festival, "LABEL PAYS", &json!({ "minor_off": 1000 }), json!({ "budget_minor": 10000 })).await;
    let spent = async || festival.promoter.get(&festival.path("/vouchers")).await.expect(200)["items"][0]["spent_minor"].as_i64().unwrap();
    let answers = at_once(30, |i| {
        let (http, offer) = (house.anybody(), offer.clone());
        async move { order(&http, &offer, 1 + i64::try_from(i % 3).unwrap(), &format!("fan{i}@x.example"), "label pays").await }
    })
    .await;
    let placed: Vec<&Answer> = answers.iter().filter(|a| a.status == 201).collect();
    let off: i64 = placed.iter().map(|a| a.body["lines"][0]["quantity"].as_i64().unwrap() * 1000).sum();
    assert!((8000..=10000).contains(&off) && spent().await == off, "{off}");
    assert!(answers.iter().filter(|a| a.status != 201).all(|a| a.body["reason"] == "used_up"), "{answers:?}");
    let path = format!("/v1/vouchers/{}", made["voucher_id"].as_str().unwrap());
    let change = async |terms: Value| festival.promoter.send("PUT", &path, &terms).await.status;
    assert_eq!((change(json!({ "budget_minor": off - 1 })).await, change(json!({})).await), (409, 422));
    for placed in &placed {
        fan(&house.anybody(), &placed.body).cancel().await.expect(200);
    }
    assert_eq!(spent().await, 0);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_makes_many_codes_at_once_and_a_table_of_them() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 100).await;
    let body = json!({ "size": 250, "prefix": "Partner 7", "percent_off": 50, "terms": { "label": "Harbour radio", "max_uses": 1 } });
    let (path, once) = (festival.path("/voucher-batches"), key());
    let make = async |body: &Value| answer(festival.promoter.request("POST", &path).header("idempotency-key", &once).json(body)).await;
    let batch = make(&body).await.expect(201);
    assert_eq!((make(&body).await.expect(201), make(&json!({ "size": 3, "percent_off": 50, "terms": {} })).await.problem()), (batch.clone(), "key-reused"));
    assert_eq!(festival.promoter.send("POST", &path, &body).await.problem(), "key-missing");
    let id = batch["batch_id"].as_str().unwrap();
    let table = async || {
        let response = festival.promoter.request("GET", &format!("/v1/voucher-batches/{id}/codes")).send().await.unwrap();
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/csv"));
        let text = response.text().await.unwrap();
        text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let rows = table().await;
    assert_eq!((rows.len(), rows[0].join(",")), (251, "code,voucher_id,used,max_uses".to_owned()));
    let codes: std::collections::HashSet<&str> = rows[1..].iter().map(|row| row[0].as_str()).collect();
    assert!(codes.len() == 250 && codes.iter().all(|code| code.starts_with("PARTNER7-") && code.len() == 23), "{codes:?}");
    order(&house.anybody(), &offer, 1, "mara@x.example", &rows[1][0]).await.expect(201);
    assert_eq!(order(&house.anybody(), &offer, 1, "jonas@x.example", &rows[1][0]).await.body["reason"], "used_up");
    assert_eq!(table().await.iter().filter(|row| row[2] == "1").count(), 1);
    // By pages, every voucher once.
    let mut seen = std::collections::HashSet::new();
    let mut path = festival.path("/vouchers?limit=100");
    loop {
        let page = festival.promoter.get(&path).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|v| v["voucher_id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => path = festival.path(&format!("/vouchers?limit=100&cursor={next}")),
            None => break,
        }
    }
    assert_eq!(seen.len(), 250);
    // Not for the one that was used, so for none.
    let change = async |terms: Value| festival.promoter.send("PUT", &format!("/v1/voucher-batches/{id}"), &terms).await;
    order(&house.anybody(), &offer, 1, "iris@x.example", &rows[3][0]).await.expect(201);
    change(json!({ "max_uses": 2, "label": "Harbour radio" })).await.expect(200);
    order(&house.anybody(), &offer, 1, "noor@x.example", &rows[3][0]).await.expect(201);
    assert_eq!(change(json!({ "max_uses": 1, "label": "x" })).await.status, 409);
    assert_eq!(table().await.iter().filter(|row| row[3] == "2").count(), 250);
    // Over at once, all of them.
    let yesterday = house.app.clock.now() - TimeDelta::days(1);
    assert_eq!(change(json!({ "closes_at": yesterday, "max_uses": 2, "label": "Harbour radio, over" })).await.expect(200)["label"], "Harbour radio, over");
    assert_eq!(order(&house.anybody(), &offer, 1, "jonas@x.example", &rows[2][0]).await.body["reason"], "not_now");
    assert_eq!(festival.promoter.get(&festival.path("/voucher-batches")).await.expect(200)["items"][0]["label"], "Harbour radio, over");
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_too_often_is_not_told_when_they_guess_right() {
    let house = House::open().await;
    let (festival, offer) = on_sale(&house, 10).await;
    voucher(&festival, "RIGHT", &json!({ "percent_off": 50 }), json!({})).await;
    let http = house.anybody();
    let look = async |code: &str| answer(http.request("GET", &festival.path("/offers")).header("voucher", code)).await;
    assert_eq!(look("right").await.status, 200);
    let mut guesses = 0;
    while look(&format!("WRONG{guesses}")).await.status != 429 {
        guesses += 1;
        assert!(guesses < 1_000);
    }
    assert_eq!((look("right").await.status, order(&http, &offer, 1, "mara@x.example", "right").await.status), (429, 429));
    http.order("mara@x.example", &[(&offer, 1)]).await;
    house.run_workers().await;
    house.close().await;
}
