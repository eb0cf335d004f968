//! Booking fees: what the house takes for selling, always inside the price that is shown. Who bears it changes whose money it is, never what is paid:
//! borne by the buyer it is a part of the price that is named and refunded by its own rule; borne by the promoter it is a part of what they are owed.

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use super::{Offer, Share, TaxKind, store};
use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::Fault,
    festivals,
    id::FestivalId,
    money::{split, tax_within, times_ppm},
};

/// The number of the component that a fee is in a line; those of an offer begin at 1.
pub const FEE: i16 = 0;

/// Who bears a fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Bearer {
    /// The buyer: it is a part of the price that is named.
    Buyer,
    /// The promoter: it is a part of what they are owed, and stays when the rest is refunded.
    Promoter,
}

/// What the house takes of a unit that costs something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Object, Serialize, Deserialize, FromRow)]
#[oai(deny_unknown_fields)]
pub struct BookingFee {
    /// A fixed part, in the smallest unit of the currency.
    #[oai(default, validator(minimum(value = "0"), maximum(value = "1000000000")))]
    pub fixed_minor: i64,
    /// A share of the price without the fee, in parts per million: 5 % is 50000.
    #[oai(default, validator(minimum(value = "0"), maximum(value = "500000")))]
    #[sqlx(try_from = "i32")]
    pub ppm: u32,
    /// Who bears it.
    pub borne_by: Bearer,
    /// The rate of the tax inside it in parts per million, where the buyer bears it.
    #[oai(default, validator(minimum(value = "0"), maximum(value = "1000000")))]
    #[sqlx(try_from = "i32")]
    pub tax_ppm: u32,
    /// Whether it stays when the rest of its unit is refunded; members may decide otherwise, refund by refund.
    pub is_kept: bool,
}

impl BookingFee {
    /// What is the fee of a unit at the price that is paid for it.
    #[must_use]
    pub fn of(&self, unit_minor: i64) -> i64 {
        let rest = unit_minor - self.fixed_minor;
        if rest <= 0 {
            return unit_minor.max(0);
        }
        let share = match self.borne_by {
            // The price without it times the rate is in the price: as with a tax.
            Bearer::Buyer => tax_within(rest, self.ppm),
            Bearer::Promoter => times_ppm(unit_minor, self.ppm),
        };
        (self.fixed_minor + share).min(unit_minor)
    }
}

/// How a price splits over the components of an offer and its fee, exact to the smallest unit, with the tax inside each share.
pub(super) fn shares(offer: &Offer, unit_minor: i64) -> Vec<Share> {
    let fee = offer.fee.as_ref().map(|fee| (fee, fee.of(unit_minor))).filter(|(_, minor)| *minor > 0);
    let paid = fee.filter(|(fee, _)| fee.borne_by == Bearer::Buyer).map_or(0, |(_, minor)| minor);
    let weights: Vec<u32> = offer.components.iter().map(|c| c.weight).collect();
    let of_components = offer.components.iter().zip(split(unit_minor - paid, &weights)).map(|(c, minor)| Share {
        component_no: c.component_no,
        pass_id: c.pass_id,
        release_id: c.release_id,
        add_on_id: c.add_on_id,
        fee: None,
        minor,
        tax_minor: tax_within(minor, c.tax_ppm),
        tax_kind: c.tax_kind,
        tax_ppm: c.tax_ppm,
    });
    let of_fee = fee.map(|(fee, minor)| Share {
        component_no: FEE,
        pass_id: None,
        release_id: None,
        add_on_id: None,
        fee: Some(FeeShare { is_kept: fee.is_kept, borne_minor: minor - paid }),
        minor: paid,
        tax_minor: tax_within(paid, fee.tax_ppm),
        tax_kind: TaxKind::Fixed,
        tax_ppm: fee.tax_ppm,
    });
    of_components.chain(of_fee).collect()
}

/// What a share is where it is the booking fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Object, Serialize, Deserialize)]
pub struct FeeShare {
    /// Whether it stays when the rest of its unit is refunded.
    pub is_kept: bool,
    /// What the promoter bears of it, out of the other shares, in the smallest unit of the currency.
    pub borne_minor: i64,
}

/// Sets the fee of a festival for orders that are placed from now on, or ends it.
///
/// # Errors
/// [`Fault`].
pub async fn set_fee(app: &App, staff: &Staff, festival: FestivalId, fee: Option<BookingFee>) -> Result<(), Fault> {
    if fee.is_some_and(|fee| fee.fixed_minor == 0 && fee.ppm == 0) {
        return Err(Fault::wrong("/ppm", "a fee takes something"));
    }
    let now: DateTime<Utc> = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let before = store::fee(&mut tx, festival).await?;
    if before == fee {
        return Ok(());
    }
    store::set_fee(&mut tx, festival, fee.as_ref()).await?;
    let said = |fee: Option<BookingFee>| fee.and_then(|fee| serde_json::to_value(fee).ok());
    let (action, object_kind, object_id) = ("booking_fee.set", "festival", festival.0.to_string());
    audit::record(&mut tx, Act { festival, actor: staff.actor, action, object_kind, object_id, before: said(before), after: said(fee) }, now).await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fee(fixed_minor: i64, ppm: u32, borne_by: Bearer) -> BookingFee {
        BookingFee { fixed_minor, ppm, borne_by, tax_ppm: 210_000, is_kept: false }
    }

    #[test]
    fn a_fee_is_inside_the_price() {
        // 100.00 and 5 % and 1.50 on top of it are 106.50; of 106.50 the fee is 6.50.
        assert_eq!(fee(150, 50_000, Bearer::Buyer).of(10_650), 650);
        assert_eq!(fee(150, 50_000, Bearer::Promoter).of(10_000), 650);
        assert_eq!((fee(150, 0, Bearer::Buyer).of(100), fee(150, 50_000, Bearer::Promoter).of(0)), (100, 0));
    }

    proptest! {
        #[test]
        fn a_fee_is_never_more_than_the_price(minor in 0..1_000_000_000_i64, fixed in 0..10_000_i64, ppm in 0..500_001_u32, buyer in any::<bool>()) {
            let fee = fee(fixed, ppm, if buyer { Bearer::Buyer } else { Bearer::Promoter });
            prop_assert!((0..=minor).contains(&fee.of(minor)));
        }
    }
}
