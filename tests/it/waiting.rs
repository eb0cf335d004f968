//! Waiting rooms through the public face: who gathers is drawn, who comes later follows in the order of coming, a place brings one order, and
//! nobody goes round it.

use std::collections::HashMap;

use chrono::{TimeDelta, Utc};
use gatefold::waiting;
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Anybody, Festival, answer, key},
    house::House,
    servers::Pair,
};

/// An offer that opens in ten minutes, and its room, which is on.
async fn room(house: &House, capacity: i64) -> (Festival, String) {
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, capacity, 13900).await;
    let now = house.app.clock.now();
    festival.promoter.send("PATCH", &format!("/v1/offers/{offer}"), &json!({ "opens_at": now + TimeDelta::minutes(10) })).await.expect(200);
    open(&festival, &offer, now).await;
    (festival, offer)
}

async fn open(festival: &Festival, offer: &str, gathers_at: chrono::DateTime<Utc>) -> Value {
    festival.promoter.send("PUT", &format!("/v1/offers/{offer}/waiting-room"), &json!({ "gathers_at": gathers_at })).await.expect(200)
}

async fn join(http: &Anybody, offer: &str) -> String {
    let taken = http.post(&format!("/v1/offers/{offer}/places"), &json!({})).await.expect(201);
    taken["place"].as_str().unwrap().to_owned()
}

async fn turn(http: &Anybody, offer: &str, place: &str) -> Value {
    answer(http.request("GET", &format!("/v1/offers/{offer}/turn")).header("waiting-place", place)).await.expect(200)
}

async fn order(http: &Anybody, offer: &str, quantity: i64, email: &str, place: &str) -> Answer {
    let body = json!({ "email": email, "lines": [{ "offer_id": offer, "quantity": quantity }] });
    answer(http.request("POST", "/v1/orders").header("idempotency-key", key()).header("waiting-place", place).json(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gathers_is_drawn_and_who_comes_later_follows_in_the_order_of_coming() {
    let house = House::open().await;
    let (_, offer) = room(&house, 10_000).await;
    let http = house.anybody();
    let mut places = Vec::new();
    for _ in 0..300 {
        places.push(join(&http, &offer).await);
        house.advance(TimeDelta::seconds(1));
    }
    house.run_workers().await;
    let early = turn(&http, &offer, &places[0]).await;
    assert_eq!((&early["standing"], &early["people"]), (&json!("gathering"), &json!(300)), "{early}");
    assert!(early["ahead"].is_null(), "nobody knows an order before the draw: {early}");

    // A moment after the opening nobody is lost from the count.
    house.advance(TimeDelta::minutes(5) + TimeDelta::milliseconds(1_900));
    waiting::refresh(&house.app).await.unwrap();
    let drawn = turn(&http, &offer, &places[0]).await;
    assert_eq!((&drawn["people"], &drawn["standing"]), (&json!(300), &json!("waiting")), "{drawn}");

    // The sale opens; sixty more come, four a second.
    let mut turns: HashMap<usize, i64> = HashMap::new();
    for second in 0..40_i64 {
        for _ in 0..if second < 15 { 4 } else { 0 } {
            places.push(join(&http, &offer).await);
            house.advance(TimeDelta::milliseconds(250));
        }
        if second >= 15 {
            house.advance(TimeDelta::seconds(1));
        }
        house.run_workers().await;
        for (i, place) in places.iter().enumerate() {
            let now = turn(&http, &offer, place).await;
            if now["standing"] == "turn" {
                turns.entry(i).or_insert(second);
            }
        }
    }
    assert_eq!(turns.len(), 360, "everybody has a turn");
    let last_gathered = (0..300).map(|i| turns[&i]).max().unwrap();
    let later: Vec<i64> = (300..360).map(|i| turns[&i]).collect();
    assert!(later.is_sorted(), "who came later is served in the order of coming: {later:?}");
    assert!(later[0] >= last_gathered, "nobody overtakes those who gathered");
    // Drawn, not served by coming: of the first third to be let in about a third had come first (deviation 5.8).
    let first = (0..300).filter(|i| turns[i] == (0..300).map(|i| turns[&i]).min().unwrap()).collect::<Vec<_>>();
    let early_birds = first.iter().filter(|i| **i < first.len()).count();
    let expected = first.len() * first.len() / 300;
    assert!((100..150).contains(&first.len()), "{} at once", first.len());
    assert!(early_birds.abs_diff(expected) < 30, "{early_birds} of {} came first, {expected} expected", first.len());
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_brings_one_order_and_nobody_goes_round_the_room() {
    let house = House::open().await;
    let (festival, offer) = room(&house, 100).await;
    let http = house.anybody();
    let place = join(&http, &offer).await;
    let direct = http.place(&key(), "mara@x.example", &[(&offer, 1)]).await;
    assert_eq!((direct.status, direct.problem()), (403, "waiting-room"));
    assert_eq!(direct.body["waiting_room"], json!(format!("/w/{offer}")));
    let early = order(&http, &offer, 1, "mara@x.example", &place).await;
    assert_eq!((early.status, early.body["standing"].as_str()), (403, Some("gathering")));

    house.advance(TimeDelta::minutes(10) + TimeDelta::seconds(3));
    house.run_workers().await;
    house.run_workers().await;
    assert_eq!(turn(&http, &offer, &place).await["standing"], "turn");
    let forged = format!("{}{}", if place.starts_with('a') { 'b' } else { 'a' }, &place[1..]);
    assert_eq!(order(&http, &offer, 1, "mara@x.example", &forged).await.status, 403);
    let another = festival.offer(&festival.pass("Day pass", 0b1).await, 10, 5000).await;
    open(&festival, &another, house.app.clock.now()).await;
    assert_eq!(order(&http, &another, 1, "mara@x.example", &place).await.status, 403, "a place of another room");

    // A refused basket does not use it up; twenty at once with it are one order; another basket with it is refused.
    assert_eq!(order(&http, &offer, 11, "mara@x.example", &place).await.problem(), "order-limit");
    let answers = crate::races::at_once(20, |_| {
        let (http, offer, place) = (http.clone(), offer.clone(), place.clone());
        async move { order(&http, &offer, 2, "mara@x.example", &place).await }
    })
    .await;
    let orders: std::collections::HashSet<_> = answers.iter().map(|a| a.body["order_id"].to_string()).collect();
    assert!(answers.iter().all(|a| a.status == 201) && orders.len() == 1, "{answers:?}");
    assert_eq!(order(&http, &offer, 1, "mara@x.example", &place).await.problem(), "place-used");
    assert_eq!(order(&http, &offer, 2, "jonas@x.example", &place).await.problem(), "place-used");
    assert_eq!(festival.stock(&offer).await, (2, 0));

    // A turn ends; it can be extended, once, by its own place alone.
    let slow = join(&http, &offer).await;
    let sleepy = join(&http, &offer).await;
    for _ in 0..5 {
        house.advance(TimeDelta::seconds(1));
        house.run_workers().await;
    }
    assert_eq!(turn(&http, &offer, &slow).await["standing"], "turn");
    let extend = http.request("POST", &format!("/v1/offers/{offer}/turn-extensions")).header("waiting-place", &slow);
    let extended = answer(extend).await.expect(200);
    assert_eq!(extended["turn"]["extended"], true);
    let slow = extended["place"].as_str().unwrap().to_owned();
    house.advance(TimeDelta::minutes(16));
    let late = order(&http, &offer, 1, "jonas@x.example", &sleepy).await;
    assert_eq!(late.body["standing"], "over", "{late:?}");
    order(&http, &offer, 1, "jonas@x.example", &slow).await.expect(201);
    house.advance(TimeDelta::minutes(15));
    assert_eq!(order(&http, &offer, 1, "ada@x.example", &slow).await.problem(), "place-used");

    // The room ends: everybody orders directly.
    festival.promoter.request("DELETE", &format!("/v1/offers/{offer}/waiting-room")).send().await.unwrap().error_for_status().unwrap();
    http.place(&key(), "ada@x.example", &[(&offer, 1)]).await.expect(201);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_room_works_without_script_and_keeps_its_place_in_a_cookie() {
    let house = House::open().await;
    let (_, offer) = room(&house, 100).await;
    let page = |path: String, cookie: String| {
        let request = house.anybody().request("GET", &path).header("accept", "text/html").header("cookie", cookie);
        async move {
            let answer = request.send().await.unwrap();
            let set: Vec<String> = answer.headers().get_all("set-cookie").iter().map(|c| c.to_str().unwrap().split(';').next().unwrap().to_owned()).collect();
            (answer.status().as_u16(), set, answer.text().await.unwrap())
        }
    };
    let (_, _, shop) = page("/f/night-ferry".to_owned(), String::new()).await;
    assert!(shop.contains(&format!("/w/{offer}")) && !shop.contains(&format!("name=\"offer-{offer}\"")), "the shop leads to the room");
    let (status, cookies, text) = page(format!("/w/{offer}"), String::new()).await;
    assert_eq!((status, cookies.len()), (200, 1), "{cookies:?}");
    assert!(text.contains("People are gathering") && text.contains("<noscript><meta http-equiv=\"refresh\""), "{text}");
    let (_, again, text) = page(format!("/w/{offer}?lang=zh"), cookies[0].clone()).await;
    // The same visitor, now counted; every look keeps the place for another day.
    let kept = again.iter().find(|c| c.starts_with("gf_place_")).unwrap_or_else(|| panic!("the place stays: {again:?}"));
    let visitor = |cookie: &str| cookie.split_once('=').unwrap().1[2..27].to_owned();
    assert!(visitor(kept) == visitor(&cookies[0]) && text.contains("大家正在集合"), "the place stays: {again:?} {cookies:?}");

    house.advance(TimeDelta::minutes(10) + TimeDelta::seconds(3));
    house.run_workers().await;
    house.run_workers().await;
    let (_, _, text) = page(format!("/w/{offer}"), cookies[0].clone()).await;
    assert!(text.contains("It is your turn") && text.contains("/f/night-ferry#offers"), "{text}");
    let (_, _, shop) = page("/f/night-ferry".to_owned(), cookies[0].clone()).await;
    assert!(shop.contains(&format!("name=\"offer-{offer}\"")), "whose turn it is may choose");
    // The other fan still is led to the room, from the same second.
    let (_, _, shop) = page("/f/night-ferry".to_owned(), String::new()).await;
    assert!(!shop.contains(&format!("name=\"offer-{offer}\"")));
    let form = format!("offer-{offer}=1&price-{offer}=13900&email=mara%40x.example");
    let post =
        |cookie: &str| house.anybody().request("POST", "/f/night-ferry/orders").header("accept", "text/html").header("cookie", cookie).body(form.clone());
    let refused = post("").send().await.unwrap();
    assert_eq!(refused.status(), 403);
    assert!(refused.text().await.unwrap().contains("There is a queue for this one"));
    let bought = post(&cookies[0]).send().await.unwrap();
    assert_eq!(bought.status(), 303, "{}", bought.text().await.unwrap());
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_moves_draws_everybody_again_and_a_pause_costs_no_turn() {
    let house = House::open().await;
    let (festival, offer) = room(&house, 100).await;
    let http = house.anybody();
    let opens = house.app.clock.now() + TimeDelta::minutes(10);
    let early = join(&http, &offer).await;
    // Paused before anybody could order: steps are taken, nobody is let in. Then the opening moves.
    festival.promoter.send("PUT", &festival.path("/pause"), &json!({ "sentence": { "en": "A moment." } })).await.expect(200);
    house.advance(TimeDelta::minutes(10));
    for _ in 0..5 {
        house.advance(TimeDelta::seconds(1));
        house.run_workers().await;
    }
    assert_eq!(turn(&http, &offer, &early).await["standing"], "waiting");
    festival.promoter.send("POST", &festival.path("/delays"), &json!({ "opens_at": opens, "minutes": 30 })).await.expect(200);
    festival.promoter.request("DELETE", &festival.path("/pause")).send().await.unwrap().error_for_status().unwrap();
    house.run_workers().await;
    let gathering = turn(&http, &offer, &early).await;
    assert!(gathering["standing"] == "gathering" && gathering["ahead"].is_null(), "{gathering}");
    let later = join(&http, &offer).await;
    house.advance(TimeDelta::minutes(30));
    house.run_workers().await;
    house.run_workers().await;
    for place in [&early, &later] {
        assert_eq!(turn(&http, &offer, place).await["standing"], "turn", "both gathered before the opening that counts");
    }
    let room = http.get(&format!("/v1/offers/{offer}/waiting-room")).await.expect(200);
    assert_eq!(room["admitted"], 2, "{room}");

    // Twenty minutes of pause in a turn of fifteen: the turn goes on after it.
    festival.promoter.send("PUT", &festival.path("/pause"), &json!({ "sentence": { "en": "A moment." } })).await.expect(200);
    for _ in 0..20 * 15 {
        house.advance(TimeDelta::seconds(4));
        house.run_workers().await;
    }
    festival.promoter.request("DELETE", &festival.path("/pause")).send().await.unwrap().error_for_status().unwrap();
    house.advance(TimeDelta::seconds(1));
    house.run_workers().await;
    order(&http, &offer, 1, "mara@x.example", &early).await.expect(201);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_basket_uses_one_place_and_a_lost_answer_is_given_again_when_the_turn_is_over() {
    let house = House::open().await;
    let (festival, offer) = room(&house, 100).await;
    let cool = festival.offer(&festival.pass("Day pass", 0b1).await, 100, 5000).await;
    open(&festival, &cool, house.app.clock.now()).await;
    let http = house.anybody();
    let (hot, mild) = (join(&http, &offer).await, join(&http, &cool).await);
    house.advance(TimeDelta::minutes(10) + TimeDelta::seconds(3));
    house.run_workers().await;
    house.run_workers().await;
    let lines = json!([{ "offer_id": cool, "quantity": 1 }, { "offer_id": offer, "quantity": 1 }]);
    let both = http.request("POST", "/v1/orders").header("idempotency-key", key()).header("waiting-place", format!("{mild},{hot}"));
    let refused = answer(both.json(&json!({ "email": "mara@x.example", "lines": lines }))).await;
    assert_eq!((refused.status, refused.body["errors"][0]["pointer"].as_str()), (422, Some("/lines/1/offer_id")), "{refused:?}");

    let placed = order(&http, &offer, 1, "mara@x.example", &hot).await.expect(201);
    house.advance(TimeDelta::minutes(20));
    // The turn is over and the bank is down: the order that was placed is answered all the same.
    let again = order(&http, &offer, 1, "mara@x.example", &hot).await.expect(201);
    assert_eq!(placed["order_id"], again["order_id"]);
    assert_eq!(order(&http, &offer, 2, "mara@x.example", &hot).await.problem(), "place-used");
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_count_one_crowd_and_let_everybody_in_once() {
    let mut pair = Pair::open("waiting", true, true).await;
    let offer = pair.festival.offer(&pair.pass, 1_000, 13900).await;
    let opens = Utc::now() + TimeDelta::seconds(4);
    pair.festival.promoter.send("PATCH", &format!("/v1/offers/{offer}"), &json!({ "opens_at": opens })).await.expect(200);
    open(&pair.festival, &offer, Utc::now()).await;
    // The other server hears of the room within a second.
    let mut places = Vec::new();
    for i in 0..60 {
        let http = pair.server(i);
        places.push(loop {
            let taken = http.post(&format!("/v1/offers/{offer}/places"), &json!({})).await;
            match taken.status {
                201 => break taken.body["place"].as_str().unwrap().to_owned(),
                _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
            assert!(Utc::now() < opens, "the room did not reach both servers before the opening");
        });
    }
    let begin = std::time::Instant::now();
    for (i, place) in places.iter().enumerate() {
        // Each asks the server that it did not come to.
        while turn(&pair.server(i + 1), &offer, place).await["standing"] != "turn" {
            assert!(begin.elapsed().as_secs() < 30, "place {i} never has its turn");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    for i in 0..2 {
        let room = pair.server(i).get(&format!("/v1/offers/{offer}/waiting-room")).await.expect(200);
        assert_eq!((&room["admitted"], &room["waiting"]), (&json!(60), &json!(0)), "{room}");
    }
    let (steps, seconds): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct date_trunc('second', at)) from waiting_steps").fetch_one(&mut pair.database).await.unwrap();
    assert!(steps > 0 && steps <= seconds + 1, "{steps} steps in {seconds} seconds: both servers moved the room");
    for (i, place) in places.iter().enumerate().take(10) {
        order(&pair.server(i), &offer, 1, &format!("fan{i}@x.example"), place).await.expect(201);
        assert_eq!(order(&pair.server(i + 1), &offer, 2, "other@x.example", place).await.problem(), "place-used");
    }
    pair.close().await;
}
