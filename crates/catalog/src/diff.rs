//! What publishing a draft would change, for the staff page and `farebox catalog diff`, and the guard that
//! refuses a draft which must never go live. Pure: compares two values.

use crate::draft::{DraftContent, EndpointDraft};
use crate::model::Endpoint;
use crate::snapshot::Snapshot;
use crate::tariff::{Rates, Tier};
use kernel::PicoUsd;
use kernel::ids::EndpointId;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// One price class that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PriceChange {
    pub model: String,
    pub provider: String,
    pub tag: String,
    pub endpoint: EndpointId,
    /// `prompt`, `completion`, `cache_read` …; for a tier with ` above N tokens`.
    pub class: String,
    /// Dollars per million tokens (`image`, `request`: per piece), `None` where there was or is none.
    pub old: Option<String>,
    pub new: Option<String>,
    /// Signed percent of the old price, rounded toward zero; `None` without an old price.
    pub percent: Option<i64>,
}

/// A change that a person should look at twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// `price_jump`, `price_dropped`, `zero_price`, `below_cost`.
    pub code: &'static str,
    pub model: String,
    pub tag: String,
    pub text: String,
}

/// An endpoint by the names people know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointName {
    pub model: String,
    pub provider: String,
    pub tag: String,
}

/// Everything that a draft would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    pub new_providers: Vec<String>,
    pub new_models: Vec<String>,
    pub new_endpoints: Vec<EndpointName>,
    pub price_changes: Vec<PriceChange>,
    /// Endpoints whose prices stay and whose limits or abilities differ.
    pub other_changes: Vec<EndpointName>,
    pub unchanged_endpoints: usize,
    pub warnings: Vec<Warning>,
}

impl Diff {
    /// Publishing would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.new_providers.is_empty()
            && self.new_models.is_empty()
            && self.new_endpoints.is_empty()
            && self.price_changes.is_empty()
            && self.other_changes.is_empty()
    }
}

/// Compares a draft with the price list in force. Live endpoints that the draft does not name stay as they
/// are and are not mentioned.
#[must_use]
pub fn diff(live: &Snapshot, draft: &DraftContent) -> Diff {
    let index: HashMap<(&str, &str), &Endpoint> = live
        .listings()
        .iter()
        .flat_map(|listing| &listing.endpoints)
        .map(|endpoint| ((endpoint.model.as_str(), endpoint.tag.as_str()), endpoint.as_ref()))
        .collect();
    let mut diff = Diff {
        new_providers: missing(draft.providers.iter().map(|p| &p.slug), |slug| live.provider(slug).is_some()),
        new_models: missing(draft.models.iter().map(|m| &m.slug), |slug| live.find(slug).is_some()),
        ..Diff::default()
    };
    for endpoint in &draft.endpoints {
        match index.get(&(endpoint.model.as_str(), endpoint.tag.as_str())) {
            None => diff.new_endpoints.push(name_of(endpoint)),
            Some(old) => compare(old, endpoint, &mut diff),
        }
        if !endpoint.free && has_zero(&endpoint.rates) {
            diff.warnings.push(warning("zero_price", endpoint, "a price of zero without the mark \"free\""));
        }
    }
    diff
}

fn missing<'a>(slugs: impl Iterator<Item = &'a String>, known: impl Fn(&str) -> bool) -> Vec<String> {
    slugs.filter(|slug| !known(slug)).cloned().collect()
}

fn name_of(endpoint: &EndpointDraft) -> EndpointName {
    EndpointName {
        model: endpoint.model.clone(),
        provider: endpoint.provider.clone(),
        tag: endpoint.tag.clone(),
    }
}

fn warning(code: &'static str, endpoint: &EndpointDraft, text: impl Into<String>) -> Warning {
    Warning { code, model: endpoint.model.clone(), tag: endpoint.tag.clone(), text: text.into() }
}

fn compare(old: &Endpoint, new: &EndpointDraft, diff: &mut Diff) {
    let before = diff.price_changes.len();
    compare_rates("", old, new, (&old.tariff.rates, &new.rates), diff);
    let thresholds: Vec<u64> = thresholds(&old.tariff.tiers, &new.tiers);
    for above in thresholds {
        let suffix = format!(" above {above} tokens");
        let pair = (at(&old.tariff.tiers, &old.tariff.rates, above), at(&new.tiers, &new.rates, above));
        compare_rates(&suffix, old, new, pair, diff);
    }
    if let Some(cost) = &old.cost_tariff {
        let below = new.rates.prompt < cost.rates.prompt || new.rates.completion < cost.rates.completion;
        if below {
            diff.warnings.push(warning(
                "below_cost",
                new,
                "the sale price is below what the provider charges",
            ));
        }
    }
    let same_price = diff.price_changes.len() == before && old.tariff.free == new.free;
    if same_price && same_abilities(old, new) {
        diff.unchanged_endpoints += 1;
    } else if same_price {
        diff.other_changes.push(name_of(new));
    }
}

fn same_abilities(old: &Endpoint, new: &EndpointDraft) -> bool {
    old.provider_model == new.provider_model
        && old.context_length == new.context_length
        && old.max_prompt_tokens == new.max_prompt_tokens
        && old.max_completion_tokens == new.max_completion_tokens
        && old.quantization == new.quantization
        && old.supported_parameters == new.supported_parameters
}

/// Where either side's long-prompt prices begin.
fn thresholds(old: &[Tier], new: &[Tier]) -> Vec<u64> {
    let mut all: Vec<u64> = old.iter().chain(new).map(|tier| tier.above_prompt_tokens).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The prices of a prompt that is just longer than `above`.
fn at<'r>(tiers: &'r [Tier], base: &'r Rates, above: u64) -> &'r Rates {
    tiers.iter().rev().find(|tier| tier.above_prompt_tokens <= above).map_or(base, |tier| &tier.rates)
}

fn compare_rates(
    suffix: &str,
    endpoint: &Endpoint,
    draft: &EndpointDraft,
    (old, new): (&Rates, &Rates),
    diff: &mut Diff,
) {
    for ((class, old), (_, new)) in classes(old).into_iter().zip(classes(new)) {
        if old == new {
            continue;
        }
        let text = |price: PicoUsd| match class {
            "image" | "request" => price.per_unit(),
            _ => price.per_million(),
        };
        if let (Some(_), None) = (old, new) {
            let change =
                format!("the {class} price{suffix} is dropped: it would be billed as its parent class");
            diff.warnings.push(warning("price_dropped", draft, change));
        }
        let percent = percent(old, new);
        if let Some(percent) = percent.filter(|percent| percent.abs() > 50) {
            let change = format!("the {class} price{suffix} changes by {percent} %");
            diff.warnings.push(warning("price_jump", draft, change));
        }
        diff.price_changes.push(PriceChange {
            model: draft.model.clone(),
            provider: draft.provider.clone(),
            tag: draft.tag.clone(),
            endpoint: endpoint.id,
            class: format!("{class}{suffix}"),
            old: old.map(text),
            new: new.map(text),
            percent,
        });
    }
}

fn percent(old: Option<PicoUsd>, new: Option<PicoUsd>) -> Option<i64> {
    let (old, new) = (i128::from(old?.get()), i128::from(new?.get()));
    let change = (new - old).checked_mul(100)?.checked_div(old)?;
    i64::try_from(change).ok()
}

fn classes(rates: &Rates) -> [(&'static str, Option<PicoUsd>); 10] {
    [
        ("prompt", Some(rates.prompt)),
        ("completion", Some(rates.completion)),
        ("cache_read", rates.cache_read),
        ("cache_write", rates.cache_write),
        ("cache_write_1h", rates.cache_write_1h),
        ("reasoning", rates.reasoning),
        ("audio_prompt", rates.audio_prompt),
        ("audio_completion", rates.audio_completion),
        ("image", rates.image),
        ("request", rates.request),
    ]
}

fn has_zero(rates: &Rates) -> bool {
    rates.prompt == PicoUsd::ZERO || rates.completion == PicoUsd::ZERO
}

/// Why a draft must not be published as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// `zero_price`, `free_not_allowed`, `negative_price`, `unordered_tiers`, `unknown_provider`,
    /// `unknown_model`, `duplicate`, `no_tokens`.
    pub code: &'static str,
    pub model: String,
    pub tag: String,
    pub text: String,
}

/// The last guard before publication. It repeats the importers' rules, because drafts are edited.
pub fn check_publishable(draft: &DraftContent, live: &Snapshot) -> Result<(), Vec<Refusal>> {
    let providers: HashSet<&str> = draft.providers.iter().map(|p| p.slug.as_str()).collect();
    let models: HashSet<&str> = draft.models.iter().map(|m| m.slug.as_str()).collect();
    let mut seen = HashSet::new();
    let mut refusals = Vec::new();
    for endpoint in &draft.endpoints {
        let mut refuse = |code, text: &str| {
            let (model, tag) = (endpoint.model.clone(), endpoint.tag.clone());
            refusals.push(Refusal { code, model, tag, text: text.to_owned() });
        };
        if !providers.contains(endpoint.provider.as_str()) && live.provider(&endpoint.provider).is_none() {
            refuse("unknown_provider", "its provider is neither live nor part of the draft");
        }
        if !models.contains(endpoint.model.as_str()) && live.find(&endpoint.model).is_none() {
            refuse("unknown_model", "its model is neither live nor part of the draft");
        }
        if !seen.insert((&endpoint.model, &endpoint.tag)) {
            refuse("duplicate", "the draft names this endpoint twice");
        }
        if endpoint.context_length == 0 || endpoint.max_completion_tokens == 0 {
            refuse("no_tokens", "its context or its longest answer is zero tokens");
        }
        price_faults(endpoint, &mut refuse);
    }
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

fn price_faults(endpoint: &EndpointDraft, refuse: &mut impl FnMut(&'static str, &str)) {
    let all = std::iter::once(&endpoint.rates).chain(endpoint.tiers.iter().map(|tier| &tier.rates));
    let (mut zero, mut negative) = (false, false);
    for rates in all {
        zero |= has_zero(rates);
        negative |= classes(rates).iter().any(|(_, price)| price.is_some_and(|p| p < PicoUsd::ZERO));
    }
    if endpoint.free {
        refuse("free_not_allowed", "free models cannot be published yet: their limits do not exist");
    } else if zero {
        refuse("zero_price", "a price of zero is never published");
    }
    if negative {
        refuse("negative_price", "a price below zero is never published");
    }
    let ascending = endpoint.tiers.is_sorted_by(|a, b| a.above_prompt_tokens < b.above_prompt_tokens);
    if !ascending {
        refuse("unordered_tiers", "its long-prompt prices do not ascend");
    }
}
