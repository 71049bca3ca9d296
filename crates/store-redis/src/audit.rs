//! `EngineAudit`: the state of accounts and holds for the proof of the books. It reads whatever this Redis
//! has, of any epoch, and judges nothing.

use crate::credits::read_cap;
use crate::engine::RedisEngine;
use crate::keys;
use crate::reply::Words;
use async_trait::async_trait;
use billing::engine::{AuditedAccount, Balance, CapId, EngineAudit};
use kernel::StoreError;
use std::time::Duration;

/// Accounts looked at in one act: enough to share the count of the holds, few enough not to hold others up.
const AT_ONCE: usize = 100;

/// An account as the library answers it: id, sum of its holds, its state (empty when it is not there), and
/// id and text of each cap.
type Raw = Vec<String>;

#[async_trait]
impl EngineAudit for RedisEngine {
    async fn accounts(&self, shard: u8) -> Result<Vec<AuditedAccount>, StoreError> {
        let ids: Vec<String> =
            self.query(redis::cmd("SMEMBERS").arg(keys::account_set(shard)), "SMEMBERS of accounts").await?;
        let mut audited = Vec::with_capacity(ids.len());
        for some in ids.chunks(AT_ONCE) {
            let mut command = redis::cmd("FCALL");
            command.arg("fb1_audit").arg(1).arg(keys::tag(shard)).arg(some);
            let raw: Vec<Raw> = self.query(&command, "fb1_audit").await?;
            for account in &raw {
                audited.extend(read_account(account)?);
            }
        }
        Ok(audited)
    }

    async fn overdue_holds(&self, grace: Duration) -> Result<u64, StoreError> {
        let (seconds, micros): (i64, i64) = self.query(&redis::cmd("TIME"), "TIME").await?;
        let grace = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        let before = (seconds * 1000 + micros / 1000).saturating_sub(grace);
        let mut counts = redis::pipe();
        for shard in keys::shards() {
            counts.cmd("ZCOUNT").arg(keys::expiry(shard)).arg("-inf").arg(before);
        }
        let counts: Vec<u64> = self.query_all(&counts, "ZCOUNT of holds").await?;
        Ok(counts.iter().sum())
    }

    async fn open_holds(&self) -> Result<u64, StoreError> {
        let mut counts = redis::pipe();
        for shard in keys::shards() {
            counts.cmd("ZCARD").arg(keys::expiry(shard));
        }
        let counts: Vec<u64> = self.query_all(&counts, "ZCARD of holds").await?;
        Ok(counts.iter().sum())
    }
}

fn read_account(raw: &Raw) -> Result<Option<AuditedAccount>, StoreError> {
    let [id, held, state, caps @ ..] = raw.as_slice() else {
        return Err(StoreError::corrupt("redis: fb1_audit without an account"));
    };
    if state.is_empty() {
        return Ok(None);
    }
    let whole = format!("account {id}");
    let mut words = Words::of(state, &whole);
    let (epoch, balance, reserved) = (words.number()?, words.amount()?, words.amount()?);
    let _version: u64 = words.number()?;
    let (debit_seq, credit_seq, granted) = (words.number()?, words.number()?, words.amount()?);
    let frozen = words.text()? == "1";
    let mut known = Vec::with_capacity(caps.len() / 2);
    for pair in caps.chunks_exact(2) {
        if let [id, text] = pair {
            known.push(read_cap(CapId(id.clone()), &mut Words::of(text, &whole))?);
        }
    }
    known.sort_by(|one, other| one.id.0.cmp(&other.id.0));
    Ok(Some(AuditedAccount {
        account: keys::parse_account(id)?,
        balance: Balance { balance, reserved, granted, credit_seq, debit_seq, frozen },
        held: Words::of(held, &whole).amount()?,
        caps: known,
        epoch,
    }))
}
