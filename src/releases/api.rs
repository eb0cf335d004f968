//! The JSON face of releases, recordings and uploads.

use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::Path,
    payload::{Binary, Json},
};

use super::{NewRecording, Recording, Release, ReleaseTerms, Upload, UploadPurpose};
use crate::{
    accounts::{Scope, guard::AsStaff},
    app::App,
    http::{
        problem::{Changing, Created, Or, Usual},
        tags::Chapter,
    },
    id::{RecordingId, ReleaseId, UploadId},
    page::Page,
};

/// An upload to be begun.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewUpload {
    /// What it is for.
    pub purpose: UploadPurpose,
    /// Its size in bytes, at most 2 GB.
    pub bytes: i64,
}

/// A release to be made.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewRelease {
    /// What its label says.
    pub terms: ReleaseTerms,
    /// Its recordings in the order of the tracks.
    #[oai(validator(max_items = 999))]
    pub recording_ids: Vec<RecordingId>,
}

/// Music.
pub struct ReleasesApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Releases")]
impl ReleasesApi {
    /// Begin an upload
    ///
    /// Then put its parts of 8 MB and complete it. Asking again begins another one. Scope `releases:write`.
    #[oai(path = "/uploads", method = "post", operation_id = "create_upload")]
    async fn create_upload(&self, AsStaff(staff): AsStaff, app: Data<&App>, body: Json<NewUpload>) -> Result<Created<Upload>, Or<Changing>> {
        staff.may(Scope::ReleasesWrite)?;
        let upload = super::begin_upload(&app, &staff, body.purpose, body.bytes).await?;
        let location = format!("/v1/uploads/{}", upload.upload_id);
        Ok(Created { body: upload, location })
    }

    /// Put a part of an upload
    ///
    /// Part n holds the n-th 8,388,608 bytes, the last one the rest. The same part again changes nothing. Scope `releases:write`.
    #[oai(path = "/uploads/:upload_id/parts/:part_no", method = "put", operation_id = "put_part")]
    async fn put_part(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        upload_id: Path<UploadId>,
        part_no: Path<u16>,
        body: Binary<Vec<u8>>,
    ) -> Result<Json<Upload>, Or<Changing>> {
        staff.may(Scope::ReleasesWrite)?;
        Ok(Json(super::keep_part(&app, &staff, *upload_id, *part_no, body.0).await?))
    }

    /// Complete an upload
    ///
    /// Puts the parts together; answers 409 while one is missing. Doing it again answers the same. Scope `releases:write`.
    #[oai(path = "/uploads/:upload_id/completions", method = "post", operation_id = "complete_upload")]
    async fn complete_upload(&self, AsStaff(staff): AsStaff, app: Data<&App>, upload_id: Path<UploadId>) -> Result<Json<Upload>, Or<Changing>> {
        staff.may(Scope::ReleasesWrite)?;
        Ok(Json(super::complete_upload(&app, &staff, *upload_id).await?))
    }

    /// Make a recording of an upload
    ///
    /// The sound is decoded from its first to its last packet before it is believed. Asking again makes another one. Scope `releases:write`.
    #[oai(path = "/recordings", method = "post", operation_id = "create_recording")]
    async fn create_recording(&self, AsStaff(staff): AsStaff, app: Data<&App>, body: Json<NewRecording>) -> Result<Created<Recording>, Or<Changing>> {
        staff.may(Scope::ReleasesWrite)?;
        let recording = super::add_recording(&app, &staff, &body).await?;
        let location = format!("/v1/recordings/{}", recording.recording_id);
        Ok(Created { body: recording, location })
    }

    /// List releases
    ///
    /// Of the promoter, newest first. Scope `catalog:read`.
    #[oai(path = "/releases", method = "get", operation_id = "list_releases")]
    async fn list_releases(&self, AsStaff(staff): AsStaff, app: Data<&App>) -> Result<Json<Page<Release>>, Or<Usual>> {
        staff.may(Scope::CatalogRead)?;
        let mut tx = app.for_promoter(staff.promoter).await?;
        Ok(Json(Page { items: super::own(&mut tx, staff.promoter).await?, next: None }))
    }

    /// Make a release
    ///
    /// Of recordings, in their order. Asking again makes another one. Scope `releases:write`.
    #[oai(path = "/releases", method = "post", operation_id = "create_release")]
    async fn create_release(&self, AsStaff(staff): AsStaff, app: Data<&App>, body: Json<NewRelease>) -> Result<Created<Release>, Or<Changing>> {
        staff.may(Scope::ReleasesWrite)?;
        let release = super::add_release(&app, &staff, &body.terms, &body.recording_ids).await?;
        let location = format!("/v1/releases/{}", release.release_id);
        Ok(Created { body: release, location })
    }

    /// Set the cover of a release
    ///
    /// A JPEG, PNG or WebP picture up to 8 MB; decoded and encoded anew. Scope `releases:write`.
    #[oai(path = "/releases/:release_id/cover", method = "put", operation_id = "set_cover")]
    async fn set_cover(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        release_id: Path<ReleaseId>,
        body: Binary<Vec<u8>>,
    ) -> Result<Json<Release>, Or<Changing>> {
        staff.may(Scope::ReleasesWrite)?;
        Ok(Json(super::set_cover(&app, &staff, *release_id, body.0).await?))
    }
}
