//! A sale that runs while something breaks: buyers who come again and again, ask again with the same key when they got no answer, and
//! write down every answer and how long it took. Afterwards their books are compared with the house.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::Utc;
use futures_util::{StreamExt, stream};
use gatefold::{accounts, reports::invariants, words::Language};
use serde_json::json;
use sqlx::{
    Connection,
    postgres::{PgConnectOptions, PgConnection},
};

use crate::{
    actors::{Anybody, Festival, Promoter},
    faults::{Book, Known, Served, a_free_port, all_orders, ask, ask_again, folder, forget, resolve, until},
};

/// How many units are for sale: more than a test sells.
const CAPACITY: i64 = 20_000;
/// How long a buyer thinks between two orders.
const THOUGHT: Duration = Duration::from_millis(100);

/// Whether the long cases run.
pub fn all() -> bool {
    std::env::var("GATEFOLD_TESTS").is_ok_and(|t| t == "all")
}

/// One request as its client saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub what: &'static str,
    pub begun: Instant,
    pub took: Duration,
    /// Nothing when the connection broke or no answer came in half a minute.
    pub status: Option<u16>,
    pub retry_after: bool,
}

/// A server on a database that is not its own, and a festival to buy from.
pub struct Shop {
    pub served: Served,
    pub festival: Festival,
    pub offer: String,
    folder: std::path::PathBuf,
}

/// The settings of a server that reaches its database by an address.
pub fn settings(address: &str) -> Vec<(&'static str, String)> {
    vec![("DATABASE_URL", address.to_owned()), ("GATEFOLD_MASTER_KEY", "2a".repeat(32))]
}

/// Somebody at an address of their own: what one address may hold is bounded, and a minute of unpaid orders fills it.
fn at_home(door: &Anybody, number: usize) -> Anybody {
    let address = std::net::Ipv4Addr::new(127, 0, 2, u8::try_from(1 + number % 250).unwrap());
    let client = crate::house::http().redirect(reqwest::redirect::Policy::none()).local_address(std::net::IpAddr::from(address));
    Anybody { client: client.build().unwrap(), url: door.url.clone() }
}

/// The address of a database by its Unix socket.
pub fn by_socket(database: &PgConnectOptions) -> String {
    let socket = database.get_socket().unwrap().display();
    format!("postgres://{}@localhost/{}?host={socket}", database.get_username(), database.get_database().unwrap())
}

/// The address of a database by a port.
pub fn by_port(database: &PgConnectOptions, port: u16) -> String {
    format!("postgres://{}@127.0.0.1:{port}/{}?sslmode=disable", database.get_username(), database.get_database().unwrap())
}

impl Shop {
    /// Opens: `database` is where tests look, `address` is how the server reaches it.
    pub async fn open(name: &str, database: &PgConnectOptions, address: &str) -> Self {
        let folder = folder(name);
        let (served, _) = Served::start_with(&folder, a_free_port(), &settings(address)).await;
        let mut conn = PgConnection::connect_with(database).await.unwrap();
        let invited = accounts::invite(&mut conn, "Night Ferry Foundation", "owner@ferry.example", Language::En, Utc::now()).await.unwrap();
        conn.close().await.unwrap();
        let festival = Promoter { http: served.anybody(), token: invited.token }.festival("night-ferry").await;
        let pass = festival.pass("Weekend pass", 0b111).await;
        let offer = festival.offer(&pass, CAPACITY, 13900).await;
        Self { served, festival, offer, folder }
    }

    /// Opens another server of the same festival, under the same public address.
    pub async fn open_beside(other: &Self, name: &str, address: &str) -> Self {
        let folder = folder(name);
        let mut settings = settings(address);
        settings.push(("GATEFOLD_PUBLIC_URL", other.served.anybody().url));
        let (served, _) = Served::start_with(&folder, a_free_port(), &settings).await;
        Self { served, festival: other.festival.clone(), offer: other.offer.clone(), folder }
    }

    /// Starts the server again.
    pub async fn start_again(&mut self, address: &str) {
        (self.served, _) = Served::start_with(&self.folder, self.served.port, &settings(address)).await;
    }

    /// Starts a sale to buyers, each of them at one of these doors.
    pub async fn sell(&self, doors: &[Anybody], buyers: usize) -> Sale {
        static SALES: AtomicUsize = AtomicUsize::new(0);
        let (seen, over) = (Arc::default(), Arc::default());
        let sale = 100_000_000 * SALES.fetch_add(1, Ordering::Relaxed);
        let mut first = Book::new(sale + 90_000_001);
        first.order = ask(first.place(&doors[0], &self.offer)).await;
        let looked_at = first.fan(&doors[0]);
        let begin = |i: usize| Buyer {
            number: sale + i * 100_000,
            http: at_home(&doors[i % doors.len()], i),
            offer: self.offer.clone(),
            seen: Arc::clone(&seen),
            over: Arc::clone(&over),
        };
        let buying = (0..buyers).map(|i| tokio::spawn(begin(i).buy())).collect();
        let looking = (0..2).map(|i| tokio::spawn(begin(i).look(looked_at.clone()))).collect();
        Sale { seen, over, buying, looking, first }
    }

    /// Compares the books with the house: every acknowledged order is there as it was acknowledged, what was without an answer has one
    /// now, nothing else holds stock, and the invariants hold.
    pub async fn settle(&self, books: Vec<Book>, database: &PgConnectOptions) {
        let http = self.served.anybody();
        // The promoter's pool was idle all the time: its first connection may be dead.
        until("the promoter's pool", Duration::from_secs(10), async || self.festival.promoter.get(&self.festival.path("/stocks")).await.status == 200).await;
        let placed_before = books.iter().filter(|b| b.placed().is_some()).count();
        let books = resolve(books, &http, &self.offer).await;
        let orders = stream::iter(books.iter().filter(|b| b.placed().is_some())).map(async |book| {
            // After an outage a pool may still have a dead connection to give out.
            let order = ask_again(|| book.fan(&http).request("GET", "")).await.expect(200);
            assert_eq!((&order["status"], &order["lines"][0]["quantity"]), (&json!(if book.pays { "paid" } else { "held" }), &json!(book.units)));
            if book.pays { (0, book.units) } else { (book.units, 0) }
        });
        let units: Vec<(i64, i64)> = orders.buffer_unordered(8).collect().await;
        let sum = units.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert_eq!(self.festival.stock(&self.offer).await, sum, "(held, sold)");
        assert!(sum.0 + sum.1 <= CAPACITY);
        assert_eq!(all_orders(&self.festival).await.len(), units.len(), "an order that nobody was told of holds stock");
        println!("settled: {placed_before} orders were acknowledged before, {} are there", units.len());
        self.check(database).await;
    }

    /// The invariants hold, and the server met no panic.
    pub async fn check(&self, database: &PgConnectOptions) {
        let mut conn = PgConnection::connect_with(database).await.unwrap();
        let findings = invariants::check(&mut conn, Utc::now()).await.unwrap();
        conn.close().await.unwrap();
        let breaches: Vec<_> = findings.into_iter().filter(|f| f.breaches != 0).collect();
        assert!(breaches.is_empty(), "invariants are broken: {breaches:#?}");
        let log = self.served.log();
        assert!(!log.contains("panicked at"), "{log}");
    }

    /// The sum of a metric of the server over all its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let log = self.served.log();
        let address = log.split("(metrics on ").last().unwrap().split(')').next().unwrap().to_owned();
        let text = reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap();
        let lines = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    pub fn close(self) {
        drop(self.served);
        forget(&self.folder);
    }
}

struct Buyer {
    number: usize,
    http: Anybody,
    offer: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    over: Arc<AtomicBool>,
}

impl Buyer {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    async fn ask(&self, what: &'static str, request: reqwest::RequestBuilder) -> Known {
        let begun = Instant::now();
        let known = ask(request).await;
        let (status, retry_after) = match &known {
            Known::Answered(answer) => (Some(answer.status), answer.retry_after.is_some()),
            Known::Cut | Known::Unsent => (None, false),
        };
        self.seen.lock().unwrap().push(Seen { what, begun, took: begun.elapsed(), status, retry_after });
        known
    }

    /// Asks with the same key until there is a word that stays, or the sale is over. Impatient: `Retry-After` is not waited for.
    async fn insist(&self, what: &'static str, request: impl Fn() -> reqwest::RequestBuilder) -> Known {
        loop {
            let known = self.ask(what, request()).await;
            let decided = matches!(&known, Known::Answered(answer) if answer.status != 503);
            if decided || self.is_over() {
                return known;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn buy(self) -> Vec<Book> {
        let mut books = Vec::new();
        while !self.is_over() {
            let mut book = Book::new(self.number + books.len());
            book.order = self.insist("place", || book.place(&self.http, &self.offer)).await;
            if book.placed().is_some() && book.pays {
                book.payment = Some(self.insist("pay", || book.pay(&self.http)).await);
            }
            books.push(book);
            tokio::time::sleep(THOUGHT).await;
        }
        books
    }

    async fn look(self, fan: crate::actors::Fan) {
        while !self.is_over() {
            self.ask("look", fan.request("GET", "")).await;
            tokio::time::sleep(THOUGHT).await;
        }
    }
}

/// A sale that runs.
pub struct Sale {
    seen: Arc<Mutex<Vec<Seen>>>,
    over: Arc<AtomicBool>,
    buying: Vec<tokio::task::JoinHandle<Vec<Book>>>,
    looking: Vec<tokio::task::JoinHandle<()>>,
    first: Book,
}

impl Sale {
    /// How many answers of a kind came to what was asked since a moment.
    pub fn answers(&self, since: Instant, what: &str, status: u16) -> usize {
        self.seen.lock().unwrap().iter().filter(|s| s.begun >= since && s.what == what && s.status == Some(status)).count()
    }

    /// How many requests since a moment met a closed door or a broken connection.
    pub fn unanswered(&self, since: Instant) -> usize {
        self.seen.lock().unwrap().iter().filter(|s| s.begun >= since && s.status.is_none()).count()
    }

    /// Waits until so many orders were taken that were asked for since a moment; how long after that moment.
    pub async fn sells(&self, since: Instant, orders: usize, bound: Duration) -> Duration {
        until("the sale", bound, async || self.answers(since, "place", 201) >= orders).await;
        since.elapsed()
    }

    /// Ends the sale: the books of its buyers, and everything that was seen. Nothing but orders, payments, refusals that say when to
    /// come back, and broken connections may have been seen.
    pub async fn close(self) -> (Vec<Book>, Vec<Seen>) {
        self.over.store(true, Ordering::Relaxed);
        let mut books = vec![self.first];
        for buyer in self.buying {
            books.extend(buyer.await.unwrap());
        }
        for looker in self.looking {
            looker.await.unwrap();
        }
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let mut summary: BTreeMap<(&str, Option<u16>), (usize, Duration)> = BTreeMap::new();
        for one in &seen {
            let (count, longest) = summary.entry((one.what, one.status)).or_default();
            (*count, *longest) = (*count + 1, (*longest).max(one.took));
        }
        println!("seen (request, status): (how many, longest) {summary:#?}");
        for one in &seen {
            assert!(matches!(one.status, None | Some(200 | 201 | 503)), "{one:?}");
            assert!(one.status != Some(503) || one.retry_after, "{one:?}");
        }
        (books, seen)
    }
}

/// The longest wait for an answer of those that were asked for.
pub fn longest(seen: &[Seen], what: &[&str]) -> Duration {
    seen.iter().filter(|s| what.contains(&s.what)).map(|s| s.took).max().unwrap_or_default()
}
