//! The routing rules as tables over a small catalog.

use super::*;
use crate::health::Health;
use catalog::snapshot::Rows;
use catalog::{Modality, Model, Rates, Tariff};
use kernel::ids::TariffId;
use kernel::rng::SeededEntropy;
use kernel::{Moment, PicoUsd};
use serde_json::value::RawValue;

/// tag, prompt and completion price in dollars per million
const ENDPOINTS: [(&str, &str); 3] = [("cheap", "1"), ("dear", "3"), ("luxury", "10")];

fn id(number: usize) -> EndpointId {
    EndpointId::from_uuid(format!("00000000-0000-7000-8000-{number:012}").parse().unwrap())
}

fn snapshot() -> Snapshot {
    let mut rows = Rows::default();
    for (number, (tag, price)) in ENDPOINTS.into_iter().enumerate() {
        let provider = serde_json::json!({
            "slug": tag, "name": tag, "dialect": "openai", "base_url": "http://x",
            "trains_on_data": tag == "cheap", "retains_prompts": tag != "luxury",
        });
        rows.providers.push(serde_json::from_value(provider).unwrap());
        let price = PicoUsd::parse_per_million(price).unwrap();
        let rates = Rates { prompt: price, completion: price, ..Rates::default() };
        rows.endpoints.push(Endpoint {
            id: id(number),
            model: "a/m".to_owned(),
            provider: tag.to_owned(),
            provider_model: "m".to_owned(),
            tag: tag.to_owned(),
            context_length: 1000,
            max_prompt_tokens: None,
            max_completion_tokens: 100,
            quantization: (tag == "dear").then(|| "fp8".to_owned()),
            supported_parameters: if tag == "cheap" { vec![] } else { vec!["seed".into(), "tools".into()] },
            tariff: Tariff {
                id: TariffId::from_uuid(Default::default()),
                version: 1,
                effective_from: Moment::UNIX_EPOCH,
                rates,
                tiers: vec![],
                free: false,
            },
            cost_tariff: None,
            enabled: true,
        });
    }
    rows.models.push(Model {
        slug: "a/m".to_owned(),
        name: "M".to_owned(),
        description: String::new(),
        created: Moment::UNIX_EPOCH,
        context_length: 1000,
        input_modalities: vec![Modality::Text],
        output_modalities: vec![Modality::Text],
        knowledge_cutoff: None,
        open_weights: false,
        hugging_face_id: None,
        family: None,
        reasoning: false,
        reasons_by_default: None,
    });
    Snapshot::build(1, Moment::UNIX_EPOCH, None, rows)
}

struct Case {
    provider: &'static str,
    parameters: &'static [&'static str],
    modalities: &'static [&'static str],
    prompt_floor: u64,
    max_tokens: Option<u32>,
}

impl Default for Case {
    fn default() -> Self {
        Self { provider: "{}", parameters: &[], modalities: &["text"], prompt_floor: 10, max_tokens: None }
    }
}

fn run(
    case: &Case,
    cooling: &[usize],
    own: Option<(&str, bool)>,
    credentials: &[&str],
    seed: u64,
) -> Result<Plan, NoEndpoints> {
    let health =
        |endpoint| Health { cooling: cooling.iter().any(|n| id(*n) == endpoint), ..Health::default() };
    run_with(case, &health, own, credentials, &SeededEntropy::new(seed))
}

fn run_with(
    case: &Case,
    health: &dyn Fn(EndpointId) -> Health,
    own: Option<(&str, bool)>,
    credentials: &[&str],
    entropy: &dyn Entropy,
) -> Result<Plan, NoEndpoints> {
    let snapshot = snapshot();
    let raw = RawValue::from_string(case.provider.to_owned()).unwrap();
    let preferences = Preferences::parse(Some(&raw)).unwrap();
    let listings = [snapshot.find("a/m").unwrap()];
    let ask = Ask {
        listings: &listings,
        preferences: &preferences,
        parameters: case.parameters,
        modalities: case.modalities,
        prompt_floor: case.prompt_floor,
        max_tokens: case.max_tokens,
    };
    let own_key = |provider: &Provider| {
        own.filter(|(slug, _)| *slug == provider.slug)
            .map(|(_, fallback)| OwnKey { id: ProviderKeyId::from_uuid(Default::default()), fallback })
    };
    let has_credential = |provider: &Provider| credentials.contains(&provider.slug.as_str());
    let world =
        World { snapshot: &snapshot, health, own_key: &own_key, has_credential: &has_credential, entropy };
    plan(&ask, &world)
}

const ALL: [&str; 3] = ["cheap", "dear", "luxury"];

fn tags(plan: &Plan) -> Vec<String> {
    let tag = |c: &Candidate| format!("{}{}", c.endpoint.tag, if c.own_key.is_some() { "*" } else { "" });
    plan.candidates.iter().map(tag).collect()
}

#[test]
fn preferences_order_and_filter_as_they_say() {
    let rows: [(&str, &[&str]); 11] = [
        (r#"{"sort":"price"}"#, &["cheap", "dear", "luxury"]),
        (r#"{"sort":"price","order":["luxury"]}"#, &["luxury", "cheap", "dear"]),
        (r#"{"sort":"price","order":["luxury","dear"]}"#, &["luxury", "dear", "cheap"]),
        (r#"{"order":["luxury","dear"],"allow_fallbacks":false}"#, &["luxury", "dear"]),
        (r#"{"sort":"price","allow_fallbacks":false}"#, &["cheap"]),
        (r#"{"sort":"price","only":["dear","luxury"]}"#, &["dear", "luxury"]),
        (r#"{"sort":"price","ignore":["cheap"]}"#, &["dear", "luxury"]),
        (r#"{"sort":"price","data_collection":"deny"}"#, &["dear", "luxury"]),
        (r#"{"zdr":true}"#, &["luxury"]),
        (r#"{"quantizations":["fp8"]}"#, &["dear"]),
        (r#"{"max_price":{"prompt":1}}"#, &["cheap"]),
    ];
    for (provider, expected) in rows {
        let plan = run(&Case { provider, ..Case::default() }, &[], None, &ALL, 1).unwrap();
        assert_eq!(tags(&plan), expected, "{provider}");
    }
}

#[test]
fn every_exclusion_names_its_setting() {
    let rows: [(Case, &str); 8] = [
        (Case { provider: r#"{"only":["nobody"]}"#, ..Case::default() }, "provider.only"),
        (Case { provider: r#"{"ignore":["cheap","dear","luxury"]}"#, ..Case::default() }, "provider.ignore"),
        (
            Case { provider: r#"{"order":["x"],"allow_fallbacks":false}"#, ..Case::default() },
            "provider.order",
        ),
        (
            Case { provider: r#"{"max_price":{"completion":0.5}}"#, ..Case::default() },
            "provider.max_price.completion",
        ),
        (
            Case { provider: r#"{"require_parameters":true}"#, parameters: &["logprobs"], ..Case::default() },
            "`logprobs`",
        ),
        (Case { modalities: &["text", "image"], ..Case::default() }, "image input"),
        (Case { prompt_floor: 1001, ..Case::default() }, "shorten the messages"),
        (Case { max_tokens: Some(101), ..Case::default() }, "lower max_tokens"),
    ];
    for (case, named) in rows {
        let nothing = run(&case, &[], None, &ALL, 1).unwrap_err();
        assert_eq!(nothing.excluded.len(), 3);
        let sentence = nothing.sentence("a/m");
        assert!(sentence.contains(named), "{sentence}");
        assert!(
            nothing.excluded.iter().all(|one| one.reason.sentence().contains(';')),
            "no next step: {sentence}"
        );
    }
    let nothing = run(&Case::default(), &[], None, &[], 1).unwrap_err();
    assert!(nothing.sentence("a/m").contains("your own key"));
}

#[test]
fn tools_need_an_endpoint_that_has_them() {
    let case = Case { parameters: &["tools"], provider: r#"{"sort":"price"}"#, ..Case::default() };
    assert_eq!(tags(&run(&case, &[], None, &ALL, 1).unwrap()), ["dear", "luxury"]);
}

#[test]
fn a_resting_endpoint_is_tried_last() {
    let case = Case { provider: r#"{"sort":"price"}"#, ..Case::default() };
    assert_eq!(tags(&run(&case, &[0], None, &ALL, 1).unwrap()), ["dear", "luxury", "cheap"]);
}

#[test]
fn own_keys_come_first_and_fall_back_only_where_allowed() {
    let case = Case { provider: r#"{"sort":"price"}"#, ..Case::default() };
    let with = |fallback, credentials: &[&str]| {
        tags(&run(&case, &[], Some(("luxury", fallback)), credentials, 1).unwrap())
    };
    assert_eq!(with(true, &ALL), ["luxury*", "cheap", "dear", "luxury"]);
    assert_eq!(with(false, &ALL), ["luxury*", "cheap", "dear"]);
    assert_eq!(with(true, &[]), ["luxury*"]);
}

#[test]
fn the_draw_follows_the_inverse_square_of_the_price() {
    let case = Case { provider: r#"{"ignore":["luxury"]}"#, ..Case::default() };
    let draws = 10_000;
    let cheap = (0..draws)
        .filter(|seed| tags(&run(&case, &[], None, &ALL, seed * 7919).unwrap())[0] == "cheap")
        .count();
    // $1 against $3 is 9 to 1; three standard deviations are 90.
    assert!((8_910..=9_090).contains(&cheap), "{cheap}");
}

#[test]
fn the_same_input_gives_the_same_plan() {
    for seed in 0..50 {
        let plan = || tags(&run(&Case::default(), &[], None, &ALL, seed).unwrap());
        assert_eq!(plan(), plan());
    }
}

#[test]
fn ten_thousand_draws_from_one_sequence_split_nine_to_one_exactly() {
    let case = Case { provider: r#"{"ignore":["luxury"]}"#, ..Case::default() };
    let entropy = SeededEntropy::new(2026);
    let first = || tags(&run_with(&case, &|_| Health::default(), None, &ALL, &entropy).unwrap())[0].clone();
    let cheap = (0..10_000).filter(|_| first() == "cheap").count();
    // Computed outside this program from SplitMix64 and the weights 1 and 1/9; the mean over seeds is 9,000.
    assert_eq!(cheap, 8_943);
}

/// A measured endpoint, by its number.
fn measured(latency_ms: u32, tokens_per_second: u32) -> Health {
    let all = |value| crate::health::Percentiles { p50: value, p75: value, p90: value, p99: value };
    Health {
        latency_ms: Some(latency_ms),
        tokens_per_second: Some(tokens_per_second),
        latency: Some(all(latency_ms)),
        throughput: Some(all(tokens_per_second)),
        ..Health::default()
    }
}

#[test]
fn measurements_order_by_sorts_and_by_wishes_but_exclude_nobody() {
    // cheap is slow, dear is quick, luxury was never measured
    let health = |endpoint| match endpoint {
        e if e == id(0) => measured(900, 20),
        e if e == id(1) => measured(200, 90),
        _ => Health::default(),
    };
    let rows: [(&str, &[&str]); 6] = [
        (r#"{"sort":"latency"}"#, &["dear", "cheap", "luxury"]),
        (r#"{"sort":"throughput"}"#, &["dear", "cheap", "luxury"]),
        (r#"{"sort":"exacto"}"#, &["dear", "luxury", "cheap"]),
        (r#"{"sort":"price","preferred_max_latency":0.5}"#, &["dear", "luxury", "cheap"]),
        (r#"{"sort":"price","preferred_min_throughput":{"p90":91}}"#, &["luxury", "cheap", "dear"]),
        (r#"{"sort":"price","preferred_min_throughput":20}"#, &["cheap", "dear", "luxury"]),
    ];
    for (provider, expected) in rows {
        let case = Case { provider, ..Case::default() };
        let plan = run_with(&case, &health, None, &ALL, &SeededEntropy::new(1)).unwrap();
        assert_eq!(tags(&plan), expected, "{provider}");
    }
}

#[test]
fn an_unstable_endpoint_comes_after_the_well_and_before_the_resting() {
    let health =
        |endpoint| Health { unstable: endpoint == id(0), cooling: endpoint == id(1), ..Health::default() };
    let case = Case { provider: r#"{"sort":"price"}"#, ..Case::default() };
    let plan = run_with(&case, &health, None, &ALL, &SeededEntropy::new(1)).unwrap();
    assert_eq!(tags(&plan), ["luxury", "cheap", "dear"]);
    let named = Case { provider: r#"{"order":["dear"],"sort":"price"}"#, ..Case::default() };
    let plan = run_with(&named, &health, None, &ALL, &SeededEntropy::new(1)).unwrap();
    assert_eq!(tags(&plan), ["dear", "luxury", "cheap"], "an order is an order");
}

#[test]
fn a_refusal_counts_its_constraints_and_names_the_settings() {
    let case = Case {
        provider: r#"{"data_collection":"deny","quantizations":["fp16"],"max_price":{"prompt":5}}"#,
        ..Case::default()
    };
    let nothing = run(&case, &[], None, &ALL, 1).unwrap_err();
    let settings: Vec<_> = nothing.constraints().iter().map(|c| (c.setting, c.code, c.endpoints)).collect();
    assert_eq!(
        settings,
        [
            ("provider.quantizations", "quantization", 2),
            ("provider.data_collection", "data_policy:training", 1)
        ]
    );
    let distillable = Case { provider: r#"{"enforce_distillable_text":true}"#, ..Case::default() };
    let nothing = run(&distillable, &[], None, &ALL, 1).unwrap_err();
    assert_eq!(nothing.constraints()[0].setting, "provider.enforce_distillable_text");
    for exclusion in &nothing.excluded {
        assert!(exclusion.reason.sentence().contains(exclusion.reason.setting()));
    }
}

/// Two models with several endpoints of the same provider, and long-prompt prices.
fn wide() -> Snapshot {
    let small = snapshot();
    let listing = small.find("a/m").unwrap();
    let providers = small.providers().iter().map(|p| p.as_ref().clone()).collect();
    let mut rows = Rows { providers, ..Rows::default() };
    for (number, (model, tag, price)) in [
        ("a/m", "cheap", "1"),
        ("a/m", "cheap/turbo", "2"),
        ("a/m", "dear", "3"),
        ("a/m", "dear/fp8", "4"),
        ("b/n", "cheap", "0.5"),
        ("b/n", "luxury", "2.5"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut endpoint = listing.endpoints[0].as_ref().clone();
        let price = PicoUsd::parse_per_million(price).unwrap();
        endpoint.id = id(number);
        endpoint.model = model.to_owned();
        endpoint.tag = tag.to_owned();
        endpoint.provider = tag.split('/').next().unwrap().to_owned();
        endpoint.tariff.rates = Rates { prompt: price, completion: price, ..Rates::default() };
        if tag == "dear/fp8" {
            let long = Rates { prompt: PicoUsd::new(9_000_000), ..endpoint.tariff.rates };
            endpoint.tariff.tiers = vec![catalog::Tier { above_prompt_tokens: 500, rates: long }];
            endpoint.max_prompt_tokens = Some(600);
        }
        rows.endpoints.push(endpoint);
    }
    for slug in ["a/m", "b/n"] {
        rows.models.push(Model { slug: slug.to_owned(), ..listing.model.clone() });
    }
    Snapshot::build(1, Moment::UNIX_EPOCH, None, rows)
}

fn run_wide(provider: &str, prompt_floor: u64) -> Plan {
    let snapshot = wide();
    let raw = RawValue::from_string(provider.to_owned()).unwrap();
    let preferences = Preferences::parse(Some(&raw)).unwrap();
    let listings = [snapshot.find("a/m").unwrap(), snapshot.find("b/n").unwrap()];
    let ask = Ask {
        listings: &listings,
        preferences: &preferences,
        parameters: &[],
        modalities: &["text"],
        prompt_floor,
        max_tokens: None,
    };
    let world = World {
        snapshot: &snapshot,
        health: &|_| Health::default(),
        own_key: &|_| None,
        has_credential: &|_| true,
        entropy: &SeededEntropy::new(3),
    };
    plan(&ask, &world).unwrap()
}

#[test]
fn names_partitions_and_the_attempt_budget_hold_over_several_models() {
    let named = |plan: &Plan| -> Vec<String> {
        plan.candidates.iter().map(|c| format!("{}@{}", c.endpoint.model, c.endpoint.tag)).collect()
    };
    let rows: [(&str, &[&str]); 5] = [
        (r#"{"sort":"price"}"#, &["a/m@cheap", "a/m@cheap/turbo", "a/m@dear", "a/m@dear/fp8", "b/n@cheap"]),
        (
            r#"{"sort":{"by":"price","partition":"none"}}"#,
            &["b/n@cheap", "a/m@cheap", "a/m@cheap/turbo", "b/n@luxury", "a/m@dear"],
        ),
        (r#"{"sort":"price","only":["dear"]}"#, &["a/m@dear", "a/m@dear/fp8"]),
        (r#"{"sort":"price","only":["cheap/turbo","luxury"]}"#, &["a/m@cheap/turbo", "b/n@luxury"]),
        (
            r#"{"sort":"price","order":["dear"],"ignore":["cheap/turbo"]}"#,
            &["a/m@dear", "a/m@dear/fp8", "a/m@cheap", "b/n@cheap", "b/n@luxury"],
        ),
    ];
    for (provider, expected) in rows {
        assert_eq!(named(&run_wide(provider, 10)), expected, "{provider}");
    }
}

#[test]
fn limits_look_at_the_prices_and_the_room_of_this_prompt() {
    let excluded = |provider: &str, prompt_floor| -> Vec<(String, Reason)> {
        let plan = run_wide(provider, prompt_floor);
        plan.excluded.into_iter().map(|e| (e.tag, e.reason)).collect()
    };
    assert_eq!(excluded(r#"{"max_price":{"prompt":5}}"#, 500), []);
    let long = ("dear/fp8".to_owned(), Reason::MaxPrice("prompt"));
    assert_eq!(excluded(r#"{"max_price":{"prompt":5}}"#, 501), [long]);
    assert_eq!(excluded("{}", 601), [("dear/fp8".to_owned(), Reason::ContextLength(600))]);
}
