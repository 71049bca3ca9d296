//! The contract of the double-entry ledger. PostgreSQL implements it; each method is one transaction.
//!
//! One row is one movement: debit account, credit account, an amount above zero. Rows are never changed.

use crate::engine::{AccountRef, AccountState, CapId, CreditEntry, HoldKey, OutboxEntry};
use async_trait::async_trait;
use kernel::ids::{AccountId, GenerationId};
use kernel::{Moment, NanoUsd, StoreError};

mod disputes;
mod purchases;
mod refunds;

pub use disputes::{DisputeLedger, OrgDisputes};
pub use purchases::{GrantLedger, PurchaseLedger};
pub use refunds::RefundLedger;

/// A change of a balance that was born in PostgreSQL: the account's credit number `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booked {
    pub account: AccountRef,
    pub seq: i64,
}

/// What the ledger knows and the engine must learn; the gateway's side of the ledger.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Posted balance, sequences, caps with their use and BYOK counters of one account, and which of the holds
    /// that the engine kept are booked for good: all from one snapshot.
    async fn account_state(
        &self,
        account: AccountId,
        kept: &[HoldKey],
        now: Moment,
    ) -> Result<Option<AccountState>, StoreError>;

    /// One cap with its use; `None` when no such cap is set.
    async fn cap(
        &self,
        account: AccountId,
        cap: &CapId,
        now: Moment,
    ) -> Result<Option<crate::engine::Cap>, StoreError>;

    /// Credits of an account after a sequence, in order, for the engine to learn.
    async fn credits_after(
        &self,
        account: AccountRef,
        seq: i64,
        limit: u32,
    ) -> Result<Vec<CreditEntry>, StoreError>;

    /// Accounts that have credits the engine has not acknowledged, with the sequence it is known to have.
    async fn unsent_credits(&self, limit: u32) -> Result<Vec<(AccountRef, i64)>, StoreError>;

    /// Remembers that the engine has an account's credits up to a sequence.
    async fn acknowledge_credits(&self, account: AccountId, seq: i64) -> Result<(), StoreError>;

    /// Books a settlement that the engine no longer takes (its hold was swept or is unknown) straight into the
    /// ledger; the engine learns the difference as a correction. Twice is once. `Conflict` when the entry's
    /// epoch is over: ask the engine again.
    async fn book_late(&self, entry: &OutboxEntry) -> Result<(), StoreError>;

    /// The epoch of each shard; a shard without a row has none yet.
    async fn epochs(&self) -> Result<Vec<(u8, i64)>, StoreError>;
}

/// Whether settlements have arrived: the ledger's side of a gateway's journal.
#[async_trait]
pub trait Confirmations: Send + Sync {
    /// Of these generations, those that are booked for good, each with the amount that was asked for it. What
    /// a sweep or a release has booked is not final.
    async fn finals(&self, generations: &[GenerationId]) -> Result<Vec<(GenerationId, NanoUsd)>, StoreError>;
}

/// The ingest writer's side: outbox entries become movements and generations.
#[async_trait]
pub trait IngestLedger: Send + Sync {
    /// Takes or renews the one writer's lease; the token that every batch must carry, or `None` when another
    /// process has it.
    async fn lease(&self, owner: &str, seconds: u32) -> Result<Option<i64>, StoreError>;

    /// How far each shard is booked in its current epoch.
    async fn cursors(&self) -> Result<Vec<Cursor>, StoreError>;

    /// Books a batch in order with the cursors, in one transaction. Duplicates change nothing.
    async fn ingest(&self, lease: i64, batch: &[OutboxEntry]) -> Result<Ingested, StoreError>;
}

/// How far a shard is booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub shard: u8,
    pub epoch: i64,
    /// The engine's process whose stream it is; ids of another mean nothing here.
    pub node: String,
    /// The last stream id that is booked; `0-0` at an epoch's start.
    pub id: String,
}

/// What a batch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ingested {
    pub movements: u64,
    pub duplicates: u64,
    /// Entries whose balance after booking differed from the engine's at equal credit sequence.
    pub divergences: u64,
    /// The lease was lost; nothing was written.
    pub lost_lease: bool,
}
