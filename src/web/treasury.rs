//! Where the money of a promoter goes: their account at Stripe, what signs its notifications, and what was connected before. For owners.

use maud::{Markup, html};
use poem::{
    Request, Response, handler,
    http::StatusCode,
    web::{Data, Path},
};

use super::{
    layout::{PageResult, Reader, Shell, see_other},
    session::member,
    storefront::buy::{field, fields},
};
use crate::{
    accounts::{Scope, Staff},
    app::App,
    fault::Fault,
    http::{cookies::same_origin, problem::Problem},
    id::PaymentAccountId,
    payments::accounts::{self, ConnectError, Method, PaymentAccount},
};

/// What Stripe is to tell: enter these kinds at the endpoint.
const EVENTS: [&str; 9] = [
    "checkout.session.completed",
    "checkout.session.expired",
    "payment_intent.succeeded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
];

/// What was typed and could not be taken.
#[derive(Default)]
struct Hurt {
    place: &'static str,
    why: String,
    methods: Vec<Method>,
}

async fn owner(request: &Request) -> Result<Option<Staff>, Problem> {
    let Some(who) = member(request).await? else { return Ok(None) };
    who.staff.may(Scope::AccountsWrite)?;
    Ok(Some(who.staff))
}

/// The page.
#[handler]
pub async fn page(request: &Request, reader: Reader, app: Data<&App>) -> PageResult {
    let Some(staff) = owner(request).await? else { return Ok(see_other("/sign-in")) };
    Ok(show(&reader, &app, &staff, &Hurt::default()).await?)
}

async fn show(reader: &Reader, app: &App, staff: &Staff, hurt: &Hurt) -> Result<Response, Problem> {
    let all = accounts::accounts(app, staff).await?;
    let (now, before): (Vec<&PaymentAccount>, Vec<_>) = all.iter().partition(|account| account.disconnected_at.is_none());
    let connected = now.first().copied();
    let shell = Shell { reader, title: reader.t("treasury").into_owned(), festival: None, private: true, refresh: None, script_refreshes: false };
    let mut response = shell.page(&html! {
        main id="content" {
            div class="panel cover flood" {
                nav class="index" aria-label=(reader.t("desk")) { a href="/desk" { (reader.t("desk")) } a href="/payment-accounts" aria-current="page" { (reader.t("treasury")) } }
                h1 { (reader.t("treasury")) }
            }
            div class="gatefold" {
                section class="panel stack" aria-labelledby="connected" {
                    header class="head" { h2 id="connected" { "Stripe" } p { (reader.t("treasury-lead")) } }
                    @match connected {
                        None => { p class="notice" role="status" { b { (reader.t("treasury-none")) } (reader.t("gap")) (reader.t("treasury-none-lead")) } }
                        Some(account) => { (state(reader, account)) (notifications(reader, account, hurt)) }
                    }
                }
                div class="panel stack" {
                    (connecting(reader, connected, hurt))
                    @if !before.is_empty() {
                        section aria-labelledby="before" {
                            header class="head" { h2 id="before" { (reader.t("treasury-before")) } p { (reader.t("treasury-before-lead")) } }
                            ul class="ledger" { @for account in before { li { p { b { (account.external_ref) } " · " (mode(reader, account)) @if let Some(at) = account.disconnected_at { br; span class="faded" { (reader.f("treasury-until", [("moment", reader.language.at(at, "UTC").long())])) } } } } } }
                        }
                    }
                }
            }
        }
    });
    if !hurt.place.is_empty() {
        response.set_status(StatusCode::UNPROCESSABLE_ENTITY);
    }
    Ok(response)
}

fn mode<'a>(reader: &'a Reader, account: &PaymentAccount) -> std::borrow::Cow<'a, str> {
    reader.t(if account.is_live { "treasury-live" } else { "treasury-test" })
}

/// The connected account.
fn state(reader: &Reader, account: &PaymentAccount) -> Markup {
    html! {
        p class="notice" { b { (account.external_ref) } " · " (mode(reader, account)) }
        @if !account.is_live { p { (reader.t("treasury-test-lead")) } }
        ul class="ledger" {
            li { p { (reader.t("treasury-key")) br; b { "… " (account.key_hint) } } }
            li { p { (reader.t("treasury-since")) br; b { (reader.language.at(account.connected_at, "UTC").long()) } } }
            li { p { (reader.t("treasury-methods")) br; b { (account.methods.iter().map(|method| reader.t(&format!("method-{}", method.name()))).collect::<Vec<_>>().join(&reader.t("comma"))) } } }
        }
        details {
            summary { (reader.t("treasury-disconnect")) }
            form class="stack" method="post" action=(format!("/payment-accounts/{}/disconnections", account.account_id)) { p { (reader.t("treasury-disconnect-lead")) } div { button class="button plain" { (reader.t("treasury-disconnect")) } } }
        }
    }
}

/// What signs the notifications of an account.
fn notifications(reader: &Reader, account: &PaymentAccount, hurt: &Hurt) -> Markup {
    let path = format!("/payment-accounts/{}/webhook-secrets", account.account_id);
    let bad = hurt.place == "secret";
    html! {
        section class="stack" aria-labelledby="notifications" {
            header class="head" { h2 id="notifications" { (reader.t("treasury-notifications")) } p { (reader.t("treasury-notifications-lead")) } }
            p { code { (account.notification_url) } }
            p class="small faded" { @for (i, event) in EVENTS.iter().enumerate() { @if i > 0 { (reader.t("comma")) } code { (event) } } }
            @if account.webhook_secrets.is_empty() { p class="notice" { (reader.t("treasury-no-secret")) } }
            ul class="ledger" { @for secret in &account.webhook_secrets {
                li { form method="post" action=(format!("{path}/{}/removals", secret.secret_no)) { p { code { "whsec_… " (secret.hint) } " " span class="faded" { (reader.language.at(secret.added_at, "UTC").long()) } } button class="link" { (reader.t("treasury-remove")) } } }
            } }
            form class="stack" method="post" action=(path) {
                div class="field" {
                    label for="secret" { (reader.t("treasury-secret")) }
                    input id="secret" name="secret" type="password" autocomplete="off" required maxlength="255" placeholder="whsec_…" aria-invalid=[bad.then_some("true")] aria-describedby=[bad.then_some("secret-hurt")];
                    @if bad { p class="hurt" id="secret-hurt" role="alert" { (hurt.why) } }
                }
                div { button class="button plain" { (reader.t("treasury-add")) } }
            }
        }
    }
}

/// The form that connects an account or gives it another key.
fn connecting(reader: &Reader, connected: Option<&PaymentAccount>, hurt: &Hurt) -> Markup {
    let bad = hurt.place == "key";
    let chosen: &[Method] = if hurt.place == "methods" {
        &[]
    } else if hurt.methods.is_empty() {
        connected.map_or(&[Method::Card], |account| &account.methods)
    } else {
        &hurt.methods
    };
    html! {
        form class="stack" method="post" action="/payment-accounts" data-once="" {
            header class="head" { h2 { (reader.t(if connected.is_some() { "treasury-change" } else { "treasury-connect" })) } p { (reader.t("treasury-connect-lead")) } }
            div class="field" {
                label for="key" { (reader.t("treasury-key")) }
                input id="key" name="key" type="password" autocomplete="off" required maxlength="255" placeholder="sk_live_…" aria-invalid=[bad.then_some("true")] aria-describedby=[bad.then_some("key-hurt")];
                @if bad { p class="hurt" id="key-hurt" role="alert" { (hurt.why) } }
            }
            fieldset class="stack" {
                legend { (reader.t("treasury-methods")) }
                @for method in Method::ALL { label class="tick" { input type="checkbox" name="method" value=(method.name()) checked[chosen.contains(&method)]; span { (reader.t(&format!("method-{}", method.name()))) } } }
                @if hurt.place == "methods" { p class="hurt" role="alert" { (hurt.why) } }
            }
            p class="small faded" { (reader.t("treasury-methods-lead")) }
            div { button class="button" { (reader.t("treasury-keep")) } }
        }
    }
}

/// Connects an account, or gives it another key.
#[handler]
pub async fn connect(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>) -> PageResult {
    same_origin(request)?;
    let Some(staff) = owner(request).await? else { return Ok(see_other("/sign-in")) };
    let fields = fields(body).await?;
    let methods: Vec<Method> = fields.iter().filter(|(name, _)| name == "method").filter_map(|(_, value)| Method::read(value)).collect();
    let (place, why) = match accounts::connect(&app, &staff, field(&fields, "key").trim(), &methods).await {
        Ok(_) => return Ok(see_other("/payment-accounts")),
        Err(ConnectError::Fault(Fault::Invalid(places))) if places.iter().any(|(place, _)| place == "/methods") => {
            ("methods", reader.t("treasury-no-method").into_owned())
        }
        Err(ConnectError::Fault(Fault::Invalid(places))) => ("key", places.into_iter().map(|(_, why)| why).collect::<Vec<_>>().join("; ")),
        Err(ConnectError::Silent(_)) => ("key", reader.t("treasury-silent").into_owned()),
        Err(error) => return Err(Problem::from(error).into()),
    };
    Ok(show(&reader, &app, &staff, &Hurt { place, why, methods }).await?)
}

/// Disconnects an account.
#[handler]
pub async fn disconnect(request: &Request, app: Data<&App>, Path(id): Path<PaymentAccountId>) -> PageResult {
    same_origin(request)?;
    let Some(staff) = owner(request).await? else { return Ok(see_other("/sign-in")) };
    accounts::disconnect(&app, &staff, id).await.map_err(Problem::from)?;
    Ok(see_other("/payment-accounts"))
}

/// Adds a secret.
#[handler]
pub async fn add_secret(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, Path(id): Path<PaymentAccountId>) -> PageResult {
    same_origin(request)?;
    let Some(staff) = owner(request).await? else { return Ok(see_other("/sign-in")) };
    let fields = fields(body).await?;
    let why = match accounts::add_secret(&app, &staff, id, field(&fields, "secret").trim()).await {
        Ok(_) => return Ok(see_other("/payment-accounts#notifications")),
        Err(Fault::Invalid(_)) => reader.t("treasury-bad-secret").into_owned(),
        Err(Fault::Conflict(_)) => reader.t("treasury-three-secrets").into_owned(),
        Err(error) => return Err(Problem::from(error).into()),
    };
    Ok(show(&reader, &app, &staff, &Hurt { place: "secret", why, methods: Vec::new() }).await?)
}

/// Removes a secret.
#[handler]
pub async fn remove_secret(request: &Request, app: Data<&App>, Path((id, no)): Path<(PaymentAccountId, i16)>) -> PageResult {
    same_origin(request)?;
    let Some(staff) = owner(request).await? else { return Ok(see_other("/sign-in")) };
    accounts::remove_secret(&app, &staff, id, no).await.map_err(Problem::from)?;
    Ok(see_other("/payment-accounts#notifications"))
}
