//! Figures of this machine: what is sold and scanned through the HTTP API, beside what Postgres alone does with the very same
//! statements and rows, in one run. The server is a process of its own, as in the field; generator, server and Postgres share
//! the cores. Everything happens in a folder of its own that is removed at the end.

pub(crate) mod client;
pub(crate) mod copy;
mod fans;
mod floor;
mod growth;
mod pages;
pub mod rehearse;
mod store;
mod world;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::{
    client::{Client, Latencies, Said, address_of},
    world::World,
};
use crate::{
    clock::Clock,
    config::Place,
    embedded::{self, Embedded},
    id::FestivalId,
};

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Bench {
    /// The folder to measure in: it must not be there yet, and it is removed at the end.
    #[arg(long, env = "GATEFOLD_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Orders a round, each placed and paid; the floor takes as many.
    #[arg(long, default_value_t = 4_000, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=1_000_000))]
    pub orders: u32,
    /// Rounds of server and floor in turn; the ratio is their median.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub rounds: u32,
    /// Connections of the buyers.
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub connections: u32,
    /// Scans a second in the part that keeps a pace.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub scans: u32,
    /// Measure growth instead: the rounds with ten thousand orders there, then with this many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(20_000..=50_000_000))]
    pub fill: Option<u32>,
    /// Measure pages and the waiting room instead, beside an empty handler of the framework.
    #[arg(long, conflicts_with = "fill")]
    pub pages: bool,
    /// The figures as JSON.
    #[arg(long)]
    pub json: bool,
    /// Serve the empty handler: for the measurement of pages, which starts itself with it.
    #[arg(long, hide = true)]
    empty: Option<SocketAddr>,
}

/// What was measured. Rates are a second, latencies in milliseconds, memory in megabytes.
#[derive(Debug, Serialize)]
struct Figures {
    cores: usize,
    first_start_ms: u128,
    start_ms: u128,
    idle_mb: u64,
    peak_mb: u64,
    sale: Vec<Sale>,
    ratio_median: f64,
    scans: Vec<Scans>,
    generator_share: f64,
    unexpected: usize,
}

/// One round of selling.
#[derive(Debug, Serialize)]
struct Sale {
    sales_per_second: f64,
    floor_per_second: f64,
    ratio: f64,
    place_ms: [f64; 3],
    pay_ms: [f64; 3],
}

/// One way of scanning.
#[derive(Debug, Serialize)]
struct Scans {
    how: String,
    scans_per_second: f64,
    scan_ms: [f64; 3],
}

/// A server of this very program, in a process of its own.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        // As an operator would, so that its Postgres ends with it; only then by force.
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(10) && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts it and waits for its first page; how long that took.
    async fn start(folder: &Path) -> anyhow::Result<(Self, Duration)> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = std::fs::File::options().create(true).append(true).open(folder.with_extension("log"))?;
        let begin = Instant::now();
        let child = Command::new(std::env::current_exe()?)
            .args(["serve", "--simulated-payments", "--listen", &address.to_string(), "--public-url", &format!("http://{address}"), "--data"])
            .arg(folder)
            .env_remove("DATABASE_URL")
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("the server could not be started")?;
        let mut server = Self { child, address };
        loop {
            if let Ok(mut client) = Client::connect(address, address_of(0)).await
                && client.send(Method::GET, "/", "", "", &Value::Null).await.is_ok_and(|answer| answer.status == 200)
            {
                return Ok((server, begin.elapsed()));
            }
            let ended = server.child.try_wait()?.is_some() || begin.elapsed() > Duration::from_secs(120);
            ensure!(!ended, "the server did not start; its log is {}", folder.with_extension("log").display());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it as an operator would.
    async fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        let begin = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(begin.elapsed() < Duration::from_secs(40), "the server did not drain");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// A line of `/proc/<pid>/status` in megabytes.
    fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        status.lines().find_map(|l| l.strip_prefix(line)?.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
    }
}

/// Processor time of this process so far, all threads.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    // USER_HZ is 100 on every Linux.
    Duration::from_millis(ticks * 10)
}

/// Measures and prints.
///
/// # Errors
/// What went wrong, in a sentence.
pub async fn run(bench: &Bench) -> anyhow::Result<ExitCode> {
    if let Some(address) = bench.empty {
        pages::serve_empty(address).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let default = Place { data: None, database_url: None, master_key: None }.folder().with_file_name(format!("gatefold-bench-{}", std::process::id()));
    let folder = bench.data.clone().unwrap_or(default);
    ensure!(!folder.exists(), "{} is there already; a measurement wants a folder of its own", folder.display());
    let measuring = async {
        match bench.fill {
            Some(many) => grow(bench, &folder, many).await,
            None if bench.pages => look(bench, &folder).await,
            None => measure(bench, &folder).await.and_then(|figures| {
                shown(bench, &figures, print)?;
                Ok(figures.unexpected)
            }),
        }
    };
    // Whoever gives up half way leaves no server and no folder behind either.
    let outcome = tokio::select! {
        outcome = measuring => outcome,
        error = given_up() => Err(error),
    };
    let ended = tokio::task::block_in_place(|| embedded::wait_for_the_last_one(&folder.join("postgres"), &say));
    let _ = std::fs::remove_dir_all(&folder);
    let unexpected = outcome?;
    ended?;
    let _ = std::fs::remove_file(folder.with_extension("log"));
    Ok(if unexpected == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Waits until somebody gives the command up, with ctrl-c or SIGTERM.
async fn given_up() -> anyhow::Error {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => anyhow::anyhow!("given up"),
            _ = terminate.recv() => anyhow::anyhow!("given up"),
        },
        Err(error) => error.into(),
    }
}

/// Shows figures to people, or as JSON.
fn shown<T: Serialize>(bench: &Bench, figures: &T, print: impl Fn(&Bench, &T)) -> anyhow::Result<()> {
    if bench.json {
        println!("{}", serde_json::to_string_pretty(figures)?);
    } else {
        print(bench, figures);
    }
    Ok(())
}

/// A server on a cluster of its own, and what it sells.
async fn stage(bench: &Bench, folder: &Path) -> anyhow::Result<(Server, World)> {
    std::fs::create_dir_all(folder)?;
    say("starting a server on a cluster of its own");
    let (server, _) = Server::start(folder).await?;
    let embedded = tokio::task::block_in_place(|| Embedded::attach(folder, &|_| {}))?;
    let world = World::make(&embedded.owner(), folder, bench).await?;
    Ok((server, world))
}

/// Measures pages.
async fn look(bench: &Bench, folder: &Path) -> anyhow::Result<usize> {
    let (server, world) = stage(bench, folder).await?;
    let pages = pages::measure(&server, &world, bench, folder).await?;
    server.stop().await?;
    shown(bench, &pages, |_, pages| pages::print(pages))?;
    Ok(pages.unexpected)
}

/// Measures the same with few orders and with many.
async fn grow(bench: &Bench, folder: &Path, many: u32) -> anyhow::Result<usize> {
    let (server, world) = stage(bench, folder).await?;
    let growth = growth::measure(&server, &world, bench, many).await?;
    server.stop().await?;
    shown(bench, &growth, |_, growth| growth::print(growth))?;
    Ok(growth.unexpected)
}

fn say(what: &str) {
    eprintln!("gatefold: {what}");
}

async fn measure(bench: &Bench, folder: &Path) -> anyhow::Result<Figures> {
    std::fs::create_dir_all(folder)?;
    say("starting a server on a cluster of its own");
    let (first, first_start) = Server::start(folder).await?;
    first.stop().await?;
    let (server, start) = Server::start(folder).await?;
    let embedded = tokio::task::block_in_place(|| Embedded::attach(folder, &|_| {}))?;
    let world = World::make(&embedded.owner(), folder, bench).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle_mb = server.memory("VmRSS:");
    let (mut sale, mut unexpected) = (Vec::new(), 0);
    let (mut generator, mut while_driving) = (Duration::ZERO, Duration::ZERO);
    for round in 1..=bench.rounds {
        say(&format!("round {round} of {}: selling {} over HTTP", bench.rounds, bench.orders));
        let (used, begin) = (processor_time(), Instant::now());
        let mut sold = sell(&server, &world, bench, round).await?;
        generator += processor_time().saturating_sub(used);
        while_driving += begin.elapsed();
        unexpected += sold.unexpected;
        say(&format!("round {round} of {}: the same rows, Postgres alone", bench.rounds));
        let floor_per_second = floor::sell(&world, bench.orders, round).await?;
        sale.push(Sale {
            sales_per_second: sold.per_second,
            floor_per_second,
            ratio: sold.per_second / floor_per_second,
            place_ms: quantiles(&mut sold.place),
            pay_ms: quantiles(&mut sold.pay),
        });
    }
    say("scanning as fast as 64 gates can");
    let codes = world.codes().await?;
    let third = codes.len() / 3;
    let fast = scan(&server, &world, codes[..third].to_vec(), None).await?;
    say(&format!("scanning {} a second", bench.scans));
    let paced = scan(&server, &world, codes[third..2 * third].to_vec(), Some(bench.scans)).await?;
    say(&format!("scanning {} a second, beside {FORGED} forged codes a minute", bench.scans));
    let (stop, stopped) = watch::channel(false);
    let forger = tokio::spawn(forge(server.address, world.devices[0].clone(), codes[0].clone(), stopped));
    let mut beside = scan(&server, &world, codes[2 * third..].to_vec(), Some(bench.scans)).await?;
    let _ = stop.send(true);
    let (forged, wrong) = forger.await??;
    beside.0.how = format!("{}, beside {forged} forged codes at one gate ({FORGED} a minute)", beside.0.how);
    unexpected += fast.1 + paced.1 + beside.1 + wrong;
    let peak_mb = server.memory("VmHWM:");
    say("checking the invariants");
    unexpected += world.breaches().await?;
    server.stop().await?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    #[expect(clippy::cast_precision_loss, reason = "a handful of cores")]
    let generator_share = generator.as_secs_f64() / (while_driving.as_secs_f64() * cores as f64);
    Ok(Figures {
        cores,
        first_start_ms: first_start.as_millis(),
        start_ms: start.as_millis(),
        idle_mb,
        peak_mb,
        ratio_median: median(sale.iter().map(|s| s.ratio).collect()),
        sale,
        scans: vec![fast.0, paced.0, beside.0],
        generator_share,
        unexpected,
    })
}

fn quantiles(latencies: &mut Latencies) -> [f64; 3] {
    [0.5, 0.95, 0.99].map(|share| latencies.quantile(share))
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(0.0)
}

struct Sold {
    per_second: f64,
    place: Latencies,
    pay: Latencies,
    orders: usize,
    unexpected: usize,
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn per_second(n: usize, took: Duration) -> f64 {
    n as f64 / took.as_secs_f64()
}

/// Sells: each buyer places an order, pays it at once, and the next one comes. Closed loop.
async fn sell(server: &Server, world: &World, bench: &Bench, round: u32) -> anyhow::Result<Sold> {
    let left = Arc::new(AtomicUsize::new(bench.orders as usize));
    let mut clients = Vec::with_capacity(bench.connections as usize);
    for number in 0..bench.connections as usize {
        clients.push(Client::connect(server.address, address_of(number)).await?);
    }
    let begin = Instant::now();
    let mut buyers = tokio::task::JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        let (left, offer) = (left.clone(), world.offer.to_string());
        buyers.spawn(async move {
            let mut sold = Sold { per_second: 0.0, place: Latencies::default(), pay: Latencies::default(), orders: 0, unexpected: 0 };
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                let n = sold.orders + sold.unexpected;
                let key = format!("bench-{round:02}-{number:04}-{n:08}");
                let body = json!({ "email": format!("fan{round}-{number}-{n}@mail.example"), "name": "Mara Lindqvist", "lines": [{ "offer_id": offer, "quantity": 1 }] });
                let placed = client.send(Method::POST, "/v1/orders", "", &key, &body).await?;
                let Said { order_id: Some(order), secret: Some(secret), .. } = placed.said() else {
                    sold.unexpected += 1;
                    continue;
                };
                sold.place.note(placed.took);
                let (path, token) = (format!("/v1/orders/{order}/payments"), format!("gf_order_{secret}"));
                let paid = client.send(Method::POST, &path, &token, &key, &json!({ "way": "simulated_instant" })).await?;
                if paid.status != 201 || paid.said().status != "captured" {
                    sold.unexpected += 1;
                    continue;
                }
                sold.pay.note(paid.took);
                sold.orders += 1;
            }
            Ok::<_, anyhow::Error>(sold)
        });
    }
    let mut all = Sold { per_second: 0.0, place: Latencies::default(), pay: Latencies::default(), orders: 0, unexpected: 0 };
    while let Some(sold) = buyers.join_next().await {
        let sold = sold??;
        all.place.extend(sold.place);
        all.pay.extend(sold.pay);
        all.orders += sold.orders;
        all.unexpected += sold.unexpected;
    }
    all.per_second = per_second(all.orders, begin.elapsed());
    Ok(all)
}

/// Forged codes a minute beside the scans.
const FORGED: u32 = 10_000;

/// Scans every code once at 64 gates: as fast as they can, or at a pace that does not wait for answers (open loop: a late answer
/// counts from the moment at which its scan was due).
async fn scan(server: &Server, world: &World, codes: Vec<String>, pace: Option<u32>) -> anyhow::Result<(Scans, usize)> {
    let (codes, next) = (Arc::new(codes), Arc::new(AtomicUsize::new(0)));
    let mut clients = Vec::new();
    for number in 0..64 {
        clients.push((Client::connect(server.address, address_of(number)).await?, world.devices[number % world.devices.len()].clone()));
    }
    let begin = Instant::now();
    let mut gates = tokio::task::JoinSet::new();
    for (mut client, token) in clients {
        let (codes, next) = (codes.clone(), next.clone());
        gates.spawn(async move {
            let (mut latencies, mut unexpected) = (Latencies::default(), 0);
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(code) = codes.get(n) else { return Ok::<_, anyhow::Error>((latencies, unexpected)) };
                let mut late = Duration::ZERO;
                if let Some(pace) = pace {
                    let due = begin + Duration::from_secs(1) * u32::try_from(n)? / pace;
                    tokio::time::sleep_until(due.into()).await;
                    late = due.elapsed();
                }
                let now = Clock::System.now();
                let body = json!({ "scan_id": crate::id::fresh(FestivalId::HOUSE, now), "ticket_code": code, "scanned_at": now });
                let answer = client.send(Method::POST, "/v1/scans", &token, "", &body).await?;
                latencies.note(answer.took + late);
                unexpected += usize::from(answer.status != 201 || answer.said().verdict.as_deref() != Some("admitted"));
            }
        });
    }
    let (mut latencies, mut unexpected) = (Latencies::default(), 0);
    while let Some(gate) = gates.join_next().await {
        let (l, u) = gate??;
        latencies.extend(l);
        unexpected += u;
    }
    let how = pace.map_or_else(|| "64 gates without a pause".to_owned(), |pace| format!("{pace} a second, open loop"));
    Ok((Scans { how, scans_per_second: per_second(codes.len(), begin.elapsed()), scan_ms: quantiles(&mut latencies) }, unexpected))
}

/// Presents forged codes at one gate, evenly, until it is told to stop: well formed, of this festival, with another signature each. How many, and how many of
/// them were not refused.
async fn forge(address: SocketAddr, token: String, code: String, stop: watch::Receiver<bool>) -> anyhow::Result<(u32, usize)> {
    let mut client = Client::connect(address, address_of(64)).await?;
    let (begin, mut n, mut wrong) = (Instant::now(), 0_u32, 0);
    while !*stop.borrow() {
        tokio::time::sleep_until((begin + Duration::from_mins(1) * n / FORGED).into()).await;
        // Letters amid the signature: whatever they say, they do not sign this.
        let letters: String = (0..8).map(|i| char::from(b'A' + u8::try_from(n >> (3 * i) & 7).unwrap_or(0))).collect();
        let forged = format!("{}{letters}{}", &code[..80], &code[88..]);
        let now = Clock::System.now();
        let body = json!({ "scan_id": crate::id::fresh(FestivalId::HOUSE, now), "ticket_code": forged, "scanned_at": now });
        let answer = client.send(Method::POST, "/v1/scans", &token, "", &body).await?;
        wrong += usize::from(answer.status != 201 || answer.said().verdict.as_deref() != Some("refused"));
        n += 1;
    }
    Ok((n, wrong))
}

fn print(bench: &Bench, figures: &Figures) {
    println!("\n  {} cores; generator, server and Postgres on the same machine; fsync on\n", figures.cores);
    println!("  first start {} ms (a new cluster, migrations), later starts {} ms, each to the first page", figures.first_start_ms, figures.start_ms);
    println!("  memory of the server: {} MB idle, {} MB at its peak\n", figures.idle_mb, figures.peak_mb);
    println!("  selling {} orders, place and pay, {} connections, closed loop", bench.orders, bench.connections);
    println!("  {:>10} {:>10} {:>7}   {:>22}   {:>22}", "sales/s", "floor/s", "ratio", "place ms p50 p95 p99", "pay ms p50 p95 p99");
    for s in &figures.sale {
        let three = |ms: [f64; 3]| format!("{:>8.1} {:>6.1} {:>6.1}", ms[0], ms[1], ms[2]);
        println!("  {:>10.0} {:>10.0} {:>7.2}   {}   {}", s.sales_per_second, s.floor_per_second, s.ratio, three(s.place_ms), three(s.pay_ms));
    }
    println!("  the floor is the same statements in full batches without HTTP; median ratio {:.2}\n", figures.ratio_median);
    for s in &figures.scans {
        let [a, b, c] = s.scan_ms;
        println!("  scanning, {}: {:.0} scans/s, p50 {a:.1} ms, p95 {b:.1} ms, p99 {c:.1} ms", s.how, s.scans_per_second);
    }
    println!(
        "\n  the generator took {:.0} % of the machine while selling; unexpected answers and broken invariants: {}",
        figures.generator_share * 100.0,
        figures.unexpected
    );
    if figures.generator_share > 0.35 {
        println!("  that is more than 35 %: the generator was the bottleneck, the figures are too low");
    }
}
