//! Reads the JSON of models.dev: providers with their models, dollars per million tokens.
//!
//! Judges no price. Companies that are held back as a whole are reported as one row each.

use super::check::Fault;
use super::names::Namer;
use super::row::{Facts, Figure, Prices, Row, Unit, modalities};
use super::{ImportError, Sheet, held};
use crate::lists::{Company, Lists};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Wrapped {
    #[serde(default)]
    models: BTreeMap<String, Box<RawValue>>,
    providers: BTreeMap<String, SourceProvider>,
}

#[derive(Deserialize)]
struct SourceProvider {
    name: Option<String>,
    #[serde(default)]
    models: BTreeMap<String, Box<RawValue>>,
}

#[derive(Deserialize)]
struct SourceModel {
    name: Option<String>,
    family: Option<String>,
    release_date: Option<String>,
    knowledge: Option<String>,
    #[serde(default)]
    reasoning: bool,
    #[serde(default)]
    tool_call: bool,
    temperature: Option<bool>,
    structured_output: Option<bool>,
    #[serde(default)]
    open_weights: bool,
    status: Option<String>,
    base_model: Option<String>,
    cost: Option<Cost>,
    #[serde(default)]
    limit: Limit,
    #[serde(default)]
    modalities: Words,
    #[serde(default)]
    weights: Vec<Weights>,
}

#[derive(Deserialize, Default)]
struct Limit {
    context: Option<u64>,
    input: Option<u64>,
    output: Option<u64>,
}

#[derive(Deserialize, Default)]
struct Words {
    #[serde(default)]
    input: Vec<String>,
    #[serde(default)]
    output: Vec<String>,
}

#[derive(Deserialize)]
struct Weights {
    url: Option<String>,
}

#[derive(Deserialize, Default)]
struct Cost {
    input: Option<Figure>,
    output: Option<Figure>,
    #[serde(alias = "cached_input", alias = "cache_input")]
    cache_read: Option<Figure>,
    #[serde(alias = "cached_write")]
    cache_write: Option<Figure>,
    reasoning: Option<Figure>,
    input_audio: Option<Figure>,
    output_audio: Option<Figure>,
    image: Option<Figure>,
    request: Option<Figure>,
    #[serde(default)]
    tiers: Vec<TierCost>,
    context_over_200k: Option<Box<Cost>>,
}

#[derive(Deserialize)]
struct TierCost {
    tier: TierAt,
    input: Option<Figure>,
    output: Option<Figure>,
    cache_read: Option<Figure>,
    cache_write: Option<Figure>,
}

#[derive(Deserialize)]
struct TierAt {
    size: u64,
}

impl Cost {
    fn prices(self) -> (Prices, Vec<(u64, Prices)>) {
        let mut tiers: Vec<(u64, Prices)> = self.tiers.into_iter().map(TierCost::prices).collect();
        if let Some(long) = self.context_over_200k.filter(|_| tiers.is_empty()) {
            tiers.push((200_000, long.prices().0));
        }
        let prices = Prices {
            prompt: self.input,
            completion: self.output,
            cache_read: self.cache_read,
            cache_write: self.cache_write,
            cache_write_1h: None,
            reasoning: self.reasoning,
            audio_prompt: self.input_audio,
            audio_completion: self.output_audio,
            image: self.image,
            request: self.request,
        };
        (prices, tiers)
    }
}

impl TierCost {
    fn prices(self) -> (u64, Prices) {
        let prices = Prices {
            prompt: self.input,
            completion: self.output,
            cache_read: self.cache_read,
            cache_write: self.cache_write,
            ..Prices::default()
        };
        (self.tier.size, prices)
    }
}

/// Reads the wrapped form (`{"models", "providers"}`) or the bare map of providers.
pub(crate) fn read(bytes: &[u8], lists: &Lists, namer: &mut Namer<'_>) -> Result<Sheet, ImportError> {
    let wrapped: Wrapped = match serde_json::from_slice(bytes) {
        Ok(wrapped) => wrapped,
        Err(_) => Wrapped { models: BTreeMap::new(), providers: serde_json::from_slice(bytes)? },
    };
    let mut sheet = Sheet::default();
    for (slug, raw) in &wrapped.models {
        let Ok(model) = serde_json::from_str::<SourceModel>(raw.get()) else { continue };
        if let Some(ours) = namer.canonical(slug) {
            sheet.canonical.entry(ours).or_insert_with(|| facts(&model));
        }
    }
    for (source, provider) in wrapped.providers {
        let name = provider.name.clone().unwrap_or_else(|| source.clone());
        match lists.by_source(&source) {
            None => sheet.held_back.push(held(
                &source,
                "*",
                &Fault::new(
                    "unknown_provider",
                    format!("{name} is on no list; add it as a provider of your own"),
                ),
            )),
            Some((_, company)) if company.kind.code().is_some() => {
                sheet.held_back.push(whole_company(&source, company, provider.models.len()));
            }
            Some((slug, _)) => rows(slug, provider.models, &mut sheet),
        }
    }
    Ok(sheet)
}

fn whole_company(source: &str, company: &Company, count: usize) -> crate::draft::HeldBack {
    let reason = company.reason.clone().unwrap_or_else(|| company.name.clone());
    let code = company.kind.code().unwrap_or("reseller");
    held(source, "*", &Fault::new(code, format!("{reason} ({count} models)")))
}

fn rows(provider: &str, models: BTreeMap<String, Box<RawValue>>, sheet: &mut Sheet) {
    for (id, raw) in models {
        match serde_json::from_str::<SourceModel>(raw.get()) {
            Ok(model) => sheet.rows.push(row(provider, id, model)),
            Err(error) => {
                sheet.held_back.push(held(provider, &id, &Fault::new("malformed", error.to_string())));
            }
        }
    }
}

fn row(provider: &str, id: String, model: SourceModel) -> Row {
    let facts = facts(&model);
    let (prices, tiers) = model.cost.map(Cost::prices).unwrap_or_default();
    Row {
        provider: provider.to_owned(),
        id,
        model: None,
        base_model: model.base_model,
        currency: None,
        unit: Unit::Million,
        prices,
        tiers,
        facts,
        confirm_jump: false,
        confirm_drop: false,
    }
}

fn facts(model: &SourceModel) -> Facts {
    let hugging_face = |weights: &Weights| {
        let url = weights.url.as_deref()?;
        url.strip_prefix("https://huggingface.co/").map(|path| path.trim_end_matches('/').to_owned())
    };
    Facts {
        name: model.name.as_deref().map(|name| name.trim_end_matches(" (latest)").to_owned()),
        description: None,
        release_date: model.release_date.clone(),
        knowledge: model.knowledge.clone(),
        family: model.family.clone(),
        hugging_face_id: model.weights.iter().find_map(hugging_face),
        open_weights: model.open_weights,
        reasoning: model.reasoning,
        reasons_by_default: None,
        tools: model.tool_call,
        temperature: model.temperature,
        structured_output: model.structured_output,
        deprecated: model.status.as_deref() == Some("deprecated"),
        context: model.limit.context,
        max_prompt: model.limit.input,
        max_completion: model.limit.output,
        input: modalities(&model.modalities.input),
        output: modalities(&model.modalities.output),
        quantization: None,
        parameters: None,
        not_chat: false,
    }
}
