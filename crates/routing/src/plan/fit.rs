//! Whether an endpoint may serve a request, and if not, which one setting is in the way. The first that
//! applies is named: the customer's own wishes before what the endpoint cannot do.

use super::{Ask, OwnKey, Reason, World};
use catalog::snapshot::Listing;
use catalog::{Endpoint, Provider};

/// The customer's key for it, when it fits.
pub(super) fn fits(
    ask: &Ask<'_>,
    world: &World<'_>,
    listing: &Listing,
    endpoint: &Endpoint,
    provider: &Provider,
) -> Result<Option<OwnKey>, Reason> {
    wished_for(ask, endpoint, provider)?;
    can_serve(ask, listing, endpoint)?;
    let own_key = (world.own_key)(provider);
    let reachable = own_key.is_some() || (world.has_credential)(provider);
    if reachable { Ok(own_key) } else { Err(Reason::NoCredential) }
}

/// What the customer asks of providers and prices.
fn wished_for(ask: &Ask<'_>, endpoint: &Endpoint, provider: &Provider) -> Result<(), Reason> {
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
    // The catalog holds no statement of any author about training on its model's output.
    if wish.distillable {
        return Err(Reason::Distillable);
    }
    let quantization = endpoint.quantization.as_deref().unwrap_or("unknown");
    if !wish.quantizations.is_empty() && !wish.quantizations.iter().any(|q| q == quantization) {
        return Err(Reason::Quantization(endpoint.quantization.clone()));
    }
    match wish.max_price.exceeded_by(endpoint, ask.prompt_floor) {
        Some(which) => Err(Reason::MaxPrice(which)),
        None => Ok(()),
    }
}

/// What the endpoint can do, whatever the customer wishes.
fn can_serve(ask: &Ask<'_>, listing: &Listing, endpoint: &Endpoint) -> Result<(), Reason> {
    // Tools are no preference: an endpoint without them would answer something else.
    if ask.parameters.contains(&"tools") && !endpoint.supports("tools") {
        return Err(Reason::Tools);
    }
    if ask.preferences.require_parameters
        && let Some(missing) = ask.parameters.iter().find(|name| !endpoint.supports(name))
    {
        return Err(Reason::Parameter((*missing).to_owned()));
    }
    let reads = |name: &str| listing.model.input_modalities.iter().any(|m| m.as_str() == name);
    if let Some(missing) = ask.modalities.iter().find(|name| !reads(name)) {
        return Err(Reason::Modality((*missing).to_owned()));
    }
    let room = endpoint.max_prompt_tokens.unwrap_or(endpoint.context_length).min(endpoint.context_length);
    if ask.prompt_floor > u64::from(room) {
        return Err(Reason::ContextLength(room));
    }
    match ask.max_tokens {
        Some(asked) if asked > endpoint.max_completion_tokens => {
            Err(Reason::MaxTokens(endpoint.max_completion_tokens))
        }
        _ => Ok(()),
    }
}

/// Whether a name of `order`, `only` or `ignore` means this endpoint: its tag, or its provider's slug.
pub(super) fn names(name: &str, endpoint: &Endpoint) -> bool {
    name == endpoint.tag || name == endpoint.provider
}
