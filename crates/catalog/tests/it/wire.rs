//! The public JSON: shapes, filters, pages, and the cost of serving the whole list.

use crate::fixture;
use catalog::wire::{self, EndpointStats, ModelsQuery, Percentiles};
use catalog::{ModelRef, Snapshot};
use serde_json::Value;

fn list(live: &Snapshot, query: &str) -> Value {
    let pairs: Vec<(&str, &str)> =
        query.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| pair.split_once('=')).collect();
    let query = ModelsQuery::parse(pairs).unwrap();
    let body = wire::models(live, &query, live.taken_at, "/api/v1/models");
    serde_json::from_slice(&body).unwrap()
}

fn ids(body: &Value) -> Vec<String> {
    let data = body["data"].as_array().unwrap();
    data.iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_model_has_every_field_that_clients_read() {
    let live = fixture::seed();
    let body = list(&live, "");
    assert_eq!(body["total_count"], body["data"].as_array().unwrap().len());
    assert_eq!(body["links"]["next"], Value::Null);
    let models = body["data"].as_array().unwrap();
    let model = models.iter().find(|m| m["id"] == "anthropic/claude-sonnet-4.5").unwrap();
    assert_eq!(model["pricing"]["prompt"], "0.000003");
    assert_eq!(model["pricing"]["completion"], "0.000015");
    assert_eq!(model["pricing"]["input_cache_read"], "0.0000003");
    assert_eq!(model["pricing"]["input_cache_write_1h"], "0.000006");
    assert_eq!(model["architecture"]["modality"], "text+image+file->text");
    assert_eq!(model["architecture"]["tokenizer"], "Claude");
    assert_eq!(model["links"]["details"], "/api/v1/models/anthropic/claude-sonnet-4.5/endpoints");
    assert_eq!(model["top_provider"]["is_moderated"], false);
    assert_eq!(model["reasoning"]["mandatory"], false);
    for field in
        ["canonical_slug", "name", "created", "description", "context_length", "supported_parameters"]
    {
        assert!(!model[field].is_null(), "{field}");
    }
    for field in ["per_request_limits", "default_parameters", "supported_voices", "expiration_date"] {
        assert!(model.as_object().unwrap().contains_key(field) && model[field].is_null(), "{field}");
    }
    let long = models.iter().find(|m| m["id"] == "google/gemini-2.5-pro").unwrap();
    assert_eq!(long["pricing"]["overrides"][0]["min_prompt_tokens"], 200_001);
    assert_eq!(long["pricing"]["overrides"][0]["prompt"], "0.0000025");
}

#[test]
fn one_model_is_the_same_object_as_in_the_list() {
    let live = fixture::published(&catalog::seed::draft().unwrap());
    let named = |name: &str| {
        let body = catalog::wire::model(&live, &catalog::ModelRef::parse(name).unwrap())?;
        Some(serde_json::from_slice::<serde_json::Value>(&body).unwrap()["data"].clone())
    };
    let list: serde_json::Value = serde_json::from_slice(&live.rendered().models).unwrap();
    let listed =
        list["data"].as_array().unwrap().iter().find(|model| model["id"] == "openai/gpt-4.1").unwrap();
    assert_eq!(named("openai/gpt-4.1").as_ref(), Some(listed));
    assert_eq!(named("openai/gpt-4.1:floor").as_ref(), Some(listed), "a routing variant is dropped");
    assert_eq!(named("nobody/nothing"), None);
}

#[test]
fn filters_and_sorts_choose_and_order() {
    let live = fixture::seed();
    let all = ids(&list(&live, ""));
    type Holds = fn(&Value) -> bool;
    let rows: &[(&str, Holds)] = &[
        ("q=Sonnet", |m| m["name"].as_str().unwrap().contains("Sonnet")),
        ("supported_parameters=tools,reasoning", |m| {
            let names = m["supported_parameters"].as_array().unwrap();
            names.contains(&"tools".into()) && names.contains(&"reasoning".into())
        }),
        ("input_modalities=image", |m| {
            m["architecture"]["input_modalities"].as_array().unwrap().contains(&"image".into())
        }),
        ("context=1000000", |m| m["context_length"].as_u64().unwrap() >= 1_000_000),
        ("model_authors=openai,qwen", |m| {
            let id = m["id"].as_str().unwrap();
            id.starts_with("openai/") || id.starts_with("qwen/")
        }),
        ("arch=Claude", |m| m["id"].as_str().unwrap().starts_with("anthropic/")),
    ];
    for (query, holds) in rows {
        let body = list(&live, query);
        let found = body["data"].as_array().unwrap();
        assert!(!found.is_empty() && found.len() < all.len(), "{query}");
        assert!(found.iter().all(holds), "{query}");
        let everyone = list(&live, "");
        let expected = everyone["data"].as_array().unwrap().iter().filter(|m| holds(m)).count();
        assert_eq!(found.len(), expected, "{query}");
    }
    let price = |m: &Value| {
        let get = |name: &str| kernel::PicoUsd::parse_per_unit(m["pricing"][name].as_str().unwrap()).unwrap();
        (get("prompt"), get("completion"))
    };
    let cheap = list(&live, "max_price=0.1&min_price=0.05&sort=pricing-low-to-high");
    let sums: Vec<i64> = cheap["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            let (prompt, completion) = price(m);
            assert!((50_000..=100_000).contains(&prompt.get()));
            prompt.get() + completion.get()
        })
        .collect();
    assert!(!sums.is_empty() && sums.is_sorted());
    assert_eq!(ids(&list(&live, "providers=Groq")).len(), 7);
    assert!(ids(&list(&live, "zdr=true")).contains(&"openai/gpt-oss-120b".to_owned()));
    assert!(!ids(&list(&live, "zdr=true")).contains(&"openai/gpt-4.1".to_owned()));
}

#[test]
fn pages_follow_each_other_without_gaps() {
    let live = fixture::seed();
    let all = ids(&list(&live, "model_authors=qwen"));
    let mut query = "model_authors=qwen&limit=20".to_owned();
    let mut seen = Vec::new();
    loop {
        let body = list(&live, &query);
        assert_eq!(body["total_count"], all.len());
        seen.extend(ids(&body));
        match body["links"]["next"].as_str() {
            Some(next) => query = next.strip_prefix("/api/v1/models?").unwrap().to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, all);
}

#[test]
fn what_cannot_be_honored_is_refused_by_name() {
    for (name, value) in [
        ("sort", "most-popular"),
        ("min_price", "cheap"),
        ("max_price", "0.0000000001"),
        ("input_modalities", "smell"),
        ("context", "-1"),
        ("limit", "0"),
        ("limit", "1001"),
        ("offset", "x"),
        ("zdr", "maybe"),
        ("category", "programming"),
        ("surprise", "1"),
    ] {
        let error = ModelsQuery::parse([(name, value)]).unwrap_err();
        assert_eq!(error.parameter, name);
        assert!(!error.message.is_empty());
    }
}

#[test]
fn endpoints_of_a_model_carry_prices_and_measurements() {
    let live = fixture::seed();
    let model = ModelRef::parse("qwen/qwen3-32b:floor").unwrap();
    let measured = live.find("qwen/qwen3-32b").unwrap().endpoints[0].id;
    let latency = Percentiles { p50: 300, p75: 400, p90: 500, p99: 900 };
    let stats = |id| {
        (id == measured).then(|| EndpointStats {
            uptime_last_30m: Some(99.5),
            latency_last_30m: Some(latency),
            ..EndpointStats::default()
        })
    };
    let body: Value = serde_json::from_slice(&wire::endpoints(&live, &model, &stats).unwrap()).unwrap();
    let endpoints = body["data"]["endpoints"].as_array().unwrap();
    assert_eq!(endpoints.len(), live.find("qwen/qwen3-32b").unwrap().endpoints.len());
    assert_eq!(endpoints[0]["uptime_last_30m"], 99.5);
    assert_eq!(endpoints[0]["latency_last_30m"]["p90"], 500);
    assert_eq!(endpoints[1]["latency_last_30m"], Value::Null);
    assert_eq!(endpoints[1]["status"], 0);
    assert!(endpoints.iter().any(|e| e["tag"] == "novita/fp8" && e["quantization"] == "fp8"));
    let unknown = ModelRef::parse("qwen/none").unwrap();
    assert_eq!(wire::endpoints(&live, &unknown, &|_| None), None);
}

#[test]
fn providers_are_listed_with_their_policies() {
    let live = fixture::seed();
    let body: Value = serde_json::from_slice(&live.rendered().providers).unwrap();
    let data = body["data"].as_array().unwrap();
    assert_eq!(data.len(), live.providers().len());
    let openai = data.iter().find(|p| p["slug"] == "openai").unwrap();
    assert_eq!(openai["name"], "OpenAI");
    assert_eq!(openai["headquarters"], "US");
    assert!(openai["privacy_policy_url"].as_str().unwrap().starts_with("https://"));
}

#[test]
fn the_whole_list_is_built_once_and_then_shared() {
    let live = fixture::seed();
    let plain = ModelsQuery::parse([]).unwrap();
    let first = wire::models(&live, &plain, live.taken_at, "/api/v1/models");
    let second = wire::models(&live, &plain, live.taken_at, "/api/v1/models");
    assert_eq!(first.as_ptr(), second.as_ptr());
    assert_eq!(live.rendered().etag, live.etag());
}
