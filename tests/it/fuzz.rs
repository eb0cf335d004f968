//! schemathesis on the served document: whatever is sent, the server answers as the document says, and never with a 5xx.

use std::{fmt::Write, path::PathBuf};

use gatefold::api;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    actors::key,
    house::{House, folder},
};

/// All checks but `positive_data_acceptance` (a schema cannot say every rule) and `object_level_authorization` (`authorization.rs`).
const CHECKS: &str = "not_a_server_error,response_schema_conformance,status_code_conformance,content_type_conformance,response_headers_conformance,\
    missing_required_header,unsupported_method,allow_header_conformance,ignored_auth,use_after_free,ensure_resource_availability";
/// Too much is rejected with 413.
const REJECTIONS: &str = "[checks.negative_data_rejection]\nexpected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422]\n";

fn python() -> PathBuf {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/python/bin/python");
    let python = PathBuf::from(std::env::var_os("GATEFOLD_PYTHON").unwrap_or_else(|| own.into()));
    assert!(python.exists(), "{} is missing; run tests/run", python.display());
    python
}

/// The operations that a kind of caller alone may call.
fn operations_of(scheme: &str) -> Vec<String> {
    let document = api::document();
    let only = |operation: &Value| operation["security"].as_array().is_some_and(|s| !s.is_empty() && s.iter().all(|one| one.get(scheme).is_some()));
    let operations = api::operations(&document).into_iter();
    operations.filter(|(_, (method, path))| only(&document["paths"][path][method.to_lowercase()])).map(|(id, _)| id).collect()
}

/// Sends what schemathesis thinks up; what it found, or nothing.
async fn fuzz(house: &House, promoter: &str, name: &str, checks: &str, settings: &str) -> Option<String> {
    let all = std::env::var("GATEFOLD_TESTS").is_ok_and(|t| t == "all");
    let (seconds, examples) = if all { ("900", "1000") } else { ("40", "15") };
    let room = folder().join(format!("fuzz-{name}"));
    std::fs::create_dir_all(&room).unwrap();
    std::fs::write(room.join("schemathesis.toml"), settings).unwrap();
    let mut command = Command::new(python());
    command
        .args(["-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run"])
        .arg(format!("{}/openapi.json", house.url))
        .args(["--url", &house.url, "--header", &format!("Authorization: Bearer {promoter}")])
        .args(["--checks", checks, "--max-examples", examples, "--max-time", seconds, "--suppress-health-check", "all"])
        .args(["--continue-on-failure", "--generation-database", "none", "--no-color"]);
    if !all {
        command.args(["--seed", "1"]);
    }
    let output = command.current_dir(&room).output().await.unwrap();
    let log = room.join("log");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    std::fs::write(&log, &text).unwrap();
    let summary: String = text.split_once(" SUMMARY ").map_or(text.clone(), |(_, summary)| summary.to_owned());
    if !output.status.success() {
        return Some(format!("all of it, with curl commands: {}\n{summary}", log.display()));
    }
    let tested = format!("Tested: {}", api::operations(&api::document()).len());
    assert!(text.contains(&tested), "not every operation was tested\n{summary}");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_is_answered_as_the_document_says() {
    let house = House::open().await;
    let promoter = house.promoter("Night Ferry Foundation").await;
    let festival = promoter.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 1000, 13900).await;
    let offers = promoter.get(&festival.path("/offers")).await.expect(200);
    let paid = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    paid.pay(&key(), "simulated_instant").await.expect(201);
    let fan = house.anybody().order("jonas@x.example", &[(&offer, 1)]).await;
    let upload = promoter.make("/v1/uploads", json!({ "purpose": "audio", "bytes": 100 })).await;
    let terms = json!({ "title": "Low Tide", "artist": "Hull", "kind": "album", "language": "en", "about": { "en": "Live." } });
    let release = promoter.make("/v1/releases", json!({ "terms": terms, "recording_ids": [] })).await;

    let mut callers = String::new();
    for (scheme, token) in [("fan", format!("gf_order_{}", fan.secret)), ("device", festival.device().await.token)] {
        let operations = operations_of(scheme);
        assert!(!operations.is_empty(), "{scheme}");
        writeln!(callers, "[[operations]]\ninclude-operation-id = {}\nheaders = {{ Authorization = \"Bearer {token}\" }}", json!(operations)).unwrap();
    }
    let existing = [
        ("festival_id", festival.id.to_string()),
        ("device_id", festival.device().await.id),
        ("offer_id", offer.clone()),
        ("order_id", fan.order.clone()),
        ("ticket_id", paid.tickets().await[0]["ticket_id"].as_str().unwrap().to_owned()),
        ("stock_id", offers["items"][0]["stock_id"].as_str().unwrap().to_owned()),
        ("upload_id", upload["upload_id"].as_str().unwrap().to_owned()),
        ("release_id", release["release_id"].as_str().unwrap().to_owned()),
    ];
    let mut parameters = "[parameters]\n".to_owned();
    for (name, id) in existing {
        writeln!(parameters, "\"path.{name}\" = \"{id}\"").unwrap();
    }
    // An id that exists takes the place of a wrong one, so what would have to be rejected is judged in the other run alone. Both at once: strangers
    // are never alone.
    let (existing, checks) = (format!("{parameters}\n{callers}"), format!("{CHECKS},negative_data_rejection"));
    let anything = format!("{REJECTIONS}\n{callers}");
    let (of_what_exists, of_anything) =
        tokio::join!(fuzz(&house, &promoter.token, "existing", CHECKS, &existing), fuzz(&house, &promoter.token, "anything", &checks, &anything));
    let found: Vec<String> = of_what_exists.into_iter().chain(of_anything).collect();
    assert!(found.is_empty(), "schemathesis found something\n{}", found.join("\n"));
    house.close().await;
}
