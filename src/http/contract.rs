//! What the framework does not hold to in the document that it prints: its `String` reads numbers and booleans, too, and its
//! 405 names no methods. A text with NUL, which Postgres cannot keep, is refused before it meets a batch. Mended once, here, from the document itself.

use std::collections::BTreeMap;

use poem::{Body, Endpoint, IntoResponse, Middleware, Request, Response, http::HeaderValue};
use serde_json::Value;

use super::problem::{METHOD, Problem, Wrong, answer};

/// The document as a middleware of the API.
pub struct Contract {
    document: std::sync::Arc<Value>,
}

impl Contract {
    /// Holds the API to its document.
    #[must_use]
    pub fn new(document: Value) -> Self {
        Self { document: std::sync::Arc::new(document) }
    }
}

impl<E: Endpoint> Middleware<E> for Contract {
    type Output = Held<E>;

    fn transform(&self, inner: E) -> Held<E> {
        let mut paths = Addresses::default();
        for (path, item) in self.document["paths"].as_object().into_iter().flatten() {
            let methods: Methods = item
                .as_object()
                .into_iter()
                .flatten()
                .map(|(method, operation)| {
                    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
                    (method.to_uppercase(), (!schema.is_null()).then(|| schema.clone()))
                })
                .collect();
            paths.at(path).methods = Some(methods);
        }
        Held { inner, document: self.document.clone(), paths }
    }
}

/// The API behind its document.
pub struct Held<E> {
    inner: E,
    document: std::sync::Arc<Value>,
    paths: Addresses,
}

/// The methods of an address, and the schema of what they are sent.
type Methods = BTreeMap<String, Option<Value>>;

/// The addresses of the document as a tree of their parts.
#[derive(Default)]
struct Addresses {
    literal: BTreeMap<String, Addresses>,
    parameter: Option<Box<Addresses>>,
    methods: Option<Methods>,
}

impl Addresses {
    /// The place of a template, made where it is missing.
    fn at(&mut self, template: &str) -> &mut Self {
        template.split('/').fold(self, |place, part| {
            if part.starts_with('{') { place.parameter.get_or_insert_default() } else { place.literal.entry(part.to_owned()).or_default() }
        })
    }

    /// The methods of an address: literal parts before parameters.
    fn methods<'p>(&self, mut rest: impl Iterator<Item = &'p str> + Clone) -> Option<&Methods> {
        match rest.next() {
            None => self.methods.as_ref(),
            Some(part) => {
                let literally = self.literal.get(part).and_then(|below| below.methods(rest.clone()));
                literally.or_else(|| self.parameter.as_ref().and_then(|below| below.methods(rest)))
            }
        }
    }
}

impl<E: Endpoint> Endpoint for Held<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let Some(methods) = self.paths.methods(request.uri().path().split('/')) else { return self.inner.call(request).await.map(IntoResponse::into_response) };
        match methods.get(request.method().as_str()) {
            None => {
                let mut response = answer(&METHOD.problem(), None);
                if let Ok(allow) = HeaderValue::from_str(&methods.keys().map(String::as_str).collect::<Vec<_>>().join(", ")) {
                    response.headers_mut().insert("allow", allow);
                }
                return Ok(response);
            }
            Some(Some(schema)) => {
                // The door read the body with a count.
                let bytes = request.take_body().into_bytes().await.unwrap_or_default();
                if let Ok(body) = serde_json::from_slice::<Value>(&bytes) {
                    let wrong = self.no_text(schema, &body, String::new(), 0).map(|pointer| Wrong::new(pointer, "a text is expected here"));
                    let nul = || nul_in(&body, String::new()).map(|pointer| Wrong::new(pointer, "the character NUL cannot be kept"));
                    if let Some(wrong) = wrong.or_else(nul) {
                        return Err(Problem::invalid(vec![wrong]).into());
                    }
                }
                request.set_body(Body::from(bytes));
            }
            Some(None) => {}
        }
        self.inner.call(request).await.map(IntoResponse::into_response)
    }
}

impl<E> Held<E> {
    /// The first place where the document wants a text and the body has a number or a boolean.
    fn no_text(&self, schema: &Value, body: &Value, pointer: String, depth: usize) -> Option<String> {
        if depth > 16 {
            return None;
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
            return self.no_text(&self.document["components"]["schemas"][name], body, pointer, depth + 1);
        }
        if let Some(all) = schema["allOf"].as_array() {
            return all.iter().find_map(|part| self.no_text(part, body, pointer.clone(), depth + 1));
        }
        match body {
            Value::Bool(_) | Value::Number(_) if schema["type"] == "string" => Some(pointer),
            Value::Object(members) => {
                members.iter().find_map(|(name, member)| self.no_text(&schema["properties"][name], member, format!("{pointer}/{name}"), depth + 1))
            }
            Value::Array(items) => items.iter().enumerate().find_map(|(i, item)| self.no_text(&schema["items"], item, format!("{pointer}/{i}"), depth + 1)),
            _ => None,
        }
    }
}

/// The first text with a NUL, in values and in names.
fn nul_in(body: &Value, pointer: String) -> Option<String> {
    match body {
        Value::String(text) => text.contains('\0').then_some(pointer),
        Value::Object(members) => {
            members.iter().find_map(|(name, member)| if name.contains('\0') { Some(pointer.clone()) } else { nul_in(member, format!("{pointer}/{name}")) })
        }
        Value::Array(items) => items.iter().enumerate().find_map(|(i, item)| nul_in(item, format!("{pointer}/{i}"))),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}
