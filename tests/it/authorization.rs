//! Who may do what, driven by the document: a new operation is covered the minute it exists.

use std::collections::BTreeSet;

use gatefold::{
    accounts::{self, Scope},
    api,
    id::{FestivalId, PromoterId},
    payments::simulated,
};
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Fan, Festival, Promoter, answer, key},
    house::{House, opening},
    stripe::{KEY, SECRET, Stripe, connect, sign},
    supervisors,
};

type Body<'a> = Box<dyn Fn(&str) -> Value + 'a>;

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum May {
    /// Everybody, whatever they hold.
    Anyone,
    /// Everybody without a token, and every promoter whose token lives.
    Public,
    /// As `Public`; a promoter sees their own list there and needs a scope for it.
    PublicOrOwn(Scope),
    /// The fan of the order.
    Fan,
    /// A supervisor's device; the world has none that is not, so every device is refused.
    Supervisor,
    /// Whoever a ticket was sent to; the world has nobody.
    Recipient,
    /// A device; what it may let in is decided by the scan.
    Device,
    /// The promoter of what the path names.
    Promoter(Scope),
    /// Every promoter, for themselves: the path names nothing of anybody.
    Self_(Scope),
    /// As `Self_`; refused to a token of one festival.
    WholeSelf(Scope),
    /// The promoter whose music it is; music belongs to no festival, so a token of any festival will do.
    Music(Scope),
    /// The fan of the order, or its promoter.
    FanOrPromoter(Scope),
}

use May::{Anyone, Device, FanOrPromoter, Music, Promoter as Of, Public, PublicOrOwn, Self_, WholeSelf};
use Scope::{
    AccountsWrite, CatalogRead, FestivalsWrite, GatesWrite, LineupWrite, MoneyWrite, OffersWrite, OrdersRead, RefundsWrite, ReleasesWrite, SalesWrite,
    ScansRead, TicketsWrite,
};

const TABLE: &[(&str, May)] = &[
    ("decide_refund", Of(MoneyWrite)),
    ("list_refund_cases", Of(OrdersRead)),
    ("list_refunds", FanOrPromoter(OrdersRead)),
    ("quote_refund", Of(RefundsWrite)),
    ("refund_order", Of(RefundsWrite)),
    ("return_twin", May::Fan),
    ("return_tickets", May::Fan),
    ("show_return_terms", May::Fan),
    ("show_refund_rule", Public),
    ("set_refund_rule", Of(OffersWrite)),
    ("end_refund_rule", Of(OffersWrite)),
    ("bind_ticket", May::Fan),
    ("end_band", May::Supervisor),
    ("exchange_ticket", May::Supervisor),
    ("list_band_stocks", Of(ScansRead)),
    ("set_band_stock", Of(GatesWrite)),
    ("call_clearing_off", Of(GatesWrite)),
    ("list_payment_ways", May::Fan),
    ("cancel_payment", May::Fan),
    ("list_order_transfers", FanOrPromoter(OrdersRead)),
    ("list_payment_differences", Of(OrdersRead)),
    ("clear_payment_difference", Of(MoneyWrite)),
    ("accept_transfer", May::Recipient),
    ("decline_transfer", May::Recipient),
    ("show_transfer", May::Recipient),
    ("list_transfers", May::Fan),
    ("recall_transfer", May::Fan),
    ("send_ticket", May::Fan),
    ("show_transfer_rule", Public),
    ("set_transfer_rule", Of(OffersWrite)),
    ("open_option_round", Of(MoneyWrite)),
    ("list_option_rounds", Of(OrdersRead)),
    ("show_option_round", Of(OrdersRead)),
    ("call_option_round_off", Of(MoneyWrite)),
    ("show_options", May::Fan),
    ("choose_option", May::Fan),
    ("show_dispute_file", Of(OrdersRead)),
    ("show_rescission_terms", May::Fan),
    ("rescind_order", May::Fan),
    ("hand_back_tickets", May::Fan),
    ("list_hand_backs", FanOrPromoter(OrdersRead)),
    ("withdraw_hand_back", May::Fan),
    ("show_hand_back_rule", Public),
    ("set_hand_back_rule", Of(OffersWrite)),
    ("join_waiting_list", Anyone),
    ("show_wait", May::Recipient),
    ("leave_waiting_list", May::Recipient),
    ("show_waiting_list", Of(CatalogRead)),
    ("set_waiting_list", Of(OffersWrite)),
    ("list_offline_methods", Public),
    ("set_offline_method", Of(MoneyWrite)),
    ("remove_offline_method", Of(MoneyWrite)),
    ("agree_to_pay", May::Fan),
    ("collect_payment", Of(SalesWrite)),
    ("show_box_office", Of(SalesWrite)),
    ("set_box_office", Of(MoneyWrite)),
    ("sell_at_door", Of(SalesWrite)),
    ("list_takings", Of(SalesWrite)),
    ("list_payment_accounts", WholeSelf(AccountsWrite)),
    ("connect_stripe", WholeSelf(AccountsWrite)),
    ("disconnect_payment_account", Of(AccountsWrite)),
    ("add_webhook_secret", Of(AccountsWrite)),
    ("remove_webhook_secret", Of(AccountsWrite)),
    ("notify_payment_account", Anyone),
    ("cancel_order", May::Fan),
    ("change_gate", Of(FestivalsWrite)),
    ("change_pass", Of(OffersWrite)),
    ("change_zone", Of(FestivalsWrite)),
    ("change_festival", Of(FestivalsWrite)),
    ("change_offer", Of(OffersWrite)),
    ("change_tier", Of(OffersWrite)),
    ("change_voucher", Of(OffersWrite)),
    ("show_booking_fee", Public),
    ("set_booking_fee", Of(MoneyWrite)),
    ("end_booking_fee", Of(MoneyWrite)),
    ("set_voucher_addresses", Of(OffersWrite)),
    ("forget_voucher_addresses", Of(OffersWrite)),
    ("show_voucher", Of(OffersWrite)),
    ("list_voucher_batches", Of(OffersWrite)),
    ("create_voucher_batch", Of(OffersWrite)),
    ("change_voucher_batch", Of(OffersWrite)),
    ("export_voucher_codes", Of(OffersWrite)),
    ("claim_ticket", May::Fan),
    ("clear_site", Of(GatesWrite)),
    ("complete_upload", Music(ReleasesWrite)),
    ("create_act", Of(LineupWrite)),
    ("create_add_on", Of(OffersWrite)),
    ("create_device", Anyone),
    ("create_festival", WholeSelf(FestivalsWrite)),
    ("create_gate", Of(FestivalsWrite)),
    ("create_offer", Of(OffersWrite)),
    ("create_pairing", Of(GatesWrite)),
    ("create_pass", Of(OffersWrite)),
    ("create_recording", Self_(ReleasesWrite)),
    ("create_release", Self_(ReleasesWrite)),
    ("create_scan", Device),
    ("create_set", Of(LineupWrite)),
    ("create_stage", Of(FestivalsWrite)),
    ("create_stock", Of(OffersWrite)),
    ("create_upload", Self_(ReleasesWrite)),
    ("create_voucher", Of(OffersWrite)),
    ("create_zone", Of(FestivalsWrite)),
    ("decide_discrepancy", Of(GatesWrite)),
    ("delay_opening", Of(OffersWrite)),
    ("export_discrepancies", Of(ScansRead)),
    ("extend_holds", Of(OffersWrite)),
    ("freeze_festival", Of(FestivalsWrite)),
    ("pause_festival", Of(FestivalsWrite)),
    ("resume_festival", Of(FestivalsWrite)),
    ("thaw_festival", Of(FestivalsWrite)),
    ("end_gate_hold", Of(GatesWrite)),
    ("end_waiting_room", Of(OffersWrite)),
    ("explain_entry_rules", Public),
    ("hold_gates", Of(GatesWrite)),
    ("extend_turn", Anyone),
    ("go_by_list", Of(FestivalsWrite)),
    ("go_by_signature", Of(FestivalsWrite)),
    ("import_lineup", Of(LineupWrite)),
    ("issue_supervisor_card", Of(GatesWrite)),
    ("list_acts", Public),
    ("list_add_ons", Public),
    ("list_enrolments", Of(GatesWrite)),
    ("list_albums", May::Fan),
    ("list_clearings", Of(ScansRead)),
    ("list_help_desk_cases", Of(ScansRead)),
    ("decide_help_desk_case", Of(GatesWrite)),
    ("list_days", Public),
    ("list_gate_holds", Of(ScansRead)),
    ("list_discrepancies", Of(ScansRead)),
    ("list_gate_reports", Of(ScansRead)),
    ("list_devices", Of(GatesWrite)),
    ("list_festivals", PublicOrOwn(CatalogRead)),
    ("list_gates", Public),
    ("list_lineup_imports", Of(CatalogRead)),
    ("list_offers", Public),
    ("list_order_tickets", May::Fan),
    ("list_orders", Of(OrdersRead)),
    ("list_passes", Public),
    ("list_payments", May::Fan),
    ("list_releases", Self_(CatalogRead)),
    ("list_scans", Of(ScansRead)),
    ("list_sets", Public),
    ("list_signing_keys", Of(FestivalsWrite)),
    ("list_stages", Public),
    ("list_stocks", Of(OrdersRead)),
    ("list_tickets", Of(OrdersRead)),
    ("list_vouchers", Of(OffersWrite)),
    ("list_overrides", Of(ScansRead)),
    ("list_supervisor_cards", Of(GatesWrite)),
    ("list_zones", Public),
    ("look_up_code", May::Supervisor),
    ("notify_payment", Anyone),
    ("open_waiting_room", Of(OffersWrite)),
    ("pay_order", May::Fan),
    ("place_order", Anyone),
    ("publish_festival", Of(FestivalsWrite)),
    ("put_part", Music(ReleasesWrite)),
    ("recall_ticket", May::Fan),
    ("reissue_signing_key", Of(FestivalsWrite)),
    ("show_key_reissue", Of(FestivalsWrite)),
    ("reissue_ticket", Of(TicketsWrite)),
    ("report_head_counts", Device),
    ("report_scans", Device),
    ("resize_stock", Of(OffersWrite)),
    ("revoke_device", Of(GatesWrite)),
    ("revoke_signing_key", Of(FestivalsWrite)),
    ("revoke_pairing", Of(GatesWrite)),
    ("revoke_supervisor_card", Of(GatesWrite)),
    ("rotate_signing_key", Of(FestivalsWrite)),
    ("say_alive", Device),
    ("search_tickets", May::Supervisor),
    ("set_cover", Music(ReleasesWrite)),
    ("set_day", Of(FestivalsWrite)),
    ("set_poster", Of(FestivalsWrite)),
    ("show_festival", Public),
    ("show_order", FanOrPromoter(OrdersRead)),
    ("show_billing", FanOrPromoter(OrdersRead)),
    ("set_billing", May::Fan),
    ("list_documents", FanOrPromoter(OrdersRead)),
    ("print_document", FanOrPromoter(OrdersRead)),
    ("list_festival_documents", Of(OrdersRead)),
    ("show_invoicing", Of(OrdersRead)),
    ("set_invoicing", Of(MoneyWrite)),
    ("show_settlement", Of(OrdersRead)),
    ("export_settlement", Of(OrdersRead)),
    ("export_settlement_book", Of(OrdersRead)),
    ("show_pack", Device),
    ("show_turn", Anyone),
    ("show_waiting_room", Public),
    ("take_place", Anyone),
    ("show_ticket", FanOrPromoter(OrdersRead)),
    ("show_ticket_png", May::Fan),
    ("show_ticket_svg", May::Fan),
    ("sign_in_on_device", Device),
    ("sign_out_on_device", Device),
    ("unbind_ticket", May::Supervisor),
    ("set_ticket_note", Of(TicketsWrite)),
    ("void_ticket", Of(TicketsWrite)),
];

/// Operations on the offer that has a waiting room.
const WAITING: [&str; 6] = ["end_waiting_room", "extend_turn", "open_waiting_room", "show_turn", "show_waiting_room", "take_place"];

fn may(operation: &str) -> Option<May> {
    TABLE.iter().find(|(id, _)| *id == operation).map(|(_, may)| *may)
}

/// The scope that a promoter needs.
fn scope(may: May) -> Option<Scope> {
    match may {
        PublicOrOwn(scope) | Of(scope) | Self_(scope) | WholeSelf(scope) | Music(scope) | FanOrPromoter(scope) => Some(scope),
        Anyone | Public | Device | May::Supervisor | May::Recipient | May::Fan => None,
    }
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Caller {
    Nobody,
    Fan,
    OtherFan,
    OwnDevice,
    OtherDevice,
    EveryScope,
    OtherPromoter,
    EveryScopeButTheNeeded,
    Revoked,
    Expired,
    OtherFestival,
}

const CALLERS: [Caller; 11] = [
    Caller::Nobody,
    Caller::Fan,
    Caller::OtherFan,
    Caller::OwnDevice,
    Caller::OtherDevice,
    Caller::EveryScope,
    Caller::OtherPromoter,
    Caller::EveryScopeButTheNeeded,
    Caller::Revoked,
    Caller::Expired,
    Caller::OtherFestival,
];

fn is_allowed(may: May, caller: Caller) -> bool {
    use Caller::{EveryScope, EveryScopeButTheNeeded, Nobody, OtherDevice, OtherFestival, OtherPromoter, OwnDevice};
    match may {
        Anyone => true,
        Public => matches!(caller, Nobody | EveryScope | EveryScopeButTheNeeded | OtherPromoter | OtherFestival),
        PublicOrOwn(_) => matches!(caller, Nobody | EveryScope | OtherPromoter | OtherFestival),
        May::Fan => caller == Caller::Fan,
        Device => matches!(caller, OwnDevice | OtherDevice),
        May::Supervisor | May::Recipient => false,
        Of(_) => caller == EveryScope,
        Self_(_) => matches!(caller, EveryScope | OtherPromoter | OtherFestival),
        WholeSelf(_) => matches!(caller, EveryScope | OtherPromoter),
        Music(_) => matches!(caller, EveryScope | OtherFestival),
        FanOrPromoter(_) => matches!(caller, Caller::Fan | EveryScope),
    }
}

/// Two promoters with festivals, orders, devices, tokens of every kind.
struct World {
    house: House,
    festival: Festival,
    draft: i64,
    offer: String,
    stock: String,
    pass: String,
    fan: Fan,
    other_fan: Fan,
    ticket: String,
    code: String,
    payment: String,
    refund: String,
    account: String,
    /// A ticket that is on its way, and its transfer.
    sent: String,
    transfer: String,
    hand_back: String,
    difference: String,
    _stripe: Stripe,
    /// An offer with a waiting room that is on, and a place in it.
    waited: String,
    place: String,
    voucher: String,
    voucher_batch: String,
    document: String,
    upload: String,
    release: String,
    zone: String,
    hold: String,
    clearing: String,
    device: String,
    spare_device: String,
    discrepancy: String,
    card: String,
    shift: String,
    other_shift: String,
    other_device: String,
    other: Promoter,
    revoked: String,
    expired: String,
    other_festival: String,
    /// A token for each scope: it has all but this one.
    without: Vec<(Scope, String)>,
    picture: Vec<u8>,
}

fn festival_terms(slug: &str) -> Value {
    json!({
        "slug": slug, "kind": "festival", "name": { "en": "Salt Weekender" }, "lead": { "en": "Two nights by the sea." }, "place": { "en": "Quay 3" },
        "currency": "EUR", "time_zone": "Europe/Amsterdam", "spot": "#ffd21f", "language": "en"
    })
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}")).to_owned()
}

fn invoicing() -> Value {
    json!({ "mode": "on_request", "prefix": "NF26", "seller": { "name": "Night Ferry Foundation", "address": "Pier 9" } })
}

/// Money alone: the ticket stays.
fn a_cent() -> Value {
    json!({ "reason": "goodwill", "note": "a cent", "parts": [{ "line_no": 1, "amount": { "minor": 1, "currency": "EUR" } }] })
}

fn a_picture() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(64, 64).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

impl World {
    async fn open() -> Self {
        let stripe = Stripe::open(opening()).await;
        let house = House::with_stripe(&stripe.url).await;
        let promoter = house.promoter("Night Ferry Foundation").await;
        let festival = promoter.festival("night-ferry").await;
        let sister = promoter.make("/v1/festivals", festival_terms("salt-weekender")).await["festival_id"].as_i64().unwrap();
        let draft = promoter.make("/v1/festivals", festival_terms("a-draft")).await["festival_id"].as_i64().unwrap();
        let other = house.promoter("Brine Collective").await;
        let elsewhere = other.festival("brine").await;

        let pass = festival.pass("Weekend pass", 0b111).await;
        let offer = festival.offer(&pass, 100, 13900).await;
        let stock = text(&festival.promoter.get(&festival.path("/offers")).await.expect(200)["items"][0], "stock_id");
        let fan = house.anybody().order("mara@lindqvist.example", &[(&offer, 2)]).await;
        let payment = text(&fan.pay(&key(), "simulated_instant").await.expect(201), "payment_id");
        let other_fan = house.anybody().order("jonas@x.example", &[(&offer, 1)]).await;
        other_fan.pay(&key(), "simulated_instant").await.expect(201);
        promoter.send("PUT", &festival.path("/invoicing"), &invoicing()).await.expect(200);
        answer(fan.request("PUT", "/billing").json(&json!({ "name": "Mara" }))).await.expect(200);
        gatefold::documents::issue_due(&house.app).await.unwrap();
        let document = text(&fan.get("/documents").await.expect(200)["items"][0], "document_id");
        let ticket = fan.tickets().await.remove(0);
        let pooled = fan.request("POST", "/hand-backs").json(&json!({ "ticket_ids": [ticket["ticket_id"]] }));
        let hand_back = text(&answer(pooled).await.expect(200)["items"][0], "hand_back_id");
        let asks = json!({ "kind": "moved", "message": { "en": "It moves." }, "may_refund": true, "default_choice": "keep", "deadline_at": house.app.clock.now() + chrono::TimeDelta::days(3) });
        promoter.send("POST", &festival.path("/option-rounds"), &asks).await.expect(201);
        let sent = text(&fan.tickets().await[1], "ticket_id");
        let transfer = house.anybody().request("POST", &format!("/v1/tickets/{sent}/transfers")).bearer_auth(format!("gf_order_{}", fan.secret));
        let transfer = text(&answer(transfer.json(&json!({ "email": "noor@x.example" }))).await.expect(201), "transfer_id");
        let account = text(&connect(&promoter, KEY).await.expect(200), "account_id");
        promoter.send("POST", &format!("/v1/payment-accounts/{account}/webhook-secrets"), &json!({ "secret": SECRET })).await.expect(200);
        let refund = text(&crate::refunds::refund(&promoter, &other_fan.order, &key(), &a_cent()).await.expect(201), "refund_id");

        let picture = a_picture();
        let upload = promoter.make("/v1/uploads", json!({ "purpose": "picture", "bytes": picture.len() })).await;
        let release = promoter
            .make(
                "/v1/releases",
                json!({ "terms": { "title": "Low Tide", "artist": "Hull", "kind": "album", "language": "en", "about": { "en": "Live." } }, "recording_ids": [] }),
            )
            .await;

        let waited = festival.offer(&pass, 100, 13900).await;
        let room = json!({ "gathers_at": house.app.clock.now() });
        promoter.send("PUT", &format!("/v1/offers/{waited}/waiting-room"), &room).await.expect(200);
        let place = text(&house.anybody().post(&format!("/v1/offers/{waited}/places"), &json!({})).await.expect(201), "place");

        let voucher = promoter.make(&festival.path("/vouchers"), json!({ "code": "FERRY20", "terms": {}, "percent_off": 20 })).await;
        let voucher = text(&voucher, "voucher_id");
        let batch = json!({ "size": 2, "terms": {}, "percent_off": 20 });
        let batch = answer(promoter.request("POST", &festival.path("/voucher-batches")).header("idempotency-key", key()).json(&batch)).await.expect(201);
        let card = text(&promoter.make(&festival.path("/supervisor-cards"), json!({ "name": "Jo", "day_index": 2 })).await, "card_number");
        let (shift, other_shift) = (supervisors::shift(&house, &festival).await, supervisors::shift(&house, &elsewhere).await);

        // A device without network let somebody in by a code of nobody.
        let spare = festival.device().await;
        let blunder = json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": "x", "scanned_at": house.app.clock.now(), "verdict": "admitted" });
        spare.report(house.app.clock.now(), &[blunder]).await.expect(200);
        let ledger = promoter.get(&festival.path("/discrepancies")).await.expect(200);
        let discrepancy = text(&ledger["items"][0], "discrepancy_id");

        let zone = text(&promoter.make(&festival.path("/zones"), json!({ "name": { "en": "Dock" } })).await, "zone_id");
        let hold = text(&promoter.make(&festival.path("/gate-holds"), json!({ "zone_id": zone })).await, "hold_id");
        let tomorrow = house.app.clock.now() + chrono::TimeDelta::days(1);
        let clearing = text(&promoter.make(&festival.path("/clearings"), json!({ "zone_id": zone, "clears_at": tomorrow })).await, "clearing_id");

        let mut conn = house.database().await;
        let now = house.app.clock.now();
        let difference: uuid::Uuid = sqlx::query_scalar(
            "insert into differences (festival_id, difference_id, account_id, day, kind, provider_ref, payment_id, currency, ours_minor, theirs_minor, found_at) \
             select p.festival_id, overlay(gen_random_uuid()::text placing right(p.payment_id::text, 8) from 29)::uuid, a.account_id, current_date, 'payment_only_here', \
                    'cs_x', p.payment_id, p.currency, p.amount_minor, 0, p.created_at from payments p, payment_accounts a where p.payment_id = $1 returning difference_id",
        )
        .bind(payment.parse::<uuid::Uuid>().unwrap())
        .fetch_one(&mut conn)
        .await
        .unwrap();
        let difference = difference.to_string();
        let owner: PromoterId = sqlx::query_scalar("select promoter_id from festivals where festival_id = $1")
            .bind(i32::try_from(festival.id).unwrap())
            .fetch_one(&mut conn)
            .await
            .unwrap();
        let mut without = Vec::new();
        for scope in Scope::ALL {
            let rest: Vec<Scope> = Scope::ALL.into_iter().filter(|s| *s != scope).collect();
            without.push((scope, accounts::new_token(&mut conn, owner, None, "all but one", &rest, now).await.unwrap()));
        }
        let revoked = accounts::new_token(&mut conn, owner, None, "revoked", &Scope::ALL, now).await.unwrap();
        sqlx::query("update tokens set revoked_at = $1 where name = 'revoked'").bind(now).execute(&mut conn).await.unwrap();
        let expired = accounts::new_token(&mut conn, owner, None, "expired", &Scope::ALL, now).await.unwrap();
        sqlx::query("update tokens set expires_at = $1 where name = 'expired'").bind(now).execute(&mut conn).await.unwrap();
        let sister = FestivalId(i32::try_from(sister).unwrap());
        let other_festival = accounts::new_token(&mut conn, owner, Some(sister), "of a sister festival", &Scope::ALL, now).await.unwrap();

        Self {
            device: festival.device().await.token,
            spare_device: spare.id,
            discrepancy,
            other_device: elsewhere.device().await.token,
            ticket: text(&ticket, "ticket_id"),
            code: text(&ticket, "ticket_code"),
            card,
            shift,
            other_shift,
            zone,
            hold,
            clearing,
            upload: text(&upload, "upload_id"),
            release: text(&release, "release_id"),
            house,
            festival,
            draft,
            offer,
            stock,
            pass,
            fan,
            other_fan,
            payment,
            refund,
            account,
            sent,
            transfer,
            hand_back,
            difference,
            _stripe: stripe,
            waited,
            place,
            voucher,
            voucher_batch: text(&batch, "batch_id"),
            document,
            other,
            revoked,
            expired,
            other_festival,
            without,
            picture,
        }
    }

    fn token(&self, caller: Caller, needed: Option<Scope>) -> Option<String> {
        Some(match caller {
            Caller::Nobody => return None,
            Caller::Fan => format!("gf_order_{}", self.fan.secret),
            Caller::OtherFan => format!("gf_order_{}", self.other_fan.secret),
            Caller::OwnDevice => self.device.clone(),
            Caller::OtherDevice => self.other_device.clone(),
            Caller::EveryScope => self.festival.promoter.token.clone(),
            Caller::OtherPromoter => self.other.token.clone(),
            Caller::EveryScopeButTheNeeded => self.without(needed.unwrap_or(CatalogRead)),
            Caller::Revoked => self.revoked.clone(),
            Caller::Expired => self.expired.clone(),
            Caller::OtherFestival => self.other_festival.clone(),
        })
    }

    fn without(&self, scope: Scope) -> String {
        self.without.iter().find(|(s, _)| *s == scope).unwrap().1.clone()
    }

    /// A path with the ids of the festival, or with ids that nothing has.
    fn path(&self, operation: &str, path: &str, missing: bool) -> String {
        let real = |id: &str| if missing { nothing_like(id) } else { id.to_owned() };
        let festival = if missing { "2000000000".to_owned() } else { self.festival.id.to_string() };
        let filled = [
            ("{festival_id}", festival),
            ("{device_id}", real(&self.spare_device)),
            ("{discrepancy_id}", real(&self.discrepancy)),
            ("{offer_id}", real(if WAITING.contains(&operation) { &self.waited } else { &self.offer })),
            ("{order_id}", real(&self.fan.order)),
            ("{ticket_id}", real(if matches!(operation, "send_ticket" | "list_transfers") { &self.sent } else { &self.ticket })),
            ("{transfer_id}", real(&self.transfer)),
            ("{payment_id}", real(&self.payment)),
            ("{difference_id}", real(&self.difference)),
            ("{refund_id}", real(&self.refund)),
            ("{account_id}", real(&self.account)),
            ("{secret_no}", "1".to_owned()),
            ("{stock_id}", real(&self.stock)),
            ("{voucher_id}", real(&self.voucher)),
            ("{batch_id}", real(&self.voucher_batch)),
            ("{document_id}", real(&self.document)),
            ("{wait_id}", real(&self.transfer)),
            ("{hand_back_id}", real(&self.hand_back)),
            ("{round_no}", "1".to_owned()),
            ("{method}", "on_site".to_owned()),
            ("{upload_id}", real(&self.upload)),
            ("{gate_id}", real(&self.festival.gate)),
            ("{pass_id}", real(&self.pass)),
            ("{zone_id}", real(&self.zone)),
            ("{hold_id}", real(&self.hold)),
            ("{clearing_id}", real(&self.clearing)),
            ("{release_id}", real(&self.release)),
            ("{provider}", if operation == "notify_payment_account" { "stripe" } else { "simulated" }.to_owned()),
            ("{day_index}", "0".to_owned()),
            ("{tier_no}", "1".to_owned()),
            ("{part_no}", "1".to_owned()),
            ("{key_id}", "1".to_owned()),
            ("{pairing_no}", "1".to_owned()),
            ("{color}", "ffd21f".to_owned()),
            ("{card_number}", if missing { "0".repeat(16) } else { self.card.clone() }),
        ];
        let path = filled.iter().fold(path.to_owned(), |path, (name, id)| path.replace(name, id));
        assert!(!path.contains('{'), "a new parameter in {path}");
        path
    }

    /// A request of an operation that would be taken from whoever may make it.
    async fn request(&self, operation: &str, token: Option<&str>, missing: bool) -> Answer {
        let document = api::document();
        let (method, path) = api::operations(&document)[operation].clone();
        let mut request = self.house.anybody().request(&method, &self.path(operation, &path, missing)).header("idempotency-key", key());
        request = request.header("waiting-place", &self.place);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let fresh = uuid::Uuid::new_v4();
        let body = match operation {
            "set_poster" | "set_cover" | "put_part" => {
                return answer(request.header("content-type", "application/octet-stream").body(self.picture.clone())).await;
            }
            "notify_payment" => {
                let body = json!({ "event_id": "evt_1", "payment_id": self.payment, "status": "succeeded" }).to_string();
                let signature = simulated::sign(&self.house.app, body.as_bytes());
                return answer(request.header("content-type", "application/octet-stream").header("gatefold-signature", signature).body(body)).await;
            }
            "notify_payment_account" => {
                let body = json!({ "id": "evt_1", "type": "customer.created", "data": { "object": {} } }).to_string();
                let signature = sign(SECRET, self.house.app.clock.now(), &body);
                return answer(request.header("content-type", "application/octet-stream").header("stripe-signature", signature).body(body)).await;
            }
            "open_waiting_room" => Some(json!({ "gathers_at": self.house.app.clock.now() })),
            "cancel_order"
            | "decline_transfer"
            | "cancel_payment"
            | "recall_transfer"
            | "disconnect_payment_account"
            | "remove_webhook_secret"
            | "return_twin"
            | "end_refund_rule"
            | "recall_ticket"
            | "publish_festival"
            | "revoke_device"
            | "complete_upload"
            | "end_waiting_room"
            | "take_place"
            | "extend_turn"
            | "resume_festival"
            | "thaw_festival"
            | "end_gate_hold"
            | "call_clearing_off"
            | "go_by_list"
            | "go_by_signature"
            | "rotate_signing_key"
            | "revoke_signing_key"
            | "reissue_signing_key"
            | "sign_out_on_device"
            | "revoke_pairing"
            | "revoke_supervisor_card"
            | "end_booking_fee"
            | "forget_voucher_addresses"
            | "remove_offline_method"
            | "leave_waiting_list"
            | "withdraw_hand_back"
            | "call_option_round_off"
            | "unbind_ticket" => None,
            "exchange_ticket" => Some(json!({ "exchange_id": uuid::Uuid::now_v7(), "ticket_code": self.code })),
            "refund_order" | "quote_refund" => Some(a_cent()),
            "set_refund_rule" => Some(json!({ "hours_before": 24, "kept_ppm": 100_000 })),
            "return_tickets" | "hand_back_tickets" => Some(json!({ "ticket_ids": [self.ticket] })),
            "decide_refund" => Some(json!({ "decision": "again" })),
            "decide_help_desk_case" => Some(json!({ "outcome": "solved" })),
            "set_ticket_note" => Some(json!({ "note": "wheelchair" })),
            "end_band" => Some(json!({ "why": "lost" })),
            "set_band_stock" => Some(json!({ "delivered": 5 })),
            "bind_ticket" => Some(json!({ "public_key": format!("{}=", "A".repeat(43)), "proof": format!("{}==", "A".repeat(86)) })),
            "issue_supervisor_card" => Some(json!({ "name": "Jo", "day_index": 0 })),
            "search_tickets" => Some(json!({ "text": "mara" })),
            "sign_in_on_device" => Some(json!({ "shift_code": if token == Some(&self.other_device) { &self.other_shift } else { &self.shift } })),
            "delay_opening" => Some(json!({ "opens_at": self.house.app.clock.now(), "minutes": 5 })),
            "extend_holds" => Some(json!({ "minutes": 5 })),
            "freeze_festival" => Some(json!({ "until": self.house.app.clock.now() + chrono::TimeDelta::hours(1) })),
            "pause_festival" => Some(json!({ "sentence": { "en": "Back in a minute." } })),
            "change_festival" | "change_offer" | "change_pass" | "change_gate" | "change_zone" | "create_set" | "hold_gates" | "clear_site"
            | "rescind_order" => Some(json!({})),
            "change_tier" => Some(json!({ "name": { "en": "Now" }, "price": { "minor": 13900, "currency": "EUR" } })),
            "create_act" => Some(json!({ "name": format!("Act {fresh}") })),
            "create_add_on" => Some(json!({ "name": { "en": "Parking" } })),
            "create_device" => {
                let pairing = self.festival.promoter.make(&self.festival.path("/pairings"), json!({ "gate_id": self.festival.gate })).await;
                Some(json!({ "pairing_code": pairing["pairing_code"], "name": "lane 1" }))
            }
            "claim_ticket" => Some(json!({ "name": "Mara Lindqvist" })),
            "create_festival" => Some(festival_terms(&format!("f-{fresh}"))),
            "clear_payment_difference" => Some(json!({ "note": "looked at" })),
            "accept_transfer" => Some(json!({ "name": "Noor" })),
            "send_ticket" => Some(json!({ "email": "noor@x.example" })),
            "set_transfer_rule" | "set_hand_back_rule" => Some(json!({ "open": true, "hours_before": 24 })),
            "connect_stripe" => Some(json!({ "key": KEY, "methods": ["card"] })),
            "add_webhook_secret" => Some(json!({ "secret": SECRET })),
            "create_gate" => Some(json!({ "name": { "en": "South Quay" } })),
            "create_offer" => Some(json!({
                "terms": { "name": { "en": "Weekend pass" } }, "capacity": 10,
                "tiers": [{ "name": { "en": "Now" }, "price": { "minor": 100, "currency": "EUR" } }],
                "components": [{ "pass_id": self.pass, "weight": 1, "tax_kind": "fixed", "tax_ppm": 90000 }]
            })),
            "create_pairing" => Some(json!({ "gate_id": self.festival.gate })),
            "create_pass" => Some(json!({ "name": { "en": "Day" }, "color": "#ffd21f", "color_name": { "en": "yellow" }, "day_mask": 1, "reentry": "never" })),
            "create_recording" => Some(json!({ "upload_id": self.upload, "title": "Low Tide", "artist": "Hull" })),
            "create_release" => {
                Some(json!({ "terms": { "title": "x", "artist": "y", "kind": "album", "language": "en", "about": { "en": "z" } }, "recording_ids": [] }))
            }
            "create_scan" => Some(json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": self.code, "scanned_at": self.house.app.clock.now() })),
            "report_head_counts" => {
                Some(json!({ "counts": [{ "count_id": uuid::Uuid::now_v7(), "kind": "entry", "people": 1, "counted_at": self.house.app.clock.now() }] }))
            }
            "report_scans" => {
                let scan = json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": self.code, "scanned_at": self.house.app.clock.now(), "verdict": "refused", "reason": "unknown" });
                Some(json!({ "sent_at": self.house.app.clock.now(), "scans": [scan] }))
            }
            "look_up_code" => Some(json!({ "short_code": "ABCDE FGHJK" })),
            "say_alive" => Some(json!({ "waiting": 3, "battery": 80 })),
            "decide_discrepancy" => Some(json!({ "decision": "explained" })),
            "reissue_ticket" | "void_ticket" => Some(json!({ "note": "lost phone" })),
            "create_stage" => Some(json!({ "name": { "en": "Crane" } })),
            "create_stock" => Some(json!({ "name": "beds", "capacity": 10 })),
            "create_upload" => Some(json!({ "purpose": "audio", "bytes": 10 })),
            "create_voucher" => Some(json!({ "code": fresh, "terms": {}, "percent_off": 5 })),
            "set_invoicing" => Some(invoicing()),
            "set_billing" => Some(json!({ "name": "Mara" })),
            "set_booking_fee" => Some(json!({ "ppm": 50_000, "borne_by": "buyer", "is_kept": false })),
            "change_voucher" | "change_voucher_batch" => Some(json!({ "max_uses": 3 })),
            "set_voucher_addresses" => Some(json!({ "addresses": ["mara@x.example"] })),
            "create_voucher_batch" => Some(json!({ "size": 2, "terms": {}, "percent_off": 5 })),
            "create_zone" => Some(json!({ "name": { "en": "Dock" } })),
            "import_lineup" => Some(json!([{ "act": "Hull", "stage": "Crane", "start": "2026-06-19T22:15:00", "end": "2026-06-19T23:00:00" }])),
            "pay_order" => Some(json!({ "way": "simulated_instant" })),
            "place_order" => Some(json!({ "email": "mara@lindqvist.example", "lines": [{ "offer_id": self.offer, "quantity": 1 }] })),
            "resize_stock" => Some(json!({ "capacity": 100 })),
            "set_day" => Some(json!({ "name": { "en": "Friday" }, "opens_at": "2026-06-19T12:00:00Z", "closes_at": "2026-06-20T03:00:00Z" })),
            "choose_option" => Some(json!({ "choice": "keep" })),
            "open_option_round" => Some(
                json!({ "kind": "postponed", "message": { "en": "Later." }, "may_refund": true, "default_choice": "keep", "deadline_at": self.house.app.clock.now() + chrono::TimeDelta::days(3) }),
            ),
            "join_waiting_list" => Some(json!({ "email": "noor@x.example", "quantity": 1 })),
            "set_waiting_list" => Some(json!({ "open": true, "invitation_hours": 24 })),
            "set_offline_method" => Some(json!({ "days": 7, "hours_before": 0, "instructions": { "en": "at the quay" } })),
            "agree_to_pay" => Some(json!({ "method": "on_site" })),
            "collect_payment" => Some(json!({ "method": "card_terminal", "amount": { "minor": 1, "currency": "EUR" } })),
            "set_box_office" => Some(json!({ "country": "NL", "open": true })),
            "sell_at_door" => Some(json!({ "lines": [{ "offer_id": self.offer, "quantity": 1 }], "method": "card_terminal" })),
            _ if method == "GET" => None,
            _ => panic!("{operation} has no request in this test"),
        };
        answer(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }
}

/// An id of the same festival and moment that nothing has.
fn nothing_like(id: &str) -> String {
    let mut bytes = *id.parse::<uuid::Uuid>().unwrap().as_bytes();
    bytes[10] ^= 0xff;
    uuid::Uuid::from_bytes(bytes).to_string()
}

fn operations() -> BTreeSet<String> {
    api::operations(&api::document()).into_keys().collect()
}

#[test]
fn every_operation_has_a_line_that_says_who_may_call_it() {
    let named: BTreeSet<String> = TABLE.iter().map(|(id, _)| (*id).to_owned()).collect();
    assert_eq!(named.len(), TABLE.len(), "an operation has two lines");
    assert_eq!(named, operations());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_may_call_an_operation_are_answered() {
    let world = World::open().await;
    let mut breaches = Vec::new();
    for operation in operations() {
        let may = may(&operation).unwrap();
        for caller in CALLERS {
            if caller == Caller::EveryScopeButTheNeeded && scope(may).is_none() && may != Public {
                continue;
            }
            let token = world.token(caller, scope(may));
            let answer = world.request(&operation, token.as_deref(), false).await;
            let denied = matches!(answer.status, 401 | 403 | 404);
            let missing_scope = caller == Caller::EveryScopeButTheNeeded && scope(may).is_some();
            let dead = matches!(caller, Caller::Revoked | Caller::Expired) && may != Anyone;
            let fits = match is_allowed(may, caller) {
                true => !matches!(answer.status, 401 | 403) && answer.status < 500,
                false if missing_scope => answer.status == 403,
                false if dead => answer.status == 401,
                false => denied,
            };
            // Whoever may make the request has to get through to what it is for; a state of the order may still refuse it.
            let arrives = !is_allowed(may, caller) || answer.status != 404;
            if !fits || !arrives {
                breaches.push(format!("{operation} by {caller:?}: {} {}", answer.status, answer.body));
            }
            if operation == "create_scan" && caller == Caller::OtherDevice && answer.body["verdict"] != "refused" {
                breaches.push(format!("a device of another festival: {}", answer.body));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_foreign_answers_as_what_is_missing() {
    let world = World::open().await;
    let document = api::document();
    let mut compared = 0;
    let mut breaches = Vec::new();
    for (operation, (_, path)) in api::operations(&document) {
        let may = may(&operation).unwrap();
        let callers = [Caller::OtherFan, Caller::OtherPromoter, Caller::OtherFestival, Caller::EveryScopeButTheNeeded, Caller::OwnDevice];
        for caller in callers.into_iter().filter(|caller| path.contains("_id}") && may != Public && !is_allowed(may, *caller)) {
            let token = world.token(caller, scope(may));
            let mut foreign = world.request(&operation, token.as_deref(), false).await;
            let mut missing = world.request(&operation, token.as_deref(), true).await;
            for answer in [&mut foreign, &mut missing] {
                answer.body.as_object_mut().unwrap_or_else(|| panic!("{operation} by {caller:?}")).remove("request_id");
            }
            compared += 1;
            if (foreign.status, &foreign.body) != (missing.status, &missing.body) {
                breaches.push(format!("{operation} by {caller:?}: foreign {} {}, missing {} {}", foreign.status, foreign.body, missing.status, missing.body));
            }
        }
    }
    assert!(compared > 100, "{compared}");
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_in_a_body_that_is_foreign_answers_as_one_that_is_missing() {
    let world = World::open().await;
    let theirs = world.other.festival("brine-2").await;
    let path = |below: &str| theirs.path(below);
    let component = |id: &str, member: &str| {
        json!({
            "terms": { "name": { "en": "x" } }, "capacity": 1, "tiers": [{ "name": { "en": "Now" }, "price": { "minor": 100, "currency": "EUR" } }],
            "components": [{ member: id, "weight": 1, "tax_kind": "fixed", "tax_ppm": 0 }]
        })
    };
    let zone = text(&world.festival.promoter.make(&world.festival.path("/zones"), json!({ "name": { "en": "Dock" } })).await, "zone_id");
    let stage = text(&world.festival.promoter.make(&world.festival.path("/stages"), json!({ "name": { "en": "Crane" } })).await, "stage_id");
    let act = text(&world.festival.promoter.make(&world.festival.path("/acts"), json!({ "name": "Hull" })).await, "act_id");
    let cases: Vec<(String, &str, Body)> = vec![
        ("/v1/recordings".to_owned(), &world.upload, Box::new(|id| json!({ "upload_id": id, "title": "x", "artist": "y" }))),
        (path("/pairings"), &world.festival.gate, Box::new(|id| json!({ "gate_id": id }))),
        (path("/gates"), &zone, Box::new(|id| json!({ "name": { "en": "x" }, "zone_id": id }))),
        (path("/stages"), &zone, Box::new(|id| json!({ "name": { "en": "x" }, "zone_id": id }))),
        (path("/sets"), &act, Box::new(|id| json!({ "act_id": id }))),
        (path("/sets"), &stage, Box::new(|id| json!({ "stage_id": id }))),
        (path("/offers"), &world.pass, Box::new(|id| component(id, "pass_id"))),
        (path("/offers"), &world.release, Box::new(|id| component(id, "release_id"))),
    ];
    for (path, id, body) in cases {
        let mut answers = Vec::new();
        for id in [id.to_owned(), nothing_like(id)] {
            let mut answer = world.other.send("POST", &path, &body(&id)).await;
            assert!((400..500).contains(&answer.status), "{path} took {}: {}", body(&id), answer.body);
            answer.body.as_object_mut().unwrap().remove("request_id");
            answers.push((answer.status, answer.body));
        }
        assert_eq!(answers[0], answers[1], "{path} {}", body(id));
    }
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_seen_by_its_promoter_alone() {
    let world = World::open().await;
    let draft = Festival { id: world.draft, ..world.festival.clone() };
    let offer = draft.offer(&draft.pass("Weekend pass", 0).await, 10, 13900).await;
    let room = json!({ "gathers_at": world.house.app.clock.now() });
    draft.promoter.send("PUT", &format!("/v1/offers/{offer}/waiting-room"), &room).await.expect(200);
    let document = api::document();
    let mut breaches = Vec::new();
    for (operation, (_, path)) in api::operations(&document) {
        if may(&operation) != Some(Public) {
            continue;
        }
        let path = path.replace("{festival_id}", &world.draft.to_string()).replace("{offer_id}", &offer);
        let missing = path.replace(&format!("/{}", world.draft), "/2000000000").replace(&offer, &nothing_like(&offer));
        for (caller, scope) in [
            (Caller::Nobody, None),
            (Caller::EveryScope, None),
            (Caller::OtherPromoter, None),
            (Caller::OtherFestival, None),
            (Caller::EveryScopeButTheNeeded, Some(CatalogRead)),
        ] {
            let token = world.token(caller, scope);
            let ask = async |path: &str| {
                let request = world.house.anybody().request("GET", path);
                let mut answer = answer(match &token {
                    Some(token) => request.bearer_auth(token),
                    None => request,
                })
                .await;
                answer.body.as_object_mut().unwrap().remove("request_id");
                (answer.status, answer.body)
            };
            let found = ask(&path).await;
            let fits = match caller {
                Caller::EveryScope => found.0 == 200,
                Caller::EveryScopeButTheNeeded => matches!(found.0, 403 | 404),
                _ => found.0 == 404 && found == ask(&missing).await,
            };
            if !fits {
                breaches.push(format!("{operation} by {caller:?}: {} {}", found.0, found.1));
            }
        }
    }
    let listed = world.house.anybody().get("/v1/festivals").await.expect(200);
    assert!(listed["items"].as_array().unwrap().iter().all(|f| f["festival_id"] != world.draft), "a draft is listed");
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
    world.house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_without_a_token_learn_nothing_about_the_schema() {
    let world = World::open().await;
    let document = api::document();
    let mut asked = 0;
    for (operation, (method, path)) in api::operations(&document) {
        let may = may(&operation).unwrap();
        if method == "GET" || may == Anyone {
            continue;
        }
        asked += 1;
        let nonsense = path.split('/').map(|part| if part.starts_with('{') { "nonsense" } else { part }).collect::<Vec<_>>().join("/");
        for (path, body) in [(world.path("", &path, false), "{\"x\": 1}"), (world.path("", &path, false), "{"), (nonsense, "[]")] {
            for token in [None, Some("nonsense"), Some(world.revoked.as_str())] {
                let mut request = world.house.anybody().request(&method, &path).header("content-type", "application/json").body(body);
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                let answer = answer(request).await;
                assert_eq!((answer.status, answer.problem()), (401, "unauthorized"), "{operation} {path} {body}: {}", answer.body);
                assert!(answer.body.get("errors").is_none_or(|errors| errors.as_array().is_some_and(Vec::is_empty)), "{operation}: {}", answer.body);
            }
        }
    }
    assert!(asked > 25, "{asked}");
    world.house.close().await;
}
