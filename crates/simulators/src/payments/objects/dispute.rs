//! `dispute`: a cardholder asked the bank to take a payment back. Evidence is not simulated.

use serde_json::{Map, Value, json};

use super::Mint;

const SECONDS_TO_ANSWER: i64 = 7 * 24 * 3_600;
/// Everything that a seller could submit; all of it stays empty here.
const EVIDENCE: [&str; 27] = [
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
];

/// A dispute of a charge in this status.
pub(crate) fn build(mint: &Mint<'_>, charge: &Value, amount: i64, status: &str) -> Value {
    let of_charge = |name: &str| charge.get(name).cloned().unwrap_or_default();
    let mut evidence: Map<String, Value> =
        EVIDENCE.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    evidence.insert("enhanced_evidence".to_owned(), json!({}));
    json!({
        "amount": amount,
        "balance_transactions": [],
        "charge": of_charge("id"),
        "created": mint.now,
        "currency": of_charge("currency"),
        "enhanced_eligibility_types": [],
        "evidence": evidence,
        "evidence_details": {
            "due_by": mint.now + SECONDS_TO_ANSWER, "enhanced_eligibility": {}, "has_evidence": false,
            "past_due": false, "submission_count": 0,
        },
        "id": mint.id("du_1", 23),
        "is_charge_refundable": false,
        "livemode": false,
        "metadata": {},
        "object": "dispute",
        "payment_intent": of_charge("payment_intent"),
        "payment_method_details": {
            "card": {"brand": "visa", "case_type": "chargeback", "network": "visa", "network_reason_code": "10.4"},
            "type": "card",
        },
        "reason": "fraudulent",
        "status": status,
    })
}
