//! The rows of promoters, members, tokens, sessions, devices and pairings.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection, FromRow, PgConnection, PgPool};

use super::{Device, Pulse, Role, Scope, Staff, email_key};
use crate::{
    app::App,
    audit::Actor,
    id::{DeviceId, FestivalId, GateId, MemberId, PairingId, PromoterId, SignInId, TokenId},
    secrets,
    words::Language,
};

/// The prefix of API tokens.
pub const TOKEN: &str = "gf_live_";
/// The prefix of device tokens.
pub const DEVICE: &str = "gf_gate_";

/// What `gatefold invite` made.
#[derive(Debug)]
pub struct Invited {
    /// The promoter.
    pub promoter: PromoterId,
    /// The owner.
    pub member: MemberId,
    /// An API token with every scope, shown once.
    pub token: String,
}

/// Makes the first promoter with its owner and a token; runs as the owner of the tables.
///
/// # Errors
/// What the database said.
pub async fn invite(conn: &mut PgConnection, name: &str, address: &str, language: Language, now: DateTime<Utc>) -> Result<Invited, sqlx::Error> {
    let promoter = PromoterId::fresh(FestivalId::HOUSE, now);
    let member = MemberId::fresh(FestivalId::HOUSE, now);
    let mut tx = conn.begin().await?;
    sqlx::query("insert into promoters (promoter_id, name, created_at) values ($1, $2, $3)").bind(promoter).bind(name).bind(now).execute(&mut *tx).await?;
    sqlx::query(
        "insert into members (promoter_id, member_id, name, email, email_key, roles, language, created_at) values ($1, $2, $3, $4, $5, array['owner'], $6, $7)",
    )
    .bind(promoter)
    .bind(member)
    .bind(name)
    .bind(address)
    .bind(email_key(address))
    .bind(language)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    let token = new_token(&mut tx, promoter, None, "first token", &Scope::ALL, now).await?;
    tx.commit().await?;
    Ok(Invited { promoter, member, token })
}

/// Makes an API token and returns its text, the only time that it exists.
///
/// # Errors
/// What the database said.
pub async fn new_token(
    conn: &mut PgConnection,
    promoter: PromoterId,
    festival: Option<FestivalId>,
    name: &str,
    scopes: &[Scope],
    now: DateTime<Utc>,
) -> Result<String, sqlx::Error> {
    let token = secrets::fresh_token(TOKEN, festival.unwrap_or(FestivalId::HOUSE));
    sqlx::query("insert into tokens (promoter_id, token_id, festival_id, name, scopes, token_hash, created_at) values ($1, $2, $3, $4, $5, $6, $7)")
        .bind(promoter)
        .bind(TokenId::fresh(FestivalId::HOUSE, now))
        .bind(festival)
        .bind(name)
        .bind(scopes.iter().map(|s| s.name()).collect::<Vec<_>>())
        .bind(secrets::sha256(token.as_bytes()).as_slice())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(token)
}

fn scopes(names: &[String]) -> Vec<Scope> {
    Scope::ALL.into_iter().filter(|scope| names.iter().any(|name| name == scope.name())).collect()
}

/// Who a token speaks for; `None` when it is unknown, revoked or over.
pub(super) async fn staff_of_token(app: &App, token: &str) -> Result<Option<Staff>, sqlx::Error> {
    if secrets::token_festival(TOKEN, token).is_none() {
        return Ok(None);
    }
    let now = app.clock.now();
    let row: Option<(TokenId, PromoterId, Option<FestivalId>, Vec<String>)> = sqlx::query_as(
        "select token_id, promoter_id, festival_id, scopes from tokens \
         where token_hash = $1 and revoked_at is null and (expires_at is null or expires_at > $2)",
    )
    .bind(secrets::sha256(token.as_bytes()).as_slice())
    .bind(now)
    .fetch_optional(&app.pools.web)
    .await?;
    Ok(row.map(|(token_id, promoter, festival, names)| {
        app.the::<LastUsed>().0.lock().unwrap_or_else(PoisonError::into_inner).insert(token_id, now);
        Staff { promoter, actor: Actor::Token(token_id), festival, scopes: scopes(&names), masked: false }
    }))
}

/// When tokens were last used: gathered in memory, written once a minute.
#[derive(Default)]
pub struct LastUsed(Mutex<HashMap<TokenId, DateTime<Utc>>>);

/// Writes when tokens were last used.
///
/// # Errors
/// What the database said.
pub async fn flush_last_used(app: &App) -> Result<(), sqlx::Error> {
    let used: Vec<(TokenId, DateTime<Utc>)> = app.the::<LastUsed>().0.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
    if used.is_empty() {
        return Ok(());
    }
    let (ids, at): (Vec<_>, Vec<_>) = used.into_iter().unzip();
    sqlx::query("update tokens t set last_used_at = u.at from unnest($1::uuid[], $2::timestamptz[]) as u (token_id, at) where t.token_id = u.token_id")
        .bind(ids)
        .bind(at)
        .execute(&app.pools.work)
        .await?;
    Ok(())
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

/// The name of a promoter.
///
/// # Errors
/// What the database said.
pub async fn promoter_name(app: &App, promoter: PromoterId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select name from promoters where promoter_id = $1").bind(promoter).fetch_optional(&app.pools.web).await
}

// - signing in -

/// Writes a sign-in; answers where its email goes: to the address that the member has, never to another spelling of its key.
pub(super) async fn insert_sign_in(
    conn: &mut PgConnection,
    id: SignInId,
    key: &str,
    now: DateTime<Utc>,
    most: i64,
) -> Result<Option<Option<String>>, sqlx::Error> {
    // Parallel asks for one address are counted one after the other.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))").bind(key).execute(&mut *conn).await?;
    let done = sqlx::query(
        "insert into sign_ins (sign_in_id, member_id, email_key, asked_at, tries) \
         select $1, (select m.member_id from members m where m.email_key = $2 and m.removed_at is null order by m.created_at limit 1), $2, $3, 0 \
         where (select count(*) from sign_ins s where s.email_key = $2 and s.asked_at > $4) < $5",
    )
    .bind(id)
    .bind(key)
    .bind(now)
    .bind(now - TimeDelta::hours(1))
    .bind(most)
    .execute(&mut *conn)
    .await?;
    let email: Option<String> = sqlx::query_scalar("select m.email from sign_ins s join members m on m.member_id = s.member_id where s.sign_in_id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await?;
    Ok((done.rows_affected() == 1).then_some(email))
}

/// Begins the life of a sign-in; `None` when its address belongs to nobody.
pub(super) async fn begin_life(pool: &PgPool, id: SignInId, now: DateTime<Utc>) -> Result<Option<(String, Language)>, sqlx::Error> {
    sqlx::query_as(
        "update sign_ins s set sent_at = $2 from members m \
         where s.sign_in_id = $1 and s.used_at is null and m.member_id = s.member_id returning m.name, m.language",
    )
    .bind(id)
    .bind(now)
    .fetch_optional(pool)
    .await
}

pub(super) async fn count_try(pool: &PgPool, id: SignInId) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("update sign_ins set tries = tries + 1 where sign_in_id = $1 and tries < 10 and used_at is null").bind(id).execute(pool).await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn use_sign_in(
    conn: &mut PgConnection,
    id: SignInId,
    now: DateTime<Utc>,
    alive_since: DateTime<Utc>,
) -> Result<Option<MemberId>, sqlx::Error> {
    sqlx::query_scalar(
        "update sign_ins set used_at = $2 where sign_in_id = $1 and used_at is null and sent_at > $3 and member_id is not null returning member_id",
    )
    .bind(id)
    .bind(now)
    .bind(alive_since)
    .fetch_optional(conn)
    .await
}

pub(super) async fn insert_session(
    conn: &mut PgConnection,
    hash: &[u8],
    member: MemberId,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into sessions (session_hash, member_id, created_at, seen_at, expires_at) values ($1, $2, $3, $3, $4)")
        .bind(hash)
        .bind(member)
        .bind(now)
        .bind(until)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn end_session(pool: &PgPool, hash: &[u8], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update sessions set ended_at = $2 where session_hash = $1 and ended_at is null").bind(hash).bind(now).execute(pool).await?;
    Ok(())
}

#[derive(FromRow)]
struct MemberRow {
    member_id: MemberId,
    promoter_id: PromoterId,
    name: String,
    roles: Vec<String>,
    language: Language,
}

pub(super) async fn member_of_session(pool: &PgPool, hash: &[u8], now: DateTime<Utc>) -> Result<Option<super::Member>, sqlx::Error> {
    let row: Option<MemberRow> = sqlx::query_as(
        "select m.member_id, m.promoter_id, m.name, m.roles, m.language from sessions s join members m using (member_id) \
         where s.session_hash = $1 and s.ended_at is null and s.expires_at > $2 and m.removed_at is null",
    )
    .bind(hash)
    .bind(now)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| {
        let roles: Vec<Role> = row.roles.iter().filter_map(|name| Role::read(name)).collect();
        let may = Scope::ALL.into_iter().filter(|scope| roles.iter().any(|role| role.scopes().contains(scope))).collect();
        let staff = Staff {
            promoter: row.promoter_id,
            actor: Actor::Member(row.member_id),
            festival: None,
            scopes: may,
            masked: roles.iter().all(|role| *role == Role::Support),
        };
        super::Member { member_id: row.member_id, name: row.name, roles: row.roles, language: row.language, staff }
    }))
}

// - devices -

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

/// Whether a festival is the promoter's.
pub(super) async fn runs(conn: &mut PgConnection, promoter: PromoterId, festival: FestivalId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from festivals where festival_id = $1 and promoter_id = $2)").bind(festival).bind(promoter).fetch_one(conn).await
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

/// Makes a sign-in whose life has begun, for a link that is printed instead of mailed; runs as the owner of the tables.
///
/// # Errors
/// What the database said.
pub async fn first_link(conn: &mut PgConnection, secrets: &secrets::Secrets, address: &str, now: DateTime<Utc>) -> Result<String, sqlx::Error> {
    let id = SignInId::fresh(FestivalId::HOUSE, now);
    sqlx::query(
        "insert into sign_ins (sign_in_id, member_id, email_key, asked_at, sent_at, tries) \
         values ($1, (select member_id from members where email_key = $2 and removed_at is null order by created_at limit 1), $2, $3, $3, 0)",
    )
    .bind(id)
    .bind(email_key(address))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(format!("/sign-in/{id}/{}", secrets.link(secrets::Purpose::SignInLink, id.0, 0)))
}

/// Makes a token of a name and revokes the ones that had the name before.
///
/// # Errors
/// What the database said.
pub async fn renew_token(conn: &mut PgConnection, promoter: PromoterId, name: &str, scopes: &[Scope], now: DateTime<Utc>) -> Result<String, sqlx::Error> {
    sqlx::query("update tokens set revoked_at = $3 where promoter_id = $1 and name = $2 and revoked_at is null")
        .bind(promoter)
        .bind(name)
        .bind(now)
        .execute(&mut *conn)
        .await?;
    new_token(conn, promoter, None, name, scopes, now).await
}

/// Forgets what signing in leaves behind: attempts that were made, and sessions that ended, before a moment; how many rows.
pub(super) async fn forget(pool: &PgPool, before: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let sign_ins = sqlx::query("delete from sign_ins where asked_at < $1").bind(before).execute(pool).await?.rows_affected();
    let sessions = sqlx::query("delete from sessions where coalesce(ended_at, expires_at) < $1").bind(before).execute(pool).await?.rows_affected();
    Ok(sign_ins + sessions)
}
