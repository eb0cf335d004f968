//! A festival one wants to go to: people, passes, music, sales and scans, made by the same commands that everybody uses.
//! The past is lived through on a clock of its own, so that sales and scans lie where they would.

mod lineup;
mod past;
mod song;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{
    Connection,
    postgres::{PgConnectOptions, PgConnection},
};

use crate::{
    accounts::{self, Scope, Staff},
    app::App,
    audit::Actor,
    clock::Clock,
    fault::Fault,
    festivals::{self, Day, Festival, FestivalKind, FestivalTerms, Gate, Site, Zone},
    id::{FestivalId, GateId, OfferId, PassId, ReleaseId, ZoneId},
    mailer::Mailer,
    money::Money,
    offers::{self, Instruction, NewComponent, NewOffer, NewTier, OfferTerms, PassTerms, Reentry, Requirement, TaxKind},
    releases::{self, NewRecording, PART, ReleaseKind, ReleaseTerms, UploadPurpose},
    server,
    words::{Language, Text},
    workers,
};

const SLUG: &str = "night-ferry";
const OWNER: &str = "wen@nightferry.example";
const TOKEN: &str = "demo";

/// What the demo prints at its end: the addresses to open and what to try them with.
pub struct Guide {
    sign_in: String,
    pairing_code: String,
    token: String,
}

impl Guide {
    /// The guide as text.
    #[must_use]
    pub fn print(&self, app: &App) -> String {
        let url = &app.settings.public_url;
        format!(
            "\n  Night Ferry 夜渡 is open.\n\n\
             \x20 buy a pass      {url}/f/{SLUG}\n\
             \x20 its emails      {url}/mailbox\n\
             \x20 the gate        {url}/gate        pairing code {}\n\
             \x20 the desk        {url}{}\n\
             \x20                 (the link is good once, for 15 minutes; after that sign in as {OWNER}, the email is in the mailbox)\n\
             \x20 the API         {url}/docs        token {}\n\n\
             \x20 Ctrl-C stops it; the next start finds everything again.\n",
            self.pairing_code, self.sign_in, self.token
        )
    }
}

/// Furnishes the demo where it is not furnished yet, and makes fresh keys to everything.
///
/// # Errors
/// What went wrong, in a sentence.
pub async fn furnish(app: &App, owner: &PgConnectOptions, say: &dyn Fn(&str)) -> anyhow::Result<Guide> {
    let mut conn = PgConnection::connect_with(owner).await.context("the database cannot be reached")?;
    let now = app.clock.now();
    let festival = match festivals::by_slug(&app.pools.web, SLUG).await? {
        Some(festival) => festival,
        None => {
            let invited = accounts::invite(&mut conn, "Night Ferry Foundation", OWNER, Language::En, now).await?;
            let staff = Staff { promoter: invited.promoter, actor: Actor::House, festival: None, scopes: Scope::ALL.to_vec(), masked: false };
            build(app, &staff, say).await?
        }
    };
    let staff = Staff { promoter: festival.promoter_id, actor: Actor::House, festival: None, scopes: Scope::ALL.to_vec(), masked: false };
    let token = accounts::renew_token(&mut conn, festival.promoter_id, TOKEN, &Scope::ALL, now).await?;
    let sign_in = accounts::first_link(&mut conn, &app.secrets, OWNER, now).await?;
    conn.close().await?;
    let gate = festivals::gates(&app.pools.web, festival.festival_id).await?.first().map(|g| g.gate_id).context("the demo has no gate")?;
    let pairing = accounts::offer_pairing(app, &staff, festival.festival_id, &accounts::Wanted::one(gate, "supervisor")).await?;
    Ok(Guide { sign_in, pairing_code: pairing.pairing_code, token })
}

fn both(en: &str, zh: &str) -> Text {
    Text::both(en, zh)
}

/// The days: yesterday, today and tomorrow, from seven to seven, so that the gate is open whenever somebody tries it.
fn days(now: DateTime<Utc>) -> Vec<Day> {
    let zone = jiff::tz::TimeZone::get("Europe/Amsterdam").unwrap_or(jiff::tz::TimeZone::UTC);
    let shifted = jiff::Timestamp::from_second((now - TimeDelta::hours(7)).timestamp()).unwrap_or_default().to_zoned(zone.clone());
    let seven = |offset: i64| {
        let date = shifted.date().checked_add(jiff::Span::new().days(offset)).unwrap_or(shifted.date());
        let at = date.at(7, 0, 0, 0).to_zoned(zone.clone()).map(|z| z.timestamp().as_second()).unwrap_or(0);
        DateTime::from_timestamp(at, 0).unwrap_or(now)
    };
    (0..3)
        .map(|i| {
            let opens_at = seven(i - 1);
            let name = both(&Language::En.at(opens_at, "Europe/Amsterdam").weekday(), &Language::Zh.at(opens_at, "Europe/Amsterdam").weekday());
            Day { day_index: i16::try_from(i).unwrap_or(0), name, opens_at, closes_at: seven(i) }
        })
        .collect()
}

struct Passes {
    weekend: PassId,
    today: PassId,
    first_day: PassId,
    youth: PassId,
}

struct Offers {
    weekend: OfferId,
    bundle: OfferId,
    today: OfferId,
    first_day: OfferId,
    youth: OfferId,
    locker: OfferId,
}

async fn build(app: &App, staff: &Staff, say: &dyn Fn(&str)) -> anyhow::Result<Festival> {
    say("making a festival: days, zones, gates");
    let now = app.clock.now();
    let festival = festivals::create(
        app,
        staff,
        &FestivalTerms {
            slug: SLUG.to_owned(),
            kind: FestivalKind::Festival,
            name: both("Night Ferry", "夜渡"),
            lead: both(
                "Three nights in a shipyard that stopped building ships. Boats every twelve minutes, acts from Rotterdam to Chengdu, and a record of them all that you take home.",
                "在一座不再造船的船厂里，度过三个夜晚。每十二分钟一班船，从鹿特丹到成都的音乐人，还有一张可以带回家的唱片。",
            ),
            place: both("Dock 9, Rotterdam", "鹿特丹第九船坞"),
            currency: "EUR".parse()?,
            time_zone: "Europe/Amsterdam".to_owned(),
            spot: "#ffd21f".to_owned(),
            language: Language::En,
            licensed_capacity: None,
        },
    )
    .await?;
    let id = festival.festival_id;
    let days = days(now);
    for day in &days {
        festivals::set_day(app, staff, id, day).await?;
    }
    let quay = ZoneId::fresh(id, now);
    let island = ZoneId::fresh(id, now);
    let gates = [(GateId::fresh(id, now), quay, both("North Quay", "北码头")), (GateId::fresh(id, now), island, both("Customs House", "海关楼"))];
    for (zone_id, name, capacity) in [(quay, both("Quay", "码头"), 300), (island, both("Island", "小岛"), 120)] {
        festivals::add(app, staff, id, &Site::Zone(Zone { zone_id, name, capacity: Some(capacity), is_inner: false })).await?;
    }
    for (gate_id, zone, name) in &gates {
        festivals::add(app, staff, id, &Site::Gate(Gate { gate_id: *gate_id, zone_id: Some(*zone), name: name.clone(), pass_ids: Vec::new() })).await?;
    }
    say("booking the line-up");
    lineup::book(app, staff, &festival, &days).await?;
    say("recording the album");
    let album = record(app, staff).await?;
    say("printing passes");
    let passes = print(app, staff, id, &days).await?;
    let offers = offer(app, staff, id, &passes, album, now).await?;
    let festival = festivals::publish(app, staff, id).await?;
    say("selling for two months");
    let past = long_ago(app, now - TimeDelta::days(60))?;
    let sold = past::sell(&past, &offers, now).await?;
    say(&format!("{sold} orders are paid; opening the gates"));
    let scanned = past::open_gates(&past, staff, &gates.iter().map(|(g, ..)| *g).collect::<Vec<_>>(), id, now).await?;
    workers::drain(&past).await?;
    say(&format!("{scanned} scans; mailing the past"));
    Ok(festival)
}

/// The same house on a clock of its own, with a mailbox that nobody reads.
fn long_ago(app: &App, at: DateTime<Utc>) -> anyhow::Result<App> {
    server::assemble(app.pools.clone(), Clock::fixed(at), app.secrets.clone(), Mailer::mailbox(), app.settings.clone())
}

async fn record(app: &App, staff: &Staff) -> anyhow::Result<ReleaseId> {
    let mut recordings = Vec::new();
    for song in &song::SONGS {
        let bytes = tokio::task::spawn_blocking(|| song::flac(song)).await??;
        let upload = releases::begin_upload(app, staff, UploadPurpose::Audio, i64::try_from(bytes.len())?).await?;
        for (i, part) in bytes.chunks(PART).enumerate() {
            releases::keep_part(app, staff, upload.upload_id, u16::try_from(i + 1)?, part.to_vec()).await?;
        }
        releases::complete_upload(app, staff, upload.upload_id).await?;
        let new = NewRecording { upload_id: upload.upload_id, title: song.title.to_owned(), artist: song.artist.to_owned(), isrc: Some(song.isrc.to_owned()) };
        recordings.push(releases::add_recording(app, staff, &new).await?.recording_id);
    }
    let terms = ReleaseTerms {
        title: "Harbour Tapes".to_owned(),
        artist: "Night Ferry".to_owned(),
        kind: ReleaseKind::Album,
        catalog_number: Some("NF-LP-01".to_owned()),
        upc: None,
        language: Language::En,
        released_at: None,
        about: both("Four tracks by four acts of this line-up.", "本届阵容里四组音乐人的四首歌。"),
    };
    let release = releases::add_release(app, staff, &terms, &recordings).await?;
    let cover = tokio::task::spawn_blocking(song::cover).await?;
    releases::set_cover(app, staff, release.release_id, cover).await?;
    Ok(release.release_id)
}

async fn print(app: &App, staff: &Staff, id: FestivalId, days: &[Day]) -> anyhow::Result<Passes> {
    let make = async |name: Text, color: &str, color_name: Text, mask: i32, check: Option<Instruction>| -> Result<PassId, Fault> {
        let terms = PassTerms {
            name,
            color: color.to_owned(),
            color_name,
            day_mask: mask,
            zone_ids: Vec::new(),
            reentry: Reentry::AfterExit,
            entries_a_day: None,
            windows: Vec::new(),
            companion_pass_ids: Vec::new(),
            check_instruction: check,
            needs_live_code: false,
        };
        Ok(offers::add_pass(app, staff, id, &terms).await?.pass_id)
    };
    let day = |i: usize| days.get(i).map(|d| d.name.clone()).unwrap_or_default();
    let of_day = |i: usize| both(&format!("{} pass", day(i).read(Language::En)), &format!("{}票", day(i).read(Language::Zh)));
    Ok(Passes {
        weekend: make(both("Weekend pass", "三日通票"), "#ffd21f", both("yellow band", "黄色腕带"), 0b111, None).await?,
        today: make(of_day(1), "#2238d8", both("blue band", "蓝色腕带"), 0b010, None).await?,
        first_day: make(of_day(0), "#e8114b", both("red band", "红色腕带"), 0b001, None).await?,
        youth: make(both("Youth pass", "少年票"), "#9fd3b6", both("green band", "绿色腕带"), 0b111, Some(Instruction::Age)).await?,
    })
}

async fn offer(app: &App, staff: &Staff, id: FestivalId, passes: &Passes, album: ReleaseId, now: DateTime<Utc>) -> anyhow::Result<Offers> {
    let currency = "EUR".parse()?;
    let locker = offers::add_add_on(app, staff, id, &both("Locker", "储物柜")).await?.add_on_id;
    let camping = offers::add_add_on(app, staff, id, &both("Quay camping", "码头露营")).await?.add_on_id;
    let tier = |en: &str, zh: &str, minor: i64, until_at: Option<DateTime<Utc>>, capacity: Option<i32>| NewTier {
        name: both(en, zh),
        price: Money::new(minor, currency),
        until_at,
        capacity,
    };
    let component = |pass_id, release_id, add_on_id, weight, tax_kind, tax_ppm| NewComponent { pass_id, release_id, add_on_id, weight, tax_kind, tax_ppm };
    let pass = |id| component(Some(id), None, None, 1, TaxKind::Fixed, 90_000);
    let terms = |name: Text, about: Text, sort: i16, days_open: i64| OfferTerms {
        name,
        about,
        sort,
        opens_at: Some(now - TimeDelta::days(days_open)),
        closes_at: None,
        paused: None,
        max_per_order: 6,
        max_per_fan: Some(12),
        hidden: false,
    };
    let make = async |terms: OfferTerms,
                      capacity: i32,
                      tiers: Vec<NewTier>,
                      components: Vec<NewComponent>,
                      requirements: Vec<Requirement>|
           -> Result<OfferId, Fault> {
        let new = NewOffer { terms, capacity: Some(capacity), tiers, components, requirements, stocks: Vec::new() };
        Ok(offers::add_offer(app, staff, id, &new, None).await?.offer_id)
    };
    let weekend_tiers = vec![
        tier("Early", "早鸟", 11_900, Some(now - TimeDelta::days(30)), Some(120)),
        tier("Now", "现在", 13_900, Some(now + TimeDelta::days(1)), None),
        tier("Last", "最后", 15_900, None, None),
    ];
    let weekend = make(
        terms(
            both("Weekend pass", "三日通票"),
            both("All three sides, Quay and Island. Leave and come back as often as you like.", "三天全程，码头与小岛，随时进出。"),
            1,
            61,
        ),
        1_200,
        weekend_tiers,
        vec![pass(passes.weekend)],
        Vec::new(),
    )
    .await?;
    let bundle = make(
        terms(
            both("The weekend and the record", "通票加唱片"),
            both(
                "The weekend pass with Harbour Tapes, four tracks by four acts of this line-up. Yours at once, as FLAC.",
                "三日通票，加上《Harbour Tapes》：本届四组音乐人的四首歌。马上归你，FLAC 格式。",
            ),
            2,
            61,
        ),
        500,
        vec![tier("Now", "现在", 14_900, None, None)],
        vec![
            component(Some(passes.weekend), None, None, 133, TaxKind::Fixed, 90_000),
            component(None, Some(album), None, 16, TaxKind::ElectronicService, 210_000),
        ],
        Vec::new(),
    )
    .await?;
    let today = make(
        terms(both("Day pass for side B", "B 面单日票"), both("The middle day, Quay and Island.", "中间那一天，码头与小岛。"), 3, 61),
        60,
        vec![tier("Now", "现在", 6_400, None, None)],
        vec![pass(passes.today)],
        Vec::new(),
    )
    .await?;
    let first_day = make(
        terms(both("Day pass for side A", "A 面单日票"), both("The first day.", "第一天。"), 5, 61),
        24,
        vec![tier("Now", "现在", 6_400, None, None)],
        vec![pass(passes.first_day)],
        Vec::new(),
    )
    .await?;
    let youth = make(
        terms(both("Youth pass", "少年票"), both("Aged 12 to 17, two with each adult's weekend pass.", "12 至 17 岁，每张成人通票可配两张。"), 6, 61),
        200,
        vec![tier("Now", "现在", 4_900, None, None)],
        vec![pass(passes.youth)],
        vec![Requirement { any_of: vec![weekend, bundle], per_one: 2 }],
    )
    .await?;
    let locker = make(
        terms(both("Locker", "储物柜"), both("Three days, beside the Boiler House.", "三天，就在锅炉房旁边。"), 7, 61),
        80,
        vec![tier("Now", "现在", 1_800, None, None)],
        vec![component(None, None, Some(locker), 1, TaxKind::Fixed, 210_000)],
        Vec::new(),
    )
    .await?;
    // One that is not open yet: it opens the day after tomorrow at noon UTC.
    make(
        OfferTerms {
            opens_at: Some(now + TimeDelta::days(2)),
            ..terms(
                both("Quay camping", "码头露营"),
                both("Two nights, one tent, two people. With a weekend pass.", "两晚，一顶帐篷，两个人。需配三日通票。"),
                4,
                0,
            )
        },
        150,
        vec![tier("Now", "现在", 4_800, None, None)],
        vec![component(None, None, Some(camping), 1, TaxKind::Fixed, 90_000)],
        vec![Requirement { any_of: vec![weekend, bundle], per_one: 1 }],
    )
    .await?;
    Ok(Offers { weekend, bundle, today, first_day, youth, locker })
}
