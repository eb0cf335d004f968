//! An option round: a festival is postponed, moved, or loses a day, and every paid order is asked what becomes of it.
//!
//! ```text
//! open -> done (everybody answered or got the default) | called_off
//! ```
//!
//! Emails leave in the background. Keeping can be changed until the deadline; money that was asked for goes back at once, by a refund like others, which
//! waits for funds where the account has not enough. Who says nothing gets the default after the deadline.

pub mod api;
mod store;
mod walk;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::{Enum, Object};
use sqlx::{FromRow, PgConnection};

use super::{Left, Part};
use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::{Checks, Fault},
    festivals,
    id::{self, FestivalId, OrderId, RefundId},
    money::{self, Money},
    orders::{self, OrderStatus},
    words::{Language, Text},
};

use store::round_in;
pub use store::{answer_of, open_round, problems, rounds, sums};
pub use walk::step;

/// A round lasts at least so long: emails have to be read.
const SHORTEST: TimeDelta = TimeDelta::hours(24);
/// And not longer than this.
const LONGEST: TimeDelta = TimeDelta::days(90);
/// The kinds of its emails, by number: a round is told of once.
const LETTERS: [&str; 9] = ["options_1", "options_2", "options_3", "options_4", "options_5", "options_6", "options_7", "options_8", "options_9"];

/// Why there is a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum RoundKind {
    /// It is later.
    Postponed,
    /// It is somewhere else.
    Moved,
    /// It is shorter.
    LostDay,
}

impl RoundKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Postponed, Self::Moved, Self::LostDay];

    /// Its name in JSON and in the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postponed => "postponed",
            Self::Moved => "moved",
            Self::LostDay => "lost_day",
        }
    }
}

/// What becomes of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Choice {
    /// Everything stays.
    Keep,
    /// All of its money goes back.
    Refund,
    /// A share of the price of its passes goes back, and they stay.
    Share,
}

impl Choice {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Keep, Self::Refund, Self::Share];

    /// Its name in JSON and in the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Refund => "refund",
            Self::Share => "share",
        }
    }
}

/// The state of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum RoundStatus {
    /// Fans choose, or the default is being given.
    Open,
    /// Everything is decided.
    Done,
    /// The promoter ended it; what was asked for until then holds.
    CalledOff,
}

impl RoundStatus {
    /// Its name in JSON and in the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::CalledOff => "called_off",
        }
    }
}

/// What a promoter says of a round.
#[derive(Clone, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(rename = "NewOptionRound", deny_unknown_fields, skip_serializing_if_is_none)]
pub struct RoundTerms {
    /// Why.
    pub kind: RoundKind,
    /// What fans read: what happened, what comes now. At most 2,000 letters a language.
    #[sqlx(json)]
    pub message: Text,
    /// Whether all of the money can be had back.
    pub may_refund: bool,
    /// The share of the price of passes that goes back where that is offered, in parts per million: a third is 333333.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    pub share_ppm: Option<i32>,
    /// What whoever says nothing gets.
    pub default_choice: Choice,
    /// Until when fans choose: between a day and ninety days from now.
    pub deadline_at: DateTime<Utc>,
}

impl RoundTerms {
    /// Whether a choice is offered.
    #[must_use]
    pub fn offers(&self, choice: Choice) -> bool {
        match choice {
            Choice::Keep => true,
            Choice::Refund => self.may_refund,
            Choice::Share => self.share_ppm.is_some(),
        }
    }
}

/// A round.
#[derive(Clone, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(rename = "OptionRound", skip_serializing_if_is_none)]
pub struct Round {
    /// Its number.
    pub round_no: i32,
    /// What its promoter says of it.
    #[oai(flatten)]
    #[sqlx(flatten)]
    pub terms: RoundTerms,
    /// Its state.
    pub status: RoundStatus,
    /// When it was opened: orders that were paid by then are asked.
    pub opened_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    #[oai(skip)]
    told_upto: OrderId,
    #[oai(skip)]
    decided_upto: OrderId,
    #[oai(skip)]
    looked_at: DateTime<Utc>,
}

impl Round {
    /// Whether an order can still choose at a moment.
    #[must_use]
    pub fn takes_answers(&self, now: DateTime<Utc>) -> bool {
        self.status == RoundStatus::Open && now < self.terms.deadline_at
    }

    /// The kind of its email.
    #[must_use]
    pub fn letter(&self) -> &'static str {
        LETTERS.get(usize::try_from(self.round_no - 1).unwrap_or(0)).copied().unwrap_or(LETTERS[0])
    }

    /// The last order that is asked.
    fn last(&self) -> OrderId {
        OrderId(id::first_at(self.opened_at))
    }
}

/// What an order answered.
#[derive(Clone, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(rename = "OptionAnswer", skip_serializing_if_is_none)]
pub struct Answer {
    /// The round.
    pub round_no: i32,
    /// The order.
    pub order_id: OrderId,
    /// What becomes of it.
    pub choice: Choice,
    /// Nobody said so: it is the default.
    pub is_default: bool,
    /// When it was said.
    pub answered_at: DateTime<Utc>,
    /// When it was done.
    pub applied_at: Option<DateTime<Utc>>,
    /// The refund that does it.
    pub refund_id: Option<RefundId>,
    /// Why it could not be done; its promoter decides.
    pub problem: Option<String>,
}

/// How a round goes, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Object, FromRow)]
#[oai(rename = "OptionSums")]
pub struct Sums {
    /// Paid orders that are asked.
    pub orders: i64,
    /// Those that keep everything.
    pub keep: i64,
    /// Those that want all of their money.
    pub refund: i64,
    /// Those that want the share.
    pub share: i64,
    /// Those that said nothing yet.
    pub silent: i64,
    /// Answers that are still to be done.
    pub due: i64,
    /// Answers that could not be done.
    pub problems: i64,
    /// What asked orders paid and did not get back: needed if everybody wants everything, in minor units.
    pub most_minor: i64,
    /// What refunds of it bring back so far, in minor units.
    pub back_minor: i64,
}

/// Opens a round: everybody who paid is told of it in the background. The same terms again while it is open get the same round.
///
/// # Errors
/// [`Fault`]; [`Fault::Conflict`] while another one is open.
pub async fn open(app: &App, staff: &Staff, festival: FestivalId, terms: &RoundTerms) -> Result<Round, Fault> {
    let now = app.clock.now();
    let mut checks = Checks::default();
    let said: Vec<&str> = [Language::En, Language::Zh].iter().filter_map(|language| terms.message.exactly(*language)).collect();
    checks.claim(said.iter().all(|text| text.chars().count() <= 2_000), "/message", "at most 2,000 letters a language");
    checks.claim(said.iter().any(|text| !text.trim().is_empty()), "/message", "what fans read");
    checks.claim(terms.offers(terms.default_choice), "/default_choice", "it is not offered");
    checks.claim(terms.may_refund || terms.share_ppm.is_some(), "/may_refund", "there is nothing to choose");
    let lasts = terms.deadline_at - now;
    checks.claim(lasts >= SHORTEST && lasts <= LONGEST, "/deadline_at", "between a day and ninety days from now");
    checks.done()?;
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    if let Some(open) = store::open_in(&mut tx, festival).await? {
        return if open.terms == *terms { Ok(open) } else { Err(Fault::Conflict("another round is open".to_owned())) };
    }
    let no = store::insert(&mut tx, festival, terms, now).await?;
    let said = serde_json::json!({ "round": no, "kind": terms.kind.name(), "default": terms.default_choice.name(), "share_ppm": terms.share_ppm });
    let (action, object_kind, object_id) = ("option_round.opened", "festival", festival.0.to_string());
    audit::record(&mut tx, Act { festival, actor: staff.actor, action, object_kind, object_id, before: None, after: Some(said) }, now).await?;
    let round = round_in(&mut tx, festival, no).await?.ok_or(Fault::NotFound)?;
    tx.commit().await?;
    Ok(round)
}

/// Calls a round off: nobody chooses any more and nobody gets the default; what was asked for until then is done. Doing it again changes nothing.
///
/// # Errors
/// [`Fault`].
pub async fn call_off(app: &App, staff: &Staff, festival: FestivalId, no: i32) -> Result<Round, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let round = round_in(&mut tx, festival, no).await?.ok_or(Fault::NotFound)?;
    match round.status {
        RoundStatus::CalledOff => return Ok(round),
        RoundStatus::Done => return Err(Fault::Conflict("it is done".to_owned())),
        RoundStatus::Open => {}
    }
    if !store::end(&mut tx, festival, no, RoundStatus::CalledOff, now).await? {
        return Err(Fault::Conflict("it is done".to_owned()));
    }
    store::keep_defaults(&mut tx, festival, no, now).await?;
    let said = serde_json::json!({ "round": no });
    let (action, object_kind, object_id) = ("option_round.called_off", "festival", festival.0.to_string());
    audit::record(&mut tx, Act { festival, actor: staff.actor, action, object_kind, object_id, before: None, after: Some(said) }, now).await?;
    let round = round_in(&mut tx, festival, no).await?.ok_or(Fault::NotFound)?;
    tx.commit().await?;
    Ok(round)
}

/// Why an order did not choose.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// No such order, or the secret of another.
    #[error("no such order")]
    NotFound,
    /// Nothing is asked, or not any more, or not of this order.
    #[error("nothing is asked of this order, or not any more")]
    NotAsked,
    /// The choice is not offered.
    #[error("this is not offered")]
    NotOffered,
    /// Money was asked for already: that holds.
    #[error("the order chose already: {}", .0.name())]
    Chosen(Choice),
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// An order chooses, for whoever has its link. The same again changes nothing; keeping can be changed until the deadline, money cannot.
///
/// # Errors
/// [`ChooseError`].
pub async fn choose(app: &App, order_id: OrderId, secret: &str, choice: Choice) -> Result<Answer, ChooseError> {
    let (festival, now) = (order_id.festival(), app.clock.now());
    let mut tx = app.pools.web.begin().await?;
    let order = orders::lock(&mut tx, festival, &[order_id]).await?.pop().filter(|order| order.is_link(app, secret)).ok_or(ChooseError::NotFound)?;
    let round = store::open_in(&mut tx, festival).await?.filter(|round| round.takes_answers(now)).ok_or(ChooseError::NotAsked)?;
    let before = store::answer_in(&mut tx, order_id, round.round_no).await?;
    if let Some(before) = before.filter(|before| before.choice != Choice::Keep) {
        return if before.choice == choice { Ok(before) } else { Err(ChooseError::Chosen(before.choice)) };
    }
    if order_id > round.last() || !matches!(order.status, OrderStatus::Paid | OrderStatus::PartlyRefunded) || order.total_minor == 0 {
        return Err(ChooseError::NotAsked);
    }
    let brings = would_bring(&mut tx, &round, order_id, order.currency).await?;
    if !brings.iter().any(|(offered, _)| *offered == choice) {
        return Err(ChooseError::NotOffered);
    }
    store::put_answer(&mut tx, order_id, round.round_no, choice, now).await?;
    let answer = store::answer_in(&mut tx, order_id, round.round_no).await?.ok_or(ChooseError::NotFound)?;
    tx.commit().await?;
    Ok(answer)
}

/// What a choice would bring an order now; nothing where it is not asked.
///
/// # Errors
/// What the database said.
pub async fn would_bring(conn: &mut PgConnection, round: &Round, order: OrderId, currency: money::Currency) -> Result<Vec<(Choice, Money)>, sqlx::Error> {
    let left = super::plan::left(&mut *conn, order).await?;
    let whole: i64 = left.iter().filter(|l| !(l.is_fee && l.is_kept)).map(|l| l.minor).sum();
    let share: i64 = round.terms.share_ppm.map_or(0, |ppm| shares(&left, ppm).iter().map(|part| part.amount_minor.unwrap_or(0)).sum());
    let brings = |choice: Choice| match choice {
        Choice::Keep => 0,
        Choice::Refund => whole,
        Choice::Share => share,
    };
    let offered = |choice: &Choice| round.terms.offers(*choice) && (*choice != Choice::Share || share > 0);
    Ok(Choice::ALL.into_iter().filter(offered).map(|choice| (choice, Money::new(brings(choice), currency))).collect())
}

/// The share of what is left of passes and add-ons, as money alone: rounded down, so that never more goes back than there is; pure.
fn shares(left: &[Left], ppm: i32) -> Vec<Part> {
    let part = |l: &Left| Part {
        line_no: l.line_no,
        component_no: Some(l.component_no),
        amount_minor: Some(i64::try_from(i128::from(l.minor) * i128::from(ppm) / 1_000_000).unwrap_or(0)),
        ..Part::default()
    };
    left.iter().filter(|l| l.has_tickets && !l.is_fee).map(part).filter(|part| part.amount_minor.is_some_and(|minor| minor > 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_what_opens_gates_and_never_more_than_that() {
        let left = |component_no, has_tickets, is_fee, minor| Left {
            line_no: 1,
            component_no,
            has_tickets,
            release_id: None,
            is_fee,
            is_kept: false,
            tax_ppm: 0,
            units: 2,
            minor,
            tax_minor: 0,
        };
        let all = [left(0, false, true, 200), left(1, true, false, 9999), left(2, false, false, 1600)];
        let parts = shares(&all, 333_333);
        assert_eq!(parts.iter().map(|p| (p.component_no, p.amount_minor)).collect::<Vec<_>>(), [(Some(1), Some(3332))]);
        assert!(shares(&[left(1, true, false, 2)], 333_333).is_empty());
        assert_eq!(shares(&all, 1_000_000)[0].amount_minor, Some(9999));
    }
}
