//! The archive of a finished festival: all of its rows as files that any spreadsheet opens, and, when asked for, the rows that only gates and
//! couriers needed taken out of the database. Orders, tickets, money and music stay, because fans use them. The way back is there, too.
//!
//! A folder: `manifest.json` and one `<table>.csv.gz` a table (RFC 4180, RFC 1952) with a head line, rows in the order of the primary key, read
//! at one moment. The manifest names columns, counts and SHA-256 of what is in each file; everything is read again before a row is deleted.

mod store;

use std::{
    collections::BTreeMap,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use async_compression::tokio::{bufread::GzipDecoder, write::GzipEncoder};
use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::io::{AsyncReadExt, BufReader};

use crate::{
    audit::{self, Act, Actor},
    clock::Clock,
    distribute, festivals,
    id::FestivalId,
};

/// What leaves the database, in an order in which it can come back.
const LEAVES: [&str; 6] = ["emails", "provider_events", "webhook_events", "scans", "scan_reports", "admissions"];
/// How long after its last day a festival is over: complaints, late refunds and lost property are done.
const REST: TimeDelta = TimeDelta::days(30);

/// What to do.
#[derive(Clone, Debug, clap::Args)]
pub struct Archive {
    /// The festival, by its address.
    #[arg(long, value_name = "SLUG")]
    pub festival: String,
    /// The folder to write to: it must not be there yet.
    #[arg(long, value_name = "DIR", required_unless_present = "restore")]
    pub to: Option<PathBuf>,
    /// When the archive was read again: take scans, emails and notifications out of the database.
    #[arg(long, requires = "to")]
    pub remove: bool,
    /// Put back what was taken out, from an archive.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["to", "remove"])]
    pub restore: Option<PathBuf>,
}

/// What an archive holds.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    /// The number of the festival: an archive goes back to no other.
    festival_id: FestivalId,
    slug: String,
    archived_at: DateTime<Utc>,
    tables: BTreeMap<String, Kept>,
}

/// A table in an archive.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    columns: Vec<String>,
    rows: i64,
    /// Of the CSV, in hexadecimal digits.
    sha256: String,
}

/// Archives, removes or restores.
///
/// # Errors
/// A sentence; nothing was deleted or restored then.
pub async fn run(what: &Archive, owner: &PgConnectOptions, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let mut conn = PgConnection::connect_with(owner).await.context("the database cannot be reached")?;
    let festival = festivals::by_slug(&mut conn, &what.festival).await?.with_context(|| format!("there is no festival at the address {}", what.festival))?;
    let (id, now) = (festival.festival_id, Clock::System.now());
    if let Some(folder) = &what.restore {
        ensure!(festival.archived_at.is_some(), "nothing of {} was taken out", what.festival);
        return restore(&mut conn, id, folder, now, say).await;
    }
    let folder = what.to.as_deref().context("--to is missing")?;
    if what.remove {
        ensure!(festival.archived_at.is_none(), "the rows of {} were taken out before", what.festival);
        let last = festivals::last_day(&mut conn, id).await?.with_context(|| format!("{} has no days, so it is never over", what.festival))?;
        ensure!(last + REST < now, "{} is not over: rows can be taken out from {}", what.festival, (last + REST).format("%Y-%m-%d"));
        let unfinished = store::unfinished(&mut conn, id).await?;
        let list: Vec<String> = unfinished.iter().map(|(what, n)| format!("{n} {what}")).collect();
        ensure!(list.is_empty(), "{} is not finished: {}", what.festival, list.join(", "));
    }
    // Names and addresses of fans are in it: nobody else reads it.
    std::fs::DirBuilder::new().mode(0o700).create(folder).with_context(|| format!("the folder {} could not be made", folder.display()))?;
    let manifest = write(&mut conn, id, &festival.terms.slug, folder, now, say).await?;
    for (table, kept) in &manifest.tables {
        verify(folder, table, kept).await?;
    }
    say(&format!("{} tables of {} are in {}, read again and whole", manifest.tables.len(), what.festival, folder.display()));
    if what.remove {
        remove(&mut conn, &manifest, now, say).await?;
    }
    Ok(())
}

/// Writes all tables of a festival, as they are at one moment.
async fn write(conn: &mut PgConnection, id: FestivalId, slug: &str, folder: &Path, now: DateTime<Utc>, say: &dyn Fn(&str)) -> anyhow::Result<Manifest> {
    let mut tx = conn.begin().await?;
    store::at_one_moment(&mut tx).await?;
    let mut manifest = Manifest { festival_id: id, slug: slug.to_owned(), archived_at: now, tables: BTreeMap::new() };
    for table in distribute::tables(&mut tx).await?.iter().filter(|table| distribute::is_of_a_festival(table)) {
        let columns = store::columns(&mut tx, &table.name).await?;
        let rows = store::count(&mut tx, &table.name, id).await?;
        let file = tokio::fs::File::create_new(path(folder, &table.name)).await?;
        let hash = store::write_out(&mut tx, &table.name, &columns, &table.primary_key, id, GzipEncoder::new(file)).await?;
        say(&format!("{}: {rows} rows", table.name));
        manifest.tables.insert(table.name.clone(), Kept { columns, rows, sha256: HEXLOWER.encode(&hash) });
    }
    tx.commit().await?;
    tokio::fs::write(folder.join("manifest.json"), serde_json::to_vec_pretty(&manifest)?).await?;
    Ok(manifest)
}

fn path(folder: &Path, table: &str) -> PathBuf {
    folder.join(format!("{table}.csv.gz"))
}

async fn unpacked(folder: &Path, table: &str) -> anyhow::Result<GzipDecoder<BufReader<tokio::fs::File>>> {
    let file = tokio::fs::File::open(path(folder, table)).await.with_context(|| format!("{} cannot be read", path(folder, table).display()))?;
    let mut decoder = GzipDecoder::new(BufReader::new(file));
    decoder.multiple_members(true);
    Ok(decoder)
}

/// Reads a file again and compares it with the manifest.
async fn verify(folder: &Path, table: &str, kept: &Kept) -> anyhow::Result<()> {
    let (mut file, mut hash, mut buffer) = (unpacked(folder, table).await?, Sha256::new(), vec![0; 64 << 10]);
    loop {
        let read = file.read(&mut buffer).await.with_context(|| format!("{} is damaged", path(folder, table).display()))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    ensure!(HEXLOWER.encode(&hash.finalize()) == kept.sha256, "{} is not what was written", path(folder, table).display());
    Ok(())
}

/// Takes out what is in the archive, if it is all that there is.
async fn remove(conn: &mut PgConnection, manifest: &Manifest, now: DateTime<Utc>, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let id = manifest.festival_id;
    let mut tx = conn.begin().await?;
    store::mark(&mut tx, id, Some(now)).await?;
    for table in LEAVES.iter().rev() {
        let deleted = store::delete(&mut tx, table, id).await?;
        let kept = manifest.tables.get(*table).map_or(0, |kept| kept.rows);
        if i64::try_from(deleted)? != kept {
            bail!("{table} changed while it was archived ({kept} rows then, {deleted} now); nothing was taken out, archive it again");
        }
        say(&format!("{table}: {deleted} rows taken out"));
    }
    note(&mut tx, id, "festival.archived", now).await?;
    tx.commit().await?;
    Ok(())
}

async fn restore(conn: &mut PgConnection, id: FestivalId, folder: &Path, now: DateTime<Utc>, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let manifest = std::fs::read(folder.join("manifest.json")).with_context(|| format!("there is no archive in {}", folder.display()))?;
    let manifest: Manifest = serde_json::from_slice(&manifest).context("manifest.json is not one of ours")?;
    ensure!(manifest.festival_id == id, "this is the archive of {}", manifest.slug);
    let mut tx = conn.begin().await?;
    store::mark(&mut tx, id, None).await?;
    for table in LEAVES {
        let kept = manifest.tables.get(table).with_context(|| format!("the archive has no {table}"))?;
        verify(folder, table, kept).await?;
        let rows =
            store::read_in(&mut tx, table, &kept.columns, unpacked(folder, table).await?).await.with_context(|| format!("{table} could not be put back"))?;
        ensure!(i64::try_from(rows)? == kept.rows, "{table} has {} rows in its archive, {rows} came", kept.rows);
        say(&format!("{table}: {rows} rows put back"));
    }
    note(&mut tx, id, "festival.restored", now).await?;
    tx.commit().await?;
    Ok(())
}

async fn note(conn: &mut PgConnection, festival: FestivalId, action: &str, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let act = Act { festival, actor: Actor::House, action, object_kind: "festival", object_id: festival.0.to_string(), before: None, after: None };
    audit::record(conn, act, now).await
}
