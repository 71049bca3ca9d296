//! Reads the `provider` object key by key, numbers as text, so that every fault names its field.

use super::{MaxPrice, PreferenceError, Preferences, Sort, Thresholds};
use kernel::decimal::parse_scaled;
use kernel::{MoneyError, PicoUsd};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

type Fields = BTreeMap<String, Box<RawValue>>;

/// A list longer than this is a mistake, and would cost time for every endpoint.
const LONGEST_LIST: usize = 256;

const QUANTIZATIONS: [&str; 12] =
    ["int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown"];

pub(super) fn read(text: &str) -> Result<Preferences, PreferenceError> {
    let mut wish = Preferences::default();
    let mut unknown = Vec::new();
    for (key, raw) in fields("", text)? {
        // `null` is how clients spell "as if it were not there".
        if raw.get() == "null" && KEYS.contains(&key.as_str()) {
            continue;
        }
        match set(&mut wish, &key, &raw) {
            Some(result) => result?,
            None => unknown.push(key),
        }
    }
    unrecognized("", &unknown)?;
    Ok(wish)
}

const KEYS: [&str; 14] = [
    "order",
    "only",
    "ignore",
    "allow_fallbacks",
    "require_parameters",
    "data_collection",
    "zdr",
    "enforce_distillable_text",
    "quantizations",
    "sort",
    "max_price",
    "preferred_min_throughput",
    "preferred_max_latency",
    "options",
];

/// Sets one field; `None` for a key that does not exist.
fn set(wish: &mut Preferences, key: &str, raw: &RawValue) -> Option<Result<(), PreferenceError>> {
    let result = match key {
        "order" => names(key, raw).map(|list| wish.order = list),
        "only" => names(key, raw).map(|list| wish.only = list),
        "ignore" => names(key, raw).map(|list| wish.ignore = list),
        "allow_fallbacks" => flag(key, raw).map(|flag| wish.allow_fallbacks = flag),
        "require_parameters" => flag(key, raw).map(|flag| wish.require_parameters = flag),
        "zdr" => flag(key, raw).map(|flag| wish.zdr = flag),
        "enforce_distillable_text" => flag(key, raw).map(|flag| wish.distillable = flag),
        "data_collection" => deny(raw).map(|deny| wish.deny_data_collection = deny),
        "quantizations" => quantizations(raw).map(|list| wish.quantizations = list),
        "sort" => sort(raw).map(|(sort, mix)| (wish.sort, wish.mix_models) = (Some(sort), mix)),
        "max_price" => max_price(raw).map(|prices| wish.max_price = prices),
        "preferred_min_throughput" => thresholds(key, raw).map(|wanted| wish.min_throughput = wanted),
        "preferred_max_latency" => thresholds(key, raw).map(|wanted| wish.max_latency = wanted),
        "options" => options(raw).map(|options| wish.options = options),
        _ => return None,
    };
    Some(result)
}

fn error(text: String) -> PreferenceError {
    PreferenceError(text)
}

/// The fields of an object; `name` is its path, empty for the object itself.
fn fields(name: &str, text: &str) -> Result<Fields, PreferenceError> {
    serde_json::from_str(text).map_err(|_no_object| match name {
        "" => error("must be an object".to_owned()),
        name => error(format!("{name} must be an object")),
    })
}

fn unrecognized(name: &str, unknown: &[String]) -> Result<(), PreferenceError> {
    if unknown.is_empty() {
        return Ok(());
    }
    let keys: Vec<String> = unknown.iter().take(8).map(|key| format!("'{}'", shorten(key))).collect();
    let place = if name.is_empty() { String::new() } else { format!("{name}: ") };
    Err(error(format!("{place}unrecognized key(s) in object: {}", keys.join(", "))))
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

fn value<T: DeserializeOwned>(name: &str, raw: &RawValue, expected: &str) -> Result<T, PreferenceError> {
    serde_json::from_str(raw.get()).map_err(|_other_type| error(format!("{name} must be {expected}")))
}

fn flag(name: &str, raw: &RawValue) -> Result<bool, PreferenceError> {
    value(name, raw, "true or false")
}

fn names(name: &str, raw: &RawValue) -> Result<Vec<String>, PreferenceError> {
    let list: Vec<String> = value(name, raw, "a list of provider names")?;
    if list.len() > LONGEST_LIST {
        return Err(error(format!("{name} has {} entries; at most {LONGEST_LIST} are read", list.len())));
    }
    Ok(list.into_iter().map(|entry| entry.to_lowercase()).collect())
}

fn deny(raw: &RawValue) -> Result<bool, PreferenceError> {
    match value::<String>("data_collection", raw, "allow or deny")?.as_str() {
        "allow" => Ok(false),
        "deny" => Ok(true),
        other => Err(error(format!("data_collection must be allow or deny, not `{}`", shorten(other)))),
    }
}

fn quantizations(raw: &RawValue) -> Result<Vec<String>, PreferenceError> {
    let list = names("quantizations", raw)?;
    match list.iter().find(|word| !QUANTIZATIONS.contains(&word.as_str())) {
        Some(word) => {
            let known = QUANTIZATIONS.join(", ");
            Err(error(format!("quantizations: `{}` is none of {known}", shorten(word))))
        }
        None => Ok(list),
    }
}

/// `"price"` or `{"by": "price", "partition": "none"}`; the flag says that models are sorted together.
fn sort(raw: &RawValue) -> Result<(Sort, bool), PreferenceError> {
    if raw.get().starts_with('"') {
        return Ok((sort_word("sort", raw)?, false));
    }
    let (mut by, mut mix, mut unknown) = (None, false, Vec::new());
    for (key, raw) in fields("sort", raw.get())? {
        match key.as_str() {
            "by" => by = Some(sort_word("sort.by", &raw)?),
            "partition" => mix = partition(&raw)?,
            _ => unknown.push(key),
        }
    }
    unrecognized("sort", &unknown)?;
    by.map(|by| (by, mix)).ok_or_else(|| error("sort.by is missing".to_owned()))
}

fn sort_word(name: &str, raw: &RawValue) -> Result<Sort, PreferenceError> {
    let expected = "price, throughput, latency or exacto";
    match value::<String>(name, raw, expected)?.as_str() {
        "price" => Ok(Sort::Price),
        "throughput" => Ok(Sort::Throughput),
        "latency" => Ok(Sort::Latency),
        "exacto" => Ok(Sort::Exacto),
        other => Err(error(format!("{name} must be {expected}, not `{}`", shorten(other)))),
    }
}

fn partition(raw: &RawValue) -> Result<bool, PreferenceError> {
    match value::<Option<String>>("sort.partition", raw, "model or none")?.as_deref() {
        None | Some("model") => Ok(false),
        Some("none") => Ok(true),
        Some(other) => Err(error(format!("sort.partition must be model or none, not `{}`", shorten(other)))),
    }
}

/// Tokens in dollars per million, images and requests in dollars each.
fn max_price(raw: &RawValue) -> Result<MaxPrice, PreferenceError> {
    let mut prices = MaxPrice::default();
    let mut unknown = Vec::new();
    for (key, raw) in fields("max_price", raw.get())? {
        let million = || limit(&key, &raw, PicoUsd::parse_per_million);
        let piece = || limit(&key, &raw, PicoUsd::parse_per_unit);
        match key.as_str() {
            "prompt" => prices.prompt = million()?,
            "completion" => prices.completion = million()?,
            "audio" => prices.audio = million()?,
            "request" => prices.request = piece()?,
            "image" => prices.image = piece()?,
            _ => unknown.push(key.clone()),
        }
    }
    unrecognized("max_price", &unknown)?;
    Ok(prices)
}

/// A number, or a number as text, exactly.
fn limit(
    name: &str,
    raw: &RawValue,
    read: fn(&str) -> Result<PicoUsd, MoneyError>,
) -> Result<Option<PicoUsd>, PreferenceError> {
    if raw.get() == "null" {
        return Ok(None);
    }
    let price = digits(raw).and_then(|text| read(&text).ok()).filter(|price| *price >= PicoUsd::ZERO);
    price.map(Some).ok_or_else(|| {
        error(format!(
            "max_price.{name} must be dollars as an exact number of at least 0, not {}",
            shorten(raw.get())
        ))
    })
}

fn digits(raw: &RawValue) -> Option<String> {
    match raw.get().starts_with('"') {
        true => serde_json::from_str(raw.get()).ok(),
        false => Some(raw.get().to_owned()),
    }
}

/// A number (the median), or an object of percentiles.
fn thresholds(name: &str, raw: &RawValue) -> Result<Thresholds, PreferenceError> {
    if !raw.get().starts_with('{') {
        return Ok(Thresholds { p50: Some(thousandths(name, raw)?), ..Thresholds::default() });
    }
    let mut wanted = Thresholds::default();
    let mut unknown = Vec::new();
    for (key, raw) in fields(name, raw.get())? {
        let place = match key.as_str() {
            "p50" => &mut wanted.p50,
            "p75" => &mut wanted.p75,
            "p90" => &mut wanted.p90,
            "p99" => &mut wanted.p99,
            _ => {
                unknown.push(key);
                continue;
            }
        };
        if raw.get() != "null" {
            *place = Some(thousandths(&format!("{name}.{key}"), &raw)?);
        }
    }
    unrecognized(name, &unknown)?;
    Ok(wanted)
}

/// A wish finer than a thousandth is cut to it: it orders endpoints and moves no money.
fn thousandths(name: &str, raw: &RawValue) -> Result<u64, PreferenceError> {
    let fine = parse_scaled(raw.get(), 15).ok().filter(|value| *value >= 0);
    fine.and_then(|value| u64::try_from(value / 1_000_000_000_000).ok())
        .ok_or_else(|| error(format!("{name} must be a number of at least 0, not {}", shorten(raw.get()))))
}

fn options(raw: &RawValue) -> Result<Fields, PreferenceError> {
    let options = fields("options", raw.get())?;
    match options.iter().find(|(_, value)| !value.get().starts_with('{')) {
        Some((slug, _)) => Err(error(format!("options.{} must be an object", shorten(slug)))),
        None => Ok(options),
    }
}
