//! Two hundred streams whose clients leave at random points: at providers that stop billing then, and at
//! providers that bill on.

use crate::support::{BOOKED, ask, between, prompt_tokens, scripted, tokens};
use e2e::{Key, Stack, Streamed, eventually, text_of};
use futures_util::future::join_all;
use kernel::rng::SeededEntropy;
use kernel::{Clock as _, Moment, clock::SystemClock};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

/// Streams at each of the two kinds of providers.
const STREAMS: u64 = 100;
const SEED: u64 = 4;
const CLOSED_WITHIN_MS: i64 = 2_000;
/// Nano-dollars a token of the provider added here: $2 and $6 a million.
const PRICES: (i64, i64) = (2_000, 6_000);

/// A stream that shall be left.
struct Call {
    model: String,
    /// Names it in the simulator's journal and, as its session, in the ledger.
    tag: String,
    content: String,
    /// After so many pieces of text the client leaves.
    pieces: usize,
}

impl Call {
    fn new(number: u64, model: &str, pieces: u64, script: &Value) -> Self {
        let tag = format!("stream-{number:03}");
        let content = scripted(&format!("{tag}: tell me of the sea."), script);
        Self { model: model.to_owned(), tag, content, pieces: usize::try_from(pieces).unwrap() }
    }

    fn body(&self, provider: &str) -> Value {
        let mut body = ask(&self.model, &self.content, 400);
        body["session_id"] = json!(self.tag);
        if !provider.is_empty() {
            body["provider"] = json!({ "only": [provider] });
        }
        body
    }
}

/// What its client had read when it left.
struct Left {
    text: String,
    at: Moment,
}

/// Reads the stream as far as the call says and leaves; with no piece to read, once upstream has the request.
async fn leave(stack: &Stack, key: &Key, call: &Call, provider: &str) -> Left {
    let body = call.body(provider);
    let mut text = String::new();
    if call.pieces == 0 {
        let arrived = eventually(Duration::from_secs(30), "upstream has the request", || async {
            Ok(entry_of(&stack.providers.requests("limit=1000").await?, &call.tag).map(drop))
        });
        tokio::select! {
            answered = key.stream(&body) => panic!("a stalled stream ended: {answered:?}"),
            arrived = arrived => arrived.unwrap(),
        }
    } else {
        let says = |chunk: &&Value| !text_of(chunk, "/choices/0/delta/content").is_empty();
        let enough = |read: &Streamed| read.chunks.iter().filter(says).count() >= call.pieces;
        let read = key.stream_until(&body, enough).await.unwrap();
        assert_eq!(read.status, 200, "{}", read.refusal);
        text = read.text;
    }
    Left { text, at: SystemClock::new().now() }
}

fn entry_of<'a>(journal: &'a [Value], tag: &str) -> Option<&'a Value> {
    journal.iter().find(|entry| entry["body"].to_string().contains(tag))
}

/// The simulator's journal, when all streams have ended.
async fn journal(stack: &Stack, streams: usize) -> Vec<Value> {
    let query = format!("limit=1000&wait_ms=40000&at_least={streams}");
    let entries = stack.providers.requests(&query).await.unwrap();
    assert_eq!(entries.len(), streams);
    entries
}

/// A generation as the ledger has it.
#[derive(Debug, PartialEq, Eq)]
struct Booked {
    prompt: i64,
    completion: i64,
    charge: i64,
    list_price: i64,
    source: String,
    cancelled: bool,
}

/// Generations by session.
fn booked(stack: &Stack) -> HashMap<String, Booked> {
    let sql = "SELECT record->>'si', prompt_tokens, completion_tokens, charge_nano_usd, \
               list_price_nano_usd, usage_source, record->>'ca' FROM generation";
    let rows = stack.database.ask(sql).unwrap();
    let read = |row: &str| {
        let cells: Vec<&str> = row.split('|').collect();
        let number = |at: usize| cells[at].parse::<i64>().unwrap();
        let booked = Booked {
            prompt: number(1),
            completion: number(2),
            charge: number(3),
            list_price: number(4),
            source: cells[5].to_owned(),
            cancelled: cells[6] == "true",
        };
        (cells[0].to_owned(), booked)
    };
    rows.lines().map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_leaving_ends_the_bill_exactly_what_was_delivered_is_billed() {
    let stack = Stack::one().await.unwrap();
    let plain = stack.add_provider("stops", "2", "6").await.unwrap();
    let (_customer, key) = stack.paying("25").await.unwrap();
    let entropy = SeededEntropy::new(SEED);
    // Every fourth stream speaks the other dialect; every tenth client leaves before the first word. The
    // provider stalls where the client leaves, so what was sent is what was delivered.
    let calls: Vec<Call> = (0..STREAMS)
        .map(|number| {
            let model = if number % 4 == 3 { "anthropic/claude-haiku-4.5" } else { plain.as_str() };
            let pieces = if number % 10 == 0 { 0 } else { between(&entropy, 1, 20) };
            let delay = between(&entropy, 0, 30);
            let script = json!({
                "completion_tokens": 200, "stall_after_chunks": pieces, "chunk_delay_ms": delay,
            });
            Call::new(number, model, pieces, &script)
        })
        .collect();
    let only = |call: &Call| if call.model == plain { "" } else { "anthropic" };
    let left = join_all(calls.iter().map(|call| leave(&stack, &key, call, only(call)))).await;
    let journal = journal(&stack, calls.len()).await;
    stack.settled(BOOKED).await.unwrap();

    let booked = booked(&stack);
    assert_eq!(booked.len(), calls.len());
    let mut latest = 0;
    for (call, left) in calls.iter().zip(&left) {
        let (entry, booked) = (entry_of(&journal, &call.tag).unwrap(), &booked[&call.tag]);
        assert_eq!(entry["finished"], "client_closed", "{}", call.tag);
        assert_eq!(entry["text_sent"], left.text.as_str(), "{}", call.tag);
        let started: Moment = text_of(entry, "/started_at").parse().unwrap();
        let open = Duration::from_millis(entry["closed_after_ms"].as_u64().unwrap());
        latest = latest.max((started + open - left.at).num_milliseconds());
        let expected = (prompt_tokens(&call.content), tokens(&left.text));
        assert_eq!((booked.prompt, booked.completion), expected, "{} {booked:?}", call.tag);
        assert_eq!((booked.source.as_str(), booked.cancelled), ("estimated", true), "{}", call.tag);
        if call.model == plain {
            assert_eq!(booked.charge, expected.0 * PRICES.0 + expected.1 * PRICES.1, "{}", call.tag);
        }
    }
    println!("upstream was closed at most {latest} ms after its client had left");
    assert!(latest <= CLOSED_WITHIN_MS, "upstream was closed only {latest} ms after its client had left");
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_providers_bill_on_the_stream_is_drained_and_the_usage_event_is_billed() {
    let stack = Stack::one().await.unwrap();
    let (_customer, key) = stack.paying("25").await.unwrap();
    let entropy = SeededEntropy::new(SEED + 1);
    let calls: Vec<Call> = (0..STREAMS)
        .map(|number| {
            let model =
                if number % 4 == 3 { "minimax/minimax-m2" } else { "meta-llama/llama-3.3-70b-instruct" };
            let pieces = between(&entropy, 1, 20);
            let (said, delay) = (between(&entropy, 40, 120), between(&entropy, 5, 30));
            let script = json!({ "completion_tokens": said, "chunk_delay_ms": delay });
            Call::new(number, model, pieces, &script)
        })
        .collect();
    let only = |call: &Call| if call.model.starts_with("minimax") { "minimax" } else { "groq" };
    let left = join_all(calls.iter().map(|call| leave(&stack, &key, call, only(call)))).await;
    let journal = journal(&stack, calls.len()).await;
    stack.settled(BOOKED).await.unwrap();

    let booked = booked(&stack);
    assert_eq!(booked.len(), calls.len());
    for (call, left) in calls.iter().zip(&left) {
        let (entry, booked) = (entry_of(&journal, &call.tag).unwrap(), &booked[&call.tag]);
        assert_eq!(entry["finished"], "completed", "{}", call.tag);
        assert!(text_of(entry, "/text_sent").starts_with(&left.text), "{}", call.tag);
        let used = [entry["tokens"][0].as_i64().unwrap(), entry["tokens"][1].as_i64().unwrap()];
        assert_eq!([booked.prompt, booked.completion], used, "{}", call.tag);
        assert_eq!((booked.source.as_str(), booked.cancelled), ("exact", true), "{}", call.tag);
        assert_eq!(booked.charge, booked.list_price, "{}", call.tag);
        assert!(booked.charge > 0, "{}", call.tag);
    }
    stack.verify().await.unwrap();
}
