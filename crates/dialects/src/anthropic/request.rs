//! A whole request of the Messages API from our chat request.

use super::conversation;
use super::generation::Generation;
use super::options::{self, plan};
use crate::dialect::{Target, WireError, WireRequest};
use crate::json::ObjectWriter;
use crate::model::fields::{self, Owner};
use crate::model::head::RequestHead;
use crate::model::request::ChatRequest;
use bytes::Bytes;
use std::borrow::Cow;

/// Top-level fields of the Messages API that we write ourselves; a caller's own are ignored.
const OURS: &[&str] = &["system", "stop_sequences", "output_config", "thinking"];

/// Fields that change the price or the place of inference, or make Anthropic call out: refused unless
/// the provider's quirks list them as priced.
const PRICED: &[&str] = &["speed", "inference_geo", "mcp_servers", "container", "betas", "fallbacks"];

pub(super) fn render(head: &RequestHead<'_>, target: &Target<'_>) -> Result<WireRequest, WireError> {
    let request = head.to_request()?;
    refuse(head, &request, target)?;
    let limit = target
        .max_tokens
        .or(request.max_tokens)
        .ok_or_else(|| WireError::unsupported("requests without `max_tokens`"))?;
    let mut warnings = Vec::new();
    let model = Generation::of(target.provider_model, target.quirks);
    let plan = plan(&request, limit, model, &mut warnings);
    let mut out = ObjectWriter::open(Vec::new());
    out.value("model", target.provider_model);
    out.value("max_tokens", &limit);
    options::write_tools(&mut out, &request)?;
    options::write_thinking_and_format(&mut out, &request, plan, model, &mut warnings)?;
    options::write_sampling(&mut out, &request, plan, model, &mut warnings);
    if !request.stop.is_empty() {
        out.value("stop_sequences", &request.stop);
    }
    if let Some(user) = &request.user {
        out.with("metadata", |bytes| {
            let mut metadata = ObjectWriter::open(bytes);
            metadata.value("user_id", user);
            metadata.close()
        });
    }
    out.optional("cache_control", request.cache_control.as_ref());
    if target.stream {
        out.raw("stream", "true");
    }
    pass_unknown(&request, target, &mut out, &mut warnings);
    let conversation = conversation::build(request.messages, plan.thinks(), &mut warnings)?;
    if !conversation.system.is_empty() {
        out.value("system", &conversation.system);
    }
    out.value("messages", &conversation.turns);
    warnings.sort_unstable();
    warnings.dedup();
    Ok(WireRequest {
        path: target.quirks.path.clone().unwrap_or_else(|| "/messages".to_owned()),
        headers: headers(target),
        body: Bytes::from(out.close()),
        warnings,
    })
}

/// What the API has no word for and a caller could not do without.
fn refuse(head: &RequestHead<'_>, request: &ChatRequest, target: &Target<'_>) -> Result<(), WireError> {
    let priced = &target.quirks.priced_fields;
    if let Some(field) = head.unpriced(priced) {
        return Err(WireError::unsupported(format!("the field `{field}`")));
    }
    let extra = request.extra.iter().map(|(name, _)| name);
    if let Some(field) = extra.clone().find(|name| PRICED.contains(&name.as_str()) && !priced.contains(name))
    {
        return Err(WireError::unsupported(format!("the field `{field}`")));
    }
    if request.n > 1 {
        return Err(WireError::unsupported("more than one choice (`n`)"));
    }
    if request.sampling.logprobs || request.sampling.top_logprobs.is_some() {
        return Err(WireError::unsupported("`logprobs`"));
    }
    let legacy =
        request.others.iter().find(|(name, _)| matches!(name.as_str(), "functions" | "function_call"));
    if let Some((name, _)) = legacy {
        return Err(WireError::unsupported(format!("the field `{name}`")));
    }
    let audio = head.texts("modalities").iter().any(|kind| kind != "text");
    if audio { Err(WireError::unsupported("output other than text")) } else { Ok(()) }
}

/// Fields nobody knows go as they are. Known ones of OpenAI's language are named as unseen, except those
/// that the gateway itself acts upon or that ask for nothing.
fn pass_unknown(
    request: &ChatRequest,
    target: &Target<'_>,
    out: &mut ObjectWriter,
    warnings: &mut Vec<String>,
) {
    let unsupported = |name: &String| target.quirks.unsupported_fields.contains(name);
    for (name, raw) in &request.extra {
        if OURS.contains(&name.as_str()) || unsupported(name) {
            warnings.push(name.clone());
        } else {
            out.raw(name, raw.get());
        }
    }
    for (name, _) in &request.others {
        let acted_upon = fields::find(name).is_some_and(|field| field.owner == Owner::Gateway);
        if !acted_upon && !matches!(name.as_str(), "modalities" | "service_tier" | "verbosity") {
            warnings.push(name.clone());
        }
    }
}

fn headers(target: &Target<'_>) -> Vec<(Cow<'static, str>, String)> {
    let own = [("content-type", "application/json"), ("anthropic-version", "2023-06-01")];
    let own = own.map(|(name, value)| (Cow::Borrowed(name), value.to_owned()));
    let more = target.quirks.headers.iter().map(|(name, value)| (Cow::Owned(name.clone()), value.clone()));
    own.into_iter().chain(more).collect()
}
