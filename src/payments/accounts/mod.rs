//! The accounts of promoters at payment providers: where the money of what they sell goes. Keys and secrets are sealed under the master key; nobody
//! reads them again.
//!
//! ```text
//! connected -> (another key or other methods) -> disconnected -> connected again
//! ```
//!
//! **Invariant:** a payment stays with the account it was begun with: it is asked about and given back there, also when the account was disconnected.

pub mod api;
mod store;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};

use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::Fault,
    festivals,
    fresh::Fresh,
    id::{FestivalId, PaymentAccountId, PromoterId},
    secrets::{Place, Secrets},
};

use super::stripe::{Refusal, Stripe};

/// How many secrets of one account may sign notifications at once: the one in use, its successor, and one of a mistake.
const SECRETS: usize = 3;

/// A way to pay on the page of Stripe, which shows those that take the currency where the buyer is. All of them are decided while the buyer is there, so
/// that a hold never waits for days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Method {
    /// Cards, and the wallets that carry them: Apple Pay, Google Pay.
    Card,
    /// Alipay.
    Alipay,
    /// WeChat Pay.
    WechatPay,
    /// iDEAL.
    Ideal,
    /// Bancontact.
    Bancontact,
    /// EPS.
    Eps,
    /// Przelewy24.
    P24,
    /// BLIK.
    Blik,
    /// TWINT.
    Twint,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 9] = [Self::Card, Self::Alipay, Self::WechatPay, Self::Ideal, Self::Bancontact, Self::Eps, Self::P24, Self::Blik, Self::Twint];

    /// Its name at Stripe, in JSON and rows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Alipay => "alipay",
            Self::WechatPay => "wechat_pay",
            Self::Ideal => "ideal",
            Self::Bancontact => "bancontact",
            Self::Eps => "eps",
            Self::P24 => "p24",
            Self::Blik => "blik",
            Self::Twint => "twint",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// What an account signs its notifications with.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct WebhookSecret {
    /// Its number in the account.
    pub secret_no: i16,
    /// Its last four characters.
    pub hint: String,
    /// When it was added.
    pub added_at: DateTime<Utc>,
}

/// An account at a payment provider, without its secrets.
#[derive(Clone, Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct PaymentAccount {
    /// Its id.
    pub account_id: PaymentAccountId,
    /// `stripe`.
    pub provider: String,
    /// Its id at the provider: `acct_..`.
    pub external_ref: String,
    /// Whether it takes real money; in test mode it pays rehearsals only.
    pub is_live: bool,
    /// The last four characters of its key.
    pub key_hint: String,
    /// What buyers may pay with.
    pub methods: Vec<Method>,
    /// Where the provider tells what happened: enter it as an endpoint there.
    pub notification_url: String,
    /// What signs its notifications. Without one payments are found by asking, up to a minute later.
    pub webhook_secrets: Vec<WebhookSecret>,
    /// When it was connected.
    pub connected_at: DateTime<Utc>,
    /// When it was disconnected: what is sold from then on is not paid to it.
    pub disconnected_at: Option<DateTime<Utc>>,
}

/// An account with its key, as calls to the provider need it.
#[derive(Clone)]
pub struct Keyed {
    /// Its id.
    pub account_id: PaymentAccountId,
    /// Whether it takes real money.
    pub is_live: bool,
    /// What buyers may pay with.
    pub methods: Vec<Method>,
    /// The key.
    pub key: String,
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyed").field("account_id", &self.account_id).field("is_live", &self.is_live).finish_non_exhaustive()
    }
}

/// The accounts that take the money of festivals, at most a second old.
pub type Connected = Fresh<FestivalId, Option<Arc<Keyed>>>;

/// What a key or a secret is sealed for.
fn place<'a>(table: &'a str, column: &'a str, key: &'a str) -> Place<'a> {
    Place { table, column, festival: FestivalId::HOUSE, key }
}

fn opened(secrets: &Secrets, table: &str, column: &str, key: &str, sealed: &[u8]) -> Option<String> {
    secrets.open(place(table, column, key), sealed).and_then(|plain| String::from_utf8(plain).ok())
}

/// The account that takes the money of a festival now: the one that its promoter connected, in the mode that fits. A rehearsal never takes real money, and
/// nobody gets a ticket for the money of a test.
///
/// # Errors
/// What the database said.
pub async fn of_festival(app: &App, festival: FestivalId) -> Result<Option<Arc<Keyed>>, sqlx::Error> {
    let read = async || {
        let found = store::connected(&app.pools.web, &app.secrets, festival).await?;
        let plays = app.settings.simulated_payments || festivals::facts(app, festival).await?.rehearsal;
        Ok(found.filter(|account| account.is_live != plays).map(Arc::new))
    };
    app.the::<Connected>().get(festival, read).await
}

/// An account with its key, connected or not.
///
/// # Errors
/// What the database said.
pub async fn keyed(app: &App, account: PaymentAccountId) -> Result<Option<Keyed>, sqlx::Error> {
    store::keyed(&app.pools.work, &app.secrets, account).await
}

/// The secrets that may sign notifications of an account; none for an account that does not exist.
///
/// # Errors
/// What the database said.
pub async fn signers(app: &App, account: PaymentAccountId) -> Result<Vec<String>, sqlx::Error> {
    store::signers(&app.pools.web, &app.secrets, account).await
}

/// The accounts of a promoter: the connected one first.
///
/// # Errors
/// [`Fault`].
pub async fn accounts(app: &App, staff: &Staff) -> Result<Vec<PaymentAccount>, Fault> {
    owns(staff)?;
    let mut tx = app.for_promoter(staff.promoter).await?;
    Ok(store::listed(&mut tx, &app.settings.public_url, staff.promoter).await?)
}

/// Only who speaks for the whole promoter says where its money goes.
fn owns(staff: &Staff) -> Result<(), Fault> {
    if staff.festival.is_some() {
        return Err(Fault::NotFound);
    }
    Ok(())
}

/// Whether a text is a key that Stripe gives: secret or restricted, and for which mode.
fn mode(key: &str) -> Option<bool> {
    let rest = key.strip_prefix("sk_").or_else(|| key.strip_prefix("rk_"))?;
    let (is_live, random) = match (rest.strip_prefix("live_"), rest.strip_prefix("test_")) {
        (Some(random), _) => (true, random),
        (_, Some(random)) => (false, random),
        _ => return None,
    };
    let plain = random.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (plain && (8..=247).contains(&random.len())).then_some(is_live)
}

fn hint(secret: &str) -> String {
    secret.chars().skip(secret.chars().count().saturating_sub(4)).collect()
}

/// Why Stripe was not connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// As with every command of the catalog.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Stripe did not answer.
    #[error("Stripe did not answer: {0}")]
    Silent(String),
}

impl From<sqlx::Error> for ConnectError {
    fn from(error: sqlx::Error) -> Self {
        Self::Fault(error.into())
    }
}

/// Connects the promoter's account at Stripe, or gives the connected one another key or other methods. Doing it again changes nothing. An account that was
/// connected before is disconnected.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(app: &App, staff: &Staff, key: &str, methods: &[Method]) -> Result<PaymentAccount, ConnectError> {
    owns(staff)?;
    let is_live = mode(key).ok_or_else(|| Fault::wrong("/key", "a secret or restricted key of Stripe: sk_live_.., rk_live_.., sk_test_.. or rk_test_.."))?;
    let mut methods = methods.to_vec();
    methods.sort_unstable();
    methods.dedup();
    if methods.is_empty() {
        return Err(Fault::wrong("/methods", "at least one").into());
    }
    let external_ref = match app.the::<Arc<Stripe>>().account(key).await {
        Ok(account) if is_live && !account.charges_enabled => {
            return Err(Fault::wrong("/key", "Stripe says that this account cannot take payments yet: finish its activation there").into());
        }
        Ok(account) => account.id,
        Err(Refusal::Unauthorized) => return Err(Fault::wrong("/key", "Stripe does not know this key").into()),
        Err(Refusal::Forbidden) => {
            return Err(Fault::wrong(
                "/key",
                "this restricted key may not read the account; it needs: account and disputes read; checkout sessions, payment intents and refunds write",
            )
            .into());
        }
        Err(other) => return Err(ConnectError::Silent(other.to_string())),
    };
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    store::lock(&mut tx, staff.promoter).await?;
    let found = store::find(&mut tx, staff.promoter, &external_ref, is_live).await?;
    let account_id = found.unwrap_or_else(|| PaymentAccountId::fresh(FestivalId::HOUSE, now));
    for other in store::disconnect_others(&mut tx, staff.promoter, account_id, now).await? {
        note(&mut tx, staff, "payment_account.disconnected", other, now).await?;
    }
    let sealed = app.secrets.seal(place("payment_accounts", "key_sealed", &account_id.to_string()), key.as_bytes());
    let row = store::Row { account_id, external_ref: &external_ref, is_live, key_sealed: &sealed, key_hint: &hint(key), methods: &methods };
    store::put(&mut tx, staff.promoter, &row, now).await?;
    note(&mut tx, staff, "payment_account.connected", account_id, now).await?;
    let account = one(app, &mut tx, staff.promoter, account_id).await?;
    tx.commit().await?;
    app.the::<Connected>().forget();
    Ok(account)
}

/// Disconnects an account: nothing more is paid to it. What it took is still given back through it. Doing it again changes nothing.
///
/// # Errors
/// [`Fault`].
pub async fn disconnect(app: &App, staff: &Staff, account: PaymentAccountId) -> Result<PaymentAccount, Fault> {
    owns(staff)?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    store::lock(&mut tx, staff.promoter).await?;
    if store::disconnect(&mut tx, staff.promoter, account, now).await? {
        note(&mut tx, staff, "payment_account.disconnected", account, now).await?;
    }
    let found = one(app, &mut tx, staff.promoter, account).await?;
    tx.commit().await?;
    app.the::<Connected>().forget();
    Ok(found)
}

/// Adds a secret that signs notifications of an account. The same one again is the same one.
///
/// # Errors
/// [`Fault`].
pub async fn add_secret(app: &App, staff: &Staff, account: PaymentAccountId, secret: &str) -> Result<PaymentAccount, Fault> {
    owns(staff)?;
    if !secret.starts_with("whsec_") || !(14..=255).contains(&secret.len()) || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Fault::wrong("/secret", "the signing secret of the endpoint as Stripe shows it: whsec_.."));
    }
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    store::lock(&mut tx, staff.promoter).await?;
    let before = one(app, &mut tx, staff.promoter, account).await?;
    if !store::signers(&mut *tx, &app.secrets, account).await?.iter().any(|known| known == secret) {
        if before.webhook_secrets.len() >= SECRETS {
            return Err(Fault::Conflict(format!("{SECRETS} secrets are in use; remove one that is not needed any more")));
        }
        let secret_no = store::next_secret(&mut tx, account).await?;
        let sealed = app.secrets.seal(place("payment_account_secrets", "secret_sealed", &format!("{account}/{secret_no}")), secret.as_bytes());
        store::add_secret(&mut tx, account, secret_no, &sealed, &hint(secret), now).await?;
        note(&mut tx, staff, "payment_account.secret_added", account, now).await?;
    }
    let found = one(app, &mut tx, staff.promoter, account).await?;
    tx.commit().await?;
    Ok(found)
}

/// Removes a secret: what it signs is not believed any more. Doing it again changes nothing.
///
/// # Errors
/// [`Fault`].
pub async fn remove_secret(app: &App, staff: &Staff, account: PaymentAccountId, secret_no: i16) -> Result<PaymentAccount, Fault> {
    owns(staff)?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    store::lock(&mut tx, staff.promoter).await?;
    one(app, &mut tx, staff.promoter, account).await?;
    if store::remove_secret(&mut tx, account, secret_no, now).await? {
        note(&mut tx, staff, "payment_account.secret_removed", account, now).await?;
    }
    let found = one(app, &mut tx, staff.promoter, account).await?;
    tx.commit().await?;
    Ok(found)
}

async fn one(app: &App, conn: &mut sqlx::PgConnection, promoter: PromoterId, account: PaymentAccountId) -> Result<PaymentAccount, Fault> {
    let all = store::listed(conn, &app.settings.public_url, promoter).await?;
    all.into_iter().find(|found| found.account_id == account).ok_or(Fault::NotFound)
}

async fn note(conn: &mut sqlx::PgConnection, staff: &Staff, action: &'static str, account: PaymentAccountId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let (festival, actor, object_id) = (FestivalId::HOUSE, staff.actor, account.to_string());
    audit::record(conn, Act { festival, actor, action, object_kind: "payment_account", object_id, before: None, after: None }, now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_what_else_stripe_gives() {
        for (key, live) in [("sk_live_51Habcdefgh", true), ("rk_live_51Habcdefgh", true), ("sk_test_51Habcdefgh", false), ("rk_test_51Habcdefgh", false)] {
            assert_eq!(mode(key), Some(live), "{key}");
        }
        for other in [
            "",
            "pk_live_51Habcdefgh",
            "whsec_abcdefgh",
            "sk_live_",
            "sk_live_short",
            "sk_live_51Habc defgh",
            "sk_other_51Habcdefgh",
            " sk_live_51Habcdefgh",
            &format!("sk_live_{}", "a".repeat(300)),
        ] {
            assert_eq!(mode(other), None, "{other}");
        }
    }

    #[test]
    fn methods_have_one_name_each() {
        for method in Method::ALL {
            assert_eq!(Method::read(method.name()), Some(method));
            assert_eq!(serde_json::to_value(method).unwrap(), method.name());
        }
    }
}
