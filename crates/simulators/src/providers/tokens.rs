//! Counting tokens, and texts of an exact length in tokens. One vocabulary (o200k) for every provider.
//!
//! The formula for a prompt: for each message 4 + tokens of its text, plus 3; plus tokens of the tool list
//! as compact JSON; plus 85 per image of low detail and 765 per other image.

use std::sync::LazyLock;

use tiktoken_rs::{CoreBPE, o200k_base_singleton};

pub(crate) const PER_MESSAGE: u64 = 4;
pub(crate) const PER_REPLY: u64 = 3;
pub(crate) const PER_SMALL_IMAGE: u64 = 85;
pub(crate) const PER_IMAGE: u64 = 765;

/// Words that are one token each with the space before them, and also one at the start of a text.
const WORDS: [&str; 24] = [
    "the", "value", "of", "each", "part", "can", "change", "when", "we", "look", "at", "more", "data", "and",
    "then", "use", "it", "to", "make", "a", "better", "plan", "for", "all",
];

static VOCABULARY: LazyLock<&'static CoreBPE> = LazyLock::new(o200k_base_singleton);

/// Loads the vocabulary, so that the first request is as fast as the others.
pub(crate) fn warm() {
    count("ready");
}

pub(crate) fn count(text: &str) -> u64 {
    u64::try_from(VOCABULARY.encode_ordinary(text).len()).unwrap_or(u64::MAX)
}

/// A text and how many tokens it was counted as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) text: String,
    pub(crate) tokens: usize,
    /// Whether a limit cut it short.
    pub(crate) clipped: bool,
}

/// The text up to `limit` tokens. A character torn by the limit is left out but stays counted.
pub(crate) fn clip(text: &str, limit: usize) -> Counted {
    let all = VOCABULARY.encode_ordinary(text);
    if all.len() <= limit {
        return Counted { text: text.to_owned(), tokens: all.len(), clipped: false };
    }
    let kept = all.get(..limit).unwrap_or_default();
    let bytes = VOCABULARY.decode_bytes(kept).unwrap_or_default();
    let whole = match std::str::from_utf8(&bytes) {
        Ok(text) => text.to_owned(),
        Err(error) => {
            String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default()).into_owned()
        }
    };
    Counted { text: whole, tokens: kept.len(), clipped: true }
}

/// Words that count as exactly `tokens` tokens.
pub(crate) fn exactly(tokens: usize) -> Counted {
    let words: Vec<&str> = WORDS.iter().copied().cycle().take(tokens).collect();
    Counted { text: words.join(" "), tokens, clipped: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_n_tokens_counts_as_n() {
        for tokens in [0, 1, 2, 23, 24, 25, 100, 777] {
            assert_eq!(count(&exactly(tokens).text), u64::try_from(tokens).unwrap(), "{tokens}");
        }
    }

    #[test]
    fn clipping_keeps_a_prefix_and_says_so() {
        let text = "Simulated answers are cut by their limit. \u{1F469}\u{200D}\u{1F680}";
        let all = clip(text, 1_000);
        assert_eq!((all.text.as_str(), all.clipped), (text, false));
        for limit in 0..all.tokens {
            let cut = clip(text, limit);
            assert!(text.starts_with(&cut.text));
            assert_eq!((cut.tokens, cut.clipped), (limit, true));
        }
    }
}
