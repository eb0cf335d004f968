//! The JSON face of festivals, days, zones, stages and gates.

use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path},
    payload::{Binary, Json},
    types::{ParseFromJSON, ToJSON},
};
use serde_json::Value;

use super::{Day, Festival, FestivalTerms, Gate, SigningKeys, Site, Stage, Zone};
use crate::{
    accounts::{
        Scope, Staff,
        guard::{Anyone, AsStaff, reach},
    },
    app::App,
    fault::Fault,
    http::{
        patch::{merge_patch, version_of},
        problem::{Changing, Created, NOT_FOUND, Or, Problem, Usual},
        tags::Chapter,
    },
    id::{FestivalId, GateId, PassId, StageId, ZoneId},
    page::Page,
    words::Text,
};

/// Opens the transaction of a promoter who may do something with a festival of theirs.
///
/// # Errors
/// A problem: the scope is missing, or there is no such festival.
pub async fn of_staff(app: &App, staff: &Staff, festival: FestivalId, scope: Scope) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, Problem> {
    staff.may(scope)?;
    reach(staff, festival)?;
    let mut tx = app.for_promoter(staff.promoter).await?;
    super::owned(&mut tx, staff.promoter, festival).await?.ok_or_else(|| NOT_FOUND.problem())?;
    Ok(tx)
}

/// When a day opens and ends.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct DayTerms {
    /// Its name: `Friday`.
    pub name: Text,
    /// When its gates open.
    pub opens_at: chrono::DateTime<chrono::Utc>,
    /// When it ends, usually after midnight.
    pub closes_at: chrono::DateTime<chrono::Utc>,
}

/// A pause of everything that a festival sells.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct Pause {
    /// The sentence that fans read.
    pub sentence: Text,
}

/// A freeze of prices, openings and migrations.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct Freeze {
    /// Until when; at most a week.
    pub until: chrono::DateTime<chrono::Utc>,
}

/// A zone to be added.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewZone {
    /// Its name.
    pub name: Text,
    /// How many people may be in it.
    #[oai(skip_serializing_if_is_none, validator(minimum(value = "1"), maximum(value = "2000000")))]
    pub capacity: Option<i32>,
    /// Whether its gates stand inside the site: whoever is in it is on the site, too, and may come back into it whatever their pass says. It stays.
    #[oai(default)]
    pub is_inner: bool,
}

/// A stage to be added.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewStage {
    /// Its name.
    pub name: Text,
    /// The zone it stands in.
    pub zone_id: Option<ZoneId>,
    /// Its place in lists.
    #[oai(default)]
    pub sort: i16,
}

/// A gate to be added.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewGate {
    /// Its name.
    pub name: Text,
    /// The zone it leads to; without one it leads to the whole site. It stays.
    pub zone_id: Option<ZoneId>,
    /// The passes it takes; empty for all.
    #[oai(default, validator(max_items = 500))]
    pub pass_ids: Vec<PassId>,
}

/// What may change about a gate.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct GateTerms {
    /// Its name.
    pub name: Text,
    /// The passes it takes; empty for all.
    #[oai(default, validator(max_items = 500))]
    pub pass_ids: Vec<PassId>,
}

/// Festivals.
pub struct FestivalsApi;

/// A festival that the caller may see: published, or their own with the scope `catalog:read`.
///
/// # Errors
/// A problem `not-found`.
pub async fn visible(app: &App, festival: FestivalId, staff: Option<&crate::accounts::Staff>) -> Result<Festival, Problem> {
    let found = super::one(&app.pools.web, festival).await?.ok_or_else(|| NOT_FOUND.problem())?;
    if found.published_at.is_some() && found.rehearsal_of.is_none() || staff.is_some_and(|staff| is_own(staff, &found)) {
        Ok(found)
    } else {
        Err(NOT_FOUND.problem())
    }
}

/// Whether a festival is one of those that a member or a token reads as its own.
#[must_use]
pub fn is_own(staff: &crate::accounts::Staff, festival: &Festival) -> bool {
    staff.promoter == festival.promoter_id && staff.reaches(festival.festival_id) && staff.may(Scope::CatalogRead).is_ok()
}

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Festivals")]
impl FestivalsApi {
    /// List festivals
    ///
    /// What fans see, newest first; with a token of a promoter, that promoter's own, drafts included.
    #[oai(path = "/festivals", method = "get", operation_id = "list_festivals")]
    async fn list_festivals(&self, who: Anyone, app: Data<&App>) -> Result<Json<Page<Festival>>, Or<Usual>> {
        let items = match who.0 {
            Some(staff) => {
                staff.may(Scope::CatalogRead)?;
                let mut tx = app.for_promoter(staff.promoter).await?;
                super::own(&mut tx, staff.promoter).await?.into_iter().filter(|f| staff.reaches(f.festival_id)).collect()
            }
            None => super::all(&app.pools.web, app.clock.now()).await?,
        };
        Ok(Json(Page { items, next: None }))
    }

    /// Make a festival
    ///
    /// It is a draft that only its promoter sees until it is published. The slug is taken once: a repeated request answers 409. Scope `festivals:write`.
    #[oai(path = "/festivals", method = "post", operation_id = "create_festival")]
    async fn create_festival(&self, AsStaff(staff): AsStaff, app: Data<&App>, body: Json<FestivalTerms>) -> Result<Created<Festival>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        let festival = super::create(&app, &staff, &body).await?;
        let location = format!("/v1/festivals/{}", festival.festival_id.0);
        Ok(Created { body: festival, location })
    }

    /// Look at a festival
    ///
    /// Its number, words and ink. The version is the ETag of changes.
    #[oai(path = "/festivals/:festival_id", method = "get", operation_id = "show_festival")]
    async fn show_festival(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Festival>, Or<Usual>> {
        Ok(Json(visible(&app, *festival_id, who.0.as_ref()).await?))
    }

    /// Change a festival
    ///
    /// A JSON merge patch (RFC 7396) of its terms. With `If-Match: "<version>"` it is refused (412) when somebody changed it meanwhile. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id", method = "patch", operation_id = "change_festival")]
    async fn change_festival(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// The version that the change is made to, in quotes.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Json<Value>,
    ) -> Result<Json<Festival>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        let version = version_of(if_match.as_deref())?;
        let changed = super::change(&app, &staff, *festival_id, version, |terms| {
            let patched = merge_patch(terms.to_json().unwrap_or_default(), &body.0);
            FestivalTerms::parse_from_json(Some(patched)).map_err(|error| Fault::wrong("", error.into_message()))
        });
        Ok(Json(changed.await?))
    }

    /// Publish a festival
    ///
    /// Fans see it from now on. Doing it again changes nothing. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/publications", method = "post", operation_id = "publish_festival")]
    async fn publish_festival(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Festival>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        Ok(Json(super::publish(&app, &staff, *festival_id).await?))
    }

    /// Pause a festival
    ///
    /// Nothing of it can be ordered from now on; fans read the sentence within a second. What is held can be paid. Doing it again changes the
    /// sentence. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/pause", method = "put", operation_id = "pause_festival")]
    async fn pause_festival(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<Pause>,
    ) -> Result<Json<Festival>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        Ok(Json(super::pause(&app, &staff, *festival_id, Some(&body.sentence)).await?))
    }

    /// Go on after a pause
    ///
    /// Offers that were paused one by one stay paused. Doing it again changes nothing. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/pause", method = "delete", operation_id = "resume_festival")]
    async fn resume_festival(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Festival>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        Ok(Json(super::pause(&app, &staff, *festival_id, None).await?))
    }

    /// Freeze a festival
    ///
    /// Prices and openings cannot be changed and no migration runs until then; pausing, delaying and more capacity stay possible. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/freeze", method = "put", operation_id = "freeze_festival")]
    async fn freeze_festival(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<Freeze>,
    ) -> Result<Json<Festival>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        Ok(Json(super::freeze(&app, &staff, *festival_id, Some(body.until)).await?))
    }

    /// List the signing keys of a festival
    ///
    /// Their public halves: a gate of anybody may verify ticket codes with them. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/signing-keys", method = "get", operation_id = "list_signing_keys")]
    async fn list_signing_keys(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<SigningKeys>, Or<Usual>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        Ok(Json(super::signing_keys(&app, &staff, *festival_id).await?))
    }

    /// Rotate the signing key
    ///
    /// New tickets are signed by a new key from now on; what was signed before stays valid. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/signing-keys", method = "post", operation_id = "rotate_signing_key")]
    async fn rotate_signing_key(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<SigningKeys>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        Ok(Json(super::rotate_key(&app, &staff, *festival_id).await?))
    }

    /// Revoke a signing key
    ///
    /// For a key that leaked: what it signed opens no gate from now on, until it is re-issued. The key that signs now is rotated first. Scope
    /// `festivals:write`.
    #[oai(path = "/festivals/:festival_id/signing-keys/:key_id/revocations", method = "post", operation_id = "revoke_signing_key")]
    async fn revoke_signing_key(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        key_id: Path<u8>,
    ) -> Result<Json<SigningKeys>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        Ok(Json(super::revoke_key(&app, &staff, *festival_id, *key_id).await?))
    }

    /// Have gates go by their list alone
    ///
    /// While a key may have leaked: no gate lets in a ticket that its list does not have, however well it is signed. Gates without network hear of it when they
    /// are back. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/list-only", method = "put", operation_id = "go_by_list")]
    async fn go_by_list(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Festival>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        Ok(Json(super::set_list_only(&app, &staff, *festival_id, true).await?))
    }

    /// Have gates go by signatures again
    ///
    /// A gate without network lets in a well signed ticket that is newer than its list. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/list-only", method = "delete", operation_id = "go_by_signature")]
    async fn go_by_signature(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Festival>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        Ok(Json(super::set_list_only(&app, &staff, *festival_id, false).await?))
    }

    /// End a freeze
    ///
    /// Doing it again changes nothing. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/freeze", method = "delete", operation_id = "thaw_festival")]
    async fn thaw_festival(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Festival>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        Ok(Json(super::freeze(&app, &staff, *festival_id, None).await?))
    }

    /// Set the poster
    ///
    /// A JPEG, PNG or WebP picture up to 8 MB and 8,000 pixels a side; it is decoded and encoded anew. Without one the server prints one from the name. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/poster", method = "put", operation_id = "set_poster")]
    async fn set_poster(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Binary<Vec<u8>>,
    ) -> Result<Json<Festival>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        Ok(Json(super::set_poster(&app, &staff, *festival_id, body.0).await?))
    }

    /// List the days of a festival
    ///
    /// In their order.
    #[oai(path = "/festivals/:festival_id/days", method = "get", operation_id = "list_days")]
    async fn list_days(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<Day>>, Or<Usual>> {
        visible(&app, *festival_id, who.0.as_ref()).await?;
        Ok(Json(Page { items: super::days(&app.pools.web, *festival_id).await?, next: None }))
    }

    /// Set a festival day
    ///
    /// Makes the day of this index or moves it; doing it again changes nothing. The index is its bit in the day mask of ticket codes. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/days/:day_index", method = "put", operation_id = "set_day")]
    async fn set_day(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        day_index: Path<i16>,
        body: Json<DayTerms>,
    ) -> Result<Json<Day>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        let DayTerms { name, opens_at, closes_at } = body.0;
        let day = Day { day_index: *day_index, name, opens_at, closes_at };
        Ok(Json(super::set_day(&app, &staff, *festival_id, &day).await?))
    }

    /// List the zones of a festival
    ///
    /// In the order they were made.
    #[oai(path = "/festivals/:festival_id/zones", method = "get", operation_id = "list_zones")]
    async fn list_zones(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<Zone>>, Or<Usual>> {
        visible(&app, *festival_id, who.0.as_ref()).await?;
        Ok(Json(Page { items: super::zones(&app.pools.web, *festival_id).await?, next: None }))
    }

    /// Add a zone
    ///
    /// Asking again adds another one. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/zones", method = "post", operation_id = "create_zone")]
    async fn create_zone(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<NewZone>,
    ) -> Result<Created<Zone>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        let NewZone { name, capacity, is_inner } = body.0;
        let zone = Zone { zone_id: ZoneId::fresh(*festival_id, app.clock.now()), name, capacity, is_inner };
        super::add(&app, &staff, *festival_id, &Site::Zone(zone.clone())).await?;
        Ok(Created { body: zone, location: format!("/v1/festivals/{}/zones", festival_id.0.0) })
    }

    /// Change a zone
    ///
    /// A JSON merge patch (RFC 7396) of its name and capacity. Gates decide by it within seconds. Scope `festivals:write`.
    #[oai(path = "/zones/:zone_id", method = "patch", operation_id = "change_zone")]
    async fn change_zone(&self, AsStaff(staff): AsStaff, app: Data<&App>, zone_id: Path<ZoneId>, body: Json<Value>) -> Result<Json<Zone>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, zone_id.festival())?;
        let changed = super::change_zone(&app, &staff, *zone_id, |Zone { zone_id, name, capacity, is_inner }| {
            let patched = merge_patch(NewZone { name, capacity, is_inner }.to_json().unwrap_or_default(), &body.0);
            let NewZone { name, capacity, is_inner } = NewZone::parse_from_json(Some(patched)).map_err(|error| Fault::wrong("", error.into_message()))?;
            Ok(Zone { zone_id, name, capacity, is_inner })
        });
        Ok(Json(changed.await?))
    }

    /// List the stages of a festival
    ///
    /// In the promoter's order.
    #[oai(path = "/festivals/:festival_id/stages", method = "get", operation_id = "list_stages")]
    async fn list_stages(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<Stage>>, Or<Usual>> {
        visible(&app, *festival_id, who.0.as_ref()).await?;
        Ok(Json(Page { items: super::stages(&app.pools.web, *festival_id).await?, next: None }))
    }

    /// Add a stage
    ///
    /// Asking again adds another one. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/stages", method = "post", operation_id = "create_stage")]
    async fn create_stage(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<NewStage>,
    ) -> Result<Created<Stage>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        let NewStage { name, zone_id, sort } = body.0;
        let stage = Stage { stage_id: StageId::fresh(*festival_id, app.clock.now()), zone_id, name, sort };
        super::add(&app, &staff, *festival_id, &Site::Stage(stage.clone())).await?;
        Ok(Created { body: stage, location: format!("/v1/festivals/{}/stages", festival_id.0.0) })
    }

    /// List the gates of a festival
    ///
    /// In the order they were made.
    #[oai(path = "/festivals/:festival_id/gates", method = "get", operation_id = "list_gates")]
    async fn list_gates(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<Gate>>, Or<Usual>> {
        visible(&app, *festival_id, who.0.as_ref()).await?;
        Ok(Json(Page { items: super::gates(&app.pools.web, *festival_id).await?, next: None }))
    }

    /// Add a gate
    ///
    /// Asking again adds another one. Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/gates", method = "post", operation_id = "create_gate")]
    async fn create_gate(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<NewGate>,
    ) -> Result<Created<Gate>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, *festival_id)?;
        let NewGate { name, zone_id, pass_ids } = body.0;
        let gate = Gate { gate_id: GateId::fresh(*festival_id, app.clock.now()), zone_id, name, pass_ids };
        super::add(&app, &staff, *festival_id, &Site::Gate(gate.clone())).await?;
        Ok(Created { body: gate, location: format!("/v1/festivals/{}/gates", festival_id.0.0) })
    }

    /// Change a gate
    ///
    /// A JSON merge patch (RFC 7396) of its name and the passes it takes. Gates decide by it within seconds. Scope `festivals:write`.
    #[oai(path = "/gates/:gate_id", method = "patch", operation_id = "change_gate")]
    async fn change_gate(&self, AsStaff(staff): AsStaff, app: Data<&App>, gate_id: Path<GateId>, body: Json<Value>) -> Result<Json<Gate>, Or<Changing>> {
        staff.may(Scope::FestivalsWrite)?;
        reach(&staff, gate_id.festival())?;
        let changed = super::change_gate(&app, &staff, *gate_id, |Gate { gate_id, zone_id, name, pass_ids }| {
            let patched = merge_patch(GateTerms { name, pass_ids }.to_json().unwrap_or_default(), &body.0);
            let GateTerms { name, pass_ids } = GateTerms::parse_from_json(Some(patched)).map_err(|error| Fault::wrong("", error.into_message()))?;
            Ok(Gate { gate_id, zone_id, name, pass_ids })
        });
        Ok(Json(changed.await?))
    }
}
