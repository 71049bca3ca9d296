//! Small helpers over `serde_json`'s raw values: one level of a document at a time, without a tree.
//!
//! Knows no field of any API. Everything here works on text that may be hostile.

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The members of one object in their order, values unparsed.
pub(crate) type Members<'a, V = &'a RawValue> = Vec<(Cow<'a, str>, V)>;

/// An unparsed value of a sound document, without white space around it.
pub(crate) trait Json {
    fn json(&self) -> &str;

    /// The content of a string value, `None` when it is not a string or has a lone surrogate.
    fn text(&self) -> Option<Cow<'_, str>>;
}

impl Json for RawValue {
    fn json(&self) -> &str {
        self.get()
    }

    fn text(&self) -> Option<Cow<'_, str>> {
        text(self)
    }
}

impl<J: Json + ?Sized> Json for &J {
    fn json(&self) -> &str {
        (**self).json()
    }

    fn text(&self) -> Option<Cow<'_, str>> {
        (**self).text()
    }
}

/// More members than any real request has; bounds the memory that a hostile object can claim.
pub(crate) const MAX_MEMBERS: usize = 4096;

/// The six kinds of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

impl Kind {
    /// Told by the first byte; a raw value has no leading white space.
    pub(crate) fn of<J: Json + ?Sized>(raw: &J) -> Self {
        Self::of_byte(raw.json().as_bytes().first().copied())
    }

    /// By the first byte.
    pub(crate) fn of_byte(first: Option<u8>) -> Self {
        match first {
            Some(b'n') => Self::Null,
            Some(b't' | b'f') => Self::Bool,
            Some(b'"') => Self::Text,
            Some(b'[') => Self::Array,
            Some(b'{') => Self::Object,
            _ => Self::Number,
        }
    }

    /// With its article, for messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// Splits an object into its members. Duplicates are kept: see [`duplicate`].
pub(crate) fn members(text: &str) -> Result<Members<'_>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(MembersVisitor)?;
    deserializer.end()?;
    Ok(members)
}

/// Collects the members of an object.
pub(crate) struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut out = Vec::with_capacity(16);
        while let Some(Text(key)) = map.next_key()? {
            if out.len() >= MAX_MEMBERS {
                return Err(A::Error::custom("too many members in one object"));
            }
            out.push((key, map.next_value::<&'de RawValue>()?));
        }
        Ok(out)
    }
}

/// The first key that appears twice.
pub(crate) fn duplicate<'m, V>(members: &'m [(Cow<'_, str>, V)]) -> Option<&'m str> {
    if members.len() <= 8 {
        let mut keys = members.iter().map(|(key, _)| key.as_ref());
        let twice = |&(at, key): &(usize, &str)| members.iter().skip(at + 1).any(|(other, _)| other == key);
        return keys.by_ref().enumerate().find(twice).map(|(_, key)| key);
    }
    let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_ref()).collect();
    keys.sort_unstable();
    keys.windows(2).find_map(|pair| match pair {
        [a, b] if a == b => Some(*a),
        _ => None,
    })
}

/// Calls `visit` for every element of an array, without collecting them. Returns their number.
/// `raw` must be an array inside an already parsed document.
pub(crate) fn each_element<'a, E>(
    raw: &'a RawValue,
    mut visit: impl FnMut(usize, &'a RawValue) -> Result<(), E>,
) -> Result<usize, E> {
    let mut refused = None;
    let mut count = 0;
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    let visitor = ElementsVisitor {
        visit: &mut |element| {
            let outcome = visit(count, element).map_err(|error| refused = Some(error));
            count += 1;
            outcome.is_ok()
        },
    };
    // The document was parsed before, so the only failure here is the visitor's own refusal.
    let _parsed = deserializer.deserialize_seq(visitor);
    match refused {
        Some(error) => Err(error),
        None => Ok(count),
    }
}

struct ElementsVisitor<'f, 'a> {
    visit: &'f mut dyn FnMut(&'a RawValue) -> bool,
}

impl<'a> Visitor<'a> for ElementsVisitor<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element::<&'a RawValue>()? {
            if !(self.visit)(element) {
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// A string that borrows from the document when nothing in it is escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// The content of a string value, `None` when it is not a string or has a lone surrogate.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0)
}

/// Bytes of a string value once unescaped, without building it. 0 for anything else.
pub(crate) fn text_len<J: Json + ?Sized>(raw: &J) -> usize {
    let Some(inner) = raw.json().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return 0 };
    let mut rest = inner.as_bytes();
    let mut length = 0;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let escape = rest.get(at..).unwrap_or_default();
        let (taken, gives) = match escape.get(1) {
            Some(b'u') => (6, unicode_len(escape.get(2..6).unwrap_or_default())),
            _ => (2, 1),
        };
        length += at + gives;
        rest = escape.get(taken..).unwrap_or_default();
    }
    length + rest.len()
}

/// UTF-8 bytes of `\uXXXX`; each half of a surrogate pair counts two of the pair's four.
pub(crate) fn unicode_len(hex: &[u8]) -> usize {
    match hex4(hex) {
        Some(0..=0x7F) => 1,
        Some(0x80..=0x7FF | 0xD800..=0xDFFF) => 2,
        _ => 3,
    }
}

/// Four hexadecimal digits as a number.
pub(crate) fn hex4(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.len() == 4)?;
    u32::from_str_radix(text, 16).ok()
}

/// Appends a value as JSON. Our wire types always serialize; a failure would write `null`.
pub(crate) fn push_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

/// Writes one object member by member, values given as JSON or as something that serializes.
#[derive(Debug)]
pub(crate) struct ObjectWriter {
    out: Vec<u8>,
    empty: bool,
}

impl ObjectWriter {
    /// Continues `out` with an opening brace.
    pub(crate) fn open(mut out: Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    pub(crate) fn raw(&mut self, key: &str, json: &str) {
        self.key(key);
        self.out.extend_from_slice(json.as_bytes());
    }

    pub(crate) fn value<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        self.key(key);
        push_json(&mut self.out, value);
    }

    /// A member only when there is something to say.
    pub(crate) fn optional<T: Serialize>(&mut self, key: &str, value: Option<&T>) {
        if let Some(value) = value {
            self.value(key, value);
        }
    }

    /// Writes a key, and lets `fill` write the value behind it.
    pub(crate) fn with(&mut self, key: &str, fill: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        self.key(key);
        self.out = fill(std::mem::take(&mut self.out));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.empty
    }

    /// What was written so far, without a closing brace.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(crate) fn close(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }

    fn key(&mut self, key: &str) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        // Nearly every key is a plain word: there is nothing to escape in it.
        if key.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            self.out.push(b'"');
            self.out.extend_from_slice(key.as_bytes());
            self.out.extend_from_slice(b"\":");
        } else {
            push_json(&mut self.out, key);
            self.out.push(b':');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_string_is_that_of_its_decoded_form() {
        for json in [
            r#""""#,
            r#""abc""#,
            r#""a\n\"b\\""#,
            r#""\u0041\u00e9\u20ac""#,
            r#""\ud83d\ude00x""#,
            "\"né€😀\"",
        ] {
            let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
            let decoded: String = serde_json::from_str(json).unwrap();
            assert_eq!(text_len(&*raw), decoded.len(), "{json}");
        }
    }

    #[test]
    fn a_key_written_twice_is_found_among_many() {
        let many: String = (0..50).map(|i| format!("\"k{i}\":1,")).collect();
        assert_eq!(duplicate(&members(&format!("{{{many}\"z\":0}}")).unwrap()), None);
        assert_eq!(duplicate(&members(&format!("{{{many}\"k7\":0}}")).unwrap()), Some("k7"));
        assert_eq!(duplicate(&members(r#"{"a":1,"\u0061":2}"#).unwrap()), Some("a"));
    }
}
