//! Who acts: a promoter, fans, devices, strangers. Typed clients of the public face.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// An answer: status and JSON.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub retry_after: Option<String>,
}

impl Answer {
    /// The body of an answer that has to have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The slug of a problem.
    pub fn problem(&self) -> &str {
        self.body["type"].as_str().and_then(|t| t.rsplit('/').next()).unwrap_or("")
    }
}

/// A fresh key.
pub fn key() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Somebody who speaks HTTP.
#[derive(Clone)]
pub struct Anybody {
    pub client: reqwest::Client,
    pub url: String,
}

impl Anybody {
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.url))
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request("GET", path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        answer(self.request("POST", path).json(body)).await
    }

    /// Places an order.
    pub async fn place(&self, key: &str, email: &str, lines: &[(&str, i64)]) -> Answer {
        let lines: Vec<Value> = lines.iter().map(|(offer, quantity)| json!({ "offer_id": offer, "quantity": quantity })).collect();
        answer(self.request("POST", "/v1/orders").header("idempotency-key", key).json(&json!({ "email": email, "lines": lines }))).await
    }

    /// Places an order that has to be taken, and returns its fan.
    pub async fn order(&self, email: &str, lines: &[(&str, i64)]) -> Fan {
        let placed = self.place(&key(), email, lines).await.expect(201);
        Fan { http: self.clone(), order: placed["order_id"].as_str().unwrap().to_owned(), secret: placed["secret"].as_str().unwrap().to_owned() }
    }

    /// The same by somebody who says their name.
    pub async fn order_for(&self, name: &str, email: &str, lines: &[(&str, i64)]) -> Fan {
        let lines: Vec<Value> = lines.iter().map(|(offer, quantity)| json!({ "offer_id": offer, "quantity": quantity })).collect();
        let order = json!({ "name": name, "email": email, "lines": lines });
        let placed = answer(self.request("POST", "/v1/orders").header("idempotency-key", key()).json(&order)).await.expect(201);
        Fan { http: self.clone(), order: placed["order_id"].as_str().unwrap().to_owned(), secret: placed["secret"].as_str().unwrap().to_owned() }
    }

    /// Pairs a device by a code.
    pub async fn pair(&self, code: &str) -> Device {
        let paired = self.post("/v1/devices", &json!({ "pairing_code": code, "name": "lane 1" })).await.expect(201);
        Device { http: self.clone(), token: paired["token"].as_str().unwrap().to_owned(), id: paired["device"]["device_id"].as_str().unwrap().to_owned() }
    }
}

/// Sends a request and reads the answer.
pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let text = response.text().await.unwrap();
    Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)), retry_after }
}

/// A promoter with an API token.
#[derive(Clone)]
pub struct Promoter {
    pub http: Anybody,
    pub token: String,
}

impl Promoter {
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, path).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request("GET", path)).await
    }

    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        answer(self.request(method, path).json(body)).await
    }

    /// Makes something and returns it.
    pub async fn make(&self, path: &str, body: Value) -> Value {
        self.send("POST", path, &body).await.expect(201)
    }

    /// Makes a festival of three days with a gate and publishes it.
    pub async fn festival(&self, slug: &str) -> Festival {
        let made = self
            .make(
                "/v1/festivals",
                json!({
                    "slug": slug, "kind": "festival", "name": { "en": "Night Ferry", "zh": "夜渡" }, "lead": { "en": "Three nights in a shipyard." },
                    "place": { "en": "Dock 9, Rotterdam", "zh": "鹿特丹第九船坞" }, "currency": "EUR", "time_zone": "Europe/Amsterdam", "spot": "#ffd21f", "language": "en"
                }),
            )
            .await;
        let id = made["festival_id"].as_i64().unwrap();
        for (index, name, opens, closes) in [
            (0, "Friday", "2026-06-19T12:00:00Z", "2026-06-20T03:00:00Z"),
            (1, "Saturday", "2026-06-20T11:00:00Z", "2026-06-21T03:00:00Z"),
            (2, "Sunday", "2026-06-21T11:00:00Z", "2026-06-21T21:30:00Z"),
        ] {
            let day = json!({ "name": { "en": name }, "opens_at": opens, "closes_at": closes });
            self.send("PUT", &format!("/v1/festivals/{id}/days/{index}"), &day).await.expect(200);
        }
        let gate = self.make(&format!("/v1/festivals/{id}/gates"), json!({ "name": { "en": "North Quay", "zh": "北码头" } })).await;
        self.send("POST", &format!("/v1/festivals/{id}/publications"), &json!({})).await.expect(200);
        Festival { promoter: self.clone(), id, gate: gate["gate_id"].as_str().unwrap().to_owned() }
    }
}

/// A festival in the hands of its promoter.
#[derive(Clone)]
pub struct Festival {
    pub promoter: Promoter,
    pub id: i64,
    pub gate: String,
}

impl Festival {
    pub fn path(&self, below: &str) -> String {
        format!("/v1/festivals/{}{below}", self.id)
    }

    /// Makes a pass for days.
    pub async fn pass(&self, name: &str, day_mask: i64) -> String {
        let pass = self
            .promoter
            .make(
                &self.path("/passes"),
                json!({ "name": { "en": name }, "color": "#ffd21f", "color_name": { "en": "yellow band" }, "day_mask": day_mask, "reentry": "after_exit" }),
            )
            .await;
        pass["pass_id"].as_str().unwrap().to_owned()
    }

    /// Makes an offer of one pass.
    pub async fn offer(&self, pass: &str, capacity: i64, price_minor: i64) -> String {
        self.offer_of(json!({
            "terms": { "name": { "en": "Weekend pass" } },
            "capacity": capacity,
            "tiers": [{ "name": { "en": "Now" }, "price": { "minor": price_minor, "currency": "EUR" } }],
            "components": [{ "pass_id": pass, "weight": 1, "tax_kind": "fixed", "tax_ppm": 90000 }]
        }))
        .await
    }

    pub async fn offer_of(&self, offer: Value) -> String {
        self.promoter.make(&self.path("/offers"), offer).await["offer_id"].as_str().unwrap().to_owned()
    }

    /// Makes a zone and a gate that leads to it; the gate.
    pub async fn gate_into(&self, zone: Value) -> String {
        let zone = self.promoter.make(&self.path("/zones"), zone).await;
        let gate = self.promoter.make(&self.path("/gates"), json!({ "name": zone["name"], "zone_id": zone["zone_id"] })).await;
        gate["gate_id"].as_str().unwrap().to_owned()
    }

    /// Pairs a device at the gate.
    pub async fn device(&self) -> Device {
        let pairing = self.promoter.make(&self.path("/pairings"), json!({ "gate_id": self.gate })).await;
        self.promoter.http.pair(pairing["pairing_code"].as_str().unwrap()).await
    }

    /// What is held and sold of the stock of an offer.
    pub async fn stock(&self, offer: &str) -> (i64, i64) {
        let offers = self.promoter.get(&self.path("/offers")).await.expect(200);
        let stock_id = offers["items"].as_array().unwrap().iter().find(|o| o["offer_id"] == offer).unwrap()["stock_id"].clone();
        let stocks = self.promoter.get(&self.path("/stocks")).await.expect(200);
        let stock = stocks["items"].as_array().unwrap().iter().find(|s| s["stock_id"] == stock_id).unwrap().clone();
        (stock["held"].as_i64().unwrap(), stock["sold"].as_i64().unwrap())
    }
}

/// A fan with the secret of an order.
#[derive(Clone)]
pub struct Fan {
    pub http: Anybody,
    pub order: String,
    pub secret: String,
}

impl Fan {
    pub fn request(&self, method: &str, below: &str) -> reqwest::RequestBuilder {
        self.http.request(method, &format!("/v1/orders/{}{below}", self.order)).bearer_auth(format!("gf_order_{}", self.secret))
    }

    pub async fn get(&self, below: &str) -> Answer {
        answer(self.request("GET", below)).await
    }

    pub async fn pay(&self, key: &str, way: &str) -> Answer {
        answer(self.request("POST", "/payments").header("idempotency-key", key).json(&json!({ "way": way }))).await
    }

    pub async fn cancel(&self) -> Answer {
        answer(self.request("POST", "/cancellations")).await
    }

    pub async fn status(&self) -> String {
        self.get("").await.expect(200)["status"].as_str().unwrap().to_owned()
    }

    pub async fn tickets(&self) -> Vec<Value> {
        self.get("/tickets").await.expect(200)["items"].as_array().unwrap().clone()
    }
}

/// A paired device.
#[derive(Clone)]
pub struct Device {
    pub http: Anybody,
    pub token: String,
    pub id: String,
}

impl Device {
    pub async fn scan(&self, code: &str, at: DateTime<Utc>) -> Answer {
        self.scan_as(&uuid::Uuid::now_v7().to_string(), code, at, json!({})).await
    }

    pub async fn scan_as(&self, scan_id: &str, code: &str, at: DateTime<Utc>, more: Value) -> Answer {
        let mut body = json!({ "scan_id": scan_id, "ticket_code": code, "scanned_at": at });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        answer(self.http.request("POST", "/v1/scans").bearer_auth(&self.token).json(&body)).await
    }

    /// Reports what it decided without the server; `sent_at` is its clock.
    pub async fn report(&self, sent_at: DateTime<Utc>, scans: &[Value]) -> Answer {
        answer(self.http.request("POST", "/v1/scan-batches").bearer_auth(&self.token).json(&json!({ "sent_at": sent_at, "scans": scans }))).await
    }
}
