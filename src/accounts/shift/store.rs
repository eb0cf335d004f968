//! The rows of shifts, and who supervises on which device.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use super::Supervised;
use crate::id::{DeviceId, FestivalId, MemberId, ShiftId};

/// A shift that runs.
#[derive(FromRow)]
pub(super) struct Running {
    pub(super) shift_id: ShiftId,
    pub(super) member_id: MemberId,
    pub(super) name: String,
    pub(super) began_at: DateTime<Utc>,
    pub(super) ends_at: DateTime<Utc>,
}

pub(super) async fn running(conn: &mut PgConnection, festival: FestivalId, now: DateTime<Utc>) -> Result<Vec<Running>, sqlx::Error> {
    sqlx::query_as(
        "select s.shift_id, s.member_id, m.name, s.began_at, s.ends_at from shifts s join members m using (member_id) \
         where s.festival_id = $1 and s.ended_at is null and s.ends_at > $2 and m.removed_at is null order by s.shift_id",
    )
    .bind(festival)
    .bind(now)
    .fetch_all(conn)
    .await
}

/// The same, one after the other.
pub(super) async fn lock_running(conn: &mut PgConnection, festival: FestivalId, now: DateTime<Utc>) -> Result<Vec<Running>, sqlx::Error> {
    sqlx::query("select from festivals where festival_id = $1 for no key update").bind(festival).execute(&mut *conn).await?;
    running(conn, festival, now).await
}

pub(super) async fn insert(conn: &mut PgConnection, shift: ShiftId, member: MemberId, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("insert into shifts (festival_id, shift_id, member_id, began_at, ends_at) values ($1, $2, $3, $4, $5)")
        .bind(shift.festival())
        .bind(shift)
        .bind(member)
        .bind(now)
        .bind(until)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends the shift of a member, where one runs.
pub(super) async fn end(conn: &mut PgConnection, festival: FestivalId, member: MemberId, now: DateTime<Utc>) -> Result<Option<ShiftId>, sqlx::Error> {
    sqlx::query_scalar(
        "update shifts set ended_at = greatest(began_at, least($3, ends_at)) where member_id = $2 and festival_id = $1 and ended_at is null returning shift_id",
    )
    .bind(festival)
    .bind(member)
    .bind(now)
    .fetch_optional(conn)
    .await
}

/// Counts a try of digits on a device; which it is within the hour, `None` where it may not try.
pub(super) async fn count_try(conn: &mut PgConnection, device: DeviceId, now: DateTime<Utc>, since: DateTime<Utc>) -> Result<Option<i16>, sqlx::Error> {
    sqlx::query_scalar(
        "update devices set code_tries = case when code_tried_at > $4 then code_tries + 1 else 1 end, code_tried_at = case when code_tried_at > $4 then code_tried_at else $3 end \
         where festival_id = $1 and device_id = $2 and (code_tries < 10 or code_tried_at is null or code_tried_at <= $4) \
         returning code_tries",
    )
    .bind(device.festival())
    .bind(device)
    .bind(now)
    .bind(since)
    .fetch_optional(conn)
    .await
}

/// Signs in under the lock of the device's row, which the try has taken; only wrong digits stay counted.
pub(super) async fn sign_in(conn: &mut PgConnection, device: DeviceId, shift: ShiftId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into device_shifts (festival_id, device_id, shift_no, shift_id, began_at) \
         select $1, $2, coalesce(max(shift_no), 0) + 1, $3, $4 from device_shifts where festival_id = $1 and device_id = $2",
    )
    .bind(device.festival())
    .bind(device)
    .bind(shift)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::query("update devices set code_tries = code_tries - 1 where festival_id = $1 and device_id = $2 and code_tries > 0")
        .bind(device.festival())
        .bind(device)
        .execute(conn)
        .await?;
    Ok(())
}

/// How many wrong digits were typed on all devices of a festival since a moment, those left out that were revoked.
pub(super) async fn tries(conn: &mut PgConnection, festival: FestivalId, since: DateTime<Utc>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select coalesce(sum(code_tries), 0)::bigint from devices where festival_id = $1 and code_tried_at > $2 and revoked_at is null")
        .bind(festival)
        .bind(since)
        .fetch_one(conn)
        .await
}

pub(super) async fn sign_out(conn: &mut PgConnection, device: DeviceId, now: DateTime<Utc>) -> Result<Option<ShiftId>, sqlx::Error> {
    sqlx::query_scalar(
        "update device_shifts set ended_at = greatest(began_at, $3) where device_id = $2 and festival_id = $1 and ended_at is null returning shift_id",
    )
    .bind(device.festival())
    .bind(device)
    .bind(now)
    .fetch_optional(conn)
    .await
}

pub(super) async fn supervised(conn: &mut PgConnection, device: DeviceId, since: DateTime<Utc>) -> Result<Vec<Supervised>, sqlx::Error> {
    sqlx::query_as(
        "select s.member_id, d.began_at, least(d.ended_at, s.ended_at, s.ends_at, m.removed_at) as ended_at \
         from device_shifts d join shifts s on s.festival_id = d.festival_id and s.shift_id = d.shift_id join members m on m.member_id = s.member_id \
         where d.festival_id = $1 and d.device_id = $2 and s.ends_at > $3 order by d.shift_no",
    )
    .bind(device.festival())
    .bind(device)
    .bind(since)
    .fetch_all(conn)
    .await
}
