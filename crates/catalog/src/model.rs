//! Models, the companies that serve them, and the meeting of both: endpoints.

use crate::tariff::Tariff;
use kernel::Moment;
use kernel::ids::EndpointId;
use serde::{Deserialize, Serialize};

/// What goes into or comes out of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    Text,
    Image,
    Audio,
    Video,
    File,
}

impl Modality {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Audio => "audio",
            Self::Video => "video",
            Self::File => "file",
        }
    }
}

/// What a customer asks for, by `author/slug`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// `author/slug`, lower case; the public id.
    pub slug: String,
    pub name: String,
    #[serde(default)]
    pub description: String,
    /// Released by its author.
    pub created: Moment,
    /// The largest context among its endpoints, in tokens.
    pub context_length: u32,
    pub input_modalities: Vec<Modality>,
    pub output_modalities: Vec<Modality>,
    /// `YYYY-MM` or `YYYY-MM-DD`.
    #[serde(default)]
    pub knowledge_cutoff: Option<String>,
    #[serde(default)]
    pub open_weights: bool,
    #[serde(default)]
    pub hugging_face_id: Option<String>,
    #[serde(default)]
    pub family: Option<String>,
    /// It thinks before it answers (may be hidden output that is billed).
    #[serde(default)]
    pub reasoning: bool,
    /// Whether it reasons when a request says nothing about it. `None` is unknown; see
    /// [`reasons_unasked`](Self::reasons_unasked).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons_by_default: Option<bool>,
}

/// Authors whose models reason only when they are asked to.
const REASON_WHEN_ASKED: [&str; 1] = ["anthropic/"];

impl Model {
    /// Whether its answers may hold hidden tokens that nobody asked for. Unknown is taken for yes: such an
    /// answer is read to its end when its client leaves, because only the provider can count those tokens.
    #[must_use]
    pub fn reasons_unasked(&self) -> bool {
        let when_asked = REASON_WHEN_ASKED.iter().any(|author| self.slug.starts_with(author));
        self.reasoning && self.reasons_by_default.unwrap_or(!when_asked)
    }
}

impl Model {
    /// The part before the slash.
    #[must_use]
    pub fn author(&self) -> &str {
        self.slug.split_once('/').map_or("", |(author, _)| author)
    }
}

/// The company that serves models, and how to speak to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    pub slug: String,
    pub name: String,
    /// The wire language, a name of the dialect registry.
    pub dialect: String,
    /// Without a trailing slash; the dialect appends its path.
    pub base_url: String,
    /// The environment variable that carries our credential; `None` for a server without one.
    #[serde(default)]
    pub credential_env: Option<String>,
    /// Oddities of this provider as the dialect's `Quirks` reads them.
    #[serde(default)]
    pub quirks: serde_json::Value,
    /// It goes on billing when the client leaves, so a stream is drained instead of cancelled.
    #[serde(default)]
    pub bills_after_cancel: bool,
    #[serde(default)]
    pub privacy_policy_url: Option<String>,
    #[serde(default)]
    pub terms_of_service_url: Option<String>,
    #[serde(default)]
    pub status_page_url: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[serde(default)]
    pub headquarters: Option<String>,
    /// It may train on prompts.
    #[serde(default)]
    pub trains_on_data: bool,
    /// It keeps prompts after answering (so it is not zero-data-retention).
    #[serde(default = "yes")]
    pub retains_prompts: bool,
    /// Staff's kill switch.
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn yes() -> bool {
    true
}

/// One model at one provider, with its price in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub id: EndpointId,
    /// `Model::slug`.
    pub model: String,
    /// `Provider::slug`.
    pub provider: String,
    /// How the provider calls the model.
    pub provider_model: String,
    /// `provider` or `provider/variant`: what `provider.order` and the like name.
    pub tag: String,
    /// Prompt and completion together, in tokens.
    pub context_length: u32,
    #[serde(default)]
    pub max_prompt_tokens: Option<u32>,
    pub max_completion_tokens: u32,
    /// `int4` … `fp32`; `None` is unknown.
    #[serde(default)]
    pub quantization: Option<String>,
    /// Request parameters it honors, by their API names, sorted.
    pub supported_parameters: Vec<String>,
    /// The sale prices in force in this snapshot.
    pub tariff: Tariff,
    /// What the provider charges us; `None` means the same as `tariff`.
    #[serde(default)]
    pub cost_tariff: Option<Tariff>,
    #[serde(default = "yes")]
    pub enabled: bool,
}

impl Endpoint {
    #[must_use]
    pub fn supports(&self, parameter: &str) -> bool {
        self.supported_parameters.iter().any(|p| p == parameter)
    }
}
