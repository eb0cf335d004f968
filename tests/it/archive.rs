//! What only grows: carts of people who went away are forgotten, and a finished festival goes into files and comes back.

use std::{collections::BTreeMap, path::Path, process::Stdio};

use chrono::TimeDelta;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::io::AsyncReadExt;

use crate::{
    actors::key,
    house::{House, folder},
    invariants::world,
    servers::gatefold,
};

/// Runs the command; whether it did what it was told, and what it said.
async fn archive(house: &House, arguments: &[&str]) -> (bool, String) {
    let mut all = vec!["archive", "--festival", "night-ferry"];
    all.extend(arguments);
    let mut command = gatefold("archive", &house.owner, &all);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
}

/// All rows of the festival that leaves, as text.
async fn rows(conn: &mut PgConnection) -> BTreeMap<&'static str, Vec<String>> {
    let mut all = BTreeMap::new();
    for table in ["emails", "provider_events", "webhook_events", "scans", "scan_reports", "admissions"] {
        let text = sqlx::query_scalar(AssertSqlSafe(format!("select t::text from {table} t where festival_id = 1 order by 1"))).fetch_all(&mut *conn).await;
        all.insert(table, text.unwrap());
    }
    all
}

async fn unpacked(file: &Path) -> String {
    let mut text = String::new();
    let packed = tokio::fs::read(file).await.unwrap();
    async_compression::tokio::bufread::GzipDecoder::new(packed.as_slice()).read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_festival_goes_into_files_and_comes_back_as_it_was() {
    let house = House::open().await;
    let festival = world(&house).await;
    let mut conn = house.database().await;
    let to = folder().join("archive-of-night-ferry");
    let there = to.display().to_string();
    // Holds and an open payment: it is not finished. Writing it to files is possible at any time, and changes nothing.
    let before = rows(&mut conn).await;
    let (done, said) = archive(&house, &["--to", &there, "--remove"]).await;
    assert!(!done && said.contains("orders are held") && said.contains("payments are undecided"), "{said}");
    assert!(!to.exists());
    house.advance(TimeDelta::hours(2));
    house.run_workers().await;
    let before_ends = rows(&mut conn).await;
    assert_ne!(before, before_ends, "the bank gave up, and emails were sent");
    let (done, said) = archive(&house, &["--to", &there]).await;
    assert!(done, "{said}");
    assert_eq!(rows(&mut conn).await, before_ends);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&to).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700, "addresses of fans are in it");
    // The files are what they say: every table, and CSV that reads like CSV.
    let manifest: Value = serde_json::from_slice(&std::fs::read(to.join("manifest.json")).unwrap()).unwrap();
    assert!(manifest["tables"].as_object().unwrap().len() > 25);
    for table in ["orders", "tickets", "emails", "scans", "journal_entries"] {
        let text = unpacked(&to.join(format!("{table}.csv.gz"))).await;
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        assert_eq!(serde_json::json!(columns), manifest["tables"][table]["columns"], "{table}");
        assert_eq!(reader.records().map(Result::unwrap).count(), usize::try_from(manifest["tables"][table]["rows"].as_i64().unwrap()).unwrap(), "{table}");
    }
    // A folder that is there is not written into.
    let (done, said) = archive(&house, &["--to", &there, "--remove"]).await;
    assert!(!done && said.contains("could not be made"), "{said}");
    std::fs::remove_dir_all(&to).unwrap();
    let (done, said) = archive(&house, &["--to", &there, "--remove"]).await;
    assert!(done, "{said}");
    assert!(rows(&mut conn).await.values().all(Vec::is_empty));
    let archived: Value = festival.promoter.get(&festival.path("")).await.expect(200);
    assert!(archived["archived_at"].is_string(), "{archived}");
    let (done, said) = archive(&house, &["--to", &format!("{there}-2"), "--remove"]).await;
    assert!(!done && said.contains("were taken out before"), "{said}");
    // A file that was touched is not put back, the festival of another number neither.
    let scans = to.join("scans.csv.gz");
    let whole = std::fs::read(&scans).unwrap();
    let mut touched = whole.clone();
    let middle = touched.len() / 2;
    touched[middle] ^= 1;
    std::fs::write(&scans, &touched).unwrap();
    let (done, said) = archive(&house, &["--restore", &there]).await;
    assert!(!done && (said.contains("damaged") || said.contains("is not what was written")), "{said}");
    assert!(rows(&mut conn).await.values().all(Vec::is_empty));
    std::fs::write(&scans, &whole).unwrap();
    let (done, said) = archive(&house, &["--restore", &there]).await;
    assert!(done, "{said}");
    assert_eq!(rows(&mut conn).await, before_ends);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn carts_are_forgotten_a_week_after_they_ended_and_nothing_else_is() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 100, 13900).await;
    let forgotten_key = key();
    let lines = [(offer.as_str(), 2)];
    let expired = house.anybody().place(&forgotten_key, "gone@x.example", &lines).await.expect(201);
    let cancelled = house.anybody().order("sorry@x.example", &lines).await;
    cancelled.cancel().await.expect(200);
    let tried = house.anybody().order("tried@x.example", &lines).await;
    tried.pay(&key(), "simulated").await.expect(201);
    let paid = house.anybody().order("mara@x.example", &lines).await;
    paid.pay(&key(), "simulated_instant").await.expect(201);
    house.advance(TimeDelta::hours(2));
    house.run_workers().await;
    let mut conn = house.database().await;
    let mut count = async || {
        let (orders, rows): (i64, i64) =
            sqlx::query_as("select (select count(*) from orders), (select count(*) from lines) + (select count(*) from allocations)")
                .fetch_one(&mut conn)
                .await
                .unwrap();
        (orders, rows)
    };
    assert_eq!(count().await, (4, 8));
    // A day later the key still gets the same order, ended as it is.
    house.advance(TimeDelta::days(1));
    house.run_workers().await;
    assert_eq!(house.anybody().place(&forgotten_key, "gone@x.example", &lines).await.expect(201)["order_id"], expired["order_id"]);
    house.advance(TimeDelta::days(5));
    house.run_workers().await;
    assert_eq!(count().await, (4, 8));
    house.advance(TimeDelta::days(2));
    house.run_workers().await;
    // What money was ever asked for stays: the bank may still say something about it.
    assert_eq!(count().await, (2, 4));
    assert_eq!((tried.status().await.as_str(), paid.status().await.as_str()), ("expired", "paid"));
    assert_eq!(cancelled.get("").await.status, 404);
    // The walk goes on from where it was: what ends later is forgotten later.
    let late = house.anybody().order("late@x.example", &lines).await;
    house.advance(TimeDelta::days(8));
    house.run_workers().await;
    assert_eq!(late.get("").await.status, 404);
    assert_eq!(count().await, (2, 4));
    house.close().await;
}
