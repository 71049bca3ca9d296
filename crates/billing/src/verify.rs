//! The proof of the books: what is checked, and the report that a person reads.
//!
//! The checks themselves are queries of the stores; here are their names, their sentences and the verdict.

use async_trait::async_trait;
use kernel::StoreError;

/// One invariant's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `I1` … `I22`, stable.
    pub id: &'static str,
    /// What must hold, as a sentence.
    pub rule: &'static str,
    /// Rows looked at.
    pub checked: u64,
    /// Up to ten breaches, each naming the row and the two figures; empty is good.
    pub breaches: Vec<String>,
    /// Breaches in all.
    pub breach_count: u64,
}

impl Finding {
    #[must_use]
    pub fn new(id: &'static str, rule: &'static str, checked: u64, breaches: Vec<String>) -> Self {
        let breach_count = u64::try_from(breaches.len()).unwrap_or(u64::MAX);
        Self { id, rule, checked, breaches: breaches.into_iter().take(10).collect(), breach_count }
    }

    #[must_use]
    pub fn holds(&self) -> bool {
        self.breach_count == 0
    }
}

/// The invariants that PostgreSQL alone can prove.
#[async_trait]
pub trait LedgerAudit: Send + Sync {
    async fn check(&self) -> Result<Vec<Finding>, StoreError>;

    /// Posted balance, sequences and epoch of every account of a shard, to compare with the engine.
    async fn accounts(&self, shard: u8) -> Result<Vec<PostedAccount>, StoreError>;
}

/// An account of the ledger for the proof of the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedAccount {
    pub account: kernel::ids::AccountId,
    pub posted: kernel::NanoUsd,
    pub credit_seq: i64,
    pub debit_seq: i64,
    pub caps: Vec<crate::engine::Cap>,
}
