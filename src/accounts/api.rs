//! The JSON face of gate devices.

use poem::web::Data;
use poem_openapi::{Enum, Object, OpenApi, param::Path, payload::Json};

use super::{
    Device, PairError, Paired, Pairing, Pulse, Scope,
    guard::{AsDevice, AsStaff},
    shift::Supervising,
};
use crate::{
    app::App,
    http::{
        limit::{Client, Limited, Limits},
        problem::{AtGate, Changing, Created, INVALID, Or, Problem, UNAUTHORIZED, Usual},
        tags::Chapter,
    },
    id::{DeviceId, FestivalId, GateId},
    page::Page,
};

impl From<PairError> for Problem {
    fn from(error: PairError) -> Self {
        match error {
            PairError::Over => UNAUTHORIZED.because("the code is wrong, used or over; ask a supervisor for a new one"),
            PairError::Database(error) => error.into(),
        }
    }
}

/// What a device may do.
#[derive(Clone, Copy, Debug, Enum)]
#[oai(rename_all = "snake_case")]
pub enum Profile {
    /// Scan only.
    Scan,
    /// Scan, search names, and override with a reason.
    Supervisor,
    /// Exchange tickets for wristbands.
    Exchange,
    /// Scan, and compare names with documents: it shows whom a code is for.
    Identity,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Supervisor => "supervisor",
            Self::Exchange => "exchange",
            Self::Identity => "identity",
        }
    }
}

/// Where a device will stand.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewPairing {
    /// The gate.
    pub gate_id: GateId,
    /// Other gates that whoever holds the device may move it to.
    #[oai(default, validator(max_items = 100, unique_items = true))]
    pub gate_ids: Vec<GateId>,
    /// What the device may do.
    #[oai(default = "scan_only")]
    pub profile: Profile,
    /// How many devices it pairs. More than one is an enrolment sheet: its code has 128 bits, and is good until a time.
    #[oai(default = "one", validator(minimum(value = "1"), maximum(value = "500")))]
    pub devices: i16,
    /// Until when a sheet is good: 24 hours without one, and at most.
    pub until: Option<chrono::DateTime<chrono::Utc>>,
}

fn one() -> i16 {
    1
}

fn scan_only() -> Profile {
    Profile::Scan
}

/// A device that wants to be paired.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewDevice {
    /// The code that a supervisor shows.
    #[oai(validator(max_length = 64))]
    pub pairing_code: String,
    /// A name for lists: "lane 2, blue phone".
    #[oai(validator(min_length = 1, max_length = 80))]
    pub name: String,
}

/// How a device stands.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct Heartbeat {
    /// How many of its scans and head counts wait to be reported.
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000")))]
    pub waiting: i32,
    /// Its battery, in percent.
    #[oai(validator(minimum(value = "0"), maximum(value = "100")))]
    pub battery: Option<i16>,
    /// Whether it is charging.
    pub is_charging: Option<bool>,
    /// The gate that its holder chose.
    pub gate_id: Option<GateId>,
}

/// The answer to a heartbeat.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct HouseTime {
    /// The time of the house, for the offset of the device's clock.
    pub server_time: chrono::DateTime<chrono::Utc>,
    /// Who is signed in on the device for a shift.
    pub supervisor: Option<Supervising>,
}

/// Gate devices.
pub struct DevicesApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Gates")]
impl DevicesApi {
    /// Offer a chance to pair a device
    ///
    /// The code is good for ten minutes, ten tries and one device; that of a sheet for several devices until a time. Asking again makes another one.
    /// Scope `gates:write`.
    #[oai(path = "/festivals/:festival_id/pairings", method = "post", operation_id = "create_pairing")]
    async fn create_pairing(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<NewPairing>,
    ) -> Result<Created<Pairing>, Or<Changing>> {
        staff.may(Scope::GatesWrite)?;
        super::guard::reach(&staff, *festival_id)?;
        let NewPairing { gate_id, gate_ids, profile, devices, until } = body.0;
        let wanted = super::Wanted { gate: gate_id, others: &gate_ids, profile: profile.name(), devices, until };
        let pairing = super::offer_pairing(&app, &staff, *festival_id, &wanted).await?;
        Ok(Created { body: pairing, location: "/v1/devices".to_owned() })
    }

    /// List the enrolment sheets
    ///
    /// Those that pair devices still, the newest first, each with its code. Scope `gates:write`.
    #[oai(path = "/festivals/:festival_id/pairings", method = "get", operation_id = "list_enrolments")]
    async fn list_enrolments(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<Pairing>>, Or<Usual>> {
        staff.may(Scope::GatesWrite)?;
        super::guard::reach(&staff, *festival_id)?;
        Ok(Json(Page { items: super::sheets(&app, &staff, *festival_id).await?, next: None }))
    }

    /// Revoke a pairing
    ///
    /// A code or a sheet pairs nothing more; what it paired stays paired until it is revoked itself. Doing it again changes nothing. Scope `gates:write`.
    #[oai(path = "/festivals/:festival_id/pairings/:pairing_no/revocations", method = "post", operation_id = "revoke_pairing")]
    async fn revoke_pairing(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        pairing_no: Path<i32>,
    ) -> Result<Json<Pairing>, Or<Changing>> {
        staff.may(Scope::GatesWrite)?;
        super::guard::reach(&staff, *festival_id)?;
        Ok(Json(super::revoke_pairing(&app, &staff, *festival_id, *pairing_no).await?))
    }

    /// Pair a device by its code
    ///
    /// The code is used up by the first device. When the answer is lost, ask a supervisor for a new code and revoke the device that nobody holds.
    #[oai(path = "/devices", method = "post", operation_id = "create_device")]
    async fn create_device(&self, app: Data<&App>, client: Data<&Client>, body: Json<NewDevice>) -> Result<Created<Paired>, Or<Usual>> {
        app.the::<Limits>().count(Limited::Guess, &client)?;
        let paired = super::pair(&app, &body.pairing_code, &body.name).await?;
        let location = format!("/v1/devices/{}", paired.device.device_id);
        Ok(Created { body: paired, location })
    }

    /// Say that a device is alive
    ///
    /// Every few seconds, with what waits on it. Supervisors see it in the list of devices. The answer carries the time of the house.
    #[oai(path = "/heartbeats", method = "post", operation_id = "say_alive")]
    async fn say_alive(&self, AsDevice(device): AsDevice, app: Data<&App>, body: Json<Heartbeat>) -> Result<Json<HouseTime>, Or<AtGate>> {
        let Heartbeat { waiting, battery, is_charging, gate_id } = body.0;
        let device = device.at(gate_id).ok_or_else(|| INVALID.because("the device may not stand at that gate"))?;
        let now = app.clock.now();
        super::heard(&app, &device, Pulse { at: now, gate_id: device.gate_id, waiting, battery, is_charging });
        Ok(Json(HouseTime { server_time: now, supervisor: device.supervising() }))
    }

    /// List the devices of a festival
    ///
    /// Newest first, at most 500. Scope `gates:write`.
    #[oai(path = "/festivals/:festival_id/devices", method = "get", operation_id = "list_devices")]
    async fn list_devices(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<Device>>, Or<Usual>> {
        staff.may(Scope::GatesWrite)?;
        super::guard::reach(&staff, *festival_id)?;
        Ok(Json(Page { items: super::devices(&app, &staff, *festival_id).await?, next: None }))
    }

    /// Revoke a device
    ///
    /// Takes effect within five seconds. Doing it again changes nothing. Scope `gates:write`.
    #[oai(path = "/devices/:device_id/revocations", method = "post", operation_id = "revoke_device")]
    async fn revoke_device(&self, AsStaff(staff): AsStaff, app: Data<&App>, device_id: Path<DeviceId>) -> Result<Json<Device>, Or<Changing>> {
        staff.may(Scope::GatesWrite)?;
        super::guard::reach(&staff, device_id.festival())?;
        Ok(Json(super::revoke_device(&app, &staff, *device_id).await?))
    }
}
