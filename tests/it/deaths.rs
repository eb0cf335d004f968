//! A server dies at a named point of a purchase: when everything is written and nothing committed, when it is committed and nobody was
//! answered, when the bank knows more than we do. Another takes its place, everything is asked again with the same keys, and there is one
//! order, one payment, one set of tickets, one email. That it died there is told by its last word, by its signal, and by what was committed.

use std::{os::unix::process::ExitStatusExt, path::PathBuf, time::Duration};

use chrono::{TimeDelta, Utc};
use gatefold::{
    id::PaymentId,
    payments::simulated::{Decision, Notification, decide, sign},
};
use serde_json::{Value, json};

use crate::{
    actors::{Anybody, Festival, key},
    faults::{Book, Known, Served, a_free_port, all_orders, ask, ask_again, folder, forget, until},
    house::House,
    sale::{by_socket, settings},
};

const SIGABRT: i32 = 6;
const CAPACITY: i64 = 10;

/// A house whose festival is sold by servers that are processes of their own.
struct Stage {
    house: House,
    festival: Festival,
    offer: String,
    folder: PathBuf,
    port: u16,
}

impl Stage {
    /// Opens an hour ago: what is placed in the house itself is over by the clock of the servers.
    async fn open(name: &str) -> Self {
        let house = House::open().await;
        house.advance(Utc::now() - TimeDelta::hours(1) - house.app.clock.now());
        let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
        let pass = festival.pass("Weekend pass", 0b111).await;
        let offer = festival.offer(&pass, CAPACITY, 13900).await;
        Self { house, festival, offer, folder: folder(&format!("dies-{name}")), port: a_free_port() }
    }

    /// The same, a month before it begins.
    async fn before(name: &str, ago: TimeDelta, capacity: i64) -> Self {
        let house = House::open().await;
        house.advance(Utc::now() - ago - house.app.clock.now());
        let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
        for i in (0..3).rev() {
            let opens = Utc::now() + TimeDelta::days(30 + i);
            let day = json!({ "name": { "en": "Day" }, "opens_at": opens, "closes_at": opens + TimeDelta::hours(12) });
            festival.promoter.send("PUT", &festival.path(&format!("/days/{i}")), &day).await.expect(200);
        }
        let pass = festival.pass("Weekend pass", 0b111).await;
        let offer = festival.offer(&pass, capacity, 13900).await;
        Self { house, festival, offer, folder: folder(&format!("dies-{name}")), port: a_free_port() }
    }

    /// Lets the clock of the house be that of the servers.
    fn be_now(&self) {
        self.house.advance(Utc::now() - self.house.app.clock.now());
    }

    async fn serve(&self) -> Served {
        Served::start_with(&self.folder, self.port, &settings(&by_socket(&self.house.owner))).await.0
    }

    async fn serve_until(&self, point: &str) -> Served {
        let mut settings = settings(&by_socket(&self.house.owner));
        settings.push(("GATEFOLD_DIE_AT", point.to_owned()));
        Served::start_with(&self.folder, self.port, &settings).await.0
    }

    /// What is committed: orders and their states, payments and theirs, what the bank told, what its own books say.
    async fn committed(&self) -> String {
        let mut conn = self.house.database().await;
        sqlx::query_scalar(
            "select concat_ws('; ', (select 'order ' || string_agg(status, ',') from orders), (select 'payment ' || string_agg(status, ',') from payments), \
             (select 'told ' || string_agg(outcome, ',') from provider_events), (select 'bank ' || string_agg(status, ',') from simulated_intents))",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap()
    }

    async fn close(self, served: Served) {
        drop(served);
        self.be_now();
        self.house.run_workers().await;
        forget(&self.folder);
        self.house.close().await;
    }
}

/// Waits for the death of a server, which has to be at this point.
async fn dies(served: &mut Served, point: &str) {
    let status = served.end().await;
    assert_eq!(status.signal(), Some(SIGABRT), "{status}: {}", served.log());
    assert!(served.log().ends_with(&format!("gatefold: dies at {point}\n")), "{}", served.log());
}

/// A step of a purchase that somebody asks for, and may ask for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Place,
    Pay,
    /// The bank tells that the buyer paid.
    Tell,
}

/// A buyer and the bank.
struct Purchase {
    book: Book,
    way: &'static str,
    payment: Option<PaymentId>,
}

impl Purchase {
    fn request(&self, step: Step, stage: &Stage, http: &Anybody) -> reqwest::RequestBuilder {
        match step {
            Step::Place => self.book.place(http, &stage.offer),
            Step::Pay => self.book.fan(http).request("POST", "/payments").header("idempotency-key", &self.book.pay_key).json(&json!({ "way": self.way })),
            Step::Tell => {
                let told = Notification { event_id: "evt_1".to_owned(), payment_id: self.payment.unwrap(), status: "succeeded".to_owned(), amount: None };
                let body = serde_json::to_vec(&told).unwrap();
                stage.be_now();
                let signature = sign(&stage.house.app, &body);
                let told = http.request("POST", "/v1/payment-notifications/simulated").header("content-type", "application/octet-stream");
                told.header("gatefold-signature", signature).body(body)
            }
        }
    }

    /// Asks until there is a word that stays, and notes it.
    async fn ask(&mut self, step: Step, stage: &Stage, http: &Anybody) -> Value {
        let answer = ask_again(|| self.request(step, stage, http)).await;
        let body = answer.clone().expect(if step == Step::Tell { 200 } else { 201 });
        match step {
            Step::Place => self.book.order = Known::Answered(answer),
            Step::Pay => self.payment = Some(serde_json::from_value(body["payment_id"].clone()).unwrap()),
            Step::Tell => {}
        }
        body
    }
}

/// Buys two passes; in one step the server dies at a point, with this committed.
async fn buy_through_a_death(point: &str, way: &'static str, fatal: Step, committed: &str) {
    let stage = Stage::open(&format!("{point}-{way}")).await;
    let mut served = stage.serve().await;
    let http = served.anybody();
    let mut purchase = Purchase { book: Book::new(1), way, payment: None };
    let steps = if way == "simulated" { &[Step::Place, Step::Pay, Step::Tell][..] } else { &[Step::Place, Step::Pay] };
    for step in steps.iter().copied() {
        if step == Step::Tell {
            // The buyer pays on the page of the bank; what the bank tells of it is told by us.
            decide(&stage.house.app, purchase.payment.unwrap(), Decision::PaySilently).await.unwrap();
        }
        if step == fatal {
            drop(served);
            served = stage.serve_until(point).await;
            let cut = ask(purchase.request(step, &stage, &http)).await;
            assert!(matches!(cut, Known::Cut), "{point}: {cut:?}");
            dies(&mut served, point).await;
            assert_eq!(stage.committed().await, committed, "{point}");
            served = stage.serve().await;
        }
        purchase.ask(step, &stage, &http).await;
    }
    let (order, payment) = (purchase.book.placed().unwrap()["order_id"].clone(), purchase.payment);
    for step in steps.iter().copied() {
        purchase.ask(step, &stage, &http).await;
    }
    assert_eq!((&purchase.book.placed().unwrap()["order_id"], purchase.payment), (&order, payment), "{point}: a key brought something else");

    let fan = purchase.book.fan(&http);
    assert_eq!(fan.status().await, "paid");
    let payments = fan.get("/payments").await.expect(200)["items"].as_array().unwrap().clone();
    assert!(payments.len() == 1 && payments[0]["status"] == "captured", "{point}: {payments:?}");
    let mut codes: Vec<String> = fan.tickets().await.iter().map(|t| t["ticket_code"].as_str().unwrap().to_owned()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(i64::try_from(codes.len()).unwrap(), purchase.book.units, "{point}");
    assert_eq!(all_orders(&stage.festival).await.len(), 1, "{point}");
    assert_eq!(stage.festival.stock(&stage.offer).await, (0, purchase.book.units), "{point}");
    stage.be_now();
    stage.house.run_workers().await;
    let letters: Vec<String> = stage.house.emails().into_iter().map(|email| email.recipient).collect();
    assert_eq!(letters, [purchase.book.email.clone()], "{point}");
    stage.close(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_amid_placing_makes_one_order_of_a_key() {
    buy_through_a_death("place-written", "simulated_instant", Step::Place, "").await;
    buy_through_a_death("place-committed", "simulated_instant", Step::Place, "order held").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_amid_paying_takes_the_money_once() {
    buy_through_a_death("complete-written", "simulated_instant", Step::Pay, "order held").await;
    buy_through_a_death("complete-committed", "simulated_instant", Step::Pay, "order paid; payment captured").await;
    buy_through_a_death("provider-called", "simulated", Step::Pay, "order held; payment created; bank pending").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_amid_a_notification_is_told_again_and_fulfils_once() {
    // What was told and what follows from it are committed together.
    let told = "order held; payment submitted; bank succeeded";
    let paid = "order paid; payment captured; told captured; bank succeeded";
    buy_through_a_death("notification-heard", "simulated", Step::Tell, told).await;
    buy_through_a_death("complete-written", "simulated", Step::Tell, told).await;
    buy_through_a_death("complete-committed", "simulated", Step::Tell, paid).await;
    buy_through_a_death("notification-applied", "simulated", Step::Tell, paid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_amid_expiry_gives_the_units_back_once() {
    let stage = Stage::open("expire-written").await;
    let mut served = stage.serve_until("expire-written").await;
    let book = Book::new(1);
    let placed = ask_again(|| book.place(&stage.house.anybody(), &stage.offer)).await.expect(201);
    dies(&mut served, "expire-written").await;
    assert_eq!(stage.committed().await, "order held");
    assert_eq!(stage.festival.stock(&stage.offer).await, (book.units, 0));

    let served = stage.serve().await;
    until("the expiry", Duration::from_secs(30), async || stage.committed().await == "order expired").await;
    assert_eq!(stage.festival.stock(&stage.offer).await, (0, 0));
    let http = served.anybody();
    let again = ask_again(|| book.place(&http, &stage.offer)).await.expect(201);
    assert_eq!(again["order_id"], placed["order_id"]);
    // All units are there, and not one more.
    http.order("mara@x.example", &[(&stage.offer, CAPACITY)]).await;
    assert_eq!(http.place(&key(), "late@x.example", &[(&stage.offer, 1)]).await.problem(), "sold-out");
    stage.close(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_amid_a_refund_gives_the_money_back_once() {
    for (point, at_the_bank) in [("refund-claimed", 0), ("refund-asked", 27_800), ("refund-half-written", 27_800)] {
        let stage = Stage::open(point).await;
        let fan = stage.house.anybody().order("mara@x.example", &[(&stage.offer, 2)]).await;
        fan.pay(&key(), "simulated_instant").await.expect(201);
        crate::refunds::refund(&stage.festival.promoter, &fan.order, &key(), &json!({ "reason": "asked" })).await.expect(201);
        let mut served = stage.serve_until(point).await;
        dies(&mut served, point).await;
        // Whatever the bank did, our books and the tickets do not know of it yet.
        assert_eq!((crate::refunds::at_the_bank(&stage.house).await, fan.status().await.as_str()), (at_the_bank, "paid"), "{point}");
        assert_eq!(stage.festival.stock(&stage.offer).await, (0, 2), "{point}");

        let served = stage.serve().await;
        until("the refund", Duration::from_secs(60), async || fan.status().await == "refunded").await;
        assert_eq!((crate::refunds::at_the_bank(&stage.house).await, stage.festival.stock(&stage.offer).await), (27_800, (0, 0)), "{point}");
        stage.close(served).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_while_a_ticket_changes_hands_leaves_it_in_one() {
    let stage = Stage::before("hand-back-half-written", TimeDelta::hours(1), 1).await;
    let giver = stage.house.anybody().order("mara@x.example", &[(&stage.offer, 1)]).await;
    giver.pay(&key(), "simulated_instant").await.expect(201);
    let which = json!({ "ticket_ids": [giver.tickets().await[0]["ticket_id"]] });
    crate::actors::answer(giver.request("POST", "/hand-backs").json(&which)).await.expect(200);
    let waits = json!({ "email": "noor@x.example", "quantity": 1 });
    stage.house.anybody().post(&format!("/v1/offers/{}/waits", stage.offer), &waits).await.expect(200);
    let pool = async || giver.get("/hand-backs").await.expect(200)["items"][0]["status"].as_str().unwrap().to_owned();
    let mut served = stage.serve_until("hand-back-half-written").await;
    dies(&mut served, "hand-back-half-written").await;
    assert_eq!((pool().await.as_str(), stage.festival.stock(&stage.offer).await), ("open", (0, 1)));
    assert_eq!(giver.tickets().await[0]["status"], "valid");

    let served = stage.serve().await;
    until("the invitation", Duration::from_secs(30), async || stage.festival.stock(&stage.offer).await == (1, 0)).await;
    assert_eq!((pool().await.as_str(), giver.tickets().await[0]["status"].as_str().unwrap()), ("offered", "suspended"));
    stage.close(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_while_a_round_is_decided_gives_the_default_once() {
    let stage = Stage::before("options-half-decided", TimeDelta::days(3), 10).await;
    let fan = stage.house.anybody().order("mara@x.example", &[(&stage.offer, 2)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    stage.house.advance(TimeDelta::seconds(1));
    let deadline = stage.house.app.clock.now() + TimeDelta::hours(25);
    let asks = json!({ "kind": "postponed", "message": { "en": "Next year." }, "may_refund": true, "default_choice": "refund", "deadline_at": deadline });
    stage.festival.promoter.send("POST", &stage.festival.path("/option-rounds"), &asks).await.expect(201);
    stage.house.run_workers().await;
    let mut served = stage.serve_until("options-half-decided").await;
    dies(&mut served, "options-half-decided").await;
    assert_eq!((fan.status().await.as_str(), crate::refunds::at_the_bank(&stage.house).await), ("paid", 0));

    let served = stage.serve().await;
    until("the default", Duration::from_secs(60), async || fan.status().await == "refunded").await;
    assert_eq!((crate::refunds::at_the_bank(&stage.house).await, fan.get("/refunds").await.expect(200)["items"].as_array().unwrap().len()), (27_800, 1));
    stage.close(served).await;
}
