//! Letters to customers about their money, and the outbox that they wait in. Who sends them, and how, is not
//! decided here; in development the outbox is all there is.

use crate::dispute::DisputeState;
use async_trait::async_trait;
use kernel::ids::OrgId;
use kernel::{Cents, Moment, StoreError};

/// A letter to the owners, admins and billing members of an organization. It is written in the transaction
/// of the event that it tells of, once for each event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// What it is about, like `dispute.open`; with the event's id it is unique.
    pub kind: String,
    pub subject: String,
    /// Plain text.
    pub body: String,
}

/// A letter in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub id: i64,
    pub org: OrgId,
    pub to: String,
    pub letter: Letter,
    pub created_at: Moment,
    pub sent_at: Option<Moment>,
}

/// The outbox.
#[async_trait]
pub trait MailOutbox: Send + Sync {
    /// Newest first.
    async fn latest_mail(&self, limit: u32) -> Result<Vec<Outgoing>, StoreError>;

    /// Letters that nobody has sent, oldest first.
    async fn unsent_mail(&self, limit: u32) -> Result<Vec<Outgoing>, StoreError>;

    async fn mark_sent(&self, id: i64, at: Moment) -> Result<(), StoreError>;
}

/// What a dispute's new state means to the customer.
#[must_use]
pub fn dispute(state: DisputeState, amount: Cents, site: &str) -> Letter {
    let dollars = amount.dollars();
    let (subject, body) = match state {
        DisputeState::Inquiry | DisputeState::Closed => (
            format!("Your bank asked about a payment of ${dollars}"),
            "No money has moved and your account works as before. If you did not expect this, write to support.".to_owned(),
        ),
        DisputeState::Open => (
            format!("A payment of ${dollars} was disputed: your account is frozen"),
            format!(
                "Your bank took a payment of ${dollars} back, so ${dollars} were taken from your credits. Until the \
                 dispute is decided, calls are refused and automatic top-up is off. If this was a mistake, ask your \
                 bank to withdraw the dispute. See {site}/credits"
            ),
        ),
        DisputeState::Won => (
            format!("The dispute of ${dollars} is settled: your account works again"),
            format!("${dollars} are on your credits again and calls are accepted. Automatic top-up stays off until \
                     you turn it on again: {site}/credits/top-up"),
        ),
        DisputeState::Lost => (
            format!("The dispute of ${dollars} was decided for the cardholder"),
            format!("The ${dollars} stay with your bank. Your account stays frozen; write to support to use it again. \
                     See {site}/credits"),
        ),
    };
    Letter { kind: format!("dispute.{}", state.as_str()), subject, body }
}
