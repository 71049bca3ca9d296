//! The `provider` object of a request: what the customer wants of the choice. Unknown keys are refused by name.
//!
//! Decides nothing: `plan` does.

mod parse;

use catalog::model_ref::SortVariant;
use catalog::{Endpoint, Rates};
use kernel::PicoUsd;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// How to order endpoints instead of by weighted chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Price,
    Throughput,
    Latency,
    /// Those that can call tools first, then those that failed least.
    Exacto,
}

/// The highest prices the customer accepts; `None` accepts any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaxPrice {
    pub prompt: Option<PicoUsd>,
    pub completion: Option<PicoUsd>,
    pub request: Option<PicoUsd>,
    pub image: Option<PicoUsd>,
    /// Per prompt token of audio.
    pub audio: Option<PicoUsd>,
}

impl MaxPrice {
    /// The first price of an endpoint above its limit for a prompt of this length, by its name in
    /// `provider.max_price`.
    #[must_use]
    pub fn exceeded_by(&self, endpoint: &Endpoint, prompt_tokens: u64) -> Option<&'static str> {
        let rates: &Rates = endpoint.tariff.rates_for(prompt_tokens);
        let above = |price: Option<PicoUsd>, limit: Option<PicoUsd>| match (price, limit) {
            (Some(price), Some(limit)) => price > limit,
            _ => false,
        };
        let rows = [
            ("prompt", Some(rates.prompt), self.prompt),
            ("completion", Some(rates.completion), self.completion),
            ("request", rates.request, self.request),
            ("image", rates.image, self.image),
            ("audio", rates.audio_prompt, self.audio),
        ];
        rows.into_iter().find(|(_, price, limit)| above(*price, *limit)).map(|(name, ..)| name)
    }
}

/// Wished-for measurements, in thousandths of a unit. A wish orders, it does not exclude.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Thresholds {
    pub p50: Option<u64>,
    pub p75: Option<u64>,
    pub p90: Option<u64>,
    pub p99: Option<u64>,
}

impl Thresholds {
    /// Limit and position (0 is p50) of each percentile that is named.
    pub(crate) fn named(&self) -> impl Iterator<Item = (usize, u64)> {
        [self.p50, self.p75, self.p90, self.p99]
            .into_iter()
            .enumerate()
            .filter_map(|(position, limit)| limit.map(|limit| (position, limit)))
    }
}

/// What the customer wants.
#[derive(Debug, Clone)]
pub struct Preferences {
    /// Provider slugs or endpoint tags to try first, in this order.
    pub order: Vec<String>,
    pub only: Vec<String>,
    pub ignore: Vec<String>,
    /// Whether endpoints beyond the first choice (or beyond `order`) may be tried.
    pub allow_fallbacks: bool,
    /// Only endpoints that honor every parameter of the request.
    pub require_parameters: bool,
    /// No provider that may train on prompts.
    pub deny_data_collection: bool,
    /// Only providers that keep nothing.
    pub zdr: bool,
    /// Only models whose output may be used for training others.
    pub distillable: bool,
    pub quantizations: Vec<String>,
    pub sort: Option<Sort>,
    /// `sort.partition: "none"`: the endpoints of all asked-for models are sorted together.
    pub mix_models: bool,
    pub max_price: MaxPrice,
    /// Tokens per second, in thousandths.
    pub min_throughput: Thresholds,
    /// Seconds to the first token, in thousandths.
    pub max_latency: Thresholds,
    /// Objects passed through to a provider, by its slug.
    pub options: BTreeMap<String, Box<RawValue>>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            order: Vec::new(),
            only: Vec::new(),
            ignore: Vec::new(),
            allow_fallbacks: true,
            require_parameters: false,
            deny_data_collection: false,
            zdr: false,
            distillable: false,
            quantizations: Vec::new(),
            sort: None,
            mix_models: false,
            max_price: MaxPrice::default(),
            min_throughput: Thresholds::default(),
            max_latency: Thresholds::default(),
            options: BTreeMap::new(),
        }
    }
}

/// By value; `options` by their text.
impl PartialEq for Preferences {
    fn eq(&self, other: &Self) -> bool {
        let options = |p: &Self| -> Vec<(String, String)> {
            p.options.iter().map(|(slug, raw)| (slug.clone(), raw.get().to_owned())).collect()
        };
        let plain = |p: &Self| {
            (
                (p.order.clone(), p.only.clone(), p.ignore.clone(), p.quantizations.clone()),
                (p.allow_fallbacks, p.require_parameters, p.deny_data_collection, p.zdr, p.distillable),
                (p.sort, p.mix_models, p.max_price, p.min_throughput, p.max_latency),
            )
        };
        plain(self) == plain(other) && options(self) == options(other)
    }
}

impl Eq for Preferences {}

/// The `provider` object cannot be honored; the sentence names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("provider: {0}")]
pub struct PreferenceError(pub String);

impl Preferences {
    /// Reads the object as a request holds it.
    pub fn parse(raw: Option<&RawValue>) -> Result<Self, PreferenceError> {
        match raw.filter(|raw| raw.get() != "null") {
            Some(raw) => parse::read(raw.get()),
            None => Ok(Self::default()),
        }
    }

    /// Adds the routing variant of the model's name (`:floor` …). It wins over `provider.sort`, because it
    /// is nearer to the model.
    #[must_use]
    pub fn with_variant(mut self, variant: Option<SortVariant>) -> Self {
        match variant {
            Some(SortVariant::Floor) => self.sort = Some(Sort::Price),
            Some(SortVariant::Nitro) => self.sort = Some(Sort::Throughput),
            Some(SortVariant::Exacto) => self.sort = Some(Sort::Exacto),
            None => {}
        }
        self
    }
}

#[cfg(test)]
mod tests;
