//! Before the night of an opening: is everything there that the night will need? Each finding is a row: good, worth a look, or in the way.
//!
//! It looks from where fans and gates stand: through the public address, over TLS, at the mail server, at the names under which emails are
//! judged; it buys a pass on a copy of the festival that is removed again, and reads a backup back into a database of its own.

mod backup;
mod mail;
mod reach;
mod sale;
mod store;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;
use serde::Serialize;
use sqlx::postgres::PgConnectOptions;

use crate::{
    app::App,
    config::Place,
    embedded::Embedded,
    festivals,
    postgres::{self, When},
};

/// What is looked at.
#[derive(Clone, Debug, clap::Args)]
pub struct Preflight {
    /// The festival, by its address.
    #[arg(long, value_name = "SLUG")]
    pub festival: String,
    /// The address that fans see.
    #[arg(long, env = "GATEFOLD_PUBLIC_URL", value_name = "URL")]
    pub public_url: url::Url,
    /// Where the server answers behind its proxy.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub server: SocketAddr,
    /// The mail server, as `serve` has it.
    #[arg(long, env = "GATEFOLD_SMTP", value_name = "URL", hide_env_values = true)]
    pub smtp: Option<String>,
    /// Who the emails come from, as `serve` has it.
    #[arg(long, env = "GATEFOLD_MAIL_FROM", default_value = "Gatefold <tickets@localhost>", value_name = "ADDRESS")]
    pub mail_from: String,
    /// The selector under which the mail server signs (DKIM, RFC 6376): `mail` for mail._domainkey.
    #[arg(long, value_name = "NAME")]
    pub dkim_selector: Option<String>,
    /// The name server to ask instead of the machine's own.
    #[arg(long, value_name = "ADDR")]
    pub name_server: Option<SocketAddr>,
    /// A backup to read back: what `pg_dump --format=custom` wrote.
    #[arg(long, value_name = "FILE")]
    pub backup: Option<PathBuf>,
    /// The findings as JSON.
    #[arg(long)]
    pub json: bool,
}

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Good,
    /// It works; somebody should have a look.
    Odd,
    /// The night would fail on it.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub level: Level,
    /// What was found, in a sentence.
    pub detail: String,
}

impl Finding {
    fn new(name: impl Into<String>, level: Level, detail: impl Into<String>) -> Self {
        Self { name: name.into(), level, detail: detail.into() }
    }

    fn good(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, Level::Good, detail)
    }

    fn odd(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, Level::Odd, detail)
    }

    fn bad(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, Level::Bad, detail)
    }
}

/// Where the database is, seen by a command beside the server.
pub struct Ground<'a> {
    /// The owner's connection.
    pub owner: &'a PgConnectOptions,
    /// The private cluster, if it is one.
    pub embedded: Option<&'a Embedded>,
    /// The folder of the house.
    pub place: &'a Place,
}

/// Looks and prints; exit code 1 when something is in the way.
///
/// # Errors
/// What kept it from looking, in a sentence.
pub async fn run(what: &Preflight, app: &App, ground: &Ground<'_>) -> anyhow::Result<ExitCode> {
    let festival =
        festivals::by_slug(&app.pools.web, &what.festival).await?.with_context(|| format!("there is no festival at the address {}", what.festival))?;
    let mut findings = Vec::new();
    let mut tell = |more: Vec<Finding>| {
        for finding in &more {
            if !what.json {
                println!("{}", line(finding));
            }
        }
        findings.extend(more);
    };
    let ready = postgres::readiness(&app.pools.web, When::Running, app.clock.now()).await;
    tell(ready.into_iter().map(|r| Finding::new(r.name, if r.good { Level::Good } else { Level::Bad }, r.detail)).collect());
    tell(reach::look(&what.public_url, app.clock.now()).await);
    tell(mail::look(what).await);
    tell(sale::terms(app, &festival).await?);
    tell(vec![sale::purchase(app, ground.owner, what.server, &festival).await]);
    tell(vec![backup::disk(ground, sale::units(app, &festival).await?)]);
    tell(vec![backup::prove(what.backup.as_deref(), ground, app.clock.now()).await]);
    let worst = findings.iter().map(|f| f.level).max().unwrap_or(Level::Good);
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    if what.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        println!("\n{} good, {} worth a look, {} in the way", count(Level::Good), count(Level::Odd), count(Level::Bad));
    }
    Ok(if worst == Level::Bad { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn line(finding: &Finding) -> String {
    let mark = match finding.level {
        Level::Good => "good",
        Level::Odd => "look",
        Level::Bad => "BAD ",
    };
    format!("{mark}  {:<22} {}", finding.name, finding.detail)
}
