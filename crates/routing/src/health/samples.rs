//! Bounded memories of one endpoint: its latest measurements and its latest outcomes.
//!
//! Percentiles are computed when a sample comes in, because they are read for every request. The sorted copy is
//! kept up by insertion: sorting anew for every answer cost more than all other notes of it.

use kernel::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// Of the latest measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    pub p50: u32,
    pub p75: u32,
    pub p90: u32,
    pub p99: u32,
}

impl Percentiles {
    /// By position: 0 is p50, 3 is p99.
    pub(crate) fn at(&self, position: usize) -> u32 {
        match position {
            0 => self.p50,
            1 => self.p75,
            2 => self.p90,
            _ => self.p99,
        }
    }
}

const SAMPLES: usize = 64;
const OUTCOMES: usize = 64;
/// Outcomes older than this say nothing about now.
const WINDOW: Duration = Duration::from_secs(30);
/// Fewer attempts prove nothing.
const ENOUGH: u32 = 5;
const UNSTABLE_PERMILLE: u32 = 200;

/// The latest measurements, with their percentiles both ways.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    latest: VecDeque<u32>,
    /// The same values in ascending order.
    sorted: Vec<u32>,
    ascending: Option<Percentiles>,
    descending: Option<Percentiles>,
}

impl Samples {
    pub(super) fn push(&mut self, value: u32) {
        let place = |sorted: &[u32], value: u32| sorted.partition_point(|known| *known < value);
        if self.latest.len() == SAMPLES
            && let Some(oldest) = self.latest.pop_front()
        {
            self.sorted.remove(place(&self.sorted, oldest));
        }
        self.latest.push_back(value);
        self.sorted.insert(place(&self.sorted, value), value);
        let last = self.sorted.len() - 1;
        self.ascending = percentiles(self.sorted.len(), |at| self.sorted.get(at).copied());
        self.descending = percentiles(self.sorted.len(), |at| self.sorted.get(last - at).copied());
    }

    /// p90 is what nine of ten samples stay under: for times.
    pub(super) fn ascending(&self) -> Option<Percentiles> {
        self.ascending
    }

    /// p90 is what nine of ten samples reach: for speeds.
    pub(super) fn descending(&self) -> Option<Percentiles> {
        self.descending
    }
}

/// From `count` values, told by their position in the wanted order.
fn percentiles(count: usize, value: impl Fn(usize) -> Option<u32>) -> Option<Percentiles> {
    let at = |percent: usize| value((count * percent).div_ceil(100).max(1) - 1);
    Some(Percentiles { p50: at(50)?, p75: at(75)?, p90: at(90)?, p99: at(99)? })
}

/// The latest outcomes with their moments.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    outcomes: VecDeque<(Moment, bool)>,
    /// Failures among them, so that a healthy endpoint is known without a look at each.
    failures: usize,
}

impl Recent {
    pub(super) fn push(&mut self, now: Moment, good: bool) {
        if self.outcomes.len() == OUTCOMES
            && let Some((_, false)) = self.outcomes.pop_front()
        {
            self.failures -= 1;
        }
        self.failures += usize::from(!good);
        self.outcomes.push_back((now, good));
    }

    /// Failed attempts within the window in thousandths, and whether that is an outage.
    pub(super) fn failing(&self, now: Moment) -> (u32, bool) {
        if self.failures == 0 {
            return (0, false);
        }
        let (mut all, mut failed) = (0_u32, 0_u32);
        let fresh = |at: Moment| (now - at).to_std().is_ok_and(|age| age <= WINDOW);
        for (_, good) in self.outcomes.iter().rev().take_while(|(at, _)| fresh(*at)) {
            all += 1;
            failed += u32::from(!good);
        }
        let permille = (failed * 1000).checked_div(all).unwrap_or_default();
        (permille, all >= ENOUGH && permille >= UNSTABLE_PERMILLE)
    }
}
