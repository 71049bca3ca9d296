//! Whole files in small: each format, and each reason for holding a row back.

use super::*;
use crate::model::Endpoint;
use crate::snapshot::Rows;
use crate::tariff::{Rates, Tariff};
use kernel::ids::{EndpointId, TariffId};
use kernel::{Moment, PicoUsd};

fn codes(content: &DraftContent) -> Vec<(&str, &str)> {
    content.held_back.iter().map(|h| (h.code.as_str(), h.model.as_str())).collect()
}

/// A live catalog with one endpoint: `openai/gpt-4.1` at OpenAI for $2 and $8.
fn live() -> Snapshot {
    let lists = Lists::get().unwrap();
    let provider = lists.company("openai").unwrap().provider("openai");
    let uuid = "0192f0c1-2345-7abc-8def-0123456789ab".parse().unwrap();
    let rates =
        Rates { prompt: PicoUsd::new(2_000_000), completion: PicoUsd::new(8_000_000), ..Rates::default() };
    let tariff = Tariff {
        id: TariffId::from_uuid(uuid),
        version: 1,
        effective_from: Moment::default(),
        rates,
        tiers: Vec::new(),
        free: false,
    };
    let endpoint = Endpoint {
        id: EndpointId::from_uuid(uuid),
        model: "openai/gpt-4.1".into(),
        provider: "openai".into(),
        provider_model: "gpt-4.1".into(),
        tag: "openai".into(),
        context_length: 1_000_000,
        max_prompt_tokens: None,
        max_completion_tokens: 32_768,
        quantization: None,
        supported_parameters: vec!["max_tokens".into()],
        tariff,
        cost_tariff: None,
        enabled: true,
    };
    let model = crate::Model {
        slug: "openai/gpt-4.1".into(),
        name: "OpenAI: GPT-4.1".into(),
        description: String::new(),
        created: Moment::default(),
        context_length: 1_000_000,
        input_modalities: vec![crate::Modality::Text],
        output_modalities: vec![crate::Modality::Text],
        knowledge_cutoff: None,
        open_weights: false,
        hugging_face_id: None,
        family: None,
        reasoning: false,
        reasons_by_default: None,
    };
    let rows = Rows { providers: vec![provider], models: vec![model], endpoints: vec![endpoint] };
    Snapshot::build(1, Moment::default(), None, rows)
}

#[test]
fn a_price_file_takes_good_rows_and_holds_back_each_faulty_one_with_its_code() {
    let file = r#"[
      {"provider":"openai","model":"openai/gpt-4.1","prompt_per_million":"1.80","completion_per_million":7.5},
      {"provider":"openai","model":"openai/zero","prompt_per_million":"0","completion_per_million":"0","context_length":9},
      {"provider":"openai","model":"openai/half","prompt_per_million":"1","context_length":9},
      {"provider":"openai","model":"openai/euro","prompt_per_million":"1","completion_per_million":"1","currency":"EUR","context_length":9},
      {"provider":"openai","model":"openai/vague","prompt_per_million":"1","completion_per_million":"1"},
      {"provider":"openai","model":"nonsense","prompt_per_million":"1","completion_per_million":"1","context_length":9},
      {"provider":"nobody","model":"a/b","prompt_per_million":"1","completion_per_million":"1","context_length":9},
      {"provider":"openai","model":"openai/typo","prompt_per_milion":"1","completion_per_million":"1","context_length":9},
      {"provider":"openai","model":"openai/twice","prompt_per_million":"1","completion_per_million":"1","context_length":9},
      {"provider":"openai","model":"openai/twice","prompt_per_million":"1","completion_per_million":"2","context_length":9}
    ]"#;
    let content = read(file.as_bytes(), "prices.json", Some(&live())).unwrap();
    assert_eq!(
        codes(&content),
        [
            ("bad_model", "nonsense"),
            ("duplicate", "openai/twice"),
            ("incomplete", "openai/vague"),
            ("malformed", "row 8"),
            ("missing_output_price", "openai/half"),
            ("unknown_currency", "openai/euro"),
            ("unknown_provider", "a/b"),
            ("zero_price", "openai/zero"),
        ]
    );
    let slugs: Vec<&str> = content.endpoints.iter().map(|e| e.model.as_str()).collect();
    assert_eq!(slugs, ["openai/gpt-4.1", "openai/twice"]);
    let changed = &content.endpoints[0];
    assert_eq!(changed.rates.prompt, PicoUsd::new(1_800_000));
    assert_eq!(changed.rates.completion, PicoUsd::new(7_500_000));
    assert_eq!((changed.context_length, changed.max_completion_tokens), (1_000_000, 32_768));
}

#[test]
fn a_jump_against_the_live_price_is_held_back_until_staff_confirms_it() {
    let file = |confirm| {
        format!(
            r#"[{{"provider":"openai","model":"openai/gpt-4.1","prompt_per_million":"20",
                 "completion_per_million":"80","confirm_jump":{confirm}}}]"#
        )
    };
    let held = read(file(false).as_bytes(), "p", Some(&live())).unwrap();
    assert_eq!(codes(&held), [("price_jump", "openai/gpt-4.1")]);
    assert!(held.endpoints.is_empty());
    let taken = read(file(true).as_bytes(), "p", Some(&live())).unwrap();
    assert_eq!(taken.held_back, []);
    assert_eq!(taken.endpoints[0].rates.prompt, PicoUsd::new(20_000_000));
}

/// The live endpoint with a price of its own for cached tokens, and other prices above 200,000 tokens.
fn live_with_cache() -> Snapshot {
    let plain = live();
    let mut endpoint = plain.listings()[0].endpoints[0].as_ref().clone();
    endpoint.tariff.rates.cache_read = Some(PicoUsd::new(500_000));
    let long = Rates { prompt: PicoUsd::new(4_000_000), ..endpoint.tariff.rates };
    endpoint.tariff.tiers = vec![crate::tariff::Tier { above_prompt_tokens: 200_000, rates: long }];
    let rows = Rows {
        providers: vec![plain.provider("openai").unwrap().as_ref().clone()],
        models: vec![plain.listings()[0].model.clone()],
        endpoints: vec![endpoint],
    };
    Snapshot::build(4, Moment::default(), None, rows)
}

#[test]
fn a_live_price_that_a_row_does_not_state_is_kept_or_asked_for_never_dropped() {
    let row = |more: &str| {
        format!(r#"[{{"provider":"openai","model":"openai/gpt-4.1","completion_per_million":"8",{more}}}]"#)
    };
    let import = |more: &str| read(row(more).as_bytes(), "p", Some(&live_with_cache())).unwrap();
    let same = import(r#""prompt_per_million":"2""#);
    assert_eq!(same.held_back, []);
    assert_eq!(same.base, Some(4), "the draft knows on which prices it was made");
    assert_eq!(same.endpoints[0].rates.cache_read, Some(PicoUsd::new(500_000)));
    assert_eq!(same.endpoints[0].tiers[0].rates.prompt, PicoUsd::new(4_000_000));
    assert!(crate::diff::diff(&live_with_cache(), &same).is_empty());

    let held = import(r#""prompt_per_million":"1.80""#);
    assert_eq!(codes(&held), [("price_missing", "openai/gpt-4.1")]);
    assert!(held.held_back[0].reason.contains("confirm_drop"), "{}", held.held_back[0].reason);
    let tiers = r#""tiers":[{"above_prompt_tokens":200000,"prompt_per_million":"3.60"}]"#;
    let held = import(&format!(r#""prompt_per_million":"1.80",{tiers}"#));
    assert!(held.held_back[0].reason.starts_with("a cache_read price is live"), "{:?}", held.held_back);
    let cheaper = import(&format!(r#""prompt_per_million":"2",{tiers}"#));
    assert!(cheaper.held_back[0].reason.contains("above 200000 tokens"), "{:?}", cheaper.held_back);

    let stated = import(&format!(r#""prompt_per_million":"1.80","cache_read_per_million":"0.45",{tiers}"#));
    assert_eq!(stated.held_back, []);
    let endpoint = &stated.endpoints[0];
    assert_eq!(endpoint.rates.cache_read, Some(PicoUsd::new(450_000)));
    assert_eq!(endpoint.tiers[0].rates.cache_read, Some(PicoUsd::new(450_000)));
    assert_eq!(endpoint.tiers[0].rates.prompt, PicoUsd::new(3_600_000));

    let dropped = import(r#""prompt_per_million":"1.80","confirm_drop":true"#);
    assert_eq!(dropped.held_back, []);
    assert_eq!((dropped.endpoints[0].rates.cache_read, dropped.endpoints[0].tiers.len()), (None, 0));
    let told = crate::diff::diff(&live_with_cache(), &dropped);
    assert!(told.warnings.iter().any(|warning| warning.code == "price_dropped"), "{:?}", told.warnings);
}

#[test]
fn a_price_file_may_bring_its_own_provider() {
    let file = r#"{"providers":[{"slug":"my-ollama","name":"My Ollama","dialect":"openai",
        "base_url":"http://127.0.0.1:11434/v1"}],
      "rows":[{"provider":"my-ollama","model":"local/qwen3","provider_model":"qwen3:8b",
        "prompt_per_million":"0.01","completion_per_million":"0.02","context_length":32768}]}"#;
    let content = read(file.as_bytes(), "p", None).unwrap();
    assert_eq!(content.held_back, []);
    assert_eq!(content.providers[0].slug, "my-ollama");
    assert_eq!(content.endpoints[0].provider_model, "qwen3:8b");
    assert!(content.providers[0].enabled && content.providers[0].retains_prompts);
}

#[test]
fn models_dev_rows_become_endpoints_or_name_their_fault() {
    let model = |cost: &str, more: &str| {
        format!(
            r#"{{"name":"X","cost":{cost},"limit":{{"context":1000,"output":100}},"tool_call":true,
               "modalities":{{"input":["text","pdf"],"output":["text"]}}{more}}}"#
        )
    };
    let good = model(
        r#"{"input":"3.00","output":15,"cache_read":"0.30","tiers":[{"input":"6.00","output":"22.5","tier":{"size":200000}}]}"#,
        "",
    );
    let file = format!(
        r#"{{"models":{{}},"providers":{{
          "anthropic":{{"name":"Anthropic","models":{{
             "claude-sonnet-4-5":{good},
             "claude-sonnet-4-5-20250929":{good},
             "claude-old":{old},
             "claude-free":{zero},
             "claude-embed":{good},
             "claude-bare":{bare}}}}},
          "deepinfra":{{"name":"Deep Infra","models":{{"Qwen/Qwen3-32B":{good},"anthropic/claude-opus-4-7":{good},"who/knows":{good}}}}},
          "openrouter":{{"name":"OpenRouter","models":{{"a/b":{good}}}}},
          "azure":{{"name":"Azure","models":{{}}}},
          "newcomer":{{"name":"Newcomer","models":{{}}}}}}}}"#,
        old = model(r#"{"input":1,"output":2}"#, r#","status":"deprecated""#),
        zero = model(r#"{"input":0,"output":0}"#, ""),
        bare = model("{}", ""),
    );
    let content = read(file.as_bytes(), "models.dev", None).unwrap();
    let offered: Vec<(&str, &str)> =
        content.endpoints.iter().map(|e| (e.model.as_str(), e.tag.as_str())).collect();
    assert_eq!(offered, [("anthropic/claude-sonnet-4.5", "anthropic"), ("qwen/qwen3-32b", "deepinfra")]);
    let sonnet = &content.endpoints[0];
    assert_eq!(sonnet.provider_model, "claude-sonnet-4-5");
    assert_eq!(sonnet.rates.cache_read, Some(PicoUsd::new(300_000)));
    assert_eq!(sonnet.tiers[0].rates.completion, PicoUsd::new(22_500_000));
    assert!(sonnet.supported_parameters.contains(&"tools".to_owned()));
    assert_eq!(content.models[0].input_modalities, [crate::Modality::Text, crate::Modality::File]);
    assert_eq!(
        codes(&content),
        [
            ("deprecated", "claude-old"),
            ("dialect", "*"),
            ("duplicate", "claude-sonnet-4-5-20250929"),
            ("not_chat", "claude-embed"),
            ("reseller", "anthropic/claude-opus-4-7"),
            ("reseller", "*"),
            ("unknown_provider", "*"),
            ("unmatched", "who/knows"),
            ("unpriced", "claude-bare"),
            ("zero_price", "claude-free"),
        ]
    );
}

#[test]
fn a_second_source_that_disagrees_by_more_than_half_holds_a_row_back() {
    let second = PriceBook::read_litellm(
        br#"{"sample_spec":{},
          "claude-haiku-4-5":{"litellm_provider":"anthropic","mode":"chat","input_cost_per_token":1e-06,
            "output_cost_per_token":5e-06,"cache_creation_input_token_cost_above_1hr":2e-06},
          "claude-opus-4-7":{"litellm_provider":"anthropic","mode":"chat","input_cost_per_token":5e-05,
            "output_cost_per_token":0.00025}}"#,
    )
    .unwrap();
    let model = |input, output| {
        format!(
            r#"{{"name":"X","cost":{{"input":{input},"output":{output},"cache_write":1.25}},
               "limit":{{"context":1000,"output":100}},"modalities":{{"input":["text"],"output":["text"]}}}}"#
        )
    };
    let file = format!(
        r#"{{"providers":{{"anthropic":{{"models":{{"claude-haiku-4-5":{},"claude-opus-4-7":{}}}}}}}}}"#,
        model("1.00", "5"),
        model("5", "25")
    );
    let against = Against { live: None, second: Some(&second) };
    let content = read_against(file.as_bytes(), "m", against).unwrap();
    assert_eq!(codes(&content), [("price_jump", "claude-opus-4-7")]);
    assert_eq!(content.endpoints[0].rates.cache_write_1h, Some(PicoUsd::new(2_000_000)));
    let alone = read(file.as_bytes(), "m", None).unwrap();
    let hours: Vec<_> = alone.endpoints.iter().map(|e| e.rates.cache_write_1h).collect();
    assert_eq!(hours, [Some(PicoUsd::new(2_000_000)), Some(PicoUsd::new(10_000_000))]);
}

#[test]
fn litellm_and_model_lists_are_sources_too() {
    let map = br#"{"sample_spec":{},"claude-haiku-4-5":{"litellm_provider":"anthropic","mode":"chat",
        "input_cost_per_token":1e-06,"output_cost_per_token":5e-06,"max_input_tokens":200000,
        "max_output_tokens":64000},"dall-e-3":{"litellm_provider":"openai","mode":"image_generation"}}"#;
    let content = read(map, "map.json", None).unwrap();
    assert_eq!(content.endpoints[0].model, "anthropic/claude-haiku-4.5");
    assert_eq!(content.endpoints[0].rates.completion, PicoUsd::new(5_000_000));
    assert_eq!(codes(&content), [("not_chat", "dall-e-3")]);
    let list = br#"{"data":[
        {"id":"openai/gpt-5","name":"OpenAI: GPT-5","created":1754587413,"context_length":400000,
         "architecture":{"input_modalities":["text"],"output_modalities":["text"]},
         "pricing":{"prompt":"0.00000125","completion":"0.00001"},"supported_parameters":["tools"]},
        {"id":"openrouter/auto","context_length":1,"architecture":{},"pricing":{"prompt":"-1","completion":"-1"}},
        {"id":"~openai/gpt-latest","architecture":{},"pricing":{}}]}"#;
    let content = read(list, "models.json", None).unwrap();
    assert_eq!(content.endpoints[0].tag, "openrouter");
    assert_eq!(content.endpoints[0].rates.prompt, PicoUsd::new(1_250_000));
    assert_eq!(codes(&content), [("absurd", "openrouter/auto"), ("duplicate", "~openai/gpt-latest")]);
}

#[test]
fn a_file_of_another_kind_is_an_error_that_says_what_is_expected() {
    for bytes in [&b"{}"[..], br#"{"hello":1}"#] {
        assert!(matches!(read(bytes, "x", None), Err(ImportError::UnknownFormat { .. })));
    }
    for bytes in [&b""[..], b"not json", br#"{"rows":3}"#, b"[1"] {
        assert!(matches!(read(bytes, "x", None), Err(ImportError::Json(_))));
    }
}
