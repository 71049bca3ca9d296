//! The list of blocked keys: one hash, small, read by every gateway several times a second.
//!
//! Decides nothing about keys. A field names organization and handle, its value what shall become of the key.

use crate::engine::RedisEngine;
use accounts::shelf::{Block, BlockAct, BlockList, KeyBlocks};
use async_trait::async_trait;
use kernel::ids::OrgId;
use kernel::{Moment, StoreError};
use std::collections::HashMap;
use uuid::Uuid;

const LIST: &str = "{ck}:b";
/// The field that holds the list's mark.
const MARK: &str = "v";
/// Keys on the list at most; whoever fills it has blocked keys that are none.
const MOST: u32 = 10_000;

/// The list cannot take another key.
#[derive(Debug, thiserror::Error)]
#[error("the list of blocked keys is full")]
struct Full;

#[async_trait]
impl KeyBlocks for RedisEngine {
    async fn block(&self, block: &Block) -> Result<(), StoreError> {
        let value = format!("{}|{}", block.act.code(), block.at.timestamp_millis());
        let mut command = redis::cmd("FCALL");
        command.arg("fk1_block").arg(1).arg(LIST).arg(field(block.org, &block.hash));
        command.arg(value).arg(MOST);
        let answer: String = self.query(&command, "fk1_block").await?;
        match answer.as_str() {
            "OK" => Ok(()),
            "FULL" => Err(StoreError::unavailable("redis: fk1_block", Full)),
            _ => Err(StoreError::corrupt("redis: fk1_block: an unexpected answer")),
        }
    }

    async fn unblock(&self, org: OrgId, hash: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("FCALL");
        command.arg("fk1_unblock").arg(1).arg(LIST).arg(field(org, hash));
        self.query::<String>(&command, "fk1_unblock").await.map(|_done| ())
    }

    async fn news(&self, mark: &str) -> Result<Option<BlockList>, StoreError> {
        let now: Option<String> =
            self.query(redis::cmd("HGET").arg(LIST).arg(MARK), "HGET of blocks").await?;
        if now.as_deref().unwrap_or_default() == mark {
            return Ok(None);
        }
        let (mark, blocks) = read(self).await?;
        Ok(Some(BlockList::new(mark, &blocks)))
    }

    async fn blocks(&self) -> Result<Vec<Block>, StoreError> {
        read(self).await.map(|(_mark, blocks)| blocks)
    }
}

async fn read(engine: &RedisEngine) -> Result<(String, Vec<Block>), StoreError> {
    let fields: HashMap<String, String> =
        engine.query(redis::cmd("HGETALL").arg(LIST), "HGETALL of blocks").await?;
    let mark = fields.get(MARK).cloned().unwrap_or_default();
    let blocks = fields.iter().filter(|(name, _)| *name != MARK).map(|(name, value)| parse(name, value));
    Ok((mark, blocks.collect::<Result<_, _>>()?))
}

fn field(org: OrgId, hash: &str) -> String {
    format!("{}:{hash}", org.uuid().simple())
}

fn parse(field: &str, value: &str) -> Result<Block, StoreError> {
    let bad = || StoreError::corrupt(format!("redis: a block of {field}: {value}"));
    let (org, hash) = field.split_once(':').ok_or_else(bad)?;
    let (act, at) = value.split_once('|').ok_or_else(bad)?;
    let at = at.parse().ok().and_then(Moment::from_timestamp_millis).ok_or_else(bad)?;
    let org = Uuid::try_parse(org).map(OrgId::from_uuid).map_err(|_unfit| bad())?;
    Ok(Block { org, hash: hash.to_owned(), act: BlockAct::parse(act).ok_or_else(bad)?, at })
}
