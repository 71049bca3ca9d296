//! Reads a model list in the shape of OpenRouter's `GET /models`: dollars per single token.
//!
//! Its rows are endpoints at `openrouter` itself, for an operator who has an account there.

use super::check::Fault;
use super::row::{Facts, Figure, Prices, Row, Unit, modalities};
use super::{ImportError, Sheet, held};
use crate::model::Provider;
use chrono::DateTime;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct List {
    data: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    name: Option<String>,
    description: Option<String>,
    created: Option<i64>,
    context_length: Option<u64>,
    architecture: Architecture,
    pricing: Pricing,
    #[serde(default)]
    top_provider: Top,
    #[serde(default)]
    supported_parameters: Vec<String>,
    hugging_face_id: Option<String>,
    knowledge_cutoff: Option<String>,
}

#[derive(Deserialize)]
struct Architecture {
    #[serde(default)]
    input_modalities: Vec<String>,
    #[serde(default)]
    output_modalities: Vec<String>,
}

#[derive(Deserialize, Default)]
struct Top {
    max_completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Pricing {
    prompt: Option<Figure>,
    completion: Option<Figure>,
    input_cache_read: Option<Figure>,
    input_cache_write: Option<Figure>,
    internal_reasoning: Option<Figure>,
    audio: Option<Figure>,
    image: Option<Figure>,
    request: Option<Figure>,
}

pub(crate) fn read(bytes: &[u8]) -> Result<Sheet, ImportError> {
    let list: List = serde_json::from_slice(bytes)?;
    let mut sheet = Sheet { providers: vec![provider()], ..Sheet::default() };
    for (index, raw) in list.data.iter().enumerate() {
        match serde_json::from_str::<Entry>(raw.get()) {
            // An alias follows another model, a variant is a price class: neither is a model of its own.
            Ok(entry) if entry.id.starts_with('~') || entry.id.contains(':') => {
                let fault = Fault::new("duplicate", "an alias or a variant of a model that is listed itself");
                sheet.held_back.push(held("openrouter", &entry.id, &fault));
            }
            Ok(entry) => sheet.rows.push(row(entry)),
            Err(error) => {
                let fault = Fault::new("malformed", error.to_string());
                sheet.held_back.push(held("openrouter", &format!("entry {index}"), &fault));
            }
        }
    }
    Ok(sheet)
}

fn provider() -> Provider {
    Provider {
        slug: "openrouter".to_owned(),
        name: "OpenRouter".to_owned(),
        dialect: "openai".to_owned(),
        base_url: "https://openrouter.ai/api/v1".to_owned(),
        credential_env: Some("OPENROUTER_API_KEY".to_owned()),
        quirks: serde_json::json!({ "reasoning_request": "object" }),
        bills_after_cancel: true,
        privacy_policy_url: Some("https://openrouter.ai/privacy".to_owned()),
        terms_of_service_url: Some("https://openrouter.ai/terms".to_owned()),
        status_page_url: Some("https://status.openrouter.ai/".to_owned()),
        headquarters: Some("US".to_owned()),
        trains_on_data: true,
        retains_prompts: true,
        enabled: true,
    }
}

fn row(entry: Entry) -> Row {
    let released = entry.created.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let has = |name: &str| entry.supported_parameters.iter().any(|p| p == name);
    let facts = Facts {
        name: entry.name.clone(),
        description: entry.description.clone(),
        release_date: released.map(|at| at.format("%Y-%m-%d").to_string()),
        knowledge: entry.knowledge_cutoff.clone(),
        hugging_face_id: entry.hugging_face_id.clone().filter(|id| !id.is_empty()),
        open_weights: entry.hugging_face_id.as_deref().is_some_and(|id| !id.is_empty()),
        reasoning: has("reasoning"),
        tools: has("tools"),
        context: entry.context_length,
        max_completion: entry.top_provider.max_completion_tokens.or(entry.context_length),
        input: modalities(&entry.architecture.input_modalities),
        output: modalities(&entry.architecture.output_modalities),
        parameters: Some(entry.supported_parameters.clone()),
        ..Facts::default()
    };
    let prices = Prices {
        prompt: entry.pricing.prompt,
        completion: entry.pricing.completion,
        cache_read: entry.pricing.input_cache_read,
        cache_write: entry.pricing.input_cache_write,
        reasoning: entry.pricing.internal_reasoning.filter(|figure| figure.0 != "0"),
        audio_prompt: entry.pricing.audio.filter(|figure| figure.0 != "0"),
        image: entry.pricing.image,
        request: entry.pricing.request,
        ..Prices::default()
    };
    Row {
        provider: "openrouter".to_owned(),
        model: Some(entry.id.clone()),
        id: entry.id,
        base_model: None,
        currency: None,
        unit: Unit::One,
        prices,
        tiers: Vec::new(),
        facts,
        confirm_jump: false,
        confirm_drop: false,
    }
}
