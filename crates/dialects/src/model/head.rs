//! The cheap first reading of a chat request: the hot path's only one.
//!
//! Validates everything a 400 can be said about, and keeps the top level as raw slices of the body. Builds
//! no tree of the messages; [`RequestHead::to_request`] does, for translation. A plainly sound body is read by
//! `sound` in one pass; what that gives up on goes through the parser, which says what is wrong.

use crate::json::{self, Json, Kind, Members};
use crate::model::fields::{self, Field, Owner};
use crate::model::messages_shape::{Facts, get, object};
use crate::model::reasoning::{Effort, Reasoning};
use crate::model::request::ChatRequest;
use crate::model::request_error::{At, RequestError, RequestErrorKind};
use crate::model::tree;
use crate::scan::{ScanFault, scan};
use crate::sound::{self, Sound};
use crate::walk::{Slice, Walk};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Deepest nesting accepted.
pub const MAX_DEPTH: usize = 128;

/// A validated request, borrowing from its body.
#[derive(Debug, Clone)]
pub struct RequestHead<'a> {
    /// Known fields that are null are left out.
    members: Members<'a, Slice<'a>>,
    model: Option<Cow<'a, str>>,
    max_tokens: Option<u32>,
    n: u32,
    stream: bool,
    reasoning: Option<Reasoning>,
    facts: Facts,
}

/// Reads and validates a body. The error says where and why; it is always the client's fault (400).
pub fn parse_chat_request(body: &[u8]) -> Result<RequestHead<'_>, RequestError> {
    let root = At::ROOT;
    let text = std::str::from_utf8(body)
        .map_err(|error| root.fail(RequestErrorKind::NotUtf8 { offset: error.valid_up_to() }))?;
    let quick = sound::read(text, MAX_DEPTH, json::MAX_MEMBERS);
    let Sound { mut members, longs } = quick.map_or_else(|| slowly(text), Ok)?;
    if let Some(key) = json::duplicate(&members) {
        return Err(root.fail(RequestErrorKind::DuplicateKey { key: key.chars().take(64).collect() }));
    }
    members.retain(|(key, raw)| Kind::of(raw) != Kind::Null || fields::find(key).is_none());
    for (key, value) in &members {
        if let Some(field) = fields::find(key) {
            fields::check(field.rule, value, &root.key(key))?;
        }
    }
    let mut facts = Facts::default();
    let messages =
        get(&members, "messages").ok_or_else(|| root.key("messages").fail(RequestErrorKind::Missing))?;
    facts.read_messages(messages.knowing(&longs), &root.key("messages"))?;
    if let Some(tools) = get(&members, "tools") {
        facts.read_tools(tools.knowing(&longs), &root.key("tools"))?;
    }
    if let Some(format) = get(&members, "response_format") {
        let at = root.key("response_format");
        response_format(raw(format).ok_or_else(|| at.fail(RequestErrorKind::Missing))?, &at)?;
        facts.text_bytes += format.len();
    }
    Ok(RequestHead {
        model: get(&members, "model").and_then(Slice::content),
        max_tokens: smaller(integer(&members, "max_tokens"), integer(&members, "max_completion_tokens")),
        n: integer(&members, "n").unwrap_or(1),
        stream: get(&members, "stream").is_some_and(|value| value.text_of() == "true"),
        reasoning: reasoning(&members)?,
        facts,
        members,
    })
}

/// By the parser, whose errors say where and why.
fn slowly(text: &str) -> Result<Sound<'_>, RequestError> {
    let members = top_level(text)?;
    scan(text, MAX_DEPTH).map_err(|fault| At::ROOT.fail(scan_error(text, fault)))?;
    let measured = members.into_iter().map(|(key, raw)| (key, Walk::over(raw.get()).value()));
    Ok(Sound { members: measured.collect(), longs: Vec::new() })
}

/// A value as the parser sees it; read again, so for small ones and slow ways.
fn raw(value: Slice<'_>) -> Option<&RawValue> {
    serde_json::from_str(value.text_of()).ok()
}

fn top_level(text: &str) -> Result<Members<'_>, RequestError> {
    json::members(text).map_err(|error| {
        if error.is_data() {
            // Not an object, or too many members: say which.
            let got = serde_json::from_str::<&RawValue>(text).map(Kind::of);
            return At::ROOT.fail(match got {
                Err(error) => syntax(&error),
                Ok(kind) if kind != Kind::Object => {
                    RequestErrorKind::WrongType { expected: "an object", got: kind.name() }
                }
                Ok(_) => RequestErrorKind::OutOfRange {
                    expected: format!("at most {} members", json::MAX_MEMBERS),
                    got: "more".to_owned(),
                },
            });
        }
        At::ROOT.fail(syntax(&error))
    })
}

fn syntax(error: &serde_json::Error) -> RequestErrorKind {
    let text = error.to_string();
    let detail = text.rsplit_once(" at line ").map_or(text.as_str(), |(detail, _place)| detail);
    RequestErrorKind::Syntax { line: error.line(), column: error.column(), detail: detail.to_owned() }
}

fn scan_error(text: &str, fault: ScanFault) -> RequestErrorKind {
    match fault {
        ScanFault::TooDeep => RequestErrorKind::TooDeep { limit: MAX_DEPTH },
        ScanFault::LoneSurrogate(offset) => {
            let before = text.as_bytes().get(..offset).unwrap_or_default();
            let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
            RequestErrorKind::Syntax {
                line: memchr::memchr_iter(b'\n', before).count() + 1,
                column: offset - line_start + 1,
                detail: "lone surrogate in a string".to_owned(),
            }
        }
    }
}

/// A number that validation has already bounded.
fn integer<V: Json + Copy>(members: &Members<'_, V>, key: &str) -> Option<u32> {
    get(members, key).and_then(|value| value.json().parse().ok())
}

fn smaller(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn response_format(raw: &RawValue, at: &At<'_>) -> Result<(), RequestError> {
    let members = object(raw, at)?;
    let at_kind = at.key("type");
    let kind = get(&members, "type").ok_or_else(|| at_kind.fail(RequestErrorKind::Missing))?;
    fields::expect_kind(kind, Kind::Text, &at_kind)?;
    if json::text(kind).is_some_and(|kind| kind == "json_schema") {
        let at_schema = at.key("json_schema");
        let schema = get(&members, "json_schema").ok_or_else(|| at_schema.fail(RequestErrorKind::Missing))?;
        let members = object(schema, &at_schema)?;
        if let Some(schema) = get(&members, "schema") {
            fields::expect_kind(schema, Kind::Object, &at_schema.key("schema"))?;
        }
    }
    Ok(())
}

/// `reasoning` wins over its shorthands `reasoning_effort` and `include_reasoning`.
fn reasoning(members: &Members<'_, Slice<'_>>) -> Result<Option<Reasoning>, RequestError> {
    let effort = |name: Cow<'_, str>| Effort::parse(&name);
    let shorthand = get(members, "reasoning_effort").and_then(Slice::content);
    let shown = get(members, "include_reasoning").map(|value| value.text_of() == "true");
    let Some(raw) = get(members, "reasoning").and_then(raw) else {
        let effort = shorthand.and_then(effort);
        let said = effort.is_some() || shown.is_some();
        let exclude = shown == Some(false);
        return Ok(said.then(|| Reasoning { effort, exclude, ..Reasoning::default() }));
    };
    let at = At::ROOT;
    let at = at.key("reasoning");
    let inner = object(raw, &at)?;
    let rules = [
        ("effort", fields::Rule::Word(&Effort::NAMES)),
        ("max_tokens", fields::Rule::Integer(0, 0xFFFF_FFFF)),
        ("exclude", fields::Rule::Bool),
        ("enabled", fields::Rule::Bool),
        ("summary", fields::Rule::Text(64)),
    ];
    for (key, rule) in rules {
        if let Some(value) = get(&inner, key) {
            fields::check(rule, value, &at.key(key))?;
        }
    }
    let is = |key: &str| get(&inner, key).map(|raw| raw.get() == "true");
    Ok(Some(Reasoning {
        effort: get(&inner, "effort").and_then(json::text).or(shorthand).and_then(effort),
        max_tokens: integer(&inner, "max_tokens").filter(|tokens| *tokens > 0),
        exclude: is("exclude").or(shown.map(|shown| !shown)).unwrap_or(false),
        enabled: is("enabled"),
        summary: get(&inner, "summary").and_then(json::text).map(Cow::into_owned),
    }))
}

impl<'a> RequestHead<'a> {
    /// The model asked for, as written.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The caller's fallback list, in order, without `model`.
    #[must_use]
    pub fn models(&self) -> Vec<Cow<'a, str>> {
        self.texts("models")
    }

    /// The `provider` preferences, unparsed.
    #[must_use]
    pub fn provider(&self) -> Option<&'a RawValue> {
        self.member("provider")
    }

    /// Any top-level field by name, unparsed; `None` when absent or null.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&'a RawValue> {
        self.value(name).and_then(raw)
    }

    fn value(&self, name: &str) -> Option<Slice<'a>> {
        get(&self.members, name)
    }

    /// A top-level string field.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.value(name).and_then(Slice::content)
    }

    /// A field that is a string or a list of strings.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<Cow<'a, str>> {
        let mut out = Vec::new();
        match self.member(name) {
            Some(raw) if Kind::of(raw) == Kind::Array => {
                let _all = json::each_element(raw, |_, element| {
                    out.extend(json::text(element));
                    Ok::<(), std::convert::Infallible>(())
                });
            }
            Some(raw) => out.extend(json::text(raw)),
            None => {}
        }
        out
    }

    #[must_use]
    pub fn stream(&self) -> bool {
        self.stream
    }

    /// The smaller of `max_tokens` and `max_completion_tokens`.
    #[must_use]
    pub fn max_tokens(&self) -> Option<u32> {
        self.max_tokens
    }

    /// Choices asked for, 1 unless said otherwise.
    #[must_use]
    pub fn n(&self) -> u32 {
        self.n
    }

    /// Whether any tool is offered; an empty list offers none.
    #[must_use]
    pub fn has_tools(&self) -> bool {
        self.facts.tools > 0
    }

    #[must_use]
    pub fn has_response_format(&self) -> bool {
        self.value("response_format").is_some()
    }

    #[must_use]
    pub fn reasoning(&self) -> Option<&Reasoning> {
        self.reasoning.as_ref()
    }

    /// Whether the caller asks the model to reason.
    #[must_use]
    pub fn wants_reasoning(&self) -> bool {
        self.reasoning.as_ref().is_some_and(Reasoning::wanted)
    }

    /// Whether the model is asked not to reason.
    #[must_use]
    pub fn refuses_reasoning(&self) -> bool {
        self.reasoning.as_ref().is_some_and(Reasoning::refused)
    }

    /// Whether reasoning must be left out of the answer.
    #[must_use]
    pub fn excludes_reasoning(&self) -> bool {
        self.reasoning.as_ref().is_some_and(|reasoning| reasoning.exclude)
    }

    /// The catalog's `supported_parameters` names that this request uses, sorted. A request that names
    /// `json_schema` needs `structured_outputs`; other forms need `response_format`.
    #[must_use]
    pub fn required_parameters(&self) -> Vec<&'static str> {
        let idle = |name: &str| !self.has_tools() && TOOL_DIALS.contains(&name);
        let used = |name: &&&'static str| self.value(name).is_some() && !idle(name);
        let mut needed: Vec<&'static str> = PARAMETERS.iter().filter(used).copied().collect();
        if self.has_tools() {
            needed.push("tools");
        }
        if let Some(format) = self.member("response_format") {
            let kind = json::members(format.get())
                .ok()
                .and_then(|members| get(&members, "type").and_then(json::text));
            match kind.as_deref() {
                Some("text") => {}
                Some("json_schema") => needed.push("structured_outputs"),
                _ => needed.push("response_format"),
            }
        }
        if self.wants_reasoning() {
            needed.push("reasoning");
        }
        needed.sort_unstable();
        needed
    }

    /// Kinds of input used: always `text`, then `image`, `file`, `audio`, `video`.
    #[must_use]
    pub fn input_modalities(&self) -> Vec<&'static str> {
        let Facts { images, files, audio, videos, .. } = self.facts;
        let counts = [(images, "image"), (files, "file"), (audio, "audio"), (videos, "video")];
        std::iter::once("text")
            .chain(counts.into_iter().filter(|(n, _)| *n > 0).map(|(_, name)| name))
            .collect()
    }

    /// UTF-8 bytes of all text the model will read, with tools and schemas as JSON. Not images or files.
    #[must_use]
    pub fn text_bytes(&self) -> u64 {
        u64::try_from(self.facts.text_bytes).unwrap_or(u64::MAX)
    }

    /// Bytes of all top-level members beside `messages`, `tools` and `response_format`: a provider may read any
    /// of them as prompt.
    #[must_use]
    pub fn other_bytes(&self) -> u64 {
        let counted = ["messages", "tools", "response_format"];
        let others = self.members.iter().filter(|(key, _)| !counted.contains(&key.as_ref()));
        others.map(|(_, value)| u64::try_from(value.len()).unwrap_or(u64::MAX)).fold(0, u64::saturating_add)
    }

    #[must_use]
    pub fn image_count(&self) -> u32 {
        self.facts.images
    }

    #[must_use]
    pub fn file_count(&self) -> u32 {
        self.facts.files
    }

    #[must_use]
    pub fn audio_count(&self) -> u32 {
        self.facts.audio
    }

    #[must_use]
    pub fn video_count(&self) -> u32 {
        self.facts.videos
    }

    #[must_use]
    pub fn message_count(&self) -> usize {
        self.facts.messages
    }

    /// The whole tree. Fails only on what a raw reading cannot see, such as a number beyond a double.
    pub fn to_request(&self) -> Result<ChatRequest, RequestError> {
        tree::build(self)
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// All members as JSON with their row in the table, `None` for fields nobody knows.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &'a str, Option<&'static Field>)> {
        self.members.iter().map(|(key, value)| (key.as_ref(), value.text_of(), fields::find(key)))
    }

    /// Fields that a tariff does not cover, unless the provider's quirks list them as priced.
    pub(crate) fn unpriced(&self, priced: &[String]) -> Option<&str> {
        let harmless = |key: &str, json: &str| {
            json == "false"
                || key == "service_tier" && matches!(json, "\"auto\"" | "\"default\"" | "\"standard\"")
        };
        self.members()
            .filter(|(_, _, field)| field.is_some_and(|field| field.owner == Owner::Priced))
            .find(|(key, json, _)| !harmless(key, json) && !priced.iter().any(|name| name == key))
            .map(|(key, _, _)| key)
    }
}

/// Fields that mean nothing without tools; providers refuse them then.
pub(crate) const TOOL_DIALS: [&str; 2] = ["parallel_tool_calls", "tool_choice"];

/// Fields whose name in the catalog is their own.
const PARAMETERS: &[&str] = &[
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "min_p",
    "parallel_tool_calls",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "stop",
    "temperature",
    "tool_choice",
    "top_a",
    "top_k",
    "top_logprobs",
    "top_p",
    "verbosity",
    "web_search_options",
];
