//! The copy of keys that gateways read while PostgreSQL is away.
//!
//! Texts are opaque here. Versions decide what replaces what, in `lua/keys_v1.lua`; the life of this Redis, by
//! which a copy is known to be whole, is the epoch of its last shard.

use crate::engine::RedisEngine;
use crate::keys;
use accounts::shelf::{Shelf, ShelfName, ShelfRow, Shelved};
use async_trait::async_trait;
use kernel::StoreError;

/// Names the life in which the copy was filled.
const WHOLE: &str = "{ck}:w";
/// The shape of the texts: another shape is another copy, filled anew.
const SHAPE: &str = "1";

#[async_trait]
impl Shelf for RedisEngine {
    async fn get(&self, name: &ShelfName) -> Result<Shelved, StoreError> {
        let mut both = redis::pipe();
        both.cmd("GET").arg(WHOLE).cmd("GET").arg(keys::shelf(name));
        let (life, text): (Option<String>, Option<String>) =
            self.query_all(&both, "GET of the shelf").await?;
        let text = text.map(|text| match text.split_once('|') {
            Some((_version, text)) => Ok(text.to_owned()),
            None => Err(StoreError::corrupt("redis: a text of the shelf without its version")),
        });
        Ok(Shelved {
            whole: life.is_some_and(|life| Some(life) == self.life().ok()),
            text: text.transpose()?,
        })
    }

    async fn put(&self, rows: &[ShelfRow]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut all = redis::pipe();
        for row in rows {
            all.cmd("FCALL")
                .arg("fk1_put")
                .arg(1)
                .arg(keys::shelf(&row.name))
                .arg(row.version)
                .arg(&row.text);
        }
        let answers: Vec<String> = self.query_all(&all, "fk1_put").await?;
        if answers.iter().all(|answer| matches!(answer.as_str(), "OK" | "OLD")) {
            return Ok(());
        }
        Err(StoreError::corrupt("redis: fk1_put: an unexpected answer"))
    }

    async fn is_whole(&self) -> Result<bool, StoreError> {
        let life: Option<String> =
            self.query(redis::cmd("GET").arg(WHOLE), "GET of the shelf's life").await?;
        Ok(life.is_some() && life == self.life().ok())
    }

    async fn set_whole(&self, life: &str) -> Result<(), StoreError> {
        self.query(redis::cmd("SET").arg(WHOLE).arg(life), "SET of the shelf's life").await
    }

    fn life(&self) -> Result<String, StoreError> {
        Ok(format!("{SHAPE}:{}", self.epoch_of(billing::engine::SHARDS - 1)?))
    }
}
