//! The ledger of payments in memory, as plain as can be: rows in maps, and a balance that is added to. It keeps
//! the promises of the ports without SQL, so that thousands of lives run in seconds.

use super::Books;
use async_trait::async_trait;
use billing::dispute::{Advance, Advanced, Dispute, DisputeState};
use billing::engine::{AccountRef, Balance};
use billing::ledger::{
    Booked, DisputeLedger, GrantLedger, Ledger, OrgDisputes, PurchaseLedger, RefundLedger,
};
use billing::purchase::{Grant, Granted, NewPurchase, Purchase, PurchaseEnd, PurchaseKind, PurchaseState};
use billing::refund::{Decision, NewRefund, Opened, Refund, RefundEnd, RefundRefusal, RefundState};
use billing::refund_desk::Purse;
use kernel::clock::FixedClock;
use kernel::ids::{AccountId, DisputeId, OrgId, PurchaseId, RefundId};
use kernel::{Cents, Clock as _, Moment, NanoUsd, StoreError};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use store_postgres::PgStore;

const NANO: i64 = 10_000_000;

#[derive(Default)]
struct Rows {
    purchases: BTreeMap<PurchaseId, Purchase>,
    refunds: BTreeMap<RefundId, Refund>,
    disputes: BTreeMap<String, Dispute>,
    balance: i64,
    seq: i64,
    frozen: bool,
}

impl Rows {
    fn post(&mut self, delta: i64) -> Booked {
        self.balance += delta;
        self.seq += 1;
        Booked { account: account(), seq: self.seq }
    }
}

pub(crate) struct Memory {
    rows: Mutex<Rows>,
    clock: Arc<FixedClock>,
}

fn account() -> AccountRef {
    AccountRef { account: AccountId::from_uuid(uuid::Uuid::from_u128(9)), shard: 0 }
}

fn balance(balance: i64, frozen: bool) -> Balance {
    Balance {
        balance: NanoUsd::new(balance),
        reserved: NanoUsd::ZERO,
        granted: NanoUsd::ZERO,
        credit_seq: 0,
        debit_seq: 0,
        frozen,
    }
}

impl Memory {
    pub(crate) fn new(clock: Arc<FixedClock>) -> Arc<Self> {
        Arc::new(Self { rows: Mutex::default(), clock })
    }

    pub(crate) fn books(self: &Arc<Self>) -> Books {
        Books {
            purchases: self.clone(),
            grants: self.clone(),
            refunds: self.clone(),
            disputes: self.clone(),
            of_org: self.clone(),
            purse: self.clone(),
        }
    }
}

/// The ledger's own balance where a test has no engine.
pub(crate) struct LedgerPurse {
    pub(crate) ledger: Arc<PgStore>,
    pub(crate) clock: Arc<FixedClock>,
}

#[async_trait]
impl Purse for LedgerPurse {
    async fn balance(&self, account: AccountRef) -> Result<Balance, StoreError> {
        let state = self.ledger.account_state(account.account, &[], self.clock.now()).await?.unwrap();
        Ok(balance(state.posted.get(), state.frozen))
    }

    async fn learn(&self, _booked: Booked) -> Result<(), StoreError> {
        Ok(())
    }

    async fn promo_left(&self, _account: AccountRef) -> Result<NanoUsd, StoreError> {
        Ok(NanoUsd::ZERO)
    }
}

#[async_trait]
impl Purse for Memory {
    async fn balance(&self, _account: AccountRef) -> Result<Balance, StoreError> {
        let rows = self.rows.lock();
        Ok(balance(rows.balance, rows.frozen))
    }

    async fn learn(&self, _booked: Booked) -> Result<(), StoreError> {
        Ok(())
    }

    async fn promo_left(&self, _account: AccountRef) -> Result<NanoUsd, StoreError> {
        Ok(NanoUsd::ZERO)
    }
}

#[async_trait]
impl PurchaseLedger for Memory {
    async fn open_purchase(&self, new: &NewPurchase) -> Result<Purchase, StoreError> {
        let row = Purchase {
            id: new.id,
            org: new.org,
            member: new.member,
            account: account(),
            kind: PurchaseKind::Checkout,
            amount: new.amount,
            fee: new.fee,
            refunded: Cents::ZERO,
            disputed: Cents::ZERO,
            state: PurchaseState::Open,
            session: None,
            checkout_url: None,
            payment: None,
            created_at: new.created_at,
            granted_at: None,
        };
        Ok(self.rows.lock().purchases.entry(new.id).or_insert(row).clone())
    }

    async fn attach_session(
        &self,
        _: OrgId,
        id: PurchaseId,
        session: &str,
        url: &str,
    ) -> Result<(), StoreError> {
        let mut rows = self.rows.lock();
        let row = rows.purchases.get_mut(&id).unwrap();
        row.session = Some(session.to_owned());
        row.checkout_url = Some(url.to_owned());
        Ok(())
    }

    async fn purchase(&self, _org: OrgId, id: PurchaseId) -> Result<Option<Purchase>, StoreError> {
        Ok(self.rows.lock().purchases.get(&id).cloned())
    }

    async fn purchases(&self, _org: OrgId, _limit: u32) -> Result<Vec<Purchase>, StoreError> {
        Ok(self.rows.lock().purchases.values().cloned().collect())
    }
}

#[async_trait]
impl GrantLedger for Memory {
    async fn purchase_by_id(&self, id: PurchaseId) -> Result<Option<Purchase>, StoreError> {
        Ok(self.rows.lock().purchases.get(&id).cloned())
    }

    async fn purchase_by_session(&self, session: &str) -> Result<Option<Purchase>, StoreError> {
        let rows = self.rows.lock();
        Ok(rows.purchases.values().find(|one| one.session.as_deref() == Some(session)).cloned())
    }

    async fn purchase_by_payment(&self, payment: &str) -> Result<Option<Purchase>, StoreError> {
        let rows = self.rows.lock();
        Ok(rows.purchases.values().find(|one| one.payment.as_deref() == Some(payment)).cloned())
    }

    async fn purchases_to_check(
        &self,
        before: Moment,
        now: Moment,
        _: u32,
    ) -> Result<Vec<Purchase>, StoreError> {
        let rows = self.rows.lock();
        let young =
            |one: &&Purchase| now - one.created_at < chrono::Duration::hours(72) && one.created_at < before;
        Ok(rows
            .purchases
            .values()
            .filter(|one| one.state == PurchaseState::Open)
            .filter(young)
            .cloned()
            .collect())
    }

    async fn grant(&self, grant: &Grant) -> Result<Granted, StoreError> {
        let mut rows = self.rows.lock();
        let Some(row) = rows.purchases.get_mut(&grant.purchase) else { return Ok(Granted::Missing) };
        if row.state == PurchaseState::Granted {
            return Ok(Granted::Already);
        }
        row.state = PurchaseState::Granted;
        row.payment = Some(grant.payment.clone());
        row.granted_at = Some(grant.at);
        let cents = row.amount.get();
        let booked = rows.post(cents * NANO);
        Ok(Granted::Done { account: booked.account, seq: booked.seq })
    }

    async fn end_purchase(&self, id: PurchaseId, end: PurchaseEnd) -> Result<(), StoreError> {
        let mut rows = self.rows.lock();
        let row = rows.purchases.get_mut(&id).unwrap();
        if row.state == PurchaseState::Open {
            row.state = match end {
                PurchaseEnd::Failed => PurchaseState::Failed,
                PurchaseEnd::Expired => PurchaseState::Expired,
            };
        }
        Ok(())
    }

    async fn note_event(&self, _event: &str, _kind: &str) -> Result<bool, StoreError> {
        Ok(true)
    }
}

#[async_trait]
impl RefundLedger for Memory {
    async fn open_refund(&self, new: &NewRefund) -> Result<Opened, StoreError> {
        let mut rows = self.rows.lock();
        if let Some(known) = rows.refunds.get(&new.id) {
            return Ok(Opened::Standing(Box::new(known.clone())));
        }
        let open = [RefundState::Waiting, RefundState::Debited];
        if rows.refunds.values().any(|one| one.purchase == new.purchase && open.contains(&one.state)) {
            return Ok(Opened::Refused(RefundRefusal::InProgress));
        }
        let balance = rows.balance;
        let row = rows.purchases.get_mut(&new.purchase).unwrap();
        let (cents, left) = (new.amount.get(), row.amount.get() - row.refunded.get());
        if row.disputed > Cents::ZERO {
            return Ok(Opened::Refused(RefundRefusal::Disputed));
        }
        if row.state != PurchaseState::Granted || cents > left || cents * NANO > balance {
            return Ok(Opened::Refused(RefundRefusal::TooMuch));
        }
        row.refunded = Cents::new(row.refunded.get() + cents);
        let refund = Refund {
            id: new.id,
            purchase: new.purchase,
            org: new.org,
            account: account(),
            amount: new.amount,
            state: RefundState::Debited,
            by: new.by.clone(),
            reason: new.reason.clone(),
            payment: row.payment.clone().unwrap(),
            provider_id: None,
            failure: None,
            created_at: new.at,
        };
        rows.refunds.insert(new.id, refund.clone());
        let booked = rows.post(-cents * NANO);
        Ok(Opened::Debited(Box::new(refund), Some(booked)))
    }

    async fn decide_refund(&self, _id: RefundId, _decision: &Decision) -> Result<Opened, StoreError> {
        Ok(Opened::Refused(RefundRefusal::Unknown))
    }

    async fn finish_refund(
        &self,
        id: RefundId,
        end: &RefundEnd,
        _: Moment,
    ) -> Result<Option<Booked>, StoreError> {
        let mut rows = self.rows.lock();
        let refund = rows.refunds.get_mut(&id).unwrap();
        match (end, refund.state) {
            (RefundEnd::Done { .. }, RefundState::Debited) => {
                refund.state = RefundState::Done;
                Ok(None)
            }
            (RefundEnd::Reversed { .. }, RefundState::Debited | RefundState::Done) => {
                refund.state = RefundState::Reversed;
                let (purchase, cents) = (refund.purchase, refund.amount.get());
                let row = rows.purchases.get_mut(&purchase).unwrap();
                row.refunded = Cents::new(row.refunded.get() - cents);
                Ok(Some(rows.post(cents * NANO)))
            }
            _ => Ok(None),
        }
    }

    async fn refund(&self, id: RefundId) -> Result<Option<Refund>, StoreError> {
        Ok(self.rows.lock().refunds.get(&id).cloned())
    }

    async fn refunds_of(&self, _org: OrgId, purchase: PurchaseId) -> Result<Vec<Refund>, StoreError> {
        let rows = self.rows.lock();
        Ok(rows.refunds.values().filter(|one| one.purchase == purchase).cloned().collect())
    }

    async fn refunds_to_decide(&self) -> Result<Vec<Refund>, StoreError> {
        Ok(Vec::new())
    }

    async fn refunds_to_finish(&self, _before: Moment, _limit: u32) -> Result<Vec<Refund>, StoreError> {
        let rows = self.rows.lock();
        let open = [RefundState::Done, RefundState::Debited];
        Ok(rows.refunds.values().filter(|one| open.contains(&one.state)).cloned().collect())
    }
}

#[async_trait]
impl OrgDisputes for Memory {
    async fn disputes_of(&self, _org: OrgId) -> Result<Vec<Dispute>, StoreError> {
        Ok(self.rows.lock().disputes.values().cloned().collect())
    }
}

#[async_trait]
impl DisputeLedger for Memory {
    async fn advance_dispute(&self, to: &Advance) -> Result<Advanced, StoreError> {
        let mut rows = self.rows.lock();
        let now = rows.disputes.get(&to.provider_id).map(|one| one.state);
        if !to.to.follows(now) {
            return Ok(Advanced::Already(account()));
        }
        let withdrawn = now.is_some_and(DisputeState::moved_money);
        let row = rows.purchases.get(&to.purchase).unwrap().clone();
        let back = row.refunded.get() + row.disputed.get() + to.amount.get();
        if to.to.moved_money() && !withdrawn && back > row.total().get() {
            let busy = |one: &Refund| one.purchase == row.id && one.state == RefundState::Debited;
            return Ok(if rows.refunds.values().any(busy) { Advanced::Busy } else { Advanced::TooMuch });
        }
        rows.disputes.entry(to.provider_id.clone()).or_insert_with(|| Dispute {
            id: DisputeId::from_uuid(uuid::Uuid::nil()),
            provider_id: to.provider_id.clone(),
            purchase: to.purchase,
            org: row.org,
            amount: to.amount,
            state: to.to,
            reason: to.reason.clone(),
            written_off: NanoUsd::ZERO,
            created_at: self.clock.now(),
            frozen: false,
        });
        let cents = to.amount.get();
        let disputed = |rows: &mut Rows, by: i64| {
            let row = rows.purchases.get_mut(&to.purchase).unwrap();
            row.disputed = Cents::new(row.disputed.get() + by);
            rows.post(-by * NANO)
        };
        let mut booked = None;
        if to.to.moved_money() && !withdrawn {
            booked = Some(disputed(&mut rows, cents));
        }
        if to.to == DisputeState::Won {
            let second = disputed(&mut rows, -cents);
            booked.get_or_insert(second);
        }
        let lacking = if to.to == DisputeState::Lost { (-rows.balance).max(0) } else { 0 };
        if lacking > 0 {
            let second = rows.post(lacking);
            booked.get_or_insert(second);
        }
        let dispute = rows.disputes.get_mut(&to.provider_id).unwrap();
        dispute.state = to.to;
        dispute.written_off = NanoUsd::new(lacking);
        rows.frozen =
            rows.disputes.values().any(|one| matches!(one.state, DisputeState::Open | DisputeState::Lost));
        Ok(Advanced::Moved(booked))
    }

    async fn all_disputes(&self, _limit: u32) -> Result<Vec<Dispute>, StoreError> {
        Ok(self.rows.lock().disputes.values().cloned().collect())
    }

    async fn disputes_to_check(&self, _: Moment, _: Moment, _: u32) -> Result<Vec<Dispute>, StoreError> {
        let rows = self.rows.lock();
        Ok(rows.disputes.values().filter(|one| !one.state.is_decided()).cloned().collect())
    }

    async fn unfreeze(&self, _org: OrgId, _staff: &str, _at: Moment) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn freezes_to_send(&self, _limit: u32) -> Result<Vec<(AccountRef, bool)>, StoreError> {
        Ok(Vec::new())
    }

    async fn freeze_sent(&self, _account: AccountRef, _frozen: bool) -> Result<(), StoreError> {
        Ok(())
    }
}
