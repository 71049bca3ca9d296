//! `payment_intent`: one attempt to collect an amount, over as many tries of a card as it takes.

use serde_json::{Value, json};

use super::Mint;

/// What a payment is for; amounts in the currency's smallest unit.
#[derive(Debug, Clone)]
pub(crate) struct Purpose {
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) customer: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) metadata: Value,
    pub(crate) receipt_email: Option<String>,
}

/// A new intent that waits for a card.
pub(crate) fn build(mint: &Mint<'_>, purpose: &Purpose) -> Value {
    let id = mint.id("pi_3", 23);
    let client_secret = format!("{id}_secret_{}", mint.id("", 25));
    json!({
        "amount": purpose.amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": null,
        "application_fee_amount": null,
        "automatic_payment_methods": null,
        "canceled_at": null,
        "cancellation_reason": null,
        "capture_method": "automatic_async",
        "client_secret": client_secret,
        "confirmation_method": "automatic",
        "created": mint.now,
        "currency": purpose.currency,
        "customer": purpose.customer,
        "customer_account": null,
        "description": purpose.description,
        "excluded_payment_method_types": null,
        "id": id,
        "last_payment_error": null,
        "latest_charge": null,
        "livemode": false,
        "managed_payments": {"enabled": false},
        "metadata": purpose.metadata,
        "next_action": null,
        "object": "payment_intent",
        "on_behalf_of": null,
        "payment_method": null,
        "payment_method_configuration_details": null,
        "payment_method_options": {"card": {
            "installments": null, "mandate_options": null, "network": null, "request_three_d_secure": "automatic",
        }},
        "payment_method_types": ["card"],
        "processing": null,
        "receipt_email": purpose.receipt_email,
        "review": null,
        "setup_future_usage": null,
        "shipping": null,
        "source": null,
        "statement_descriptor": null,
        "statement_descriptor_suffix": null,
        "status": "requires_payment_method",
        "transfer_data": null,
        "transfer_group": null,
    })
}
