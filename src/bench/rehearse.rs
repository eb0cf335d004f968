//! A rehearsal: an opening played against a running server, on a copy of a festival that is removed again.
//!
//! Fans come at a rate that does not wait for answers (open loop: what is late counts from the moment at which it was due), want what a real
//! sale wanted, and behave as people do: some abandon, some give up, some tap twice, some lose their signal and ask again with the same key, some
//! pay late; half of them share twenty addresses. Everybody keeps their own books, and in the end the books of the fans are laid beside those of
//! the house: every order that was acknowledged exists, nothing exists that nobody knows of, the counters equal what the fans hold.

use std::{
    collections::{BTreeMap, HashMap},
    io::{IsTerminal, Write},
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::json;
use sqlx::{Connection, postgres::PgConnectOptions};
use tokio::sync::Semaphore;

use super::{
    client::Client,
    copy::{self, Copy},
    fans::{Dice, Fan, Outcome, Stage, draw},
    per_second, processor_time, quantiles,
};
use crate::{
    app::App,
    festivals,
    id::{FestivalId, OfferId, OrderId, StockId},
    offers::{self, Offer},
    orders::{self, OrderStatus},
    reports::invariants,
    tickets,
};

/// What is played.
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[derive(Clone, Debug, clap::Args)]
pub struct Rehearse {
    /// The festival, by its address.
    #[arg(long, value_name = "SLUG")]
    pub festival: String,
    /// Play on a copy of it: days moved to today, offers open at once, no email leaves. Removed at the end with all its rows.
    #[arg(long)]
    pub rehearsal: bool,
    /// Leave the copy there; it is played on again by its own address.
    #[arg(long, requires = "rehearsal")]
    pub keep: bool,
    /// Remove a copy that was kept, and play nothing.
    #[arg(long, conflicts_with_all = ["rehearsal", "keep"])]
    pub remove: bool,
    /// In the copy, the capacity of everything that has one.
    #[arg(long, value_name = "N", requires = "rehearsal", value_parser = clap::value_parser!(i32).range(1..))]
    pub capacity: Option<i32>,
    /// Where the server answers.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub server: SocketAddr,
    /// How many fans come.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub fans: u32,
    /// How many fans come a second.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub rate: u32,
    /// How many scans are made a second meanwhile.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=5_000))]
    pub scans: u32,
    /// The most connections at once.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=8_192))]
    pub connections: u32,
    /// Percent of fans who do not simply buy: who abandon, give up, tap twice, lose their signal, pay late, a fifth each.
    #[arg(long, value_name = "PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub unruly: u32,
    /// The same seed plays the same fans.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// The report. Rates are a second, latencies milliseconds at the client (p50, p95, p99), from the moment a request was due.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    festival: String,
    fans: u32,
    offered_per_second: f64,
    achieved_per_second: f64,
    sales_per_second: f64,
    seconds: f64,
    place_ms: [f64; 3],
    pay_ms: [f64; 3],
    scan_ms: [f64; 3],
    scans_per_second: f64,
    /// Answers by what was asked and what was answered.
    answers: BTreeMap<String, usize>,
    sold: usize,
    refused: usize,
    abandoned: usize,
    given_up: usize,
    /// Answers that no fan should ever get, with the first of them.
    unexpected: usize,
    first_unexpected: Vec<String>,
    /// Where the books of the fans differ from those of the house.
    differences: Vec<String>,
    /// Rows that break an invariant of `gatefold check`.
    breaches: i64,
    generator_share: f64,
    /// How late the generator itself began what was due (p99).
    generator_late_ms: f64,
    generator_was_the_bottleneck: bool,
}

/// Plays, reports, removes.
///
/// # Errors
/// What went wrong, in a sentence.
pub async fn run(what: &Rehearse, app: &App, owner: &PgConnectOptions) -> anyhow::Result<ExitCode> {
    let found = festivals::by_slug(&app.pools.web, &what.festival).await?;
    let festival = found.with_context(|| format!("there is no festival at the address {}", what.festival))?;
    let marked = festival.rehearsal_of.is_some();
    if what.remove {
        ensure!(marked, "{} is no rehearsal; only a rehearsal can be removed", what.festival);
        remove(owner, festival.festival_id).await?;
        eprintln!("gatefold: {} is removed with all its rows", what.festival);
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(marked || what.rehearsal, "{} is no rehearsal: fans could buy what is played with; say --rehearsal to play on a copy of it", what.festival);
    let _ = Client::connect(what.server, Ipv4Addr::LOCALHOST).await?;
    let copied = if marked { festival.clone() } else { copy::begin(app, &festival).await? };
    let slug = &copied.terms.slug;
    let rehearsing = async {
        if !marked {
            copy::fill(app, &festival, &copied, what.capacity).await?;
        }
        let mut report = play(what, app, &copy::open(app, &copied).await?).await?;
        report.festival.clone_from(slug);
        let mut conn = sqlx::PgConnection::connect_with(owner).await?;
        let findings = invariants::check(&mut conn, app.clock.now()).await?;
        report.breaches = findings.iter().map(|f| f.breaches).sum();
        Ok(report)
    };
    // Whoever gives up half way leaves no copy behind either.
    let outcome = tokio::select! {
        outcome = rehearsing => outcome,
        error = super::given_up() => Err(error),
    };
    if marked || what.keep {
        eprintln!("gatefold: the copy stays at the address {slug}; `gatefold rehearse --festival {slug} --remove` removes it");
    } else {
        remove(owner, copied.festival_id).await?;
    }
    let report = outcome?;
    if what.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    let good = report.unexpected == 0 && report.differences.is_empty() && report.breaches == 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Removes a copy: takes it off sale, waits for what is on its way to it (a second of caches, five of patience), and deletes its rows.
pub(crate) async fn remove(owner: &PgConnectOptions, copy: FestivalId) -> anyhow::Result<()> {
    let mut conn = sqlx::PgConnection::connect_with(owner).await?;
    festivals::close_rehearsal(&mut conn, copy).await?;
    tokio::time::sleep(Duration::from_secs(7)).await;
    Ok(festivals::remove_rehearsal(&mut conn, copy).await?)
}

/// A bar on a terminal, a line every tenth elsewhere.
fn show_progress(stage: &Arc<Stage>, fans: u32) -> tokio::task::JoinHandle<()> {
    let stage = stage.clone();
    tokio::spawn(async move {
        let (terminal, mut shown, begin) = (std::io::stderr().is_terminal(), 0, Instant::now());
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let done = stage.done.load(Ordering::Relaxed);
            let part = done * 10 / fans.max(1) as usize;
            let line = format!(
                "[{}{}] {done} of {fans} fans, {} on stage, {:.0} s",
                "#".repeat(part * 3),
                ".".repeat(30 - part * 3),
                stage.busy.load(Ordering::Relaxed).saturating_sub(done),
                begin.elapsed().as_secs_f64()
            );
            if terminal {
                eprint!("\r{line}   ");
                let _ = std::io::stderr().flush();
            } else if part > shown {
                shown = part;
                eprintln!("gatefold: {line}");
            }
        }
    })
}

async fn play(what: &Rehearse, app: &App, copy: &Copy) -> anyhow::Result<Report> {
    let offers: Vec<Offer> = copy.offers.iter().filter(|o| o.paused.is_none() && !o.tiers.is_empty()).cloned().collect();
    ensure!(!offers.is_empty(), "nothing is on sale in {}", what.festival);
    let stocks_before = stocks(app, copy.festival).await?;
    let stage = Arc::new(Stage {
        server: what.server,
        run: u64::from(std::process::id()) << 32 | u64::from(app.clock.now().timestamp_subsec_nanos()),
        idle: Mutex::default(),
        seats: Arc::new(Semaphore::new(what.connections as usize)),
        made: AtomicUsize::new(0),
        busy: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        book: Mutex::default(),
    });
    let mut dice = Dice(what.seed);
    let fans: Vec<Fan> = (0..what.fans).map(|n| draw(n, what.unruly, &offers, &mut dice)).collect();
    let progress = show_progress(&stage, what.fans);
    let (used, begin) = (processor_time(), Instant::now());
    let gates = tokio::spawn(scan(stage.clone(), app.clone(), copy.festival, copy.promoter, copy.devices.clone(), what.scans, begin));
    let mut visits = tokio::task::JoinSet::new();
    for fan in fans.iter().cloned() {
        let due = begin + Duration::from_secs(1) * fan.number / what.rate;
        tokio::time::sleep_until(due.into()).await;
        let stage = stage.clone();
        stage.busy.fetch_add(1, Ordering::Relaxed);
        visits.spawn(async move {
            stage.book().late.note(due.elapsed());
            (fan.number, stage.visit(&fan, due).await)
        });
    }
    let offered = begin.elapsed();
    let mut outcomes: Vec<Outcome> = vec![Outcome::Unknown; fans.len()];
    while let Some(visited) = visits.join_next().await {
        let (number, outcome) = visited?;
        outcomes[number as usize] = outcome;
    }
    gates.abort();
    let (driving, busy) = (begin.elapsed(), processor_time().saturating_sub(used));
    progress.abort();
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
    for (fan, outcome) in fans.iter().zip(&mut outcomes) {
        if matches!(outcome, Outcome::Unknown) {
            *outcome = resolve(&stage, fan).await;
        }
    }
    let differences = compare(app, copy, &stage, &fans, &outcomes, &stocks_before).await?;
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|o| is(o)).count();
    let mut book = stage.book();
    let answering = book.last_answer.map_or(driving, |last| last - begin).max(offered);
    // Late payers would stretch it: what was paid while fans were still coming.
    let paid_meanwhile = book.paid_at.iter().filter(|at| **at <= begin + answering).count();
    let sold = count(|o| matches!(o, Outcome::Paid { .. }));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    #[expect(clippy::cast_precision_loss, reason = "a handful of cores")]
    let generator_share = busy.as_secs_f64() / (driving.as_secs_f64() * cores as f64);
    let generator_late_ms = book.late.quantile(0.99);
    let offered_per_second = per_second(fans.len(), offered.max(Duration::from_millis(1)));
    Ok(Report {
        festival: String::new(),
        fans: what.fans,
        offered_per_second,
        achieved_per_second: per_second(fans.len(), answering),
        sales_per_second: per_second(paid_meanwhile, answering),
        seconds: driving.as_secs_f64(),
        place_ms: quantiles(&mut book.place),
        pay_ms: quantiles(&mut book.pay),
        scan_ms: quantiles(&mut book.scan),
        scans_per_second: per_second(book.scan.count(), driving),
        answers: book.answers.clone(),
        sold,
        refused: count(|o| matches!(o, Outcome::Refused)),
        abandoned: count(|o| matches!(o, Outcome::Holds { .. })),
        given_up: count(|o| matches!(o, Outcome::GaveUp { .. })),
        unexpected: book.unexpected_count,
        first_unexpected: book.unexpected.clone(),
        differences,
        breaches: 0,
        generator_share,
        generator_late_ms,
        generator_was_the_bottleneck: generator_share > 0.35 || generator_late_ms > 100.0 || offered_per_second < 0.98 * f64::from(what.rate),
    })
}

/// Scans new tickets at the gates of the copy at a pace of its own, open loop, until it is stopped.
async fn scan(stage: Arc<Stage>, app: App, festival: FestivalId, promoter: crate::id::PromoterId, devices: Vec<String>, rate: u32, begin: Instant) {
    if rate == 0 || devices.is_empty() {
        return;
    }
    let mut codes: std::collections::VecDeque<String> = std::collections::VecDeque::new();
    let mut newest = None;
    for n in 0_u32.. {
        let due = begin + Duration::from_secs(1) * n / rate;
        tokio::time::sleep_until(due.into()).await;
        if codes.is_empty() {
            // One look a second at what is new; a gate that has nobody waits.
            if !n.is_multiple_of(rate) {
                continue;
            }
            match new_codes(&app, festival, promoter, &mut newest, rate).await {
                Ok(new) => codes.extend(new),
                Err(error) => stage.broke("scan", &error.to_string()),
            }
        }
        let Some(code) = codes.pop_front() else { continue };
        let (stage, token) = (stage.clone(), devices[n as usize % devices.len()].clone());
        tokio::spawn(async move {
            let now = crate::clock::Clock::System.now();
            let body = json!({ "scan_id": crate::id::fresh(FestivalId::HOUSE, now), "ticket_code": code, "scanned_at": now });
            match stage.send(n.wrapping_mul(2), "/v1/scans", &token, "", &body).await {
                Ok(answer) => {
                    stage.book().scan.note(due.elapsed());
                    stage.note("scan", &answer, answer.status == 201);
                }
                Err(error) => stage.broke("scan", &format!("{error:#}")),
            }
        });
    }
}

/// The codes of the newest tickets that were not scanned yet.
async fn new_codes(
    app: &App,
    festival: FestivalId,
    promoter: crate::id::PromoterId,
    newest: &mut Option<uuid::Uuid>,
    most: u32,
) -> Result<Vec<String>, sqlx::Error> {
    let mut tx = app.for_promoter(promoter).await?;
    let page = tickets::of_festival(&mut tx, festival, None, most.min(1_000)).await?;
    tx.commit().await?;
    let mut codes = Vec::new();
    for ticket in page.iter().take_while(|t| newest.is_none_or(|n| t.ticket_id.0 > n)) {
        codes.extend(ticket.code_text(app).await?);
    }
    *newest = page.first().map(|t| t.ticket_id.0).or(*newest);
    Ok(codes)
}

/// A fan whose last answer was lost asks again with the same key, until the answer is definite.
async fn resolve(stage: &Stage, fan: &Fan) -> Outcome {
    for _ in 0..30 {
        if let Ok(answer) = stage.send(fan.number, "/v1/orders", "", &stage.key(fan), &stage.order(fan)).await
            && answer.status != 503
        {
            return match stage.placed(fan, &answer) {
                Some((order, _, total)) => Outcome::Holds { order, total },
                None => Outcome::Refused,
            };
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Outcome::Unknown
}

/// Held and sold of every stock.
async fn stocks(app: &App, festival: FestivalId) -> anyhow::Result<HashMap<StockId, (Option<i32>, i64)>> {
    let stocks = offers::stocks_of(&app.pools.web, festival).await?;
    Ok(stocks.into_iter().map(|s| (s.stock_id, (s.capacity, i64::from(s.held) + i64::from(s.sold)))).collect())
}

/// Lays the books of the fans beside those of the house.
async fn compare(
    app: &App,
    copy: &Copy,
    stage: &Stage,
    fans: &[Fan],
    outcomes: &[Outcome],
    before: &HashMap<StockId, (Option<i32>, i64)>,
) -> anyhow::Result<Vec<String>> {
    let mut house: HashMap<OrderId, (OrderStatus, i64)> = HashMap::new();
    let mut last = None;
    loop {
        let mut tx = app.for_promoter(copy.promoter).await?;
        let page = orders::orders_of(&mut tx, copy.festival, last, 5_000).await?;
        tx.commit().await?;
        let Some(oldest) = page.last() else { break };
        last = Some(oldest.order_id.0);
        house
            .extend(page.iter().filter(|o| o.email.ends_with(&format!("-{:x}@rehearsal.example", stage.run))).map(|o| (o.order_id, (o.status, o.total.minor))));
    }
    let mut differences = Vec::new();
    let mut taken: HashMap<OfferId, i64> = HashMap::new();
    let mut returned: HashMap<OfferId, i64> = HashMap::new();
    for (fan, outcome) in fans.iter().zip(outcomes) {
        let (order, total, ok): (OrderId, Option<i64>, fn(OrderStatus) -> bool) = match outcome {
            Outcome::Paid { order, total } => (*order, Some(*total), |s| s == OrderStatus::Paid),
            Outcome::Holds { order, total } => (*order, Some(*total), |s| matches!(s, OrderStatus::Held | OrderStatus::Expired | OrderStatus::Paid)),
            Outcome::GaveUp { order } => (*order, None, |s| s == OrderStatus::Cancelled),
            Outcome::Refused => continue,
            Outcome::Unknown => {
                differences.push(format!("fan {} never got a definite answer", fan.number));
                continue;
            }
        };
        match house.remove(&order) {
            None => differences.push(format!("order {order} was acknowledged and is not there")),
            Some((status, _)) if !ok(status) => differences.push(format!("order {order} is {status:?}, its fan knows {outcome:?}")),
            Some((_, minor)) if total.is_some_and(|t| t != minor) => differences.push(format!("order {order} costs {minor}, its fan was told {total:?}")),
            Some((status, _)) => {
                let into = if matches!(status, OrderStatus::Held | OrderStatus::Paid) { &mut taken } else { &mut returned };
                for (offer, quantity) in &fan.basket {
                    *into.entry(*offer).or_default() += i64::from(*quantity);
                }
            }
        }
    }
    differences.extend(house.keys().map(|order| format!("order {order} exists and no fan knows of it")));
    let after = stocks(app, copy.festival).await?;
    for offer in &copy.offers {
        let (capacity, now) = after.get(&offer.stock_id).copied().unwrap_or((None, 0));
        let moved = now - before.get(&offer.stock_id).map_or(0, |(_, n)| *n);
        let known = taken.get(&offer.offer_id).copied().unwrap_or(0);
        if moved != known {
            differences.push(format!("offer {}: {moved} units are held or sold, its fans know of {known}", offer.offer_id));
        }
        if let (Some(capacity), Some(refused)) = (capacity, stage.book().smallest_refused.get(&offer.offer_id))
            && i64::from(capacity) - now >= i64::from(*refused) + returned.get(&offer.offer_id).copied().unwrap_or(0)
            && offer.stocks.is_empty()
            && offer.tiers.iter().all(|t| t.stock_id.is_none())
        {
            differences.push(format!("offer {}: {refused} were refused as sold out while {} were free", offer.offer_id, i64::from(capacity) - now));
        }
    }
    Ok(differences)
}

fn print(report: &Report) {
    let three = |ms: [f64; 3]| format!("p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms", ms[0], ms[1], ms[2]);
    println!("\n  {} fans in {:.1} s on {}", report.fans, report.seconds, report.festival);
    println!(
        "  offered {:.0} a second, answered {:.0} a second, sold {:.0} a second\n",
        report.offered_per_second, report.achieved_per_second, report.sales_per_second
    );
    println!("  placing  {}", three(report.place_ms));
    println!("  paying   {}", three(report.pay_ms));
    if report.scans_per_second > 0.0 {
        println!("  scanning {}, {:.0} a second", three(report.scan_ms), report.scans_per_second);
    }
    println!("\n  {} bought, {} were refused, {} left a hold behind, {} gave it up", report.sold, report.refused, report.abandoned, report.given_up);
    let widest = report.answers.values().copied().max().unwrap_or(1).max(1);
    for (kind, count) in &report.answers {
        println!("  {kind:<28} {count:>8}  {}", "#".repeat((count * 30).div_ceil(widest)));
    }
    println!("\n  unexpected answers {}, differences of the books {}, broken invariants {}", report.unexpected, report.differences.len(), report.breaches);
    for line in report.first_unexpected.iter().chain(report.differences.iter().take(10)) {
        println!("    {line}");
    }
    println!("  the generator took {:.0} % of the machine and was {:.1} ms late (p99)", report.generator_share * 100.0, report.generator_late_ms);
    if report.generator_was_the_bottleneck {
        println!("  that is too much: the generator was the bottleneck, the figures are worse than the server is");
    }
}
