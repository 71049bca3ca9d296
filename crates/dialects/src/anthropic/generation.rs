//! What a Claude model takes, told from its name: how it is asked to think, and which sampling dials it has.
//!
//! The API differs by model generation, not by provider, so this cannot be a provider's quirk alone; a quirk
//! overrides it. Models that are not Claude (other makers speak this language too) get the oldest manners.

use crate::quirks::{Dials, Quirks, Thinking};

/// The manners of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) thinking: Thinking,
    /// Takes a budget beside adaptive thinking: 4.6 does, deprecated ("What's new in Claude 4.6").
    pub(super) takes_budget: bool,
    pub(super) dials: Dials,
    /// Knows the effort `xhigh` (from 4.7 on: OpenRouter's "Claude 4.7 migration guide", 2026-06).
    pub(super) xhigh: bool,
    /// Thinks unless told not to: the fifth generation (Claude Opus 5 release notes, 2026-07).
    pub(super) unasked: bool,
    /// Refuses `thinking.type: disabled` (Fable, Mythos, and Opus from 5.5 on; prime-agent #2533, 2026-09).
    pub(super) always: bool,
}

impl Generation {
    pub(super) fn of(model: &str, quirks: &Quirks) -> Self {
        let version = version(model).unwrap_or((0, 0));
        // 4.7 took `temperature`, `top_p` and `top_k` away ("What's new in Claude 4.7", sampling parameters
        // removed, 2026-04); from 4.1 on only one of the first two is taken (opencode #1644, 2025-08).
        let dials = match version {
            (4, 7..) | (5.., _) => Dials::None,
            (4, 1..) => Dials::One,
            _ => Dials::All,
        };
        let adaptive = version >= (4, 6);
        Self {
            thinking: quirks.thinking.unwrap_or(if adaptive { Thinking::Adaptive } else { Thinking::Budget }),
            takes_budget: version < (4, 7),
            dials: quirks.dials.unwrap_or(dials),
            xhigh: version >= (4, 7) || !adaptive,
            unasked: version >= (5, 0),
            always: version >= (5, 5) || model.contains("fable") || model.contains("mythos"),
        }
    }
}

/// Major and minor version of a Claude model: `claude-sonnet-4-5-20250929` is (4, 5), `claude-3-opus-20240229`
/// is (3, 0), `claude-opus-4.6` is (4, 6). Dates are no versions.
fn version(model: &str) -> Option<(u32, u32)> {
    let (_, name) = model.split_once("claude")?;
    let mut numbers = name.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let small = |digits: &str| (digits.len() <= 2).then(|| digits.parse().ok()).flatten();
    let major = numbers.next().and_then(small)?;
    Some((major, numbers.next().and_then(small).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_every_way_of_writing_them() {
        let rows = [
            ("claude-3-opus-20240229", Some((3, 0))),
            ("claude-3-7-sonnet-20250219", Some((3, 7))),
            ("claude-opus-4-20250514", Some((4, 0))),
            ("claude-sonnet-4@20250514", Some((4, 0))),
            ("claude-haiku-4-5-20251001", Some((4, 5))),
            ("us.anthropic.claude-opus-4-6-v1:0", Some((4, 6))),
            ("anthropic/claude-opus-4.7", Some((4, 7))),
            ("claude-sonnet-5", Some((5, 0))),
            ("kimi-k2-0905", None),
            ("claude-instant", None),
        ];
        for (model, expected) in rows {
            assert_eq!(version(model), expected, "{model}");
        }
    }
}
