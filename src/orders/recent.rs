//! What was placed here a moment ago and is probably paid in a moment. Lines and units of an order are frozen when it is placed, so what
//! this process wrote it need not read again. Whatever is not here is read from the database.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use sqlx::PgConnection;

use super::{Line, Placed, store};
use crate::{
    app::App,
    id::{FestivalId, OrderId},
    offers::Taken,
};

/// The most orders that are kept.
const MOST: usize = 16_384;

/// The orders that this process placed last, until they are paid.
#[derive(Default)]
pub struct Recent(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    orders: HashMap<OrderId, (Vec<Line>, Vec<Taken>)>,
    by_age: VecDeque<OrderId>,
}

impl Recent {
    /// Keeps an order that was committed; a repeated answer has no units and is not kept.
    pub fn keep(&self, placed: &Placed) {
        if placed.units.is_empty() {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.orders.insert(placed.order_id, (placed.lines.clone(), placed.units.clone()));
        kept.by_age.push_back(placed.order_id);
        if kept.by_age.len() > MOST
            && let Some(oldest) = kept.by_age.pop_front()
        {
            kept.orders.remove(&oldest);
        }
    }

    /// Adds what is known of orders to lines and units; returns the orders that are not known.
    fn take(&self, orders: &[OrderId], lines: &mut Vec<(OrderId, Line)>, units: &mut Vec<Taken>) -> Vec<OrderId> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unknown = Vec::new();
        for order in orders {
            if let Some((of_order, taken)) = kept.orders.remove(order) {
                lines.extend(of_order.into_iter().map(|line| (*order, line)));
                units.extend(taken);
            } else {
                unknown.push(*order);
            }
        }
        unknown
    }
}

/// The lines of locked orders, and all units that they take.
///
/// # Errors
/// What the database said.
pub async fn what_they_take(
    app: &App,
    conn: &mut PgConnection,
    festival: FestivalId,
    orders: &[OrderId],
) -> Result<(Vec<(OrderId, Line)>, Vec<Taken>), sqlx::Error> {
    let (mut lines, mut units) = (Vec::new(), Vec::new());
    let unknown = app.the::<Recent>().take(orders, &mut lines, &mut units);
    if !unknown.is_empty() {
        lines.extend(store::lines(conn, festival, &unknown).await?);
        units.extend(store::allocations(conn, festival, &unknown).await?.into_iter().map(|(_, taken)| taken));
    }
    Ok((lines, units))
}
