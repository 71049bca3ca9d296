//! From the raw head to the whole request tree, for dialects that must translate.
//!
//! Shapes were validated by the head; what is read here is only looked up again.

use crate::json::{self, Kind, Members};
use crate::model::fields::Owner;
use crate::model::head::RequestHead;
use crate::model::message::{Message, Part, PartKind, Role};
use crate::model::messages_shape::{get, object};
use crate::model::reasoning::{Effort, ReasoningDetail};
use crate::model::request::{ChatRequest, Sampling};
use crate::model::request_error::{At, RequestError, RequestErrorKind};
use crate::model::tool::{ResponseFormat, Tool, ToolCall, ToolChoice};
use serde_json::value::RawValue;

/// Fields that have a place of their own in [`ChatRequest`].
const PLACED: &[&str] = &[
    "messages",
    "n",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "top_a",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "logprobs",
    "top_logprobs",
    "stop",
    "user",
    "cache_control",
];

pub(super) fn build(head: &RequestHead<'_>) -> Result<ChatRequest, RequestError> {
    let root = At::ROOT;
    let mut others = Vec::new();
    let mut extra = Vec::new();
    for (key, json, field) in head.members() {
        let placed = field.is_some_and(|field| field.owner == Owner::Rewritten || PLACED.contains(&key));
        let Some(raw) = serde_json::from_str::<&RawValue>(json).ok().filter(|_| !placed) else { continue };
        let list = if field.is_none() { &mut extra } else { &mut others };
        list.push((key.to_owned(), raw.to_owned()));
    }
    let at = root.key("messages");
    let messages =
        head.member("messages").map(|raw| collect(raw, &at, message)).transpose()?.unwrap_or_default();
    let at = root.key("tools");
    let tools = head.member("tools").map(|raw| collect(raw, &at, tool)).transpose()?.unwrap_or_default();
    Ok(ChatRequest {
        model: head.model().unwrap_or_default().to_owned(),
        messages,
        max_tokens: head.max_tokens(),
        stream: head.stream(),
        n: head.n(),
        tools,
        tool_choice: head.member("tool_choice").map(tool_choice),
        parallel_tool_calls: head.member("parallel_tool_calls").map(|raw| raw.get() == "true"),
        response_format: head.member("response_format").map(response_format),
        reasoning: head.reasoning().cloned(),
        verbosity: head.text("verbosity").and_then(|word| Effort::parse(&word)),
        sampling: sampling(head),
        stop: head.texts("stop").into_iter().map(Into::into).collect(),
        user: head.text("user").map(Into::into),
        cache_control: head.member("cache_control").map(ToOwned::to_owned),
        others,
        extra,
    })
}

fn collect<T>(
    raw: &RawValue,
    at: &At<'_>,
    read: impl Fn(&RawValue, &At<'_>) -> Result<T, RequestError>,
) -> Result<Vec<T>, RequestError> {
    let mut out = Vec::new();
    json::each_element(raw, |index, element| {
        out.push(read(element, &at.index(index))?);
        Ok(())
    })?;
    Ok(out)
}

fn sampling(head: &RequestHead<'_>) -> Sampling {
    let float = |name: &str| head.member(name).and_then(|raw| raw.get().parse().ok());
    let whole = |name: &str| head.member(name).and_then(|raw| raw.get().parse().ok());
    Sampling {
        temperature: float("temperature"),
        top_p: float("top_p"),
        top_k: whole("top_k"),
        min_p: float("min_p"),
        top_a: float("top_a"),
        frequency_penalty: float("frequency_penalty"),
        presence_penalty: float("presence_penalty"),
        repetition_penalty: float("repetition_penalty"),
        seed: head.member("seed").and_then(|raw| raw.get().parse().ok()),
        logprobs: head.member("logprobs").is_some_and(|raw| raw.get() == "true"),
        top_logprobs: whole("top_logprobs"),
    }
}

fn owned(members: &Members<'_>, key: &str) -> Option<String> {
    get(members, key).and_then(json::text).map(Into::into)
}

fn message(raw: &RawValue, at: &At<'_>) -> Result<Message, RequestError> {
    const KNOWN: [&str; 10] = [
        "role",
        "content",
        "name",
        "tool_call_id",
        "tool_calls",
        "refusal",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "cache_control",
    ];
    let members = object(raw, at)?;
    let role = owned(&members, "role").as_deref().and_then(Role::parse);
    let content = match get(&members, "content") {
        Some(raw) if Kind::of(raw) == Kind::Array => collect(raw, &at.key("content"), part)?,
        Some(raw) => {
            let text = json::text(raw).unwrap_or_default().into_owned();
            vec![Part { kind: PartKind::Text(text), cache_control: None }]
        }
        None => Vec::new(),
    };
    let calls = get(&members, "tool_calls").map(|raw| collect(raw, &at.key("tool_calls"), tool_call));
    let details =
        get(&members, "reasoning_details").map(|raw| collect(raw, &at.key("reasoning_details"), detail));
    let others = members
        .iter()
        .filter(|(key, raw)| !KNOWN.contains(&key.as_ref()) && Kind::of(raw) != Kind::Null)
        .map(|(key, _)| key.to_string());
    Ok(Message {
        role: role.ok_or_else(|| at.key("role").fail(RequestErrorKind::Missing))?,
        content,
        name: owned(&members, "name"),
        tool_call_id: owned(&members, "tool_call_id"),
        tool_calls: calls.transpose()?.unwrap_or_default(),
        refusal: owned(&members, "refusal"),
        reasoning: owned(&members, "reasoning").or_else(|| owned(&members, "reasoning_content")),
        reasoning_details: details.transpose()?.unwrap_or_default(),
        cache_control: get(&members, "cache_control").map(ToOwned::to_owned),
        others: others.collect(),
    })
}

fn part(raw: &RawValue, at: &At<'_>) -> Result<Part, RequestError> {
    let members = object(raw, at)?;
    let inner =
        |key: &str| get(&members, key).and_then(|raw| json::members(raw.get()).ok()).unwrap_or_default();
    let kind = match owned(&members, "type").unwrap_or_default().as_str() {
        "image_url" => {
            let image = inner("image_url");
            PartKind::Image { url: owned(&image, "url").unwrap_or_default(), detail: owned(&image, "detail") }
        }
        "input_audio" => PartKind::Audio,
        "video_url" => PartKind::Video,
        "file" => {
            let file = inner("file");
            PartKind::File { filename: owned(&file, "filename"), data: owned(&file, "file_data") }
        }
        "refusal" => PartKind::Refusal(owned(&members, "refusal").unwrap_or_default()),
        _ => PartKind::Text(owned(&members, "text").unwrap_or_default()),
    };
    Ok(Part { kind, cache_control: get(&members, "cache_control").map(ToOwned::to_owned) })
}

fn tool_call(raw: &RawValue, at: &At<'_>) -> Result<ToolCall, RequestError> {
    let members = object(raw, at)?;
    let at_function = at.key("function");
    let function = get(&members, "function").ok_or_else(|| at_function.fail(RequestErrorKind::Missing))?;
    let function = object(function, &at_function)?;
    Ok(ToolCall {
        id: owned(&members, "id").unwrap_or_default(),
        name: owned(&function, "name").unwrap_or_default(),
        arguments: owned(&function, "arguments").unwrap_or_default(),
        extra_content: None,
    })
}

fn detail(raw: &RawValue, at: &At<'_>) -> Result<ReasoningDetail, RequestError> {
    serde_json::from_str(raw.get()).map_err(|_shape| {
        at.fail(RequestErrorKind::WrongType { expected: "a reasoning detail", got: "another object" })
    })
}

fn tool(raw: &RawValue, at: &At<'_>) -> Result<Tool, RequestError> {
    let members = object(raw, at)?;
    let kind = owned(&members, "type").unwrap_or_default();
    let Some(function) = get(&members, "function").filter(|_| kind == "function") else {
        return Ok(Tool::Other { kind, raw: raw.to_owned() });
    };
    let function = object(function, &at.key("function"))?;
    Ok(Tool::Function {
        name: owned(&function, "name").unwrap_or_default(),
        description: owned(&function, "description"),
        parameters: get(&function, "parameters").map(ToOwned::to_owned),
        strict: get(&function, "strict").is_some_and(|raw| raw.get() == "true"),
        cache_control: get(&members, "cache_control").map(ToOwned::to_owned),
    })
}

fn tool_choice(raw: &RawValue) -> ToolChoice {
    if let Some(word) = json::text(raw) {
        return match word.as_ref() {
            "none" => ToolChoice::None,
            "required" => ToolChoice::Required,
            _ => ToolChoice::Auto,
        };
    }
    let members = json::members(raw.get()).unwrap_or_default();
    let function =
        get(&members, "function").and_then(|raw| json::members(raw.get()).ok()).unwrap_or_default();
    match owned(&function, "name") {
        Some(name) => ToolChoice::Function(name),
        None => ToolChoice::Other(owned(&members, "type").unwrap_or_default()),
    }
}

fn response_format(raw: &RawValue) -> ResponseFormat {
    let members = json::members(raw.get()).unwrap_or_default();
    match owned(&members, "type").unwrap_or_default().as_str() {
        "text" => ResponseFormat::Text,
        "json_object" => ResponseFormat::JsonObject,
        "json_schema" => {
            let inner = get(&members, "json_schema")
                .and_then(|raw| json::members(raw.get()).ok())
                .unwrap_or_default();
            ResponseFormat::JsonSchema {
                name: owned(&inner, "name").unwrap_or_default(),
                schema: get(&inner, "schema").map(ToOwned::to_owned),
                strict: get(&inner, "strict").map(|raw| raw.get() == "true"),
            }
        }
        other => ResponseFormat::Other(other.to_owned()),
    }
}
