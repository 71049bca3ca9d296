//! The sweeper: holds whose gateway died are settled at their last metered amount.

use crate::wiring::House;
use billing::engine::{EngineAudit as _, EngineUpkeep as _, SHARDS};
use std::time::Duration;

const AT_ONCE: u32 = 200;

/// One round over all shards.
pub(crate) async fn sweep(house: &House) {
    // One round trip tells that there is nothing to do, which is nearly always.
    if matches!(house.engine.overdue_holds(Duration::ZERO).await, Ok(0)) {
        return;
    }
    // Holds of an account that is not loaded have to wait; so they do until all accounts are.
    for shard in (0..SHARDS).filter(|shard| house.lives.filled(*shard)) {
        match house.engine.sweep(shard, AT_ONCE).await {
            Ok(0) => {}
            Ok(count) => {
                kernel::crash::point("sweep.swept");
                tracing::warn!(shard, count, "expired holds were settled at their metered amounts");
            }
            Err(error) => {
                tracing::warn!(shard, %error, "sweeping failed");
                return;
            }
        }
    }
}
