//! Money: minor units and a currency, checked arithmetic, exact splits, never a float.

use poem_openapi::{
    Object,
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An ISO 4217 currency code, known to the list that the `iso_currency` crate carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(iso_currency::Currency);

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Currency {
    /// By code.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.code().cmp(other.code())
    }
}

impl Currency {
    /// Digits after the decimal sign: 2 for EUR, 0 for JPY.
    #[must_use]
    pub fn exponent(self) -> u32 {
        u32::from(self.0.exponent().unwrap_or(2))
    }

    /// The three letters.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// The sign that pages print: € and ¥, or the code and a space where a sign would be taken for another currency.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self.code() {
            "EUR" => "€",
            "CNY" | "JPY" => "¥",
            "GBP" => "£",
            "USD" => "$",
            "KRW" => "₩",
            "INR" => "₹",
            _ => "",
        }
    }
}

impl std::fmt::Debug for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

impl std::fmt::Display for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// The text is not a currency of ISO 4217.
#[derive(Debug, thiserror::Error)]
#[error("not a currency of ISO 4217")]
pub struct UnknownCurrency;

impl std::str::FromStr for Currency {
    type Err = UnknownCurrency;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        iso_currency::Currency::from_code(text).map(Self).ok_or(UnknownCurrency)
    }
}

impl TryFrom<String> for Currency {
    type Error = UnknownCurrency;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl sqlx::Type<sqlx::Postgres> for Currency {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        <str as sqlx::Type<sqlx::Postgres>>::type_info()
    }
    fn compatible(ty: &sqlx::postgres::PgTypeInfo) -> bool {
        <str as sqlx::Type<sqlx::Postgres>>::compatible(ty)
    }
}

impl<'r> sqlx::Decode<'r, sqlx::Postgres> for Currency {
    fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        Ok(<&str as sqlx::Decode<sqlx::Postgres>>::decode(value)?.parse()?)
    }
}

impl sqlx::Encode<'_, sqlx::Postgres> for Currency {
    fn encode_by_ref(&self, buf: &mut sqlx::postgres::PgArgumentBuffer) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        <&str as sqlx::Encode<sqlx::Postgres>>::encode(self.code(), buf)
    }
}

impl Type for Currency {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;
    fn name() -> std::borrow::Cow<'static, str> {
        "string_currency".into()
    }
    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            description: Some("A currency of ISO 4217."),
            pattern: Some("^[A-Z]{3}$".to_owned()),
            example: Some("EUR".into()),
            ..MetaSchema::new("string")
        }))
    }
    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        Some(self)
    }
    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self::RawElementValueType> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for Currency {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value {
            Some(Value::String(text)) => text.parse().map_err(ParseError::custom),
            other => Err(ParseError::expected_type(other.unwrap_or_default())),
        }
    }
}

impl ParseFromParameter for Currency {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        value.parse().map_err(ParseError::custom)
    }
}

impl ToJSON for Currency {
    fn to_json(&self) -> Option<Value> {
        Some(self.code().into())
    }
}

/// An amount in the smallest unit of its currency: `{"minor": 12900, "currency": "EUR"}` is €129.00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Object, Serialize, Deserialize, sqlx::Type)]
#[oai(deny_unknown_fields)]
#[sqlx(type_name = "amount")]
pub struct Money {
    /// How many of the smallest unit, cents for EUR.
    pub minor: i64,
    /// The currency of ISO 4217.
    pub currency: Currency,
}

/// A sum does not fit, or two currencies were mixed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the amount does not fit")]
pub struct Overflow;

impl Money {
    /// An amount of minor units.
    #[must_use]
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Reads an amount as people type it: digits with a point or a comma before the smallest unit, `12`, `12.5`, `12,50`; `None` when it is none, or finer
    /// than its currency.
    #[must_use]
    pub fn read(text: &str, currency: Currency) -> Option<Self> {
        let exponent = currency.exponent() as usize;
        let (whole, part) = text.trim().split_once(['.', ',']).unwrap_or((text.trim(), ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > exponent {
            return None;
        }
        let minor = whole.parse::<i64>().ok()?.checked_mul(10_i64.pow(currency.exponent()))?;
        let part = format!("{part:0<exponent$}");
        Some(Self::new(minor.checked_add(if part.is_empty() { 0 } else { part.parse().ok()? })?, currency))
    }

    /// The amount as pages print it, sign before and no space: `€316.00`, `¥498`.
    ///
    /// CNY is printed without decimals where they are zero, as prices in China are.
    #[must_use]
    pub fn print(self) -> String {
        let exponent = self.currency.exponent();
        let scale = 10_i64.pow(exponent);
        let (whole, part) = (self.minor.abs() / scale, self.minor.abs() % scale);
        let minus = if self.minor < 0 { "−" } else { "" };
        let sign = match self.currency.sign() {
            "" => format!("{} ", self.currency.code()),
            sign => sign.to_owned(),
        };
        let whole = group(whole);
        if exponent == 0 || (self.currency.code() == "CNY" && part == 0) {
            format!("{minus}{sign}{whole}")
        } else {
            format!("{minus}{sign}{whole}.{part:0width$}", width = exponent as usize)
        }
    }

    /// The amount without decimals where they are zero, for posters and tier rows: `€139`, `€4.50`.
    #[must_use]
    pub fn print_short(self) -> String {
        let text = self.print();
        match text.strip_suffix(".00") {
            Some(short) => short.to_owned(),
            None => text,
        }
    }
}

/// Groups thousands: `18,240`.
#[must_use]
pub fn group(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        out.push('−');
    }
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Splits an amount by integer weights, exact to the unit, by the largest remainder (Hamilton's method); ties go to the
/// earlier share.
///
/// All weights zero means that the first takes all.
#[must_use]
pub fn split(minor: i64, weights: &[u32]) -> Vec<i64> {
    let whole: i128 = weights.iter().map(|w| i128::from(*w)).sum();
    if whole == 0 {
        return (0..weights.len()).map(|i| if i == 0 { minor } else { 0 }).collect();
    }
    let amount = i128::from(minor);
    let mut shares: Vec<i128> = weights.iter().map(|w| (amount * i128::from(*w)).div_euclid(whole)).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse((amount * i128::from(weights[*i])).rem_euclid(whole)), *i));
    let rest = amount - shares.iter().sum::<i128>();
    for i in order.into_iter().take(usize::try_from(rest).unwrap_or(0)) {
        shares[i] += 1;
    }
    shares.into_iter().map(|s| i64::try_from(s).unwrap_or(0)).collect()
}

/// The tax inside a gross amount at a rate in parts per million, rounded half to even.
#[must_use]
pub fn tax_within(gross_minor: i64, rate_ppm: u32) -> i64 {
    half_even(i128::from(gross_minor) * i128::from(rate_ppm), 1_000_000 + i128::from(rate_ppm))
}

/// An amount times a rate in parts per million, rounded half to even.
#[must_use]
pub fn times_ppm(minor: i64, rate_ppm: u32) -> i64 {
    half_even(i128::from(minor) * i128::from(rate_ppm), 1_000_000)
}

/// A rate in parts per million in per cent: `9`, `8.875`.
#[must_use]
pub fn percent(ppm: u32) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn half_even(numerator: i128, denominator: i128) -> i64 {
    let (floor, rest) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
    let up = match (rest * 2).cmp(&denominator) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => floor.rem_euclid(2) == 1,
        std::cmp::Ordering::Less => false,
    };
    i64::try_from(floor + i128::from(up)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn eur(minor: i64) -> Money {
        Money::new(minor, "EUR".parse().unwrap())
    }

    #[test]
    fn an_amount_is_read_as_people_type_it() {
        let read = |text: &str, currency: &str| Money::read(text, currency.parse().unwrap()).map(|m| m.minor);
        assert_eq!(["12", "12.5", " 12,50 ", "0.01"].map(|text| read(text, "EUR")), [Some(1_200), Some(1_250), Some(1_250), Some(1)]);
        assert_eq!((read("500", "JPY"), read("1.234", "KWD")), (Some(500), Some(1_234)));
        for none in ["", ".5", "-1", "1.234", "1e3", "1,000.00", "12 €", "99999999999999999999", "92233720368547758.08"] {
            assert_eq!(read(none, "EUR"), None, "{none}");
        }
        assert_eq!(read("5.0", "JPY"), None);
    }

    #[test]
    fn money_prints_with_its_sign_and_exactly() {
        assert_eq!(eur(31600).print(), "€316.00");
        assert_eq!(eur(239_811_405).print(), "€2,398,114.05");
        assert_eq!(eur(-450).print(), "−€4.50");
        assert_eq!(Money::new(49800, "CNY".parse().unwrap()).print(), "¥498");
        assert_eq!(Money::new(1200, "JPY".parse().unwrap()).print(), "¥1,200");
        assert_eq!(eur(13900).print_short(), "€139");
    }

    #[test]
    fn tax_is_taken_out_half_even() {
        assert_eq!(tax_within(10900, 90_000), 900);
        assert_eq!(tax_within(1600, 210_000), 278);
        assert_eq!(tax_within(0, 210_000), 0);
    }

    #[test]
    fn a_rate_is_printed_in_per_cent() {
        assert_eq!([90_000, 88_750, 0, 1_000_000, 1].map(percent), ["9", "8.875", "0", "100", "0.0001"]);
    }

    proptest! {
        #[test]
        fn shares_add_up_and_are_fair(minor in 0_i64..1_000_000_000, weights in proptest::collection::vec(0_u32..10_000, 1..8)) {
            let shares = split(minor, &weights);
            prop_assert_eq!(shares.iter().sum::<i64>(), minor);
            let whole: u64 = weights.iter().map(|w| u64::from(*w)).sum();
            if whole > 0 {
                for (share, weight) in shares.iter().zip(&weights) {
                    let exact = i128::from(minor) * i128::from(*weight) / i128::from(whole);
                    prop_assert!((i128::from(*share) - exact).abs() <= 1);
                }
            }
        }
    }
}
