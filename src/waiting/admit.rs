//! How many are let in next; pure, so it is tested by whole openings.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Step, steps::SETTLE};
use crate::offers::Availability;

/// The pace of the first second.
const FIRST: f64 = 100.0;
/// The fastest pace: what this house sells in a second on two cores.
const FASTEST: f64 = 2_500.0;
/// The slowest pace while there is something to sell.
const SLOWEST: f64 = 5.0;
/// The longest wait of an order at which the house still has breath.
const BREATH: Duration = Duration::from_millis(250);
/// How many of those who have had the time to order and have not will do so still.
const STILL: f64 = 0.25;
/// The most people at once who have their turn and have not ordered.
const INSIDE: i64 = 20_000;

/// Everything that the next step depends on.
pub(super) struct Scene<'a> {
    pub(super) now: DateTime<Utc>,
    /// When the draw was.
    pub(super) opens_at: DateTime<Utc>,
    pub(super) last: Option<&'a Step>,
    /// The step at which turns began that are over now.
    pub(super) turn_ago: Option<&'a Step>,
    /// The step before which turns began of people who have had the time to order.
    pub(super) while_ago: Option<&'a Step>,
    pub(super) gathered: i64,
    /// Who came since everybody before was admitted, by second.
    pub(super) joins: &'a [(DateTime<Utc>, i64)],
    /// Orders since the step before.
    pub(super) placed: i64,
    /// Units that are free; nothing when there is no bound.
    pub(super) left: Option<i64>,
    pub(super) longest_wait: Duration,
    pub(super) availability: Availability,
}

/// The next step: faster by a quarter while orders are answered at once, half as fast when they are not; never more people inside than there
/// is to sell, and some more, because some leave.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts of people are far below 2^52")]
pub(super) fn admit(scene: &Scene<'_>) -> Step {
    let beginning = Step {
        at: scene.now - TimeDelta::seconds(1),
        draws_at: scene.opens_at,
        free: scene.left,
        gathered: scene.gathered,
        drawn: if scene.gathered == 0 { 1.0 } else { 0.0 },
        joined_before: scene.opens_at,
        admitted: 0,
        placed: 0,
        waiting: scene.gathered,
        per_second: FIRST,
        availability: scene.availability,
    };
    let last = scene.last.unwrap_or(&beginning);
    let pace = match scene.left {
        // While there is nothing to sell nothing is learned about the house.
        Some(0) => last.per_second,
        _ if scene.longest_wait > BREATH => last.per_second / 2.0,
        _ => last.per_second * 1.25,
    };
    let per_second = pace.clamp(SLOWEST, FASTEST);
    let seconds = (scene.now - last.at).num_milliseconds().clamp(0, 2_000) as f64 / 1_000.0;
    let placed = last.placed + scene.placed;
    let (admitted_ago, placed_ago) = scene.turn_ago.map_or((0, 0), |step| (step.admitted, step.placed));
    let inside = ((last.admitted - admitted_ago) - (placed - placed_ago)).max(0);
    // Who orders does so soon: those who have not after a while do not hold up everybody else for the rest of their turn.
    let idle = (scene.while_ago.map_or(0, |step| step.admitted) - placed.max(admitted_ago)).clamp(0, inside);
    let inside = inside - (idle as f64 * (1.0 - STILL)).round() as i64;
    // Of those inside as many will order as did of those whose turn is over.
    let share = if admitted_ago >= 100 { (placed as f64 / admitted_ago as f64).clamp(0.1, 1.0) } else { 1.0 };
    let inside = (inside as f64 * share).round() as i64;
    let room = scene.left.map_or(INSIDE, |left| if left > 0 { left + left / 4 + 10 } else { 0 }).min(INSIDE) - inside;
    let mut may = ((per_second * seconds).round() as i64).min(room).max(0);
    let mut next = Step { at: scene.now, placed, per_second, free: scene.left, availability: scene.availability, ..last.clone() };

    // First those who gathered, by their rank.
    let undrawn = (scene.gathered as f64 * (1.0 - last.drawn)).round() as i64;
    let drawn = may.min(undrawn);
    if undrawn > 0 {
        next.drawn = if drawn == undrawn { 1.0 } else { (last.drawn + drawn as f64 / scene.gathered as f64).min(1.0) };
    }
    next.admitted += drawn;
    may -= drawn;
    // Then those who came later, in the order of coming, as far as all servers have counted.
    let settled = (scene.now - SETTLE).max(scene.opens_at);
    let mut later = 0;
    let mut reached = last.joined_before;
    let mut all = next.drawn >= 1.0;
    for (second, joined) in scene.joins.iter().filter(|(second, _)| *second + TimeDelta::seconds(1) > last.joined_before) {
        let (from, to) = ((*second).max(last.joined_before), (*second + TimeDelta::seconds(1)).min(settled.max(last.joined_before)));
        if to <= from {
            later += joined;
            continue;
        }
        // Of a second that was begun, what is left of it.
        let share = (*second + TimeDelta::seconds(1) - from).num_milliseconds() as f64 / 1_000.0;
        let here = (*joined as f64 * share).round() as i64;
        if all && here <= may {
            may -= here;
            next.admitted += here;
            reached = to;
        } else if all {
            // The threshold has steps of a millisecond: who came within one is let in together, and counted.
            let span = (to - from).num_milliseconds();
            let part = (span as f64 * may as f64 / here.max(1) as f64).ceil().min(span as f64);
            let into = (here as f64 * part / span.max(1) as f64).round() as i64;
            reached = from + TimeDelta::milliseconds(part as i64);
            next.admitted += into;
            later += here - into;
            may = 0;
            all = false;
        } else {
            later += here;
        }
    }
    // Nobody waits: who comes now goes straight through, where there is something to sell.
    if all && may > 0 && later == 0 {
        reached = reached.max(settled);
    }
    next.joined_before = reached.max(last.joined_before);
    next.waiting = undrawn - drawn + later;
    next
}

#[cfg(test)]
mod tests {
    #![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts of people are far below 2^52")]

    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        "2026-03-03T20:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(second)
    }

    /// Plays an opening second by second: who orders of those inside, how slow the house is.
    fn play(gathered: i64, later: &[i64], mut left: i64, slow: bool, seconds: i64) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for now in 2..seconds {
            let from = steps.last().map_or(at(0), |s| s.joined_before);
            let joins: Vec<(DateTime<Utc>, i64)> =
                (0_i64..).zip(later).map(|(s, n)| (at(s), *n)).filter(|(s, n)| *s <= at(now) && *n > 0 && *s + TimeDelta::seconds(1) > from).collect();
            let inside = steps.last().map_or(0, |s| s.admitted - s.placed);
            let placed = (inside / 10).min(left);
            left -= placed;
            let scene = Scene {
                now: at(now),
                opens_at: at(0),
                last: steps.last(),
                turn_ago: None,
                while_ago: None,
                gathered,
                joins: &joins,
                placed,
                left: Some(left),
                longest_wait: if slow { Duration::from_secs(1) } else { Duration::ZERO },
                availability: Availability::OnSale,
            };
            steps.push(admit(&scene));
        }
        steps
    }

    #[test]
    fn a_crowd_is_let_in_faster_and_faster_and_all_of_it() {
        let steps = play(10_000, &[50; 30], 100_000, false, 60);
        assert!(steps[1].per_second > steps[0].per_second);
        let last = steps.last().unwrap();
        assert_eq!((last.waiting, last.drawn), (0, 1.0));
        assert_eq!(last.admitted, 10_000 + 30 * 50);
        // Nobody who came later is let in before the last of those who gathered.
        assert!(steps.iter().all(|s| s.drawn >= 1.0 || s.joined_before == at(0)));
    }

    #[test]
    fn a_house_without_breath_lets_in_slowly_and_never_stops() {
        let steps = play(10_000, &[], 100_000, true, 60);
        let last = steps.last().unwrap();
        assert!((last.per_second - SLOWEST).abs() < 0.01 && last.admitted > 0 && last.admitted < 1_000, "{last:?}");
    }

    #[test]
    fn nobody_is_let_in_to_an_empty_shelf() {
        let steps = play(1_000, &[], 0, false, 30);
        assert_eq!(steps.last().unwrap().admitted, 0);
        assert_eq!(steps.last().unwrap().waiting, 1_000);
    }

    #[test]
    fn who_comes_when_nobody_waits_goes_straight_through() {
        let steps = play(0, &[], 100, false, 30);
        assert_eq!(steps.last().unwrap().joined_before, at(29) - SETTLE);
    }

    #[test]
    fn people_who_do_not_order_hold_up_the_others_for_a_while_and_not_for_their_whole_turn() {
        let mut steps: Vec<Step> = Vec::new();
        for now in 2..600 {
            let ago = |seconds: i64| steps.iter().take_while(|step| step.at <= at(now - seconds)).last();
            let scene = Scene {
                now: at(now),
                opens_at: at(0),
                last: steps.last(),
                turn_ago: ago(900),
                while_ago: ago(180),
                gathered: 5_000,
                joins: &[],
                placed: 0,
                left: Some(100),
                longest_wait: Duration::ZERO,
                availability: Availability::OnSale,
            };
            steps.push(admit(&scene));
        }
        let after = |seconds: i64| steps.iter().take_while(|step| step.at <= at(seconds)).last().map_or(0, |step| step.admitted);
        assert_eq!((after(10), after(150)), (135, 135), "as many as there is to sell, and some");
        assert!(after(240) > 200 && after(599) > 300, "{} {}", after(240), after(599));
        assert!(after(599) < 800, "not everybody: {}", after(599));
    }

    proptest! {
        /// Whatever comes: thresholds only move forward, nobody is admitted twice or lost, no more inside than there is to sell and some.
        #[test]
        fn thresholds_move_forward_and_counts_add_up(
            gathered in 0_i64..3_000, later in proptest::collection::vec(prop_oneof![0_i64..300, 0_i64..6_000], 0..40), left in 0_i64..5_000, slow: bool, seconds in 3_i64..90,
        ) {
            let steps = play(gathered, &later, left, slow, seconds);
            for pair in steps.windows(2) {
                prop_assert!(pair[1].drawn >= pair[0].drawn && pair[1].joined_before >= pair[0].joined_before && pair[1].admitted >= pair[0].admitted);
            }
            let last = steps.last().unwrap();
            prop_assert!(last.joined_before <= (at(seconds - 1) - SETTLE).max(at(0)));
            let came: i64 = gathered + later.iter().take(usize::try_from(seconds).unwrap()).sum::<i64>();
            // Seconds that were begun are counted by their share: one person a second of rounding.
            prop_assert!((last.admitted + last.waiting - came).abs() <= seconds, "{} + {} of {came}", last.admitted, last.waiting);
            prop_assert!(last.admitted <= came + seconds);
            // Whoever is counted as let in is let in: by rank, or because they came before the threshold.
            let drawn = (gathered as f64 * last.drawn).round() as i64;
            let passed: i64 = later.iter().zip(0_i64..).map(|(n, s)| {
                let share = ((last.joined_before - at(s)).num_milliseconds().clamp(0, 1_000)) as f64 / 1_000.0;
                (*n as f64 * share).round() as i64
            }).sum();
            prop_assert!((last.admitted - drawn - passed).abs() <= 2 * seconds, "{} counted, {drawn} + {passed} let in", last.admitted);
            // Whenever somebody is let in, no more are inside than there is to sell and some, but for those of one millisecond.
            let (mut left, mut before) = (left, (0, 0));
            for step in &steps {
                left -= step.placed - before.1;
                let most = if left > 0 { left + left / 4 + 10 } else { 0 };
                prop_assert!(step.admitted == before.0 || step.admitted - step.placed <= most + 10, "{} inside, {left} left", step.admitted - step.placed);
                before = (step.admitted, step.placed);
            }
        }
    }
}
