//! The outbox: emails wait in a table, are rendered when they are sent, and leave in lanes.
//!
//! ```text
//! queued -> sent | failed        a lease keeps two workers from sending one email twice
//! ```
//!
//! **Invariant:** thing and kind are the key of an email, so that an order has exactly one confirmation; its Message-ID
//! follows from them, so that a repeated attempt carries the same one. A dead mail server stops nothing but emails.

mod store;

use std::{collections::HashMap, future::Future, pin::Pin};

use chrono::{DateTime, TimeDelta, Utc};
use lettre::{
    Message,
    message::{Attachment, Mailbox, MultiPart, SinglePart, header::ContentType},
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    app::App,
    id::FestivalId,
    mailer::{Kept, SendError},
    words::Language,
};

pub use store::{Email, of_thing};

/// Which emails leave first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
pub enum Lane {
    /// Somebody waits in front of a form.
    SignIn = 0,
    /// Claims and transfers.
    Claim = 1,
    /// Confirmations of orders.
    Confirmation = 2,
    /// Changes of what somebody holds.
    Change = 3,
    /// Everything that has time.
    Bulk = 4,
}

/// An email to be written into the outbox.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What it is about: an order, a sign-in.
    pub thing: Uuid,
    /// Its kind: chooses the renderer.
    pub kind: &'static str,
    /// Its lane.
    pub lane: Lane,
    /// The language of its reader.
    pub language: Language,
    /// Its reader.
    pub recipient: String,
}

/// What a renderer makes of an email.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The subject.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part; pictures are named by `cid:`.
    pub html: String,
    /// Inline pictures: content id and PNG.
    pub pictures: Vec<(String, Vec<u8>)>,
}

/// Why an email could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// What it was about is gone or no longer true: it is not sent.
    #[error("nothing to say any more")]
    Moot,
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

type Rendered<'a> = Pin<Box<dyn Future<Output = Result<Letter, RenderError>> + Send + 'a>>;
/// Renders one kind of email.
pub type Renderer = for<'a> fn(&'a App, &'a Email) -> Rendered<'a>;

/// The renderers by kind; `server.rs` registers them.
#[derive(Default)]
pub struct Renderers(HashMap<&'static str, Renderer>);

impl Renderers {
    /// Adds the renderer of a kind.
    #[must_use]
    pub fn with(mut self, kind: &'static str, renderer: Renderer) -> Self {
        self.0.insert(kind, renderer);
        self
    }
}

/// Writes emails into the outbox; joins the transaction that they speak of; they leave once they are due. An email that is there already stays as it is.
///
/// # Errors
/// What the database said.
pub async fn queue(conn: &mut PgConnection, festival: FestivalId, drafts: &[Draft], now: DateTime<Utc>, due_at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    // Who bought at the door without an address gets no emails.
    let addressed: Vec<&Draft> = drafts.iter().filter(|draft| !draft.recipient.is_empty()).collect();
    if addressed.is_empty() {
        return Ok(());
    }
    store::insert(conn, festival, &addressed, now, due_at).await
}

/// The kinds of a confirmation that is sent once more, in turn: each has a Message-ID of its own, and leaves once an hour at most.
const AGAIN: [&str; 3] = ["again_1", "again_2", "again_3"];

/// Sends the confirmations of orders once more, each three times an hour at most; joins a transaction.
///
/// # Errors
/// What the database said.
pub async fn again(conn: &mut PgConnection, festival: FestivalId, drafts: &[Draft], now: DateTime<Utc>, due_at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let addressed: Vec<&Draft> = drafts.iter().filter(|draft| !draft.recipient.is_empty()).collect();
    if addressed.is_empty() {
        return Ok(());
    }
    store::again(conn, festival, &addressed, &AGAIN, now, due_at).await
}

/// When the emails of a rehearsal are due: the year 9999.
pub const NEVER: DateTime<Utc> = DateTime::from_timestamp(253_402_214_400, 0).expect("a moment of the calendar");

/// How long a worker may keep an email.
const LEASE: TimeDelta = TimeDelta::seconds(120);
/// How many emails a worker takes at once.
const BATCH: i64 = 20;
/// After so many attempts an email has failed: with the back-off that is three days.
const ATTEMPTS: i16 = 20;

/// Sends what is due, first lanes first; returns how many were taken. Called by workers, any number of them.
///
/// # Errors
/// What the database said.
pub async fn send_due(app: &App) -> Result<usize, sqlx::Error> {
    if !app.mailer.is_open() {
        return Ok(0);
    }
    let now = app.clock.now();
    let Some(festival) = store::next_festival(&app.pools.work, now).await? else { return Ok(0) };
    let emails = store::claim(&app.pools.work, festival, now, now + LEASE, BATCH).await?;
    let taken = emails.len();
    let mut sending = tokio::task::JoinSet::new();
    for email in emails {
        let app = app.clone();
        sending.spawn(async move { send_one(&app, email).await });
    }
    while let Some(done) = sending.join_next().await {
        if let Ok(Err(error)) = done {
            tracing::warn!(%error, "the end of an email could not be noted; its lease will end");
        }
    }
    Ok(taken)
}

async fn send_one(app: &App, email: Email) -> Result<(), sqlx::Error> {
    if !app.the::<Renderers>().0.contains_key(email.kind.as_str()) {
        // A newer server beside this one wrote it, and renders it.
        tracing::warn!(kind = email.kind, "an email of a kind that is not known here waits for a server that knows it");
        return store::later(&app.pools.work, &email, app.clock.now() + TimeDelta::minutes(1), "its kind is not known here").await;
    }
    let outcome = match render(app, &email).await {
        Ok((message, kept)) => app.mailer.send(message, || kept).await,
        Err(RenderError::Moot) => Err(SendError::Refused("nothing to say any more".to_owned())),
        Err(RenderError::Database(error)) => Err(SendError::NotNow(error.to_string())),
    };
    let now = app.clock.now();
    match outcome {
        Ok(()) => {
            metrics::counter!("gatefold_emails_total", "outcome" => "sent").increment(1);
            store::sent(&app.pools.work, &email, now).await
        }
        Err(SendError::Refused(why)) => {
            metrics::counter!("gatefold_emails_total", "outcome" => "failed").increment(1);
            store::failed(&app.pools.work, &email, &why).await
        }
        Err(SendError::NotNow(why)) if email.attempts + 1 >= ATTEMPTS => store::failed(&app.pools.work, &email, &why).await,
        Err(SendError::NotNow(why)) => {
            metrics::counter!("gatefold_emails_total", "outcome" => "later").increment(1);
            store::later(&app.pools.work, &email, now + back_off(email.attempts), &why).await
        }
    }
}

/// Exponential with jitter: 5 s, 10 s, .. at most 6 h.
fn back_off(attempts: i16) -> TimeDelta {
    let base = 5_000_i64 << attempts.clamp(0, 12);
    let mut noise = [0_u8; 2];
    crate::secrets::fill(&mut noise);
    TimeDelta::milliseconds(base.min(21_600_000) + base.min(60_000) * i64::from(u16::from_be_bytes(noise)) / 65_536)
}

async fn render(app: &App, email: &Email) -> Result<(Message, Kept), RenderError> {
    let renderer = app.the::<Renderers>().0.get(email.kind.as_str()).ok_or(RenderError::Moot)?;
    let letter = renderer(app, email).await?;
    let kept = Kept {
        number: 0,
        recipient: email.recipient.clone(),
        subject: letter.subject.clone(),
        html: letter.pictures.iter().fold(letter.html.clone(), |html, (id, png)| {
            html.replace(&format!("cid:{id}"), &format!("data:image/png;base64,{}", data_encoding::BASE64.encode(png)))
        }),
        text: letter.text.clone(),
    };
    let message = message(app, email, letter).map_err(|error| {
        tracing::error!(%error, kind = email.kind, "an email could not be put together");
        RenderError::Moot
    })?;
    Ok((message, kept))
}

/// Puts the MIME message together: text and HTML, pictures inline (RFC 2387). The Message-ID follows from kind and thing.
fn message(app: &App, email: &Email, letter: Letter) -> anyhow::Result<Message> {
    let from: Mailbox = app.settings.mail_from.parse()?;
    let mut html = MultiPart::related().singlepart(SinglePart::html(letter.html));
    for (id, png) in letter.pictures {
        html = html.singlepart(Attachment::new_inline(id).body(png, ContentType::parse("image/png")?));
    }
    // What is sent once more is another message: whoever drops repeated ones has to get it.
    let again = if AGAIN.contains(&email.kind.as_str()) { format!(".{}", email.queued_at.timestamp()) } else { String::new() };
    let id = format!("<{}{again}.{}@{}>", email.kind, email.thing_id.simple(), app.settings.host());
    Ok(Message::builder()
        .from(from)
        .to(email.recipient.parse()?)
        .subject(letter.subject)
        .message_id(Some(id))
        .multipart(MultiPart::alternative().singlepart(SinglePart::plain(letter.text)).multipart(html))?)
}
