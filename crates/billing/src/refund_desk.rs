//! The refund desk: takes the credits from the balance, sends the money back, and gives the credits back
//! when the payment provider refuses. Every step may be repeated; a crash between two of them is mended by
//! `resume`.
//!
//! How much may come back is `refund::refundable`; who may ask, the caller has checked.

use crate::desk::{DeskError, Progress};
use crate::engine::{AccountRef, Balance};
use crate::ledger::{Booked, GrantLedger, PurchaseLedger, RefundLedger};
use crate::payment::{PaymentError, ProviderRefund, RefundOrder, RefundProvider, RefundStatus};
use crate::purchase::{Mismatch, Purchase};
use crate::refund::{
    Decision, NewRefund, Opened, Refund, RefundEnd, RefundRefusal, RefundState, Requester, refundable,
    refundable_until,
};
use async_trait::async_trait;
use kernel::ids::{OrgId, PurchaseId, RefundId};
use kernel::{Cents, Clock, Moment, NanoUsd, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// Refunds touched more recently are still in somebody's hands.
const RESUME_AFTER: Duration = Duration::from_secs(60);

/// The balance as the engine has it, and the way to tell it of changes.
#[async_trait]
pub trait Purse: Send + Sync {
    async fn balance(&self, account: AccountRef) -> Result<Balance, StoreError>;

    /// Tells the engine of what was booked, at once; a job tells it anyway.
    async fn learn(&self, booked: Booked) -> Result<(), StoreError>;

    /// What is left of promotional credit: it cannot be refunded.
    async fn promo_left(&self, account: AccountRef) -> Result<NanoUsd, StoreError>;
}

/// A wish for a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The idempotency key.
    pub id: RefundId,
    pub org: OrgId,
    pub purchase: PurchaseId,
    /// All that can be refunded when absent.
    pub amount: Option<Cents>,
    pub by: Requester,
    pub reason: String,
}

/// What the desk works with.
#[derive(Clone)]
pub struct RefundDesk {
    pub provider: Arc<dyn RefundProvider>,
    pub refunds: Arc<dyn RefundLedger>,
    pub purchases: Arc<dyn PurchaseLedger>,
    pub grants: Arc<dyn GrantLedger>,
    pub purse: Arc<dyn Purse>,
    pub clock: Arc<dyn Clock>,
}

impl RefundDesk {
    /// What would come back now; a refusal says why nothing would.
    pub async fn offer(&self, purchase: &Purchase) -> Result<Result<Cents, RefundRefusal>, DeskError> {
        let balance = self.purse.balance(purchase.account).await?;
        if balance.frozen {
            return Ok(Err(RefundRefusal::Disputed));
        }
        let promo = self.purse.promo_left(purchase.account).await?;
        let unused = balance.balance.get().saturating_sub(balance.reserved.get()).saturating_sub(promo.get());
        Ok(refundable(purchase, NanoUsd::new(unused)))
    }

    /// Whether the customer may still press the button.
    #[must_use]
    pub fn in_time(purchase: &Purchase, now: Moment) -> bool {
        refundable_until(purchase).is_some_and(|until| now <= until)
    }

    /// Opens a refund and carries it as far as it goes now.
    pub async fn request(&self, ask: &Ask) -> Result<Opened, DeskError> {
        let Some(purchase) = self.purchases.purchase(ask.org, ask.purchase).await? else {
            return Ok(Opened::Refused(RefundRefusal::NotPaid));
        };
        if let Some(known) = self.refunds.refund(ask.id).await? {
            return Ok(Opened::Standing(Box::new(known)));
        }
        let now = self.clock.now();
        if matches!(ask.by, Requester::Member(_))
            && purchase.granted_at.is_some()
            && !Self::in_time(&purchase, now)
        {
            return Ok(Opened::Refused(RefundRefusal::TooLate));
        }
        let most = match self.offer(&purchase).await? {
            Ok(most) => most,
            Err(refusal) => return Ok(Opened::Refused(refusal)),
        };
        let amount = ask.amount.unwrap_or(most);
        if amount > most || amount <= Cents::ZERO {
            return Ok(Opened::Refused(RefundRefusal::TooMuch));
        }
        let new = NewRefund {
            id: ask.id,
            org: ask.org,
            purchase: ask.purchase,
            amount,
            by: ask.by.clone(),
            reason: ask.reason.clone(),
            at: now,
        };
        let opened = self.refunds.open_refund(&new).await?;
        self.carry(opened).await
    }

    /// A second member of staff decides. What was unused then may be used by now: that is refused.
    pub async fn decide(&self, id: RefundId, decision: &Decision) -> Result<Opened, DeskError> {
        let Some(refund) = self.refunds.refund(id).await? else {
            return Ok(Opened::Refused(RefundRefusal::Unknown));
        };
        if decision.agreed && refund.state == RefundState::Waiting {
            let purchase = self.purchases.purchase(refund.org, refund.purchase).await?;
            let most = match purchase {
                Some(purchase) => self.offer(&purchase).await?,
                None => Err(RefundRefusal::NotPaid),
            };
            match most {
                Ok(most) if most >= refund.amount => {}
                Ok(_) => return Ok(Opened::Refused(RefundRefusal::TooMuch)),
                Err(refusal) => return Ok(Opened::Refused(refusal)),
            }
        }
        let opened = self.refunds.decide_refund(id, decision).await?;
        self.carry(opened).await
    }

    /// After a debit: the engine learns it, and the money goes back. What cannot be known now stays debited
    /// and is resumed.
    async fn carry(&self, opened: Opened) -> Result<Opened, DeskError> {
        let Opened::Debited(refund, booked) = opened else { return Ok(opened) };
        if let Some(booked) = booked {
            self.purse.learn(booked).await?;
        }
        match self.send(&refund).await {
            Ok(_booked) => {}
            Err(DeskError::Payment(error)) => {
                tracing::warn!(refund = %refund.id, %error, "a refund waits for the payment provider");
            }
            Err(error) => return Err(error),
        }
        let stands = self.refunds.refund(refund.id).await?.map_or(refund, Box::new);
        Ok(Opened::Standing(stands))
    }

    /// Sends a debited refund, unless calls have spent the money in the moment before the engine learned of it.
    async fn send(&self, refund: &Refund) -> Result<Option<Booked>, DeskError> {
        let balance = self.purse.balance(refund.account).await?;
        if balance.balance < balance.reserved {
            let why = "the credits were used in the same moment".to_owned();
            return self.end(refund, &RefundEnd::Reversed { provider_id: None, why }).await;
        }
        let order = RefundOrder { refund: refund.id, payment: refund.payment.clone(), amount: refund.amount };
        match self.provider.send_refund(&order).await {
            Ok(word) => self.take(refund, &word).await.map(|(booked, _alarm)| booked),
            Err(PaymentError::Refused { message }) => {
                self.end(refund, &RefundEnd::Reversed { provider_id: None, why: message }).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the payment provider's word about a refund into the ledger.
    async fn take(
        &self,
        refund: &Refund,
        word: &ProviderRefund,
    ) -> Result<(Option<Booked>, Option<Mismatch>), DeskError> {
        if let Some(mismatch) = mismatch(refund, word) {
            tracing::error!(refund = %refund.id, provider = %word.id, %mismatch, "a refund is not what was asked for");
            return Ok((None, Some(mismatch)));
        }
        let end = match word.status {
            RefundStatus::Pending => return Ok((None, None)),
            RefundStatus::Done => RefundEnd::Done { provider_id: word.id.clone() },
            RefundStatus::Failed => RefundEnd::Reversed {
                provider_id: Some(word.id.clone()),
                why: "the bank did not take the money back".to_owned(),
            },
        };
        self.end(refund, &end).await.map(|booked| (booked, None))
    }

    async fn end(&self, refund: &Refund, end: &RefundEnd) -> Result<Option<Booked>, DeskError> {
        let booked = self.refunds.finish_refund(refund.id, end, self.clock.now()).await?;
        if let Some(booked) = booked
            && let Err(error) = self.purse.learn(booked).await
        {
            tracing::warn!(%error, "a credit is sent to the engine later");
        }
        Ok(booked)
    }

    /// Looks at all refunds of a payment, as when a message names it.
    pub async fn look_at_payment(&self, payment: &str) -> Result<Progress, DeskError> {
        let Some(purchase) = self.grants.purchase_by_payment(payment).await? else {
            return Ok(Progress::Foreign);
        };
        let mut progress = Progress::Already { account: purchase.account };
        for refund in self.refunds.refunds_of(purchase.org, purchase.id).await? {
            if !matches!(refund.state, RefundState::Debited | RefundState::Done) {
                continue;
            }
            if let Some(word) = self.provider.find_refund(payment, refund.id).await? {
                match self.take(&refund, &word).await? {
                    (_, Some(mismatch)) => return Ok(Progress::Alarm(mismatch)),
                    (Some(booked), None) => progress = Progress::Booked(booked),
                    (None, None) => {}
                }
            }
        }
        Ok(progress)
    }

    /// Carries on with refunds that were left half-way; how many could not be.
    pub async fn resume(&self, limit: u32) -> Result<u32, DeskError> {
        let mut failed = 0;
        for refund in self.refunds.refunds_to_finish(self.clock.now() - RESUME_AFTER, limit).await? {
            // It may have been sent long ago, when the idempotency key is forgotten: look before sending.
            let done = match self.provider.find_refund(&refund.payment, refund.id).await {
                Ok(Some(word)) => self.take(&refund, &word).await.map(|_booked| ()),
                Ok(None) if refund.state == RefundState::Debited => {
                    self.send(&refund).await.map(|_booked| ())
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = done {
                tracing::warn!(refund = %refund.id, %error, "a refund could not be carried on");
                failed += 1;
            }
        }
        Ok(failed)
    }
}

fn mismatch(refund: &Refund, word: &ProviderRefund) -> Option<Mismatch> {
    if word.refund != Some(refund.id) || word.payment.as_ref() != Some(&refund.payment) {
        return Some(Mismatch::Purchase);
    }
    if word.currency != "usd" {
        return Some(Mismatch::Currency(word.currency.clone()));
    }
    let (paid, expected) = (word.amount.get(), refund.amount.get());
    (paid != expected).then_some(Mismatch::Amount { paid, expected })
}
