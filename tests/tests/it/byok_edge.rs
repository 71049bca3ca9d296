//! Own provider keys at the edge of the month's free allowance.

use crate::support::{BOOKED, ask};
use e2e::{Options, Reply, Stack};
use futures_util::future::join_all;
use serde_json::json;

const ALLOWANCE: usize = 100;
/// Requests left of the allowance when the race begins.
const LEFT: usize = 50;
const RACERS: usize = 200;
const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";
const OWN_KEY: &str = "gsk_own_key_of_the_customer_0123456789";

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_requests_at_fifty_below_the_allowance_leave_exactly_fifty_free() {
    let rule = json!({ "allowance": { "requests": ALLOWANCE }, "basis_points": 500 });
    let sql = format!("INSERT INTO fee_rule VALUES ('byok', '2020-01-01T00:00:00Z', '{rule}')");
    let options = Options { gateways: 2, sql_before_start: sql, ..Options::default() };
    let stack = Stack::start(options).await.unwrap();
    let (mut customer, key) = stack.paying("5").await.unwrap();
    customer.provider_key("groq", OWN_KEY, false).await.unwrap();
    let usage = json!({ "prompt_tokens": 100, "completion_tokens": 200, "total_tokens": 300 });
    let mut body = ask(MODEL, "Hello from my own key.", 200);
    body["provider"] = json!({ "only": ["groq"] });

    // A request that fails gives its ticket back.
    let failing = json!({ "provider": "groq", "times": 5, "script": { "status": 401 } });
    stack.providers.script(failing).await.unwrap();
    for _ in 0..5 {
        let failed = key.chat(&body).await.unwrap();
        assert_eq!(failed.status, 502, "{}", failed.text);
    }
    stack.providers.script(json!({ "provider": "groq", "script": { "usage": usage } })).await.unwrap();
    for _ in 0..ALLOWANCE - LEFT {
        let free = key.chat(&body).await.unwrap();
        assert_eq!((free.status, free.cost().unwrap()), (200, 0), "{}", free.text);
        assert_eq!(free.body["usage"]["is_byok"], true);
    }

    let keys = [key.clone(), key.at(&stack.gateway(1).unwrap().url())];
    let calls = (0..RACERS).map(|number| keys[number % keys.len()].chat(&body));
    let replies: Vec<Reply> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    for reply in &replies {
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    stack.settled(BOOKED).await.unwrap();

    let list_price = stack.database.number("SELECT min(list_price_nano_usd) FROM generation").unwrap();
    let other_price = format!("SELECT count(*) FROM generation WHERE list_price_nano_usd <> {list_price}");
    assert_eq!(stack.database.number(&other_price).unwrap(), 0);
    let fee = list_price * 5 / 100;
    assert!(fee > 0);
    let costs: Vec<i64> = replies.iter().map(|reply| reply.cost().unwrap()).collect();
    let free = costs.iter().filter(|cost| **cost == 0).count();
    // Told before Redis had answered: it may still have become free.
    let open =
        replies.iter().filter(|reply| reply.body["usage"]["cost_details"]["provisional"] == true).count();
    assert!((LEFT.saturating_sub(open)..=LEFT).contains(&free), "{free} free, {open} provisional, fee {fee}");
    let charged = format!("SELECT count(*) FROM generation WHERE own_key AND charge_nano_usd = {fee}");
    let paid = stack.database.number(&charged).unwrap();
    assert_eq!(paid, i64::try_from(RACERS - LEFT).unwrap(), "list price {list_price}, fee {fee}");
    let spent = fee * paid;
    let (bought, used) = key.credits().await.unwrap();
    assert_eq!((used, customer.balance(&stack).unwrap()), (spent, bought - spent));
    let booked = "SELECT count(*) FROM generation WHERE ticket = 1 AND own_key AND charge_nano_usd = 0";
    assert_eq!(stack.database.number(booked).unwrap(), i64::try_from(ALLOWANCE).unwrap());
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_own_key_falls_back_to_credits_where_the_customer_allows_it() {
    let stack = Stack::one().await.unwrap();
    let (mut customer, key) = stack.paying("5").await.unwrap();
    customer.provider_key("groq", OWN_KEY, true).await.unwrap();
    let mut body = ask(MODEL, "Hello again.", 50);
    body["provider"] = json!({ "only": ["groq"] });
    let failing = json!({ "provider": "groq", "key": OWN_KEY, "script": { "status": 401 } });
    stack.providers.script(failing).await.unwrap();
    let reply = key.chat(&body).await.unwrap();
    assert_eq!((reply.status, &reply.body["usage"]["is_byok"]), (200, &json!(false)), "{}", reply.text);
    assert!(reply.cost().unwrap() > 0);
    let receipt = key.receipt(reply.generation()).await.unwrap();
    let attempts = receipt["provider_responses"].as_array().unwrap();
    let own: Vec<_> = attempts.iter().map(|attempt| attempt["is_byok"].as_bool().unwrap()).collect();
    assert_eq!(own, [true, false]);
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}
