//! The rows of promoters, members, tokens and sessions.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection, FromRow, PgConnection, PgPool};

use super::{Role, Scope, Staff, email_key};
use crate::{
    app::App,
    audit::Actor,
    id::{FestivalId, MemberId, PromoterId, SignInId, TokenId},
    secrets,
    words::Language,
};

/// The prefix of API tokens.
pub const TOKEN: &str = "gf_live_";

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

/// Whether a festival is the promoter's.
pub(super) async fn runs(conn: &mut PgConnection, promoter: PromoterId, festival: FestivalId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from festivals where festival_id = $1 and promoter_id = $2)").bind(festival).bind(promoter).fetch_one(conn).await
}

/// The name of a promoter.
///
/// # Errors
/// What the database said.
pub async fn promoter_name(app: &App, promoter: PromoterId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select name from promoters where promoter_id = $1").bind(promoter).fetch_optional(&app.pools.web).await
}

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
