//! Tools: what the caller offers, how the model must choose, what it called.

use serde_json::value::RawValue;

/// A call the model made. `arguments` is the JSON text exactly as the model wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    pub arguments: String,
    /// What the provider wants back with the call, as JSON text: Google's `thought_signature` is here.
    pub extra_content: Option<String>,
}

/// A tool the caller offers. Schemas stay raw: the order of their keys steers the model.
#[derive(Debug, Clone)]
pub enum Tool {
    Function {
        name: String,
        description: Option<String>,
        parameters: Option<Box<RawValue>>,
        strict: bool,
        cache_control: Option<Box<RawValue>>,
    },
    /// Any other `type`.
    Other { kind: String, raw: Box<RawValue> },
}

/// Which tool the model must use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    Auto,
    None,
    Required,
    Function(String),
    /// A form only some providers know, by its type.
    Other(String),
}

/// The form the answer must have.
#[derive(Debug, Clone)]
pub enum ResponseFormat {
    Text,
    JsonObject,
    JsonSchema {
        name: String,
        schema: Option<Box<RawValue>>,
        strict: Option<bool>,
    },
    /// A form only some providers know, by its type.
    Other(String),
}
