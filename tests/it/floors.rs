//! The floors of the house, read from its source: who may use whom, where SQL lives, where the clock is.

use std::path::{Path, PathBuf};

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// The rooms in their order: each may use only rooms above it.
const ROOMS: [&str; 18] = [
    "audit",
    "mail",
    "webhooks",
    "accounts",
    "keys",
    "festivals",
    "lineup",
    "releases",
    "offers",
    "waiting",
    "orders",
    "tickets",
    "library",
    "books",
    "payments",
    "documents",
    "entry",
    "reports",
];
const GROUND: [&str; 18] = [
    "app", "batcher", "breaker", "clock", "config", "embedded", "fault", "files", "fresh", "id", "mailer", "money", "page", "picture", "sabotage", "scanner",
    "secrets", "words",
];
const FACES: [&str; 9] = ["api", "web", "workers", "server", "bench", "cli", "demo", "log", "preflight"];

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// Every source with its path below `src/` and its text without comments and tests.
fn house() -> Vec<(String, String)> {
    let mut files = Vec::new();
    sources(Path::new(SRC), &mut files);
    // Tests may have a file of their own, where the module above says that they are tests.
    let is_tests = |path: &PathBuf| {
        let above = path.parent().map(|folder| folder.with_extension("rs"));
        path.ends_with("tests.rs") && above.and_then(|above| std::fs::read_to_string(above).ok()).is_some_and(|text| text.contains("#[cfg(test)]\nmod tests;"))
    };
    files
        .into_iter()
        .filter(|path| !is_tests(path))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let code: String = code.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            (path.strip_prefix(SRC).unwrap().display().to_string(), code)
        })
        .collect()
}

/// The modules that a source names with `crate::`.
fn uses(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (i, _) in code.match_indices("crate::") {
        let rest = &code[i + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut word = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                // Only the first word of a path names a module of the crate.
                match c {
                    c if depth == 1 && (c.is_alphanumeric() || c == '_') => word.push(c),
                    ':' if depth == 1 => word.push(':'),
                    _ if depth <= 1 && c != '{' => {
                        found.extend(word.split(':').next().filter(|w| !w.is_empty()).map(str::to_owned));
                        word.clear();
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}

#[test]
fn each_floor_uses_only_what_is_below_it() {
    let mut breaches = Vec::new();
    for (path, code) in house() {
        let top = path.split(['/', '.']).next().unwrap().to_owned();
        let is_api = path.ends_with("/api.rs") || path.ends_with("/guard.rs");
        for used in uses(&code) {
            let room = ROOMS.iter().position(|r| *r == used);
            let breach = if GROUND.contains(&top.as_str()) {
                room.is_some() || used == "http" || FACES.contains(&used.as_str())
            } else if top == "http" {
                room.is_some() || FACES.contains(&used.as_str())
            } else if let Some(own) = ROOMS.iter().position(|r| *r == top) {
                let below = room.is_some_and(|r| r > own);
                // The guard may be used by every api.rs.
                let guard = is_api && used == "accounts";
                FACES.contains(&used.as_str()) || (below && !guard) || (used == "http" && !is_api)
            } else {
                false
            };
            if breach {
                breaches.push(format!("{path} uses {used}"));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn the_rooms_are_listed_in_the_map_in_their_order() {
    let map = std::fs::read_to_string(format!("{SRC}/lib.rs")).unwrap();
    let rooms: Vec<&str> = map.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';')).filter(|m| ROOMS.contains(m)).collect();
    assert_eq!(rooms, ROOMS);
}

#[test]
fn sql_lives_in_stores() {
    for (path, code) in house() {
        let allowed = path.ends_with("store.rs") || ["postgres.rs", "app.rs"].contains(&path.as_str());
        assert!(allowed || !code.contains("sqlx::query"), "{path} has SQL");
    }
}

#[test]
fn time_comes_from_the_clock() {
    for (path, code) in house() {
        assert!(path == "clock.rs" || !code.contains("Utc::now("), "{path} asks the wall clock");
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap() {
        files.push(entry.unwrap().path());
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("now()") && !text.contains("current_timestamp"), "{}", file.display());
    }
}

#[test]
fn nothing_is_left_half_done() {
    for (path, code) in house() {
        for word in [".unwrap()", "todo!(", "unimplemented!(", "dbg!("] {
            assert!(!code.contains(word), "{path} has {word}");
        }
        assert!(
            !["utils", "helpers", "common", "services", "managers", "models", "dto"].iter().any(|d| path.split('/').any(|p| p == *d)),
            "{path} is a drawer"
        );
    }
}

#[test]
fn every_word_that_is_said_is_in_the_catalog_and_every_word_of_the_catalog_is_said() {
    let catalog = std::fs::read_to_string(format!("{SRC}/words/en.ftl")).unwrap();
    let keys: Vec<&str> =
        catalog.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_lowercase())).filter_map(|l| l.split_once(" =")).map(|(k, _)| k).collect();
    for language in ["en", "zh"] {
        let catalog = std::fs::read_to_string(format!("{SRC}/words/{language}.ftl")).unwrap();
        let mut said = std::collections::BTreeSet::new();
        let twice: Vec<&str> = catalog.lines().filter_map(|l| l.split_once(" =")).map(|(k, _)| k).filter(|k| !k.starts_with('#') && !said.insert(*k)).collect();
        assert!(twice.is_empty(), "{language} says twice {twice:?}");
    }
    let code: String = house().into_iter().map(|(_, code)| code).collect();
    // Words whose key is put together from a name of a closed list.
    let made_up = [
        "state-",
        "verdict-",
        "reason-",
        "instruction-",
        "refusal-",
        "ended-",
        "problem-",
        "role-",
        "mode-",
        "discrepancy-",
        "decision-",
        "outcome-",
        "rule-check-",
        "because-",
        "phone-",
        "profile-",
        "mail-reissued-",
        "mail-voided-",
        "mail-refund-",
        "mail-returned-",
        "mail-reinstated-",
        "desk-refund-",
        "refund-",
        "differs-",
        "mail-transfer-",
        "method-",
        "transfer-is-",
        "transfer-not-",
        "payment-",
        "why-",
        "fee-by-rule",
        "fee-back",
        "fee-stays",
        "billing-name",
        "billing-country",
        "billing-vat",
        "account-",
        "waits-",
        "offline-",
        "mail-pay-",
        "fiscal-",
        "sell-",
        "collect-",
        "taken-",
        "pool-",
        "again-",
        "options-",
        "mail-options-",
        "rounds-",
    ];
    let unsaid: Vec<&&str> = keys.iter().filter(|k| !code.contains(&format!("\"{k}\"")) && !made_up.iter().any(|m| k.starts_with(m))).collect();
    assert!(unsaid.is_empty(), "nobody says {unsaid:?}");
    for call in [".t(\"", ".f(\""] {
        for (i, _) in code.match_indices(call) {
            let key = code[i + call.len()..].split('"').next().unwrap();
            assert!(keys.contains(&key), "{key} is not in the catalog");
        }
    }
    for reason in gatefold::entry::Reason::ALL {
        assert!(keys.contains(&format!("reason-{}", reason.name()).as_str()), "{reason:?}");
    }
    for status in gatefold::payments::refunds::RefundStatus::ALL.map(gatefold::payments::refunds::RefundStatus::name) {
        for said in ["refund", "desk-refund"] {
            assert!(keys.contains(&format!("{said}-{status}").as_str()), "{said}-{status}");
        }
    }
    for about in ["requested", "done", "by-hand", "failed", "withdrawn", "free"] {
        assert!(["subject", "lead"].iter().all(|part| keys.contains(&format!("mail-refund-{about}-{part}").as_str())), "mail-refund-{about}");
    }
    for instruction in &gatefold::offers::Instruction::ALL {
        // No pass asks for a note to be read.
        let said = if *instruction == gatefold::offers::Instruction::Note { &["instruction"][..] } else { &["instruction", "rule-check"] };
        assert!(said.iter().all(|said| keys.contains(&format!("{said}-{}", instruction.name()).as_str())), "{instruction:?}");
    }
}
