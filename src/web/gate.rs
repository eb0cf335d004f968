//! The gate: pair a phone, scan by camera, by a scanner that types, or by hand; one glance, one thumb. The token of the
//! device is a cookie that no script reads. Verdicts are printed by the page (`assets/gate.js`), because it decides without network, too.

use maud::{DOCTYPE, Markup, html};
use poem::{Request, Response, handler, http::HeaderValue, web::Data};
use serde_json::json;

use super::{
    layout::{PageResult, Reader, mark, see_other, text},
    storefront::buy::{field, fields},
};
use crate::{
    accounts::{self, Device, PairError, Paired, guard::DEVICE_COOKIE},
    app::App,
    entry::{Reason, Verdict, overrides::Because},
    festivals,
    http::{
        cookies::{same_origin, secret, secret_cookie},
        limit::{Client, Limited, Limits},
        problem::{Problem, UNAUTHORIZED},
    },
    offers::Instruction,
    picture, scanner,
    words::Language,
};

/// The camera and WebAssembly are for this page alone.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; \
                      manifest-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'";

async fn device(request: &Request, app: &App) -> Result<Option<Device>, Problem> {
    match secret(request, DEVICE_COOKIE)? {
        Some(token) => Ok(accounts::device_of(app, &token).await?),
        None => Ok(None),
    }
}

fn document(reader: &Reader, title: &str, sleeve: Option<&str>, body: &Markup) -> Response {
    let printed = html! {
        (DOCTYPE)
        html lang=(reader.language.tag()) data-sleeve=[sleeve] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="stylesheet" href="/assets/gatefold.css";
                link rel="stylesheet" href="/assets/sleeves.css";
                link rel="icon" href="/assets/mark.svg" type="image/svg+xml";
                link rel="manifest" href="/gate/manifest.webmanifest" crossorigin="use-credentials";
                meta name="theme-color" content="#131315";
                script type="module" src="/assets/gate.js" {}
            }
            body class="gate" { (body) }
        }
    };
    Response::builder()
        .content_type("text/html; charset=utf-8")
        .header("cache-control", "no-store")
        .header("content-security-policy", POLICY)
        .header("permissions-policy", "camera=(self), microphone=(), geolocation=()")
        .body(printed.into_string())
}

/// The page of a gate: scanning where the phone is paired, else the form that pairs it.
#[handler]
pub async fn page(request: &Request, reader: Reader, app: Data<&App>) -> PageResult {
    match device(request, &app).await? {
        Some(device) => scanning(&reader, &app, &device).await,
        None => Ok(pairing(&reader, &app, None)),
    }
}

fn pairing(reader: &Reader, app: &App, hurt: Option<&str>) -> Response {
    let has_library = app.the::<scanner::Found>().look(&app.settings.files).is_some();
    document(
        reader,
        &reader.t("gate-pair"),
        None,
        &html! {
            p class="bar" { span { (mark()) } span { "Gatefold" } }
            main class="panel" id="content" { form class="stack" method="post" action="/gate/pair" data-pairing="" data-scanner=[has_library.then_some("")] {
                h1 { (reader.t("gate-pair")) }
                p { (reader.t("gate-pair-lead")) }
                div class="field" {
                    label for="code" { (reader.t("pairing-code")) }
                    input id="code" name="code" required autofocus autocomplete="off" autocapitalize="characters" spellcheck="false" aria-invalid=[hurt.map(|_| "true")] aria-describedby=[hurt.map(|_| "code-hurt")];
                    @if let Some(hurt) = hurt { p class="notice bad" id="code-hurt" role="alert" { (hurt) } }
                }
                div { button class="button plain" type="button" hidden data-read="" { (reader.t("read-the-code")) } p class="notice bad" role="status" hidden data-blind="" { (reader.t("camera-off")) } }
                div class="finder small" data-finder="" hidden { video playsinline muted {} }
                div class="field" { label for="name" { (reader.t("device-name")) } input id="name" name="name" required maxlength="80" placeholder=(reader.t("device-name-example")); }
                div { button class="button broad" { (reader.t("pair")) } }
            } }
        },
    )
}

/// Pairs a phone by the code of a supervisor.
#[handler]
pub async fn pair(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, client: Data<&Client>) -> PageResult {
    same_origin(request)?;
    app.the::<Limits>().count(Limited::Guess, &client)?;
    let fields = fields(body).await?;
    let name: String = field(&fields, "name").trim().chars().take(80).collect();
    match accounts::pair(&app, field(&fields, "code"), if name.is_empty() { "-" } else { &name }).await {
        Ok(paired) => Ok(to_gate(&app, &paired)?),
        Err(PairError::Over) => Ok(pairing(&reader, &app, Some(&reader.t("pair-wrong")))),
        Err(PairError::Database(error)) => Err(Problem::from(error).into()),
    }
}

/// Sends a phone that was just paired to its gate, with its token.
pub(super) fn to_gate(app: &App, paired: &Paired) -> Result<Response, Problem> {
    let mut response = see_other("/gate");
    // A festival is over after days; the cookie ends with it or by revocation.
    let cookie = secret_cookie(app.settings.is_https(), DEVICE_COOKIE, &paired.token, 14 * 86_400);
    response.headers_mut().append("set-cookie", cookie.parse().map_err(|_| Problem::internal("cookie"))?);
    Ok(response)
}

async fn scanning(reader: &Reader, app: &App, device: &Device) -> PageResult {
    let festival = festivals::one(&app.pools.web, device.festival_id).await.map_err(Problem::from)?.ok_or_else(|| UNAUTHORIZED.problem())?;
    let gates = festivals::gates(&app.pools.web, device.festival_id).await.map_err(Problem::from)?;
    let days = festivals::days(&app.pools.web, device.festival_id).await.map_err(Problem::from)?;
    let now = app.clock.now();
    let zone = &festival.terms.time_zone;
    let day = days.iter().find(|d| d.covers(now));
    let here = gates.iter().find(|g| g.gate_id == device.gate_id);
    let allowed: Vec<_> = gates.iter().filter(|g| device.gate_ids.contains(&g.gate_id)).collect();
    let gate = json!({
        "festival_id": device.festival_id, "gate_id": device.gate_id, "zone": zone, "is_supervisor": device.is_supervisor(),
        "gates": allowed.iter().map(|g| json!({ "gate_id": g.gate_id, "zone_id": g.zone_id })).collect::<Vec<_>>(),
        "because": Because::ALL.map(Because::name),
        "language": if reader.language == Language::Zh { "zh" } else { "en" }, "words": words(reader),
    })
    .to_string();
    let is_desk = device.profile == "exchange";
    let desk = (is_desk || device.is_supervisor()).then_some(("exchange", is_desk));
    let modes = [("entry", !is_desk), ("exit", false), ("look", false), ("count", false)].into_iter().chain(desk);
    // Whoever holds the device chooses the gate among those it may stand at.
    let choice = html! {
        @if allowed.len() > 1 {
            select name="gate" data-gates="" aria-label=(reader.t("gate")) { @for g in &allowed { option value=(g.gate_id) selected[g.gate_id == device.gate_id] { (text(&g.name, reader.language)) } } }
        } @else if let Some(gate) = here { span { (text(&gate.name, reader.language)) } }
    };
    let mut printed = document(
        reader,
        &reader.t("gate"),
        Some(&festival.terms.slug),
        &html! {
            p class="bar offline" role="status" hidden data-offline="" {}
            p class="bar" { (choice) button type="button" data-open-phone="" { (device.name) } span data-clock="" data-zone=(zone) { (reader.language.at(now, zone).time()) } }
            main id="content" data-stage="" data-scanner=[app.the::<scanner::Found>().look(&app.settings.files).map(|_| "")] {
                section class="finder" data-finder="" { video playsinline muted data-video="" {} h1 class="unseen" { (reader.t("gate")) } p class="unseen" { (reader.t("gate-hold")) }
                    div class="tools" {
                        button class="button" type="button" data-torch="" aria-pressed="false" hidden { (reader.t("torch")) }
                        button class="button" type="button" data-flip="" hidden { (reader.t("flip-camera")) }
                        input type="range" data-zoom="" aria-label=(reader.t("zoom")) hidden;
                        button class="button" type="button" data-auto="" aria-pressed="false" { (reader.t("auto-next")) }
                    }
                    p class="last" data-last="" hidden { span {} button class="button" type="button" data-undo-last="" { (reader.t("undo")) } }
                }
            }
            p class="bar" {
                span { @match day { Some(day) => { (text(&day.name, reader.language)) " " (reader.language.at(day.opens_at, zone).time()) "–" (reader.language.at(day.closes_at, zone).time()) } None => (reader.t("no-day-now")) } }
                span data-camera="" { (reader.t("camera-starting")) }
                span data-list="" { (reader.t("list-none")) }
            }
            div class="modes" role="radiogroup" aria-label=(reader.t("what-is-scanned")) {
                @for (kind, checked) in modes {
                    label { input type="radio" name="kind" value=(kind) checked[checked]; span { (reader.t(&format!("mode-{kind}"))) } }
                }
            }
            form class="typed" data-typed="" {
                label class="unseen" for="typed" { (reader.t("type-a-code")) }
                input id="typed" name="code" autocomplete="off" autocapitalize="characters" spellcheck="false" placeholder=(reader.t("type-a-code"));
                button class="button" { (reader.t("scan")) }
                button class="button" type="button" data-open-supervisor="" aria-pressed="false" aria-label=(reader.t("supervisor")) { (badge()) }
            }
            (supervisor(reader, device))
            (phone(reader))
            @for verdict in [Verdict::Admitted, Verdict::Check, Verdict::Refused] { template data-sign=(verdict.name()) { (sign(verdict)) } }
            template data-swatch="" { svg viewBox="0 0 56 48" aria-hidden="true" { rect width="56" height="48" stroke="#fff" stroke-width="4" {} } }
            template data-gate=(gate) {}
        },
    );
    // It is kept for the time without network; the pairing page is not.
    printed.headers_mut().insert("x-gate", HeaderValue::from_static("paired"));
    Ok(printed)
}

/// Who is signed in on this device, with their way in and out; on a supervisor's device the search.
fn supervisor(reader: &Reader, device: &Device) -> Markup {
    html! {
        dialog data-supervisor="" aria-labelledby="supervisor-title" {
            header class="head" { h2 id="supervisor-title" { (reader.t("supervisor")) } form method="dialog" { button class="button plain" { (reader.t("close")) } } }
            p data-who="" {}
            p class="notice bad trouble" role="alert" hidden {}
            form class="take" data-shift="" data-when="out" {
                div class="field" {
                    label for="digits" { (reader.t("shift-code")) }
                    input id="digits" name="digits" required inputmode="numeric" pattern="[0-9 ]{6,8}" maxlength="8" autocomplete="off" aria-describedby="digits-about";
                    p id="digits-about" { (reader.t("shift-code-about")) }
                }
                button class="button" { (reader.t("sign-in")) }
            }
            @if device.is_supervisor() {
                form class="take" data-search="" data-when="in" {
                    div class="field" { label for="sought" { (reader.t("search-tickets")) } input id="sought" name="text" type="search" required minlength="2" maxlength="254" autocomplete="off"; }
                    button class="button" { (reader.t("search")) }
                }
                ul class="found" data-found="" data-when="in" aria-live="polite" {}
            }
            button class="button plain" type="button" data-sign-out="" data-when="in" { (reader.t("sign-out")) }
        }
    }
}

/// What this phone can do, and practice: looked at when a shift starts.
fn phone(reader: &Reader) -> Markup {
    html! {
        dialog data-phone="" aria-labelledby="phone-title" {
            header class="head" { h2 id="phone-title" { (reader.t("this-phone")) } form method="dialog" { button class="button plain" { (reader.t("close")) } } }
            ul class="abilities" data-abilities="" {}
            p { (reader.t("practice-lead")) }
            div class="reasons" { @for verdict in [Verdict::Admitted, Verdict::Check, Verdict::Refused] { button class="button" type="button" data-practice=(verdict.name()) { (reader.t(&format!("verdict-{}", verdict.name()))) } } }
        }
    }
}

/// A person with a badge.
fn badge() -> Markup {
    html! { svg viewBox="0 0 24 24" aria-hidden="true" { path d="M12 2a5 5 0 1 1-.1 0zM3 22c0-6 4-9 9-9s9 3 9 9z" {} } }
}

/// What a phone can do or cannot (`assets/gate-phone.js`).
const ABILITIES: [&str; 9] = ["list", "camera", "reads", "verifies", "keeps", "installed", "clock", "awake", "shakes"];

/// The words that the script of the gate says.
const WORDS: [&str; 86] = [
    "camera-on",
    "camera-server",
    "camera-off",
    "gate-offline",
    "gate-sending",
    "gate-aside",
    "list-none",
    "list-of",
    "list-old",
    "list-only",
    "verdict-admitted",
    "verdict-check",
    "verdict-refused",
    "no-verdict",
    "unable-old",
    "unable-empty",
    "unable-storage",
    "unable-short",
    "unable-unlisted",
    "undone",
    "out",
    "may-come-in",
    "repeat",
    "decided-here",
    "next",
    "undo",
    "checked",
    "help-desk",
    "first-entry",
    "others-not-in",
    "to-collect",
    "practice",
    "phone-wait",
    "supervisor",
    "let-in-by-supervisor",
    "by-card",
    "override-lead",
    "override-card",
    "shift-code",
    "note",
    "supervising-as",
    "nobody-signed-in",
    "no-ticket-found",
    "sign-in",
    "ticket-suspended",
    "ticket-exchanged",
    "ticket-void",
    "unable-override",
    "unable-note",
    "unable-card",
    "unable-shift",
    "unable-often",
    "unable-network",
    "unable-letters",
    "give-band",
    "band-given",
    "bands-left",
    "band",
    "take-back",
    "plain-band",
    "band-lost",
    "band-ended",
    "unable-desk",
    "unable-band",
    "unable-exchange",
    "unable-no-band",
    "plain-sure",
    "again",
    "unable-exchange-again",
    "everybody-out",
    "whole-site",
    "zone",
    "back-until",
    "clearing-noted",
    "unable-clearing",
    "unable-unbind",
    "unbind",
    "unbound",
    "mode-count",
    "count-lead",
    "count-entry",
    "count-exit",
    "count-medical_exit",
    "count-unsent",
    "no-name",
    "note-elsewhere",
];

fn words(reader: &Reader) -> serde_json::Map<String, serde_json::Value> {
    let of_lists = Reason::ALL
        .iter()
        .map(|r| format!("reason-{}", r.name()))
        .chain(Instruction::ALL.iter().map(|i| format!("instruction-{}", i.name())))
        .chain(ABILITIES.iter().flat_map(|name| ["yes", "no"].map(|can| format!("phone-{name}-{can}"))))
        .chain(Because::ALL.iter().map(|b| format!("because-{}", b.name())));
    // A script fills these in.
    let said = |key: String| (reader.f(&key, [("n", "{n}".to_owned()), ("time", "{time}".to_owned()), ("name", "{name}".to_owned())]).into_owned().into(), key);
    WORDS.iter().map(|key| (*key).to_owned()).chain(of_lists).map(said).map(|(word, key)| (key, word)).collect()
}

fn sign(verdict: Verdict) -> Markup {
    let path = match verdict {
        Verdict::Admitted => "M50 0a50 50 0 1 0 .1 0zM43 74 20 51l8.5-8.5L43 57l29-29 8.5 8.5z",
        Verdict::Check => "M50 4L100 96H0zM45 38h10l-2 30h-6zM45 76h10v10H45z",
        Verdict::Refused => "M0 0h100v100H0zM22 30l8-8 20 20 20-20 8 8-20 20 20 20-8 8-20-20-20 20-8-8 20-20z",
    };
    html! { svg class="sign" viewBox="0 0 100 100" aria-hidden="true" { path fill-rule="evenodd" d=(path) {} } }
}

/// Reads a code out of a camera frame, for browsers that cannot: grey pixels go in, text comes out. Nothing is kept.
#[handler]
pub async fn frame(request: &Request, body: poem::Body, app: Data<&App>) -> PageResult {
    same_origin(request)?;
    device(request, &app).await?.ok_or_else(|| UNAUTHORIZED.problem())?;
    let bytes = body.into_vec().await.map_err(|_| crate::http::problem::MALFORMED.problem())?;
    let read = tokio::task::spawn_blocking(move || {
        let (width, height, pixels) = picture::grey(&bytes)?;
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| pixels.get(y * width + x).copied().unwrap_or(255));
        image.detect_grids().into_iter().find_map(|grid| grid.decode().ok()).map(|(_, text)| text)
    })
    .await
    .map_err(Problem::internal)?;
    Ok(Response::builder().content_type("application/json").header("cache-control", "no-store").body(serde_json::json!({ "code": read }).to_string()))
}
