//! Whether there is room for the night, and whether a backup can be read back.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::process::Command;

use super::{Finding, Ground};
use crate::{embedded, reports::invariants};

/// What a sold unit takes on disk, in bytes, with its indexes: order, line, allocation, payment, ticket, entitlement, email
/// (measured by `gatefold bench --fill`), and as much again for its write-ahead log.
const UNIT: i64 = 2 * 2_500;
/// What the write-ahead log takes at most between two checkpoints.
const LOG: i64 = 4 << 30;
/// How old a backup may be on the evening of an opening.
const OLD: Duration = Duration::from_secs(24 * 3_600);

/// Whether the disk of the house has room for what may be sold.
pub(super) fn disk(ground: &Ground<'_>, units: i64) -> Finding {
    let need = units * UNIT + LOG;
    let gigabytes = |bytes: i64| format!("{}.{} GB", bytes >> 30, ((bytes & ((1 << 30) - 1)) * 10) >> 30);
    if ground.embedded.is_none() {
        return Finding::odd("disk", format!("the database lies elsewhere; it needs {} there for {units} units", gigabytes(need)));
    }
    match available(&ground.place.folder()) {
        Ok(free) if free >= need => Finding::good("disk", format!("{} free, {units} units need {}", gigabytes(free), gigabytes(need))),
        Ok(free) => Finding::bad("disk", format!("{} free, {units} units need {}", gigabytes(free), gigabytes(need))),
        Err(error) => Finding::odd("disk", format!("{error:#}")),
    }
}

fn available(folder: &Path) -> anyhow::Result<i64> {
    // POSIX: the fourth column of the last line, in blocks of 1,024 bytes.
    let output = std::process::Command::new("df").arg("-Pk").arg(folder).stderr(Stdio::null()).output().context("df could not be run")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let blocks = text.lines().last().and_then(|line| line.split_whitespace().nth(3)).and_then(|blocks| blocks.parse::<i64>().ok());
    Ok(blocks.context("df said nothing that we understand")? * 1_024)
}

/// Reads a backup back into a database of its own, checks the invariants there, and removes it.
pub(super) async fn prove(file: Option<&Path>, ground: &Ground<'_>, now: DateTime<Utc>) -> Finding {
    let Some(file) = file else {
        return Finding::bad("backup", "none was given: make one with pg_dump --format=custom, and say --backup FILE to see whether it can be read back");
    };
    match read_back(file, ground, now).await {
        Ok(finding) => finding,
        Err(error) => Finding::bad("backup", format!("{}: {error:#}", file.display())),
    }
}

async fn read_back(file: &Path, ground: &Ground<'_>, now: DateTime<Utc>) -> anyhow::Result<Finding> {
    let written = std::fs::metadata(file).and_then(|meta| meta.modified()).context("cannot be read")?;
    let mut conn = PgConnection::connect_with(ground.owner).await?;
    let live = ground.owner.get_database().unwrap_or(embedded::DATABASE);
    let name = format!("{live}_preflight_{}", std::process::id());
    ensure!(
        name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') && name.len() < 64,
        "the database {live} has a name that none can be made from"
    );
    conn.execute(AssertSqlSafe(format!("create database {name} template template0"))).await.context("a database to read it into could not be made")?;
    let outcome = restored(file, ground, &name, written.into()).await;
    let dropped = conn.execute(AssertSqlSafe(format!("drop database {name} with (force)"))).await;
    let detail = outcome?;
    dropped.with_context(|| format!("the database {name} could not be removed"))?;
    let age = DateTime::<Utc>::from(written).signed_duration_since(now).abs().to_std().unwrap_or(OLD);
    let hours = age.as_secs() / 3_600;
    Ok(if age < OLD { Finding::good("backup", detail) } else { Finding::odd("backup", format!("{detail}; it is {hours} hours old")) })
}

async fn restored(file: &Path, ground: &Ground<'_>, name: &str, written: DateTime<Utc>) -> anyhow::Result<String> {
    let owner = ground.owner;
    let host = owner.get_socket().map_or_else(|| owner.get_host().to_owned(), |socket| socket.display().to_string());
    let mut restore = Command::new(embedded::tool("pg_restore")?);
    restore.args([
        "--exit-on-error",
        "--jobs=2",
        "--dbname",
        name,
        "--host",
        &host,
        "--port",
        &owner.get_port().to_string(),
        "--username",
        owner.get_username(),
    ]);
    if let Some(password) = ground.place.database_url.as_ref().and_then(|url| url::Url::parse(url).ok()?.password().map(str::to_owned)) {
        // In the environment, where other users of the machine do not see it.
        restore.env(
            "PGPASSWORD",
            url::form_urlencoded::parse(format!("x={}", password.replace('+', "%2B")).as_bytes()).next().map_or(password.clone(), |(_, p)| p.into_owned()),
        );
    }
    let output = restore.arg(file).stdin(Stdio::null()).output().await.context("pg_restore could not be run")?;
    ensure!(output.status.success(), "pg_restore: {}", String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("failed"));
    let mut conn = PgConnection::connect_with(&owner.clone().database(name)).await?;
    // What is overdue now was not overdue when the backup was made.
    let findings = invariants::check(&mut conn, written).await.context("what was read back could not be checked")?;
    let orders = super::store::orders(&mut conn).await?;
    conn.close().await?;
    let broken: Vec<String> = findings.iter().filter(|f| f.breaches > 0).map(|f| format!("{} breaches of {}", f.breaches, f.name)).collect();
    ensure!(broken.is_empty(), "read back, it has {}", broken.join(", "));
    Ok(format!("read back with {orders} orders, {} invariants hold", findings.len()))
}
