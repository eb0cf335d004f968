//! Builds the whole endpoint: API, pages, door; registers what the rooms bring along; starts and stops.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use poem::{EndpointExt, endpoint::BoxEndpoint, get};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    accounts, api,
    app::{App, Pools, Registry},
    breaker::Breaker,
    clock::Clock,
    config::Settings,
    entry, festivals,
    files::Files,
    http::{
        contract::Contract,
        door::{self, Door},
        limit::Limits,
    },
    keys, library,
    mail::Renderers,
    mailer::Mailer,
    offers, orders,
    payments::{
        self, Providers,
        offline::ByHand,
        simulated::{self, SimulatedBank},
        stripe::Stripe,
    },
    reports, scanner,
    secrets::Secrets,
    waiting, web, workers,
};

/// Puts a house together with everything that the rooms bring along.
///
/// # Errors
/// When the folder of the files cannot be made or TLS cannot be set up.
pub fn assemble(pools: Pools, clock: Clock, secrets: Secrets, mailer: Mailer, settings: Settings) -> anyhow::Result<App> {
    let files = Files::open(&settings.files).with_context(|| format!("the folder {}", settings.files.display()))?;
    let stripe = Stripe::new(&settings.stripe_url)?;
    let registry = Registry::default()
        .with(files)
        .with(scanner::Found::default())
        .with(Limits::default())
        .with(Breaker::default())
        .with(simulated::Mood::default())
        .with(accounts::DeviceCache::default())
        .with(accounts::LastUsed::default())
        .with(accounts::Pulses::default())
        .with(festivals::KnownFacts::default())
        .with(web::kept::Pages::default())
        .with(web::storefront::waiting::Halls::default())
        .with(waiting::Rooms::default())
        .with(orders::OpenHolds::default())
        .with(orders::Recent::default())
        .with(orders::Swept::default())
        .with(orders::Walked::default())
        .with(reports::KnownSales::default())
        .with(reports::KnownAtGates::default())
        .with(entry::help_desk::KnownCases::default())
        .with(offers::api::Shelves::default())
        .with(keys::Rings::default())
        .with(entry::Catalogs::default())
        .with(entry::pack::Wholes::default())
        .with(entry::pack::Lists::default())
        .with(entry::pack::KnownRules::default())
        .with(entry::Forgeries::default())
        .with_lanes::<orders::Placing>()
        .with_lanes::<orders::Cancelling>()
        .with_lanes::<payments::Completing>()
        .with_lanes::<entry::Scanning>()
        .with_lanes::<entry::merge::Merging>()
        .with(payments::accounts::Connected::default())
        .with(payments::offline::KnownMethods::default())
        .with(stripe.clone())
        .with(
            Providers::default()
                .with("simulated", SimulatedBank)
                .with("stripe", stripe)
                .with("bank_transfer", ByHand)
                .with("cash", ByHand)
                .with("card_terminal", ByHand),
        )
        .with(
            Renderers::default()
                .with("confirmation", web::letters::confirmation)
                .with("sign_in", web::letters::sign_in)
                .with("money_back", web::letters::money_back)
                .with("refund_requested", web::letters::refund)
                .with("refund_done", web::letters::refund)
                .with("refund_failed", web::letters::refund)
                .with("refund_withdrawn", web::letters::refund)
                .with("transfer_sent", web::letters::transfer)
                .with("transfer_recalled", web::letters::transfer)
                .with("transfer_accepted", web::letters::transfer)
                .with("transfer_passed", web::letters::transfer)
                .with("transfer_declined", web::letters::transfer)
                .with("options_1", web::letters::options)
                .with("options_2", web::letters::options)
                .with("options_3", web::letters::options)
                .with("options_4", web::letters::options)
                .with("options_5", web::letters::options)
                .with("options_6", web::letters::options)
                .with("options_7", web::letters::options)
                .with("options_8", web::letters::options)
                .with("options_9", web::letters::options)
                .with("rescinded", web::letters::rescinded)
                .with("again_1", web::letters::confirmation)
                .with("again_2", web::letters::confirmation)
                .with("again_3", web::letters::confirmation)
                .with("pay_transfer", web::letters::pay_offline)
                .with("pay_on_site", web::letters::pay_offline)
                .with("waiting_joined", web::letters::waiting_list)
                .with("waiting_invited", web::letters::waiting_list)
                .with("ticket_changed", web::letters::ticket_changed)
                .with("codes_changed", web::letters::codes_changed),
        );
    Ok(App::new(pools, clock, secrets, mailer, settings, registry))
}

/// The whole endpoint behind the door.
#[must_use]
pub fn endpoint(app: &App) -> BoxEndpoint<'static> {
    let document = api::document();
    let contract = Contract::new(document.clone());
    let document = document.to_string();
    let route = web::routes()
        .nest_no_strip("/v1", api::service().with(contract))
        .at("/files/:signed", get(library::api::file))
        .at("/openapi.json", get(poem::endpoint::make_sync(move |_| poem::Response::builder().content_type("application/json").body(document.clone()))));
    Door::new(app.clone(), route.data(app.clone()), web::problems::page).boxed()
}

/// How long each step after the drain of requests may take.
const LAST_STEP: Duration = Duration::from_secs(2);

/// A running server.
pub struct Running {
    /// Where it answers.
    pub address: std::net::SocketAddr,
    /// Where it shows metrics.
    pub metrics: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
    showing: tokio::task::JoinHandle<()>,
    working: tokio::task::JoinSet<()>,
    app: App,
}

impl Running {
    /// Drains: no new connection, requests finish, workers end, what waits to be recorded is recorded.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        let _ = self.serving.await;
        // A database that does not answer holds nobody back: what is under way is rolled back there.
        let working = tokio::time::timeout(LAST_STEP, async { while self.working.join_next().await.is_some() {} });
        if working.await.is_err() {
            tracing::warn!("workers were still busy at the end of the drain");
            self.working.shutdown().await;
        }
        match tokio::time::timeout(LAST_STEP, entry::record_forgeries(&self.app)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "forged codes could not be recorded at the end"),
            Err(_) => tracing::warn!("forged codes could not be recorded at the end: the database does not answer"),
        }
        self.showing.abort();
        let closing = futures_util::future::join_all(self.app.pools.all().map(|(_, pool)| pool.close()));
        if tokio::time::timeout(LAST_STEP, closing).await.is_err() {
            tracing::warn!("connections were still open at the end of the drain");
        }
    }
}

/// Starts to answer and to work.
///
/// # Errors
/// When a listener has no address.
pub fn start(app: &App, listener: TcpListener, metrics: TcpListener, with_workers: bool) -> anyhow::Result<Running> {
    let (stop, stopped) = watch::channel(false);
    let address = listener.local_addr()?;
    let metrics_address = metrics.local_addr()?;
    let serving = tokio::spawn(door::serve(listener, Arc::new(endpoint(app)), stopped.clone()));
    let showing = tokio::spawn(door::serve(metrics, Arc::new(web::health::metrics_endpoint()), stopped.clone()));
    let working = if with_workers { workers::start(app, &stopped) } else { tokio::task::JoinSet::new() };
    Ok(Running { address, metrics: metrics_address, stop, serving, showing, working, app: app.clone() })
}
