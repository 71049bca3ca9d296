//! Walks a document that a parser has already found sound, without validating any part of it again.
//!
//! One reading finds a string's end and its decoded length together, and takes both from that reading of the
//! whole where there was one (`sound`). On text that is no JSON it gives nonsense, but ends and stays within
//! the text.

use crate::json::{Json, Kind, Members, unicode_len};
use crate::sound::{Long, Longs};
use std::borrow::Cow;

/// A value where it stands in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slice<'a> {
    json: &'a str,
    text_len: usize,
    /// Where it begins in the document.
    start: usize,
    longs: Longs<'a>,
}

impl<'a> Slice<'a> {
    /// A value that was measured before.
    pub(crate) fn measured(json: &'a str, text_len: usize, start: usize) -> Self {
        Self { json, text_len, start, longs: Longs::NONE }
    }

    /// The same with what is known of the strings in it.
    pub(crate) fn knowing<'b>(self, longs: &'b [Long]) -> Slice<'b>
    where
        'a: 'b,
    {
        Slice { longs: Longs(longs), ..self }
    }

    /// The value as JSON, for as long as the document lives.
    pub(crate) fn text_of(self) -> &'a str {
        self.json
    }

    /// UTF-8 bytes of a string once unescaped; 0 for anything else.
    pub(crate) fn text_len(self) -> usize {
        self.text_len
    }

    /// Bytes of the value as JSON.
    pub(crate) fn len(self) -> usize {
        self.json.len()
    }

    /// Goes on inside this value.
    pub(crate) fn walk(self) -> Walk<'a> {
        Walk { text: self.json, at: 0, base: self.start, longs: self.longs }
    }

    /// The content of a string; `None` for anything else.
    pub(crate) fn content(self) -> Option<Cow<'a, str>> {
        let inner = self.json.strip_prefix('"')?.strip_suffix('"')?;
        // Every escape is longer than what it stands for.
        if inner.len() == self.text_len {
            return Some(Cow::Borrowed(inner));
        }
        serde_json::from_str(self.json).ok().map(Cow::Owned)
    }
}

impl Json for Slice<'_> {
    fn json(&self) -> &str {
        self.json
    }

    fn text(&self) -> Option<Cow<'_, str>> {
        self.content()
    }
}

/// A place in a document.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    text: &'a str,
    at: usize,
    /// Where the text begins in the document.
    base: usize,
    longs: Longs<'a>,
}

impl<'a> Walk<'a> {
    /// At the beginning of a value.
    pub(crate) fn over(text: &'a str) -> Self {
        Self { text, at: 0, base: 0, longs: Longs::NONE }
    }

    /// Offset of the place.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The kind of the value that begins here.
    pub(crate) fn kind(&self) -> Kind {
        Kind::of_byte(self.byte())
    }

    /// Steps over the value that begins here.
    pub(crate) fn value(&mut self) -> Slice<'a> {
        let start = self.at;
        let text_len = match self.byte() {
            Some(b'"') => self.string(),
            Some(b'{' | b'[') => {
                self.nested();
                0
            }
            _ => {
                let rest = self.rest();
                let ends = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
                0
            }
        };
        let json = self.text.get(start..self.at).unwrap_or_default();
        Slice { json, text_len, start: self.base + start, longs: self.longs }
    }

    /// Steps over an object, at most `limit` members of it; `None` when it has more.
    pub(crate) fn members(&mut self, limit: usize) -> Option<Members<'a, Slice<'a>>> {
        let mut out = Vec::with_capacity(4);
        self.at += 1;
        while self.next_item() {
            if out.len() >= limit {
                return None;
            }
            let key = self.value().content().unwrap_or_default();
            self.skip(|b| matches!(b, b':' | b' ' | b'\t' | b'\r' | b'\n'));
            out.push((key, self.value()));
        }
        Some(out)
    }

    /// Steps over an array. `visit` is called at the beginning of every element, and may step over it or leave
    /// it where it is. Returns their number.
    pub(crate) fn elements<E>(
        &mut self,
        mut visit: impl FnMut(usize, &mut Self) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut count = 0;
        self.at += 1;
        while self.next_item() {
            let start = self.at;
            visit(count, self)?;
            if self.at == start {
                self.value();
            }
            count += 1;
        }
        Ok(count)
    }

    /// To the next key or element; steps over the closing bracket and says `false` when there is none.
    fn next_item(&mut self) -> bool {
        self.skip(|b| matches!(b, b',' | b' ' | b'\t' | b'\r' | b'\n'));
        match self.byte() {
            None => false,
            Some(b'}' | b']' | b':') => {
                self.at += 1;
                false
            }
            Some(_) => true,
        }
    }

    /// Steps over an object or array.
    fn nested(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.byte() {
            match byte {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// Steps over a string; its decoded length.
    fn string(&mut self) -> usize {
        if let Some(known) = self.longs.at(self.base + self.at) {
            self.at += known.len();
            return known.text_len();
        }
        let mut length = 0;
        self.at += 1;
        while let Some(found) = memchr::memchr2(b'"', b'\\', self.rest()) {
            length += found;
            self.at += found;
            if self.byte() == Some(b'"') {
                self.at += 1;
                return length;
            }
            let escape = self.rest();
            let (taken, gives) = match escape.get(1) {
                Some(b'u') => (6, unicode_len(escape.get(2..6).unwrap_or_default())),
                _ => (2, 1),
            };
            length += gives;
            self.at += taken.min(escape.len());
        }
        self.at = self.text.len();
        length
    }

    fn skip(&mut self, which: impl Fn(u8) -> bool) {
        while self.byte().is_some_and(&which) {
            self.at += 1;
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use serde_json::value::RawValue;

    const DOCUMENT: &str = "{ \"a\\u0062\" : [ 1 , -2.5e3,\"x]\\\"}\" , { } , [ ] ,null ],\r\n\"t\":\"né€\\n\\ud83d\\ude00\\u20ac\",\"\":\n{\"k\":{\"a\":[[\"]\"]]}},\"n\":true , \"z\":\"\"}";

    #[test]
    fn a_walk_finds_the_members_and_lengths_that_the_parser_finds() {
        let parsed = json::members(DOCUMENT).unwrap();
        let walked = Walk::over(DOCUMENT).members(99).unwrap();
        assert_eq!(walked.len(), parsed.len());
        for ((key, slice), (parsed_key, raw)) in walked.iter().zip(&parsed) {
            assert_eq!((key, slice.json()), (parsed_key, raw.get()));
            assert_eq!(slice.text_len(), if slice.json().starts_with('"') { json::text_len(raw) } else { 0 });
            assert_eq!(slice.content(), json::text(raw), "{key}");
        }
        assert_eq!(Walk::over(DOCUMENT).members(3), None);
        let mut whole = Walk::over(DOCUMENT);
        assert_eq!((whole.value().json(), whole.at()), (DOCUMENT, DOCUMENT.len()));
    }

    #[test]
    fn elements_are_the_parsers_whether_the_visitor_steps_over_them_or_not() {
        let list = "[ [1,[2]] ,{\"a\":\"]\"}, \"x\\\\\" ,7,null\n]";
        let raw: &RawValue = serde_json::from_str(list).unwrap();
        let mut parsed = Vec::new();
        json::each_element(raw, |_, element| {
            parsed.push(element.get());
            Ok::<(), ()>(())
        })
        .unwrap();
        let mut walked = Vec::new();
        let count = Walk::over(list).elements(|_, walk| {
            walked.push(walk.value().json);
            Ok::<(), ()>(())
        });
        assert_eq!((walked, count), (parsed, Ok(5)));
        let mut left = Walk::over(list);
        assert_eq!(left.elements(|_, _| Ok::<(), ()>(())), Ok(5));
        assert_eq!(left.at(), list.len());
        assert_eq!(Walk::over("[ ]").elements(|_, _| Err(())), Ok(0));
    }

    #[test]
    fn a_walk_over_what_is_no_json_ends() {
        for cut in 0..DOCUMENT.len() {
            let Some(text) = DOCUMENT.get(..cut) else { continue };
            let _members = Walk::over(text).members(99);
            let _elements = Walk::over(text).elements(|_, _| Ok::<(), ()>(()));
            let _value = Walk::over(text).value();
        }
        for text in ["", "[", "{", "[:", "{:", "\"\\", "{\"a\"", "[\"\\u", "]", "{]"] {
            let _members = Walk::over(text).members(99);
            let _elements = Walk::over(text).elements(|_, _| Ok::<(), ()>(()));
        }
    }
}
