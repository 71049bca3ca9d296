//! `billing::Credits` over the engine: what a new epoch has not loaded is loaded by the act that needs it.

use crate::support::{Bed, CENT, DOLLAR, MINUTE, cap, exactly, ids, state};
use async_trait::async_trait;
use billing::engine::{
    AccountRef, AccountState, Cap, CapId, CapPeriod, CreditEntry, EngineEpochs as _, Extended, HoldKey,
    Reserved, Settled, Settlement,
};
use billing::{Credits, Ledger};
use kernel::clock::SystemClock;
use kernel::ids::AccountId;
use kernel::{Moment, NanoUsd, StoreError};
use std::sync::Arc;

/// A ledger that knows one account, and one cap more than it hands out with the account.
struct OneAccount {
    state: AccountState,
    late_cap: Cap,
}

#[async_trait]
impl Ledger for OneAccount {
    async fn account_state(
        &self,
        id: AccountId,
        _kept: &[HoldKey],
        _now: Moment,
    ) -> Result<Option<AccountState>, StoreError> {
        Ok((id == self.state.account.account).then(|| self.state.clone()))
    }

    async fn cap(&self, _account: AccountId, id: &CapId, _now: Moment) -> Result<Option<Cap>, StoreError> {
        Ok((*id == self.late_cap.id).then(|| self.late_cap.clone()))
    }

    async fn credits_after(
        &self,
        _account: AccountRef,
        _seq: i64,
        _limit: u32,
    ) -> Result<Vec<CreditEntry>, StoreError> {
        Ok(Vec::new())
    }

    async fn unsent_credits(&self, _limit: u32) -> Result<Vec<(AccountRef, i64)>, StoreError> {
        Ok(Vec::new())
    }

    async fn acknowledge_credits(&self, _account: AccountId, _seq: i64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn book_late(&self, _: &billing::engine::OutboxEntry) -> Result<(), StoreError> {
        Ok(())
    }

    async fn epochs(&self) -> Result<Vec<(u8, i64)>, StoreError> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn each_act_loads_the_account_and_the_caps_that_it_needs() {
    let bed = Bed::private().await;
    let ledger =
        OneAccount { state: state(DOLLAR), late_cap: cap("m:late", 50 * CENT, CapPeriod::Daily, 10 * CENT) };
    let account = ledger.state.account;
    let engine = Arc::new(bed.engine.clone());
    let credits = Credits::new(engine.clone(), engine, Arc::new(ledger), Arc::new(SystemClock::new()));
    let caps = ids(&["m:late"]);
    let mut epoch = 1;
    let mut begin_epoch = async || {
        epoch += 1;
        bed.engine.open_epoch(account.shard, epoch).await.unwrap();
    };
    let mut grants = Vec::new();
    for _ in 0..3 {
        let Reserved::Granted(grant) = credits.reserve(&exactly(account, CENT, &caps)).await.unwrap() else {
            panic!("not granted")
        };
        grants.push(grant);
    }
    assert_eq!(bed.cap(account, "m:late").await, (10 * CENT, 3 * CENT));
    begin_epoch().await;
    let metered = NanoUsd::new(1);
    let extended = credits.extend(&grants[0], NanoUsd::ZERO, metered, MINUTE).await.unwrap();
    assert!(matches!(extended, Extended::Granted { amount, .. } if amount.get() == CENT));
    begin_epoch().await;
    let amount = NanoUsd::new(CENT);
    let settlement = Settlement { amount, list_price: amount, record: "" };
    let settled = credits.settle(&grants[1].key, account, &settlement).await.unwrap();
    assert!(matches!(settled, Settled::Done { charge, .. } if charge == amount));
    begin_epoch().await;
    let released = credits.release(&grants[2].key, account).await.unwrap();
    assert!(matches!(released, Settled::Done { charge: NanoUsd::ZERO, .. }));
    begin_epoch().await;
    assert_eq!(credits.balance(account).await.unwrap().reserved.get(), CENT, "the first hold is left");
    assert_eq!(credits.caps(account, &caps).await.unwrap()[0].reserved.get(), CENT);
    // Trouble that loading cannot mend stays trouble.
    bed.engine.seal(account.shard, epoch + 1).await.unwrap();
    assert!(credits.release(&grants[0].key, account).await.is_err());
}
