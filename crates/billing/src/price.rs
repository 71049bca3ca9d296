//! Usage times tariff. One sum in pico-dollars, rounded once: down for a charge, up for a hold.

use catalog::{Rates, Tariff};
use kernel::{MoneyError, NanoUsd, PicoTotal, PicoUsd, Usage};
use serde::{Deserialize, Serialize};

/// Quantities beside tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extras {
    /// Input images.
    pub images: u64,
}

/// The parts of a price, exact in pico-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Priced {
    pub prompt: PicoTotal,
    pub completion: PicoTotal,
    /// Images and the price per request.
    pub other: PicoTotal,
}

impl Priced {
    pub fn total(&self) -> Result<PicoTotal, MoneyError> {
        self.prompt.plus(self.completion)?.plus(self.other)
    }
}

/// A usage that contradicts itself cannot be priced; it is capped and reviewed, never guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    #[error("a part of the usage is larger than the whole")]
    Inconsistent,
    #[error("{0}")]
    Money(#[from] MoneyError),
}

/// What a usage costs at a tariff.
pub fn price(tariff: &Tariff, usage: &Usage, extras: Extras) -> Result<Priced, PriceError> {
    let rates = tariff.rates_for(usage.prompt);
    let special = [usage.cache_read, usage.cache_write, usage.cache_write_1h, usage.audio_prompt];
    let plain_prompt = remainder(usage.prompt, &special)?;
    let plain_completion = remainder(usage.completion, &[usage.reasoning, usage.audio_completion])?;
    let prompt = sum(&[
        (rates.prompt, plain_prompt),
        (rates.cache_read.unwrap_or(rates.prompt), usage.cache_read),
        (rates.cache_write.unwrap_or(rates.prompt), usage.cache_write),
        (hour_write(rates), usage.cache_write_1h),
        (rates.audio_prompt.unwrap_or(rates.prompt), usage.audio_prompt),
    ])?;
    let completion = sum(&[
        (rates.completion, plain_completion),
        (rates.reasoning.unwrap_or(rates.completion), usage.reasoning),
        (rates.audio_completion.unwrap_or(rates.completion), usage.audio_completion),
    ])?;
    let other = sum(&[(optional(rates.image), extras.images), (optional(rates.request), 1)])?;
    Ok(Priced { prompt, completion, other })
}

/// What a usage is charged: the price rounded down.
pub fn charge(tariff: &Tariff, usage: &Usage, extras: Extras) -> Result<NanoUsd, PriceError> {
    Ok(price(tariff, usage, extras)?.total()?.floor()?)
}

/// Upper bounds of what a request can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub extras: Extras,
}

/// What a request can cost at most at a tariff: the dearest class and the dearest tier in reach, rounded up.
pub fn ceiling(tariff: &Tariff, bound: &Bound) -> Result<NanoUsd, MoneyError> {
    let reachable = tariff.tiers.iter().filter(|tier| bound.prompt_tokens > tier.above_prompt_tokens);
    let mut worst = PicoTotal::ZERO;
    for rates in std::iter::once(&tariff.rates).chain(reachable.map(|tier| &tier.rates)) {
        let total = sum(&[
            (dearest_prompt(rates), bound.prompt_tokens),
            (dearest_completion(rates), bound.completion_tokens),
            (optional(rates.image), bound.extras.images),
            (optional(rates.request), 1),
        ])?;
        worst = worst.max(total);
    }
    worst.ceil()
}

/// How many completion tokens an amount buys beside the prompt; `None` when not even the prompt fits.
#[must_use]
pub fn affordable_completion(tariff: &Tariff, bound: &Bound, amount: NanoUsd) -> Option<u64> {
    let fits = |tokens: u64| {
        let bound = Bound { completion_tokens: tokens, ..*bound };
        ceiling(tariff, &bound).is_ok_and(|cost| cost <= amount)
    };
    if !fits(0) {
        return None;
    }
    let (mut low, mut high) = (0, bound.completion_tokens);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    Some(low)
}

fn dearest_prompt(rates: &Rates) -> PicoUsd {
    let special = [rates.cache_read, rates.cache_write, Some(hour_write(rates)), rates.audio_prompt];
    special.into_iter().flatten().fold(rates.prompt, PicoUsd::max)
}

fn dearest_completion(rates: &Rates) -> PicoUsd {
    [rates.reasoning, rates.audio_completion].into_iter().flatten().fold(rates.completion, PicoUsd::max)
}

fn hour_write(rates: &Rates) -> PicoUsd {
    rates.cache_write_1h.or(rates.cache_write).unwrap_or(rates.prompt)
}

/// Images and requests have a price only where the tariff names one (see [`Rates`]).
fn optional(price: Option<PicoUsd>) -> PicoUsd {
    price.unwrap_or(PicoUsd::ZERO)
}

fn remainder(whole: u64, parts: &[u64]) -> Result<u64, PriceError> {
    parts.iter().try_fold(whole, |rest, part| rest.checked_sub(*part)).ok_or(PriceError::Inconsistent)
}

fn sum(items: &[(PicoUsd, u64)]) -> Result<PicoTotal, MoneyError> {
    items.iter().try_fold(PicoTotal::ZERO, |total, (price, quantity)| total.plus(price.times(*quantity)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use catalog::Tier;
    use kernel::Moment;
    use kernel::ids::TariffId;

    fn tariff(rates: Rates, tiers: Vec<Tier>) -> Tariff {
        let id = TariffId::from_uuid(Default::default());
        Tariff { id, version: 1, effective_from: Moment::UNIX_EPOCH, rates, tiers, free: false }
    }

    fn pico(value: i64) -> Option<PicoUsd> {
        Some(PicoUsd::new(value))
    }

    fn sonnet() -> Tariff {
        let base = Rates {
            prompt: PicoUsd::new(3_000_000),
            completion: PicoUsd::new(15_000_000),
            cache_read: pico(300_000),
            cache_write: pico(3_750_000),
            ..Rates::default()
        };
        let long = Rates {
            prompt: PicoUsd::new(6_000_000),
            completion: PicoUsd::new(22_500_000),
            cache_read: pico(600_000),
            cache_write: pico(7_500_000),
            ..Rates::default()
        };
        tariff(base, vec![Tier { above_prompt_tokens: 200_000, rates: long }])
    }

    #[test]
    fn usage_is_priced_by_class_and_tier() {
        // prompt, completion, cache read, cache write, nano charged
        let rows = [
            (1000, 100, 0, 0, 3_000_000 + 1_500_000),
            (1000, 0, 900, 0, 300_000 + 270_000),
            (1000, 0, 0, 1000, 3_750_000),
            (200_000, 0, 0, 0, 600_000_000),
            (200_001, 1, 0, 0, 200_001 * 6_000 + 22_500),
            (0, 0, 0, 0, 0),
        ];
        for (prompt, completion, cache_read, cache_write, nano) in rows {
            let usage = Usage { prompt, completion, cache_read, cache_write, ..Usage::default() };
            assert_eq!(charge(&sonnet(), &usage, Extras::default()), Ok(NanoUsd::new(nano)), "{usage:?}");
        }
    }

    #[test]
    fn a_part_larger_than_the_whole_is_refused() {
        let usage = Usage { prompt: 10, cache_read: 11, ..Usage::default() };
        assert_eq!(charge(&sonnet(), &usage, Extras::default()), Err(PriceError::Inconsistent));
        let usage = Usage { completion: 10, reasoning: 11, ..Usage::default() };
        assert_eq!(charge(&sonnet(), &usage, Extras::default()), Err(PriceError::Inconsistent));
    }

    #[test]
    fn a_ceiling_covers_every_usage_within_its_bound() {
        let tariff = sonnet();
        for prompt_tokens in [0, 1, 7, 200_000, 200_001, 900_000] {
            let bound = Bound { prompt_tokens, completion_tokens: 1000, extras: Extras::default() };
            let hold = ceiling(&tariff, &bound).unwrap();
            for (read, write, hour) in
                [(0, 0, 0), (prompt_tokens, 0, 0), (0, prompt_tokens, 0), (0, 0, prompt_tokens)]
            {
                for completion in [0, 1, 1000] {
                    let usage = Usage {
                        prompt: prompt_tokens,
                        completion,
                        cache_read: read,
                        cache_write: write,
                        cache_write_1h: hour,
                        reasoning: completion,
                        ..Usage::default()
                    };
                    assert!(charge(&tariff, &usage, Extras::default()).unwrap() <= hold);
                }
            }
        }
    }

    #[test]
    fn the_affordable_count_is_the_largest_that_fits() {
        let tariff = sonnet();
        let bound = Bound { prompt_tokens: 100, completion_tokens: 4096, extras: Extras::default() };
        let prompt_alone = ceiling(&tariff, &Bound { completion_tokens: 0, ..bound }).unwrap();
        let rows = [(prompt_alone.get() - 1, None), (prompt_alone.get(), Some(0)), (i64::MAX, Some(4096))];
        for (nano, expected) in rows {
            assert_eq!(affordable_completion(&tariff, &bound, NanoUsd::new(nano)), expected);
        }
        let amount = NanoUsd::new(prompt_alone.get() + 15_000 * 256);
        assert_eq!(affordable_completion(&tariff, &bound, amount), Some(256));
    }
}
