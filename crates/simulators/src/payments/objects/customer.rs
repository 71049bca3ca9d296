//! `customer`: somebody who pays. Cards of customers are not kept.

use serde_json::{Value, json};

use super::Mint;
use crate::payments::form::Params;

pub(crate) fn build(mint: &Mint<'_>, params: &Params) -> Value {
    let id = mint.id("cus_", 14);
    let prefix: String = id.chars().rev().take(8).collect::<String>().to_uppercase();
    json!({
        "address": params.at("/address"),
        "balance": 0,
        "created": mint.now,
        "currency": null,
        "default_source": null,
        "delinquent": false,
        "description": params.text("/description"),
        "discount": null,
        "email": params.text("/email"),
        "id": id,
        "invoice_prefix": prefix,
        "invoice_settings": {
            "custom_fields": null, "default_payment_method": null, "footer": null, "rendering_options": null,
        },
        "livemode": false,
        "metadata": params.map("/metadata"),
        "name": params.text("/name"),
        "next_invoice_sequence": 1,
        "object": "customer",
        "phone": params.text("/phone"),
        "preferred_locales": [],
        "shipping": null,
        "tax_exempt": "none",
        "test_clock": null,
    })
}
