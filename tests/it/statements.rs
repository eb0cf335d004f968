//! A batch has the same statements whatever its size: counted on the wire, between the house and its database.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use sqlx::{
    AssertSqlSafe,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
};

use crate::{actors::key, house::House, races::at_once, releases::bundle};

/// A transaction that was committed: the name of its connection and the statements that were executed in it.
#[derive(Clone, Debug)]
struct Committed {
    by: String,
    statements: Vec<String>,
}

/// The wire to the database: passes everything on, and notes what is executed.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Vec<Committed>>>);

impl Wire {
    /// The way to a database over this wire.
    fn way(&self, owner: &PgConnectOptions) -> PgConnectOptions {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = owner.get_socket().unwrap().join(".s.PGSQL.5432");
        let listener = TcpListener::from_std(listener).unwrap();
        let wire = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, socket.clone(), wire.clone()));
            }
        });
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port)
            .ssl_mode(PgSslMode::Disable)
            .username(owner.get_username())
            .database(owner.get_database().unwrap())
    }

    /// What a pool committed since the last look.
    fn committed(&self, by: &str) -> Vec<Vec<String>> {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        all.into_iter().filter(|committed| committed.by == by).map(|committed| committed.statements).collect()
    }
}

async fn pass_on(mut client: TcpStream, socket: PathBuf, wire: Wire) {
    let mut server = UnixStream::connect(socket).await.unwrap();
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        let mut look = Look { wire, by: String::new(), prepared: HashMap::new(), portals: HashMap::new(), open: None };
        let mut waiting = Vec::new();
        let mut chunk = vec![0; 65_536];
        loop {
            let n = from_client.read(&mut chunk).await.unwrap_or(0);
            if n == 0 {
                break;
            }
            waiting.extend(&chunk[..n]);
            // Before the bytes go on: nothing is answered that was not noted.
            look.read(&mut waiting);
            if to_server.write_all(&chunk[..n]).await.is_err() {
                break;
            }
        }
    };
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! { () = up => {}, _ = down => {} }
}

/// What one connection says: the frontend messages of the protocol of Postgres, version 3 (its manual, chapter "Message Formats").
struct Look {
    wire: Wire,
    by: String,
    prepared: HashMap<String, String>,
    portals: HashMap<String, String>,
    open: Option<Vec<String>>,
}

fn text(bytes: &mut &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap();
    let text = String::from_utf8(bytes[..end].to_vec()).unwrap();
    *bytes = &bytes[end + 1..];
    text
}

impl Look {
    /// Takes whole messages from the front of what was received.
    fn read(&mut self, waiting: &mut Vec<u8>) {
        loop {
            // The first message has no kind.
            let head = usize::from(!self.by.is_empty());
            let Some(length) = waiting.get(head..head + 4) else { return };
            let length = usize::try_from(u32::from_be_bytes(length.try_into().unwrap())).unwrap();
            if waiting.len() < head + length {
                return;
            }
            let message: Vec<u8> = waiting.drain(..head + length).collect();
            if head == 0 { self.startup(&message[8..]) } else { self.message(message[0], &message[5..]) }
        }
    }

    fn startup(&mut self, mut body: &[u8]) {
        while body.len() > 1 {
            let (name, value) = (text(&mut body), text(&mut body));
            if name == "application_name" {
                self.by = value;
            }
        }
        assert!(!self.by.is_empty(), "every pool says its name");
    }

    fn message(&mut self, kind: u8, mut body: &[u8]) {
        match kind {
            b'P' => {
                let (name, sql) = (text(&mut body), text(&mut body));
                self.prepared.insert(name, sql);
            }
            b'B' => {
                let (portal, name) = (text(&mut body), text(&mut body));
                self.portals.insert(portal, self.prepared[&name].clone());
            }
            b'E' => {
                let sql = self.portals[&text(&mut body)].clone();
                self.executed(sql);
            }
            b'Q' => {
                let sql = text(&mut body);
                match sql.split_whitespace().next().unwrap_or_default().to_lowercase().as_str() {
                    "begin" => self.open = Some(Vec::new()),
                    "commit" => {
                        let statements = self.open.take().unwrap();
                        self.wire.0.lock().unwrap().push(Committed { by: self.by.clone(), statements });
                    }
                    "rollback" => self.open = None,
                    _ => self.executed(sql),
                }
            }
            _ => {}
        }
    }

    fn executed(&mut self, sql: String) {
        // Each connection looks up the types of the database once, whenever it meets them first.
        if let Some(statements) = self.open.as_mut().filter(|_| !sql.contains("pg_catalog.")) {
            statements.push(sql);
        }
    }
}

/// Asserts that every batch had the statements of the one that stood alone, and that a hundred requests were fewer batches
/// than a hundred: so one of them was larger.
fn the_same(what: &str, alone: &[Vec<String>], together: &[Vec<String>]) {
    let [alone] = alone else { panic!("{what}: one alone is one batch: {alone:#?}") };
    assert!(alone.len() > 3, "{what}: {alone:#?}");
    assert!(!together.is_empty() && together.len() < 100, "{what}: {} batches for a hundred", together.len());
    for statements in together {
        assert_eq!(statements, alone, "{what}: a batch has other statements than one alone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_the_statements_of_one_whatever_its_size() {
    let wire = Wire::default();
    let house = House::by_way_of(|owner| wire.way(owner)).await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = bundle(&festival, &pass, 1_000).await;

    // Placing.
    wire.committed("");
    let mut fans = vec![house.anybody().order("first@x.example", &[(&offer, 2)]).await];
    let alone = wire.committed("gatefold place");
    fans.extend(
        at_once(100, |i| {
            let (http, offer) = (house.anybody(), offer.clone());
            async move { http.order(&format!("fan{i}@x.example"), &[(&offer, 2)]).await }
        })
        .await,
    );
    the_same("place", &alone, &wire.committed("gatefold place"));

    // Completing: captures, tickets, albums, emails.
    fans[0].pay(&key(), "simulated_instant").await.expect(201);
    let alone = wire.committed("gatefold complete");
    at_once(100, |i| {
        let fan = fans[i + 1].clone();
        async move { fan.pay(&key(), "simulated_instant").await.expect(201) }
    })
    .await;
    the_same("complete", &alone, &wire.committed("gatefold complete"));

    // Scanning.
    let mut codes = Vec::new();
    for fan in &fans {
        codes.push(fan.tickets().await[0]["ticket_code"].as_str().unwrap().to_owned());
    }
    house.advance("2026-06-19T18:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let (device, now) = (festival.device().await, house.app.clock.now());
    wire.committed("");
    assert_eq!(device.scan(&codes[0], now).await.expect(201)["verdict"], "admitted");
    let alone = wire.committed("gatefold scan");
    let verdicts = at_once(100, |i| {
        let (device, code) = (device.clone(), codes[i + 1].clone());
        async move { device.scan(&code, now).await.expect(201)["verdict"].clone() }
    })
    .await;
    assert!(verdicts.iter().all(|verdict| verdict == "admitted"), "{verdicts:?}");
    the_same("scan", &alone, &wire.committed("gatefold scan"));
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wire_sees_every_statement_of_a_transaction() {
    let wire = Wire::default();
    let house = House::by_way_of(|owner| wire.way(owner)).await;
    for (n, end) in [(1, true), (7, true), (3, false)] {
        let mut tx = house.app.pools.work.begin().await.unwrap();
        for i in 0..n {
            sqlx::query("select $1::integer").bind(i).execute(&mut *tx).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(format!("select {i}"))).execute(&mut *tx).await.unwrap();
        }
        if end {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await.unwrap();
        }
        let seen: Vec<usize> = wire.committed("gatefold work").iter().map(Vec::len).collect();
        assert_eq!(seen, if end { vec![2 * usize::try_from(n).unwrap()] } else { Vec::new() });
    }
    house.close().await;
}
