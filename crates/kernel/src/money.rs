//! Amounts and prices as named integers, rounded in one place.
//!
//! Amounts are nano-dollars, prices pico-dollars per unit, card money cents. There are no floats and
//! no silent defaults: whatever does not fit is an error. The rules are in `docs/money.md`.

use crate::decimal::{self, DecimalError};
use serde::{Deserialize, Serialize};

/// An operation on money that cannot be carried out exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("amount out of range")]
    Range,
    #[error("{0}")]
    Text(#[from] DecimalError),
}

/// An amount in 10⁻⁹ US dollar. What lives in Redis stays within ±[`NanoUsd::REDIS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(i64);

impl NanoUsd {
    pub const ZERO: Self = Self(0);
    /// 2⁵³ − 1: the largest amount that a Lua number holds exactly ($9,007,199.25).
    pub const REDIS_MAX: Self = Self(9_007_199_254_740_991);

    #[must_use]
    pub const fn new(nano: i64) -> Self {
        Self(nano)
    }

    /// The raw number of nano-dollars.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).map(Self).ok_or(MoneyError::Range)
    }

    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_sub(other.0).map(Self).ok_or(MoneyError::Range)
    }

    pub fn checked_neg(self) -> Result<Self, MoneyError> {
        self.0.checked_neg().map(Self).ok_or(MoneyError::Range)
    }

    #[must_use]
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Reads dollars as exact decimal text, e.g. `12.5`.
    pub fn parse_dollars(text: &str) -> Result<Self, MoneyError> {
        let value = decimal::parse_scaled(text, 9)?;
        i64::try_from(value).map(Self).map_err(|_too_large| MoneyError::Range)
    }

    /// Dollars as exact decimal text without trailing zeros, e.g. `0.00125`. Valid JSON as it stands.
    #[must_use]
    pub fn dollars(self) -> String {
        decimal::format_scaled(i128::from(self.0), 9)
    }

    /// A JSON number that carries [`dollars`](Self::dollars) digit by digit.
    #[must_use]
    pub fn json(self) -> Box<serde_json::value::RawValue> {
        raw_number(self.dollars())
    }
}

impl From<Cents> for NanoUsd {
    fn from(cents: Cents) -> Self {
        Self(cents.0.saturating_mul(10_000_000))
    }
}

/// A price in 10⁻¹² US dollar per token, image, second or request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PicoUsd(i64);

impl PicoUsd {
    pub const ZERO: Self = Self(0);

    #[must_use]
    pub const fn new(pico: i64) -> Self {
        Self(pico)
    }

    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Reads dollars per single unit as decimal text, e.g. `0.0000025`.
    pub fn parse_per_unit(text: &str) -> Result<Self, MoneyError> {
        let value = decimal::parse_scaled(text, 12)?;
        i64::try_from(value).map(Self).map_err(|_too_large| MoneyError::Range)
    }

    /// Reads dollars per million units as decimal text, e.g. `2.50`.
    pub fn parse_per_million(text: &str) -> Result<Self, MoneyError> {
        let value = decimal::parse_scaled(text, 6)?;
        i64::try_from(value).map(Self).map_err(|_too_large| MoneyError::Range)
    }

    /// Dollars per unit as decimal text: the form of the public API.
    #[must_use]
    pub fn per_unit(self) -> String {
        decimal::format_scaled(i128::from(self.0), 12)
    }

    /// Dollars per million units as decimal text: the form of the pages.
    #[must_use]
    pub fn per_million(self) -> String {
        decimal::format_scaled(i128::from(self.0), 6)
    }

    /// Quantity times price, exact.
    #[must_use]
    pub fn times(self, quantity: u64) -> PicoTotal {
        PicoTotal(i128::from(self.0) * i128::from(quantity))
    }
}

/// A sum of products in pico-dollars. It becomes an amount by one rounding, here and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PicoTotal(i128);

impl PicoTotal {
    pub const ZERO: Self = Self(0);

    #[must_use]
    pub const fn new(pico: i128) -> Self {
        Self(pico)
    }

    #[must_use]
    pub const fn get(self) -> i128 {
        self.0
    }

    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).map(Self).ok_or(MoneyError::Range)
    }

    /// `basis_points` / 10,000 of the total, still exact to the pico (rounded down to one).
    pub fn basis_points(self, basis_points: u32) -> Result<Self, MoneyError> {
        let product = self.0.checked_mul(i128::from(basis_points)).ok_or(MoneyError::Range)?;
        Ok(Self(product.div_euclid(10_000)))
    }

    /// Rounded down: what is charged.
    pub fn floor(self) -> Result<NanoUsd, MoneyError> {
        i64::try_from(self.0.div_euclid(1000)).map(NanoUsd).map_err(|_too_large| MoneyError::Range)
    }

    /// Rounded up: what is held, and what a provider costs us.
    pub fn ceil(self) -> Result<NanoUsd, MoneyError> {
        let up = self.0.checked_add(999).ok_or(MoneyError::Range)?.div_euclid(1000);
        i64::try_from(up).map(NanoUsd).map_err(|_too_large| MoneyError::Range)
    }
}

/// Card money in US cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cents(i64);

impl Cents {
    pub const ZERO: Self = Self(0);

    #[must_use]
    pub const fn new(cents: i64) -> Self {
        Self(cents)
    }

    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).map(Self).ok_or(MoneyError::Range)
    }

    /// Reads dollars with at most two decimals, e.g. `10` or `10.80`.
    pub fn parse_dollars(text: &str) -> Result<Self, MoneyError> {
        let value = decimal::parse_scaled(text, 2)?;
        i64::try_from(value).map(Self).map_err(|_too_large| MoneyError::Range)
    }

    /// Dollars with exactly two decimals, e.g. `10.80`.
    #[must_use]
    pub fn dollars(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        format!("{sign}{}.{:02}", magnitude / 100, magnitude % 100)
    }
}

#[expect(clippy::expect_used, reason = "decimal text made by format_scaled is always a JSON number")]
fn raw_number(text: String) -> Box<serde_json::value::RawValue> {
    serde_json::value::RawValue::from_string(text).expect("a decimal is a JSON number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_rounded_down_and_a_hold_up_once() {
        // price pico per token, tokens, charge nano, hold nano (docs/money.md)
        let rows = [
            (7_500, 1000, 7_500, 7_500),
            (7_500, 3, 22, 23),
            (1, 1, 0, 1),
            (1, 1000, 1, 1),
            (0, 5, 0, 0),
            (2_500_000, 8_174, 20_435_000, 20_435_000),
        ];
        for (price, tokens, charge, hold) in rows {
            let total = PicoUsd::new(price).times(tokens);
            assert_eq!(total.floor(), Ok(NanoUsd::new(charge)));
            assert_eq!(total.ceil(), Ok(NanoUsd::new(hold)));
        }
    }

    #[test]
    fn prices_are_read_exactly_or_refused() {
        assert_eq!(PicoUsd::parse_per_million("2.50"), Ok(PicoUsd::new(2_500_000)));
        assert_eq!(PicoUsd::parse_per_million("0.0375"), Ok(PicoUsd::new(37_500)));
        assert_eq!(PicoUsd::parse_per_unit("0.0000025"), Ok(PicoUsd::new(2_500_000)));
        assert_eq!(PicoUsd::new(37_500).per_million(), "0.0375");
        assert_eq!(PicoUsd::new(37_500).per_unit(), "0.0000000375");
        assert!(PicoUsd::parse_per_million("0.0000001").is_err());
        assert!(PicoUsd::parse_per_million("99999999999999999999").is_err());
    }

    #[test]
    fn amounts_print_as_exact_dollars() {
        assert_eq!(NanoUsd::new(10_000_000_000).dollars(), "10");
        assert_eq!(NanoUsd::new(-1).dollars(), "-0.000000001");
        assert_eq!(NanoUsd::new(1_234_500).json().get(), "0.0012345");
        assert_eq!(Cents::new(1080).dollars(), "10.80");
        assert_eq!(Cents::parse_dollars("10.8"), Ok(Cents::new(1080)));
        assert!(Cents::parse_dollars("10.801").is_err());
    }

    #[test]
    fn overflow_is_an_error_never_a_wrap() {
        assert_eq!(NanoUsd::new(i64::MAX).checked_add(NanoUsd::new(1)), Err(MoneyError::Range));
        assert_eq!(PicoTotal::new(i128::MAX).floor(), Err(MoneyError::Range));
        assert_eq!(PicoTotal::new(i128::MAX).ceil(), Err(MoneyError::Range));
        assert_eq!(PicoUsd::new(i64::MAX).times(u64::MAX).floor(), Err(MoneyError::Range));
    }
}
