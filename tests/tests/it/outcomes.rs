//! The outcome policy over the real binary: what answers cost, by how they ended.

use crate::support::{BOOKED, ask, prompt_tokens, scripted, tokens};
use e2e::{Key, Stack, Streamed, eventually, nano_at, text_of};
use serde_json::{Value, json};
use std::time::Duration;

/// Nano-dollars a token of the provider added here: $2 and $6 a million.
const PRICES: (i64, i64) = (2_000, 6_000);

fn price(prompt: i64, completion: i64) -> i64 {
    prompt * PRICES.0 + completion * PRICES.1
}

/// What a case is made of, see [`cases`].
type Scripted = (Value, &'static str, Option<(i64, i64)>);

/// Script of the simulator, whose count is charged, and the tokens that are charged; `None` is our own count.
fn cases() -> Vec<Scripted> {
    let usage = |prompt: i64, completion: i64| json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion });
    let mut parts = usage(40, 7);
    parts["prompt_tokens_details"] = json!({ "audio_tokens": 90 });
    parts["completion_tokens_details"] = json!({ "reasoning_tokens": 50 });
    let mut more_cached = usage(40, 7);
    more_cached["prompt_tokens_details"] = json!({ "cached_tokens": 41 });
    let mut cached = usage(40, 7);
    cached["prompt_tokens_details"] = json!({ "cached_tokens": 30 });
    vec![
        (json!({ "usage": usage(40, 7) }), "exact", Some((40, 7))),
        (json!({ "usage": usage(40, 7), "finish": "length" }), "exact", Some((40, 7))),
        (json!({ "usage": usage(40, 7), "finish": "content_filter" }), "exact", Some((40, 7))),
        (json!({ "usage": parts }), "exact", Some((40, 7))),
        (json!({ "usage": cached }), "exact", Some((40, 7))),
        (json!({ "usage": usage(40, 0), "empty": true }), "exact", Some((40, 0))),
        (json!({ "usage": null }), "estimated", None),
        (json!({ "usage": usage(-5, 7) }), "estimated", None),
        (json!({ "usage": more_cached }), "estimated", None),
    ]
}

async fn charged(key: &Key, generation: &str) -> (i64, String, Value) {
    let receipt = key.receipt(generation).await.unwrap();
    (nano_at(&receipt, "/usage").unwrap(), text_of(&receipt, "/farebox/usage_source").to_owned(), receipt)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_cost_what_the_policy_says() {
    let stack = Stack::one().await.unwrap();
    let model = stack.add_provider("policy", "2", "6").await.unwrap();
    let (customer, key) = stack.paying("10").await.unwrap();
    let mut sum = 0;
    for (script, source, counted) in cases() {
        let content = scripted("Say something, please.", &script);
        let whole = key.chat(&ask(&model, &content, 60)).await.unwrap();
        assert_eq!(whole.status, 200, "{script}: {}", whole.text);
        let read = key.stream(&ask(&model, &content, 60)).await.unwrap();
        assert!(read.done, "{script}");
        let said = text_of(&whole.body, "/choices/0/message/content").to_owned();
        for (generation, told, said) in [
            (whole.generation(), whole.cost().unwrap(), said.as_str()),
            (read.generation(), read.cost().unwrap(), read.text.as_str()),
        ] {
            let (cost, found, receipt) = charged(&key, generation).await;
            let (prompt, completion) = counted.unwrap_or_else(|| (prompt_tokens(&content), tokens(said)));
            assert_eq!((cost, found.as_str()), (price(prompt, completion), source), "{script}: {receipt}");
            assert_eq!(told, cost, "{script}");
            sum += cost;
        }
    }
    for script in [json!({ "cut_after_chunks": 2 }), json!({ "error_after_chunks": 2 })] {
        let read = key.stream(&ask(&model, &scripted("Break.", &script), 60)).await.unwrap();
        let (cost, source, receipt) = charged(&key, read.generation()).await;
        assert_eq!((cost, source.as_str()), (0, "nothing"), "{script}: {receipt}");
        assert_eq!(text_of(&receipt, "/provider_name"), "policy");
    }
    let failed = key.chat(&ask(&model, &scripted("Fail.", &json!({ "status": 500 })), 60)).await.unwrap();
    assert!(failed.status >= 500, "{}", failed.text);
    stack.settled(BOOKED).await.unwrap();
    assert_eq!(customer.bought(&stack).unwrap() - customer.balance(&stack).unwrap(), sum);
    stack.verify().await.unwrap();
}

/// How the call with this session id was booked: tokens, source, charge and price at the list.
async fn booked(stack: &Stack, session: &str) -> (i64, i64, String, i64, i64) {
    let sql = format!(
        "SELECT prompt_tokens, completion_tokens, usage_source, charge_nano_usd, list_price_nano_usd \
         FROM generation WHERE record->>'si' = '{session}'"
    );
    let row = eventually(BOOKED, "the call is booked", || async {
        Ok(Some(stack.database.ask(&sql)?).filter(|row| !row.is_empty()))
    });
    let row = row.await.unwrap();
    let cells: Vec<&str> = row.split('|').collect();
    let number = |at: usize| cells[at].parse::<i64>().unwrap();
    (number(0), number(1), cells[2].to_owned(), number(3), number(4))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_reasons_unasked_is_drained_and_its_hidden_tokens_are_billed() {
    let stack = Stack::one().await.unwrap();
    let (_customer, key) = stack.paying("10").await.unwrap();
    let usage = json!({
        "prompt_tokens": 30, "completion_tokens": 460, "total_tokens": 490,
        "completion_tokens_details": { "reasoning_tokens": 400 },
    });
    let script = json!({ "completion_tokens": 60, "chunk_delay_ms": 20, "usage": usage });
    let mut body = ask("openai/o4-mini", &scripted("Think, unasked.", &script), 2_000);
    body["provider"] = json!({ "only": ["openai"] });
    body["session_id"] = json!("unasked");
    let three = |read: &Streamed| read.chunks.len() >= 4;
    let read = key.stream_until(&body, three).await.unwrap();
    assert_eq!((read.status, read.done), (200, false), "{}", read.refusal);
    let (prompt, completion, source, charge, list_price) = booked(&stack, "unasked").await;
    assert_eq!((prompt, completion, source.as_str()), (30, 460, "exact"), "the hidden tokens are part of it");
    assert!(charge > 0 && charge == list_price);

    // Asked not to reason, nothing is hidden, and leaving ends the bill.
    body["session_id"] = json!("refused");
    body["reasoning"] = json!({ "enabled": false });
    let slow = json!({ "completion_tokens": 200, "stall_after_chunks": 3, "usage": usage });
    body["messages"][0]["content"] = json!(scripted("Do not think.", &slow));
    let read = key.stream_until(&body, |read| tokens(&read.text) >= 2).await.unwrap();
    assert_eq!(read.status, 200, "{}", read.refusal);
    let (_, completion, source, ..) = booked(&stack, "refused").await;
    assert!(completion < 200 && source == "estimated", "{completion} {source}");
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_before_a_whole_answer_costs_the_prompt_or_the_answer() {
    let stack = Stack::one().await.unwrap();
    let plain = stack.add_provider("early", "2", "6").await.unwrap();
    let (_customer, key) = stack.paying("10").await.unwrap();
    let rows =
        [("stops", plain.as_str(), None), ("goes-on", "meta-llama/llama-3.3-70b-instruct", Some("groq"))];
    for (session, model, provider) in rows {
        let script = json!({ "latency_ms": 2_500, "completion_tokens": 25 });
        let content = scripted(&format!("{session}: answer in one piece."), &script);
        let mut body = ask(model, &content, 50);
        body["session_id"] = json!(session);
        if let Some(provider) = provider {
            body["provider"] = json!({ "only": [provider] });
        }
        let arrived = eventually(Duration::from_secs(30), "upstream has the request", || async {
            let seen = stack.providers.requests("limit=1000").await?;
            Ok(seen.iter().any(|entry| entry["body"].to_string().contains(session)).then_some(()))
        });
        tokio::select! {
            answered = key.chat(&body) => panic!("it was answered: {answered:?}"),
            arrived = arrived => arrived.unwrap(),
        }
        let (prompt, completion, source, charge, _) = booked(&stack, session).await;
        match provider {
            None => {
                assert_eq!((completion, source.as_str()), (0, "estimated"), "{session}");
                assert_eq!((prompt, charge), (prompt_tokens(&content), price(prompt, 0)), "{session}");
            }
            Some(_) => {
                assert_eq!((completion, source.as_str()), (25, "exact"), "{session}");
                assert!(charge > 0);
            }
        }
    }
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_keeps_the_price_it_began_with() {
    let stack = Stack::one().await.unwrap();
    let model = stack.add_provider("steady", "2", "6").await.unwrap();
    let (_customer, key) = stack.paying("10").await.unwrap();
    let usage = json!({ "prompt_tokens": 40, "completion_tokens": 10, "total_tokens": 50 });
    let script = json!({ "completion_tokens": 10, "first_token_ms": 4_000, "usage": usage });
    let body = ask(&model, &scripted("Slowly, please.", &script), 100);
    let publishing = async {
        let began = eventually(Duration::from_secs(30), "upstream has the request", || async {
            let seen = stack.providers.requests("limit=1000").await?;
            Ok(seen.iter().any(|entry| entry["body"].to_string().contains("Slowly")).then_some(()))
        });
        began.await.unwrap();
        let folder = tempfile(&stack);
        let row = json!([{ "provider": "steady", "model": model, "provider_model": "plain",
            "prompt_per_million": "2.50", "completion_per_million": "7" }]);
        std::fs::write(&folder, row.to_string()).unwrap();
        let made = stack.farebox(&["catalog", "import", folder.to_str().unwrap()]).await.unwrap();
        let draft = made.output.split_once("Draft ").unwrap().1.split(' ').next().unwrap().to_owned();
        let published = stack.farebox(&["catalog", "publish", &draft]).await.unwrap();
        assert!(published.success, "{}", published.output);
    };
    let (read, ()) = futures_util::future::join(key.stream(&body), publishing).await;
    let read = read.unwrap();
    assert!(read.done, "{:?}", read.chunks.last());
    let (cost, _, receipt) = charged(&key, read.generation()).await;
    assert_eq!(cost, price(40, 10), "the price of its beginning: {receipt}");
    let script = json!({ "completion_tokens": 10, "usage": usage });
    let after = eventually(Duration::from_secs(20), "the new price is charged", || async {
        let reply = key.chat(&ask(&model, &scripted("And now?", &script), 100)).await?;
        Ok(Some(reply.cost()?).filter(|cost| *cost != price(40, 10)))
    });
    assert_eq!(after.await.unwrap(), 40 * 2_500 + 10 * 7_000);
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}

/// A file of this test's own, where the simulators of this stack are named by a free port.
fn tempfile(stack: &Stack) -> std::path::PathBuf {
    let port = stack.gateway(0).unwrap().url().rsplit(':').next().unwrap().to_owned();
    std::env::temp_dir().join(format!("farebox-outcomes-{}-{port}.json", std::process::id()))
}
