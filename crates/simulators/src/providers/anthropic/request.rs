//! Reads a Messages request. Unknown fields are let pass.

use serde_json::Value;

use crate::providers::ask::{Ask, Format, Tool, ToolChoice};
use crate::providers::fault::Fault;
use crate::providers::script;

pub(super) fn read(body: &Value) -> Result<Ask, Fault> {
    let model =
        body.get("model").and_then(Value::as_str).ok_or_else(|| Fault::field("model", "Field required"))?;
    let max_tokens = body
        .get("max_tokens")
        .ok_or_else(|| Fault::field("max_tokens", "Field required"))?
        .as_u64()
        .filter(|number| *number > 0)
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| Fault::field("max_tokens", "Input should be greater than or equal to 1"))?;
    let messages = body
        .get("messages")
        .and_then(Value::as_array)
        .filter(|messages| !messages.is_empty())
        .ok_or_else(|| Fault::field("messages", "at least one message is required"))?;
    let asked = messages.iter().rev().find(|message| is_user(message) && !plain_text(message).is_empty());
    let (script, question) = script::in_text(&asked.map(plain_text).unwrap_or_default())
        .map_err(|message| Fault::field("messages", message))?;
    let system = body.get("system").map(content_text).filter(|text| !text.is_empty());
    let images = messages.iter().map(|message| count_images(message.get("content"))).sum();
    Ok(Ask {
        model: model.to_owned(),
        stream: body.get("stream").and_then(Value::as_bool).unwrap_or(false),
        include_usage: true,
        messages: system.into_iter().chain(messages.iter().map(counted_text)).collect(),
        small_images: 0,
        images,
        question,
        script,
        after_tool: messages.last().is_some_and(has_tool_result),
        tools: tools(body),
        tools_text: body.get("tools").map(Value::to_string).unwrap_or_default(),
        choice: choice(body),
        format: format(body),
        reasoning: matches!(
            body.pointer("/thinking/type").and_then(Value::as_str),
            Some("enabled" | "adaptive")
        ),
        max_tokens: Some(max_tokens),
        stop: strings(body.get("stop_sequences")),
        choices: 1,
        cache_points: cache_points(body, messages),
    })
}

fn is_user(message: &Value) -> bool {
    message.get("role").and_then(Value::as_str) == Some("user")
}

fn blocks(content: Option<&Value>) -> impl Iterator<Item = &Value> {
    content.and_then(Value::as_array).into_iter().flatten()
}

fn strings(value: Option<&Value>) -> Vec<String> {
    blocks(value).filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The text of a content field: a string, or the text of its blocks.
fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        other => blocks(Some(other))
            .filter_map(|block| block.get("text").and_then(Value::as_str))
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

fn plain_text(message: &Value) -> String {
    message.get("content").map(content_text).unwrap_or_default()
}

/// What counts as prompt in one block: text, tool calls, tool results, earlier thoughts.
fn block_text(block: &Value) -> String {
    let field = |name| block.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    match block.get("type").and_then(Value::as_str) {
        Some("text") => field("text"),
        Some("thinking") => field("thinking"),
        Some("tool_use") => field("name") + &block.get("input").map(Value::to_string).unwrap_or_default(),
        Some("tool_result") => block.get("content").map(content_text).unwrap_or_default(),
        _ => String::new(),
    }
}

fn counted_text(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        content => blocks(content).map(block_text).collect::<Vec<_>>().join("\n"),
    }
}

fn has_tool_result(message: &Value) -> bool {
    blocks(message.get("content"))
        .any(|block| block.get("type").and_then(Value::as_str) == Some("tool_result"))
}

/// Images in a content field, those inside tool results included.
fn count_images(content: Option<&Value>) -> u64 {
    blocks(content)
        .map(|block| match block.get("type").and_then(Value::as_str) {
            Some("image") => 1,
            Some("tool_result") => count_images(block.get("content")),
            _ => 0,
        })
        .sum()
}

fn tools(body: &Value) -> Vec<Tool> {
    blocks(body.get("tools"))
        .filter_map(|tool| {
            let name = tool.get("name").and_then(Value::as_str)?.to_owned();
            Some(Tool { name, schema: tool.get("input_schema").cloned().unwrap_or_default() })
        })
        .collect()
}

fn choice(body: &Value) -> ToolChoice {
    match body.pointer("/tool_choice/type").and_then(Value::as_str) {
        Some("none") => ToolChoice::None,
        Some("any") => ToolChoice::Required,
        Some("tool") => {
            let name = body.pointer("/tool_choice/name").and_then(Value::as_str).unwrap_or_default();
            ToolChoice::Named(name.to_owned())
        }
        _ => ToolChoice::Auto,
    }
}

fn format(body: &Value) -> Format {
    let wanted = body.pointer("/output_config/format").or_else(|| body.get("output_format"));
    match wanted.and_then(|format| format.get("schema")) {
        Some(schema) => Format::Schema(schema.clone()),
        None => Format::Text,
    }
}

/// The prompt up to each block marked with `cache_control`, in the order tools, system, messages.
fn cache_points(body: &Value, messages: &[Value]) -> Vec<String> {
    let mut prefix = String::new();
    let mut points = Vec::new();
    let mut pass = |text: String, holder: &Value| {
        prefix.push_str(&text);
        if holder.get("cache_control").is_some_and(|mark| !mark.is_null()) {
            points.push(prefix.clone());
        }
    };
    for tool in blocks(body.get("tools")) {
        let mut unmarked = tool.clone();
        if let Some(fields) = unmarked.as_object_mut() {
            fields.remove("cache_control");
        }
        pass(unmarked.to_string(), tool);
    }
    let contents = body.get("system").into_iter().chain(messages.iter().filter_map(|m| m.get("content")));
    for content in contents {
        match content {
            Value::String(text) => pass(text.clone(), &Value::Null),
            other => blocks(Some(other)).for_each(|block| pass(block_text(block), block)),
        }
    }
    pass(String::new(), body);
    points
}
