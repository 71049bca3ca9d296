//! Scripts: every fault a provider can have, and how the journal tells of it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::harness::{LIMIT, Models, events, scripted};

async fn stream(models: &Models, script: Value) -> reqwest::Response {
    models
        .chat(
            json!({"stream": true, "stream_options": {"include_usage": true}, "messages": scripted(script)}),
        )
        .await
}

/// Reads until the answer's text has arrived as far as `wanted`.
async fn read_until(response: &mut reqwest::Response, wanted: &str) {
    let mut seen = String::new();
    while !seen.contains(wanted) {
        seen.push_str(&String::from_utf8_lossy(&response.chunk().await.unwrap().unwrap()));
    }
}

#[tokio::test]
async fn a_cut_stream_breaks_off_after_the_promised_frames() {
    let models = Models::start();
    let mut response = stream(&models, json!({"text": "a b c d", "cut_after_chunks": 2})).await;
    let mut seen = Vec::new();
    let broken = loop {
        match response.chunk().await {
            Ok(Some(bytes)) => seen.extend_from_slice(&bytes),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "the body must not end cleanly");
    let text = String::from_utf8(seen).unwrap();
    assert_eq!(text.matches("\"content\":\"").count(), 3, "role, a, b: {text}");
    let entry = models.ended("acme").await.remove(0);
    assert_eq!(
        (&entry["finished"], &entry["chunks_sent"], &entry["text_sent"]),
        (&json!("cut"), &json!(2), &json!("a b "))
    );
}

#[tokio::test]
async fn an_unstreamed_answer_can_be_cut_in_its_middle() {
    let models = Models::start();
    let response = models.chat(json!({"messages": scripted(json!({"cut_after_chunks": 1}))})).await;
    assert_eq!(response.status(), 200);
    assert!(response.text().await.is_err());
}

#[tokio::test]
async fn a_client_that_leaves_a_stalled_stream_is_noticed() {
    let models = Models::start();
    let mut response = stream(&models, json!({"text": "a b c d", "stall_after_chunks": 2})).await;
    read_until(&mut response, "b ").await;
    drop(response);
    let entry = models.ended("acme").await.remove(0);
    assert_eq!((&entry["finished"], &entry["text_sent"]), (&json!("client_closed"), &json!("a b ")));
    let counts: Value =
        models.client.get(models.url("/_control/connections")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&counts["open_streams"], &counts["total_requests"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_is_noticed() {
    let models = Models::start();
    let script = scripted(json!({"latency_ms": 3_600_000}));
    let body = json!({"model": "m", "messages": script}).to_string();
    let mut socket = tokio::net::TcpStream::connect(models.simulator.addr()).await.unwrap();
    let head = format!(
        "POST /slow/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await.unwrap();
    // The request is known to be open once the journal lists it.
    let open = async {
        while models
            .client
            .get(models.url("/_control/requests?provider=slow"))
            .send()
            .await
            .unwrap()
            .json::<Value>()
            .await
            .unwrap()["requests"]
            .as_array()
            .unwrap()
            .is_empty()
        {}
    };
    tokio::time::timeout(LIMIT, open).await.unwrap();
    drop(socket);
    let entry = models.ended("slow").await.remove(0);
    assert_eq!((&entry["finished"], &entry["bytes_sent"]), (&json!("client_closed"), &json!(0)));
}

#[tokio::test]
async fn broken_frames_and_error_events_come_in_mid_stream() {
    let models = Models::start();
    let broken =
        stream(&models, json!({"text": "a b", "malformed_after_chunks": 1})).await.text().await.unwrap();
    let unreadable = events(&broken).iter().filter(|event| event.is_string()).count();
    assert_eq!(unreadable, 2, "the broken frame and [DONE]");
    let failed = stream(&models, json!({"text": "a b", "error_after_chunks": 1})).await.text().await.unwrap();
    assert!(events(&failed).last().unwrap()["error"]["message"].is_string(), "{failed}");
    let extra = json!({"stream": true, "messages": scripted(json!({"error_after_chunks": 1}))});
    let failed = models.message(extra).await.text().await.unwrap();
    let last = events(&failed).pop().unwrap();
    assert_eq!((&last["type"], &last["error"]["type"]), (&json!("error"), &json!("overloaded_error")));
}

#[tokio::test]
async fn usage_can_be_wrong_missing_first_or_forced() {
    let models = Models::start();
    let usage = async |script| {
        let events = events(&stream(&models, script).await.text().await.unwrap());
        let at = events.iter().position(|event| event["usage"].is_object());
        at.map(|at| (at, events[at]["usage"].clone()))
    };
    assert_eq!(usage(json!({"usage": null})).await, None);
    let wrong = json!({"prompt_tokens": -5, "completion_tokens": 1e9});
    assert_eq!(usage(json!({"usage": wrong})).await.unwrap().1, wrong);
    assert_eq!(usage(json!({"wire_usage_first": true})).await.unwrap().0, 1);
    let forced =
        usage(json!({"completion_tokens": 123, "prompt_tokens": 77, "cached_tokens": 5})).await.unwrap().1;
    assert_eq!((&forced["completion_tokens"], &forced["total_tokens"]), (&json!(123), &json!(200)));
    assert_eq!(forced["prompt_tokens_details"]["cached_tokens"], 5);
}

#[tokio::test]
async fn endings_can_be_empty_renamed_or_left_open() {
    let models = Models::start();
    let empty = events(&stream(&models, json!({"empty": true})).await.text().await.unwrap());
    assert_eq!(empty.len(), 4, "role, finish, usage, done");
    assert_eq!(empty[2]["usage"]["completion_tokens"], 0);
    let odd = events(
        &stream(&models, json!({"finish": "content_filter", "no_done": true})).await.text().await.unwrap(),
    );
    assert_ne!(odd.last().unwrap(), "[DONE]");
    assert!(odd.iter().any(|event| event["choices"][0]["finish_reason"] == "content_filter"));
}

#[tokio::test]
async fn refusals_carry_status_body_and_retry_after() {
    let models = Models::start();
    let script = json!({"status": 429, "retry_after": 7});
    let response = models.chat(json!({"messages": scripted(script)})).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "rate_limit_exceeded");
    let script = json!({"status": 502, "error_body": "<h1>Bad Gateway</h1>"});
    let response = models.chat(json!({"messages": scripted(script)})).await;
    assert_eq!(response.headers()["content-type"], "text/html");
    assert_eq!(response.text().await.unwrap(), "<h1>Bad Gateway</h1>");
}

#[tokio::test]
async fn every_byte_can_be_written_by_itself() {
    let models = Models::start();
    let mut response = stream(&models, json!({"text": "h\u{e9}llo", "split": "bytes"})).await;
    let mut seen = Vec::new();
    while let Some(bytes) = response.chunk().await.unwrap() {
        assert_eq!(bytes.len(), 1);
        seen.extend_from_slice(&bytes);
    }
    let events = events(&String::from_utf8(seen).unwrap());
    assert_eq!(events[1]["choices"][0]["delta"]["content"], "h\u{e9}llo");
    let entry = models.ended("acme").await.remove(0);
    assert_eq!((&entry["chunks_sent"], &entry["text_sent"]), (&json!(1), &json!("h\u{e9}llo")));
}

#[tokio::test]
async fn pauses_come_before_the_head_the_first_frame_and_between_frames() {
    let models = Models::start();
    let script = json!({"text": "a b c", "latency_ms": 20, "first_token_ms": 30, "chunk_delay_ms": 10});
    let text = stream(&models, script).await.text().await.unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"));
    let entry = models.ended("acme").await.remove(0);
    let millis = |name: &str| Duration::from_millis(entry[name].as_u64().unwrap());
    assert!(millis("first_byte_ms") >= Duration::from_millis(50), "{entry}");
    assert!(millis("closed_after_ms") >= Duration::from_millis(70), "{entry}");
}

#[tokio::test]
async fn rules_apply_to_their_provider_model_and_key_as_often_as_they_say() {
    let models = Models::start();
    let rule = json!({"provider": "acme", "key": "sk-one", "script": {"status": 500}, "times": 1});
    let response = models.client.put(models.url("/_control/script")).json(&rule).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let statuses = [
        models.message(json!({})).await.status(),
        models.chat(json!({})).await.status(),
        models.chat(json!({})).await.status(),
    ];
    assert_eq!(statuses.map(|status| status.as_u16()), [200, 500, 200]);
    let misspelled = json!({"script": {"statos": 500}});
    let response = models.client.put(models.url("/_control/script")).json(&misspelled).send().await.unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn a_header_script_wins_over_a_message_script() {
    let models = Models::start();
    let body = json!({"model": "m", "messages": scripted(json!({"status": 500}))});
    let request = models.client.post(models.url("/acme/v1/chat/completions")).bearer_auth("k");
    let response = request.header("x-sim-script", r#"{"status":418}"#).json(&body).send().await.unwrap();
    assert_eq!(response.status(), 418);
}

#[tokio::test]
async fn stopping_ends_open_streams() {
    let models = Models::start();
    let mut response = stream(&models, json!({"text": "a b", "stall_after_chunks": 1})).await;
    read_until(&mut response, "a ").await;
    models.simulator.stop().await.unwrap();
    let mut rest = Vec::new();
    let ended = async {
        while let Ok(Some(bytes)) = response.chunk().await {
            rest.extend_from_slice(&bytes);
        }
    };
    tokio::time::timeout(LIMIT, ended).await.unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("[DONE]"));
}
