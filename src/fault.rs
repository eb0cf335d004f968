//! Why a command of the catalog (festivals, line-up, offers, releases) was not carried out. Their callers act alike on all
//! of them, so they share one error; the commands of buying and scanning have their own.

/// A command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No such thing, or not yours: the caller cannot tell which.
    #[error("no such thing")]
    NotFound,
    /// Places of the input that cannot be accepted: JSON pointer and reason.
    #[error("not acceptable: {0:?}")]
    Invalid(Vec<(String, String)>),
    /// The world is in another state; the text says which.
    #[error("{0}")]
    Conflict(String),
    /// It is unusual and is done only when it is confirmed: why, and the words that confirm it.
    #[error("{why}")]
    Unconfirmed {
        /// Why it is asked.
        why: String,
        /// The words that confirm it.
        words: String,
    },
    /// Somebody changed it since it was read.
    #[error("changed meanwhile")]
    Stale,
    /// What the database said.
    #[error(transparent)]
    Database(sqlx::Error),
    /// Something of ours does not work: a disk, a lost key.
    #[error("{0}")]
    House(String),
}

impl Fault {
    /// Lets an unusual step pass when a person typed the words that confirm it.
    ///
    /// # Errors
    /// [`Fault::Unconfirmed`].
    pub fn unless_confirmed(confirm: Option<&str>, words: String, why: impl Into<String>) -> Result<(), Self> {
        if confirm.map(str::trim) == Some(words.as_str()) { Ok(()) } else { Err(Self::Unconfirmed { why: why.into(), words }) }
    }

    /// One place that cannot be accepted.
    pub fn wrong(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid(vec![(pointer.into(), reason.into())])
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::RowNotFound = error {
            return Self::NotFound;
        }
        if let sqlx::Error::Database(e) = &error
            && let (Some(code), Some(constraint)) = (e.code(), e.constraint())
        {
            match code.as_ref() {
                "23505" => return Self::Conflict(format!("there is one already ({constraint})")),
                "23503" => return Self::Conflict(format!("something that it names is not there, or it is still named ({constraint})")),
                "23514" | "23P01" => return Self::Conflict(format!("that is not possible ({constraint})")),
                _ => {}
            }
        }
        Self::Database(error)
    }
}

/// Collects what is wrong with an input, so that a client hears of all of it at once.
#[derive(Debug, Default)]
pub struct Checks(Vec<(String, String)>);

impl Checks {
    /// Notes a place when a claim about it does not hold.
    pub fn claim(&mut self, holds: bool, pointer: &str, reason: &str) -> &mut Self {
        if !holds {
            self.0.push((pointer.to_owned(), reason.to_owned()));
        }
        self
    }

    /// # Errors
    /// [`Fault::Invalid`] when a claim did not hold.
    pub fn done(&mut self) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { Err(Fault::Invalid(std::mem::take(&mut self.0))) }
    }
}
