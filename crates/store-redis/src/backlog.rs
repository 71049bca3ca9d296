//! `OutboxBacklog`: how old, how many and how large the entries are that wait for the ledger. What they say is
//! not looked at.

use crate::engine::RedisEngine;
use crate::keys;
use async_trait::async_trait;
use billing::backlog::{Backlog, OutboxBacklog};
use kernel::StoreError;
use redis::streams::StreamReadReply;
use std::time::Duration;

#[async_trait]
impl OutboxBacklog for RedisEngine {
    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let Some(oldest) = self.oldest_entry().await? else { return Ok(Backlog::default()) };
        let (seconds, micros): (u64, u64) = self.query(&redis::cmd("TIME"), "TIME").await?;
        let now = seconds.saturating_mul(1000).saturating_add(micros / 1000);
        let mut sizes = redis::pipe();
        for shard in keys::shards() {
            sizes.cmd("XLEN").arg(keys::outbox(shard));
            sizes.cmd("MEMORY").arg("USAGE").arg(keys::outbox(shard));
        }
        // A shard without entries may have no stream, whose size is nil.
        let sizes: Vec<Option<u64>> = self.query_all(&sizes, "sizes of the outboxes").await?;
        let each = |offset: usize| sizes.iter().skip(offset).step_by(2).flatten();
        Ok(Backlog {
            entries: each(0).sum(),
            oldest: Duration::from_millis(now.saturating_sub(oldest)),
            shard_bytes: each(1).max().copied().unwrap_or_default(),
        })
    }
}

impl RedisEngine {
    /// The millisecond in which the oldest entry was written. The ledger's ingest trims what it has booked, so
    /// what is left is what waits.
    async fn oldest_entry(&self) -> Result<Option<u64>, StoreError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(1).arg("STREAMS");
        for shard in keys::shards() {
            command.arg(keys::outbox(shard));
        }
        for _ in keys::shards() {
            command.arg("0-0");
        }
        let reply: Option<StreamReadReply> = self.query(&command, "XREAD of the oldest entries").await?;
        let streams = reply.map(|reply| reply.keys).unwrap_or_default();
        let born = |id: &str| id.split_once('-').and_then(|(millis, _)| millis.parse().ok());
        let entries = streams.iter().flat_map(|stream| stream.ids.first());
        entries
            .map(|entry| {
                born(&entry.id).ok_or_else(|| StoreError::corrupt(format!("redis: stream id {:?}", entry.id)))
            })
            .try_fold(None, |oldest: Option<u64>, born| {
                let born = born?;
                Ok(Some(oldest.map_or(born, |oldest| oldest.min(born))))
            })
    }
}
