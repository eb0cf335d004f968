//! Past one machine: turns a migrated database with the extension Citus into one that is sharded by festival (4-on-sale, "Past one machine").
//!
//! Tables of the platform become reference tables, on every node; tables of a festival are distributed by `festival_id` and lie together, so
//! that a transaction of one festival runs on one shard as it is. The same rules are looked at on plain Postgres by a test, over every table, so
//! that the step stays possible: see [`obstacles`].

mod store;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

pub use store::{Table, tables};

/// What to do.
#[derive(Clone, Debug, clap::Args)]
pub struct Distribute {
    /// Print the statements and run none: works on plain Postgres, too.
    #[arg(long)]
    pub plan: bool,
}

/// The column by which tables are distributed.
pub const BY: &str = "festival_id";

/// Whether a table lies with its festival, or everywhere. `festivals` itself is a table of the platform.
#[must_use]
pub fn is_of_a_festival(table: &Table) -> bool {
    table.name != "festivals" && table.primary_key.iter().any(|column| column == BY)
}

/// What stands in the way of distributing tables, in sentences; nothing when they can be distributed.
#[must_use]
pub fn obstacles(tables: &[Table]) -> Vec<String> {
    let of_festivals: BTreeSet<&str> = tables.iter().filter(|t| is_of_a_festival(t)).map(|t| t.name.as_str()).collect();
    let mut found = Vec::new();
    for table in tables {
        let name = &table.name;
        if table.primary_key.is_empty() {
            found.push(format!("{name} has no primary key"));
        }
        if table.triggers > 0 {
            found.push(format!("{name} has triggers: rules live in constraints and statements"));
        }
        let distributed = of_festivals.contains(name.as_str());
        for unique in table.unique.iter().filter(|unique| distributed && !unique.iter().any(|column| column == BY)) {
            found.push(format!("{name}: a unique index over {} does not contain {BY}", unique.join(", ")));
        }
        for key in &table.foreign_keys {
            let to_distributed = of_festivals.contains(key.references.as_str());
            if to_distributed && !distributed {
                found.push(format!("{name} lies everywhere and refers to {}, which does not", key.references));
            }
            if to_distributed && distributed && !key.columns.iter().any(|column| column == BY) {
                found.push(format!("{name} refers to {} without {BY}", key.references));
            }
        }
    }
    found
}

/// The statements that distribute tables: what is referred to comes first.
///
/// # Errors
/// When tables refer to each other in a circle.
pub fn statements(tables: &[Table]) -> anyhow::Result<Vec<String>> {
    let mut left: BTreeMap<&str, &Table> = tables.iter().map(|table| (table.name.as_str(), table)).collect();
    let mut statements = vec!["set citus.enable_local_reference_table_foreign_keys to off".to_owned()];
    let mut anchor: Option<&str> = None;
    while !left.is_empty() {
        let waits = |table: &Table| table.foreign_keys.iter().any(|key| key.references != table.name && left.contains_key(key.references.as_str()));
        // Tables of the platform first: those of festivals may refer to them.
        let next = left.values().filter(|table| !waits(table)).min_by_key(|table| (is_of_a_festival(table), table.name.as_str())).copied();
        let table = next.with_context(|| format!("{:?} refer to each other in a circle", left.keys()))?;
        left.remove(table.name.as_str());
        statements.push(match (is_of_a_festival(table), anchor) {
            (false, _) => format!("select create_reference_table('{}')", table.name),
            (true, None) => {
                anchor = Some(&table.name);
                format!("select create_distributed_table('{}', '{BY}')", table.name)
            }
            (true, Some(with)) => format!("select create_distributed_table('{}', '{BY}', colocate_with => '{with}')", table.name),
        });
    }
    Ok(statements)
}

/// Distributes the database, or prints how.
///
/// # Errors
/// What stands in the way, in sentences.
pub async fn run(what: &Distribute, owner: &PgConnectOptions) -> anyhow::Result<()> {
    let mut conn = PgConnection::connect_with(owner).await.context("the database cannot be reached")?;
    let tables = tables(&mut conn).await?;
    let obstacles = obstacles(&tables);
    ensure!(obstacles.is_empty(), "{}", obstacles.join("; "));
    let statements = statements(&tables)?;
    if what.plan {
        for statement in &statements {
            println!("{statement};");
        }
        return Ok(());
    }
    ensure!(store::has_citus(&mut conn).await?, "the database has no extension citus: create extension citus on the coordinator and add its workers first");
    let done = store::distributed(&mut conn).await?;
    for (i, statement) in statements.iter().enumerate() {
        if done.iter().any(|table| statement.contains(&format!("'{table}'"))) {
            continue;
        }
        eprintln!("gatefold: {} of {}: {statement}", i + 1, statements.len());
        store::execute(&mut conn, statement).await.with_context(|| statement.clone())?;
    }
    println!("{} tables are distributed or on every node", tables.len());
    Ok(())
}
