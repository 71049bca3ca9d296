//! The epoch of each shard that this process believes in. PostgreSQL gives birth to epochs; every act in
//! Redis carries one and is refused when it is not the current one.
//!
//! It does not fetch epochs: the server's job tells them through [`Epochs::set`].

use crate::keys;
use billing::engine::{EpochView, SHARDS};
use kernel::StoreError;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Shared by all engines of a process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Epochs(Arc<[AtomicI64]>);

/// No epoch of the shard is known yet.
#[derive(Debug, thiserror::Error)]
#[error("no epoch is known for shard {0}")]
struct UnknownEpoch(u8);

impl Epochs {
    /// From `shard_epoch` of the ledger: shard and epoch.
    #[must_use]
    pub fn new(known: &[(u8, i64)]) -> Self {
        let epochs = Self(keys::shards().map(|_| AtomicI64::new(0)).collect());
        epochs.set(known);
        epochs
    }

    /// Takes newer epochs over. An epoch never falls: a late answer of the ledger changes nothing.
    pub fn set(&self, known: &[(u8, i64)]) {
        for (shard, epoch) in known.iter().filter(|(shard, _)| *shard < SHARDS) {
            if let Some(slot) = self.0.get(usize::from(*shard)) {
                slot.fetch_max(*epoch, Ordering::AcqRel);
            }
        }
    }

    pub(crate) fn get(&self, shard: u8) -> Result<i64, StoreError> {
        let epoch = self.0.get(usize::from(shard)).map_or(0, |slot| slot.load(Ordering::Acquire));
        if epoch > 0 {
            return Ok(epoch);
        }
        Err(StoreError::moving(format!("redis: shard {shard}"), UnknownEpoch(shard)))
    }
}

impl EpochView for Epochs {
    fn epoch(&self, shard: u8) -> Option<i64> {
        self.get(shard).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_unknown_until_told_and_never_falls() {
        let epochs = Epochs::new(&[(3, 7), (64, 9)]);
        assert!(epochs.get(0).is_err());
        assert!(epochs.get(64).is_err());
        epochs.set(&[(3, 6)]);
        assert_eq!(epochs.get(3).unwrap(), 7);
        epochs.clone().set(&[(3, 8)]);
        assert_eq!(epochs.get(3).unwrap(), 8);
    }
}
