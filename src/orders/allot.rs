//! Who gets what: decides a whole batch in arrival order on the locked shelf. Pure, so it is tested by property.

use std::collections::{BTreeMap, HashMap};

use super::{Line, PlaceError, Request, Source};
use crate::{
    id::{OfferId, StockId, VoucherId},
    money::Money,
    offers::{Availability, NoVoucher, Offer, Shelf, Taken, Uses, Voucher, Vouchers},
};

/// What held and paid orders of a fan already take of offers with a limit: by key of the address and offer.
pub(super) type FanCounts = HashMap<(String, OfferId), i32>;

/// What a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allotted {
    pub(super) lines: Vec<Line>,
    pub(super) total: Money,
    pub(super) units: Vec<Taken>,
    pub(super) voucher: Option<(VoucherId, Uses)>,
}

/// Decides requests in their order; each takes all of its basket or nothing.
pub(super) fn allot(shelf: &mut Shelf, fans: &mut FanCounts, vouchers: &mut Vouchers, requests: &[&Request]) -> Vec<Result<Allotted, PlaceError>> {
    requests.iter().map(|request| allot_one(shelf, fans, vouchers, request)).collect()
}

fn allot_one(shelf: &mut Shelf, fans: &mut FanCounts, vouchers: &mut Vouchers, request: &Request) -> Result<Allotted, PlaceError> {
    if let Some(refusal) = &request.refusal {
        return Err(refusal.clone());
    }
    // The same offer on several lines is summed before anything is looked at.
    let mut wanted: Vec<(OfferId, i32)> = Vec::new();
    for wish in &request.basket {
        match wanted.iter_mut().find(|(offer, _)| *offer == wish.offer_id) {
            Some((_, quantity)) => *quantity = quantity.saturating_add(wish.quantity),
            None => wanted.push((wish.offer_id, wish.quantity)),
        }
    }
    let offers = || wanted.iter().map(|(id, _)| *id);
    let voucher = request.voucher.as_ref().map(|key| vouchers.help(key, request.arrived_at, &request.email_key, offers()));
    let voucher = voucher.transpose().map_err(PlaceError::Voucher)?;
    for (i, (id, quantity)) in wanted.iter().enumerate() {
        // At the door everything is sold, hidden or not, whatever its window says.
        let opened = matches!(request.source, Source::BoxOffice(_)) || voucher.is_some_and(|voucher| voucher.does_open(*id));
        let offer = shelf
            .offers
            .get(id)
            .filter(|o| o.published && (opened || !o.hidden))
            .ok_or_else(|| PlaceError::Invalid(format!("/lines/{i}/offer_id"), "there is no such offer".to_owned()))?;
        may_order(offer, *quantity, &wanted, fans, request, opened)?;
    }
    let mut planned: BTreeMap<StockId, i32> = BTreeMap::new();
    let mut lines: Vec<Line> = Vec::new();
    for (id, quantity) in &wanted {
        // Present: looked at above.
        if let Some(offer) = shelf.offers.get(id) {
            plan(shelf, offer, *quantity, request, voucher, &mut planned, &mut lines)?;
        }
    }
    let spent = discount(&lines);
    if voucher.is_some_and(|voucher| !voucher.affords(spent)) {
        return Err(PlaceError::Voucher(NoVoucher::UsedUp));
    }
    let currency = lines.first().map(|l| l.unit.currency);
    let currency = currency.ok_or_else(|| PlaceError::Invalid("/lines".to_owned(), "the basket is empty".to_owned()))?;
    let sum = lines.iter().try_fold(0_i64, |sum, line| sum.checked_add(line.total.minor));
    let sum = sum.ok_or_else(|| PlaceError::Invalid("/lines".to_owned(), "the sum is too large".to_owned()))?;
    let total = Money::new(sum, currency);
    if request.expected_minor.is_some_and(|expected| sum > expected) {
        return Err(PlaceError::PriceChanged(lines, total));
    }
    if !shelf.take(&planned, is_invited(request)) {
        let short = wanted.iter().find(|(id, _)| shelf.offers.get(id).is_some_and(|o| o.takes().any(|(s, _)| is_short(shelf, s, &planned))));
        let id = short.or(wanted.first()).map_or(request.basket[0].offer_id, |(id, _)| *id);
        return Err(PlaceError::SoldOut(id, may_come_back(shelf, &planned)));
    }
    for (id, quantity) in &wanted {
        if let Some(count) = fans.get_mut(&(request.email_key.clone(), *id)) {
            *count += quantity;
        }
    }
    let voucher = voucher.map(|voucher| (voucher.voucher_id, Uses { orders: 1, minor: spent }));
    if let Some(key) = &request.voucher {
        vouchers.count(key, &request.email_key, spent);
    }
    let units = planned.into_iter().map(|(stock_id, quantity)| Taken { stock_id, quantity }).collect();
    Ok(Allotted { lines, total, units, voucher })
}

/// Whether somebody was invited from a waiting list: what is promised is theirs.
fn is_invited(request: &Request) -> bool {
    matches!(request.source, Source::List(..))
}

/// What a voucher takes off lines.
fn discount(lines: &[Line]) -> i64 {
    lines.iter().filter_map(|line| Some(line.discount?.minor.saturating_mul(i64::from(line.quantity)))).fold(0, i64::saturating_add)
}

/// Window, limits and requirements of one offer of a basket; opened by a voucher, it need not be on sale yet.
fn may_order(offer: &Offer, quantity: i32, wanted: &[(OfferId, i32)], fans: &FanCounts, request: &Request, opened: bool) -> Result<(), PlaceError> {
    let id = offer.offer_id;
    let at_the_door = matches!(request.source, Source::BoxOffice(_));
    match offer.window(request.arrived_at) {
        None => {}
        Some(Availability::NotYet) if opened => {}
        Some(Availability::Over) if at_the_door => {}
        Some(Availability::NotYet) => return Err(PlaceError::NotYet(id, offer.opens_at.unwrap_or(request.arrived_at))),
        Some(Availability::Paused) => return Err(PlaceError::Paused(id, offer.pause().cloned().unwrap_or_default())),
        Some(_) => return Err(PlaceError::Over(id)),
    }
    if quantity > offer.max_per_order && !at_the_door {
        return Err(PlaceError::OrderLimit(id, offer.max_per_order));
    }
    if let Some(max) = offer.max_per_fan.filter(|_| !at_the_door) {
        let have = fans.get(&(request.email_key.clone(), id)).copied().unwrap_or(0);
        if have + quantity > max {
            return Err(PlaceError::FanLimit { offer: id, max, have });
        }
    }
    for requirement in &offer.requirements {
        let beside: i32 = wanted.iter().filter(|(other, _)| requirement.any_of.contains(other)).map(|(_, q)| *q).sum();
        if i64::from(quantity) > i64::from(beside) * i64::from(requirement.per_one) {
            return Err(PlaceError::Requirement(id, requirement.any_of.clone()));
        }
    }
    Ok(())
}

/// Spreads a quantity over the open tiers, cheapest first; one line a tier.
fn plan(
    shelf: &Shelf,
    offer: &Offer,
    quantity: i32,
    request: &Request,
    voucher: Option<&Voucher>,
    planned: &mut BTreeMap<StockId, i32>,
    lines: &mut Vec<Line>,
) -> Result<(), PlaceError> {
    let mut tiers = offer.open_tiers(request.arrived_at);
    // At the door the last price of all goes on.
    if tiers.is_empty() && matches!(request.source, Source::BoxOffice(_)) {
        tiers = offer.tiers.last().into_iter().collect();
    }
    if tiers.is_empty() {
        return Err(PlaceError::Over(offer.offer_id));
    }
    let mut rest = quantity;
    for tier in tiers {
        let left = match tier.stock_id.and_then(|id| shelf.stocks.get(&id)) {
            Some(stock) if is_invited(request) => (stock.free() - planned.get(&stock.stock_id).copied().unwrap_or(0)).max(0),
            Some(stock) => (stock.left() - planned.get(&stock.stock_id).copied().unwrap_or(0)).max(0),
            None => i32::MAX,
        };
        let taken = rest.min(left);
        if taken == 0 {
            continue;
        }
        if let Some(stock) = tier.stock_id {
            *planned.entry(stock).or_default() += taken;
        }
        let discount = match &request.source {
            Source::BoxOffice(sale) if sale.is_comp => tier.price_minor,
            Source::BoxOffice(_) | Source::Public | Source::List(..) => voucher.map_or(0, |voucher| voucher.takes_off(offer.offer_id, tier.price_minor)),
        };
        let unit = tier.price_minor - discount;
        let total = unit.checked_mul(i64::from(taken));
        let total = total.ok_or_else(|| PlaceError::Invalid("/lines".to_owned(), "the sum is too large".to_owned()))?;
        lines.push(Line {
            line_no: i16::try_from(lines.len() + 1).unwrap_or(i16::MAX),
            offer_id: offer.offer_id,
            tier_no: tier.tier_no,
            quantity: taken,
            unit: Money::new(unit, offer.currency),
            discount: (discount > 0).then(|| Money::new(discount, offer.currency)),
            total: Money::new(total, offer.currency),
            shares: offer.shares(unit),
        });
        rest -= taken;
        if rest == 0 {
            break;
        }
    }
    if rest > 0 {
        let tier_stocks = offer.tiers.iter().filter_map(|t| t.stock_id).map(|id| (id, 1)).collect();
        return Err(PlaceError::SoldOut(offer.offer_id, may_come_back(shelf, &tier_stocks)));
    }
    for (stock, units) in offer.takes() {
        *planned.entry(stock).or_default() += units.saturating_mul(quantity);
    }
    Ok(())
}

fn is_short(shelf: &Shelf, stock: StockId, planned: &BTreeMap<StockId, i32>) -> bool {
    shelf.stocks.get(&stock).is_some_and(|s| s.left() < planned.get(&stock).copied().unwrap_or(0))
}

/// Whether what is missing may come back: somebody holds some of it.
fn may_come_back(shelf: &Shelf, planned: &BTreeMap<StockId, i32>) -> Availability {
    let held = planned.keys().filter(|id| is_short(shelf, **id, planned)).any(|id| shelf.stocks.get(id).is_some_and(|s| s.held > 0));
    if held { Availability::HeldOut } else { Availability::SoldOut }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        id::{FestivalId, OrderId},
        offers::{Requirement, Stock, Tier},
        orders::{Buyer, Wish},
        words::{Language, Text},
    };

    const F: FestivalId = FestivalId(1);

    fn now() -> DateTime<Utc> {
        "2026-03-03T20:00:00Z".parse().unwrap()
    }

    fn stock(shelf: &mut Shelf, capacity: Option<i32>) -> StockId {
        let stock_id = StockId::fresh(F, now());
        shelf.stocks.insert(stock_id, Stock { stock_id, name: String::new(), capacity, held: 0, sold: 0, promised: 0 });
        stock_id
    }

    fn offer(shelf: &mut Shelf, capacity: Option<i32>, prices: &[(i64, Option<i32>)]) -> OfferId {
        let offer_id = OfferId::fresh(F, now());
        let stock_id = stock(shelf, capacity);
        let tiers = prices
            .iter()
            .enumerate()
            .map(|(i, (price_minor, capacity))| Tier {
                tier_no: i16::try_from(i + 1).unwrap(),
                name: Text::en("x"),
                price_minor: *price_minor,
                until_at: None,
                stock_id: capacity.map(|c| stock(shelf, Some(c))),
            })
            .collect();
        let offer = Offer {
            offer_id,
            stock_id,
            sort: 0,
            name: Text::en("Weekend pass"),
            about: Text::default(),
            opens_at: None,
            closes_at: None,
            paused: None,
            festival_paused: None,
            max_per_order: 10,
            max_per_fan: None,
            hidden: false,
            tiers,
            components: Vec::new(),
            requirements: Vec::new(),
            stocks: Vec::new(),
            version: 1,
            currency: "EUR".parse().unwrap(),
            fee: None,
            somebody_waits: false,
            published: true,
        };
        shelf.offers.insert(offer_id, offer);
        offer_id
    }

    fn request(wishes: &[(OfferId, i32)]) -> Request {
        Request {
            order_id: OrderId::fresh(F, now()),
            buyer: Buyer { email: "mara@x.example".to_owned(), name: String::new(), language: Language::En },
            email_key: "mara@x.example".to_owned(),
            key_hash: [0; 16],
            fingerprint: [0; 16],
            basket: wishes.iter().map(|(offer_id, quantity)| Wish { offer_id: *offer_id, quantity: *quantity }).collect(),
            refusal: None,
            voucher: None,
            expected_minor: None,
            source: Source::Public,
            arrived_at: now(),
        }
    }

    fn one(shelf: &mut Shelf, request: &Request) -> Result<Allotted, PlaceError> {
        allot(shelf, &mut FanCounts::new(), &mut Vouchers::default(), &[request]).pop().unwrap()
    }

    #[test]
    fn a_line_takes_the_cheapest_tier_first_and_may_span_tiers() {
        let mut shelf = Shelf::default();
        let pass = offer(&mut shelf, Some(10), &[(13900, None), (11900, Some(2))]);
        let got = one(&mut shelf, &request(&[(pass, 3)])).unwrap();
        assert_eq!(got.lines.iter().map(|l| (l.tier_no, l.quantity, l.total.minor)).collect::<Vec<_>>(), vec![(2, 2, 23800), (1, 1, 13900)]);
        assert_eq!(got.total.minor, 37700);
    }

    #[test]
    fn a_higher_price_than_expected_holds_nothing() {
        let mut shelf = Shelf::default();
        let pass = offer(&mut shelf, Some(10), &[(13900, None)]);
        let dear = Request { expected_minor: Some(11900), ..request(&[(pass, 1)]) };
        assert!(matches!(one(&mut shelf, &dear), Err(PlaceError::PriceChanged(_, total)) if total.minor == 13900));
        assert!(shelf.stocks.values().all(|s| s.held == 0));
    }

    #[test]
    fn the_same_offer_on_several_lines_is_summed_before_it_is_checked() {
        let mut shelf = Shelf::default();
        let pass = offer(&mut shelf, Some(100), &[(100, None)]);
        shelf.offers.get_mut(&pass).unwrap().max_per_order = 4;
        assert_eq!(one(&mut shelf, &request(&[(pass, 2); 5])), Err(PlaceError::OrderLimit(pass, 4)));
    }

    #[test]
    fn an_offer_that_needs_another_one_is_not_sold_alone() {
        let mut shelf = Shelf::default();
        let adult = offer(&mut shelf, None, &[(100, None)]);
        let child = offer(&mut shelf, None, &[(50, None)]);
        shelf.offers.get_mut(&child).unwrap().requirements.push(Requirement { any_of: vec![adult], per_one: 2 });
        assert!(matches!(one(&mut shelf, &request(&[(child, 1)])), Err(PlaceError::Requirement(..))));
        assert!(matches!(one(&mut shelf, &request(&[(child, 3), (adult, 1)])), Err(PlaceError::Requirement(..))));
        assert!(one(&mut shelf, &request(&[(child, 2), (adult, 1)])).is_ok());
    }

    #[test]
    fn the_window_counts_from_arrival_to_the_millisecond() {
        let mut shelf = Shelf::default();
        let pass = offer(&mut shelf, None, &[(100, None)]);
        let ms = chrono::TimeDelta::milliseconds(1);
        {
            let offer = shelf.offers.get_mut(&pass).unwrap();
            offer.opens_at = Some(now());
            offer.closes_at = Some(now() + ms * 1000);
        }
        for (at, good) in [(now() - ms, false), (now(), true), (now() + ms * 1000, true), (now() + ms * 1001, false)] {
            let asked = Request { arrived_at: at, ..request(&[(pass, 1)]) };
            assert_eq!(one(&mut shelf, &asked).is_ok(), good, "{at}");
        }
    }

    proptest! {
        /// Whatever is asked: no stock is oversold, what is held is what was given out, and a refusal holds nothing.
        #[test]
        fn never_more_than_there_is(
            capacity in 0_i32..60,
            shared in 0_i32..80,
            tier in 0_i32..30,
            asked in proptest::collection::vec((0_usize..2, 1_i32..6, 0_usize..2, 0_i32..4), 1..60),
        ) {
            let mut shelf = Shelf::default();
            let common = stock(&mut shelf, Some(shared));
            let a = offer(&mut shelf, Some(capacity), &[(100, Some(tier)), (200, None)]);
            let b = offer(&mut shelf, None, &[(300, None)]);
            for id in [a, b] {
                shelf.offers.get_mut(&id).unwrap().stocks.push(crate::offers::OfferStock { stock_id: common, units: 1 });
            }
            let offers = [a, b];
            let requests: Vec<Request> = asked.iter().map(|(first, n, second, m)| {
                let mut wishes = vec![(offers[*first], *n)];
                if *m > 0 { wishes.push((offers[*second], *m)); }
                request(&wishes)
            }).collect();
            let before = shelf.stocks.clone();
            let answers = allot(&mut shelf, &mut FanCounts::new(), &mut Vouchers::default(), &requests.iter().collect::<Vec<_>>());
            let mut given: BTreeMap<StockId, i32> = BTreeMap::new();
            for (answer, request) in answers.iter().zip(&requests) {
                if let Ok(allotted) = answer {
                    for unit in &allotted.units { *given.entry(unit.stock_id).or_default() += unit.quantity; }
                    let wanted: i32 = request.basket.iter().map(|w| w.quantity).sum();
                    prop_assert_eq!(allotted.lines.iter().map(|l| l.quantity).sum::<i32>(), wanted);
                    prop_assert_eq!(allotted.lines.iter().map(|l| l.total.minor).sum::<i64>(), allotted.total.minor);
                } else {
                    // A refusal is true: with what was left then, the basket did not fit.
                    prop_assert!(matches!(answer, Err(PlaceError::SoldOut(..))));
                }
            }
            for (id, stock) in &shelf.stocks {
                prop_assert!(stock.left() >= 0);
                prop_assert_eq!(stock.held - before[id].held, given.get(id).copied().unwrap_or(0));
            }
        }
    }
}
