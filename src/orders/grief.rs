//! Against holding for spite: how many holds somebody may have open, and how long they wait who let several run out. Kept in memory, by hashes;
//! each server judges by what it sees. Carriers and whole sites share an IPv4 address, so the bounds of addresses are high.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{HOLD, LONGEST};
use crate::id::OrderId;

/// Who holds: all of them count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// The key of the fan's address, or of their browser.
    pub fan: [u8; 16],
    /// The address they come from.
    pub address: [u8; 16],
    /// The network they come from: /24 of IPv4, /48 of IPv6.
    pub network: [u8; 16],
}

/// The most open holds of a fan.
const OF_FAN: usize = 6;
/// The most open holds behind an address.
const OF_ADDRESS: usize = 2_000;
/// The most open holds of a network.
const OF_NETWORK: usize = 8_000;
/// How many holds a fan may let run out within an hour before they wait.
const LAPSES: usize = 3;
/// The first wait; it doubles with every further hold that runs out.
const WAIT: TimeDelta = TimeDelta::minutes(1);
/// The longest wait.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(30);

/// What is held by whom.
#[derive(Default)]
pub struct OpenHolds(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    open: HashMap<[u8; 16], usize>,
    holders: HashMap<OrderId, Holder>,
    by_age: VecDeque<(DateTime<Utc>, OrderId)>,
    lapsed: HashMap<[u8; 16], VecDeque<DateTime<Utc>>>,
}

impl OpenHolds {
    /// Whether somebody may hold something more.
    ///
    /// # Errors
    /// The seconds to wait.
    pub fn may_hold(&self, who: &Holder, now: DateTime<Utc>) -> Result<(), u32> {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inside.forget(now);
        let count = |key: &[u8; 16]| inside.open.get(key).copied().unwrap_or(0);
        if count(&who.fan) >= OF_FAN || count(&who.address) >= OF_ADDRESS || count(&who.network) >= OF_NETWORK {
            return Err(60);
        }
        let Some(lapsed) = inside.lapsed.get(&who.fan).filter(|lapsed| lapsed.len() >= LAPSES) else { return Ok(()) };
        let doubled = u32::try_from(lapsed.len() - LAPSES).unwrap_or(0).min(5);
        let wait = (WAIT * (1 << doubled)).min(LONGEST_WAIT);
        let until = lapsed.back().copied().unwrap_or(now) + wait;
        if now < until { Err(u32::try_from((until - now).num_seconds() + 1).unwrap_or(60)) } else { Ok(()) }
    }

    /// Notes a hold.
    pub fn held(&self, order: OrderId, who: Holder, now: DateTime<Utc>) {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.holders.contains_key(&order) {
            return;
        }
        for key in [who.fan, who.address, who.network] {
            *inside.open.entry(key).or_default() += 1;
        }
        inside.by_age.push_back((now, order));
        inside.holders.insert(order, who);
    }

    /// Notes that an order was paid or given up: that is what holds are for.
    pub fn ended(&self, order: OrderId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).close(order);
    }
}

impl Inside {
    fn close(&mut self, order: OrderId) -> Option<Holder> {
        let holder = self.holders.remove(&order)?;
        for key in [holder.fan, holder.address, holder.network] {
            if let Some(count) = self.open.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.open.remove(&key);
                }
            }
        }
        Some(holder)
    }

    /// Closes what ran out. A hold that was extended is open for somebody a little shorter than it is held.
    fn forget(&mut self, now: DateTime<Utc>) {
        while let Some((at, order)) = self.by_age.front().copied().filter(|(at, _)| *at < now - HOLD) {
            self.by_age.pop_front();
            if let Some(holder) = self.close(order) {
                let lapsed = self.lapsed.entry(holder.fan).or_default();
                lapsed.push_back(at + HOLD);
                while lapsed.front().is_some_and(|at| *at < now - LONGEST) {
                    lapsed.pop_front();
                }
            }
        }
        if self.lapsed.len() > 100_000 {
            self.lapsed.retain(|_, lapsed| lapsed.back().is_some_and(|at| *at >= now - LONGEST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::FestivalId;

    fn at(minute: i64) -> DateTime<Utc> {
        "2026-03-03T20:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minute)
    }

    fn fan(n: u8) -> Holder {
        Holder { fan: [n; 16], address: [200; 16], network: [201; 16] }
    }

    fn hold(holds: &OpenHolds, n: u8, minute: i64) -> OrderId {
        let order = OrderId::fresh(FestivalId(1), at(minute));
        holds.held(order, fan(n), at(minute));
        order
    }

    #[test]
    fn a_fan_has_six_open_holds_and_paying_one_makes_room() {
        let holds = OpenHolds::default();
        let first = hold(&holds, 1, 0);
        for _ in 0..5 {
            hold(&holds, 1, 0);
        }
        assert_eq!(holds.may_hold(&fan(1), at(1)), Err(60));
        assert_eq!(holds.may_hold(&fan(2), at(1)), Ok(()), "a neighbor behind the same address");
        holds.ended(first);
        assert_eq!(holds.may_hold(&fan(1), at(1)), Ok(()));
    }

    #[test]
    fn who_lets_holds_run_out_waits_longer_and_longer_and_is_forgiven() {
        let holds = OpenHolds::default();
        for _ in 0..3 {
            hold(&holds, 1, 0);
        }
        // They ran out at minute ten: one minute, then two, then four.
        assert!(holds.may_hold(&fan(1), at(10) + TimeDelta::seconds(30)).is_err());
        assert_eq!(holds.may_hold(&fan(1), at(12)), Ok(()));
        hold(&holds, 1, 12);
        assert!(holds.may_hold(&fan(1), at(22) + TimeDelta::seconds(90)).is_err());
        assert_eq!(holds.may_hold(&fan(1), at(25)), Ok(()));
        hold(&holds, 1, 25);
        assert!(holds.may_hold(&fan(1), at(38)).is_err());
        assert_eq!(holds.may_hold(&fan(2), at(38)), Ok(()));
        assert_eq!(holds.may_hold(&fan(1), at(120)), Ok(()));
    }

    #[test]
    fn an_address_may_hold_what_a_crowd_behind_it_holds_and_no_more() {
        let holds = OpenHolds::default();
        for n in 0..OF_ADDRESS {
            let mut who = fan(0);
            who.fan[..8].copy_from_slice(&n.to_be_bytes());
            assert_eq!(holds.may_hold(&who, at(0)), Ok(()), "{n}");
            holds.held(OrderId::fresh(FestivalId(1), at(0)), who, at(0));
        }
        assert_eq!(holds.may_hold(&fan(9), at(1)), Err(60));
        let elsewhere = Holder { address: [7; 16], ..fan(9) };
        assert_eq!(holds.may_hold(&elsewhere, at(1)), Ok(()));
        assert_eq!(holds.may_hold(&fan(9), at(11)), Ok(()));
    }
}
