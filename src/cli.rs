//! The command line. `--help` is the manual; a bad setting is a sentence and exit code 2.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use sqlx::{
    Connection,
    postgres::{PgConnectOptions, PgConnection},
};
use tokio::net::TcpListener;

use crate::{
    accounts, api,
    app::App,
    archive::{self, Archive},
    bench::{
        self, Bench,
        rehearse::{self, Rehearse},
    },
    clock::Clock,
    config::{self, Place, Serve, Settings},
    distribute::{self, Distribute},
    embedded::Embedded,
    http::door,
    log::Log,
    mailer::Mailer,
    postgres::{self, When},
    preflight::{self, Ground, Preflight},
    reports::invariants,
    scanner,
    secrets::Secrets,
    server, waiting, web,
    words::Language,
};

/// Festival passes bundled with digital albums: sale, tickets, music, gates.
#[derive(Debug, Parser)]
#[command(name = "gatefold", version, about, max_term_width = 110)]
struct Gatefold {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve fans, gates and promoters.
    Serve {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        serve: Serve,
    },
    /// Serve a festival to try everything on: passes, music, a gate, a dashboard, a mailbox. Nothing has to be set up.
    Demo {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        serve: Serve,
    },
    /// Make the first promoter with its owner; prints a sign-in link and an API token.
    Invite {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        who: Invite,
    },
    /// Bring the database up to date and make its roles.
    Migrate {
        #[command(flatten)]
        place: Place,
        /// Run migrations although a festival is frozen.
        #[arg(long)]
        thaw: bool,
    },
    /// Check the invariants of the live database: a row each, exit code 1 on any breach.
    Check {
        #[command(flatten)]
        place: Place,
        /// The findings as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fetch the QR reader of the gate page for browsers that have none of their own (needs npm, once). The demo does it by itself.
    Scanner {
        #[command(flatten)]
        place: Place,
    },
    /// Measure this machine: sales and scans over HTTP beside what Postgres alone does with the same rows.
    Bench(Bench),
    /// Rehearse an opening against a running server, on a copy of a festival: fans, latencies, and the books compared at the end.
    Rehearse {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        what: Rehearse,
    },
    /// Look before the night of an opening whether everything is there that it needs; exit code 1 when something is in the way.
    Preflight {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        what: Preflight,
    },
    /// Write a finished festival to files, and take out of the database what only its gates and couriers needed; or put that back.
    Archive {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        what: Archive,
    },
    /// Shard a migrated database by festival with the Postgres extension Citus: for a platform that has outgrown one machine.
    Distribute {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        what: Distribute,
    },
    /// Print the OpenAPI document of the JSON API.
    Openapi,
}

#[derive(Debug, Args)]
struct Invite {
    /// The name of the organization.
    #[arg(long, value_name = "NAME")]
    promoter: String,
    /// The email address of its owner.
    #[arg(long, value_name = "ADDRESS")]
    email: String,
    /// The address that fans see, for the sign-in link.
    #[arg(long, env = "GATEFOLD_PUBLIC_URL", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    public_url: url::Url,
    /// The language of the owner: en or zh.
    #[arg(long, default_value = "en", value_name = "LANGUAGE")]
    language: String,
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let gatefold = Gatefold::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("gatefold: {error}");
            return ExitCode::from(2);
        }
    };
    match runtime.block_on(run(gatefold.command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gatefold: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { place, serve } => serve_house(&place, &serve, false).await,
        Command::Demo { place, serve } => serve_house(&place, &serve, true).await,
        Command::Invite { place, who } => invite(&place, &who).await,
        Command::Migrate { place, thaw } => {
            let house = House::open(&place, Hold::Attach)?;
            postgres::migrate(&house.owner, &house.secrets, house.embedded.is_some(), thaw).await?;
            println!("the database is up to date");
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { place, json } => check(&place, json).await,
        Command::Scanner { place } => {
            tokio::task::block_in_place(|| scanner::obtain(&place.folder().join("files"), &say))?;
            println!("the QR reader is in {}", place.folder().join("files/scanner").display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench(what) => bench::run(&what).await,
        Command::Rehearse { place, what } => {
            let house = tokio::task::block_in_place(|| House::open(&place, Hold::Attach))?;
            let app = house.beside(&place).await?;
            rehearse::run(&what, &app, &house.owner).await
        }
        Command::Preflight { place, what } => {
            let house = tokio::task::block_in_place(|| House::open(&place, Hold::Attach))?;
            let app = house.beside(&place).await?;
            preflight::run(&what, &app, &Ground { owner: &house.owner, embedded: house.embedded.as_ref(), place: &place }).await
        }
        Command::Archive { place, what } => {
            let house = tokio::task::block_in_place(|| House::open(&place, Hold::Attach))?;
            archive::run(&what, &house.owner, &say).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Distribute { place, what } => {
            let house = tokio::task::block_in_place(|| House::open(&place, Hold::Attach))?;
            distribute::run(&what, &house.owner).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Openapi => {
            println!("{}", serde_json::to_string_pretty(&api::document())?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Database and keys of a house.
struct House {
    owner: PgConnectOptions,
    secrets: Secrets,
    embedded: Option<Embedded>,
}

/// Whether a command holds the folder for itself or attaches beside a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    Alone,
    Attach,
}

fn say(what: &str) {
    eprintln!("gatefold: {what}");
}

impl House {
    fn open(place: &Place, hold: Hold) -> anyhow::Result<Self> {
        let folder = place.folder();
        let (owner, embedded) = match &place.database_url {
            Some(url) => {
                let owner: PgConnectOptions = url.parse().context("DATABASE_URL is an address like postgres://gatefold_owner:password@db.example/gatefold")?;
                (owner, None)
            }
            None => {
                let embedded = if hold == Hold::Alone { Embedded::start(&folder, &say)? } else { Embedded::attach(&folder, &say)? };
                (embedded.owner(), Some(embedded))
            }
        };
        let secrets = match &place.master_key {
            Some(hex) => Secrets::from_hex(hex)?,
            None => {
                std::fs::create_dir_all(&folder).with_context(|| format!("the folder {}", folder.display()))?;
                Secrets::from_file(&folder.join("master.key"))?
            }
        };
        Ok(Self { owner, secrets, embedded })
    }
}

impl House {
    /// The house as a command sees it that works beside the server: it answers nobody and mails nothing.
    async fn beside(&self, place: &Place) -> anyhow::Result<App> {
        let pools = postgres::pools(&self.owner, &self.secrets).await?;
        let settings = Settings {
            public_url: "http://127.0.0.1".to_owned(),
            mail_from: "Gatefold <tickets@localhost>".to_owned(),
            files: place.folder().join("files"),
            simulated_payments: false,
            stripe_url: "https://api.stripe.com".to_owned(),
            demo: false,
            trusted_proxies: Vec::new(),
        };
        server::assemble(pools, Clock::System, self.secrets.clone(), Mailer::Nowhere, settings)
    }
}

async fn serve_house(place: &Place, serve: &Serve, demo: bool) -> anyhow::Result<ExitCode> {
    let mut log = Log::begin(serve.log_json, demo);
    web::health::gather(log.dropped());
    let listener = listen(serve.listen, demo)?;
    let metrics = TcpListener::bind(serve.metrics).await.with_context(|| format!("--metrics {} cannot be listened on", serve.metrics))?;
    let bound = listener.local_addr()?;
    anyhow::ensure!(bound.ip().is_loopback(), "--listen {bound} is plain http to other machines; listen on loopback and put TLS in front of it");
    let public_url = config::public_url(serve, bound, demo)?;
    let mailer = match (&serve.smtp, demo) {
        (Some(address), _) => Mailer::smtp(address)?,
        (None, true) => Mailer::mailbox(),
        (None, false) => Mailer::Nowhere,
    };
    let house = tokio::task::block_in_place(|| House::open(place, Hold::Alone))?;
    if house.embedded.is_some() {
        say("bringing the database up to date");
        postgres::migrate(&house.owner, &house.secrets, true, false).await?;
    }
    let pools = postgres::pools(&house.owner, &house.secrets).await?;
    let clock = Clock::System;
    for finding in postgres::readiness(&pools.web, When::Starting, clock.now()).await {
        anyhow::ensure!(finding.good, "the database is not as it should be ({}): {}", finding.name, finding.detail);
    }
    let settings = Settings {
        public_url,
        mail_from: serve.mail_from.clone(),
        files: place.folder().join("files"),
        simulated_payments: serve.simulated_payments || demo,
        stripe_url: config::stripe_url(serve)?,
        demo,
        trusted_proxies: serve.trusted_proxies.clone(),
    };
    if demo && let Err(error) = tokio::task::block_in_place(|| scanner::obtain(&settings.files, &say)) {
        say(&format!("without it the server reads what the camera sees ({error:#})"));
    }
    let app = server::assemble(pools, clock, house.secrets.clone(), mailer, settings)?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let guide = if demo { Some(crate::demo::furnish(&app, &house.owner, &say).await?) } else { None };
    // Before the first fan is answered: a room that is not known would let everybody through.
    waiting::refresh(&app).await.context("the waiting rooms could not be read")?;
    let running = server::start(&app, listener, metrics, true)?;
    match guide {
        Some(guide) => println!("{}", guide.print(&app)),
        None => println!("gatefold: serving {} (metrics on {})", app.settings.public_url, running.metrics),
    }
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    log.say("draining");
    running.stop().await;
    drop(app);
    if let Some(embedded) = house.embedded {
        tokio::task::block_in_place(|| embedded.stop());
    }
    Ok(ExitCode::SUCCESS)
}

/// Listens; the demo takes the next free port when its own is taken.
fn listen(address: std::net::SocketAddr, demo: bool) -> anyhow::Result<TcpListener> {
    match door::listen(address) {
        Ok(listener) => Ok(listener),
        Err(_) if demo => door::listen((address.ip(), 0).into()).context("no free port"),
        Err(error) => Err(error).with_context(|| format!("--listen {address} cannot be listened on")),
    }
}

async fn invite(place: &Place, who: &Invite) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(accounts::is_address(&who.email), "--email {} is not an email address", who.email);
    let language = match who.language.as_str() {
        "en" => Language::En,
        "zh" => Language::Zh,
        other => anyhow::bail!("--language {other} is neither en nor zh"),
    };
    let house = tokio::task::block_in_place(|| House::open(place, Hold::Attach))?;
    let mut conn = PgConnection::connect_with(&house.owner).await.context("the database cannot be reached")?;
    let now = Clock::System.now();
    let invited = accounts::invite(&mut conn, who.promoter.trim(), &who.email, language, now).await?;
    let link = accounts::first_link(&mut conn, &house.secrets, &who.email, now).await?;
    println!("promoter  {} ({})", who.promoter.trim(), invited.promoter);
    println!("sign in   {}{link}", who.public_url.as_str().trim_end_matches('/'));
    println!("          good for 15 minutes, once; after that: {}/desk", who.public_url.as_str().trim_end_matches('/'));
    println!("API token {}", invited.token);
    println!("          shown once; with every scope");
    Ok(ExitCode::SUCCESS)
}

async fn check(place: &Place, json: bool) -> anyhow::Result<ExitCode> {
    let house = tokio::task::block_in_place(|| House::open(place, Hold::Attach))?;
    let mut conn = PgConnection::connect_with(&house.owner).await.context("the database cannot be reached")?;
    let findings = invariants::check(&mut conn, Clock::System.now()).await?;
    let breaches: i64 = findings.iter().map(|f| f.breaches).sum();
    if json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        for finding in &findings {
            println!("{:>8}  {:<26} {}", finding.breaches, finding.name, finding.claim);
        }
        println!("{}", if breaches == 0 { "clean".to_owned() } else { format!("{breaches} breaches") });
    }
    Ok(if breaches == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
