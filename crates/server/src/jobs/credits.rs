//! Sends the engine every credit that it has not acknowledged: the safety net behind webhook and notices.

use crate::wiring::House;
use billing::ledger::Ledger as _;
use kernel::StoreError;

const BATCH: u32 = 200;

/// One round.
pub(crate) async fn send(house: &House) {
    if let Err(error) = send_all(house).await {
        tracing::warn!(%error, "credits could not be sent to the engine");
    }
}

async fn send_all(house: &House) -> Result<(), StoreError> {
    let credits = house.credits(&house.engine);
    for (account, seq) in house.store.unsent_credits(BATCH).await? {
        credits.send_credits(account, seq).await?;
    }
    Ok(())
}
