//! Webhooks as a receiver sees them: signed, tried again, disturbed on demand.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Receiver, SECRET, Shop};

const NEWS: [&str; 3] = ["payment_intent.succeeded", "charge.succeeded", "checkout.session.completed"];

fn shop(receiver: &Receiver) -> Shop {
    Shop::start(|config| config.webhook_url = Some(receiver.url.clone()))
}

async fn pay(shop: &Shop) {
    let id = shop.session().await["id"].as_str().unwrap().to_owned();
    shop.control(Method::POST, &format!("/_control/pay/{id}"), json!({})).await;
}

/// HMAC-SHA256 from its definition (RFC 2104), apart from the library that signs.
fn hmac(key: &[u8], message: &[u8]) -> String {
    assert!(key.len() <= 64);
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(key).for_each(|(block, key)| *block ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn events_arrive_in_order_with_a_signature_over_time_and_body() {
    let mut receiver = Receiver::start();
    let shop = shop(&receiver);
    pay(&shop).await;
    for expected in NEWS {
        let received = receiver.next().await;
        assert_eq!(received.kind(), expected);
        let (time, signature) = received.signature.split_once(',').unwrap();
        let time = time.strip_prefix("t=").unwrap();
        let computed = hmac(SECRET.as_bytes(), format!("{time}.{}", received.body).as_bytes());
        assert_eq!(signature, format!("v1={computed}"));
        let event: Value = serde_json::from_str(&received.body).unwrap();
        let kept = shop.get(&format!("/v1/events/{}", event["id"].as_str().unwrap())).await;
        assert_eq!(kept, event);
    }
}

#[tokio::test]
async fn a_refused_event_is_sent_again_until_it_is_taken() {
    let mut receiver = Receiver::refusing(2, "payment_intent");
    let shop = shop(&receiver);
    pay(&shop).await;
    let mut types = receiver.next_types(5).await;
    types.sort();
    let first = "payment_intent.succeeded";
    assert_eq!(types, ["charge.succeeded", "checkout.session.completed", first, first, first]);
    let query = format!("/_control/deliveries?type={first}&at_least=3&wait_ms=9000");
    let deliveries = shop.control(Method::GET, &query, json!({})).await;
    let attempts: Vec<(u64, u64)> = deliveries["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|delivery| (delivery["attempt"].as_u64().unwrap(), delivery["status"].as_u64().unwrap()))
        .collect();
    assert_eq!(attempts, [(1, 500), (2, 500), (3, 200)]);
}

#[tokio::test]
async fn an_event_is_given_up_after_the_last_attempt() {
    let mut receiver = Receiver::refusing(15, "");
    let shop = shop(&receiver);
    pay(&shop).await;
    receiver.next_types(15).await;
    let deliveries =
        shop.control(Method::GET, "/_control/deliveries?at_least=15&wait_ms=9000", json!({})).await;
    let list = deliveries["deliveries"].as_array().unwrap();
    assert_eq!((list.len(), list.iter().any(|delivery| delivery["delivered"] == true)), (15, false));
}

#[tokio::test]
async fn modes_repeat_turn_around_or_hold_back_events() {
    let [intent, charge, session] = NEWS;
    let cases = [
        ("normal", vec![intent, charge, session]),
        ("duplicate", vec![intent, intent, charge, charge, session, session]),
        ("reordered", vec![session, charge, intent]),
        ("delayed", vec![intent, charge, session]),
    ];
    for (mode, expected) in cases {
        let mut receiver = Receiver::start();
        let shop = shop(&receiver);
        shop.control(Method::PUT, "/_control/webhooks", json!({"mode": mode, "delay_ms": 1})).await;
        pay(&shop).await;
        assert_eq!(receiver.next_types(expected.len()).await, expected, "{mode}");
    }
}

#[tokio::test]
async fn dropped_events_are_listed_and_can_be_delivered_later() {
    let mut receiver = Receiver::start();
    let shop = shop(&receiver);
    shop.control(Method::PUT, "/_control/webhooks", json!({"mode": "dropped"})).await;
    pay(&shop).await;
    let recorded = shop.control(Method::GET, "/_control/deliveries", json!({})).await;
    let attempts: Vec<u64> = recorded["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["attempt"].as_u64().unwrap())
        .collect();
    assert_eq!(attempts, [0, 0, 0]);
    let completed = shop.get("/v1/events?type=checkout.session.completed").await;
    let id = completed["data"][0]["id"].as_str().unwrap().to_owned();
    shop.control(Method::POST, &format!("/_control/redeliver/{id}"), json!({})).await;
    assert_eq!(receiver.next().await.kind(), "checkout.session.completed");
}
