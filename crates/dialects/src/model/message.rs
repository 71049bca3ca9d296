//! Messages of a conversation as a tree, for translation into another dialect.

use crate::model::reasoning::ReasoningDetail;
use crate::model::tool::ToolCall;
use serde_json::value::RawValue;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
    /// The role of OpenAI's functions, older than tools.
    Function,
}

impl Role {
    pub const NAMES: [&'static str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "system" => Self::System,
            "developer" => Self::Developer,
            "user" => Self::User,
            "assistant" => Self::Assistant,
            "tool" => Self::Tool,
            "function" => Self::Function,
            _ => return None,
        })
    }
}

/// One message. A plain string content is one text part.
#[derive(Debug, Clone)]
pub struct Message {
    pub role: Role,
    pub content: Vec<Part>,
    pub name: Option<String>,
    /// Which call a tool message answers.
    pub tool_call_id: Option<String>,
    pub tool_calls: Vec<ToolCall>,
    pub refusal: Option<String>,
    pub reasoning: Option<String>,
    /// In the order of the turn that made them.
    pub reasoning_details: Vec<ReasoningDetail>,
    /// On the message itself: means its last part.
    pub cache_control: Option<Box<RawValue>>,
    /// Names of further members, which translation cannot carry.
    pub others: Vec<String>,
}

/// One part of a message's content.
#[derive(Debug, Clone)]
pub struct Part {
    pub kind: PartKind,
    pub cache_control: Option<Box<RawValue>>,
}

/// What a part holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartKind {
    Text(String),
    /// A web address or a `data:` URL.
    Image {
        url: String,
        detail: Option<String>,
    },
    Audio,
    /// `data` is a web address or a `data:` URL.
    File {
        filename: Option<String>,
        data: Option<String>,
    },
    Video,
    Refusal(String),
}
