//! What billing needs from a payment provider after a payment: refunds, and its word about disputes.

use super::PaymentError;
use crate::dispute::ProviderDispute;
use async_trait::async_trait;
use kernel::ids::RefundId;
use kernel::{Cents, Moment};

/// A refund to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundOrder {
    /// Also the idempotency key.
    pub refund: RefundId,
    /// The payment that is taken back in part.
    pub payment: String,
    pub amount: Cents,
}

/// Where a refund stands at the payment provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundStatus {
    /// On its way to the card. The bank may still send it back.
    Done,
    Pending,
    /// Refused, cancelled or sent back: the money is ours again.
    Failed,
}

/// The payment provider's present word about a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderRefund {
    pub id: String,
    /// Ours, from what we told the provider; `None` for one that somebody else made.
    pub refund: Option<RefundId>,
    pub payment: Option<String>,
    pub amount: Cents,
    /// Lower-case ISO code.
    pub currency: String,
    pub status: RefundStatus,
}

/// Sends money back.
#[async_trait]
pub trait RefundProvider: Send + Sync {
    /// Sends a refund, or finds the one sent before. `Refused` means that no money moved.
    async fn send_refund(&self, order: &RefundOrder) -> Result<ProviderRefund, PaymentError>;

    /// The refund of ours on a payment, if there is one.
    async fn find_refund(
        &self,
        payment: &str,
        refund: RefundId,
    ) -> Result<Option<ProviderRefund>, PaymentError>;
}

/// Knows about disputes.
#[async_trait]
pub trait DisputeProvider: Send + Sync {
    /// The present word, fetched fresh.
    async fn dispute(&self, id: &str) -> Result<ProviderDispute, PaymentError>;

    /// Ids of all disputes opened since a moment.
    async fn disputes_since(&self, since: Moment) -> Result<Vec<String>, PaymentError>;
}
