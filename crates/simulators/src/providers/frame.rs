//! One piece of a response body and what it carries. How frames are paced or broken is `plan`'s matter.

use bytes::Bytes;
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    /// Whether it carries output; scripts count such frames.
    pub(crate) content: bool,
    /// The answer text inside it.
    pub(crate) text: String,
}

impl Frame {
    /// A frame without output: role, usage, finish.
    pub(crate) fn bare(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), content: false, text: String::new() }
    }

    /// A frame with output; `text` is the part of the answer's text in it, which may be none.
    pub(crate) fn content(bytes: impl Into<Bytes>, text: impl Into<String>) -> Self {
        Self { bytes: bytes.into(), content: true, text: text.into() }
    }
}

/// A server-sent event without a name.
pub(crate) fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// A server-sent event with a name.
pub(crate) fn event(name: &str, value: &Value) -> String {
    format!("event: {name}\ndata: {value}\n\n")
}

/// Cuts a text for streaming: into `count` pieces of about equal length, or one a word.
pub(crate) fn pieces(text: &str, count: Option<usize>) -> Vec<String> {
    match count {
        None => text.split_inclusive(' ').map(str::to_owned).collect(),
        Some(count) => {
            let chars: Vec<char> = text.chars().collect();
            let size = chars.len().div_ceil(count.max(1)).max(1);
            chars.chunks(size).map(|piece| piece.iter().collect()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_text() {
        for (text, count, expected) in
            [("one two  three", None, 4), ("żółw", Some(2), 2), ("abc", Some(9), 3), ("", Some(3), 0)]
        {
            let pieces = pieces(text, count);
            assert_eq!((pieces.concat().as_str(), pieces.len()), (text, expected));
        }
    }
}
