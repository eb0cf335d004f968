//! The rows of waiting lists as a whole.

use sqlx::{PgConnection, PgPool};

use super::{HOURS, List};
use crate::id::{FestivalId, OfferId};

/// What lists of a festival ask for, by offer; those that ask for nothing are left out.
pub(super) async fn demands(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<(OfferId, i32)>, sqlx::Error> {
    sqlx::query_as("select offer_id, units from waiting_lists where festival_id = $1 and units > 0 order by offer_id").bind(festival).fetch_all(conn).await
}

/// The offers that somebody waits for, in every festival.
///
/// # Errors
/// What the database said.
pub async fn wanted(pool: &PgPool) -> Result<Vec<OfferId>, sqlx::Error> {
    sqlx::query_scalar("select offer_id from waiting_lists where units > 0 order by festival_id, offer_id").fetch_all(pool).await
}

/// The waiting list of an offer; as it is by default where nobody joined it or spoke of it.
///
/// # Errors
/// What the database said.
pub async fn list(conn: &mut PgConnection, offer: OfferId) -> Result<List, sqlx::Error> {
    let found = sqlx::query_as("select is_open, invitation_hours, units, people from waiting_lists where festival_id = $1 and offer_id = $2")
        .bind(offer.festival())
        .bind(offer)
        .fetch_optional(conn)
        .await?;
    Ok(found.unwrap_or_default())
}

/// Somebody joins a list or is on it no more: it asks for so many units more or less, of so many people. Joins the transaction that moves the line.
///
/// # Errors
/// What the database said; the check `waiting_lists_people` when the list is full.
pub async fn add(conn: &mut PgConnection, offer: OfferId, units: i32, people: i32) -> Result<(), sqlx::Error> {
    // The proposed row has to pass the checks, too, where one is there already.
    sqlx::query(
        "with there as (update waiting_lists set units = units + $3, people = people + $4 where festival_id = $1 and offer_id = $2 returning 1) \
         insert into waiting_lists (festival_id, offer_id, is_open, invitation_hours, units, people) \
         select $1, $2, true, $5, $3, $4 where not exists (select from there) \
         on conflict (festival_id, offer_id) do update set units = waiting_lists.units + excluded.units, people = waiting_lists.people + excluded.people",
    )
    .bind(offer.festival())
    .bind(offer)
    .bind(units)
    .bind(people)
    .bind(HOURS)
    .execute(conn)
    .await?;
    Ok(())
}

/// Says whether people may join a list, and how long an invitation lasts.
///
/// # Errors
/// What the database said.
pub async fn set_terms(conn: &mut PgConnection, offer: OfferId, is_open: bool, invitation_hours: i32) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into waiting_lists (festival_id, offer_id, is_open, invitation_hours, units, people) values ($1, $2, $3, $4, 0, 0) \
         on conflict (festival_id, offer_id) do update set is_open = excluded.is_open, invitation_hours = excluded.invitation_hours",
    )
    .bind(offer.festival())
    .bind(offer)
    .bind(is_open)
    .bind(invitation_hours)
    .execute(conn)
    .await?;
    Ok(())
}

/// The offers of a festival whose lists take nobody.
///
/// # Errors
/// What the database said.
pub async fn closed(pool: &PgPool, festival: FestivalId) -> Result<Vec<OfferId>, sqlx::Error> {
    sqlx::query_scalar("select offer_id from waiting_lists where festival_id = $1 and not is_open").bind(festival).fetch_all(pool).await
}
