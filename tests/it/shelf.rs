//! Stock at its edges: windows to the millisecond, capacities that move during the sale, the second wave after holds that ended, the last units
//! of an odd number, and a herd twenty times larger than the door.

use std::process::Stdio;

use chrono::{DateTime, TimeDelta, Utc};
use gatefold::{accounts, words::Language};
use serde_json::{Value, json};
use sqlx::{Connection, postgres::PgConnection};

use crate::{
    actors::{Festival, Promoter, key},
    house::{House, fresh_database},
    races::at_once,
    servers::{Server, gatefold},
};

async fn open(house: &House) -> (Festival, String) {
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    (festival, pass)
}

/// So many fans at once, each with an order of so many units; the statuses of their answers.
async fn wave(house: &House, offer: &str, fans: usize, units: i64) -> Vec<u16> {
    at_once(fans, |n| {
        let (fan, offer) = (house.anybody(), offer.to_owned());
        async move { fan.place(&key(), &format!("fan{n}-{}@x.example", key()), &[(&offer, units)]).await.status }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_opens_and_closes_to_the_millisecond() {
    let house = House::open().await;
    let (festival, pass) = open(&house).await;
    let (opens, closes) = (house.app.clock.now() + TimeDelta::hours(1), house.app.clock.now() + TimeDelta::hours(2));
    let offer = festival
        .offer_of(json!({
            "terms": { "name": { "en": "Weekend pass" }, "opens_at": opens, "closes_at": closes }, "capacity": 100,
            "tiers": [{ "name": { "en": "Now" }, "price": { "minor": 13900, "currency": "EUR" } }],
            "components": [{ "pass_id": pass, "weight": 1, "tax_kind": "fixed", "tax_ppm": 90000 }]
        }))
        .await;
    let try_at = async |at: DateTime<Utc>| {
        house.advance(at - house.app.clock.now());
        let answer = house.anybody().place(&key(), "mara@x.example", &[(&offer, 1)]).await;
        (answer.status, answer.body["type"].as_str().map_or_else(String::new, |slug| slug.trim_start_matches("/problems/").to_owned()))
    };
    let a_moment = TimeDelta::milliseconds(1);
    assert_eq!(try_at(opens - a_moment).await, (409, "not-yet".to_owned()));
    assert_eq!(try_at(opens).await.0, 201);
    assert_eq!(try_at(closes - a_moment).await.0, 201);
    assert_eq!(try_at(closes + a_moment).await, (409, "over".to_owned()));
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capacity_moves_while_it_is_sold_and_never_below_what_is_taken() {
    let house = House::open().await;
    let (festival, pass) = open(&house).await;
    let offer = festival.offer(&pass, 10, 13900).await;
    let offers = festival.promoter.get(&festival.path("/offers")).await.expect(200);
    let stock = format!("/v1/stocks/{}", offers["items"][0]["stock_id"].as_str().unwrap());
    house.anybody().order("paid@x.example", &[(&offer, 4)]).await.pay(&key(), "simulated_instant").await.expect(201);
    house.anybody().order("held@x.example", &[(&offer, 3)]).await;
    let refused = festival.promoter.send("PUT", &stock, &json!({ "capacity": 6 })).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    let said = refused.body["detail"].as_str().unwrap().to_owned();
    assert!(said.contains("3 are held and 4 sold"), "{said}");
    assert_eq!(festival.stock(&offer).await, (3, 4));
    // Down to what is taken is possible: sold out; and up again, live.
    festival.promoter.send("PUT", &stock, &json!({ "capacity": 7 })).await.expect(200);
    let late = house.anybody().place(&key(), "late@x.example", &[(&offer, 1)]).await;
    assert_eq!((late.problem(), &late.body["availability"]), ("sold-out", &json!("held_out")));
    // Buyers and a promoter at once: whatever order they come in, never more is taken than there is.
    let buying = wave(&house, &offer, 24, 1);
    let moving = async {
        for capacity in [12, 9, 13, 10, 8, 14] {
            let moved = festival.promoter.send("PUT", &stock, &json!({ "capacity": capacity })).await;
            assert!(matches!(moved.status, 200 | 409), "{}", moved.body);
        }
    };
    let (bought, ()) = tokio::join!(buying, moving);
    let taken = bought.iter().filter(|status| **status == 201).count();
    assert!(bought.iter().all(|status| matches!(status, 201 | 409)), "{bought:?}");
    let (held, sold) = festival.stock(&offer).await;
    assert_eq!((held, sold), (3 + i64::try_from(taken).unwrap(), 4));
    assert!(held + sold <= 14);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_of_holds_that_ended_are_sold_in_a_second_wave_to_the_last_one() {
    let house = House::open().await;
    let (festival, pass) = open(&house).await;
    let offer = festival.offer(&pass, 10, 13900).await;
    // Three fours for ten: two are held, the third is told, and the two that are left can be had.
    let fours = wave(&house, &offer, 3, 4).await;
    assert_eq!(fours.iter().filter(|status| **status == 201).count(), 2, "{fours:?}");
    house.anybody().order("two@x.example", &[(&offer, 2)]).await;
    assert_eq!(festival.stock(&offer).await, (10, 0));
    house.advance(TimeDelta::minutes(12));
    house.run_workers().await;
    assert_eq!(festival.stock(&offer).await, (0, 0));
    let second = wave(&house, &offer, 40, 1).await;
    assert_eq!(second.iter().filter(|status| **status == 201).count(), 10, "{second:?}");
    assert!(second.iter().all(|status| matches!(status, 201 | 409)), "{second:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_herd_twenty_times_larger_than_the_door_gets_clear_answers_and_the_house_is_itself_afterwards() {
    let owner = fresh_database("shelf_herd").await;
    let mut database = PgConnection::connect_with(&owner).await.unwrap();
    let invited = accounts::invite(&mut database, "Night Ferry Foundation", "owner@ferry.example", Language::En, Utc::now()).await.unwrap();
    let server = Server::start("shelf-herd", &owner, true).await;
    let festival = Promoter { http: server.anybody(), token: invited.token }.festival("night-ferry").await;
    let pass = festival.pass("Night pass", 0b111).await;
    festival.offer(&pass, 20_000, 13900).await;
    let play = async |fans: &str, rate: &str| {
        let all = [
            "rehearse",
            "--server",
            &server.url[7..],
            "--festival",
            "night-ferry",
            "--rehearsal",
            "--unruly",
            "20",
            "--scans",
            "100",
            "--json",
            "--connections",
            "1500",
            "--fans",
            fans,
            "--rate",
            rate,
        ];
        let mut command = gatefold("herding", &owner, &all);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let report: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&done.stderr)));
        assert!(done.status.success(), "{report:#}");
        report
    };
    // All of them within a fifth of a second; what is shed is asked again with the same key, and everybody has an answer in the end.
    let herd = play("4000", "20000").await;
    assert_eq!((&herd["unexpected"], &herd["breaches"], &herd["differences"]), (&json!(0), &json!(0), &json!([])), "{herd:#}");
    assert!(herd["offered_per_second"].as_f64().unwrap() > 2.0 * herd["sales_per_second"].as_f64().unwrap(), "the herd was no herd: {herd:#}");
    // Afterwards it is as quick as ever.
    let calm = play("300", "100").await;
    assert!(calm["place_ms"][1].as_f64().unwrap() < 250.0, "{calm:#}");
}
