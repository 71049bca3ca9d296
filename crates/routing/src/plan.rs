//! The plan: at most five candidates in the order to try them, and a reason for every endpoint left out.

mod arrange;
mod fit;
mod reason;

use crate::health::Health;
use crate::preferences::Preferences;
use catalog::snapshot::Listing;
use catalog::{Endpoint, Provider, Snapshot};
use kernel::Entropy;
use kernel::ids::{EndpointId, ProviderKeyId};
use std::sync::Arc;

pub use reason::{Constraint, Exclusion, NoEndpoints, Reason};

/// Candidates a plan holds at most.
pub const CANDIDATES_MAX: usize = 5;

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

/// An endpoint that may serve the request, with its condition now.
#[derive(Debug, Clone)]
struct Fitting {
    endpoint: Arc<Endpoint>,
    provider: Arc<Provider>,
    health: Health,
    own_key: Option<OwnKey>,
}

/// Chooses and orders. The same input gives the same plan.
pub fn plan(ask: &Ask<'_>, world: &World<'_>) -> Result<Plan, NoEndpoints> {
    let mut plan = Plan::default();
    let mut groups: Vec<Vec<Fitting>> = Vec::with_capacity(ask.listings.len());
    for listing in ask.listings {
        groups.push(fitting(ask, world, listing, &mut plan.excluded));
    }
    if ask.preferences.mix_models && ask.preferences.sort.is_some() {
        groups = vec![groups.concat()];
    }
    for group in groups {
        let ordered = arrange::order(ask, world.entropy, group);
        plan.candidates.extend(candidates(ordered, world));
    }
    plan.candidates.truncate(CANDIDATES_MAX);
    if !ask.preferences.allow_fallbacks && ask.preferences.order.is_empty() {
        plan.candidates.truncate(1);
    }
    if plan.candidates.is_empty() { Err(NoEndpoints { excluded: plan.excluded }) } else { Ok(plan) }
}

fn fitting(
    ask: &Ask<'_>,
    world: &World<'_>,
    listing: &Listing,
    excluded: &mut Vec<Exclusion>,
) -> Vec<Fitting> {
    let mut fitting = Vec::with_capacity(listing.endpoints.len());
    for endpoint in &listing.endpoints {
        let Some(provider) = world.snapshot.provider(&endpoint.provider) else { continue };
        match fit::fits(ask, world, listing, endpoint, provider) {
            Ok(own_key) => fitting.push(Fitting {
                endpoint: Arc::clone(endpoint),
                provider: Arc::clone(provider),
                health: (world.health)(endpoint.id),
                own_key,
            }),
            Err(reason) => {
                excluded.push(Exclusion { model: endpoint.model.clone(), tag: endpoint.tag.clone(), reason })
            }
        }
    }
    fitting
}

/// Own keys first; then, where they may fall back or are not there, our credentials.
fn candidates(ordered: Vec<Fitting>, world: &World<'_>) -> Vec<Candidate> {
    let mut own = Vec::new();
    let mut ours = Vec::new();
    for Fitting { endpoint, provider, own_key, .. } in ordered {
        if let Some(key) = own_key {
            let (endpoint, provider) = (Arc::clone(&endpoint), Arc::clone(&provider));
            own.push(Candidate { endpoint, provider, own_key: Some(key.id) });
        }
        if own_key.is_none_or(|key| key.fallback) && (world.has_credential)(&provider) {
            ours.push(Candidate { endpoint, provider, own_key: None });
        }
    }
    own.extend(ours);
    own
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
