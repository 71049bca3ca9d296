//! The `provider` object of a request: what the customer wants of the choice. Unknown keys are refused by name.

use catalog::Endpoint;
use kernel::{MoneyError, PicoUsd};
use serde::Deserialize;
use serde_json::value::RawValue;

/// How to order endpoints instead of by weighted chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Price,
    Throughput,
    Latency,
}

/// The highest prices the customer accepts; `None` accepts any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaxPrice {
    pub prompt: Option<PicoUsd>,
    pub completion: Option<PicoUsd>,
    pub request: Option<PicoUsd>,
    pub image: Option<PicoUsd>,
}

impl MaxPrice {
    /// The first price of an endpoint above its limit, by its name in `provider.max_price`.
    #[must_use]
    pub fn exceeded_by(&self, endpoint: &Endpoint) -> Option<&'static str> {
        let rates = &endpoint.tariff.rates;
        let above = |price: Option<PicoUsd>, limit: Option<PicoUsd>| match (price, limit) {
            (Some(price), Some(limit)) => price > limit,
            _ => false,
        };
        let rows = [
            ("prompt", Some(rates.prompt), self.prompt),
            ("completion", Some(rates.completion), self.completion),
            ("request", rates.request, self.request),
            ("image", rates.image, self.image),
        ];
        rows.into_iter().find(|(_, price, limit)| above(*price, *limit)).map(|(name, ..)| name)
    }
}

/// What the customer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// Provider slugs or endpoint tags to try first, in this order.
    pub order: Vec<String>,
    pub only: Vec<String>,
    pub ignore: Vec<String>,
    /// Whether endpoints beyond the first choice (or beyond `order`) may be tried.
    pub allow_fallbacks: bool,
    /// Only endpoints that honor every parameter of the request.
    pub require_parameters: bool,
    /// No provider that may train on prompts.
    pub deny_data_collection: bool,
    /// Only providers that keep nothing.
    pub zdr: bool,
    pub quantizations: Vec<String>,
    pub sort: Option<Sort>,
    pub max_price: MaxPrice,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            order: Vec::new(),
            only: Vec::new(),
            ignore: Vec::new(),
            allow_fallbacks: true,
            require_parameters: false,
            deny_data_collection: false,
            zdr: false,
            quantizations: Vec::new(),
            sort: None,
            max_price: MaxPrice::default(),
        }
    }
}

/// The `provider` object cannot be honored; the sentence names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("provider: {0}")]
pub struct PreferenceError(pub String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    #[serde(default)]
    order: Option<Vec<String>>,
    #[serde(default)]
    only: Option<Vec<String>>,
    #[serde(default)]
    ignore: Option<Vec<String>>,
    #[serde(default)]
    allow_fallbacks: Option<bool>,
    #[serde(default)]
    require_parameters: Option<bool>,
    #[serde(default)]
    data_collection: Option<String>,
    #[serde(default)]
    zdr: Option<bool>,
    #[serde(default)]
    enforce_distillable_text: Option<bool>,
    #[serde(default)]
    quantizations: Option<Vec<String>>,
    #[serde(default)]
    sort: Option<SortWire>,
    #[serde(borrow, default)]
    max_price: Option<MaxPriceWire<'a>>,
    /// Soft thresholds need measurements; they are checked for shape and order nothing yet.
    #[serde(borrow, default)]
    preferred_min_throughput: Option<&'a RawValue>,
    #[serde(borrow, default)]
    preferred_max_latency: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SortWire {
    Word(String),
    Object { by: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MaxPriceWire<'a> {
    #[serde(borrow, default)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, default)]
    completion: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request: Option<&'a RawValue>,
    #[serde(borrow, default)]
    image: Option<&'a RawValue>,
}

impl Preferences {
    /// Reads the object as a request holds it.
    pub fn parse(raw: Option<&RawValue>) -> Result<Self, PreferenceError> {
        let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(Self::default()) };
        if !raw.get().starts_with('{') {
            return Err(PreferenceError("must be an object like {\"sort\":\"price\"}".to_owned()));
        }
        let wire: Wire<'_> =
            serde_json::from_str(raw.get()).map_err(|error| PreferenceError(error.to_string()))?;
        let unsupported = [
            ("enforce_distillable_text", wire.enforce_distillable_text == Some(true)),
            (
                "preferred_min_throughput",
                wire.preferred_min_throughput.is_some_and(|raw| raw.get() != "null"),
            ),
            ("preferred_max_latency", wire.preferred_max_latency.is_some_and(|raw| raw.get() != "null")),
        ];
        if let Some((field, _)) = unsupported.into_iter().find(|(_, asked)| *asked) {
            return Err(PreferenceError(format!("{field} is not supported; leave it out")));
        }
        Ok(Self {
            order: wire.order.unwrap_or_default(),
            only: wire.only.unwrap_or_default(),
            ignore: wire.ignore.unwrap_or_default(),
            allow_fallbacks: wire.allow_fallbacks.unwrap_or(true),
            require_parameters: wire.require_parameters.unwrap_or(false),
            deny_data_collection: deny(wire.data_collection.as_deref())?,
            zdr: wire.zdr.unwrap_or(false),
            quantizations: wire.quantizations.unwrap_or_default(),
            sort: wire.sort.map(|sort| sort.read()).transpose()?,
            max_price: wire.max_price.map(|prices| prices.read()).transpose()?.unwrap_or_default(),
        })
    }
}

fn deny(text: Option<&str>) -> Result<bool, PreferenceError> {
    match text {
        None | Some("allow") => Ok(false),
        Some("deny") => Ok(true),
        Some(other) => Err(PreferenceError(format!("data_collection must be allow or deny, not `{other}`"))),
    }
}

impl SortWire {
    fn read(self) -> Result<Sort, PreferenceError> {
        let (Self::Word(word) | Self::Object { by: word }) = self;
        match word.as_str() {
            "price" => Ok(Sort::Price),
            "throughput" => Ok(Sort::Throughput),
            "latency" => Ok(Sort::Latency),
            other => {
                Err(PreferenceError(format!("sort must be price, throughput or latency, not `{other}`")))
            }
        }
    }
}

impl MaxPriceWire<'_> {
    fn read(self) -> Result<MaxPrice, PreferenceError> {
        // Tokens in dollars per million, images and requests in dollars each.
        Ok(MaxPrice {
            prompt: limit("prompt", self.prompt, PicoUsd::parse_per_million)?,
            completion: limit("completion", self.completion, PicoUsd::parse_per_million)?,
            request: limit("request", self.request, PicoUsd::parse_per_unit)?,
            image: limit("image", self.image, PicoUsd::parse_per_unit)?,
        })
    }
}

fn limit(
    name: &str,
    raw: Option<&RawValue>,
    read: fn(&str) -> Result<PicoUsd, MoneyError>,
) -> Result<Option<PicoUsd>, PreferenceError> {
    let Some(text) = raw.map(RawValue::get).filter(|text| *text != "null") else { return Ok(None) };
    let digits = text.trim_matches('"');
    let price = read(digits).ok().filter(|price| *price >= PicoUsd::ZERO);
    price
        .map(Some)
        .ok_or_else(|| PreferenceError(format!("max_price.{name} must be dollars as a number, not {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Preferences, PreferenceError> {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        Preferences::parse(Some(&raw))
    }

    #[test]
    fn what_is_asked_is_read_exactly() {
        let read = parse(
            r#"{"order":["a","b/x"],"only":["a"],"ignore":null,"allow_fallbacks":false,"sort":{"by":"latency"},
                "data_collection":"deny","max_price":{"prompt":0.0375,"completion":"2","image":1e-3}}"#,
        )
        .unwrap();
        assert_eq!(read.order, ["a", "b/x"]);
        assert_eq!(
            (read.allow_fallbacks, read.deny_data_collection, read.sort),
            (false, true, Some(Sort::Latency))
        );
        assert_eq!(read.max_price.prompt, Some(PicoUsd::new(37_500)));
        assert_eq!(read.max_price.completion, Some(PicoUsd::new(2_000_000)));
        assert_eq!(read.max_price.image, Some(PicoUsd::new(1_000_000_000)));
        assert_eq!(Preferences::parse(None), Ok(Preferences::default()));
        assert_eq!(parse("null"), Ok(Preferences::default()));
    }

    #[test]
    fn what_cannot_be_honored_is_refused_by_name() {
        let rows = [
            (r#"{"ordr":[]}"#, "ordr"),
            (r#"{"order":"a"}"#, "a sequence"),
            (r#"{"sort":"fastest"}"#, "fastest"),
            (r#"{"data_collection":"maybe"}"#, "maybe"),
            (r#"{"max_price":{"prompt":-1}}"#, "max_price.prompt"),
            (r#"{"max_price":{"prompt":0.00000001}}"#, "max_price.prompt"),
            (r#"{"max_price":{"tokens":1}}"#, "tokens"),
            (r#"{"preferred_max_latency":1}"#, "preferred_max_latency"),
            (r#"[]"#, "must be an object"),
        ];
        for (text, named) in rows {
            let error = parse(text).err().unwrap_or_else(|| panic!("{text} was taken")).to_string();
            assert!(error.starts_with("provider: ") && error.contains(named), "{text}: {error}");
        }
    }
}
