//! The sweeper: holds whose gateway died are settled at their last metered amount.

use crate::wiring::House;
use billing::engine::{EngineUpkeep as _, SHARDS};

const AT_ONCE: u32 = 200;

/// One round over all shards.
pub(crate) async fn sweep(house: &House) {
    for shard in 0..SHARDS {
        match house.engine.sweep(shard, AT_ONCE).await {
            Ok(0) => {}
            Ok(count) => tracing::warn!(shard, count, "expired holds were settled at their metered amounts"),
            Err(error) => {
                tracing::warn!(shard, %error, "sweeping failed");
                return;
            }
        }
    }
}
