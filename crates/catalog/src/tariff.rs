//! The versioned sale prices of an endpoint. Only data: `billing` turns usage into money.

use kernel::ids::TariffId;
use kernel::{Moment, PicoUsd};
use serde::{Deserialize, Serialize};

/// Prices per unit. A class without a price of its own is billed as its parent class: cached, cache-write
/// and audio prompt tokens as `prompt`, reasoning and audio completion tokens as `completion`;
/// images and requests without a price cost nothing beside their tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rates {
    /// Per prompt token.
    pub prompt: PicoUsd,
    /// Per completion token.
    pub completion: PicoUsd,
    /// Per prompt token read from the provider's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<PicoUsd>,
    /// Per prompt token written to the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<PicoUsd>,
    /// Per prompt token written to the cache for an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<PicoUsd>,
    /// Per hidden reasoning token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<PicoUsd>,
    /// Per prompt token of audio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_prompt: Option<PicoUsd>,
    /// Per completion token of audio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_completion: Option<PicoUsd>,
    /// Per input image, beside its tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PicoUsd>,
    /// Per request, beside its tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<PicoUsd>,
}

/// Other prices for long prompts: they apply to the whole request when its prompt has strictly more tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    pub above_prompt_tokens: u64,
    pub rates: Rates,
}

/// One version of an endpoint's sale prices. Never changed once it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff {
    pub id: TariffId,
    /// 1, 2, 3 … per endpoint; stamped on every generation that it prices.
    pub version: i32,
    pub effective_from: Moment,
    pub rates: Rates,
    /// Ascending by `above_prompt_tokens`.
    #[serde(default)]
    pub tiers: Vec<Tier>,
    /// Staff marked this endpoint free. A zero price without this mark is refused at publishing.
    #[serde(default)]
    pub free: bool,
}

impl Tariff {
    /// The prices that apply to a prompt of this many tokens.
    #[must_use]
    pub fn rates_for(&self, prompt_tokens: u64) -> &Rates {
        self.tiers
            .iter()
            .rev()
            .find(|tier| prompt_tokens > tier.above_prompt_tokens)
            .map_or(&self.rates, |tier| &tier.rates)
    }
}
