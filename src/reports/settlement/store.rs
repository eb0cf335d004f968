//! The sums of the books.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection};

use crate::{id::FestivalId, money::Currency};

/// What moved on an account on a day; debit is positive.
#[derive(Debug, FromRow)]
pub(super) struct Moved {
    pub(super) day: NaiveDate,
    pub(super) account: String,
    pub(super) currency: Currency,
    pub(super) minor: i64,
}

/// What moved in the books of a festival by day in its zone and account, oldest first.
pub(super) async fn moved(
    conn: &mut PgConnection,
    festival: FestivalId,
    zone: &str,
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
) -> Result<Vec<Moved>, sqlx::Error> {
    sqlx::query_as(
        "select (j.at at time zone $2)::date as day, e.account, e.currency, sum(e.minor)::bigint as minor from journals j \
         join journal_entries e on e.festival_id = j.festival_id and e.journal_id = j.journal_id \
         where j.festival_id = $1 and ($3::timestamptz is null or j.at >= $3) and ($4::timestamptz is null or j.at < $4) group by 1, 2, 3 order by 1, 2, 3",
    )
    .bind(festival)
    .bind(zone)
    .bind(from)
    .bind(until)
    .fetch_all(conn)
    .await
}
