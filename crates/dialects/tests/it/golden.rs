//! The matrix: every fixture of every dialect through every function that has a golden file.

use crate::fixture;
use dialects::face::openai::{render_chunk, render_reply, render_usage};
use dialects::{Target, parse_chat_request};
use serde_json::{Value, json};

#[test]
fn requests_become_the_golden_upstream_bodies() {
    let mut written = fixture::Written::default();
    for (dialect, case) in fixture::cases(".request.json") {
        let body = fixture::bytes(dialect, &case, ".request.json");
        let quirks = fixture::quirks(dialect, &case);
        let head = parse_chat_request(&body).unwrap();
        let target = Target {
            provider_model: "provider-model",
            max_tokens: None,
            quirks: &quirks,
            stream: head.stream(),
        };
        let wire = dialect.render_request(&head, &target).unwrap();
        let text = std::str::from_utf8(&wire.body).unwrap();
        let body: Value = serde_json::from_str(text).unwrap();
        let headers: Vec<Value> =
            wire.headers.iter().map(|(name, value)| json!(format!("{name}: {value}"))).collect();
        let actual = json!({"path": wire.path, "headers": headers, "warnings": wire.warnings, "body": body});
        fixture::expect(&mut written, dialect, &format!("{case}.upstream.json"), &actual);
        // Key order of schemas steers the model, and JSON comparison does not see it.
        if case == "image_schema" {
            assert!(text.find("zeta").unwrap() < text.find("alpha").unwrap(), "{text}");
        }
    }
}

#[test]
fn replies_become_the_golden_answers() {
    let mut written = fixture::Written::default();
    for (dialect, case) in fixture::cases(".reply.json") {
        let reply = dialect.parse_response(&fixture::bytes(dialect, &case, ".reply.json")).unwrap();
        let usage = reply.usage.map(|usage| render_usage(&usage, &[("cost", "0.00125")]));
        let answer = render_reply(&reply, &fixture::context(), usage.as_deref());
        let strict = render_reply(&reply, &fixture::context().strict(true), None);
        let mut text = String::new();
        reply.append_text(&mut text);
        let actual = json!({
            "answer": serde_json::from_slice::<Value>(&answer).unwrap(),
            "strict_message": serde_json::from_slice::<Value>(&strict).unwrap()["choices"][0].clone(),
            "upstream_id": reply.upstream_id, "usage": reply.usage, "text": text,
        });
        fixture::expect(&mut written, dialect, &format!("{case}.answer.json"), &actual);
    }
}

#[test]
fn streams_become_the_golden_events_and_chunks() {
    let mut written = fixture::Written::default();
    for (dialect, case) in fixture::cases(".stream.txt") {
        let mut events = Vec::new();
        let mut reader = dialect.stream_reader();
        reader.push(&fixture::bytes(dialect, &case, ".stream.txt"), &mut events).unwrap();
        reader.finish(&mut events).unwrap();
        let chunks: Vec<u8> =
            events.iter().filter_map(|event| render_chunk(event, &fixture::context())).flatten().collect();
        let choices: Vec<Value> = fixture::frames(&chunks)
            .into_iter()
            .map(|mut frame| {
                assert_eq!(frame["id"], "gen-1763630001-abcdefghijklmnopqrst");
                assert_eq!(frame["provider"], "Some \"Provider\"");
                assert_eq!(frame["model"], "author/slug");
                assert_eq!(frame["object"], "chat.completion.chunk");
                frame["choices"].take()
            })
            .collect();
        let events: Vec<Value> = events.iter().map(fixture::event).collect();
        fixture::expect(
            &mut written,
            dialect,
            &format!("{case}.events.json"),
            &json!({"events": events, "choices": choices}),
        );
    }
}

#[test]
fn failures_are_classified_and_masked_as_the_tables_say() {
    for (dialect, case) in fixture::cases("errors.json") {
        let rows: Vec<Value> =
            serde_json::from_slice(&fixture::bytes(dialect, &case, "errors.json")).unwrap();
        for row in rows {
            let body = match &row["body"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let status = u16::try_from(row["status"].as_u64().unwrap()).unwrap();
            let failure = dialect.parse_error(status, body.as_bytes());
            let actual = json!({
                "status": failure.status, "body": row["body"], "class": format!("{:?}", failure.class),
                "code": failure.provider_code, "public": failure.public_message(),
                "elsewhere": failure.retryable_elsewhere(),
            });
            assert_eq!(actual, row, "{}", dialect.name());
        }
    }
}
