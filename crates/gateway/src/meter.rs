//! The local token count: bounds for holds, and what is billed when a provider reports nothing.
//!
//! One tokenizer (o200k) for every model: it is an estimate and is marked as one.

use std::borrow::Cow;

/// Tokens that a chat template adds to each message (role, separators), counted generously.
pub const PER_MESSAGE: u64 = 8;
/// Tokens that a chat template adds once.
pub const PER_REQUEST: u64 = 16;
/// Texts are counted in pieces of this many bytes, so that one huge run cannot stall a worker for long.
const PIECE: usize = 64 * 1024;

/// The local count of a text.
#[must_use]
pub fn count(text: &str) -> u64 {
    let tokenizer = tiktoken_rs::o200k_base_singleton();
    pieces(text).map(|piece| u64::try_from(tokenizer.encode_ordinary(piece).len()).unwrap_or(u64::MAX)).sum()
}

/// A count of a text that grows: what was counted once is not counted again.
#[derive(Debug, Default)]
pub struct RunningCount {
    /// Bytes that are counted for good, and their tokens.
    upto: usize,
    tokens: u64,
}

impl RunningCount {
    /// The count of the whole text, which begins with the text of the last call. It may differ from [`count`]
    /// by a token at each joint; joints lie between words where there are any.
    pub fn of(&mut self, text: &str) -> u64 {
        const WORDLESS: usize = 4096;
        let fresh = text.get(self.upto..).unwrap_or_default();
        let word = fresh.rfind(char::is_whitespace).filter(|at| *at > 0);
        let joint = word.or_else(|| (fresh.len() > WORDLESS).then_some(fresh.len()));
        let Some((settled, rest)) = joint.and_then(|at| fresh.split_at_checked(at)) else {
            return self.tokens.saturating_add(count(fresh));
        };
        self.tokens = self.tokens.saturating_add(count(settled));
        self.upto += settled.len();
        self.tokens.saturating_add(count(rest))
    }
}

/// Loads the tokenizer, so that the first request does not wait for it.
pub fn warm_up() {
    let _loaded = count("warm");
}

/// The prompt's local count with its template: what is billed when only a part of an answer was delivered and
/// the provider reported nothing.
#[must_use]
pub fn prompt_estimate(text: &str, messages: usize) -> u64 {
    let messages = u64::try_from(messages).unwrap_or(u64::MAX);
    count(text).saturating_add(messages.saturating_mul(4)).saturating_add(3)
}

/// An upper bound of the prompt's tokens that costs no tokenizer: no token is shorter than a byte.
#[must_use]
pub fn prompt_bound_by_bytes(text_bytes: u64, messages: usize) -> u64 {
    with_template(text_bytes, messages)
}

/// A closer bound: 1.35 times the local count, never above the bytes.
#[must_use]
pub fn prompt_bound_by_count(text: &str, messages: usize) -> u64 {
    let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
    let counted = count(text).saturating_mul(135).div_ceil(100);
    with_template(counted.min(bytes), messages)
}

fn with_template(tokens: u64, messages: usize) -> u64 {
    let messages = u64::try_from(messages).unwrap_or(u64::MAX);
    tokens.saturating_add(messages.saturating_mul(PER_MESSAGE)).saturating_add(PER_REQUEST)
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = rest.len().min(PIECE);
        while !rest.is_char_boundary(end) {
            end += 1;
        }
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        Some(piece)
    })
}

/// A text that may have been cut inside a character is counted without the broken rest.
#[must_use]
pub fn lossless(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_the_tokenizer_and_never_above_the_bytes() {
        for (text, tokens) in [("", 0), ("hello world", 2), ("Hello, world!", 4), ("naïve café", 4)] {
            assert_eq!(count(text), tokens, "{text}");
            assert!(tokens <= u64::try_from(text.len()).unwrap());
        }
    }

    #[test]
    fn a_running_count_is_the_count_of_the_whole() {
        let prose = "The quick brown fox jumps over the lazy dog, and then it naps in the sun. ".repeat(40);
        let wordless = "語".repeat(9_000);
        for (text, slack) in [(prose.as_str(), 0), (wordless.as_str(), 12), ("", 0)] {
            let mut running = RunningCount::default();
            let mut last = 0;
            for (at, _) in text.char_indices().step_by(37) {
                let counted = running.of(text.get(..at).unwrap());
                assert!(counted + 2 >= last, "{counted} after {last}");
                last = counted;
            }
            let (whole, ran) = (count(text), running.of(text));
            assert!(ran.abs_diff(whole) <= slack, "{ran} instead of {whole}");
        }
    }

    #[test]
    fn a_bound_covers_the_estimate() {
        for text in ["", "a", "hello world", &"lorem ipsum ".repeat(10_000), &"ü".repeat(70_000)] {
            for messages in [1, 2, 50] {
                let estimate = prompt_estimate(text, messages);
                assert!(prompt_bound_by_count(text, messages) >= estimate);
                let bytes = u64::try_from(text.len()).unwrap();
                assert!(prompt_bound_by_bytes(bytes, messages) >= prompt_bound_by_count(text, messages));
            }
        }
    }
}
