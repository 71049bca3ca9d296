//! What the gateway remembers of its endpoints: who failed lately and rests, who answers fast.
//!
//! State only: it is told what happened and when, and never asks for the time itself.

use kernel::Moment;
use kernel::ids::EndpointId;
use std::collections::HashMap;
use std::time::Duration;

/// Failures in a row after which an endpoint rests.
const PATIENCE: u32 = 3;
/// The first rest; it doubles with every further failure.
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(300);
/// The longest `Retry-After` that is believed.
const LONGEST_HINT: Duration = Duration::from_secs(60);
/// A rest after 429 without a hint.
const LIMITED_REST: Duration = Duration::from_secs(2);

/// What an attempt says of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Answered,
    /// It limits our rate; perhaps it said for how long.
    Limited {
        retry_after: Option<Duration>,
    },
    /// It failed in a way that counts against it (see [`counts`]).
    Failed,
    /// The request was at fault, or the client left.
    Blameless,
}

/// An endpoint's condition at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// It rests: tried only when nothing else is left.
    pub cooling: bool,
    /// Smoothed time to first output.
    pub latency_ms: Option<u32>,
    /// Smoothed output tokens per second.
    pub tokens_per_second: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    failures: u32,
    rests_until: Option<Moment>,
    latency_ms: Option<u32>,
    tokens_per_second: Option<u32>,
}

/// The endpoints that one process has met.
#[derive(Debug, Default)]
pub struct HealthBoard {
    entries: HashMap<EndpointId, Entry>,
}

/// Whether a status counts against an endpoint's reliability. Request faults and 429 do not.
#[must_use]
pub fn counts(status: u16) -> bool {
    !matches!(status, 400 | 403 | 413 | 422 | 429 | 451 | 499)
}

impl HealthBoard {
    #[must_use]
    pub fn health(&self, endpoint: EndpointId, now: Moment) -> Health {
        let Some(entry) = self.entries.get(&endpoint) else { return Health::default() };
        Health {
            cooling: entry.rests_until.is_some_and(|until| now < until),
            latency_ms: entry.latency_ms,
            tokens_per_second: entry.tokens_per_second,
        }
    }

    pub fn note(&mut self, endpoint: EndpointId, verdict: Verdict, now: Moment) {
        let entry = self.entries.entry(endpoint).or_default();
        match verdict {
            Verdict::Blameless => {}
            Verdict::Answered => {
                entry.failures = 0;
                entry.rests_until = None;
            }
            Verdict::Limited { retry_after } => {
                let rest = retry_after.map_or(LIMITED_REST, |hint| hint.min(LONGEST_HINT));
                entry.rests_until = entry.rests_until.max(Some(now + rest));
            }
            Verdict::Failed => {
                entry.failures = entry.failures.saturating_add(1);
                if let Some(doublings) = entry.failures.checked_sub(PATIENCE) {
                    let rest = FIRST_REST.saturating_mul(2_u32.saturating_pow(doublings.min(10)));
                    entry.rests_until = Some(now + rest.min(LONGEST_REST));
                }
            }
        }
    }

    /// Measurements of a good answer, smoothed over about eight of them.
    pub fn measure(&mut self, endpoint: EndpointId, latency_ms: u32, tokens_per_second: Option<u32>) {
        let entry = self.entries.entry(endpoint).or_default();
        entry.latency_ms = Some(smooth(entry.latency_ms, latency_ms));
        if let Some(rate) = tokens_per_second {
            entry.tokens_per_second = Some(smooth(entry.tokens_per_second, rate));
        }
    }
}

fn smooth(before: Option<u32>, now: u32) -> u32 {
    before.map_or(now, |before| {
        let mixed = (u64::from(before) * 7 + u64::from(now)) / 8;
        u32::try_from(mixed).unwrap_or(u32::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Moment {
        Moment::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn endpoint() -> EndpointId {
        EndpointId::from_uuid(Default::default())
    }

    #[test]
    fn three_failures_in_a_row_rest_an_endpoint_for_longer_and_longer() {
        let mut board = HealthBoard::default();
        let cooling = |board: &HealthBoard, second| board.health(endpoint(), at(second)).cooling;
        for second in 0..2 {
            board.note(endpoint(), Verdict::Failed, at(second));
            assert!(!cooling(&board, second));
        }
        board.note(endpoint(), Verdict::Failed, at(2));
        assert!(cooling(&board, 6) && !cooling(&board, 7));
        board.note(endpoint(), Verdict::Failed, at(7));
        assert!(cooling(&board, 16) && !cooling(&board, 17));
        for _ in 0..40 {
            board.note(endpoint(), Verdict::Failed, at(20));
        }
        assert!(cooling(&board, 319) && !cooling(&board, 320));
        board.note(endpoint(), Verdict::Answered, at(20));
        assert!(!cooling(&board, 20));
    }

    #[test]
    fn a_rate_limit_rests_as_long_as_the_provider_says_within_reason() {
        for (hint, rest) in [(None, 2), (Some(7), 7), (Some(9999), 60)] {
            let mut board = HealthBoard::default();
            let retry_after = hint.map(Duration::from_secs);
            board.note(endpoint(), Verdict::Limited { retry_after }, at(0));
            assert!(
                board.health(endpoint(), at(rest - 1)).cooling && !board.health(endpoint(), at(rest)).cooling
            );
        }
    }

    #[test]
    fn faults_of_the_request_do_not_count() {
        let mut board = HealthBoard::default();
        for _ in 0..10 {
            board.note(endpoint(), Verdict::Blameless, at(0));
        }
        assert!(!board.health(endpoint(), at(0)).cooling);
        assert!(!counts(400) && !counts(429) && counts(500) && counts(401));
    }
}
