//! The JSON face of binding.

use chrono::{DateTime, Utc};
use data_encoding::BASE64;
use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, payload::Json};

use super::BindError;
use crate::{
    accounts::guard::{AsDevice, AsFan},
    app::App,
    http::{
        problem::{CONFLICT, Changing, FORBIDDEN, INVALID, NOT_FOUND, Or, Problem, Wrong},
        tags::Chapter,
    },
    id::TicketId,
    tickets,
};

impl From<BindError> for Problem {
    fn from(error: BindError) -> Self {
        match error {
            BindError::NotFound => NOT_FOUND.problem(),
            BindError::NotAsked | BindError::Ended(_) | BindError::TooEarly(_) | BindError::Taken | BindError::Free => CONFLICT.because(error.to_string()),
            BindError::NotProven => Problem { errors: vec![Wrong::new("/proof", error.to_string())], ..INVALID.problem() },
            BindError::NoKey => Problem::internal("the signing key cannot be opened"),
            BindError::Database(error) => error.into(),
        }
    }
}

/// The key of a phone.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewBinding {
    /// Its Ed25519 public key, 32 bytes in base64. The private half never leaves the phone.
    #[oai(validator(min_length = 44, max_length = 44))]
    pub public_key: String,
    /// Its signature over `gatefold-bind-v1`, a zero byte, the 16 bytes of the ticket's id and its public key: 64 bytes in base64.
    #[oai(validator(min_length = 88, max_length = 88))]
    pub proof: String,
}

/// What a phone shows live codes by.
#[derive(Debug, Object)]
pub struct BoundTicket {
    /// 120 bytes in base64: what the festival's key vouches for (`src/tickets/live.rs`).
    pub certificate: String,
    /// The time of the house: codes carry it, not that of the phone.
    pub server_time: DateTime<Utc>,
}

/// Binding.
pub struct BindingApi;

fn bytes<const N: usize>(text: &str, place: &'static str) -> Result<[u8; N], Problem> {
    let read = BASE64.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    read.ok_or_else(|| Problem { errors: vec![Wrong::new(place, format!("{N} bytes in base64"))], ..INVALID.problem() })
}

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Tickets")]
impl BindingApi {
    /// Bind a ticket to a phone
    ///
    /// Where its pass asks for live codes: in the last 48 hours before its doors, by the secret of the ticket, or of its order while nobody took it. The
    /// codes of before are dead. The same key again gets the same certificate; another one takes its place until somebody came in on the ticket.
    #[oai(path = "/tickets/:ticket_id/bindings", method = "post", operation_id = "bind_ticket")]
    async fn bind_ticket(
        &self,
        AsFan(secret): AsFan,
        app: Data<&App>,
        ticket_id: Path<TicketId>,
        body: Json<NewBinding>,
    ) -> Result<Json<BoundTicket>, Or<Changing>> {
        let seen = tickets::api::held(&app, &secret, *ticket_id).await?;
        let (key, proof) = (bytes(&body.public_key, "/public_key")?, bytes(&body.proof, "/proof")?);
        let certificate = super::bind(&app, &seen, &key, &proof).await?;
        Ok(Json(BoundTicket { certificate: BASE64.encode(&certificate), server_time: app.clock.now() }))
    }

    /// Let a ticket go from its phone
    ///
    /// So that its holder binds another one, also after somebody came in on it. On a device where a member is signed in; audited.
    #[oai(path = "/tickets/:ticket_id/unbindings", method = "post", operation_id = "unbind_ticket")]
    async fn unbind_ticket(&self, AsDevice(device): AsDevice, app: Data<&App>, ticket_id: Path<TicketId>) -> Result<(), Or<Changing>> {
        if device.supervisor_id.is_none() {
            return Err(FORBIDDEN.because("only while a member is signed in on the device").into());
        }
        Ok(super::unbind(&app, &device, *ticket_id).await?)
    }
}
