//! `balance_transaction`: what a charge, a refund or a dispute does to the seller's balance, fee included.

use serde_json::{Value, json};

use super::Mint;

const SECONDS_TO_PAYOUT: i64 = 2 * 24 * 3_600;
/// What a dispute costs the seller, in cents.
const DISPUTE_FEE: i64 = 1_500;

/// Stripe's list fee for cards in the United States: 2.9 % and 30 cents. In cents, rounded half up.
fn fee(amount: i64) -> i64 {
    amount.saturating_mul(29).saturating_add(500) / 1_000 + 30
}

/// What happened to the balance. Amounts in the currency's smallest unit; negative ones leave the balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Charge,
    Refund,
    /// A refund that the customer's bank sent back.
    RefundFailure,
    Dispute,
    DisputeReversal,
}

impl Kind {
    /// Stripe's type and reporting category.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Charge => ("charge", "charge"),
            Self::Refund => ("refund", "refund"),
            Self::RefundFailure => ("refund_failure", "refund_failure"),
            Self::Dispute => ("adjustment", "dispute"),
            Self::DisputeReversal => ("adjustment", "dispute_reversal"),
        }
    }

    fn fee(self, amount: i64) -> i64 {
        match self {
            Self::Charge => fee(amount),
            Self::Dispute => DISPUTE_FEE,
            Self::Refund | Self::RefundFailure | Self::DisputeReversal => 0,
        }
    }
}

/// `source` is the charge, refund or dispute; it gives currency and id.
pub(crate) fn build(mint: &Mint<'_>, kind: Kind, source: &Value, amount: i64) -> Value {
    let of_source = |name: &str| source.get(name).cloned().unwrap_or_default();
    let fee = kind.fee(amount);
    let (word, category) = kind.words();
    let details = if fee == 0 {
        json!([])
    } else {
        json!([{
            "amount": fee, "application": null, "currency": of_source("currency"),
            "description": if kind == Kind::Dispute { "Dispute fee" } else { "Stripe processing fees" },
            "type": "stripe_fee",
        }])
    };
    json!({
        "amount": amount,
        "available_on": mint.now + SECONDS_TO_PAYOUT,
        "balance_type": "payments",
        "created": mint.now,
        "currency": of_source("currency"),
        "description": of_source("description"),
        "exchange_rate": null,
        "fee": fee,
        "fee_details": details,
        "id": mint.id("txn_3", 23),
        "net": amount - fee,
        "object": "balance_transaction",
        "reporting_category": category,
        "source": of_source("id"),
        "status": "pending",
        "type": word,
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
