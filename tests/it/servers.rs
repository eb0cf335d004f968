//! Two servers on one database: within a server a lane is serial, so only here do locks and constraints have to hold by
//! themselves. And their negative controls: with the locks off and the floor taken out, each race has to be lost.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use gatefold::{accounts, words::Language};
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, Connection, Executor,
    postgres::{PgConnectOptions, PgConnection},
};

use crate::{
    actors::{Anybody, Device, Festival, Promoter, key},
    house::{folder, fresh_database},
    races::at_once,
};

/// A server of the program, as a process of its own.
pub struct Server {
    child: Child,
    pub url: String,
}

/// A command of the program on a database of a test, with its keys.
pub fn gatefold(name: &str, database: &PgConnectOptions, arguments: &[&str]) -> Command {
    let socket = database.get_socket().unwrap().display().to_string();
    let address = format!("postgres://{}@localhost/{}?host={socket}", database.get_username(), database.get_database().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatefold"));
    command.args(arguments).arg("--data").arg(folder().join(name)).stdin(Stdio::null());
    command.env("DATABASE_URL", address).env("GATEFOLD_MASTER_KEY", "2a".repeat(32)).env("RUST_LOG", "error").env_remove("GATEFOLD_NO_LOCK");
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub async fn start(name: &str, database: &PgConnectOptions, locks: bool) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let mut command = gatefold(name, database, &["serve", "--simulated-payments", "--listen", &url[7..], "--public-url", &url]);
        if !locks {
            command.env("GATEFOLD_NO_LOCK", "1");
        }
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        let mut server = Self { child, url };
        let begin = Instant::now();
        while !server.anybody().request("GET", "/readyz").send().await.is_ok_and(|answer| answer.status() == 200) {
            assert!(server.child.try_wait().unwrap().is_none(), "the server ended");
            assert!(begin.elapsed() < Duration::from_secs(60), "the server is not ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    /// kill -9.
    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn anybody(&self) -> Anybody {
        Anybody { client: crate::house::http().build().unwrap(), url: self.url.clone() }
    }
}

/// Two servers on a database of their own, and a festival whose first day is now.
pub struct Pair {
    servers: [Server; 2],
    pub festival: Festival,
    pub pass: String,
    pub database: PgConnection,
}

impl Pair {
    pub async fn open(name: &str, locks: bool, floor: bool) -> Self {
        let owner = fresh_database(&format!("pair_{name}")).await;
        let mut database = PgConnection::connect_with(&owner).await.unwrap();
        if !floor {
            for constraint in
                ["stocks drop constraint stocks_never_oversold", "orders drop constraint orders_key", "admissions drop constraint admissions_pkey"]
            {
                database.execute(AssertSqlSafe(format!("alter table {constraint}"))).await.unwrap();
            }
        }
        let invited = accounts::invite(&mut database, "Night Ferry Foundation", "owner@ferry.example", Language::En, Utc::now()).await.unwrap();
        let servers = [Server::start(&format!("{name}-1"), &owner, locks).await, Server::start(&format!("{name}-2"), &owner, locks).await];
        let festival = Promoter { http: servers[0].anybody(), token: invited.token }.festival("night-ferry").await;
        let now = Utc::now();
        let day = json!({ "name": { "en": "Tonight" }, "opens_at": now - TimeDelta::hours(1), "closes_at": now + TimeDelta::hours(5) });
        festival.promoter.send("PUT", &festival.path("/days/0"), &day).await.expect(200);
        let pass = festival.pass("Night pass", 0b1).await;
        Self { servers, festival, pass, database }
    }

    /// One of the two servers.
    pub fn server(&self, i: usize) -> Anybody {
        self.servers[i % 2].anybody()
    }

    /// What the last unit of an offer brings when 64 buyers want it: accepted orders, and what the stock says.
    async fn last_unit(&mut self) -> (usize, i64) {
        let offer = self.festival.offer(&self.pass, 1, 13900).await;
        let answers = at_once(64, |i| {
            let (fan, offer) = (self.server(i), offer.clone());
            async move { fan.place(&key(), &format!("fan{i}@x.example"), &[(&offer, 1)]).await }
        })
        .await;
        assert!(answers.iter().all(|a| matches!(a.status, 201 | 409 | 503)), "{answers:?}");
        (answers.iter().filter(|a| a.status == 201).count(), self.festival.stock(&offer).await.0)
    }

    /// How many orders one key makes when it is sent fifty times; every accepted answer is counted by its order.
    async fn one_key(&mut self) -> usize {
        let offer = self.festival.offer(&self.pass, 100, 13900).await;
        let one = key();
        let answers = at_once(50, |i| {
            let (fan, offer, one) = (self.server(i), offer.clone(), one.clone());
            async move { fan.place(&one, "mara@x.example", &[(&offer, 1)]).await }
        })
        .await;
        assert!(answers.iter().all(|a| matches!(a.status, 201 | 503)), "{answers:?}");
        let mut orders: Vec<&Value> = answers.iter().filter(|a| a.status == 201).map(|a| &a.body["order_id"]).collect();
        orders.sort_by_key(|id| id.as_str());
        orders.dedup();
        orders.len()
    }

    /// How often one ticket is admitted when 32 gates scan it.
    async fn one_ticket(&mut self) -> usize {
        let offer = self.festival.offer(&self.pass, 10, 13900).await;
        let fan = self.server(0).order("mara@x.example", &[(&offer, 1)]).await;
        fan.pay(&key(), "simulated_instant").await.expect(201);
        let code = fan.tickets().await[0]["ticket_code"].as_str().unwrap().to_owned();
        let device = self.festival.device().await;
        let answers = at_once(32, |i| {
            let (device, code) = (Device { http: self.server(i), ..device.clone() }, code.clone());
            async move { device.scan(&code, Utc::now()).await }
        })
        .await;
        assert!(answers.iter().all(|a| matches!(a.status, 201 | 503)), "{answers:?}");
        answers.iter().filter(|a| a.body["verdict"] == "admitted").count()
    }

    /// How many of ten tickets that two gates let in without network are missing in the ledger when both report at once, each to a server of its own.
    async fn two_reports(&mut self) -> usize {
        let offer = self.festival.offer(&self.pass, 10, 13900).await;
        let fan = self.server(0).order("mara@x.example", &[(&offer, 10)]).await;
        fan.pay(&key(), "simulated_instant").await.expect(201);
        let devices = [self.festival.device().await, self.festival.device().await];
        for ticket in fan.tickets().await {
            let answers = at_once(2, |i| {
                let device = Device { http: self.server(i), ..devices[i].clone() };
                let scan = json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": ticket["ticket_code"], "scanned_at": Utc::now(), "verdict": "admitted" });
                async move { device.report(Utc::now(), &[scan]).await }
            })
            .await;
            assert!(answers.iter().all(|a| a.status == 200), "{answers:?}");
        }
        let ledger = self.festival.promoter.get(&self.festival.path("/discrepancies?kind=surplus_admission&limit=200")).await.expect(200);
        10 - ledger["items"].as_array().unwrap().len()
    }

    /// How many come into a zone that takes one, when sixteen tickets are scanned at once.
    async fn last_place(&mut self) -> usize {
        let gate = self.festival.gate_into(json!({ "name": { "en": "Dock" }, "capacity": 1 })).await;
        let offer = self.festival.offer(&self.pass, 16, 13900).await;
        let fans = [self.server(0).order("mara@x.example", &[(&offer, 8)]).await, self.server(1).order("jonas@x.example", &[(&offer, 8)]).await];
        let mut codes = Vec::new();
        for fan in fans {
            fan.pay(&key(), "simulated_instant").await.expect(201);
            codes.extend(fan.tickets().await.iter().map(|t| t["ticket_code"].as_str().unwrap().to_owned()));
        }
        let device = Festival { gate, ..self.festival.clone() }.device().await;
        // What gates know of zones is at most a second old.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        // Somebody was in before, so the zone is counted already.
        for kind in ["entry", "exit"] {
            let scan = device.scan_as(&uuid::Uuid::now_v7().to_string(), &codes[0], Utc::now(), json!({ "kind": kind })).await;
            assert_eq!(scan.expect(201)["verdict"], "admitted");
        }
        let answers = at_once(16, |i| {
            let (device, code) = (Device { http: self.server(i), ..device.clone() }, codes[i].clone());
            async move { device.scan(&code, Utc::now()).await }
        })
        .await;
        let full = |a: &crate::actors::Answer| a.body["verdict"] == "admitted" || a.body["reason"] == "zone_full";
        assert!(answers.iter().all(|a| a.status == 503 || full(a)), "{answers:?}");
        answers.iter().filter(|a| a.body["verdict"] == "admitted").count()
    }

    /// A supervisor's card that is good for one, shown at sixteen gates at once; how many came in by it.
    async fn last_use(&mut self) -> usize {
        let once = json!({ "name": { "en": "Once" }, "color": "#ff0000", "color_name": { "en": "red" }, "day_mask": 7, "reentry": "never" });
        let pass = self.festival.promoter.make(&self.festival.path("/passes"), once).await["pass_id"].as_str().unwrap().to_owned();
        let offer = self.festival.offer(&pass, 16, 13900).await;
        let fans = [self.server(0).order("mara@x.example", &[(&offer, 8)]).await, self.server(1).order("jonas@x.example", &[(&offer, 8)]).await];
        let (device, mut codes) = (self.festival.device().await, Vec::new());
        for fan in fans {
            fan.pay(&key(), "simulated_instant").await.expect(201);
            codes.extend(fan.tickets().await.iter().map(|t| t["ticket_code"].as_str().unwrap().to_owned()));
        }
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        for code in &codes {
            assert_eq!(device.scan(code, Utc::now()).await.expect(201)["verdict"], "admitted");
        }
        let card = json!({ "name": "Jo", "day_index": 0, "overrides": 1 });
        let card = self.festival.promoter.make(&self.festival.path("/supervisor-cards"), card).await;
        let word = json!({ "override": { "reasons": ["already_inside"], "because": "hardship", "card_code": card["card_code"] } });
        let answers = at_once(16, |i| {
            let (device, code, word) = (Device { http: self.server(i), ..device.clone() }, codes[i].clone(), word.clone());
            async move { device.scan_as(&uuid::Uuid::now_v7().to_string(), &code, Utc::now(), word).await }
        })
        .await;
        let known = |a: &crate::actors::Answer| matches!(a.status, 403 | 503) || a.body["reason"] == "already_inside" || a.body["because"] == "hardship";
        assert!(answers.iter().all(known), "{answers:?}");
        answers.iter().filter(|a| a.body["because"] == "hardship").count()
    }

    pub async fn close(self) {
        self.database.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_sell_the_last_unit_once_take_a_key_once_and_admit_a_ticket_once() {
    let mut pair = Pair::open("sound", true, true).await;
    for _ in 0..3 {
        assert_eq!(pair.last_unit().await, (1, 1));
        assert_eq!(pair.one_key().await, 1);
        assert_eq!(pair.one_ticket().await, 1);
        assert_eq!(pair.last_place().await, 1);
        assert_eq!(pair.last_use().await, 1);
    }
    assert_eq!(pair.two_reports().await, 0);
    let findings = gatefold::reports::invariants::check(&mut pair.database, Utc::now()).await.unwrap();
    assert!(findings.iter().all(|f| f.breaches == 0 || f.name == "one-confirmation"), "{findings:#?}");
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_locks_and_without_the_floor_each_race_is_lost() {
    let mut pair = Pair::open("broken", false, false).await;
    let (accepted, held) = pair.last_unit().await;
    assert!(accepted > 1 && held > 1, "the race for the last unit was not lost: {accepted} accepted, {held} held");
    assert!(pair.one_key().await > 1, "the race of one key was not lost");
    assert!(pair.one_ticket().await > 1, "the race of one ticket was not lost");
    assert!(pair.two_reports().await > 0, "the race of two reports was not lost");
    assert!(pair.last_place().await > 1, "the race for the last place was not lost");
    assert!(pair.last_use().await > 1, "the race for the last use of a card was not lost");
    let findings = gatefold::reports::invariants::check(&mut pair.database, Utc::now()).await.unwrap();
    let found = |name: &str| findings.iter().any(|f| f.name == name && f.breaches > 0);
    assert!(found("stock-in-bounds") && found("one-open-entry"), "the check does not find what the races broke: {findings:#?}");
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_locks_the_constraints_still_hold() {
    let mut pair = Pair::open("floored", false, true).await;
    let (accepted, held) = pair.last_unit().await;
    assert!(accepted == 1 && held == 1, "{accepted} accepted, {held} held");
    assert_eq!(pair.one_key().await, 1);
    assert_eq!(pair.one_ticket().await, 1);
    pair.close().await;
}
