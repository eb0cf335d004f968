//! The merged JSON API and its document.

use std::collections::BTreeMap;

use poem_openapi::{ContactObject, LicenseObject, OpenApiService};
use serde_json::{Value, json};

use crate::{
    accounts::api::DevicesApi,
    documents::api::DocumentsApi,
    entry::{
        api::EntryApi, bands::api::BandsApi, binding::api::BindingApi, head_counts::api::HeadCountsApi, help_desk::api::HelpDeskApi,
        incident::api::IncidentApi, ledger::api::LedgerApi, overrides::api::OverridesApi,
    },
    festivals::api::FestivalsApi,
    library::{api::LibraryApi, transfer::api::TransfersApi},
    lineup::api::LineupApi,
    offers::{api::OffersApi, vouchers::api::VouchersApi},
    orders::api::OrdersApi,
    payments::{
        accounts::api::PaymentAccountsApi,
        api::PaymentsApi,
        box_office::api::BoxOfficeApi,
        offline::api::OfflineApi,
        refunds::{api::RefundsApi, hand_backs::api::HandBacksApi, options::api::OptionsApi, rescission::api::RescissionApi},
    },
    releases::api::ReleasesApi,
    reports::{api::ReportsApi, dispute::api::DisputeApi, settlement::api::SettlementApi},
    tickets::api::TicketsApi,
    waiting::{api::WaitingApi, list::api::WaitingListApi},
};

/// The whole JSON API.
pub type Api = (
    (
        FestivalsApi,
        LineupApi,
        OffersApi,
        VouchersApi,
        ReleasesApi,
        ReportsApi,
        SettlementApi,
        DevicesApi,
        DocumentsApi,
        WaitingListApi,
        OfflineApi,
        BoxOfficeApi,
        HandBacksApi,
        RescissionApi,
        DisputeApi,
        OptionsApi,
    ),
    (
        WaitingApi,
        OrdersApi,
        PaymentsApi,
        PaymentAccountsApi,
        RefundsApi,
        TicketsApi,
        LibraryApi,
        TransfersApi,
        EntryApi,
        BandsApi,
        BindingApi,
        HeadCountsApi,
        HelpDeskApi,
        IncidentApi,
        LedgerApi,
        OverridesApi,
    ),
);

/// The API as a service.
#[must_use]
pub fn service() -> OpenApiService<Api, ()> {
    let api = (
        (
            FestivalsApi,
            LineupApi,
            OffersApi,
            VouchersApi,
            ReleasesApi,
            ReportsApi,
            SettlementApi,
            DevicesApi,
            DocumentsApi,
            WaitingListApi,
            OfflineApi,
            BoxOfficeApi,
            HandBacksApi,
            RescissionApi,
            DisputeApi,
            OptionsApi,
        ),
        (
            WaitingApi,
            OrdersApi,
            PaymentsApi,
            PaymentAccountsApi,
            RefundsApi,
            TicketsApi,
            LibraryApi,
            TransfersApi,
            EntryApi,
            BandsApi,
            BindingApi,
            HeadCountsApi,
            HelpDeskApi,
            IncidentApi,
            LedgerApi,
            OverridesApi,
        ),
    );
    OpenApiService::new(api, "Gatefold", env!("CARGO_PKG_VERSION"))
        .description(
            "Festival passes bundled with digital albums: sale, tickets, music, gates.\n\n\
             Money is in minor units beside its ISO 4217 currency; times are RFC 3339 in UTC; ids name their festival. \
             Errors are problem documents (RFC 9457) whose `type` is a page. Writes of money or stock need `Idempotency-Key`.",
        )
        .contact(ContactObject::new().name("Gatefold").url("https://gatefold.example"))
        .license(LicenseObject::new("MIT OR Apache-2.0").identifier("MIT OR Apache-2.0"))
        .server("/")
}

/// The document as it is served: what the framework prints, with its known quirks mended (3-contract, traps 3 and 4).
///
/// # Panics
/// When the framework prints something that is not JSON.
#[must_use]
pub fn document() -> Value {
    let text = service().spec();
    let mut document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("the document is not JSON: {error}"));
    mend(&mut document);
    if let Some(license) = document["info"]["license"].as_object_mut() {
        // A word of OpenAPI 3.1; this is 3.0.
        license.remove("identifier");
    }
    if document["webhooks"].is_array() || document["webhooks"].is_object() {
        let webhooks = document["webhooks"].take();
        if let Some(root) = document.as_object_mut() {
            root.remove("webhooks");
            if webhooks.as_object().is_some_and(|w| !w.is_empty()) {
                root.insert("x-webhooks".to_owned(), webhooks);
            }
        }
    }
    for schema in document["components"]["schemas"].as_object_mut().into_iter().flat_map(|s| s.values_mut()) {
        optional_may_be_null(schema);
    }
    document["components"]["schemas"]["Problem"]["additionalProperties"] = json!(true);
    document
}

/// What may be left out may be null, too: the framework reads both alike and does not print it.
fn optional_may_be_null(schema: &mut Value) {
    let required: Vec<String> = schema["required"].as_array().into_iter().flatten().filter_map(|n| n.as_str().map(str::to_owned)).collect();
    for (name, property) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        if required.contains(name) {
            continue;
        }
        // Beside a `$ref` every other word is ignored (OpenAPI 3.0.3): the reference moves into `allOf`.
        if let Some(reference) = property.as_object_mut().and_then(|p| p.remove("$ref")) {
            *property = json!({ "allOf": [{ "$ref": reference }] });
        }
        property["nullable"] = json!(true);
    }
}

fn mend(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for name in ["application/json", "text/plain"] {
                let spelled = format!("{name}; charset=utf-8");
                if let Some(content) = object.remove(&spelled) {
                    object.insert(name.to_owned(), content);
                }
            }
            object.values_mut().for_each(mend);
        }
        Value::Array(items) => items.iter_mut().for_each(mend),
        _ => {}
    }
}

/// The operations of the document: method and path by operation id.
#[must_use]
pub fn operations(document: &Value) -> BTreeMap<String, (String, String)> {
    let mut found = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            if let Some(id) = operation["operationId"].as_str() {
                found.insert(id.to_owned(), (method.to_uppercase(), path.clone()));
            }
        }
    }
    found
}
