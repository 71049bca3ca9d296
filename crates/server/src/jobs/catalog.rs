//! Keeps the snapshot in memory at the published catalog: after a notice, when a tariff comes into force, and
//! every few seconds in case a notice was missed.

use crate::wiring::House;
use catalog::ports::PublishedCatalog as _;
use kernel::StoreError;

/// Reloads when there is something newer, or a published tariff has come into force.
pub(crate) async fn refresh(house: &House) {
    if let Err(error) = reload_if_stale(house).await {
        tracing::warn!(%error, "the catalog could not be refreshed");
    }
}

async fn reload_if_stale(house: &House) -> Result<(), StoreError> {
    let now = house.clock.now();
    let current = house.catalog.snapshot();
    let due = current.next_change_at.is_some_and(|at| at <= now);
    let newer = due || house.store.version().await? != current.version;
    if newer || house.store.switch_seq().await? != current.switch_seq {
        reload(house).await?;
    }
    Ok(())
}

/// Loads the catalog as it is now.
pub(crate) async fn reload(house: &House) -> Result<(), StoreError> {
    let snapshot = house.store.snapshot(house.clock.now()).await?;
    tracing::info!(
        version = snapshot.version,
        models = snapshot.listings().len(),
        endpoints = snapshot.endpoint_count(),
        "catalog loaded"
    );
    house.catalog.replace(snapshot);
    Ok(())
}
