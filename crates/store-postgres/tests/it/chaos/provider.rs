//! A payment provider in memory whose every call may fail before or after its work. What it says in the end
//! is the truth that the books are held against.

use async_trait::async_trait;
use billing::dispute::{DisputeState, ProviderDispute};
use billing::payment::{
    CheckoutOrder, CheckoutSession, DisputeProvider, PaymentError, PaymentProvider, ProviderRefund,
    RefundOrder, RefundProvider, RefundStatus,
};
use billing::purchase::{PaidSession, SessionStatus};
use kernel::ids::{PurchaseId, RefundId};
use kernel::rng::SeededEntropy;
use kernel::{Cents, Entropy as _, Moment};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) struct Bank {
    rng: SeededEntropy,
    /// One call in so many fails; `0` makes none fail.
    pub(crate) one_in: AtomicU64,
    sessions: Mutex<BTreeMap<String, PaidSession>>,
    refunds: Mutex<BTreeMap<RefundId, ProviderRefund>>,
    disputes: Mutex<BTreeMap<String, ProviderDispute>>,
}

/// What is true of a purchase, in cents.
pub(crate) struct Truth {
    pub(crate) paid: bool,
    pub(crate) refunded: i64,
    pub(crate) disputed: i64,
}

fn payment(purchase: PurchaseId) -> String {
    format!("pi_{purchase}")
}

impl Bank {
    pub(crate) fn new(seed: u64) -> Self {
        let (sessions, refunds, disputes) = Default::default();
        Self {
            rng: SeededEntropy::new(seed ^ 0xBA_4B),
            one_in: AtomicU64::new(7),
            sessions,
            refunds,
            disputes,
        }
    }

    async fn weather(&self) -> Result<(), PaymentError> {
        for _ in 0..self.rng.below(3) {
            tokio::task::yield_now().await;
        }
        let one_in = self.one_in.load(Ordering::SeqCst);
        if one_in > 0 && self.rng.below(one_in) == 0 {
            return Err(PaymentError::Unavailable("planted".to_owned()));
        }
        Ok(())
    }

    /// The customer pays on the page, or lets it lapse; the session, when there was an open one.
    pub(crate) fn close(&self, purchase: PurchaseId, pays: bool) -> Option<String> {
        let mut sessions = self.sessions.lock();
        let session = sessions.get_mut(&format!("cs_{purchase}"))?;
        if session.status != SessionStatus::Open {
            return Some(session.session.clone());
        }
        session.status = if pays { SessionStatus::Paid } else { SessionStatus::Expired };
        session.payment = pays.then(|| payment(purchase));
        Some(session.session.clone())
    }

    fn total(&self, purchase: PurchaseId) -> Option<Cents> {
        let sessions = self.sessions.lock();
        let session = sessions.get(&format!("cs_{purchase}"))?;
        (session.status == SessionStatus::Paid).then_some(session.total)
    }

    fn refunded(&self, payment: &str) -> i64 {
        let refunds = self.refunds.lock();
        let of = refunds.values().filter(|one| one.payment.as_deref() == Some(payment));
        of.filter(|one| one.status != RefundStatus::Failed).map(|one| one.amount.get()).sum()
    }

    /// The bank disputes what is left of a payment, once.
    pub(crate) fn dispute_of(&self, purchase: PurchaseId, inquiry: bool) -> Option<(String, String)> {
        let (id, payment) = (format!("du_{purchase}"), payment(purchase));
        let left = self.total(purchase)?.get() - self.refunded(&payment);
        let mut disputes = self.disputes.lock();
        if left > 0 {
            disputes.entry(id.clone()).or_insert_with(|| ProviderDispute {
                id: id.clone(),
                payment: Some(payment.clone()),
                amount: Cents::new(left),
                currency: "usd".to_owned(),
                live: false,
                state: if inquiry { DisputeState::Inquiry } else { DisputeState::Open },
                reason: "fraudulent".to_owned(),
            });
        }
        disputes.contains_key(&id).then_some((id, payment))
    }

    /// Some dispute moves on, where it may.
    pub(crate) fn decide(&self, rng: &SeededEntropy, word: DisputeState) -> Option<(String, String)> {
        let mut disputes = self.disputes.lock();
        let count = u64::try_from(disputes.len()).unwrap();
        if count == 0 {
            return None;
        }
        let dispute = disputes.values_mut().nth(usize::try_from(rng.below(count)).unwrap()).unwrap();
        let may = match dispute.state {
            DisputeState::Inquiry => matches!(word, DisputeState::Open | DisputeState::Closed),
            DisputeState::Open => matches!(word, DisputeState::Won | DisputeState::Lost),
            DisputeState::Closed | DisputeState::Won | DisputeState::Lost => false,
        };
        if may {
            dispute.state = word;
        }
        Some((dispute.id.clone(), dispute.payment.clone().unwrap()))
    }

    /// A customer's bank sends a refund back.
    pub(crate) fn return_refund(&self, rng: &SeededEntropy) -> Option<String> {
        let mut refunds = self.refunds.lock();
        let count = u64::try_from(refunds.len()).unwrap();
        if count == 0 {
            return None;
        }
        let refund = refunds.values_mut().nth(usize::try_from(rng.below(count)).unwrap()).unwrap();
        // After a dispute the sum of both would have been too much when it was opened.
        refund.status = RefundStatus::Failed;
        refund.payment.clone()
    }

    pub(crate) fn truth(&self, purchase: PurchaseId) -> Truth {
        let disputes = self.disputes.lock();
        let dispute = disputes.get(&format!("du_{purchase}"));
        let held = dispute.filter(|one| matches!(one.state, DisputeState::Open | DisputeState::Lost));
        Truth {
            paid: self.total(purchase).is_some(),
            refunded: self.refunded(&payment(purchase)),
            disputed: held.map_or(0, |one| one.amount.get()),
        }
    }

    pub(crate) fn dispute_state(&self, id: &str) -> Option<DisputeState> {
        self.disputes.lock().get(id).map(|one| one.state)
    }

    pub(crate) fn disputes(&self) -> usize {
        self.disputes.lock().len()
    }
}

#[async_trait]
impl PaymentProvider for Bank {
    async fn begin_checkout(&self, order: &CheckoutOrder) -> Result<CheckoutSession, PaymentError> {
        self.weather().await?;
        let id = format!("cs_{}", order.purchase);
        self.sessions.lock().entry(id.clone()).or_insert_with(|| PaidSession {
            session: id.clone(),
            purchase: Some(order.purchase),
            payment: None,
            status: SessionStatus::Open,
            total: order.total,
            currency: "usd".to_owned(),
            live: false,
        });
        self.weather().await?;
        Ok(CheckoutSession { url: format!("https://pay.test/{id}"), id })
    }

    async fn session(&self, id: &str) -> Result<PaidSession, PaymentError> {
        self.weather().await?;
        let found = self.sessions.lock().get(id).cloned();
        found.ok_or_else(|| PaymentError::Malformed("no such session".to_owned()))
    }

    async fn expire(&self, _id: &str) -> Result<(), PaymentError> {
        Ok(())
    }
}

#[async_trait]
impl RefundProvider for Bank {
    async fn send_refund(&self, order: &RefundOrder) -> Result<ProviderRefund, PaymentError> {
        self.weather().await?;
        let known = self.refunds.lock().get(&order.refund).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let disputed =
            self.disputes.lock().values().any(|one| one.payment.as_deref() == Some(&order.payment));
        if disputed || self.rng.below(8) == 0 {
            return Err(PaymentError::Refused { message: "it cannot be refunded".to_owned() });
        }
        let refund = ProviderRefund {
            id: format!("re_{}", order.refund),
            refund: Some(order.refund),
            payment: Some(order.payment.clone()),
            amount: order.amount,
            currency: "usd".to_owned(),
            status: RefundStatus::Done,
        };
        self.refunds.lock().insert(order.refund, refund.clone());
        self.weather().await?;
        Ok(refund)
    }

    async fn find_refund(
        &self,
        _payment: &str,
        refund: RefundId,
    ) -> Result<Option<ProviderRefund>, PaymentError> {
        self.weather().await?;
        Ok(self.refunds.lock().get(&refund).cloned())
    }
}

#[async_trait]
impl DisputeProvider for Bank {
    async fn dispute(&self, id: &str) -> Result<ProviderDispute, PaymentError> {
        self.weather().await?;
        let found = self.disputes.lock().get(id).cloned();
        found.ok_or_else(|| PaymentError::Malformed("no such dispute".to_owned()))
    }

    async fn disputes_since(&self, _since: Moment) -> Result<Vec<String>, PaymentError> {
        self.weather().await?;
        Ok(self.disputes.lock().keys().cloned().collect())
    }
}
