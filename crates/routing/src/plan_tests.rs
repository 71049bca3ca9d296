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
    let health =
        |endpoint| Health { cooling: cooling.iter().any(|n| id(*n) == endpoint), ..Health::default() };
    let own_key = |provider: &Provider| {
        own.filter(|(slug, _)| *slug == provider.slug)
            .map(|(_, fallback)| OwnKey { id: ProviderKeyId::from_uuid(Default::default()), fallback })
    };
    let has_credential = |provider: &Provider| credentials.contains(&provider.slug.as_str());
    let entropy = SeededEntropy::new(seed);
    let world = World {
        snapshot: &snapshot,
        health: &health,
        own_key: &own_key,
        has_credential: &has_credential,
        entropy: &entropy,
    };
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
