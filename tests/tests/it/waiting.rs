//! Calls that take longer than a hold lives, processes that are told to stop, and prompts in odd places: what
//! was used is charged all the same.

use crate::support::{BOOKED, ask, scripted};
use e2e::{Options, Stack, Streamed, eventually};
use futures_util::future::join3;
use serde_json::json;
use std::cell::Cell;
use std::time::Duration;

const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";
/// Seconds; the answers below take at least twice as long.
const HOLD_LIFETIME: u32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_outlast_their_hold_are_charged_what_they_cost() {
    let options = Options { hold_lifetime_seconds: HOLD_LIFETIME, ..Options::default() };
    let stack = Stack::start(options).await.unwrap();
    let (customer, key) = stack.paying("10").await.unwrap();
    let slow = ask(MODEL, &scripted("Think long.", &json!({ "latency_ms": 5000 })), 100);
    let hesitant = ask(MODEL, &scripted("Think long.", &json!({ "first_token_ms": 5000 })), 100);
    let story = json!({ "completion_tokens": 50, "chunk_delay_ms": 100 });
    let long = ask(MODEL, &scripted("Tell long.", &story), 100);
    let (whole, hesitant, long) = join3(key.chat(&slow), key.stream(&hesitant), key.stream(&long)).await;

    let (whole, hesitant, long) = (whole.unwrap(), hesitant.unwrap(), long.unwrap());
    let told = whole.cost().unwrap() + hesitant.cost().unwrap() + long.cost().unwrap();
    assert!(whole.cost().unwrap() > 0 && hesitant.cost().unwrap() > 0 && long.cost().unwrap() > 0);
    stack.settled(BOOKED).await.unwrap();
    for (generation, cost) in [
        (whole.generation(), whole.cost().unwrap()),
        (hesitant.generation(), hesitant.cost().unwrap()),
        (long.generation(), long.cost().unwrap()),
    ] {
        assert_eq!(key.receipt_nano(generation, "/total_cost").await.unwrap(), cost);
    }
    assert_eq!(customer.bought(&stack).unwrap() - customer.balance(&stack).unwrap(), told);
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_told_to_stop_finishes_its_streams_and_takes_no_new_calls() {
    let mut stack = Stack::one().await.unwrap();
    let (customer, key) = stack.paying("10").await.unwrap();
    let script = json!({ "completion_tokens": 60, "chunk_delay_ms": 50 });
    let body = ask(MODEL, &scripted("A story, please.", &script), 100);
    let begun = Cell::new(false);
    // Calls that the process took before it noticed the signal are paid like any other.
    let just_in_time = Cell::new(0);
    let process = &mut stack.gateways[0].process;
    let stopping = async {
        let under_way = || async { Ok(begun.get().then_some(())) };
        eventually(Duration::from_secs(20), "the stream is under way", under_way).await.unwrap();
        process.terminate().unwrap();
        let refused = || async {
            let Ok(late) = key.chat(&ask(MODEL, "Too late?", 20)).await else { return Ok(None) };
            if late.status == 200 {
                just_in_time.set(just_in_time.get() + late.cost().unwrap());
            }
            Ok(Some(late).filter(|late| late.status == 503))
        };
        eventually(Duration::from_secs(10), "new calls are refused", refused).await.unwrap()
    };
    let note = |read: &Streamed| {
        begun.set(read.chunks.len() > 3);
        false
    };
    let (streamed, late) = futures_util::future::join(key.stream_until(&body, note), stopping).await;
    let streamed = streamed.unwrap();
    assert!(streamed.done && streamed.cost().unwrap() > 0, "the stream was cut");
    assert_eq!((late.error_type(), late.header("retry-after")), ("server", "1"));
    let process = &mut stack.gateways[0].process;
    let ended = eventually(Duration::from_secs(30), "the process has ended", || {
        let ended = process.ended();
        async { ended }
    });
    assert!(ended.await.unwrap().success());

    stack.restart_gateway(0).await.unwrap();
    stack.settled(BOOKED).await.unwrap();
    let spent = customer.bought(&stack).unwrap() - customer.balance(&stack).unwrap();
    assert_eq!(spent, streamed.cost().unwrap() + just_in_time.get());
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn text_in_any_member_of_a_request_is_covered_by_its_hold() {
    let stack = Stack::one().await.unwrap();
    let (mut customer, _) = stack.paying("10").await.unwrap();
    let key = customer.key(&stack, e2e::KeyWish { limit: "0.01", reset: "" }).await.unwrap();
    let text = "word ".repeat(100_000);
    let small = ask("openai/gpt-4.1", "Hello", 10);
    assert_eq!(key.chat(&small).await.unwrap().status, 200);
    for member in [
        json!({ "functions": [{ "name": "f", "description": text }] }),
        json!({ "prediction": { "type": "content", "content": text } }),
        json!({ "some_extension": text }),
        json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "s", "schema": { "description": text } } } }),
    ] {
        let mut body = small.clone();
        body.as_object_mut().unwrap().extend(member.as_object().unwrap().clone());
        let refused = key.chat(&body).await.unwrap();
        assert_eq!((refused.status, refused.error_type()), (403, "permission_denied"), "{}", refused.text);
    }
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_of_other_sites_may_ask_before_they_call() {
    let stack = Stack::one().await.unwrap();
    let base = stack.gateway(0).unwrap().url();
    for path in ["/api/v1/chat/completions", "/v1/chat/completions", "/api/v1/keys", "/api/v1/models"] {
        let asked = e2e::http_client().unwrap().request(reqwest::Method::OPTIONS, format!("{base}{path}"));
        let answer = asked.header("origin", "https://elsewhere.example").send().await.unwrap();
        assert_eq!(answer.status(), 204, "{path}");
        assert_eq!(answer.headers()["access-control-allow-origin"], "*", "{path}");
    }
}
