//! Stripe, against localstripe (written by somebody else) and a stand-in for what it lacks, which refuses parameters that the types of Stripe's SDK do not
//! know: money that is told of, found by asking, late, wrong, lost on its way; refunds; keys and secrets.

use std::{process::Stdio, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::HEXLOWER;
use gatefold::payments::comparison::compare_due;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    actors::{Answer, Fan, Festival, Promoter, answer, key},
    browser::scene,
    control::signed_in,
    faults::until,
    house::House,
    mail::python,
    races::at_once,
    refunds::refund,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/stand_in.py");
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/stripe-fixtures.json");
/// A key of the account `acct_NIGHT`.
pub const KEY: &str = "sk_test_NIGHT_51Habcdefgh";
pub const SECRET: &str = "whsec_nightferrynightferry";
/// How long localstripe may take to tell: it waits a second before it does.
const TOLD: Duration = Duration::from_secs(20);

/// Stripe.
pub struct Stripe {
    pub url: String,
    http: reqwest::Client,
    _server: Child,
}

impl Stripe {
    /// Starts it at a moment.
    pub async fn open(now: DateTime<Utc>) -> Self {
        let mut server = Command::new(python());
        let mut server =
            server.args([SCRIPT, FIXTURES]).arg(now.timestamp().to_string()).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let port = BufReader::new(server.stdout.take().unwrap()).lines().next_line().await.unwrap().expect("the stand-in of Stripe; run tests/run");
        Self { url: format!("http://127.0.0.1:{port}"), http: crate::house::http().build().unwrap(), _server: server }
    }

    async fn post(&self, path: &str, body: &Value) -> String {
        let done = self.http.post(format!("{}{path}", self.url)).json(body).send().await.unwrap();
        let (status, text) = (done.status(), done.text().await.unwrap());
        assert!(status.is_success(), "{path}: {text}");
        text
    }

    /// Changes how it answers about sessions or refunds.
    async fn mood(&self, part: &str, mood: &str) {
        self.post("/_mood", &json!({ part: mood })).await;
    }

    async fn told(&self) -> Value {
        self.http.get(format!("{}/_told", self.url)).send().await.unwrap().json().await.unwrap()
    }

    /// The sessions that there are.
    async fn sessions(&self) -> Vec<Value> {
        self.told().await["sessions"].as_array().unwrap().clone()
    }

    /// The session of a payment.
    async fn session_of(&self, payment: &Value) -> String {
        let sessions = self.sessions().await;
        let mine: Vec<_> = sessions.iter().filter(|session| session["metadata"]["payment_id"] == payment["payment_id"]).collect();
        assert_eq!(mine.len(), 1, "a payment has one session: {sessions:#?}");
        mine[0]["id"].as_str().unwrap().to_owned()
    }

    /// Somebody pays, or leaves.
    async fn act(&self, session: &str, act: &str, amount: Option<i64>) {
        self.post("/_act", &json!({ "session": session, "act": act, "amount": amount })).await;
    }

    /// Somebody tries a card that is declined.
    async fn decline(&self, session: &str) {
        let tried = self.http.post(format!("{}/_act", self.url)).json(&json!({ "session": session, "act": "decline" })).send().await.unwrap();
        assert_eq!(tried.status(), 402);
    }

    /// Lets it tell a door what happens.
    async fn tells(&self, account: &Value, secret: &str) {
        let body = json!({ "url": account["notification_url"], "secret": secret });
        self.post(&format!("/_config/webhooks/{}", account["account_id"].as_str().unwrap()), &body).await;
    }
}

/// A house with a festival that is paid by Stripe.
struct World {
    stripe: Stripe,
    house: House,
    festival: Festival,
    offer: String,
    account: Value,
}

impl World {
    async fn open(capacity: i64) -> Self {
        let stripe = Stripe::open(crate::house::opening()).await;
        let house = House::with_stripe(&stripe.url).await;
        let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
        let pass = festival.pass("Weekend pass", 0b111).await;
        let offer = festival.offer(&pass, capacity, 13_900).await;
        let account = connect(&festival.promoter, KEY).await.expect(200);
        Self { stripe, house, festival, offer, account }
    }

    /// An order, and its payment that waits at Stripe.
    async fn begun(&self) -> (Fan, Value, String) {
        let fan = self.house.anybody().order("mara@lindqvist.example", &[(&self.offer, 1)]).await;
        let payment = fan.pay(&key(), "stripe").await.expect(201);
        assert_eq!(payment["status"], "submitted", "{payment}");
        let session = self.stripe.session_of(&payment).await;
        (fan, payment, session)
    }

    /// An order that is paid by Stripe.
    async fn bought(&self) -> Fan {
        let (fan, payment, session) = self.begun().await;
        self.stripe.act(&session, "pay", None).await;
        assert_eq!(self.come_back(&payment).await, 303);
        assert_eq!(fan.status().await, "paid");
        fan
    }

    /// The buyer comes back from the page of the bank.
    async fn come_back(&self, payment: &Value) -> u16 {
        let sessions = self.stripe.sessions().await;
        let session = sessions.iter().find(|session| session["metadata"]["payment_id"] == payment["payment_id"]).unwrap();
        let back = session["success_url"].as_str().unwrap().trim_start_matches(&self.house.url).to_owned();
        self.house.anybody().request("GET", &back).send().await.unwrap().status().as_u16()
    }

    /// Moves the clocks of the house and of Stripe.
    async fn advance(&self, by: TimeDelta) {
        self.house.advance(by);
        self.stripe.post("/_time", &json!(by.num_seconds())).await;
    }

    async fn payments(&self, fan: &Fan) -> Vec<String> {
        let items = fan.get("/payments").await.expect(200)["items"].as_array().unwrap().clone();
        // Sorted: ids of one moment of a clock that stands have no order.
        let mut states: Vec<String> = items.iter().map(|payment| payment["status"].as_str().unwrap().to_owned()).collect();
        states.sort();
        states
    }

    async fn refunds(&self, fan: &Fan) -> Vec<(String, i64)> {
        let items = fan.get("/refunds").await.expect(200)["items"].as_array().unwrap().clone();
        let mut states: Vec<_> = items.iter().map(|r| (r["status"].as_str().unwrap().to_owned(), r["amount"]["minor"].as_i64().unwrap())).collect();
        states.sort();
        states
    }

    /// What Stripe has given back.
    async fn back(&self) -> Vec<(String, i64)> {
        let list: Value =
            self.stripe.http.get(format!("{}/v1/refunds?limit=100", self.stripe.url)).bearer_auth(KEY).send().await.unwrap().json().await.unwrap();
        list["data"].as_array().unwrap().iter().map(|r| (r["status"].as_str().unwrap().to_owned(), r["amount"].as_i64().unwrap())).collect()
    }
}

/// Connects Stripe.
pub async fn connect(promoter: &Promoter, key: &str) -> Answer {
    promoter.send("PUT", "/v1/payment-accounts/stripe", &json!({ "key": key, "methods": ["card", "alipay", "wechat_pay"] })).await
}

/// Signs what Stripe tells at a moment.
pub fn sign(secret: &str, at: DateTime<Utc>, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{}.{body}", at.timestamp()).as_bytes());
    format!("t={},v1={}", at.timestamp(), HEXLOWER.encode(&mac.finalize().into_bytes()))
}

/// Tells a door what Stripe would, signed at a moment.
async fn tell(house: &House, door: &Value, secret: &str, at: DateTime<Utc>, event: &str) -> Answer {
    let signature = sign(secret, at, event);
    let path = door.as_str().unwrap().trim_start_matches(&house.url).to_owned();
    let told = house.anybody().request("POST", &path).header("content-type", "application/octet-stream").header("stripe-signature", signature);
    answer(told.body(event.to_owned())).await
}

/// What Stripe says when a session was paid.
fn paid(id: &str, payment: &Value, amount: i64) -> String {
    let session = json!({
        "id": "cs_test_a", "object": "checkout.session", "status": "complete", "payment_status": "paid", "amount_total": amount, "currency": "eur",
        "metadata": { "payment_id": payment["payment_id"] }
    });
    json!({ "id": id, "object": "event", "type": "checkout.session.completed", "data": { "object": session } }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_told_of_seen_by_who_comes_back_and_found_by_asking() {
    let world = World::open(10).await;
    let path = format!("/v1/payment-accounts/{}/webhook-secrets", world.account["account_id"].as_str().unwrap());
    world.festival.promoter.send("POST", &path, &json!({ "secret": SECRET })).await.expect(200);

    // The buyer comes back; nobody told us.
    let (fan, payment, session) = world.begun().await;
    assert_eq!(fan.status().await, "held");
    world.stripe.decline(&session).await;
    assert_eq!(world.come_back(&payment).await, 303);
    assert_eq!((fan.status().await.as_str(), fan.tickets().await.len()), ("held", 0), "a card that was declined is no end: another one may be tried");
    world.house.advance(TimeDelta::seconds(3));
    world.stripe.act(&session, "pay", None).await;
    assert_eq!(world.come_back(&payment).await, 303);
    assert_eq!((fan.status().await.as_str(), fan.tickets().await.len()), ("paid", 1));

    // The buyer never comes back; Stripe is asked within a minute.
    let (fan, _, session) = world.begun().await;
    world.stripe.act(&session, "pay", None).await;
    world.house.run_workers().await;
    assert_eq!(fan.status().await, "held");
    world.advance(TimeDelta::seconds(46)).await;
    world.house.run_workers().await;
    assert_eq!((fan.status().await.as_str(), fan.tickets().await.len()), ("paid", 1));

    // Stripe tells: of the session and of the payment intent, and one of them is enough.
    world.stripe.tells(&world.account, SECRET).await;
    let (fan, _, session) = world.begun().await;
    world.stripe.act(&session, "pay", None).await;
    until("what Stripe tells", TOLD, async || fan.status().await == "paid").await;
    assert_eq!(fan.tickets().await.len(), 1);
    world.house.run_workers().await;
    assert_eq!(world.festival.stock(&world.offer).await, (0, 3));
    assert_eq!(world.house.emails().iter().filter(|email| email.subject == "Your tickets for Night Ferry").count(), 3);
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_payment_is_one_session_however_often_it_is_asked_for_and_whatever_gets_lost() {
    let world = World::open(20).await;
    // Four clicks, one key.
    let fan = world.house.anybody().order("mara@lindqvist.example", &[(&world.offer, 1)]).await;
    let same = key();
    let clicks = at_once(4, |_| {
        let (fan, same) = (fan.clone(), same.clone());
        async move { fan.pay(&same, "stripe").await }
    })
    .await;
    assert!(clicks.iter().all(|click| click.status == 201), "{clicks:?}");
    world.stripe.session_of(&clicks[0].body).await;
    // Another key while that one is open.
    assert_eq!(fan.pay(&key(), "stripe").await.problem(), "payment-open");

    // An answer is lost, none comes, or it is not Stripe's: nobody knows, the hold stays, and the next question finds or makes the one session.
    for mood in ["lost", "down", "nonsense"] {
        world.stripe.mood("sessions", mood).await;
        let fan = world.house.anybody().order("mara@lindqvist.example", &[(&world.offer, 1)]).await;
        let payment = fan.pay(&key(), "stripe").await.expect(201);
        assert_eq!((&payment["status"], &payment["redirect_url"], fan.status().await.as_str()), (&json!("unknown"), &Value::Null, "held"), "{mood}");
        world.stripe.mood("sessions", "").await;
        world.advance(TimeDelta::seconds(46)).await;
        world.house.run_workers().await;
        let found = fan.get("/payments").await.expect(200)["items"][0].clone();
        assert_eq!((&found["status"], found["redirect_url"].is_string()), (&json!("submitted"), true), "{mood}");
        world.stripe.act(&world.stripe.session_of(&payment).await, "pay", None).await;
        world.house.advance(TimeDelta::seconds(3));
        assert_eq!(world.come_back(&payment).await, 303);
        assert_eq!((fan.status().await.as_str(), fan.tickets().await.len()), ("paid", 1), "{mood}");
    }

    // Stripe refuses to begin: that is no silence. The payment failed, and the order can be paid otherwise.
    let pass = world.festival.pass("Sticker", 0b111).await;
    let cheap = world.festival.offer(&pass, 10, 30).await;
    let fan = world.house.anybody().order("mara@lindqvist.example", &[(&cheap, 1)]).await;
    let payment = fan.pay(&key(), "stripe").await.expect(201);
    assert_eq!((&payment["status"], payment["reason"].as_str().unwrap().contains("amount_too_small")), (&json!("failed"), true), "{payment}");
    fan.pay(&key(), "simulated_instant").await.expect(201);
    assert_eq!((world.payments(&fan).await, fan.status().await.as_str()), (vec!["captured".to_owned(), "failed".to_owned()], "paid"));
    world.house.run_workers().await;
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stripe_keeps_an_order_for_an_hour_and_no_longer_and_its_money_is_late_money() {
    let world = World::open(2).await;
    let (kept, _, session) = world.begun().await;
    let (gone, _, late) = world.begun().await;
    assert_eq!(world.house.anybody().place(&key(), "noor@haddad.example", &[(&world.offer, 1)]).await.problem(), "sold-out");
    world.stripe.mood("sessions", "down").await;
    for minutes in [16, 43] {
        world.advance(TimeDelta::minutes(minutes)).await;
        world.house.run_workers().await;
        assert_eq!((kept.status().await.as_str(), world.payments(&kept).await), ("held", vec!["submitted".to_owned()]), "nobody knows, so it is kept");
    }
    world.advance(TimeDelta::minutes(2)).await;
    world.house.run_workers().await;
    world.house.run_workers().await;
    assert_eq!((kept.status().await.as_str(), world.payments(&kept).await), ("expired", vec!["cancelled".to_owned()]), "an hour is over");
    assert_eq!(world.festival.stock(&world.offer).await, (0, 0));
    // Meanwhile both were paid. One finds its stock again, the other one does not.
    world.stripe.mood("sessions", "").await;
    world.stripe.act(&session, "pay", None).await;
    world.stripe.act(&late, "pay", None).await;
    let noor = world.house.anybody().order("noor@haddad.example", &[(&world.offer, 1)]).await;
    noor.pay(&key(), "simulated_instant").await.expect(201);
    world.advance(TimeDelta::minutes(11)).await;
    for _ in 0..3 {
        world.house.run_workers().await;
        world.advance(TimeDelta::seconds(30)).await;
    }
    let mut ends = [kept.status().await, gone.status().await];
    ends.sort();
    assert_eq!((ends, world.festival.stock(&world.offer).await), (["paid".to_owned(), "unfulfillable".to_owned()], (0, 2)));
    assert_eq!(world.back().await, [("succeeded".to_owned(), 13_900)], "the other one has the money back");
    assert_eq!(kept.tickets().await.len() + gone.tickets().await.len(), 1);
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_their_mind_pays_another_way_and_what_was_left_open_ends() {
    let world = World::open(5).await;
    // Given up on the page of the order: its session ends there, and another one begins.
    let (fan, _, session) = world.begun().await;
    let page = format!("/o/{}/{}", fan.order, fan.secret);
    let gave_up = world.house.anybody().request("POST", &format!("{page}/payments/gave-up")).send().await.unwrap();
    assert_eq!((gave_up.status().as_u16(), world.payments(&fan).await), (303, vec!["failed".to_owned()]));
    assert_eq!(world.stripe.sessions().await.iter().find(|s| s["id"] == session.as_str()).unwrap()["status"], "expired");
    let payment = fan.pay(&key(), "stripe").await.expect(201);
    // Paid in one tab while another one gives up: it is paid.
    world.stripe.act(&world.stripe.session_of(&payment).await, "pay", None).await;
    world.house.anybody().request("POST", &format!("{page}/payments/gave-up")).send().await.unwrap();
    assert_eq!((fan.status().await.as_str(), fan.tickets().await.len(), world.payments(&fan).await.len()), ("paid", 1, 2));

    // Left open: after a quarter of an hour the session is ended and the order expires.
    let (left, _, session) = world.begun().await;
    world.advance(TimeDelta::minutes(16)).await;
    world.house.run_workers().await;
    world.house.run_workers().await;
    assert_eq!((left.status().await.as_str(), world.payments(&left).await), ("expired", vec!["failed".to_owned()]));
    assert_eq!(world.stripe.sessions().await.iter().find(|s| s["id"] == session.as_str()).unwrap()["status"], "expired");
    assert_eq!(world.festival.stock(&world.offer).await, (0, 1));
    // The address that Stripe has is good for a day and for this payment only.
    let back = world.stripe.sessions().await[0]["success_url"].as_str().unwrap().trim_start_matches(&world.house.url).to_owned();
    let get = async |path: &str| world.house.anybody().request("GET", path).send().await.unwrap().status().as_u16();
    let other = world.stripe.sessions().await[1]["success_url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let mixed = format!("{}/{other}", back.rsplit_once('/').unwrap().0);
    assert_eq!((get(&back).await, get(&back[..back.len() - 1]).await, get(&mixed).await), (303, 404, 404));
    world.advance(TimeDelta::days(1)).await;
    assert_eq!(get(&back).await, 404);
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_amount_than_was_asked_for_goes_back_whole() {
    let world = World::open(5).await;
    let (fan, payment, session) = world.begun().await;
    world.stripe.act(&session, "pay", Some(13_901)).await;
    world.come_back(&payment).await;
    assert_eq!((fan.status().await.as_str(), fan.tickets().await.len(), world.refunds(&fan).await), ("held", 0, vec![("requested".to_owned(), 13_901)]));
    world.house.run_workers().await;
    assert_eq!((world.refunds(&fan).await, world.back().await), (vec![("done".to_owned(), 13_901)], vec![("succeeded".to_owned(), 13_901)]));
    // The right amount is paid; then the bank disputes the wrong one, which went back: nothing else of the order is touched.
    let right = fan.pay(&key(), "stripe").await.expect(201);
    world.stripe.act(&world.stripe.session_of(&right).await, "pay", None).await;
    world.house.advance(TimeDelta::seconds(3));
    world.come_back(&right).await;
    assert_eq!(fan.status().await, "paid");
    let path = format!("/v1/payment-accounts/{}/webhook-secrets", world.account["account_id"].as_str().unwrap());
    world.festival.promoter.send("POST", &path, &json!({ "secret": SECRET })).await.expect(200);
    let intent = world.stripe.sessions().await.iter().find(|s| s["id"] == session.as_str()).unwrap()["payment_intent"].clone();
    let object = json!({ "id": "dp_1", "object": "dispute", "status": "needs_response", "amount": 13_900, "currency": "eur", "payment_intent": intent });
    let event = json!({ "id": "evt_dp", "object": "event", "type": "charge.dispute.created", "data": { "object": object } }).to_string();
    tell(&world.house, &world.account["notification_url"], SECRET, world.house.app.clock.now(), &event).await.expect(200);
    assert_eq!((world.refunds(&fan).await, fan.tickets().await[0]["status"].as_str()), (vec![("done".to_owned(), 13_901)], Some("valid")));
    world.house.run_workers().await;
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_one_promoter_that_works_no_more_stops_nobody_elses_sale() {
    let world = World::open(20).await;
    world.stripe.mood("sessions", "revoked").await;
    for n in 0..8 {
        let fan = world.house.anybody().order(&format!("fan{n}@x.example"), &[(&world.offer, 1)]).await;
        assert_eq!(fan.pay(&key(), "stripe").await.expect(201)["status"], "unknown");
    }
    // Its own negative control: a provider that does not answer stops the sale, because nobody could pay.
    world.stripe.mood("sessions", "down").await;
    let mut fans = Vec::new();
    for n in 0..5 {
        fans.push(world.house.anybody().order(&format!("late{n}@x.example"), &[(&world.offer, 1)]).await);
    }
    for fan in &fans {
        fan.pay(&key(), "stripe").await.expect(201);
    }
    assert_eq!(world.house.anybody().place(&key(), "noor@haddad.example", &[(&world.offer, 1)]).await.problem(), "payments-down");
    world.stripe.mood("sessions", "").await;
    world.advance(TimeDelta::minutes(16)).await;
    world.house.run_workers().await;
    world.house.run_workers().await;
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_reach_stripe_once_in_parts_late_refused_and_sent_back() {
    let world = World::open(10).await;
    let (promoter, done, failed) = (&world.festival.promoter, "done".to_owned(), "failed".to_owned());
    let again = async |fan: &Fan| {
        world.advance(TimeDelta::hours(1)).await;
        world.house.run_workers().await;
        world.refunds(fan).await
    };
    let all = json!({ "reason": "asked" });

    // In parts, then the rest. What Stripe gave back is what we say.
    let fan = world.bought().await;
    let part = json!({ "reason": "goodwill", "parts": [{ "line_no": 1, "amount": { "minor": 900, "currency": "EUR" } }], "note": "rain" });
    refund(promoter, &fan.order, &key(), &part).await.expect(201);
    world.house.run_workers().await;
    refund(promoter, &fan.order, &key(), &all).await.expect(201);
    world.house.run_workers().await;
    assert_eq!((world.refunds(&fan).await, fan.status().await.as_str()), (vec![(done.clone(), 900), (done.clone(), 13_000)], "refunded"));

    // The answer is lost, for longer than Stripe keeps the keys of calls: the refund is found there.
    let fan = world.bought().await;
    world.stripe.mood("refunds", "lost").await;
    refund(promoter, &fan.order, &key(), &all).await.expect(201);
    world.house.run_workers().await;
    assert_eq!(world.refunds(&fan).await, [("submitted".to_owned(), 13_900)]);
    world.stripe.post("/_forget", &json!({})).await;
    world.stripe.mood("refunds", "").await;
    assert_eq!(again(&fan).await, [(done.clone(), 13_900)]);

    // Down, then without funds, then there.
    let fan = world.bought().await;
    refund(promoter, &fan.order, &key(), &all).await.expect(201);
    for (mood, state) in [("down", "submitted"), ("no_funds", "waiting_for_funds"), ("", "done")] {
        world.stripe.mood("refunds", mood).await;
        assert_eq!(again(&fan).await, [(state.to_owned(), 13_900)], "{mood}");
    }

    // Taken and decided later, by a message; then the bank of the fan sends it back, and an old message changes nothing.
    let path = format!("/v1/payment-accounts/{}/webhook-secrets", world.account["account_id"].as_str().unwrap());
    promoter.send("POST", &path, &json!({ "secret": SECRET })).await.expect(200);
    let fan = world.bought().await;
    world.stripe.mood("refunds", "pending").await;
    refund(promoter, &fan.order, &key(), &all).await.expect(201);
    world.house.run_workers().await;
    assert_eq!(world.refunds(&fan).await, [("submitted".to_owned(), 13_900)]);
    world.stripe.mood("refunds", "").await;
    let list = fan.get("/refunds").await.expect(200);
    let mine = list["items"][0]["refund_id"].clone();
    let sent: Value = world.stripe.http.get(format!("{}/v1/refunds?limit=100", world.stripe.url)).bearer_auth(KEY).send().await.unwrap().json().await.unwrap();
    let there = sent["data"].as_array().unwrap().iter().find(|r| r["metadata"]["refund_id"] == mine).unwrap().clone();
    let event = |id: &str, status: &str| {
        let object = json!({ "id": there["id"], "object": "refund", "status": status, "metadata": there["metadata"] });
        json!({ "id": id, "object": "event", "type": "refund.updated", "data": { "object": object } }).to_string()
    };
    let (door, now) = (&world.account["notification_url"], || world.house.app.clock.now());
    tell(&world.house, door, SECRET, now(), &event("evt_early", "succeeded")).await.expect(200);
    assert_eq!(world.refunds(&fan).await, [("submitted".to_owned(), 13_900)], "a message is no money: Stripe is asked");
    world.stripe.tells(&world.account, SECRET).await;
    world.stripe.post("/_act", &json!({ "refund": there["id"], "status": "succeeded" })).await;
    until("what Stripe tells of a refund", TOLD, async || world.refunds(&fan).await == [(done.clone(), 13_900)]).await;
    world.stripe.post("/_act", &json!({ "refund": there["id"], "status": "failed", "reason": "lost_or_stolen_card" })).await;
    until("what Stripe tells of a refund", TOLD, async || world.refunds(&fan).await == [(failed.clone(), 13_900)]).await;
    tell(&world.house, door, SECRET, now(), &event("evt_old", "succeeded")).await.expect(200);
    assert_eq!(world.refunds(&fan).await, [(failed, 13_900)]);
    let decision = format!("/v1/refunds/{}/decisions", mine.as_str().unwrap());
    promoter.send("POST", &decision, &json!({ "decision": "again", "note": "another card" })).await.expect(200);
    assert_eq!(again(&fan).await, [(done, 13_900)]);

    let mut back = world.back().await;
    back.sort();
    let mut want: Vec<_> = [900, 13_000, 13_900, 13_900, 13_900].into_iter().map(|minor| ("succeeded".to_owned(), minor)).collect();
    want.push(("failed".to_owned(), 13_900));
    want.sort();
    assert_eq!(back, want);
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_wrong_late_or_for_another_account_changes_nothing() {
    let world = World::open(5).await;
    let promoter = &world.festival.promoter;
    let secrets = format!("/v1/payment-accounts/{}/webhook-secrets", world.account["account_id"].as_str().unwrap());
    let (fan, payment, _) = world.begun().await;
    let (door, now) = (world.account["notification_url"].clone(), world.house.app.clock.now());
    let event = paid("evt_1", &payment, 13_900);

    // Without a secret nothing is believed.
    assert_eq!(tell(&world.house, &door, "", now, &event).await.problem(), "bad-signature");
    let one = promoter.send("POST", &secrets, &json!({ "secret": SECRET })).await.expect(200);
    assert_eq!((one["webhook_secrets"].as_array().unwrap().len(), &one["webhook_secrets"][0]["hint"]), (1, &json!("erry")));
    for (secret, at, why) in [
        ("whsec_of_somebody_else", now, "another secret"),
        (SECRET, now - TimeDelta::seconds(301), "old"),
        (SECRET, now + TimeDelta::seconds(301), "from the future"),
    ] {
        assert_eq!(tell(&world.house, &door, secret, at, &event).await.problem(), "bad-signature", "{why}");
    }
    let bare =
        world.house.anybody().request("POST", door.as_str().unwrap().trim_start_matches(&world.house.url)).header("content-type", "application/octet-stream");
    assert_eq!(answer(bare.body(event.clone())).await.problem(), "bad-signature");
    for (body, problem) in
        [("{}", "malformed"), ("[", "malformed"), (r#"{"id": "", "type": "checkout.session.completed", "data": {"object": {}}}"#, "malformed")]
    {
        assert_eq!(tell(&world.house, &door, SECRET, now, body).await.problem(), problem, "{body}");
    }
    assert_eq!(tell(&world.house, &door, SECRET, now, &format!("{}{}", event, " ".repeat(300_000))).await.status, 413);
    // The account of another promoter, with a secret of its own, has no say; neither has a door that does not exist.
    let other = world.house.promoter("Foxhole").await;
    let theirs = connect(&other, "sk_test_FOX_51Habcdefgh").await.expect(200);
    let path = format!("/v1/payment-accounts/{}/webhook-secrets", theirs["account_id"].as_str().unwrap());
    other.send("POST", &path, &json!({ "secret": "whsec_foxholefoxhole" })).await.expect(200);
    tell(&world.house, &theirs["notification_url"], "whsec_foxholefoxhole", now, &event).await.expect(200);
    assert_eq!(tell(&world.house, &door, "whsec_foxholefoxhole", now, &event).await.problem(), "bad-signature");
    let nowhere = json!(format!("{}/v1/payment-notifications/stripe/{}", world.house.url, payment["payment_id"].as_str().unwrap()));
    assert_eq!(tell(&world.house, &nowhere, SECRET, now, &event).await.problem(), "bad-signature");
    // What is not ours to know is taken and passed by.
    for foreign in [
        json!({ "id": "evt_2", "type": "customer.created", "data": { "object": {} } }),
        json!({ "id": "evt_3", "type": "checkout.session.completed", "data": { "object": { "id": "cs_x", "payment_status": "paid", "metadata": {} } } }),
        json!({ "id": "evt_4", "type": "payment_intent.succeeded", "data": { "object": { "status": "succeeded", "metadata": { "payment_id": "none of ours" } } } }),
        json!({ "id": "evt_5", "type": "payment_intent.payment_failed", "data": { "object": { "metadata": { "payment_id": payment["payment_id"] } } } }),
    ] {
        tell(&world.house, &door, SECRET, now, &foreign.to_string()).await.expect(200);
    }
    assert_eq!((fan.status().await.as_str(), world.payments(&fan).await), ("held", vec!["submitted".to_owned()]));

    // A secret takes the place of another: both are believed until the old one is removed; there are three at most.
    promoter.send("POST", &secrets, &json!({ "secret": "whsec_itssuccessor0000" })).await.expect(200);
    promoter.send("POST", &secrets, &json!({ "secret": "whsec_itssuccessor0000" })).await.expect(200);
    let three = promoter.send("POST", &secrets, &json!({ "secret": "whsec_amistake000000" })).await.expect(200);
    assert_eq!(three["webhook_secrets"].as_array().unwrap().len(), 3);
    assert_eq!(promoter.send("POST", &secrets, &json!({ "secret": "whsec_onetoomany0000" })).await.problem(), "conflict");
    promoter.send("DELETE", &format!("{secrets}/1"), &json!({})).await.expect(200);
    assert_eq!(tell(&world.house, &door, SECRET, now, &event).await.problem(), "bad-signature");
    // Told twenty times at once it is paid once.
    let told = at_once(20, |_| {
        let (app, http, door, event) = (world.house.app.clone(), world.house.anybody(), door.clone(), event.clone());
        async move {
            let signature = sign("whsec_itssuccessor0000", app.clock.now(), &event);
            let path = door.as_str().unwrap().trim_start_matches(&http.url).to_owned();
            answer(http.request("POST", &path).header("content-type", "application/octet-stream").header("stripe-signature", signature).body(event))
                .await
                .status
        }
    })
    .await;
    assert!(told.iter().all(|status| *status == 200), "{told:?}");
    assert_eq!((fan.status().await.as_str(), fan.tickets().await.len()), ("paid", 1));
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_tried_before_it_is_kept_and_stays_with_what_it_took() {
    let world = World::open(10).await;
    let promoter = &world.festival.promoter;
    for (key, place) in [
        ("pk_test_NIGHT_51Habcdefgh", "secret or restricted"),
        ("sk_test_NIGHT_revoked0", "does not know"),
        ("rk_test_NIGHT_forbidden", "may not read"),
        ("sk_live_idle_51Habcdefgh", "cannot take payments"),
    ] {
        let refused = connect(promoter, key).await;
        assert_eq!((refused.status, refused.body["errors"][0]["pointer"].as_str()), (422, Some("/key")), "{key}");
        assert!(refused.body["errors"][0]["reason"].as_str().unwrap().contains(place), "{}", refused.body);
    }
    assert_eq!(promoter.send("PUT", "/v1/payment-accounts/stripe", &json!({ "key": KEY, "methods": [] })).await.status, 422);
    world.stripe.mood("rest", "down").await;
    assert_eq!(connect(promoter, KEY).await.status, 503);
    world.stripe.mood("rest", "").await;

    // Another key of the same account is the same account; another account takes its place and leaves the old one what it took.
    let fan = world.bought().await;
    let same = connect(promoter, "rk_test_NIGHT_restricted1").await.expect(200);
    assert_eq!((&same["account_id"], &same["key_hint"]), (&world.account["account_id"], &json!("ted1")));
    let next = connect(promoter, "sk_test_FERRY_51Habcdefgh").await.expect(200);
    assert_ne!(next["account_id"], world.account["account_id"]);
    let list = promoter.get("/v1/payment-accounts").await.expect(200);
    let listed: Vec<_> = list["items"].as_array().unwrap().iter().map(|a| (a["external_ref"].as_str().unwrap(), a["disconnected_at"].is_string())).collect();
    assert_eq!(listed, [("acct_FERRY", false), ("acct_NIGHT", true)]);
    refund(promoter, &fan.order, &key(), &json!({ "reason": "asked" })).await.expect(201);
    world.house.run_workers().await;
    assert_eq!((world.refunds(&fan).await, fan.status().await.as_str()), (vec![("done".to_owned(), 13_900)], "refunded"));
    let (_, _, session) = world.begun().await;
    world.stripe.act(&session, "expire", None).await;

    // A live key never pays a house that plays, and nothing pays where nothing is connected.
    connect(promoter, "sk_live_NIGHT_51Habcdefgh").await.expect(200);
    let order = world.house.anybody().order("mara@lindqvist.example", &[(&world.offer, 1)]).await;
    assert_eq!(order.pay(&key(), "stripe").await.status, 422);
    let back = connect(promoter, KEY).await.expect(200);
    assert_eq!(back["account_id"], world.account["account_id"], "it is connected again");
    for _ in 0..2 {
        promoter.send("POST", &format!("/v1/payment-accounts/{}/disconnections", back["account_id"].as_str().unwrap()), &json!({})).await.expect(200);
    }
    assert_eq!(order.pay(&key(), "stripe").await.status, 422);
    // Nobody else sees or changes it, and no answer has a key.
    let other = world.house.promoter("Foxhole").await;
    let path = format!("/v1/payment-accounts/{}/disconnections", back["account_id"].as_str().unwrap());
    assert_eq!(other.send("POST", &path, &json!({})).await.status, 404);
    assert!(other.get("/v1/payment-accounts").await.expect(200)["items"].as_array().unwrap().is_empty());
    assert!(!list.to_string().contains("51Habcdefgh"), "{list}");
    let mut conn = world.house.database().await;
    let acts: Vec<String> =
        sqlx::query_scalar("select action from audit where object_kind = 'payment_account' order by at, action").fetch_all(&mut conn).await.unwrap();
    let count = |action: &str| acts.iter().filter(|a| a.ends_with(action)).count();
    assert_eq!((count("connected") - count("disconnected"), count("disconnected")), (5, 4), "{acts:?}");
    world.advance(TimeDelta::minutes(16)).await;
    world.house.run_workers().await;
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_connects_stripe_at_the_desk_and_a_fan_pays_there_by_redirect() {
    let stripe = Stripe::open(crate::house::opening()).await;
    let house = House::with_stripe(&stripe.url).await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 10, 13_900).await;
    let cookie = signed_in(&house, "night.ferry.foundation@promoter.example").await;
    let input = json!({ "url": house.url, "slug": "night-ferry", "offer": offer, "cookie": cookie, "key": KEY });
    let scene = scene("stripe", &input);
    // Who comes back is looked after at once, but not twice within two seconds of the house: its clock goes on while the browser is at it.
    let clock = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            house.advance(TimeDelta::milliseconds(500));
        }
    };
    let seen = tokio::select! { seen = scene => seen, () = clock => unreachable!() };
    assert!(seen["refused"].as_str().unwrap().contains("does not know this key"), "{seen}");
    assert!(seen["declined"].as_str().unwrap().contains("declined"), "{seen}");
    assert_eq!((&seen["leads"], &seen["ended"], &seen["tickets"]), (&json!(true), &json!(true), &json!(1)), "{seen}");
    assert_eq!((&seen["sideways"], &seen["errors"]), (&json!([]), &json!([])), "{seen}");
    let sessions = stripe.sessions().await;
    assert_eq!(
        sessions.iter().map(|s| s["status"].as_str().unwrap()).collect::<Vec<_>>(),
        ["expired", "complete"],
        "two payments, two sessions: the double click made one"
    );
    assert_eq!(sessions[0]["allowed_payment_method_types"], json!(["card", "wechat_pay"]));
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripe_that_takes_half_a_minute_holds_no_transaction_and_no_scan() {
    let world = World::open(10).await;
    let paid = world.house.anybody().order("noor@haddad.example", &[(&world.offer, 1)]).await;
    paid.pay(&key(), "simulated_instant").await.expect(201);
    let code = paid.tickets().await[0]["ticket_code"].as_str().unwrap().to_owned();
    world.advance("2026-06-19T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - world.house.app.clock.now()).await;
    let device = world.festival.device().await;
    let fan = world.house.anybody().order("mara@lindqvist.example", &[(&world.offer, 1)]).await;
    world.stripe.mood("sessions", "slow").await;
    let begun = std::time::Instant::now();
    let paying = tokio::spawn({
        let fan = fan.clone();
        async move { fan.pay(&key(), "stripe").await.expect(201) }
    });
    let mut conn = world.house.database().await;
    while !paying.is_finished() {
        let idle: i64 = sqlx::query_scalar("select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid() and xact_start < clock_timestamp() - interval '1 second'").fetch_one(&mut conn).await.unwrap();
        assert_eq!(idle, 0, "a transaction waits for a provider");
        let scanned = std::time::Instant::now();
        device.scan(&code, world.house.app.clock.now()).await.expect(201);
        assert!(scanned.elapsed() < Duration::from_secs(2), "{:?}", scanned.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let payment = paying.await.unwrap();
    assert!(begun.elapsed() > Duration::from_secs(3) && begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!((&payment["status"], fan.status().await.as_str()), (&json!("unknown"), "held"), "nobody waits half a minute, and nobody is told that it failed");
    world.stripe.mood("sessions", "").await;
    world.advance(TimeDelta::seconds(46)).await;
    world.house.run_workers().await;
    world.stripe.act(&world.stripe.session_of(&payment).await, "pay", None).await;
    world.house.advance(TimeDelta::seconds(3));
    world.come_back(&payment).await;
    assert_eq!(fan.status().await, "paid");
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispute_suspends_what_it_is_about_until_it_is_won_or_lost() {
    let world = World::open(10).await;
    let path = format!("/v1/payment-accounts/{}/webhook-secrets", world.account["account_id"].as_str().unwrap());
    world.festival.promoter.send("POST", &path, &json!({ "secret": SECRET })).await.expect(200);
    let mut disputed = Vec::new();
    // Won; lost; a part of it, lost: that is money alone.
    for amount in [None, None, Some(900)] {
        let (fan, payment, session) = world.begun().await;
        world.stripe.act(&session, "pay", None).await;
        assert_eq!(world.come_back(&payment).await, 303);
        world.stripe.tells(&world.account, SECRET).await;
        let made = world.stripe.post("/_act", &json!({ "session": session, "act": "dispute", "amount": amount })).await;
        let made: Value = serde_json::from_str(&made).unwrap();
        until("what Stripe tells of a dispute", TOLD, async || !world.refunds(&fan).await.is_empty()).await;
        disputed.push((fan, made["id"].clone(), amount));
    }
    let status = async |fan: &Fan| fan.tickets().await[0]["status"].as_str().unwrap().to_owned();
    assert_eq!(world.refunds(&disputed[0].0).await, [("submitted".to_owned(), 13_900)]);
    assert_eq!(
        (status(&disputed[0].0).await.as_str(), status(&disputed[1].0).await.as_str(), status(&disputed[2].0).await.as_str()),
        ("suspended", "suspended", "valid")
    );
    let cases = world.festival.promoter.get(&world.festival.path("/refund-cases")).await.expect(200);
    assert_eq!(cases["items"].as_array().unwrap().iter().filter(|case| case["reason"] == "disputed").count(), 3, "{cases}");
    // Nobody asks Stripe to pay it a second time, and members decide nothing that the bank decides.
    world.advance(TimeDelta::hours(2)).await;
    world.house.run_workers().await;
    assert!(world.back().await.is_empty());
    let refund = disputed[0].0.get("/refunds").await.expect(200)["items"][0]["refund_id"].as_str().unwrap().to_owned();
    assert_eq!(
        world.festival.promoter.send("POST", &format!("/v1/refunds/{refund}/decisions"), &json!({ "decision": "by_hand", "note": "x" })).await.problem(),
        "conflict"
    );
    let asked = json!({ "reason": "disputed" });
    assert_eq!(crate::refunds::refund(&world.festival.promoter, &disputed[0].0.order, &key(), &asked).await.status, 422);

    for ((fan, dispute, _), (outcome, state)) in disputed.iter().zip([("won", "withdrawn"), ("lost", "done"), ("lost", "done")]) {
        world.stripe.post("/_act", &json!({ "dispute": dispute, "status": outcome })).await;
        until("what Stripe tells of a dispute", TOLD, async || world.refunds(fan).await[0].0 == state).await;
    }
    assert_eq!((status(&disputed[0].0).await.as_str(), disputed[0].0.status().await.as_str()), ("valid", "paid"));
    assert_eq!((status(&disputed[1].0).await.as_str(), disputed[1].0.status().await.as_str()), ("void", "refunded"));
    assert_eq!((status(&disputed[2].0).await.as_str(), disputed[2].0.status().await.as_str()), ("valid", "partly_refunded"));
    assert_eq!(world.festival.stock(&world.offer).await, (0, 2));
    world.house.run_workers().await;
    assert!(!world.house.emails().iter().any(|email| email.subject.contains("your money is on its way")), "whose bank took it back knows");

    // A message that was lost costs an hour; a bank that only asks takes nothing.
    let (fan, payment, session) = world.begun().await;
    world.stripe.act(&session, "pay", None).await;
    world.come_back(&payment).await;
    let made: Value = serde_json::from_str(&world.stripe.post("/_act", &json!({ "session": session, "act": "dispute" })).await).unwrap();
    until("what Stripe tells of a dispute", TOLD, async || !world.refunds(&fan).await.is_empty()).await;
    let intent = world.stripe.sessions().await.iter().find(|s| s["id"] == session.as_str()).unwrap()["payment_intent"].clone();
    let event = |id: &str, dispute: &Value, status: &str| {
        let object = json!({ "id": dispute, "object": "dispute", "status": status, "amount": 13_900, "currency": "eur", "payment_intent": intent });
        json!({ "id": id, "object": "event", "type": "charge.dispute.updated", "data": { "object": object } }).to_string()
    };
    let (door, now) = (&world.account["notification_url"], world.house.app.clock.now());
    for _ in 0..3 {
        tell(&world.house, door, SECRET, now, &event("evt_again", &made["id"], "under_review")).await.expect(200);
    }
    tell(&world.house, door, SECRET, now, &event("evt_asks", &json!("dp_inquiry"), "warning_needs_response")).await.expect(200);
    assert_eq!(world.refunds(&fan).await.len(), 1);
    world.stripe.tells(&world.account, "whsec_nobody_believes_this").await;
    world.stripe.post("/_act", &json!({ "dispute": made["id"], "status": "won" })).await;
    world.advance(TimeDelta::hours(2)).await;
    world.house.run_workers().await;
    assert_eq!((world.refunds(&fan).await, status(&fan).await.as_str()), (vec![("withdrawn".to_owned(), 13_900)], "valid"));
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_held_against_the_books_of_the_provider() {
    let world = World::open(20).await;
    let promoter = &world.festival.promoter;
    let differences = async || promoter.get(&world.festival.path("/payment-differences")).await.expect(200);
    assert_eq!(differences().await, json!({ "items": [] }));
    // Agreed; lost on the way; another amount; only here; given back there; given back and sent back by the bank of the fan.
    for _ in 0..3 {
        world.bought().await;
    }
    let (late, _, lost) = world.begun().await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        let (fan, payment, session) = world.begun().await;
        world.stripe.act(&session, "pay", None).await;
        world.come_back(&payment).await;
        sessions.push((fan, session));
    }
    let returned = &sessions[3].0;
    refund(promoter, &returned.order, &key(), &json!({ "reason": "asked" })).await.expect(201);
    world.house.run_workers().await;
    world.stripe.act(&lost, "pay", None).await;
    // Nobody told us of it, and nobody asks.
    let mut conn = world.house.database().await;
    sqlx::query("update payments set asked_at = now() + interval '10 years' where status = 'submitted'").execute(&mut conn).await.unwrap();
    world.stripe.post("/_act", &json!({ "act": "lie", "session": sessions[0].1, "amount": 13_000 })).await;
    world.stripe.post("/_act", &json!({ "act": "lose", "session": sessions[1].1 })).await;
    world.stripe.post("/_act", &json!({ "act": "refund by hand", "session": sessions[2].1, "amount": 500 })).await;
    let there: Value = world.stripe.http.get(format!("{}/v1/refunds?limit=100", world.stripe.url)).bearer_auth(KEY).send().await.unwrap().json().await.unwrap();
    let there = there["data"].as_array().unwrap().iter().find(|r| r["metadata"]["refund_id"].is_string()).unwrap()["id"].clone();
    world.stripe.post("/_act", &json!({ "refund": there, "status": "failed", "reason": "lost_or_stolen_card" })).await;

    // An account of another promoter, whose books have the same sessions: its word about ours is nothing.
    let other = world.house.promoter("Foxhole").await;
    let foxhole = other.festival("foxhole").await;
    connect(&other, "sk_test_FOX_51Habcdefgh").await.expect(200);
    // Not before the day is over and three hours more.
    assert_eq!(compare_due(&world.house.app).await.unwrap(), 0);
    world.advance(TimeDelta::hours(7)).await;
    let (one, two) = (compare_due(&world.house.app), compare_due(&world.house.app));
    let (one, two) = tokio::join!(one, two);
    assert_eq!(one.unwrap() + two.unwrap(), 2, "two servers compare a day of each account once");
    let theirs = other.get(&foxhole.path("/payment-differences")).await.expect(200);
    assert_eq!((&theirs["latest"]["payments"], &theirs["latest"]["refunds"]), (&json!(0), &json!(0)), "{theirs}");
    assert_eq!((late.status().await.as_str(), late.tickets().await.len()), ("paid", 1), "what was captured and nobody told of is applied");
    assert_eq!(world.refunds(returned).await, [("failed".to_owned(), 13_900)]);
    let found = differences().await;
    let mut kinds: Vec<_> = found["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (d["kind"].as_str().unwrap(), d["ours"]["minor"].as_i64().unwrap(), d["theirs"]["minor"].as_i64().unwrap()))
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [("payment_amount", 13_900, 13_000), ("payment_only_here", 13_900, 0), ("refund_only_there", 0, 500)]);
    assert_eq!((&found["latest"]["payments"], &found["latest"]["refunds"]), (&json!(7), &json!(2)));
    // A silent provider is asked again an hour later; a day is compared once.
    world.stripe.mood("sessions", "down").await;
    world.advance(TimeDelta::days(1)).await;
    assert_eq!(compare_due(&world.house.app).await.unwrap(), 0);
    world.stripe.mood("sessions", "").await;
    assert_eq!(compare_due(&world.house.app).await.unwrap(), 0);
    world.advance(TimeDelta::minutes(61)).await;
    assert_eq!((compare_due(&world.house.app).await.unwrap(), differences().await["items"].as_array().unwrap().len()), (2, 3));

    // Somebody looks at them, on the page; then nothing differs.
    let cookie = signed_in(&world.house, "night.ferry.foundation@promoter.example").await;
    let seen = scene("differences", &json!({ "url": world.house.url, "cookie": cookie })).await;
    assert_eq!((&seen["before"], &seen["after"], &seen["sideways"], &seen["errors"]), (&json!(3), &json!(0), &json!([]), &json!([])), "{seen}");
    assert!(differences().await["items"].as_array().unwrap().is_empty());
    let decision = returned.get("/refunds").await.expect(200)["items"][0]["refund_id"].as_str().unwrap().to_owned();
    promoter.send("POST", &format!("/v1/refunds/{decision}/decisions"), &json!({ "decision": "again", "note": "" })).await.expect(200);
    world.house.run_workers().await;
    world.house.close().await;
}
