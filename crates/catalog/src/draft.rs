//! A batch of catalog changes that is not live: what an import found, what was held back and why.

use crate::model::{Model, Provider};
use crate::tariff::{Rates, Tier};
use kernel::Moment;
use kernel::ids::{DraftId, EndpointId};
use serde::{Deserialize, Serialize};

/// An endpoint as a draft wants it: no id and no tariff version yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointDraft {
    pub model: String,
    pub provider: String,
    pub provider_model: String,
    pub tag: String,
    pub context_length: u32,
    #[serde(default)]
    pub max_prompt_tokens: Option<u32>,
    pub max_completion_tokens: u32,
    #[serde(default)]
    pub quantization: Option<String>,
    pub supported_parameters: Vec<String>,
    pub rates: Rates,
    #[serde(default)]
    pub tiers: Vec<Tier>,
    /// Set by staff only; an importer always writes `false`.
    #[serde(default)]
    pub free: bool,
}

/// A row of a source that must not go live, with the reason a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    pub provider: String,
    pub model: String,
    /// A stable word: `zero_price`, `unpriced`, `price_jump`, `reseller`, `dialect`, …
    pub code: String,
    /// The sentence shown to staff.
    pub reason: String,
}

/// What an import produced. Rows that equal the live catalog are part of it and change nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftContent {
    /// The catalog version that it was made on; publishing refuses it once another version is live. `None` was
    /// compared with nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<i64>,
    pub providers: Vec<Provider>,
    pub models: Vec<Model>,
    pub endpoints: Vec<EndpointDraft>,
    pub held_back: Vec<HeldBack>,
}

/// A publication that happened after a draft was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedSince {
    pub version: i64,
    /// Where its draft came from.
    pub source: String,
    pub by: String,
    pub at: Moment,
    /// What it changed, as `author/model at tag`; the first fifty.
    pub endpoints: Vec<String>,
}

/// Where a draft stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DraftState {
    Open,
    Published,
    Discarded,
}

/// A draft in the list of drafts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftSummary {
    pub id: DraftId,
    /// Where it came from, e.g. a file's name.
    pub source: String,
    pub state: DraftState,
    pub created_at: Moment,
    /// Staff's email, or `command line`.
    pub created_by: String,
    pub endpoints: usize,
    pub held_back: usize,
    pub published_at: Option<Moment>,
    pub effective_from: Option<Moment>,
}

/// One row of an endpoint's price history, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceVersion {
    pub endpoint: EndpointId,
    pub model: String,
    pub provider: String,
    pub version: i32,
    pub effective_from: Moment,
    pub rates: Rates,
    pub tiers: Vec<Tier>,
    pub free: bool,
    pub published_by: String,
    pub published_at: Moment,
}
