//! A supervisor's card: a signed code for a person and a festival day, which devices check without network (10-rules 28).
//!
//! 84 bytes, big-endian: `0x31`, key id, festival (4), number (8), day index, overrides, not after (4), Ed25519 (RFC 8032) over
//! `"gatefold-card-v1\0"` and bytes 0..20. Text: `G3` and RFC 4648 base32 in upper case without padding: 137 characters.

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::BASE32_NOPAD;
use ed25519_dalek::{Signature, Signer};
use poem_openapi::Object;
use serde_json::json;

use super::store;
use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::{Checks, Fault},
    festivals::{self, Day},
    id::FestivalId,
    keys::{self, KeyState, Ring},
    secrets,
};

const DOMAIN: &[u8] = b"gatefold-card-v1\0";
const PREFIX: &str = "G3";
const LENGTH: usize = 137;
/// Kind 3 (supervisor's card), version 1.
const CARD: u8 = 0x31;
const BODY: usize = 20;
/// The most cards of a festival.
const MOST: usize = 500;
/// How long before its day opens a card is good.
const EARLY: TimeDelta = TimeDelta::hours(6);

/// What a card's code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardCode {
    /// The key that signed it.
    pub key_id: u8,
    /// The festival.
    pub festival: FestivalId,
    /// The number of the card: random.
    pub number: i64,
    /// The festival day.
    pub day_index: u8,
    /// The most overrides of its day.
    pub overrides: u8,
    /// Unix seconds: a backstop, the day decides.
    pub not_after: u32,
}

impl CardCode {
    /// The bytes that are signed.
    #[must_use]
    pub fn bytes(&self) -> [u8; BODY] {
        let mut b = [0; BODY];
        b[0] = CARD;
        b[1] = self.key_id;
        b[2..6].copy_from_slice(&self.festival.number().to_be_bytes());
        b[6..14].copy_from_slice(&self.number.to_be_bytes());
        b[14] = self.day_index;
        b[15] = self.overrides;
        b[16..].copy_from_slice(&self.not_after.to_be_bytes());
        b
    }

    /// The text, signed by the key that the card names; `None` when the ring has no private half of it.
    #[must_use]
    pub fn sign(&self, ring: &Ring) -> Option<String> {
        let body = self.bytes();
        let signature = ring.signer(self.key_id)?.sign(&[DOMAIN, &body].concat());
        Some(format!("{PREFIX}{}", BASE32_NOPAD.encode(&[body.as_slice(), &signature.to_bytes()].concat())))
    }

    /// Whether a moment is one of its day: from six hours before it opens, because the gates are staffed before.
    #[must_use]
    pub fn is_of(&self, days: &[Day], at: DateTime<Utc>) -> bool {
        days.iter().any(|day| day.day_index == i16::from(self.day_index) && day.opens_at - EARLY <= at && at < day.closes_at)
    }

    /// Reads the bytes of a text: exactly this length, prefix, upper case, zero trailing bits.
    #[must_use]
    pub fn parse(text: &str) -> Option<(Self, [u8; 64])> {
        let bytes = BASE32_NOPAD.decode(text.strip_prefix(PREFIX).filter(|_| text.len() == LENGTH)?.as_bytes()).ok()?;
        let (body, signature) = bytes.split_first_chunk::<BODY>()?;
        if body[0] != CARD {
            return None;
        }
        let u32_at = |i: usize| u32::from_be_bytes([body[i], body[i + 1], body[i + 2], body[i + 3]]);
        let mut number = [0; 8];
        number.copy_from_slice(&body[6..14]);
        let code = Self {
            key_id: body[1],
            festival: FestivalId(i32::try_from(u32_at(2)).ok()?),
            number: i64::from_be_bytes(number),
            day_index: body[14],
            overrides: body[15],
            not_after: u32_at(16),
        };
        Some((code, signature.try_into().ok()?))
    }

    /// Reads and verifies a text at a festival, with the state of its key.
    #[must_use]
    pub fn signed(text: &str, festival: FestivalId, ring: &Ring) -> Option<(Self, KeyState)> {
        let (code, signature) = Self::parse(text)?;
        let key = ring.key(code.key_id).filter(|_| code.festival == festival)?;
        key.public.verify_strict(&[DOMAIN, &code.bytes()].concat(), &Signature::from_bytes(&signature)).ok()?;
        Some((code, key.state))
    }
}

/// A number as JSON and pages carry it: 64 bits do not fit JavaScript.
pub(super) fn hex(number: i64) -> String {
    format!("{number:016x}")
}

fn unhex(number: &str) -> Result<i64, Fault> {
    u64::from_str_radix(number, 16).map(|number| i64::from_be_bytes(number.to_be_bytes())).map_err(|_| Fault::NotFound)
}

/// A supervisor's card.
#[derive(Clone, Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct SupervisorCard {
    /// Its number: 16 hexadecimal digits.
    pub card_number: String,
    /// Who carries it.
    pub name: String,
    /// The festival day that it is good on.
    pub day_index: i16,
    /// The most overrides of that day.
    pub overrides: i16,
    /// How many were made. More than that came about where gates had no network.
    pub used: i32,
    /// The text of its code, for a QR picture; none where it opens nothing any more.
    pub card_code: Option<String>,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A card to be issued.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewCard {
    /// Who will carry it.
    #[oai(validator(min_length = 1, max_length = 80))]
    pub name: String,
    /// The festival day that it is good on.
    #[oai(validator(minimum(value = "0"), maximum(value = "15")))]
    pub day_index: i16,
    /// The most overrides of that day.
    #[oai(default = "some", validator(minimum(value = "1"), maximum(value = "255")))]
    pub overrides: i16,
}

fn some() -> i16 {
    20
}

fn shown(ring: &Ring, festival: FestivalId, card: store::Card) -> SupervisorCard {
    let code = CardCode {
        key_id: u8::try_from(card.key_id).unwrap_or(0),
        festival,
        number: card.number,
        day_index: u8::try_from(card.day_index).unwrap_or(u8::MAX),
        overrides: u8::try_from(card.overrides).unwrap_or(0),
        not_after: u32::try_from(card.not_after.timestamp()).unwrap_or(0),
    };
    let is_dead = card.revoked_at.is_some() || ring.key(code.key_id).is_none_or(|key| key.state == KeyState::Revoked);
    SupervisorCard {
        card_number: hex(card.number),
        name: card.name,
        day_index: card.day_index,
        overrides: card.overrides,
        used: card.used,
        card_code: (!is_dead).then(|| code.sign(ring)).flatten(),
        issued_at: card.issued_at,
        revoked_at: card.revoked_at,
    }
}

/// Issues a card. Everybody who holds its picture may use it: it is handed over like a key.
///
/// # Errors
/// [`Fault`].
pub async fn issue(app: &App, staff: &Staff, festival: FestivalId, wish: &NewCard) -> Result<SupervisorCard, Fault> {
    let now = app.clock.now();
    let name = wish.name.trim().to_owned();
    let days = festivals::days(&app.pools.web, festival).await?;
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let day = days.iter().find(|day| day.day_index == wish.day_index);
    Checks::default()
        .claim(!name.is_empty(), "/name", "whoever carries it has a name")
        .claim(day.is_some_and(|day| day.closes_at > now), "/day_index", "a day of this festival that is not over")
        .done()?;
    if store::cards(&mut *tx, festival).await?.len() >= MOST {
        return Err(Fault::Conflict(format!("a festival has {MOST} cards at most")));
    }
    let key_id = keys::active(&mut tx, festival).await?.ok_or_else(|| Fault::House("no key signs".to_owned()))?;
    let mut noise = [0; 8];
    secrets::fill(&mut noise);
    let card = store::Card {
        number: i64::from_be_bytes(noise),
        name,
        day_index: wish.day_index,
        overrides: wish.overrides,
        used: 0,
        key_id,
        not_after: day.map_or(now, |day| day.closes_at),
        issued_at: now,
        revoked_at: None,
    };
    store::insert_card(&mut tx, festival, &card).await?;
    let after = json!({ "day_index": card.day_index, "overrides": card.overrides });
    audit::record(&mut tx, act(staff, festival, "supervisor_card.issued", card.number, Some(after)), now).await?;
    tx.commit().await?;
    Ok(shown(&*keys::ring(app, festival).await?, festival, card))
}

/// The cards of a festival, the newest first.
///
/// # Errors
/// [`Fault`].
pub async fn cards(app: &App, staff: &Staff, festival: FestivalId) -> Result<Vec<SupervisorCard>, Fault> {
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let cards = store::cards(&mut *tx, festival).await?;
    drop(tx);
    let ring = keys::ring(app, festival).await?;
    Ok(cards.into_iter().map(|card| shown(&ring, festival, card)).collect())
}

/// A card of a promoter's festival.
///
/// # Errors
/// [`Fault`].
pub async fn one(app: &App, staff: &Staff, festival: FestivalId, number: &str) -> Result<SupervisorCard, Fault> {
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let card = store::cards_of(&mut tx, festival, &[unhex(number)?]).await?.pop().ok_or(Fault::NotFound)?;
    drop(tx);
    Ok(shown(&*keys::ring(app, festival).await?, festival, card))
}

/// Revokes a card: gates refuse it within seconds, those without network when they are back. Doing it again changes nothing.
///
/// # Errors
/// [`Fault`].
pub async fn revoke(app: &App, staff: &Staff, festival: FestivalId, number: &str) -> Result<SupervisorCard, Fault> {
    let (now, number) = (app.clock.now(), unhex(number)?);
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let card = match store::revoke_card(&mut tx, festival, number, now).await? {
        Some(card) => {
            audit::record(&mut tx, act(staff, festival, "supervisor_card.revoked", number, None), now).await?;
            card
        }
        None => store::cards_of(&mut tx, festival, &[number]).await?.pop().ok_or(Fault::NotFound)?,
    };
    tx.commit().await?;
    Ok(shown(&*keys::ring(app, festival).await?, festival, card))
}

fn act(staff: &Staff, festival: FestivalId, action: &'static str, number: i64, after: Option<serde_json::Value>) -> Act<'static> {
    Act { festival, actor: staff.actor, action, object_kind: "supervisor_card", object_id: hex(number), before: None, after }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;
    use crate::keys::Key;

    fn card() -> CardCode {
        CardCode { key_id: 1, festival: FestivalId(217), number: 0x0123_4567_89ab_cdef, day_index: 2, overrides: 20, not_after: 1_844_640_000 }
    }

    fn ring(state: KeyState) -> Ring {
        Ring(vec![Key::of_test(1, state, SigningKey::from_bytes(&[7; 32]))])
    }

    #[test]
    fn a_card_is_read_as_it_was_signed() {
        let ring = ring(KeyState::Active);
        let text = card().sign(&ring).unwrap();
        assert_eq!(text.len(), LENGTH);
        assert_eq!(CardCode::signed(&text, FestivalId(217), &ring), Some((card(), KeyState::Active)));
        assert_eq!(CardCode::signed(&text, FestivalId(218), &ring), None);
        assert_eq!(CardCode::signed(&text.to_lowercase(), FestivalId(217), &ring), None);
        // The ticket of another kind is no card, and a card is no ticket.
        assert!(crate::tickets::code::TicketCode::parse(&text).is_err());
    }

    proptest! {
        #[test]
        fn a_changed_letter_is_no_card(at in 2_usize..LENGTH, letter in "[A-Z2-7]") {
            let ring = ring(KeyState::Active);
            let mut text = card().sign(&ring).unwrap();
            prop_assume!(text[at..=at] != letter);
            text.replace_range(at..=at, &letter);
            prop_assert_eq!(CardCode::signed(&text, FestivalId(217), &ring), None);
        }
    }
}
