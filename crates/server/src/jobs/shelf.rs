//! Keys beside the credit engine: fills the copy that gateways read while PostgreSQL is away, hears of blocked
//! keys, and carries blocks into PostgreSQL that their callers could not.
//!
//! Every process pushes changes: an older text never replaces a newer one, and what is pushed twice changes nothing.

use crate::jobs::ingest::Ingest;
use crate::wiring::House;
use accounts::shelf::{Shelf as _, ShelfSource as _};
use kernel::StoreError;

/// Rows of one round trip.
const PAGE: u32 = 500;

/// Pushes changes, and everything where this Redis has no whole copy.
pub(crate) async fn fill(house: &House, writer: &Ingest) {
    let filled = async {
        push_changes(house).await?;
        if !house.engine.is_whole().await? && writer.has_lease(house).await? {
            push_everything(house).await?;
        }
        Ok::<(), StoreError>(())
    };
    if let Err(error) = filled.await {
        tracing::warn!(%error, "the copy of keys could not be filled; it is tried again");
    }
}

async fn push_changes(house: &House) -> Result<(), StoreError> {
    loop {
        let waiting = house.store.shelf_changes(PAGE).await?;
        if waiting.changes.is_empty() {
            return Ok(());
        }
        house.engine.put(&waiting.rows).await?;
        house.store.shelf_done(&waiting.changes).await?;
    }
}

/// Changes go on being pushed in between, so the copy is never later than a page.
async fn push_everything(house: &House) -> Result<(), StoreError> {
    let life = house.engine.life()?;
    let (mut rows, mut after) = (0, Some(0));
    while let Some(from) = after {
        let page = house.store.shelf_keys(from, PAGE).await?;
        house.engine.put(&page.rows).await?;
        rows += page.rows.len();
        after = page.next;
        push_changes(house).await?;
    }
    after = Some(0);
    while let Some(from) = after {
        let page = house.store.shelf_orgs(from, PAGE).await?;
        house.engine.put(&page.rows).await?;
        rows += page.rows.len();
        after = page.next;
    }
    house.engine.set_whole(&life).await?;
    tracing::info!(rows, "the copy of keys is whole");
    Ok(())
}

/// Reads the list of blocked keys. Where it fails keys are trusted less, and the log need not say so ten times a
/// second: other jobs do.
pub(crate) async fn hear(house: &House) {
    if let Err(error) = house.keys.hear().await {
        tracing::debug!(%error, "blocked keys were not heard of");
    }
}

/// Carries blocks into the store.
pub(crate) async fn carry(house: &House) {
    if let Err(error) = house.managed_keys.carry().await {
        tracing::warn!(%error, "blocked keys wait to be revoked in the store");
    }
}
