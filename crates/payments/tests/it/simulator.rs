//! The client and the webhook reader against the payments simulator, which shares no code with them.

use crate::client::order_at;
use crate::server::{Reply, Server, post};
use billing::payment::PaymentProvider;
use billing::purchase::SessionStatus;
use kernel::clock::SystemClock;
use kernel::{Clock, SecretString};
use payments::webhook::{EventKind, TOLERANCE, parse, verify};
use payments::{StripeClient, StripeConfig};
use simulators::{Payments, PaymentsConfig};

const WEBHOOK_SECRET: &str = "whsec_0123456789abcdef0123456789abcdef";
const SECRET_KEY: &str = "sk_test_simulated";

fn start(webhook_url: String) -> (Payments, StripeClient) {
    let simulator = Payments::start(PaymentsConfig {
        webhook_url: Some(webhook_url),
        webhook_secret: WEBHOOK_SECRET.to_owned(),
        secret_key: SECRET_KEY.to_owned(),
        ..PaymentsConfig::default()
    })
    .unwrap();
    let config =
        StripeConfig { base_url: Some(simulator.url()), ..StripeConfig::new(SecretString::from(SECRET_KEY)) };
    (simulator, StripeClient::new(&config).unwrap())
}

#[tokio::test]
async fn a_purchase_is_begun_paid_announced_and_read() {
    let clock = SystemClock::new();
    let mut hooks = Server::start(vec![Reply::Send(200, String::new()); 10]).await;
    let (simulator, client) = start(format!("{}/hook", hooks.url));
    let order = order_at(clock.now().timestamp());

    let page = client.begin_checkout(&order).await.unwrap();
    assert_eq!(client.begin_checkout(&order).await.unwrap(), page);
    let open = client.session(&page.id).await.unwrap();
    assert_eq!((open.status, open.purchase, open.live), (SessionStatus::Open, Some(order.purchase), false));

    assert_eq!(post(&format!("{}/_control/pay/{}", simulator.url(), page.id)).await, 200);
    let paid = client.session(&page.id).await.unwrap();
    assert_eq!((paid.status, paid.total, paid.currency.as_str()), (SessionStatus::Paid, order.total, "usd"));
    let payment = paid.payment.unwrap();

    let secret = SecretString::from(WEBHOOK_SECRET);
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let hook = hooks.next().await;
        let signature = hook.header("stripe-signature").unwrap();
        verify(hook.raw_body.as_bytes(), signature, &secret, clock.now(), TOLERANCE).unwrap();
        let event = parse(hook.raw_body.as_bytes()).unwrap();
        assert_eq!((event.payment.as_deref(), event.live), (Some(payment.as_str()), false));
        if matches!(event.kind, EventKind::CheckoutCompleted | EventKind::PaymentSucceeded) {
            assert_eq!(event.purchase, Some((order.org, order.purchase)), "{}", event.kind.as_str());
        }
        if event.kind == EventKind::CheckoutCompleted {
            assert_eq!(event.session.as_ref(), Some(&page.id));
        }
        kinds.push(event.kind.as_str().to_owned());
    }
    kinds.sort();
    assert_eq!(kinds, ["charge.succeeded", "checkout.session.completed", "payment_intent.succeeded"]);

    client.expire(&page.id).await.unwrap();
    assert_eq!(client.session(&page.id).await.unwrap().status, SessionStatus::Paid);
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn a_page_that_is_closed_stays_closed() {
    let hooks = Server::start(vec![Reply::Send(200, String::new()); 10]).await;
    let (simulator, client) = start(format!("{}/hook", hooks.url));
    let page = client.begin_checkout(&order_at(SystemClock::new().now().timestamp())).await.unwrap();
    client.expire(&page.id).await.unwrap();
    client.expire(&page.id).await.unwrap();
    assert_eq!(client.session(&page.id).await.unwrap().status, SessionStatus::Expired);
    assert_eq!(post(&format!("{}/_control/pay/{}", simulator.url(), page.id)).await, 400);
    assert!(client.session("cs_test_unknown").await.is_err());
    simulator.stop().await.unwrap();
}
