//! The quick first reading of a request's body: one pass that checks all of its syntax, finds the members of the
//! outermost object, and remembers where long strings end.
//!
//! It knows only the plain case, which is nearly every body: no control characters (so no white space but
//! blanks), no surrogates written as escapes, no deep nesting. Whatever else it meets, it gives up, and the parser
//! and `scan` decide and say what is wrong. What it accepts, they accept: tests hold the two against each other.

use crate::json::{Members, unicode_len};
use crate::walk::Slice;
use memchr::memchr2;

/// Strings of at least so many bytes are remembered; shorter ones are read again as quickly.
const LONG: usize = 48;

/// A string that was read: where it begins and ends, and how long its content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Long {
    start: usize,
    end: usize,
    text_len: usize,
}

impl Long {
    /// Bytes with both quotes.
    pub(crate) fn len(self) -> usize {
        self.end - self.start
    }

    /// UTF-8 bytes once unescaped.
    pub(crate) fn text_len(self) -> usize {
        self.text_len
    }
}

/// Strings that were read, in the document's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Longs<'a>(pub(crate) &'a [Long]);

impl Longs<'_> {
    pub(crate) const NONE: Self = Self(&[]);

    /// The string that begins at an offset of the document.
    pub(crate) fn at(self, start: usize) -> Option<Long> {
        if self.0.is_empty() {
            return None;
        }
        let place = self.0.binary_search_by_key(&start, |long| long.start).ok()?;
        self.0.get(place).copied()
    }
}

/// A body found sound.
#[derive(Debug)]
pub(crate) struct Sound<'a> {
    pub(crate) members: Members<'a, Slice<'a>>,
    pub(crate) longs: Vec<Long>,
}

/// Reads an object of at most `members` members and `depth` open brackets; `None` for all that is not plainly
/// sound, be it wrong or only unusual.
pub(crate) fn read(text: &str, depth: usize, members: usize) -> Option<Sound<'_>> {
    if text.bytes().fold(false, |seen, byte| seen | (byte < b' ')) {
        return None;
    }
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, longs: Vec::new() };
    reader.blanks();
    let members = reader.outermost(depth, members)?;
    reader.blanks();
    (reader.at == text.len()).then_some(Sound { members, longs: reader.longs })
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    longs: Vec<Long>,
}

impl<'a> Reader<'a> {
    fn outermost(&mut self, depth: usize, most: usize) -> Option<Members<'a, Slice<'a>>> {
        let mut out = Vec::with_capacity(16);
        let inner = depth.checked_sub(1)?;
        self.expect(b'{')?;
        if self.closes(b'}') {
            return Some(out);
        }
        loop {
            let start = self.at;
            let text_len = self.string()?;
            let key = Slice::measured(self.text.get(start..self.at)?, text_len, start).content()?;
            self.colon()?;
            let start = self.at;
            let text_len = self.value(inner)?;
            if out.len() >= most {
                return None;
            }
            out.push((key, Slice::measured(self.text.get(start..self.at)?, text_len, start)));
            if self.ends(b'}')? {
                return Some(out);
            }
        }
    }

    /// Steps over a value with at most `depth` open brackets; the decoded length of a string, else 0.
    fn value(&mut self, depth: usize) -> Option<usize> {
        match self.byte()? {
            b'"' => return self.string(),
            b'{' => self.object(depth.checked_sub(1)?)?,
            b'[' => self.array(depth.checked_sub(1)?)?,
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => self.number()?,
        }
        Some(0)
    }

    fn object(&mut self, inner: usize) -> Option<()> {
        self.expect(b'{')?;
        if self.closes(b'}') {
            return Some(());
        }
        loop {
            self.string()?;
            self.colon()?;
            self.value(inner)?;
            if self.ends(b'}')? {
                return Some(());
            }
        }
    }

    fn array(&mut self, inner: usize) -> Option<()> {
        self.expect(b'[')?;
        if self.closes(b']') {
            return Some(());
        }
        loop {
            self.value(inner)?;
            if self.ends(b']')? {
                return Some(());
            }
        }
    }

    /// The decoded length of the string that begins here.
    fn string(&mut self) -> Option<usize> {
        let start = self.at;
        self.expect(b'"')?;
        let mut text_len = 0;
        loop {
            let plain = plain_run(self.bytes.get(self.at..)?);
            text_len += plain;
            self.at += plain;
            if self.byte()? == b'"' {
                self.at += 1;
                break;
            }
            text_len += self.escape()?;
        }
        if self.at - start >= LONG {
            self.longs.push(Long { start, end: self.at, text_len });
        }
        Some(text_len)
    }

    /// Steps over an escape; the UTF-8 bytes that it stands for.
    fn escape(&mut self) -> Option<usize> {
        match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 2;
                Some(1)
            }
            b'u' => {
                let digits = self.bytes.get(self.at + 2..self.at + 6)?;
                let surrogate = matches!(digits, [b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
                if surrogate || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                self.at += 6;
                Some(unicode_len(digits))
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<()> {
        if self.byte()? == b'-' {
            self.at += 1;
        }
        if self.byte()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    fn colon(&mut self) -> Option<()> {
        self.blanks();
        self.expect(b':')?;
        self.blanks();
        Some(())
    }

    /// Behind an opening bracket: whether it is closed at once.
    fn closes(&mut self, bracket: u8) -> bool {
        self.blanks();
        self.expect(bracket).is_some()
    }

    /// Behind a member or element: whether it was the last; else its comma is stepped over.
    fn ends(&mut self, bracket: u8) -> Option<bool> {
        if self.closes(bracket) {
            return Some(true);
        }
        self.expect(b',')?;
        self.blanks();
        Some(false)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.byte()? == byte).then(|| self.at += 1)
    }

    fn blanks(&mut self) {
        while self.byte() == Some(b' ') {
            self.at += 1;
        }
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}

/// How many bytes there are before a quote or backslash. In prose one of them comes soon, so the first few words
/// are looked at here; beyond them a wider search is worth its beginning.
fn plain_run(bytes: &[u8]) -> usize {
    const NEAR: usize = 6;
    let (words, _rest) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words.iter().take(NEAR) {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return at + usize::try_from(marks.trailing_zeros() / 8).unwrap_or_default();
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + memchr2(b'"', b'\\', rest).unwrap_or(rest.len())
}

/// The highest bit of the first byte that is a quote or backslash; bits above it may be wrong.
fn marks(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    (zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c))) & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::scan::scan;

    const MANY: usize = 4096;

    /// What the parser and the scan say.
    fn slowly(text: &str, depth: usize) -> bool {
        json::members(text).is_ok() && scan(text, depth).is_ok()
    }

    const DOCUMENTS: [&str; 6] = [
        r#"{"model":"a/b","messages":[{"role":"user","content":"Say \"hi\"\n to \u00e9 and \\ \/ \u20ac, more than once, please"}],"n":1}"#,
        r#" { "a" : [ 1 , -2.5e3 , 0 , 1E+9 , true , false , null , [ ] , { } ] , "t" : "" , "ABC" : {"k":[[{"z":[]}]]} } "#,
        r#"{"temperature":0.25,"stop":["\n\n","END"],"logit_bias":{"50256":-100},"x":"né€😀"}"#,
        r#"{"\u0061":"\ud83d\ude00"}"#,
        "{\"a\":\n1}",
        "{}",
    ];

    #[test]
    fn what_it_accepts_the_parser_accepts_whatever_is_changed_in_a_body() {
        let junk: [&str; 14] = ["\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-", "\\u12", "e", " ", "\t"];
        let (mut tried, mut accepted) = (0, 0);
        for document in DOCUMENTS {
            for at in (0..=document.len()).filter(|at| document.is_char_boundary(*at)) {
                let (before, after) = document.split_at(at);
                let mut rest = after.chars();
                let cut = rest.next();
                let mut texts = vec![before.to_owned(), format!("{before}{}", rest.as_str())];
                for piece in junk {
                    texts.push(format!("{before}{piece}{after}"));
                    texts.push(format!("{before}{piece}{}", rest.as_str()));
                }
                texts.extend(cut.map(|cut| format!("{before}{cut}{after}")));
                for text in texts {
                    tried += 1;
                    if read(&text, 128, MANY).is_some() {
                        accepted += 1;
                        assert!(slowly(&text, 128), "{text}");
                    }
                }
            }
        }
        assert!(tried > 10_000 && accepted > 1_000, "{accepted} of {tried}");
    }

    #[test]
    fn members_and_lengths_are_the_parsers() {
        for document in &DOCUMENTS[..3] {
            let sound = read(document, 128, MANY).unwrap();
            let parsed = json::members(document).unwrap();
            assert_eq!(sound.members.len(), parsed.len());
            for ((key, slice), (parsed_key, raw)) in sound.members.iter().zip(&parsed) {
                assert_eq!((key, slice.text_of()), (parsed_key, raw.get()));
                assert_eq!(slice.text_len(), json::text_len(raw), "{key}");
            }
        }
    }

    #[test]
    fn long_strings_are_remembered_with_their_ends() {
        for (escapes, plain) in [(0, 47), (1, 60), (9, 300), (40, 0), (3, 4096)] {
            let text = format!("{}{}", "\\n".repeat(escapes), "é".repeat(plain / 2));
            let document = format!("{{\"s\":\"short\",\"m\":[\"{text}\"],\"l\":\"{text}\"}}");
            let sound = read(&document, 128, MANY).unwrap();
            assert_eq!(sound.longs.len(), if text.len() + 2 >= LONG { 2 } else { 0 });
            for long in &sound.longs {
                assert_eq!(document.get(long.start..long.end).unwrap(), format!("\"{text}\""));
                assert_eq!(long.text_len(), escapes + plain / 2 * 2);
                assert_eq!(Longs(&sound.longs).at(long.start), Some(*long));
            }
            assert_eq!(Longs(&sound.longs).at(1), None);
        }
    }

    #[test]
    fn what_is_only_unusual_is_left_to_the_parser() {
        for text in
            ["{\"a\":\n1}", r#"{"a":"\ud83d\ude00"}"#, r#"{"a":[[[]]]}"#, r#"{"a":1,"b":2,"c":3,"d":4}"#]
        {
            assert!(slowly(text, 128) && read(text, 3, 3).is_none(), "{text}");
        }
        assert!(read(r#"{"a":[[]]}"#, 3, 3).is_some());
    }
}
