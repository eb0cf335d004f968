//! The books: double entry, one journal a batch (10-rules 19). An entry is an account and a sum; debit is positive, and the entries of a journal
//! add up to zero in each currency. Captures and refunds name their journal.

mod store;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    id::{self, FestivalId, OrderId, ReleaseId},
    money::{Currency, Money},
};

pub use store::{due_festivals, look_at, put_off, take_due};

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// Money that a payment provider has for us.
    Clearing(String),
    /// What the promoter is owed, without tax.
    Promoter,
    /// What the tax office is owed, by rate in parts per million.
    Tax(u32),
    /// What the holders of the rights in a release are owed, without tax.
    Rights(ReleaseId),
    /// What the house takes for selling, without tax.
    Fee,
    /// Money that goes back to its buyer.
    Owed,
    /// What the promoter keeps of what was returned.
    Kept,
    /// What the promoter paid back themselves, outside a provider.
    Hand,
}

impl Account {
    /// Its name in the books.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Clearing(provider) => format!("clearing:{provider}"),
            Self::Promoter => "promoter".to_owned(),
            Self::Tax(ppm) => format!("tax:{ppm}"),
            Self::Rights(release) => format!("rights:{release}"),
            Self::Fee => "fee".to_owned(),
            Self::Owed => "owed".to_owned(),
            Self::Kept => "kept".to_owned(),
            Self::Hand => "by_hand".to_owned(),
        }
    }
}

/// What a journal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum JournalKind {
    /// Orders that became paid.
    Sale,
    /// Money that came for an order that could not be had any more.
    Late,
    /// Money that went back, or came again because a bank refused it.
    Refund,
    /// What was sold is returned, and its money is owed to the buyer.
    Returned,
    /// A return was taken back.
    Withdrawn,
}

/// The sums of a batch by account, before they are written.
#[derive(Clone, Debug, Default)]
pub struct Journal(BTreeMap<(Account, Currency), i64>);

impl Journal {
    /// Adds to an account: debit is positive.
    pub fn debit(&mut self, account: Account, amount: Money) {
        *self.0.entry((account, amount.currency)).or_default() += amount.minor;
    }

    /// Takes from an account.
    pub fn credit(&mut self, account: Account, amount: Money) {
        self.debit(account, Money::new(-amount.minor, amount.currency));
    }

    /// Whether nothing moves.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(|minor| *minor == 0)
    }

    /// The same the other way round.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self(self.0.into_iter().map(|(key, minor)| (key, -minor)).collect())
    }

    /// Whether the entries add up to zero in each currency.
    #[must_use]
    pub fn balances(&self) -> bool {
        let mut sums: BTreeMap<Currency, i64> = BTreeMap::new();
        for ((_, currency), minor) in &self.0 {
            *sums.entry(*currency).or_default() += minor;
        }
        sums.values().all(|sum| *sum == 0)
    }
}

/// Orders whose documents are to be looked at: a row a journal that is about some, gone when it was done.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Due {
    /// The festival.
    pub festival_id: FestivalId,
    /// Its id, by which entries are taken in their order.
    pub due_id: Uuid,
    /// The orders.
    pub order_ids: Vec<OrderId>,
}

/// The id of a journal that is to be written.
#[must_use]
pub fn fresh(festival: FestivalId, now: DateTime<Utc>) -> Uuid {
    id::fresh(festival, now)
}

/// Writes a journal with its entries; joins the transaction that it speaks of. Two statements, whatever its size. The documents of the orders that it is
/// `about` are looked at behind it, where their festival writes invoices.
///
/// # Errors
/// What the database said.
pub async fn record(
    conn: &mut PgConnection,
    festival: FestivalId,
    id: Uuid,
    kind: JournalKind,
    journal: &Journal,
    about: &[OrderId],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    debug_assert!(journal.balances(), "a journal balances: {journal:?}");
    store::insert(conn, festival, id, kind, about, now).await?;
    let entries: Vec<(String, &Currency, i64)> = journal.0.iter().filter(|(_, minor)| **minor != 0).map(|((a, c), minor)| (a.name(), c, *minor)).collect();
    if entries.is_empty() { Ok(()) } else { store::insert_entries(conn, festival, id, &entries).await }
}
