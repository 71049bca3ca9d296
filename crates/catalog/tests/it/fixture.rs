//! A live catalog made of the seed, with ids that follow from the position.

use catalog::draft::{DraftContent, EndpointDraft};
use catalog::snapshot::Rows;
use catalog::{Endpoint, Snapshot, Tariff};
use kernel::Moment;
use kernel::ids::{EndpointId, TariffId};

pub(crate) fn endpoint(draft: &EndpointDraft, number: usize) -> Endpoint {
    let uuid = format!("0192f0c1-2345-7abc-8def-{number:012x}").parse().unwrap();
    Endpoint {
        id: EndpointId::from_uuid(uuid),
        model: draft.model.clone(),
        provider: draft.provider.clone(),
        provider_model: draft.provider_model.clone(),
        tag: draft.tag.clone(),
        context_length: draft.context_length,
        max_prompt_tokens: draft.max_prompt_tokens,
        max_completion_tokens: draft.max_completion_tokens,
        quantization: draft.quantization.clone(),
        supported_parameters: draft.supported_parameters.clone(),
        tariff: Tariff {
            id: TariffId::from_uuid(uuid),
            version: 1,
            effective_from: Moment::default(),
            rates: draft.rates,
            tiers: draft.tiers.clone(),
            free: draft.free,
        },
        cost_tariff: None,
        enabled: true,
    }
}

pub(crate) fn published(draft: &DraftContent) -> Snapshot {
    let endpoints = draft.endpoints.iter().enumerate().map(|(n, e)| endpoint(e, n)).collect();
    let rows = Rows { providers: draft.providers.clone(), models: draft.models.clone(), endpoints };
    Snapshot::build(1, Moment::from_timestamp(1_800_000_000, 0).unwrap(), None, rows)
}

pub(crate) fn seed() -> Snapshot {
    published(&catalog::seed::draft().unwrap())
}
