//! What is sent to Stripe, how its answers are read, and what its failures become. The session is Stripe's
//! own fixture (`openapi/fixtures3.json` of its published API description, MIT) with fields changed.

use crate::server::{Reply, Server};
use billing::payment::{CheckoutOrder, PaymentError, PaymentProvider};
use billing::purchase::{PaidSession, SessionStatus};
use kernel::clock::FixedClock;
use kernel::ids::{OrgId, PurchaseId};
use kernel::rng::SeededEntropy;
use kernel::{Cents, Moment, SecretString};
use payments::{StripeClient, StripeConfig};
use serde_json::{Value, json};
use std::time::Duration;

const BORN: i64 = 1_790_000_000;

pub(crate) fn order() -> CheckoutOrder {
    order_at(BORN)
}

pub(crate) fn order_at(seconds: i64) -> CheckoutOrder {
    let (clock, rng) = (FixedClock::at(Moment::from_timestamp(seconds, 0).unwrap()), SeededEntropy::new(1));
    CheckoutOrder {
        purchase: PurchaseId::new(&clock, &rng),
        org: OrgId::new(&clock, &rng),
        email: "ann+credits@example.com".to_owned(),
        amount: Cents::new(1000),
        fee: Cents::new(80),
        total: Cents::new(1080),
        success_url: "https://shop.test/credits?done=1&x=a b".to_owned(),
        cancel_url: "https://shop.test/credits".to_owned(),
    }
}

fn session(changes: Value) -> Reply {
    let mut session: Value = serde_json::from_str(include_str!("../fixtures/checkout_session.json")).unwrap();
    let ours = json!({
        "id": "cs_test_1", "url": "https://checkout.test/cs_test_1", "amount_total": 1080, "currency": "usd",
        "metadata": {"purchase": order().purchase, "org": order().org},
        "client_reference_id": order().purchase,
    });
    for (name, value) in ours.as_object().unwrap().iter().chain(changes.as_object().unwrap()) {
        session[name] = value.clone();
    }
    Reply::Send(200, session.to_string())
}

fn client(url: &str) -> StripeClient {
    let config = StripeConfig {
        base_url: Some(url.to_owned()),
        timeout: Duration::from_millis(300),
        ..StripeConfig::new(SecretString::from("sk_test_abc"))
    };
    StripeClient::new(&config).unwrap()
}

#[tokio::test]
async fn a_page_is_asked_for_with_credits_and_fee_under_the_purchases_key() {
    let mut server = Server::start(vec![session(json!({}))]).await;
    let page = client(&server.url).begin_checkout(&order()).await.unwrap();
    assert_eq!((page.id.as_str(), page.url.as_str()), ("cs_test_1", "https://checkout.test/cs_test_1"));

    let seen = server.next().await;
    let (purchase, org) = (order().purchase.to_string(), order().org.to_string());
    assert_eq!(seen.line, "POST /v1/checkout/sessions");
    assert_eq!(seen.header("authorization"), Some("Bearer sk_test_abc"));
    assert_eq!(seen.header("idempotency-key"), Some(format!("{purchase}-1").as_str()));
    assert!(seen.header("stripe-version").is_some_and(|version| version.starts_with("20")));
    let fields = [
        ("mode", "payment"),
        ("client_reference_id", &purchase),
        ("customer_email", "ann+credits@example.com"),
        ("expires_at", "1790021600"),
        ("metadata[purchase]", &purchase),
        ("metadata[org]", &org),
        ("payment_intent_data[metadata][purchase]", &purchase),
        ("payment_intent_data[metadata][org]", &org),
        ("payment_intent_data[receipt_email]", "ann+credits@example.com"),
        ("line_items[0][quantity]", "1"),
        ("line_items[0][price_data][currency]", "usd"),
        ("line_items[0][price_data][unit_amount]", "1000"),
        ("line_items[1][quantity]", "1"),
        ("line_items[1][price_data][currency]", "usd"),
        ("line_items[1][price_data][unit_amount]", "80"),
        ("success_url", "https://shop.test/credits?done=1&x=a b"),
        ("cancel_url", "https://shop.test/credits"),
    ];
    for (name, value) in fields {
        assert_eq!(seen.field(name).as_deref(), Some(value), "{name} in {}", seen.raw_body);
    }
    assert_eq!(seen.field("line_items[2][quantity]"), None);
}

#[tokio::test]
async fn a_repeated_call_asks_for_exactly_the_same() {
    let mut server = Server::start(vec![session(json!({})), session(json!({}))]).await;
    let client = client(&server.url);
    client.begin_checkout(&order()).await.unwrap();
    client.begin_checkout(&order()).await.unwrap();
    let (first, second) = (server.next().await, server.next().await);
    let sorted = |body: &str| {
        let mut fields: Vec<String> = body.split('&').map(str::to_owned).collect();
        fields.sort();
        fields
    };
    assert_eq!(sorted(&first.raw_body), sorted(&second.raw_body));
    assert_eq!(first.header("idempotency-key"), second.header("idempotency-key"));
}

#[tokio::test]
async fn an_uncertain_failure_is_tried_once_more_under_the_right_key() {
    let stripes_own = Reply::error(500, r#""type":"api_error""#);
    let rows = [
        ("no answer", Reply::Hang, "-1"),
        ("closed connection", Reply::Close, "-1"),
        ("a proxy's page", Reply::Send(502, "<html>bad gateway</html>".to_owned()), "-1"),
        ("Stripe's own failure, which it would repeat", stripes_own, "-2"),
    ];
    for (name, reply, second_key) in rows {
        let mut server = Server::start(vec![reply, session(json!({}))]).await;
        let page = client(&server.url).begin_checkout(&order()).await;
        assert_eq!(page.map(|page| page.id), Ok("cs_test_1".to_owned()), "{name}");
        let (first, second) = (server.next().await, server.next().await);
        assert!(first.header("idempotency-key").unwrap().ends_with("-1"), "{name}");
        assert!(second.header("idempotency-key").unwrap().ends_with(second_key), "{name}");
        assert!(server.rest().is_empty(), "{name}");
    }
}

/// The kind of an error, with the message that a customer would see.
fn kind(error: &PaymentError) -> (&'static str, &str) {
    match error {
        PaymentError::Unavailable(_) => ("unavailable", ""),
        PaymentError::Refused { message } => ("refused", message),
        PaymentError::Malformed(_) => ("malformed", ""),
    }
}

#[tokio::test]
async fn every_failure_has_its_class_and_repeats_no_text_of_stripes() {
    let invalid = r#""type":"invalid_request_error""#;
    let email = format!(r#"{invalid},"param":"customer_email","code":"email_invalid""#);
    let again = "This purchase was begun before with other details. Please begin a new one.";
    let rows = [
        (Reply::Close, ("unavailable", "")),
        (Reply::Hang, ("unavailable", "")),
        (Reply::error(500, r#""type":"api_error""#), ("unavailable", "")),
        (Reply::error(503, r#""type":"api_error""#), ("unavailable", "")),
        (Reply::error(429, &format!(r#"{invalid},"code":"rate_limit""#)), ("unavailable", "")),
        (
            Reply::error(409, r#""type":"idempotency_error","code":"idempotency_key_in_use""#),
            ("unavailable", ""),
        ),
        (Reply::Send(502, "<html>".to_owned()), ("unavailable", "")),
        (Reply::Send(404, "not found".to_owned()), ("unavailable", "")),
        (Reply::error(402, r#""type":"card_error","code":"card_declined""#), ("refused", "secret text")),
        (Reply::error(400, r#""type":"idempotency_error""#), ("refused", again)),
        (Reply::error(400, &email), ("refused", "The payment provider does not accept this email address.")),
        (Reply::error(400, invalid), ("malformed", "")),
        (Reply::error(400, &format!(r#"{invalid},"code":"a_code_of_tomorrow""#)), ("malformed", "")),
        (Reply::error(401, invalid), ("malformed", "")),
        (Reply::error(403, invalid), ("malformed", "")),
        (Reply::error(404, &format!(r#"{invalid},"code":"resource_missing""#)), ("malformed", "")),
        (Reply::Send(200, "{}".to_owned()), ("malformed", "")),
        (Reply::Send(200, "not json".to_owned()), ("malformed", "")),
        (Reply::Send(200, r#"{"id":"cs_1"}"#.to_owned()), ("malformed", "")),
        (session(json!({"url": null})), ("malformed", "")),
    ];
    for (reply, expected) in rows {
        let server = Server::start(vec![reply.clone(), reply.clone()]).await;
        let error = client(&server.url).begin_checkout(&order()).await.unwrap_err();
        assert_eq!(kind(&error), expected, "{reply:?} gave {error}");
        let told = expected == ("refused", "secret text");
        assert_eq!(error.to_string().contains("secret text"), told, "{error}");
    }
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let client = client(&format!("http://127.0.0.1:{port}"));
    assert_eq!(kind(&client.begin_checkout(&order()).await.unwrap_err()).0, "unavailable");
    assert_eq!(kind(&client.session("cs_1").await.unwrap_err()).0, "unavailable");
}

#[tokio::test]
async fn an_order_that_does_not_add_up_is_not_sent() {
    let mut server = Server::start(vec![]).await;
    let wrong = CheckoutOrder { total: Cents::new(1079), ..order() };
    let timeless = CheckoutOrder { purchase: PurchaseId::from_uuid(Default::default()), ..order() };
    for order in [wrong, timeless] {
        let error = client(&server.url).begin_checkout(&order).await.unwrap_err();
        assert_eq!(kind(&error).0, "malformed");
    }
    assert!(server.rest().is_empty());
}

#[tokio::test]
async fn a_session_is_read_as_it_stands() {
    let paid = json!({"status": "complete", "payment_status": "paid"});
    let rows = [
        (json!({"status": "open", "payment_status": "unpaid"}), SessionStatus::Open),
        (json!({"status": "expired", "payment_status": "unpaid"}), SessionStatus::Expired),
        (json!({"status": "complete", "payment_status": "unpaid"}), SessionStatus::Processing),
        (json!({"status": "complete", "payment_status": "no_payment_required"}), SessionStatus::Paid),
        (paid.clone(), SessionStatus::Paid),
    ];
    for (changes, status) in rows {
        let mut server = Server::start(vec![session(changes.clone())]).await;
        let expected = PaidSession {
            session: "cs_test_1".to_owned(),
            purchase: Some(order().purchase),
            payment: Some("pi_1PgafyB7WZ01zgkWSjxsAJo3".to_owned()),
            status,
            total: Cents::new(1080),
            currency: "usd".to_owned(),
            live: false,
        };
        assert_eq!(client(&server.url).session("cs_test_1").await, Ok(expected), "{changes}");
        assert_eq!(server.next().await.line.trim_end_matches('?'), "GET /v1/checkout/sessions/cs_test_1");
    }
}

#[tokio::test]
async fn odd_sessions_name_nothing_or_are_refused() {
    let other = PurchaseId::from_uuid(Default::default());
    let read = async |changes: Value| {
        let server = Server::start(vec![session(changes)]).await;
        client(&server.url).session("cs_test_1").await
    };
    for nameless in [
        json!({"metadata": {}, "client_reference_id": null}),
        json!({"metadata": null, "client_reference_id": "cart 7"}),
        json!({"client_reference_id": other}),
        json!({"metadata": {"purchase": "pur_x"}, "client_reference_id": null}),
    ] {
        assert_eq!(read(nameless.clone()).await.unwrap().purchase, None, "{nameless}");
    }
    assert_eq!(read(json!({"metadata": {}})).await.unwrap().purchase, Some(order().purchase));
    assert_eq!(read(json!({"client_reference_id": null})).await.unwrap().purchase, Some(order().purchase));
    assert_eq!(read(json!({"currency": "eur"})).await.unwrap().currency, "eur");
    assert_eq!(read(json!({"currency": "xyz"})).await.unwrap().currency, "xyz");
    assert!(read(json!({"livemode": true})).await.unwrap().live);
    assert_eq!(read(json!({"payment_intent": null})).await.unwrap().payment, None);
    for unreadable in [
        json!({"amount_total": null}),
        json!({"currency": null}),
        json!({"status": null}),
        json!({"status": "resting"}),
        json!({"status": "complete", "payment_status": "promised"}),
        json!({"amount_total": "1080"}),
        json!({"amount_total": 10.8}),
    ] {
        let error = read(unreadable.clone()).await.unwrap_err();
        assert_eq!(kind(&error).0, "malformed", "{unreadable}");
    }
}

#[tokio::test]
async fn an_id_that_would_change_the_address_is_not_sent() {
    let mut server = Server::start(vec![]).await;
    for id in ["", "cs/../x", "cs_1?expand=x", "cs 1", "cs_\u{e9}", &"c".repeat(256)] {
        assert_eq!(kind(&client(&server.url).session(id).await.unwrap_err()).0, "malformed", "{id}");
        assert_eq!(kind(&client(&server.url).expire(id).await.unwrap_err()).0, "malformed", "{id}");
    }
    assert!(server.rest().is_empty());
}

#[tokio::test]
async fn closing_what_is_closed_changes_nothing() {
    let refused = || Reply::error(400, r#""type":"invalid_request_error""#);
    let open = || session(json!({"status": "open"}));
    let paid = session(json!({"status": "complete", "payment_status": "paid"}));
    let rows = [
        (vec![session(json!({"status": "expired"}))], "done"),
        (vec![refused(), session(json!({"status": "expired"}))], "done"),
        (vec![refused(), paid], "done"),
        (vec![refused(), open()], "malformed"),
        (vec![Reply::error(500, r#""type":"api_error""#)], "unavailable"),
        (vec![refused(), Reply::Close], "unavailable"),
    ];
    for (replies, expected) in rows {
        let mut server = Server::start(replies).await;
        let answer = client(&server.url).expire("cs_test_1").await;
        assert_eq!(answer.as_ref().map_or_else(|error| kind(error).0, |()| "done"), expected);
        assert_eq!(server.next().await.line, "POST /v1/checkout/sessions/cs_test_1/expire");
    }
}
