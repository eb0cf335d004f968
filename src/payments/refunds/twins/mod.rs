//! The same bought twice: noticed before the second one is paid, and handed back for a day when it was paid all the same.

mod store;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgPool};

use super::{Asked, Refund, RefundError, RefundReason, RefundStatus};
use crate::{
    app::App,
    audit::Actor,
    id::{OfferId, OrderId},
    orders::{self, OrderStatus},
    postgres,
};

/// How far apart two orders of one address are taken for one that was bought twice.
pub const APART: TimeDelta = TimeDelta::minutes(30);
/// How long after it was paid the second one can be handed back.
pub const HANDED_BACK: TimeDelta = TimeDelta::hours(24);

/// An order with what is compared of it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
struct Compared {
    order_id: OrderId,
    placed_at: DateTime<Utc>,
    paid_at: Option<DateTime<Utc>>,
    /// Offers and their units, each offer once.
    #[sqlx(skip)]
    units: Vec<(OfferId, i64)>,
}

impl Compared {
    /// Whether both are the same, and this one was paid before the other.
    fn is_first_of(&self, other: &Self) -> bool {
        self.units == other.units && (self.paid_at, self.order_id) < (other.paid_at, other.order_id)
    }
}

/// Whether the address of an order paid for one of its offers within half an hour of it.
///
/// # Errors
/// What the database said.
pub async fn is_bought_already(pool: &PgPool, order: OrderId) -> Result<bool, sqlx::Error> {
    store::is_bought_already(pool, order, APART).await
}

/// The order that an order is the exact twin of, if it can be handed back now: the same offers and units of the same address within half an hour, paid
/// before; nothing of this one was used, taken by its holder or heard; and it was paid in the last day.
///
/// # Errors
/// What the database said.
pub async fn twin_of(pool: &PgPool, order: OrderId, now: DateTime<Utc>) -> Result<Option<OrderId>, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let (Some(own), others) = store::near(&mut conn, order, APART).await? else { return Ok(None) };
    let Some(first) = others.iter().find(|other| other.is_first_of(&own)) else { return Ok(None) };
    let is_fresh = own.paid_at.is_some_and(|paid| now <= paid + HANDED_BACK);
    Ok(if is_fresh && store::is_untouched(&mut conn, order).await? { Some(first.order_id) } else { None })
}

/// Hands back an order that was bought twice, for whoever has its link: all of its money goes back. Asking again gets the same refund.
///
/// # Errors
/// [`RefundError`]; [`RefundError::NoTwin`] when it is none, or not any more.
pub async fn give_back(app: &App, id: OrderId, secret: &str) -> Result<Refund, RefundError> {
    let held = orders::held(&app.pools.web, id).await?.filter(|order| order.is_link(app, secret)).ok_or(RefundError::NotFound)?;
    // The other one is locked, too: nobody gives it back meanwhile.
    let other = twin_of(&app.pools.work, id, app.clock.now()).await?;
    let mut tx = app.pools.web.begin().await?;
    let both: Vec<OrderId> = other.into_iter().chain([held.order_id]).collect();
    let order = orders::lock(&mut tx, id.festival(), &both).await?.into_iter().find(|order| order.order_id == id).ok_or(RefundError::NotFound)?;
    // One that was withdrawn can be asked for anew.
    let withdrawn = super::by_order(&mut tx, id).await?.iter().filter(|refund| refund.status == RefundStatus::Withdrawn).count();
    let key_hash = orders::short_hash(&[b"twin", id.0.as_bytes(), withdrawn.to_string().as_bytes()]);
    if let Some(same) = super::store::by_key(&mut tx, id, &key_hash).await? {
        return Ok(same);
    }
    // Both may be handed back at once: the one that was paid first stays.
    if order.status != OrderStatus::Paid || twin_of(&app.pools.work, id, app.clock.now()).await?.is_none() {
        return Err(RefundError::NoTwin);
    }
    let asked = Asked { order_id: id, parts: Vec::new(), kept_minor: 0, keep_fees: Some(false), currency: None, reason: RefundReason::Mistake, note: "" };
    let asking = super::Asking { asked: &asked, payment: None, actor: Actor::Fan, key_hash, fingerprint: key_hash };
    let refund = super::ask(app, &mut tx, &order, &asking, |plan| if plan.used > 0 { Err(RefundError::NoTwin) } else { Ok(()) }).await?;
    postgres::commit(tx).await?;
    Ok(refund)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn order(no: u128, paid: i64, units: &[(u128, i64)]) -> Compared {
        Compared {
            order_id: OrderId(Uuid::from_u128(no)),
            placed_at: DateTime::UNIX_EPOCH,
            paid_at: Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(paid)),
            units: units.iter().map(|(offer, units)| (OfferId(Uuid::from_u128(*offer)), *units)).collect(),
        }
    }

    #[test]
    fn the_second_of_two_alike_is_the_twin_and_never_both() {
        let (first, second) = (order(1, 5, &[(7, 2)]), order(2, 9, &[(7, 2)]));
        assert!(first.is_first_of(&second) && !second.is_first_of(&first));
        // Paid in the same moment: one of them is first.
        let (one, other) = (order(1, 5, &[(7, 2)]), order(2, 5, &[(7, 2)]));
        assert_ne!(one.is_first_of(&other), other.is_first_of(&one));
        assert!(!first.is_first_of(&order(2, 9, &[(7, 3)])) && !first.is_first_of(&order(2, 9, &[(7, 2), (8, 1)])));
    }
}
