//! What waits between engine and ledger, and how much of it may wait.
//!
//! A closed hold is money that only the engine has booked until the ledger has it too. While the ledger is away, or
//! nobody books, calls go on within these bounds; past one of them no new call is admitted. Nothing here measures
//! or refuses: the engine's adapter does the one, the gateway the other.

use async_trait::async_trait;
use kernel::StoreError;
use std::time::Duration;

/// Closed holds on their way to the ledger, over all shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    pub entries: u64,
    /// Age of the oldest one by the engine's own clock; zero where nothing waits.
    pub oldest: Duration,
    /// What the fullest shard's outbox takes of the engine's memory.
    pub shard_bytes: u64,
}

/// How much may wait before new calls are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogBounds {
    pub oldest: Duration,
    /// Over all shards.
    pub entries: u64,
    /// In one shard.
    pub shard_bytes: u64,
}

/// The bound that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BacklogFull {
    #[error("settlements wait for the ledger for too long")]
    Oldest,
    #[error("too many settlements wait for the ledger")]
    Entries,
    #[error("the settlements that wait for the ledger take too much memory")]
    Bytes,
}

impl BacklogBounds {
    /// Fifteen minutes, two million entries, one GiB a shard.
    pub const STANDARD: Self =
        Self { oldest: Duration::from_secs(900), entries: 2_000_000, shard_bytes: 1 << 30 };

    /// The bound that a backlog has reached, if it has.
    #[must_use]
    pub fn reached(&self, backlog: &Backlog) -> Option<BacklogFull> {
        if backlog.oldest >= self.oldest {
            Some(BacklogFull::Oldest)
        } else if backlog.entries >= self.entries {
            Some(BacklogFull::Entries)
        } else if backlog.shard_bytes >= self.shard_bytes {
            Some(BacklogFull::Bytes)
        } else {
            None
        }
    }
}

/// Measures the outbox. Reads only; asked by every process about once a second.
#[async_trait]
pub trait OutboxBacklog: Send + Sync {
    async fn backlog(&self) -> Result<Backlog, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_reached_at_its_value_and_not_before() {
        let bounds = BacklogBounds { oldest: Duration::from_secs(20), entries: 3, shard_bytes: 100 };
        let rows = [
            ((0, 0, 0), None),
            ((19_999, 2, 99), None),
            ((20_000, 0, 0), Some(BacklogFull::Oldest)),
            ((0, 3, 0), Some(BacklogFull::Entries)),
            ((0, 0, 100), Some(BacklogFull::Bytes)),
        ];
        for ((oldest, entries, shard_bytes), expected) in rows {
            let backlog = Backlog { entries, oldest: Duration::from_millis(oldest), shard_bytes };
            assert_eq!(bounds.reached(&backlog), expected, "{backlog:?}");
        }
    }
}
