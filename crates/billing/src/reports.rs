//! What pages and the API read of past calls. Every method takes the organization first.

use crate::generation::GenerationRecord;
use async_trait::async_trait;
use kernel::ids::{GenerationId, KeyId, MemberId, OrgId};
use kernel::{Moment, NanoUsd, StoreError};

/// Which of an organization's calls to show. Empty fields select everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageFilter {
    pub from: Option<Moment>,
    /// Exclusive.
    pub to: Option<Moment>,
    pub key: Option<KeyId>,
    pub member: Option<MemberId>,
    pub model: Option<String>,
    pub provider: Option<String>,
}

/// What one model used on one UTC day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayModelUsage {
    /// `YYYY-MM-DD`.
    pub day: String,
    pub model: String,
    pub requests: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// What credits paid.
    pub charge: NanoUsd,
    /// List price of own-key calls.
    pub byok_list_price: NanoUsd,
}

/// A booked call: its record and what was really charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    pub record: GenerationRecord,
    pub created_at: Moment,
    /// Taken from the credits.
    pub charge: NanoUsd,
    /// Used but not covered by hold, balance or caps.
    pub uncollected: NanoUsd,
    pub held: NanoUsd,
    /// Name of the key at the time of reading; `None` for the browser.
    pub key_name: Option<String>,
}

/// Totals over a filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageTotals {
    pub requests: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub charge: NanoUsd,
}

/// Reading an organization's past calls.
#[async_trait]
pub trait Reports: Send + Sync {
    /// By day and model, oldest day first, dearest model first.
    async fn usage_by_day(&self, org: OrgId, filter: &UsageFilter) -> Result<Vec<DayModelUsage>, StoreError>;

    async fn totals(&self, org: OrgId, filter: &UsageFilter) -> Result<UsageTotals, StoreError>;

    /// Newest first; `before` continues a list.
    async fn generations(
        &self,
        org: OrgId,
        filter: &UsageFilter,
        before: Option<GenerationId>,
        limit: u32,
    ) -> Result<Vec<Generation>, StoreError>;

    async fn generation(&self, org: OrgId, id: GenerationId) -> Result<Option<Generation>, StoreError>;
}
