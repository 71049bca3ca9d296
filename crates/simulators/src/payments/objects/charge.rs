//! `charge`: one try of a card, taken or declined.

use serde_json::{Value, json};

use super::Mint;

/// How the card network answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Approved,
    Declined,
}

pub(crate) const DECLINE_MESSAGE: &str = "Your card was declined.";

/// What is charged, and for which intent.
#[derive(Debug)]
pub(crate) struct Try<'a> {
    pub(crate) intent: &'a Value,
    pub(crate) payment_method: &'a str,
    pub(crate) email: Option<&'a str>,
    pub(crate) verdict: Verdict,
}

/// A charge without its balance transaction, which is set once it exists.
pub(crate) fn build(mint: &Mint<'_>, attempt: &Try<'_>) -> Value {
    let id = mint.id("ch_3", 23);
    let approved = attempt.verdict == Verdict::Approved;
    let of_intent = |name: &str| attempt.intent.get(name).cloned().unwrap_or_default();
    let amount = of_intent("amount");
    let captured = if approved { amount.clone() } else { json!(0) };
    json!({
        "amount": amount,
        "amount_captured": captured,
        "amount_refunded": 0,
        "application": null,
        "application_fee": null,
        "application_fee_amount": null,
        "balance_transaction": null,
        "billing_details": {
            "address": {
                "city": null, "country": "US", "line1": null, "line2": null, "postal_code": "12345", "state": null,
            },
            "email": attempt.email, "name": "Simulated Customer", "phone": null, "tax_id": null,
        },
        "calculated_statement_descriptor": "SIMULATED",
        "captured": approved,
        "created": mint.now,
        "currency": of_intent("currency"),
        "customer": of_intent("customer"),
        "description": of_intent("description"),
        "disputed": false,
        "failure_balance_transaction": null,
        "failure_code": if approved { Value::Null } else { json!("card_declined") },
        "failure_message": if approved { Value::Null } else { json!(DECLINE_MESSAGE) },
        "fraud_details": {},
        "id": id,
        "livemode": false,
        "metadata": of_intent("metadata"),
        "object": "charge",
        "on_behalf_of": null,
        "outcome": outcome(approved),
        "paid": approved,
        "payment_intent": of_intent("id"),
        "payment_method": attempt.payment_method,
        "payment_method_details": {"card": card(&amount, approved), "type": "card"},
        "receipt_email": of_intent("receipt_email"),
        "receipt_number": null,
        "receipt_url": null,
        "refunded": false,
        "refunds": {"data": [], "has_more": false, "object": "list", "url": format!("/v1/charges/{id}/refunds")},
        "review": null,
        "shipping": null,
        "source": null,
        "source_transfer": null,
        "statement_descriptor": null,
        "statement_descriptor_suffix": null,
        "status": if approved { "succeeded" } else { "failed" },
        "transfer_data": null,
        "transfer_group": null,
    })
}

fn outcome(approved: bool) -> Value {
    if approved {
        json!({
            "advice_code": null, "network_advice_code": null, "network_decline_code": null,
            "network_status": "approved_by_network", "reason": null, "risk_level": "normal", "risk_score": 12,
            "seller_message": "Payment complete.", "type": "authorized",
        })
    } else {
        json!({
            "advice_code": "try_again_later", "network_advice_code": null, "network_decline_code": "01",
            "network_status": "declined_by_network", "reason": "generic_decline", "risk_level": "normal",
            "risk_score": 41, "seller_message": "The bank did not return any further details with this decline.",
            "type": "issuer_declined",
        })
    }
}

fn card(amount: &Value, approved: bool) -> Value {
    json!({
        "amount_authorized": if approved { amount.clone() } else { Value::Null },
        "authorization_code": null,
        "brand": "visa",
        "checks": {"address_line1_check": null, "address_postal_code_check": "pass", "cvc_check": "pass"},
        "country": "US",
        "exp_month": 12,
        "exp_year": 2034,
        "extended_authorization": {"status": "disabled"},
        "fingerprint": "SimulatedCard001",
        "funding": "credit",
        "incremental_authorization": {"status": "unavailable"},
        "installments": null,
        "last4": if approved { "4242" } else { "0002" },
        "mandate": null,
        "multicapture": {"status": "unavailable"},
        "network": "visa",
        "network_token": {"used": false},
        "network_transaction_id": null,
        "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
        "regulated_status": "unregulated",
        "three_d_secure": null,
        "wallet": null,
    })
}
