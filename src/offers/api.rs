//! The JSON face of passes, add-ons, offers and stock.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path},
    payload::Json,
    types::{ParseFromJSON, ToJSON},
};
use serde_json::Value;

use super::{AddOn, Bearer, BookingFee, NewOffer, Offer, OfferTerms, OnSale, Pass, PassTerms, Stock, TierTerms, vouchers::api::opened};
use crate::{
    accounts::{
        Scope,
        guard::{Anyone, AsStaff, reach},
    },
    app::App,
    fault::Fault,
    festivals::{
        self,
        api::{is_own, visible},
    },
    fresh::Fresh,
    http::{
        limit::Client,
        patch::{merge_patch, version_of},
        problem::{Changing, Created, Guarded, NOT_FOUND, Or, Problem, Usual},
        tags::Chapter,
    },
    id::{FestivalId, OfferId, PassId, StockId},
    page::Page,
    refusals,
    words::Text,
};

/// What strangers see of the offers of festivals, at most a second old. It never decides.
pub type Shelves = Fresh<FestivalId, Arc<(Vec<Offer>, Vec<Stock>)>>;

/// An add-on to be made.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewAddOn {
    /// Its name.
    pub name: Text,
}

/// A stock to be made.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewStock {
    /// A name for the promoter.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub name: String,
    /// How many there are; without one it only counts.
    #[oai(validator(minimum(value = "0")))]
    pub capacity: Option<i32>,
}

/// The new capacity of a stock.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct Resize {
    /// How many there are; absent for no bound.
    #[oai(validator(minimum(value = "0")))]
    pub capacity: Option<i32>,
}

/// The booking fee that orders are placed under now.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct FeeInForce {
    /// What it takes.
    pub booking_fee: Option<BookingFee>,
}

/// A delay of an opening.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct Delay {
    /// The moment at which the offers open now.
    pub opens_at: DateTime<Utc>,
    /// How many minutes later they open.
    #[oai(validator(minimum(value = "1"), maximum(value = "1440")))]
    pub minutes: i64,
}

refusals! {
    /// What looking at offers refuses.
    Looking: NOT_FOUND, VOUCHER;
}

/// Passes, add-ons, offers and stock.
pub struct OffersApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Offers")]
impl OffersApi {
    /// List the passes of a festival
    ///
    /// By their number.
    #[oai(path = "/festivals/:festival_id/passes", method = "get", operation_id = "list_passes")]
    async fn list_passes(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<Pass>>, Or<Usual>> {
        visible(&app, *festival_id, who.0.as_ref()).await?;
        Ok(Json(Page { items: super::passes(&app.pools.web, *festival_id).await?, next: None }))
    }

    /// Make a pass
    ///
    /// It gets the next number of ticket codes. Asking again makes another one. Scope `offers:write`.
    #[oai(path = "/festivals/:festival_id/passes", method = "post", operation_id = "create_pass")]
    async fn create_pass(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<PassTerms>,
    ) -> Result<Created<Pass>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, *festival_id)?;
        let pass = super::add_pass(&app, &staff, *festival_id, &body).await?;
        Ok(Created { body: pass, location: format!("/v1/festivals/{}/passes", festival_id.0.0) })
    }

    /// Change a pass
    ///
    /// A JSON merge patch (RFC 7396) of its terms, but for its days, which stand in ticket codes. Gates decide by it within seconds, those without
    /// network when they are back; what happened before stays as it was. Scope `offers:write`.
    #[oai(path = "/passes/:pass_id", method = "patch", operation_id = "change_pass")]
    async fn change_pass(&self, AsStaff(staff): AsStaff, app: Data<&App>, pass_id: Path<PassId>, body: Json<Value>) -> Result<Json<Pass>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, pass_id.festival())?;
        let changed = super::change_pass(&app, &staff, *pass_id, |terms| {
            let patched = merge_patch(terms.to_json().unwrap_or_default(), &body.0);
            PassTerms::parse_from_json(Some(patched)).map_err(|error| Fault::wrong("", error.into_message()))
        });
        Ok(Json(changed.await?))
    }

    /// List the add-ons of a festival
    ///
    /// By their number.
    #[oai(path = "/festivals/:festival_id/add-ons", method = "get", operation_id = "list_add_ons")]
    async fn list_add_ons(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<AddOn>>, Or<Usual>> {
        visible(&app, *festival_id, who.0.as_ref()).await?;
        Ok(Json(Page { items: super::add_ons(&app.pools.web, *festival_id).await?, next: None }))
    }

    /// Make an add-on
    ///
    /// Asking again makes another one. Scope `offers:write`.
    #[oai(path = "/festivals/:festival_id/add-ons", method = "post", operation_id = "create_add_on")]
    async fn create_add_on(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<NewAddOn>,
    ) -> Result<Created<AddOn>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, *festival_id)?;
        let add_on = super::add_add_on(&app, &staff, *festival_id, &body.name).await?;
        Ok(Created { body: add_on, location: format!("/v1/festivals/{}/add-ons", festival_id.0.0) })
    }

    /// List the offers of a festival
    ///
    /// As fans see them: with the price of the moment and availability in coarse words. Placing decides, this list does not. With the code of a voucher
    /// it is what that code makes of them: hidden offers that it opens, and its prices; 409 `voucher-refused` says why it does not help. Hidden offers
    /// are shown to their promoter, too.
    #[oai(path = "/festivals/:festival_id/offers", method = "get", operation_id = "list_offers")]
    async fn list_offers(
        &self,
        who: Anyone,
        app: Data<&App>,
        client: Data<&Client>,
        festival_id: Path<FestivalId>,
        /// The code of a voucher.
        #[oai(name = "Voucher", validator(max_length = 60))]
        code: Header<Option<String>>,
    ) -> Result<Json<Page<OnSale>>, Or<Looking>> {
        let pool = &app.pools.web;
        let read = async || {
            visible(&app, *festival_id, who.0.as_ref()).await?;
            Ok::<_, Problem>(Arc::new(super::demand::on_shelf(pool, *festival_id, app.clock.now()).await?))
        };
        // Fans and their programs look a thousand times a second; who changes offers sees at once what they changed.
        let shelf = if who.0.is_some() { read().await? } else { app.the::<Shelves>().get(*festival_id, read).await? };
        let now = app.clock.now();
        let voucher = match code.as_deref() {
            Some(code) => Some(opened(&app, &client, *festival_id, code, now).await?),
            None => None,
        };
        let sees_all = match &who.0 {
            Some(staff) => festivals::one(pool, *festival_id).await?.is_some_and(|f| is_own(staff, &f)),
            None => false,
        };
        let opens = |offer: &Offer| voucher.as_ref().is_some_and(|v| v.does_open(offer.offer_id));
        let seen = shelf.0.iter().filter(|offer| !offer.hidden || sees_all || opens(offer));
        Ok(Json(Page { items: seen.map(|offer| super::on_sale(offer.clone(), &shelf.1, now, voucher.as_ref())).collect(), next: None }))
    }

    /// Make an offer
    ///
    /// With its stock, tiers, components and requirements. Asking again makes another one. Scope `offers:write`.
    #[oai(path = "/festivals/:festival_id/offers", method = "post", operation_id = "create_offer")]
    async fn create_offer(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// The words that confirm a capacity above what is licensed.
        #[oai(name = "Confirm")]
        confirm: Header<Option<String>>,
        body: Json<NewOffer>,
    ) -> Result<Created<Offer>, Or<Guarded>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, *festival_id)?;
        let offer = super::add_offer(&app, &staff, *festival_id, &body, confirm.as_deref()).await?;
        let location = format!("/v1/offers/{}", offer.offer_id);
        Ok(Created { body: offer, location })
    }

    /// Change an offer
    ///
    /// A JSON merge patch (RFC 7396) of its terms; `"paused": {"en": ".."}` pauses it with a sentence that fans read, `"paused": null` goes on.
    /// With `If-Match: "<version>"` it is refused (412) when somebody changed it meanwhile. Scope `offers:write`.
    #[oai(path = "/offers/:offer_id", method = "patch", operation_id = "change_offer")]
    async fn change_offer(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        offer_id: Path<OfferId>,
        /// The version that the change is made to, in quotes.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        /// The words that confirm an opening at once.
        #[oai(name = "Confirm")]
        confirm: Header<Option<String>>,
        body: Json<Value>,
    ) -> Result<Json<Offer>, Or<Guarded>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, offer_id.festival())?;
        let version = version_of(if_match.as_deref())?;
        let changed = super::change_offer(&app, &staff, *offer_id, version, confirm.as_deref(), |terms| {
            let patched = merge_patch(terms.to_json().unwrap_or_default(), &body.0);
            OfferTerms::parse_from_json(Some(patched)).map_err(|error| Fault::wrong("", error.into_message()))
        });
        Ok(Json(changed.await?))
    }

    /// Delay an opening
    ///
    /// Every offer of the festival that opens at this moment opens so many minutes later, its waiting room and countdown with it. Asked again nothing
    /// opens then: 409. Scope `offers:write`.
    #[oai(path = "/festivals/:festival_id/delays", method = "post", operation_id = "delay_opening")]
    async fn delay_opening(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<Delay>,
    ) -> Result<Json<Page<Offer>>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, *festival_id)?;
        let items = super::delay(&app, &staff, *festival_id, body.opens_at, body.minutes).await?;
        Ok(Json(Page { items, next: None }))
    }

    /// Change a tier
    ///
    /// Its name, price and end. Orders that are placed keep their price. Doing it again changes nothing. Scope `offers:write`.
    #[oai(path = "/offers/:offer_id/tiers/:tier_no", method = "put", operation_id = "change_tier")]
    async fn change_tier(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        offer_id: Path<OfferId>,
        tier_no: Path<i16>,
        /// The words that confirm a price that falls by 30 percent or more.
        #[oai(name = "Confirm")]
        confirm: Header<Option<String>>,
        body: Json<TierTerms>,
    ) -> Result<Json<Offer>, Or<Guarded>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, offer_id.festival())?;
        Ok(Json(super::change_tier(&app, &staff, *offer_id, *tier_no, &body, confirm.as_deref()).await?))
    }

    /// Look at the booking fee of a festival
    ///
    /// What is taken for selling a unit that costs something, inside its price; none where nothing is. One that the promoter bears is shown to them alone.
    #[oai(path = "/festivals/:festival_id/booking-fee", method = "get", operation_id = "show_booking_fee")]
    async fn show_booking_fee(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<FeeInForce>, Or<Usual>> {
        let festival = visible(&app, *festival_id, who.0.as_ref()).await?;
        let mut conn = app.pools.web.acquire().await?;
        let fee = super::fee(&mut conn, *festival_id).await?;
        let is_own = who.0.as_ref().is_some_and(|staff| is_own(staff, &festival));
        Ok(Json(FeeInForce { booking_fee: fee.filter(|fee| is_own || fee.borne_by == Bearer::Buyer) }))
    }

    /// Set the booking fee of a festival
    ///
    /// For orders that are placed from now on; lines of before keep theirs. No price changes by it: it is inside. Setting it again changes nothing.
    /// Scope `money:write`.
    #[oai(path = "/festivals/:festival_id/booking-fee", method = "put", operation_id = "set_booking_fee")]
    async fn set_booking_fee(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<BookingFee>,
    ) -> Result<Json<BookingFee>, Or<Changing>> {
        staff.may(Scope::MoneyWrite)?;
        reach(&staff, *festival_id)?;
        super::fees::set_fee(&app, &staff, *festival_id, Some(*body)).await?;
        Ok(body)
    }

    /// End the booking fee of a festival
    ///
    /// For orders that are placed from now on. Ending it again changes nothing. Scope `money:write`.
    #[oai(path = "/festivals/:festival_id/booking-fee", method = "delete", operation_id = "end_booking_fee")]
    async fn end_booking_fee(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<FeeInForce>, Or<Changing>> {
        staff.may(Scope::MoneyWrite)?;
        reach(&staff, *festival_id)?;
        super::fees::set_fee(&app, &staff, *festival_id, None).await?;
        Ok(Json(FeeInForce { booking_fee: None }))
    }

    /// List the stocks of a festival
    ///
    /// With what is held and sold. Scope `orders:read`.
    #[oai(path = "/festivals/:festival_id/stocks", method = "get", operation_id = "list_stocks")]
    async fn list_stocks(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<Stock>>, Or<Usual>> {
        staff.may(Scope::OrdersRead)?;
        reach(&staff, *festival_id)?;
        let mut tx = app.for_promoter(staff.promoter).await?;
        festivals::owned(&mut tx, staff.promoter, *festival_id).await?.ok_or_else(|| NOT_FOUND.problem())?;
        Ok(Json(Page { items: super::stocks(&mut tx, *festival_id).await?, next: None }))
    }

    /// Make a stock that several offers share
    ///
    /// Asking again makes another one. Scope `offers:write`.
    #[oai(path = "/festivals/:festival_id/stocks", method = "post", operation_id = "create_stock")]
    async fn create_stock(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// The words that confirm a capacity above what is licensed.
        #[oai(name = "Confirm")]
        confirm: Header<Option<String>>,
        body: Json<NewStock>,
    ) -> Result<Created<Stock>, Or<Guarded>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, *festival_id)?;
        let stock = super::add_stock(&app, &staff, *festival_id, &body.name, body.capacity, confirm.as_deref()).await?;
        let location = format!("/v1/stocks/{}", stock.stock_id);
        Ok(Created { body: stock, location })
    }

    /// Change the capacity of a stock
    ///
    /// Also while it is on sale; refused with the numbers when more is held and sold than there would be. Scope `offers:write`.
    #[oai(path = "/stocks/:stock_id", method = "put", operation_id = "resize_stock")]
    async fn resize_stock(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        stock_id: Path<StockId>,
        /// The words that confirm a capacity that is doubled or above what is licensed.
        #[oai(name = "Confirm")]
        confirm: Header<Option<String>>,
        body: Json<Resize>,
    ) -> Result<Json<Stock>, Or<Guarded>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, stock_id.festival())?;
        Ok(Json(super::resize(&app, &staff, *stock_id, body.capacity, confirm.as_deref()).await?))
    }
}
