//! The fans of a rehearsal: how they are drawn, what they do from arrival to ticket, and what they know at the end.

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::bail;
use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::client::{Answer, Client, Latencies, Said};
use crate::{
    id::{OfferId, OrderId},
    offers::Offer,
};

/// How a fan behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Buys,
    Abandons,
    GivesUp,
    TapsTwice,
    LosesSignal,
    PaysLate,
}

/// A fan, drawn before they come.
#[derive(Clone, Debug)]
pub(super) struct Fan {
    pub(super) number: u32,
    pub(super) manner: Manner,
    pub(super) basket: Vec<(OfferId, i32)>,
    /// After how long a late one pays.
    pub(super) thinks: Duration,
}

/// What a fan knows at the end.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Paid { order: OrderId, total: i64 },
    Holds { order: OrderId, total: i64 },
    GaveUp { order: OrderId },
    Refused,
    Unknown,
}

/// Splitmix64 (Steele, Lea, Flood, OOPSLA 2014): a seed, and ever new numbers.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

/// Draws a fan: quantities of a real sale, 1 to 5 at 29, 34, 16, 9 and 12 percent; what an offer needs beside it comes along.
pub(super) fn draw(number: u32, unruly: u32, offers: &[Offer], dice: &mut Dice) -> Fan {
    let offer = &offers[usize::try_from(dice.below(offers.len() as u64)).unwrap_or(0)];
    let wanted = match dice.below(100) {
        0..29 => 1,
        29..63 => 2,
        63..79 => 3,
        79..88 => 4,
        _ => 5,
    };
    let most = offer.max_per_order.min(offer.max_per_fan.unwrap_or(i32::MAX));
    let mut basket = vec![(offer.offer_id, wanted.min(most))];
    for needed in &offer.requirements {
        if let Some(first) = needed.any_of.iter().find_map(|id| offers.iter().find(|o| o.offer_id == *id)) {
            let (least, most) = ((basket[0].1 + needed.per_one - 1) / needed.per_one, first.max_per_order.min(first.max_per_fan.unwrap_or(i32::MAX)));
            basket[0].1 = basket[0].1.min(most * needed.per_one);
            basket.push((first.offer_id, least.min(most)));
        }
    }
    let manner = if dice.below(100) >= u64::from(unruly) {
        Manner::Buys
    } else {
        [Manner::Abandons, Manner::GivesUp, Manner::TapsTwice, Manner::LosesSignal, Manner::PaysLate][usize::try_from(dice.below(5)).unwrap_or(0)]
    };
    Fan { number, manner, basket, thinks: Duration::from_millis(1_000 + dice.below(9_000)) }
}

/// Everything that the fans share.
pub(super) struct Stage {
    pub(super) server: SocketAddr,
    pub(super) run: u64,
    pub(super) idle: Mutex<HashMap<usize, Vec<Client>>>,
    pub(super) seats: Arc<Semaphore>,
    pub(super) made: AtomicUsize,
    pub(super) busy: AtomicUsize,
    pub(super) done: AtomicUsize,
    pub(super) book: Mutex<Book>,
}

/// What was measured so far.
#[derive(Default)]
pub(super) struct Book {
    pub(super) place: Latencies,
    pub(super) pay: Latencies,
    pub(super) scan: Latencies,
    pub(super) late: Latencies,
    pub(super) answers: BTreeMap<String, usize>,
    pub(super) unexpected: Vec<String>,
    pub(super) unexpected_count: usize,
    pub(super) smallest_refused: HashMap<OfferId, i32>,
    pub(super) last_answer: Option<Instant>,
    pub(super) paid_at: Vec<Instant>,
}

/// How many addresses half of the fans share.
const SHARED: usize = 20;

impl Stage {
    pub(super) fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, asked: &str, answer: &Answer, expected: bool) {
        let said = answer.said();
        let kind = match answer.status {
            200..300 => said.verdict.as_deref().or(said.status.as_str()).unwrap_or("ok").to_owned(),
            status => said.problem.as_deref().and_then(|t| t.rsplit('/').next()).map_or_else(|| status.to_string(), str::to_owned),
        };
        let mut book = self.book();
        *book.answers.entry(format!("{asked}: {kind}")).or_default() += 1;
        if !expected {
            book.unexpected_count += 1;
            if book.unexpected.len() < 10 {
                let detail = said.detail.unwrap_or_default();
                book.unexpected.push(format!("{asked}: {} {kind} {detail}", answer.status));
            }
        }
    }

    fn took(&self, asked: &str, took: Duration) {
        let mut book = self.book();
        match asked {
            "place" => book.place.note(took),
            "pay" => book.pay.note(took),
            _ => {}
        }
    }

    pub(super) fn broke(&self, asked: &str, why: &str) {
        let mut book = self.book();
        book.unexpected_count += 1;
        if book.unexpected.len() < 10 {
            book.unexpected.push(format!("{asked}: {why}"));
        }
    }

    /// Sends over a connection of the fan's address; a connection that broke is not used again.
    pub(super) async fn send(&self, fan: u32, path: &str, token: &str, key: &str, body: &Value) -> anyhow::Result<Answer> {
        let _seat = self.seats.acquire().await?;
        // Every second fan sits behind one of a few addresses; the others come from one of their own.
        let group = if fan.is_multiple_of(2) { usize::try_from(fan / 2)? % SHARED } else { SHARED };
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&group).and_then(Vec::pop);
            let reused = idle.is_some();
            let mut client = match idle {
                // The server closes what is idle; nothing was sent over it.
                Some(client) if client.is_closed() => continue,
                Some(client) => client,
                None => {
                    let made = self.made.fetch_add(1, Ordering::Relaxed);
                    let byte = |n: usize| u8::try_from(1 + n % 250).unwrap_or(1);
                    let from = if group < SHARED { Ipv4Addr::new(127, 0, 1, byte(group)) } else { Ipv4Addr::new(127, 0, byte(1 + made / 250), byte(made)) };
                    Client::connect(self.server, from).await?
                }
            };
            match client.send(Method::POST, path, token, key, body).await {
                // Closed just when it was used again: what is safe to repeat is sent once more (RFC 9110 9.2.2), and all of this is.
                Err(error) if reused && error.downcast_ref::<hyper::Error>().is_some() => {}
                Err(error) => return Err(error),
                Ok(answer) => {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).entry(group).or_default().push(client);
                    return Ok(answer);
                }
            }
        }
    }

    /// Sends, and while the server is busy sends again with the same key, as its answer says. Latency counts from when it was due.
    async fn insist(&self, fan: u32, asked: &'static str, path: &str, token: &str, key: &str, body: &Value, mut due: Instant) -> anyhow::Result<Answer> {
        for _ in 0..20 {
            let answer = match self.send(fan, path, token, key, body).await {
                Ok(answer) => answer,
                Err(error) => {
                    self.broke(asked, &format!("{error:#}"));
                    bail!("{error:#}");
                }
            };
            self.took(asked, due.elapsed());
            if answer.status != 503 {
                return Ok(answer);
            }
            self.note(asked, &answer, true);
            let wait = Duration::from_secs(answer.retry_after.unwrap_or(1)) + Duration::from_millis(u64::from(fan) * 7 % 500);
            due = Instant::now() + wait;
            tokio::time::sleep(wait).await;
        }
        bail!("the server was busy twenty times in a row")
    }

    /// What a fan does from arrival to the ticket, or whatever comes in between.
    pub(super) async fn visit(&self, fan: &Fan, due: Instant) -> Outcome {
        let outcome = self.buy(fan, due).await.unwrap_or(Outcome::Unknown);
        self.done.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    pub(super) fn key(&self, fan: &Fan) -> String {
        format!("rehearsal-{:016x}-{:08}", self.run, fan.number)
    }

    pub(super) fn order(&self, fan: &Fan) -> Value {
        let lines: Vec<Value> = fan.basket.iter().map(|(offer, quantity)| json!({ "offer_id": offer, "quantity": quantity })).collect();
        json!({ "email": format!("fan{}-{:x}@rehearsal.example", fan.number, self.run), "name": "Mara Lindqvist", "lines": lines })
    }

    async fn buy(&self, fan: &Fan, due: Instant) -> anyhow::Result<Outcome> {
        let (key, body) = (self.key(fan), self.order(fan));
        if fan.manner == Manner::LosesSignal {
            // The request is on its way, or not yet, when the phone loses its signal; it asks again with the same key.
            let _ = tokio::time::timeout(Duration::from_millis(5), self.send(fan.number, "/v1/orders", "", &key, &body)).await;
        }
        let placed = self.insist(fan.number, "place", "/v1/orders", "", &key, &body, due).await?;
        self.book().last_answer = Some(Instant::now());
        let Some((order, secret, total)) = self.placed(fan, &placed) else { return Ok(Outcome::Refused) };
        if fan.manner == Manner::TapsTwice {
            let again = self.insist(fan.number, "place again", "/v1/orders", "", &key, &body, Instant::now()).await?;
            let same = again.status == 201 && again.said().order_id == Some(order);
            self.note("place again", &again, same);
        }
        let token = format!("gf_order_{secret}");
        match fan.manner {
            Manner::Abandons => return Ok(Outcome::Holds { order, total }),
            Manner::GivesUp => {
                let path = format!("/v1/orders/{order}/cancellations");
                let answer = self.insist(fan.number, "give up", &path, &token, "", &json!({}), Instant::now()).await?;
                self.note("give up", &answer, answer.status == 200);
                return Ok(if answer.status == 200 { Outcome::GaveUp { order } } else { Outcome::Holds { order, total } });
            }
            Manner::PaysLate => tokio::time::sleep(fan.thinks).await,
            _ => {}
        }
        let way = if total == 0 { "free" } else { "simulated_instant" };
        let path = format!("/v1/orders/{order}/payments");
        let paid = self.insist(fan.number, "pay", &path, &token, &key, &json!({ "way": way }), Instant::now()).await?;
        let good = paid.status == 201 && paid.said().status == "captured";
        self.note("pay", &paid, good);
        if good {
            self.book().paid_at.push(Instant::now());
            if fan.manner == Manner::TapsTwice {
                let again = self.insist(fan.number, "pay again", &path, &token, &key, &json!({ "way": way }), Instant::now()).await?;
                self.note("pay again", &again, again.status == 201 && again.said().payment_id == paid.said().payment_id);
            }
            return Ok(Outcome::Paid { order, total });
        }
        Ok(Outcome::Holds { order, total })
    }

    /// Reads the answer of placing; a refusal is noted with what was asked for.
    pub(super) fn placed(&self, fan: &Fan, answer: &Answer) -> Option<(OrderId, String, i64)> {
        let Said { order_id, secret, total, problem, .. } = answer.said();
        let placed = order_id.zip(secret).map(|(order, secret)| (order, secret, minor(&total)));
        let refused = problem.as_deref().is_some_and(|t| t.ends_with("/sold-out") || t.ends_with("/paused") || t.ends_with("/over"));
        self.note("place", answer, (placed.is_some() && answer.status == 201) || refused);
        if placed.is_none()
            && let [(offer, quantity)] = fan.basket[..]
            && problem.as_deref().is_some_and(|t| t.ends_with("/sold-out"))
        {
            let mut book = self.book();
            let smallest = book.smallest_refused.entry(offer).or_insert(quantity);
            *smallest = (*smallest).min(quantity);
        }
        placed
    }
}

/// The smallest units of an amount in JSON.
fn minor(amount: &Value) -> i64 {
    amount["minor"].as_i64().or_else(|| amount["minor"].as_str()?.parse().ok()).unwrap_or(-1)
}
