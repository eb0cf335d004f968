//! What happened before today: two months of sales, and the first people through the gates, on a clock of its own.

use chrono::{DateTime, TimeDelta, Utc};

use super::Offers;
use crate::{
    accounts::{self, Device, Staff},
    app::App,
    entry::{self, Asked, ScanKind, merge::Reported},
    id::{FestivalId, GateId, OrderId, ScanId},
    offers,
    orders::{self, Asking, Buyer, PlaceError, Wish},
    payments::{self, Way},
    secrets::Purpose,
    tickets,
    words::Language,
};

const FIRST: [&str; 16] = ["Mara", "Jonas", "Wen", "Noor", "Lin", "Tess", "Omar", "Ada", "Bo", "Ines", "Yara", "Hugo", "Mei", "Sven", "Kofi", "Zoe"];
const LAST: [&str; 12] = ["Lindqvist", "Brandt", "Okafor", "de Wit", "Zhang", "Haddad", "Novak", "Peeters", "Chen", "Costa", "Olsen", "Meyer"];

/// Sells for two months: baskets as they are, most of them paid, some given up.
pub(super) async fn sell(past: &App, offers: &Offers, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let mut draw = 0x2545_f491_u64;
    let mut below = move |n: u64| {
        draw ^= draw << 13;
        draw ^= draw >> 7;
        draw ^= draw << 17;
        (draw >> 20) % n
    };
    let mut paid = 0;
    let step = TimeDelta::minutes(60 * 24 * 60 / 320);
    for n in 0..318_u32 {
        past.clock.advance(step);
        if past.clock.now() >= now - TimeDelta::hours(3) {
            break;
        }
        let quantity = 1 + i32::try_from(below(4)).unwrap_or(0);
        let mut basket = match below(10) {
            0..=3 => vec![Wish { offer_id: offers.weekend, quantity }],
            4..=6 => vec![Wish { offer_id: offers.bundle, quantity: quantity.min(2) }],
            7 => vec![Wish { offer_id: offers.today, quantity: 1 }],
            8 => vec![Wish { offer_id: offers.first_day, quantity }],
            _ => vec![Wish { offer_id: offers.weekend, quantity: 2 }, Wish { offer_id: offers.youth, quantity: 1 }],
        };
        if below(6) == 0 {
            basket.push(Wish { offer_id: offers.locker, quantity: 1 });
        }
        let (first, last) = (FIRST[usize::try_from(below(16)).unwrap_or(0)], LAST[usize::try_from(below(12)).unwrap_or(0)]);
        let buyer = Buyer {
            email: format!("{}.{}{n}@mail.example", first.to_lowercase(), last.to_lowercase().replace(' ', "")),
            name: format!("{first} {last}"),
            language: if below(4) == 0 { Language::Zh } else { Language::En },
        };
        let at = past.clock.now();
        match orders::place(
            past,
            Asking { buyer, key: &format!("demo-order-{n:08}"), basket, expected_minor: None, voucher: None, places: &[], holder: None },
            at,
        )
        .await
        {
            Ok(placed) if below(12) == 0 => orders::cancel(past, placed.order_id).await?,
            Ok(placed) => {
                pay(past, placed.order_id, &format!("demo-payment-{n:08}")).await?;
                paid += 1;
            }
            Err(PlaceError::SoldOut(..)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // What is left of the middle day is bought until three are left: the offer that is nearly sold out.
    for n in 0..60 {
        let stocks = offers::stocks_of(&past.pools.web, offers.today.festival()).await?;
        let all = offers::offers(&past.pools.web, offers.today.festival()).await?;
        let left =
            all.iter().find(|o| o.offer_id == offers.today).and_then(|o| stocks.iter().find(|s| s.stock_id == o.stock_id)).map_or(0, offers::Stock::left);
        if left <= 3 {
            break;
        }
        let at = past.clock.now();
        let buyer = Buyer { email: format!("late{n}@mail.example"), name: format!("{} {}", FIRST[n % 16], LAST[n % 12]), language: Language::En };
        let basket = vec![Wish { offer_id: offers.today, quantity: (left - 3).min(4) }];
        let placed = orders::place(
            past,
            Asking { buyer, key: &format!("demo-late-order-{n:06}"), basket, expected_minor: None, voucher: None, places: &[], holder: None },
            at,
        )
        .await?;
        pay(past, placed.order_id, &format!("demo-late-payment-{n:06}")).await?;
        paid += 1;
    }
    Ok(paid)
}

/// Pays an order as its buyer would.
async fn pay(past: &App, order: OrderId, key: &str) -> anyhow::Result<()> {
    let secret = past.secrets.link(Purpose::OrderLink, order.0, 0);
    payments::pay(past, order, &secret, key, Way::SimulatedInstant, past.clock.now()).await?;
    Ok(())
}

/// Lets the first people in over the last eighty minutes: most are admitted, some come twice, one shows a forged code.
pub(super) async fn open_gates(past: &App, staff: &Staff, gates: &[GateId], id: FestivalId, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let mut devices: Vec<Device> = Vec::new();
    for (i, gate) in gates.iter().enumerate() {
        let pairing = accounts::offer_pairing(past, staff, id, &accounts::Wanted::one(*gate, "scan")).await?;
        devices.push(accounts::pair(past, &pairing.pairing_code, &format!("lane {}", i + 1)).await?.device);
    }
    let mut tx = past.for_promoter(staff.promoter).await?;
    let issued = tickets::of_festival(&mut tx, id, None, 200).await?;
    drop(tx);
    let begin = now - TimeDelta::minutes(80);
    past.clock.advance(begin - past.clock.now());
    let mut scans = 0;
    for (i, ticket) in issued.iter().filter(|t| t.kind == tickets::TicketKind::Pass).take(150).enumerate() {
        past.clock.advance(TimeDelta::seconds(26 + i64::try_from(i % 9).unwrap_or(0)));
        let Some(mut code) = ticket.code_text(past).await? else { continue };
        if i % 37 == 36 {
            code.replace_range(60..61, if &code[60..61] == "A" { "B" } else { "A" });
        }
        for _ in 0..=usize::from(i % 11 == 10) {
            let at = past.clock.now();
            let asked = Asked {
                scan_id: ScanId::fresh(id, at),
                kind: ScanKind::Entry,
                code: code.clone(),
                scanned_at: at,
                after: None,
                checked: None,
                override_: None,
            };
            entry::scan(past, &devices[i % devices.len().max(1)], asked).await?;
            scans += 1;
        }
        if past.clock.now() >= now {
            break;
        }
    }
    // The second gate had no network for a while and let somebody in on a ticket that was in: the ledger has something to decide.
    let first = issued.iter().find(|t| t.kind == tickets::TicketKind::Pass);
    if let (Some(device), Some(ticket)) = (devices.get(1), first)
        && let Some(code) = ticket.code_text(past).await?
    {
        let at = past.clock.now();
        let asked = Asked {
            scan_id: ScanId::fresh(id, at),
            kind: ScanKind::Entry,
            code,
            scanned_at: at - TimeDelta::minutes(3),
            after: None,
            checked: None,
            override_: None,
        };
        let shown = Reported { asked, offset: TimeDelta::zero(), gate_id: None, verdict: entry::Verdict::Admitted, reason: None };
        entry::merge::merge(past, device, at, vec![shown]).await?;
        scans += 1;
    }
    Ok(scans)
}
