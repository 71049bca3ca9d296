//! Refunds and disputes at Stripe. Amounts are carried as given and read as they are.

use crate::call::{Form, Page, form, plain_id};
use crate::client::StripeClient;
use async_trait::async_trait;
use billing::dispute::{DisputeState, ProviderDispute};
use billing::payment::{
    DisputeProvider, PaymentError, ProviderRefund, RefundOrder, RefundProvider, RefundStatus,
};
use kernel::ids::RefundId;
use kernel::{Cents, Moment};
use serde::Deserialize;

/// Metadata of a refund: ours.
const REFUND: &str = "refund";

#[derive(Debug, Deserialize)]
struct Refund {
    id: String,
    amount: i64,
    currency: String,
    payment_intent: Option<String>,
    status: Option<String>,
    #[serde(default)]
    metadata: Form,
}

impl Refund {
    fn word(self) -> Result<ProviderRefund, PaymentError> {
        let status = match self.status.as_deref() {
            Some("succeeded") => RefundStatus::Done,
            Some("pending" | "requires_action") => RefundStatus::Pending,
            Some("failed" | "canceled") => RefundStatus::Failed,
            other => {
                let text = other.unwrap_or("none");
                return Err(PaymentError::Malformed(format!("refund {}: status {text}", self.id)));
            }
        };
        Ok(ProviderRefund {
            id: self.id,
            refund: self.metadata.get(REFUND).and_then(|id| id.parse().ok()),
            payment: self.payment_intent,
            amount: Cents::new(self.amount),
            currency: self.currency,
            status,
        })
    }
}

#[derive(Debug, Deserialize)]
struct Dispute {
    id: String,
    amount: i64,
    currency: String,
    payment_intent: Option<String>,
    livemode: bool,
    status: String,
    #[serde(default)]
    reason: String,
}

#[async_trait]
impl RefundProvider for StripeClient {
    async fn send_refund(&self, order: &RefundOrder) -> Result<ProviderRefund, PaymentError> {
        let fields = form([
            ("payment_intent", plain_id(&order.payment)?.to_owned()),
            ("amount", order.amount.get().to_string()),
            ("metadata[refund]", order.refund.to_string()),
        ]);
        self.post::<Refund>("/refunds", &fields, &order.refund.to_string()).await?.word()
    }

    async fn find_refund(
        &self,
        payment: &str,
        refund: RefundId,
    ) -> Result<Option<ProviderRefund>, PaymentError> {
        let mut query =
            form([("payment_intent", plain_id(payment)?.to_owned()), ("limit", "100".to_owned())]);
        loop {
            let page: Page<Refund> = self.get("/refunds", &query).await?;
            let last = page.data.last().map(|refund| refund.id.clone());
            for found in page.data {
                let word = found.word()?;
                if word.refund == Some(refund) {
                    return Ok(Some(word));
                }
            }
            match last.filter(|_| page.has_more) {
                Some(last) => query.insert("starting_after".to_owned(), last),
                None => return Ok(None),
            };
        }
    }
}

#[async_trait]
impl DisputeProvider for StripeClient {
    async fn dispute(&self, id: &str) -> Result<ProviderDispute, PaymentError> {
        let path = format!("/disputes/{}", plain_id(id)?);
        let found: Dispute = self.get(&path, &Form::new()).await?;
        let state = match found.status.as_str() {
            "warning_needs_response" | "warning_under_review" => DisputeState::Inquiry,
            "warning_closed" | "prevented" => DisputeState::Closed,
            "needs_response" | "under_review" => DisputeState::Open,
            "won" => DisputeState::Won,
            "lost" => DisputeState::Lost,
            other => return Err(PaymentError::Malformed(format!("dispute {id}: status {other}"))),
        };
        Ok(ProviderDispute {
            id: found.id,
            payment: found.payment_intent,
            amount: Cents::new(found.amount),
            currency: found.currency,
            live: found.livemode,
            state,
            reason: found.reason,
        })
    }

    async fn disputes_since(&self, since: Moment) -> Result<Vec<String>, PaymentError> {
        let mut query = form([("created[gte]", since.timestamp().to_string()), ("limit", "100".to_owned())]);
        let mut found = Vec::new();
        loop {
            let page: Page<Dispute> = self.get("/disputes", &query).await?;
            let last = page.data.last().map(|dispute| dispute.id.clone());
            found.extend(page.data.into_iter().map(|dispute| dispute.id));
            match last.filter(|_| page.has_more) {
                Some(last) => query.insert("starting_after".to_owned(), last),
                None => return Ok(found),
            };
        }
    }
}
