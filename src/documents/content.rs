//! What a document says: frozen when it is numbered, so that it reads the same for ever, in either language; pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{BillingDetails, DocumentKind, Seller};
use crate::{
    money::{Currency, Money},
    offers::Offer,
    orders::Order,
    payments::refunds::Refund,
    words::Text,
};

/// What a document says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Who sells.
    pub seller: Seller,
    /// Who bought.
    pub buyer: BillingDetails,
    /// The number of the order as people read it.
    pub order_number: String,
    /// When it was paid, or the money went back.
    pub happened_at: DateTime<Utc>,
    /// The time zone of the festival.
    pub time_zone: String,
    /// The name of the festival.
    pub festival: Text,
    /// The invoice that a credit note is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Its rows.
    pub rows: Vec<Row>,
    /// What was kept of what a credit note gives back, in the smallest unit.
    #[serde(default)]
    pub kept_minor: i64,
    /// Its taxes by rate, in parts per million.
    pub taxes: Vec<TaxRow>,
    /// The currency.
    pub currency: Currency,
    /// What is paid, or goes back, in the smallest unit.
    pub total_minor: i64,
}

/// A line of an order, or what goes back of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The name of the offer.
    pub name: Text,
    /// How many; zero where only money goes back.
    pub quantity: i32,
    /// The price of one, where every one has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_minor: Option<i64>,
    /// What a voucher took off the price of one.
    #[serde(default)]
    pub discount_minor: i64,
    /// The booking fee inside.
    #[serde(default)]
    pub fee_minor: i64,
    /// The price of all.
    pub minor: i64,
    /// The price of all by the rate of its tax.
    pub rates: Vec<(u32, i64)>,
}

/// A tax.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxRow {
    /// The rate in parts per million.
    pub ppm: u32,
    /// The amount without it, in the smallest unit.
    pub net_minor: i64,
    /// The tax, in the smallest unit.
    pub tax_minor: i64,
}

impl Content {
    /// An amount in its currency.
    #[must_use]
    pub fn money(&self, minor: i64) -> Money {
        Money::new(minor, self.currency)
    }
}

/// Gross amounts and taxes by rate.
#[derive(Default)]
struct Rates(BTreeMap<u32, (i64, i64)>);

impl Rates {
    fn add(&mut self, ppm: u32, minor: i64, tax_minor: i64) {
        let sum = self.0.entry(ppm).or_default();
        sum.0 += minor;
        sum.1 += tax_minor;
    }

    fn rows(self) -> Vec<TaxRow> {
        let row = |(ppm, (minor, tax_minor))| TaxRow { ppm, net_minor: minor - tax_minor, tax_minor };
        self.0.into_iter().filter(|(_, (minor, _))| *minor != 0).map(row).collect()
    }
}

/// What a document needs beside its order.
pub(super) struct Around<'a> {
    pub(super) seller: &'a Seller,
    pub(super) buyer: BillingDetails,
    pub(super) time_zone: &'a str,
    pub(super) festival: &'a Text,
    pub(super) offers: &'a [Offer],
}

impl Around<'_> {
    fn name(&self, order: &Order, line_no: i16) -> Text {
        let line = order.lines.iter().find(|line| line.line_no == line_no);
        line.and_then(|line| self.offers.iter().find(|o| o.offer_id == line.offer_id)).map_or(Text::default(), |offer| offer.name.clone())
    }

    fn content(self, order: &Order, happened_at: DateTime<Utc>, rows: Vec<Row>, taxes: Rates, total_minor: i64) -> Content {
        Content {
            seller: self.seller.clone(),
            buyer: self.buyer,
            order_number: order.number(),
            happened_at,
            time_zone: self.time_zone.to_owned(),
            festival: self.festival.clone(),
            of: None,
            rows,
            kept_minor: 0,
            taxes: taxes.rows(),
            currency: order.total.currency,
            total_minor,
        }
    }
}

/// What the invoice of a paid order says.
pub(super) fn invoice(order: &Order, around: Around<'_>) -> Content {
    let mut taxes = Rates::default();
    let mut rows = Vec::new();
    for line in &order.lines {
        let times = |minor: i64| minor * i64::from(line.quantity);
        let mut rates: BTreeMap<u32, i64> = BTreeMap::new();
        let mut fee_minor = 0;
        for share in &line.shares {
            taxes.add(share.tax_ppm, times(share.minor), times(share.tax_minor));
            *rates.entry(share.tax_ppm).or_default() += times(share.minor);
            fee_minor += share.fee.map_or(0, |_| times(share.minor));
        }
        rows.push(Row {
            name: around.name(order, line.line_no),
            quantity: line.quantity,
            unit_minor: Some(line.unit.minor),
            discount_minor: line.discount.map_or(0, |discount| discount.minor),
            fee_minor,
            minor: line.total.minor,
            rates: rates.into_iter().filter(|(_, minor)| *minor != 0).collect(),
        });
    }
    around.content(order, order.paid_at.unwrap_or(order.placed_at), rows, taxes, order.total.minor)
}

/// What the credit note of a refund that is done says, about the invoice of a number.
pub(super) fn credit_note(order: &Order, refund: &Refund, of: &str, around: Around<'_>) -> Content {
    let mut taxes = Rates::default();
    let mut lines: BTreeMap<i16, Row> = BTreeMap::new();
    for item in &refund.items {
        let share = order.lines.iter().find(|l| l.line_no == item.line_no).and_then(|l| l.shares.iter().find(|s| s.component_no == item.component_no));
        let ppm = share.map_or(0, |share| share.tax_ppm);
        taxes.add(ppm, item.minor, item.tax_minor);
        let row = lines.entry(item.line_no).or_insert_with(|| Row {
            name: around.name(order, item.line_no),
            quantity: 0,
            unit_minor: None,
            discount_minor: 0,
            fee_minor: 0,
            minor: 0,
            rates: Vec::new(),
        });
        if share.is_none_or(|share| share.fee.is_none()) {
            row.quantity = row.quantity.max(item.units);
        } else {
            row.fee_minor += item.minor;
        }
        row.minor += item.minor;
        match row.rates.iter_mut().find(|(rate, _)| *rate == ppm) {
            Some((_, minor)) => *minor += item.minor,
            None if item.minor != 0 => row.rates.push((ppm, item.minor)),
            None => {}
        }
    }
    let content = around.content(order, refund.ended_at.unwrap_or(refund.requested_at), lines.into_values().collect(), taxes, refund.amount.minor);
    Content { of: Some(of.to_owned()), kept_minor: refund.kept.minor, ..content }
}

/// The number as it is printed.
#[must_use]
pub(super) fn full_number(kind: DocumentKind, prefix: &str, number: i64) -> String {
    match kind {
        DocumentKind::Invoice => format!("{prefix}-{number:06}"),
        DocumentKind::CreditNote => format!("{prefix}-C{number:06}"),
    }
}
