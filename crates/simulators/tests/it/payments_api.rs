//! The payment API: shapes, lists, expansion, idempotency, refusals, memory.

use serde_json::{Value, json};
use simulators::PaymentsConfig;

use crate::harness::{KEY, Shop, client, session_form};

/// Fields of `ours` that are missing or of another JSON type than in Stripe's own sample.
fn differences(ours: &Value, sample: &Value) -> Vec<String> {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let differs = |(name, sample): (&String, &Value)| match ours.get(name) {
        None => Some(format!("{name} is missing")),
        Some(ours) if ours.is_null() || sample.is_null() || kind(ours) == kind(sample) => None,
        Some(ours) => Some(format!("{name} is {} instead of {}", kind(ours), kind(sample))),
    };
    sample.as_object().unwrap().iter().filter_map(differs).collect()
}

#[tokio::test]
async fn objects_have_the_fields_of_stripes_own_samples() {
    let samples: Value = serde_json::from_str(include_str!("../fixtures/stripe-objects.json")).unwrap();
    let shop = Shop::start(|_| {});
    let open = shop.session().await;
    let id = open["id"].as_str().unwrap();
    shop.control(reqwest::Method::POST, &format!("/_control/pay/{id}"), json!({})).await;
    let paid = shop.get(&format!("/v1/checkout/sessions/{id}")).await;
    let lines = shop.get(&format!("/v1/checkout/sessions/{id}/line_items")).await;
    let newest = async |path: &str| shop.get(path).await["data"][0].clone();
    let (_, customer) = shop.post("/v1/customers", "email=a@b.test", None).await;
    for (kind, object) in [
        ("checkout.session", &open),
        ("checkout.session", &paid),
        ("item", &lines["data"][0]),
        ("payment_intent", &newest("/v1/payment_intents").await),
        ("charge", &newest("/v1/charges").await),
        ("balance_transaction", &newest("/v1/balance_transactions").await),
        ("customer", &customer),
        ("event", &newest("/v1/events").await),
    ] {
        assert_eq!(differences(object, &samples["resources"][kind]), [""; 0], "{kind}");
    }
}

#[tokio::test]
async fn a_paid_session_leaves_intent_charge_and_balance_behind() {
    let shop = Shop::start(|_| {});
    let id = shop.session().await["id"].as_str().unwrap().to_owned();
    let paid = shop.control(reqwest::Method::POST, &format!("/_control/pay/{id}"), json!({})).await;
    assert_eq!(
        (&paid["status"], &paid["payment_status"], &paid["url"]),
        (&json!("complete"), &json!("paid"), &json!(null))
    );
    let intent = shop.get(&format!("/v1/payment_intents/{}", paid["payment_intent"].as_str().unwrap())).await;
    assert_eq!((&intent["amount_received"], &intent["status"]), (&json!(1080), &json!("succeeded")));
    assert_eq!(intent["metadata"], json!({"purchase": "pur_1"}));
    let charge = shop.get(&format!("/v1/charges/{}", intent["latest_charge"].as_str().unwrap())).await;
    assert_eq!((&charge["amount_captured"], &charge["payment_intent"]), (&json!(1080), &intent["id"]));
    let balance = shop.get("/v1/balance_transactions").await;
    assert_eq!(
        (&balance["data"][0]["source"], &balance["data"][0]["net"]),
        (&charge["id"], &json!(1080 - 61))
    );
    let lines = shop.get(&format!("/v1/checkout/sessions/{id}/line_items")).await;
    assert_eq!(lines["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_idempotency_key_gives_one_answer_and_refuses_another_request() {
    let shop = Shop::start(|_| {});
    let path = "/v1/checkout/sessions";
    let first = shop.post(path, &session_form(), Some("k1")).await;
    assert_eq!(shop.post(path, &session_form(), Some("k1")).await, first);
    assert_ne!(shop.post(path, &session_form(), Some("k2")).await, first);
    let (status, other) = shop.post(path, &(session_form() + "&customer_email=a@b.test"), Some("k1")).await;
    assert_eq!((status, &other["error"]["type"]), (400, &json!("idempotency_error")));
    // A refused request does not use its key up.
    assert_eq!(shop.post(path, "mode=payment", Some("k3")).await.0, 400);
    assert_eq!(shop.post(path, &session_form(), Some("k3")).await.0, 200);
    assert_eq!(shop.get(path).await["data"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn faulty_requests_get_stripes_errors() {
    let shop = Shop::start(|_| {});
    let sessions = "/v1/checkout/sessions";
    let without = |name: &str| {
        let kept = session_form()
            .split('&')
            .filter(|pair| !pair.starts_with(name))
            .map(str::to_owned)
            .collect::<Vec<_>>();
        kept.join("&")
    };
    let cases = [
        (sessions, without("mode"), 400, "parameter_missing", "mode"),
        (sessions, without("success_url"), 400, "parameter_missing", "success_url"),
        (sessions, without("line_items"), 400, "parameter_missing", "line_items"),
        (sessions, without("line_items[1][quantity]"), 400, "parameter_missing", "line_items[1][quantity]"),
        (sessions, session_form() + "&foo=1", 400, "parameter_unknown", "foo"),
        (sessions, session_form() + "&customer=cus_none", 404, "resource_missing", "id"),
        (
            sessions,
            session_form() + "&line_items[0][price_data][unit_amount]=ten",
            400,
            "parameter_invalid_integer",
            "line_items[0][price_data][unit_amount]",
        ),
        (
            sessions,
            session_form() + "&line_items[0][price_data][unit_amount]=99999999",
            400,
            "amount_too_large",
            "line_items",
        ),
        ("/v1/checkout/sessions/cs_none/expire", String::new(), 404, "resource_missing", "id"),
    ];
    for (path, form, status, code, param) in cases {
        let (got, body) = shop.post(path, &form, None).await;
        let error = &body["error"];
        assert_eq!((got, &error["code"], &error["param"]), (status, &json!(code), &json!(param)), "{form}");
    }
    let anonymous = client().get(shop.url("/v1/events")).send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
    let unknown = client().get(shop.url("/v1/nothing")).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(unknown.status(), 404);
}

#[tokio::test]
async fn lists_are_newest_first_and_paged() {
    let shop = Shop::start(|_| {});
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, shop.session().await["id"].as_str().unwrap().to_owned());
    }
    let page = async |query: &str| {
        let list = shop.get(&format!("/v1/checkout/sessions?{query}")).await;
        let found: Vec<String> = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect();
        (found, list["has_more"].as_bool().unwrap())
    };
    assert_eq!(page("limit=2").await, (ids[..2].to_vec(), true));
    assert_eq!(page(&format!("limit=2&starting_after={}", ids[1])).await, (ids[2..4].to_vec(), true));
    assert_eq!(page(&format!("limit=2&starting_after={}", ids[3])).await, (ids[4..].to_vec(), false));
    assert_eq!(page(&format!("limit=2&ending_before={}", ids[3])).await.0, ids[1..3].to_vec());
    assert_eq!(page("status=complete").await, (Vec::new(), false));
}

#[tokio::test]
async fn an_expired_session_cannot_be_paid() {
    let shop = Shop::start(|_| {});
    let id = shop.session().await["id"].as_str().unwrap().to_owned();
    let expire = format!("/v1/checkout/sessions/{id}/expire");
    assert_eq!(shop.post(&expire, "", None).await.1["status"], "expired");
    assert_eq!(shop.post(&expire, "", None).await.0, 400);
    let refused = shop.control(reqwest::Method::POST, &format!("/_control/pay/{id}"), json!({})).await;
    assert_eq!(refused["error"]["type"], "invalid_request_error");
    assert_eq!(shop.event_types().await, ["checkout.session.expired"]);
}

#[tokio::test]
async fn sessions_survive_a_restart_with_a_state_file() {
    let path = std::env::temp_dir().join(format!("simulated-payments-{}.json", std::process::id()));
    let keep = |config: &mut PaymentsConfig| config.state_file = Some(path.clone());
    let shop = Shop::start(keep);
    let session = shop.session().await;
    shop.simulator.stop().await.unwrap();
    let shop = Shop::start(keep);
    let id = session["id"].as_str().unwrap();
    assert_eq!(shop.get(&format!("/v1/checkout/sessions/{id}")).await, session);
    let paid = shop.control(reqwest::Method::POST, &format!("/_control/pay/{id}"), json!({})).await;
    assert_eq!(paid["payment_status"], "paid");
    std::fs::remove_file(&path).unwrap();
}
