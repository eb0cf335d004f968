//! Emails that ask something, or answer what was asked: where money goes that no provider takes, whose turn it is, what becomes of an order. What is true when
//! they leave.

use super::{Note, Rendered};
use crate::{
    app::App,
    festivals,
    id::{OrderId, RefundId, WaitId},
    mail::{Email, RenderError},
    offers,
    orders::{
        self, OrderStatus,
        api::order_url,
        deadline::{self, DeadlineKind},
    },
    payments::{
        offline::{self, OfflineMethod},
        refunds::{self, options},
    },
    waiting::list::{self, WaitStatus},
};

/// The emails of a waiting list: where somebody stands, and that an order is held for them. What is true when it leaves.
#[must_use]
pub fn waiting_list<'a>(app: &'a App, email: &'a Email) -> Rendered<'a> {
    Box::pin(async move {
        let (pool, w) = (&app.pools.work, email.language);
        let wait = list::wait(pool, WaitId(email.thing_id)).await?.ok_or(RenderError::Moot)?;
        let festival = festivals::one(pool, email.festival_id).await?.ok_or(RenderError::Moot)?;
        let offers = offers::offers(pool, email.festival_id).await?;
        let name = offers.iter().find(|o| o.offer_id == wait.offer_id).map(|o| o.name.read(w).to_owned()).unwrap_or_default();
        let said = [("festival", festival.terms.name.read(w).to_owned()), ("offer", name), ("quantity", wait.quantity.to_string())];
        if email.kind == "waiting_joined" {
            if wait.status != WaitStatus::Waiting {
                return Err(RenderError::Moot);
            }
            let subject = w.f("mail-waiting-joined-subject", said.clone()).into_owned();
            let lead = w.f("mail-waiting-joined-lead", said).into_owned();
            let way = Some((wait.url(app), w.t("mail-waiting-joined-way").into_owned()));
            return Ok(Note { subject, name: wait.name, lead, order: None, way }.letter(w, &festival));
        }
        let id = wait.order_id.ok_or(RenderError::Moot)?;
        let order = orders::order(pool, id).await?.filter(|o| o.status == OrderStatus::Held && app.clock.now() < o.held_until).ok_or(RenderError::Moot)?;
        let until = w.at(order.held_until, &festival.terms.time_zone).long();
        let [festival_name, offer, quantity] = said;
        let said = [festival_name, offer, quantity, ("moment", until), ("amount", order.total.print())];
        let subject = w.f("mail-waiting-invited-subject", said.clone()).into_owned();
        let lead = w.f("mail-waiting-invited-lead", said).into_owned();
        let way = Some((order_url(app, id, order.link_generation), w.t("mail-waiting-invited-way").into_owned()));
        Ok(Note { subject, name: wait.name, lead, order: Some(id), way }.letter(w, &festival))
    })
}

/// The email that says where the money of an order goes that is paid without a provider.
#[must_use]
pub fn pay_offline<'a>(app: &'a App, email: &'a Email) -> Rendered<'a> {
    Box::pin(async move {
        let (pool, w, id) = (&app.pools.work, email.language, OrderId(email.thing_id));
        let order = orders::order(pool, id).await?.filter(|o| o.status == OrderStatus::Held).ok_or(RenderError::Moot)?;
        let deadline = deadline::of_order(pool, id).await?.ok_or(RenderError::Moot)?;
        let (key, method) = match (deadline.kind, email.kind.as_str()) {
            (DeadlineKind::BankTransfer, "pay_transfer") => ("mail-pay-transfer", OfflineMethod::BankTransfer),
            (DeadlineKind::OnSite, "pay_on_site") => ("mail-pay-on-site", OfflineMethod::OnSite),
            // Another method took its place.
            _ => return Err(RenderError::Moot),
        };
        let festival = festivals::one(pool, id.festival()).await?.ok_or(RenderError::Moot)?;
        let methods = offline::methods(pool, id.festival()).await?;
        let instructions = methods.into_iter().find(|o| o.method == method).map(|o| o.terms.instructions.read(w).to_owned()).unwrap_or_default();
        let until = w.at(deadline.due_at, &festival.terms.time_zone).long();
        let subject = w.f(&format!("{key}-subject"), [("festival", festival.terms.name.read(w).to_owned())]).into_owned();
        let lead = w.f(&format!("{key}-lead"), [("amount", order.total.print()), ("moment", until), ("number", order.number())]);
        let lead = format!("{lead}\n\n{instructions}");
        let way = Some((order_url(app, id, order.link_generation), w.t("mail-open-order").into_owned()));
        Ok(Note { subject, name: order.buyer_name, lead, order: Some(id), way }.letter(w, &festival))
    })
}

/// The email that confirms that a fan withdrew from a contract, and when.
#[must_use]
pub fn rescinded<'a>(app: &'a App, email: &'a Email) -> Rendered<'a> {
    Box::pin(async move {
        let (pool, w) = (&app.pools.work, email.language);
        let refund = refunds::refund(pool, RefundId(email.thing_id)).await?.ok_or(RenderError::Moot)?;
        let festival = festivals::one(pool, email.festival_id).await?.ok_or(RenderError::Moot)?;
        let order = orders::order(pool, refund.order_id).await?.ok_or(RenderError::Moot)?;
        let at = w.at(refund.requested_at, &festival.terms.time_zone).second();
        let day = w.at(refund.requested_at, &festival.terms.time_zone).long();
        let subject = w.f("mail-rescinded-subject", [("festival", festival.terms.name.read(w).to_owned())]).into_owned();
        let lead = w.f("mail-rescinded-lead", [("amount", refund.amount.print()), ("moment", day), ("time", at)]).into_owned();
        let way = Some((order_url(app, refund.order_id, order.link_generation), w.t("mail-open-order").into_owned()));
        Ok(Note { subject, name: order.buyer_name, lead, order: Some(refund.order_id), way }.letter(w, &festival))
    })
}

/// The email of an option round: what happened, and where to choose.
#[must_use]
pub fn options<'a>(app: &'a App, email: &'a Email) -> Rendered<'a> {
    Box::pin(async move {
        let (pool, w, id) = (&app.pools.work, email.language, OrderId(email.thing_id));
        let order = orders::order(pool, id).await?.ok_or(RenderError::Moot)?;
        let asked = options::api::asked(app, &order).await?;
        // It is over, or this order chose already.
        let round = asked.round.filter(|round| asked.answer.is_none() && round.letter() == email.kind).ok_or(RenderError::Moot)?;
        let festival = festivals::one(pool, id.festival()).await?.ok_or(RenderError::Moot)?;
        let until = w.at(round.terms.deadline_at, &festival.terms.time_zone).long();
        let key = round.terms.kind.name().replace('_', "-");
        let subject = w.f(&format!("mail-options-{key}-subject"), [("festival", festival.terms.name.read(w).to_owned())]).into_owned();
        let default = w.t(&format!("options-{}", round.terms.default_choice.name())).into_owned();
        let choose = w.f("mail-options-lead", [("moment", until), ("default", default)]);
        let lead = format!("{}\n\n{choose}", round.terms.message.read(w));
        let way = Some((format!("{}#options", order_url(app, id, order.link_generation)), w.t("mail-options-way").into_owned()));
        Ok(Note { subject, name: order.buyer_name, lead, order: Some(id), way }.letter(w, &festival))
    })
}
