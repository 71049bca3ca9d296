//! A request for an OpenAI-like provider: the client's own bytes with a rewritten top level.
//!
//! Values are copied as they came. Messages are taken apart only for a provider that refuses members in
//! them, and only when the request has such members.

use crate::dialect::{Target, WireError, WireRequest};
use crate::json::ObjectWriter;
use crate::model::fields::Owner;
use crate::model::head::{RequestHead, TOOL_DIALS};
use crate::model::reasoning::Effort;
use crate::quirks::{Quirks, ReasoningField, ReasoningRequest};
use bytes::Bytes;
use serde_json::Value;
use std::borrow::Cow;

pub(super) fn render(head: &RequestHead<'_>, target: &Target<'_>) -> Result<WireRequest, WireError> {
    refuse(head, target.quirks)?;
    let quirks = target.quirks;
    let mut warnings = Vec::new();
    let mut out = ObjectWriter::open(Vec::with_capacity(body_size(head)));
    out.value("model", target.provider_model);
    for (key, json, field) in head.members() {
        let ours = field.is_some_and(|field| matches!(field.owner, Owner::Rewritten | Owner::Gateway));
        let idle = !head.has_tools() && (key == "tools" || TOOL_DIALS.contains(&key));
        if ours || idle {
            continue;
        }
        let unserved = field.is_some_and(|field| field.owner == Owner::Unserved);
        if unserved || quirks.unsupported_fields.iter().any(|name| name == key) {
            warnings.push(key.to_owned());
        } else if matches!(key, "messages" | "tools") && rewrites(head, quirks) {
            out.value(key, &rewritten(json, quirks)?);
        } else {
            out.raw(key, json);
        }
    }
    if let Some(limit) = target.max_tokens.or(head.max_tokens()) {
        out.value(quirks.max_tokens_field.as_str(), &limit);
    }
    reasoning(head, quirks, &mut out, &mut warnings);
    // Top-level automatic caching is a request to us or to Anthropic; nobody else has a word for it.
    warnings.extend(head.member("cache_control").map(|_| "cache_control".to_owned()));
    if target.stream {
        out.raw("stream", "true");
        if !quirks.rejects_stream_options && !quirks.no_stream_usage {
            out.raw("stream_options", r#"{"include_usage":true}"#);
        }
    }
    Ok(WireRequest {
        path: quirks.path.clone().unwrap_or_else(|| "/chat/completions".to_owned()),
        headers: headers(quirks),
        body: Bytes::from(out.close()),
        warnings,
    })
}

/// What must not be sent: things that cost what no tariff says.
fn refuse(head: &RequestHead<'_>, quirks: &Quirks) -> Result<(), WireError> {
    if let Some(field) = head.unpriced(&quirks.priced_fields) {
        return Err(WireError::unsupported(format!("the field `{field}`")));
    }
    match &head.facts().foreign_tool {
        Some(kind) => Err(WireError::unsupported(format!("tools of the type `{kind}`"))),
        None => Ok(()),
    }
}

fn headers(quirks: &Quirks) -> Vec<(Cow<'static, str>, String)> {
    let own = (Cow::Borrowed("content-type"), "application/json".to_owned());
    let more = quirks.headers.iter().map(|(name, value)| (Cow::Owned(name.clone()), value.clone()));
    std::iter::once(own).chain(more).collect()
}

fn body_size(head: &RequestHead<'_>) -> usize {
    head.members().map(|(key, json, _)| key.len() + json.len() + 4).sum::<usize>() + 128
}

/// Says the wish to reason in the provider's way; what cannot be said is a warning.
fn reasoning(head: &RequestHead<'_>, quirks: &Quirks, out: &mut ObjectWriter, warnings: &mut Vec<String>) {
    let Some(wish) = head.reasoning() else { return };
    match quirks.reasoning_request {
        ReasoningRequest::Nothing => {
            if wish.wanted() || wish.refused() {
                warnings.push("reasoning".to_owned());
            }
        }
        ReasoningRequest::Object => match head.member("reasoning") {
            Some(raw) => out.raw("reasoning", raw.get()),
            None => out.optional("reasoning_effort", wish.effort.as_ref()),
        },
        ReasoningRequest::Effort => {
            let effort = if wish.refused() { Some("none") } else { wish.effective_effort().map(word) };
            out.optional("reasoning_effort", effort.as_ref());
            if wish.max_tokens.is_some() {
                warnings.push("reasoning.max_tokens".to_owned());
            }
            if wish.summary.is_some() {
                warnings.push("reasoning.summary".to_owned());
            }
        }
    }
}

/// OpenAI's highest word is `xhigh`; `max` is OpenRouter's.
fn word(effort: Effort) -> &'static str {
    if effort == Effort::Max { "xhigh" } else { effort.as_str() }
}

fn rewrites(head: &RequestHead<'_>, quirks: &Quirks) -> bool {
    let asked = !quirks.strip_message_fields.is_empty() || quirks.reasoning_field != ReasoningField::AsSent;
    (asked && head.facts().extensions) || (quirks.no_developer_role && head.facts().developer)
}

/// The slow way: a tree of the messages or tools, without the members this provider refuses.
fn rewritten(json: &str, quirks: &Quirks) -> Result<Value, WireError> {
    let mut tree: Value =
        serde_json::from_str(json).map_err(|error| WireError::malformed("request", &error))?;
    for item in tree.as_array_mut().into_iter().flatten() {
        if quirks.no_developer_role && item.get("role").is_some_and(|role| role == "developer") {
            let _developer =
                item.as_object_mut().and_then(|members| members.insert("role".into(), "system".into()));
        }
        rename_reasoning(item, quirks.reasoning_field);
        strip(item, &quirks.strip_message_fields);
        for part in item.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten() {
            strip(part, &quirks.strip_message_fields);
        }
    }
    Ok(tree)
}

fn strip(item: &mut Value, names: &[String]) {
    if let Some(members) = item.as_object_mut() {
        members.retain(|key, _| !names.contains(key));
    }
}

fn rename_reasoning(message: &mut Value, field: ReasoningField) {
    let (from, to) = match field {
        ReasoningField::AsSent => return,
        ReasoningField::ReasoningContent => ("reasoning", "reasoning_content"),
        ReasoningField::Reasoning => ("reasoning_content", "reasoning"),
    };
    if let Some(members) = message.as_object_mut()
        && let Some(text) = members.remove(from)
    {
        members.entry(to).or_insert(text);
    }
}
