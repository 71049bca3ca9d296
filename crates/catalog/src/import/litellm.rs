//! Reads LiteLLM's price map: one entry per model, dollars per single token.
//!
//! As a source of its own it gives rows; beside another source it is the second opinion.

use super::names::fold;
use super::row::{Facts, Figure, Prices, Row, Unit, modalities};
use super::{ImportError, Sheet};
use crate::lists::Lists;
use crate::model::Modality;
use kernel::PicoUsd;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};

#[derive(Deserialize)]
struct Entry {
    litellm_provider: Option<String>,
    mode: Option<String>,
    input_cost_per_token: Option<Figure>,
    output_cost_per_token: Option<Figure>,
    cache_read_input_token_cost: Option<Figure>,
    cache_creation_input_token_cost: Option<Figure>,
    cache_creation_input_token_cost_above_1hr: Option<Figure>,
    output_cost_per_reasoning_token: Option<Figure>,
    input_cost_per_audio_token: Option<Figure>,
    output_cost_per_audio_token: Option<Figure>,
    input_cost_per_token_above_200k_tokens: Option<Figure>,
    output_cost_per_token_above_200k_tokens: Option<Figure>,
    cache_read_input_token_cost_above_200k_tokens: Option<Figure>,
    cache_creation_input_token_cost_above_200k_tokens: Option<Figure>,
    max_input_tokens: Option<Figure>,
    max_output_tokens: Option<Figure>,
    #[serde(default)]
    supports_function_calling: bool,
    #[serde(default)]
    supports_reasoning: bool,
    #[serde(default)]
    supports_response_schema: bool,
    #[serde(default)]
    supports_vision: bool,
    #[serde(default)]
    supports_pdf_input: bool,
    #[serde(default)]
    supports_audio_input: bool,
    #[serde(default)]
    supported_output_modalities: Vec<String>,
}

/// The prices of a second source, by provider and folded model id.
#[derive(Debug, Clone, Default)]
pub struct PriceBook {
    prices: HashMap<(String, String), Second>,
}

/// What the second source says of one model at one provider.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Second {
    pub(crate) prompt: PicoUsd,
    pub(crate) completion: PicoUsd,
    pub(crate) cache_write_1h: Option<PicoUsd>,
}

impl PriceBook {
    /// Reads LiteLLM's map as a second opinion. Entries without exact prices have no opinion.
    pub fn read_litellm(bytes: &[u8]) -> Result<Self, ImportError> {
        let lists = Lists::get()?;
        let mut book = Self::default();
        for (key, entry) in entries(bytes)? {
            let Some((slug, _)) = entry.litellm_provider.as_deref().and_then(|p| lists.by_litellm(p)) else {
                continue;
            };
            let price = |figure: &Option<Figure>| {
                figure.as_ref().and_then(|figure| PicoUsd::parse_per_unit(&figure.0).ok())
            };
            let (prompt, completion) =
                (price(&entry.input_cost_per_token), price(&entry.output_cost_per_token));
            if let (Some(prompt), Some(completion)) = (prompt, completion) {
                let cache_write_1h = price(&entry.cache_creation_input_token_cost_above_1hr);
                let id = bare_id(&key, entry.litellm_provider.as_deref());
                let second = Second { prompt, completion, cache_write_1h };
                book.prices.insert((slug.to_owned(), fold(id)), second);
            }
        }
        Ok(book)
    }

    pub(crate) fn find(&self, provider: &str, id: &str) -> Option<&Second> {
        self.prices.get(&(provider.to_owned(), fold(id)))
    }
}

/// Keys are `id` or `provider/id`.
fn bare_id<'k>(key: &'k str, provider: Option<&str>) -> &'k str {
    provider.and_then(|p| key.strip_prefix(p)).and_then(|rest| rest.strip_prefix('/')).unwrap_or(key)
}

fn entries(bytes: &[u8]) -> Result<impl Iterator<Item = (String, Entry)>, ImportError> {
    let map: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(bytes)?;
    Ok(map.into_iter().filter(|(key, _)| key != "sample_spec").filter_map(|(key, raw)| {
        // Entries of kinds we do not sell have fields of other types; they are not rows of ours.
        serde_json::from_str(raw.get()).ok().map(|entry| (key, entry))
    }))
}

/// The map as a source of rows: only companies that are listed with their LiteLLM name.
pub(crate) fn read(bytes: &[u8], lists: &Lists) -> Result<Sheet, ImportError> {
    let mut sheet = Sheet::default();
    for (key, entry) in entries(bytes)? {
        if let Some((slug, _)) = entry.litellm_provider.as_deref().and_then(|p| lists.by_litellm(p)) {
            let id = bare_id(&key, entry.litellm_provider.as_deref()).to_owned();
            sheet.rows.push(row(slug, id, entry));
        }
    }
    Ok(sheet)
}

fn row(provider: &str, id: String, entry: Entry) -> Row {
    let facts = facts(&entry);
    let long = Prices {
        prompt: entry.input_cost_per_token_above_200k_tokens,
        completion: entry.output_cost_per_token_above_200k_tokens,
        cache_read: entry.cache_read_input_token_cost_above_200k_tokens,
        cache_write: entry.cache_creation_input_token_cost_above_200k_tokens,
        ..Prices::default()
    };
    let tiers = if long.prompt.is_some() { vec![(200_000, long)] } else { Vec::new() };
    Row {
        provider: provider.to_owned(),
        id,
        model: None,
        base_model: None,
        currency: None,
        unit: Unit::One,
        prices: Prices {
            prompt: entry.input_cost_per_token,
            completion: entry.output_cost_per_token,
            cache_read: positive(entry.cache_read_input_token_cost),
            cache_write: positive(entry.cache_creation_input_token_cost),
            cache_write_1h: positive(entry.cache_creation_input_token_cost_above_1hr),
            reasoning: positive(entry.output_cost_per_reasoning_token),
            audio_prompt: positive(entry.input_cost_per_audio_token),
            audio_completion: positive(entry.output_cost_per_audio_token),
            image: None,
            request: None,
        },
        tiers,
        facts,
        confirm_jump: false,
        confirm_drop: false,
    }
}

/// This source writes 0.0 for "no price of its own", which bills as the parent class.
fn positive(figure: Option<Figure>) -> Option<Figure> {
    figure.filter(|figure| !figure.0.chars().all(|c| matches!(c, '0' | '.')))
}

fn facts(entry: &Entry) -> Facts {
    let whole = |figure: &Option<Figure>| figure.as_ref().and_then(|f| f.0.parse::<u64>().ok());
    let mut input = vec![Modality::Text];
    let flags = [
        (entry.supports_vision, Modality::Image),
        (entry.supports_audio_input, Modality::Audio),
        (entry.supports_pdf_input, Modality::File),
    ];
    input.extend(flags.into_iter().filter(|(has, _)| *has).map(|(_, modality)| modality));
    let output = modalities(&entry.supported_output_modalities);
    Facts {
        reasoning: entry.supports_reasoning,
        tools: entry.supports_function_calling,
        structured_output: Some(entry.supports_response_schema),
        context: whole(&entry.max_input_tokens),
        max_completion: whole(&entry.max_output_tokens),
        input,
        output: if output.is_empty() { vec![Modality::Text] } else { output },
        not_chat: entry.mode.as_deref() != Some("chat"),
        ..Facts::default()
    }
}
