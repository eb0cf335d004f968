//! Waiting lists through the public face: who wants what is sold out waits in line, nobody passes the line by, and whoever is next is invited by an order
//! that is held for them.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Fan, Festival, answer, key},
    house::House,
    races::at_once,
};

async fn join(house: &House, offer: &str, email: &str, quantity: i64) -> Answer {
    // Who comes within a millisecond comes at once.
    house.advance(TimeDelta::milliseconds(1));
    house.anybody().post(&format!("/v1/offers/{offer}/waiting-places"), &json!({ "email": email, "quantity": quantity, "name": "Noor" })).await
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
    let request = house.anybody().request("GET", &format!("/v1/waiting-places/{id}"));
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
    let leave = house.anybody().request("POST", &format!("/v1/waiting-places/{}/departures", noor.0)).bearer_auth(format!("gf_order_{}", noor.1));
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
    let wrong = house.anybody().request("GET", &format!("/v1/waiting-places/{id}")).bearer_auth(format!("gf_order_{}", "A".repeat(26)));
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
