//! What a stream says, one event at a time, in any dialect.
//!
//! The same upstream bytes give the same events however the network cut them.

use crate::dialect::WireError;
use crate::model::failure::UpstreamFailure;
use crate::model::finish::FinishReason;
use crate::model::reasoning::ReasoningDetail;
use kernel::Usage;
use serde_json::value::RawValue;

/// One event of a streamed answer.
#[derive(Debug, Clone)]
pub enum StreamEvent {
    /// The provider's own id and model name; once, before everything else.
    Start {
        upstream_id: Option<String>,
        model: Option<String>,
    },
    Delta(Box<Delta>),
    Finish {
        choice: u32,
        reason: FinishReason,
        native: Option<String>,
    },
    /// The provider's count so far: exact in the prompt, final only when the stream is complete. Of several,
    /// the last one counts.
    Usage(Usage),
    /// The provider sent a count that nobody can bill (negative, fractional, absurd).
    UsageFault(WireError),
    /// The provider failed in the middle. Nothing follows.
    Error(UpstreamFailure),
    /// The provider said that the stream is complete.
    Done,
}

/// A piece of one choice.
#[derive(Debug, Clone, Default)]
pub struct Delta {
    pub choice: u32,
    /// Present on the first piece.
    pub role: Option<String>,
    pub content: Option<String>,
    /// Reasoning as plain text; the same text is in `reasoning_details`.
    pub reasoning: Option<String>,
    pub reasoning_details: Vec<ReasoningDetail>,
    pub tool_calls: Vec<ToolCallDelta>,
    pub refusal: Option<String>,
    /// Raw JSON as the provider sent it.
    pub logprobs: Option<Box<RawValue>>,
    /// Members of the delta that the model has no word for (`annotations`, `images`, `audio`, …), raw.
    pub extra: Vec<(String, Box<RawValue>)>,
}

impl Delta {
    /// Appends everything a tokenizer would count: text, reasoning, tool names and arguments.
    pub fn append_text(&self, text: &mut String) {
        for piece in [&self.reasoning, &self.content, &self.refusal].into_iter().flatten() {
            text.push_str(piece);
        }
        for call in &self.tool_calls {
            text.push_str(call.name.as_deref().unwrap_or_default());
            text.push_str(&call.arguments);
        }
    }
}

/// A piece of a tool call. `index` says which call of the message it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolCallDelta {
    pub index: u32,
    /// Present on the first piece, as is `name`.
    pub id: Option<String>,
    pub name: Option<String>,
    pub arguments: String,
    /// As in [`ToolCall`](crate::model::tool::ToolCall).
    pub extra_content: Option<String>,
}
