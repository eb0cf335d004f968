//! Emails: tables, inline styles, 600 px, spot and ink as hex from the server; a plain-text part alike. Every color pair is
//! computed here, because mail programs know no relative colors.

mod asks;

use std::{fmt::Write, future::Future, pin::Pin};

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

use crate::{
    accounts,
    app::App,
    entry::binding::binding,
    festivals::{self, Festival},
    id::{OrderId, PaymentId, TransferId},
    library::{
        self,
        transfer::{self, TransferStatus},
    },
    mail::{Email, Letter, RenderError},
    money::percent,
    offers::{self, AddOn, Pass},
    orders::api::{breakdown, order_url},
    orders::{self, Order},
    payments::{
        self,
        refunds::{self, RefundStatus},
    },
    secrets::Purpose,
    tickets::{
        self, Ticket, TicketStatus,
        picture::{self, Surface},
    },
    words::{Language, date_range},
};

pub use asks::{options, pay_offline, rescinded, waiting_list};

/// A letter that is being rendered.
pub type Rendered<'a> = Pin<Box<dyn Future<Output = Result<Letter, RenderError>> + Send + 'a>>;

const TEXT: &str = "font-family:'Helvetica Neue',Helvetica,Arial,'PingFang SC','Microsoft YaHei',sans-serif;";
const POSTER: &str =
    "font-family:'Avenir Next Condensed','Bahnschrift','Nimbus Sans Narrow','Roboto Condensed','Arial Narrow',Arial,'PingFang SC',sans-serif;font-weight:bold;";

/// Black or white, whichever reads on a color: by its relative luminance (WCAG 2.2).
fn on(spot: &str) -> &'static str {
    let part = |i: usize| u8::from_str_radix(spot.get(i..i + 2).unwrap_or("00"), 16).map_or(0.0, |b| f64::from(b) / 255.0);
    let linear = |c: f64| if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
    let y = 0.2126 * linear(part(1)) + 0.7152 * linear(part(3)) + 0.0722 * linear(part(5));
    if y > 0.179 { "#131315" } else { "#ffffff" }
}

/// The sleeve of an email: head, flood with a title, body, foot.
fn sleeve(language: Language, subject: &str, festival: Option<&Festival>, flood: &Markup, body: &Markup, why: &str) -> String {
    let spot = festival.map_or("#c9cac4", |f| f.terms.spot.as_str());
    let ink = on(spot);
    let number = festival.map(|f| f.festival_id.catalog_number()).unwrap_or_default();
    html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head { meta charset="utf-8"; meta name="viewport" content="width=device-width, initial-scale=1"; meta name="color-scheme" content="light"; title { (subject) } }
            body style="margin:0;padding:0;background:#eeeeea" {
                table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" bgcolor="#eeeeea" { tr { td align="center" {
                    table role="presentation" width="600" cellpadding="0" cellspacing="0" border="0" style="width:100%;max-width:600px" {
                        tr {
                            td bgcolor="#101012" style={ "padding:14px 24px;font-size:16px;color:#ffffff;" (POSTER) } { "Gatefold" }
                            td bgcolor="#101012" align="right" style={ "padding:14px 24px;font-size:16px;color:#ffffff;" (POSTER) } { (number) }
                        }
                        tr { td colspan="2" bgcolor=(spot) style={ "padding:28px 24px 24px;color:" (ink) ";" (POSTER) } { (flood) } }
                        tr { td colspan="2" bgcolor="#fbfbf8" style={ "padding:28px 24px 36px;font-size:17px;line-height:26px;color:#131315;" (TEXT) } { (body) } }
                        tr { td colspan="2" style={ "padding:20px 24px 40px;font-size:13px;line-height:19px;color:#57575c;" (TEXT) } { (why) } }
                    }
                } } }
            }
        }
    }
    .into_string()
}

fn button(href: &str, words: &str) -> Markup {
    html! {
        table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="margin:16px 0 0" { tr { td bgcolor="#131315" {
            a href=(href) style={ "display:block;padding:18px 20px;font-size:20px;line-height:24px;color:#ffffff;text-decoration:none;" (POSTER) } { (words) }
        } } }
    }
}

fn title(festival: &Festival, language: Language, dates: &str) -> Markup {
    let f = &festival.terms;
    html! {
        h1 style="margin:0;font-size:64px;line-height:60px;font-weight:bold;letter-spacing:-1px" lang=(f.language.tag()) { (f.name.read(f.language)) }
        div style={ "margin-top:14px;font-size:16px;line-height:22px;font-weight:bold;" (TEXT) } { (dates) @if !dates.is_empty() { br; } (f.place.read(language)) }
    }
}

/// The confirmation of an order: tickets as inline QR, links to order and album.
#[must_use]
pub fn confirmation<'a>(app: &'a App, email: &'a Email) -> Rendered<'a> {
    Box::pin(async move {
        let id = OrderId(email.thing_id);
        let pool = &app.pools.work;
        let order = orders::order(pool, id).await?.filter(|o| o.paid_at.is_some()).ok_or(RenderError::Moot)?;
        let festival = festivals::one(pool, id.festival()).await?.ok_or(RenderError::Moot)?;
        let f = &festival.terms;
        let w = email.language;
        let mut issued = tickets::of_order(pool, id).await?;
        let count = issued.len();
        // What was returned before the email left opens no gate; what was passed on is somebody else's.
        issued.retain(|ticket| !matches!(ticket.status, TicketStatus::Suspended | TicketStatus::Void));
        let is_less = issued.len() < count;
        let passed_on = tickets::passed_on(pool, id).await?;
        issued.retain(|ticket| !passed_on.contains_key(&ticket.ticket_id));
        let albums = library::albums(pool, id).await?;
        let offers = offers::offers(pool, id.festival()).await?;
        let passes = offers::passes(pool, id.festival()).await?;
        let add_ons = offers::add_ons(pool, id.festival()).await?;
        let days = festivals::days(pool, id.festival()).await?;
        let dates = match (days.first(), days.last()) {
            (Some(first), Some(last)) => date_range(w, first.opens_at, last.opens_at, &f.time_zone),
            _ => String::new(),
        };
        let url = order_url(app, id, order.link_generation);
        let subject = w.f("mail-confirmation-subject", [("festival", f.name.read(w).to_owned())]).into_owned();
        let hello = if order.buyer_name.is_empty() { w.t("mail-hello-nobody") } else { w.f("mail-hello", [("name", order.buyer_name.clone())]) };
        let lead = match (is_less, issued.is_empty()) {
            (true, true) => w.t("mail-all-returned").into_owned(),
            (true, false) => format!("{}{}{}", w.f("mail-confirmation-lead", [("count", issued.len().to_string())]), w.t("gap"), w.t("mail-some-returned")),
            (false, _) => w.f("mail-confirmation-lead", [("count", issued.len().to_string())]).into_owned(),
        };
        let moment = order.paid_at.map(|at| w.at(at, &f.time_zone).long()).unwrap_or_default();
        let inside = breakdown(&order.lines, order.total);
        let fee = (inside.fee.minor > 0).then(|| w.f("mail-fee", [("amount", inside.fee.print())]).into_owned());
        let taxes = inside.taxes.iter().map(|t| w.f("mail-tax", [("amount", t.amount.print()), ("rate", percent(t.rate_ppm))]).into_owned());
        let taxes: Vec<String> = fee.into_iter().chain(taxes).collect();
        let paid = if taxes.is_empty() {
            w.f("mail-paid-plain", [("moment", moment), ("number", order.number())])
        } else {
            w.f("mail-paid-inside", [("taxes", taxes.join(&w.t("comma"))), ("moment", moment), ("number", order.number())])
        };
        let (mut codes, mut pictures) = (Vec::new(), Vec::new());
        let live = |from: Option<DateTime<Utc>>| w.f("live-order", [("moment", from.map(|at| w.at(at, &f.time_zone).long()).unwrap_or_default())]).into_owned();
        for (i, ticket) in issued.iter().enumerate() {
            let code = ticket.code_text(app).await?.ok_or_else(|| sqlx::Error::Protocol("a signing key cannot be opened".to_owned()))?;
            let name = named(ticket, &passes, &add_ons, w);
            // A code that its phone makes anew is in no email.
            let live = binding(app, ticket).await?.map(|binding| live(binding.opens_at));
            if let Some(png) = picture::png(&code, Surface::Print, 6).filter(|_| live.is_none()) {
                pictures.push((format!("ticket-{}", i + 1), png));
            }
            codes.push((name, ticket, live));
        }
        let row = "padding:12px 0;border-top:1px solid #c4c4be;font-size:16px;line-height:22px;color:#131315;";
        let body = html! {
            p style="margin:0" { (hello) br; br; (lead) @if !albums.is_empty() { (w.t("gap")) (w.t("mail-and-record")) } }
            (button(&url, &w.t("mail-open-tickets")))
            @for album in &albums { (button(&url, &w.f("mail-play", [("title", album.title.clone())]))) }
            @for (i, (name, ticket, live)) in codes.iter().enumerate() {
                table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="margin:28px 0 0" bgcolor="#ffffff" { tr { td align="center" style={ "padding:16px;color:#131315;" (TEXT) } {
                    h2 style={ "margin:0;font-size:24px;line-height:30px;" (POSTER) } { (name) @if codes.len() > 1 { " " (w.f("n-of-m", [("n", (i + 1).to_string()), ("m", codes.len().to_string())])) } }
                    @if let Some(live) = live { p style="margin:12px 0;font-size:16px;line-height:24px" { (live) } }
                    @else { img src=(format!("cid:ticket-{}", i + 1)) width="342" height="342" alt=(w.f("qr-of", [("n", (i + 1).to_string()), ("m", codes.len().to_string())])) style="display:block;margin:8px auto;width:342px;max-width:100%;height:auto"; }
                    div style="font-size:16px" { (ticket.holder_name) " " span style="font-family:monospace;font-weight:bold" { (ticket.short_code(app)) } }
                    @if codes.len() > 1 || live.is_some() { div style="margin-top:12px;font-size:16px;line-height:28px" { a href=(ticket.url(app)) style="color:#131315" { (w.t("mail-own-link")) } } }
                } } }
            }
            table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="margin:28px 0 0" {
                @for line in &order.lines {
                    tr {
                        td style={ (row) (TEXT) } { (line.quantity) " × " @if let Some(offer) = offers.iter().find(|o| o.offer_id == line.offer_id) { (offer.name.read(w)) } }
                        td align="right" valign="top" style={ (row) (TEXT) "white-space:nowrap" } { (line.total.print()) }
                    }
                }
                tr {
                    td style={ "padding:12px 0;border-top:4px solid #131315;border-bottom:4px solid #131315;font-size:30px;line-height:34px;" (POSTER) } { (w.t("total")) }
                    td align="right" style={ "padding:12px 0;border-top:4px solid #131315;border-bottom:4px solid #131315;font-size:30px;line-height:34px;" (POSTER) } { (order.total.print()) }
                }
            }
            p style="margin:12px 0 0;font-size:13px;line-height:19px;color:#57575c" { (paid) }
            @if !issued.is_empty() { p style="margin:24px 0 0" { b { (w.t("mail-before")) } br; (w.t("mail-before-lead")) } }
        };
        let mut text = format!("{}\n{} {}\n\n{hello}\n\n{lead}\n", f.name.read(w), dates, f.place.read(w));
        if !albums.is_empty() {
            let _ = writeln!(text, "{}", w.t("mail-and-record"));
        }
        let _ = writeln!(text, "\n{}:\n{url}\n", w.t("mail-open-tickets"));
        for line in &order.lines {
            let name = offers.iter().find(|o| o.offer_id == line.offer_id).map(|o| o.name.read(w).to_owned()).unwrap_or_default();
            let _ = writeln!(text, "{} × {name}  {}", line.quantity, line.total.print());
        }
        let _ = writeln!(text, "{}  {}\n{paid}", w.t("total"), order.total.print());
        for (name, ticket, live) in &codes {
            let _ = writeln!(text, "\n{name} {} {}\n{}", ticket.holder_name, ticket.short_code(app), ticket.url(app));
            if let Some(live) = live {
                let _ = writeln!(text, "{live}");
            }
        }
        if !issued.is_empty() {
            let _ = writeln!(text, "\n{}\n{}", w.t("mail-before"), w.t("mail-before-lead"));
        }
        let _ = writeln!(text, "\n{}", w.t("mail-why"));
        let html = sleeve(w, &subject, Some(&festival), &title(&festival, w, &dates), &body, &w.t("mail-why"));
        Ok(Letter { subject, text, html, pictures })
    })
}

/// The sign-in email of a member: a link, and six digits beside it. Their life begins now.
#[must_use]
pub fn sign_in<'a>(app: &'a App, email: &'a Email) -> Rendered<'a> {
    Box::pin(async move {
        let (name, language) = accounts::begin_life(app, email.thing_id).await?.ok_or(RenderError::Moot)?;
        let w = language;
        let link = format!("{}/sign-in/{}/{}", app.settings.public_url, email.thing_id, app.secrets.link(Purpose::SignInLink, email.thing_id, 0));
        let code = app.secrets.digits(Purpose::SignInCode, email.thing_id);
        let spaced = format!("{} {}", &code[..3], &code[3..]);
        let subject = w.f("mail-sign-in-subject", [("code", spaced.clone())]).into_owned();
        let flood = html! { h1 style="margin:0;font-size:64px;line-height:64px;font-weight:bold" { (spaced) } };
        let body =
            html! { p style="margin:0" { (w.f("mail-hello", [("name", name.clone())])) br; br; (w.t("mail-sign-in-lead")) } (button(&link, &w.t("sign-in"))) };
        let text = format!("{}\n\n{}\n\n{link}\n\n{spaced}\n\n{}\n", w.f("mail-hello", [("name", name)]), w.t("mail-sign-in-lead"), w.t("mail-sign-in-why"));
        let html = sleeve(w, &subject, None, &flood, &body, &w.t("mail-sign-in-why"));
        Ok(Letter { subject, text, html, pictures: Vec::new() })
    })
}

/// A letter of one sentence, with the number of the order and a way on.
struct Note {
    subject: String,
    /// Whom it greets; nobody by name where it is empty.
    name: String,
    lead: String,
    /// The order that it is about, where it is about one.
    order: Option<OrderId>,
    /// Where its button leads, and what that says.
    way: Option<(String, String)>,
}

impl Note {
    fn letter(self, w: Language, festival: &Festival) -> Letter {
        let Self { subject, name, lead, order, way } = self;
        let hello = if name.is_empty() { w.t("mail-hello-nobody") } else { w.f("mail-hello", [("name", name)]) };
        let number = order.map(|order| w.f("order-number", [("number", orders::number(order))]));
        let body = html! {
            p style="margin:0" { (hello) br; br; @for (i, line) in lead.lines().enumerate() { @if i > 0 { br; } (line) } }
            @if let Some((url, words)) = &way { (button(url, words)) }
            @if let Some(number) = &number { p style="font-size:13px;color:#57575c" { (number) } }
        };
        let url = way.map(|(url, _)| format!("{url}\n\n")).unwrap_or_default();
        let number = number.map(|number| format!("{number}\n\n")).unwrap_or_default();
        let text = format!("{hello}\n\n{lead}\n\n{url}{number}{}\n", w.t("mail-why"));
        let html = sleeve(w, &subject, Some(festival), &title(festival, w, ""), &body, &w.t("mail-why"));
        Letter { subject, text, html, pictures: Vec::new() }
    }
}

/// The email that says that late money goes back.
#[must_use]
pub fn money_back<'a>(app: &'a App, email: &'a Email) -> Rendered<'a> {
    Box::pin(async move {
        let id = PaymentId(email.thing_id);
        let payment = payments::payment(&app.pools.work, id).await?.ok_or(RenderError::Moot)?;
        let festival = festivals::one(&app.pools.work, id.festival()).await?.ok_or(RenderError::Moot)?;
        let w = email.language;
        let subject = w.f("mail-money-back-subject", [("festival", festival.terms.name.read(w).to_owned())]).into_owned();
        // A captured payment has a reason where another amount came than was asked for.
        let key = if payment.reason.is_some() { "mail-money-wrong-lead" } else { "mail-money-back-lead" };
        let lead = w.f(key, [("amount", payment.amount.print())]).into_owned();
        Ok(Note { subject, name: String::new(), lead, order: Some(payment.order_id), way: None }.letter(w, &festival))
    })
}

/// The email that says that money went back, was refused, or stays because the return was withdrawn.
#[must_use]
pub fn refund<'a>(app: &'a App, email: &'a Email) -> Rendered<'a> {
    Box::pin(async move {
        let pool = &app.pools.work;
        // A later letter says what is true since.
        let refund = refunds::of_letter(pool, email.festival_id, email.thing_id).await?.ok_or(RenderError::Moot)?;
        let key = match refund.status {
            RefundStatus::Requested | RefundStatus::Submitted | RefundStatus::WaitingForFunds => "refund-requested",
            RefundStatus::Done if refund.amount.minor == 0 => "refund-free",
            RefundStatus::Done if refund.by_hand => "refund-by-hand",
            RefundStatus::Done => "refund-done",
            // No bank refused it: it is paid by hand.
            RefundStatus::Failed if payments::CollectionMethod::ALL.iter().any(|method| method.name() == refund.provider) => "refund-hand",
            RefundStatus::Failed => "refund-failed",
            RefundStatus::Withdrawn => "refund-withdrawn",
        };
        let festival = festivals::one(pool, email.festival_id).await?.ok_or(RenderError::Moot)?;
        let order = orders::order(pool, refund.order_id).await?.ok_or(RenderError::Moot)?;
        let w = email.language;
        let subject = w.f(&format!("mail-{key}-subject"), [("festival", festival.terms.name.read(w).to_owned())]).into_owned();
        let mut lead = w.f(&format!("mail-{key}-lead"), [("amount", refund.amount.print()), ("tickets", refund.ticket_ids.len().to_string())]).into_owned();
        if refund.kept.minor > 0 && refund.status != RefundStatus::Withdrawn {
            lead = format!("{lead}{}{}", w.t("gap"), w.f("mail-kept-of-it", [("amount", refund.kept.print())]));
        }
        let way = Some((order_url(app, refund.order_id, order.link_generation), w.t("mail-open-order").into_owned()));
        Ok(Note { subject, name: order.buyer_name, lead, order: Some(refund.order_id), way }.letter(w, &festival))
    })
}

/// A ticket whose change an email tells of, with its festival and order, and whether the email goes to a holder who took it.
async fn changed(app: &App, email: &Email) -> Result<(Ticket, Festival, Order, bool, String, String), RenderError> {
    let pool = &app.pools.work;
    let (ticket, is_holder, why, reader) = tickets::of_letter(pool, email.festival_id, email.thing_id).await?.ok_or(RenderError::Moot)?;
    let festival = festivals::one(pool, email.festival_id).await?.ok_or(RenderError::Moot)?;
    let order = orders::order(pool, ticket.order_id).await?.ok_or(RenderError::Moot)?;
    Ok((ticket, festival, order, is_holder, why, reader))
}

/// The email that says that a ticket has another code, or opens nothing any more: what is true when it leaves.
#[must_use]
pub fn ticket_changed<'a>(app: &'a App, email: &'a Email) -> Rendered<'a> {
    Box::pin(async move {
        let (ticket, festival, order, is_holder, why, reader) = changed(app, email).await?;
        // It is somebody else's since: their link is nothing for whoever had it before.
        if reader != email.recipient {
            return Err(RenderError::Moot);
        }
        let w = email.language;
        let key = match (ticket.status, why.as_str()) {
            // Its money goes back or went back; or it does not, and all is as before.
            (TicketStatus::Suspended | TicketStatus::Void, "suspended") => "returned",
            (TicketStatus::Valid, "reinstated") => "reinstated",
            // It was exchanged since, with its new code; or what became of it is told by a letter of its own.
            (TicketStatus::Exchanged, _) | (TicketStatus::Valid, "suspended") | (TicketStatus::Suspended | TicketStatus::Void, "reinstated") => {
                return Err(RenderError::Moot);
            }
            (TicketStatus::Valid, _) => "reissued",
            (TicketStatus::Void | TicketStatus::Suspended, _) => "voided",
        };
        // Whoever took a ticket has its link; what they did not leave an address for the order's reader finds on the page of the order.
        let url = if is_holder || ticket.claimed_at.is_none() { ticket.url(app) } else { order_url(app, ticket.order_id, order.link_generation) };
        let passes = offers::passes(&app.pools.work, email.festival_id).await?;
        let add_ons = offers::add_ons(&app.pools.work, email.festival_id).await?;
        let what = format!("{} …{}", named(&ticket, &passes, &add_ons, w), ticket.number[12..].to_uppercase());
        let subject = w.f(&format!("mail-{key}-subject"), [("festival", festival.terms.name.read(w).to_owned())]).into_owned();
        let lead = w.f(&format!("mail-{key}-lead"), [("ticket", what)]).into_owned();
        let way = Some((url, w.t("mail-open-ticket").into_owned()));
        Ok(Note { subject, name: ticket.holder_name, lead, order: Some(ticket.order_id), way }.letter(w, &festival))
    })
}

/// The emails of a ticket that is passed on: what is true when they leave.
#[must_use]
pub fn transfer<'a>(app: &'a App, email: &'a Email) -> Rendered<'a> {
    Box::pin(async move {
        let (pool, w) = (&app.pools.work, email.language);
        let transfer = transfer::transfer(pool, TransferId(email.thing_id)).await?.ok_or(RenderError::Moot)?;
        let ticket = tickets::ticket(pool, transfer.ticket_id).await?.ok_or(RenderError::Moot)?;
        let festival = festivals::one(pool, email.festival_id).await?.ok_or(RenderError::Moot)?;
        let order = orders::order(pool, ticket.order_id).await?.ok_or(RenderError::Moot)?;
        let is_theirs = ticket.link_generation == transfer.from_link_generation + 1;
        // Whoever sent it finds it on the page of the ticket; what they ordered also on that of the order.
        let (name, way) = match (email.kind.as_str(), transfer.status) {
            ("transfer_sent", TransferStatus::Sent) => (&transfer.to_name, Some((transfer.url(app), "mail-transfer-open"))),
            ("transfer_recalled", TransferStatus::Recalled) => (&transfer.to_name, None),
            ("transfer_accepted", TransferStatus::Accepted) if is_theirs => (&transfer.to_name, Some((ticket.url(app), "mail-open-ticket"))),
            ("transfer_passed", TransferStatus::Accepted) => (
                &transfer.from_name,
                Some((
                    format!(
                        "{}/t/{}/{}",
                        app.settings.public_url,
                        ticket.ticket_id,
                        app.secrets.link(Purpose::HolderLink, ticket.ticket_id.0, transfer.from_link_generation)
                    ),
                    "mail-transfer-look",
                )),
            ),
            ("transfer_declined", TransferStatus::Declined) if ticket.link_generation == transfer.from_link_generation => (
                &transfer.from_name,
                Some((if ticket.claimed_at.is_some() { ticket.url(app) } else { order_url(app, ticket.order_id, order.link_generation) }, "mail-open-ticket")),
            ),
            _ => return Err(RenderError::Moot),
        };
        let passes = offers::passes(pool, email.festival_id).await?;
        let add_ons = offers::add_ons(pool, email.festival_id).await?;
        let other = if email.kind == "transfer_passed" || email.kind == "transfer_declined" { &transfer.to_name } else { &transfer.from_name };
        let somebody = w.t("somebody").into_owned();
        let other = if other.is_empty() { &somebody } else { other };
        let key = email.kind.replace('_', "-");
        let said = [("festival", festival.terms.name.read(w).to_owned()), ("ticket", named(&ticket, &passes, &add_ons, w)), ("name", other.clone())];
        let subject = w.f(&format!("mail-{key}-subject"), said.clone()).into_owned();
        let lead = w.f(&format!("mail-{key}-lead"), said).into_owned();
        let way = way.map(|(url, words)| (url, w.t(words).into_owned()));
        Ok(Note { subject, name: name.clone(), lead, order: Some(ticket.order_id), way }.letter(w, &festival))
    })
}

/// The email that says that the tickets of an order have other codes.
#[must_use]
pub fn codes_changed<'a>(app: &'a App, email: &'a Email) -> Rendered<'a> {
    Box::pin(async move {
        let (ticket, festival, order, ..) = changed(app, email).await?;
        if tickets::of_order(&app.pools.work, ticket.order_id).await?.iter().all(|ticket| ticket.status != TicketStatus::Valid) {
            return Err(RenderError::Moot);
        }
        let w = email.language;
        let subject = w.f("mail-codes-subject", [("festival", festival.terms.name.read(w).to_owned())]).into_owned();
        let way = Some((order_url(app, ticket.order_id, order.link_generation), w.t("mail-open-tickets").into_owned()));
        Ok(Note { subject, name: order.buyer_name, lead: w.t("mail-codes-lead").into_owned(), order: Some(ticket.order_id), way }.letter(w, &festival))
    })
}

/// What a ticket is called: its pass, or its add-on.
fn named(ticket: &Ticket, passes: &[Pass], add_ons: &[AddOn], w: Language) -> String {
    let pass = passes.iter().find(|p| p.pass_number == ticket.pass_number).map(|p| &p.terms.name);
    let name = pass.or_else(|| add_ons.iter().find(|a| a.add_on_number == ticket.pass_number).map(|a| &a.name));
    name.map(|n| n.read(w).to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ink_on_spot_reads() {
        assert_eq!(on("#ffd21f"), "#131315");
        assert_eq!(on("#2238d8"), "#ffffff");
        assert_eq!(on("#101012"), "#ffffff");
    }
}
