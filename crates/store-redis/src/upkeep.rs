//! `EngineUpkeep`: what keeps Redis in step with PostgreSQL.

use crate::engine::{Act, RedisEngine};
use crate::keys;
use crate::reply::Reply;
use async_trait::async_trait;
use billing::engine::{AccountRef, AccountState, Cap, CreditEntry, Credited, EngineUpkeep};
use billing::fees::Allowance;
use kernel::{NanoUsd, StoreError};

#[async_trait]
impl EngineUpkeep for RedisEngine {
    async fn load(&self, state: &AccountState) -> Result<bool, StoreError> {
        let byok = &state.byok;
        let act = self
            .act("fb1_load", state.account.shard)?
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
        let mut act = act.with(byok.month).with(byok.requests).amount(byok.list_price)?;
        for cap in &state.caps {
            act = with_cap(act, cap)?;
        }
        let reply = self.run(act).await?;
        match reply.head() {
            "OK" => Ok(true),
            "EXISTS" => Ok(false),
            _ => Err(reply.unexpected()),
        }
    }

    async fn set_cap(&self, account: AccountRef, cap: &Cap) -> Result<(), StoreError> {
        let act = self.act("fb1_limit", account.shard)?.with(keys::account_id(account.account));
        done_or_not_loaded(&self.run(with_cap(act, cap)?).await?)
    }

    async fn credit(&self, entry: &CreditEntry) -> Result<Credited, StoreError> {
        let act = self
            .act("fb1_credit", entry.account.shard)?
            .with(keys::account_id(entry.account.account))
            .with(entry.seq)
            .with(signed(entry.delta)?)
            .with(flag(entry.is_grant));
        let reply = self.run(act).await?;
        let mut words = reply.words();
        Ok(match reply.head() {
            "OK" => Credited::Done { balance: words.amount()? },
            "DUP" => Credited::Already,
            "GAP" => Credited::Gap { have: words.number()? },
            "MISSING" => Credited::AccountMissing,
            _ => return Err(reply.unexpected()),
        })
    }

    async fn freeze(&self, account: AccountRef, frozen: bool) -> Result<(), StoreError> {
        let act =
            self.act("fb1_freeze", account.shard)?.with(keys::account_id(account.account)).with(flag(frozen));
        done_or_not_loaded(&self.run(act).await?)
    }

    async fn sweep(&self, shard: u8, limit: u32) -> Result<u32, StoreError> {
        let reply = self.run(self.act("fb1_sweep", shard)?.with(limit)).await?;
        match reply.head() {
            "OK" => reply.words().number(),
            _ => Err(reply.unexpected()),
        }
    }

    /// `None` also where the epoch there belongs to another Redis process: after a restart or a failover.
    async fn epoch(&self, shard: u8) -> Result<Option<i64>, StoreError> {
        let text: String = {
            let mut command = redis::cmd("FCALL");
            command.arg("fb1_status").arg(1).arg(keys::tag(shard));
            self.query(&command, "fb1_status").await?
        };
        let reply = Reply::new("fb1_status", shard, text);
        match reply.head() {
            "OK" => reply.words().number().map(Some),
            "NOEPOCH" | "OTHER" => Ok(None),
            _ => Err(reply.unexpected()),
        }
    }

    /// The current epoch may be opened again by the process it belongs to; this ends a seal.
    async fn open_epoch(&self, shard: u8, epoch: i64) -> Result<(), StoreError> {
        let reply = self.run(Act::new("fb1_open", shard).with(epoch)).await?;
        match reply.head() {
            "OK" => {
                self.set_epochs(&[(shard, epoch)]);
                Ok(())
            }
            _ => Err(reply.unexpected()),
        }
    }
}

impl RedisEngine {
    /// Begins a higher epoch that serves nobody until `open_epoch`; loading, reading and trimming go on.
    pub async fn seal_epoch(&self, shard: u8, epoch: i64) -> Result<(), StoreError> {
        let reply = self.run(Act::new("fb1_seal", shard).with(epoch)).await?;
        match reply.head() {
            "OK" => Ok(()),
            _ => Err(reply.unexpected()),
        }
    }
}

/// An account that is not loaded needs nothing: its next load brings what PostgreSQL says.
fn done_or_not_loaded(reply: &Reply) -> Result<(), StoreError> {
    match reply.head() {
        "OK" | "MISSING" => Ok(()),
        _ => Err(reply.unexpected()),
    }
}

fn with_cap(act: Act, cap: &Cap) -> Result<Act, StoreError> {
    act.with(cap.id.0.as_str()).amount(cap.limit)?.with(cap.period.code()).with(cap.window).amount(cap.used)
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
