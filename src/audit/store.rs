//! The rows of the audit and its seals.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::Act;
use crate::id::{self, FestivalId};

pub(super) async fn insert(conn: &mut PgConnection, act: &Act<'_>, (actor_kind, actor_id): (&str, String), now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into audit (festival_id, audit_id, at, actor_kind, actor_id, action, object_kind, object_id, before, after) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(act.festival)
    .bind(id::fresh(act.festival, now))
    .bind(now)
    .bind(actor_kind)
    .bind(actor_id)
    .bind(act.action)
    .bind(act.object_kind)
    .bind(&act.object_id)
    .bind(&act.before)
    .bind(&act.after)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_all(conn: &mut PgConnection, acts: &[Act<'_>], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into audit (festival_id, audit_id, at, actor_kind, actor_id, action, object_kind, object_id, before, after) \
         select a.festival_id, a.audit_id, $3, a.actor_kind, a.actor_id, a.action, a.object_kind, a.object_id, a.before, a.after \
         from unnest($1::integer[], $2::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::jsonb[], $10::jsonb[]) \
              as a (festival_id, audit_id, actor_kind, actor_id, action, object_kind, object_id, before, after)",
    )
    .bind(acts.iter().map(|a| a.festival).collect::<Vec<_>>())
    .bind(acts.iter().map(|a| id::fresh(a.festival, now)).collect::<Vec<_>>())
    .bind(now)
    .bind(acts.iter().map(|a| a.actor.parts().0).collect::<Vec<_>>())
    .bind(acts.iter().map(|a| a.actor.parts().1).collect::<Vec<_>>())
    .bind(acts.iter().map(|a| a.action).collect::<Vec<_>>())
    .bind(acts.iter().map(|a| a.object_kind).collect::<Vec<_>>())
    .bind(acts.iter().map(|a| a.object_id.as_str()).collect::<Vec<_>>())
    .bind(acts.iter().map(|a| a.before.clone()).collect::<Vec<_>>())
    .bind(acts.iter().map(|a| a.after.clone()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn unsealed(pool: &PgPool, until: DateTime<Utc>) -> Result<Vec<FestivalId>, sqlx::Error> {
    sqlx::query_scalar(
        "select f.festival_id from festivals f where exists (select from audit a \
         where a.festival_id = f.festival_id and a.at < $1 and a.audit_id > coalesce((select s.last_audit_id from audit_seals s \
               where s.festival_id = f.festival_id order by s.seal_no desc limit 1), '00000000-0000-0000-0000-000000000000'))",
    )
    .bind(until)
    .fetch_all(pool)
    .await
}

/// The rows between two ids as the text that a seal hashes: the moment as a number, because how a session prints a moment
/// depends on its time zone, and whoever checks the seals has another than whoever made them.
async fn chained(
    conn: &mut PgConnection,
    festival: FestivalId,
    after: Uuid,
    to: Option<Uuid>,
    until: DateTime<Utc>,
) -> Result<Vec<(Uuid, String)>, sqlx::Error> {
    sqlx::query_as(
        "select audit_id, row(festival_id, audit_id, extract(epoch from at), actor_kind, actor_id, action, object_kind, object_id, before, after, request_id)::text \
         from audit where festival_id = $1 and audit_id > $2 and ($3::uuid is null or audit_id <= $3) and at < $4 order by audit_id limit 10000",
    )
    .bind(festival)
    .bind(after)
    .bind(to)
    .bind(until)
    .fetch_all(conn)
    .await
}

fn hash(previous: &[u8], rows: &[(Uuid, String)]) -> Vec<u8> {
    let mut sha = Sha256::new();
    sha.update(previous);
    for (_, row) in rows {
        sha.update(row.as_bytes());
        sha.update(b"\n");
    }
    sha.finalize().to_vec()
}

pub(super) async fn seal(conn: &mut PgConnection, festival: FestivalId, until: DateTime<Utc>, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let last: Option<(i64, Uuid, Vec<u8>)> =
        sqlx::query_as("select seal_no, last_audit_id, hash from audit_seals where festival_id = $1 order by seal_no desc limit 1")
            .bind(festival)
            .fetch_optional(&mut *conn)
            .await?;
    let (seal_no, after, previous) = last.unwrap_or((0, Uuid::nil(), Vec::new()));
    let rows = chained(conn, festival, after, None, until).await?;
    let Some((last_id, _)) = rows.last() else { return Ok(0) };
    sqlx::query(
        "insert into audit_seals (festival_id, seal_no, last_audit_id, rows_covered, hash, sealed_at) values ($1, $2, $3, $4, $5, $6) \
         on conflict do nothing",
    )
    .bind(festival)
    .bind(seal_no + 1)
    .bind(last_id)
    .bind(i32::try_from(rows.len()).unwrap_or(i32::MAX))
    .bind(hash(&previous, &rows))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(rows.len() as u64)
}

pub(super) async fn broken(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let seals: Vec<(FestivalId, i64, Uuid, i32, Vec<u8>)> =
        sqlx::query_as("select festival_id, seal_no, last_audit_id, rows_covered, hash from audit_seals order by festival_id, seal_no")
            .fetch_all(&mut *conn)
            .await?;
    let mut broken = 0;
    let (mut festival, mut after, mut previous) = (FestivalId(-1), Uuid::nil(), Vec::new());
    for (of, _, last, covered, sealed) in seals {
        if of != festival {
            (festival, after, previous) = (of, Uuid::nil(), Vec::new());
        }
        let rows = chained(conn, of, after, Some(last), DateTime::<Utc>::MAX_UTC).await?;
        if rows.len() != usize::try_from(covered).unwrap_or(0) || hash(&previous, &rows) != sealed {
            broken += 1;
        }
        (after, previous) = (last, sealed);
    }
    Ok(broken)
}
