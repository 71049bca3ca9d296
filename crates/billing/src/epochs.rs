//! The ledger's side of a resync: epochs are born, sealed and published here, and what a new life of the engine
//! must be told is read from one snapshot. The order of the steps is the server's business.
//!
//! An epoch names one life of one engine process (its *node*). It is raised in the act that seals, so that entries,
//! writers and coordinators of the life before can be told from new ones. See `docs/architecture.md`.

use crate::engine::{AccountRef, AccountState, HoldKey};
use async_trait::async_trait;
use kernel::ids::AccountId;
use kernel::{Moment, StoreError};

/// Who decides about a shard's balances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// The engine serves.
    Engine,
    /// Nobody, until the epoch is published.
    Sealed,
}

/// One shard as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardLife {
    pub shard: u8,
    pub epoch: i64,
    pub authority: Authority,
    /// The process on which the epoch was opened.
    pub node: String,
    /// The process of the last epoch that was published; empty when none ever was.
    pub served_by: String,
    /// Every account was loaded in this epoch.
    pub filled: bool,
}

impl ShardLife {
    /// Whether a process other than `node` may still believe that it serves this shard: the one that served last,
    /// or the one of an epoch whose publication nobody knows of.
    #[must_use]
    pub fn must_fence(&self, node: &str) -> bool {
        let other = |known: &str| !known.is_empty() && known != node;
        other(&self.served_by) || other(&self.node)
    }
}

/// Epochs and what is loaded in them. Only the coordinator of a resync uses it.
#[async_trait]
pub trait EpochLedger: Send + Sync {
    /// All shards that ever had an epoch, by number.
    async fn shard_lives(&self) -> Result<Vec<ShardLife>, StoreError>;

    /// Begins the next epoch of shards on a node, sealed: epoch + 1 (from 0), cursors at the start, the writer's
    /// token raised, in one act. Returns the new epochs.
    async fn seal_epochs(&self, shards: &[u8], node: &str) -> Result<Vec<(u8, i64)>, StoreError>;

    /// Lets epochs serve that are still the shard's and still sealed; those that did. All of them or, where another
    /// coordinator was faster, fewer.
    async fn publish_epochs(&self, epochs: &[(u8, i64)]) -> Result<Vec<u8>, StoreError>;

    /// Notes that every account was loaded in these epochs, where they are still the shards'.
    async fn mark_filled(&self, epochs: &[(u8, i64)]) -> Result<(), StoreError>;

    /// What the engine must know of several accounts, and which of the holds it kept are booked for good, from one
    /// snapshot. Accounts that do not exist are left out.
    async fn account_states(
        &self,
        accounts: &[AccountId],
        kept: &[HoldKey],
        now: Moment,
    ) -> Result<Vec<AccountState>, StoreError>;

    /// Accounts whose keys were used since a moment, the latest first.
    async fn recent_accounts(&self, since: Moment, limit: u32) -> Result<Vec<AccountRef>, StoreError>;

    /// All accounts in the order of their ids, after one.
    async fn accounts_after(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountRef>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_served_or_may_have_served_must_be_fenced() {
        // served last, opened on, chosen now; must be fenced
        let rows = [
            ("", "", "a", false),
            ("", "a", "a", false),
            ("a", "a", "a", false),
            ("a", "a", "b", true),
            ("a", "b", "b", true),
            ("a", "b", "a", true),
            ("", "b", "a", true),
        ];
        for (served_by, node, chosen, expected) in rows {
            let shard = ShardLife {
                shard: 0,
                epoch: 1,
                authority: Authority::Sealed,
                node: node.to_owned(),
                served_by: served_by.to_owned(),
                filled: false,
            };
            assert_eq!(shard.must_fence(chosen), expected, "{served_by:?} {node:?} {chosen:?}");
        }
    }
}
