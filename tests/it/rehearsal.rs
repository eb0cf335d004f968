//! An opening is rehearsed on a copy: the books of fans and house are compared, nothing of it reaches a fan, nothing of it stays.

use std::process::Stdio;

use chrono::Utc;
use gatefold::{accounts, reports::invariants, words::Language};
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, Connection, Executor,
    postgres::{PgConnectOptions, PgConnection},
};

use crate::{
    actors::{Festival, Promoter},
    house::fresh_database,
    servers::{Server, gatefold},
};

/// A server and a festival on another day, whose copy is today.
struct Rehearsed {
    name: String,
    owner: PgConnectOptions,
    database: PgConnection,
    server: Server,
    festival: Festival,
    offer: String,
}

impl Rehearsed {
    async fn open(name: &str) -> Self {
        let owner = fresh_database(&format!("rehearsal_{name}")).await;
        let mut database = PgConnection::connect_with(&owner).await.unwrap();
        let invited = accounts::invite(&mut database, "Night Ferry Foundation", "owner@ferry.example", Language::En, Utc::now()).await.unwrap();
        let server = Server::start(&format!("rehearsal-{name}"), &owner, true).await;
        let festival = Promoter { http: server.anybody(), token: invited.token }.festival("night-ferry").await;
        let pass = festival.pass("Night pass", 0b111).await;
        let offer = festival.offer(&pass, 300, 13900).await;
        Self { name: name.to_owned(), owner, database, server, festival, offer }
    }

    /// Runs the command; whether it said that all is well, what it printed, and what it said beside.
    async fn rehearse(&self, arguments: &[&str]) -> (bool, String, String) {
        let mut all = vec!["rehearse", "--server", &self.server.url[7..]];
        all.extend(arguments);
        let mut command = gatefold(&format!("rehearsing-{}", self.name), &self.owner, &all);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned(), String::from_utf8_lossy(&done.stderr).into_owned())
    }

    async fn count(&mut self, of: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {of}"))).fetch_one(&mut self.database).await.unwrap()
    }
}

const CROWD: [&str; 11] = ["--fans", "300", "--rate", "150", "--unruly", "60", "--scans", "20", "--connections", "64", "--json"];

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_is_rehearsed_on_a_copy_and_nothing_of_it_stays() {
    let mut house = Rehearsed::open("whole").await;
    let (good, out, err) = house.rehearse(&["--festival", "night-ferry"]).await;
    assert!(!good && out.is_empty() && err.contains("is no rehearsal"), "{err}");
    let (good, _, err) = house.rehearse(&["--festival", "night-ferry", "--remove"]).await;
    assert!(!good && err.contains("only a rehearsal can be removed"), "{err}");

    let (good, out, err) = house.rehearse(&[&["--festival", "night-ferry", "--rehearsal", "--keep", "--capacity", "250"], &CROWD[..]].concat()).await;
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out} {err}"));
    assert!(good, "{report:#}");
    assert_eq!((&report["unexpected"], &report["breaches"]), (&json!(0), &json!(0)), "{report:#}");
    for part in ["sold", "refused", "abandoned", "given_up"] {
        assert!(report[part].as_i64().unwrap() > 0, "nobody {part}: {report:#}");
    }
    assert!(report["answers"]["scan: admitted"].as_i64() > Some(0), "{report:#}");
    assert!(report["answers"]["place again: ok"].as_i64() > Some(0), "{report:#}");

    // While it is there: no fan finds it, none of its emails is ever due, the festival itself sold nothing.
    let slug = report["festival"].as_str().unwrap().to_owned();
    let anybody = house.server.anybody();
    assert_eq!(anybody.get(&format!("/f/{slug}")).await.status, 404);
    assert!(!anybody.request("GET", "/").send().await.unwrap().text().await.unwrap().contains(&slug));
    let letters = house.count("emails where kind = 'confirmation'").await;
    assert_eq!(letters, report["sold"].as_i64().unwrap());
    assert_eq!(house.count("emails where kind = 'confirmation' and (status <> 'queued' or due_at < '9999-01-01')").await, 0);
    assert_eq!(house.festival.stock(&house.offer).await, (0, 0));

    let copy: i32 = sqlx::query_scalar("select festival_id from festivals where slug = $1").bind(&slug).fetch_one(&mut house.database).await.unwrap();
    let (good, _, err) = house.rehearse(&["--festival", &slug, "--remove"]).await;
    assert!(good, "{err}");
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.columns where table_schema = 'public' and column_name = 'festival_id' and table_name not like 'audit%'",
    )
    .fetch_all(&mut house.database)
    .await
    .unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    for table in tables {
        assert_eq!(house.count(&format!("{table} where festival_id = {copy}")).await, 0, "rows of the copy are left in {table}");
    }
    let id = house.festival.id;
    let refused = house.database.execute(AssertSqlSafe(format!("select gatefold_remove_rehearsal({id})"))).await.unwrap_err();
    assert!(refused.to_string().contains("is no rehearsal"), "{refused}");
    let findings = invariants::check(&mut house.database, Utc::now()).await.unwrap();
    assert!(findings.iter().all(|f| f.breaches == 0), "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_the_house_loses_is_found_by_the_books_of_the_fans() {
    let mut house = Rehearsed::open("robbed").await;
    let mut thief = PgConnection::connect_with(&house.owner).await.unwrap();
    let robbing = tokio::spawn(async move {
        loop {
            let robbed = thief
                .execute(
                    "update orders set status = 'cancelled', paid_at = null, ended_at = placed_at \
                     where (festival_id, order_id) in (select festival_id, order_id from orders where status = 'paid' limit 1)",
                )
                .await
                .unwrap();
            if robbed.rows_affected() == 1 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    let (good, out, err) = house.rehearse(&[&["--festival", "night-ferry", "--rehearsal"], &CROWD[..]].concat()).await;
    robbing.await.unwrap();
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out} {err}"));
    assert!(!good, "{report:#}");
    assert!(report["differences"][0].as_str().unwrap().contains("Cancelled"), "{report:#}");
    assert!(report["breaches"].as_i64().unwrap() > 0, "{report:#}");
    assert_eq!(house.count("festivals where rehearsal_of is not null").await, 0);
}
