//! `Outbox`: reading and trimming the streams of closed holds. What the entries mean to the books is the
//! ledger's business.

use crate::credits::read_windows;
use crate::engine::{Act, RedisEngine, run_id_in};
use crate::keys;
use crate::reply::{Words, closed_by, ticket_of};
use async_trait::async_trait;
use billing::engine::{Outbox, OutboxEntry};
use kernel::{NanoUsd, StoreError};
use redis::streams::{StreamId, StreamReadReply};

#[async_trait]
impl Outbox for RedisEngine {
    async fn read(&self, after: &[(u8, String)], limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
        if after.is_empty() {
            return Ok(Vec::new());
        }
        let reply: Option<StreamReadReply> =
            self.query(&read_command(after, limit), "XREAD of the outbox").await?;
        entries(reply)
    }

    async fn read_from(
        &self,
        node: &str,
        after: &[(u8, String)],
        limit: u32,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        if after.is_empty() {
            return Ok(Vec::new());
        }
        // One write to one connection: whoever answers the second command has answered the first.
        let mut both = redis::pipe();
        both.add_command(read_command(after, limit)).cmd("INFO").arg("server");
        let (reply, info): (Option<StreamReadReply>, String) =
            self.query_all(&both, "XREAD of the outbox with INFO").await?;
        let answered = run_id_in(&info)?;
        if answered != node {
            let text = format!("redis: process {answered} answers for {node}");
            return Err(StoreError::moving(text, OtherNode));
        }
        entries(reply)
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

/// Not the process of the shards' epoch.
#[derive(Debug, thiserror::Error)]
#[error("the connection leads to another Redis process")]
struct OtherNode;

fn read_command(after: &[(u8, String)], limit: u32) -> redis::Cmd {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(limit).arg("STREAMS");
    for (shard, _) in after {
        command.arg(keys::outbox(*shard));
    }
    for (_, id) in after {
        command.arg(id);
    }
    command
}

fn entries(reply: Option<StreamReadReply>) -> Result<Vec<OutboxEntry>, StoreError> {
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

/// The smallest stream id after `id`.
fn following(id: &str) -> Result<String, StoreError> {
    let bad = || StoreError::corrupt(format!("redis: stream id {id:?}"));
    let (millis, number) = id.split_once('-').ok_or_else(bad)?;
    let millis: u64 = millis.parse().map_err(|_not_a_number| bad())?;
    let number: u64 = number.parse().map_err(|_not_a_number| bad())?;
    let number = number.checked_add(1).ok_or_else(bad)?;
    Ok(format!("{millis}-{number}"))
}

/// The integers before the names of an entry, little-endian: kind, ticket, epoch, month, five amounts, two
/// sequences. `ENTRY` of the library.
struct Head<'a>(&'a [u8]);

impl Head<'_> {
    const LEN: usize = 1 + 1 + 4 + 4 + 5 * 7 + 2 * 6;

    fn code(&mut self) -> String {
        let (code, rest) = self.0.split_at_checked(1).unwrap_or_default();
        self.0 = rest;
        String::from_utf8_lossy(code).into_owned()
    }

    /// A number of so many bytes. The whole head is known to be there.
    fn number(&mut self, bytes: usize) -> i64 {
        let (number, rest) = self.0.split_at_checked(bytes).unwrap_or_default();
        self.0 = rest;
        let fill = if number.last().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 };
        let mut wide = [fill; 8];
        for (to, from) in wide.iter_mut().zip(number) {
            *to = *from;
        }
        i64::from_le_bytes(wide)
    }

    fn amount(&mut self) -> NanoUsd {
        NanoUsd::new(self.number(7))
    }
}

fn entry(shard: u8, stored: &StreamId) -> Result<OutboxEntry, StoreError> {
    let missing = || StoreError::corrupt(format!("redis: outbox entry {} of shard {shard}", stored.id));
    let packed: Vec<u8> = stored.get("m").ok_or_else(missing)?;
    let record: String = stored.get("r").ok_or_else(missing)?;
    let (head, names) = packed.split_at_checked(Head::LEN).ok_or_else(missing)?;
    let names = std::str::from_utf8(names).map_err(|_not_text| missing())?;
    let whole = format!("outbox entry {} of shard {shard}", stored.id);
    let mut head = Head(head);
    let (kind, ticket) = (head.code(), head.code());
    let (kind, ticket) = (closed_by(&kind).ok_or_else(missing)?, ticket_of(&ticket).ok_or_else(missing)?);
    let mut words = Words::of(names, &whole);
    Ok(OutboxEntry {
        id: stored.id.clone(),
        shard,
        kind,
        ticket,
        epoch: head.number(4),
        byok_month: head.number(4),
        charge: head.amount(),
        uncollected: head.amount(),
        held: head.amount(),
        list_price: head.amount(),
        balance_after: head.amount(),
        debit_seq: head.number(6),
        credit_seq: head.number(6),
        key: keys::parse_hold(words.text()?)?,
        account: keys::parse_account(words.text()?)?,
        windows: read_windows(&mut words)?,
        record,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packed_numbers_of_an_entry_keep_their_sign_and_size() {
        let bytes = [&[7, 0, 0, 0][..], &[0xff; 7], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f]].concat();
        let mut head = Head(&bytes);
        assert_eq!((head.number(4), head.amount().get()), (7, -1));
        assert_eq!(head.amount(), NanoUsd::REDIS_MAX);
    }

    #[test]
    fn the_id_to_keep_follows_the_last_one_booked() {
        assert_eq!(following("0-0").unwrap(), "0-1");
        assert_eq!(following("1763650000000-9").unwrap(), "1763650000000-10");
        for bad in ["", "5", "a-1", "5-", "5-18446744073709551615"] {
            assert!(following(bad).is_err(), "{bad}");
        }
    }
}
