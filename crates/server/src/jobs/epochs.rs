//! Epochs: an epoch names one life of one Redis process. Whoever has the writer's lease looks whether every shard
//! serves as PostgreSQL says, and gives those that do not their next life; all processes learn it.
//!
//! The steps of that are in `resync`, the accounts are loaded in `loading`.

use crate::jobs::ingest::Ingest;
use crate::jobs::resync;
use crate::wiring::House;
use billing::engine::{EngineEpochs as _, SHARDS};
use billing::epochs::{Authority, EpochLedger as _, ShardLife};
use futures_util::future::try_join_all;
use kernel::{ExposeSecret as _, StoreError, StoreErrorKind};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often a process looks again while another one opens the epochs.
const PAUSE: Duration = Duration::from_millis(250);
/// Half a minute, and what a fence may take.
const LOOKS: u32 = 120;

/// The shards as PostgreSQL had them when they were last looked at; shared by all jobs of a process.
#[derive(Clone, Default)]
pub(crate) struct Lives(Arc<RwLock<BTreeMap<u8, ShardLife>>>);

impl Lives {
    pub(crate) fn all(&self) -> BTreeMap<u8, ShardLife> {
        self.0.read().clone()
    }

    /// Whether every account of the shard is loaded, so that its sweeper finds all it needs.
    pub(crate) fn filled(&self, shard: u8) -> bool {
        self.0.read().get(&shard).is_some_and(|life| life.filled)
    }
}

/// Brings this Redis into its epochs: here, or by waiting for the process that has the writer's lease.
pub(crate) async fn open(house: &House, writer: &Ingest) -> Result<(), StoreError> {
    let patience =
        LOOKS + u32::try_from(house.config.redis_fence.as_millis() / PAUSE.as_millis()).unwrap_or(0);
    let mut last = None;
    for _ in 0..patience {
        refresh(house).await?;
        if serves(house).await? {
            return Ok(());
        }
        if writer.has_lease(house).await? {
            match mend(house, writer).await {
                // Somebody else was faster, or Redis changed hands in between: the next look begins anew.
                Err(error) if error.kind != StoreErrorKind::Corrupt => last = Some(error),
                mended => mended?,
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(last.unwrap_or_else(|| StoreError::conflict("the epochs were not opened in time")))
}

/// Looks whether this Redis is still in its epochs, and mends it where this process may.
pub(crate) async fn watch(house: &House, writer: &Ingest) {
    let mended = async {
        refresh(house).await?;
        // A Redis that came back empty has lost its functions too.
        if serves(house).await.is_err() {
            store_redis::load_library(house.config.redis_admin_url.expose_secret()).await?;
        }
        if writer.has_lease(house).await? { mend(house, writer).await } else { Ok(()) }
    };
    match mended.await {
        Ok(()) => {}
        Err(error) => tracing::warn!(%error, "epochs could not be checked; it is tried again"),
    }
}

/// Whether this Redis serves. Every shard of a process has the same life, so the last one opened speaks for all.
pub(crate) async fn serves(house: &House) -> Result<bool, StoreError> {
    Ok(house.engine.epoch(SHARDS - 1).await?.is_some_and(|at| !at.sealed))
}

/// Gives the shards that do not serve as PostgreSQL says their next life.
async fn mend(house: &House, writer: &Ingest) -> Result<(), StoreError> {
    let node = house.engine.run_id().await?;
    let lives = house.lives.all();
    let shards: Vec<u8> = (0..SHARDS).collect();
    let at = try_join_all(shards.iter().map(|shard| house.engine.epoch(*shard))).await?;
    let serving = |(shard, at): &(u8, Option<billing::engine::ShardEpoch>)| {
        lives.get(shard).zip(at.as_ref()).is_some_and(|(life, at)| {
            life.authority == Authority::Engine && life.node == node && life.epoch == at.epoch && !at.sealed
        })
    };
    let broken: Vec<u8> =
        shards.into_iter().zip(at).filter(|one| !serving(one)).map(|(shard, _)| shard).collect();
    if broken.is_empty() {
        return Ok(());
    }
    tracing::warn!(shards = broken.len(), node, "shards do not serve in their epochs; they get new ones");
    resync::run(house, writer, &broken, &node).await?;
    refresh(house).await
}

/// Learns the epochs that PostgreSQL has.
pub(crate) async fn refresh(house: &House) -> Result<(), StoreError> {
    let lives = house.store.shard_lives().await?;
    let epochs: Vec<(u8, i64)> = lives.iter().map(|life| (life.shard, life.epoch)).collect();
    house.epochs.set(&epochs);
    *house.lives.0.write() = lives.into_iter().map(|life| (life.shard, life)).collect();
    Ok(())
}
