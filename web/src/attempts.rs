//! Limits against guessing passwords: failures are counted by address and email together, and by address.
//!
//! Counted in this process only, in a bounded table. An owner is never locked out by strangers: their own
//! address starts with a clean count.

use kernel::Clock;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Failures in a window from one address for one email.
const PER_EMAIL: u32 = 8;
/// Failures in a window from one address for any email.
const PER_ADDRESS: u32 = 60;
const ENTRIES_MAX: usize = 20_000;

/// Failures of one window.
#[derive(Debug, Clone, Copy)]
struct Count {
    since: Duration,
    failures: u32,
}

/// The table of failures.
pub struct Attempts {
    clock: Arc<dyn Clock>,
    counts: Mutex<HashMap<String, Count>>,
}

impl Attempts {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, counts: Mutex::new(HashMap::new()) }
    }

    /// Seconds to wait when this address has failed too often; `None` when it may try.
    fn left(&self, counts: &HashMap<String, Count>, address: &str, email: &str) -> Option<u64> {
        let now = self.clock.monotonic();
        limits(address, email).into_iter().find_map(|(key, limit)| {
            let count = counts.get(&key)?;
            let left = (count.since + WINDOW).checked_sub(now).filter(|left| !left.is_zero())?;
            (count.failures >= limit).then_some(left.as_secs().max(1))
        })
    }

    /// Enters a try as a failure, unless there were too many: then the seconds to wait. Tries count when they
    /// begin, so that many at once cannot pass together; [`succeeded`](Self::succeeded) takes one back.
    pub fn enter(&self, address: &str, email: &str) -> Result<(), u64> {
        let mut counts = self.counts.lock();
        match self.left(&counts, address, email) {
            Some(seconds) => Err(seconds),
            None => {
                self.count(&mut counts, address, email);
                Ok(())
            }
        }
    }

    fn count(&self, counts: &mut HashMap<String, Count>, address: &str, email: &str) {
        let now = self.clock.monotonic();
        if counts.len() >= ENTRIES_MAX {
            counts.retain(|_, count| count.since + WINDOW > now);
        }
        if counts.len() >= ENTRIES_MAX {
            // Under a flood of addresses the table starts anew rather than grow.
            counts.clear();
        }
        for (key, _) in limits(address, email) {
            let count = counts.entry(key).or_insert(Count { since: now, failures: 0 });
            if count.since + WINDOW <= now {
                *count = Count { since: now, failures: 0 };
            }
            count.failures = count.failures.saturating_add(1);
        }
    }

    /// Forgets the failures for an email from an address that has just signed in, and takes its try back.
    pub fn succeeded(&self, address: &str, email: &str) {
        let mut counts = self.counts.lock();
        counts.remove(&pair(address, email));
        if let Some(count) = counts.get_mut(address) {
            count.failures = count.failures.saturating_sub(1);
        }
    }
}

fn pair(address: &str, email: &str) -> String {
    format!("{address} {email}")
}

fn limits(address: &str, email: &str) -> [(String, u32); 2] {
    [(pair(address, email), PER_EMAIL), (address.to_owned(), PER_ADDRESS)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::Moment;
    use kernel::clock::FixedClock;

    #[test]
    fn eight_failures_close_one_email_for_one_address_until_the_window_ends() {
        let clock = Arc::new(FixedClock::at(Moment::UNIX_EPOCH));
        let attempts = Attempts::new(clock.clone());
        for _ in 0..8 {
            assert_eq!(attempts.enter("10.0.0.1", "ana@example.com"), Ok(()));
        }
        assert_eq!(attempts.enter("10.0.0.1", "ana@example.com"), Err(900));
        assert_eq!(attempts.enter("10.0.0.2", "ana@example.com"), Ok(()), "the owner is elsewhere");
        assert_eq!(attempts.enter("10.0.0.1", "bob@example.com"), Ok(()));
        clock.advance(Duration::from_secs(900));
        assert_eq!(attempts.enter("10.0.0.1", "ana@example.com"), Ok(()));
    }

    #[test]
    fn one_address_cannot_walk_through_many_emails() {
        let attempts = Attempts::new(Arc::new(FixedClock::at(Moment::UNIX_EPOCH)));
        for index in 0..60 {
            assert_eq!(attempts.enter("10.0.0.1", &format!("{index}@example.com")), Ok(()));
        }
        assert!(attempts.enter("10.0.0.1", "ana@example.com").is_err());
        attempts.succeeded("10.0.0.1", "0@example.com");
        assert_eq!(attempts.enter("10.0.0.1", "ana@example.com"), Ok(()), "a success takes its own try back");
        assert!(attempts.enter("10.0.0.1", "ana@example.com").is_err(), "and no other");
    }

    #[test]
    fn the_table_is_bounded() {
        let attempts = Attempts::new(Arc::new(FixedClock::at(Moment::UNIX_EPOCH)));
        for index in 0..ENTRIES_MAX {
            let _entered = attempts.enter(&format!("10.{index}"), "ana@example.com");
        }
        assert!(attempts.counts.lock().len() <= ENTRIES_MAX);
    }
}
