//! Everything of a request that is not the conversation: sampling, tools, thinking, output format.

use super::REASONING_FORMAT;
use super::generation::Generation;
use crate::dialect::WireError;
use crate::json::ObjectWriter;
use crate::model::message::Role;
use crate::model::reasoning::{Effort, ReasoningDetail};
use crate::model::request::ChatRequest;
use crate::model::tool::{ResponseFormat, Tool, ToolChoice};
use crate::quirks::{Dials, Thinking};
use serde::Serialize;
use serde_json::value::RawValue;

/// Smallest and largest thinking budgets (Anthropic refuses less; OpenRouter's published ceiling).
const BUDGET: (u64, u64) = (1024, 128_000);

/// How the model will think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Said nothing about: most models then do not think.
    Unasked,
    /// Told not to.
    Disabled,
    Budget(u64),
    Adaptive(Effort),
}

impl Plan {
    /// Whether the model is asked to think.
    pub(super) fn thinks(self) -> bool {
        matches!(self, Self::Budget(_) | Self::Adaptive(_))
    }
}

/// Decides about thinking. What cannot be had under the limit or beside a forced tool is a warning: the
/// API refuses a budget at or above `max_tokens`, and thinking with a forced tool.
pub(super) fn plan(request: &ChatRequest, limit: u32, model: Generation, warnings: &mut Vec<String>) -> Plan {
    let wish = request.reasoning.clone().unwrap_or_default();
    let forced = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Function(_)));
    if wish.summary.is_some() {
        warnings.push("reasoning.summary".to_owned());
    }
    let Some(effort) = wish.effective_effort().filter(|_| !forced) else {
        if wish.wanted() || (wish.refused() && model.always) {
            warnings.push("reasoning".to_owned());
        }
        let tell = model.unasked && !model.always && (wish.refused() || forced);
        return if tell { Plan::Disabled } else { Plan::Unasked };
    };
    // As OpenRouter does: a number of tokens is taken by its word where the model still takes one.
    if model.thinking == Thinking::Adaptive && !(model.takes_budget && wish.max_tokens.is_some()) {
        if wish.max_tokens.is_some() {
            warnings.push("reasoning.max_tokens".to_owned());
        }
        return Plan::Adaptive(effort);
    }
    if answers_unthought_call(request) {
        warnings.push("reasoning".to_owned());
        return Plan::Unasked;
    }
    let limit = u64::from(limit);
    let share = limit * u64::from(effort.percent()) / 100;
    let wanted = wish.max_tokens.map_or(share, u64::from);
    let budget = wanted.min(BUDGET.1).max(BUDGET.0);
    if budget < limit {
        Plan::Budget(budget)
    } else if limit > BUDGET.0 {
        warnings.push("reasoning.max_tokens".to_owned());
        Plan::Budget(limit - 1)
    } else {
        warnings.push("reasoning".to_owned());
        Plan::Unasked
    }
}

/// Whether the request continues a turn of tool calls whose thinking the client did not send back. With a
/// budget, the API insists that such a turn begins with its thinking ("a final `assistant` message must
/// start with a thinking block", opencode #3077, 2025-10); most OpenAI clients do not replay it.
fn answers_unthought_call(request: &ChatRequest) -> bool {
    let last = request.messages.iter().rposition(|message| message.role != Role::Tool);
    let calling = last
        .and_then(|last| request.messages.get(last))
        .filter(|message| message.role == Role::Assistant && !message.tool_calls.is_empty());
    let ours = |detail: &ReasoningDetail| {
        detail.format.as_deref().is_none_or(|format| format == REASONING_FORMAT)
            && (detail.signature.is_some() || detail.data.is_some())
    };
    calling.is_some_and(|message| !message.reasoning_details.iter().any(ours))
}

/// Writes `thinking` and `output_config`. Structured outputs are `output_config.format` with `json_schema`
/// (Anthropic's page "Structured outputs", generally available since Opus 4.6; `output_format` with a beta
/// header was the older way); effort is `output_config.effort`.
pub(super) fn write_thinking_and_format(
    out: &mut ObjectWriter,
    request: &ChatRequest,
    plan: Plan,
    model: Generation,
    warnings: &mut Vec<String>,
) -> Result<(), WireError> {
    match plan {
        Plan::Unasked => {}
        Plan::Disabled => out.raw("thinking", r#"{"type":"disabled"}"#),
        Plan::Budget(tokens) => {
            out.raw("thinking", &format!(r#"{{"type":"enabled","budget_tokens":{tokens}}}"#))
        }
        Plan::Adaptive(_) => out.raw("thinking", r#"{"type":"adaptive"}"#),
    }
    let mut config = ObjectWriter::open(Vec::new());
    config.optional("effort", effort(request, plan, model, warnings).as_ref());
    match &request.response_format {
        None | Some(ResponseFormat::Text) => {}
        Some(ResponseFormat::JsonSchema { schema: Some(schema), .. }) => {
            config.raw("format", &format!(r#"{{"type":"json_schema","schema":{}}}"#, schema.get()));
        }
        // The API has no way to ask for just any JSON.
        Some(ResponseFormat::JsonObject | ResponseFormat::JsonSchema { schema: None, .. }) => {
            warnings.push("response_format".to_owned());
        }
        Some(ResponseFormat::Other(kind)) => {
            return Err(WireError::unsupported(format!("the response format `{kind}`")));
        }
    }
    if !config.is_empty() {
        out.with("output_config", |mut bytes| {
            bytes.extend(config.close());
            bytes
        });
    }
    Ok(())
}

/// `verbosity` is an effort too, and wins, as with OpenRouter. Models of the budget kind know none.
fn effort(
    request: &ChatRequest,
    plan: Plan,
    model: Generation,
    warnings: &mut Vec<String>,
) -> Option<&'static str> {
    let asked = match plan {
        Plan::Adaptive(effort) => Some(effort),
        _ => None,
    };
    let effort = match request.verbosity {
        Some(_) if model.thinking == Thinking::Budget => {
            warnings.push("verbosity".to_owned());
            asked
        }
        verbosity => verbosity.or(asked),
    }?;
    Some(match effort {
        Effort::Minimal | Effort::None => "low",
        Effort::Xhigh if !model.xhigh => {
            warnings.push("reasoning.effort".to_owned());
            "high"
        }
        other => other.as_str(),
    })
}

/// Writes the dials the model has, and names those it lacks. The API takes temperatures up to 1, and none
/// beside thinking.
pub(super) fn write_sampling(
    out: &mut ObjectWriter,
    request: &ChatRequest,
    plan: Plan,
    model: Generation,
    warnings: &mut Vec<String>,
) {
    let dials = &request.sampling;
    let (thinks, none) = (plan.thinks(), model.dials == Dials::None);
    let mut warn = |name: &str| warnings.push(name.to_owned());
    match dials.temperature {
        Some(warm) if none || (thinks && warm != 1.0) => warn("temperature"),
        Some(warm) if warm > 1.0 => {
            warn("temperature");
            out.value("temperature", &1.0);
        }
        Some(warm) => out.value("temperature", &warm),
        None => {}
    }
    match dials.top_p {
        // With thinking only 0.95 to 1 is taken.
        Some(share) if none || (thinks && share < 0.95) => warn("top_p"),
        Some(_) if model.dials == Dials::One && dials.temperature.is_some() => warn("top_p"),
        Some(share) => out.value("top_p", &share),
        None => {}
    }
    match dials.top_k {
        // 0 means "no limit" in our language, and is refused in theirs.
        Some(0) | None => {}
        Some(_) if none || thinks => warn("top_k"),
        Some(k) => out.value("top_k", &k),
    }
    let lacking = [
        ("min_p", dials.min_p.is_some()),
        ("top_a", dials.top_a.is_some()),
        ("frequency_penalty", dials.frequency_penalty.is_some()),
        ("presence_penalty", dials.presence_penalty.is_some()),
        ("repetition_penalty", dials.repetition_penalty.is_some()),
        ("seed", dials.seed.is_some()),
    ];
    for (name, _) in lacking.iter().filter(|(_, given)| *given) {
        warn(name);
    }
}

#[derive(Serialize)]
struct ToolWire<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: &'a RawValue,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<&'a RawValue>,
}

/// Writes `tools` and `tool_choice`.
pub(super) fn write_tools(out: &mut ObjectWriter, request: &ChatRequest) -> Result<(), WireError> {
    if request.tools.is_empty() {
        return Ok(());
    }
    let no_parameters = RawValue::from_string(r#"{"type":"object","properties":{}}"#.to_owned());
    let no_parameters = no_parameters.map_err(|error| WireError::malformed("schema", &error))?;
    let mut tools = Vec::with_capacity(request.tools.len());
    for tool in &request.tools {
        match tool {
            Tool::Function { name, description, parameters, strict, cache_control } => tools.push(ToolWire {
                name,
                description: description.as_deref(),
                input_schema: parameters.as_deref().unwrap_or(&no_parameters),
                strict: *strict,
                cache_control: cache_control.as_deref(),
            }),
            Tool::Other { kind, .. } => {
                return Err(WireError::unsupported(format!("tools of the type `{kind}`")));
            }
        }
    }
    out.value("tools", &tools);
    write_choice(out, request)
}

fn write_choice(out: &mut ObjectWriter, request: &ChatRequest) -> Result<(), WireError> {
    let single = request.parallel_tool_calls == Some(false);
    let (kind, name) = match &request.tool_choice {
        None if single => ("auto", None),
        None => return Ok(()),
        Some(ToolChoice::Auto) => ("auto", None),
        Some(ToolChoice::None) => ("none", None),
        Some(ToolChoice::Required) => ("any", None),
        Some(ToolChoice::Function(name)) => ("tool", Some(name)),
        Some(ToolChoice::Other(kind)) => {
            return Err(WireError::unsupported(format!("the tool choice `{kind}`")));
        }
    };
    out.with("tool_choice", |bytes| {
        let mut choice = ObjectWriter::open(bytes);
        choice.value("type", kind);
        choice.optional("name", name);
        if single && kind != "none" {
            choice.raw("disable_parallel_tool_use", "true");
        }
        choice.close()
    });
    Ok(())
}
