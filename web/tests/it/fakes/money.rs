//! Refunds, disputes and letters: empty books that the pages can look at.

use super::ledger::FakePurchases;
use async_trait::async_trait;
use billing::dispute::{Advance, Advanced, Dispute};
use billing::engine::AccountRef;
use billing::ledger::{Booked, DisputeLedger, GrantLedger, OrgDisputes, RefundLedger};
use billing::mail::{MailOutbox, Outgoing};
use billing::payment::{PaymentError, ProviderRefund, RefundOrder, RefundProvider, RefundStatus};
use billing::purchase::{Grant, Granted, Purchase, PurchaseEnd};
use billing::refund::{Decision, NewRefund, Opened, Refund, RefundEnd, RefundRefusal, RefundState};
use kernel::ids::{OrgId, PurchaseId, RefundId};
use kernel::{Moment, StoreError};
use parking_lot::Mutex;
use std::sync::Arc;

fn absent<T>() -> Result<T, StoreError> {
    Err(StoreError::corrupt("the pages never ask this"))
}

/// Knows the purchases of the shop and remembers refunds and disputes.
pub(crate) struct FakeMoney {
    pub(crate) purchases: Arc<FakePurchases>,
    pub(crate) refunds: Mutex<Vec<Refund>>,
    pub(crate) disputes: Mutex<Vec<Dispute>>,
}

impl FakeMoney {
    pub(crate) fn new(purchases: Arc<FakePurchases>) -> Self {
        Self { purchases, refunds: Mutex::default(), disputes: Mutex::default() }
    }
}

#[async_trait]
impl GrantLedger for FakeMoney {
    async fn purchase_by_id(&self, id: PurchaseId) -> Result<Option<Purchase>, StoreError> {
        Ok(self.purchases.all.lock().iter().find(|purchase| purchase.id == id).cloned())
    }

    async fn purchase_by_session(&self, _session: &str) -> Result<Option<Purchase>, StoreError> {
        absent()
    }

    async fn purchase_by_payment(&self, _payment: &str) -> Result<Option<Purchase>, StoreError> {
        absent()
    }

    async fn purchases_to_check(
        &self,
        _begun_before: Moment,
        _now: Moment,
        _limit: u32,
    ) -> Result<Vec<Purchase>, StoreError> {
        absent()
    }

    async fn grant(&self, _grant: &Grant) -> Result<Granted, StoreError> {
        absent()
    }

    async fn end_purchase(&self, _id: PurchaseId, _end: PurchaseEnd) -> Result<(), StoreError> {
        absent()
    }

    async fn note_event(&self, _event: &str, _kind: &str) -> Result<bool, StoreError> {
        absent()
    }
}

#[async_trait]
impl RefundLedger for FakeMoney {
    async fn open_refund(&self, new: &NewRefund) -> Result<Opened, StoreError> {
        let all = self.purchases.all.lock();
        let purchase = all.iter().find(|purchase| purchase.id == new.purchase).unwrap();
        let refund = Refund {
            id: new.id,
            purchase: new.purchase,
            org: new.org,
            account: purchase.account,
            amount: new.amount,
            state: if new.needs_second() { RefundState::Waiting } else { RefundState::Debited },
            by: new.by.clone(),
            reason: new.reason.clone(),
            payment: "pi_1".to_owned(),
            provider_id: None,
            failure: None,
            created_at: new.at,
        };
        self.refunds.lock().push(refund.clone());
        let refund = Box::new(refund);
        Ok(if new.needs_second() { Opened::Standing(refund) } else { Opened::Debited(refund, None) })
    }

    async fn decide_refund(&self, id: RefundId, decision: &Decision) -> Result<Opened, StoreError> {
        let mut refunds = self.refunds.lock();
        let refund = refunds.iter_mut().find(|refund| refund.id == id).unwrap();
        if refund.by == billing::refund::Requester::Staff(decision.staff.clone()) {
            return Ok(Opened::Refused(RefundRefusal::SamePerson));
        }
        refund.state = if decision.agreed { RefundState::Debited } else { RefundState::Rejected };
        let refund = Box::new(refund.clone());
        Ok(if decision.agreed { Opened::Debited(refund, None) } else { Opened::Standing(refund) })
    }

    async fn finish_refund(
        &self,
        id: RefundId,
        end: &RefundEnd,
        _at: Moment,
    ) -> Result<Option<Booked>, StoreError> {
        let mut refunds = self.refunds.lock();
        let refund = refunds.iter_mut().find(|refund| refund.id == id).unwrap();
        refund.state = match end {
            RefundEnd::Done { .. } => RefundState::Done,
            RefundEnd::Reversed { .. } => RefundState::Reversed,
        };
        Ok(None)
    }

    async fn refund(&self, id: RefundId) -> Result<Option<Refund>, StoreError> {
        Ok(self.refunds.lock().iter().find(|refund| refund.id == id).cloned())
    }

    async fn refunds_of(&self, org: OrgId, purchase: PurchaseId) -> Result<Vec<Refund>, StoreError> {
        let refunds = self.refunds.lock();
        Ok(refunds.iter().filter(|one| one.org == org && one.purchase == purchase).cloned().collect())
    }

    async fn refunds_to_decide(&self) -> Result<Vec<Refund>, StoreError> {
        let refunds = self.refunds.lock();
        Ok(refunds.iter().filter(|one| one.state == RefundState::Waiting).cloned().collect())
    }

    async fn refunds_to_finish(&self, _before: Moment, _limit: u32) -> Result<Vec<Refund>, StoreError> {
        absent()
    }
}

#[async_trait]
impl OrgDisputes for FakeMoney {
    async fn disputes_of(&self, org: OrgId) -> Result<Vec<Dispute>, StoreError> {
        Ok(self.disputes.lock().iter().filter(|one| one.org == org).cloned().collect())
    }
}

#[async_trait]
impl DisputeLedger for FakeMoney {
    async fn advance_dispute(&self, _to: &Advance) -> Result<Advanced, StoreError> {
        absent()
    }

    async fn all_disputes(&self, _limit: u32) -> Result<Vec<Dispute>, StoreError> {
        Ok(self.disputes.lock().clone())
    }

    async fn disputes_to_check(
        &self,
        _before: Moment,
        _now: Moment,
        _limit: u32,
    ) -> Result<Vec<Dispute>, StoreError> {
        absent()
    }

    async fn unfreeze(&self, org: OrgId, _staff: &str, _at: Moment) -> Result<bool, StoreError> {
        let mut disputes = self.disputes.lock();
        let frozen = disputes.iter().any(|one| one.org == org && one.frozen);
        disputes.iter_mut().filter(|one| one.org == org).for_each(|one| one.frozen = false);
        Ok(frozen)
    }

    async fn freezes_to_send(&self, _limit: u32) -> Result<Vec<(AccountRef, bool)>, StoreError> {
        absent()
    }

    async fn freeze_sent(&self, _account: AccountRef, _frozen: bool) -> Result<(), StoreError> {
        absent()
    }
}

#[async_trait]
impl MailOutbox for FakeMoney {
    async fn latest_mail(&self, _limit: u32) -> Result<Vec<Outgoing>, StoreError> {
        Ok(Vec::new())
    }

    async fn unsent_mail(&self, _limit: u32) -> Result<Vec<Outgoing>, StoreError> {
        absent()
    }

    async fn mark_sent(&self, _id: i64, _at: Moment) -> Result<(), StoreError> {
        absent()
    }
}

#[async_trait]
impl RefundProvider for FakeMoney {
    async fn send_refund(&self, order: &RefundOrder) -> Result<ProviderRefund, PaymentError> {
        Ok(ProviderRefund {
            id: "re_1".to_owned(),
            refund: Some(order.refund),
            payment: Some(order.payment.clone()),
            amount: order.amount,
            currency: "usd".to_owned(),
            status: RefundStatus::Done,
        })
    }

    async fn find_refund(&self, _: &str, _: RefundId) -> Result<Option<ProviderRefund>, PaymentError> {
        Ok(None)
    }
}
