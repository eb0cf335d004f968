//! Pages, by their readers: fans (`storefront`), gate staff (`gate`), promoters (`promoter`, `control`), operators (`health`).

pub mod art;
pub mod assets;
pub mod box_office;
pub mod control;
pub mod bands;
pub mod devices;
pub mod dispute;
pub mod docs;
pub mod gate;
pub mod health;
pub mod help_desk;
pub mod incident;
pub mod kept;
pub mod layout;
pub mod letters;
pub mod mailbox;
pub mod money;
pub mod options;
pub mod problems;
pub mod promoter;
pub mod session;
pub mod settlement;
pub mod situation;
pub mod storefront;
pub mod treasury;

use poem::{Route, get, post};

use storefront::{
    bank, buy, documents, festival, lineup, options as choices, order, pay, post as letters_again, returns, ticket, transfer, voucher, waiting, waiting_list,
};

/// Every page and file of the web.
#[must_use]
pub fn routes() -> Route {
    Route::new()
        .at("/", get(festival::wall))
        .at("/f/:slug", get(festival::page))
        .at("/f/:slug/line-up", get(lineup::page))
        .at("/f/:slug/orders", post(buy::place))
        .at("/f/:slug/vouchers", post(voucher::look).get(voucher::over))
        .at("/w/:offer", get(waiting::page))
        .at("/f/:slug/lost", get(letters_again::lost).post(letters_again::find))
        .at("/f/:slug/waiting-lists/:offer", get(waiting_list::page).post(waiting_list::join))
        .at("/q/:entry/:secret", get(waiting_list::place))
        .at("/q/:entry/:secret/departures", post(waiting_list::leave))
        .at("/w/:offer/turn", get(waiting::look))
        .at("/w/:offer/extensions", post(waiting::extend))
        .at("/w/:offer/places", post(waiting::again))
        .at("/o/:order/:secret", get(order::page))
        .at("/o/:order/:secret/payments", post(pay::pay))
        .at("/o/:order/:secret/agreements", post(pay::agree))
        .at("/o/:order/:secret/bank", get(pay::to_bank))
        .at("/o/:order/:secret/payments/gave-up", post(pay::give_up_payment))
        .at("/o/:order/:secret/cancellations", post(order::cancel))
        .at("/o/:order/:secret/twin-returns", post(returns::return_twin))
        .at("/o/:order/:secret/returns", post(returns::give_back))
        .at("/o/:order/:secret/options", post(choices::choose))
        .at("/o/:order/:secret/rescissions", post(returns::rescind))
        .at("/o/:order/:secret/emails", post(letters_again::send))
        .at("/o/:order/:secret/hand-backs", post(returns::hand_back))
        .at("/o/:order/:secret/hand-backs/:hand_back/withdrawals", post(returns::withdraw))
        .at("/o/:order/:secret/holders", post(order::holders))
        .at("/o/:order/:secret/recalls", post(order::recall))
        .at("/o/:order/:secret/billing", post(documents::bill).get(documents::over))
        .at("/o/:order/:secret/documents/:document/document.pdf", get(documents::print))
        .at("/return/:payment/:secret", get(pay::come_back))
        .at("/t/offline.js", get(assets::ticket_worker))
        .at("/t/:ticket/:secret", get(ticket::page))
        .at("/t/:ticket/:secret/claims", post(ticket::claim))
        .at("/t/:ticket/:secret/transfers", post(transfer::send))
        .at("/t/:ticket/:secret/transfers/:id/recalls", post(transfer::take_back))
        .at("/x/:transfer/:secret", get(transfer::page))
        .at("/x/:transfer/:secret/acceptances", post(transfer::accept))
        .at("/x/:transfer/:secret/declines", post(transfer::decline))
        .at("/simulated-bank/:payment", get(bank::page).post(bank::decide))
        .at("/gate", get(gate::page))
        .at("/gate/pair", post(gate::pair))
        .at("/gate/manifest.webmanifest", get(assets::gate_manifest))
        .at("/gate/workers/:name", get(assets::gate_worker))
        .at("/gate/frames", post(gate::frame))
        .at("/sign-in", get(promoter::sign_in).post(promoter::ask))
        .at("/sign-in/:id/code", post(promoter::enter_by_code))
        .at("/sign-in/:id/:secret", get(promoter::link).post(promoter::enter_by_link))
        .at("/sign-out", post(promoter::leave))
        .at("/desk", get(promoter::desk))
        .at("/desk/:slug", get(promoter::festival))
        .at("/desk/:slug/box-office", get(box_office::page).post(box_office::set))
        .at("/desk/:slug/box-office/sales", post(box_office::sell))
        .at("/desk/:slug/box-office/sales/:order", get(box_office::sold))
        .at("/desk/:slug/box-office/collections", post(box_office::collect))
        .at("/desk/:slug/money", get(money::page))
        .at("/desk/:slug/options", get(options::page).post(options::open))
        .at("/desk/:slug/options/:round/ends", post(options::call_off))
        .at("/desk/:slug/settlement", get(settlement::page))
        .at("/desk/:slug/settlement.csv", get(settlement::csv))
        .at("/desk/:slug/settlement.xlsx", get(settlement::xlsx))
        .at("/desk/:slug/payment-differences/:id/clearances", post(money::clear))
        .at("/desk/:slug/orders/:order", get(money::show))
        .at("/desk/:slug/orders/:order/dispute-file", get(dispute::page))
        .at("/desk/:slug/orders/:order/refunds", post(money::give_back))
        .at("/desk/:slug/refunds/:id/decisions", post(money::decide))
        .at("/desk/:slug/gates", get(control::page))
        .at("/desk/:slug/gates/live", get(control::live))
        .at("/desk/:slug/gates/discrepancies/:id", post(control::decide))
        .at("/desk/:slug/gates/help-desk/:ticket", post(help_desk::decide))
        .at("/desk/:slug/gates/situation", get(situation::page))
        .at("/desk/:slug/gates/holds", post(incident::hold))
        .at("/desk/:slug/gates/holds/:id/end", post(incident::release))
        .at("/desk/:slug/gates/clearings", post(incident::clear))
        .at("/desk/:slug/gates/clearings/:id/code", get(incident::show_code))
        .at("/desk/:slug/gates/clearings/:id/call-off", post(incident::call_off))
        .at("/desk/:slug/gates/discrepancies.csv", get(control::export))
        .at("/desk/:slug/devices", get(devices::page))
        .at("/desk/:slug/devices/shift", post(devices::begin))
        .at("/desk/:slug/devices/shift/end", post(devices::end))
        .at("/desk/:slug/devices/phone", post(devices::phone))
        .at("/desk/:slug/devices/pairings", post(devices::offer))
        .at("/desk/:slug/devices/pairings/:no", get(devices::show_pairing))
        .at("/desk/:slug/devices/pairings/:no/revoke", post(devices::revoke_sheet))
        .at("/desk/:slug/devices/bands", post(bands::deliver))
        .at("/desk/:slug/devices/cards", post(devices::issue))
        .at("/desk/:slug/devices/cards/:number", get(devices::show_card))
        .at("/desk/:slug/devices/cards/:number/revoke", post(devices::revoke_card))
        .at("/desk/:slug/devices/:id/revoke", post(devices::revoke))
        .at("/payment-accounts", get(treasury::page).post(treasury::connect))
        .at("/payment-accounts/:id/disconnections", post(treasury::disconnect))
        .at("/payment-accounts/:id/webhook-secrets", get(treasury::page).post(treasury::add_secret))
        .at("/payment-accounts/:id/webhook-secrets/:no/removals", post(treasury::remove_secret))
        .at("/mailbox", get(mailbox::list))
        .at("/mailbox/:number", get(mailbox::email))
        .at("/problems/:slug", get(problems::about))
        .at("/docs", get(docs::page))
        .at("/assets/sleeves.css", get(assets::sleeves))
        .at("/assets/scanner/:name", get(assets::qr_reader))
        .at("/assets/:name", get(assets::asset))
        .at("/pictures/festivals/:festival", get(assets::poster))
        .at("/pictures/releases/:release", get(assets::cover))
        .at("/healthz", get(health::healthz))
        .at("/readyz", get(health::readyz))
}
