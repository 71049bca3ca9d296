//! Streams cut anywhere: readers give the same events, the pass-through the same JSON as the slow way.

use crate::fixture;
use dialects::face::openai::{FaceContext, Passed, Relay, render_chunk};
use dialects::{Dialect, StreamEvent, WireError, registry};
use serde_json::{Value, json};

/// Every way to cut that a test tries: whole, byte by byte, odd pieces, and one cut at each byte.
fn cuts(stream: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut all = vec![
        vec![stream],
        stream.chunks(1).collect(),
        stream.chunks(7).collect(),
        stream.chunks(61).collect(),
    ];
    all.extend((1..stream.len()).map(|at| vec![&stream[..at], &stream[at..]]));
    all
}

fn events(dialect: &dyn Dialect, pieces: &[&[u8]]) -> (Vec<StreamEvent>, Result<(), WireError>) {
    let mut reader = dialect.stream_reader();
    let mut out = Vec::new();
    for piece in pieces {
        if let Err(error) = reader.push(piece, &mut out) {
            return (out, Err(error));
        }
    }
    let end = reader.finish(&mut out);
    (out, end)
}

#[test]
fn any_cut_gives_the_same_events() {
    for (dialect, case) in fixture::cases(".stream.txt") {
        let stream = fixture::bytes(dialect, &case, ".stream.txt");
        let (whole, end) = events(dialect, &[&stream]);
        let whole: Vec<Value> = whole.iter().map(fixture::event).collect();
        for pieces in cuts(&stream) {
            let (cut, cut_end) = events(dialect, &pieces);
            assert_eq!(
                cut.iter().map(fixture::event).collect::<Vec<_>>(),
                whole,
                "{case} at {}",
                pieces[0].len()
            );
            assert_eq!(cut_end, end);
        }
    }
}

#[derive(Debug, PartialEq)]
struct Relayed {
    frames: Vec<Value>,
    noted: Value,
    text: String,
}

fn relay(dialect: &dyn Dialect, context: &FaceContext, pieces: &[&[u8]]) -> Relayed {
    let mut relay = Relay::new(dialect, context.clone());
    let (mut out, mut text, mut noted) = (Vec::new(), String::new(), json!({}));
    for piece in pieces {
        let mut passed = Passed::default();
        relay.push(piece, &mut text, &mut passed).unwrap();
        note(&mut noted, &mut out, passed);
    }
    let mut passed = Passed::default();
    relay.finish(&mut text, &mut passed).unwrap();
    note(&mut noted, &mut out, passed);
    Relayed { frames: fixture::frames(&out), noted, text }
}

fn note(noted: &mut Value, out: &mut Vec<u8>, passed: Passed) {
    out.extend_from_slice(&passed.bytes);
    let said = [
        ("id", json!(passed.upstream_id)),
        ("usage", json!(passed.usage)),
        ("fault", json!(passed.usage_fault.map(|fault| fault.to_string()))),
        ("finish", json!(passed.finish)),
        ("error", json!(passed.error.map(|failure| failure.message))),
        ("done", if passed.done { json!(true) } else { Value::Null }),
    ];
    for (key, value) in said {
        if !value.is_null() {
            noted[key] = value;
        }
    }
}

/// The slow way: events, each rendered by itself.
fn slowly(dialect: &dyn Dialect, context: &FaceContext, stream: &[u8]) -> Relayed {
    let (events, end) = events(dialect, &[stream]);
    end.unwrap();
    let (mut text, mut noted, mut out) = (String::new(), json!({}), Vec::new());
    for event in &events {
        out.extend(render_chunk(event, context).into_iter().flatten());
        match event {
            StreamEvent::Start { upstream_id, .. } if upstream_id.is_some() => {
                noted["id"] = json!(upstream_id)
            }
            StreamEvent::Delta(delta) => delta.append_text(&mut text),
            StreamEvent::Finish { reason, native, .. } => noted["finish"] = json!([reason, native]),
            StreamEvent::Usage(usage) => noted["usage"] = json!(usage),
            StreamEvent::UsageFault(fault) => noted["fault"] = json!(fault.to_string()),
            StreamEvent::Error(failure) => noted["error"] = json!(failure.message),
            StreamEvent::Done => noted["done"] = json!(true),
            StreamEvent::Start { .. } => {}
        }
    }
    Relayed { frames: fixture::frames(&out), noted, text }
}

#[test]
fn the_relay_says_what_the_slow_way_says_at_any_cut() {
    let contexts =
        [fixture::context(), fixture::context().strict(true), fixture::context().exclude_reasoning(true)];
    for (dialect, case) in fixture::cases(".stream.txt") {
        let stream = fixture::bytes(dialect, &case, ".stream.txt");
        for (number, context) in contexts.iter().enumerate() {
            let slow = slowly(dialect, context, &stream);
            // What a context changes does not depend on the cut, so one of them is cut everywhere.
            for pieces in cuts(&stream).into_iter().take(if number == 0 { usize::MAX } else { 40 }) {
                assert_eq!(relay(dialect, context, &pieces), slow, "{case} cut at {}", pieces[0].len());
            }
        }
    }
}

#[test]
fn plain_text_takes_the_fast_way_and_keeps_the_upstream_spelling() {
    let stream = b"data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"b\"}}]}\n\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\u00e9\\/\"},\"finish_reason\":null}]}\n\n";
    let mut relay = Relay::new(registry::find("openai").unwrap(), fixture::context());
    let (mut text, mut passed) = (String::new(), Passed::default());
    relay.push(stream, &mut text, &mut passed).unwrap();
    assert!(std::str::from_utf8(&passed.bytes).unwrap().contains("\"content\":\"\\u00e9\\/\""));
    assert_eq!(text, "bé/");
    assert_eq!(relay.finish(&mut text, &mut Passed::default()), Err(WireError::Truncated));
}

#[test]
fn nulls_that_providers_like_to_send_do_not_leave_the_fast_way() {
    let start = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}]}"#;
    // The escape shows which way was taken: only the fast one keeps it.
    let rows = [
        (
            r#"{"choices":[{"index":0,"delta":{"content":"\u0062","reasoning_content":null},"logprobs":null}],"x":1}"#,
            true,
        ),
        (
            r#"{"choices":[{"index":0,"delta":{"content":"\u0062","tool_calls":null},"content_filter_results":{}}]}"#,
            true,
        ),
        (
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"\u0062"},"stop_reason":null}]}"#,
            true,
        ),
        (r#"{"choices":[{"index":0,"delta":{"content":"\u0062","annotations":[1]}}]}"#, false),
        (r#"{"choices":[{"index":0,"delta":{"content":"\u0062","reasoning":"r"}}]}"#, false),
        (r#"{"choices":[{"index":0,"delta":{"content":"\u0062"},"finish_reason":"stop"}]}"#, false),
        (
            r#"{"choices":[{"index":0,"delta":{"content":"\u0062"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
            false,
        ),
    ];
    for (frame, fast) in rows {
        let stream = format!("data: {start}\n\ndata: {frame}\n\n");
        let mut relay = Relay::new(registry::find("openai").unwrap(), fixture::context());
        let (mut text, mut passed) = (String::new(), Passed::default());
        relay.push(stream.as_bytes(), &mut text, &mut passed).unwrap();
        assert!(text.ends_with('b'), "{frame}");
        assert_eq!(std::str::from_utf8(&passed.bytes).unwrap().contains("u0062"), fast, "{frame}");
    }
}

#[test]
fn nothing_is_shown_before_the_model_speaks_and_the_role_comes_with_its_first_piece() {
    let role = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let start = "data: {\"type\":\"message_start\",\"message\":{}}\n\ndata: {\"type\":\"content_block_start\",\
        \"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
    let said = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    let text = "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"text\":\"a\"}}\n\n";
    for (dialect, before, first) in [("openai", role, said), ("anthropic", start, text)] {
        let mut relay = Relay::new(registry::find(dialect).unwrap(), fixture::context());
        let (mut text, mut passed) = (String::new(), Passed::default());
        relay.push(before.as_bytes(), &mut text, &mut passed).unwrap();
        assert!(passed.bytes.is_empty(), "{dialect}");
        let mut passed = Passed::default();
        relay.push(first.as_bytes(), &mut text, &mut passed).unwrap();
        relay.push(first.as_bytes(), &mut text, &mut Passed::default()).unwrap();
        assert_eq!(
            fixture::frames(&passed.bytes)[0]["choices"][0]["delta"],
            json!({"role": "assistant", "content": "a"})
        );
        assert_eq!(text, "aa");
    }
}

#[test]
fn a_stream_that_breaks_off_is_never_taken_for_complete() {
    for (dialect, case) in fixture::cases(".stream.txt") {
        if case.contains("error") {
            continue;
        }
        let stream = fixture::bytes(dialect, &case, ".stream.txt");
        let marker: &[u8] =
            if dialect.name() == "openai" { b"\"finish_reason\":\"" } else { b"\"stop_reason\":\"" };
        let finish = stream.windows(marker.len()).position(|window| window == marker).unwrap();
        let last_event = stream[..finish].windows(6).rposition(|window| window == b"\ndata:").unwrap();
        let (out, end) = events(dialect, &[&stream[..last_event]]);
        assert_eq!(end, Err(WireError::Truncated), "{case}");
        assert!(!out.iter().any(|event| matches!(event, StreamEvent::Done)));
    }
}

#[test]
fn garbage_in_a_stream_is_a_typed_error() {
    for dialect in registry::ALL {
        for garbage in
            ["data: {\n\n", "data: [1]\n\n", "data: nonsense\n\n", "data: {\"choices\":7,\"type\":3}\n\n"]
        {
            let (_, end) = events(*dialect, &[garbage.as_bytes()]);
            assert!(matches!(end, Err(WireError::Malformed { .. })), "{} {garbage}: {end:?}", dialect.name());
        }
        let huge = format!("data: {}", "x".repeat(2 << 20));
        assert!(matches!(events(*dialect, &[huge.as_bytes()]).1, Err(WireError::TooLong { .. })));
        assert_eq!(events(*dialect, &[]).1, Err(WireError::Truncated));
    }
}
