//! A sale goes on while something below it breaks: the network to Postgres, Postgres itself, single connections, a lock that somebody
//! holds, a server that stands still, a log that nobody reads. What was acknowledged stays, what had no answer gets one under the same key, nobody waits long.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use sqlx::{
    Connection, Executor,
    postgres::{PgConnectOptions, PgConnection},
};
use tokio::net::TcpStream;

use crate::{
    actors::{Anybody, Device, key},
    clusters::{Cluster, socket_of},
    faults::{a_free_port, signal, until},
    house::{House, fresh_database},
    proxy::{Mode, Proxy},
    sale::{Seen, Shop, all, by_port, by_socket, longest},
    servers::gatefold,
};

/// How long an answer of ours may take whatever the database does, and a moment for a busy machine.
const PATIENCE: Duration = Duration::from_millis(5_500);
/// How soon a sale goes on when what broke is whole again.
const HEALED: Duration = Duration::from_secs(10);
const BUYERS: usize = 16;

async fn ask<T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin>(conn: &mut PgConnection, question: &'static str) -> T {
    sqlx::query_scalar(question).fetch_one(conn).await.unwrap()
}

/// A server behind a network that can fail.
async fn behind_a_proxy(name: &str) -> (PgConnectOptions, Proxy, Shop) {
    let database = fresh_database(&format!("outages_{name}")).await;
    let proxy = Proxy::to(socket_of(&database)).await;
    let shop = Shop::open(name, &database, &by_port(&database, proxy.port)).await;
    (database, proxy, shop)
}

fn between(seen: &[Seen], begin: Instant, end: Instant) -> impl Iterator<Item = &Seen> {
    seen.iter().filter(move |s| s.begun >= begin && s.begun + s.took <= end)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_late_then_silent_then_broken_costs_patience_and_no_order() {
    let (database, proxy, shop) = behind_a_proxy("network").await;
    let sale = shop.sell(&[shop.served.anybody()], BUYERS).await;
    sale.sells(Instant::now(), 50, HEALED).await;

    let late = Instant::now();
    proxy.set(Mode::Delay(Duration::from_millis(100)));
    sale.sells(late, 5, Duration::from_secs(30)).await;
    let silent = Instant::now();
    proxy.set(Mode::BlackHole);
    tokio::time::sleep(Duration::from_secs(if all() { 30 } else { 10 })).await;
    let broken = Instant::now();
    proxy.set(Mode::Reset);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let whole = Instant::now();
    proxy.set(Mode::Pass);
    let took = sale.sells(whole, 50, HEALED).await;

    let (books, seen) = sale.close().await;
    println!("late for {:?}; whole again, 50 orders after {took:?}", silent - late);
    let done = (proxy.count(|c| &c.delayed), proxy.count(|c| &c.swallowed_bytes), proxy.count(|c| &c.resets));
    assert!(done.0 > 100 && done.1 > 100 && done.2 > 0, "the network did not fail: {done:?}");
    // What was asked for while nothing came through was told so, and nothing else.
    let shed = between(&seen, silent + Duration::from_millis(500), broken).filter(|s| matches!(s.what, "place" | "pay")).collect::<Vec<_>>();
    assert!(!shed.is_empty() && shed.iter().all(|s| s.status == Some(503)), "{shed:?}");
    for what in ["place", "pay", "look"] {
        assert!(longest(&seen, &[what]) <= PATIENCE, "{what} took {:?}", longest(&seen, &[what]));
    }
    shop.settle(books, &database).await;
    shop.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_that_ends_without_a_word_leaves_no_connection_behind() {
    let (database, proxy, shop) = behind_a_proxy("silence").await;
    let sale = shop.sell(&[shop.served.anybody()], BUYERS).await;
    sale.sells(Instant::now(), 50, HEALED).await;
    proxy.set(Mode::BlackHole);
    // Longer than an attempt of a batch, so that the next one meets the silence, too.
    tokio::time::sleep(Duration::from_secs(if all() { 30 } else { 8 })).await;
    // The old connections stay open, and what was swallowed never comes.
    let whole = Instant::now();
    proxy.set(Mode::Pass);
    let took = sale.sells(whole, 50, HEALED).await;
    until("pages", HEALED.saturating_sub(whole.elapsed()), async || sale.answers(whole, "look", 200) >= 10).await;
    let (books, seen) = sale.close().await;
    println!("50 orders after {took:?}");
    assert!(proxy.count(|c| &c.swallowed_bytes) > 100);
    assert!(longest(&seen, &["place", "pay", "look"]) <= PATIENCE);
    shop.settle(books, &database).await;
    shop.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_amid_a_silence_stops() {
    let (_, proxy, mut shop) = behind_a_proxy("deaf").await;
    let sale = shop.sell(&[shop.served.anybody()], BUYERS).await;
    sale.sells(Instant::now(), 50, HEALED).await;
    let silent = Instant::now();
    proxy.set(Mode::BlackHole);
    until("a refusal", HEALED, async || sale.answers(silent, "place", 503) > 0).await;
    shop.served.terminate();
    let told = Instant::now();
    assert_eq!(shop.served.end().await.code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(30), "{:?}", told.elapsed());
    println!("stopped after {:?}", told.elapsed());
    sale.close().await;
    shop.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_amid_messages_and_commits_make_exactly_one_order_of_a_key() {
    let (database, proxy, shop) = behind_a_proxy("cuts").await;
    let sale = shop.sell(&[shop.served.anybody()], BUYERS).await;
    let rounds = if all() { 200 } else { 20 };
    let mut noise: usize = 1;
    for round in 1..=rounds {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        proxy.set(Mode::CutAfter(1 + (noise >> 33) % 20_000));
        until("a cut", HEALED, async || proxy.count(|c| &c.cuts) == round).await;
        proxy.set(Mode::LoseCommit);
        until("a lost commit", HEALED, async || proxy.count(|c| &c.lost_commits) == round).await;
        sale.sells(Instant::now(), 3, HEALED).await;
    }
    let (books, _) = sale.close().await;
    let again = shop.metric("gatefold_batch_again_total").await;
    assert!(again > 0.0, "no batch had to be run again");
    println!("{rounds} cuts and {rounds} lost commits; {again} batches were run again");
    shop.settle(books, &database).await;
    shop.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_killed_amid_a_sale_comes_back_with_every_order_to_the_same_server() {
    let mut cluster = Cluster::make("killed-postgres").await;
    let shop = Shop::open("postgres-killed", cluster.owner(), &by_socket(cluster.owner())).await;
    let sale = shop.sell(&[shop.served.anybody()], BUYERS).await;
    for _ in 0..if all() { 20 } else { 2 } {
        sale.sells(Instant::now(), 50, HEALED).await;
        let killed = cluster.postmaster();
        signal("KILL", &[killed]);
        let dead = Instant::now();
        until("refusals", HEALED, async || sale.answers(dead, "place", 503) + sale.answers(dead, "pay", 503) >= BUYERS).await;
        cluster.start_again().await;
        assert_ne!(cluster.postmaster(), killed);
        let whole = Instant::now();
        println!("dead for {:?}, sells after {:?}", whole - dead, sale.sells(whole, 20, HEALED).await);
    }
    let (books, seen) = sale.close().await;
    assert!(longest(&seen, &["place", "pay", "look"]) <= PATIENCE);
    shop.settle(books, cluster.owner()).await;
    shop.close();
    let log = cluster.log();
    assert!(log.contains("was not properly shut down"), "Postgres did not recover from a crash: {log}");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_an_administrator_ends_all_the_time_come_back() {
    let database = fresh_database("outages_terminated").await;
    let shop = Shop::open("terminated", &database, &by_socket(&database)).await;
    let sale = shop.sell(&[shop.served.anybody()], BUYERS).await;
    let mut conn = PgConnection::connect_with(&database).await.unwrap();
    let begin = Instant::now();
    let mut ended = 0;
    while begin.elapsed() < Duration::from_secs(if all() { 60 } else { 10 }) {
        ended += ask::<i64>(
            &mut conn,
            "select count(*) from (select pg_terminate_backend(pid) as done from (select pid from pg_stat_activity where datname = current_database() \
             and usename in ('gatefold_app', 'gatefold_promoter') order by random() limit 1) one) ended where done",
        )
        .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(ended > 40, "{ended} connections were ended");
    let sold = sale.answers(begin, "place", 201);
    assert!(sold > 100, "the sale stood still: {sold} orders");
    let whole = Instant::now();
    sale.sells(whole, 50, HEALED).await;
    until("pages", HEALED, async || sale.answers(whole, "look", 200) >= 10).await;
    let (books, seen) = sale.close().await;
    println!("{ended} connections were ended, {sold} orders meanwhile");
    assert!(longest(&seen, &["place", "pay", "look"]) <= PATIENCE);
    shop.settle(books, &database).await;
    let pools: Vec<String> = sqlx::query_scalar(
        "select distinct application_name from pg_stat_activity where datname = current_database() and application_name like 'gatefold %' order by 1",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    for pool in ["gatefold complete", "gatefold place", "gatefold promoter", "gatefold web", "gatefold work"] {
        assert!(pools.iter().any(|p| p == pool), "{pool} did not fill again: {pools:?}");
    }
    conn.close().await.unwrap();
    shop.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn six_hundred_who_knock_while_nobody_opens_wait_in_line() {
    let database = fresh_database("outages_line").await;
    let shop = Shop::open("line", &database, &by_socket(&database)).await;
    let process = [shop.served.child.id()];
    // A server that stands still takes no connection: the room before the door is all there is.
    signal("STOP", &process);
    let knocking = (0..600).map(|_| tokio::time::timeout(Duration::from_millis(900), TcpStream::connect(("127.0.0.1", shop.served.port))));
    let line = futures_util::future::join_all(knocking).await;
    signal("CONT", &process);
    let waiting = line.iter().filter(|one| matches!(one, Ok(Ok(_)))).count();
    assert_eq!(waiting, 600, "the others come back after a second, or three");
    drop(line);
    assert_eq!(shop.served.anybody().get("/readyz").await.status, 200);
    shop.check(&database).await;
    shop.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_buyers_before_a_held_stock_row_are_shed_while_gates_scan_and_others_sell() {
    const SCANS: usize = 150;
    const OF_ONE: usize = 10;
    let house = House::open().await;
    let promoter = house.promoter("Night Ferry Foundation").await;
    let (one, two) = (promoter.festival("night-ferry").await, promoter.festival("low-tide").await);
    let (pass, other_pass) = (one.pass("Weekend pass", 0b111).await, two.pass("Weekend pass", 0b111).await);
    let (offer, other) = (one.offer(&pass, 2_000, 13900).await, two.offer(&other_pass, 2_000, 13900).await);
    let mut codes = Vec::new();
    for i in 0..2 * SCANS / OF_ONE {
        let fan = house.anybody().order(&format!("crew{i}@x.example"), &[(&offer, 10)]).await;
        fan.pay(&key(), "simulated_instant").await.expect(201);
        codes.extend(fan.tickets().await.into_iter().map(|ticket| ticket["ticket_code"].as_str().unwrap().to_owned()));
    }
    house.advance("2026-06-19T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
    let device: Device = one.device().await;

    let mut holder = house.database().await;
    let mut lock = holder.begin().await.unwrap();
    sqlx::query("select * from stocks where festival_id = $1 for update").bind(i32::try_from(one.id).unwrap()).execute(&mut *lock).await.unwrap();
    let buyers: Vec<_> = (0..1_000)
        .map(|i| {
            let (http, offer) = (house.anybody(), offer.clone());
            tokio::spawn(async move {
                let begin = Instant::now();
                (http.place(&key(), &format!("fan{i}@x.example"), &[(&offer, 1)]).await, begin.elapsed())
            })
        })
        .collect();
    let mut database = house.database().await;
    until("somebody to wait for the lock", HEALED, async || {
        ask::<i64>(&mut database, "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'").await > 0
    })
    .await;
    let now = house.app.clock.now();
    // Buyers live in this process, too: what is measured begins when all of them have spoken.
    until("a scan that is not behind the noise of the buyers", HEALED, async || {
        let (begin, code) = (Instant::now(), codes.pop().unwrap());
        assert_eq!(device.scan(&code, now).await.expect(201)["verdict"], "admitted");
        begin.elapsed() < Duration::from_millis(50)
    })
    .await;
    codes.truncate(SCANS);
    // Two hundred scans a second, whether the one before has its answer or not.
    let scans: Vec<_> = codes
        .into_iter()
        .enumerate()
        .map(|(i, code)| {
            let device = device.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(5) * u32::try_from(i).unwrap()).await;
                let begin = Instant::now();
                assert_eq!(device.scan(&code, now).await.expect(201)["verdict"], "admitted");
                begin.elapsed()
            })
        })
        .collect();
    let mut took: Vec<Duration> = futures_util::future::try_join_all(scans).await.unwrap();
    took.sort_unstable();
    let begin = Instant::now();
    house.anybody().order("mara@x.example", &[(&other, 1)]).await;
    let elsewhere = begin.elapsed();
    let mut slowest = Duration::ZERO;
    for buyer in buyers {
        let (answer, took) = buyer.await.unwrap();
        assert_eq!((answer.status, answer.problem(), answer.retry_after.is_some()), (503, "unavailable", true));
        slowest = slowest.max(took);
    }
    let p99 = took[SCANS * 99 / 100];
    println!("scans: p99 {p99:?}, longest {:?}; an order elsewhere {elsewhere:?}; the last buyer was shed after {slowest:?}", took[SCANS - 1]);
    assert!(p99 < Duration::from_millis(300) && elsewhere < Duration::from_secs(1) && slowest < Duration::from_secs(4));
    lock.rollback().await.unwrap();
    house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    database.close().await.unwrap();
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_with_locks_in_its_hand_loses_them_to_the_other() {
    let database = fresh_database("outages_still").await;
    let shop = Shop::open("still", &database, &by_socket(&database)).await;
    let still = Shop::open_beside(&shop, "standing", &by_socket(&database)).await;
    let process = [still.served.child.id()];
    let beside = still.sell(&[still.served.anybody()], BUYERS).await;
    let sale = shop.sell(&[shop.served.anybody()], BUYERS).await;
    let mut conn = PgConnection::connect_with(&database).await.unwrap();
    let holds = "select count(*) from pg_stat_activity h where datname = current_database() and state = 'idle in transaction' and backend_xid is not null \
                 and state_change < clock_timestamp() - interval '300 milliseconds' \
                 and exists (select from pg_stat_activity w where w.application_name = 'gatefold place' and w.wait_event_type = 'Lock' and h.pid = any(pg_blocking_pids(w.pid)))";
    // Both servers are amid their batches, one with the stock row and one before it: whichever the stopped one is, it soon has the row and says nothing more.
    let amid = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'gatefold place' and wait_event_type = 'Lock'";
    let begin = Instant::now();
    let stopped = loop {
        let mut gate = conn.begin().await.unwrap();
        gate.execute("lock table lines in share mode").await.unwrap();
        until("two batches that wait", HEALED, async || ask::<i64>(&mut gate, amid).await >= 2).await;
        signal("STOP", &process);
        let frozen = Instant::now();
        gate.commit().await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        if ask::<i64>(&mut conn, holds).await > 0 && sale.answers(frozen + Duration::from_millis(300), "place", 201) == 0 {
            break frozen;
        }
        signal("CONT", &process);
        assert!(begin.elapsed() < Duration::from_secs(30), "the server never stood still with a lock");
    };
    until("a refusal", HEALED, async || sale.answers(stopped, "place", 503) > 0).await;
    let took = sale.sells(stopped, 20, Duration::from_secs(15)).await;
    println!("the other sold again {took:?} after the first stood still");
    assert!(took > Duration::from_secs(2), "no lock was held");
    assert_eq!(ask::<i64>(&mut conn, holds).await, 0, "a session outlived the time-out");
    signal("CONT", &process);
    let awake = Instant::now();
    beside.sells(awake, 20, HEALED).await;
    let (mut books, _) = sale.close().await;
    let (more, _) = beside.close().await;
    books.extend(more);
    conn.close().await.unwrap();
    shop.settle(books, &database).await;
    shop.close();
    still.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_amid_a_sale_answers_whatever_it_did() {
    let database = fresh_database("outages_stopped").await;
    let mut shop = Shop::open("stopped", &database, &by_socket(&database)).await;
    let sale = shop.sell(&[shop.served.anybody()], 48).await;
    sale.sells(Instant::now(), 100, HEALED).await;
    shop.served.terminate();
    let told = Instant::now();
    assert_eq!(shop.served.end().await.code(), Some(0));
    let took = told.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert!(shop.served.log().contains("gatefold: draining\n"), "the last lines of the log are lost: {}", shop.served.log());
    until("a buyer before a closed door", HEALED, async || sale.unanswered(told) > 0).await;
    let (books, _) = sale.close().await;
    println!("stopped after {took:?}");
    // Nothing was done that nobody was told of.
    let mut conn = PgConnection::connect_with(&database).await.unwrap();
    let orders: i64 = ask(&mut conn, "select count(*) from orders").await;
    assert_eq!(orders, i64::try_from(books.iter().filter(|b| b.placed().is_some()).count()).unwrap(), "orders without an answer");
    let left: i64 = ask(&mut conn, "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'gatefold %'").await;
    assert_eq!(left, 0, "connections outlive their server");
    conn.execute("select 1").await.unwrap();
    conn.close().await.unwrap();
    shop.start_again(&by_socket(&database)).await;
    shop.settle(books, &database).await;
    shop.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_up_no_request_and_no_end() {
    const REQUESTS: usize = 12_000;
    const O_NONBLOCK: i32 = 0o4000;
    let database = fresh_database("outages_log").await;
    // A request that waits for its line would wait for ever.
    let client = crate::house::http().timeout(Duration::from_secs(2)).build().unwrap();
    let http = Anybody { client, url: format!("http://127.0.0.1:{}", a_free_port()) };
    let metrics = format!("127.0.0.1:{}", a_free_port());
    let (mut unread, log) = std::io::pipe().unwrap();
    let mut served = {
        let mut command = gatefold("log", &database, &["serve", "--listen", &http.url[7..], "--public-url", &http.url, "--metrics", &metrics]);
        command.env("RUST_LOG", "info").stdout(log.try_clone().unwrap()).stderr(log);
        tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap()
    };
    let process = served.id().unwrap();
    until("readiness", HEALED, async || http.request("GET", "/readyz").send().await.is_ok_and(|answer| answer.status() == 200)).await;
    // Another hand on the same pipe, which is told when it would have to wait.
    let mut beside = std::fs::File::options().write(true).custom_flags(O_NONBLOCK).open(format!("/proc/{process}/fd/2")).unwrap();
    assert_eq!(beside.write(&[b'\n'; 4096]).unwrap(), 4096, "the pipe is full before anybody came");

    let answers = stream::iter(0..REQUESTS).map(async |_| {
        let begin = Instant::now();
        (http.get("/healthz").await.status, begin.elapsed())
    });
    let answers: Vec<(u16, Duration)> = answers.buffer_unordered(32).collect().await;
    assert_eq!(beside.write(&[b'\n'; 4096]).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock), "the pipe is not full");
    drop(beside);
    assert!(answers.iter().all(|(status, _)| *status == 200));
    let slowest = answers.iter().map(|(_, took)| *took).max().unwrap();
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let shown = reqwest::get(format!("http://{metrics}/metrics")).await.unwrap().text().await.unwrap();
    let dropped: usize = shown.lines().find_map(|line| line.strip_prefix("gatefold_log_lines_dropped_total ")).unwrap().parse().unwrap();
    assert!(dropped > 0 && dropped < REQUESTS, "{dropped} lines were dropped");

    signal("TERM", &[process]);
    let told = Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(30), served.wait()).await.expect("the server hangs before its log").unwrap();
    println!("{REQUESTS} requests, the slowest {slowest:?}, {dropped} lines dropped; stopped after {:?}", told.elapsed());
    assert_eq!(ended.code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    let mut text = Vec::new();
    unread.read_to_end(&mut text).unwrap();
    // The pages of a pipe are not filled to their last byte.
    assert!(text.len() > 40_000 && String::from_utf8_lossy(&text).contains("answered"), "{} bytes", text.len());
}
