//! What every source is turned into before it is judged: one row per model at a provider, prices as text.
//!
//! Nothing is decided here.

use crate::model::Modality;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A number as its source wrote it, from a JSON number or string. It never passes through a float.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Figure(pub(crate) String);

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        if text.starts_with('"') {
            return serde_json::from_str(text).map(Self).map_err(serde::de::Error::custom);
        }
        Ok(Self(text.to_owned()))
    }
}

/// What a price counts per.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Dollars per million tokens.
    Million,
    /// Dollars per token.
    One,
}

/// Prices as a source wrote them. `image` and `request` are always dollars per piece.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prices {
    pub(crate) prompt: Option<Figure>,
    pub(crate) completion: Option<Figure>,
    pub(crate) cache_read: Option<Figure>,
    pub(crate) cache_write: Option<Figure>,
    pub(crate) cache_write_1h: Option<Figure>,
    pub(crate) reasoning: Option<Figure>,
    pub(crate) audio_prompt: Option<Figure>,
    pub(crate) audio_completion: Option<Figure>,
    pub(crate) image: Option<Figure>,
    pub(crate) request: Option<Figure>,
}

/// One model at one provider, as a source states it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Our slug of the provider.
    pub(crate) provider: String,
    /// The provider's name of the model.
    pub(crate) id: String,
    /// The public slug, when the source says it.
    pub(crate) model: Option<String>,
    /// Another source name of the same model, as `vendor/name`.
    pub(crate) base_model: Option<String>,
    pub(crate) currency: Option<String>,
    pub(crate) unit: Unit,
    pub(crate) prices: Prices,
    /// Other prices for prompts longer than this many tokens.
    pub(crate) tiers: Vec<(u64, Prices)>,
    pub(crate) facts: Facts,
    /// Staff looked at the jump and wants it.
    pub(crate) confirm_jump: bool,
    /// Staff says that a price which the row does not state is gone.
    pub(crate) confirm_drop: bool,
}

/// What a source says about a model beside its price.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) release_date: Option<String>,
    pub(crate) knowledge: Option<String>,
    pub(crate) family: Option<String>,
    pub(crate) hugging_face_id: Option<String>,
    pub(crate) open_weights: bool,
    pub(crate) reasoning: bool,
    /// It reasons without being asked.
    pub(crate) reasons_by_default: Option<bool>,
    pub(crate) tools: bool,
    /// `None`: the source does not say.
    pub(crate) temperature: Option<bool>,
    pub(crate) structured_output: Option<bool>,
    pub(crate) deprecated: bool,
    pub(crate) context: Option<u64>,
    pub(crate) max_prompt: Option<u64>,
    pub(crate) max_completion: Option<u64>,
    pub(crate) input: Vec<Modality>,
    pub(crate) output: Vec<Modality>,
    pub(crate) quantization: Option<String>,
    /// By their API names; `None`: derive them from the flags above.
    pub(crate) parameters: Option<Vec<String>>,
    /// It is not a chat model, by the source's own word.
    pub(crate) not_chat: bool,
}

impl Facts {
    /// Request parameters that an endpoint of this dialect honors, sorted; `extra` are its provider's own.
    pub(crate) fn supported_parameters(&self, dialect: &str, extra: &[String]) -> Vec<String> {
        let mut names: Vec<&str> = vec!["max_completion_tokens", "max_tokens", "stop"];
        if self.temperature != Some(false) {
            names.extend(extra.iter().map(String::as_str));
            names.extend(["temperature", "top_p"]);
            match dialect {
                "anthropic" => names.push("top_k"),
                _ => names.extend(["frequency_penalty", "presence_penalty"]),
            }
        }
        if dialect != "anthropic" {
            names.push("seed");
        }
        if self.structured_output != Some(false) {
            names.push("response_format");
        }
        if self.structured_output == Some(true) {
            names.push("structured_outputs");
        }
        if self.tools {
            names.extend(["parallel_tool_calls", "tool_choice", "tools"]);
        }
        if self.reasoning {
            names.extend(["include_reasoning", "reasoning"]);
        }
        let mut names = match &self.parameters {
            Some(stated) => stated.clone(),
            None => names.into_iter().map(str::to_owned).collect(),
        };
        names.sort();
        names.dedup();
        names
    }
}

/// Reads a modality as the sources spell it; unknown words are nothing we can carry.
pub(crate) fn modality(word: &str) -> Option<Modality> {
    match word {
        "text" => Some(Modality::Text),
        "image" => Some(Modality::Image),
        "audio" => Some(Modality::Audio),
        "video" => Some(Modality::Video),
        "file" | "pdf" => Some(Modality::File),
        _ => None,
    }
}

/// Reads a list of modalities, sorted and without duplicates.
pub(crate) fn modalities<S: AsRef<str>>(words: &[S]) -> Vec<Modality> {
    let mut found: Vec<Modality> = words.iter().filter_map(|word| modality(word.as_ref())).collect();
    found.sort();
    found.dedup();
    found
}
