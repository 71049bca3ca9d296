//! One pass over a syntactically valid document for what `serde_json` does not check in raw values:
//! nesting depth and lone surrogates.
//!
//! Does not validate syntax; it runs after a parser did.

use crate::json::hex4;

/// What the pass found wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScanFault {
    TooDeep,
    /// Byte offset of an escape that is half of a surrogate pair.
    LoneSurrogate(usize),
}

/// Checks the whole document: at most `limit` open brackets at any point, surrogates only in pairs.
pub(crate) fn scan(text: &str, limit: usize) -> Result<(), ScanFault> {
    let bytes = text.as_bytes();
    if is_harmless(bytes, limit) {
        return Ok(());
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = skip_string(bytes, at + 1)?;
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return Err(ScanFault::TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Told at a glance, and true of most documents: hardly a bracket, and no escape that could be a surrogate.
fn is_harmless(bytes: &[u8], limit: usize) -> bool {
    memchr::memchr2_iter(b'{', b'[', bytes).nth(limit).is_none()
        && memchr::memmem::find(bytes, b"\\u").is_none()
}

/// From the first byte inside a string to the first byte behind its closing quote.
fn skip_string(bytes: &[u8], mut at: usize) -> Result<usize, ScanFault> {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return Ok(at + 1);
        }
        at += match surrogate(bytes, at) {
            None => 2,
            Some(0xD800..=0xDBFF) if matches!(surrogate(bytes, at + 6), Some(0xDC00..=0xDFFF)) => 12,
            Some(_) => return Err(ScanFault::LoneSurrogate(at)),
        };
    }
    Ok(bytes.len())
}

/// The code unit of a `\uD800`–`\uDFFF` escape at this offset.
fn surrogate(bytes: &[u8], at: usize) -> Option<u32> {
    let rest = bytes.get(at..)?.strip_prefix(b"\\u")?;
    hex4(rest.get(..4)?).filter(|unit| (0xD800..=0xDFFF).contains(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_strings_only() {
        assert_eq!(scan(r#"{"a":"[[[[","b":[1]}"#, 2), Ok(()));
        assert_eq!(scan(r#"{"a":"\"[[[[","b":[[1]]}"#, 2), Err(ScanFault::TooDeep));
    }

    #[test]
    fn a_surrogate_needs_its_other_half() {
        let rows = [
            (r#""\ud83d\ude00""#, Ok(())),
            (r#""\\ud83d""#, Ok(())),
            (r#""\ud83d""#, Err(ScanFault::LoneSurrogate(1))),
            (r#""\ud83dx\ude00""#, Err(ScanFault::LoneSurrogate(1))),
            (r#""a\ude00""#, Err(ScanFault::LoneSurrogate(2))),
            (r#""\uD83D\uD83D""#, Err(ScanFault::LoneSurrogate(1))),
        ];
        for (text, expected) in rows {
            assert_eq!(scan(text, 9), expected, "{text}");
        }
    }
}
