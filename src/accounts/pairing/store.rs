//! The rows of devices, of what they say, and of the chances to pair them.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};

use super::{Device, Pulse};
use crate::id::{DeviceId, FestivalId, GateId, PairingId, PromoterId};

#[derive(FromRow)]
pub(super) struct PairingRow {
    pub(super) pairing_id: PairingId,
    pub(super) gate_id: GateId,
    pub(super) gate_ids: Vec<GateId>,
    pub(super) profile: String,
    pub(super) most_devices: i16,
    pub(super) devices: i16,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) revoked_at: Option<DateTime<Utc>>,
}

pub(super) async fn insert_pairing(conn: &mut PgConnection, promoter: PromoterId, row: &PairingRow, now: DateTime<Utc>) -> Result<Option<i32>, sqlx::Error> {
    sqlx::query_scalar(
        "insert into pairings (festival_id, pairing_no, pairing_id, gate_id, gate_ids, profile, created_at, expires_at, tries, most_devices) \
         select f.festival_id, coalesce((select max(p.pairing_no) from pairings p where p.festival_id = f.festival_id), 0) + 1, $3, ($4::uuid[])[1], $4, $5, $6, $7, 0, $8 \
         from festivals f where f.festival_id = $2 and f.promoter_id = $1 \
           and cardinality($4) = (select count(*) from gates g where g.festival_id = f.festival_id and g.gate_id = any($4)) returning pairing_no",
    )
    .bind(promoter)
    .bind(row.pairing_id.festival())
    .bind(row.pairing_id)
    .bind(&row.gate_ids)
    .bind(&row.profile)
    .bind(now)
    .bind(row.expires_at)
    .bind(row.most_devices)
    .fetch_optional(conn)
    .await
}

pub(super) async fn pairing(conn: &mut PgConnection, promoter: PromoterId, festival: FestivalId, no: i32) -> Result<Option<PairingRow>, sqlx::Error> {
    sqlx::query_as(
        "select p.pairing_id, p.gate_id, coalesce(p.gate_ids, array[p.gate_id]) as gate_ids, p.profile, p.most_devices, p.devices, p.expires_at, p.revoked_at \
         from pairings p join festivals f on f.festival_id = p.festival_id and f.promoter_id = $1 where p.festival_id = $2 and p.pairing_no = $3",
    )
    .bind(promoter)
    .bind(festival)
    .bind(no)
    .fetch_optional(conn)
    .await
}

#[derive(FromRow)]
struct SheetRow {
    pairing_no: i32,
    #[sqlx(flatten)]
    row: PairingRow,
}

/// The sheets that are good, the newest first.
pub(super) async fn sheets(conn: &mut PgConnection, festival: FestivalId, now: DateTime<Utc>) -> Result<Vec<(i32, PairingRow)>, sqlx::Error> {
    let rows: Vec<SheetRow> = sqlx::query_as(
        "select pairing_no, pairing_id, gate_id, coalesce(gate_ids, array[gate_id]) as gate_ids, profile, most_devices, devices, expires_at, revoked_at \
         from pairings where festival_id = $1 and most_devices > 1 and expires_at > $2 and revoked_at is null and devices < most_devices order by pairing_no desc limit 200",
    )
    .bind(festival)
    .bind(now)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|sheet| (sheet.pairing_no, sheet.row)).collect())
}

pub(super) async fn revoke_pairing(
    conn: &mut PgConnection,
    promoter: PromoterId,
    festival: FestivalId,
    no: i32,
    now: DateTime<Utc>,
) -> Result<Option<PairingRow>, sqlx::Error> {
    sqlx::query_as(
        "update pairings p set revoked_at = coalesce(p.revoked_at, $4) from festivals f \
         where p.festival_id = $2 and p.pairing_no = $3 and f.festival_id = p.festival_id and f.promoter_id = $1 \
         returning p.pairing_id, p.gate_id, coalesce(p.gate_ids, array[p.gate_id]) as gate_ids, p.profile, p.most_devices, p.devices, p.expires_at, p.revoked_at",
    )
    .bind(promoter)
    .bind(festival)
    .bind(no)
    .bind(now)
    .fetch_optional(conn)
    .await
}

/// Counts a try and returns the pairing; `None` when there is none with tries left. Nobody guesses the 128 bits of a sheet, so nobody uses its tries up.
pub(super) async fn try_pairing(conn: &mut PgConnection, festival: FestivalId, no: i32) -> Result<Option<PairingRow>, sqlx::Error> {
    sqlx::query_as(
        "update pairings set tries = case when most_devices > 1 then tries else tries + 1 end where festival_id = $1 and pairing_no = $2 and (tries < 10 or most_devices > 1) \
         returning pairing_id, gate_id, coalesce(gate_ids, array[gate_id]) as gate_ids, profile, most_devices, devices, expires_at, revoked_at",
    )
    .bind(festival)
    .bind(no)
    .fetch_optional(conn)
    .await
}

/// Takes a device of a pairing.
pub(super) async fn use_pairing(conn: &mut PgConnection, festival: FestivalId, no: i32, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "update pairings set devices = devices + 1, used_at = coalesce(used_at, $3) \
         where festival_id = $1 and pairing_no = $2 and devices < most_devices and (most_devices > 1 or used_at is null)",
    )
    .bind(festival)
    .bind(no)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn insert_device(conn: &mut PgConnection, device: &Device, hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into devices (festival_id, device_id, gate_id, name, profile, token_hash, paired_at, gate_ids) values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(device.festival_id)
    .bind(device.device_id)
    .bind(device.gate_id)
    .bind(&device.name)
    .bind(&device.profile)
    .bind(hash)
    .bind(device.paired_at)
    .bind(&device.gate_ids)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn device_of_hash(pool: &PgPool, festival: FestivalId, hash: &[u8], now: DateTime<Utc>) -> Result<Option<Device>, sqlx::Error> {
    sqlx::query_as(
        "select d.festival_id, d.device_id, d.gate_id, coalesce(d.gate_ids, array[d.gate_id]) as gate_ids, d.name, d.profile, d.paired_at, d.revoked_at, d.seen_at, d.waiting, \
                d.battery, d.is_charging, m.member_id as supervisor_id, m.name as supervisor, s.ends_at as supervisor_until \
         from devices d left join device_shifts o on o.festival_id = d.festival_id and o.device_id = d.device_id and o.ended_at is null \
         left join shifts s on s.festival_id = o.festival_id and s.shift_id = o.shift_id and s.ended_at is null and s.ends_at > $3 \
         left join members m on m.member_id = s.member_id and m.removed_at is null \
         where d.festival_id = $1 and d.token_hash = $2 and d.revoked_at is null",
    )
    .bind(festival)
    .bind(hash)
    .bind(now)
    .fetch_optional(pool)
    .await
}

pub(super) async fn devices(conn: &mut PgConnection, festival: FestivalId, now: DateTime<Utc>) -> Result<Vec<Device>, sqlx::Error> {
    sqlx::query_as(
        "select d.festival_id, d.device_id, d.gate_id, coalesce(d.gate_ids, array[d.gate_id]) as gate_ids, d.name, d.profile, d.paired_at, d.revoked_at, d.seen_at, d.waiting, \
                d.battery, d.is_charging, m.member_id as supervisor_id, m.name as supervisor, s.ends_at as supervisor_until \
         from devices d left join device_shifts o on o.festival_id = d.festival_id and o.device_id = d.device_id and o.ended_at is null \
         left join shifts s on s.festival_id = o.festival_id and s.shift_id = o.shift_id and s.ended_at is null and s.ends_at > $2 \
         left join members m on m.member_id = s.member_id and m.removed_at is null \
         where d.festival_id = $1 order by d.device_id desc limit 500",
    )
    .bind(festival)
    .bind(now)
    .fetch_all(conn)
    .await
}

pub(super) async fn revoke_device(conn: &mut PgConnection, promoter: PromoterId, device: DeviceId, now: DateTime<Utc>) -> Result<Option<Device>, sqlx::Error> {
    sqlx::query_as(
        "update devices d set revoked_at = coalesce(d.revoked_at, $4) from festivals f \
         where d.festival_id = $2 and d.device_id = $3 and f.festival_id = d.festival_id and f.promoter_id = $1 \
         returning d.festival_id, d.device_id, d.gate_id, coalesce(d.gate_ids, array[d.gate_id]) as gate_ids, d.name, d.profile, d.paired_at, d.revoked_at, d.seen_at, d.waiting, d.battery, d.is_charging, \
                   null::uuid as supervisor_id, null::text as supervisor, null::timestamptz as supervisor_until",
    )
    .bind(promoter)
    .bind(device.festival())
    .bind(device)
    .bind(now)
    .fetch_optional(conn)
    .await
}

/// Writes pulses down, in one order of locks for every server; one that is older than what another server wrote changes nothing.
pub(super) async fn write_pulses(conn: &mut PgConnection, pulses: &[(DeviceId, Pulse)]) -> Result<(), sqlx::Error> {
    let festivals: Vec<FestivalId> = pulses.iter().map(|(id, _)| id.festival()).collect();
    let devices: Vec<DeviceId> = pulses.iter().map(|(id, _)| *id).collect();
    sqlx::query(
        "select from devices where (festival_id, device_id) in (select * from unnest($1::integer[], $2::uuid[])) order by festival_id, device_id for no key update",
    )
    .bind(&festivals)
    .bind(&devices)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "update devices d set seen_at = p.at, waiting = p.waiting, battery = p.battery, is_charging = p.is_charging, gate_id = p.gate_id \
         from unnest($1::integer[], $2::uuid[], $3::timestamptz[], $4::integer[], $5::smallint[], $6::boolean[], $7::uuid[]) \
              as p (festival_id, device_id, at, waiting, battery, is_charging, gate_id) \
         where d.festival_id = p.festival_id and d.device_id = p.device_id and (d.seen_at is null or d.seen_at < p.at)",
    )
    .bind(&festivals)
    .bind(&devices)
    .bind(pulses.iter().map(|(_, p)| p.at).collect::<Vec<_>>())
    .bind(pulses.iter().map(|(_, p)| p.waiting).collect::<Vec<_>>())
    .bind(pulses.iter().map(|(_, p)| p.battery).collect::<Vec<_>>())
    .bind(pulses.iter().map(|(_, p)| p.is_charging).collect::<Vec<_>>())
    .bind(pulses.iter().map(|(_, p)| p.gate_id).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}
