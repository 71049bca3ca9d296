//! What a fresh installation sells.

use crate::fixture;
use catalog::diff::check_publishable;
use catalog::lists::{Kind, Lists};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn the_seed_is_large_enough_and_publishable_as_it_is() {
    let draft = catalog::seed::draft().unwrap();
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    for held in &draft.held_back {
        assert!(!held.reason.is_empty(), "{held:?}");
        *codes.entry(&held.code).or_default() += 1;
    }
    println!(
        "models {}, providers {}, endpoints {}, held back {}: {codes:?}",
        draft.models.len(),
        draft.providers.len(),
        draft.endpoints.len(),
        draft.held_back.len()
    );
    assert!(draft.models.len() >= 300 && draft.providers.len() >= 40 && draft.endpoints.len() >= 600);
    let empty = catalog::Snapshot::empty(kernel::Moment::default());
    assert_eq!(check_publishable(&draft, &empty), Ok(()));
    let live = fixture::published(&draft);
    assert_eq!(live.endpoint_count(), draft.endpoints.len());
    assert_eq!(live.listings().len(), draft.models.len());
}

#[test]
fn every_seed_provider_serves_models_itself_and_speaks_a_dialect_that_is_built() {
    let draft = catalog::seed::draft().unwrap();
    let lists = Lists::get().unwrap();
    for provider in &draft.providers {
        assert_eq!(lists.company(&provider.slug).unwrap().kind, Kind::Host, "{}", provider.slug);
        assert!(["openai", "anthropic"].contains(&provider.dialect.as_str()), "{}", provider.slug);
        assert!(provider.base_url.starts_with("https://"), "{}", provider.slug);
    }
}

#[test]
fn seed_rows_are_unique_and_name_known_things() {
    let draft = catalog::seed::draft().unwrap();
    let models: BTreeSet<&str> = draft.models.iter().map(|m| m.slug.as_str()).collect();
    let providers: BTreeSet<&str> = draft.providers.iter().map(|p| p.slug.as_str()).collect();
    let mut seen = BTreeSet::new();
    for endpoint in &draft.endpoints {
        assert!(models.contains(endpoint.model.as_str()), "{}", endpoint.model);
        assert!(providers.contains(endpoint.provider.as_str()), "{}", endpoint.provider);
        assert!(seen.insert((&endpoint.model, &endpoint.tag)), "{} {}", endpoint.model, endpoint.tag);
        assert_eq!(endpoint.tag.split('/').next(), Some(endpoint.provider.as_str()));
        assert!(catalog::model_ref::is_slug(&endpoint.model), "{}", endpoint.model);
    }
}

#[test]
fn famous_models_have_their_known_prices() {
    let draft = catalog::seed::draft().unwrap();
    // model, tag, dollars per million: prompt, completion, cache read, cache write, one-hour write
    let rows = [
        ("anthropic/claude-sonnet-4.5", "anthropic", "3", "15", "0.3", "3.75", "6"),
        ("openai/gpt-4.1-mini", "openai", "0.4", "1.6", "0.1", "", ""),
        ("openai/gpt-4o-mini", "openai", "0.15", "0.6", "0.075", "", ""),
        ("google/gemini-2.5-pro", "google-ai-studio", "1.25", "10", "0.125", "", ""),
    ];
    for (model, tag, prompt, completion, read, write, hour) in rows {
        let found = draft.endpoints.iter().find(|e| e.model == model && e.tag == tag);
        let rates = found.unwrap_or_else(|| panic!("{model} at {tag}")).rates;
        let text = |price: Option<kernel::PicoUsd>| price.map(|p| p.per_million()).unwrap_or_default();
        let got = [
            rates.prompt.per_million(),
            rates.completion.per_million(),
            text(rates.cache_read),
            text(rates.cache_write),
            text(rates.cache_write_1h),
        ];
        assert_eq!(got, [prompt, completion, read, write, hour], "{model}");
    }
}

#[test]
fn the_seed_names_its_source_and_carries_the_license() {
    let origin = catalog::seed::file().unwrap().origin;
    assert_eq!(origin.license, "MIT");
    assert!(origin.source.contains("models.dev") && origin.date.len() == 10);
    assert!(include_str!("../../seed/LICENSE.models-dev").contains("MIT License"));
    assert_eq!(origin.license_file, "seed/LICENSE.models-dev");
    assert!(include_bytes!("../../seed/catalog.json").len() < 1_500_000);
}
