//! `refund`: money of a charge on its way back to the card.

use serde_json::{Value, json};

use super::Mint;

/// What is refunded, of which charge.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) charge: &'a Value,
    pub(crate) amount: i64,
    pub(crate) reason: Option<&'a str>,
    pub(crate) metadata: Value,
}

/// A refund that succeeded, as nearly all do at once. Its balance transaction is set once it exists.
pub(crate) fn build(mint: &Mint<'_>, wish: &Wish<'_>) -> Value {
    let of_charge = |name: &str| wish.charge.get(name).cloned().unwrap_or_default();
    json!({
        "amount": wish.amount,
        "balance_transaction": null,
        "charge": of_charge("id"),
        "created": mint.now,
        "currency": of_charge("currency"),
        "customer": of_charge("customer"),
        "customer_account": null,
        "destination_details": {"card": {"type": "refund"}, "type": "card"},
        "id": mint.id("re_3", 23),
        "metadata": wish.metadata,
        "object": "refund",
        "payment_intent": of_charge("payment_intent"),
        "payment_method": of_charge("payment_method"),
        "reason": wish.reason,
        "receipt_number": null,
        "source_transfer_reversal": null,
        "status": "succeeded",
        "transfer_reversal": null,
    })
}
