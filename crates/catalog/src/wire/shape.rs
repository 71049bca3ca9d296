//! The objects of the public API, field by field. What is not known is `null`, never a guess.

use super::StatsOf;
use crate::model::{Endpoint, Modality, Model};
use crate::snapshot::{Listing, Snapshot};
use crate::tariff::{Rates, Tariff};
use kernel::PicoUsd;
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
pub(super) struct ModelJson<'a> {
    id: &'a str,
    canonical_slug: &'a str,
    hugging_face_id: Option<&'a str>,
    name: &'a str,
    created: i64,
    description: &'a str,
    context_length: u32,
    architecture: Architecture<'a>,
    pricing: Pricing,
    top_provider: TopProvider,
    per_request_limits: Nothing,
    supported_parameters: &'a [String],
    default_parameters: Nothing,
    supported_voices: Nothing,
    knowledge_cutoff: Option<&'a str>,
    expiration_date: Nothing,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning>,
    links: Links,
}

/// A field that clients expect and for which there is no data: `null`.
type Nothing = Option<bool>;

#[derive(Serialize)]
struct Architecture<'a> {
    modality: String,
    input_modalities: Vec<&'a str>,
    output_modalities: Vec<&'a str>,
    tokenizer: &'static str,
    instruct_type: Nothing,
}

#[derive(Serialize)]
struct TopProvider {
    context_length: u32,
    max_completion_tokens: u32,
    is_moderated: bool,
}

#[derive(Serialize)]
struct Reasoning {
    mandatory: bool,
}

#[derive(Serialize)]
struct Links {
    details: String,
}

/// Dollars per token, image or request, as exact decimal text.
#[derive(Serialize)]
struct Pricing {
    #[serde(flatten)]
    base: Prices,
    discount: u8,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overrides: Vec<Override>,
}

#[derive(Serialize)]
struct Prices {
    prompt: String,
    completion: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    internal_reasoning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_cache_read: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_cache_write: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_cache_write_1h: Option<String>,
}

#[derive(Serialize)]
struct Override {
    min_prompt_tokens: u64,
    #[serde(flatten)]
    prices: Prices,
}

fn prices(rates: &Rates) -> Prices {
    let text = |price: Option<PicoUsd>| price.map(PicoUsd::per_unit);
    Prices {
        prompt: rates.prompt.per_unit(),
        completion: rates.completion.per_unit(),
        request: text(rates.request),
        image: text(rates.image),
        audio: text(rates.audio_prompt),
        audio_output: text(rates.audio_completion),
        internal_reasoning: text(rates.reasoning),
        input_cache_read: text(rates.cache_read),
        input_cache_write: text(rates.cache_write),
        input_cache_write_1h: text(rates.cache_write_1h),
    }
}

/// A tier applies strictly above its threshold, so the least prompt it prices is one token longer.
fn pricing(tariff: &Tariff) -> Pricing {
    let overrides = tariff.tiers.iter().map(|tier| Override {
        min_prompt_tokens: tier.above_prompt_tokens.saturating_add(1),
        prices: prices(&tier.rates),
    });
    Pricing { base: prices(&tariff.rates), discount: 0, overrides: overrides.collect() }
}

/// The endpoint whose price and limits stand for the model: the cheapest, then the first by tag.
pub(super) fn face(listing: &Listing) -> Option<&Arc<Endpoint>> {
    listing.endpoints.iter().min_by_key(|endpoint| {
        let rates = &endpoint.tariff.rates;
        (rates.prompt.get().saturating_add(rates.completion.get()), &endpoint.tag)
    })
}

fn architecture(model: &Model) -> Architecture<'_> {
    let words = |list: &[Modality]| list.iter().map(|modality| modality.as_str()).collect::<Vec<_>>();
    let (input, output) = (words(&model.input_modalities), words(&model.output_modalities));
    Architecture {
        modality: format!("{}->{}", input.join("+"), output.join("+")),
        input_modalities: input,
        output_modalities: output,
        tokenizer: tokenizer(&model.slug),
        instruct_type: None,
    }
}

/// The family of tokenizers, by author and name.
pub(super) fn tokenizer(slug: &str) -> &'static str {
    let rows = [
        ("openai/", "GPT"),
        ("anthropic/", "Claude"),
        ("google/gemma", "Gemma"),
        ("google/", "Gemini"),
        ("x-ai/", "Grok"),
        ("cohere/", "Cohere"),
        ("amazon/", "Nova"),
        ("qwen/qwen3", "Qwen3"),
        ("qwen/", "Qwen"),
        ("deepseek/", "DeepSeek"),
        ("mistralai/", "Mistral"),
        ("meta-llama/llama-4", "Llama4"),
        ("meta-llama/", "Llama3"),
    ];
    rows.iter().find(|(prefix, _)| slug.starts_with(prefix)).map_or("Other", |(_, name)| name)
}

pub(super) fn model(listing: &Listing) -> Option<ModelJson<'_>> {
    let (model, face) = (&listing.model, face(listing)?);
    Some(ModelJson {
        id: &model.slug,
        canonical_slug: &model.slug,
        hugging_face_id: model.hugging_face_id.as_deref(),
        name: &model.name,
        created: model.created.timestamp(),
        description: &model.description,
        context_length: model.context_length,
        architecture: architecture(model),
        pricing: pricing(&face.tariff),
        top_provider: TopProvider {
            context_length: face.context_length,
            max_completion_tokens: face.max_completion_tokens,
            is_moderated: false,
        },
        per_request_limits: None,
        supported_parameters: &listing.supported_parameters,
        default_parameters: None,
        supported_voices: None,
        knowledge_cutoff: model.knowledge_cutoff.as_deref(),
        expiration_date: None,
        reasoning: model.reasoning.then_some(Reasoning { mandatory: false }),
        links: Links { details: format!("/api/v1/models/{}/endpoints", model.slug) },
    })
}

#[derive(Serialize)]
pub(super) struct Data<T> {
    data: T,
}

#[derive(Serialize)]
pub(super) struct EndpointsJson<'a> {
    id: &'a str,
    name: &'a str,
    created: i64,
    description: &'a str,
    architecture: Architecture<'a>,
    endpoints: Vec<EndpointJson<'a>>,
}

#[derive(Serialize)]
struct EndpointJson<'a> {
    name: String,
    tag: &'a str,
    provider_name: &'a str,
    model_id: &'a str,
    model_name: &'a str,
    context_length: u32,
    max_prompt_tokens: Option<u32>,
    max_completion_tokens: u32,
    quantization: &'a str,
    pricing: Pricing,
    supported_parameters: &'a [String],
    supports_tool_choice: ToolChoice,
    supports_implicit_caching: bool,
    supports_diarization: bool,
    native_tools: Empty,
    service_tier: Nothing,
    #[serde(flatten)]
    stats: super::EndpointStats,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct ToolChoice {
    auto: bool,
    none: bool,
    required: bool,
    function: bool,
}

pub(super) fn endpoints<'a>(
    snapshot: &'a Snapshot,
    listing: &'a Listing,
    stats: StatsOf<'_>,
) -> Data<EndpointsJson<'a>> {
    let model = &listing.model;
    let one = |endpoint: &'a Arc<Endpoint>| {
        let choice = endpoint.supports("tool_choice");
        let provider = snapshot.provider(&endpoint.provider).map_or("", |p| p.name.as_str());
        EndpointJson {
            name: format!("{provider} | {}", model.slug),
            tag: &endpoint.tag,
            provider_name: provider,
            model_id: &model.slug,
            model_name: &model.name,
            context_length: endpoint.context_length,
            max_prompt_tokens: endpoint.max_prompt_tokens,
            max_completion_tokens: endpoint.max_completion_tokens,
            quantization: endpoint.quantization.as_deref().unwrap_or("unknown"),
            pricing: pricing(&endpoint.tariff),
            supported_parameters: &endpoint.supported_parameters,
            supports_tool_choice: ToolChoice {
                auto: choice,
                none: choice,
                required: choice,
                function: choice,
            },
            supports_implicit_caching: endpoint.tariff.rates.cache_read.is_some(),
            supports_diarization: false,
            native_tools: Empty {},
            service_tier: None,
            stats: stats(endpoint.id).unwrap_or_default(),
        }
    };
    let data = EndpointsJson {
        id: &model.slug,
        name: &model.name,
        created: model.created.timestamp(),
        description: &model.description,
        architecture: architecture(model),
        endpoints: listing.endpoints.iter().map(one).collect(),
    };
    Data { data }
}

#[derive(Serialize)]
pub(super) struct ProviderJson<'a> {
    name: &'a str,
    slug: &'a str,
    privacy_policy_url: Option<&'a str>,
    terms_of_service_url: Option<&'a str>,
    status_page_url: Option<&'a str>,
    headquarters: Option<&'a str>,
    datacenters: Nothing,
}

pub(super) fn providers(snapshot: &Snapshot) -> Data<Vec<ProviderJson<'_>>> {
    let shown = snapshot.providers().iter().filter(|provider| provider.enabled);
    let data = shown.map(|provider| ProviderJson {
        name: &provider.name,
        slug: &provider.slug,
        privacy_policy_url: provider.privacy_policy_url.as_deref(),
        terms_of_service_url: provider.terms_of_service_url.as_deref(),
        status_page_url: provider.status_page_url.as_deref(),
        headquarters: provider.headquarters.as_deref(),
        datacenters: None,
    });
    Data { data: data.collect() }
}
