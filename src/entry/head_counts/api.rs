//! The JSON face of head counts.

use chrono::{DateTime, TimeDelta, Utc};
use poem::web::Data;
use poem_openapi::{Object, OpenApi, payload::Json};

use super::{CountKind, HeadCount};
use crate::{
    accounts::guard::AsDevice,
    app::App,
    http::{
        problem::{INVALID, Or, Problem, Usual, Wrong},
        tags::Chapter,
    },
    id::{CountId, GateId},
};

/// People who were counted by hand.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewHeadCount {
    /// The device's own id of it (UUIDv7): a repeat counts once.
    pub count_id: CountId,
    /// What was counted.
    pub kind: CountKind,
    /// How many, not zero; below zero it takes back what was counted before.
    #[oai(validator(minimum(value = "-500"), maximum(value = "500")))]
    pub people: i16,
    /// When, by the clock of the device.
    pub counted_at: DateTime<Utc>,
    /// Milliseconds to add to that for the time of the house, as the device knew it then.
    #[oai(default, validator(minimum(value = "-4000000000000"), maximum(value = "4000000000000")))]
    pub offset_ms: i64,
    /// The gate that its holder had chosen; one that it may not stand at counts as its own.
    pub gate_id: Option<GateId>,
}

/// What was counted on a device, in any order.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewHeadCounts {
    /// The counts.
    #[oai(validator(min_items = 1, max_items = 500))]
    pub counts: Vec<NewHeadCount>,
}

/// That it was recorded.
#[derive(Debug, Object)]
pub struct HeadCountsTaken {
    /// The time of the house.
    pub server_time: DateTime<Utc>,
}

/// Head counts.
pub struct HeadCountsApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Gates")]
impl HeadCountsApi {
    /// Report people who were counted by hand
    ///
    /// Where nobody scans: gates that stand open in an incident, exits without a scanner, whoever leaves on a stretcher. They count for who is in, and every
    /// figure says how much of it was counted by hand. Any number of times, in any order: each counts once.
    #[oai(path = "/head-counts", method = "post", operation_id = "report_head_counts")]
    async fn report_head_counts(&self, AsDevice(device): AsDevice, app: Data<&App>, body: Json<NewHeadCounts>) -> Result<Json<HeadCountsTaken>, Or<Usual>> {
        let none = |(i, count): (usize, &NewHeadCount)| (count.people == 0).then(|| Wrong::new(format!("/counts/{i}/people"), "nobody is no count"));
        let errors: Vec<Wrong> = body.0.counts.iter().enumerate().filter_map(none).collect();
        if !errors.is_empty() {
            return Err(Problem { errors, ..INVALID.problem() }.into());
        }
        let counts: Vec<HeadCount> = body.0.counts.into_iter().map(HeadCount::from).collect();
        super::record(&app, &device, &counts).await.map_err(Problem::from)?;
        Ok(Json(HeadCountsTaken { server_time: app.clock.now() }))
    }
}

impl From<NewHeadCount> for HeadCount {
    fn from(count: NewHeadCount) -> Self {
        let NewHeadCount { count_id, kind, people, counted_at, offset_ms, gate_id } = count;
        let counted_at = counted_at.checked_add_signed(TimeDelta::milliseconds(offset_ms)).unwrap_or(counted_at);
        Self { count_id, kind, people, counted_at, gate_id }
    }
}
