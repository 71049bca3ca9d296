//! The order in which fitting endpoints are tried. Integers only, and every tie is broken by tag, so that
//! the same input gives the same order.

use super::fit::names;
use super::{Ask, Fitting};
use crate::health::Health;
use crate::preferences::Sort;
use catalog::Endpoint;
use kernel::Entropy;

/// Completion tokens assumed for the price of a request that names no limit.
const TYPICAL_COMPLETION: u64 = 500;

/// One in the scale of weights.
const SCALE: u128 = 1 << 20;

/// First what `provider.order` names, as it names them; then the others, the healthy first.
pub(super) fn order(ask: &Ask<'_>, entropy: &dyn Entropy, fitting: Vec<Fitting>) -> Vec<Fitting> {
    let rank = |one: &Fitting| ask.preferences.order.iter().position(|name| names(name, &one.endpoint));
    let (named, mut rest): (Vec<_>, Vec<_>) = fitting.into_iter().partition(|one| rank(one).is_some());
    // Several endpoints of one named provider are ordered among themselves as the others are.
    let mut first = arrange(ask, entropy, named);
    first.sort_by_key(rank);
    rest.sort_by_key(tier_of(ask));
    let tier = tier_of(ask);
    while let Some(now) = rest.first().map(&tier) {
        let later = rest.split_off(rest.partition_point(|one| tier(one) == now));
        first.extend(arrange(ask, entropy, rest));
        rest = later;
    }
    first
}

/// Well, then well but missing a wish, then unstable, then resting: a lower tier is tried first.
fn tier_of<'a>(ask: &'a Ask<'_>) -> impl Fn(&Fitting) -> u8 + 'a {
    |one| {
        let misses = u8::from(misses_a_wish(ask, &one.health));
        u8::from(one.health.cooling) * 4 + u8::from(one.health.unstable) * 2 + misses
    }
}

/// Unmeasured endpoints miss nothing: they must be tried to be measured.
fn misses_a_wish(ask: &Ask<'_>, health: &Health) -> bool {
    let wish = ask.preferences;
    let slow = health.throughput.is_some_and(|has| {
        wish.min_throughput.named().any(|(position, least)| u64::from(has.at(position)) * 1000 < least)
    });
    // Thousandths of a second are the milliseconds that are measured.
    let late = health.latency.is_some_and(|has| {
        wish.max_latency.named().any(|(position, most)| u64::from(has.at(position)) > most)
    });
    slow || late
}

fn arrange(ask: &Ask<'_>, entropy: &dyn Entropy, mut fitting: Vec<Fitting>) -> Vec<Fitting> {
    let price = |one: &Fitting| (typical_price(ask, &one.endpoint), one.endpoint.tag.clone());
    match ask.preferences.sort {
        None => return draw_by_price(ask, entropy, fitting),
        Some(Sort::Price) => fitting.sort_by_cached_key(price),
        Some(Sort::Latency) => {
            fitting.sort_by_cached_key(|one| (one.health.latency_ms.unwrap_or(u32::MAX), price(one)));
        }
        Some(Sort::Throughput) => fitting
            .sort_by_cached_key(|one| (u32::MAX - one.health.tokens_per_second.unwrap_or(0), price(one))),
        Some(Sort::Exacto) => fitting.sort_by_cached_key(|one| {
            (!one.endpoint.supports("tools"), one.health.failing_permille, price(one))
        }),
    }
    fitting
}

/// What a request of this shape costs at an endpoint, in pico-dollars: for comparing only.
fn typical_price(ask: &Ask<'_>, endpoint: &Endpoint) -> i128 {
    let rates = endpoint.tariff.rates_for(ask.prompt_floor);
    let completion = ask.max_tokens.map_or(TYPICAL_COMPLETION, u64::from);
    let request = rates.request.map_or(0, |price| i128::from(price.get()));
    rates.prompt.times(ask.prompt_floor.max(1)).get() + rates.completion.times(completion).get() + request
}

/// Draws without putting back, each endpoint with a chance in proportion to 1 / price².
fn draw_by_price(ask: &Ask<'_>, entropy: &dyn Entropy, fitting: Vec<Fitting>) -> Vec<Fitting> {
    if fitting.len() < 2 {
        return fitting;
    }
    let price = |one: &Fitting| typical_price(ask, &one.endpoint).max(1).unsigned_abs();
    let cheapest = fitting.iter().map(price).min().unwrap_or(1);
    let mut urn: Vec<(u64, Fitting)> =
        fitting.into_iter().map(|one| (weight(cheapest, price(&one)), one)).collect();
    let mut drawn = Vec::with_capacity(urn.len());
    while !urn.is_empty() {
        let total: u64 = urn.iter().map(|(weight, _)| weight).sum();
        let mut ticket = entropy.below(total);
        let winner = urn.iter().position(|(weight, _)| {
            let hit = ticket < *weight;
            ticket = ticket.saturating_sub(*weight);
            hit
        });
        drawn.push(urn.remove(winner.unwrap_or(0)).1);
    }
    drawn
}

/// (cheapest / price)² of 2⁴⁰, at least one so that every endpoint is explored now and then.
fn weight(cheapest: u128, price: u128) -> u64 {
    let ratio = (cheapest.saturating_mul(SCALE) / price.max(1)).min(SCALE);
    u64::try_from((ratio * ratio).max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_fall_with_the_square_of_the_price() {
        assert_eq!(weight(1, 1), 1 << 40);
        assert_eq!(weight(1, 2), 1 << 38);
        assert_eq!(weight(1, 4), 1 << 36);
        assert_eq!(weight(1, u128::MAX), 1);
        assert_eq!(weight(3, 3), weight(7, 7));
        let ninth = weight(1, 3);
        assert!((1_u64 << 40) / ninth == 9 && (1_u64 << 40) - ninth * 9 < 1 << 23);
    }
}
