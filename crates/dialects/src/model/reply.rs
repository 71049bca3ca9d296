//! A whole answer, as a non-streamed call gives it.

use crate::dialect::WireError;
use crate::model::finish::FinishReason;
use crate::model::reasoning::ReasoningDetail;
use crate::model::tool::ToolCall;
use kernel::Usage;
use serde_json::value::RawValue;

/// One answer with its choices and the provider's count.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The provider's id of the answer.
    pub upstream_id: Option<String>,
    /// The provider's name of the model.
    pub model: Option<String>,
    pub choices: Vec<ReplyChoice>,
    /// `None` when the provider sent no count, or one that cannot be believed (see `usage_fault`).
    pub usage: Option<Usage>,
    /// Why the count cannot be believed. Never read as zero.
    pub usage_fault: Option<WireError>,
    pub system_fingerprint: Option<String>,
    pub service_tier: Option<String>,
}

impl Reply {
    /// Appends everything a tokenizer would count of the answer.
    pub fn append_text(&self, text: &mut String) {
        for choice in &self.choices {
            let message = &choice.message;
            for piece in [&message.reasoning, &message.content, &message.refusal].into_iter().flatten() {
                text.push_str(piece);
            }
            for call in &message.tool_calls {
                text.push_str(&call.name);
                text.push_str(&call.arguments);
            }
        }
    }
}

/// One choice of an answer.
#[derive(Debug, Clone)]
pub struct ReplyChoice {
    pub index: u32,
    pub message: ReplyMessage,
    pub finish: FinishReason,
    /// The provider's own word for the finish.
    pub native_finish: Option<String>,
    pub logprobs: Option<Box<RawValue>>,
}

/// What the assistant said.
#[derive(Debug, Clone, Default)]
pub struct ReplyMessage {
    pub content: Option<String>,
    pub refusal: Option<String>,
    pub reasoning: Option<String>,
    pub reasoning_details: Vec<ReasoningDetail>,
    pub tool_calls: Vec<ToolCall>,
    /// Members the model has no word for (`annotations`, `images`, `audio`, …), raw.
    pub extra: Vec<(String, Box<RawValue>)>,
}
