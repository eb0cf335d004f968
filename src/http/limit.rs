//! Rates: how often somebody may ask for something that is cheap to abuse. GCRA, by the `governor` crate.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use governor::{Quota, RateLimiter, clock::DefaultClock, state::keyed::DashMapStateStore};

use super::problem::{Problem, TOO_MANY};

/// Keys of one limit: the thing that is limited, hashed so that no address stays in memory.
type Keyed = RateLimiter<[u8; 16], DashMapStateStore<[u8; 16]>, DefaultClock>;

/// The limits of the house.
pub struct Limits {
    sign_in: Keyed,
    guess: Keyed,
    order: Keyed,
    place: Keyed,
    /// Who guessed too often, until when: whatever they try next is not looked at.
    guessers: Mutex<HashMap<[u8; 16], Instant>>,
}

/// How long somebody who guessed too often guesses no more.
const GUESSERS_WAIT: Duration = Duration::from_secs(60);

impl Default for Limits {
    fn default() -> Self {
        let an_hour = |n: u32| Quota::per_hour(NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN));
        let a_minute = |n: u32| Quota::per_minute(NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN));
        Self {
            sign_in: RateLimiter::keyed(an_hour(60).allow_burst(NonZeroU32::new(30).unwrap_or(NonZeroU32::MIN))),
            guess: RateLimiter::keyed(a_minute(300)),
            order: RateLimiter::keyed(Quota::per_second(NonZeroU32::new(2_000).unwrap_or(NonZeroU32::MIN))),
            guessers: Mutex::default(),
            place: RateLimiter::keyed(
                Quota::per_second(NonZeroU32::new(50).unwrap_or(NonZeroU32::MIN)).allow_burst(NonZeroU32::new(2_000).unwrap_or(NonZeroU32::MIN)),
            ),
        }
    }
}

/// What is limited.
#[derive(Clone, Copy, Debug)]
pub enum Limited {
    /// Sign-in emails that one address asks for: carriers share IPv4 addresses, so it is high.
    SignIn,
    /// Tries to guess a code.
    Guess,
    /// Orders that one address places: high, because whole cities share one IPv4 address.
    Order,
    /// Places in waiting rooms that one address takes: many people share one, and each of them takes one.
    Place,
}

impl Limits {
    /// Counts one use.
    ///
    /// # Errors
    /// A problem `too-many-requests` with the seconds to wait.
    pub fn count(&self, what: Limited, who: &Client) -> Result<(), Problem> {
        let limiter = match what {
            Limited::SignIn => &self.sign_in,
            Limited::Guess => &self.guess,
            Limited::Order => &self.order,
            Limited::Place => &self.place,
        };
        limiter.check_key(&who.key()).map_err(|not_until| {
            use governor::clock::{Clock as _, DefaultClock};
            let wait = not_until.wait_time_from(DefaultClock::default().now()).as_secs() + 1;
            if matches!(what, Limited::Guess) {
                self.guessers.lock().unwrap_or_else(PoisonError::into_inner).insert(who.key(), Instant::now() + GUESSERS_WAIT);
            }
            Problem { retry_after: Some(u32::try_from(wait).unwrap_or(60)), ..TOO_MANY.problem() }
        })
    }

    /// Whether somebody may try a code: not for a minute after they guessed too often, so that a right guess is not answered either.
    ///
    /// # Errors
    /// A problem `too-many-requests` with the seconds to wait.
    pub fn may_guess(&self, who: &Client) -> Result<(), Problem> {
        let until = self.guessers.lock().unwrap_or_else(PoisonError::into_inner).get(&who.key()).copied();
        match until.and_then(|until| until.checked_duration_since(Instant::now())) {
            Some(rest) => Err(Problem { retry_after: Some(u32::try_from(rest.as_secs() + 1).unwrap_or(60)), ..TOO_MANY.problem() }),
            None => Ok(()),
        }
    }

    /// Forgets keys that are back at their start; called by a worker.
    pub fn forget(&self) {
        self.sign_in.retain_recent();
        self.guess.retain_recent();
        self.order.retain_recent();
        self.place.retain_recent();
        self.guessers.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, until| *until > Instant::now());
    }
}

/// The address that a request came from, as the door read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client(pub IpAddr);

impl Client {
    /// The key of limits: an IPv4 address, or the /64 of an IPv6 address.
    #[must_use]
    pub fn key(self) -> [u8; 16] {
        match self.0 {
            IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
            IpAddr::V6(a) => {
                let mut octets = a.octets();
                octets[8..].fill(0);
                octets
            }
        }
    }

    /// The network of an address: /24 of IPv4, /48 of IPv6. Another key than that of the address.
    #[must_use]
    pub fn network(self) -> [u8; 16] {
        let mut octets = self.key();
        match self.0 {
            IpAddr::V4(_) => octets[15] = 0,
            IpAddr::V6(_) => octets[6..].fill(0),
        }
        octets[0] ^= 0xff;
        octets
    }
}
