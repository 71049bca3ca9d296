//! Tariffs as rows: prices are columns in pico-dollars, tiers a document.

use crate::convert::document;
use catalog::{Rates, Tariff, Tier};
use kernel::ids::TariffId;
use kernel::{Moment, PicoUsd, StoreError};
use uuid::Uuid;

/// A row of `tariff`, without its endpoint.
pub(crate) struct TariffRow {
    pub(crate) id: Uuid,
    pub(crate) endpoint_id: Uuid,
    pub(crate) version: i32,
    pub(crate) effective_from: Moment,
    pub(crate) prompt_pico_usd: i64,
    pub(crate) completion_pico_usd: i64,
    pub(crate) cache_read_pico_usd: Option<i64>,
    pub(crate) cache_write_pico_usd: Option<i64>,
    pub(crate) cache_write_1h_pico_usd: Option<i64>,
    pub(crate) reasoning_pico_usd: Option<i64>,
    pub(crate) audio_prompt_pico_usd: Option<i64>,
    pub(crate) audio_completion_pico_usd: Option<i64>,
    pub(crate) image_pico_usd: Option<i64>,
    pub(crate) request_pico_usd: Option<i64>,
    pub(crate) tiers: serde_json::Value,
    pub(crate) free: bool,
}

impl TariffRow {
    pub(crate) fn tariff(self) -> Result<Tariff, StoreError> {
        let pico = |value: Option<i64>| value.map(PicoUsd::new);
        let rates = Rates {
            prompt: PicoUsd::new(self.prompt_pico_usd),
            completion: PicoUsd::new(self.completion_pico_usd),
            cache_read: pico(self.cache_read_pico_usd),
            cache_write: pico(self.cache_write_pico_usd),
            cache_write_1h: pico(self.cache_write_1h_pico_usd),
            reasoning: pico(self.reasoning_pico_usd),
            audio_prompt: pico(self.audio_prompt_pico_usd),
            audio_completion: pico(self.audio_completion_pico_usd),
            image: pico(self.image_pico_usd),
            request: pico(self.request_pico_usd),
        };
        let tiers: Vec<Tier> = document("tariff.tiers", self.id, self.tiers)?;
        Ok(Tariff {
            id: TariffId::from_uuid(self.id),
            version: self.version,
            effective_from: self.effective_from,
            rates,
            tiers,
            free: self.free,
        })
    }
}

/// Why prices must not go live, if they must not. The table's CHECK says it again for the base rates.
pub(crate) fn refusal(rates: &Rates, tiers: &[Tier], free: bool) -> Option<&'static str> {
    let ascending = tiers.windows(2).all(|pair| match pair {
        [low, high] => low.above_prompt_tokens < high.above_prompt_tokens,
        _ => true,
    });
    if !ascending {
        return Some("tiers are not ascending");
    }
    std::iter::once(rates)
        .chain(tiers.iter().map(|tier| &tier.rates))
        .find_map(|rates| rate_refusal(rates, free))
}

fn rate_refusal(rates: &Rates, free: bool) -> Option<&'static str> {
    let optional = [
        rates.cache_read,
        rates.cache_write,
        rates.cache_write_1h,
        rates.reasoning,
        rates.audio_prompt,
        rates.audio_completion,
        rates.image,
        rates.request,
    ];
    let all = optional.into_iter().flatten().chain([rates.prompt, rates.completion]);
    if all.into_iter().any(|price| price < PicoUsd::ZERO) {
        return Some("a price is negative");
    }
    let priced = rates.prompt > PicoUsd::ZERO && rates.completion > PicoUsd::ZERO;
    if priced || free { None } else { Some("a price of zero without the mark free") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(prompt: i64, completion: i64, cache_read: Option<i64>) -> Rates {
        Rates {
            prompt: PicoUsd::new(prompt),
            completion: PicoUsd::new(completion),
            cache_read: cache_read.map(PicoUsd::new),
            ..Rates::default()
        }
    }

    #[test]
    fn only_positive_or_marked_prices_pass() {
        let rows = [
            (rates(1, 1, None), false, true),
            (rates(0, 1, None), false, false),
            (rates(1, 0, None), false, false),
            (rates(0, 0, None), true, true),
            (rates(1, 1, Some(0)), false, true),
            (rates(1, 1, Some(-1)), false, false),
            (rates(-1, 1, None), true, false),
        ];
        for (rates, free, passes) in rows {
            assert_eq!(refusal(&rates, &[], free).is_none(), passes, "{rates:?} {free}");
        }
    }

    #[test]
    fn tiers_ascend_and_are_priced() {
        let tier = |above_prompt_tokens, prompt| Tier { above_prompt_tokens, rates: rates(prompt, 1, None) };
        let base = rates(1, 1, None);
        assert!(refusal(&base, &[tier(1, 1), tier(2, 1)], false).is_none());
        assert!(refusal(&base, &[tier(2, 1), tier(2, 1)], false).is_some());
        assert!(refusal(&base, &[tier(1, 0)], false).is_some());
    }
}
