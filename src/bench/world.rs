//! What a measurement sells and scans: a festival whose day is now, one bundle of a pass and an album, gates and devices.

use std::path::Path;

use chrono::TimeDelta;
use sqlx::{
    Connection,
    postgres::{PgConnectOptions, PgConnection},
};

use super::Bench;
use crate::{
    accounts::{self, Scope, Staff},
    app::App,
    audit::Actor,
    clock::Clock,
    config::Settings,
    festivals::{self, Day, FestivalKind, FestivalTerms, Gate, Site},
    id::{FestivalId, GateId, OfferId},
    mailer::Mailer,
    money::Money,
    offers::{self, NewComponent, NewOffer, NewTier, OfferTerms, PassTerms, Reentry, TaxKind},
    postgres,
    releases::{self, ReleaseKind, ReleaseTerms},
    reports::invariants,
    secrets::Secrets,
    server, tickets,
    words::{Language, Text},
};

/// The world of a measurement.
pub(super) struct World {
    pub(super) app: App,
    pub(super) festival: FestivalId,
    pub(super) offer: OfferId,
    pub(super) devices: Vec<String>,
    /// A token of the promoter with every scope.
    pub(super) token: String,
    pub(super) staff: Staff,
    pub(super) owner: PgConnectOptions,
}

impl World {
    /// Makes it by the same commands that a promoter uses.
    pub(super) async fn make(owner: &PgConnectOptions, folder: &Path, bench: &Bench) -> anyhow::Result<Self> {
        let secrets = Secrets::from_file(&folder.join("master.key"))?;
        let pools = postgres::pools(owner, &secrets).await?;
        let settings = Settings {
            public_url: "http://127.0.0.1".to_owned(),
            mail_from: "Gatefold <tickets@localhost>".to_owned(),
            files: folder.join("files"),
            simulated_payments: true,
            stripe_url: "http://127.0.0.1:9".to_owned(),
            demo: false,
            trusted_proxies: Vec::new(),
        };
        let app = server::assemble(pools, Clock::System, secrets, Mailer::Nowhere, settings)?;
        let now = app.clock.now();
        let mut conn = PgConnection::connect_with(owner).await?;
        let invited = accounts::invite(&mut conn, "Bench", "bench@promoter.example", Language::En, now).await?;
        conn.close().await?;
        let staff = Staff { promoter: invited.promoter, actor: Actor::House, festival: None, scopes: Scope::ALL.to_vec(), masked: false };
        let name = Text::en("Bench");
        let terms = FestivalTerms {
            slug: "bench".to_owned(),
            kind: FestivalKind::Festival,
            name: name.clone(),
            lead: Text::default(),
            place: Text::en("Here"),
            currency: "EUR".parse()?,
            time_zone: "UTC".to_owned(),
            spot: "#ffd21f".to_owned(),
            language: Language::En,
            licensed_capacity: None,
        };
        let festival = festivals::create(&app, &staff, &terms).await?.festival_id;
        let day = Day { day_index: 0, name: Text::en("Today"), opens_at: now - TimeDelta::hours(1), closes_at: now + TimeDelta::hours(20) };
        festivals::set_day(&app, &staff, festival, &day).await?;
        let gate_id = GateId::fresh(festival, now);
        festivals::add(&app, &staff, festival, &Site::Gate(Gate { gate_id, zone_id: None, name: Text::en("Gate"), pass_ids: Vec::new() })).await?;
        let album = ReleaseTerms {
            title: "Bench Tapes".to_owned(),
            artist: "Bench".to_owned(),
            kind: ReleaseKind::Album,
            catalog_number: None,
            upc: None,
            language: Language::En,
            released_at: None,
            about: Text::default(),
        };
        let release = releases::add_release(&app, &staff, &album, &[]).await?.release_id;
        let pass = PassTerms {
            name: name.clone(),
            color: "#ffd21f".to_owned(),
            color_name: Text::en("yellow"),
            day_mask: 1,
            zone_ids: Vec::new(),
            reentry: Reentry::AfterExit,
            entries_a_day: None,
            windows: Vec::new(),
            companion_pass_ids: Vec::new(),
            check_instruction: None,
            needs_live_code: false,
        };
        let pass = offers::add_pass(&app, &staff, festival, &pass).await?.pass_id;
        let component = |pass_id, release_id, weight| NewComponent { pass_id, release_id, add_on_id: None, weight, tax_kind: TaxKind::Fixed, tax_ppm: 90_000 };
        let new = NewOffer {
            terms: OfferTerms {
                name,
                about: Text::default(),
                sort: 0,
                opens_at: None,
                closes_at: None,
                paused: None,
                max_per_order: 6,
                max_per_fan: Some(12),
                hidden: false,
            },
            capacity: Some(i32::try_from(u64::from(bench.orders) * u64::from(bench.rounds) * 2 + u64::from(bench.fill.unwrap_or(0)) + 100_000)?),
            tiers: vec![NewTier { name: Text::en("Now"), price: Money::new(14_900, "EUR".parse()?), until_at: None, capacity: None }],
            components: vec![component(Some(pass), None, 133), component(None, Some(release), 16)],
            requirements: Vec::new(),
            stocks: Vec::new(),
        };
        let offer = offers::add_offer(&app, &staff, festival, &new, None).await?.offer_id;
        festivals::publish(&app, &staff, festival).await?;
        let mut devices = Vec::new();
        for lane in 1..=32 {
            let pairing = accounts::offer_pairing(&app, &staff, festival, &accounts::Wanted::one(gate_id, "scan")).await?;
            devices.push(accounts::pair(&app, &pairing.pairing_code, &format!("lane {lane}")).await?.token);
        }
        Ok(Self { app, festival, offer, devices, token: invited.token, staff, owner: owner.clone() })
    }

    /// The codes of the newest tickets, 20,000 at most.
    pub(super) async fn codes(&self) -> anyhow::Result<Vec<String>> {
        let mut codes = Vec::new();
        let mut before = None;
        while codes.len() < 20_000 {
            let mut tx = self.app.for_promoter(self.staff.promoter).await?;
            let page = tickets::of_festival(&mut tx, self.festival, before, 1_000).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.ticket_id.0);
            for ticket in &page {
                codes.extend(ticket.code_text(&self.app).await?);
            }
        }
        Ok(codes)
    }

    /// How many units were sold, of one each.
    pub(super) async fn orders(&self) -> anyhow::Result<u64> {
        let stocks = offers::stocks_of(&self.app.pools.web, self.festival).await?;
        Ok(stocks.iter().map(|stock| u64::try_from(stock.sold).unwrap_or(0)).sum())
    }

    /// How many rows break an invariant.
    pub(super) async fn breaches(&self) -> anyhow::Result<usize> {
        let mut conn = PgConnection::connect_with(&self.owner).await?;
        let findings = invariants::check(&mut conn, self.app.clock.now()).await?;
        for finding in findings.iter().filter(|f| f.breaches > 0) {
            eprintln!("gatefold: {} breaches of {}: {}", finding.breaches, finding.name, finding.claim);
        }
        Ok(findings.iter().map(|f| usize::try_from(f.breaches).unwrap_or(0)).sum())
    }
}
