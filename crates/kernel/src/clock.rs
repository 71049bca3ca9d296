//! Time as a parameter. Nothing below `server` reads the machine's clock by itself.

use std::time::Duration;

/// A moment in UTC. Stores and APIs keep microseconds or less.
pub type Moment = chrono::DateTime<chrono::Utc>;

/// Where the time comes from: the system's clock in the product, a hand-set one in tests.
pub trait Clock: Send + Sync {
    /// The wall clock, UTC.
    fn now(&self) -> Moment;
    /// Time since an arbitrary fixed start that never goes back; for durations only.
    fn monotonic(&self) -> Duration;
}

/// The machine's own clock.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now(&self) -> Moment {
        chrono::Utc::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct FixedClock {
    start: Moment,
    offset_us: std::sync::atomic::AtomicI64,
}

impl FixedClock {
    #[must_use]
    pub fn at(start: Moment) -> Self {
        Self { start, offset_us: std::sync::atomic::AtomicI64::new(0) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.offset_us.fetch_add(micros, std::sync::atomic::Ordering::SeqCst);
    }

    fn offset(&self) -> i64 {
        self.offset_us.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Moment {
        self.start + chrono::Duration::microseconds(self.offset())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.offset().unsigned_abs())
    }
}
