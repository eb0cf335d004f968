//! The rows of festivals, days, zones, stages, gates and feeds.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool, types::Json};

use super::{Day, Festival, FestivalTerms, Gate, Site, Stage, Zone};
use crate::{
    id::{FestivalId, GateId, PromoterId, ZoneId},
    mail,
    words::Text,
};

pub(super) async fn insert(
    conn: &mut PgConnection,
    promoter: PromoterId,
    terms: &FestivalTerms,
    rehearsal_of: Option<FestivalId>,
    now: DateTime<Utc>,
) -> Result<Festival, sqlx::Error> {
    sqlx::query_as(
        "insert into festivals (promoter_id, slug, kind, name, lead, place, currency, time_zone, spot, language, rehearsal_of, created_at, licensed_capacity, version) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1) returning *",
    )
    .bind(promoter)
    .bind(&terms.slug)
    .bind(terms.kind)
    .bind(Json(&terms.name))
    .bind(Json(&terms.lead))
    .bind(Json(&terms.place))
    .bind(terms.currency)
    .bind(&terms.time_zone)
    .bind(&terms.spot)
    .bind(terms.language)
    .bind(rehearsal_of)
    .bind(now)
    .bind(terms.licensed_capacity)
    .fetch_one(conn)
    .await
}

pub(super) async fn insert_feeds(conn: &mut PgConnection, festival: FestivalId) -> Result<(), sqlx::Error> {
    sqlx::query("insert into feeds (festival_id, kind, position) values ($1, 'tickets', 0), ($1, 'admissions', 0)").bind(festival).execute(conn).await?;
    Ok(())
}

pub(super) async fn lock(conn: &mut PgConnection, promoter: PromoterId, festival: FestivalId) -> Result<Option<Festival>, sqlx::Error> {
    sqlx::query_as("select * from festivals where festival_id = $1 and promoter_id = $2 for no key update")
        .bind(festival)
        .bind(promoter)
        .fetch_optional(conn)
        .await
}

pub(super) async fn update(conn: &mut PgConnection, festival: FestivalId, terms: &FestivalTerms) -> Result<Festival, sqlx::Error> {
    sqlx::query_as(
        "update festivals set kind = $2, name = $3, lead = $4, place = $5, spot = $6, language = $7, licensed_capacity = $8, version = version + 1 \
         where festival_id = $1 returning *",
    )
    .bind(festival)
    .bind(terms.kind)
    .bind(Json(&terms.name))
    .bind(Json(&terms.lead))
    .bind(Json(&terms.place))
    .bind(&terms.spot)
    .bind(terms.language)
    .bind(terms.licensed_capacity)
    .fetch_one(conn)
    .await
}

pub(super) async fn publish(conn: &mut PgConnection, promoter: PromoterId, festival: FestivalId, now: DateTime<Utc>) -> Result<Option<Festival>, sqlx::Error> {
    sqlx::query_as(
        "update festivals set published_at = coalesce(published_at, $3), version = version + 1 where festival_id = $1 and promoter_id = $2 returning *",
    )
    .bind(festival)
    .bind(promoter)
    .bind(now)
    .fetch_optional(conn)
    .await
}

pub(super) async fn pause(
    conn: &mut PgConnection,
    promoter: PromoterId,
    festival: FestivalId,
    sentence: Option<&Text>,
) -> Result<Option<Festival>, sqlx::Error> {
    sqlx::query_as("update festivals set paused = $3, version = version + 1 where festival_id = $1 and promoter_id = $2 returning *")
        .bind(festival)
        .bind(promoter)
        .bind(sentence.map(Json))
        .fetch_optional(conn)
        .await
}

pub(super) async fn set_list_only(
    conn: &mut PgConnection,
    promoter: PromoterId,
    festival: FestivalId,
    list_only: bool,
) -> Result<Option<Festival>, sqlx::Error> {
    sqlx::query_as("update festivals set list_only = $3, version = version + 1 where festival_id = $1 and promoter_id = $2 returning *")
        .bind(festival)
        .bind(promoter)
        .bind(list_only)
        .fetch_optional(conn)
        .await
}

pub(super) async fn freeze(
    conn: &mut PgConnection,
    promoter: PromoterId,
    festival: FestivalId,
    until: Option<DateTime<Utc>>,
) -> Result<Option<Festival>, sqlx::Error> {
    sqlx::query_as("update festivals set frozen_until = $3, version = version + 1 where festival_id = $1 and promoter_id = $2 returning *")
        .bind(festival)
        .bind(promoter)
        .bind(until)
        .fetch_optional(conn)
        .await
}

pub(super) async fn set_poster(conn: &mut PgConnection, promoter: PromoterId, festival: FestivalId, hash: &[u8]) -> Result<Option<Festival>, sqlx::Error> {
    sqlx::query_as("update festivals set poster_hash = $3, version = version + 1 where festival_id = $1 and promoter_id = $2 returning *")
        .bind(festival)
        .bind(promoter)
        .bind(hash)
        .fetch_optional(conn)
        .await
}

/// A festival of a promoter.
///
/// # Errors
/// What the database said.
pub async fn owned(conn: &mut PgConnection, promoter: PromoterId, festival: FestivalId) -> Result<Option<Festival>, sqlx::Error> {
    sqlx::query_as("select * from festivals where festival_id = $1 and promoter_id = $2").bind(festival).bind(promoter).fetch_optional(conn).await
}

/// The festivals of a promoter, newest first, drafts included.
///
/// # Errors
/// What the database said.
pub async fn own(conn: &mut PgConnection, promoter: PromoterId) -> Result<Vec<Festival>, sqlx::Error> {
    sqlx::query_as("select * from festivals where promoter_id = $1 and festival_id > 0 order by festival_id desc limit 200")
        .bind(promoter)
        .fetch_all(conn)
        .await
}

/// The festivals that fans see, newest first.
///
/// # Errors
/// What the database said.
pub async fn all(pool: &PgPool, now: DateTime<Utc>) -> Result<Vec<Festival>, sqlx::Error> {
    sqlx::query_as("select * from festivals where published_at <= $1 and festival_id > 0 and rehearsal_of is null order by festival_id desc limit 200")
        .bind(now)
        .fetch_all(pool)
        .await
}

/// A festival.
///
/// # Errors
/// What the database said.
pub async fn one(conn: impl sqlx::PgExecutor<'_>, festival: FestivalId) -> Result<Option<Festival>, sqlx::Error> {
    sqlx::query_as("select * from festivals where festival_id = $1 and festival_id > 0").bind(festival).fetch_optional(conn).await
}

/// A festival by the end of its address.
///
/// # Errors
/// What the database said.
pub async fn by_slug(conn: impl PgExecutor<'_>, slug: &str) -> Result<Option<Festival>, sqlx::Error> {
    sqlx::query_as("select * from festivals where slug = $1 and festival_id > 0").bind(slug).fetch_optional(conn).await
}

pub(super) async fn upsert_day(conn: &mut PgConnection, festival: FestivalId, day: &Day) -> Result<Day, sqlx::Error> {
    sqlx::query_as(
        "insert into days (festival_id, day_index, name, opens_at, closes_at) values ($1, $2, $3, $4, $5) \
         on conflict (festival_id, day_index) do update set name = excluded.name, opens_at = excluded.opens_at, closes_at = excluded.closes_at \
         returning day_index, name, opens_at, closes_at",
    )
    .bind(festival)
    .bind(day.day_index)
    .bind(Json(&day.name))
    .bind(day.opens_at)
    .bind(day.closes_at)
    .fetch_one(conn)
    .await
}

pub(super) async fn insert_site(conn: &mut PgConnection, festival: FestivalId, site: &Site) -> Result<(), sqlx::Error> {
    match site {
        Site::Zone(zone) => {
            sqlx::query("insert into zones (festival_id, zone_id, name, capacity, is_inner) values ($1, $2, $3, $4, $5)")
                .bind(festival)
                .bind(zone.zone_id)
                .bind(Json(&zone.name))
                .bind(zone.capacity)
                .bind(zone.is_inner)
                .execute(conn)
                .await?;
        }
        Site::Stage(stage) => {
            sqlx::query("insert into stages (festival_id, stage_id, zone_id, name, sort) values ($1, $2, $3, $4, $5)")
                .bind(festival)
                .bind(stage.stage_id)
                .bind(stage.zone_id)
                .bind(Json(&stage.name))
                .bind(stage.sort)
                .execute(conn)
                .await?;
        }
        Site::Gate(gate) => {
            sqlx::query("insert into gates (festival_id, gate_id, zone_id, name, pass_ids) values ($1, $2, $3, $4, $5)")
                .bind(festival)
                .bind(gate.gate_id)
                .bind(gate.zone_id)
                .bind(Json(&gate.name))
                .bind(&gate.pass_ids)
                .execute(conn)
                .await?;
        }
    }
    Ok(())
}

pub(super) async fn lock_zone(conn: &mut PgConnection, zone: ZoneId) -> Result<Option<Zone>, sqlx::Error> {
    sqlx::query_as("select zone_id, name, capacity, is_inner from zones where festival_id = $1 and zone_id = $2 for no key update")
        .bind(zone.festival())
        .bind(zone)
        .fetch_optional(conn)
        .await
}

pub(super) async fn update_zone(conn: &mut PgConnection, zone: &Zone) -> Result<(), sqlx::Error> {
    sqlx::query("update zones set name = $3, capacity = $4 where festival_id = $1 and zone_id = $2")
        .bind(zone.zone_id.festival())
        .bind(zone.zone_id)
        .bind(Json(&zone.name))
        .bind(zone.capacity)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn lock_gate(conn: &mut PgConnection, gate: GateId) -> Result<Option<Gate>, sqlx::Error> {
    sqlx::query_as("select gate_id, zone_id, name, pass_ids from gates where festival_id = $1 and gate_id = $2 for no key update")
        .bind(gate.festival())
        .bind(gate)
        .fetch_optional(conn)
        .await
}

pub(super) async fn update_gate(conn: &mut PgConnection, gate: &Gate) -> Result<(), sqlx::Error> {
    sqlx::query("update gates set name = $3, pass_ids = $4 where festival_id = $1 and gate_id = $2")
        .bind(gate.gate_id.festival())
        .bind(gate.gate_id)
        .bind(Json(&gate.name))
        .bind(&gate.pass_ids)
        .execute(conn)
        .await?;
    Ok(())
}

/// The days of a festival in their order.
///
/// # Errors
/// What the database said.
pub async fn days(pool: &PgPool, festival: FestivalId) -> Result<Vec<Day>, sqlx::Error> {
    sqlx::query_as("select day_index, name, opens_at, closes_at from days where festival_id = $1 and cancelled_at is null order by opens_at")
        .bind(festival)
        .fetch_all(pool)
        .await
}

/// The zones of a festival.
///
/// # Errors
/// What the database said.
pub async fn zones(pool: &PgPool, festival: FestivalId) -> Result<Vec<Zone>, sqlx::Error> {
    sqlx::query_as("select zone_id, name, capacity, is_inner from zones where festival_id = $1 order by zone_id").bind(festival).fetch_all(pool).await
}

/// The stages of a festival in the promoter's order.
///
/// # Errors
/// What the database said.
pub async fn stages(pool: &PgPool, festival: FestivalId) -> Result<Vec<Stage>, sqlx::Error> {
    sqlx::query_as("select stage_id, zone_id, name, sort from stages where festival_id = $1 order by sort, stage_id").bind(festival).fetch_all(pool).await
}

/// The gates of a festival.
///
/// # Errors
/// What the database said.
pub async fn gates(pool: &PgPool, festival: FestivalId) -> Result<Vec<Gate>, sqlx::Error> {
    sqlx::query_as("select gate_id, zone_id, name, pass_ids from gates where festival_id = $1 order by gate_id").bind(festival).fetch_all(pool).await
}

/// Takes `count` positions of a feed, as the last lock of a transaction; returns the first.
///
/// # Errors
/// What the database said.
pub async fn take_positions(conn: &mut PgConnection, festival: FestivalId, kind: &'static str, count: i64) -> Result<i64, sqlx::Error> {
    let last: i64 = sqlx::query_scalar("update feeds set position = position + $3 where festival_id = $1 and kind = $2 returning position")
        .bind(festival)
        .bind(kind)
        .bind(count)
        .fetch_one(conn)
        .await?;
    Ok(last - count + 1)
}

/// How far the feeds of tickets and of admissions of a festival have come.
///
/// # Errors
/// What the database said.
pub async fn positions(conn: &mut PgConnection, festival: FestivalId) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as(
        "select coalesce(max(position) filter (where kind = 'tickets'), 0), coalesce(max(position) filter (where kind = 'admissions'), 0) \
         from feeds where festival_id = $1",
    )
    .bind(festival)
    .fetch_one(conn)
    .await
}

/// When the first day of a festival opens; joins a transaction.
///
/// # Errors
/// What the database said.
pub async fn first_opening(conn: &mut PgConnection, festival: FestivalId) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar("select min(opens_at) from days where festival_id = $1").bind(festival).fetch_one(conn).await
}

/// Whether the first day of a festival has begun; what has no days never does.
///
/// # Errors
/// What the database said.
pub async fn has_begun(pool: &PgPool, festival: FestivalId, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    Ok(first_opening(&mut *pool.acquire().await?, festival).await?.is_some_and(|opens| opens <= now))
}

/// When the last day of a festival ends; joins a transaction.
///
/// # Errors
/// What the database said.
pub async fn last_day(conn: &mut PgConnection, festival: FestivalId) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar("select max(closes_at) from days where festival_id = $1").bind(festival).fetch_one(conn).await
}

/// Every festival: their sleeves are printed for pages of staff, too.
///
/// # Errors
/// What the database said.
pub async fn every(pool: &PgPool) -> Result<Vec<Festival>, sqlx::Error> {
    sqlx::query_as("select * from festivals where festival_id > 0 order by festival_id desc limit 1000").fetch_all(pool).await
}

/// When the emails of a festival are due: those of a rehearsal are written like all others and never due. Joins a transaction.
///
/// # Errors
/// What the database said.
pub async fn mail_due(conn: &mut PgConnection, festival: FestivalId, now: DateTime<Utc>) -> Result<DateTime<Utc>, sqlx::Error> {
    let is_rehearsal: bool =
        sqlx::query_scalar("select exists (select from festivals where festival_id = $1 and rehearsal_of is not null)").bind(festival).fetch_one(conn).await?;
    Ok(if is_rehearsal { mail::NEVER } else { now })
}

/// Takes a rehearsal off sale, as the owner of the tables: what is on its way to it ends before it is removed.
///
/// # Errors
/// What the database said.
pub async fn close_rehearsal(owner: &mut PgConnection, festival: FestivalId) -> Result<(), sqlx::Error> {
    sqlx::query("update festivals set published_at = null where festival_id = $1 and rehearsal_of is not null").bind(festival).execute(owner).await?;
    Ok(())
}

/// Removes a rehearsal with all its rows, as the owner of the tables. Whatever is not a rehearsal is refused by the database.
///
/// # Errors
/// What the database said.
pub async fn remove_rehearsal(owner: &mut PgConnection, festival: FestivalId) -> Result<(), sqlx::Error> {
    sqlx::query("select gatefold_remove_rehearsal($1)").bind(festival).execute(owner).await?;
    Ok(())
}
