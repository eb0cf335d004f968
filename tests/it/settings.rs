//! A server does not start on a database that would lose or misread orders, and says why. One that runs tells whoever asks whether it is
//! ready, and is ready again when the database is.

use std::time::Duration;

use serde_json::Value;
use sqlx::postgres::PgConnectOptions;

use crate::{
    clusters::Cluster,
    faults::{Served, a_free_port, folder, forget, until},
    house::House,
    sale::{by_socket, settings},
    servers::gatefold,
};

/// How soon a changed setting is seen.
const SEEN: Duration = Duration::from_secs(10);

/// What is wrong: what makes it so, what mends it, and the words that name it.
const WRONG: [(&str, &str, &str); 9] = [
    ("alter system set fsync = off", "alter system reset fsync", "fsync off"),
    ("alter system set synchronous_commit = off", "alter system reset synchronous_commit", "synchronous_commit off"),
    ("alter system set default_transaction_isolation = serializable", "alter system reset default_transaction_isolation", "isolation serializable"),
    ("alter database gatefold set synchronous_commit = off", "alter database gatefold reset synchronous_commit", "gatefold_app get synchronous_commit=off"),
    ("alter role all set synchronous_commit = no", "alter role all reset synchronous_commit", "gatefold_app get synchronous_commit=no"),
    ("alter role gatefold_app set synchronous_commit = off", "alter role gatefold_app reset all", "gatefold_app get synchronous_commit=off"),
    ("alter role gatefold_promoter set synchronous_commit = off", "alter role gatefold_promoter reset all", "gatefold_promoter get synchronous_commit=off"),
    (
        "alter role gatefold_app in database gatefold set default_transaction_isolation = 'repeatable read'",
        "alter role gatefold_app in database gatefold reset all",
        "gatefold_app get default_transaction_isolation=repeatable read",
    ),
    ("delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)", "", "run 'gatefold migrate'"),
];

/// Tries to start a server that has to refuse, in a sentence with these words.
async fn refuses(database: &PgConnectOptions, words: &str) {
    let mut command = tokio::process::Command::from(gatefold("refuses", database, &["serve", "--listen", "127.0.0.1:0", "--public-url", "http://127.0.0.1:1"]));
    let output = tokio::time::timeout(Duration::from_secs(30), command.kill_on_drop(true).output());
    let output = output.await.unwrap_or_else(|_| panic!("the server started: {words}")).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{words}: {said}");
    let sentence = said.lines().last().unwrap_or_default();
    assert!(sentence.starts_with("gatefold: the database is not as it should be (") && sentence.contains(words), "{words}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_set_wrongly_is_refused_with_its_reason_and_makes_a_running_server_unready() {
    let cluster = Cluster::make("settings").await;
    let folder = folder("settings-server");
    let (served, _) = Served::start_with(&folder, a_free_port(), &settings(&by_socket(cluster.owner()))).await;
    let http = served.anybody();
    for (wrong, right, words) in WRONG {
        cluster.alter(wrong).await;
        let names_it = async || {
            let answer = http.get("/readyz").await;
            answer.status == 503
                && answer.body["checks"].as_array().unwrap().iter().any(|c| c["good"] == false && c["detail"].as_str().unwrap().contains(words))
        };
        until(&format!("an answer that names {words}"), SEEN, names_it).await;
        refuses(cluster.owner(), words).await;
        if !right.is_empty() {
            cluster.alter(right).await;
            until(&format!("readiness after {right}"), SEEN, async || http.get("/readyz").await.status == 200).await;
        }
    }
    drop(served);
    forget(&folder);
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_of_the_role_in_the_database_goes_before_one_of_the_database() {
    let cluster = Cluster::make("settings-order").await;
    cluster.alter("alter database gatefold set synchronous_commit = off").await;
    refuses(cluster.owner(), "gatefold_app get synchronous_commit=off").await;
    cluster.alter("alter role gatefold_app in database gatefold set synchronous_commit = on").await;
    refuses(cluster.owner(), "new sessions of gatefold_promoter get synchronous_commit=off").await;
    cluster.alter("alter role gatefold_promoter set synchronous_commit = remote_apply").await;
    let folder = folder("settings-order-server");
    drop(Served::start_with(&folder, a_free_port(), &settings(&by_socket(cluster.owner()))).await);
    forget(&folder);
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_serves_on_after_the_migrations_of_the_next_version_and_none_of_this_version_starts() {
    let cluster = Cluster::make("settings-newer").await;
    let folder = folder("settings-newer-server");
    let (served, _) = Served::start_with(&folder, a_free_port(), &settings(&by_socket(cluster.owner()))).await;
    cluster
        .alter("insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (99990101000000, 'of tomorrow', true, '', 0)")
        .await;
    refuses(cluster.owner(), "the database has 99990101000000").await;
    let ready = served.anybody().get("/readyz").await.expect(200);
    assert!(ready["checks"].as_array().unwrap().iter().any(|c| c["detail"].as_str().unwrap().contains("start the newer program")), "{ready}");
    drop(served);
    forget(&folder);
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_clock_is_minutes_off_is_not_ready_and_says_why() {
    // The clock of a house in a test stands still in spring, its database goes with the real one.
    let house = House::open().await;
    let answer = house.anybody().get("/readyz").await;
    assert_eq!(answer.status, 503);
    let wrong: Vec<&Value> = answer.body["checks"].as_array().unwrap().iter().filter(|check| check["good"] == false).collect();
    assert!(wrong.len() == 1 && wrong[0]["name"] == "clock" && wrong[0]["detail"].as_str().unwrap().contains("ms between"), "{wrong:?}");
    // Selling goes on: windows are judged by one clock, and a code outlives ten minutes.
    house.close().await;
}
