//! Files that pages bring along: stylesheet, scripts, the sleeves of festivals, pictures. Strong quoted ETags, HEAD, gzip.

use std::{fmt::Write, sync::OnceLock};

use poem::{Request, Response, handler, http::HeaderValue, web::Data, web::Path};

use crate::{
    app::App,
    festivals,
    files::Files,
    http::problem::{NOT_FOUND, Problem},
    id::FestivalId,
    releases, scanner,
    web::{art, gate, kept::Packed},
};

const MARK: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 -6 24 24\"><path fill-rule=\"evenodd\" d=\"M0 0h11.4v12H0zM12.6 0H24v12H12.6zM12 1.8a4.2 4.2 0 1 0 .01 0zM12 5a1 1 0 1 1-.01 0z\"/></svg>";

/// The mark on the color of the night, with the margin that a phone may cut (W3C: the inner four fifths are safe).
const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-12 -18 48 48\"><path fill=\"#131315\" d=\"M-12-18h48v48h-48z\"/><path fill=\"#fff\" fill-rule=\"evenodd\" d=\"M0 0h11.4v12H0zM12.6 0H24v12H12.6zM12 1.8a4.2 4.2 0 1 0 .01 0zM12 5a1 1 0 1 1-.01 0z\"/></svg>";

const FILES: [(&str, &str, &str); 16] = [
    ("gatefold.css", "text/css; charset=utf-8", include_str!("assets/gatefold.css")),
    ("gatefold.js", "text/javascript; charset=utf-8", include_str!("assets/gatefold.js")),
    ("gate.js", "text/javascript; charset=utf-8", include_str!("assets/gate.js")),
    ("gate-camera.js", "text/javascript; charset=utf-8", include_str!("assets/gate-camera.js")),
    ("gate-code.js", "text/javascript; charset=utf-8", include_str!("assets/gate-code.js")),
    ("gate-decide.js", "text/javascript; charset=utf-8", include_str!("assets/gate-decide.js")),
    ("gate-pack.js", "text/javascript; charset=utf-8", include_str!("assets/gate-pack.js")),
    ("gate-store.js", "text/javascript; charset=utf-8", include_str!("assets/gate-store.js")),
    ("gate-count.js", "text/javascript; charset=utf-8", include_str!("assets/gate-count.js")),
    ("gate-exchange.js", "text/javascript; charset=utf-8", include_str!("assets/gate-exchange.js")),
    ("gate-link.js", "text/javascript; charset=utf-8", include_str!("assets/gate-link.js")),
    ("gate-phone.js", "text/javascript; charset=utf-8", include_str!("assets/gate-phone.js")),
    ("ticket.js", "text/javascript; charset=utf-8", include_str!("assets/ticket.js")),
    ("ticket-code.js", "text/javascript; charset=utf-8", include_str!("assets/ticket-code.js")),
    ("mark.svg", "image/svg+xml", MARK),
    ("gate-icon.svg", "image/svg+xml", ICON),
];

fn answer(request: &Request, media_type: &'static str, packed: &Packed) -> Response {
    packed.answer(request, media_type, "public, max-age=60, stale-while-revalidate=600", "Accept-Encoding")
}

/// A file of the house.
#[handler]
pub async fn asset(request: &Request, Path(name): Path<String>) -> poem::Result<Response> {
    static PACKED: [OnceLock<Packed>; FILES.len()] = [const { OnceLock::new() }; FILES.len()];
    let place = FILES.iter().position(|(file, ..)| *file == name).ok_or_else(|| NOT_FOUND.problem())?;
    let (_, media_type, text) = FILES[place];
    let ready = match PACKED[place].get() {
        Some(ready) => ready,
        None => {
            let made = Packed::of(text.as_bytes().to_vec()).await;
            PACKED[place].get_or_init(|| made)
        }
    };
    Ok(answer(request, media_type, ready))
}

/// Scripts that run beside the page of the gate: the worker that reads pictures, and the one that serves the page without network. Their addresses lie
/// below that of the page, so what they load is served without network, too.
#[handler]
pub async fn gate_worker(request: &Request, Path(name): Path<String>) -> poem::Result<Response> {
    let text = match name.as_str() {
        "reader.js" => include_str!("assets/gate-reader.js"),
        "offline.js" => include_str!("assets/gate-offline.js"),
        _ => return Err(NOT_FOUND.problem().into()),
    };
    let mut response = answer(request, "text/javascript; charset=utf-8", &Packed::of(text.as_bytes().to_vec()).await);
    // A worker obeys the policy of its own answer.
    response.headers_mut().insert("content-security-policy", HeaderValue::from_static(gate::POLICY));
    response.headers_mut().insert("service-worker-allowed", HeaderValue::from_static("/gate"));
    response.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// The worker that serves tickets' own pages without network. Its address lies beside theirs, so these are its own.
#[handler]
pub async fn ticket_worker(request: &Request) -> Response {
    let mut response = answer(request, "text/javascript; charset=utf-8", &Packed::of(include_str!("assets/ticket-offline.js").as_bytes().to_vec()).await);
    response.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache"));
    response
}

/// What makes the page of the gate an app that can be installed (W3C Web Application Manifest).
#[handler]
pub async fn gate_manifest(request: &Request) -> Response {
    let manifest = serde_json::json!({
        "id": "/gate", "name": "Gatefold Gate", "short_name": "Gate", "start_url": "/gate", "scope": "/gate", "display": "standalone",
        "orientation": "portrait", "background_color": "#131315", "theme_color": "#131315",
        "icons": [{ "src": "/assets/gate-icon.svg", "type": "image/svg+xml", "sizes": "any", "purpose": "any maskable" }],
    });
    answer(request, "application/manifest+json", &Packed::of(manifest.to_string().into_bytes()).await)
}

/// The two files of the QR reader, where it was obtained.
#[handler]
pub async fn qr_reader(request: &Request, app: Data<&App>, Path(name): Path<String>) -> poem::Result<Response> {
    static PACKED: [OnceLock<Packed>; 2] = [const { OnceLock::new() }; 2];
    let found = app.the::<scanner::Found>().look(&app.settings.files).ok_or_else(|| NOT_FOUND.problem())?;
    let (media_type, place, bytes) = match name.as_str() {
        "reader.js" => ("text/javascript; charset=utf-8", &PACKED[0], &found.script),
        "reader.wasm" => ("application/wasm", &PACKED[1], &found.module),
        _ => return Err(NOT_FOUND.problem().into()),
    };
    if place.get().is_none() {
        let made = Packed::of(bytes.clone()).await;
        place.get_or_init(|| made);
    }
    place.get().map(|ready| answer(request, media_type, ready)).ok_or_else(|| NOT_FOUND.problem().into())
}

/// The sleeves: one line a festival, its ink and the length of its longest word.
#[handler]
pub async fn sleeves(request: &Request, app: Data<&App>) -> poem::Result<Response> {
    let festivals = festivals::every(&app.pools.web).await.map_err(Problem::from)?;
    let mut css = String::from("/* One line a festival: its ink, the length of the longest word of its title. */\n");
    for festival in festivals {
        let letters = art::letters(festival.terms.name.read(festival.terms.language));
        let _ = writeln!(css, "[data-sleeve=\"{}\"] {{ --spot: {}; --letters: {}.{}; }}", festival.terms.slug, festival.terms.spot, letters / 10, letters % 10);
    }
    Ok(answer(request, "text/css; charset=utf-8", &Packed::of(css.into_bytes()).await))
}

async fn picture(app: &App, hash: Option<Vec<u8>>) -> poem::Result<Response> {
    let hash = hash.ok_or_else(|| NOT_FOUND.problem())?;
    let bytes = app.the::<Files>().read(&hash).await.map_err(Problem::internal)?;
    Ok(Response::builder().content_type("image/jpeg").header("cache-control", "public, max-age=300").body(bytes))
}

/// The poster of a festival.
#[handler]
pub async fn poster(app: Data<&App>, Path(festival): Path<i32>) -> poem::Result<Response> {
    let found = festivals::one(&app.pools.web, FestivalId(festival)).await.map_err(Problem::from)?;
    picture(&app, found.and_then(|f| f.poster_hash)).await
}

/// The cover of a release.
#[handler]
pub async fn cover(app: Data<&App>, Path(release): Path<uuid::Uuid>) -> poem::Result<Response> {
    let found = releases::release(&app.pools.web, crate::id::ReleaseId(release)).await.map_err(Problem::from)?;
    picture(&app, found.and_then(|r| r.cover_hash)).await
}
