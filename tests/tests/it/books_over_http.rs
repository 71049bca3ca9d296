//! Every kind of call in one account: what the answers said they cost is what is missing from the balance, to
//! the nano-dollar, wherever one looks.

use crate::support::{BOOKED, DOLLAR, ask, scripted};
use e2e::{Key, Reply, Stack, Streamed, nano_at, text_of};
use serde_json::{Value, json};

const LLAMA: &str = "meta-llama/llama-3.3-70b-instruct";
const CLAUDE: &str = "anthropic/claude-haiku-4.5";

/// What was answered so far: generation and cost.
#[derive(Default)]
struct Bills(Vec<(String, i64)>);

impl Bills {
    fn whole(&mut self, reply: &Reply) -> i64 {
        assert_eq!(reply.status, 200, "{}", reply.text);
        let cost = reply.cost().unwrap();
        self.0.push((reply.generation().to_owned(), cost));
        cost
    }

    fn streamed(&mut self, read: &Streamed) -> i64 {
        assert_eq!((read.status, read.done), (200, true), "{} {:?}", read.refusal, read.chunks.last());
        let cost = read.cost().unwrap();
        self.0.push((read.generation().to_owned(), cost));
        cost
    }

    fn sum(&self) -> i64 {
        self.0.iter().map(|(_, cost)| cost).sum()
    }
}

fn at(model: &str, provider: &str, content: &str) -> Value {
    let mut body = ask(model, content, 200);
    body["provider"] = json!({ "only": [provider] });
    body
}

/// Answers in both dialects, streamed and whole, with tools, images and cached prompts.
async fn ordinary_calls(key: &Key, bills: &mut Bills) {
    for (model, provider) in [(LLAMA, "groq"), (CLAUDE, "anthropic"), ("minimax/minimax-m2", "minimax")] {
        let body = at(model, provider, "Tell me something short.");
        assert!(bills.whole(&key.chat(&body).await.unwrap()) > 0);
        assert!(bills.streamed(&key.stream(&body).await.unwrap()) > 0);
        let mut tools = at(model, provider, "What is the weather in Paris?");
        tools["tools"] = json!([{ "type": "function", "function": {
            "name": "get_weather", "parameters": { "type": "object", "properties": { "city": { "type": "string" } } },
        }}]);
        let called = key.chat(&tools).await.unwrap();
        bills.whole(&called);
        assert_eq!(called.body["choices"][0]["finish_reason"], "tool_calls", "{}", called.text);
        bills.streamed(&key.stream(&tools).await.unwrap());
    }
    let torn = at(LLAMA, "groq", &scripted("Grüße, naïve Café!", &json!({ "split": "bytes" })));
    bills.streamed(&key.stream(&torn).await.unwrap());
    let cached =
        at(LLAMA, "groq", &scripted("Again.", &json!({ "prompt_tokens": 2_000, "cached_tokens": 1_500 })));
    bills.whole(&key.chat(&cached).await.unwrap());
    let silent = at(LLAMA, "groq", &scripted("No usage, please.", &json!({ "usage": null })));
    bills.whole(&key.chat(&silent).await.unwrap());
    bills.streamed(&key.stream(&silent).await.unwrap());
}

/// Another provider, another model, the cheapest: the answer is charged by whoever gave it.
async fn roundabout_calls(stack: &Stack, key: &Key, bills: &mut Bills) {
    for status in [429, 500, 503] {
        let rule = json!({ "provider": "groq", "times": 1, "script": { "status": status } });
        stack.providers.script(rule).await.unwrap();
        let mut body = ask(LLAMA, "Somewhere else, then.", 100);
        body["provider"] = json!({ "order": ["groq"] });
        let reply = key.chat(&body).await.unwrap();
        bills.whole(&reply);
        let receipt = key.receipt(reply.generation()).await.unwrap();
        let responses = receipt["provider_responses"].as_array().unwrap();
        assert!(responses.len() <= 2, "{receipt}");
        assert_eq!(responses.last().unwrap()["outcome"], "ok");
    }
    let rule = json!({ "provider": "anthropic", "times": 1, "script": { "status": 529 } });
    stack.providers.script(rule).await.unwrap();
    let mut body = at(CLAUDE, "anthropic", "Or another model.");
    body["models"] = json!([LLAMA]);
    body["provider"] = json!({ "only": ["anthropic", "deepinfra"] });
    let read = key.stream(&body).await.unwrap();
    bills.streamed(&read);
    assert_eq!(text_of(&read.chunks[0], "/model"), LLAMA);
    bills.whole(&key.chat(&ask(&format!("{LLAMA}:floor"), "The cheapest.", 100)).await.unwrap());
    bills.streamed(&key.stream(&ask(&format!("{LLAMA}:nitro"), "The fastest.", 100)).await.unwrap());
}

/// Refusals and failures: none costs anything.
async fn failing_calls(stack: &Stack, key: &Key, bills: &mut Bills) {
    let before = bills.sum();
    let rule = json!({ "provider": "deepinfra", "times": 1, "script": { "status": 400 } });
    stack.providers.script(rule).await.unwrap();
    let refused = key.chat(&at(LLAMA, "deepinfra", "Refused.")).await.unwrap();
    assert_eq!((refused.status, refused.error_type()), (400, "invalid_request"), "{}", refused.text);
    let cut = at(LLAMA, "deepinfra", &scripted("Cut.", &json!({ "cut_after_chunks": 2 })));
    let read = key.stream(&cut).await.unwrap();
    assert_eq!(read.status, 200);
    assert!(read.chunks.iter().any(|chunk| chunk.get("error").is_some()), "{:?}", read.chunks);
    assert_eq!(bills.streamed(&read), 0);
    let broken = at(LLAMA, "novita", &scripted("Error.", &json!({ "error_after_chunks": 1 })));
    let read = key.stream(&broken).await.unwrap();
    assert_eq!(bills.streamed(&read), 0);
    let unknown = key.chat(&ask("nobody/nothing", "Hello", 10)).await.unwrap();
    assert_eq!((unknown.status, unknown.error_type()), (400, "invalid_request"));
    assert_eq!(bills.sum(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_costs_told_are_the_costs_booked_everywhere() {
    let stack = Stack::one().await.unwrap();
    let (customer, key) = stack.paying("10").await.unwrap();
    let mut bills = Bills::default();
    ordinary_calls(&key, &mut bills).await;
    roundabout_calls(&stack, &key, &mut bills).await;
    failing_calls(&stack, &key, &mut bills).await;
    let (bought, used) = key.credits().await.unwrap();
    assert_eq!((bought, used), (10 * DOLLAR, bills.sum()));

    stack.settled(BOOKED).await.unwrap();
    for (generation, cost) in &bills.0 {
        let receipt = key.receipt(generation).await.unwrap();
        for field in ["/usage", "/total_cost", "/farebox/charge"] {
            assert_eq!(nano_at(&receipt, field).unwrap(), *cost, "{generation} {field}: {receipt}");
        }
    }
    assert_eq!(customer.balance(&stack).unwrap(), 10 * DOLLAR - bills.sum());
    let shown = key.get("/key").await.unwrap();
    for field in ["usage", "usage_daily", "usage_weekly", "usage_monthly"] {
        assert_eq!(nano_at(&shown.body, &format!("/data/{field}")).unwrap(), bills.sum(), "{field}");
    }
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absurd_usage_is_capped_at_its_hold_and_the_books_still_balance() {
    let stack = Stack::one().await.unwrap();
    let model = stack.add_provider("absurd", "1", "1").await.unwrap();
    let (customer, key) = stack.paying("5").await.unwrap();
    let usage =
        json!({ "prompt_tokens": 50_000_000, "completion_tokens": 50_000_000, "total_tokens": 100_000_000 });
    stack
        .providers
        .script(json!({ "provider": "local-absurd", "script": { "usage": usage } }))
        .await
        .unwrap();
    let mut bills = Bills::default();
    bills.whole(&key.chat(&ask(&model, "How much?", 100)).await.unwrap());
    bills.streamed(&key.stream(&ask(&model, "How much?", 100)).await.unwrap());
    stack.settled(BOOKED).await.unwrap();
    for (generation, cost) in &bills.0 {
        let receipt = key.receipt(generation).await.unwrap();
        assert!(nano_at(&receipt, "/farebox/held").unwrap() >= *cost, "{receipt}");
        assert_eq!(nano_at(&receipt, "/usage").unwrap(), *cost, "{receipt}");
    }
    assert_eq!(customer.balance(&stack).unwrap(), 5 * DOLLAR - bills.sum());
    stack.verify().await.unwrap();
}
