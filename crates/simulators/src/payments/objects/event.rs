//! `event`: the news that an object changed, with the object as it was then.

use serde_json::{Value, json};

use super::{API_VERSION, Mint};

pub(crate) fn build(mint: &Mint<'_>, kind: &str, object: &Value) -> Value {
    json!({
        "api_version": API_VERSION,
        "created": mint.now,
        "data": {"object": object},
        "id": mint.id("evt_1", 23),
        "livemode": false,
        "object": "event",
        "pending_webhooks": 1,
        "request": {"id": null, "idempotency_key": null},
        "type": kind,
    })
}
