//! The bank of a buyer takes money back: a dispute. It is a refund that somebody else asked for: what it is about is suspended while it is undecided, is
//! gone when it is lost, and as before when it is won.

use sqlx::PgConnection;

use super::{Asked, Asking, Part, RefundError, RefundOutcome, RefundReason, plan, plan::Left, settle, store};
use crate::{
    app::App,
    audit::Actor,
    batcher::Busy,
    id::{OrderId, PaymentId},
    money::Money,
    orders,
    payments::{Heard, NotifyError, store as payments},
    postgres, webhooks,
};

/// A dispute as its provider tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// What the provider knows it by.
    pub provider_ref: String,
    /// How much the bank takes back.
    pub amount: Money,
    /// Whether nothing is taken yet: a bank that only asks.
    pub is_inquiry: bool,
    /// What became of it: nothing yet, lost, or won. Its provider signed that, and it does not change again.
    pub outcome: RefundOutcome,
}

/// Hears that the bank of a buyer takes money back, or of what became of that. Hearing it again has no further effect.
///
/// # Errors
/// [`NotifyError`].
pub async fn disputed(app: &App, payment: PaymentId, dispute: &Dispute, heard: &Heard) -> Result<(), NotifyError> {
    let Some(order) = payments::payment(&app.pools.work, payment).await?.map(|payment| payment.order_id) else { return Ok(()) };
    let key_hash = orders::short_hash(&[b"dispute", order.0.as_bytes(), dispute.provider_ref.as_bytes()]);
    let mut tx = app.pools.work.begin().await?;
    let Some(held) = orders::lock(&mut tx, order.festival(), &[order]).await?.pop() else { return Ok(()) };
    if let Some(known) = store::by_key(&mut tx, order, &key_hash).await? {
        drop(tx);
        if matches!(dispute.outcome, RefundOutcome::Pending { .. }) {
            return Ok(());
        }
        return settle::told(app, known.refund_id, known.round, Ok(dispute.outcome.clone()), Some(heard)).await.map_err(|trouble| {
            tracing::warn!(error = %trouble, refund = %known.refund_id, "what a provider told of a dispute could not be noted; it tells again");
            NotifyError::Busy(Busy::jittered())
        });
    }
    if dispute.is_inquiry {
        return Ok(());
    }
    let parts = parts(&mut tx, order, dispute.amount).await?;
    let asked = Asked {
        order_id: order,
        parts,
        kept_minor: 0,
        keep_fees: Some(false),
        currency: Some(dispute.amount.currency),
        reason: RefundReason::Disputed,
        note: "",
    };
    let fingerprint = orders::short_hash(&[dispute.provider_ref.as_bytes()]);
    let asking = Asking { asked: &asked, payment: Some(payment), actor: Actor::Provider, key_hash, fingerprint };
    match super::ask(app, &mut tx, &held, &asking, |_| Ok(())).await {
        Ok(refund) => {
            tracing::error!(order = %order, refund = %refund.refund_id, amount = dispute.amount.minor, "the bank of a buyer takes money back: a dispute");
            if refund.amount != dispute.amount {
                tracing::error!(refund = %refund.refund_id, left = refund.amount.minor, disputed = dispute.amount.minor, "it takes more than is left of the order");
            }
            store::at_provider(&mut tx, refund.refund_id, &dispute.provider_ref, app.clock.now() + settle::DISPUTE).await?;
            webhooks::record(&mut tx, order.festival(), "refund.disputed", &[refund.refund_id.0], app.clock.now()).await?;
            payments::insert_refund_event(&mut tx, heard, &refund, app.clock.now()).await?;
            postgres::commit(tx).await?;
            Ok(())
        }
        Err(RefundError::Database(error)) => Err(error.into()),
        // What went back already, or never was: the books of the provider show it, and somebody has to look.
        Err(error) => {
            tracing::error!(%error, order = %order, amount = dispute.amount.minor, "the bank of a buyer takes back what the order does not have");
            // What is being given back already would be given back twice: whoever decides it reads that.
            store::warn(&mut tx, order, payment, "the bank of the buyer disputes this payment and takes it back itself: do not pay it by hand").await?;
            postgres::commit(tx).await?;
            Ok(())
        }
    }
}

/// What a dispute is about: everything where it takes all that is left, else money alone, from the first line on. So is what is on a wrist.
async fn parts(conn: &mut PgConnection, order: OrderId, amount: Money) -> Result<Vec<Part>, sqlx::Error> {
    let left = plan::left(&mut *conn, order).await?;
    let is_on_a_wrist = plan::returnable(conn, order).await?.iter().any(|ticket| ticket.status == crate::tickets::TicketStatus::Exchanged);
    let all: i64 = left.iter().map(|left| left.minor).sum();
    Ok(if amount.minor >= all && !is_on_a_wrist { Vec::new() } else { money(&left, amount.minor.min(all)) })
}

/// So much money, from the first line on; pure.
fn money(left: &[Left], mut minor: i64) -> Vec<Part> {
    let mut parts = Vec::new();
    for left in left {
        let taken = minor.min(left.minor);
        if taken > 0 {
            parts.push(Part { line_no: left.line_no, component_no: Some(left.component_no), amount_minor: Some(taken), ..Part::default() });
            minor -= taken;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_taken_from_the_first_line_on() {
        let left = |line_no, component_no, minor| Left {
            line_no,
            component_no,
            has_tickets: true,
            release_id: None,
            is_fee: false,
            is_kept: false,
            tax_ppm: 0,
            units: 1,
            minor,
            tax_minor: 0,
        };
        let all = [left(1, 1, 1_000), left(1, 2, 0), left(2, 1, 500)];
        let of = |minor| money(&all, minor).into_iter().map(|part| (part.line_no, part.amount_minor.unwrap_or(0))).collect::<Vec<_>>();
        assert_eq!(of(300), [(1, 300)]);
        assert_eq!(of(1_200), [(1, 1_000), (2, 200)]);
        assert_eq!(of(0), []);
    }
}
