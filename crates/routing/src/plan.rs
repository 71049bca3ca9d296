//! The plan: at most five candidates in the order to try them, and a reason for every endpoint left out.

use crate::health::Health;
use crate::preferences::{Preferences, Sort};
use catalog::snapshot::Listing;
use catalog::{Endpoint, Provider, Snapshot};
use kernel::Entropy;
use kernel::ids::{EndpointId, ProviderKeyId};
use std::sync::Arc;

/// Candidates a plan holds at most.
pub const CANDIDATES_MAX: usize = 5;
/// Completion tokens assumed for the price of a request that names no limit.
const TYPICAL_COMPLETION: u64 = 500;

/// What a request needs.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Asked-for models in order of preference.
    pub listings: &'a [&'a Listing],
    pub preferences: &'a Preferences,
    /// Catalog names of the parameters that the request uses.
    pub parameters: &'a [&'static str],
    /// Kinds of input it uses.
    pub modalities: &'a [&'static str],
    /// It has at least so many prompt tokens; endpoints with less room are left out.
    pub prompt_floor: u64,
    pub max_tokens: Option<u32>,
}

/// The customer's own key at a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnKey {
    pub id: ProviderKeyId,
    /// When it fails, our credential may be used.
    pub fallback: bool,
}

/// What the plan must know of the world.
pub struct World<'a> {
    pub snapshot: &'a Snapshot,
    pub health: &'a dyn Fn(EndpointId) -> Health,
    pub own_key: &'a dyn Fn(&Provider) -> Option<OwnKey>,
    pub has_credential: &'a dyn Fn(&Provider) -> bool,
    pub entropy: &'a dyn Entropy,
}

/// An endpoint to try, and with whose key.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub endpoint: Arc<Endpoint>,
    pub provider: Arc<Provider>,
    pub own_key: Option<ProviderKeyId>,
}

/// In the order to try.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub candidates: Vec<Candidate>,
    pub excluded: Vec<Exclusion>,
}

/// An endpoint left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    pub model: String,
    /// The endpoint's tag.
    pub tag: String,
    pub reason: Reason,
}

/// Why an endpoint was left out, each with the setting that would bring it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    NotInOnly,
    Ignored,
    NotInOrder,
    DataCollection,
    Retention,
    Quantization(Option<String>),
    MaxPrice(&'static str),
    Parameter(String),
    Modality(String),
    ContextLength(u32),
    MaxTokens(u32),
    NoCredential,
}

impl Reason {
    /// A sentence with the setting to change.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::NotInOnly => "is not in provider.only".to_owned(),
            Self::Ignored => "is in provider.ignore".to_owned(),
            Self::NotInOrder => "is not in provider.order, and provider.allow_fallbacks is false".to_owned(),
            Self::DataCollection => "may train on prompts, and provider.data_collection is deny".to_owned(),
            Self::Retention => "keeps prompts, and provider.zdr is true".to_owned(),
            Self::Quantization(Some(has)) => format!("serves {has}, which is not in provider.quantizations"),
            Self::Quantization(None) => {
                "does not state its quantization; add \"unknown\" to provider.quantizations".to_owned()
            }
            Self::MaxPrice(which) => format!("costs more than provider.max_price.{which}"),
            Self::Parameter(name) => {
                format!("does not support `{name}`, and provider.require_parameters is true")
            }
            Self::Modality(name) => format!("does not read {name} input; choose a model that does"),
            Self::ContextLength(room) => format!("has room for {room} tokens; shorten the messages"),
            Self::MaxTokens(most) => format!("writes at most {most} tokens; lower max_tokens"),
            Self::NoCredential => "works here only with your own key; add one under Provider keys".to_owned(),
        }
    }

    /// The stable word of `error.availability.excluded_by`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotInOnly | Self::Ignored | Self::NotInOrder => "allowed_providers",
            Self::DataCollection => "data_policy:training",
            Self::Retention => "data_policy:zdr",
            Self::Quantization(_) => "quantization",
            Self::MaxPrice(_) => "max_price",
            Self::Parameter(_) => "require_parameters",
            Self::Modality(_) => "modality",
            Self::ContextLength(_) => "context_length",
            Self::MaxTokens(_) => "max_tokens",
            Self::NoCredential => "credential",
        }
    }
}

/// Nothing is left: every endpoint with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoEndpoints {
    pub excluded: Vec<Exclusion>,
}

impl NoEndpoints {
    /// Names every constraint that excluded something, once each.
    #[must_use]
    pub fn sentence(&self, model: &str) -> String {
        let mut text = format!("No endpoints found for {model} that fit this request.");
        let mut told: Vec<&Reason> = Vec::new();
        for exclusion in &self.excluded {
            if !told.contains(&&exclusion.reason) {
                told.push(&exclusion.reason);
                text.push_str(&format!(" {} {}.", exclusion.tag, exclusion.reason.sentence()));
            }
        }
        text
    }
}

/// Chooses and orders. The same input gives the same plan.
pub fn plan(ask: &Ask<'_>, world: &World<'_>) -> Result<Plan, NoEndpoints> {
    let mut plan = Plan::default();
    for listing in ask.listings {
        let mut fitting = Vec::new();
        for endpoint in &listing.endpoints {
            let Some(provider) = world.snapshot.provider(&endpoint.provider) else { continue };
            match fits(ask, world, endpoint, provider) {
                Ok(()) => fitting.push((Arc::clone(endpoint), Arc::clone(provider))),
                Err(reason) => plan.excluded.push(Exclusion {
                    model: endpoint.model.clone(),
                    tag: endpoint.tag.clone(),
                    reason,
                }),
            }
        }
        plan.candidates.extend(candidates(order(ask, world, fitting), world));
    }
    plan.candidates.truncate(CANDIDATES_MAX);
    if !ask.preferences.allow_fallbacks && ask.preferences.order.is_empty() {
        plan.candidates.truncate(1);
    }
    if plan.candidates.is_empty() { Err(NoEndpoints { excluded: plan.excluded }) } else { Ok(plan) }
}

type Fitting = (Arc<Endpoint>, Arc<Provider>);

/// Own keys first; then, where they may fall back or are not there, our credentials.
fn candidates(ordered: Vec<Fitting>, world: &World<'_>) -> Vec<Candidate> {
    let mut own = Vec::new();
    let mut ours = Vec::new();
    for (endpoint, provider) in ordered {
        let key = (world.own_key)(&provider);
        if let Some(key) = key {
            let (endpoint, provider) = (Arc::clone(&endpoint), Arc::clone(&provider));
            own.push(Candidate { endpoint, provider, own_key: Some(key.id) });
        }
        if key.is_none_or(|key| key.fallback) && (world.has_credential)(&provider) {
            ours.push(Candidate { endpoint, provider, own_key: None });
        }
    }
    own.extend(ours);
    own
}

fn fits(ask: &Ask<'_>, world: &World<'_>, endpoint: &Endpoint, provider: &Provider) -> Result<(), Reason> {
    let wish = ask.preferences;
    let named = |list: &[String]| list.iter().any(|name| names(name, endpoint));
    if !wish.only.is_empty() && !named(&wish.only) {
        return Err(Reason::NotInOnly);
    }
    if named(&wish.ignore) {
        return Err(Reason::Ignored);
    }
    if !wish.order.is_empty() && !wish.allow_fallbacks && !named(&wish.order) {
        return Err(Reason::NotInOrder);
    }
    if wish.deny_data_collection && provider.trains_on_data {
        return Err(Reason::DataCollection);
    }
    if wish.zdr && provider.retains_prompts {
        return Err(Reason::Retention);
    }
    let quantization = endpoint.quantization.as_deref().unwrap_or("unknown");
    if !wish.quantizations.is_empty() && !wish.quantizations.iter().any(|q| q == quantization) {
        return Err(Reason::Quantization(endpoint.quantization.clone()));
    }
    if let Some(which) = wish.max_price.exceeded_by(endpoint) {
        return Err(Reason::MaxPrice(which));
    }
    can_serve(ask, world, endpoint)?;
    let reachable = (world.has_credential)(provider) || (world.own_key)(provider).is_some();
    if reachable { Ok(()) } else { Err(Reason::NoCredential) }
}

/// What the endpoint can do, whatever the customer wishes.
fn can_serve(ask: &Ask<'_>, world: &World<'_>, endpoint: &Endpoint) -> Result<(), Reason> {
    if ask.preferences.require_parameters
        && let Some(missing) = ask.parameters.iter().find(|name| !endpoint.supports(name))
    {
        return Err(Reason::Parameter((*missing).to_owned()));
    }
    // Tools are no preference: an endpoint without them would answer something else.
    if ask.parameters.contains(&"tools") && !endpoint.supports("tools") {
        return Err(Reason::Parameter("tools".to_owned()));
    }
    if let Some(listing) = world.snapshot.find(&endpoint.model) {
        let reads = |name: &str| listing.model.input_modalities.iter().any(|m| m.as_str() == name);
        if let Some(missing) = ask.modalities.iter().find(|name| !reads(name)) {
            return Err(Reason::Modality((*missing).to_owned()));
        }
    }
    if ask.prompt_floor > u64::from(endpoint.context_length) {
        return Err(Reason::ContextLength(endpoint.context_length));
    }
    match ask.max_tokens {
        Some(asked) if asked > endpoint.max_completion_tokens => {
            Err(Reason::MaxTokens(endpoint.max_completion_tokens))
        }
        _ => Ok(()),
    }
}

/// Whether a name of `order`, `only` or `ignore` means this endpoint: its tag, or its provider's slug.
fn names(name: &str, endpoint: &Endpoint) -> bool {
    name == endpoint.tag || name == endpoint.provider
}

fn order(ask: &Ask<'_>, world: &World<'_>, fitting: Vec<Fitting>) -> Vec<Fitting> {
    let rank = |endpoint: &Endpoint| ask.preferences.order.iter().position(|name| names(name, endpoint));
    let (mut first, rest): (Vec<_>, Vec<_>) = fitting.into_iter().partition(|(e, _)| rank(e).is_some());
    first.sort_by_key(|(endpoint, _)| rank(endpoint));
    let (cooling, healthy): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|(endpoint, _)| (world.health)(endpoint.id).cooling);
    first.extend(arrange(ask, world, healthy));
    first.extend(arrange(ask, world, cooling));
    first
}

fn arrange(ask: &Ask<'_>, world: &World<'_>, mut fitting: Vec<Fitting>) -> Vec<Fitting> {
    let price = |endpoint: &Endpoint| typical_price(ask, endpoint);
    match ask.preferences.sort {
        None => draw_by_price(ask, world.entropy, fitting),
        Some(Sort::Price) => {
            fitting.sort_by_key(|(e, _)| (price(e), e.tag.clone()));
            fitting
        }
        Some(Sort::Latency) => {
            fitting.sort_by_key(|(e, _)| {
                ((world.health)(e.id).latency_ms.unwrap_or(u32::MAX), price(e), e.tag.clone())
            });
            fitting
        }
        Some(Sort::Throughput) => {
            let slowness = |e: &Endpoint| u32::MAX - (world.health)(e.id).tokens_per_second.unwrap_or(0);
            fitting.sort_by_key(|(e, _)| (slowness(e), price(e), e.tag.clone()));
            fitting
        }
    }
}

/// What a request of this shape costs at an endpoint, in pico-dollars: for comparing only.
fn typical_price(ask: &Ask<'_>, endpoint: &Endpoint) -> i128 {
    let rates = endpoint.tariff.rates_for(ask.prompt_floor);
    let completion = ask.max_tokens.map_or(TYPICAL_COMPLETION, u64::from);
    rates.prompt.times(ask.prompt_floor.max(1)).get() + rates.completion.times(completion).get()
}

/// Draws without putting back, each endpoint with a chance in proportion to 1 / price².
fn draw_by_price(ask: &Ask<'_>, entropy: &dyn Entropy, fitting: Vec<Fitting>) -> Vec<Fitting> {
    if fitting.len() < 2 {
        return fitting;
    }
    let cheapest = fitting.iter().map(|(e, _)| typical_price(ask, e).max(1)).min().unwrap_or(1);
    let mut urn: Vec<(u64, Fitting)> =
        fitting.into_iter().map(|one| (weight(cheapest, typical_price(ask, &one.0)), one)).collect();
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

/// (cheapest / price)² in millionths, at least one so that every endpoint is explored now and then.
fn weight(cheapest: i128, price: i128) -> u64 {
    let ratio = cheapest.saturating_mul(1000) / price.max(1);
    u64::try_from(ratio.saturating_mul(ratio)).unwrap_or(1).clamp(1, 1_000_000)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
