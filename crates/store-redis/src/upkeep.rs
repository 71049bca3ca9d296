//! `EngineUpkeep`: what keeps Redis in step with PostgreSQL.
//!
//! The lives of shards are in `lives`.

use crate::credits::write_windows;
use crate::engine::{Act, RedisEngine};
use crate::keys;
use crate::reply::Reply;
use async_trait::async_trait;
use billing::engine::{
    AccountRef, AccountState, Cap, CapPeriod, CreditEntry, Credited, EngineUpkeep, Grant, HeldAgain, Kept,
    Loaded, Ticket,
};
use billing::fees::Allowance;
use kernel::{NanoUsd, StoreError};
use std::time::Duration;

#[async_trait]
impl EngineUpkeep for RedisEngine {
    async fn kept_holds(&self, account: AccountRef) -> Result<Kept, StoreError> {
        let epoch = self.epoch_of(account.shard)?;
        let act = Act::new("fb1_kept", account.shard).with(epoch).with(keys::account_id(account.account));
        let reply = self.run(act).await?;
        if reply.head() != "OK" {
            return Err(reply.unexpected());
        }
        let mut words = reply.words();
        let unloads = words.number()?;
        let holds = words.text()?.split(',').filter(|id| !id.is_empty()).map(keys::parse_hold);
        Ok(Kept { holds: holds.collect::<Result<_, _>>()?, unloads, epoch })
    }

    async fn load(&self, state: &AccountState, kept: &Kept) -> Result<Loaded, StoreError> {
        let byok = &state.byok;
        let act = Act::new("fb1_load", state.account.shard)
            .with(kept.epoch)
            .with(keys::account_id(state.account.account))
            .with(signed(state.posted)?)
            .with(state.credit_seq)
            .with(state.debit_seq)
            .with(signed(state.granted)?)
            .with(flag(state.frozen));
        let act = match byok.allowance {
            Allowance::Requests(requests) => act.with("r").with(requests),
            Allowance::ListPrice(amount) => act.with("l").amount(amount)?,
        };
        let act = act.with(byok.month).with(byok.requests).amount(byok.list_price)?;
        let mut act = act.with(kept.unloads).with(state.caps.len());
        for cap in &state.caps {
            act = with_cap(act, cap)?;
        }
        for hold in &state.booked {
            act = act.with(keys::hold_id(hold));
        }
        let reply = self.run(act).await?;
        match reply.head() {
            "OK" => Ok(Loaded::Done { version: reply.words().number()? }),
            "EXISTS" => Ok(Loaded::Already),
            "OVERTAKEN" => Ok(Loaded::Overtaken),
            _ => Err(reply.unexpected()),
        }
    }

    async fn unload(&self, account: AccountRef) -> Result<bool, StoreError> {
        let act = self.act("fb1_unload", account.shard)?.with(keys::account_id(account.account));
        let reply = self.run(act).await?;
        match reply.head() {
            "OK" => Ok(true),
            "BUSY" => Ok(false),
            _ => Err(reply.unexpected()),
        }
    }

    async fn set_cap(&self, account: AccountRef, cap: &Cap) -> Result<Option<i64>, StoreError> {
        let act = self.act("fb1_limit", account.shard)?.with(keys::account_id(account.account));
        version_if_loaded(&self.run(with_cap(act, cap)?).await?)
    }

    async fn credit(&self, entry: &CreditEntry) -> Result<Credited, StoreError> {
        let mut act = self
            .act("fb1_credit", entry.account.shard)?
            .with(keys::account_id(entry.account.account))
            .with(entry.seq)
            .with(signed(entry.delta)?)
            .with(flag(entry.is_grant));
        for change in &entry.caps {
            act = act.with(change.cap.0.as_str()).with(change.period.code()).with(change.window);
            act = act.with(signed(change.delta)?);
        }
        let reply = self.run(act).await?;
        let mut words = reply.words();
        Ok(match reply.head() {
            "OK" => Credited::Done { balance: words.amount()?, version: words.number()? },
            "DUP" => Credited::Already,
            "GAP" => Credited::Gap { have: words.number()? },
            "MISSING" => Credited::AccountMissing,
            _ => return Err(reply.unexpected()),
        })
    }

    async fn freeze(&self, account: AccountRef, frozen: bool) -> Result<Option<i64>, StoreError> {
        let act =
            self.act("fb1_freeze", account.shard)?.with(keys::account_id(account.account)).with(flag(frozen));
        version_if_loaded(&self.run(act).await?)
    }

    async fn sweep(&self, shard: u8, limit: u32) -> Result<u32, StoreError> {
        let reply = self.run(self.act("fb1_sweep", shard)?.with(limit)).await?;
        match reply.head() {
            "OK" => reply.words().number(),
            _ => Err(reply.unexpected()),
        }
    }

    async fn hold_again(
        &self,
        hold: &Grant,
        metered: NanoUsd,
        lifetime: Duration,
        owner: &str,
    ) -> Result<HeldAgain, StoreError> {
        // The month of a ticket is that of its call, give or take what lies between admitting and holding.
        let admitted = hold.key.generation.created_at();
        let (ticket, month) = match hold.ticket {
            Ticket::None => ("n", 0),
            Ticket::Free => ("f", CapPeriod::Monthly.window(admitted)),
            Ticket::Paid => ("p", CapPeriod::Monthly.window(admitted)),
        };
        let (ceiling, rate) =
            hold.own_key.map_or((NanoUsd::ZERO, 0), |terms| (terms.ceiling, terms.basis_points));
        let act = self
            .act("fb1_again", hold.account.shard)?
            .with(keys::hold_id(&hold.key))
            .with(keys::account_id(hold.account.account))
            .amount(hold.amount)?
            .amount(metered)?
            .lifetime(lifetime)
            .with(ticket)
            .with(month)
            .amount(ceiling)?
            .with(rate)
            .with(owner)
            .with(write_windows(&hold.windows));
        let reply = self.run(act).await?;
        match reply.head() {
            "OK" => Ok(HeldAgain::Done),
            "KNOWN" => Ok(HeldAgain::Known),
            "OPEN" => Ok(HeldAgain::TooLate),
            _ => Err(reply.unexpected()),
        }
    }
}

/// An account that is not loaded needs nothing: its next load brings what PostgreSQL says.
fn version_if_loaded(reply: &Reply) -> Result<Option<i64>, StoreError> {
    match reply.head() {
        "OK" => reply.words().number().map(Some),
        "MISSING" => Ok(None),
        _ => Err(reply.unexpected()),
    }
}

fn with_cap(act: Act, cap: &Cap) -> Result<Act, StoreError> {
    let act = act.with(cap.id.0.as_str()).amount(cap.limit)?.with(cap.period.code()).with(cap.window);
    Ok(act.with(signed(cap.used)?))
}

fn flag(set: bool) -> &'static str {
    if set { "1" } else { "0" }
}

/// An amount of either sign within what Redis can hold.
fn signed(amount: NanoUsd) -> Result<i64, StoreError> {
    if amount.get().unsigned_abs() > NanoUsd::REDIS_MAX.get().unsigned_abs() {
        return Err(StoreError::corrupt(format!("redis: amount {} out of range", amount.get())));
    }
    Ok(amount.get())
}
