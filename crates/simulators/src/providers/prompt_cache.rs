//! Remembers prompt prefixes that were marked for caching, as Anthropic does: the first use writes, later
//! ones read. Prefixes do not expire; the oldest are forgotten when there are too many.

use std::collections::VecDeque;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::tokens;

/// Shorter prefixes are not cached.
const LEAST_TOKENS: u64 = 1_024;
const MOST_PREFIXES: usize = 4_096;

#[derive(Debug, Default)]
pub(crate) struct PromptCache {
    seen: Mutex<VecDeque<[u8; 32]>>,
}

impl PromptCache {
    /// Tokens read from and written to the cache by a prompt with these prefixes. `scope` keeps models and
    /// customers apart.
    pub(crate) fn consult(&self, scope: &str, prefixes: &[String]) -> (u64, u64) {
        let mut seen = self.seen.lock();
        let (mut read, mut longest) = (0, 0);
        for prefix in prefixes {
            let length = tokens::count(prefix);
            if length < LEAST_TOKENS {
                continue;
            }
            longest = longest.max(length);
            let key: [u8; 32] =
                Sha256::new().chain_update(scope).chain_update([0]).chain_update(prefix).finalize().into();
            if seen.contains(&key) {
                read = read.max(length);
            } else {
                seen.push_back(key);
            }
        }
        while seen.len() > MOST_PREFIXES {
            seen.pop_front();
        }
        (read, longest - read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_use_writes_and_the_second_reads() {
        let cache = PromptCache::default();
        let short = tokens::exactly(500).text;
        let (one, two) = (tokens::exactly(1_100).text, tokens::exactly(1_500).text);
        assert_eq!(cache.consult("a", &[short, one.clone()]), (0, 1_100));
        assert_eq!(cache.consult("a", &[one.clone(), two]), (1_100, 400));
        assert_eq!(cache.consult("b", &[one]), (0, 1_100));
    }
}
