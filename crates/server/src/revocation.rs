//! Keys as their organizations manage them: what is revoked is blocked at every gateway first, then changed in the
//! store. A store that does not answer delays only the second half, which is then carried out by itself.
//!
//! Decides nothing else about keys; everything that is no revocation passes through.

use accounts::KeyRecord;
use accounts::ports::{KeyChange, KeyUsage, Keys, NewKey};
use accounts::shelf::{Block, BlockAct, BlockedMeanwhile, KeyBlocks};
use async_trait::async_trait;
use kernel::ids::OrgId;
use kernel::{Clock, Moment, StoreError, StoreErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// When a block may go: nobody remembers the key as it was for so long.
const KEPT: chrono::TimeDelta = chrono::TimeDelta::minutes(1);
/// How long the call that blocked a key has the first go at the store.
const FIRST_GO: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

/// How long a call waits for the store once its key is blocked.
const PATIENCE: Duration = Duration::from_secs(2);
/// Hexadecimal digits of a key's public handle. Nothing else can name a key.
const HANDLE_DIGITS: usize = 64;

/// A [`Keys`] that blocks what it revokes.
pub(crate) struct RevokingKeys {
    keys: Arc<dyn Keys>,
    blocks: Arc<dyn KeyBlocks>,
    clock: Arc<dyn Clock>,
}

impl RevokingKeys {
    pub(crate) fn new(keys: Arc<dyn Keys>, blocks: Arc<dyn KeyBlocks>, clock: Arc<dyn Clock>) -> Self {
        Self { keys, blocks, clock }
    }

    /// Whether the key is on the list now. Where the list does not answer no gateway serves anybody, and the
    /// store's own notice tells them when they do again.
    async fn block(&self, org: OrgId, hash: &str, act: BlockAct, at: Moment) -> bool {
        if hash.len() != HANDLE_DIGITS || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return false;
        }
        let block = Block { org, hash: hash.to_owned(), act, at };
        let blocked = self.blocks.block(&block).await;
        blocked.inspect_err(|error| tracing::warn!(%error, "a key could not be blocked at once")).is_ok()
    }

    /// The second half of a revocation: a key that is not there is no longer blocked, and one that the store did
    /// not change in time is.
    async fn revoke<T>(
        &self,
        (org, hash): (OrgId, &str),
        change: impl Future<Output = Result<T, StoreError>>,
        there: impl Fn(&T) -> bool,
    ) -> Result<T, StoreError> {
        let done = match tokio::time::timeout(PATIENCE, change).await {
            Ok(done) => done,
            Err(elapsed) => Err(StoreError::unavailable("a key was not revoked in time", elapsed)),
        };
        match done {
            Ok(done) => {
                if !there(&done) {
                    self.blocks.unblock(org, hash).await?;
                }
                Ok(done)
            }
            Err(error) if error.kind == StoreErrorKind::Unavailable => {
                Err(StoreError::unavailable("a key was revoked", BlockedMeanwhile(error)))
            }
            Err(error) => Err(error),
        }
    }

    /// Carries blocks that their callers could not into the store, and takes off the list what the store has had
    /// for a while.
    ///
    /// # Errors
    /// Either store does not answer; the rest is carried in another round.
    pub(crate) async fn carry(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        for block in self.blocks.blocks().await? {
            if now - block.at < FIRST_GO {
                continue;
            }
            let found = self.keys.key(block.org, &block.hash, now).await?;
            let done = match (&found, block.act) {
                (None, _) => true,
                (Some(found), BlockAct::Disable) => found.key.disabled,
                (Some(_), BlockAct::Delete) => false,
            };
            if !done {
                self.carry_one(&block, now).await?;
            } else if now - block.at >= KEPT {
                self.blocks.unblock(block.org, &block.hash).await?;
            }
        }
        Ok(())
    }

    async fn carry_one(&self, block: &Block, now: Moment) -> Result<(), StoreError> {
        match block.act {
            BlockAct::Delete => self.keys.delete_key(block.org, &block.hash, now).await.map(|_there| ()),
            BlockAct::Disable => {
                let change = KeyChange { disabled: Some(true), ..KeyChange::default() };
                self.keys.change_key(block.org, &block.hash, &change, now).await.map(|_there| ())
            }
        }?;
        tracing::info!(hash = %block.hash, "a blocked key was revoked in the store");
        Ok(())
    }
}

#[async_trait]
impl Keys for RevokingKeys {
    async fn add_key(&self, key: &NewKey) -> Result<KeyRecord, StoreError> {
        self.keys.add_key(key).await
    }

    async fn keys(
        &self,
        org: OrgId,
        offset: u32,
        limit: u32,
        now: Moment,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        self.keys.keys(org, offset, limit, now).await
    }

    async fn key(&self, org: OrgId, hash: &str, now: Moment) -> Result<Option<KeyUsage>, StoreError> {
        self.keys.key(org, hash, now).await
    }

    async fn change_key(
        &self,
        org: OrgId,
        hash: &str,
        change: &KeyChange,
        at: Moment,
    ) -> Result<Option<KeyRecord>, StoreError> {
        if change.disabled == Some(false) {
            // A block that stayed would be carried into the store again.
            self.blocks.unblock(org, hash).await?;
        }
        let changing = self.keys.change_key(org, hash, change, at);
        if change.disabled == Some(true) && self.block(org, hash, BlockAct::Disable, at).await {
            return self.revoke((org, hash), changing, Option::is_some).await;
        }
        changing.await
    }

    async fn delete_key(&self, org: OrgId, hash: &str, at: Moment) -> Result<bool, StoreError> {
        let deleting = self.keys.delete_key(org, hash, at);
        if self.block(org, hash, BlockAct::Delete, at).await {
            return self.revoke((org, hash), deleting, |there| *there).await;
        }
        deleting.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use accounts::KeyKind;
    use accounts::api_key::LimitReset;
    use accounts::shelf::BlockList;
    use kernel::clock::FixedClock;
    use kernel::ids::{AccountId, KeyId, MemberId, WorkspaceId};
    use kernel::rng::SeededEntropy;
    use kernel::{AccountRef, NanoUsd};
    use parking_lot::Mutex;

    /// A store with one key and a list of blocks; either can be away.
    #[derive(Default)]
    struct World {
        key: Mutex<Option<KeyUsage>>,
        store_away: Mutex<bool>,
        list: Mutex<Vec<Block>>,
        list_away: Mutex<bool>,
    }

    fn up(away: &Mutex<bool>) -> Result<(), StoreError> {
        if *away.lock() { Err(StoreError::unavailable("away", std::fmt::Error)) } else { Ok(()) }
    }

    #[async_trait]
    impl Keys for World {
        async fn add_key(&self, _key: &NewKey) -> Result<KeyRecord, StoreError> {
            panic!("not asked for")
        }

        async fn keys(&self, _: OrgId, _: u32, _: u32, _: Moment) -> Result<Vec<KeyUsage>, StoreError> {
            panic!("not asked for")
        }

        async fn key(&self, org: OrgId, hash: &str, _now: Moment) -> Result<Option<KeyUsage>, StoreError> {
            up(&self.store_away)?;
            let key = self.key.lock();
            Ok(key.as_ref().filter(|key| key.key.org == org && key.key.hash == hash).cloned())
        }

        async fn change_key(
            &self,
            org: OrgId,
            hash: &str,
            change: &KeyChange,
            now: Moment,
        ) -> Result<Option<KeyRecord>, StoreError> {
            let Some(mut found) = self.key(org, hash, now).await? else { return Ok(None) };
            found.key.disabled = change.disabled.unwrap_or(found.key.disabled);
            *self.key.lock() = Some(found.clone());
            Ok(Some(found.key))
        }

        async fn delete_key(&self, org: OrgId, hash: &str, now: Moment) -> Result<bool, StoreError> {
            let there = self.key(org, hash, now).await?.is_some();
            if there {
                *self.key.lock() = None;
            }
            Ok(there)
        }
    }

    #[async_trait]
    impl KeyBlocks for World {
        async fn block(&self, block: &Block) -> Result<(), StoreError> {
            up(&self.list_away)?;
            self.list.lock().push(block.clone());
            Ok(())
        }

        async fn unblock(&self, org: OrgId, hash: &str) -> Result<(), StoreError> {
            up(&self.list_away)?;
            self.list.lock().retain(|block| block.org != org || block.hash != hash);
            Ok(())
        }

        async fn news(&self, _mark: &str) -> Result<Option<BlockList>, StoreError> {
            panic!("not asked for")
        }

        async fn blocks(&self) -> Result<Vec<Block>, StoreError> {
            up(&self.list_away)?;
            Ok(self.list.lock().clone())
        }
    }

    struct Bed {
        world: Arc<World>,
        clock: Arc<FixedClock>,
        keys: RevokingKeys,
        org: OrgId,
        hash: String,
    }

    impl Bed {
        fn new() -> Self {
            let (clock, rng) = (Arc::new(FixedClock::at(Moment::UNIX_EPOCH)), SeededEntropy::new(1));
            let (org, hash) = (OrgId::new(clock.as_ref(), &rng), "ab".repeat(32));
            let key = KeyRecord {
                id: KeyId::new(clock.as_ref(), &rng),
                hash: hash.clone(),
                kind: KeyKind::Model,
                org,
                account: AccountRef { account: AccountId::new(clock.as_ref(), &rng), shard: 0 },
                workspace: WorkspaceId::new(clock.as_ref(), &rng),
                creator: MemberId::new(clock.as_ref(), &rng),
                name: String::new(),
                label: String::new(),
                limit: None,
                limit_reset: LimitReset::None,
                include_byok_in_limit: false,
                disabled: false,
                expires_at: None,
                created_at: Moment::UNIX_EPOCH,
                updated_at: None,
                caps: Vec::new(),
            };
            let zero = NanoUsd::ZERO;
            let usage = KeyUsage {
                key,
                usage: zero,
                usage_daily: zero,
                usage_weekly: zero,
                usage_monthly: zero,
                byok_usage: zero,
                byok_usage_daily: zero,
                byok_usage_weekly: zero,
                byok_usage_monthly: zero,
                last_used_at: None,
            };
            let world = Arc::new(World { key: Mutex::new(Some(usage)), ..World::default() });
            let keys = RevokingKeys::new(world.clone(), world.clone(), clock.clone());
            Self { world, clock, keys, org, hash }
        }

        async fn switch(&self, disabled: bool) -> Result<Option<KeyRecord>, StoreError> {
            let change = KeyChange { disabled: Some(disabled), ..KeyChange::default() };
            self.keys.change_key(self.org, &self.hash, &change, self.clock.now()).await
        }

        fn blocked(&self) -> bool {
            !self.world.list.lock().is_empty()
        }

        fn disabled(&self) -> Option<bool> {
            self.world.key.lock().as_ref().map(|key| key.key.disabled)
        }
    }

    #[tokio::test]
    async fn a_revocation_without_the_store_blocks_the_key_and_is_carried_out_later() {
        for (act, after) in [(BlockAct::Disable, Some(true)), (BlockAct::Delete, None)] {
            let bed = Bed::new();
            *bed.world.store_away.lock() = true;
            let error = match act {
                BlockAct::Disable => bed.switch(true).await.unwrap_err(),
                BlockAct::Delete => {
                    bed.keys.delete_key(bed.org, &bed.hash, bed.clock.now()).await.unwrap_err()
                }
            };
            assert!(error.source.unwrap().downcast_ref::<BlockedMeanwhile>().is_some());
            assert!(bed.blocked() && bed.disabled() == Some(false));
            bed.clock.advance(Duration::from_secs(11));
            assert!(bed.keys.carry().await.is_err(), "still away");
            *bed.world.store_away.lock() = false;
            bed.keys.carry().await.unwrap();
            assert_eq!((bed.disabled(), bed.blocked()), (after, true), "others may still remember it");
            bed.clock.advance(Duration::from_secs(60));
            bed.keys.carry().await.unwrap();
            assert!(!bed.blocked());
        }
    }

    #[tokio::test]
    async fn enabling_a_key_takes_it_off_the_list_or_does_not_happen() {
        let bed = Bed::new();
        bed.switch(true).await.unwrap();
        assert!(bed.blocked() && bed.disabled() == Some(true));
        *bed.world.list_away.lock() = true;
        assert!(bed.switch(false).await.is_err());
        assert_eq!(bed.disabled(), Some(true));
        *bed.world.list_away.lock() = false;
        bed.switch(false).await.unwrap();
        bed.clock.advance(Duration::from_secs(100));
        bed.keys.carry().await.unwrap();
        assert_eq!((bed.disabled(), bed.blocked()), (Some(false), false));
    }

    #[tokio::test]
    async fn a_revocation_needs_only_the_store_and_names_real_keys() {
        let bed = Bed::new();
        *bed.world.list_away.lock() = true;
        bed.switch(true).await.unwrap();
        assert_eq!(bed.disabled(), Some(true));
        *bed.world.list_away.lock() = false;
        for hash in ["x".to_owned(), "zz".repeat(32), "00".repeat(32), "a".repeat(4_000)] {
            assert!(!bed.keys.delete_key(bed.org, &hash, bed.clock.now()).await.unwrap());
            assert!(!bed.blocked(), "{hash}");
        }
    }
}
