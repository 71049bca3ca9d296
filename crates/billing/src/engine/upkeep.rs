//! How the engine is kept in step with PostgreSQL: accounts are loaded and forgotten, credits and corrections
//! arrive, epochs begin. Nothing here is part of a call's life.

use super::{AccountRef, Cap, CapId, CapPeriod, Grant, HoldKey};
use crate::fees::Allowance;
use async_trait::async_trait;
use kernel::{NanoUsd, StoreError};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Everything Redis must know about an account, read from PostgreSQL in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountState {
    pub account: AccountRef,
    /// Sum of all ledger movements.
    pub posted: NanoUsd,
    /// Sequence of the last credit that is part of `posted`.
    pub credit_seq: i64,
    /// Sequence of the last debit that is part of `posted`.
    pub debit_seq: i64,
    /// Purchases and grants ever, minus refunds and disputes: `total_credits` of the API.
    pub granted: NanoUsd,
    pub frozen: bool,
    pub byok: ByokState,
    pub caps: Vec<Cap>,
    /// Those of the holds that the engine still has ([`EngineUpkeep::kept_holds`]) whose generation is booked
    /// for good: they protect nothing any more, and the load drops them.
    pub booked: Vec<HoldKey>,
}

/// What the engine still has of an account that it must load: asked before the ledger's snapshot is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Open holds from a life that is over.
    pub holds: Vec<HoldKey>,
    /// Rises when the shard unloads an account: what was read before that is too old to be loaded after it.
    pub unloads: i64,
    /// In which it was asked. A snapshot that was read for one epoch is refused in the next: what the ledger has
    /// booked in between was taken from no balance of that one.
    pub epoch: i64,
}

/// The engine's answer to a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    Done {
        version: i64,
    },
    /// It was known in this epoch; nothing was overwritten.
    Already,
    /// The shard has unloaded accounts since [`EngineUpkeep::kept_holds`]: begin again there.
    Overtaken,
}

/// The BYOK counter of the current month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByokState {
    pub allowance: Allowance,
    /// Year × 12 + month − 1.
    pub month: i64,
    pub requests: u64,
    pub list_price: NanoUsd,
}

/// A change of a cap's use that was born in PostgreSQL. The engine applies it in the cap's own window, begins
/// a newer window with it, and ignores it for one that is past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapChange {
    pub cap: CapId,
    pub period: CapPeriod,
    pub window: i64,
    /// Of either sign.
    #[serde(rename = "used")]
    pub delta: NanoUsd,
}

/// A credit or debit that was born in PostgreSQL, with its gapless sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditEntry {
    pub account: AccountRef,
    pub seq: i64,
    pub delta: NanoUsd,
    /// It counts as purchased or granted (not a correction).
    pub is_grant: bool,
    /// What of it changes the use of caps.
    pub caps: Vec<CapChange>,
}

/// The engine's answer to a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credited {
    Done {
        balance: NanoUsd,
        version: i64,
    },
    /// It has this sequence already.
    Already,
    /// It is still at this sequence; send from the next one.
    Gap {
        have: i64,
    },
    /// It does not know the account; the next load brings the credit.
    AccountMissing,
}

/// Acts that keep the engine in step with PostgreSQL; only jobs and `billing::Credits` use them. A mutation
/// answers the account's version after it, which rises by each mutation within an epoch and never falls.
#[async_trait]
pub trait EngineUpkeep: Send + Sync {
    /// What the engine still has of an account, to be asked before the snapshot for `load` is read.
    async fn kept_holds(&self, account: AccountRef) -> Result<Kept, StoreError>;

    /// Makes the account known in this epoch, sealed or not. What is reserved is counted from the holds that
    /// are kept; holds in `state.booked` are dropped.
    async fn load(&self, state: &AccountState, kept: &Kept) -> Result<Loaded, StoreError>;

    /// Forgets an account; `false` while it has a hold or something of it waits in the outbox.
    async fn unload(&self, account: AccountRef) -> Result<bool, StoreError>;

    /// Sets a cap. A change of period starts a new window; `used` counts only for a cap that was unknown.
    /// `None` when the account is not loaded: its load brings the cap.
    async fn set_cap(&self, account: AccountRef, cap: &Cap) -> Result<Option<i64>, StoreError>;

    async fn credit(&self, entry: &CreditEntry) -> Result<Credited, StoreError>;

    /// `None` when the account is not loaded: its load brings what the ledger says.
    async fn freeze(&self, account: AccountRef, frozen: bool) -> Result<Option<i64>, StoreError>;

    /// Settles up to `limit` expired holds of a shard at their metered amounts; how many there were.
    async fn sweep(&self, shard: u8, limit: u32) -> Result<u32, StoreError>;

    /// A gateway's word, while the shard is sealed, that it still has a hold which this Redis may have lost.
    /// Neither balance nor caps are looked at: the money was granted.
    async fn hold_again(
        &self,
        hold: &Grant,
        metered: NanoUsd,
        lifetime: Duration,
        owner: &str,
    ) -> Result<HeldAgain, StoreError>;
}

/// The engine's answer to a hold asserted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldAgain {
    Done,
    /// The hold is there, or a trace of how it was closed.
    Known,
    /// The shard serves: nothing may be added without being admitted.
    TooLate,
}

/// The epoch of a shard in this Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardEpoch {
    pub epoch: i64,
    /// It only loads, is read and is trimmed until it is opened.
    pub sealed: bool,
}

/// The lives of a shard. PostgreSQL (`shard_epoch`) is the only birthplace of epochs; here they are carried
/// out on one Redis process, to which an epoch belongs for ever.
#[async_trait]
pub trait EngineEpochs: Send + Sync {
    /// `None` when this Redis process has no epoch: it is new, or was restarted or promoted.
    async fn epoch(&self, shard: u8) -> Result<Option<ShardEpoch>, StoreError>;

    /// Begins a higher epoch that serves nobody until `open_epoch`. Refused unless it raises the epoch.
    async fn seal(&self, shard: u8, epoch: i64) -> Result<(), StoreError>;

    /// Ends the seal of this epoch. Refused by a process that was not sealed in it: another one, promoted or
    /// restarted in between, has not been drained.
    async fn unseal(&self, shard: u8, epoch: i64) -> Result<(), StoreError>;

    /// Ends the seal of this epoch, or begins it where a lower one or none was. Never lowers an epoch, and
    /// never opens one that belongs to another process.
    async fn open_epoch(&self, shard: u8, epoch: i64) -> Result<(), StoreError>;
}
