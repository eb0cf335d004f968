//! How an email leaves the house: lettre over SMTP, or into the mailbox page of the demo.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor, transport::smtp::authentication::Credentials};

/// How many emails the mailbox of the demo keeps.
const MAILBOX: usize = 200;

/// Where emails go.
#[derive(Clone)]
pub enum Mailer {
    /// To a mail server.
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    /// Into memory, shown by the mailbox page of the demo.
    Mailbox(Arc<Mutex<VecDeque<Kept>>>),
    /// Nowhere yet: emails wait in the outbox until a mail server is set.
    Nowhere,
}

/// An email in the mailbox of the demo.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Number of the email in this mailbox.
    pub number: usize,
    /// Who it went to.
    pub recipient: String,
    /// Its subject.
    pub subject: String,
    /// The HTML part, inline pictures as data URLs.
    pub html: String,
    /// The text part.
    pub text: String,
}

/// Why an email was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Refused for good (5xx): asking again would not help.
    #[error("refused for good: {0}")]
    Refused(String),
    /// Not now (4xx, network, time): try again later.
    #[error("not now: {0}")]
    NotNow(String),
}

/// The setting is not an address of a mail server.
#[derive(Debug, thiserror::Error)]
#[error("--smtp is an address like smtps://user:password@mail.example:465, smtp://mail.example:587?tls=required or smtp://127.0.0.1:25 ({0})")]
pub struct BadSmtp(String);

impl Mailer {
    /// A mailer for an SMTP address. TLS is required unless the server is this machine: no fallback to clear text.
    ///
    /// # Errors
    /// [`BadSmtp`] with what is wrong.
    pub fn smtp(address: &str) -> Result<Self, BadSmtp> {
        let url = url::Url::parse(address).map_err(|e| BadSmtp(e.to_string()))?;
        let host = url.host_str().ok_or_else(|| BadSmtp("no host".to_owned()))?.to_owned();
        let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback());
        let builder = match (url.scheme(), local) {
            ("smtps", _) => AsyncSmtpTransport::<Tokio1Executor>::relay(&host).map_err(|e| BadSmtp(e.to_string()))?,
            ("smtp", true) if url.query() != Some("tls=required") => AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&host),
            ("smtp", _) => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(&host).map_err(|e| BadSmtp(e.to_string()))?,
            (other, _) => return Err(BadSmtp(format!("the scheme {other} is not smtp or smtps"))),
        };
        let builder = match url.port() {
            Some(port) => builder.port(port),
            None => builder,
        };
        let builder = match (url.username(), url.password()) {
            ("", _) => builder,
            (user, password) => builder.credentials(Credentials::new(decoded(user), decoded(password.unwrap_or_default()))),
        };
        Ok(Self::Smtp(builder.timeout(Some(Duration::from_secs(30))).build()))
    }

    /// An empty mailbox.
    #[must_use]
    pub fn mailbox() -> Self {
        Self::Mailbox(Arc::default())
    }

    /// Sends a message; `kept` is what a mailbox shows of it.
    ///
    /// # Errors
    /// [`SendError`] by whether trying again makes sense.
    pub async fn send(&self, message: Message, kept: impl FnOnce() -> Kept + Send) -> Result<(), SendError> {
        match self {
            Self::Smtp(transport) => transport
                .send(message)
                .await
                .map(|_| ())
                .map_err(|error| if error.is_permanent() { SendError::Refused(error.to_string()) } else { SendError::NotNow(error.to_string()) }),
            Self::Mailbox(box_) => {
                let mut kept = kept();
                let mut box_ = box_.lock().unwrap_or_else(PoisonError::into_inner);
                kept.number = box_.back().map_or(1, |last| last.number + 1);
                box_.push_back(kept);
                if box_.len() > MAILBOX {
                    box_.pop_front();
                }
                Ok(())
            }
            Self::Nowhere => Err(SendError::NotNow("no mail server is set (--smtp)".to_owned())),
        }
    }

    /// Whether emails can leave at all: without a mail server they wait in the outbox, and none is rendered in vain.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self, Self::Nowhere)
    }

    /// What the mailbox keeps, newest first; empty for a real mail server.
    #[must_use]
    pub fn kept(&self) -> Vec<Kept> {
        match self {
            Self::Mailbox(box_) => box_.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect(),
            Self::Smtp(_) | Self::Nowhere => Vec::new(),
        }
    }
}

/// Undoes percent-encoding of a part of a URL.
fn decoded(part: &str) -> String {
    url::form_urlencoded::parse(format!("x={}", part.replace('+', "%2B")).as_bytes()).next().map_or_else(String::new, |(_, v)| v.into_owned())
}
