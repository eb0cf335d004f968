//! Whether tickets of a festival may be passed on, and until when; pure but for reading it.

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::Object;
use sqlx::{FromRow, PgConnection};

use super::store;
use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::Fault,
    festivals::{self, Day},
    id::FestivalId,
    tickets::Ticket,
};

/// The rule by which tickets are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none)]
pub struct TransferRule {
    /// Whether tickets may be passed on at all.
    pub open: bool,
    /// How many hours before a ticket first opens a gate that ends. Without hours it ends when the ticket opens none any more.
    #[oai(validator(minimum(value = "0"), maximum(value = "8760")))]
    pub hours_before: Option<i32>,
}

/// Until when a ticket may be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Not at all.
    Closed,
    /// Until a moment.
    At(DateTime<Utc>),
    /// Its festival has no days yet.
    Never,
}

impl Ends {
    /// Whether it may be passed on at a moment.
    #[must_use]
    pub fn is_open(self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Closed => false,
            Self::At(end) => now < end,
            Self::Never => true,
        }
    }
}

/// Until when a ticket for some days may be passed on; what is for no day in particular goes by all of them.
fn ends(rule: TransferRule, days: &[Day], day_mask: i32) -> Ends {
    if !rule.open {
        return Ends::Closed;
    }
    let opens = |day: &&Day| day_mask == 0 || day_mask & (1 << day.day_index.clamp(0, 15)) != 0;
    let own = || days.iter().filter(opens);
    let end = match rule.hours_before {
        Some(hours) => own().map(|day| day.opens_at - TimeDelta::hours(i64::from(hours))).min(),
        None => own().map(|day| day.closes_at).max(),
    };
    end.map_or(Ends::Never, Ends::At)
}

/// Until when a ticket may be passed on.
///
/// # Errors
/// What the database said.
pub async fn ends_at(app: &App, ticket: &Ticket) -> Result<Ends, sqlx::Error> {
    let festival = ticket.ticket_id.festival();
    let mut conn = app.pools.web.acquire().await?;
    let rule = store::rule(&mut conn, festival).await?;
    drop(conn);
    Ok(ends(rule, &festivals::days(&app.pools.web, festival).await?, ticket.day_mask))
}

/// The rule of a festival.
///
/// # Errors
/// What the database said.
pub async fn rule(conn: &mut PgConnection, festival: FestivalId) -> Result<TransferRule, sqlx::Error> {
    store::rule(conn, festival).await
}

/// Sets the rule. What is on its way can be taken while the new one allows it.
///
/// # Errors
/// [`Fault`].
pub async fn set_rule(app: &App, staff: &Staff, festival: FestivalId, rule: TransferRule) -> Result<(), Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let before = store::rule(&mut tx, festival).await?;
    if before == rule {
        return Ok(());
    }
    store::set_rule(&mut tx, festival, rule).await?;
    let said = |rule: TransferRule| serde_json::json!({ "open": rule.open, "hours_before": rule.hours_before });
    let (action, object_kind, object_id) = ("transfer_rule.set", "festival", festival.0.to_string());
    audit::record(&mut tx, Act { festival, actor: staff.actor, action, object_kind, object_id, before: Some(said(before)), after: Some(said(rule)) }, now)
        .await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Text;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn it_ends_before_the_first_day_of_a_ticket_or_with_its_last() {
        let day = |index, opens: &str, closes: &str| Day { day_index: index, name: Text::default(), opens_at: at(opens), closes_at: at(closes) };
        let days = [day(0, "2026-06-19T12:00:00Z", "2026-06-20T03:00:00Z"), day(1, "2026-06-20T11:00:00Z", "2026-06-21T03:00:00Z")];
        let open = |hours_before| TransferRule { open: true, hours_before };
        assert_eq!(ends(open(None), &days, 0b11), Ends::At(at("2026-06-21T03:00:00Z")));
        assert_eq!(ends(open(None), &days, 0b01), Ends::At(at("2026-06-20T03:00:00Z")));
        assert_eq!(ends(open(Some(24)), &days, 0b11), Ends::At(at("2026-06-18T12:00:00Z")));
        assert_eq!(ends(open(Some(0)), &days, 0b10), Ends::At(at("2026-06-20T11:00:00Z")));
        assert_eq!(ends(open(Some(24)), &days, 0), Ends::At(at("2026-06-18T12:00:00Z")), "parking goes by the festival");
        assert_eq!(ends(open(Some(24)), &[], 0b11), Ends::Never);
        assert_eq!(ends(TransferRule { open: false, hours_before: None }, &days, 0b11), Ends::Closed);
        let end = Ends::At(at("2026-06-18T12:00:00Z"));
        assert!(end.is_open(at("2026-06-18T11:59:59Z")) && !end.is_open(at("2026-06-18T12:00:00Z")) && Ends::Never.is_open(at("2030-01-01T00:00:00Z")));
    }
}
