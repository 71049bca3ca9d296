//! What billing needs from a payment provider: a hosted checkout page, its current word about a session,
//! and a way to close one.
//!
//! Credit amounts and fees are decided before (see `fees`) and after (see `purchase::next_step`); an
//! implementation only carries them. It never grants credits.

use crate::purchase::PaidSession;
use async_trait::async_trait;
use kernel::Cents;
use kernel::ids::{OrgId, PurchaseId};

mod money_back;

pub use money_back::{DisputeProvider, ProviderRefund, RefundOrder, RefundProvider, RefundStatus};

/// What the customer is sent to pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckoutOrder {
    /// Also the idempotency key: beginning one purchase twice gives one session.
    pub purchase: PurchaseId,
    pub org: OrgId,
    /// Where the receipt goes.
    pub email: String,
    /// Credits granted when paid.
    pub amount: Cents,
    pub fee: Cents,
    /// What the card pays: amount and fee.
    pub total: Cents,
    /// Absolute address the customer returns to after paying.
    pub success_url: String,
    /// Absolute address the customer returns to after giving up.
    pub cancel_url: String,
}

/// A hosted page that waits for the customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckoutSession {
    /// The payment provider's id of the session.
    pub id: String,
    /// Where to send the customer.
    pub url: String,
}

/// Why the payment provider did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// No answer, or "try again": nothing is known to have happened.
    #[error("the payment provider is unavailable: {0}")]
    Unavailable(String),
    /// It refused; `message` may be shown to the customer.
    #[error("the payment provider refused: {message}")]
    Refused { message: String },
    /// It answered something that we cannot read; a person must look. Never shown to customers.
    #[error("the payment provider's answer makes no sense: {0}")]
    Malformed(String),
}

/// A payment provider with hosted checkout pages.
#[async_trait]
pub trait PaymentProvider: Send + Sync {
    /// Makes the hosted page for an order, or finds the one made before for the same purchase.
    async fn begin_checkout(&self, order: &CheckoutOrder) -> Result<CheckoutSession, PaymentError>;

    /// The current word about a session, fetched fresh.
    async fn session(&self, id: &str) -> Result<PaidSession, PaymentError>;

    /// Closes a session that nobody should pay any more. Closing a closed or paid one changes nothing.
    async fn expire(&self, id: &str) -> Result<(), PaymentError>;
}
