//! Balance, purchases, payments and reports in memory.

use async_trait::async_trait;
use billing::engine::{
    AccountRef, AccountState, Balance, Cap, CapId, CapUse, CreditEngine, CreditEntry, Credited, EngineUpkeep,
    Extended, Grant, HeldAgain, HoldKey, Kept, Loaded, Reserve, Reserved, Settled, Settlement,
};
use billing::ledger::{Ledger, PurchaseLedger};
use billing::payment::{CheckoutOrder, CheckoutSession, PaymentError, PaymentProvider};
use billing::purchase::{NewPurchase, PaidSession, Purchase, PurchaseKind, PurchaseState};
use billing::receipt::{Closing, ReceiptFacts, Receipts};
use billing::reports::{DayModelUsage, Generation, Reports, UsageFilter, UsageTotals};
use catalog::{Rates, Tariff};
use kernel::ids::{AccountId, GenerationId, OrgId, PurchaseId};
use kernel::{Cents, Moment, NanoUsd, PicoUsd, StoreError};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A credit engine that knows one balance for everybody and moves no money.
pub(crate) struct FakeEngine {
    pub(crate) balance: Mutex<Balance>,
    pub(crate) down: AtomicBool,
}

impl FakeEngine {
    pub(crate) fn with(balance: NanoUsd, reserved: NanoUsd, granted: NanoUsd) -> Self {
        let balance = Balance { balance, reserved, granted, credit_seq: 1, debit_seq: 0, frozen: false };
        Self { balance: Mutex::new(balance), down: AtomicBool::new(false) }
    }
}

fn absent<T>() -> Result<T, StoreError> {
    Err(StoreError::corrupt("the pages never ask this"))
}

#[async_trait]
impl CreditEngine for FakeEngine {
    async fn reserve(&self, _request: &Reserve<'_>) -> Result<Reserved, StoreError> {
        absent()
    }

    async fn extend(
        &self,
        _hold: &Grant,
        _extra: NanoUsd,
        _metered: NanoUsd,
        _lifetime: Duration,
    ) -> Result<Extended, StoreError> {
        absent()
    }

    async fn settle(
        &self,
        _hold: &HoldKey,
        _account: AccountRef,
        _settlement: &Settlement<'_>,
    ) -> Result<Settled, StoreError> {
        absent()
    }

    async fn release(&self, _hold: &HoldKey, _account: AccountRef) -> Result<Settled, StoreError> {
        absent()
    }

    async fn balance(&self, _account: AccountRef) -> Result<Option<Balance>, StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("engine", std::io::Error::other("down")));
        }
        Ok(Some(*self.balance.lock()))
    }

    async fn caps(&self, _account: AccountRef, _ids: &[CapId]) -> Result<Vec<CapUse>, StoreError> {
        absent()
    }

    async fn knows(&self, _hold: &HoldKey, _account: AccountRef) -> Result<bool, StoreError> {
        absent()
    }
}

#[async_trait]
impl EngineUpkeep for FakeEngine {
    async fn kept_holds(&self, _account: AccountRef) -> Result<Kept, StoreError> {
        absent()
    }

    async fn load(&self, _state: &AccountState, _kept: &Kept) -> Result<Loaded, StoreError> {
        absent()
    }

    async fn unload(&self, _account: AccountRef) -> Result<bool, StoreError> {
        absent()
    }

    async fn set_cap(&self, _account: AccountRef, _cap: &Cap) -> Result<Option<i64>, StoreError> {
        absent()
    }

    async fn credit(&self, _entry: &CreditEntry) -> Result<Credited, StoreError> {
        absent()
    }

    async fn freeze(&self, _account: AccountRef, _frozen: bool) -> Result<Option<i64>, StoreError> {
        absent()
    }

    async fn sweep(&self, _shard: u8, _limit: u32) -> Result<u32, StoreError> {
        absent()
    }

    async fn hold_again(
        &self,
        _hold: &Grant,
        _metered: NanoUsd,
        _lifetime: Duration,
        _owner: &str,
    ) -> Result<HeldAgain, StoreError> {
        absent()
    }
}

#[async_trait]
impl Ledger for FakeEngine {
    async fn account_state(
        &self,
        _account: AccountId,
        _kept: &[HoldKey],
        _now: Moment,
    ) -> Result<Option<AccountState>, StoreError> {
        absent()
    }

    async fn cap(&self, _account: AccountId, _cap: &CapId, _now: Moment) -> Result<Option<Cap>, StoreError> {
        absent()
    }

    async fn credits_after(
        &self,
        _account: AccountRef,
        _seq: i64,
        _limit: u32,
    ) -> Result<Vec<CreditEntry>, StoreError> {
        absent()
    }

    async fn unsent_credits(&self, _limit: u32) -> Result<Vec<(AccountRef, i64)>, StoreError> {
        absent()
    }

    async fn acknowledge_credits(&self, _account: AccountId, _seq: i64) -> Result<(), StoreError> {
        absent()
    }

    async fn book_late(&self, _: &billing::engine::OutboxEntry) -> Result<(), StoreError> {
        Ok(())
    }

    async fn epochs(&self) -> Result<Vec<(u8, i64)>, StoreError> {
        absent()
    }
}

/// Purchases of all organizations.
#[derive(Default)]
pub(crate) struct FakePurchases {
    pub(crate) all: Mutex<Vec<Purchase>>,
    pub(crate) down: AtomicBool,
}

impl FakePurchases {
    /// Marks a purchase as paid, as the webhook would.
    pub(crate) fn pay(&self, id: PurchaseId, at: Moment) {
        let mut all = self.all.lock();
        let purchase = all.iter_mut().find(|purchase| purchase.id == id).unwrap();
        purchase.state = PurchaseState::Granted;
        purchase.granted_at = Some(at);
    }
}

#[async_trait]
impl PurchaseLedger for FakePurchases {
    async fn open_purchase(&self, new: &NewPurchase) -> Result<Purchase, StoreError> {
        let purchase = Purchase {
            id: new.id,
            org: new.org,
            member: new.member,
            account: AccountRef { account: AccountId::from_uuid(Default::default()), shard: 7 },
            kind: PurchaseKind::Checkout,
            amount: new.amount,
            fee: new.fee,
            refunded: Cents::new(0),
            disputed: Cents::new(0),
            state: PurchaseState::Open,
            session: None,
            checkout_url: None,
            payment: None,
            created_at: new.created_at,
            granted_at: None,
        };
        self.all.lock().insert(0, purchase.clone());
        Ok(purchase)
    }

    async fn attach_session(
        &self,
        org: OrgId,
        id: PurchaseId,
        session: &str,
        url: &str,
    ) -> Result<(), StoreError> {
        let mut all = self.all.lock();
        let found = all.iter_mut().find(|p| p.org == org && p.id == id).unwrap();
        found.session = Some(session.to_owned());
        found.checkout_url = Some(url.to_owned());
        Ok(())
    }

    async fn purchase(&self, org: OrgId, id: PurchaseId) -> Result<Option<Purchase>, StoreError> {
        Ok(self.all.lock().iter().find(|p| p.org == org && p.id == id).cloned())
    }

    async fn purchases(&self, org: OrgId, limit: u32) -> Result<Vec<Purchase>, StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("purchases", std::io::Error::other("secret host name")));
        }
        let all = self.all.lock();
        Ok(all.iter().filter(|p| p.org == org).take(limit as usize).cloned().collect())
    }
}

/// A checkout that only remembers what it was asked.
#[derive(Default)]
pub(crate) struct FakePayments {
    pub(crate) orders: Mutex<Vec<CheckoutOrder>>,
}

pub(crate) const CHECKOUT: &str = "http://localhost:9797";

#[async_trait]
impl PaymentProvider for FakePayments {
    async fn begin_checkout(&self, order: &CheckoutOrder) -> Result<CheckoutSession, PaymentError> {
        self.orders.lock().push(order.clone());
        Ok(CheckoutSession { id: "cs_1".to_owned(), url: format!("{CHECKOUT}/pay/cs_1") })
    }

    async fn session(&self, _id: &str) -> Result<PaidSession, PaymentError> {
        Err(PaymentError::Unavailable("fake".to_owned()))
    }

    async fn expire(&self, _id: &str) -> Result<(), PaymentError> {
        Ok(())
    }
}

/// Booked calls, newest first.
#[derive(Default)]
pub(crate) struct FakeReports {
    pub(crate) calls: Mutex<Vec<Generation>>,
    pub(crate) days: Mutex<Vec<DayModelUsage>>,
}

fn wanted(call: &Generation, org: OrgId, filter: &UsageFilter) -> bool {
    call.record.org == org
        && filter.key.is_none_or(|key| call.record.key == Some(key))
        && filter.model.as_ref().is_none_or(|model| *model == call.record.model)
}

#[async_trait]
impl Receipts for FakeReports {
    async fn receipt(&self, org: OrgId, id: GenerationId) -> Result<Option<ReceiptFacts>, StoreError> {
        let Some(generation) = self.generation(org, id).await? else { return Ok(None) };
        let rates = Rates {
            prompt: PicoUsd::new(3_000_000),
            completion: PicoUsd::new(15_000_000),
            cache_read: Some(PicoUsd::new(300_000)),
            ..Rates::default()
        };
        let tariff = Tariff {
            id: generation.record.tariff,
            version: generation.record.tariff_version,
            effective_from: generation.created_at,
            rates,
            tiers: Vec::new(),
            free: false,
        };
        let booked_at = generation.created_at;
        let (closing, adjusted) = (Closing::Settled, NanoUsd::new(-1_000));
        Ok(Some(ReceiptFacts { generation, closing, booked_at, tariff: Some(tariff), adjusted }))
    }
}

#[async_trait]
impl Reports for FakeReports {
    async fn usage_by_day(
        &self,
        _org: OrgId,
        filter: &UsageFilter,
    ) -> Result<Vec<DayModelUsage>, StoreError> {
        let days = self.days.lock();
        let from = filter.from.map(|from| from.format("%Y-%m-%d").to_string()).unwrap_or_default();
        let wanted = days
            .iter()
            .filter(|d| d.day >= from && filter.model.as_ref().is_none_or(|model| *model == d.model));
        Ok(wanted.cloned().collect())
    }

    async fn totals(&self, org: OrgId, filter: &UsageFilter) -> Result<UsageTotals, StoreError> {
        let days = self.usage_by_day(org, filter).await?;
        let mut totals = UsageTotals::default();
        for day in days {
            totals.requests += day.requests;
            totals.prompt_tokens += day.prompt_tokens;
            totals.completion_tokens += day.completion_tokens;
            totals.charge = totals.charge.checked_add(day.charge).unwrap();
        }
        Ok(totals)
    }

    async fn generations(
        &self,
        org: OrgId,
        filter: &UsageFilter,
        before: Option<GenerationId>,
        limit: u32,
    ) -> Result<Vec<Generation>, StoreError> {
        let calls = self.calls.lock();
        let own = calls.iter().filter(|call| wanted(call, org, filter));
        let older = own.filter(|call| before.is_none_or(|id| call.record.id < id));
        Ok(older.take(limit as usize).cloned().collect())
    }

    async fn generation(&self, org: OrgId, id: GenerationId) -> Result<Option<Generation>, StoreError> {
        Ok(self.calls.lock().iter().find(|c| c.record.org == org && c.record.id == id).cloned())
    }
}
