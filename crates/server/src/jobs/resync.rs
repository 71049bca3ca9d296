//! A shard's next life after its Redis was lost, replaced or restarted, step by step. Whoever stops half-way is
//! replaced by a process that begins again at the first step; a false alarm is harmless.
//!
//! It decides nothing about money: entries go through the normal ingest, balances come from one snapshot.

use crate::jobs::ingest::Ingest;
use crate::jobs::loading;
use crate::wiring::House;
use billing::engine::EngineEpochs as _;
use billing::epochs::{EpochLedger as _, ShardLife};
use futures_util::future::try_join_all;
use kernel::{ExposeSecret as _, StoreError};
use std::collections::BTreeSet;
use std::time::Duration;
use store_redis::{Epochs, RedisEngine};

/// Between two renewals of the lease while a former process is waited for.
const BREATH: Duration = Duration::from_secs(1);
/// How long a former process may take to say that it is sealed.
const FORMER_WITHIN: Duration = Duration::from_secs(2);

/// Gives these shards their next epoch on a node.
pub(crate) async fn run(house: &House, writer: &Ingest, shards: &[u8], node: &str) -> Result<(), StoreError> {
    let formers = formers(&house.store.shard_lives().await?, shards, node);
    // 1. The epoch rises in the act that seals it: from here on old entries, writers and coordinators are told
    // from new ones.
    let epochs = house.store.seal_epochs(shards, node).await?;
    house.epochs.set(&epochs);
    // 2. The node serves nobody any more, whatever it believed.
    seal(&house.engine, &epochs).await?;
    let sealed = house.clock.monotonic();
    // 3. What it still has goes to the ledger; its entries are of an older epoch now.
    writer.drain(house).await?;
    kernel::crash::point("epochs.drained");
    // 4, 5. Accounts are loaded on first use and in the background; the hottest before anybody asks.
    loading::warm_up(house).await?;
    // 6. Nobody serves here before the former process can take no more writes.
    if !formers.is_empty() && !sealed_at(house, &formers, &epochs).await {
        tracing::warn!(seconds = house.config.redis_fence.as_secs(), "waiting until the former Redis is out");
        while house.clock.monotonic().saturating_sub(sealed) < house.config.redis_fence {
            tokio::time::sleep(BREATH.min(house.config.redis_fence)).await;
            writer.keep_lease(house).await?;
        }
    }
    try_join_all(epochs.iter().map(|(shard, epoch)| house.engine.unseal(*shard, *epoch))).await?;
    kernel::crash::point("epochs.opened");
    // 7. The ledger takes late settlements again.
    let published = house.store.publish_epochs(&epochs).await?;
    if published.len() < epochs.len() {
        return Err(StoreError::conflict("another process began the shards' next life"));
    }
    let took = house.clock.monotonic().saturating_sub(sealed).as_millis();
    tracing::info!(shards = epochs.len(), node, milliseconds = took, "shards serve in new epochs");
    Ok(())
}

async fn seal(engine: &RedisEngine, epochs: &[(u8, i64)]) -> Result<(), StoreError> {
    try_join_all(epochs.iter().map(|(shard, epoch)| engine.seal(*shard, *epoch))).await.map(|_sealed| ())
}

/// The processes that may still believe that they serve one of these shards.
fn formers(lives: &[ShardLife], shards: &[u8], node: &str) -> BTreeSet<String> {
    let of = lives.iter().filter(|life| shards.contains(&life.shard) && life.must_fence(node));
    let names = of.flat_map(|life| [life.node.clone(), life.served_by.clone()]);
    names.filter(|name| !name.is_empty() && name != node).collect()
}

/// Whether every former process answered that it is sealed. Only those can be asked that
/// `FAREBOX_REDIS_NODES` names.
async fn sealed_at(house: &House, formers: &BTreeSet<String>, epochs: &[(u8, i64)]) -> bool {
    let mut sealed = BTreeSet::new();
    for url in &house.config.redis_nodes {
        let asking = async {
            let engine = RedisEngine::connect(url.expose_secret(), Epochs::new(&[])).await?;
            let name = engine.run_id().await?;
            if formers.contains(&name) {
                seal(&engine, epochs).await?;
                // The connection may have been mended in between, to another process.
                if engine.run_id().await? == name {
                    return Ok(Some(name));
                }
            }
            Ok::<_, StoreError>(None)
        };
        match tokio::time::timeout(FORMER_WITHIN, asking).await {
            Ok(Ok(name)) => sealed.extend(name),
            Ok(Err(error)) => tracing::info!(%error, "a Redis node cannot be asked to seal"),
            Err(_elapsed) => tracing::info!("a Redis node did not answer in time"),
        }
    }
    sealed.is_superset(formers)
}
