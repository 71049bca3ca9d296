//! What a model call consumed, and how sure we are of it.

use serde::{Deserialize, Serialize};

/// Token counts of one generation as the provider counts them. `prompt` includes the cached and
/// cache-write tokens; `completion` includes the reasoning tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub prompt: u64,
    pub completion: u64,
    /// Part of `prompt` that was read from the provider's cache.
    pub cache_read: u64,
    /// Part of `prompt` that was written to the cache for 5 minutes (or the provider's default).
    pub cache_write: u64,
    /// Part of `prompt` that was written to the cache for an hour.
    pub cache_write_1h: u64,
    /// Part of `completion` that was hidden reasoning.
    pub reasoning: u64,
    /// Part of `prompt` that was audio.
    pub audio_prompt: u64,
    /// Part of `completion` that was audio.
    pub audio_completion: u64,
}

impl Usage {
    /// The same usage with no part larger than what is left of its whole. Some providers count a token in two
    /// classes; the whole is what they bill, so it stays.
    #[must_use]
    pub fn consistent(mut self) -> Self {
        let mut rest = self.prompt;
        for part in
            [&mut self.cache_read, &mut self.cache_write, &mut self.cache_write_1h, &mut self.audio_prompt]
        {
            *part = (*part).min(rest);
            rest -= *part;
        }
        let mut rest = self.completion;
        for part in [&mut self.reasoning, &mut self.audio_completion] {
            *part = (*part).min(rest);
            rest -= *part;
        }
        self
    }

    /// `prompt + completion`, saturating: only for display.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }
}

/// A usage with its certainty. Only `Exact` came from the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metering {
    /// The provider's own figures.
    Exact(Usage),
    /// Our local count; billed, marked `estimated`, never above the hold.
    Estimated(Usage),
    /// Nothing that is billed: failed, empty, or ended with an error.
    Nothing,
}

impl Metering {
    #[must_use]
    pub fn usage(&self) -> Option<&Usage> {
        match self {
            Self::Exact(usage) | Self::Estimated(usage) => Some(usage),
            Self::Nothing => None,
        }
    }

    /// The word stored with a generation: `exact`, `estimated`, `nothing`.
    #[must_use]
    pub fn source(&self) -> &'static str {
        match self {
            Self::Exact(_) => "exact",
            Self::Estimated(_) => "estimated",
            Self::Nothing => "nothing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_never_stays_larger_than_its_whole() {
        let usage = Usage {
            prompt: 10,
            completion: 5,
            cache_read: 8,
            audio_prompt: 6,
            reasoning: 9,
            audio_completion: 1,
            ..Usage::default()
        };
        let clamped = usage.consistent();
        assert_eq!((clamped.prompt, clamped.cache_read, clamped.audio_prompt), (10, 8, 2));
        assert_eq!((clamped.completion, clamped.reasoning, clamped.audio_completion), (5, 5, 0));
        assert_eq!(clamped.consistent(), clamped);
    }
}
