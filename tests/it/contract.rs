//! The document is what is served, and the exported file is the document.

use std::collections::BTreeSet;

use gatefold::{api, http::problem};

use crate::house::House;

#[test]
fn the_exported_document_is_what_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");
    let exported: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(exported == api::document(), "openapi/openapi.json is old; write it anew with: cargo run --release -- openapi > openapi/openapi.json");
}

#[test]
fn every_operation_is_described_and_answers_problems() {
    let document = api::document();
    let operations = api::operations(&document);
    assert!(operations.len() > 30);
    for (id, (method, path)) in &operations {
        let operation = &document["paths"][path][method.to_lowercase()];
        for member in ["summary", "description"] {
            assert!(operation[member].as_str().is_some_and(|t| !t.is_empty()), "{id} has no {member}");
        }
        assert!(operation["tags"].as_array().is_some_and(|t| t.len() == 1), "{id} has no chapter");
        assert!(operation["responses"]["default"].is_object(), "{id} does not say what else it answers");
        assert!(path.starts_with("/v1/"), "{path}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let named = parameter["in"] == "path" || parameter["description"].is_string();
            assert!(named, "{id} does not describe {}", parameter["name"]);
        }
    }
    // A reader of JSON drops the first of two equal keys: count them in the text.
    let text = api::service().spec();
    let printed = text.matches("\"operationId\"").count();
    assert_eq!(printed, operations.len(), "a path is printed twice, or an operation has no id");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_problem_has_a_page() {
    let house = House::open().await;
    let slugs: BTreeSet<&str> = problem::ALL.iter().map(|k| k.slug).collect();
    assert_eq!(slugs.len(), problem::ALL.len(), "a slug is one kind");
    for kind in problem::ALL {
        let page = house.anybody().request("GET", &format!("/problems/{}", kind.slug)).header("accept", "text/html").send().await.unwrap();
        assert_eq!(page.status(), 200, "{}", kind.slug);
        assert!(page.text().await.unwrap().contains(kind.slug));
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_the_headers_that_protect_its_reader() {
    let house = House::open().await;
    for path in ["/", "/healthz", "/v1/festivals", "/v1/nothing", "/nothing", "/openapi.json", "/assets/gatefold.css"] {
        let answer = house.anybody().request("GET", path).send().await.unwrap();
        let headers = answer.headers();
        let csp = headers["content-security-policy"].to_str().unwrap();
        assert!(
            csp.contains("frame-ancestors 'none'") && csp.contains("object-src 'none'") && csp.contains("base-uri 'none'") && !csp.contains("unsafe-inline"),
            "{path}: {csp}"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert!(headers.contains_key("content-type") && headers.contains_key("x-request-id"), "{path}");
    }
    house.close().await;
}
