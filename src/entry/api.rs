//! The JSON face of scanning.

use chrono::{DateTime, Utc};
use futures_util::stream;
use poem::{Body, web::Data};
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::Query,
    payload::{Binary, Json},
};

use super::{
    Asked, Checked, ScanAnswer, ScanError, ScanKind,
    pack::{self, Positions},
};
use crate::{
    accounts::guard::AsDevice,
    app::App,
    http::{
        problem::{Created, Or, Problem, Usual},
        tags::Chapter,
    },
    id::ScanId,
};

impl From<ScanError> for Problem {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Busy(busy) => busy.into(),
            ScanError::Database(error) => error.into(),
        }
    }
}

/// A presentation of a code at a gate.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewScan {
    /// The device's own id of the scan (UUIDv7): a repeat with the same id gets the first answer.
    pub scan_id: ScanId,
    /// What it is.
    #[oai(default = "entry")]
    pub kind: ScanKind,
    /// The text of the code, as it was read.
    #[oai(validator(max_length = 400))]
    pub ticket_code: String,
    /// When the device scanned, by its clock.
    pub scanned_at: DateTime<Utc>,
    /// The scan whose check this one answers.
    pub after: Option<ScanId>,
    /// The answer to that check.
    pub checked: Option<Checked>,
}

/// The pack of a gate.
#[derive(ApiResponse)]
pub enum GatePack {
    /// The pack, or what changed behind the positions that were named. The format is described in `src/entry/pack.rs`.
    #[oai(status = 200, content_type = "application/vnd.gatefold.pack")]
    Pack(Binary<Body>, #[oai(header = "Cache-Control")] String),
}

fn entry() -> ScanKind {
    ScanKind::Entry
}

/// Scanning.
pub struct EntryApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Gates")]
impl EntryApi {
    /// Scan a code
    ///
    /// Decides and records. A refusal is an answer (201 with `verdict: refused` and a reason), not a problem. The same scan id gets the first answer
    /// again; after a 503 the device decides by itself and asks again with the same id.
    #[oai(path = "/scans", method = "post", operation_id = "create_scan")]
    async fn create_scan(&self, AsDevice(device): AsDevice, app: Data<&App>, body: Json<NewScan>) -> Result<Created<ScanAnswer>, Or<Usual>> {
        let NewScan { scan_id, kind, ticket_code, scanned_at, after, checked } = body.0;
        let asked = Asked { scan_id, kind, code: ticket_code, scanned_at, after, checked };
        let answer = super::scan(&app, &device, asked).await?;
        let location = format!("/v1/scans/{}", answer.scan_id);
        Ok(Created { body: answer, location })
    }

    /// Show the pack of a gate
    ///
    /// What a device decides by without network: keys, days, passes, gates, tickets and who is in; no personal data. Without positions it is whole. With
    /// the positions of the last answer it is what changed since; `more` in its head says to ask again at once. Every few seconds is often enough.
    #[oai(path = "/pack", method = "get", operation_id = "show_pack")]
    async fn show_pack(
        &self,
        AsDevice(device): AsDevice,
        app: Data<&App>,
        /// The position in the feed of tickets that the device has.
        #[oai(default, validator(minimum(value = "0")))]
        tickets: Query<i64>,
        /// The position in the feed of admissions that the device has.
        #[oai(default, validator(minimum(value = "0")))]
        admissions: Query<i64>,
        /// The tag of the rules that the device has: they are left away while it is theirs.
        #[oai(validator(max_length = 64))]
        rules: Query<Option<String>>,
    ) -> Result<GatePack, Or<Usual>> {
        let from = Positions { tickets: *tickets, admissions: *admissions };
        let pieces = pack::pack(&app, device.festival_id, from, rules.as_deref()).await.map_err(Problem::from)?;
        let body = Body::from_bytes_stream(stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)));
        Ok(GatePack::Pack(Binary(body), "no-store".to_owned()))
    }
}
