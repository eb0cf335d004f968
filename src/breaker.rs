//! A circuit breaker (Nygard, *Release It!*): while payment providers fail nothing new is sold, because nobody could pay it; coming back is
//! gradual. Each server judges by what it sees itself.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

/// How many of the last calls are looked at.
const CALLS: usize = 10;
/// How many of them may fail.
const FAILURES: usize = 5;
/// How old a call may be to count.
const WINDOW: TimeDelta = TimeDelta::seconds(60);
/// How long nothing is tried.
const REST: TimeDelta = TimeDelta::seconds(15);
/// How long a share of the buyers is let in before it doubles.
const STEP: TimeDelta = TimeDelta::seconds(5);
/// The first share of the buyers that is let in, in a thousand.
const FIRST: u64 = 100;

/// The breaker of the payment providers.
#[derive(Default)]
pub struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    calls: VecDeque<(DateTime<Utc>, bool)>,
    opened_at: Option<DateTime<Utc>>,
    asked: u64,
}

impl Breaker {
    /// Notes how a call to a provider went.
    pub fn note(&self, good: bool, now: DateTime<Utc>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.calls.push_back((now, good));
        while state.calls.len() > CALLS || state.calls.front().is_some_and(|(at, _)| *at < now - WINDOW) {
            state.calls.pop_front();
        }
        let failures = state.calls.iter().filter(|(_, good)| !good).count();
        let is_open = state.opened_at.is_some();
        if !good && (is_open || failures >= FAILURES) {
            // One failure among the first who are let in is enough to rest again.
            if state.opened_at.is_none_or(|opened| now - opened >= REST) {
                tracing::error!(failures, "payment providers fail: nothing new is sold until they answer");
                metrics::counter!("gatefold_breaker_opened_total").increment(1);
                state.opened_at = Some(now);
                state.calls.clear();
            }
        }
    }

    /// Whether the next buyer is let in: all of them, none, or a share that doubles while providers answer.
    pub fn lets_in(&self, now: DateTime<Utc>) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(opened) = state.opened_at else { return true };
        let rested = now - opened - REST;
        if rested < TimeDelta::zero() {
            return false;
        }
        let doubled = u32::try_from((rested.num_seconds() / STEP.num_seconds()).clamp(0, 10)).unwrap_or(0);
        let share = FIRST << doubled;
        if share >= 1_000 {
            if state.calls.iter().any(|(_, good)| *good) {
                tracing::warn!("payment providers answer again");
                state.opened_at = None;
                return true;
            }
            // Nobody has tried yet: half of the buyers, until one has.
            state.asked += 1;
            return state.asked.is_multiple_of(2);
        }
        state.asked += 1;
        state.asked * share / 1_000 > (state.asked - 1) * share / 1_000
    }

    /// Whether buyers are kept out, all or some.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).opened_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        "2026-03-03T20:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(second)
    }

    fn share(breaker: &Breaker, second: i64) -> usize {
        (0..1_000).filter(|_| breaker.lets_in(at(second))).count()
    }

    #[test]
    fn it_opens_after_five_failures_and_comes_back_by_doubling_shares() {
        let breaker = Breaker::default();
        for second in 0..4 {
            breaker.note(false, at(second));
            assert!(breaker.lets_in(at(second)));
        }
        breaker.note(false, at(4));
        assert_eq!((share(&breaker, 4), share(&breaker, 18)), (0, 0));
        assert_eq!(share(&breaker, 20), 100);
        breaker.note(true, at(20));
        assert_eq!((share(&breaker, 25), share(&breaker, 30)), (200, 400));
        assert!(breaker.is_open());
        assert_eq!(share(&breaker, 40), 1_000);
        assert!(!breaker.is_open());
    }

    #[test]
    fn one_failure_on_the_way_back_closes_the_door_again() {
        let breaker = Breaker::default();
        (0..5).for_each(|second| breaker.note(false, at(second)));
        assert_eq!(share(&breaker, 25), 200);
        breaker.note(false, at(25));
        assert_eq!(share(&breaker, 30), 0);
    }

    #[test]
    fn old_failures_and_a_few_among_many_do_not_open_it() {
        let breaker = Breaker::default();
        (0..40).for_each(|i| breaker.note(i % 3 != 0, at(i)));
        assert!(!breaker.is_open());
        let breaker = Breaker::default();
        (0..10).for_each(|i| breaker.note(false, at(i * 20)));
        assert!(!breaker.is_open());
    }
}
