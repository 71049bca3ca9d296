//! `balance_transaction`: what a charge does to the seller's balance, fee included.

use serde_json::{Value, json};

use super::Mint;

const SECONDS_TO_PAYOUT: i64 = 2 * 24 * 3_600;

/// Stripe's list fee for cards in the United States: 2.9 % and 30 cents. In cents, rounded half up.
fn fee(amount: i64) -> i64 {
    amount.saturating_mul(29).saturating_add(500) / 1_000 + 30
}

/// `charge` gives amount, currency, description and source.
pub(crate) fn build(mint: &Mint<'_>, charge: &Value, amount: i64) -> Value {
    let of_charge = |name: &str| charge.get(name).cloned().unwrap_or_default();
    let fee = fee(amount);
    json!({
        "amount": amount,
        "available_on": mint.now + SECONDS_TO_PAYOUT,
        "balance_type": "payments",
        "created": mint.now,
        "currency": of_charge("currency"),
        "description": of_charge("description"),
        "exchange_rate": null,
        "fee": fee,
        "fee_details": [{
            "amount": fee, "application": null, "currency": of_charge("currency"),
            "description": "Stripe processing fees", "type": "stripe_fee",
        }],
        "id": mint.id("txn_3", 23),
        "net": amount - fee,
        "object": "balance_transaction",
        "reporting_category": "charge",
        "source": of_charge("id"),
        "status": "pending",
        "type": "charge",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_are_the_listed_ones() {
        for (amount, expected) in [(1_000, 59), (10_550, 336), (50, 31)] {
            assert_eq!(fee(amount), expected, "{amount}");
        }
    }
}
