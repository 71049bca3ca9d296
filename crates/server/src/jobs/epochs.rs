//! Epochs: an epoch names one life of one Redis process. A Redis that is new, restarted or promoted gets the
//! next epoch from PostgreSQL before it serves anybody; all processes learn it.

use crate::jobs::ingest::{self, Ingest};
use crate::wiring::House;
use billing::engine::{EngineAudit as _, EngineEpochs as _, SHARDS};
use billing::ledger::Ledger as _;
use kernel::{AccountRef, ExposeSecret as _, NanoUsd, StoreError};
use std::time::Duration;

/// How often a process looks again while another one opens the epochs.
const PAUSE: Duration = Duration::from_millis(250);
const LOOKS: u32 = 120;

/// Brings this Redis into its epochs: here, or by waiting for the process that has the writer's lease.
pub(crate) async fn open(house: &House, writer: &Ingest) -> Result<(), StoreError> {
    for _ in 0..LOOKS {
        refresh(house).await?;
        if is_open(house).await? {
            return Ok(());
        }
        if writer.has_lease(house).await? {
            reopen(house, writer).await?;
        } else {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Err(StoreError::conflict("the epochs were not opened in time"))
}

/// Looks whether this Redis is still in its epochs, and mends it where this process may.
pub(crate) async fn watch(house: &House, writer: &Ingest) {
    let mended = async {
        refresh(house).await?;
        // A Redis that came back empty has lost its functions too.
        if is_open(house).await.is_err() {
            store_redis::load_library(house.config.redis_admin_url.expose_secret()).await?;
        }
        if !is_open(house).await? && writer.has_lease(house).await? {
            tracing::warn!("Redis was restarted or replaced; its shards get new epochs");
            reopen(house, writer).await?;
        }
        Ok::<(), StoreError>(())
    };
    if let Err(error) = mended.await {
        tracing::warn!(%error, "epochs could not be checked");
    }
}

/// Every shard of a process has the same life, so the last one opened speaks for all.
pub(crate) async fn is_open(house: &House) -> Result<bool, StoreError> {
    Ok(house.engine.epoch(SHARDS - 1).await?.is_some())
}

/// Next epochs first, then the entries of the old ones to the ledger, then open: accounts are loaded again
/// from PostgreSQL on first use.
async fn reopen(house: &House, writer: &Ingest) -> Result<(), StoreError> {
    let run_id = house.engine.run_id().await?;
    let mut closed = Vec::new();
    for shard in 0..SHARDS {
        if house.engine.epoch(shard).await?.is_none() {
            closed.push(shard);
        }
    }
    let next = house.store.next_epochs(&closed, &run_id).await?;
    writer.restart(house).await?;
    let drained = writer.drain(house).await?;
    kernel::crash::point("epochs.drained");
    for (shard, epoch) in &next {
        house.engine.open_epoch(*shard, *epoch).await?;
    }
    kernel::crash::point("epochs.opened");
    ingest::trim_drained(house, &drained, &next).await?;
    refresh(house).await?;
    load_holders(house).await
}

/// Loads the accounts that still have holds, so that the sweeper can close those whose gateway died.
async fn load_holders(house: &House) -> Result<(), StoreError> {
    let credits = house.credits(&house.engine);
    for shard in 0..SHARDS {
        for holder in
            house.engine.accounts(shard).await?.iter().filter(|account| account.held > NanoUsd::ZERO)
        {
            credits.balance(AccountRef { account: holder.account, shard }).await?;
        }
    }
    Ok(())
}

/// Learns the epochs that PostgreSQL has.
pub(crate) async fn refresh(house: &House) -> Result<(), StoreError> {
    let known = house.store.epochs().await?;
    house.epochs.set(&known);
    Ok(())
}
