//! `checkout.session`: what a client asks for when creating one, and how a new one looks.
//! Modes other than `payment` are refused.

use serde_json::{Value, json};

use super::Mint;
use crate::payments::failure::Failure;
use crate::payments::form::Params;
use crate::payments::objects::line_item;

/// Parameters that the real service takes here.
pub(crate) const PARAMETERS: [&str; 49] = [
    "adaptive_pricing",
    "after_expiration",
    "allow_promotion_codes",
    "allowed_payment_method_types",
    "automatic_tax",
    "billing_address_collection",
    "branding_settings",
    "cancel_url",
    "client_reference_id",
    "consent_collection",
    "currency",
    "custom_fields",
    "custom_text",
    "customer",
    "customer_account",
    "customer_creation",
    "customer_email",
    "customer_update",
    "discounts",
    "excluded_payment_method_types",
    "expand",
    "expires_at",
    "integration_identifier",
    "invoice_creation",
    "line_items",
    "locale",
    "managed_payments",
    "metadata",
    "mode",
    "name_collection",
    "optional_items",
    "origin_context",
    "payment_intent_data",
    "payment_method_collection",
    "payment_method_configuration",
    "payment_method_data",
    "payment_method_options",
    "payment_method_types",
    "permissions",
    "phone_number_collection",
    "redirect_on_completion",
    "return_url",
    "saved_payment_method_options",
    "shipping_address_collection",
    "shipping_options",
    "submit_type",
    "success_url",
    "tax_id_collection",
    "ui_mode",
];
const SECONDS_PER_HOUR: i64 = 3_600;
/// Bounds of the whole amount, in cents.
const LEAST_TOTAL: i64 = 50;
const MOST_TOTAL: i64 = 99_999_999;

/// A checked wish for a session.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) currency: String,
    pub(crate) lines: Vec<line_item::Wish>,
    pub(crate) total: i64,
    expires_at: i64,
}

/// Checks the parameters; `now` is in unix seconds.
pub(crate) fn check(params: &Params, now: i64) -> Result<Wish, Failure> {
    params.only(&PARAMETERS)?;
    match params.required("/mode")? {
        "payment" => {}
        "setup" | "subscription" => {
            return Err(Failure::parameter(
                "parameter_invalid",
                "mode",
                "This simulator knows only mode payment.",
            ));
        }
        other => {
            let message =
                format!("Invalid mode: must be one of payment, setup, or subscription, not {other}");
            return Err(Failure::parameter("parameter_invalid", "mode", message));
        }
    }
    params.required("/success_url")?;
    let count = params.at("/line_items").and_then(Value::as_array).map_or(0, Vec::len);
    if count == 0 {
        return Err(Failure::missing("line_items"));
    }
    let lines = (0..count).map(|at| line_item::check(params, at)).collect::<Result<Vec<_>, _>>()?;
    let currency = lines.first().map(|line| line.currency.clone()).unwrap_or_default();
    if lines.iter().any(|line| line.currency != currency) {
        return Err(Failure::invalid("All line items must use the same currency."));
    }
    let total = lines.iter().try_fold(0_i64, |sum, line| sum.checked_add(line.total));
    let total = total.filter(|total| *total <= MOST_TOTAL).ok_or_else(|| {
        Failure::parameter(
            "amount_too_large",
            "line_items",
            "The Checkout Session's total amount is too large.",
        )
    })?;
    if total < LEAST_TOTAL {
        let message = "The Checkout Session's total amount due must add up to at least $0.50 usd";
        return Err(Failure::parameter("amount_too_small", "line_items", message));
    }
    let expires_at = params.integer("/expires_at")?.unwrap_or(now + 24 * SECONDS_PER_HOUR);
    if expires_at < now + SECONDS_PER_HOUR / 2 || expires_at > now + 24 * SECONDS_PER_HOUR {
        let message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.";
        return Err(Failure::parameter("parameter_invalid", "expires_at", message));
    }
    Ok(Wish { currency, lines, total, expires_at })
}

/// A new open session. `public_url` is the base of its page.
pub(crate) fn build(mint: &Mint<'_>, params: &Params, wish: &Wish, public_url: &str) -> Value {
    let id = mint.id("cs_test_", 58);
    let url = format!("{public_url}/c/pay/{id}");
    let mut session = blank();
    super::set(
        &mut session,
        [
            ("amount_subtotal", json!(wish.total)),
            ("amount_total", json!(wish.total)),
            ("cancel_url", json!(params.text("/cancel_url"))),
            ("client_reference_id", json!(params.text("/client_reference_id"))),
            ("created", json!(mint.now)),
            ("currency", json!(wish.currency)),
            ("customer", json!(params.text("/customer"))),
            ("customer_creation", json!(params.text("/customer_creation").unwrap_or("if_required"))),
            ("customer_email", json!(params.text("/customer_email"))),
            ("expires_at", json!(wish.expires_at)),
            ("id", json!(id)),
            ("locale", json!(params.text("/locale"))),
            ("metadata", params.map("/metadata")),
            ("success_url", json!(params.text("/success_url"))),
            ("submit_type", json!(params.text("/submit_type"))),
            ("url", json!(url)),
        ],
    );
    session
}

/// The fields that no parameter changes, and the starting state of the others.
fn blank() -> Value {
    json!({
        "adaptive_pricing": {"enabled": false},
        "after_expiration": null,
        "allow_promotion_codes": null,
        "amount_subtotal": 0,
        "amount_total": 0,
        "automatic_tax": {"enabled": false, "liability": null, "provider": null, "status": null},
        "billing_address_collection": null,
        "cancel_url": null,
        "client_reference_id": null,
        "client_secret": null,
        "collected_information": {"business_name": null, "individual_name": null, "shipping_details": null},
        "consent": null,
        "consent_collection": null,
        "created": 0,
        "currency": "usd",
        "currency_conversion": null,
        "custom_fields": [],
        "custom_text": {
            "after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null,
        },
        "customer": null,
        "customer_account": null,
        "customer_creation": "if_required",
        "customer_details": null,
        "customer_email": null,
        "discounts": [],
        "expires_at": 0,
        "id": "",
        "integration_identifier": null,
        "invoice": null,
        "invoice_creation": {
            "enabled": false,
            "invoice_data": {
                "account_tax_ids": null, "custom_fields": null, "description": null, "footer": null,
                "issuer": null, "metadata": {}, "rendering_options": null,
            },
        },
        "livemode": false,
        "locale": null,
        "managed_payments": {"enabled": false},
        "metadata": {},
        "mode": "payment",
        "object": "checkout.session",
        "origin_context": null,
        "payment_intent": null,
        "payment_link": null,
        "payment_method_collection": "if_required",
        "payment_method_configuration_details": null,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "permissions": null,
        "phone_number_collection": {"enabled": false},
        "recovered_from": null,
        "saved_payment_method_options": null,
        "setup_intent": null,
        "shipping_address_collection": null,
        "shipping_cost": null,
        "shipping_options": [],
        "status": "open",
        "submit_type": null,
        "subscription": null,
        "success_url": null,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": null,
        "wallet_options": null,
    })
}
