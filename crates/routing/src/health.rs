//! What the gateway remembers of its endpoints: who failed lately and rests, who answers fast.
//!
//! State only: it is told what happened and when, and never asks for the time itself.

mod samples;

use kernel::Moment;
use kernel::ids::EndpointId;
use samples::{Recent, Samples};
use std::collections::HashMap;
use std::time::Duration;

pub use samples::Percentiles;

/// Failures in a row after which an endpoint rests.
const PATIENCE: u32 = 3;
/// The first rest; it doubles with every further failure.
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(300);
/// The longest `Retry-After` that is believed.
const LONGEST_HINT: Duration = Duration::from_secs(60);
/// A rest after 429 without a hint.
const LIMITED_REST: Duration = Duration::from_secs(2);
/// A probe that was never reported back blocks the next one for so long at most.
const PROBE_PATIENCE: Duration = Duration::from_secs(30);

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

impl Verdict {
    /// What an answer's status says. 2xx is an answer only when its body ended well.
    #[must_use]
    pub fn of_status(status: u16, retry_after: Option<Duration>) -> Self {
        match status {
            200..=299 => Self::Answered,
            429 => Self::Limited { retry_after },
            status if counts(status) => Self::Failed,
            _ => Self::Blameless,
        }
    }
}

/// An endpoint's condition at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// It rests: tried only when nothing else is left.
    pub cooling: bool,
    /// At least a fifth of its attempts in the last 30 seconds failed: tried after those that are well.
    pub unstable: bool,
    /// Failed attempts of the last 30 seconds, in thousandths.
    pub failing_permille: u32,
    /// Median time to first output.
    pub latency_ms: Option<u32>,
    /// Median output tokens per second.
    pub tokens_per_second: Option<u32>,
    /// Milliseconds to first output.
    pub latency: Option<Percentiles>,
    /// Output tokens per second; p90 is what nine of ten answers reach.
    pub throughput: Option<Percentiles>,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    failures: u32,
    rests_until: Option<Moment>,
    /// After a rest, one attempt alone finds out whether the endpoint is well again.
    probing_until: Option<Moment>,
    recent: Recent,
    latency: Samples,
    throughput: Samples,
}

impl Entry {
    /// It failed often enough to rest, and has not answered since.
    fn is_half_open(&self, now: Moment) -> bool {
        self.failures >= PATIENCE && self.rests_until.is_some_and(|until| now >= until)
    }

    fn is_cooling(&self, now: Moment) -> bool {
        let resting = self.rests_until.is_some_and(|until| now < until);
        resting || (self.is_half_open(now) && self.probing_until.is_some_and(|until| now < until))
    }
}

/// The endpoints that one process has met. Bounded by the catalog: see [`HealthBoard::retain`].
#[derive(Debug, Default)]
pub struct HealthBoard {
    entries: HashMap<EndpointId, Entry>,
}

/// Whether a status counts against an endpoint's reliability: 5xx, our credential refused (401, 402), the
/// model or path gone (404, 405, 410), and other trouble on its side; 0 is a call without any answer.
/// Request faults, 429 and what the provider refuses for its content do not.
#[must_use]
pub fn counts(status: u16) -> bool {
    matches!(status, 0 | 401 | 402 | 404 | 405 | 408 | 410 | 421 | 423 | 424 | 426 | 498 | 500..=599)
}

impl HealthBoard {
    #[must_use]
    pub fn health(&self, endpoint: EndpointId, now: Moment) -> Health {
        let Some(entry) = self.entries.get(&endpoint) else { return Health::default() };
        let (failing_permille, unstable) = entry.recent.failing(now);
        let (latency, throughput) = (entry.latency.ascending(), entry.throughput.descending());
        Health {
            cooling: entry.is_cooling(now),
            unstable,
            failing_permille,
            latency_ms: latency.map(|p| p.p50),
            tokens_per_second: throughput.map(|p| p.p50),
            latency,
            throughput,
        }
    }

    /// An attempt begins. If the endpoint has just rested, this attempt is its probe, and others see it as
    /// cooling until the probe is noted.
    pub fn begin(&mut self, endpoint: EndpointId, now: Moment) {
        if let Some(entry) = self.entries.get_mut(&endpoint)
            && entry.is_half_open(now)
            && !entry.is_cooling(now)
        {
            entry.probing_until = Some(now + PROBE_PATIENCE);
        }
    }

    pub fn note(&mut self, endpoint: EndpointId, verdict: Verdict, now: Moment) {
        let entry = self.entries.entry(endpoint).or_default();
        entry.probing_until = None;
        match verdict {
            Verdict::Blameless => {}
            Verdict::Answered => {
                entry.recent.push(now, true);
                entry.failures = 0;
                entry.rests_until = None;
            }
            Verdict::Limited { retry_after } => {
                let rest = retry_after.map_or(LIMITED_REST, |hint| hint.min(LONGEST_HINT));
                entry.rests_until = entry.rests_until.max(Some(now + rest));
            }
            Verdict::Failed => {
                entry.recent.push(now, false);
                entry.failures = entry.failures.saturating_add(1);
                if let Some(doublings) = entry.failures.checked_sub(PATIENCE) {
                    let rest = FIRST_REST.saturating_mul(2_u32.saturating_pow(doublings.min(10)));
                    entry.rests_until = entry.rests_until.max(Some(now + rest.min(LONGEST_REST)));
                }
            }
        }
    }

    /// Measurements of a good answer. The latest 64 make the percentiles.
    pub fn measure(&mut self, endpoint: EndpointId, latency_ms: u32, tokens_per_second: Option<u32>) {
        let entry = self.entries.entry(endpoint).or_default();
        entry.latency.push(latency_ms);
        if let Some(rate) = tokens_per_second {
            entry.throughput.push(rate);
        }
    }

    /// Forgets endpoints that are no longer sold.
    pub fn retain(&mut self, keep: impl Fn(EndpointId) -> bool) {
        self.entries.retain(|endpoint, _| keep(*endpoint));
    }
}

#[cfg(test)]
mod tests;
