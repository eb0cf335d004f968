//! A house for a test: its own database on the private cluster of the run, a clock that the test moves, known keys, a real
//! server on a loopback port. When it is closed the invariants are checked.

use std::{
    path::PathBuf,
    sync::{Mutex, OnceLock},
};

use chrono::{DateTime, TimeDelta, Utc};
use gatefold::{
    accounts,
    app::App,
    clock::Clock,
    config::Settings,
    embedded::Embedded,
    http::door,
    mailer::{Kept, Mailer},
    postgres,
    reports::invariants,
    secrets::Secrets,
    server::{self, Running},
    words::Language,
    workers,
};
use sqlx::{
    AssertSqlSafe, Connection,
    postgres::{PgConnectOptions, PgConnection},
};
use tokio::net::TcpListener;

use crate::actors::{Anybody, Promoter};

/// The moment at which every house opens.
pub fn opening() -> DateTime<Utc> {
    "2026-03-03T20:00:00Z".parse().unwrap()
}

/// The folder of this run.
pub fn folder() -> PathBuf {
    // Postgres runs as an unprivileged user when we are root: it must be able to enter.
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("run-{}", std::process::id()))
}

/// A client of HTTP in the making. TLS that comes without a provider of its primitives asks the process for one (`rustls-no-provider`).
pub fn http() -> reqwest::ClientBuilder {
    static PROVIDER: std::sync::Once = std::sync::Once::new();
    PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
    reqwest::Client::builder()
}

/// The keys of every house.
pub fn secrets() -> Secrets {
    Secrets::from_master(&[42; 32])
}

/// Removes what runs left that are over: each has a cluster of gigabytes, and the last one's pictures are looked at until the next begins.
fn sweep() {
    for entry in std::fs::read_dir(env!("CARGO_TARGET_TMPDIR")).into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.strip_prefix("run-")).map(str::to_owned);
        if pid.is_some_and(|pid| !std::path::Path::new("/proc").join(pid).exists()) {
            // Another run that begins may be at it, too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

struct Cluster {
    embedded: Embedded,
}

/// The private cluster of this run; it ends with the process because its watch-dog holds our pipe.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        std::thread::spawn(|| {
            sweep();
            let folder = folder();
            let embedded = Embedded::start(&folder, &|_| {}).expect("a private cluster");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(postgres::migrate(&embedded.owner(), &secrets(), true, false)).expect("migrations");
            Cluster { embedded }
        })
        .join()
        .unwrap()
    })
}

/// How to reach the template database as the owner of its tables.
pub fn template() -> PgConnectOptions {
    cluster().embedded.owner()
}

/// Makes a database of its own from the template.
pub async fn fresh_database(name: &str) -> PgConnectOptions {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let owner = template();
    let name = name.to_owned();
    tokio::task::spawn_blocking(move || {
        // A template has to be left alone while it is copied.
        let _guard = ONE_AT_A_TIME.lock().unwrap();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut conn = PgConnection::connect_with(&owner.clone().database("postgres")).await.unwrap();
            sqlx::query(AssertSqlSafe(format!("create database {name} template gatefold"))).execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
            owner.database(&name)
        })
    })
    .await
    .unwrap()
}

/// A house with its server.
pub struct House {
    pub app: App,
    pub url: String,
    pub http: reqwest::Client,
    pub owner: PgConnectOptions,
    running: Option<Running>,
    closed: bool,
}

impl House {
    /// Opens a house with the mailbox of the demo as its mail server.
    pub async fn open() -> Self {
        Self::with_mailer(Mailer::mailbox()).await
    }

    pub async fn with_mailer(mailer: Mailer) -> Self {
        Self::build(mailer, PgConnectOptions::clone, "http://127.0.0.1:9").await
    }

    /// Opens a house whose server reaches its database another way than the tests do.
    pub async fn by_way_of(way: impl FnOnce(&PgConnectOptions) -> PgConnectOptions) -> Self {
        Self::build(Mailer::mailbox(), way, "http://127.0.0.1:9").await
    }

    /// Opens a house that finds Stripe at another address.
    pub async fn with_stripe(stripe_url: &str) -> Self {
        Self::build(Mailer::mailbox(), PgConnectOptions::clone, stripe_url).await
    }

    async fn build(mailer: Mailer, way: impl FnOnce(&PgConnectOptions) -> PgConnectOptions, stripe_url: &str) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let owner = fresh_database(&format!("house_{number}")).await;
        let listener = door::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let metrics = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let pools = postgres::pools(&way(&owner), &secrets()).await.unwrap();
        let settings = Settings {
            public_url: url.clone(),
            mail_from: "Gatefold <tickets@gatefold.example>".to_owned(),
            files: folder().join(format!("files-{number}")),
            simulated_payments: true,
            stripe_url: stripe_url.to_owned(),
            demo: true,
            trusted_proxies: Vec::new(),
        };
        let app = server::assemble(pools, Clock::fixed(opening()), secrets(), mailer, settings).unwrap();
        let running = server::start(&app, listener, metrics, false).unwrap();
        let http = http().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { app, url, http, owner, running: Some(running), closed: false }
    }

    /// A connection as the owner of the tables: to look, never to arrange.
    pub async fn database(&self) -> PgConnection {
        PgConnection::connect_with(&self.owner).await.unwrap()
    }

    /// A promoter who was invited by the operator.
    pub async fn promoter(&self, name: &str) -> Promoter {
        let mut conn = self.database().await;
        let address = format!("{}@promoter.example", name.to_lowercase().replace(' ', "."));
        let invited = accounts::invite(&mut conn, name, &address, Language::En, self.app.clock.now()).await.unwrap();
        Promoter { http: self.anybody(), token: invited.token }
    }

    /// Somebody without a token.
    pub fn anybody(&self) -> Anybody {
        Anybody { client: self.http.clone(), url: self.url.clone() }
    }

    /// Moves the clock.
    pub fn advance(&self, by: TimeDelta) {
        self.app.clock.advance(by);
    }

    /// Lets the workers finish what there is to do.
    pub async fn run_workers(&self) {
        workers::drain(&self.app).await.unwrap();
    }

    /// The emails that left the house, newest first.
    pub fn emails(&self) -> Vec<Kept> {
        self.app.mailer.kept()
    }

    /// Checks the invariants and stops the server.
    pub async fn close(mut self) {
        let mut conn = self.database().await;
        let findings = invariants::check(&mut conn, self.app.clock.now()).await.unwrap();
        let breaches: Vec<_> = findings.into_iter().filter(|f| f.breaches != 0).collect();
        assert!(breaches.is_empty(), "invariants are broken: {breaches:#?}");
        conn.close().await.unwrap();
        self.running.take().unwrap().stop().await;
        self.closed = true;
    }
}

impl Drop for House {
    fn drop(&mut self) {
        assert!(self.closed || std::thread::panicking(), "a house is closed with close(), so that its invariants are checked");
    }
}
