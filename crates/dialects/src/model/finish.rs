//! Why a choice ended: the five values our clients see. The provider's own word travels beside it.

use serde::{Deserialize, Serialize};

/// The normalized finish reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
    Error,
}

impl FinishReason {
    /// The word of the public API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Error => "error",
        }
    }

    /// The nearest word that OpenAI itself uses: it has no `error`.
    #[must_use]
    pub fn as_openai(self) -> &'static str {
        match self {
            Self::Error => "stop",
            other => other.as_str(),
        }
    }
}
