//! What one provider does differently from its dialect, as data in the catalog.
//!
//! A quirk is a field here, its use in a dialect, and a fixture. Unknown fields are refused, so a typing
//! error in a catalog row is found when it is loaded.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All quirks of a provider; the default is the dialect as its inventor speaks it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    /// Name of the output limit. OpenAI's reasoning models refuse `max_tokens` (API reference, 2026-06);
    /// Mistral, DeepSeek, Together and vLLM before 0.6.4 know only `max_tokens`.
    pub max_tokens_field: MaxTokensField,
    /// The provider refuses `stream_options` (older Mistral and Cohere compatibility endpoints); it then
    /// sends usage unasked or not at all.
    pub rejects_stream_options: bool,
    /// The provider never sends usage in a stream, so the gateway counts by itself.
    pub no_stream_usage: bool,
    /// Path appended to the base URL instead of the dialect's own, e.g. Perplexity's without `/v1`.
    pub path: Option<String>,
    /// Further request headers, e.g. `anthropic-beta`. Never credentials.
    pub headers: BTreeMap<String, String>,
    /// Name of the reasoning text in replayed assistant messages: DeepSeek and Moonshot want their
    /// `reasoning_content` back within a turn of tool calls; vLLM and OpenRouter-like say `reasoning`.
    pub reasoning_field: ReasoningField,
    /// How the wish to reason is said.
    pub reasoning_request: ReasoningRequest,
    /// Top-level fields the provider refuses, left out with a warning: e.g. OpenAI refuses `top_k`,
    /// `min_p`, `top_a`, `repetition_penalty` ("Unrecognized request argument").
    pub unsupported_fields: Vec<String>,
    /// Members of messages, parts and tools to leave out: OpenAI refuses `cache_control` on parts.
    pub strip_message_fields: Vec<String>,
    /// The provider knows no role `developer` and gets `system` instead: DeepSeek, Mistral and most vLLM chat
    /// templates ("unknown variant `developer`", seen 2026-03).
    pub no_developer_role: bool,
    /// Fields that change the price and that this provider's tariffs cover, e.g. `service_tier`.
    pub priced_fields: Vec<String>,
    /// How Claude models are told to think: those from Opus 4.6 on want `adaptive` and an effort, older
    /// ones a budget (Anthropic's "extended thinking" page, 2026-06).
    pub thinking: Thinking,
    /// The model refuses `temperature` and `top_p` together (Claude Opus 4.1 and later): `top_p` is left
    /// out with a warning.
    pub one_sampling_dial: bool,
}

/// Field that carries the output limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    #[default]
    MaxTokens,
    MaxCompletionTokens,
}

impl MaxTokensField {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// Member of an assistant message that carries replayed reasoning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningField {
    /// As the client wrote it.
    #[default]
    AsSent,
    ReasoningContent,
    Reasoning,
}

/// How reasoning is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningRequest {
    /// OpenAI's `reasoning_effort`.
    #[default]
    Effort,
    /// The `reasoning` object as our clients write it (gateways that speak OpenRouter's superset).
    Object,
    /// Not at all: the model always or never reasons.
    Nothing,
}

/// Anthropic's two ways to ask for thinking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thinking {
    #[default]
    Budget,
    Adaptive,
}
