//! Every day what a provider says of the day before is held against what we say of it: what it captured and we do not know is applied, and what differs is
//! shown until somebody looked at it.

mod store;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use poem_openapi::{Enum, Object};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{
    Outcome, Providers, decided,
    provider::{Charged, Chronicle, Returned},
    refunds,
};
use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::Fault,
    festivals,
    id::{DifferenceId, FestivalId, PaymentAccountId, PaymentId},
    money::Money,
};

/// How long after its end a day is compared: what is undecided then is decided.
const AFTER: TimeDelta = TimeDelta::hours(3);
/// How many days back a comparison is made up for.
const BACK: i64 = 7;
/// How long a comparison has until another server begins it anew.
const LEASE: TimeDelta = TimeDelta::hours(1);
/// How long after it was made a refund may still be sent back by the bank of a fan.
const REFUNDS: TimeDelta = TimeDelta::days(30);
/// How far the clocks of a provider and of this house may lie apart, and how late a page of it may be made.
const EDGE: TimeDelta = TimeDelta::hours(1);

/// In what a provider and we differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum DifferenceKind {
    /// It captured a payment that we cannot take.
    PaymentOnlyThere,
    /// We have a payment as captured that it does not have.
    PaymentOnlyHere,
    /// It captured another amount.
    PaymentAmount,
    /// It gave money back that nobody asked for here: somebody did in its own pages.
    RefundOnlyThere,
}

impl DifferenceKind {
    /// Its name in JSON, rows and the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PaymentOnlyThere => "payment_only_there",
            Self::PaymentOnlyHere => "payment_only_here",
            Self::PaymentAmount => "payment_amount",
            Self::RefundOnlyThere => "refund_only_there",
        }
    }
}

/// Something that a provider says otherwise than we do.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Difference {
    /// Its id.
    pub difference_id: DifferenceId,
    /// The day that was compared (UTC).
    pub day: NaiveDate,
    /// In what.
    pub kind: DifferenceKind,
    /// What the provider knows it by.
    pub provider_ref: String,
    /// The payment that it is about.
    pub payment_id: PaymentId,
    /// The order of that payment.
    pub order_id: Option<crate::id::OrderId>,
    /// What we say.
    pub ours: Money,
    /// What the provider says.
    pub theirs: Money,
    /// When it was found.
    pub found_at: DateTime<Utc>,
}

/// A comparison of a day.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Comparison {
    /// The day (UTC).
    pub day: NaiveDate,
    /// When it was done.
    pub done_at: Option<DateTime<Utc>>,
    /// How many payments of the provider were compared.
    pub payments: i64,
    /// How many refunds.
    pub refunds: i64,
}

/// What is to be written down of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    kind: DifferenceKind,
    provider_ref: String,
    payment_id: PaymentId,
    ours: Money,
    theirs: Money,
}

/// Compares the days that are due, one account after the other; how many days were compared. Called by a worker.
///
/// # Errors
/// What the database said.
pub async fn compare_due(app: &App) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    let today = (now - AFTER).date_naive();
    let mut compared = 0;
    for (account, since) in store::accounts(&app.pools.work).await? {
        for back in (1..=BACK).rev() {
            let day = today - TimeDelta::days(back);
            if day < since.date_naive() || !store::claim(&app.pools.work, account, day, now, now - LEASE).await? {
                continue;
            }
            match compare(app, account, day).await {
                Ok((payments, refunds)) => {
                    store::done(&app.pools.work, account, day, payments, refunds, app.clock.now()).await?;
                    compared += 1;
                }
                Err(error) => tracing::warn!(%error, %account, %day, "a day could not be compared with its provider; it is tried again"),
            }
        }
    }
    Ok(compared)
}

/// Compares a day; how many payments and refunds of the provider there were.
async fn compare(app: &App, account: PaymentAccountId, day: NaiveDate) -> anyhow::Result<(i64, i64)> {
    let provider = app.the::<Providers>().find("stripe").ok_or_else(|| anyhow::anyhow!("no provider"))?;
    let begin = day.and_time(chrono::NaiveTime::MIN).and_utc();
    let end = begin + TimeDelta::days(1);
    let within = |at: DateTime<Utc>| begin <= at && at < end;
    let Chronicle { charged, returned } = provider.chronicle(app, account, (begin - EDGE, end + EDGE), (begin - REFUNDS, end)).await?;
    // What it captured and we do not know of is applied by the one function; after that it is compared.
    let named: Vec<PaymentId> = charged.iter().map(|c| c.payment_id).chain(returned.iter().map(|r| r.payment_id)).collect();
    let known = store::known(&app.pools.work, account, &named).await?;
    let returned: Vec<Returned> = returned.into_iter().filter(|r| known.contains_key(&r.payment_id)).collect();
    for charge in charged.iter().filter(|c| within(c.at) && known.get(&c.payment_id).is_some_and(|ours| !ours.is_captured)) {
        tracing::error!(payment = %charge.payment_id, "a payment was captured that we did not know of: found by the comparison of a day");
        decided(app, charge.payment_id, Outcome::Captured(Some(charge.amount)), None).await?;
    }
    let known = store::known(&app.pools.work, account, &named).await?;
    let ours = store::captured(&app.pools.work, account, begin, end).await?;
    let mut found = differences(&charged.iter().filter(|c| within(c.at)).cloned().collect::<Vec<_>>(), &charged, &known, &ours);
    found.extend(returned.iter().filter(|r| within(r.at)).filter_map(strange));
    store::insert(&app.pools.work, account, day, &found, app.clock.now()).await?;
    // What the bank of a fan sent back, and nobody told us.
    for (refund, payment) in returned.iter().filter(|r| r.is_failed).filter_map(|r| Some((r.refund_id?, r.payment_id))) {
        refunds::look_again(app, refund, payment).await;
    }
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    Ok((count(charged.iter().filter(|c| within(c.at) && known.contains_key(&c.payment_id)).count()), count(returned.iter().filter(|r| within(r.at)).count())))
}

/// A payment as we have it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ours {
    is_captured: bool,
    amount: Money,
}

/// What differs in payments: those of a day as the provider has them, and all that it has around it; pure.
fn differences(of_day: &[Charged], around: &[Charged], known: &HashMap<PaymentId, Ours>, ours: &[(PaymentId, String, Money)]) -> Vec<Found> {
    let mut found = Vec::new();
    for charge in of_day {
        let Some(ours) = known.get(&charge.payment_id) else { continue };
        let nothing = Money::new(0, charge.amount.currency);
        let (kind, amount) = match ours {
            ours if !ours.is_captured => (DifferenceKind::PaymentOnlyThere, nothing),
            ours if ours.amount != charge.amount => (DifferenceKind::PaymentAmount, ours.amount),
            _ => continue,
        };
        found.push(Found { kind, provider_ref: charge.provider_ref.clone(), payment_id: charge.payment_id, ours: amount, theirs: charge.amount });
    }
    let there: HashSet<PaymentId> = around.iter().map(|charge| charge.payment_id).collect();
    for (payment_id, provider_ref, amount) in ours.iter().filter(|(id, ..)| !there.contains(id)) {
        let theirs = Money::new(0, amount.currency);
        found.push(Found { kind: DifferenceKind::PaymentOnlyHere, provider_ref: provider_ref.clone(), payment_id: *payment_id, ours: *amount, theirs });
    }
    found
}

/// A refund of a provider that nobody asked for here; pure.
fn strange(returned: &Returned) -> Option<Found> {
    (returned.refund_id.is_none() && !returned.is_failed).then(|| Found {
        kind: DifferenceKind::RefundOnlyThere,
        provider_ref: returned.provider_ref.clone(),
        payment_id: returned.payment_id,
        ours: Money::new(0, returned.amount.currency),
        theirs: returned.amount,
    })
}

/// The differences of a festival that nobody looked at, oldest first, and the latest comparison of an account of its promoter.
///
/// # Errors
/// What the database said.
pub async fn open(conn: &mut PgConnection, festival: FestivalId) -> Result<(Vec<Difference>, Option<Comparison>), sqlx::Error> {
    Ok((store::open(&mut *conn, festival).await?, store::latest(conn, festival).await?))
}

/// Notes that somebody looked at a difference, and what they found. Doing it again changes nothing.
///
/// # Errors
/// [`Fault`].
pub async fn clear(app: &App, staff: &Staff, id: DifferenceId, note: &str) -> Result<(), Fault> {
    let (festival, now) = (id.festival(), app.clock.now());
    if note.trim().is_empty() {
        return Err(Fault::wrong("/note", "say what it was"));
    }
    if !staff.reaches(festival) {
        return Err(Fault::NotFound);
    }
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    if store::clear(&mut tx, id, note.trim(), now).await? {
        let (actor, object_id) = (staff.actor, id.to_string());
        let act = Act { festival, actor, action: "difference.cleared", object_kind: "difference", object_id, before: None, after: None };
        audit::record(&mut tx, act, now).await?;
        tx.commit().await?;
        return Ok(());
    }
    if store::is_there(&mut tx, id).await? { Ok(()) } else { Err(Fault::NotFound) }
}

/// What a difference is written down under.
fn fresh(found: &Found, now: DateTime<Utc>) -> Uuid {
    crate::id::fresh(found.payment_id.festival(), now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur(minor: i64) -> Money {
        Money::new(minor, "EUR".parse().unwrap())
    }

    fn payment(n: u128) -> PaymentId {
        PaymentId(Uuid::from_u128(n))
    }

    #[test]
    fn what_one_side_alone_has_and_other_amounts_are_found() {
        let charge = |n, minor| Charged { payment_id: payment(n), provider_ref: format!("cs_{n}"), amount: eur(minor), at: DateTime::UNIX_EPOCH };
        let known: HashMap<PaymentId, Ours> = [
            (payment(1), Ours { is_captured: true, amount: eur(100) }),
            (payment(2), Ours { is_captured: true, amount: eur(100) }),
            (payment(3), Ours { is_captured: false, amount: eur(100) }),
        ]
        .into();
        let ours = [
            (payment(1), "cs_1".to_owned(), eur(100)),
            (payment(2), "cs_2".to_owned(), eur(100)),
            (payment(4), "cs_4".to_owned(), eur(70)),
            (payment(5), "cs_5".to_owned(), eur(70)),
        ];
        let of_day = [charge(1, 100), charge(2, 90), charge(3, 100), charge(9, 100)];
        // What the provider has a minute after midnight is not missing.
        let around: Vec<Charged> = of_day.iter().cloned().chain([charge(5, 70)]).collect();
        let found = differences(&of_day, &around, &known, &ours);
        let said: Vec<_> = found.iter().map(|f| (f.kind, f.payment_id, f.ours.minor, f.theirs.minor)).collect();
        assert_eq!(
            said,
            [
                (DifferenceKind::PaymentAmount, payment(2), 100, 90),
                (DifferenceKind::PaymentOnlyThere, payment(3), 0, 100),
                (DifferenceKind::PaymentOnlyHere, payment(4), 70, 0),
            ]
        );
    }
}
