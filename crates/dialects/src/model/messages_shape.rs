//! The shape of `messages` and `tools`: roles, parts and calls are known, and what they weigh is counted.
//!
//! Builds no tree. Text is read once, where it stands; the first fault ends it with its path.

use crate::json::{self, Json, Kind, Members};
use crate::model::fields::{expect_kind, expect_one_of, expected_kind, word};
use crate::model::message::Role;
use crate::model::request_error::{At, RequestError, RequestErrorKind};
use crate::walk::{Slice, Walk};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What the messages and tools hold, as far as routing and quoting need to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) messages: usize,
    /// UTF-8 bytes of all textual content.
    pub(crate) text_bytes: usize,
    pub(crate) images: u32,
    pub(crate) audio: u32,
    pub(crate) files: u32,
    pub(crate) videos: u32,
    pub(crate) tools: usize,
    /// Some message has the role `developer`.
    pub(crate) developer: bool,
    /// Somewhere a member that only some providers know: `cache_control`, `reasoning`, ….
    pub(crate) extensions: bool,
    /// The type of a tool that is not a function.
    pub(crate) foreign_tool: Option<String>,
}

const PARTS: [&str; 6] = ["text", "image_url", "input_audio", "file", "video_url", "refusal"];

/// Members of a message that providers other than the one that made them may refuse.
pub(crate) const EXTENSIONS: [&str; 4] =
    ["cache_control", "reasoning", "reasoning_content", "reasoning_details"];

/// An object's members, refusing other kinds and duplicate keys.
pub(crate) fn object<'a>(raw: &'a RawValue, at: &At<'_>) -> Result<Members<'a>, RequestError> {
    expect_kind(raw, Kind::Object, at)?;
    let members = json::members(raw.get()).map_err(|_too_many| too_many(at))?;
    unique(&members, at)?;
    Ok(members)
}

/// The same of the object that begins here, stepping over it.
fn step<'a>(walk: &mut Walk<'a>, at: &At<'_>) -> Result<Members<'a, Slice<'a>>, RequestError> {
    expected_kind(walk.kind(), &[Kind::Object], Kind::Object.name(), at)?;
    let members = walk.members(json::MAX_MEMBERS).ok_or_else(|| too_many(at))?;
    unique(&members, at)?;
    Ok(members)
}

fn too_many(at: &At<'_>) -> RequestError {
    let expected = format!("at most {} members", json::MAX_MEMBERS);
    at.fail(RequestErrorKind::OutOfRange { expected, got: "more".to_owned() })
}

fn unique<V>(members: &[(Cow<'_, str>, V)], at: &At<'_>) -> Result<(), RequestError> {
    match json::duplicate(members) {
        Some(key) => Err(at.fail(RequestErrorKind::DuplicateKey { key: key.chars().take(64).collect() })),
        None => Ok(()),
    }
}

/// A member that is there and not null.
pub(crate) fn get<V: Json + Copy>(members: &[(Cow<'_, str>, V)], key: &str) -> Option<V> {
    members
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, raw)| *raw)
        .filter(|raw| Kind::of(raw) != Kind::Null)
}

fn need<'a>(
    members: &Members<'a, Slice<'a>>,
    key: &str,
    kind: Kind,
    at: &At<'_>,
) -> Result<Slice<'a>, RequestError> {
    let at = at.key(key);
    let raw = get(members, key).ok_or_else(|| at.fail(RequestErrorKind::Missing))?;
    expect_kind(&raw, kind, &at)?;
    Ok(raw)
}

impl Facts {
    pub(crate) fn read_messages(&mut self, list: Slice<'_>, at: &At<'_>) -> Result<(), RequestError> {
        let count = list.walk().elements(|index, message| self.message(message, &at.index(index)))?;
        self.messages = count;
        if count == 0 {
            let expected = "at least one message".to_owned();
            return Err(at.fail(RequestErrorKind::OutOfRange { expected, got: "none".to_owned() }));
        }
        Ok(())
    }

    fn message(&mut self, walk: &mut Walk<'_>, at: &At<'_>) -> Result<(), RequestError> {
        let members = step(walk, at)?;
        let role = need(&members, "role", Kind::Text, at)?;
        word(&role, &Role::NAMES, &at.key("role"))?;
        let role = role.content().unwrap_or_default();
        self.developer |= role == "developer";
        for (key, value) in &members {
            self.message_member(key, *value, &at.key(key))?;
        }
        if role == "tool" {
            need(&members, "tool_call_id", Kind::Text, at)?;
        }
        if role != "assistant" && get(&members, "content").is_none() {
            return Err(at.key("content").fail(RequestErrorKind::Missing));
        }
        Ok(())
    }

    fn message_member(&mut self, key: &str, raw: Slice<'_>, at: &At<'_>) -> Result<(), RequestError> {
        if Kind::of(&raw) == Kind::Null {
            return Ok(());
        }
        self.extensions |= EXTENSIONS.contains(&key);
        match key {
            "role" => {}
            "content" => self.content(raw, at)?,
            "name" | "tool_call_id" | "refusal" | "reasoning" | "reasoning_content" => {
                expect_kind(&raw, Kind::Text, at)?;
                self.text_bytes += raw.text_len();
            }
            "tool_calls" => {
                expect_kind(&raw, Kind::Array, at)?;
                raw.walk().elements(|index, call| self.tool_call(call, &at.index(index)))?;
            }
            "reasoning_details" => {
                expect_kind(&raw, Kind::Array, at)?;
                raw.walk().elements(|index, detail| {
                    let at = at.index(index);
                    let members = step(detail, &at)?;
                    need(&members, "type", Kind::Text, &at).map(|_kind| ())
                })?;
                self.text_bytes += raw.len();
            }
            "cache_control" => expect_kind(&raw, Kind::Object, at)?,
            // A member we do not know weighs its whole text: an upper bound of what it can cost.
            _ => self.text_bytes += raw.len(),
        }
        Ok(())
    }

    fn content(&mut self, raw: Slice<'_>, at: &At<'_>) -> Result<(), RequestError> {
        expect_one_of(&raw, &[Kind::Text, Kind::Array], "a string or an array of parts", at)?;
        if Kind::of(&raw) == Kind::Text {
            self.text_bytes += raw.text_len();
            return Ok(());
        }
        raw.walk().elements(|index, part| self.part(part, &at.index(index))).map(|_count| ())
    }

    fn part(&mut self, walk: &mut Walk<'_>, at: &At<'_>) -> Result<(), RequestError> {
        let members = step(walk, at)?;
        self.extensions |= get(&members, "cache_control").is_some();
        let kind = need(&members, "type", Kind::Text, at)?;
        word(&kind, &PARTS, &at.key("type"))?;
        match kind.content().unwrap_or_default().as_ref() {
            kind @ ("text" | "refusal") => {
                self.text_bytes += need(&members, kind, Kind::Text, at)?.text_len();
            }
            kind @ "image_url" => {
                url_of(&members, kind, at)?;
                self.images = self.images.saturating_add(1);
            }
            kind @ "video_url" => {
                url_of(&members, kind, at)?;
                self.videos = self.videos.saturating_add(1);
            }
            kind @ "input_audio" => {
                let audio = need(&members, kind, Kind::Object, at)?;
                let at = at.key(kind);
                let audio = step(&mut audio.walk(), &at)?;
                need(&audio, "data", Kind::Text, &at)?;
                self.audio = self.audio.saturating_add(1);
            }
            _ => {
                need(&members, "file", Kind::Object, at)?;
                self.files = self.files.saturating_add(1);
            }
        }
        Ok(())
    }

    fn tool_call(&mut self, walk: &mut Walk<'_>, at: &At<'_>) -> Result<(), RequestError> {
        let start = walk.at();
        let members = step(walk, at)?;
        need(&members, "id", Kind::Text, at)?;
        if get(&members, "type").and_then(Slice::content).is_some_and(|kind| kind != "function") {
            self.text_bytes += walk.at() - start;
            return Ok(());
        }
        let function = need(&members, "function", Kind::Object, at)?;
        let at = at.key("function");
        let function = step(&mut function.walk(), &at)?;
        self.text_bytes += need(&function, "name", Kind::Text, &at)?.text_len();
        self.text_bytes += need(&function, "arguments", Kind::Text, &at)?.text_len();
        Ok(())
    }

    pub(crate) fn read_tools(&mut self, list: Slice<'_>, at: &At<'_>) -> Result<(), RequestError> {
        self.text_bytes += list.len();
        self.tools = list.walk().elements(|index, tool| self.tool(tool, &at.index(index)))?;
        Ok(())
    }

    fn tool(&mut self, walk: &mut Walk<'_>, at: &At<'_>) -> Result<(), RequestError> {
        let members = step(walk, at)?;
        self.extensions |= get(&members, "cache_control").is_some();
        let kind = need(&members, "type", Kind::Text, at)?.content().unwrap_or_default();
        if kind != "function" {
            if kind != "custom" {
                self.foreign_tool = Some(kind.chars().take(64).collect());
            }
            return Ok(());
        }
        let function = need(&members, "function", Kind::Object, at)?;
        let at = at.key("function");
        let function = step(&mut function.walk(), &at)?;
        need(&function, "name", Kind::Text, &at)?;
        if let Some(parameters) = get(&function, "parameters") {
            expect_kind(&parameters, Kind::Object, &at.key("parameters"))?;
        }
        Ok(())
    }
}

fn url_of(members: &Members<'_, Slice<'_>>, key: &str, at: &At<'_>) -> Result<(), RequestError> {
    let holder = need(members, key, Kind::Object, at)?;
    let at = at.key(key);
    need(&step(&mut holder.walk(), &at)?, "url", Kind::Text, &at).map(|_url| ())
}
