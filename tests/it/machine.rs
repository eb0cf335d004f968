//! The machine of an order and its money, played at random: whatever buyer, bank, promoter and clock do in whatever order, each step is one that the states
//! allow, everything is decided in the end, and what the bank has of a fan is the price of what the fan has: no money without a ticket, no ticket without
//! money. `GATEFOLD_ALL` plays ten thousand lives.

use std::time::Duration;

use chrono::TimeDelta;
use gatefold::{
    id::{OrderId, PaymentId},
    library::transfer::{self, Recipient, TransferError},
    money::Money,
    orders,
    payments::{
        self,
        refunds::{self, refund_due},
        simulated::{self, Decision, Mood, Notification, Refunding, sign},
    },
    reports::invariants,
    tickets,
};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::{
    actors::{Fan, Festival, key},
    faults::until,
    house::House,
    refunds::refund,
    sale::all,
};

/// A step of a life.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The buyer pays at once, or goes to the bank.
    Pay(&'static str),
    /// The buyer decides at the bank about the newest payment.
    AtTheBank(Decision),
    /// The bank says of the newest payment, or of the first one, that so much was captured: again, late, or more than was asked for.
    Told { first: bool, wrong: bool },
    /// Time passes, in minutes.
    Later(i64),
    /// The workers of the house have their turn.
    Workers,
    /// The buyer gives up.
    Cancel,
    /// The promoter gives units back, or everything.
    Refund(Option<i32>),
    /// A ticket is passed on, or sent and not taken.
    PassOn { taken: bool },
    /// The bank takes refunds so from now on.
    Mood(Refunding),
}

/// Random numbers that a failure names by their seed (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn step(&mut self) -> Step {
        match self.below(22) {
            0 | 1 => Step::Pay("simulated_instant"),
            2..=4 => Step::Pay("simulated"),
            5 | 6 => Step::AtTheBank(Decision::Pay),
            7 => Step::AtTheBank(Decision::Decline),
            8 => Step::AtTheBank(Decision::PaySilently),
            9 | 10 => Step::Told { first: self.below(2) == 0, wrong: false },
            11 => Step::Told { first: self.below(2) == 0, wrong: true },
            12 => Step::Later(1 + i64::try_from(self.below(20)).unwrap()),
            13 => Step::Cancel,
            14 => Step::Refund(None),
            15 => Step::Refund(Some(1)),
            16 => Step::Mood([Refunding::AtOnce, Refunding::Later, Refunding::Refused, Refunding::NoFunds][usize::try_from(self.below(4)).unwrap()]),
            17 | 18 => Step::PassOn { taken: self.below(4) > 0 },
            _ => Step::Workers,
        }
    }
}

/// Whether an order may go from one state to another, at once or over others.
fn may_follow(before: &str, after: &str) -> bool {
    let follows: &[&str] = match before {
        "held" => &["paid", "expired", "cancelled", "partly_refunded", "refunded", "unfulfillable"],
        // Late money.
        "expired" | "cancelled" => &["paid", "unfulfillable", "partly_refunded", "refunded"],
        "paid" => &["partly_refunded", "refunded"],
        "partly_refunded" => &["refunded"],
        _ => &[],
    };
    before == after || follows.contains(&after)
}

struct Life<'a> {
    house: &'a House,
    festival: &'a Festival,
    fan: Fan,
    order: OrderId,
    conn: PgConnection,
}

impl Life<'_> {
    async fn status(&mut self) -> String {
        sqlx::query_scalar("select status from orders where order_id = $1").bind(self.order).fetch_one(&mut self.conn).await.unwrap()
    }

    async fn payments(&self) -> Vec<payments::Payment> {
        payments::by_order(&self.house.app.pools.web, self.order).await.unwrap()
    }

    async fn workers(&self) {
        let app = &self.house.app;
        payments::ask_undecided(app).await.unwrap();
        payments::close_due(app).await.unwrap();
        // One step of it may only look how far it is.
        while orders::expire_due(app).await.unwrap() > 0 {}
        refund_due(app).await.unwrap();
    }

    async fn told(&self, payment: PaymentId, amount: Money, event: &str) {
        let told = Notification { event_id: event.to_owned(), payment_id: payment, status: "succeeded".to_owned(), amount: Some(amount) };
        let body = serde_json::to_vec(&told).unwrap();
        payments::notified(&self.house.app, "simulated", None, Some(&sign(&self.house.app, &body)), &body).await.unwrap();
    }

    async fn play(&mut self, step: Step) {
        let app = &self.house.app;
        match step {
            Step::Pay(way) => {
                let answer = self.fan.pay(&key(), way).await;
                assert!(matches!(answer.status, 201 | 409), "{answer:?}");
            }
            Step::AtTheBank(decision) => {
                let at_the_bank = self.payments().await.into_iter().rev().find(|p| p.redirect_url.is_some());
                if let Some(payment) = at_the_bank {
                    simulated::decide(app, payment.payment_id, decision).await.unwrap();
                }
            }
            Step::Told { first, wrong } => {
                let all = self.payments().await;
                // Only what the bank knows can be told of.
                let mut told = all.iter().filter(|p| p.redirect_url.is_some() && p.amount.minor == all[0].amount.minor);
                if let Some(payment) = if first { told.next() } else { told.next_back() } {
                    let more = i64::from(wrong && payment.status != payments::PaymentStatus::Captured);
                    self.told(payment.payment_id, Money::new(payment.amount.minor + more, payment.amount.currency), &format!("evt_{first}_{wrong}")).await;
                }
            }
            Step::Later(minutes) => self.house.advance(TimeDelta::minutes(minutes)),
            Step::Workers => self.workers().await,
            Step::Cancel => {
                let answer = self.fan.cancel().await;
                assert!(matches!(answer.status, 200 | 409), "{answer:?}");
            }
            Step::Refund(units) => {
                let parts = units.map_or(json!([]), |units| json!([{ "line_no": 1, "units": units }]));
                let body = json!({ "reason": "asked", "parts": parts });
                let answer = refund(&self.festival.promoter, &self.fan.order, &key(), &body).await;
                assert!(matches!(answer.status, 201 | 409 | 422), "{answer:?}");
            }
            Step::PassOn { taken } => {
                let all = tickets::of_order(&app.pools.web, self.order).await.unwrap();
                let Some(ticket) = all.first() else { return };
                let to = Recipient { email: "noor@haddad.example".to_owned(), name: String::new(), language: None };
                match transfer::send(app, ticket, &to).await {
                    Ok(sent) if taken => {
                        let theirs = transfer::accept(app, sent.transfer_id, "Noor Haddad").await.unwrap();
                        assert_eq!((theirs.generation, theirs.status), (ticket.generation + 1, ticket.status));
                    }
                    Ok(sent) => drop(transfer::decline(app, sent.transfer_id).await.unwrap()),
                    Err(TransferError::NotValid | TransferError::Over | TransferError::TooOften) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Mood(mood) => app.the::<Mood>().refund(mood),
        }
    }

    /// Nothing more happens: the bank is in a good mood, refused refunds are tried again, and time passes.
    async fn settle(&mut self) {
        self.house.app.the::<Mood>().refund(Refunding::AtOnce);
        for _ in 0..3 {
            let mut conn = self.house.app.pools.web.acquire().await.unwrap();
            let all = refunds::by_order(&mut conn, self.order).await.unwrap();
            drop(conn);
            for refund in all.iter().filter(|r| matches!(r.status, refunds::RefundStatus::Failed | refunds::RefundStatus::WaitingForFunds)) {
                let path = format!("/v1/refunds/{}/decisions", refund.refund_id);
                self.festival.promoter.send("POST", &path, &json!({ "decision": "again" })).await.expect(200);
            }
            self.house.advance(TimeDelta::minutes(61));
            self.workers().await;
        }
        // What was refused a moment ago may hold the order still: its answer is out before its transaction is rolled back, and expiry passes by what is locked.
        let app = &self.house.app;
        let order = self.order;
        until("the end of a hold", Duration::from_secs(10), async || {
            orders::expire_due(app).await.unwrap();
            orders::order(&app.pools.web, order).await.unwrap().is_some_and(|order| order.status != orders::OrderStatus::Held)
        })
        .await;
    }

    /// What is undecided, what the bank has of the fan by our books, and what the fan has.
    async fn found(&mut self) -> (i64, i64, i64, i64) {
        sqlx::query_as(
            "select (select count(*) from payments where order_id = $1 and status in ('created', 'submitted', 'unknown')) \
                  + (select count(*) from refunds where order_id = $1 and status not in ('done', 'withdrawn')) \
                  + (select count(*) from tickets where order_id = $1 and status = 'suspended'), \
                    (select coalesce(sum(amount_minor), 0)::bigint from payments where order_id = $1 and status = 'captured') \
                  - (select coalesce(sum(amount_minor), 0)::bigint from refunds where order_id = $1 and status = 'done'), \
                    (select count(*) * 13900 from tickets where order_id = $1 and status = 'valid'), \
                    (select coalesce(sum(quantity), 0)::bigint * 13900 from allocations a join orders o on o.order_id = a.order_id and o.status in ('held', 'paid', 'partly_refunded') where a.order_id = $1)",
        )
        .bind(self.order)
        .fetch_one(&mut self.conn)
        .await
        .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_in_whatever_order_money_and_tickets_agree_in_the_end() {
    let lives: u64 = if all() { 10_000 } else { 400 };
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    // Little stock, so that late money finds none now and then.
    let offer = festival.offer(&pass, 5, 13900).await;
    let seed: u64 = std::env::var("GATEFOLD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut ends = std::collections::BTreeMap::<String, u64>::new();
    let mut rivals: Vec<Fan> = Vec::new();
    for life in seed..seed + lives {
        let mut dice = Dice(life.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Somebody else takes what is left while this one dithers, or gives it up.
        for rival in rivals.drain(..) {
            drop(rival.cancel().await);
        }
        let quantity = 1 + i64::try_from(dice.below(3)).unwrap();
        let fan = house.anybody().order(&format!("fan{life}@x.example"), &[(&offer, quantity)]).await;
        let order = fan.order.parse().unwrap();
        let mut one = Life { house: &house, festival: &festival, fan, order, conn: house.database().await };
        let steps: Vec<Step> = (0..4 + dice.below(10)).map(|_| dice.step()).collect();
        let mut before = "held".to_owned();
        for (i, step) in steps.iter().enumerate() {
            one.play(*step).await;
            let after = one.status().await;
            assert!(may_follow(&before, &after), "life {life}: {before} became {after} by step {i} of {steps:?}");
            if matches!(after.as_str(), "expired" | "cancelled") && before != after {
                rivals.push(house.anybody().order(&format!("rival{life}@x.example"), &[(&offer, 5)]).await);
                // The bank of the slow one tells now.
                if dice.below(2) == 0 {
                    one.play(Step::Told { first: false, wrong: false }).await;
                }
            }
            before = one.status().await;
            assert!(may_follow(&after, &before), "life {life}: {after} became {before} after step {i} of {steps:?}");
        }
        one.settle().await;
        let status = one.status().await;
        assert!(may_follow(&before, &status), "life {life}: {before} became {status} in the end of {steps:?}");
        let (undecided, has, tickets, stock) = one.found().await;
        assert_eq!((undecided, has, stock), (0, tickets, tickets), "life {life}, {status}: {steps:?}");
        *ends.entry(status).or_default() += 1;
        // What it took is given back, so that the next one finds the same shelf.
        if tickets > 0 {
            refund(&festival.promoter, &one.fan.order, &key(), &json!({ "reason": "asked" })).await.expect(201);
            one.workers().await;
        }
        one.conn.close().await.unwrap();
        if life % (lives / 4) == 0 {
            let mut conn = house.database().await;
            let broken: Vec<_> = invariants::check(&mut conn, house.app.clock.now())
                .await
                .unwrap()
                .into_iter()
                .filter(|f| f.breaches != 0 && f.name != "outbox-moves")
                .collect();
            assert!(broken.is_empty(), "after life {life}: {broken:#?}");
        }
    }
    println!("{lives} lives: {ends:?}");
    for end in ["paid", "partly_refunded", "refunded", "expired", "cancelled", "unfulfillable"] {
        assert!(ends.contains_key(end), "no life ended {end}: {ends:?}");
    }
    house.run_workers().await;
    house.close().await;
}
