//! The list of models: search, filters and sorting by an ordinary form, so the state is in the address.

use crate::format;
use crate::frame::{Frame, page};
use crate::query::Query;
use crate::trouble::Answer;
use crate::visit::Visit;
use actix_web::web;
use askama::Template;
use catalog::snapshot::Listing;
use catalog::{Catalog, Snapshot};
use kernel::PicoUsd;
use std::cmp::Reverse;
use std::collections::BTreeSet;

const PAGE: usize = 60;

/// A model in a list.
pub(crate) struct Card {
    pub slug: String,
    pub href: String,
    pub name: String,
    pub author: String,
    pub context: String,
    /// Of the cheapest endpoint, per million tokens.
    pub prompt: String,
    pub completion: String,
    pub providers: usize,
    pub inputs: Vec<&'static str>,
    pub free: bool,
}

impl Card {
    pub(crate) fn new(listing: &Listing) -> Self {
        let model = &listing.model;
        let (prompt, completion) = cheapest(listing);
        Self {
            slug: model.slug.clone(),
            href: format!("/models/{}", model.slug),
            name: model.name.clone(),
            author: model.author().to_owned(),
            context: format::compact(u64::from(model.context_length)),
            prompt: format::per_million(prompt),
            completion: format::per_million(completion),
            providers: listing.endpoints.len(),
            inputs: model.input_modalities.iter().map(|modality| modality.as_str()).collect(),
            free: listing.endpoints.iter().any(|endpoint| endpoint.tariff.free),
        }
    }

    /// What it takes beside text.
    fn extra_inputs(&self) -> Vec<&'static str> {
        self.inputs.iter().copied().filter(|input| *input != "text").collect()
    }
}

/// Prompt and completion price of the endpoint with the lowest prompt price.
pub(crate) fn cheapest(listing: &Listing) -> (PicoUsd, PicoUsd) {
    let prices = listing.endpoints.iter().map(|e| (e.tariff.rates.prompt, e.tariff.rates.completion));
    prices.min().unwrap_or_default()
}

/// What the visitor asks for. Unknown words select nothing special.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    pub q: String,
    #[serde(default)]
    pub author: String,
    #[serde(default)]
    pub provider: String,
    #[serde(default)]
    pub modality: String,
    #[serde(default)]
    pub sort: String,
    #[serde(default)]
    pub page: String,
}

impl Asked {
    fn matches(&self, listing: &Listing) -> bool {
        let model = &listing.model;
        let haystack = format!("{} {}", model.slug, model.name).to_lowercase();
        let words = self.q.to_lowercase();
        words.split_whitespace().all(|word| haystack.contains(word))
            && (self.author.is_empty() || model.author() == self.author)
            && (self.provider.is_empty() || listing.endpoints.iter().any(|e| e.provider == self.provider))
            && (self.modality.is_empty()
                || model.input_modalities.iter().any(|input| input.as_str() == self.modality))
    }

    fn query(&self) -> Query {
        Query::new()
            .with("q", self.q.as_str())
            .with("author", self.author.as_str())
            .with("provider", self.provider.as_str())
            .with("modality", self.modality.as_str())
            .with("sort", self.sort.as_str())
    }

    fn page_number(&self) -> usize {
        self.page.parse().unwrap_or(1).clamp(1, 1_000)
    }
}

/// A choice of a select field.
pub(crate) struct Choice {
    pub value: String,
    pub label: String,
    pub chosen: bool,
}

impl Choice {
    pub(crate) fn new(value: &str, label: &str, current: &str) -> Self {
        Self { value: value.to_owned(), label: label.to_owned(), chosen: value == current }
    }
}

/// A heading that sorts.
struct Heading {
    text: &'static str,
    href: String,
    /// The value of `aria-sort`; empty when the list is sorted by something else.
    aria: &'static str,
    numeric: bool,
}

#[derive(Template)]
#[template(path = "models.html")]
struct ModelsPage {
    frame: Frame,
    asked: Asked,
    authors: Vec<Choice>,
    providers: Vec<Choice>,
    modalities: Vec<Choice>,
    sorts: Vec<Choice>,
    headings: Vec<Heading>,
    cards: Vec<Card>,
    found: String,
    total: String,
    previous: String,
    next: String,
}

impl ModelsPage {
    fn is_filtered(&self) -> bool {
        self.asked.query() != Query::new().with("sort", self.asked.sort.as_str())
    }
}

pub(crate) async fn list(visit: Visit, query: web::Query<Asked>, catalog: web::Data<Catalog>) -> Answer {
    let asked = query.into_inner();
    let snapshot = catalog.snapshot();
    let mut found: Vec<&Listing> = snapshot.listings().iter().filter(|l| asked.matches(l)).collect();
    sort(&mut found, &asked.sort);
    let number = asked.page_number();
    let cards: Vec<Card> =
        found.iter().skip((number - 1) * PAGE).take(PAGE).map(|listing| Card::new(listing)).collect();
    let at = |page: usize| asked.query().with("page", page.to_string()).on("/models");
    let count = |number: usize| format::count(u64::try_from(number).unwrap_or(u64::MAX));
    page(&ModelsPage {
        frame: visit.frame("Models"),
        authors: authors(&snapshot, &asked.author),
        providers: providers(&snapshot, &asked.provider),
        modalities: choices(&MODALITIES, "Any input", &asked.modality),
        sorts: SORTS.iter().map(|(value, label)| Choice::new(value, label, &asked.sort)).collect(),
        headings: headings(&asked),
        found: count(found.len()),
        total: count(snapshot.listings().len()),
        previous: if number > 1 { at(number - 1) } else { String::new() },
        next: if found.len() > number * PAGE { at(number + 1) } else { String::new() },
        cards,
        asked,
    })
}

const SORTS: [(&str, &str); 6] = [
    ("", "Newest"),
    ("name", "Name"),
    ("price", "Lowest input price"),
    ("output", "Lowest output price"),
    ("context", "Longest context"),
    ("providers", "Most providers"),
];

const MODALITIES: [(&str, &str); 4] =
    [("image", "Takes images"), ("audio", "Takes audio"), ("video", "Takes video"), ("file", "Takes files")];

fn sort(found: &mut [&Listing], by: &str) {
    match by {
        "name" => found.sort_by_key(|l| l.model.name.to_lowercase()),
        "price" => found.sort_by_key(|l| cheapest(l)),
        "output" => found.sort_by_key(|l| cheapest(l).1),
        "context" => found.sort_by_key(|l| Reverse(l.model.context_length)),
        "providers" => found.sort_by_key(|l| Reverse(l.endpoints.len())),
        // The snapshot's own order: newest first.
        _ => {}
    }
}

fn headings(asked: &Asked) -> Vec<Heading> {
    let heading = |text, by: &'static str, aria, numeric| Heading {
        text,
        href: Asked { sort: by.to_owned(), ..asked.clone() }.query().on("/models"),
        aria: if asked.sort == by { aria } else { "" },
        numeric,
    };
    vec![
        heading("Model", "name", "ascending", false),
        heading("Input / M", "price", "ascending", true),
        heading("Output / M", "output", "ascending", true),
        heading("Context", "context", "descending", true),
        heading("Providers", "providers", "descending", true),
    ]
}

fn choices(options: &[(&str, &str)], all: &str, current: &str) -> Vec<Choice> {
    std::iter::once(Choice::new("", all, current))
        .chain(options.iter().map(|(value, label)| Choice::new(value, label, current)))
        .collect()
}

fn authors(snapshot: &Snapshot, current: &str) -> Vec<Choice> {
    let names: BTreeSet<&str> = snapshot.listings().iter().map(|l| l.model.author()).collect();
    let names: Vec<(&str, &str)> = names.into_iter().map(|name| (name, name)).collect();
    choices(&names, "Any author", current)
}

fn providers(snapshot: &Snapshot, current: &str) -> Vec<Choice> {
    let serving = super::providers::serving(snapshot);
    let names: Vec<(&str, &str)> = serving.iter().map(|(p, _)| (p.slug.as_str(), p.name.as_str())).collect();
    choices(&names, "Any provider", current)
}
