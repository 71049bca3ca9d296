//! What staff sees before publishing, and what the guard refuses.

use crate::fixture;
use catalog::diff::{check_publishable, diff};
use kernel::PicoUsd;

#[test]
fn a_draft_equal_to_the_live_catalog_changes_nothing() {
    let draft = catalog::seed::draft().unwrap();
    let changes = diff(&fixture::published(&draft), &draft);
    assert!(changes.is_empty(), "{:?}", changes.price_changes.first());
    assert_eq!(changes.unchanged_endpoints, draft.endpoints.len());
    assert_eq!(changes.warnings, []);
}

#[test]
fn news_and_price_changes_are_told_with_old_new_and_percent() {
    let draft = catalog::seed::draft().unwrap();
    let live = fixture::published(&draft);
    let mut next = draft.clone();
    let changed = next.endpoints.iter_mut().find(|e| e.model == "anthropic/claude-sonnet-4.5").unwrap();
    changed.rates.prompt = PicoUsd::new(3_300_000);
    changed.rates.completion = PicoUsd::new(30_000_000);
    let mut fresh = next.endpoints[0].clone();
    fresh.tag = format!("{}/new", fresh.provider);
    next.endpoints.push(fresh.clone());
    next.endpoints[1].context_length += 1;
    let changes = diff(&live, &next);
    let told: Vec<_> = changes
        .price_changes
        .iter()
        .map(|c| (c.class.as_str(), c.old.as_deref().unwrap(), c.new.as_deref().unwrap(), c.percent))
        .collect();
    assert_eq!(told, [("prompt", "3", "3.3", Some(10)), ("completion", "15", "30", Some(100))]);
    assert_eq!(changes.warnings.len(), 1);
    assert_eq!(changes.warnings[0].code, "price_jump");
    assert_eq!(changes.new_endpoints.iter().map(|e| &e.tag).collect::<Vec<_>>(), [&fresh.tag]);
    assert_eq!(changes.other_changes.len(), 1);
    assert_eq!(changes.unchanged_endpoints, draft.endpoints.len() - 2);
    let from_nothing = diff(&catalog::Snapshot::empty(kernel::Moment::default()), &draft);
    assert_eq!(from_nothing.new_models.len(), draft.models.len());
    assert_eq!(from_nothing.new_providers.len(), draft.providers.len());
}

#[test]
fn the_guard_refuses_what_must_never_go_live() {
    let good = catalog::seed::draft().unwrap();
    let live = fixture::published(&good);
    type Spoil = fn(&mut catalog::draft::DraftContent);
    let rows: &[(&str, Spoil)] = &[
        ("zero_price", |d| d.endpoints[0].rates.completion = PicoUsd::ZERO),
        ("free_not_allowed", |d| d.endpoints[0].free = true),
        ("negative_price", |d| d.endpoints[0].rates.cache_read = Some(PicoUsd::new(-1))),
        ("unknown_provider", |d| d.endpoints[0].provider = "nobody".into()),
        ("unknown_model", |d| d.endpoints[0].model = "no/model".into()),
        ("no_tokens", |d| d.endpoints[0].max_completion_tokens = 0),
        ("duplicate", |d| {
            let twin = d.endpoints[0].clone();
            d.endpoints.push(twin);
        }),
    ];
    for (code, spoil) in rows {
        let mut draft = good.clone();
        spoil(&mut draft);
        let refusals = check_publishable(&draft, &live).unwrap_err();
        assert_eq!(refusals.iter().map(|r| r.code).collect::<Vec<_>>(), [*code]);
    }
}
