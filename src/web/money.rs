//! An order at the desk, with everything that was paid and went back; the forms that give money back; and what needs somebody.

use maud::{Markup, html};
use poem::{
    Request, Response, handler,
    web::{Data, Path},
};

use super::{
    layout::{PageResult, Reader, Shell, see_other, text},
    session::visitor,
    storefront::buy::{field, fields},
};
use crate::{
    accounts::{Member, Scope},
    app::App,
    festivals::Festival,
    http::{
        cookies::same_origin,
        problem::{MALFORMED, NOT_FOUND, Problem},
    },
    id::{DifferenceId, OrderId, RefundId},
    money::Money,
    offers::{self, AddOn, Offer, Pass, Share},
    orders::{self, Order},
    payments::{
        self, Payment, Refund,
        comparison::{self, Comparison, Difference},
        refunds::{self, Asked, Decision, Left, Listed, Part, Quote, RefundError, RefundReason, RefundStatus},
    },
    releases,
    reports::masked,
    tickets::{self, Ticket},
};

/// An order with what the desk shows of it.
struct Sheet {
    festival: Festival,
    who: Member,
    order: Order,
    offers: Vec<Offer>,
    passes: Vec<Pass>,
    add_ons: Vec<AddOn>,
    titles: Vec<(crate::id::ReleaseId, String)>,
    payments: Vec<Payment>,
    refunds: Vec<Refund>,
    left: Vec<Left>,
    tickets: Vec<Ticket>,
}

impl Sheet {
    async fn read(app: &App, who: Member, festival: Festival, id: OrderId) -> Result<Self, Problem> {
        let pool = &app.pools.web;
        let order = orders::order(pool, id).await?.filter(|_| id.festival() == festival.festival_id).ok_or_else(|| NOT_FOUND.problem())?;
        let payments = payments::by_order(pool, id).await?;
        let offers = offers::offers(pool, festival.festival_id).await?;
        let passes = offers::passes(pool, festival.festival_id).await?;
        let add_ons = offers::add_ons(pool, festival.festival_id).await?;
        let tickets = tickets::of_order(pool, id).await?;
        let ids: Vec<_> = order.lines.iter().flat_map(|l| &l.shares).filter_map(|s| s.release_id).collect();
        let titles = releases::titles(pool, &ids).await?;
        let mut conn = pool.acquire().await?;
        let refunds = refunds::by_order(&mut conn, id).await?;
        let left = refunds::left(&mut conn, id).await?;
        Ok(Self { festival, who, order, offers, passes, add_ons, titles, payments, refunds, left, tickets })
    }

    fn url(&self) -> String {
        format!("/desk/{}/orders/{}", self.festival.terms.slug, self.order.order_id)
    }

    fn money(&self, minor: i64) -> Money {
        Money::new(minor, self.order.total.currency)
    }

    /// What a line is called.
    fn line(&self, reader: &Reader, line_no: i16) -> Markup {
        let offer = self.order.lines.iter().find(|l| l.line_no == line_no).and_then(|l| self.offers.iter().find(|o| o.offer_id == l.offer_id));
        html! { @if let Some(offer) = offer { (text(&offer.name, reader.language)) } }
    }

    fn share(&self, line_no: i16, component_no: i16) -> Option<&Share> {
        self.order.lines.iter().find(|l| l.line_no == line_no)?.shares.iter().find(|s| s.component_no == component_no)
    }

    /// What a component of a line is called.
    fn component(&self, reader: &Reader, line_no: i16, component_no: i16) -> Markup {
        let Some(share) = self.share(line_no, component_no) else { return html! {} };
        let pass = share.pass_id.and_then(|id| self.passes.iter().find(|p| p.pass_id == id)).map(|p| &p.terms.name);
        let named = pass.or_else(|| share.add_on_id.and_then(|id| self.add_ons.iter().find(|a| a.add_on_id == id)).map(|a| &a.name));
        let title = share.release_id.and_then(|id| self.titles.iter().find(|(r, _)| *r == id));
        html! { @if let Some(name) = named { (text(name, reader.language)) } @else if let Some((_, title)) = title { (title) } @else if share.fee.is_some() { (reader.t("booking-fee")) } }
    }

    /// What a refund returns, in words.
    fn items(&self, reader: &Reader, items: &[refunds::Item]) -> Markup {
        html! {
            ul class="plain" { @for item in items {
                li { @if item.units > 0 { (item.units) " × " } (self.component(reader, item.line_no, item.component_no)) " " span class="faded" { (self.money(item.minor).print()) } }
            } }
        }
    }

    fn has_left(&self) -> bool {
        self.left.iter().any(|l| l.units > 0 || l.minor > 0)
    }

    fn may_refund(&self) -> bool {
        self.who.staff.may(Scope::RefundsWrite).is_ok() && matches!(self.order.status, orders::OrderStatus::Paid | orders::OrderStatus::PartlyRefunded)
    }
}

pub(super) fn shell<'a>(reader: &'a Reader, festival: &'a Festival, title: &str) -> Shell<'a> {
    Shell {
        reader,
        title: format!("{title}: {}", festival.terms.name.read(reader.language)),
        festival: Some(festival),
        private: true,
        refresh: None,
        script_refreshes: false,
    }
}

pub(super) fn index(reader: &Reader, slug: &str, here: &str) -> Markup {
    html! {
        nav class="index" aria-label=(reader.t("desk")) {
            a href=(format!("/desk/{slug}")) { (reader.t("desk")) }
            a href=(format!("/desk/{slug}/money")) aria-current=[(here == "money").then_some("page")] { (reader.t("money-desk")) }
            a href=(format!("/desk/{slug}/settlement")) aria-current=[(here == "settlement").then_some("page")] { (reader.t("settlement")) }
            a href=(format!("/desk/{slug}/options")) aria-current=[(here == "options").then_some("page")] { (reader.t("rounds")) }
        }
    }
}

/// The state of a refund as fans and members read it.
#[must_use]
pub fn refund_state(reader: &Reader, festival: &Festival, refund: &Refund) -> Markup {
    let at = |at| reader.language.at(at, &festival.terms.time_zone).long();
    html! {
        @match refund.ended_at {
            Some(ended) if refund.status == RefundStatus::Done => (reader.f(if refund.by_hand { "refund-done-by-hand" } else { "refund-done-at" }, [("moment", at(ended))])),
            _ => (reader.t(&format!("refund-{}", refund.status.name()))),
        }
    }
}

/// An order at the desk.
#[handler]
pub async fn show(request: &Request, reader: Reader, app: Data<&App>, Path((slug, id)): Path<(String, OrderId)>) -> PageResult {
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::OrdersRead).await? else { return Ok(see_other("/sign-in")) };
    let sheet = Sheet::read(&app, who, festival, id).await?;
    Ok(sheet_page(&reader, &sheet, &[], None))
}

fn sheet_page(reader: &Reader, sheet: &Sheet, typed: &[(String, String)], hurt: Option<&str>) -> Response {
    let order = &sheet.order;
    let at = |at| reader.language.at(at, &sheet.festival.terms.time_zone).long();
    shell(reader, &sheet.festival, &reader.f("order-number", [("number", order.number())])).page(&html! {
        main id="content" {
            div class="panel cover flood" {
                (index(reader, &sheet.festival.terms.slug, "order"))
                h1 { (reader.f("order-number", [("number", order.number())])) }
                dl class="figures" {
                    div { dt { (reader.t("total")) } dd { (order.total.print()) } }
                    div { dt { (reader.t("col-left")) } dd { (sheet.money(sheet.left.iter().map(|l| l.minor).sum()).print()) } }
                    div { dt { (reader.t("refunded-so-far")) } dd { (sheet.money(sheet.refunds.iter().filter(|r| r.status == RefundStatus::Done).map(|r| r.amount.minor).sum()).print()) } }
                }
                p { @if sheet.who.staff.masked { (masked(&order.email)) } @else { (order.buyer_name) @if !order.buyer_name.is_empty() { " · " } (order.email) } }
                p { b { (reader.t(order.status.word())) } " · " (reader.t("placed")) " " (at(order.placed_at)) }
            }
            div class="gatefold" {
                div class="panel" {
                    section aria-labelledby="bought" {
                        header class="head" { h2 id="bought" { (reader.t("what-was-bought")) } }
                        div class="scroll" role="region" tabindex="0" aria-labelledby="bought" { table class="log" {
                            thead { tr { th scope="col" { (reader.t("offer")) } th scope="col" class="n" { (reader.t("pieces")) } th scope="col" class="n" { (reader.t("money")) } th scope="col" class="n" { (reader.t("col-left")) } } }
                            tbody { @for line in &order.lines {
                                tr { th scope="row" { (sheet.line(reader, line.line_no)) } td class="n" { (line.quantity) } td class="n" { (line.total.print()) } td {} }
                                @for share in &line.shares {
                                    @let left = sheet.left.iter().find(|l| (l.line_no, l.component_no) == (line.line_no, share.component_no));
                                    tr { td { "· " (sheet.component(reader, line.line_no, share.component_no)) } td class="n" { (line.quantity) } td class="n" { (sheet.money(share.minor * i64::from(line.quantity)).print()) } td class="n" { @if let Some(left) = left { (left.units) " · " (sheet.money(left.minor).print()) } } }
                                }
                            } }
                        } }
                    }
                    section aria-labelledby="payments" {
                        header class="head" { h2 id="payments" { (reader.t("payments")) } }
                        @if sheet.payments.is_empty() { p class="faded" { (reader.t("no-payments")) } } @else { p { a href=(format!("/desk/{}/orders/{}/dispute-file", sheet.festival.terms.slug, order.order_id)) { (reader.t("dispute-file")) } } }
                        ul class="ledger" { @for payment in &sheet.payments {
                            li { p { b { (payment.amount.print()) } " · " (reader.t(&format!("payment-{}", payment.status.name()))) " · " (payment.provider) br; span class="faded" { (at(payment.created_at)) @if let Some(reason) = &payment.reason { " · " (reason) } } } }
                        } }
                    }
                    section aria-labelledby="refunds" {
                        header class="head" { h2 id="refunds" { (reader.t("refunds")) } }
                        @if sheet.refunds.is_empty() { p class="faded" { (reader.t("no-refunds")) } }
                        ul class="ledger" { @for refund in &sheet.refunds { li { (refund_entry(reader, sheet, refund)) } } }
                    }
                    section aria-labelledby="tickets" {
                        header class="head" { h2 id="tickets" { (reader.t("tickets")) } }
                        @if sheet.tickets.is_empty() { p class="faded" { (reader.t("no-tickets-in-order")) } }
                        ul class="ledger" { @for ticket in &sheet.tickets {
                            li { p { b class="human" { "…" (ticket.number[12..].to_uppercase()) } " · " (sheet.component(reader, ticket.line_no, ticket.component_no)) " · " (reader.t(ticket.status.word())) @if !sheet.who.staff.masked && !ticket.holder_name.is_empty() { br; span class="faded" { (ticket.holder_name) } } } }
                        } }
                    }
                }
                @if sheet.may_refund() || order.paid_at.is_some() { div class="panel" { @if sheet.may_refund() { (refund_form(reader, sheet, typed, hurt)) } @else if order.paid_at.is_some() && !sheet.has_left() { p class="faded" { (reader.t("nothing-left")) } } } }
            }
        }
    })
}

fn refund_entry(reader: &Reader, sheet: &Sheet, refund: &Refund) -> Markup {
    let base = format!("/desk/{}/refunds/{}", sheet.festival.terms.slug, refund.refund_id);
    let may = sheet.who.staff.may(Scope::MoneyWrite).is_ok();
    let note = format!("note-{}", refund.refund_id);
    let at = |at| reader.language.at(at, &sheet.festival.terms.time_zone).long();
    html! {
        p { b { (refund.amount.print()) } " · " @if let Some(why) = refund.reason { (reader.t(&format!("why-{}", why.name()))) } br; (reader.t(&format!("desk-refund-{}", refund.status.name()))) @if let Some(at_last) = refund.ended_at { " · " (at(at_last)) } @if refund.by_hand { " · " (reader.t("by-hand")) } @if refund.kept.minor > 0 && refund.status != RefundStatus::Withdrawn { br; (reader.f("kept-of-it", [("amount", refund.kept.print())])) } @if !sheet.who.staff.masked && !refund.note.is_empty() { br; span class="faded" { (refund.note) } } @if let Some(error) = refund.last_error.as_ref().filter(|_| !sheet.who.staff.masked) { br; span class="hurt" { (error) } } }
        (sheet.items(reader, &refund.items))
        @if may && matches!(refund.status, RefundStatus::Failed | RefundStatus::WaitingForFunds) {
            p { (reader.t("refund-decide-lead")) }
            @let form = |decision: Decision, more: Markup| html! {
                form class="stack" method="post" action=(format!("{base}/decisions")) data-once="" {
                    input type="hidden" name="decision" value=(decision.name());
                    (more)
                    div { button class="button plain" { (reader.t(&format!("refund-decision-{}", decision.name()))) } }
                }
            };
            div class="stack" {
                (form(Decision::Again, html! {}))
                @if refund.returned_at.is_none() && !matches!(refund.reason, Some(RefundReason::LateMoney | RefundReason::HandedBack)) { (form(Decision::Withdrawn, html! {})) }
                (form(Decision::ByHand, html! { div class="field" { label for=(note) { (reader.t("paid-how")) } input id=(note) name="note" maxlength="500" autocomplete="off" required; } }))
            }
        }
    }
}

/// The form that gives money back: everything, or units of lines, or units and money of components.
fn refund_form(reader: &Reader, sheet: &Sheet, typed: &[(String, String)], hurt: Option<&str>) -> Markup {
    let reason = field(typed, "reason");
    html! {
        form class="stack" method="post" action=(format!("{}/refunds#give-back", sheet.url())) id="give-back" {
            header class="head" { h2 { (reader.t("give-back")) } p { (reader.t("give-back-lead")) } }
            @if let Some(hurt) = hurt { p class="notice bad" id="give-back-hurt" role="alert" tabindex="-1" { (hurt) } }
            @if !sheet.has_left() { p class="faded" { (reader.t("nothing-left")) } } @else {
                fieldset { legend class="unseen" { (reader.t("give-back-what")) }
                label class="choice" { input type="radio" name="what" value="all" checked[field(typed, "what") != "parts"]; span { b { (reader.t("give-back-all")) } } small class="faded" { (sheet.money(sheet.left.iter().filter(|l| !(l.is_fee && l.is_kept)).map(|l| l.minor).sum()).print()) } }
                label class="choice" { input type="radio" name="what" value="parts" checked[field(typed, "what") == "parts"]; span { b { (reader.t("give-back-parts")) } } }
                }
                fieldset class="stack" {
                    legend class="unseen" { (reader.t("give-back-parts")) }
                    @for line in &sheet.order.lines {
                        @let left: Vec<&Left> = sheet.left.iter().filter(|l| l.line_no == line.line_no && (l.units > 0 || l.minor > 0)).collect();
                        @let most = left.iter().map(|l| l.units).max().unwrap_or(0);
                        @let whole = format!("units-{}", line.line_no);
                        @if !left.is_empty() {
                            div class="field" { label for=(whole) { (sheet.line(reader, line.line_no)) " " span class="faded" { (reader.f("at-most-n", [("n", most.to_string())])) } } input id=(whole) name=(whole) type="number" inputmode="numeric" min="0" max=(most) value=(field(typed, &whole)); }
                            details open[left.iter().any(|l| !field(typed, &format!("units-{}-{}", l.line_no, l.component_no)).is_empty() || !field(typed, &format!("amount-{}-{}", l.line_no, l.component_no)).is_empty())] {
                                summary { (reader.t("give-back-components")) span class="unseen" { " " (sheet.line(reader, line.line_no)) } }
                                @for l in &left {
                                    @let (units, amount) = (format!("units-{}-{}", l.line_no, l.component_no), format!("amount-{}-{}", l.line_no, l.component_no));
                                    div class="field" { label for=(units) { (sheet.component(reader, l.line_no, l.component_no)) " " span class="faded" { (reader.f("at-most-n", [("n", l.units.to_string())])) } } input id=(units) name=(units) type="number" inputmode="numeric" min="0" max=(l.units) value=(field(typed, &units)); }
                                    div class="field" { label for=(amount) { (sheet.component(reader, l.line_no, l.component_no)) ": " (reader.t("money-alone")) " " span class="faded" { (reader.f("at-most-n", [("n", sheet.money(l.minor).print())])) } } input id=(amount) name=(amount) inputmode="decimal" maxlength="20" autocomplete="off" value=(field(typed, &amount)); }
                                }
                            }
                        }
                    }
                }
                div class="field" { label for="kept" { (reader.f("keep-of-it", [("currency", sheet.order.total.currency.code().to_owned())])) } input id="kept" name="kept" inputmode="decimal" maxlength="20" autocomplete="off" value=(field(typed, "kept")); }
                @if sheet.left.iter().any(|l| l.is_fee && l.minor > 0) { div class="field" { label for="fees" { (reader.t("booking-fee")) } select id="fees" name="fees" {
                    @for one in ["by-rule", "back", "stays"] { option value=(one) selected[field(typed, "fees") == one] { (reader.t(&format!("fee-{one}"))) } }
                } } }
                div class="field" { label for="reason" { (reader.t("reason")) } select id="reason" name="reason" {
                    @for one in RefundReason::GIVEN { option value=(one.name()) selected[one.name() == reason] { (reader.t(&format!("why-{}", one.name()))) } }
                } }
                div class="field" { label for="note" { (reader.t("note")) } input id="note" name="note" maxlength="500" autocomplete="off" value=(field(typed, "note")); }
                div { button class="button" { (reader.t("give-back-look")) } }
            }
        }
    }
}

/// Why a form asks for nothing that can be done.
enum NoForm {
    /// Everything is chosen, and parts of it.
    Both,
    Units,
    Amount(String),
}

/// What the form asks for.
fn asked<'a>(sheet: &Sheet, typed: &'a [(String, String)]) -> Result<Asked<'a>, NoForm> {
    let currency = sheet.order.total.currency;
    let money = |text: &str| if text.is_empty() { Ok(0) } else { Money::read(text, currency).map(|m| m.minor).ok_or_else(|| NoForm::Amount(text.to_owned())) };
    let units = |name: &str| match field(typed, name).trim() {
        "" => Ok(0),
        text => text.parse::<i32>().ok().filter(|n| *n >= 0).ok_or(NoForm::Units),
    };
    let mut parts = Vec::new();
    let named = typed.iter().any(|(name, value)| (name.starts_with("units-") || name.starts_with("amount-")) && !value.trim().is_empty());
    if field(typed, "what") != "parts" && named {
        return Err(NoForm::Both);
    }
    if field(typed, "what") == "parts" {
        for line in &sheet.order.lines {
            let whole = units(&format!("units-{}", line.line_no))?;
            if whole > 0 {
                parts.push(Part { line_no: line.line_no, units: Some(whole), ..Part::default() });
            }
            for share in &line.shares {
                let part = Part { line_no: line.line_no, component_no: Some(share.component_no), ..Part::default() };
                let some = units(&format!("units-{}-{}", line.line_no, share.component_no))?;
                if some > 0 {
                    parts.push(Part { units: Some(some), ..part.clone() });
                }
                let minor = money(field(typed, &format!("amount-{}-{}", line.line_no, share.component_no)).trim())?;
                if minor > 0 {
                    parts.push(Part { amount_minor: Some(minor), ..part });
                }
            }
        }
        if parts.is_empty() {
            return Err(NoForm::Units);
        }
    }
    let reason = RefundReason::GIVEN.into_iter().find(|one| one.name() == field(typed, "reason")).unwrap_or(RefundReason::Asked);
    Ok(Asked {
        order_id: sheet.order.order_id,
        parts,
        kept_minor: money(field(typed, "kept").trim())?,
        keep_fees: match field(typed, "fees") {
            "back" => Some(false),
            "stays" => Some(true),
            _ => None,
        },
        currency: Some(currency),
        reason,
        note: field(typed, "note").trim(),
    })
}

/// Gives money back in two steps: what it would be, then that it is meant.
#[handler]
pub async fn give_back(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, Path((slug, id)): Path<(String, OrderId)>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::OrdersRead).await? else { return Ok(see_other("/sign-in")) };
    who.staff.may(Scope::RefundsWrite).map_err(Problem::from)?;
    let staff = who.staff.clone();
    let typed = fields(body).await?;
    let sheet = Sheet::read(&app, who, festival, id).await?;
    let again = |hurt: &str| Ok(sheet_page(&reader, &sheet, &typed, Some(hurt)));
    let asked = match asked(&sheet, &typed) {
        Ok(asked) => asked,
        Err(NoForm::Both) => return again(&reader.t("give-back-both")),
        Err(NoForm::Units) => return again(&reader.t("give-back-none")),
        Err(NoForm::Amount(text)) => return again(&reader.f("not-an-amount", [("text", text)])),
    };
    let sure: Option<i64> = field(&typed, "sure").parse().ok();
    let outcome = match sure {
        None => refunds::quote(&app, &staff, &asked).await.map(Some),
        Some(minor) => refunds::request(&app, &staff, &asked, field(&typed, "key"), Some(sheet.money(minor))).await.map(|_| None),
    };
    match outcome {
        Ok(None) => Ok(see_other(&format!("{}#refunds", sheet.url()))),
        Ok(Some(quote)) if quote.used > 0 && staff.may(Scope::MoneyWrite).is_err() => again(&reader.t("give-back-used-finance")),
        Ok(Some(quote)) if quote.used > 0 && asked.note.is_empty() => again(&reader.t("give-back-used-note")),
        Ok(Some(quote)) => Ok(sure_page(&reader, &app, &sheet, &typed, &quote)),
        Err(RefundError::Wrong(..)) => again(&reader.t("give-back-too-much")),
        Err(RefundError::Amount(_)) => again(&reader.t("give-back-changed")),
        Err(RefundError::Nothing) => again(&reader.t("nothing-left")),
        Err(RefundError::OnAWrist(_)) => again(&reader.t("give-back-on-a-wrist")),
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// What would go back, to be confirmed.
fn sure_page(reader: &Reader, app: &App, sheet: &Sheet, typed: &[(String, String)], quote: &Quote) -> Response {
    let key = crate::id::fresh(sheet.order.order_id.festival(), app.clock.now());
    shell(reader, &sheet.festival, &reader.t("give-back")).page(&html! {
        main id="content" class="panel held-up" {
            (index(reader, &sheet.festival.terms.slug, "order"))
            h1 { (reader.f("give-back-sure", [("amount", quote.amount.print())])) }
            (sheet.items(reader, &quote.items))
            @if !quote.ticket_ids.is_empty() { p { (reader.f("give-back-tickets", [("count", quote.ticket_ids.len().to_string())])) } }
            @let kept = quote.items.iter().map(|item| item.minor).sum::<i64>() - quote.amount.minor;
            @if kept > 0 { p { (reader.f("kept-of-it", [("amount", sheet.money(kept).print())])) } }
            @if quote.used > 0 { p class="notice bad" { (reader.f("give-back-used", [("count", quote.used.to_string())])) } }
            form class="stack" method="post" action=(format!("{}/refunds", sheet.url())) data-once="" {
                @for (name, value) in typed.iter().filter(|(name, _)| name.as_str() != "sure" && name.as_str() != "key") { input type="hidden" name=(name) value=(value); }
                input type="hidden" name="key" value=(key);
                div class="actions" { button class="button" name="sure" value=(quote.amount.minor) { (reader.f("give-back-do", [("amount", quote.amount.print())])) } a class="button plain" href=(sheet.url()) { (reader.t("back")) } }
            }
        }
    })
}

/// Decides a refund that its provider refused.
#[handler]
pub async fn decide(request: &Request, body: poem::Body, app: Data<&App>, Path((slug, id)): Path<(String, RefundId)>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::OrdersRead).await? else { return Ok(see_other("/sign-in")) };
    let fields = fields(body).await?;
    let decision = Decision::ALL.into_iter().find(|one| one.name() == field(&fields, "decision")).ok_or_else(|| MALFORMED.problem())?;
    if id.festival() != festival.festival_id {
        return Err(NOT_FOUND.problem().into());
    }
    let order_id = refunds::refund(&app.pools.web, id).await.map_err(Problem::from)?.ok_or_else(|| NOT_FOUND.problem())?.order_id;
    match refunds::decide(&app, &who.staff, id, decision, field(&fields, "note").trim()).await {
        // Whatever became of it meanwhile, the order says it. A browser asks for the note itself.
        Ok(_) | Err(RefundError::State(_) | RefundError::Returned | RefundError::Wrong(..)) => {
            Ok(see_other(&format!("/desk/{slug}/orders/{order_id}#refunds")))
        }
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// What a provider says otherwise than we do, and when that was looked at last.
fn differing(reader: &Reader, who: &Member, festival: &Festival, differences: &[Difference], latest: Option<&Comparison>) -> Markup {
    let slug = &festival.terms.slug;
    html! {
        section class="panel" aria-labelledby="differing" {
            header class="head" {
                h2 id="differing" { (reader.t("differences")) }
                p { @match latest {
                    Some(latest) => { (reader.f("compared", [("day", latest.day.to_string()), ("payments", latest.payments.to_string()), ("refunds", latest.refunds.to_string())])) }
                    None => { (reader.t("compared-never")) }
                } }
            }
            @if differences.is_empty() { p class="faded" { (reader.t("differences-none")) } }
            ul class="ledger" { @for one in differences {
                li {
                    p {
                        b { (reader.t(&format!("differs-{}", one.kind.name()))) } br;
                        (reader.f("differs-amounts", [("ours", one.ours.print()), ("theirs", one.theirs.print())]))
                        @if let Some(order) = one.order_id { " · " (reader.t("order")) " " a href=(format!("/desk/{slug}/orders/{order}")) { (orders::number(order)) } }
                        br; span class="faded" { (one.day.to_string()) " · " (one.provider_ref) }
                    }
                    @if who.staff.may(Scope::MoneyWrite).is_ok() {
                        form class="stack" method="post" action=(format!("/desk/{slug}/payment-differences/{}/clearances", one.difference_id)) {
                            div class="field" { label for=(format!("note-{}", one.difference_id)) { (reader.t("difference-note")) } input id=(format!("note-{}", one.difference_id)) name="note" required maxlength="500"; }
                            div { button class="button plain" { (reader.t("difference-clear")) } }
                        }
                    }
                }
            } }
        }
    }
}

/// Notes that somebody looked at a difference.
#[handler]
pub async fn clear(request: &Request, body: poem::Body, app: Data<&App>, Path((slug, id)): Path<(String, DifferenceId)>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::OrdersRead).await? else { return Ok(see_other("/sign-in")) };
    who.staff.may(Scope::MoneyWrite).map_err(Problem::from)?;
    if id.festival() != festival.festival_id {
        return Err(NOT_FOUND.problem().into());
    }
    comparison::clear(&app, &who.staff, id, field(&fields(body).await?, "note")).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/money#differing")))
}

/// The money of a festival that needs somebody.
#[handler]
pub async fn page(request: &Request, reader: Reader, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::OrdersRead).await? else { return Ok(see_other("/sign-in")) };
    let mut tx = app.for_promoter(who.staff.promoter).await.map_err(Problem::from)?;
    let cases: Vec<Listed> = refunds::attention(&mut tx, festival.festival_id, app.clock.now()).await.map_err(Problem::from)?;
    let open = payments::open(&mut tx, festival.festival_id).await.map_err(Problem::from)?;
    let (differences, latest) = comparison::open(&mut tx, festival.festival_id).await.map_err(Problem::from)?;
    drop(tx);
    let at = |at| reader.language.at(at, &festival.terms.time_zone).long();
    let order = |id: OrderId| html! { a href=(format!("/desk/{slug}/orders/{id}")) { (orders::number(id)) } };
    Ok(shell(&reader, &festival, &reader.t("money-desk")).page(&html! {
        main id="content" {
            div class="panel cover flood" { (index(&reader, &slug, "money")) h1 { (reader.t("money-desk")) } @if who.staff.may(Scope::AccountsWrite).is_ok() { p { a href="/payment-accounts" { (reader.t("treasury")) } } } }
            div class="gatefold" {
                div class="panel" {
                section aria-labelledby="cases" {
                    header class="head" { h2 id="cases" { (reader.t("refund-cases")) } p { (reader.t("refund-cases-lead")) } }
                    @if cases.is_empty() { p class="faded" { (reader.t("refund-cases-none")) } }
                    ul class="ledger" { @for case in &cases {
                        li { p { b { (case.amount.print()) } " · " (reader.t("order")) " " (order(case.order_id)) br; @if case.reason == Some(RefundReason::Disputed) { (reader.t("desk-disputed")) } @else { (reader.t(&format!("desk-refund-{}", case.status.name()))) } @if let Some(error) = case.last_error.as_ref().filter(|_| !who.staff.masked) { br; span class="hurt" { (error) } } br; span class="faded" { (at(case.requested_at)) } } }
                    } }
                }
                section aria-labelledby="open" {
                    header class="head" { h2 id="open" { (reader.t("payments-open")) } p { (reader.t("payments-open-lead")) } }
                    @if open.is_empty() { p class="faded" { (reader.t("payments-open-none")) } }
                    ul class="ledger" { @for payment in &open {
                        li { p { b { (payment.amount.print()) } " · " (reader.t("order")) " " (order(payment.order_id)) br; (reader.t(&format!("payment-{}", payment.status.name()))) " · " (payment.provider) br; span class="faded" { (at(payment.created_at)) } } }
                    } }
                }
                }
                (differing(&reader, &who, &festival, &differences, latest.as_ref()))
            }
        }
    }))
}
