//! The contract of the credit engine: money is set aside before a call and settled after it, on one
//! account with all of its caps, in one atomic act. `store-redis` implements it.
//!
//! The engine decides; PostgreSQL is the truth. Every act is idempotent by its hold key, and every act
//! that could not be carried out says why as a value. See `docs/money.md`.

mod upkeep;

use async_trait::async_trait;
pub use kernel::AccountRef;
use kernel::ids::{AccountId, GenerationId};
use kernel::{Moment, NanoUsd, StoreError};
use serde::{Deserialize, Serialize};
use std::time::Duration;
pub use upkeep::{
    AccountState, ByokState, CapChange, CreditEntry, Credited, EngineEpochs, EngineUpkeep, HeldAgain, Kept,
    Loaded, ShardEpoch,
};

/// Number of ledger shards; all keys of one account share one Redis hash slot `{cNN}`.
pub const SHARDS: u8 = 64;

/// The shard of a new account: a stable hash of its id.
#[must_use]
pub fn shard_of(account: AccountId) -> u8 {
    let folded = account.uuid().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    u8::try_from((folded >> 32) % u64::from(SHARDS)).unwrap_or_default()
}

/// Names a hold: the generation and which funding of it (0 the customer's own key, 1 our credential).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HoldKey {
    pub generation: GenerationId,
    pub funding: u8,
}

/// Names a cap: `k:<key id>`, `m:<member id>`, `w:<workspace id>`, `o:<org id>` or `g:<guardrail id>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapId(pub String);

/// When a cap starts anew, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CapPeriod {
    /// Never: a total.
    Total,
    Daily,
    /// From Monday.
    Weekly,
    Monthly,
}

impl CapPeriod {
    /// The one-letter code of Redis and the database: n, d, w, m.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Total => "n",
            Self::Daily => "d",
            Self::Weekly => "w",
            Self::Monthly => "m",
        }
    }

    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::Total, Self::Daily, Self::Weekly, Self::Monthly].into_iter().find(|p| p.code() == code)
    }

    /// The window that a moment falls into, numbered as the engine numbers them: days since 1970, weeks
    /// since Monday 1969-12-29, year × 12 + month − 1; 0 for a total.
    #[must_use]
    pub fn window(self, now: Moment) -> i64 {
        let day = now.timestamp().div_euclid(86_400);
        match self {
            Self::Total => 0,
            Self::Daily => day,
            Self::Weekly => (day + 3).div_euclid(7),
            Self::Monthly => month_of(day),
        }
    }
}

/// Year × 12 + month − 1 of a day since 1970, by Hinnant's `civil_from_days`: years begin in March there.
fn month_of(day: i64) -> i64 {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    (year_of_era + era * 400) * 12 + (5 * day_of_year + 2) / 153 + 2
}

/// A spending cap with what its current window has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    pub id: CapId,
    pub limit: NanoUsd,
    pub period: CapPeriod,
    /// The window id that `used` belongs to (days, weeks, or months as the engine numbers them; `0` for a total).
    pub window: i64,
    pub used: NanoUsd,
}

/// Who pays the provider for this hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Funding {
    /// Our credential: the hold and the charge are the price.
    Credits,
    /// The customer's own key: the hold and the charge are the fee, and nothing within the allowance.
    OwnKey,
}

/// On what terms a call with the customer's own key is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnKeyTerms {
    /// The most that the call can cost at list prices.
    pub ceiling: NanoUsd,
    /// The fee beyond the allowance, in hundredths of a percent of the list price (at most 10,000).
    pub basis_points: u32,
}

/// A request to set money aside.
#[derive(Debug, Clone)]
pub struct Reserve<'a> {
    pub key: HoldKey,
    pub account: AccountRef,
    /// What the call may cost at most: its price, or with an own key its fee were it wholly beyond the
    /// allowance.
    pub want: NanoUsd,
    /// The least that makes the call worthwhile; equal to `want` when the output bound was given.
    pub least: NanoUsd,
    /// After so long without `extend` the sweeper settles the hold at its metered amount.
    pub lifetime: Duration,
    /// Set when the customer's own key pays the provider. An allowance in list prices then holds for what of
    /// the ceiling lies beyond it, instead of for `want`.
    pub own_key: Option<OwnKeyTerms>,
    /// Whose call it is, packed by the caller and opaque to the engine (at most 512 bytes; may be empty). It
    /// reaches the ledger when nobody lived to settle: see [`OutboxEntry::record`].
    pub owner: &'a str,
    /// All caps that apply, none twice. A cap that the engine does not know is an error, never "unlimited".
    pub caps: &'a [CapId],
}

/// Whether an own-key call uses up allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ticket {
    /// Not an own-key call.
    None,
    /// Within the allowance; the hold is zero.
    Free,
    /// Beyond it; the hold is the fee. It is still charged nothing when allowance is left at settling.
    Paid,
}

/// A cap and the window in which a hold counts against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapWindow {
    pub cap: CapId,
    pub period: CapPeriod,
    pub window: i64,
}

/// Money set aside. It must be settled or released; the sweeper is the last resort.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Grant {
    pub key: HoldKey,
    pub account: AccountRef,
    pub amount: NanoUsd,
    /// Left beside all holds after this one.
    pub available: NanoUsd,
    pub ticket: Ticket,
    pub windows: Vec<CapWindow>,
    /// As they were in the request.
    pub own_key: Option<OwnKeyTerms>,
    pub epoch: i64,
    /// Of the account, after this.
    pub version: i64,
}

/// The engine's answer to a reserve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    Granted(Grant),
    /// The balance does not cover `least`.
    Insufficient {
        available: NanoUsd,
        balance: NanoUsd,
        reserved: NanoUsd,
    },
    /// A cap does not cover `least`.
    CapExceeded {
        cap: CapId,
        limit: NanoUsd,
        used: NanoUsd,
        reserved: NanoUsd,
        period: CapPeriod,
    },
    Frozen,
    /// A hold of this key is open (the same call sent twice): its amount.
    Duplicate(NanoUsd),
    /// A hold of this key was closed already.
    Closed,
    /// Redis does not know the account in this epoch: load it and ask again.
    AccountMissing,
    /// Redis does not know this cap: load it and ask again.
    CapMissing(CapId),
}

/// The engine's answer to an extend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extended {
    /// The hold is now this large. The account's version rises only where the hold grew.
    Granted { amount: NanoUsd, version: i64 },
    /// The heartbeat counted; the growth was refused.
    Refused { available: NanoUsd },
    /// There is no such hold any more.
    NoHold,
}

/// The engine's answer to a settle or a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Closed by this call. `charge + uncollected` is what was asked for; both are zero where the ticket of
    /// an own-key call is free.
    Done { charge: NanoUsd, uncollected: NanoUsd, balance: NanoUsd, version: i64 },
    /// Closed before, with this charge: the same act twice, or the sweeper came first.
    Already { kind: ClosedBy, charge: NanoUsd },
    /// Neither a hold nor a trace of one.
    NoHold,
}

/// What closed a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClosedBy {
    Settle,
    Release,
    Sweep,
}

/// An account as the engine sees it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// Settled money; holds are not spent.
    pub balance: NanoUsd,
    pub reserved: NanoUsd,
    /// Purchases and grants ever, up to `credit_seq`.
    pub granted: NanoUsd,
    pub credit_seq: i64,
    pub debit_seq: i64,
    pub frozen: bool,
}

/// A cap as the engine sees it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapUse {
    pub id: CapId,
    pub limit: NanoUsd,
    pub period: CapPeriod,
    pub window: i64,
    pub used: NanoUsd,
    pub reserved: NanoUsd,
}

/// The credit engine. Every method is one atomic act in one shard.
#[async_trait]
pub trait CreditEngine: Send + Sync {
    async fn reserve(&self, request: &Reserve<'_>) -> Result<Reserved, StoreError>;

    /// Grows a hold by `extra` (all or nothing), raises its metered amount and renews its lifetime.
    async fn extend(
        &self,
        hold: &Grant,
        extra: NanoUsd,
        metered: NanoUsd,
        lifetime: Duration,
    ) -> Result<Extended, StoreError>;

    /// Closes a hold at a charge: the hold and, above it, at most what is available and left in every cap.
    /// `list_price` counts against a list-price allowance. `record` is the generation for the ledger.
    async fn settle(
        &self,
        hold: &HoldKey,
        account: AccountRef,
        settlement: &Settlement<'_>,
    ) -> Result<Settled, StoreError>;

    /// Closes a hold without a charge and gives its ticket back.
    async fn release(&self, hold: &HoldKey, account: AccountRef) -> Result<Settled, StoreError>;

    async fn balance(&self, account: AccountRef) -> Result<Option<Balance>, StoreError>;

    /// The named caps that the engine knows, with their current windows.
    async fn caps(&self, account: AccountRef, ids: &[CapId]) -> Result<Vec<CapUse>, StoreError>;

    /// Whether a hold is open or was closed within the last hour.
    async fn knows(&self, hold: &HoldKey, account: AccountRef) -> Result<bool, StoreError>;
}

/// The epochs in which this process speaks to the engine.
pub trait EpochView: Send + Sync {
    /// `None` while the shard's epoch is not known.
    fn epoch(&self, shard: u8) -> Option<i64>;
}

/// What closes a hold.
#[derive(Debug, Clone, Copy)]
pub struct Settlement<'a> {
    /// Price (own credential) or fee (own key) of the usage, rounded down.
    pub amount: NanoUsd,
    /// The price at catalog rates; equal to `amount` for credits.
    pub list_price: NanoUsd,
    /// The packed [`GenerationRecord`](crate::GenerationRecord); goes to the ledger with the charge.
    pub record: &'a str,
}

/// One entry of a shard's outbox stream: a closed hold on its way to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Redis stream id.
    pub id: String,
    pub shard: u8,
    pub epoch: i64,
    pub key: HoldKey,
    pub kind: ClosedBy,
    pub account: AccountId,
    pub charge: NanoUsd,
    pub uncollected: NanoUsd,
    pub held: NanoUsd,
    pub list_price: NanoUsd,
    /// As it ended: a paid ticket that was free at settling is `Free`, one given back is `None`.
    pub ticket: Ticket,
    /// The month in which the ticket was taken (0 without one).
    pub byok_month: i64,
    pub windows: Vec<CapWindow>,
    /// Balance after this debit.
    pub balance_after: NanoUsd,
    pub debit_seq: i64,
    pub credit_seq: i64,
    /// The packed generation of the settlement. Without one: `sweep:` and the owner of the hold where the
    /// sweeper closed it, `release:` and the owner where a metered hold was released (charge 0).
    pub record: String,
}

/// Reading the outbox streams; only the ingest job does.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Up to `limit` entries of each shard after its given id, in order.
    async fn read(&self, after: &[(u8, String)], limit: u32) -> Result<Vec<OutboxEntry>, StoreError>;

    /// The same from one process (`run_id`) of the engine only; `Moving` when another one answers.
    async fn read_from(
        &self,
        node: &str,
        after: &[(u8, String)],
        limit: u32,
    ) -> Result<Vec<OutboxEntry>, StoreError>;

    /// Forgets entries up to and including an id that the ledger has committed.
    async fn trim(&self, shard: u8, epoch: i64, upto: &str) -> Result<(), StoreError>;

    /// Entries not yet trimmed, over all shards.
    async fn length(&self) -> Result<u64, StoreError>;
}

/// Reading the engine's state for the proof of the books.
#[async_trait]
pub trait EngineAudit: Send + Sync {
    /// Every account of a shard, with the sum of its open holds and its caps.
    async fn accounts(&self, shard: u8) -> Result<Vec<AuditedAccount>, StoreError>;

    /// Open holds whose lifetime ended more than `grace` ago, over all shards.
    async fn overdue_holds(&self, grace: Duration) -> Result<u64, StoreError>;

    /// Open holds over all shards.
    async fn open_holds(&self) -> Result<u64, StoreError>;
}

/// An account of the engine for the proof of the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedAccount {
    pub account: AccountId,
    pub balance: Balance,
    /// Sum of the amounts of its open holds; must equal `balance.reserved`.
    pub held: NanoUsd,
    pub caps: Vec<CapUse>,
    pub epoch: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_turn_at_utc_midnight_on_monday_and_on_the_first() {
        let rows = [
            ("1970-01-01T00:00:00Z", 0, 0, 1970 * 12),
            ("1970-01-04T23:59:59Z", 3, 0, 1970 * 12),
            ("1970-01-05T00:00:00Z", 4, 1, 1970 * 12),
            ("2024-02-29T23:59:59Z", 19_782, 2826, 2024 * 12 + 1),
            ("2024-03-01T00:00:00Z", 19_783, 2826, 2024 * 12 + 2),
            ("2026-11-30T23:59:59Z", 20_787, 2970, 2026 * 12 + 10),
            ("2026-12-31T23:59:59Z", 20_818, 2974, 2026 * 12 + 11),
            ("2027-01-01T00:00:00Z", 20_819, 2974, 2027 * 12),
        ];
        for (text, day, week, month) in rows {
            let now: Moment = text.parse().unwrap();
            let windows = [CapPeriod::Total, CapPeriod::Daily, CapPeriod::Weekly, CapPeriod::Monthly]
                .map(|period| period.window(now));
            assert_eq!(windows, [0, day, week, month], "{text}");
        }
    }
}
