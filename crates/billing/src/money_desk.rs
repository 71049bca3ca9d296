//! Where every message of the payment provider arrives: purchases, refunds and disputes each have a desk,
//! and this one knows which of them a message is for. It decides nothing about money.

use crate::desk::{DeskError, PaymentEvent, Progress, PurchaseDesk};
use crate::dispute_desk::DisputeDesk;
use crate::refund_desk::RefundDesk;

/// The desks of one process.
#[derive(Clone)]
pub struct MoneyDesk {
    pub purchases: PurchaseDesk,
    pub refunds: RefundDesk,
    pub disputes: DisputeDesk,
}

impl MoneyDesk {
    /// Carries a verified message into the ledger. It may be answered when this returns `Ok`.
    pub async fn handle_event(&self, event: &PaymentEvent) -> Result<Progress, DeskError> {
        if let Some(refused) = self.purchases.accept(event).await? {
            return Ok(refused);
        }
        if let Some(dispute) = &event.dispute {
            return self.disputes.look(dispute).await;
        }
        if let (true, Some(payment)) = (event.refund, &event.payment) {
            return self.refunds.look_at_payment(payment).await;
        }
        self.purchases.carry(event).await
    }
}
