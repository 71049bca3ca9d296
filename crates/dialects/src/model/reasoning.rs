//! Reasoning: what a request asks for, and the details that answers carry and later turns replay.
//!
//! How much an effort means in tokens is here; whether a provider can do it is the dialect's.

use serde::{Deserialize, Serialize};

/// How hard the model should think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    Max,
    Xhigh,
    High,
    Medium,
    Low,
    Minimal,
    None,
}

impl Effort {
    pub const NAMES: [&'static str; 7] = ["max", "xhigh", "high", "medium", "low", "minimal", "none"];

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "max" => Self::Max,
            "xhigh" => Self::Xhigh,
            "high" => Self::High,
            "medium" => Self::Medium,
            "low" => Self::Low,
            "minimal" => Self::Minimal,
            "none" => Self::None,
            _ => return None,
        })
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Xhigh => "xhigh",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Minimal => "minimal",
            Self::None => "none",
        }
    }

    /// Share of `max_tokens` meant for reasoning, in percent (OpenRouter's published ratios).
    #[must_use]
    pub fn percent(self) -> u32 {
        match self {
            Self::Max | Self::Xhigh => 95,
            Self::High => 80,
            Self::Medium => 50,
            Self::Low => 20,
            Self::Minimal => 10,
            Self::None => 0,
        }
    }
}

/// What the request says about reasoning, from `reasoning`, `reasoning_effort` or `include_reasoning`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasoning {
    pub effort: Option<Effort>,
    /// Tokens for reasoning; wins over `effort`.
    pub max_tokens: Option<u32>,
    /// Think, but do not show it.
    pub exclude: bool,
    pub enabled: Option<bool>,
    pub summary: Option<String>,
}

impl Reasoning {
    /// Whether the caller asks the model to reason (`{}` or `exclude` alone does not).
    #[must_use]
    pub fn wanted(&self) -> bool {
        !self.refused() && (self.effort.is_some() || self.max_tokens.is_some() || self.enabled == Some(true))
    }

    /// Whether the caller asks the model not to reason.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.enabled == Some(false) || (self.effort == Some(Effort::None) && self.max_tokens.is_none())
    }

    /// The effort meant, `medium` for a bare `enabled`; `None` when not wanted.
    #[must_use]
    pub fn effective_effort(&self) -> Option<Effort> {
        self.wanted().then(|| self.effort.filter(|effort| *effort != Effort::None).unwrap_or(Effort::Medium))
    }
}

/// One piece of reasoning as our API shows it: `reasoning.text`, `reasoning.summary` or
/// `reasoning.encrypted`. Order and signatures must survive a round trip through the client.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReasoningDetail {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl ReasoningDetail {
    /// Visible reasoning in a named format.
    #[must_use]
    pub fn text(text: impl Into<String>, format: &str, index: u32) -> Self {
        Self {
            kind: "reasoning.text".to_owned(),
            text: Some(text.into()),
            format: Some(format.to_owned()),
            index: Some(index),
            ..Self::default()
        }
    }

    /// The signature that belongs to the text with the same index.
    #[must_use]
    pub fn signature(signature: impl Into<String>, format: &str, index: u32) -> Self {
        Self { text: None, signature: Some(signature.into()), ..Self::text("", format, index) }
    }

    /// Reasoning that only the provider can read.
    #[must_use]
    pub fn encrypted(data: impl Into<String>, format: &str, index: u32) -> Self {
        Self {
            kind: "reasoning.encrypted".to_owned(),
            text: None,
            data: Some(data.into()),
            ..Self::text("", format, index)
        }
    }
}
