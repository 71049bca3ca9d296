//! `Outbox`: reading and trimming the streams of closed holds. What the entries mean to the books is the
//! ledger's business.

use crate::engine::{Act, RedisEngine};
use crate::keys;
use crate::reply::Words;
use async_trait::async_trait;
use billing::engine::{CapId, CapWindow, Outbox, OutboxEntry};
use kernel::StoreError;
use redis::streams::{StreamId, StreamReadReply};

#[async_trait]
impl Outbox for RedisEngine {
    async fn read(&self, after: &[(u8, String)], limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
        if after.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(limit).arg("STREAMS");
        for (shard, _) in after {
            command.arg(keys::outbox(*shard));
        }
        for (_, id) in after {
            command.arg(id);
        }
        let reply: Option<StreamReadReply> = self.query(&command, "XREAD of the outbox").await?;
        let mut entries = Vec::new();
        for stream in reply.map(|reply| reply.keys).unwrap_or_default() {
            let shard = keys::shard_of_key(&stream.key)
                .ok_or_else(|| StoreError::corrupt(format!("redis: outbox {:?}", stream.key)))?;
            for id in &stream.ids {
                entries.push(entry(shard, id)?);
            }
        }
        Ok(entries)
    }

    async fn trim(&self, shard: u8, epoch: i64, upto: &str) -> Result<(), StoreError> {
        let keep = following(upto)?;
        let act = Act::new("fb1_trim", shard).with(epoch).with(keep);
        let reply = self.run(act).await?;
        match reply.head() {
            "OK" => Ok(()),
            _ => Err(reply.unexpected()),
        }
    }

    async fn length(&self) -> Result<u64, StoreError> {
        let mut lengths = redis::pipe();
        for shard in keys::shards() {
            lengths.cmd("XLEN").arg(keys::outbox(shard));
        }
        let lengths: Vec<u64> = self.query_all(&lengths, "XLEN of the outboxes").await?;
        Ok(lengths.iter().sum())
    }
}

/// The smallest stream id after `id`.
fn following(id: &str) -> Result<String, StoreError> {
    let bad = || StoreError::corrupt(format!("redis: stream id {id:?}"));
    let (millis, number) = id.split_once('-').ok_or_else(bad)?;
    let millis: u64 = millis.parse().map_err(|_not_a_number| bad())?;
    let number: u64 = number.parse().map_err(|_not_a_number| bad())?;
    let number = number.checked_add(1).ok_or_else(bad)?;
    Ok(format!("{millis}-{number}"))
}

fn entry(shard: u8, stored: &StreamId) -> Result<OutboxEntry, StoreError> {
    let missing = || StoreError::corrupt(format!("redis: outbox entry {} of shard {shard}", stored.id));
    let packed: String = stored.get("m").ok_or_else(missing)?;
    let record: String = stored.get("r").ok_or_else(missing)?;
    let whole = format!("outbox entry {} of shard {shard}", stored.id);
    let mut words = Words::of(&packed, &whole);
    Ok(OutboxEntry {
        id: stored.id.clone(),
        shard,
        epoch: words.number()?,
        key: keys::parse_hold(words.text()?)?,
        kind: words.closed_by()?,
        account: keys::parse_account(words.text()?)?,
        charge: words.amount()?,
        uncollected: words.amount()?,
        held: words.amount()?,
        list_price: words.amount()?,
        ticket: words.ticket()?,
        byok_month: words.number()?,
        balance_after: words.amount()?,
        debit_seq: words.number()?,
        credit_seq: words.number()?,
        windows: windows(&mut words)?,
        record,
    })
}

/// `id=window,id=window`, or nothing.
fn windows(words: &mut Words<'_>) -> Result<Vec<CapWindow>, StoreError> {
    let mut windows = Vec::new();
    for pair in words.text()?.split(',').filter(|pair| !pair.is_empty()) {
        let (cap, window) = pair.split_once('=').ok_or_else(|| words.bad(pair))?;
        let window = window.parse().map_err(|_not_a_number| words.bad(pair))?;
        windows.push(CapWindow { cap: CapId(cap.to_owned()), window });
    }
    Ok(windows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_to_keep_follows_the_last_one_booked() {
        assert_eq!(following("0-0").unwrap(), "0-1");
        assert_eq!(following("1763650000000-9").unwrap(), "1763650000000-10");
        for bad in ["", "5", "a-1", "5-", "5-18446744073709551615"] {
            assert!(following(bad).is_err(), "{bad}");
        }
    }
}
