//! Loads accounts into a Redis that has a new epoch: those that were used lately before it serves, the rest in the
//! background. An account that is asked for in between is loaded then; several loaders may race.

use crate::jobs::ingest::Ingest;
use crate::wiring::House;
use billing::engine::{EngineUpkeep as _, Loaded};
use billing::epochs::{Authority, EpochLedger as _, ShardLife};
use chrono::TimeDelta;
use futures_util::future::try_join_all;
use kernel::{AccountRef, StoreError};
use std::collections::BTreeSet;
use std::time::Duration;

/// Accounts of one snapshot.
const PAGE: usize = 500;
/// Snapshots read and loaded at once.
const AT_ONCE: usize = 3;
/// Accounts that are loaded first, and how recently their keys were used.
const HOT: u32 = 5000;
const LATELY: TimeDelta = TimeDelta::hours(24);
/// How long the hottest accounts may keep a sealed shard waiting.
const WARM_UP_WITHIN: Duration = Duration::from_secs(1);

/// Loads the accounts that will be asked for at once, for a moment at most.
pub(crate) async fn warm_up(house: &House) -> Result<(), StoreError> {
    match tokio::time::timeout(WARM_UP_WITHIN, load_hot(house, None)).await {
        Ok(loaded) => loaded.map(|_count| ()),
        // The background goes on with them.
        Err(_elapsed) => Ok(()),
    }
}

/// One round in the background: fills the shards that serve and are not filled yet. Only the process with the
/// lease does it.
pub(crate) async fn fill(house: &House, writer: &Ingest) {
    let unfilled: Vec<ShardLife> = house
        .lives
        .all()
        .into_values()
        .filter(|life| life.authority == Authority::Engine && !life.filled)
        .collect();
    if unfilled.is_empty() || !writer.has_lease(house).await.unwrap_or(false) {
        return;
    }
    let began = house.clock.monotonic();
    match fill_shards(house, &unfilled).await {
        Ok(accounts) => {
            let took = house.clock.monotonic().saturating_sub(began).as_millis();
            tracing::info!(accounts, milliseconds = took, "all accounts are loaded");
        }
        Err(error) => tracing::warn!(%error, "accounts could not be loaded; it is tried again"),
    }
}

async fn fill_shards(house: &House, unfilled: &[ShardLife]) -> Result<usize, StoreError> {
    let shards: BTreeSet<u8> = unfilled.iter().map(|life| life.shard).collect();
    load_hot(house, Some(&shards)).await?;
    let (mut after, mut loaded) = (None, 0);
    loop {
        let page =
            house.store.accounts_after(after, u32::try_from(PAGE * AT_ONCE).unwrap_or(u32::MAX)).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.account);
        let ours: Vec<_> = page.iter().filter(|one| shards.contains(&one.shard)).copied().collect();
        try_join_all(ours.chunks(PAGE).map(|some| load(house, some))).await?;
        loaded += ours.len();
    }
    let epochs: Vec<(u8, i64)> = unfilled.iter().map(|life| (life.shard, life.epoch)).collect();
    house.store.mark_filled(&epochs).await?;
    super::epochs::refresh(house).await?;
    Ok(loaded)
}

async fn load_hot(house: &House, shards: Option<&BTreeSet<u8>>) -> Result<(), StoreError> {
    let hot = house.store.recent_accounts(house.clock.now() - LATELY, HOT).await?;
    let hot: Vec<_> = hot.into_iter().filter(|one| shards.is_none_or(|of| of.contains(&one.shard))).collect();
    for page in hot.chunks(PAGE) {
        load(house, page).await?;
    }
    Ok(())
}

/// Loads accounts from one snapshot. What the engine kept of them is asked for first.
async fn load(house: &House, accounts: &[AccountRef]) -> Result<(), StoreError> {
    let engine = &house.engine;
    let kept = try_join_all(accounts.iter().map(|account| engine.kept_holds(*account))).await?;
    let holds: Vec<_> = kept.iter().flat_map(|kept| kept.holds.iter().copied()).collect();
    let ids: Vec<_> = accounts.iter().map(|account| account.account).collect();
    let states = house.store.account_states(&ids, &holds, house.clock.now()).await?;
    let kept: std::collections::HashMap<_, _> = ids.into_iter().zip(kept).collect();
    let loading = states.iter().filter_map(|state| {
        let kept = kept.get(&state.account.account)?;
        Some(engine.load(state, kept))
    });
    for loaded in try_join_all(loading).await? {
        if loaded == Loaded::Overtaken {
            // Unloaded by somebody in between: whoever asks for it next loads it.
            tracing::debug!("an account was unloaded while it was loaded");
        }
    }
    Ok(())
}
