//! While a house is upgraded two versions serve one database: the statements of the version before have to fit the schema of today, and a
//! migration may not queue the site behind itself.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use gatefold::postgres;
use sqlx::{AssertSqlSafe, Connection, Executor, SqlSafeStr, postgres::PgConnection};

use crate::{
    faults::until,
    house::{fresh_database, secrets},
    schema::of_the_house,
};

/// One statement a line. When a version is out its statements replace those of the one before:
/// `GATEFOLD_KEEP_STATEMENTS=src cargo test --release --features sabotage --test it upgrades` (folders of sources, separated by colons).
const BEFORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/statements-of-before.txt");

/// The statements of the version before.
fn before() -> BTreeSet<String> {
    if let Some(folders) = std::env::var_os("GATEFOLD_KEEP_STATEMENTS") {
        let of = |folder| of_the_house(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
        let kept: BTreeSet<String> = std::env::split_paths(&folders).flat_map(of).map(|(_, statement)| statement.replace('\n', " ")).collect();
        std::fs::write(BEFORE, kept.into_iter().collect::<Vec<_>>().join("\n") + "\n").unwrap();
    }
    std::fs::read_to_string(BEFORE).unwrap().lines().map(str::to_owned).collect()
}

/// The tables that a statement inserts into, each with the columns that it names.
fn inserts(statement: &str) -> Vec<(&str, Vec<&str>)> {
    let into = statement.match_indices("insert into ").filter_map(|(i, verb)| {
        let (table, columns) = statement[i + verb.len()..].split_once(" (")?;
        Some((table, columns.split_once(')')?.0.split(',').map(str::trim).collect()))
    });
    into.filter(|(table, _)| table.chars().all(|c| c.is_ascii_lowercase() || c == '_')).collect()
}

/// What does not fit the schema: what cannot be prepared, and an insert without a column that must not be null.
async fn misfits(conn: &mut PgConnection, statements: &BTreeSet<String>) -> Vec<String> {
    let needed: Vec<(String, String)> = sqlx::query_as(
        "select table_name::text, column_name::text from information_schema.columns \
         where table_schema = 'public' and is_nullable = 'NO' and column_default is null and is_identity = 'NO' and is_generated = 'NEVER'",
    )
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    let mut found = Vec::new();
    for statement in statements {
        if let Err(error) = conn.prepare(AssertSqlSafe(statement.clone()).into_sql_str()).await {
            found.push(format!("{statement}: {error}"));
        }
        for (table, columns) in inserts(statement) {
            let missing = needed.iter().filter(|(t, column)| t == table && !columns.contains(&column.as_str()));
            found.extend(missing.map(|(_, column)| format!("{statement}: leaves out {column}")));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statements_of_the_version_before_fit_the_schema_of_today() {
    let before = before();
    assert!(before.len() > 100 && before.iter().flat_map(|s| inserts(s)).count() > 20, "{} statements", before.len());
    let mut conn = PgConnection::connect_with(&fresh_database("upgrade").await).await.unwrap();
    assert_eq!(misfits(&mut conn, &before).await, Vec::<String>::new());
    // A migration that takes something away and one that asks for more than they give are found.
    conn.execute("alter table stocks rename column held to kept").await.unwrap();
    assert!(misfits(&mut conn, &before).await.iter().any(|m| m.contains("held") && m.contains("does not exist")));
    conn.execute("alter table stocks rename column kept to held").await.unwrap();
    conn.execute("alter table payments add column fee_minor bigint not null").await.unwrap();
    assert!(misfits(&mut conn, &before).await.iter().any(|m| m.ends_with("leaves out fee_minor")));
    conn.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_meets_a_lock_gives_up_in_a_sentence_and_whoever_waited_behind_it_goes_on() {
    let owner = fresh_database("migration_lock").await;
    let mut conn = PgConnection::connect_with(&owner).await.unwrap();
    // The night of an opening is still to be migrated.
    conn.execute("alter table festivals drop column paused, drop column frozen_until, drop column licensed_capacity").await.unwrap();
    conn.execute("delete from _sqlx_migrations where version = 20261125100000").await.unwrap();
    let mut reader = PgConnection::connect_with(&owner).await.unwrap();
    let mut long = reader.begin().await.unwrap();
    long.execute("lock table festivals in access share mode").await.unwrap();

    let keys = secrets();
    let behind = async {
        until("a migration that waits", Duration::from_secs(10), async || {
            let waiting = "select count(*) from pg_locks where not granted and relation = 'festivals'::regclass and mode = 'AccessExclusiveLock'";
            sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut conn).await.unwrap() == 1
        })
        .await;
        let begin = Instant::now();
        conn.execute("select from festivals").await.unwrap();
        begin.elapsed()
    };
    let (migrated, waited) = tokio::join!(postgres::migrate(&owner, &keys, false, false), behind);
    assert!(waited > Duration::from_secs(1) && waited < Duration::from_secs(7), "a reader behind the migration waited {waited:?}");
    let refused = migrated.unwrap_err().to_string();
    assert!(refused.contains("somebody holds a table") && refused.contains("20261125100000"), "{refused}");

    long.rollback().await.unwrap();
    postgres::migrate(&owner, &keys, false, false).await.unwrap();
    conn.execute("select frozen_until from festivals").await.unwrap();
    conn.close().await.unwrap();
}

#[test]
fn no_migration_lengthens_its_patience_or_leaves_its_transaction() {
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["lock_timeout", "no-transaction"] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}
