//! A place in a waiting room: signed by us, kept by its fan.

use chrono::{DateTime, Utc};
use data_encoding::BASE32_NOPAD;

use crate::{
    id::OfferId,
    secrets::{self, Purpose, Secrets},
};

/// A place. Its text is base32 of a byte of flags, 16 bytes visitor, 6 bytes Unix milliseconds, and 16 bytes of HMAC-SHA256 over offer and these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The offer whose room it is in.
    pub offer_id: OfferId,
    /// Who: 128 random bits of ours.
    pub visitor: [u8; 16],
    /// When they came, to the millisecond.
    pub joined_at: DateTime<Utc>,
    /// Whether their turn was extended.
    pub extended: bool,
    /// Whether they are counted among the people of the room.
    pub counted: bool,
}

const BODY: usize = 1 + 16 + 6;

impl Place {
    /// A new place.
    pub(super) fn fresh(offer_id: OfferId, now: DateTime<Utc>) -> Self {
        let mut visitor = [0; 16];
        secrets::fill(&mut visitor);
        let joined_at = DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now);
        Self { offer_id, visitor, joined_at, extended: false, counted: false }
    }

    fn body(&self) -> [u8; BODY] {
        let mut body = [0; BODY];
        body[0] = u8::from(self.extended) | u8::from(self.counted) << 1;
        body[1..17].copy_from_slice(&self.visitor);
        body[17..].copy_from_slice(&u64::try_from(self.joined_at.timestamp_millis()).unwrap_or(0).to_be_bytes()[2..]);
        body
    }

    /// The text that its fan keeps.
    #[must_use]
    pub fn text(&self, secrets: &Secrets) -> String {
        let body = self.body();
        let mac = secrets.mac(Purpose::WaitingPlace, &[self.offer_id.0.as_bytes(), &body]);
        BASE32_NOPAD.encode(&[&body[..], &mac[..16]].concat()).to_lowercase()
    }

    /// Reads the text of a place in the room of an offer; `None` for everything that we did not sign for it.
    #[must_use]
    pub fn read(secrets: &Secrets, offer_id: OfferId, text: &str) -> Option<Self> {
        let bytes = BASE32_NOPAD.decode(text.to_uppercase().as_bytes()).ok()?;
        let (body, mac) = bytes.split_at_checked(BODY)?;
        let ours = secrets.mac(Purpose::WaitingPlace, &[offer_id.0.as_bytes(), body]);
        if !secrets::same(&ours[..16], mac) {
            return None;
        }
        let millis = body[17..].iter().fold(0_i64, |n, byte| n << 8 | i64::from(*byte));
        Some(Self {
            offer_id,
            visitor: body[1..17].try_into().ok()?,
            joined_at: DateTime::from_timestamp_millis(millis)?,
            extended: body[0] & 1 == 1,
            counted: body[0] & 2 == 2,
        })
    }

    /// Its rank in the draw of those who gathered: from 0 to 1, uniform, and nobody outside can choose it.
    #[must_use]
    pub fn rank(&self, secrets: &Secrets) -> f64 {
        let mac = secrets.mac(Purpose::WaitingDraw, &[self.offer_id.0.as_bytes(), &self.visitor]);
        let [a, b, c, d, ..] = mac;
        f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::FestivalId;

    fn place() -> (Secrets, Place) {
        let now = "2026-03-03T20:00:00.123Z".parse().unwrap();
        (Secrets::from_master(&[7; 32]), Place::fresh(OfferId::fresh(FestivalId(1), now), now))
    }

    #[test]
    fn a_place_is_read_back_and_no_letter_of_it_can_be_changed() {
        let (secrets, place) = place();
        let text = place.text(&secrets);
        assert_eq!(Place::read(&secrets, place.offer_id, &text), Some(place.clone()));
        assert_eq!(Place::read(&secrets, OfferId::fresh(FestivalId(1), place.joined_at), &text), None);
        for i in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[i] = if forged[i] == b'a' { b'b' } else { b'a' };
            assert_eq!(Place::read(&secrets, place.offer_id, &String::from_utf8(forged).unwrap()), None, "letter {i}");
        }
        assert_eq!(Place::read(&secrets, place.offer_id, ""), None);
    }

    #[test]
    fn ranks_are_spread_evenly_and_do_not_follow_the_order_of_coming() {
        let (secrets, first) = place();
        let ranks: Vec<f64> = (0..20_000).map(|i| Place::fresh(first.offer_id, first.joined_at + chrono::TimeDelta::milliseconds(i)).rank(&secrets)).collect();
        // Chi-square of 20 equal boxes: 19 degrees of freedom, 43.8 at one in a thousand.
        let boxes = (0..20).map(f64::from).map(|i| ranks.iter().filter(|r| (i / 20.0..(i + 1.0) / 20.0).contains(*r)).map(|_| 1.0).sum::<f64>());
        let chi: f64 = boxes.map(|n| (n - 1_000.0).powi(2) / 1_000.0).sum();
        assert!(chi < 43.8, "{chi}");
        // Correlation of coming and rank: its deviation is 1/sqrt(n) = .007.
        let mean = ranks.iter().sum::<f64>() / 20_000.0;
        let covariance: f64 = ranks.iter().zip(0..).map(|(r, i)| (f64::from(i) - 9_999.5) * (r - mean)).sum::<f64>() / 20_000.0;
        let correlation = covariance / (20_000.0 / 12_f64.sqrt()) / (1.0 / 12_f64.sqrt());
        assert!(correlation.abs() < 0.03, "{correlation}");
    }
}
