//! Fee rules: what a purchase of credits and the use of an own provider key cost. Rules are rows with
//! dates; this file holds their arithmetic.

use kernel::{Cents, MoneyError, NanoUsd, PicoTotal};
use serde::{Deserialize, Serialize};

/// The fee on a purchase of credits, charged on top: the rate, half a cent rounded up, at least the minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseFee {
    /// Tenths of a percent: 55 is 5.5 %.
    pub rate_per_mille: i64,
    pub minimum: Cents,
    pub smallest_purchase: Cents,
    pub largest_purchase: Cents,
}

/// Why an amount cannot be bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PurchaseRefusal {
    #[error("the smallest purchase is ${}", .0.dollars())]
    TooSmall(Cents),
    #[error("the largest purchase is ${}", .0.dollars())]
    TooLarge(Cents),
    #[error("{0}")]
    Money(#[from] MoneyError),
}

/// What a purchase costs: the credits granted equal `amount` exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurchaseQuote {
    pub amount: Cents,
    pub fee: Cents,
    pub total: Cents,
}

impl PurchaseFee {
    /// The rule in force when no row says otherwise: 5.5 %, at least $0.80, from $5 to $25,000.
    pub const STANDARD: Self = Self {
        rate_per_mille: 55,
        minimum: Cents::new(80),
        smallest_purchase: Cents::new(500),
        largest_purchase: Cents::new(2_500_000),
    };

    /// The fee on an amount, whatever its size.
    pub fn fee(&self, amount: Cents) -> Result<Cents, MoneyError> {
        let product = amount.get().checked_mul(self.rate_per_mille).ok_or(MoneyError::Range)?;
        let rounded = product.checked_add(500).ok_or(MoneyError::Range)?.div_euclid(1000);
        Ok(Cents::new(rounded).max(self.minimum))
    }

    /// The full quote, or why this amount is not sold.
    pub fn quote(&self, amount: Cents) -> Result<PurchaseQuote, PurchaseRefusal> {
        if amount < self.smallest_purchase {
            return Err(PurchaseRefusal::TooSmall(self.smallest_purchase));
        }
        if amount > self.largest_purchase {
            return Err(PurchaseRefusal::TooLarge(self.largest_purchase));
        }
        let fee = self.fee(amount)?;
        Ok(PurchaseQuote { amount, fee, total: amount.checked_add(fee)? })
    }
}

/// What an own provider key costs: nothing within the month's allowance, then a share of the list price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByokFee {
    pub allowance: Allowance,
    /// Hundredths of a percent of the list price: 500 is 5 %.
    pub basis_points: u32,
}

/// The unit in which a month's free use is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allowance {
    /// So many requests.
    Requests(u64),
    /// Requests worth so much at catalog prices.
    ListPrice(NanoUsd),
}

impl ByokFee {
    /// The rule in force when no row says otherwise: 1,000,000 requests a month, then 5 %.
    pub const STANDARD: Self = Self { allowance: Allowance::Requests(1_000_000), basis_points: 500 };

    /// The fee of a request beyond the allowance: a share of its list price, rounded down.
    pub fn fee(&self, list_price: PicoTotal) -> Result<NanoUsd, MoneyError> {
        list_price.basis_points(self.basis_points)?.floor()
    }

    /// The hold for a request beyond the allowance: the same share of its ceiling, rounded up.
    pub fn hold(&self, ceiling: NanoUsd) -> Result<NanoUsd, MoneyError> {
        let product = i128::from(ceiling.get()) * i128::from(self.basis_points);
        PicoTotal::new((product + 9).div_euclid(10)).ceil()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written independently of the rule: counts in tenths of a cent and rounds by comparing.
    fn oracle(amount: i64) -> i64 {
        let thousandths = i128::from(amount) * 55;
        let mut cents = thousandths / 1000;
        if (thousandths % 1000) * 2 >= 1000 {
            cents += 1;
        }
        i64::try_from(if cents < 80 { 80 } else { cents }).unwrap()
    }

    #[test]
    fn the_purchase_fee_agrees_with_an_oracle_for_every_cent_up_to_100_000_dollars() {
        let mut checked = 0_u32;
        for amount in 1..=10_000_000 {
            assert_eq!(
                PurchaseFee::STANDARD.fee(Cents::new(amount)),
                Ok(Cents::new(oracle(amount))),
                "{amount}"
            );
            checked += 1;
        }
        assert_eq!(checked, 10_000_000);
    }

    #[test]
    fn the_fee_table_of_the_money_page_holds() {
        let rows = [
            (500, 80),
            (1000, 80),
            (1454, 80),
            (1463, 80),
            (1464, 81),
            (2500, 138),
            (10_000, 550),
            (2_500_000, 137_500),
        ];
        for (amount, fee) in rows {
            let quote = PurchaseFee::STANDARD.quote(Cents::new(amount)).unwrap();
            assert_eq!((quote.fee, quote.total), (Cents::new(fee), Cents::new(amount + fee)));
        }
    }

    #[test]
    fn amounts_outside_the_limits_are_refused_with_the_limit() {
        let rule = PurchaseFee::STANDARD;
        assert_eq!(rule.quote(Cents::new(499)), Err(PurchaseRefusal::TooSmall(Cents::new(500))));
        assert_eq!(rule.quote(Cents::new(-1)), Err(PurchaseRefusal::TooSmall(Cents::new(500))));
        assert_eq!(rule.quote(Cents::new(2_500_001)), Err(PurchaseRefusal::TooLarge(Cents::new(2_500_000))));
        assert!(rule.fee(Cents::new(i64::MAX)).is_err());
    }

    #[test]
    fn the_byok_fee_is_a_share_of_the_list_price() {
        // list price in pico, fee in nano (rounded down)
        let rows = [(0, 0), (19_999, 0), (20_000, 1), (1_000_000_000, 50_000), (1_000_000_019, 50_000)];
        for (list, fee) in rows {
            assert_eq!(ByokFee::STANDARD.fee(PicoTotal::new(list)), Ok(NanoUsd::new(fee)));
        }
        assert_eq!(ByokFee::STANDARD.hold(NanoUsd::new(20)), Ok(NanoUsd::new(1)));
        assert_eq!(ByokFee::STANDARD.hold(NanoUsd::new(21)), Ok(NanoUsd::new(2)));
        assert_eq!(ByokFee::STANDARD.hold(NanoUsd::ZERO), Ok(NanoUsd::ZERO));
    }
}
