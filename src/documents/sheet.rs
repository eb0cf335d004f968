//! A document as it is read: its content in the words of a language.

use super::{
    Document, DocumentKind,
    content::{Content, Row},
    paper::{Paper, Table},
};
use crate::{money::percent, words::Language};

/// The paper of a document in a language.
#[must_use]
pub(super) fn sheet(document: &Document, content: &Content, language: Language) -> Paper {
    let t = |key: &str| language.t(key).into_owned();
    let at = |moment| language.at(moment, &content.time_zone);
    let is_invoice = document.kind == DocumentKind::Invoice;
    let title = language.f(if is_invoice { "invoice-title" } else { "credit-note-title" }, [("number", document.full_number.clone())]).into_owned();
    let mut facts = vec![
        (t("document-date"), at(document.issued_at).full_date()),
        (t(if is_invoice { "document-paid" } else { "document-returned" }), at(content.happened_at).full_date()),
        (t("document-order"), content.order_number.clone()),
        (t("festival"), content.festival.read(language).to_owned()),
    ];
    facts.extend(content.of.iter().map(|of| (t("document-of"), of.clone())));
    let money = |minor: i64| content.money(minor).print();
    let small = |row: &Row| {
        let rates = row
            .rates
            .iter()
            .map(|(ppm, minor)| language.f("document-rate", [("rate", format!("{} %", percent(*ppm))), ("amount", money(*minor))]).into_owned());
        let mut lines = vec![rates.collect::<Vec<_>>().join(" · ")];
        if row.discount_minor > 0 {
            lines.push(language.f("discount", [("amount", money(row.discount_minor))]).into_owned());
        }
        if row.fee_minor > 0 {
            lines.push(language.f("with-fee", [("amount", money(row.fee_minor))]).into_owned());
        }
        lines.retain(|line| !line.is_empty());
        lines
    };
    let mut rows: Vec<(Vec<String>, Vec<String>)> = content
        .rows
        .iter()
        .map(|row| {
            let quantity = if row.quantity > 0 { row.quantity.to_string() } else { String::new() };
            (vec![row.name.read(language).to_owned(), quantity, row.unit_minor.map_or(String::new(), money), money(row.minor)], small(row))
        })
        .collect();
    if content.kept_minor > 0 {
        rows.push((vec![t("document-kept"), String::new(), String::new(), money(-content.kept_minor)], Vec::new()));
    }
    let sum = vec![t(if is_invoice { "total" } else { "document-back" }), String::new(), String::new(), money(content.total_minor)];
    let head = ["document-what", "quantity", "document-each", "document-amount"].map(t).to_vec();
    let lines = Table { head, rows, sum: Some(sum) };
    let taxes = content.taxes.iter().map(|tax| {
        let cells = vec![format!("{} %", percent(tax.ppm)), money(tax.net_minor), money(tax.tax_minor), money(tax.net_minor + tax.tax_minor)];
        (cells, Vec::new())
    });
    let taxes = Table { head: ["document-rate-head", "document-net", "document-tax", "document-gross"].map(t).to_vec(), rows: taxes.collect(), sum: None };
    let seller = &content.seller;
    let from = [t("document-from"), seller.name.clone()].into_iter().chain(seller.address.lines().map(str::to_owned));
    let from = from.chain(seller.tax_number.iter().map(|number| language.f("document-tax-number", [("number", number.clone())]).into_owned()));
    let buyer = &content.buyer;
    let to = [t("document-for"), if buyer.name.is_empty() { content.order_number.clone() } else { buyer.name.clone() }]
        .into_iter()
        .chain(buyer.address.lines().map(str::to_owned))
        .chain(buyer.country.clone());
    let to = to.chain(buyer.vat_number.iter().map(|number| language.f("document-vat-number", [("number", number.clone())]).into_owned()));
    Paper {
        language: language.tag().to_owned(),
        title,
        from: from.filter(|line| !line.is_empty()).collect(),
        to: to.filter(|line| !line.is_empty()).collect(),
        facts,
        tables: if taxes.rows.is_empty() { vec![lines] } else { vec![lines, taxes] },
        notes: seller.note.iter().map(|note| note.read(language).to_owned()).filter(|note| !note.is_empty()).collect(),
    }
}
