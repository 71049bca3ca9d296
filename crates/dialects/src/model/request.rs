//! The whole chat request as a tree: what a dialect other than OpenAI's translates from.
//!
//! Made by [`RequestHead::to_request`](crate::RequestHead::to_request), never on the pass-through path.

use crate::model::message::Message;
use crate::model::reasoning::{Effort, Reasoning};
use crate::model::tool::{ResponseFormat, Tool, ToolChoice};
use serde_json::value::RawValue;

/// A chat request in our superset of OpenAI's language.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// Empty when the request names only `models`.
    pub model: String,
    pub messages: Vec<Message>,
    /// The smaller of `max_tokens` and `max_completion_tokens`.
    pub max_tokens: Option<u32>,
    pub stream: bool,
    pub n: u32,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    pub parallel_tool_calls: Option<bool>,
    pub response_format: Option<ResponseFormat>,
    pub reasoning: Option<Reasoning>,
    /// How much to say; some providers take it for an effort.
    pub verbosity: Option<Effort>,
    pub sampling: Sampling,
    pub stop: Vec<String>,
    pub user: Option<String>,
    pub cache_control: Option<Box<RawValue>>,
    /// Known fields of OpenAI's or OpenRouter's language that have no place above, raw.
    pub others: Vec<(String, Box<RawValue>)>,
    /// Top-level fields nobody knows: passed through.
    pub extra: Vec<(String, Box<RawValue>)>,
}

/// The numbers that steer sampling. Floats, because they are nothing but dials.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u32>,
    pub min_p: Option<f64>,
    pub top_a: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub repetition_penalty: Option<f64>,
    pub seed: Option<i64>,
    pub logprobs: bool,
    pub top_logprobs: Option<u32>,
}
