//! The shortest whole way: sign up, pay, make a key, call, look at the receipt.

use e2e::Stack;
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_pays_calls_and_finds_the_truthful_cost() {
    let stack = Stack::one().await.unwrap();
    let model = stack.add_provider("plainly", "1", "2").await.unwrap();
    let (customer, key) = stack.paying("10").await.unwrap();
    let body = json!({"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "Hello!"}]});
    let reply = key.chat(&body).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text);
    let streamed = key.stream(&body).await.unwrap();
    assert_eq!((streamed.status, streamed.done), (200, true));
    let cost = reply.cost().unwrap() + streamed.cost().unwrap();
    assert!(cost > 0);
    assert_eq!(key.receipt_nano(reply.generation(), "/usage").await.unwrap(), reply.cost().unwrap());
    stack.settled(Duration::from_secs(10)).await.unwrap();
    assert_eq!(customer.bought(&stack).unwrap(), 10_000_000_000);
    assert_eq!(customer.balance(&stack).unwrap(), 10_000_000_000 - cost);
    stack.verify().await.unwrap();
}
