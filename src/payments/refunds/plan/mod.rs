//! What goes back of an order when a part of it is returned: pure, on what its store reads.

mod store;

use std::collections::BTreeMap;

use sqlx::FromRow;

use super::{Item, Part};
use crate::{
    books::Account,
    id::{ReleaseId, TicketId},
    money,
    tickets::TicketStatus,
};

pub use store::left;
pub(super) use store::{back, heard, returnable};

/// What is left of a component of a line: what was paid for, without what is on its way back.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Left {
    /// The line.
    pub line_no: i16,
    /// The component.
    pub component_no: i16,
    /// Whether each unit of it has a ticket.
    pub has_tickets: bool,
    /// The release, if it is one: whose money it is.
    pub release_id: Option<ReleaseId>,
    /// Whether it is the booking fee.
    pub is_fee: bool,
    /// Whether it stays when the rest of its unit goes back, unless somebody decides otherwise.
    pub is_kept: bool,
    /// The rate of its tax in parts per million.
    #[sqlx(try_from = "i32")]
    pub tax_ppm: u32,
    /// Units.
    pub units: i32,
    /// Their money, in the smallest unit.
    pub minor: i64,
    /// The tax inside it.
    pub tax_minor: i64,
}

impl Left {
    /// Whose money it is.
    pub(super) fn payee(&self) -> Account {
        if self.is_fee { Account::Fee } else { self.release_id.map_or(Account::Promoter, Account::Rights) }
    }

    /// It stays: its units go back without money.
    pub(super) fn keep(&mut self) {
        (self.minor, self.tax_minor) = (0, 0);
    }

    /// Takes the money of so many units off; the last one takes all that is left, so nothing is lost to rounding.
    fn take(&mut self, units: i32) -> Item {
        let minor = if units >= self.units { self.minor } else { part(self.minor, i64::from(units), i64::from(self.units)) };
        let item = self.take_money(minor);
        self.units -= units;
        Item { units, ..item }
    }

    fn take_money(&mut self, minor: i64) -> Item {
        let tax_minor = if minor == self.minor { self.tax_minor } else { part(self.tax_minor, minor, self.minor) };
        self.minor -= minor;
        self.tax_minor -= tax_minor;
        Item { line_no: self.line_no, component_no: self.component_no, units: 0, minor, tax_minor }
    }
}

/// `of * times / whole`, rounded down.
fn part(of: i64, times: i64, whole: i64) -> i64 {
    i64::try_from(i128::from(of) * i128::from(times) / i128::from(whole.max(1))).unwrap_or(of)
}

/// A ticket of the order that is not being returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returnable {
    /// The ticket.
    pub ticket_id: TicketId,
    /// The line.
    pub line_no: i16,
    /// The component.
    pub component_no: i16,
    /// Which one of the line.
    pub unit_no: i32,
    /// Its state.
    pub status: TicketStatus,
    /// Whether somebody came in on it.
    pub is_used: bool,
}

/// What goes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By line and component, each once.
    pub items: Vec<Item>,
    /// The tickets that are returned.
    pub tickets: Vec<TicketId>,
    /// How many of them somebody came in on, or heard.
    pub used: usize,
}

impl Plan {
    /// The money of everything that is returned, in the smallest unit.
    #[must_use]
    pub fn minor(&self) -> i64 {
        self.items.iter().map(|item| item.minor).sum()
    }
}

/// Why nothing can be returned as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPlan {
    /// A place of the request and what is wrong with it.
    Wrong(String, String),
    /// Nothing is left that could be returned.
    Nothing,
    /// A ticket is a wristband.
    OnAWrist(TicketId),
}

/// Decides what goes back: parts in their order, everything that is left where none is named. Units that nobody used go first, the last one of a line
/// before the one before it.
///
/// # Errors
/// [`NoPlan`].
pub fn plan(left: &[Left], tickets: &[Returnable], parts: &[Part]) -> Result<Plan, NoPlan> {
    let mut desk = Desk { left: left.to_vec(), tickets: tickets.to_vec(), items: BTreeMap::new(), plan: Plan::default() };
    if parts.is_empty() {
        let mut lines: Vec<i16> = left.iter().map(|l| l.line_no).collect();
        lines.dedup();
        for line_no in lines {
            desk.give_back(&Part { line_no, ..Part::default() }, "/parts")?;
        }
    }
    for (i, part) in parts.iter().enumerate() {
        desk.give_back(part, &format!("/parts/{i}"))?;
    }
    let Desk { items, mut plan, .. } = desk;
    plan.items = items.into_values().filter(|item| item.units > 0 || item.minor > 0).collect();
    if plan.items.is_empty() { Err(NoPlan::Nothing) } else { Ok(plan) }
}

struct Desk {
    left: Vec<Left>,
    tickets: Vec<Returnable>,
    items: BTreeMap<(i16, i16), Item>,
    plan: Plan,
}

fn add(items: &mut BTreeMap<(i16, i16), Item>, item: &Item) {
    let sum = items.entry((item.line_no, item.component_no)).or_insert(Item { units: 0, minor: 0, tax_minor: 0, ..*item });
    sum.units += item.units;
    sum.minor += item.minor;
    sum.tax_minor += item.tax_minor;
}

impl Desk {
    fn give_back(&mut self, part: &Part, at: &str) -> Result<(), NoPlan> {
        let wrong = |place: &str, why: &str| Err(NoPlan::Wrong(format!("{at}{place}"), why.to_owned()));
        let of: Vec<usize> = (0..self.left.len())
            .filter(|i| self.left[*i].line_no == part.line_no && part.component_no.is_none_or(|no| no == self.left[*i].component_no))
            .collect();
        if of.is_empty() {
            return wrong("/line_no", "the order has no such line or component");
        }
        if usize::from(part.units.is_some()) + usize::from(part.amount_minor.is_some()) + usize::from(!part.ticket_ids.is_empty()) > 1 {
            return wrong("", "units, ticket_ids and amount are three ways to say it: choose one");
        }
        if let Some(minor) = part.amount_minor {
            let most: i64 = of.iter().map(|i| self.left[*i].minor).sum();
            if minor <= 0 || minor > most {
                return wrong("/amount/minor", &format!("more than nothing, and at most the {most} that are left of it"));
            }
            self.money(&of, minor, most);
            return Ok(());
        }
        let units = if of.iter().any(|i| self.left[*i].has_tickets) {
            let chosen = self.choose(part, &of, at)?;
            for ticket in &chosen {
                if ticket.status == TicketStatus::Exchanged {
                    return Err(NoPlan::OnAWrist(ticket.ticket_id));
                }
            }
            self.tickets.retain(|ticket| !chosen.contains(ticket));
            self.plan.used += chosen.iter().filter(|ticket| ticket.is_used).count();
            self.plan.tickets.extend(chosen.iter().map(|ticket| ticket.ticket_id));
            for i in &of {
                let left = &mut self.left[*i];
                if !left.has_tickets {
                    continue;
                }
                let units = chosen.iter().filter(|ticket| ticket.component_no == left.component_no).count();
                add(&mut self.items, &left.take(i32::try_from(units).unwrap_or(i32::MAX)));
            }
            let mut units: Vec<i32> = chosen.iter().map(|ticket| ticket.unit_no).collect();
            units.sort_unstable();
            units.dedup();
            // Everything of a line: albums whose tickets came back before come along.
            if part.units.is_none() && part.ticket_ids.is_empty() { i32::MAX } else { i32::try_from(units.len()).unwrap_or(i32::MAX) }
        } else {
            if !part.ticket_ids.is_empty() {
                return wrong("/ticket_ids", "no ticket came with it: say how many units");
            }
            let most = of.iter().map(|i| self.left[*i].units).max().unwrap_or(0);
            let units = part.units.unwrap_or(most);
            if units > most {
                return wrong("/units", &format!("only {most} are left"));
            }
            units
        };
        for i in of {
            let left = &mut self.left[i];
            if !left.has_tickets {
                add(&mut self.items, &left.take(units.min(left.units)));
            }
        }
        Ok(())
    }

    /// The tickets that a part means: those it names with the others of their units, or so many units.
    fn choose(&self, part: &Part, of: &[usize], at: &str) -> Result<Vec<Returnable>, NoPlan> {
        let is_of = |ticket: &&Returnable| of.iter().any(|i| self.left[*i].line_no == ticket.line_no && self.left[*i].component_no == ticket.component_no);
        let here: Vec<&Returnable> = self.tickets.iter().filter(is_of).collect();
        let units: Vec<i32> = if part.ticket_ids.is_empty() {
            let mut units: BTreeMap<i32, (bool, bool)> = BTreeMap::new();
            for ticket in &here {
                let (on_a_wrist, used) = units.entry(ticket.unit_no).or_default();
                *on_a_wrist |= ticket.status == TicketStatus::Exchanged;
                *used |= ticket.is_used;
            }
            let mut units: Vec<((bool, bool), i32)> = units.into_iter().map(|(no, last)| (last, -no)).collect();
            units.sort_unstable();
            let wanted = part.units.map_or(units.len(), |units| usize::try_from(units).unwrap_or(0));
            if wanted > units.len() {
                return Err(NoPlan::Wrong(format!("{at}/units"), format!("only {} are left", units.len())));
            }
            units.into_iter().take(wanted).map(|(_, no)| -no).collect()
        } else {
            let mut units = Vec::new();
            for (i, id) in part.ticket_ids.iter().enumerate() {
                let found = here.iter().find(|ticket| ticket.ticket_id == *id);
                let found = found.ok_or_else(|| NoPlan::Wrong(format!("{at}/ticket_ids/{i}"), "no ticket of this line, or it was returned".to_owned()))?;
                units.push(found.unit_no);
            }
            units
        };
        Ok(here.into_iter().filter(|ticket| units.contains(&ticket.unit_no)).cloned().collect())
    }

    /// Money alone: spread over the components by what is left of each, exactly.
    fn money(&mut self, of: &[usize], minor: i64, most: i64) {
        // Weights are 32 bits wide: large sums are scaled.
        let scale = most / i64::from(u32::MAX) + 1;
        let weights: Vec<u32> = of.iter().map(|i| u32::try_from(self.left[*i].minor / scale).unwrap_or(u32::MAX)).collect();
        let mut spread = money::split(minor, &weights);
        // What rounding gave to a component beyond what is left of it goes to the others.
        let mut over = 0;
        for (i, minor) in of.iter().zip(&mut spread) {
            let excess = (*minor - self.left[*i].minor).max(0);
            *minor -= excess;
            over += excess;
        }
        for (i, minor) in of.iter().zip(&mut spread) {
            let room = (self.left[*i].minor - *minor).min(over);
            *minor += room;
            over -= room;
        }
        for (i, minor) in of.iter().zip(spread) {
            add(&mut self.items, &self.left[*i].take_money(minor));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn left(component_no: i16, has_tickets: bool, units: i32, minor: i64) -> Left {
        Left {
            line_no: 1,
            component_no,
            has_tickets,
            release_id: None,
            is_fee: false,
            is_kept: false,
            tax_ppm: 90_000,
            units,
            minor,
            tax_minor: money::tax_within(minor, 90_000),
        }
    }

    fn ticket(component_no: i16, unit_no: i32, is_used: bool) -> Returnable {
        let ticket_id = TicketId(Uuid::from_u128((u128::from(component_no.unsigned_abs()) << 64) + u128::from(unit_no.unsigned_abs())));
        Returnable { ticket_id, line_no: 1, component_no, unit_no, status: TicketStatus::Valid, is_used }
    }

    fn units(units: i32) -> Part {
        Part { line_no: 1, units: Some(units), ..Part::default() }
    }

    /// A bundle of a pass and an album, three units.
    fn bundle() -> (Vec<Left>, Vec<Returnable>) {
        (vec![left(1, true, 3, 30_000), left(2, false, 3, 1_000)], (1..=3).map(|no| ticket(1, no, no == 3)).collect())
    }

    #[test]
    fn everything_goes_back_where_no_part_is_named() {
        let (left, tickets) = bundle();
        let plan = plan(&left, &tickets, &[]).unwrap();
        assert_eq!((plan.minor(), plan.tickets.len(), plan.used), (31_000, 3, 1));
        assert_eq!(plan.items.iter().map(|i| i.units).collect::<Vec<_>>(), [3, 3]);
    }

    #[test]
    fn a_unit_that_nobody_used_goes_first_and_takes_its_album_along() {
        let (left, tickets) = bundle();
        let plan = plan(&left, &tickets, &[units(1)]).unwrap();
        assert_eq!(plan.tickets, [ticket(1, 2, false).ticket_id]);
        assert_eq!(plan.items.iter().map(|i| (i.units, i.minor)).collect::<Vec<_>>(), [(1, 10_000), (1, 333)]);
    }

    #[test]
    fn a_component_goes_back_alone_and_money_without_a_unit() {
        let (left, tickets) = bundle();
        let album = Part { component_no: Some(2), units: Some(2), ..units(2) };
        let money = Part { line_no: 1, amount_minor: Some(3_100), ..Part::default() };
        let plan = plan(&left, &tickets, &[album, money]).unwrap();
        assert!(plan.tickets.is_empty());
        // 666 of the album went first, so 3,100 is spread over 30,000 and 334.
        assert_eq!(plan.items.iter().map(|i| (i.component_no, i.units, i.minor)).collect::<Vec<_>>(), [(1, 0, 3_066), (2, 2, 700)]);
    }

    #[test]
    fn what_is_not_there_is_refused_with_its_place() {
        let (left, mut tickets) = bundle();
        let refused = |parts: &[Part], tickets: &[Returnable]| match plan(&left, tickets, parts) {
            Err(NoPlan::Wrong(at, _)) => at,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(&[units(4)], &tickets), "/parts/0/units");
        assert_eq!(refused(&[units(2), units(2)], &tickets), "/parts/1/units");
        assert_eq!(refused(&[Part { line_no: 2, ..Part::default() }], &tickets), "/parts/0/line_no");
        assert_eq!(refused(&[Part { amount_minor: Some(31_001), ..Part { line_no: 1, ..Part::default() } }], &tickets), "/parts/0/amount/minor");
        assert_eq!(refused(&[Part { ticket_ids: vec![TicketId(Uuid::nil())], line_no: 1, ..Part::default() }], &tickets), "/parts/0/ticket_ids/0");
        tickets[0].status = TicketStatus::Exchanged;
        assert_eq!(plan(&left, &tickets, &[]), Err(NoPlan::OnAWrist(tickets[0].ticket_id)));
        assert_eq!(plan(&[], &[], &[]), Err(NoPlan::Nothing));
    }

    proptest! {
        /// However an order is returned, what went back is what was paid, to the smallest unit, and never more on the way.
        #[test]
        fn whatever_is_returned_in_whatever_parts_adds_up(
            count in 1..6_i32, pass in 0..1_000_000_i64, album in 0..10_000_i64,
            steps in prop::collection::vec((0..3_i16, 1..3_i32, prop::option::of(1..5_000_i64)), 0..12),
        ) {
            let (pass, album) = (pass * i64::from(count), album * i64::from(count));
            let whole = vec![left(1, true, count, pass), left(2, false, count, album)];
            let (mut rest, mut tickets) = (whole.clone(), (1..=count).map(|no| ticket(1, no, no % 2 == 0)).collect::<Vec<_>>());
            let (mut minor, mut tax) = (0, 0);
            let everything = (0, 0, None);
            for (i, (component, some, amount)) in steps.iter().chain([&everything]).enumerate() {
                let part = Part { line_no: 1, component_no: (*component > 0).then_some(*component), units: amount.is_none().then_some(*some), amount_minor: *amount, ticket_ids: vec![] };
                let parts = if i == steps.len() { vec![] } else { vec![part] };
                let Ok(plan) = plan(&rest, &tickets, &parts) else { continue };
                for item in &plan.items {
                    let left = rest.iter_mut().find(|l| l.component_no == item.component_no).unwrap();
                    left.units -= item.units;
                    left.minor -= item.minor;
                    left.tax_minor -= item.tax_minor;
                    prop_assert!(left.units >= 0 && left.minor >= 0 && left.tax_minor >= 0 && item.tax_minor >= 0 && item.tax_minor <= item.minor, "{plan:?} {left:?}");
                    minor += item.minor;
                    tax += item.tax_minor;
                }
                tickets.retain(|t| !plan.tickets.contains(&t.ticket_id));
            }
            prop_assert!(tickets.is_empty());
            prop_assert_eq!(minor, pass + album);
            prop_assert_eq!(tax, whole.iter().map(|l| l.tax_minor).sum::<i64>());
        }
    }
}
