//! Golden files: found by suffix, compared as JSON, written when missing.

use dialects::face::openai::FaceContext;
use dialects::{Dialect, Quirks, StreamEvent, registry};
use serde_json::{Value, json};
use std::path::PathBuf;

pub(crate) fn folder(dialect: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/dialects").join(dialect)
}

/// Every case of every dialect that has a file with this suffix.
pub(crate) fn cases(suffix: &str) -> Vec<(&'static dyn Dialect, String)> {
    let mut found = Vec::new();
    for dialect in registry::ALL {
        for entry in std::fs::read_dir(folder(dialect.name())).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if let Some(case) = name.strip_suffix(suffix) {
                found.push((*dialect, case.to_owned()));
            }
        }
    }
    assert!(found.len() >= 2, "no fixtures with {suffix}");
    found.sort_by_key(|(dialect, case)| (dialect.name(), case.clone()));
    found
}

pub(crate) fn bytes(dialect: &dyn Dialect, case: &str, suffix: &str) -> Vec<u8> {
    let path = folder(dialect.name()).join(format!("{case}{suffix}"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn quirks(dialect: &dyn Dialect, case: &str) -> Quirks {
    let path = folder(dialect.name()).join(format!("{case}.quirks.json"));
    if path.exists() {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    } else {
        Quirks::default()
    }
}

/// Golden files that were missing and are written now; not empty is a failure.
#[derive(Default)]
pub(crate) struct Written(Vec<String>);

impl Drop for Written {
    fn drop(&mut self) {
        if !self.0.is_empty() && !std::thread::panicking() {
            panic!("missing golden files were written, read them and run again: {:#?}", self.0);
        }
    }
}

/// Compares with the golden file. A missing one is written, and the test fails once for you to read it.
pub(crate) fn expect(written: &mut Written, dialect: &dyn Dialect, name: &str, actual: &Value) {
    let path = folder(dialect.name()).join(name);
    if !path.exists() {
        std::fs::write(&path, serde_json::to_string_pretty(actual).unwrap() + "\n").unwrap();
        written.0.push(format!("{}/{name}", dialect.name()));
        return;
    }
    let expected: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(*actual, expected, "{} {name}: left is what came out", dialect.name());
}

pub(crate) fn context() -> FaceContext {
    FaceContext::new("gen-1763630001-abcdefghijklmnopqrst", 1_763_630_001, "author/slug", "Some \"Provider\"")
}

/// An event as JSON, for golden files and comparisons.
pub(crate) fn event(event: &StreamEvent) -> Value {
    match event {
        StreamEvent::Start { upstream_id, model } => {
            json!({"start": {"upstream_id": upstream_id, "model": model}})
        }
        StreamEvent::Delta(delta) => {
            let calls: Vec<Value> = delta
                .tool_calls
                .iter()
                .map(|call| json!({"index": call.index, "id": call.id, "name": call.name, "arguments": call.arguments}))
                .collect();
            let mut out = json!({
                "choice": delta.choice, "role": delta.role, "content": delta.content,
                "reasoning": delta.reasoning, "refusal": delta.refusal, "logprobs": delta.logprobs,
            });
            let members = out.as_object_mut().unwrap();
            members.retain(|_, value| !value.is_null());
            if !calls.is_empty() {
                members.insert("tool_calls".to_owned(), json!(calls));
            }
            if !delta.reasoning_details.is_empty() {
                members.insert("reasoning_details".to_owned(), json!(delta.reasoning_details));
            }
            for (key, raw) in &delta.extra {
                members.insert(key.clone(), json!(raw));
            }
            json!({ "delta": out })
        }
        StreamEvent::Finish { choice, reason, native } => {
            json!({"finish": {"choice": choice, "reason": reason, "native": native}})
        }
        StreamEvent::Usage(usage) => json!({ "usage": usage }),
        StreamEvent::UsageFault(fault) => json!({"usage_fault": fault.to_string()}),
        StreamEvent::Error(failure) => json!({"error": {
            "class": format!("{:?}", failure.class), "code": failure.provider_code, "message": failure.message,
        }}),
        StreamEvent::Done => json!("done"),
    }
}

/// The frames of our own stream as JSON.
pub(crate) fn frames(stream: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stream).unwrap();
    text.split_terminator("\n\n")
        .map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap())
        .collect()
}
