//! `EngineAudit`: the state of accounts and holds for the proof of the books. It reads whatever this Redis
//! has, of any epoch, and judges nothing.

use crate::credits::read_cap;
use crate::engine::RedisEngine;
use crate::keys;
use crate::reply::Words;
use async_trait::async_trait;
use billing::engine::{AuditedAccount, Balance, CapId, EngineAudit};
use kernel::{NanoUsd, StoreError};
use std::collections::HashMap;
use std::time::Duration;

/// Accounts looked at in one act: enough to share the count of the holds, few enough not to hold others up.
const AT_ONCE: usize = 100;

/// An account as the library answers it: id, sum of its holds, its fields.
type Raw = (String, i64, HashMap<String, String>);

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
            for account in raw.iter().filter(|(_, _, fields)| !fields.is_empty()) {
                audited.push(read_account(account)?);
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

fn read_account((id, held, fields): &Raw) -> Result<AuditedAccount, StoreError> {
    let whole = format!("account {id}");
    let state = fields.get("s").ok_or_else(|| StoreError::corrupt(format!("redis: {whole} has no state")))?;
    let mut words = Words::of(state, &whole);
    let (epoch, balance, reserved) = (words.number()?, words.amount()?, words.amount()?);
    let _version: u64 = words.number()?;
    let (debit_seq, credit_seq, granted) = (words.number()?, words.number()?, words.amount()?);
    let frozen = words.text()? == "1";
    let mut caps = Vec::new();
    for (name, packed) in fields.iter().filter(|(name, _)| name.contains(':')) {
        caps.push(read_cap(CapId(name.clone()), &mut Words::of(packed, &whole))?);
    }
    caps.sort_by(|one, other| one.id.0.cmp(&other.id.0));
    Ok(AuditedAccount {
        account: keys::parse_account(id)?,
        balance: Balance { balance, reserved, granted, credit_seq, debit_seq, frozen },
        held: NanoUsd::new(*held),
        caps,
        epoch,
    })
}
