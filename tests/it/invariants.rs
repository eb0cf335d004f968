//! Every invariant finds the row that breaks it: a world that was made through the public face is broken by the owner, one
//! row at a time, in a transaction that is rolled back.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use gatefold::{
    library::transfer::{self, Recipient},
    payments::{self, Outcome, refunds, simulated::Mood},
    reports::invariants::{self, Finding, INVARIANTS},
    tickets,
};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::{
    actors::{Festival, key},
    bands,
    house::{House, opening},
    releases::bundle,
};

/// What is broken: the invariant that has to find it, and the statements, the last of which changes at least one row. A
/// constraint that would refuse the row is dropped first: the invariant stands behind the constraint.
const BREAKS: &[(&str, &[&str])] = &[
    ("stock-in-bounds", &["alter table stocks drop constraint stocks_never_oversold", "update stocks set sold = capacity + 1 where capacity = 7"]),
    ("stock-in-bounds", &["alter table stocks drop constraint stocks_never_oversold", "update stocks set held = -1 where capacity = 7"]),
    ("stock-in-bounds", &["alter table stocks drop constraint stocks_never_oversold", "update stocks set sold = -1 where capacity = 7"]),
    ("stock-equals-allocations", &["update stocks set held = held + 1 where capacity = 7"]),
    ("stock-equals-allocations", &["update stocks set sold = sold - 1 where capacity = 7"]),
    ("stock-equals-allocations", &["update allocations set quantity = quantity + 1 where order_id in (select order_id from orders where status = 'held')"]),
    ("stock-equals-allocations", &["delete from allocations where order_id in (select order_id from orders where status = 'paid')"]),
    // An order that ended and still holds its stock.
    ("stock-equals-allocations", &["update orders set status = 'expired', ended_at = held_until where status = 'held'"]),
    (
        "tickets-of-paid-orders",
        &[
            "delete from transfers",
            "delete from hand_backs",
            "delete from tickets t where not exists (select from admissions a where a.ticket_id = t.ticket_id) and status = 'valid'",
        ],
    ),
    ("tickets-of-paid-orders", &["update tickets set status = 'void' where unit_no = 1"]),
    (
        "tickets-of-paid-orders",
        &[
            "update orders o set status = 'partly_refunded' where status = 'paid' and exists (select from tickets t where t.order_id = o.order_id)",
            "update lines set shares = '[]' where order_id in (select order_id from orders where status = 'partly_refunded')",
        ],
    ),
    // All money went back and the tickets still open the gate.
    ("tickets-of-paid-orders", &["update orders set status = 'refunded', ended_at = paid_at where status = 'paid'"]),
    ("vouchers-equal-uses", &["update vouchers set used = used + 1"]),
    ("vouchers-equal-uses", &["update orders set voucher_id = null where voucher_id is not null"]),
    ("budgets-equal-discounts", &["update voucher_rules set spent_minor = spent_minor + 1 where budget_minor is not null"]),
    ("journals-balance", &["update journal_entries set minor = minor + 1 where account = 'promoter'"]),
    ("sales-are-booked", &["update journal_entries set account = 'lost' where account = 'fee'"]),
    ("documents-have-no-gaps", &["update invoicing set last_invoice = last_invoice + 1"]),
    ("documents-say-what-was-paid", &["update documents set content = jsonb_set(content, '{rows,0,minor}', '1')"]),
    ("documents-say-what-was-paid", &["update documents set total_minor = total_minor + 1 where kind = 'invoice'"]),
    (
        "documents-say-what-was-paid",
        &["delete from documents where kind = 'invoice' and order_id in (select order_id from documents where kind = 'credit_note')"],
    ),
    ("journals-balance", &["delete from journal_entries where account like 'tax:%'"]),
    (
        "sales-are-booked",
        &["update journal_entries set minor = minor + 1 where account like 'tax:%'", "update journal_entries set minor = minor - 1 where account = 'promoter'"],
    ),
    ("sales-are-booked", &["update journal_entries set account = 'rights:' || gen_random_uuid() where account like 'rights:%'"]),
    ("captures-are-booked", &["update payments set journal_id = null where status = 'captured'"]),
    ("captures-are-booked", &["update payments set journal_id = gen_random_uuid() where status = 'captured'"]),
    ("captures-are-booked", &["update refunds set journal_id = null where status = 'done'"]),
    ("captures-are-booked", &["update journal_entries set minor = minor + 1 where account like 'clearing:%'"]),
    (
        "captures-equal-total",
        &["update payments set amount_minor = amount_minor - 1 where amount_minor > 0 and order_id in (select order_id from orders where status = 'paid')"],
    ),
    ("captures-equal-total", &["update payments set currency = 'CNY' where order_id in (select order_id from orders where status = 'paid')"]),
    ("captures-equal-total", &["update payments set status = 'failed' where order_id in (select order_id from orders where status = 'paid')"]),
    (
        "captures-equal-total",
        &[
            "alter table refunds drop constraint refunds_payment",
            "alter table collections drop constraint collections_payment",
            "delete from payments where order_id in (select order_id from orders where status = 'paid')",
        ],
    ),
    // Charged twice, and nobody gives it back.
    (
        "captures-equal-total",
        &["insert into payments (festival_id, payment_id, order_id, provider, status, currency, amount_minor, key_hash, created_at, decide_by, ended_at) \
             select p.festival_id, gen_random_uuid(), p.order_id, p.provider, p.status, p.currency, p.amount_minor, '\\x00', p.created_at, p.decide_by, p.ended_at \
             from payments p join orders o on o.order_id = p.order_id and o.status = 'paid'"],
    ),
    // Charged twice, and the money that was to go back did not.
    (
        "late-money-goes-back",
        &[
            "insert into payments (festival_id, payment_id, order_id, provider, status, currency, amount_minor, key_hash, created_at, decide_by, ended_at) \
             select p.festival_id, gen_random_uuid(), p.order_id, p.provider, p.status, p.currency, p.amount_minor, '\\x00', p.created_at, p.decide_by, p.ended_at \
             from payments p join orders o on o.order_id = p.order_id and o.status = 'paid'",
            "insert into refunds (festival_id, refund_id, payment_id, order_id, status, currency, amount_minor, reason, requested_at) \
             select festival_id, gen_random_uuid(), payment_id, order_id, 'failed', currency, amount_minor, 'late_money', created_at \
             from payments where key_hash = '\\x00'",
        ],
    ),
    // A part went back, it is said, and all of it is still here.
    ("refunds-add-up", &["update orders set status = 'partly_refunded' where status = 'paid'"]),
    ("refunds-add-up", &["update orders set status = 'paid' where status = 'partly_refunded'"]),
    ("refunds-add-up", &["update orders set status = 'partly_refunded', ended_at = null where status = 'refunded'"]),
    ("refunds-add-up", &["update refunds set kept_minor = kept_minor + 1 where reason <> 'late_money'"]),
    ("refunds-add-up", &["update refund_items set units = units + 5"]),
    ("refunds-add-up", &["update refund_items set line_no = 7"]),
    ("refunds-add-up", &["update lines set returned = quantity where returned = 0"]),
    ("suspended-tickets-have-a-refund", &["update tickets set status = 'valid' where status = 'suspended'"]),
    ("suspended-tickets-have-a-refund", &["update tickets set status = 'suspended' where status = 'valid'"]),
    ("suspended-tickets-have-a-refund", &["update tickets set status = 'valid' where status = 'void'"]),
    ("what-is-owed-is-on-its-way", &["update refunds set status = 'done', ended_at = requested_at where status = 'submitted'"]),
    ("what-is-owed-is-on-its-way", &["delete from journal_entries where account = 'owed' and minor < 0"]),
    ("sales-are-booked", &["delete from journal_entries where account = 'kept'"]),
    ("late-money-goes-back", &["delete from refunds where reason = 'late_money'"]),
    ("late-money-goes-back", &["update refunds set status = 'failed'"]),
    ("late-money-goes-back", &["update refunds set payment_id = (select payment_id from payments where status = 'submitted') where reason = 'late_money'"]),
    ("refunds-within-payment", &["update refunds set amount_minor = amount_minor + 1"]),
    ("shares-add-up", &["update lines set shares = jsonb_set(shares, '{0,minor}', '1')"]),
    ("shares-add-up", &["update lines set quantity = quantity + 1"]),
    ("shares-add-up", &["update orders set total_minor = total_minor + 1"]),
    ("payments-are-counted", &["update orders set payment_count = payment_count + 1 where status = 'held'"]),
    ("holds-end", &["update orders set held_until = held_until - interval '1 hour' where status = 'held'"]),
    ("payments-are-decided", &["update payments set decide_by = decide_by - interval '1 hour' where status = 'submitted'"]),
    ("one-confirmation", &["delete from emails where kind = 'confirmation'"]),
    (
        "one-confirmation",
        &[
            "update emails set thing_id = (select order_id from orders where status = 'expired') where thing_id = (select thing_id from emails where kind = 'confirmation' and status = 'queued' limit 1)",
        ],
    ),
    ("outbox-moves", &["update emails set due_at = due_at - interval '1 hour' where status = 'queued'"]),
    ("outbox-moves", &["update emails set leased_until = due_at + interval '1 hour' where status = 'queued'"]),
    ("fan-limits-hold", &["update offers set max_per_fan = 1 where max_per_fan = 2"]),
    ("fan-limits-hold", &["update orders set email_key = 'one@x.example'"]),
    ("placed-after-opening", &["update offers set opens_at = opens_at + interval '1 year' where opens_at is not null"]),
    ("placed-after-opening", &["update orders set placed_at = placed_at - interval '1 year'"]),
    (
        "one-open-entry",
        &["insert into admissions (festival_id, ticket_id, day_index, entry_no, scan_id, gate_id, entered_at, position) \
             select festival_id, ticket_id, day_index, entry_no + 2, scan_id, gate_id, entered_at, position + 1 from admissions"],
    ),
    // The ledger forgets a surplus.
    ("one-open-entry", &["delete from discrepancies where kind = 'surplus_admission'"]),
    ("surplus-is-in-the-ledger", &["update discrepancies set withdrawn_at = found_at where kind = 'surplus_admission'"]),
    (
        "surplus-is-in-the-ledger",
        &["delete from discrepancies where kind = 'surplus_admission'", "update admissions set left_at = entered_at + interval '1 hour'"],
    ),
    ("overrides-have-names", &["update admissions set because = 'hardship'"]),
    ("bands-are-on-one-wrist", &["update tickets set status = 'valid' where status = 'exchanged'"]),
    ("bands-are-on-one-wrist", &["update bands set generation = generation + 1"]),
    ("bands-are-on-one-wrist", &["update bands set ended_at = given_at, ended_why = 'lost'"]),
    ("bands-are-on-one-wrist", &["update band_stocks set given = given + 1"]),
    ("bands-are-on-one-wrist", &["delete from band_stocks"]),
    ("zones-add-up", &["update zone_counts set inside = inside + 1"]),
    ("zones-add-up", &["update head_counts set people = people + 1"]),
    ("zones-add-up", &["update admissions set left_at = entered_at where gate_id in (select gate_id from gates where zone_id is not null)"]),
    ("reports-are-merged", &["delete from admissions a where exists (select from scan_reports r where r.scan_id = a.scan_id)"]),
    ("reports-are-merged", &["delete from scans s where exists (select from scan_reports r where r.scan_id = s.scan_id)"]),
    ("admissions-have-scans", &["update scan_reports set verdict = 'check'"]),
    ("admissions-have-scans", &["delete from scans where verdict = 'admitted'"]),
    ("admissions-have-scans", &["update scans set verdict = 'check' where verdict = 'admitted'"]),
    (
        "entitlements-of-paid-lines",
        &["update orders set status = 'held', paid_at = null, ended_at = null where order_id in (select order_id from entitlements)"],
    ),
    ("claims-add-up", &["update entitlements set claimed = 1 where copies > 0"]),
    (
        "claims-add-up",
        &[
            "update entitlements set claimed = 1 where copies > 0",
            "insert into claims (festival_id, entitlement_id, ticket_id, claimed_at) select distinct on (e.entitlement_id) e.festival_id, e.entitlement_id, \
             t.ticket_id, t.not_after from entitlements e join tickets t on t.order_id = e.order_id and t.line_no = e.line_no where not exists (select from claims c where c.ticket_id = t.ticket_id) order by e.entitlement_id",
        ],
    ),
    ("no-orphans", &["update lines set offer_id = gen_random_uuid()"]),
    ("no-orphans", &["update allocations set stock_id = gen_random_uuid()"]),
    ("no-orphans", &["update tickets set pass_number = 4242"]),
    ("no-orphans", &["update entitlements set release_id = gen_random_uuid()"]),
    ("suspended-tickets-have-a-refund", &["update hand_backs set status = 'offered', offered_at = asked_at, ended_at = null"]),
    ("lists-ask-for-their-lines", &["update waiting_lists set units = units + 1"]),
    ("lists-ask-for-their-lines", &["update waits set quantity = quantity + 1 where status = 'waiting'"]),
    ("lists-ask-for-their-lines", &["update waits set order_id = wait_id where order_id is not null"]),
    ("receipts-have-no-gaps", &["update box_offices set last_receipt = last_receipt + 1"]),
    ("receipts-have-no-gaps", &["delete from collections where receipt_no is null"]),
    ("transfers-move-tickets", &["update transfers set from_link_generation = 9 where status = 'accepted'"]),
    ("transfers-move-tickets", &["update transfers set from_link_generation = 9 where status = 'sent'"]),
    ("no-orphans", &["update payments set provider = 'stripe'"]),
    ("no-orphans", &["update payments set account_id = gen_random_uuid()"]),
    ("audit-unbroken", &["update audit set actor_id = '' where audit_id = (select audit_id from audit where festival_id > 0 order by audit_id limit 1)"]),
    ("audit-unbroken", &["delete from audit where audit_id = (select audit_id from audit where festival_id > 0 order by audit_id limit 1)"]),
    (
        "audit-unbroken",
        &["insert into audit (festival_id, audit_id, at, actor_kind, actor_id, action, object_kind, object_id) \
             select festival_id, '00000000-0000-8000-8000-000000000001', at, actor_kind, actor_id, action, object_kind, object_id \
             from audit where festival_id > 0 order by audit_id limit 1"],
    ),
    ("audit-unbroken", &["update audit_seals set hash = sha256(hash)"]),
];

/// A festival whose life left a row of every kind: paid, held, expired and unfulfillable orders, an open payment, a refund,
/// an album, a limit, an entry, sealed acts, emails that were sent and one that waits.
pub async fn world(house: &House) -> Festival {
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let rare = festival.offer(&pass, 1, 13900).await;
    let limited = festival
        .offer_of(json!({
            "terms": { "name": { "en": "Weekend pass" }, "opens_at": opening(), "max_per_fan": 2 },
            "capacity": 7,
            "tiers": [{ "name": { "en": "Now" }, "price": { "minor": 13900, "currency": "EUR" } }],
            "components": [{ "pass_id": pass, "weight": 1, "tax_kind": "fixed", "tax_ppm": 90000 }]
        }))
        .await;
    let bundle = bundle(&festival, &pass, 20).await;

    // Late money: the hold ended, somebody else took the last one, and then the bank says that it captured.
    let late = house.anybody().order("late@x.example", &[(&rare, 1)]).await;
    let payment = late.pay(&key(), "simulated").await.expect(201);
    house.advance(TimeDelta::minutes(16));
    house.run_workers().await;
    house.anybody().order("early@x.example", &[(&rare, 1)]).await.pay(&key(), "simulated_instant").await.expect(201);
    payments::decided(&house.app, payment["payment_id"].as_str().unwrap().parse().unwrap(), Outcome::Captured(None), None).await.unwrap();
    assert_eq!(late.status().await, "unfulfillable");

    // An album with two passes, one of which enters.
    let fan = house.anybody().order("mara@x.example", &[(&bundle, 2)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    house.run_workers().await;
    // Handed back, and nobody wanted it in time.
    let hands_back = house.anybody().order("hands@x.example", &[(&bundle, 1)]).await;
    hands_back.pay(&key(), "simulated_instant").await.expect(201);
    let which = json!({ "ticket_ids": [hands_back.tickets().await[0]["ticket_id"]] });
    crate::actors::answer(hands_back.request("POST", "/hand-backs").json(&which)).await.expect(200);
    house.advance("2026-06-19T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
    house.run_workers().await;
    let forgotten = house.anybody().order("forgetful@x.example", &[(&limited, 1)]).await;
    let code = fan.tickets().await[0]["ticket_code"].as_str().unwrap().to_owned();
    let device = festival.device().await;
    assert_eq!(device.scan(&code, house.app.clock.now()).await.expect(201)["verdict"], "admitted");
    // Another gate had no network and let the same ticket in.
    let at = house.app.clock.now() + TimeDelta::minutes(2);
    let second = json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": code, "scanned_at": at, "verdict": "admitted" });
    house.advance(TimeDelta::minutes(3));
    festival.device().await.report(house.app.clock.now(), &[second]).await.expect(200);
    // A ticket that came in through a zone, which is counted.
    let zoned = Festival { gate: festival.gate_into(json!({ "name": { "en": "Dock" }, "capacity": 100 })).await, ..festival.clone() };
    // What gates know of zones is at most a second old.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let visitor = house.anybody().order("visitor@x.example", &[(&bundle, 1)]).await;
    visitor.pay(&key(), "simulated_instant").await.expect(201);
    let code = visitor.tickets().await[0]["ticket_code"].as_str().unwrap().to_owned();
    let at_dock = zoned.device().await;
    assert_eq!(at_dock.scan(&code, house.app.clock.now()).await.expect(201)["verdict"], "admitted");
    crate::counting::counted(&at_dock, "entry", 3, house.app.clock.now()).await;
    // A ticket that became a wristband.
    let worn = house.anybody().order("worn@x.example", &[(&bundle, 1)]).await;
    worn.pay(&key(), "simulated_instant").await.expect(201);
    bands::desk(house, &festival).await.exchange(worn.tickets().await[0]["ticket_code"].as_str().unwrap(), "04A1B2C3D4E5F6").await;
    // What happened so far is old enough to be sealed.
    house.advance(TimeDelta::minutes(11));
    house.run_workers().await;
    assert_eq!(forgotten.status().await, "expired");

    house.anybody().order("jonas@x.example", &[(&limited, 2)]).await.pay(&key(), "simulated_instant").await.expect(201);
    house.anybody().order("held@x.example", &[(&limited, 1)]).await;
    festival.promoter.make(&festival.path("/vouchers"), json!({ "code": "FERRY20", "terms": { "budget_minor": 100_000 }, "percent_off": 20 })).await;
    let lowered = json!({ "email": "cheap@x.example", "lines": [{ "offer_id": limited, "quantity": 1 }], "voucher": "FERRY20" });
    crate::actors::answer(house.anybody().request("POST", "/v1/orders").header("idempotency-key", key()).json(&lowered)).await.expect(201);
    let seller = json!({ "name": "Night Ferry Foundation", "address": "Pier 9" });
    festival.promoter.send("PUT", &festival.path("/invoicing"), &json!({ "mode": "always", "prefix": "NF26", "seller": seller })).await.expect(200);
    // The house takes something from here on.
    let fee = json!({ "fixed_minor": 100, "ppm": 30_000, "borne_by": "buyer", "tax_ppm": 210_000, "is_kept": true });
    festival.promoter.send("PUT", &festival.path("/booking-fee"), &fee).await.expect(200);
    // Returned in part, in whole, and on its way while the bank is silent.
    for (quantity, parts, silent) in [(2, json!([{ "line_no": 1, "units": 1 }]), false), (1, json!([]), false), (1, json!([]), true)] {
        let sorry = house.anybody().order(&format!("sorry{silent}{quantity}@x.example"), &[(&bundle, quantity)]).await;
        sorry.pay(&key(), "simulated_instant").await.expect(201);
        let body = json!({ "reason": "asked", "parts": parts, "kept": { "minor": 300, "currency": "EUR" } });
        house.app.the::<Mood>().fail(silent);
        crate::refunds::refund(&festival.promoter, &sorry.order, &key(), &body).await.expect(201);
        refunds::refund_due(&house.app).await.unwrap();
    }
    house.app.the::<Mood>().fail(false);
    // Passed on, and on its way to somebody else.
    let giver = house.anybody().order("giver@x.example", &[(&bundle, 1)]).await;
    giver.pay(&key(), "simulated_instant").await.expect(201);
    for accepts in [true, false] {
        let ticket = tickets::of_order(&house.app.pools.web, giver.order.parse().unwrap()).await.unwrap().remove(0);
        let to = Recipient { email: "noor@x.example".to_owned(), name: String::new(), language: None };
        let sent = transfer::send(&house.app, &ticket, &to).await.unwrap();
        if accepts {
            transfer::accept(&house.app, sent.transfer_id, "Noor").await.unwrap();
        }
    }
    // Asked what becomes of their order; one chose.
    let asks = json!({ "kind": "moved", "message": { "en": "It moves." }, "may_refund": true, "default_choice": "keep", "deadline_at": house.app.clock.now() + TimeDelta::days(3) });
    festival.promoter.send("POST", &festival.path("/option-rounds"), &asks).await.expect(201);
    let answers = fan.request("POST", "/option-answers").json(&json!({ "choice": "keep" }));
    crate::actors::answer(answers).await.expect(200);
    gatefold::payments::refunds::options::step(&house.app).await.unwrap();
    // Sold at the door, given away, waited for and invited.
    festival.promoter.send("PUT", &festival.path("/box-office"), &json!({ "country": "NL", "open": true })).await.expect(200);
    for (method, reason) in [("cash", ""), ("card_terminal", ""), ("comp", "press")] {
        let body = json!({ "lines": [{ "offer_id": bundle, "quantity": 1 }], "method": method, "reason": reason });
        let sale = festival.promoter.request("POST", &festival.path("/box-office-sales")).header("idempotency-key", key());
        crate::actors::answer(sale.json(&body)).await.expect(201);
    }
    // A shop has no days that could begin: people wait as long as it sells.
    let shop = json!({ "slug": "harbour-shop", "kind": "shop", "name": { "en": "Harbour" }, "lead": { "en": "Records." }, "place": { "en": "Dock 9" },
                       "currency": "EUR", "time_zone": "Europe/Amsterdam", "spot": "#ffd21f", "language": "en" });
    let id = festival.promoter.make("/v1/festivals", shop).await["festival_id"].as_i64().unwrap();
    festival.promoter.send("POST", &format!("/v1/festivals/{id}/publications"), &json!({})).await.expect(200);
    let shop = Festival { id, ..festival.clone() };
    let shirt = festival.promoter.make(&shop.path("/add-ons"), json!({ "name": { "en": "Shirt" } })).await["add_on_id"].clone();
    let last = shop
        .offer_of(json!({
            "terms": { "name": { "en": "Shirt" } }, "capacity": 1, "tiers": [{ "name": { "en": "Now" }, "price": { "minor": 100, "currency": "EUR" } }],
            "components": [{ "add_on_id": shirt, "weight": 1, "tax_kind": "fixed", "tax_ppm": 90000 }]
        }))
        .await;
    let only = house.anybody().order("only@x.example", &[(&last, 1)]).await;
    for email in ["noor@x.example", "ines@x.example"] {
        house.anybody().post(&format!("/v1/offers/{last}/waits"), &json!({ "email": email, "quantity": 1 })).await.expect(200);
    }
    only.cancel().await.expect(200);
    assert_eq!(gatefold::orders::invite_due(&house.app).await.unwrap(), 1);
    let paying = house.anybody().order("paying@x.example", &[(&limited, 1)]).await;
    assert_eq!(paying.pay(&key(), "simulated").await.expect(201)["status"], "submitted");
    crate::actors::answer(paying.request("PUT", "/billing").json(&json!({ "name": "Hull Records" }))).await.expect(200);
    assert!(gatefold::documents::issue_due(&house.app).await.unwrap() > 4, "invoices and credit notes");
    festival
}

async fn breaches(conn: &mut PgConnection, now: DateTime<Utc>) -> Vec<Finding> {
    invariants::check(conn, now).await.unwrap().into_iter().filter(|finding| finding.breaches != 0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_invariant_finds_the_row_that_breaks_it() {
    let broken: BTreeSet<&str> = BREAKS.iter().map(|(name, _)| *name).collect();
    let all: BTreeSet<&str> = INVARIANTS.iter().map(|invariant| invariant.name).chain(["audit-unbroken"]).collect();
    assert_eq!(broken, all, "every invariant has a row that breaks it");

    let house = House::open().await;
    world(&house).await;
    let now = house.app.clock.now();
    let mut conn = house.database().await;
    let found = breaches(&mut conn, now).await;
    assert!(found.is_empty(), "before anything was broken: {found:#?}");
    for (name, statements) in BREAKS {
        let mut tx = conn.begin().await.unwrap();
        let mut changed = 0;
        for statement in *statements {
            changed = sqlx::query(*statement).execute(&mut *tx).await.unwrap_or_else(|error| panic!("{name}: {statement}: {error}")).rows_affected();
        }
        assert!(changed > 0, "{name}: nothing was broken by {statements:?}");
        let found = breaches(&mut tx, now).await;
        assert!(found.iter().any(|finding| finding.name == *name), "{name} did not find {statements:?}, only {found:#?}");
        tx.rollback().await.unwrap();
    }
    let found = breaches(&mut conn, now).await;
    assert!(found.is_empty(), "after everything was rolled back: {found:#?}");
    conn.close().await.unwrap();
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_sets_for_their_session_breaks_no_seal() {
    let house = House::open().await;
    house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    house.advance(TimeDelta::minutes(2));
    house.run_workers().await;
    let mut conn = house.database().await;
    let seals: i64 = sqlx::query_scalar("select count(*) from audit_seals").fetch_one(&mut conn).await.unwrap();
    assert!(seals > 0);
    for setting in ["set timezone = 'Asia/Shanghai'", "set datestyle = 'German'"] {
        sqlx::query(setting).execute(&mut conn).await.unwrap();
        let found = breaches(&mut conn, house.app.clock.now()).await;
        assert!(found.is_empty(), "{setting}: {found:#?}");
    }
    conn.close().await.unwrap();
    house.close().await;
}
