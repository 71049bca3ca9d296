//! `item`: one line of a Checkout session, from `price_data`. Saved prices are not simulated.

use serde_json::{Value, json};

use super::Mint;
use crate::payments::failure::Failure;
use crate::payments::form::Params;

/// A checked line; amounts in the currency's smallest unit.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) currency: String,
    pub(crate) name: String,
    pub(crate) unit_amount: i64,
    pub(crate) quantity: i64,
    pub(crate) total: i64,
}

/// Checks `line_items[at]`.
pub(crate) fn check(params: &Params, at: usize) -> Result<Wish, Failure> {
    let under = |rest: &str| format!("/line_items/{at}/{rest}");
    if params.text(&under("price")).is_some() {
        return Err(Failure::no_such("price", params.text(&under("price")).unwrap_or_default()));
    }
    let currency = params.required(&under("price_data/currency"))?.to_lowercase();
    let name = match params.text(&under("price_data/product")) {
        Some(product) => product.to_owned(),
        None => params.required(&under("price_data/product_data/name"))?.to_owned(),
    };
    let missing = |rest: &str| Failure::missing(&format!("line_items[{at}]{rest}"));
    let unit_amount = params
        .integer(&under("price_data/unit_amount"))?
        .ok_or_else(|| missing("[price_data][unit_amount]"))?;
    let quantity = params.integer(&under("quantity"))?.ok_or_else(|| missing("[quantity]"))?;
    let total = unit_amount.checked_mul(quantity).filter(|_| unit_amount >= 0 && quantity > 0);
    let total = total.ok_or_else(|| {
        Failure::parameter(
            "parameter_invalid_integer",
            &format!("line_items[{at}]"),
            "Invalid amount or quantity.",
        )
    })?;
    Ok(Wish { currency, name, unit_amount, quantity, total })
}

pub(crate) fn build(mint: &Mint<'_>, wish: &Wish) -> Value {
    json!({
        "adjustable_quantity": null,
        "amount_discount": 0,
        "amount_subtotal": wish.total,
        "amount_tax": 0,
        "amount_total": wish.total,
        "currency": wish.currency,
        "description": wish.name,
        "id": mint.id("li_1", 23),
        "metadata": {},
        "object": "item",
        "price": {
            "active": false,
            "billing_scheme": "per_unit",
            "created": mint.now,
            "currency": wish.currency,
            "custom_unit_amount": null,
            "id": mint.id("price_1", 23),
            "livemode": false,
            "lookup_key": null,
            "metadata": {},
            "nickname": null,
            "object": "price",
            "product": mint.id("prod_", 14),
            "recurring": null,
            "tax_behavior": "unspecified",
            "tiers_mode": null,
            "transform_quantity": null,
            "type": "one_time",
            "unit_amount": wish.unit_amount,
            "unit_amount_decimal": wish.unit_amount.to_string(),
        },
        "quantity": wish.quantity,
    })
}
