//! A primary dies and its standby takes over: with synchronous replication every acknowledged order is there; without it orders are
//! lost, which proves that the test can tell. A standby that stands still blocks commits, and buyers are told so in time.

use std::time::{Duration, Instant};

use crate::{
    clusters::Cluster,
    faults::{Book, Known, ask, ask_again, signal, until},
    proxy::Proxy,
    sale::{Shop, by_port, longest},
};

const SYNCHRONOUS: &str = "alter system set synchronous_standby_names = '*'";
const BUYERS: usize = 16;
const HEALED: Duration = Duration::from_secs(10);

/// Processes that stand still; they go on when this is dropped, so that a failed test can end them.
struct Standing(Vec<u32>);

impl Standing {
    fn still(processes: Vec<u32>) -> Self {
        signal("STOP", &processes);
        Self(processes)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        signal("CONT", &self.0);
    }
}

/// A primary, its standby, and a server that reaches whoever the proxy leads to.
struct Pair {
    primary: Cluster,
    standby: Cluster,
    proxy: Proxy,
    shop: Shop,
}

impl Pair {
    async fn open(name: &str) -> Self {
        let primary = Cluster::make(&format!("{name}-primary")).await;
        let standby = primary.standby(&format!("{name}-standby")).await;
        let proxy = Proxy::to(primary.socket()).await;
        let shop = Shop::open(name, primary.owner(), &by_port(primary.owner(), proxy.port)).await;
        Self { primary, standby, proxy, shop }
    }

    /// From here on a commit waits for the standby.
    async fn be_synchronous(&self) {
        self.primary.alter(SYNCHRONOUS).await;
        until("synchronous replication", HEALED, async || {
            self.primary.ask::<i64>("select count(*) from pg_stat_replication where sync_state = 'sync'").await == 1
        })
        .await;
    }

    /// The primary dies by kill -9, all of it; the standby takes its place.
    async fn fail_over(&mut self) {
        self.primary.kill().await;
        self.standby.promote().await;
        self.proxy.retarget(self.standby.socket());
    }

    /// The acknowledged orders and payments that the house does not know any more.
    async fn lost(&self, books: &[Book]) -> usize {
        let http = self.shop.served.anybody();
        let mut lost = 0;
        for book in books.iter().filter(|b| b.placed().is_some()) {
            let order = ask_again(|| book.fan(&http).request("GET", "")).await;
            let paid = matches!(&book.payment, Some(Known::Answered(answer)) if answer.status == 201);
            lost += usize::from(order.status == 404 || paid && order.expect(200)["status"] != "paid");
        }
        lost
    }

    async fn close(self) {
        self.shop.close();
        self.standby.close().await;
        self.primary.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_takes_over_knows_every_acknowledged_order_and_sells_on() {
    let mut pair = Pair::open("failover").await;
    pair.be_synchronous().await;
    let sale = pair.shop.sell(&[pair.shop.served.anybody()], BUYERS).await;
    sale.sells(Instant::now(), 100, HEALED).await;
    let dead = Instant::now();
    pair.fail_over().await;
    let promoted = Instant::now();
    let took = sale.sells(promoted, 50, HEALED).await;
    let (books, seen) = sale.close().await;
    println!("promoted {:?} after the kill; 50 orders after {took:?}", promoted - dead);
    assert!(seen.iter().any(|s| s.begun >= dead && s.status == Some(503)), "nobody met the dead primary");
    assert!(longest(&seen, &["place", "pay", "look"]) <= Duration::from_millis(5_500));
    assert_eq!(pair.lost(&books).await, 0);
    pair.shop.settle(books, pair.standby.owner()).await;
    // The old primary comes back without a standby: it acknowledges nothing, so nobody can sell there.
    pair.primary.start_again().await;
    let sold_there = tokio::time::timeout(Duration::from_secs(2), pair.primary.write()).await;
    assert!(sold_there.is_err(), "the old primary takes writes");
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_synchronous_replication_a_failover_loses_acknowledged_orders() {
    let mut pair = Pair::open("behind").await;
    let everything = "select count(*) from pg_stat_replication where replay_lsn = pg_current_wal_lsn()";
    until("the standby to know the festival", HEALED, async || pair.primary.ask::<i64>(everything).await == 1).await;
    pair.standby.alter("alter system set primary_conninfo = ''").await;
    until("the standby to fall behind", HEALED, async || pair.primary.ask::<i64>("select count(*) from pg_stat_replication").await == 0).await;
    let sale = pair.shop.sell(&[pair.shop.served.anybody()], BUYERS).await;
    sale.sells(Instant::now(), 20, HEALED).await;
    let (books, _) = sale.close().await;
    pair.fail_over().await;
    let http = pair.shop.served.anybody();
    until("the house to be ready", HEALED, async || http.get("/readyz").await.status == 200).await;
    let lost = pair.lost(&books).await;
    println!("{lost} of {} acknowledged orders are lost", books.iter().filter(|b| b.placed().is_some()).count());
    assert!(lost > 0, "no order was lost: the test of a failover proves nothing");
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_stands_still_blocks_commits_and_buyers_are_told_in_time() {
    let pair = Pair::open("blocked").await;
    pair.be_synchronous().await;
    let sale = pair.shop.sell(&[pair.shop.served.anybody()], BUYERS).await;
    sale.sells(Instant::now(), 50, HEALED).await;
    let standing = Standing::still(pair.standby.processes());
    let still = Instant::now();
    until("a commit that waits for the standby", HEALED, async || {
        pair.primary.ask::<i64>("select count(*) from pg_stat_activity where wait_event = 'SyncRep'").await > 0
    })
    .await;
    let blocked = Instant::now();
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(sale.answers(blocked, "place", 201), 0, "an order was acknowledged that the standby does not have");
    assert!(sale.answers(still, "place", 503) + sale.answers(still, "pay", 503) > 0, "nobody was told to come back");
    drop(standing);
    let whole = Instant::now();
    let took = sale.sells(whole, 50, HEALED).await;
    let (books, seen) = sale.close().await;
    println!("blocked for {:?}; 50 orders {took:?} after the standby went on", whole - still);
    assert!(longest(&seen, &["place", "pay", "look"]) <= Duration::from_millis(5_500));
    pair.shop.settle(books, pair.primary.owner()).await;
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_wait_for_the_standby_was_cancelled_is_no_order_until_the_standby_has_it() {
    const CANCELLED: &str = "canceling wait for synchronous replication due to user request";
    let pair = Pair::open("cancelled").await;
    pair.be_synchronous().await;
    let standing = Standing::still(pair.standby.processes());
    let mut book = Book::new(1);
    let begin = Instant::now();
    let asked = tokio::spawn(ask(book.place(&pair.shop.served.anybody(), &pair.shop.offer)));
    let waiting = "select count(*) from pg_stat_activity where application_name = 'gatefold place' and wait_event = 'SyncRep'";
    until("a commit that waits for the standby", HEALED, async || pair.primary.ask::<i64>(waiting).await > 0).await;
    // An administrator cancels: Postgres warns (01000), and says that the commit took place. The standby does not have it.
    let cancel = "select count(*) from (select pid from pg_stat_activity where application_name = 'gatefold place' and wait_event = 'SyncRep' offset 0) waiting \
                  where pg_cancel_backend(pid)";
    assert_eq!(pair.primary.ask::<i64>(cancel).await, 1);
    until("the end of the wait", HEALED, async || pair.primary.log().contains(CANCELLED)).await;
    book.order = asked.await.unwrap();
    assert!(matches!(&book.order, Known::Answered(answer) if answer.status == 503), "told although the standby does not have it: {:?}", book.order);
    assert!(begin.elapsed() <= Duration::from_millis(5_500), "{:?}", begin.elapsed());
    // The batch was run again and waits again; no time-out of a statement (3 s) ends that: Postgres does not count the wait of a commit.
    let long = "select count(*) from pg_stat_activity where application_name = 'gatefold place' and wait_event = 'SyncRep' \
                and query_start < clock_timestamp() - interval '4 seconds'";
    until("a commit that waits longer than a statement may take", HEALED, async || pair.primary.ask::<i64>(long).await > 0).await;
    assert_eq!(pair.primary.log().matches("canceling").count(), 1, "{}", pair.primary.log());
    drop(standing);
    pair.shop.settle(vec![book], pair.primary.owner()).await;
    pair.close().await;
}
