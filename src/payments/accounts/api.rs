//! The JSON face of payment accounts.

use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, payload::Json};

use super::{ConnectError, Method, PaymentAccount};
use crate::{
    accounts::{Scope, guard::AsStaff},
    app::App,
    batcher::Busy,
    festivals::api::of_staff,
    http::{
        problem::{Changing, Or, Problem, Usual},
        tags::Chapter,
    },
    id::{DifferenceId, FestivalId, PaymentAccountId},
    page::Page,
    payments::comparison::{self, Comparison, Difference},
};

impl From<ConnectError> for Problem {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Fault(fault) => fault.into(),
            ConnectError::Silent(why) => {
                tracing::warn!(why, "a key of Stripe could not be tried");
                Busy::jittered().into()
            }
        }
    }
}

/// What connects Stripe.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct StripeAccount {
    /// A secret or restricted key of the promoter's account. A restricted one needs: account and disputes read; checkout sessions, payment
    /// intents and refunds write.
    #[oai(validator(max_length = 255))]
    pub key: String,
    /// What buyers may pay with; each has to be activated at Stripe.
    #[oai(validator(min_items = 1, max_items = 20))]
    pub methods: Vec<Method>,
}

/// A secret that signs notifications.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewWebhookSecret {
    /// The signing secret of the endpoint, as Stripe shows it: `whsec_..`.
    #[oai(validator(max_length = 255))]
    pub secret: String,
}

/// That somebody looked at a difference.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct ClearDifference {
    /// What it was.
    #[oai(validator(min_length = 1, max_length = 500))]
    pub note: String,
}

/// It was cleared.
#[derive(Debug, Object)]
pub struct ClearedDifference {
    /// Always true.
    pub cleared: bool,
}

/// What was compared last, and what differs.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Differences {
    /// The latest comparison that is done.
    pub latest: Option<Comparison>,
    /// What nobody looked at yet, oldest first, at most two hundred.
    pub items: Vec<Difference>,
}

/// Where the money goes.
pub struct PaymentAccountsApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Payments")]
impl PaymentAccountsApi {
    /// List payment accounts
    ///
    /// Of the promoter: the connected one first. Keys and secrets are never shown again. Scope `accounts:write`.
    #[oai(path = "/payment-accounts", method = "get", operation_id = "list_payment_accounts")]
    async fn list_payment_accounts(&self, AsStaff(staff): AsStaff, app: Data<&App>) -> Result<Json<Page<PaymentAccount>>, Or<Usual>> {
        staff.may(Scope::AccountsWrite)?;
        Ok(Json(Page { items: super::accounts(&app, &staff).await?, next: None }))
    }

    /// Connect Stripe
    ///
    /// The key is tried at Stripe before it is kept; 503 when Stripe does not answer: ask again. The same account with another key or other methods stays one account; another account takes its place,
    /// and what the former one took is still given back through it. Doing it again changes nothing. Scope `accounts:write`.
    #[oai(path = "/payment-accounts/stripe", method = "put", operation_id = "connect_stripe")]
    async fn connect_stripe(&self, AsStaff(staff): AsStaff, app: Data<&App>, body: Json<StripeAccount>) -> Result<Json<PaymentAccount>, Or<Changing>> {
        staff.may(Scope::AccountsWrite)?;
        Ok(Json(super::connect(&app, &staff, &body.key, &body.methods).await?))
    }

    /// Disconnect a payment account
    ///
    /// Nothing more is paid to it; what it took is still given back through it. Doing it again changes nothing. Scope `accounts:write`.
    #[oai(path = "/payment-accounts/:account_id/disconnections", method = "post", operation_id = "disconnect_payment_account")]
    async fn disconnect_payment_account(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        account_id: Path<PaymentAccountId>,
    ) -> Result<Json<PaymentAccount>, Or<Changing>> {
        staff.may(Scope::AccountsWrite)?;
        Ok(Json(super::disconnect(&app, &staff, *account_id).await?))
    }

    /// Add a webhook secret
    ///
    /// What the provider signs its notifications to `notification_url` with. Up to three are believed at once, so that one can take the place of another.
    /// The same secret again is the same one. Scope `accounts:write`.
    #[oai(path = "/payment-accounts/:account_id/webhook-secrets", method = "post", operation_id = "add_webhook_secret")]
    async fn add_webhook_secret(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        account_id: Path<PaymentAccountId>,
        body: Json<NewWebhookSecret>,
    ) -> Result<Json<PaymentAccount>, Or<Changing>> {
        staff.may(Scope::AccountsWrite)?;
        Ok(Json(super::add_secret(&app, &staff, *account_id, &body.secret).await?))
    }

    /// List what differs from a provider
    ///
    /// Every day is compared three hours after its end (UTC): what the provider captured, and what went back in its own pages. Scope `orders:read`.
    #[oai(path = "/festivals/:festival_id/payment-differences", method = "get", operation_id = "list_payment_differences")]
    async fn list_payment_differences(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Differences>, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::OrdersRead).await?;
        let (items, latest) = comparison::open(&mut tx, *festival_id).await?;
        Ok(Json(Differences { latest, items }))
    }

    /// Clear a difference
    ///
    /// Somebody looked at it and says what it was. Clearing it again changes nothing. Scope `money:write`.
    #[oai(path = "/payment-differences/:difference_id/clearances", method = "post", operation_id = "clear_payment_difference")]
    async fn clear_payment_difference(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        difference_id: Path<DifferenceId>,
        body: Json<ClearDifference>,
    ) -> Result<Json<ClearedDifference>, Or<Changing>> {
        staff.may(Scope::MoneyWrite)?;
        comparison::clear(&app, &staff, *difference_id, &body.note).await?;
        Ok(Json(ClearedDifference { cleared: true }))
    }

    /// Remove a webhook secret
    ///
    /// What it signs is not believed any more. Doing it again changes nothing. Scope `accounts:write`.
    #[oai(path = "/payment-accounts/:account_id/webhook-secrets/:secret_no", method = "delete", operation_id = "remove_webhook_secret")]
    async fn remove_webhook_secret(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        account_id: Path<PaymentAccountId>,
        secret_no: Path<i16>,
    ) -> Result<Json<PaymentAccount>, Or<Changing>> {
        staff.may(Scope::AccountsWrite)?;
        Ok(Json(super::remove_secret(&app, &staff, *account_id, *secret_no).await?))
    }
}
