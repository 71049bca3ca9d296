//! The `provider` object, field by field.

use super::*;

fn parse(text: &str) -> Result<Preferences, PreferenceError> {
    let raw = RawValue::from_string(text.to_owned()).unwrap();
    Preferences::parse(Some(&raw))
}

#[test]
fn what_is_asked_is_read_exactly() {
    let read = parse(
        r#"{"order":["A","b/x"],"only":["a"],"ignore":null,"allow_fallbacks":false,
            "sort":{"by":"latency","partition":"none"},"require_parameters":true,"zdr":true,
            "data_collection":"deny","enforce_distillable_text":true,"quantizations":["fp8","unknown"],
            "max_price":{"prompt":0.0375,"completion":"2","image":1e-3,"request":null,"audio":5},
            "preferred_min_throughput":{"p50":40,"p90":12.5},"preferred_max_latency":0.75,
            "options":{"groq":{"x":1}}}"#,
    )
    .unwrap();
    assert_eq!(read.order, ["a", "b/x"]);
    assert_eq!(read.only, ["a"]);
    assert_eq!(read.ignore, [""; 0]);
    assert!(!read.allow_fallbacks && read.require_parameters && read.zdr);
    assert!(read.deny_data_collection && read.distillable && read.mix_models);
    assert_eq!(read.sort, Some(Sort::Latency));
    assert_eq!(read.quantizations, ["fp8", "unknown"]);
    let price = read.max_price;
    assert_eq!(price.prompt, Some(PicoUsd::new(37_500)));
    assert_eq!(price.completion, Some(PicoUsd::new(2_000_000)));
    assert_eq!(price.image, Some(PicoUsd::new(1_000_000_000)));
    assert_eq!((price.request, price.audio), (None, Some(PicoUsd::new(5_000_000))));
    assert_eq!((read.min_throughput.p50, read.min_throughput.p90), (Some(40_000), Some(12_500)));
    assert_eq!(read.max_latency, Thresholds { p50: Some(750), ..Thresholds::default() });
    assert_eq!(read.options.get("groq").map(|raw| raw.get()), Some(r#"{"x":1}"#));
    assert_eq!(Preferences::parse(None), Ok(Preferences::default()));
    assert_eq!(parse("null"), Ok(Preferences::default()));
    assert_eq!(parse("{}"), Ok(Preferences::default()));
}

#[test]
fn what_cannot_be_honored_is_refused_by_name() {
    let rows = [
        (r#"{"ordr":[],"sort":"price","zzz":1}"#, "unrecognized key(s) in object: 'ordr', 'zzz'"),
        (r#"{"ordr":null}"#, "'ordr'"),
        (r#"{"order":"a"}"#, "order must be a list"),
        (r#"{"order":[1]}"#, "order must be a list"),
        (r#"{"sort":"fastest"}"#, "fastest"),
        (r#"{"sort":3}"#, "sort must be an object"),
        (r#"{"sort":{"partition":"none"}}"#, "sort.by"),
        (r#"{"sort":{"by":"price","partition":"all"}}"#, "sort.partition"),
        (r#"{"sort":{"by":"price","x":1}}"#, "sort: unrecognized key(s) in object: 'x'"),
        (r#"{"allow_fallbacks":"yes"}"#, "allow_fallbacks"),
        (r#"{"zdr":1}"#, "zdr"),
        (r#"{"data_collection":"maybe"}"#, "maybe"),
        (r#"{"quantizations":["fp7"]}"#, "fp7"),
        (r#"{"max_price":{"prompt":-1}}"#, "max_price.prompt"),
        (r#"{"max_price":{"prompt":0.00000001}}"#, "max_price.prompt"),
        (r#"{"max_price":{"prompt":true}}"#, "max_price.prompt"),
        (r#"{"max_price":{"tokens":1}}"#, "max_price: unrecognized key(s) in object: 'tokens'"),
        (r#"{"max_price":7}"#, "max_price must be an object"),
        (r#"{"preferred_max_latency":"fast"}"#, "preferred_max_latency"),
        (r#"{"preferred_min_throughput":{"p42":1}}"#, "'p42'"),
        (r#"{"preferred_min_throughput":{"p50":-1}}"#, "preferred_min_throughput.p50"),
        (r#"{"options":{"groq":1}}"#, "options.groq"),
        (r#"[]"#, "must be an object"),
        (r#""x""#, "must be an object"),
    ];
    for (text, named) in rows {
        let error = parse(text).err().unwrap_or_else(|| panic!("{text} was taken")).to_string();
        assert!(error.starts_with("provider: ") && error.contains(named), "{text}: {error}");
    }
    let long = format!(r#"{{"only":[{}]}}"#, vec!["\"a\""; 257].join(","));
    assert!(parse(&long).is_err());
}

#[test]
fn a_routing_variant_wins_over_the_sort_of_the_object() {
    let rows = [
        (Some(SortVariant::Floor), Some(Sort::Price)),
        (Some(SortVariant::Nitro), Some(Sort::Throughput)),
        (Some(SortVariant::Exacto), Some(Sort::Exacto)),
        (None, Some(Sort::Latency)),
    ];
    for (variant, expected) in rows {
        let wish = parse(r#"{"sort":"latency"}"#).unwrap().with_variant(variant);
        assert_eq!(wish.sort, expected);
    }
}
