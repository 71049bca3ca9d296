//! A change of a key made at one gateway reaches the other within a second; limits and their periods.

use crate::support::{BOOKED, DOLLAR, ask};
use chrono::{DateTime, Datelike as _, Days, Months, Utc};
use e2e::{Key, Options, Reply, Stack, eventually, nano_at, text_of};
use kernel::{Clock as _, clock::SystemClock};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(1);
const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";

/// A key made by the API, with its handle.
async fn make(stack: &Stack, manager: &Key, wish: Value) -> (Key, String) {
    let made = manager.send(Method::POST, "/keys", &wish).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.text);
    let key = stack.key(0, text_of(&made.body, "/key")).unwrap();
    (key, text_of(&made.body, "/data/hash").to_owned())
}

/// Changes the key at the first gateway and waits for the second to answer so.
async fn change(manager: &Key, path: &str, wish: Value, there: &Key, status: u16) -> Reply {
    let changed = manager.send(Method::PATCH, path, &wish).await.unwrap();
    assert_eq!(changed.status, 200, "{}", changed.text);
    within_a_second(there, status, &wish.to_string()).await
}

async fn within_a_second(there: &Key, status: u16, what: &str) -> Reply {
    let body = ask(MODEL, "Still there?", 10);
    let wanted = eventually(SOON, what, || async {
        Ok(Some(there.chat(&body).await?).filter(|r| r.status == status))
    });
    wanted.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_changed_at_one_gateway_is_changed_at_the_other_within_a_second() {
    let stack = Stack::start(Options { gateways: 2, ..Options::default() }).await.unwrap();
    let (_demo, _key, manager) = stack.demo().await.unwrap();
    let (key, hash) = make(&stack, &manager, json!({ "name": "to be changed", "limit": 1 })).await;
    let there = key.at(&stack.gateway(1).unwrap().url());
    for known in [&key, &there] {
        assert_eq!(known.chat(&ask(MODEL, "Hello", 10)).await.unwrap().status, 200);
    }
    let path = format!("/keys/{hash}");
    let refused = change(&manager, &path, json!({ "disabled": true }), &there, 401).await;
    assert_eq!(refused.error_type(), "authentication");
    change(&manager, &path, json!({ "disabled": false }), &there, 200).await;
    let refused = change(&manager, &path, json!({ "limit": 0 }), &there, 403).await;
    assert_eq!(refused.error_type(), "permission_denied");
    assert_eq!(text_of(&refused.body, "/error/metadata/limit_source"), "key_limit");
    change(&manager, &path, json!({ "limit": null }), &there, 200).await;
    change(&manager, &path, json!({ "limit": 0, "limit_reset": "weekly" }), &there, 403).await;
    change(&manager, &path, json!({ "limit": 5 }), &there, 200).await;
    let deleted = manager.send(Method::DELETE, &path, &json!({})).await.unwrap();
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    within_a_second(&there, 401, "deleted").await;
    assert_eq!(manager.get(&path).await.unwrap().status, 404);
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}

/// When a period ends: midnight, Monday, the first; all in UTC.
fn end_of(period: &str, now: DateTime<Utc>) -> DateTime<Utc> {
    let today = now.date_naive();
    let day = match period {
        "daily" => today + Days::new(1),
        "weekly" => today + Days::new(7 - u64::from(today.weekday().num_days_from_monday())),
        _ => today.with_day(1).unwrap() + Months::new(1),
    };
    day.and_hms_opt(0, 0, 0).unwrap().and_utc()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_stops_calls_until_its_period_ends_and_says_when() {
    let stack = Stack::one().await.unwrap();
    let model = stack.add_provider("limited", "1", "1").await.unwrap();
    let (demo, _key, manager) = stack.demo().await.unwrap();
    let usage = json!({ "prompt_tokens": 100, "completion_tokens": 900, "total_tokens": 1_000 });
    stack
        .providers
        .script(json!({ "provider": "local-limited", "script": { "usage": usage } }))
        .await
        .unwrap();
    let body = ask(&model, "Count.", 1_100);
    for (period, scope) in [("daily", "daily"), ("weekly", "weekly"), ("monthly", "monthly"), ("", "total")] {
        let reset = if period.is_empty() { Value::Null } else { json!(period) };
        let wish = json!({ "name": period_name(period), "limit": 0.0045, "limit_reset": reset });
        let (key, hash) = make(&stack, &manager, wish).await;
        let before = SystemClock::new().now();
        let mut spent = 0;
        // Each call costs $0.001 and holds a little more: four fit into $0.0045.
        let refused = loop {
            let reply = key.chat(&body).await.unwrap();
            if reply.status != 200 {
                break reply;
            }
            spent += reply.cost().unwrap();
            assert!(spent <= 4_500_000);
        };
        assert_eq!((refused.status, refused.error_type(), spent), (403, "permission_denied", 4_000_000));
        assert_eq!(text_of(&refused.body, "/error/metadata/scope"), scope);
        let resets = text_of(&refused.body, "/error/metadata/resets_at").parse::<DateTime<Utc>>().ok();
        assert_eq!(resets, (!period.is_empty()).then(|| end_of(period, before)), "{period}");
        let shown = key.get("/key").await.unwrap();
        assert_eq!(nano_at(&shown.body, "/data/limit_remaining").unwrap(), 4_500_000 - spent);
        assert_eq!(text_of(&shown.body, "/data/limit_reset"), period);
        stack.settled(BOOKED).await.unwrap();
        let listed = manager.get(&format!("/keys/{hash}")).await.unwrap();
        for field in ["usage", "usage_daily", "usage_weekly", "usage_monthly"] {
            assert_eq!(nano_at(&listed.body, &format!("/data/{field}")).unwrap(), spent, "{period} {field}");
        }
    }
    assert!(demo.balance(&stack).unwrap() < 25 * DOLLAR);
    stack.verify().await.unwrap();
}

fn period_name(period: &str) -> String {
    format!("limit {period}")
}
