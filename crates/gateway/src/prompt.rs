//! The text of a prompt, for the local token count. Order and content are those of the request; images and
//! files are no text.

use dialects::{RequestError, RequestHead};
use serde_json::Value;

/// All text of a request: message contents, tool calls, tools.
pub fn text(head: &RequestHead<'_>) -> Result<String, RequestError> {
    let mut text = String::new();
    if let Some(Ok(Value::Array(messages))) =
        head.member("messages").map(|raw| serde_json::from_str(raw.get()))
    {
        for message in &messages {
            append_content(message.get("content"), &mut text);
            append_calls(message.get("tool_calls"), &mut text);
        }
    }
    if let Some(tools) = head.member("tools") {
        text.push_str(tools.get());
    }
    Ok(text)
}

fn append_content(content: Option<&Value>, text: &mut String) {
    match content {
        Some(Value::String(plain)) => text.push_str(plain),
        Some(Value::Array(parts)) => {
            for part in parts {
                if let Some(plain) = part.get("text").and_then(Value::as_str) {
                    text.push_str(plain);
                }
            }
        }
        _ => {}
    }
}

fn append_calls(calls: Option<&Value>, text: &mut String) {
    let Some(Value::Array(calls)) = calls else { return };
    for function in calls.iter().filter_map(|call| call.get("function")) {
        for field in ["name", "arguments"] {
            text.push_str(function.get(field).and_then(Value::as_str).unwrap_or_default());
        }
    }
}
