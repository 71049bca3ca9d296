//! A script: how one request shall go. Read from a header, from a line in the last user message, or set
//! beforehand by a control route. A misspelled field is refused, so that a test cannot pass by accident.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The header that carries a script, for clients that talk to the simulator without a gateway between.
pub(crate) const HEADER: &str = "x-sim-script";
/// What opens a script inside a message: `[[sim {"latency_ms": 50}]]`.
const OPEN: &str = "[[sim ";
const CLOSE: &str = "]]";

/// Every field is optional; the empty script is a healthy provider.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Script {
    /// Pause before the response head.
    pub(crate) latency_ms: u64,
    /// A further pause before the head; adds to `latency_ms`. Head lines are never trickled one by one.
    pub(crate) slow_headers_ms: u64,
    /// Pause between the head and the first frame.
    pub(crate) first_token_ms: u64,
    /// Pause before every content frame after the first.
    pub(crate) chunk_delay_ms: u64,
    /// Into how many content frames the text is cut; by default one a word.
    pub(crate) chunks: Option<usize>,
    /// The answer, instead of one made from the prompt.
    pub(crate) text: Option<String>,
    /// The exact number of output tokens; the answer becomes a run of words of that length.
    pub(crate) completion_tokens: Option<usize>,
    /// Prompt tokens to report instead of the counted ones.
    pub(crate) prompt_tokens: Option<u64>,
    /// How many prompt tokens to report as read from a cache.
    pub(crate) cached_tokens: Option<u64>,
    /// Reported instead of the true usage, whatever its shape; `null` leaves usage out.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Value>,
    /// Refuse with this status before any output.
    pub(crate) status: Option<u16>,
    /// Body of the refusal: JSON as given, or text sent as `text/html`. By default the provider's own shape.
    pub(crate) error_body: Option<Value>,
    /// Value of the refusal's `retry-after` header.
    pub(crate) retry_after: Option<Value>,
    /// Drop the connection after this many content frames.
    pub(crate) cut_after_chunks: Option<usize>,
    /// Say nothing more after this many content frames, until the client leaves.
    pub(crate) stall_after_chunks: Option<usize>,
    /// Send one broken frame after this many content frames, then go on.
    pub(crate) malformed_after_chunks: Option<usize>,
    /// Send the provider's error event after this many content frames, then end.
    pub(crate) error_after_chunks: Option<usize>,
    pub(crate) split: Option<Split>,
    /// Finish reason to report.
    pub(crate) finish: Option<String>,
    /// Finish without any output.
    pub(crate) empty: bool,
    /// Leave out the closing `[DONE]` or `message_stop`.
    pub(crate) no_done: bool,
    /// Says that this provider bills abandoned streams to their end. Shown in the journal, changes nothing.
    pub(crate) bills_on: bool,
    /// Send the usage frame before the content instead of after it.
    pub(crate) wire_usage_first: bool,
}

/// How frames are torn over network writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Split {
    /// Each byte is written by itself.
    Bytes,
    /// Every character of several bytes is torn after its first byte.
    Utf8,
}

/// Keeps `null` apart from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Reads a script from JSON text; the error is a sentence for the client.
pub(crate) fn parse(json: &str) -> Result<Script, String> {
    serde_json::from_str(json).map_err(|error| format!("bad simulator script: {error}"))
}

/// Finds the script in a message and gives it with the message's other text.
pub(crate) fn in_text(text: &str) -> Result<(Option<Script>, String), String> {
    let Some((before, rest)) = text.split_once(OPEN) else {
        return Ok((None, text.to_owned()));
    };
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Script>();
    let script = match values.next() {
        Some(Ok(script)) => script,
        Some(Err(error)) => return Err(format!("bad simulator script: {error}")),
        None => return Err("bad simulator script: empty".to_owned()),
    };
    let after = rest.get(values.byte_offset()..).unwrap_or_default();
    let Some(after) = after.trim_start().strip_prefix(CLOSE) else {
        return Err("bad simulator script: not closed by ]]".to_owned());
    };
    Ok((Some(script), format!("{before}{after}").trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_script_line_is_taken_out_of_the_text_around_it() {
        let (script, text) = in_text(r#"Hello [[sim {"text":"]] {", "chunks": 2}]] there"#).unwrap();
        let script = script.unwrap();
        assert_eq!((script.text.as_deref(), script.chunks), (Some("]] {"), Some(2)));
        assert_eq!(text, "Hello  there");
    }

    #[test]
    fn null_usage_differs_from_no_usage() {
        assert_eq!(parse(r#"{"usage":null}"#).unwrap().usage, Some(json!(null)));
        assert_eq!(parse("{}").unwrap().usage, None);
    }

    #[test]
    fn misspelled_or_broken_scripts_are_refused() {
        for text in [r#"[[sim {"latency":1}]]"#, "[[sim {", r"[[sim {} ", "[[sim nonsense]]"] {
            assert!(in_text(text).is_err(), "{text}");
        }
    }
}
