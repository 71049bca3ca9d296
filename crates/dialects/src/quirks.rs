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
    /// Name of the output limit. OpenAI's reasoning models refuse `max_tokens`; Mistral refuses
    /// `max_completion_tokens` ("extra_forbidden", editor-code-assistant/eca #231, 2025-12).
    pub max_tokens_field: MaxTokensField,
    /// The provider refuses `stream_options`; it then sends usage unasked or not at all. Mistral: unasked
    /// ("extra_forbidden", avante.nvim #2347, 2025-06).
    pub rejects_stream_options: bool,
    /// The provider never sends usage in a stream, so the gateway counts by itself.
    pub no_stream_usage: bool,
    /// Path appended to the base URL instead of the dialect's own, which comes after a `/v1` in that URL.
    pub path: Option<String>,
    /// Further request headers, e.g. `anthropic-beta`. Never credentials.
    pub headers: BTreeMap<String, String>,
    /// Name of the reasoning text in replayed assistant messages. DeepSeek refuses a turn of tool calls
    /// without its `reasoning_content` (its guide "Thinking mode"; continue #10193, 2026-02); Mistral
    /// refuses one with it (crush #1590, 2025-12): there it is stripped.
    pub reasoning_field: ReasoningField,
    /// How the wish to reason is said.
    pub reasoning_request: ReasoningRequest,
    /// Top-level fields the provider refuses, left out with a warning: OpenAI knows no `top_k`, `min_p`,
    /// `top_a`, `repetition_penalty` (absent from its API reference).
    pub unsupported_fields: Vec<String>,
    /// Members of messages, parts and tools to leave out: OpenAI's reference has no `cache_control`.
    pub strip_message_fields: Vec<String>,
    /// The provider knows no role `developer` and gets `system` instead: DeepSeek ("unknown variant
    /// `developer`", earendil-works/pi #1048, 2026-01).
    pub no_developer_role: bool,
    /// Fields that change the price and that this provider's tariffs cover, e.g. `service_tier`.
    pub priced_fields: Vec<String>,
    /// How models of the `anthropic` dialect are told to think, where the model's name does not tell.
    pub thinking: Option<Thinking>,
    /// Which of `temperature`, `top_p` and `top_k` models of the `anthropic` dialect take, likewise.
    pub dials: Option<Dials>,
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

/// Anthropic's two ways to ask for thinking: a number of tokens, or an effort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thinking {
    Budget,
    Adaptive,
}

/// How many sampling dials an Anthropic model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dials {
    All,
    /// `temperature` or `top_p`, not both: `top_p` is left out with a warning.
    One,
    None,
}
