//! One model: what it can do, who serves it at what price, how to call it, and a box to try it.

use crate::format;
use crate::frame::{Frame, page};
use crate::site::Site;
use crate::snippets::Snippets;
use crate::trouble::{Answer, Trouble};
use crate::visit::Visit;
use accounts::Role;
use actix_web::web;
use askama::Template;
use catalog::snapshot::Listing;
use catalog::{Catalog, Endpoint, Modality, Rates, Snapshot};

/// A price with its label, e.g. `Cache read`, `$0.25`.
pub(crate) struct Price {
    pub label: &'static str,
    pub text: String,
    /// `per million tokens`, `per image`, `per request`.
    pub unit: &'static str,
}

/// Every price of a tariff that has one of its own, prompt and completion first.
pub(crate) fn prices(rates: &Rates) -> Vec<Price> {
    const TOKENS: &str = "per million tokens";
    let tokens = [
        ("Input", Some(rates.prompt)),
        ("Output", Some(rates.completion)),
        ("Cache read", rates.cache_read),
        ("Cache write", rates.cache_write),
        ("Cache write, 1 hour", rates.cache_write_1h),
        ("Reasoning", rates.reasoning),
        ("Audio input", rates.audio_prompt),
        ("Audio output", rates.audio_completion),
    ];
    let single = [("Image", rates.image, "per image"), ("Request", rates.request, "per request")].into_iter();
    let tokens = tokens.into_iter().filter_map(|(label, price)| {
        price.map(|price| Price { label, text: format::per_million(price), unit: TOKENS })
    });
    let single = single.filter_map(|(label, price, unit)| {
        price.map(|price| Price { label, text: format::per_unit(price), unit })
    });
    tokens.chain(single).collect()
}

/// One endpoint of the model.
struct Row {
    provider: String,
    tag: String,
    /// Served only to customers who bring their own key.
    own_key_only: bool,
    prompt: String,
    completion: String,
    cache_read: String,
    context: String,
    max_output: String,
    quantization: String,
    policy: &'static str,
    version: i32,
    since: String,
    /// `$5.00 / $22.50 above 200K tokens`.
    tiers: Vec<String>,
    /// Prices beside input, output and cache read.
    others: Vec<Price>,
}

impl Row {
    fn new(endpoint: &Endpoint, snapshot: &Snapshot, site: &Site) -> Self {
        let provider = snapshot.provider(&endpoint.provider);
        let rates = &endpoint.tariff.rates;
        Self {
            provider: provider.map_or_else(|| endpoint.provider.clone(), |p| p.name.clone()),
            tag: endpoint.tag.clone(),
            own_key_only: provider.is_some_and(|provider| site.needs_own_key(provider)),
            prompt: format::per_million(rates.prompt),
            completion: format::per_million(rates.completion),
            cache_read: rates.cache_read.map_or_else(|| "–".to_owned(), format::per_million),
            context: format::compact(u64::from(endpoint.context_length)),
            max_output: format::compact(u64::from(endpoint.max_completion_tokens)),
            quantization: endpoint.quantization.clone().unwrap_or_else(|| "–".to_owned()),
            policy: match provider {
                Some(p) if p.trains_on_data => "May train on prompts",
                Some(p) if !p.retains_prompts => "Zero retention",
                Some(_) => "See its policy",
                None => "Unknown",
            },
            version: endpoint.tariff.version,
            since: format::date(endpoint.tariff.effective_from),
            tiers: endpoint.tariff.tiers.iter().map(tier).collect(),
            others: prices(rates)
                .into_iter()
                .filter(|price| !matches!(price.label, "Input" | "Output" | "Cache read"))
                .collect(),
        }
    }
}

fn tier(tier: &catalog::Tier) -> String {
    format!(
        "{} in, {} out above {} prompt tokens",
        format::per_million(tier.rates.prompt),
        format::per_million(tier.rates.completion),
        format::compact(tier.above_prompt_tokens)
    )
}

/// Whether the visitor can use the box.
enum TryIt {
    SignIn(String),
    Role,
    Ready,
    /// The model does not answer in text.
    NoText,
}

#[derive(Template)]
#[template(path = "model.html")]
struct ModelPage {
    frame: Frame,
    slug: String,
    name: String,
    author: String,
    author_href: String,
    description: String,
    context: String,
    prompt: String,
    completion: String,
    inputs: Vec<&'static str>,
    outputs: Vec<&'static str>,
    facts: Vec<(&'static str, String)>,
    parameters: Vec<String>,
    rows: Vec<Row>,
    snippets: Snippets,
    try_it: TryIt,
    api_base: String,
}

pub(crate) async fn show(
    visit: Visit,
    path: web::Path<(String, String)>,
    catalog: web::Data<Catalog>,
) -> Answer {
    let (author, slug) = path.into_inner();
    let snapshot = catalog.snapshot();
    let listing = snapshot.find(&format!("{author}/{slug}")).ok_or(Trouble::NotFound)?;
    page(&model_page(&visit, listing, &snapshot))
}

fn model_page(visit: &Visit, listing: &Listing, snapshot: &Snapshot) -> ModelPage {
    let model = &listing.model;
    let (prompt, completion) = super::models::cheapest(listing);
    let names = |modalities: &[Modality]| modalities.iter().map(|m| m.as_str()).collect();
    let mut endpoints: Vec<_> = listing.endpoints.iter().collect();
    endpoints.sort_by_key(|e| (e.tariff.rates.prompt, e.tariff.rates.completion, e.tag.clone()));
    ModelPage {
        frame: visit.frame(&model.name),
        slug: model.slug.clone(),
        name: model.name.clone(),
        author: model.author().to_owned(),
        author_href: crate::query::Query::new().with("author", model.author()).on("/models"),
        description: model.description.clone(),
        context: format::compact(u64::from(model.context_length)),
        prompt: format::per_million(prompt),
        completion: format::per_million(completion),
        inputs: names(&model.input_modalities),
        outputs: names(&model.output_modalities),
        facts: facts(model),
        parameters: listing.supported_parameters.clone(),
        rows: endpoints.into_iter().map(|endpoint| Row::new(endpoint, snapshot, &visit.site)).collect(),
        snippets: Snippets::new(&visit.site.api_base, None, &model.slug),
        try_it: try_it(visit, model),
        api_base: visit.site.api_base.clone(),
    }
}

fn facts(model: &catalog::Model) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Released", format::date(model.created))];
    facts.extend(model.knowledge_cutoff.clone().map(|cutoff| ("Knowledge until", cutoff)));
    facts.extend(model.family.clone().map(|family| ("Family", family)));
    facts.push(("Weights", if model.open_weights { "Open" } else { "Closed" }.to_owned()));
    if model.reasoning {
        facts.push(("Reasoning", "Thinks before it answers; thinking is billed as output".to_owned()));
    }
    facts
}

fn try_it(visit: &Visit, model: &catalog::Model) -> TryIt {
    match visit.member() {
        _ if !model.output_modalities.contains(&Modality::Text) => TryIt::NoText,
        None => TryIt::SignIn(visit.frame("").sign_in_href()),
        Some(member) if !Role::calls_models(member.member.role) => TryIt::Role,
        Some(_) => TryIt::Ready,
    }
}
