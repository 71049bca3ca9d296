//! The credit engine with the ledger behind it: an account or cap that the engine does not know is
//! loaded from PostgreSQL and the act is tried again.

use crate::engine::{
    AccountRef, Balance, CapId, CapPeriod, CapUse, ClosedBy, CreditEngine, Credited, EngineUpkeep, Extended,
    Grant, HoldKey, Loaded, OutboxEntry, Reserve, Reserved, Settled, Settlement, Ticket,
};
use crate::ledger::{Booked, Ledger};
use crate::refund_desk::Purse;
use async_trait::async_trait;
use kernel::{Clock, NanoUsd, StoreError, StoreErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// Loads tried for one act before giving up: the account, then each of at most five caps.
const LOADS_MAX: usize = 6;

/// Credits as gateway and pages use them.
#[derive(Clone)]
pub struct Credits {
    engine: Arc<dyn CreditEngine>,
    upkeep: Arc<dyn EngineUpkeep>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
}

impl Credits {
    #[must_use]
    pub fn new(
        engine: Arc<dyn CreditEngine>,
        upkeep: Arc<dyn EngineUpkeep>,
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { engine, upkeep, ledger, clock }
    }

    /// Sets money aside; loads the account or a cap first where the engine does not know it.
    pub async fn reserve(&self, request: &Reserve<'_>) -> Result<Reserved, StoreError> {
        for _ in 0..LOADS_MAX {
            match self.engine.reserve(request).await? {
                Reserved::AccountMissing => self.load(request.account).await?,
                Reserved::CapMissing(cap) => self.load_cap(request.account, &cap).await?,
                answer => return Ok(answer),
            }
        }
        Err(StoreError::corrupt(format!("account {} stays unknown to the engine", request.account.account)))
    }

    pub async fn extend(
        &self,
        hold: &Grant,
        extra: NanoUsd,
        metered: NanoUsd,
        lifetime: Duration,
    ) -> Result<Extended, StoreError> {
        match self.engine.extend(hold, extra, metered, lifetime).await {
            Err(fault) if self.loaded_after(&fault, hold.account).await? => {
                self.engine.extend(hold, extra, metered, lifetime).await
            }
            answer => answer,
        }
    }

    pub async fn settle(
        &self,
        hold: &HoldKey,
        account: AccountRef,
        settlement: &Settlement<'_>,
    ) -> Result<Settled, StoreError> {
        match self.engine.settle(hold, account, settlement).await {
            Err(fault) if self.loaded_after(&fault, account).await? => {
                self.engine.settle(hold, account, settlement).await
            }
            answer => answer,
        }
    }

    pub async fn release(&self, hold: &HoldKey, account: AccountRef) -> Result<Settled, StoreError> {
        match self.engine.release(hold, account).await {
            Err(fault) if self.loaded_after(&fault, account).await? => {
                self.engine.release(hold, account).await
            }
            answer => answer,
        }
    }

    /// Books a settlement whose hold the engine has lost or swept, and lets the engine learn the difference.
    pub async fn settle_late(&self, hold: &Grant, settlement: &Settlement<'_>) -> Result<(), StoreError> {
        let admitted = hold.key.generation.created_at();
        let entry = OutboxEntry {
            id: "0-0".to_owned(),
            shard: hold.account.shard,
            epoch: hold.epoch,
            key: hold.key,
            kind: ClosedBy::Settle,
            account: hold.account.account,
            charge: late_charge(hold, settlement),
            uncollected: NanoUsd::ZERO,
            held: hold.amount,
            list_price: settlement.list_price,
            ticket: hold.ticket,
            byok_month: if hold.ticket == Ticket::None { 0 } else { CapPeriod::Monthly.window(admitted) },
            windows: hold.windows.clone(),
            balance_after: NanoUsd::ZERO,
            debit_seq: 0,
            credit_seq: 0,
            record: settlement.record.to_owned(),
        };
        self.ledger.book_late(&entry).await
    }

    /// The account as the engine sees it, loaded first where needed.
    pub async fn balance(&self, account: AccountRef) -> Result<Balance, StoreError> {
        for _ in 0..2 {
            if let Some(balance) = self.engine.balance(account).await? {
                return Ok(balance);
            }
            self.load(account).await?;
        }
        Err(StoreError::corrupt(format!("account {} stays unknown to the engine", account.account)))
    }

    /// The named caps with their use; a cap that is not set anywhere is left out.
    pub async fn caps(&self, account: AccountRef, ids: &[CapId]) -> Result<Vec<CapUse>, StoreError> {
        let mut known = self.engine.caps(account, ids).await?;
        if known.len() < ids.len() {
            self.balance(account).await?;
            for id in ids.iter().filter(|id| !known.iter().any(|cap| &&cap.id == id)) {
                self.load_cap_if_set(account, id).await?;
            }
            known = self.engine.caps(account, ids).await?;
        }
        Ok(known)
    }

    /// Whether the engine has, or lately had, a hold of this key.
    pub async fn knows(&self, hold: &HoldKey, account: AccountRef) -> Result<bool, StoreError> {
        self.engine.knows(hold, account).await
    }

    /// Tells the engine every credit of an account that it has not seen, in order.
    pub async fn send_credits(&self, account: AccountRef, from_seq: i64) -> Result<(), StoreError> {
        const BATCH: u32 = 100;
        let mut have = from_seq;
        loop {
            let entries = self.ledger.credits_after(account, have, BATCH).await?;
            let Some(last) = entries.last().map(|entry| entry.seq) else { break };
            for entry in &entries {
                match self.upkeep.credit(entry).await? {
                    Credited::Done { .. } | Credited::Already => kernel::crash::point("credits.sent"),
                    Credited::Gap { have: at } if at < have => {
                        return self.restart_credits(account, at).await;
                    }
                    Credited::Gap { .. } => return Ok(()),
                    // The load brings every credit up to now, this one included.
                    Credited::AccountMissing => self.load(account).await?,
                }
            }
            have = last;
        }
        self.ledger.acknowledge_credits(account.account, have).await
    }

    async fn restart_credits(&self, account: AccountRef, have: i64) -> Result<(), StoreError> {
        self.ledger.acknowledge_credits(account.account, have).await
    }

    /// Whether an act on a hold failed because a new epoch has not loaded the account, and it is loaded now.
    async fn loaded_after(&self, fault: &StoreError, account: AccountRef) -> Result<bool, StoreError> {
        if fault.kind != StoreErrorKind::Unavailable || self.engine.balance(account).await?.is_some() {
            return Ok(false);
        }
        self.load(account).await?;
        Ok(true)
    }

    /// Makes the account known to the engine. The holds that it kept are asked for first: which of them are
    /// booked is then read in the same snapshot as the balance.
    pub async fn load(&self, account: AccountRef) -> Result<(), StoreError> {
        for _ in 0..LOADS_MAX {
            let kept = self.upkeep.kept_holds(account).await?;
            let state = self.ledger.account_state(account.account, &kept.holds, self.clock.now()).await?;
            let state =
                state.ok_or_else(|| StoreError::corrupt(format!("no account {}", account.account)))?;
            match self.upkeep.load(&state, &kept).await? {
                Loaded::Done { .. } | Loaded::Already => return Ok(()),
                Loaded::Overtaken => {}
            }
        }
        Err(StoreError::conflict(format!("account {} could not be loaded", account.account)))
    }

    async fn load_cap(&self, account: AccountRef, cap: &CapId) -> Result<(), StoreError> {
        if self.load_cap_if_set(account, cap).await? {
            Ok(())
        } else {
            Err(StoreError::corrupt(format!("cap {} of account {} is not set", cap.0, account.account)))
        }
    }

    async fn load_cap_if_set(&self, account: AccountRef, cap: &CapId) -> Result<bool, StoreError> {
        let Some(cap) = self.ledger.cap(account.account, cap, self.clock.now()).await? else {
            return Ok(false);
        };
        self.upkeep.set_cap(account, &cap).await?;
        Ok(true)
    }
}

/// What is due when the engine no longer decides: nothing within the allowance, and with an own key beyond it
/// no more than was held, which was for the part that lay beyond.
fn late_charge(hold: &Grant, settlement: &Settlement<'_>) -> NanoUsd {
    match hold.ticket {
        Ticket::None => settlement.amount,
        Ticket::Free => NanoUsd::ZERO,
        Ticket::Paid => settlement.amount.min(hold.amount),
    }
}

#[async_trait]
impl Purse for Credits {
    async fn balance(&self, account: AccountRef) -> Result<Balance, StoreError> {
        Self::balance(self, account).await
    }

    async fn learn(&self, booked: Booked) -> Result<(), StoreError> {
        self.send_credits(booked.account, booked.seq - 1).await
    }

    /// Promotional credit is not sold yet.
    async fn promo_left(&self, _account: AccountRef) -> Result<NanoUsd, StoreError> {
        Ok(NanoUsd::ZERO)
    }
}
