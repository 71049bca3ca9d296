//! Disputes in the ledger, and the freezing of accounts that follows from them.

use crate::dispute::{Advance, Advanced, Dispute};
use crate::engine::AccountRef;
use async_trait::async_trait;
use kernel::ids::OrgId;
use kernel::{Moment, StoreError};

/// What an organization may know.
#[async_trait]
pub trait OrgDisputes: Send + Sync {
    /// Its own disputes, newest first.
    async fn disputes_of(&self, org: OrgId) -> Result<Vec<Dispute>, StoreError>;
}

/// Each method is one transaction; each may be repeated.
#[async_trait]
pub trait DisputeLedger: Send + Sync {
    /// Takes a dispute to the payment provider's present word, through every state between: debits and
    /// freezes, credits back, or writes the negative rest off. A lower rank changes nothing.
    async fn advance_dispute(&self, to: &Advance) -> Result<Advanced, StoreError>;

    /// All organizations' disputes, undecided ones first.
    async fn all_disputes(&self, limit: u32) -> Result<Vec<Dispute>, StoreError>;

    /// Undecided disputes last looked at before a moment. Asking marks them as looked at.
    async fn disputes_to_check(
        &self,
        before: Moment,
        now: Moment,
        limit: u32,
    ) -> Result<Vec<Dispute>, StoreError>;

    /// Staff let an organization with no undecided dispute call again; `false` when there is one, or it is
    /// not frozen.
    async fn unfreeze(&self, org: OrgId, staff: &str, at: Moment) -> Result<bool, StoreError>;

    /// Accounts whose freezing the engine has not been told, with what it must be told.
    async fn freezes_to_send(&self, limit: u32) -> Result<Vec<(AccountRef, bool)>, StoreError>;

    /// The engine was told so.
    async fn freeze_sent(&self, account: AccountRef, frozen: bool) -> Result<(), StoreError>;
}
