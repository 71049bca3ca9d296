//! Purchases in the ledger, from two sides: the organization that buys, and the payment provider's word,
//! which knows no organization. Neither moves money without the other's row.

use crate::purchase::{Grant, Granted, NewPurchase, Purchase, PurchaseEnd};
use async_trait::async_trait;
use kernel::ids::{OrgId, PurchaseId};
use kernel::{Moment, StoreError};

/// The buyer's side: every method takes the organization first.
#[async_trait]
pub trait PurchaseLedger: Send + Sync {
    /// Records an intended purchase before the payment provider is asked. Twice with one id is once.
    async fn open_purchase(&self, purchase: &NewPurchase) -> Result<Purchase, StoreError>;

    /// Remembers the payment provider's checkout session.
    async fn attach_session(
        &self,
        org: OrgId,
        id: PurchaseId,
        session: &str,
        url: &str,
    ) -> Result<(), StoreError>;

    async fn purchase(&self, org: OrgId, id: PurchaseId) -> Result<Option<Purchase>, StoreError>;

    /// Newest first.
    async fn purchases(&self, org: OrgId, limit: u32) -> Result<Vec<Purchase>, StoreError>;
}

/// The payment provider's side: finds purchases by what a message names, grants them once, or ends them.
#[async_trait]
pub trait GrantLedger: Send + Sync {
    /// By its id, for staff.
    async fn purchase_by_id(&self, id: PurchaseId) -> Result<Option<Purchase>, StoreError>;

    /// By the provider's checkout session.
    async fn purchase_by_session(&self, session: &str) -> Result<Option<Purchase>, StoreError>;

    /// By the provider's payment; known once the purchase is granted.
    async fn purchase_by_payment(&self, payment: &str) -> Result<Option<Purchase>, StoreError>;

    /// Open purchases of the last 72 hours that were begun before a moment and are due for a look, those that
    /// were not looked at for the longest time first. Asking marks them as looked at.
    async fn purchases_to_check(
        &self,
        begun_before: Moment,
        now: Moment,
        limit: u32,
    ) -> Result<Vec<Purchase>, StoreError>;

    /// Grants the credits of a paid purchase: clearing → customer (amount) and clearing → fee revenue (fee),
    /// with the account's next credit sequence. The grant key is the purchase: twice is once.
    async fn grant(&self, grant: &Grant) -> Result<Granted, StoreError>;

    /// Ends a purchase that will not be paid. A granted one stays granted.
    async fn end_purchase(&self, id: PurchaseId, end: PurchaseEnd) -> Result<(), StoreError>;

    /// Notes a webhook event; `false` when it was noted before.
    async fn note_event(&self, event: &str, kind: &str) -> Result<bool, StoreError>;
}
