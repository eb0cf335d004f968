//! Growth: whether an order, a scan and a page cost on large tables what they cost on small ones.
//!
//! The same rounds are measured twice in one run, with a few thousand orders and with as many as asked for, all of one festival and one
//! offer. What lies between was sold and scanned by the server's own statements ([`floor`]), so that every invariant holds at the large size, too.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{
    Bench, Server,
    client::{Client, Latencies, Said, address_of},
    floor, median, say, scan, sell, store,
    world::World,
};
use crate::{orders, reports};

/// Orders that are there before the small size is measured.
const FEW: u32 = 10_000;
/// Orders that are sold between two words of progress.
const STRETCH: u32 = 100_000;
/// How long Postgres keeps its counts to itself at most.
const COUNTED: Duration = Duration::from_secs(11);
/// How often a page is asked for.
const ASKED: usize = 21;

/// What one size costs: medians of the rounds, milliseconds.
#[derive(Debug, Serialize)]
struct Size {
    orders: u64,
    sales_per_second: f64,
    scans_per_second: f64,
    /// Rows that Postgres read for one sale, placed and paid.
    rows_a_sale: f64,
    /// Rows that it read for one scan.
    rows_a_scan: f64,
    pages: Vec<(String, f64)>,
}

/// Both sizes.
#[derive(Debug, Serialize)]
pub(super) struct Growth {
    few: Size,
    many: Size,
    fill_seconds: u64,
    check_seconds: u64,
    pub(super) unexpected: usize,
}

/// Measures both.
pub(super) async fn measure(server: &Server, world: &World, bench: &Bench, many: u32) -> anyhow::Result<Growth> {
    say(&format!("selling {FEW} orders with Postgres alone"));
    floor::sell(world, FEW, 1_000).await?;
    let mut unexpected = 0;
    let few = size(server, world, bench, 0, &mut unexpected).await?;
    let begin = Instant::now();
    let mut left = u64::from(many).saturating_sub(world.orders().await?);
    let mut stretch = 2_000;
    while left > 0 {
        let now = u32::try_from(left.min(u64::from(STRETCH)))?;
        let pace = floor::sell(world, now, stretch).await?;
        left -= u64::from(now);
        stretch += 1;
        unexpected += scan(server, world, world.codes().await?, None).await?.1;
        say(&format!("filling: {left} orders to go, {pace:.0} a second"));
    }
    let fill_seconds = begin.elapsed().as_secs();
    let many = size(server, world, bench, bench.rounds, &mut unexpected).await?;
    say("checking the invariants");
    let begin = Instant::now();
    unexpected += world.breaches().await?;
    Ok(Growth { few, many, fill_seconds, check_seconds: begin.elapsed().as_secs(), unexpected })
}

async fn size(server: &Server, world: &World, bench: &Bench, rounds_before: u32, unexpected: &mut usize) -> anyhow::Result<Size> {
    let mut conn = PgConnection::connect_with(&world.owner).await?;
    store::rest(&mut conn).await?;
    let orders = world.orders().await?;
    let (mut sales, mut scans, mut of_sales, mut of_scans, mut scanned) = (Vec::new(), Vec::new(), 0, 0, 0);
    for round in rounds_before + 1..=rounds_before + bench.rounds {
        say(&format!("{orders} orders are there: selling {} over HTTP and scanning their tickets", bench.orders));
        let before = counted(&mut conn).await?;
        let sold = sell(server, world, bench, round).await?;
        let between = counted(&mut conn).await?;
        let mut codes = world.codes().await?;
        codes.truncate(bench.orders as usize);
        let asked = counted(&mut conn).await?;
        scanned += codes.len();
        let gates = scan(server, world, codes, None).await?;
        of_sales += between - before;
        of_scans += counted(&mut conn).await? - asked;
        sales.push(sold.per_second);
        scans.push(gates.0.scans_per_second);
        *unexpected += sold.unexpected + gates.1;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    Ok(Size {
        orders,
        sales_per_second: median(sales),
        scans_per_second: median(scans),
        rows_a_sale: of_sales as f64 / f64::from(bench.orders * bench.rounds),
        rows_a_scan: of_scans as f64 / scanned as f64,
        pages: pages(server, world).await?,
    })
}

/// Rows read so far, when Postgres has told all that it knows.
async fn counted(conn: &mut PgConnection) -> anyhow::Result<i64> {
    tokio::time::sleep(COUNTED).await;
    Ok(store::rows_read(conn).await?.iter().map(|(_, rows)| rows).sum())
}

/// How long pages, lists and loops take, in milliseconds: medians.
async fn pages(server: &Server, world: &World) -> anyhow::Result<Vec<(String, f64)>> {
    let mut client = Client::connect(server.address, address_of(0)).await?;
    let body = json!({ "email": "one@mail.example", "name": "Mara Lindqvist", "lines": [{ "offer_id": world.offer.to_string(), "quantity": 1 }] });
    let key = format!("growth-of-pages-{}", world.orders().await?);
    let placed = client.send(Method::POST, "/v1/orders", "", &key, &body).await?;
    let Said { order_id: Some(order), secret: Some(secret), .. } = placed.said() else {
        anyhow::bail!("an order could not be placed: {}", placed.json());
    };
    let fan = format!("gf_order_{secret}");
    client.send(Method::POST, &format!("/v1/orders/{order}/payments"), &fan, &key, &json!({ "way": "simulated_instant" })).await?;
    let festival = world.festival.0;
    let asked = [
        ("page of the festival", "/f/bench".to_owned(), ""),
        ("page of an order", format!("/o/{order}/{secret}"), ""),
        ("an order", format!("/v1/orders/{order}"), fan.as_str()),
        ("its tickets", format!("/v1/orders/{order}/tickets"), fan.as_str()),
        ("newest orders", format!("/v1/festivals/{festival}/orders?limit=100"), world.token.as_str()),
        ("newest tickets", format!("/v1/festivals/{festival}/tickets?limit=100"), world.token.as_str()),
        ("newest scans", format!("/v1/festivals/{festival}/scans?limit=100"), world.token.as_str()),
        ("stocks", format!("/v1/festivals/{festival}/stocks"), world.token.as_str()),
    ];
    let mut took = Vec::new();
    for (what, path, token) in asked {
        let mut latencies = Latencies::default();
        for _ in 0..ASKED {
            let answer = client.send(Method::GET, &path, token, "", &Value::Null).await?;
            ensure!(answer.status == 200, "{path} answered {}", answer.status);
            latencies.note(answer.took);
        }
        took.push((what.to_owned(), latencies.quantile(0.5)));
    }
    let begin = Instant::now();
    orders::expire_due(&world.app).await?;
    took.push(("a look for holds that are due".to_owned(), begin.elapsed().as_secs_f64() * 1_000.0));
    let begin = Instant::now();
    let mut tx = world.app.for_promoter(world.staff.promoter).await?;
    reports::sales(&mut tx, world.festival, "UTC").await.context("the report of sales")?;
    took.push(("report of sales".to_owned(), begin.elapsed().as_secs_f64() * 1_000.0));
    Ok(took)
}

/// Prints both beside each other.
pub(super) fn print(growth: &Growth) {
    let row = |what: &str, few: f64, many: f64| println!("  {what:<30} {few:>12.1} {many:>12.1} {:>7.2}", many / few);
    println!("\n  {:<30} {:>12} {:>12} {:>7}", "orders that are there", growth.few.orders, growth.many.orders, "ratio");
    row("sales a second", growth.few.sales_per_second, growth.many.sales_per_second);
    row("scans a second", growth.few.scans_per_second, growth.many.scans_per_second);
    row("rows read for a sale", growth.few.rows_a_sale, growth.many.rows_a_sale);
    row("rows read for a scan", growth.few.rows_a_scan, growth.many.rows_a_scan);
    for ((what, few), (_, many)) in growth.few.pages.iter().zip(&growth.many.pages) {
        row(&format!("{what}, ms"), *few, *many);
    }
    println!(
        "\n  filled in {} s; all invariants were looked at in {} s; unexpected answers and broken invariants: {}",
        growth.fill_seconds, growth.check_seconds, growth.unexpected
    );
}
