//! The database: migrations, pools by purpose, what a server looks at before it answers.

use std::{cell::Cell, cmp::Ordering, time::Duration};

use anyhow::Context;
use sqlx::{
    Connection, PgPool, Postgres, Transaction,
    migrate::MigrateError,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};
use tracing_subscriber::{Layer, filter::Targets, layer};

use crate::{app::Pools, batcher, embedded::DATABASE, secrets::Secrets};

/// How long a connection that does nothing else may take for an answer.
const SILENCE: Duration = Duration::from_secs(1);

/// The migrations of all rooms.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Makes the database where it is missing and brings it up to date, as the owner. Sets the passwords of the other roles.
///
/// # Errors
/// What the database said.
pub async fn migrate(owner: &PgConnectOptions, secrets: &Secrets, embedded: bool, thaw: bool) -> anyhow::Result<()> {
    if embedded {
        let mut conn = PgConnection::connect_with(&owner.clone().database("postgres")).await.context("Postgres cannot be reached")?;
        let there: Option<i32> = sqlx::query_scalar("select 1 from pg_database where datname = $1").bind(DATABASE).fetch_optional(&mut conn).await?;
        if there.is_none() {
            sqlx::query("create database gatefold").execute(&mut conn).await?;
        }
    }
    let mut conn = PgConnection::connect_with(owner).await.context("the database cannot be reached")?;
    // While a migration waits for a table, everybody who reads it waits behind the migration.
    sqlx::query("set lock_timeout = '5s'").execute(&mut conn).await?;
    if !thaw {
        not_while_frozen(&mut conn).await?;
    }
    MIGRATIONS.run(&mut conn).await.map_err(|error| match error {
        // Before the first release founding migrations still change: what was made by an older build is made anew.
        MigrateError::VersionMismatch(_) | MigrateError::VersionMissing(_) => {
            anyhow::anyhow!("this database was made by another version of gatefold ({error}); choose another folder with --data, or remove this one")
        }
        MigrateError::Execute(ref why) | MigrateError::ExecuteMigration(ref why, _) if is_lock_timeout(why) => {
            anyhow::anyhow!("the migrations did not run: somebody holds a table for longer than 5 seconds ({error}); run it again in a quieter moment")
        }
        other => anyhow::Error::new(other).context("the migrations did not run"),
    })?;
    for role in ["gatefold_app", "gatefold_promoter"] {
        sqlx::query("select set_config('gatefold.role', $1, false), set_config('gatefold.password', $2, false)")
            .bind(role)
            .bind(secrets.role_password(role))
            .execute(&mut conn)
            .await?;
        sqlx::query(
            "do $$ begin execute format('alter role %I login password %L', \
             current_setting('gatefold.role'), current_setting('gatefold.password')); end $$",
        )
        .execute(&mut conn)
        .await?;
    }
    conn.close().await?;
    Ok(())
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.code().is_some_and(|code| code == "55P03"))
}

/// Refuses to migrate while a festival is frozen, where anything is to be migrated.
async fn not_while_frozen(conn: &mut PgConnection) -> anyhow::Result<()> {
    let known: Option<bool> = sqlx::query_scalar("select true from information_schema.columns where table_name = 'festivals' and column_name = 'frozen_until'")
        .fetch_optional(&mut *conn)
        .await?;
    if known.is_none() {
        return Ok(());
    }
    let done: i64 = sqlx::query_scalar("select count(*) from _sqlx_migrations where success").fetch_one(&mut *conn).await?;
    if usize::try_from(done).unwrap_or(0) >= MIGRATIONS.iter().count() {
        return Ok(());
    }
    let frozen: Option<(String, chrono::DateTime<chrono::Utc>)> =
        sqlx::query_as("select slug, frozen_until from festivals where frozen_until > $1 and published_at is not null order by frozen_until desc limit 1")
            .bind(crate::clock::Clock::System.now())
            .fetch_optional(&mut *conn)
            .await?;
    match frozen {
        Some((slug, until)) => {
            anyhow::bail!("{slug} is frozen until {}: no migration runs in its night; `gatefold migrate --thaw` runs them all the same", until.to_rfc3339())
        }
        None => Ok(()),
    }
}

/// Opens the pools: as `gatefold_app`, the promoter's as `gatefold_promoter`. No server connects as the owner.
///
/// # Errors
/// When the database cannot be reached.
pub async fn pools(owner: &PgConnectOptions, secrets: &Secrets) -> anyhow::Result<Pools> {
    let open = async |role: &'static str, name: &'static str, most: u32, statement: &'static str| -> anyhow::Result<PgPool> {
        let mut options = owner.clone().username(role).password(&secrets.role_password(role)).application_name(name).options([
            ("lock_timeout", "1s"),
            ("statement_timeout", statement),
            ("idle_in_transaction_session_timeout", "10s"),
            ("timezone", "UTC"),
            // A plan made for one festival by number, of which no statistics tell yet, takes it for empty and filters all of its rows
            // (measured: fans who paid later than others took half of the machine). A plan for any festival does not.
            ("plan_cache_mode", "force_generic_plan"),
            ("jit", "off"),
        ]);
        let of_a_lane = matches!(name, "gatefold place" | "gatefold complete" | "gatefold scan");
        if of_a_lane {
            // Every statement of a lane finds its rows by an index. In the first second of a sale a table is so small that reading all of it
            // looks cheaper, and that plan is kept while the table grows by thousands (measured: half of what Postgres did in a rush).
            options = options.options([("enable_seqscan", "off")]);
        }
        let opening = PgPoolOptions::new()
            .max_connections(most)
            .min_connections(1)
            .acquire_timeout(Duration::from_secs(2))
            .test_before_acquire(false)
            .max_lifetime(None)
            .after_release(|conn, _| {
                // A network that swallows packets would keep a connection, and its place in the pool, on the way back for ever.
                Box::pin(async move {
                    tokio::time::timeout(SILENCE, conn.ping())
                        .await
                        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
                        .map(|()| true)
                })
            })
            .connect_with(options);
        let opened = if of_a_lane { batcher::threads().spawn(opening).await? } else { opening.await };
        opened.with_context(|| format!("the database cannot be reached as {role}; has 'gatefold migrate' been run?"))
    };
    Ok(Pools {
        place: open("gatefold_app", "gatefold place", 4, "3s").await?,
        complete: open("gatefold_app", "gatefold complete", 4, "3s").await?,
        scan: open("gatefold_app", "gatefold scan", 4, "3s").await?,
        web: open("gatefold_app", "gatefold web", 8, "5s").await?,
        work: open("gatefold_app", "gatefold work", 4, "60s").await?,
        promoter: open("gatefold_promoter", "gatefold promoter", 6, "15s").await?,
    })
}

/// Gathers statistics of one table that grew much since anybody looked, and says how many it looked at; all plans that read it are made anew.
///
/// # Errors
/// What the database said.
pub async fn know_tables(pool: &PgPool) -> Result<usize, sqlx::Error> {
    let looked: i32 = sqlx::query_scalar("select gatefold_know_tables()").fetch_one(pool).await?;
    Ok(usize::try_from(looked).unwrap_or(0))
}

tokio::task_local! {
    /// Whether Postgres warned during a commit.
    static WARNED: Cell<bool>;
}

/// Hears the warnings of Postgres. It is a layer of the log, because sqlx tells them nowhere else.
pub struct Notices;

impl Notices {
    /// What it has to hear, whatever else is logged.
    #[must_use]
    pub fn filter() -> Targets {
        Targets::new().with_target("sqlx::postgres::notice", tracing::Level::WARN)
    }
}

impl<S: tracing::Subscriber> Layer<S> for Notices {
    fn on_event(&self, _event: &tracing::Event<'_>, _context: layer::Context<'_, S>) {
        // Outside of a commit nobody listens.
        let _ = WARNED.try_with(|warned| warned.set(true));
    }
}

/// Commits, and takes nothing for committed that Postgres only warned of.
///
/// When somebody cancels the wait for a synchronous standby, Postgres says COMMIT and warns (01000) that the standby may not have it: if the
/// primary dies now it is lost. That is unknown, not done; whoever asks again waits for the standby.
///
/// # Errors
/// What the database said, or that it warned.
pub async fn commit(tx: Transaction<'_, Postgres>) -> Result<(), sqlx::Error> {
    let committing = async {
        tx.commit().await?;
        if WARNED.with(Cell::get) { Err(sqlx::Error::Protocol("Postgres warned during a commit: whether it stays is unknown".to_owned())) } else { Ok(()) }
    };
    WARNED.scope(Cell::new(false), committing).await
}

/// One thing that readiness looks at.
#[derive(Debug)]
pub struct Readiness {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub good: bool,
    /// What was found.
    pub detail: String,
}

/// When readiness is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// A server starts: its database has exactly its migrations.
    Starting,
    /// A server runs: the next version may have migrated meanwhile, and both serve until this one is replaced.
    Running,
}

/// What new sessions of our roles get by a setting of the role or the database, in the order in which Postgres looks for it, where it is not
/// what it should be. The session that asks may be older.
const UNFIT: &str = "select coalesce(array_agg(format('new sessions of %s get %s=%s', rolname, name, value) order by rolname, name), '{}') from ( \
        select r.rolname, split_part(s, '=', 1) as name, lower(split_part(s, '=', 2)) as value, \
               row_number() over (partition by r.oid, split_part(s, '=', 1) order by d.setrole = 0, d.setdatabase = 0) as place \
        from pg_roles r \
        join pg_db_role_setting d on d.setrole in (0, r.oid) and d.setdatabase in (0, (select oid from pg_database where datname = current_database())) \
        cross join unnest(d.setconfig) s where r.rolname in ('gatefold_app', 'gatefold_promoter') \
     ) said \
     where place = 1 and (name = 'synchronous_commit' and value in ('off', 'false', 'no', '0') or name = 'default_transaction_isolation' and value <> 'read committed')";

/// Looks at the database: reachable, migrated, isolation, durability, clock.
pub async fn readiness(pool: &PgPool, when: When, now: chrono::DateTime<chrono::Utc>) -> Vec<Readiness> {
    type Row = (String, String, String, chrono::DateTime<chrono::Utc>, Option<i64>);
    let finding = |name, good, detail: String| Readiness { name, good, detail };
    let asked = async {
        let mut conn = pool.acquire().await?;
        let here: Row = sqlx::query_as(
            "select current_setting('default_transaction_isolation'), current_setting('fsync'), current_setting('synchronous_commit'), clock_timestamp(), \
                    gatefold_schema_version()",
        )
        .fetch_one(&mut *conn)
        .await?;
        let skew = (here.3 - now).num_milliseconds();
        let unfit: Vec<String> = sqlx::query_scalar(UNFIT).fetch_one(&mut *conn).await?;
        Ok::<_, sqlx::Error>((here, skew, unfit))
    };
    match asked.await {
        Err(error) => {
            tracing::warn!(%error, "the database is not ready");
            vec![finding("database", false, "cannot be reached".to_owned())]
        }
        Ok(((isolation, fsync, commit, _, version), skew, unfit)) => {
            let (unfit_isolation, unfit_commit): (Vec<String>, Vec<String>) = unfit.into_iter().partition(|said| said.contains("isolation"));
            let said = |mut first: Vec<String>, more: Vec<String>| {
                first.extend(more);
                first.join("; ")
            };
            let (migrated, migrations) = migrated(version.unwrap_or(0), when);
            vec![
                finding("database", true, "reached".to_owned()),
                finding("migrations", migrated, migrations),
                finding(
                    "isolation",
                    isolation == "read committed" && unfit_isolation.is_empty(),
                    said(vec![format!("default_transaction_isolation {isolation}")], unfit_isolation),
                ),
                finding(
                    "durability",
                    fsync == "on" && commit != "off" && unfit_commit.is_empty(),
                    said(vec![format!("fsync {fsync}"), format!("synchronous_commit {commit}")], unfit_commit),
                ),
                finding("clock", skew.abs() <= 2_000, format!("{skew} ms between this machine and the database")),
            ]
        }
    }
}

/// Whether a server of this program may serve a database with this newest migration, and a sentence about it.
fn migrated(database: i64, when: When) -> (bool, String) {
    let program = MIGRATIONS.iter().map(|m| m.version).max().unwrap_or(0);
    match database.cmp(&program) {
        Ordering::Equal => (true, format!("{database}")),
        Ordering::Less => (false, format!("the database has {database}, this program needs {program}; run 'gatefold migrate'")),
        Ordering::Greater => (when == When::Running, format!("the database has {database}, this program knows {program}; start the newer program")),
    }
}
