//! Amounts as Stripe counts them: in the smallest unit of a currency, with a list of exceptions of its own
//! (<https://docs.stripe.com/currencies#zero-decimal>, `#special-cases`, `#three-decimal`); pure.

use crate::money::{Currency, Money};

/// What Stripe counts in whole units.
const WHOLE: [&str; 15] = ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];
/// What Stripe counts in thousandths, and takes only in tens of them.
const THOUSANDTHS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];
/// What Stripe counts in hundredths, and takes only in whole units.
const WHOLE_HUNDREDS: [&str; 2] = ["ISK", "UGX"];

/// How many digits Stripe counts after the decimal sign, and what an amount has to be a multiple of.
fn counts(currency: Currency) -> (u32, i64) {
    let code = currency.code();
    if WHOLE.contains(&code) {
        (0, 1)
    } else if THOUSANDTHS.contains(&code) {
        (3, 10)
    } else if WHOLE_HUNDREDS.contains(&code) {
        (2, 100)
    } else {
        (2, 1)
    }
}

/// An amount in Stripe's units; `None` where it cannot be said in them.
#[must_use]
pub fn units(money: Money) -> Option<i64> {
    let (digits, step) = counts(money.currency);
    let units = scale(money.minor, money.currency.exponent(), digits)?;
    (units % step == 0).then_some(units)
}

/// Stripe's units as an amount; `None` for a currency that ISO 4217 does not know or a fraction of a minor unit.
#[must_use]
pub fn money(units: i64, currency: &str) -> Option<Money> {
    let currency: Currency = currency.to_ascii_uppercase().parse().ok()?;
    let minor = scale(units, counts(currency).0, currency.exponent())?;
    Some(Money::new(minor, currency))
}

/// The same amount with another number of digits after the decimal sign; `None` where a digit would be lost.
fn scale(amount: i64, from: u32, to: u32) -> Option<i64> {
    if to >= from {
        amount.checked_mul(10_i64.checked_pow(to - from)?)
    } else {
        let by = 10_i64.checked_pow(from - to)?;
        (amount % by == 0).then_some(amount / by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(minor: i64, code: &str) -> Money {
        Money::new(minor, code.parse().unwrap())
    }

    #[test]
    fn amounts_are_counted_as_stripe_counts_them() {
        for (minor, code, said) in [
            (12_900, "EUR", Some(12_900)),
            (1_500, "JPY", Some(1_500)),
            (12_340, "KWD", Some(12_340)),
            (12_345, "KWD", None),
            // ISO gives the krona no digits, Stripe two.
            (1_500, "ISK", Some(150_000)),
            (1_500, "UGX", Some(150_000)),
            // ISO gives the ariary two, Stripe none.
            (1_500, "MGA", Some(15)),
            (1_550, "MGA", None),
            (12_900, "HUF", Some(12_900)),
            (i64::MAX, "ISK", None),
        ] {
            assert_eq!(units(of(minor, code)), said, "{minor} {code}");
        }
    }

    #[test]
    fn what_was_said_is_read_back() {
        for code in WHOLE.iter().chain(&THOUSANDTHS).chain(&WHOLE_HUNDREDS).chain(&["EUR", "CNY", "USD", "HUF", "TWD"]) {
            let amount = of(123_000, code);
            assert_eq!(money(units(amount).unwrap(), &code.to_lowercase()), Some(amount), "{code}");
        }
        assert_eq!(money(100, "xyz"), None);
        assert_eq!(money(150, "isk"), None, "no halves of a krona");
    }
}
