//! The help desk, in the control room: whom gates sent there, and what became of them.

use maud::{Markup, html};
use poem::{
    Request, handler,
    web::{Data, Path},
};

use super::{
    control::{Room, gate_name},
    layout::{PageResult, Reader, see_other},
    session::visitor,
    storefront::buy::{field, fields},
};
use crate::{
    accounts::Scope,
    app::App,
    entry::help_desk::{self, CaseOutcome},
    http::{
        cookies::same_origin,
        problem::{MALFORMED, NOT_FOUND, Problem},
    },
    id::TicketId,
};

/// Whom gates sent to the help desk and who did not come in since, with what became of them.
pub(super) fn cases(reader: &Reader, room: &Room) -> Markup {
    let zone = &room.festival.terms.time_zone;
    let base = format!("/desk/{}/gates/help-desk", room.festival.terms.slug);
    html! {
        @if room.cases.is_empty() { p class="faded" { (reader.t("help-desk-empty")) } }
        ol class="ledger" {
            @for case in &room.cases {
                li { form class="stack" method="post" action=(format!("{base}/{}", case.ticket_id)) {
                    h3 { "…" (case.ticket_end) @if let Some(instruction) = case.instruction { " · " (reader.t(&format!("instruction-{}", instruction.name()))) } }
                    p { (reader.language.at(case.sent_at, zone).second()) " · " (gate_name(reader, room, case.gate_id)) br; (reader.t(if case.was_sent { "help-desk-sent" } else { "help-desk-unanswered" })) }
                    @if room.may_decide {
                        div class="field" { label for=(format!("case-{}", case.scan_id)) { (reader.t("note")) } input id=(format!("case-{}", case.scan_id)) name="note" maxlength="500" autocomplete="off"; }
                        div class="actions" { @for outcome in CaseOutcome::ALL { button class="button plain" name="outcome" value=(outcome.name()) { (reader.t(&format!("outcome-{}", outcome.name()))) } } }
                    }
                } }
            }
        }
    }
}

/// Says what became of somebody at the help desk.
#[handler]
pub async fn decide(request: &Request, body: poem::Body, app: Data<&App>, Path((slug, ticket)): Path<(String, TicketId)>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::ScansRead).await? else { return Ok(see_other("/sign-in")) };
    who.staff.may(Scope::GatesWrite).map_err(Problem::from)?;
    let fields = fields(body).await?;
    let outcome = CaseOutcome::ALL.into_iter().find(|one| one.name() == field(&fields, "outcome")).ok_or_else(|| MALFORMED.problem())?;
    let note: String = field(&fields, "note").trim().chars().take(500).collect();
    if ticket.festival() != festival.festival_id {
        return Err(NOT_FOUND.problem().into());
    }
    help_desk::decide(&app, &who.staff, ticket, outcome, &note).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/gates#help-desk")))
}
