//! The JSON face of albums, and the files behind signed addresses.

use poem::{Response, web::Data};
use poem_openapi::{Object, OpenApi, param::Path, payload::Json};

use super::{ClaimError, Claimant, FileLinkError, Take, file_link, open_link};
use crate::{
    accounts::guard::AsFan,
    app::App,
    files::Files,
    http::{
        problem::{CONFLICT, NOT_FOUND, Or, Problem, Usual, Wrong},
        tags::Chapter,
    },
    id::{EntitlementId, OrderId, ReleaseId, TicketId},
    orders,
    page::Page,
    refusals,
    releases::{self, ending},
    secrets::Purpose,
    tickets::{self, Ticket},
};

impl From<FileLinkError> for Problem {
    fn from(error: FileLinkError) -> Self {
        match error {
            FileLinkError::NotFound => NOT_FOUND.problem(),
            FileLinkError::Over => NOT_FOUND.because("the address of the file was good for ten minutes; open the page of the order again"),
            FileLinkError::Database(error) => error.into(),
        }
    }
}

impl From<ClaimError> for Problem {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::NotFound => NOT_FOUND.problem(),
            ClaimError::Invalid(pointer, reason) => Self::invalid(vec![Wrong::new(pointer, reason)]),
            ClaimError::Claimed => CONFLICT.because("somebody claimed this ticket; the buyer of the order knows whom it was meant for"),
            ClaimError::OnItsWay => CONFLICT.because("the ticket is on its way to somebody else; take it back first"),
            ClaimError::NotValid => CONFLICT.because("the ticket is suspended, exchanged or void, or its order is not paid"),
            ClaimError::Database(error) => error.into(),
        }
    }
}

refusals! {
    /// What claiming and recalling refuse.
    Claiming: NOT_FOUND, CONFLICT, INVALID;
}

/// Who takes a ticket.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewClaim {
    /// The name that is printed on the ticket.
    #[oai(validator(min_length = 1, max_length = 120))]
    pub name: String,
    /// Where emails about the festival go; without one they go to the buyer.
    #[oai(validator(max_length = 254))]
    pub email: Option<String>,
}

/// A ticket, its link and its order, for whoever holds the secret of the ticket or of the order.
async fn of_holder(app: &App, secret: &str, id: TicketId) -> Result<Ticket, Problem> {
    let ticket = tickets::ticket(&app.pools.web, id).await?.ok_or_else(|| NOT_FOUND.problem())?;
    if !app.secrets.is_link(Purpose::HolderLink, id.0, ticket.link_generation, secret) {
        orders::api::of_fan(app, secret, ticket.order_id).await?;
        if tickets::is_passed_on(&app.pools.web, id).await? {
            return Err(NOT_FOUND.problem());
        }
    }
    Ok(ticket)
}

/// An album of an order.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct OwnedAlbum {
    /// The entitlement.
    pub entitlement_id: EntitlementId,
    /// The release.
    pub release_id: ReleaseId,
    /// Its title.
    pub title: String,
    /// Its artist.
    pub artist: String,
    /// The label's number.
    pub catalog_number: Option<String>,
    /// How many copies.
    pub copies: i32,
    /// Its tracks.
    pub tracks: Vec<OwnedTrack>,
}

/// A track of an album with its addresses, good for ten minutes.
#[derive(Debug, Object)]
pub struct OwnedTrack {
    /// Its place.
    pub track_no: i16,
    /// Its title.
    pub title: String,
    /// Its artist.
    pub artist: String,
    /// Its length in milliseconds.
    pub duration_ms: i32,
    /// SHA-256 of its master, hexadecimal.
    pub sha256: String,
    /// Where it is played from; understands `Range`.
    pub stream_url: String,
    /// Where it is downloaded from: the master as it was uploaded.
    pub download_url: String,
}

/// The albums of an order with the addresses of their tracks.
///
/// # Errors
/// What the database said.
pub async fn owned(app: &App, order: OrderId) -> Result<Vec<OwnedAlbum>, sqlx::Error> {
    let albums = super::albums(&app.pools.web, order).await?;
    let ids: Vec<ReleaseId> = albums.iter().map(|a| a.release_id).collect();
    let tracks = releases::tracks(&app.pools.web, &ids).await?;
    let now = app.clock.now();
    Ok(albums
        .into_iter()
        .map(|album| OwnedAlbum {
            tracks: tracks
                .iter()
                .filter(|t| t.release_id == album.release_id)
                .map(|t| OwnedTrack {
                    track_no: t.track_no,
                    title: t.title.clone(),
                    artist: t.artist.clone(),
                    duration_ms: t.duration_ms,
                    sha256: data_encoding::HEXLOWER.encode(&t.master_hash),
                    stream_url: file_link(app, album.entitlement_id, t.track_no, Take::Stream, now),
                    download_url: file_link(app, album.entitlement_id, t.track_no, Take::Download, now),
                })
                .collect(),
            entitlement_id: album.entitlement_id,
            release_id: album.release_id,
            title: album.title,
            artist: album.artist,
            catalog_number: album.catalog_number,
            copies: album.copies,
        })
        .collect())
}

/// Albums of an order.
pub struct LibraryApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Music")]
impl LibraryApi {
    /// List the albums of an order
    ///
    /// With addresses to play and to download from, good for ten minutes: ask again for new ones.
    #[oai(path = "/orders/:order_id/albums", method = "get", operation_id = "list_albums")]
    async fn list_albums(&self, AsFan(secret): AsFan, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<Page<OwnedAlbum>>, Or<Usual>> {
        orders::api::of_fan(&app, &secret, *order_id).await?;
        Ok(Json(Page { items: owned(&app, *order_id).await?, next: None }))
    }

    /// Claim a ticket and its album
    ///
    /// By the secret of the ticket's own link (`gf_order_` and the last part of the link), or by the secret of the order. A claimed ticket keeps its
    /// holder, and one copy of each album of its line is theirs. The same name again answers the same; another name is refused with 409.
    #[oai(path = "/tickets/:ticket_id/claims", method = "post", operation_id = "claim_ticket")]
    async fn claim_ticket(&self, AsFan(secret): AsFan, app: Data<&App>, ticket_id: Path<TicketId>, body: Json<NewClaim>) -> Result<Json<Ticket>, Or<Claiming>> {
        let seen = of_holder(&app, &secret, *ticket_id).await?;
        let NewClaim { name, email } = body.0;
        Ok(Json(super::claim(&app, &seen, &Claimant { name, email }).await?))
    }

    /// Recall the link of a ticket
    ///
    /// By the secret of the order: the ticket's link dies and gets a successor, as long as nobody claimed the ticket (409). Asking again recalls again.
    #[oai(path = "/tickets/:ticket_id/recalls", method = "post", operation_id = "recall_ticket")]
    async fn recall_ticket(&self, AsFan(secret): AsFan, app: Data<&App>, ticket_id: Path<TicketId>) -> Result<Json<Ticket>, Or<Claiming>> {
        let ticket = tickets::ticket(&app.pools.web, *ticket_id).await?.ok_or_else(|| NOT_FOUND.problem())?;
        orders::api::of_fan(&app, &secret, ticket.order_id).await?;
        Ok(Json(super::recall(&app, *ticket_id).await?))
    }
}

/// Answers a signed address: whole or one range (RFC 9110 14), with a name for downloads (RFC 6266).
#[poem::handler]
pub async fn file(request: &poem::Request, app: Data<&App>, poem::web::Path(signed): poem::web::Path<String>) -> poem::Result<Response> {
    let (track, take) = open_link(&app, &signed).await.map_err(Problem::from)?;
    let size = u64::try_from(track.bytes).unwrap_or(0);
    let etag = format!("\"{}\"", data_encoding::HEXLOWER.encode(&track.master_hash[..16]));
    let if_range = request.header("if-range").is_none_or(|tag| tag == etag);
    let range = request.header("range").filter(|_| if_range).map(|header| one_range(header, size));
    let name = format!("{:02} {}.{}", track.track_no, track.title, ending(&track.media_type));
    let mut response = Response::builder()
        .header("content-type", &track.media_type)
        .header("accept-ranges", "bytes")
        .header("etag", &etag)
        .header("cache-control", "private, no-store")
        .header("content-disposition", disposition(take, &name));
    let range = match range {
        Some(Range::Unsatisfiable) => {
            return Ok(response.status(poem::http::StatusCode::RANGE_NOT_SATISFIABLE).header("content-range", format!("bytes */{size}")).finish());
        }
        Some(Range::Of(from, to)) => {
            response = response.status(poem::http::StatusCode::PARTIAL_CONTENT).header("content-range", format!("bytes {from}-{}/{size}", to - 1));
            from..to
        }
        Some(Range::Ignored) | None => 0..size,
    };
    response = response.header("content-length", range.end - range.start);
    let body = app.the::<Files>().stream(&track.master_hash, range).await.map_err(|e| poem::Error::from(Problem::internal(e)))?;
    Ok(response.body(body))
}

/// What a header `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// From, and the first byte that is not asked for.
    Of(u64, u64),
    /// Behind the end.
    Unsatisfiable,
    /// Not understood, or several: the whole file is an answer too.
    Ignored,
}

fn one_range(header: &str, size: u64) -> Range {
    let Some(spec) = header.strip_prefix("bytes=").filter(|s| !s.contains(',')) else { return Range::Ignored };
    let Some((from, to)) = spec.trim().split_once('-') else { return Range::Ignored };
    match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), _) if from >= size => Range::Unsatisfiable,
        (Ok(from), Ok(to)) if to >= from => Range::Of(from, (to + 1).min(size)),
        (Ok(from), Err(_)) if to.is_empty() => Range::Of(from, size),
        (Err(_), Ok(last)) if from.is_empty() && last > 0 && size > 0 => Range::Of(size.saturating_sub(last), size),
        (Err(_), Ok(0)) if from.is_empty() => Range::Unsatisfiable,
        _ => Range::Ignored,
    }
}

/// `inline`, or `attachment` with the name in ASCII and in UTF-8 (RFC 6266, RFC 8187).
fn disposition(take: Take, name: &str) -> String {
    if take == Take::Stream {
        return "inline".to_owned();
    }
    let safe: String = name.chars().map(|c| if matches!(c, '/' | '\\' | '\0'..='\u{1f}' | '\u{7f}') { '_' } else { c }).collect();
    let ascii: String = safe.chars().map(|c| if c.is_ascii() && c != '"' { c } else { '_' }).collect();
    let encoded: String =
        safe.bytes().map(|b| if b.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (header, range) in [
            ("bytes=0-99", Range::Of(0, 100)),
            ("bytes=900-", Range::Of(900, 1000)),
            ("bytes=-100", Range::Of(900, 1000)),
            ("bytes=-5000", Range::Of(0, 1000)),
            ("bytes=990-5000", Range::Of(990, 1000)),
            ("bytes=1000-", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=5-2", Range::Ignored),
            ("bytes=0-1,5-6", Range::Ignored),
            ("lines=1-2", Range::Ignored),
        ] {
            assert_eq!(one_range(header, 1000), range, "{header}");
        }
    }

    #[test]
    fn names_of_downloads_keep_their_script() {
        let header = disposition(Take::Download, "02 潮水\"退了\"/x.flac");
        assert_eq!(header, "attachment; filename=\"02 _______x.flac\"; filename*=UTF-8''02%20%E6%BD%AE%E6%B0%B4%22%E9%80%80%E4%BA%86%22_x.flac");
    }
}
