//! Refunds in the ledger: debited before the payment provider is asked, given back if it refuses.

use super::Booked;
use crate::refund::{Decision, NewRefund, Opened, Refund, RefundEnd};
use async_trait::async_trait;
use kernel::ids::{OrgId, PurchaseId, RefundId};
use kernel::{Moment, StoreError};

/// Each method is one transaction; each may be repeated.
#[async_trait]
pub trait RefundLedger: Send + Sync {
    /// Debits the customer (customer → clearing), or records that a second member of staff must agree first.
    /// Twice with one id is once; a purchase has at most one refund in progress.
    async fn open_refund(&self, new: &NewRefund) -> Result<Opened, StoreError>;

    /// A second member of staff agrees (then the customer is debited) or not. Whoever asked cannot decide.
    async fn decide_refund(&self, id: RefundId, decision: &Decision) -> Result<Opened, StoreError>;

    /// The payment provider's last word. `Reversed` gives the money back, also after `Done`; `None` when
    /// nothing was booked.
    async fn finish_refund(
        &self,
        id: RefundId,
        end: &RefundEnd,
        at: Moment,
    ) -> Result<Option<Booked>, StoreError>;

    async fn refund(&self, id: RefundId) -> Result<Option<Refund>, StoreError>;

    /// Of one purchase, oldest first.
    async fn refunds_of(&self, org: OrgId, purchase: PurchaseId) -> Result<Vec<Refund>, StoreError>;

    /// Those that wait for a second member of staff, oldest first.
    async fn refunds_to_decide(&self) -> Result<Vec<Refund>, StoreError>;

    /// Debited ones without the provider's last word that were last touched before a moment, and done ones of
    /// the last 30 days once a day, since a bank may send them back. Asking marks them as touched.
    async fn refunds_to_finish(&self, before: Moment, limit: u32) -> Result<Vec<Refund>, StoreError>;
}
