//! The `usage` object of an answer: tokens by class and the truthful cost, as exact decimal numbers.

use crate::stage::settle::Bill;
use kernel::decimal::Digits;
use kernel::{NanoUsd, PicoTotal, Usage};

/// What the client is told of a finished generation's cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost<'a> {
    pub usage: &'a Usage,
    pub bill: &'a Bill,
    /// What was or will be taken from the credits.
    pub charge: NanoUsd,
    pub own_key: bool,
    /// Settling was not confirmed in time, so the charge may still become lower.
    pub provisional: bool,
}

impl Cost<'_> {
    /// The JSON text. Field names are OpenAI's and OpenRouter's.
    #[must_use]
    pub fn json(&self) -> String {
        let Self { usage, bill, .. } = self;
        let count = |value: u64| Digits::of(value);
        let written = usage.cache_write.saturating_add(usage.cache_write_1h);
        [
            "{\"prompt_tokens\":",
            count(usage.prompt).as_str(),
            ",\"completion_tokens\":",
            count(usage.completion).as_str(),
            ",\"total_tokens\":",
            count(usage.total()).as_str(),
            ",\"cost\":",
            &self.charge.dollars(),
            ",\"is_byok\":",
            if self.own_key { "true" } else { "false" },
            ",\"prompt_tokens_details\":{\"cached_tokens\":",
            count(usage.cache_read).as_str(),
            ",\"cache_write_tokens\":",
            count(written).as_str(),
            ",\"audio_tokens\":",
            count(usage.audio_prompt).as_str(),
            ",\"video_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":",
            count(usage.reasoning).as_str(),
            ",\"audio_tokens\":",
            count(usage.audio_completion).as_str(),
            ",\"image_tokens\":0},\"cost_details\":{\"upstream_inference_cost\":",
            &bill.list_price.dollars(),
            ",\"upstream_inference_prompt_cost\":",
            &part(bill.priced.prompt),
            ",\"upstream_inference_completions_cost\":",
            &part(bill.priced.completion),
            if self.provisional { ",\"provisional\":true}}" } else { "}}" },
        ]
        .concat()
    }
}

/// A part of the price for display: exact to the pico-dollar, never charged by itself.
fn part(total: PicoTotal) -> String {
    kernel::decimal::format_scaled(total.get(), 12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use billing::price::Priced;

    #[test]
    fn the_usage_object_is_json_with_exact_decimals() {
        let usage = Usage { prompt: 10, completion: 3, cache_read: 4, reasoning: 1, ..Usage::default() };
        let priced = Priced { prompt: PicoTotal::new(1_234_567), ..Priced::default() };
        let bill = Bill {
            amount: NanoUsd::new(1234),
            list_price: NanoUsd::new(1234),
            provider_cost: NanoUsd::new(1235),
            priced,
            source: "exact",
        };
        let cost = Cost {
            usage: &usage,
            bill: &bill,
            charge: NanoUsd::new(1234),
            own_key: false,
            provisional: false,
        };
        let json: serde_json::Value = serde_json::from_str(&cost.json()).unwrap();
        assert_eq!(json["total_tokens"], 13);
        assert_eq!(json["prompt_tokens_details"]["cached_tokens"], 4);
        assert!(cost.json().contains("\"cost\":0.000001234,"));
        assert!(cost.json().contains("\"upstream_inference_prompt_cost\":0.000001234567,"));
        assert!(json["cost_details"].get("provisional").is_none());
        let provisional = Cost { provisional: true, ..cost }.json();
        let json: serde_json::Value = serde_json::from_str(&provisional).unwrap();
        assert_eq!(json["cost_details"]["provisional"], true);
    }
}
