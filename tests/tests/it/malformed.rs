//! More than a hundred malformed requests: each is refused with its own type before anybody is called or
//! anything is held, and those with broken syntax before any store is asked.

use crate::malformed_bodies::{broken_syntax, wrong_words};
use crate::support::ask;
use accounts::{KeyKind, KeySecret};
use e2e::{Key, KeyWish, Reply, Stack, eventually};
use futures_util::future::join;
use kernel::rng::SeededEntropy;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

pub(crate) const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";
const PATH: &str = "/chat/completions";
const MIB: usize = 1024 * 1024;

async fn sent(request: RequestBuilder) -> Reply {
    Reply::of(request).await.unwrap()
}

/// A refusal as the API promises it.
fn typed(what: &str, reply: &Reply, statuses: &[u16]) {
    let shown: String = reply.text.chars().take(300).collect();
    assert!(statuses.contains(&reply.status), "{what}: {} {shown}", reply.status);
    assert_eq!(reply.body["error"]["code"], reply.status, "{what}: {shown}");
    assert!(!reply.error_type().is_empty(), "{what}: {shown}");
    assert!(reply.body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {shown}");
}

/// Keys that open nothing. Gives how many requests were sent.
async fn bad_keys(stack: &Stack, good: &Key) -> usize {
    let body = ask(MODEL, "Hello", 10);
    let unknown = KeySecret::draw(KeyKind::Model, &SeededEntropy::new(66)).reveal().to_owned();
    let unknown_manager = KeySecret::draw(KeyKind::Management, &SeededEntropy::new(67)).reveal().to_owned();
    let mut mistyped = good.secret.clone();
    let last = if mistyped.pop() == Some('0') { '1' } else { '0' };
    mistyped.push(last);
    let short = good.secret.get(..good.secret.len() - 1).unwrap().to_owned();
    let keys = [
        "",
        "nonsense",
        "sk-fb-v1-",
        "sk-or-v1-0123456789",
        "eyJ.eyJ.x",
        &mistyped,
        &short,
        &unknown,
        &unknown_manager,
    ];
    for key in keys {
        let refused = stack.key(0, key).unwrap().chat(&body).await.unwrap();
        typed(&format!("key {key:?}"), &refused, &[401]);
    }
    let url = format!("{}/api/v1{PATH}", stack.gateway(0).unwrap().url());
    let headers = [
        ("authorization", "Basic abc"),
        ("authorization", "Bearer"),
        ("x-api-key", "nonsense"),
        ("accept", "*/*"),
    ];
    for (name, value) in headers {
        let refused = sent(stack.http.post(&url).header(name, value).json(&body)).await;
        typed(&format!("{name}: {value}"), &refused, &[401]);
    }
    keys.len() + headers.len()
}

/// Sizes, headers, methods and places.
async fn wrong_frames(stack: &Stack, key: &Key) -> usize {
    let huge = format!("{{\"model\": \"{MODEL}\", \"messages\": \"{}\"}}", "x".repeat(33 * MIB));
    let declared = sent(key.request(Method::POST, PATH).body(huge.clone())).await;
    typed("33 MiB declared", &declared, &[413]);
    let pieces = huge
        .into_bytes()
        .chunks(MIB)
        .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
        .collect::<Vec<_>>();
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    typed("33 MiB in chunks", &sent(key.request(Method::POST, PATH).body(chunked)).await, &[413]);
    let header =
        key.request(Method::POST, PATH).header("x-long", "y".repeat(20_000)).json(&ask(MODEL, "Hi", 5));
    typed("20 KB of header", &sent(header).await, &[431]);
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD] {
        let refused = sent(key.request(method.clone(), PATH)).await;
        assert_eq!(refused.status, 405, "{method}: {}", refused.text);
        assert_eq!(refused.header("allow"), "POST", "{method}");
    }
    for path in
        ["/chat/completion", "/chat/completions/", "/chat", "/nothing", "/models/a/b/c/d", "/generation"]
    {
        typed(path, &sent(key.request(Method::GET, path)).await, &[400, 404]);
    }
    typed("an unknown generation", &sent(key.request(Method::GET, "/generation?id=gen-1-x")).await, &[404]);
    let url = stack.gateway(0).unwrap().url();
    let nowhere = sent(stack.http.post(format!("{url}/v1/nothing")).json(&json!({}))).await;
    typed("/v1/nothing", &nowhere, &[404]);
    3 + 5 + 6 + 2
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_typed_refusals_that_reach_nobody_and_hold_nothing() {
    let stack = Stack::one().await.unwrap();
    let (mut customer, key) = stack.paying("5").await.unwrap();
    let mut requests = bad_keys(&stack, &key).await + wrong_frames(&stack, &key).await;
    let mut wrong = Vec::new();
    for (what, body) in broken_syntax().into_iter().chain(wrong_words()) {
        let request = key.request(Method::POST, PATH).header("content-type", "application/json").body(body);
        let reply = sent(request).await;
        let client_error = (400..500).contains(&reply.status) && ![401, 402, 429].contains(&reply.status);
        if !client_error || reply.error_type().is_empty() {
            wrong.push(format!(
                "{what}: {} {}",
                reply.status,
                reply.text.chars().take(200).collect::<String>()
            ));
        }
        requests += 1;
    }
    assert!(wrong.is_empty(), "{} not refused as promised:\n{}", wrong.len(), wrong.join("\n"));
    let limited = customer.key(&stack, KeyWish { limit: "0.000001", ..KeyWish::default() }).await.unwrap();
    typed("a limit of nothing", &limited.chat(&ask(MODEL, "Hello", 10)).await.unwrap(), &[403]);
    println!("{requests} malformed requests");
    assert!(requests >= 100);
    assert_eq!(stack.providers.counts().await.unwrap()["total_requests"], 0);
    assert_eq!(stack.open_holds().unwrap(), 0);
    assert_eq!(stack.database.number("SELECT count(*) FROM generation").unwrap(), 0);
    assert_eq!(key.credits().await.unwrap().1, 0);
    stack.verify().await.unwrap();
}

/// Scans of the key table so far. Statistics wait in the sessions that made them, so those are ended first.
async fn key_lookups(stack: &Stack) -> i64 {
    let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    stack.database.ask(others).unwrap();
    let scans = "SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'api_key'";
    let mut before = -1;
    eventually(Duration::from_secs(20), "the count rests", || {
        let now = stack.database.number(scans);
        let rests = now.as_ref().is_ok_and(|now| std::mem::replace(&mut before, *now) == *now);
        async move { now.map(|now| rests.then_some(now)) }
    })
    .await
    .unwrap()
}

/// Runs calls while every command that reaches Redis is written down.
async fn redis_heard(stack: &Stack, calls: impl Future<Output = ()>) -> String {
    let mut monitor = stack.redis.client().arg("MONITOR").stdout(Stdio::piped()).spawn().unwrap();
    let mut output = monitor.stdout.take().unwrap();
    let mut first = [0; 2];
    output.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"OK");
    calls.await;
    // The last word is ours: when it is written down, everything before it is.
    stack.redis.run(&["ECHO", "the-calls-are-over"]).unwrap();
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&heard).contains("the-calls-are-over") {
        let count = output.read(&mut piece).unwrap();
        heard.extend_from_slice(&piece[..count]);
    }
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_syntax_asks_no_store() {
    let stack = Stack::one().await.unwrap();
    let (_customer, key) = stack.paying("5").await.unwrap();
    let entropy = SeededEntropy::new(68);
    let fresh = || stack.key(0, KeySecret::draw(KeyKind::Model, &entropy).reveal()).unwrap();
    let acts =
        ["fb1_reserve", "fb1_load", "fb1_balance", "fb1_settle", "fb1_release", "fb1_status", "fb1_caps"];
    let before = key_lookups(&stack).await;
    let heard = redis_heard(&stack, async {
        for (what, body) in broken_syntax() {
            // A key of sound form that nobody knows: looking it up would be counted.
            let (known, unknown) = (key.request(Method::POST, PATH), fresh().request(Method::POST, PATH));
            let (known, unknown) = join(sent(known.body(body.clone())), sent(unknown.body(body))).await;
            typed(what, &known, &[400]);
            typed(what, &unknown, &[400]);
        }
    })
    .await;
    assert_eq!(key_lookups(&stack).await, before);
    let asked: Vec<&str> = heard.lines().filter(|line| acts.iter().any(|act| line.contains(act))).collect();
    assert!(asked.is_empty(), "{asked:?}");

    // The counts do count: one sound request of an unknown key is looked up, one of a known key reserves.
    assert_eq!(fresh().chat(&ask(MODEL, "Hello", 10)).await.unwrap().status, 401);
    assert!(key_lookups(&stack).await > before);
    let heard = redis_heard(&stack, async {
        let answered = eventually(Duration::from_secs(20), "a sound call is served", || async {
            Ok(Some(key.chat(&ask(MODEL, "Hello", 10)).await?).filter(|reply| reply.status == 200))
        });
        answered.await.unwrap();
    });
    assert!(heard.await.contains("fb1_reserve"));
}
