//! The plain price list of staff and of `farebox provider add`: a JSON list of rows, or
//! `{"providers": […], "rows": […]}` when it brings providers that are new.
//!
//! A row states dollars per million tokens. What it leaves out is taken from the live endpoint; see `keep`
//! for prices.

use super::check::Fault;
use super::row::{Facts, Figure, Prices, Row, Unit, modalities};
use super::{ImportError, Sheet, held};
use crate::model::Provider;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    providers: Vec<Provider>,
    /// The currency of rows that name none; dollars if absent.
    currency: Option<String>,
    rows: Vec<Box<RawValue>>,
}

/// Prices of long prompts: what a tier does not state is as in its row.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TierRow {
    above_prompt_tokens: u64,
    prompt_per_million: Option<Figure>,
    completion_per_million: Option<Figure>,
    cache_read_per_million: Option<Figure>,
    cache_write_per_million: Option<Figure>,
    cache_write_1h_per_million: Option<Figure>,
    reasoning_per_million: Option<Figure>,
}

impl TierRow {
    fn prices(self) -> (u64, Prices) {
        let prices = Prices {
            prompt: self.prompt_per_million,
            completion: self.completion_per_million,
            cache_read: self.cache_read_per_million,
            cache_write: self.cache_write_per_million,
            cache_write_1h: self.cache_write_1h_per_million,
            reasoning: self.reasoning_per_million,
            ..Prices::default()
        };
        (self.above_prompt_tokens, prices)
    }
}

/// One row. A misspelled field is a fault of its row, so a forgotten price cannot hide.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceRow {
    provider: String,
    /// The public `author/slug`.
    model: String,
    /// How the provider calls it; the part after the slash if absent.
    provider_model: Option<String>,
    name: Option<String>,
    description: Option<String>,
    currency: Option<String>,
    prompt_per_million: Option<Figure>,
    completion_per_million: Option<Figure>,
    cache_read_per_million: Option<Figure>,
    cache_write_per_million: Option<Figure>,
    cache_write_1h_per_million: Option<Figure>,
    reasoning_per_million: Option<Figure>,
    audio_prompt_per_million: Option<Figure>,
    audio_completion_per_million: Option<Figure>,
    /// Dollars per image.
    image: Option<Figure>,
    /// Dollars per request.
    request: Option<Figure>,
    /// Other prices of the whole request when its prompt is longer.
    #[serde(default)]
    tiers: Vec<TierRow>,
    context_length: Option<u64>,
    max_prompt_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    quantization: Option<String>,
    supported_parameters: Option<Vec<String>>,
    input_modalities: Option<Vec<String>>,
    output_modalities: Option<Vec<String>>,
    #[serde(default)]
    reasoning: bool,
    reasons_by_default: Option<bool>,
    #[serde(default)]
    tools: bool,
    #[serde(default)]
    open_weights: bool,
    release_date: Option<String>,
    /// Staff looked at a jump against the live price and wants it.
    #[serde(default)]
    confirm_jump: bool,
    /// A live price of a class that the row does not state is gone.
    #[serde(default)]
    confirm_drop: bool,
}

pub(crate) fn read(bytes: &[u8]) -> Result<Sheet, ImportError> {
    let bare = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let file = if bare {
        File { providers: Vec::new(), currency: None, rows: serde_json::from_slice(bytes)? }
    } else {
        serde_json::from_slice(bytes)?
    };
    let mut sheet = Sheet { providers: file.providers, ..Sheet::default() };
    for (index, raw) in file.rows.iter().enumerate() {
        match serde_json::from_str::<PriceRow>(raw.get()) {
            Ok(row) => sheet.rows.push(convert(row, file.currency.as_deref())),
            Err(error) => {
                let fault = Fault::new("malformed", error.to_string());
                sheet.held_back.push(held("", &format!("row {}", index + 1), &fault));
            }
        }
    }
    Ok(sheet)
}

fn convert(row: PriceRow, currency: Option<&str>) -> Row {
    let bare = row.model.split_once('/').map_or(row.model.as_str(), |(_, name)| name);
    let facts = Facts {
        name: row.name,
        description: row.description,
        release_date: row.release_date,
        open_weights: row.open_weights,
        reasoning: row.reasoning,
        reasons_by_default: row.reasons_by_default,
        tools: row.tools,
        context: row.context_length,
        max_prompt: row.max_prompt_tokens,
        max_completion: row.max_completion_tokens,
        input: row.input_modalities.map(|words| modalities(&words)).unwrap_or_default(),
        output: row.output_modalities.map(|words| modalities(&words)).unwrap_or_default(),
        quantization: row.quantization,
        parameters: row.supported_parameters,
        ..Facts::default()
    };
    Row {
        id: row.provider_model.unwrap_or_else(|| bare.to_owned()),
        provider: row.provider,
        model: Some(row.model.to_lowercase()),
        base_model: None,
        currency: row.currency.or_else(|| currency.map(str::to_owned)),
        unit: Unit::Million,
        prices: Prices {
            prompt: row.prompt_per_million,
            completion: row.completion_per_million,
            cache_read: row.cache_read_per_million,
            cache_write: row.cache_write_per_million,
            cache_write_1h: row.cache_write_1h_per_million,
            reasoning: row.reasoning_per_million,
            audio_prompt: row.audio_prompt_per_million,
            audio_completion: row.audio_completion_per_million,
            image: row.image,
            request: row.request,
        },
        tiers: row.tiers.into_iter().map(TierRow::prices).collect(),
        facts,
        confirm_jump: row.confirm_jump,
        confirm_drop: row.confirm_drop,
    }
}
