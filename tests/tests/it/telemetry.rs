//! What leaves the house besides answers: traces by the GenAI conventions, metrics, logs. None of them carries
//! a prompt, an answer or a key.

use crate::support::{BOOKED, ask, scripted};
use e2e::{Options, Stack, eventually};
use kernel::rng::{Entropy as _, SeededEntropy};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";
/// The exporter sends in batches, a few seconds apart.
const EXPORT: Duration = Duration::from_secs(30);

/// A collector: takes every POST and keeps head and body.
async fn collect(listener: TcpListener, taken: &RefCell<Vec<Vec<u8>>>) {
    let taking = futures_util::stream::FuturesUnordered::new();
    let mut taking = taking;
    loop {
        tokio::select! {
            accepted = listener.accept() => taking.push(take(accepted.unwrap().0, taken)),
            Some(()) = futures_util::StreamExt::next(&mut taking), if !taking.is_empty() => {}
        }
    }
}

async fn take(mut connection: TcpStream, taken: &RefCell<Vec<Vec<u8>>>) {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 65_536];
    while let Ok(count @ 1..) = connection.read(&mut piece).await {
        bytes.extend_from_slice(&piece[..count]);
        while let Some(length) = whole(&bytes) {
            taken.borrow_mut().push(bytes.drain(..length).collect());
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    }
}

/// The length of the first request, when all of it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length = text.split("content-length:").nth(1)?.lines().next()?.trim().parse::<usize>().ok()?;
    (bytes.len() >= head + length).then_some(head + length)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_metrics_and_logs_tell_of_calls_but_never_what_was_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let taken = RefCell::new(Vec::new());
    tokio::select! {
        () = collect(listener, &taken) => {}
        () = calls(endpoint, &taken) => {}
    }
}

async fn calls(endpoint: String, taken: &RefCell<Vec<Vec<u8>>>) {
    let environment = vec![("FAREBOX_OTLP_ENDPOINT".to_owned(), endpoint)];
    let stack = Stack::start(Options { environment, ..Options::default() }).await.unwrap();
    let (mut customer, key) = stack.paying("5").await.unwrap();
    let number = SeededEntropy::new(1).next_u64();
    let said = ["prompt", "answer", "provider-error", "tool"].map(|what| format!("canary-{what}-{number:x}"));
    let own_key = format!("gsk-canary-own-{number:x}");
    customer.provider_key("deepinfra", &own_key, false).await.unwrap();
    let [prompt, answer, fault, tool] = &said;
    let mut body = ask(MODEL, &scripted(prompt, &json!({ "text": answer })), 50);
    body["provider"] = json!({ "only": ["groq"] });
    body["user"] = json!(tool);
    assert_eq!(key.chat(&body).await.unwrap().status, 200);
    assert!(key.stream(&body).await.unwrap().text.contains(answer.as_str()));
    // What a provider says of a failing request may repeat the prompt.
    let echo = json!({ "error": { "message": fault, "type": "invalid_request_error" } });
    body["messages"] = json!([{ "role": "user", "content": prompt }]);
    for (provider, status) in [("groq", 400), ("groq", 500), ("deepinfra", 401), ("groq", 429)] {
        let rule =
            json!({ "provider": provider, "times": 1, "script": { "status": status, "error_body": echo } });
        stack.providers.script(rule).await.unwrap();
        body["provider"] = json!({ "only": [provider], "allow_fallbacks": false });
        let failed = key.chat(&body).await.unwrap();
        assert!(failed.status >= 400, "{provider} {status}: {}", failed.text);
    }
    let unsound = format!("{{\"model\": \"{prompt}\", \"messages\": {tool}");
    let sent = key.request(reqwest::Method::POST, "/chat/completions").body(unsound).send().await.unwrap();
    assert_eq!(sent.status(), 400);
    stack.settled(BOOKED).await.unwrap();

    let has = |text: &str| taken.borrow().iter().any(|request| contains(request, text));
    eventually(EXPORT, "spans of both kinds of ending arrive", || async {
        let words =
            ["gen_ai.request.model", MODEL, "gen_ai.usage.output_tokens", "gen_ai.response.id", "error.type"];
        Ok(words.into_iter().all(has).then_some(()))
    })
    .await
    .unwrap();
    assert!(taken.borrow().iter().all(|request| request.starts_with(b"POST /v1/traces ")));
    let gateway = stack.gateway(0).unwrap();
    let log = gateway.process.log().unwrap();
    let metrics = stack.http.get(gateway.metrics_url()).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("farebox_holds_open"));
    for line in log.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "no JSON: {line}");
    }
    let secrets = [
        own_key.as_str(),
        &key.secret,
        key.secret.get(20..).unwrap(),
        "a long enough password",
        "sk_test_e2e",
    ];
    for canary in said.iter().map(String::as_str).chain(secrets) {
        assert!(!has(canary), "a trace carries {canary}");
        assert!(!log.contains(canary), "the log carries {canary}");
        assert!(!metrics.contains(canary), "a metric carries {canary}");
    }
    stack.verify().await.unwrap();
}
