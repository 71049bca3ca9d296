//! The top-level fields of a chat request: what each may hold, and whose word it is.
//!
//! One table, read by validation, by the pass-through and by translation. `messages` has its own rules.

use crate::json::{self, Json, Kind};
use crate::model::reasoning::Effort;
use crate::model::request_error::{At, RequestError, RequestErrorKind, excerpt};
use crate::walk::Walk;

/// Whose word a field is, which decides what a provider gets to see of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// OpenAI's or a common extension of it: providers of that dialect get it as it is.
    Provider,
    /// Read, then rewritten by the dialect (model, limits, streaming, reasoning).
    Rewritten,
    /// Ours or OpenRouter's: acted upon by the gateway, never sent on.
    Gateway,
    /// OpenRouter's, and nobody here acts upon it: named in the warnings.
    Unserved,
    /// Costs money that tariffs do not cover: refused unless a provider's quirks say it is priced.
    Priced,
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    Any,
    Bool,
    Array,
    Object,
    /// At most so many bytes.
    Text(usize),
    Integer(i64, i64),
    Number(f64, f64),
    /// A string or an array of at most so many strings.
    Texts(usize),
    /// An array of strings.
    List(usize),
    /// One of these words, or an object.
    WordOrObject(&'static [&'static str]),
    Word(&'static [&'static str]),
    TextOrObject,
}

/// A row of the table.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) rule: Rule,
    pub(crate) owner: Owner,
}

const fn field(name: &'static str, rule: Rule, owner: Owner) -> Field {
    Field { name, rule, owner }
}

const TOKENS: Rule = Rule::Integer(1, 0xFFFF_FFFF);

/// Sorted by name, for the binary search of [`find`].
pub(crate) const FIELDS: &[Field] = &[
    field("cache_control", Rule::Object, Owner::Gateway),
    field("debug", Rule::Object, Owner::Gateway),
    field("deferred_tools", Rule::Any, Owner::Unserved),
    field("enable_search", Rule::Any, Owner::Priced),
    field("frequency_penalty", Rule::Number(-2.0, 2.0), Owner::Provider),
    field("function_call", Rule::TextOrObject, Owner::Provider),
    field("functions", Rule::Array, Owner::Provider),
    field("image_config", Rule::Object, Owner::Unserved),
    field("include_reasoning", Rule::Bool, Owner::Rewritten),
    field("logit_bias", Rule::Object, Owner::Provider),
    field("logprobs", Rule::Bool, Owner::Provider),
    field("max_completion_tokens", TOKENS, Owner::Rewritten),
    field("max_tokens", TOKENS, Owner::Rewritten),
    field("max_tool_calls", Rule::Integer(0, 1000), Owner::Unserved),
    field("messages", Rule::Array, Owner::Provider),
    field("metadata", Rule::Object, Owner::Provider),
    field("min_p", Rule::Number(0.0, 1.0), Owner::Provider),
    field("modalities", Rule::List(8), Owner::Provider),
    field("model", Rule::Text(512), Owner::Rewritten),
    field("models", Rule::List(32), Owner::Gateway),
    field("n", Rule::Integer(1, 128), Owner::Provider),
    field("parallel_tool_calls", Rule::Bool, Owner::Provider),
    field("plugins", Rule::Array, Owner::Gateway),
    field("prediction", Rule::Object, Owner::Provider),
    field("presence_penalty", Rule::Number(-2.0, 2.0), Owner::Provider),
    field("preset", Rule::Text(512), Owner::Gateway),
    field("prompt_cache_key", Rule::Text(1024), Owner::Provider),
    field("prompt_cache_options", Rule::Object, Owner::Unserved),
    field("provider", Rule::Object, Owner::Gateway),
    field("reasoning", Rule::Object, Owner::Rewritten),
    field("reasoning_effort", Rule::Word(&Effort::NAMES), Owner::Rewritten),
    field("repetition_penalty", Rule::Number(0.0, 2.0), Owner::Provider),
    field("response_format", Rule::Object, Owner::Provider),
    field("route", Rule::Text(64), Owner::Gateway),
    field("safety_identifier", Rule::Text(256), Owner::Provider),
    field("search_parameters", Rule::Any, Owner::Priced),
    field("seed", Rule::Integer(i64::MIN, i64::MAX), Owner::Provider),
    field("service_tier", Rule::Text(64), Owner::Priced),
    field("session_id", Rule::Text(256), Owner::Gateway),
    field("stop", Rule::Texts(64), Owner::Provider),
    field("stop_server_tools_when", Rule::Any, Owner::Unserved),
    field("store", Rule::Bool, Owner::Provider),
    field("stream", Rule::Bool, Owner::Rewritten),
    field("stream_options", Rule::Object, Owner::Rewritten),
    field("structured_outputs", Rule::Bool, Owner::Gateway),
    field("temperature", Rule::Number(0.0, 2.0), Owner::Provider),
    field("tool_choice", Rule::WordOrObject(&["auto", "none", "required"]), Owner::Provider),
    field("tools", Rule::Array, Owner::Provider),
    field("top_a", Rule::Number(0.0, 1.0), Owner::Provider),
    field("top_k", Rule::Integer(0, 0xFFFF_FFFF), Owner::Provider),
    field("top_logprobs", Rule::Integer(0, 20), Owner::Provider),
    field("top_p", Rule::Number(0.0, 1.0), Owner::Provider),
    field("trace", Rule::Object, Owner::Gateway),
    field("transforms", Rule::List(16), Owner::Gateway),
    field("usage", Rule::Object, Owner::Gateway),
    field("user", Rule::Text(256), Owner::Provider),
    field("verbosity", Rule::Word(&["low", "medium", "high", "xhigh", "max"]), Owner::Provider),
    field("web_search_options", Rule::Object, Owner::Priced),
];

/// The row of a known field.
pub(crate) fn find(name: &str) -> Option<&'static Field> {
    let at = FIELDS.binary_search_by(|field| field.name.cmp(name)).ok()?;
    FIELDS.get(at)
}

/// Checks one value; null was taken for absent before.
pub(crate) fn check<J: Json + ?Sized>(rule: Rule, raw: &J, at: &At<'_>) -> Result<(), RequestError> {
    match rule {
        Rule::Any => Ok(()),
        Rule::Bool => expect_kind(raw, Kind::Bool, at),
        Rule::Array => expect_kind(raw, Kind::Array, at),
        Rule::Object => expect_kind(raw, Kind::Object, at),
        Rule::Text(max) => bounded_text(raw, max, at),
        Rule::Integer(min, max) => integer(raw, min, max, at).map(|_value| ()),
        Rule::Number(min, max) => number(raw, min, max, at).map(|_value| ()),
        Rule::Texts(_) if Kind::of(raw) == Kind::Text => bounded_text(raw, usize::MAX, at),
        Rule::Texts(max) | Rule::List(max) => list(raw, max, at),
        Rule::WordOrObject(_) | Rule::TextOrObject if Kind::of(raw) == Kind::Object => Ok(()),
        Rule::TextOrObject => expect_one_of(raw, &[Kind::Text], "a string or an object", at),
        Rule::WordOrObject(words) => {
            expect_one_of(raw, &[Kind::Text], "a string or an object", at)?;
            word(raw, words, at)
        }
        Rule::Word(words) => word(raw, words, at),
    }
}

/// Fails with both kinds named.
pub(crate) fn expect_kind<J: Json + ?Sized>(raw: &J, kind: Kind, at: &At<'_>) -> Result<(), RequestError> {
    expect_one_of(raw, &[kind], kind.name(), at)
}

pub(crate) fn expect_one_of<J: Json + ?Sized>(
    raw: &J,
    kinds: &[Kind],
    expected: &'static str,
    at: &At<'_>,
) -> Result<(), RequestError> {
    expected_kind(Kind::of(raw), kinds, expected, at)
}

/// Fails unless the kind found is one of those expected.
pub(crate) fn expected_kind(
    got: Kind,
    kinds: &[Kind],
    expected: &'static str,
    at: &At<'_>,
) -> Result<(), RequestError> {
    if kinds.contains(&got) {
        return Ok(());
    }
    Err(at.fail(RequestErrorKind::WrongType { expected, got: got.name() }))
}

fn bounded_text<J: Json + ?Sized>(raw: &J, max: usize, at: &At<'_>) -> Result<(), RequestError> {
    expect_kind(raw, Kind::Text, at)?;
    let length = json::text_len(raw);
    if length == 0 || length <= max {
        return Ok(());
    }
    let expected = format!("at most {max} bytes");
    Err(at.fail(RequestErrorKind::OutOfRange { expected, got: format!("{length} bytes") }))
}

/// An integer within bounds; `1.0` and `1e3` are not integers.
pub(crate) fn integer<J: Json + ?Sized>(
    raw: &J,
    min: i64,
    max: i64,
    at: &At<'_>,
) -> Result<i64, RequestError> {
    if Kind::of(raw) != Kind::Number {
        let got = Kind::of(raw).name();
        return Err(at.fail(RequestErrorKind::WrongType { expected: "an integer", got }));
    }
    let text = raw.json();
    if text.contains(['.', 'e', 'E']) {
        return Err(
            at.fail(RequestErrorKind::WrongType { expected: "an integer", got: "a fractional number" })
        );
    }
    match text.parse::<i64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => {
            let expected = format!("an integer from {min} to {max}");
            Err(at.fail(RequestErrorKind::OutOfRange { expected, got: excerpt(text) }))
        }
    }
}

fn number<J: Json + ?Sized>(raw: &J, min: f64, max: f64, at: &At<'_>) -> Result<f64, RequestError> {
    expect_kind(raw, Kind::Number, at)?;
    match raw.json().parse::<f64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => {
            let expected = format!("a number from {min} to {max}");
            Err(at.fail(RequestErrorKind::OutOfRange { expected, got: excerpt(raw.json()) }))
        }
    }
}

fn list<J: Json + ?Sized>(raw: &J, max: usize, at: &At<'_>) -> Result<(), RequestError> {
    expect_one_of(raw, &[Kind::Array], "an array of strings", at)?;
    Walk::over(raw.json())
        .elements(|index, walk| {
            if index >= max {
                let expected = format!("at most {max} elements");
                return Err(at.fail(RequestErrorKind::OutOfRange { expected, got: "more".to_owned() }));
            }
            expected_kind(walk.kind(), &[Kind::Text], Kind::Text.name(), &at.index(index))
        })
        .map(|_count| ())
}

/// One of a few words.
pub(crate) fn word<J: Json + ?Sized>(raw: &J, words: &[&str], at: &At<'_>) -> Result<(), RequestError> {
    expect_kind(raw, Kind::Text, at)?;
    let text = raw.text().unwrap_or_default();
    if words.contains(&text.as_ref()) {
        return Ok(());
    }
    Err(at.fail(RequestErrorKind::Unknown { expected: words.join(", "), got: excerpt(&text) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_every_field_is_found() {
        assert!(FIELDS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for field in FIELDS {
            assert!(find(field.name).is_some(), "{}", field.name);
        }
        assert!(find("no_such_field").is_none());
    }
}
