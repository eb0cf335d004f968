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
/// How many of them may fail on the way back.
const AGAIN: usize = 3;
/// How long after the rest the breaker is forgotten when nobody tried to pay.
const FORGOTTEN: TimeDelta = TimeDelta::minutes(2);
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
        match state.opened_at {
            None if failures >= FAILURES => state.open(now),
            // On the way back less is borne, but one failure among many is ordinary.
            Some(opened) if now - opened >= REST && (failures >= AGAIN || failures == state.calls.len()) && !good => state.open(now),
            Some(opened) if good && share(now - opened - REST) >= 1_000 => state.close(),
            _ => {}
        }
    }

    /// Whether the next buyer is let in: all of them, none, or a share that doubles while providers answer.
    pub fn lets_in(&self, now: DateTime<Utc>) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(opened) = state.opened_at else { return true };
        let rested = now - opened - REST;
        let share = share(rested);
        if share >= 1_000 && (state.calls.iter().any(|(_, good)| *good) || rested > FORGOTTEN) {
            state.close();
            return true;
        }
        state.asked += 1;
        // Nobody has tried to pay yet: half of the buyers, until one has.
        let share = share.min(500);
        state.asked * share / 1_000 > (state.asked - 1) * share / 1_000
    }

    /// Whether buyers are kept out, all or some.
    #[must_use]
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.opened_at.is_some_and(|opened| now - opened - REST <= FORGOTTEN)
    }
}

/// The share of the buyers that is let in so long after the rest, in a thousand.
fn share(rested: TimeDelta) -> u64 {
    if rested < TimeDelta::zero() {
        return 0;
    }
    FIRST << u32::try_from((rested.num_seconds() / STEP.num_seconds()).clamp(0, 10)).unwrap_or(0)
}

impl State {
    fn open(&mut self, now: DateTime<Utc>) {
        tracing::error!("payment providers fail: nothing new is sold until they answer");
        metrics::counter!("gatefold_breaker_opened_total").increment(1);
        self.opened_at = Some(now);
        self.calls.clear();
    }

    fn close(&mut self) {
        tracing::warn!("payment providers answer again");
        self.opened_at = None;
        self.asked = 0;
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
        assert!(breaker.is_open(at(30)));
        assert_eq!(share(&breaker, 40), 1_000);
        assert!(!breaker.is_open(at(40)));
    }

    #[test]
    fn who_can_pay_closes_it_and_time_does_when_nobody_tries() {
        let breaker = Breaker::default();
        (0..5).for_each(|second| breaker.note(false, at(second)));
        assert!(breaker.is_open(at(60)));
        breaker.note(true, at(60));
        assert!(!breaker.is_open(at(60)) && breaker.lets_in(at(60)));
        let breaker = Breaker::default();
        (0..5).for_each(|second| breaker.note(false, at(second)));
        assert!(!breaker.is_open(at(200)) && breaker.lets_in(at(200)));
    }

    #[test]
    fn a_failure_of_the_first_who_try_closes_the_door_again_and_one_among_many_does_not() {
        let breaker = Breaker::default();
        (0..5).for_each(|second| breaker.note(false, at(second)));
        assert_eq!(share(&breaker, 25), 200);
        breaker.note(false, at(25));
        assert_eq!(share(&breaker, 30), 0);
        (0..8).for_each(|_| breaker.note(true, at(42)));
        breaker.note(false, at(43));
        assert_eq!(share(&breaker, 43), 100);
    }

    #[test]
    fn old_failures_and_a_few_among_many_do_not_open_it() {
        let breaker = Breaker::default();
        (0..40).for_each(|i| breaker.note(i % 3 != 0, at(i)));
        assert!(!breaker.is_open(at(40)));
        let breaker = Breaker::default();
        (0..10).for_each(|i| breaker.note(false, at(i * 20)));
        assert!(!breaker.is_open(at(200)));
    }
}
