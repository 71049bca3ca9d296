//! Reads a chat completions request. Unknown fields are let pass: compatible providers add their own.

use serde_json::Value;

use crate::providers::ask::{Ask, Format, Tool, ToolChoice};
use crate::providers::fault::Fault;
use crate::providers::script;

/// OpenAI's own limit of choices.
const MAX_CHOICES: u64 = 128;

pub(super) fn read(body: &Value) -> Result<Ask, Fault> {
    let model = text_field(body, "model")
        .ok_or_else(|| Fault::field("model", "you must provide a model parameter"))?;
    let messages = body
        .get("messages")
        .and_then(Value::as_array)
        .filter(|messages| !messages.is_empty())
        .ok_or_else(|| Fault::field("messages", "Missing required parameter: 'messages'."))?;
    let role = |message: &Value| text_field(message, "role").unwrap_or_default();
    let asked = messages.iter().rev().find(|message| role(message) == "user");
    let (script, question) = script::in_text(&asked.map(plain_text).unwrap_or_default())
        .map_err(|message| Fault::field("messages", message))?;
    let (small_images, images) = count_images(messages);
    Ok(Ask {
        model,
        stream: flag(body, "/stream"),
        include_usage: flag(body, "/stream_options/include_usage"),
        messages: messages.iter().map(counted_text).collect(),
        small_images,
        images,
        question,
        script,
        after_tool: messages.last().is_some_and(|last| matches!(role(last).as_str(), "tool" | "function")),
        tools: tools(body),
        tools_text: body.get("tools").map(Value::to_string).unwrap_or_default(),
        choice: choice(body),
        format: format(body),
        reasoning: text_field(body, "reasoning_effort").is_some_and(|effort| effort != "none"),
        max_tokens: max_tokens(body)?,
        stop: stop(body),
        choices: choices(body)?,
        cache_points: Vec::new(),
    })
}

fn text_field(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn flag(body: &Value, pointer: &str) -> bool {
    body.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// The text parts of one message.
fn plain_text(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .filter_map(|part| part.get("text").and_then(Value::as_str))
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

/// What counts as prompt: the text and earlier tool calls.
fn counted_text(message: &Value) -> String {
    let mut text = plain_text(message);
    for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
        for pointer in ["/function/name", "/function/arguments"] {
            text.push_str(call.pointer(pointer).and_then(Value::as_str).unwrap_or_default());
        }
    }
    text
}

/// Images of low detail, and others.
fn count_images(messages: &[Value]) -> (u64, u64) {
    let parts = messages.iter().filter_map(|message| message.get("content")?.as_array()).flatten();
    parts.filter_map(|part| part.get("image_url")).fold((0, 0), |(small, other), image| {
        match image.get("detail").and_then(Value::as_str) {
            Some("low") => (small + 1, other),
            _ => (small, other + 1),
        }
    })
}

fn tools(body: &Value) -> Vec<Tool> {
    let listed = body.get("tools").and_then(Value::as_array).into_iter().flatten();
    listed
        .filter_map(|tool| {
            let function = tool.get("function")?;
            let name = text_field(function, "name")?;
            Some(Tool { name, schema: function.get("parameters").cloned().unwrap_or_default() })
        })
        .collect()
}

fn choice(body: &Value) -> ToolChoice {
    match body.get("tool_choice") {
        Some(Value::String(word)) if word == "none" => ToolChoice::None,
        Some(Value::String(word)) if word == "required" => ToolChoice::Required,
        Some(named) => match named.pointer("/function/name").and_then(Value::as_str) {
            Some(name) => ToolChoice::Named(name.to_owned()),
            None => ToolChoice::Auto,
        },
        None => ToolChoice::Auto,
    }
}

fn format(body: &Value) -> Format {
    match body.pointer("/response_format/type").and_then(Value::as_str) {
        Some("json_schema") => {
            Format::Schema(body.pointer("/response_format/json_schema/schema").cloned().unwrap_or_default())
        }
        Some("json_object") => Format::Json,
        _ => Format::Text,
    }
}

fn max_tokens(body: &Value) -> Result<Option<usize>, Fault> {
    let named = ["max_completion_tokens", "max_tokens"]
        .into_iter()
        .find_map(|name| body.get(name).filter(|value| !value.is_null()).map(|value| (name, value)));
    let Some((name, value)) = named else { return Ok(None) };
    let number = value.as_u64().filter(|number| *number > 0).and_then(|number| usize::try_from(number).ok());
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(Fault::field(
            name,
            format!(
                "Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {value} instead."
            ),
        )),
    }
}

fn stop(body: &Value) -> Vec<String> {
    match body.get("stop") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn choices(body: &Value) -> Result<u64, Fault> {
    match body.get("n").filter(|value| !value.is_null()) {
        None => Ok(1),
        Some(value) => value
            .as_u64()
            .filter(|n| (1..=MAX_CHOICES).contains(n))
            .ok_or_else(|| Fault::field("n", format!("Invalid 'n': expected 1 to 128, but got {value}."))),
    }
}
