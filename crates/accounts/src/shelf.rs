//! What gateways may know of keys while the store of keys is away: a copy beside the credit engine that is
//! written with every change and never runs out, and the list of keys that are blocked whatever the copy says.
//!
//! Decides which text stands for a key and an organization's provider keys; where the texts lie is the
//! adapter's. The copy is never asked while the store itself answers.

use crate::KeyRecord;
use crate::ports::ProviderKey;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kernel::ids::{OrgId, ProviderKeyId};
use kernel::{Moment, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What a text of the copy is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShelfName {
    /// A key, by its digest.
    Key([u8; 32]),
    /// The enabled provider keys of an organization, sealed.
    Org(OrgId),
}

/// One text of the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShelfRow {
    pub name: ShelfName,
    /// Rises with every change; an older text never replaces a newer one.
    pub version: i64,
    pub text: String,
}

/// What the copy says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelved {
    /// The copy was filled in this life of its store: what it lacks is not there.
    pub whole: bool,
    pub text: Option<String>,
}

/// The copy, beside the credit engine.
#[async_trait]
pub trait Shelf: Send + Sync {
    async fn get(&self, name: &ShelfName) -> Result<Shelved, StoreError>;

    /// Puts texts whose versions are higher than those that lie there.
    async fn put(&self, rows: &[ShelfRow]) -> Result<(), StoreError>;

    async fn is_whole(&self) -> Result<bool, StoreError>;

    /// Everything was put since [`Shelf::life`] answered so.
    async fn set_whole(&self, life: &str) -> Result<(), StoreError>;

    /// Names this life of the store; a store that was restarted or replaced has another.
    fn life(&self) -> Result<String, StoreError>;
}

/// Where the copy comes from: changes that the copy may lack, and everything, page by page.
#[async_trait]
pub trait ShelfSource: Send + Sync {
    /// Changes that were not called done yet, as things are now. At most so many.
    async fn shelf_changes(&self, limit: u32) -> Result<ShelfChanges, StoreError>;

    /// The copy has these changes.
    async fn shelf_done(&self, changes: &[i64]) -> Result<(), StoreError>;

    /// Keys in the order of their ids, after this one.
    async fn shelf_keys(&self, after: u128, limit: u32) -> Result<ShelfPage, StoreError>;

    /// Organizations with provider keys, likewise.
    async fn shelf_orgs(&self, after: u128, limit: u32) -> Result<ShelfPage, StoreError>;
}

/// Changes on their way to the copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShelfChanges {
    /// What [`ShelfSource::shelf_done`] is told.
    pub changes: Vec<i64>,
    pub rows: Vec<ShelfRow>,
}

/// A page of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShelfPage {
    pub rows: Vec<ShelfRow>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<u128>,
}

/// What is to become of a blocked key in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockAct {
    Disable,
    Delete,
}

impl BlockAct {
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Disable => "d",
            Self::Delete => "x",
        }
    }

    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        [Self::Disable, Self::Delete].into_iter().find(|act| act.code() == code)
    }
}

/// A key that no gateway serves, whatever a store, a copy or a memory says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub org: OrgId,
    /// The key's public handle.
    pub hash: String,
    pub act: BlockAct,
    pub at: Moment,
}

/// The list of blocked keys as it was read.
#[derive(Debug, Clone, Default)]
pub struct BlockList {
    /// Names this state of the list; another state has another mark.
    pub mark: String,
    acts: HashMap<String, Vec<(OrgId, BlockAct)>>,
}

impl BlockList {
    #[must_use]
    pub fn new(mark: String, blocks: &[Block]) -> Self {
        let mut acts: HashMap<String, Vec<(OrgId, BlockAct)>> = HashMap::new();
        for block in blocks {
            acts.entry(block.hash.clone()).or_default().push((block.org, block.act));
        }
        Self { mark, acts }
    }

    /// What the list says of a key. Only the key's own organization can block it.
    #[must_use]
    pub fn act(&self, record: &KeyRecord) -> Option<BlockAct> {
        if self.acts.is_empty() {
            return None;
        }
        let acts = self.acts.get(&record.hash)?;
        acts.iter().find(|(org, _)| *org == record.org).map(|(_, act)| *act)
    }
}

/// The list of blocked keys, beside the credit engine: read by every gateway several times a second, so that a
/// block is everywhere within a second, also while the store of keys is away.
#[async_trait]
pub trait KeyBlocks: Send + Sync {
    /// Blocks a key.
    ///
    /// # Errors
    /// `Unavailable` also when the list is full.
    async fn block(&self, block: &Block) -> Result<(), StoreError>;

    /// Takes a key off the list; none is fine too.
    async fn unblock(&self, org: OrgId, hash: &str) -> Result<(), StoreError>;

    /// The list, or `None` while it is still the one of this mark.
    async fn news(&self, mark: &str) -> Result<Option<BlockList>, StoreError>;

    /// Everything on the list, for carrying it into the store.
    async fn blocks(&self) -> Result<Vec<Block>, StoreError>;
}

/// Why a change of a key failed although the key is blocked: the store did not answer. The change is carried
/// out when it does.
#[derive(Debug, thiserror::Error)]
#[error("the key is blocked, its change waits for the store: {0}")]
pub struct BlockedMeanwhile(#[source] pub StoreError);

/// What stands for a key that was deleted.
const DELETED: &str = "-";

/// The text of a key; of a deleted one with `None`.
pub fn shelve_key(record: Option<&KeyRecord>) -> Result<String, StoreError> {
    match record {
        None => Ok(DELETED.to_owned()),
        Some(record) => serde_json::to_string(record).map_err(|_unfit| corrupt("key", "cannot be written")),
    }
}

/// A key from its text; `None` when it was deleted.
pub fn unshelve_key(text: &str) -> Result<Option<KeyRecord>, StoreError> {
    if text == DELETED {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(|_unfit| corrupt("key", "cannot be read"))
}

#[derive(Serialize, Deserialize)]
struct SealedText {
    id: ProviderKeyId,
    provider: String,
    name: String,
    hint: String,
    fallback: bool,
    created_at: Moment,
    sealed: String,
}

/// The text of an organization's enabled provider keys. What is sealed stays sealed.
pub fn shelve_sealed(keys: &[(ProviderKey, Vec<u8>)]) -> Result<String, StoreError> {
    let texts: Vec<SealedText> = keys
        .iter()
        .map(|(key, sealed)| SealedText {
            id: key.id,
            provider: key.provider.clone(),
            name: key.name.clone(),
            hint: key.hint.clone(),
            fallback: key.fallback,
            created_at: key.created_at,
            sealed: STANDARD.encode(sealed),
        })
        .collect();
    serde_json::to_string(&texts).map_err(|_unfit| corrupt("provider keys", "cannot be written"))
}

/// An organization's enabled provider keys from their text.
pub fn unshelve_sealed(text: &str) -> Result<Vec<(ProviderKey, Vec<u8>)>, StoreError> {
    let unfit = || corrupt("provider keys", "cannot be read");
    let texts: Vec<SealedText> = serde_json::from_str(text).map_err(|_unfit| unfit())?;
    let read = |text: SealedText| {
        let key = ProviderKey {
            id: text.id,
            provider: text.provider,
            name: text.name,
            hint: text.hint,
            disabled: false,
            fallback: text.fallback,
            created_at: text.created_at,
        };
        STANDARD.decode(text.sealed).map(|sealed| (key, sealed)).map_err(|_unfit| unfit())
    };
    texts.into_iter().map(read).collect()
}

/// Says nothing of the text: it may hold more than a log should.
fn corrupt(what: &str, why: &str) -> StoreError {
    StoreError::corrupt(format!("shelf: a text of {what} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyKind;
    use crate::api_key::LimitReset;
    use kernel::AccountRef;
    use kernel::clock::{Clock as _, FixedClock};
    use kernel::ids::{AccountId, KeyId, MemberId, WorkspaceId};
    use kernel::rng::SeededEntropy;

    fn record() -> KeyRecord {
        let (clock, rng) = (FixedClock::at(Moment::UNIX_EPOCH), SeededEntropy::new(5));
        KeyRecord {
            id: KeyId::new(&clock, &rng),
            hash: "ab".repeat(32),
            kind: KeyKind::Model,
            org: OrgId::new(&clock, &rng),
            account: AccountRef { account: AccountId::new(&clock, &rng), shard: 7 },
            workspace: WorkspaceId::new(&clock, &rng),
            creator: MemberId::new(&clock, &rng),
            name: "a \"name\"".to_owned(),
            label: "sk-fb-v1-abc...xyz".to_owned(),
            limit: Some(kernel::NanoUsd::new(5)),
            limit_reset: LimitReset::Weekly,
            include_byok_in_limit: false,
            disabled: false,
            expires_at: None,
            created_at: clock.now(),
            updated_at: Some(clock.now()),
            caps: vec!["o:org_1".to_owned()],
        }
    }

    #[test]
    fn keys_and_provider_keys_survive_the_trip_through_their_texts() {
        let record = record();
        assert_eq!(unshelve_key(&shelve_key(Some(&record)).unwrap()).unwrap(), Some(record.clone()));
        assert_eq!(unshelve_key(&shelve_key(None).unwrap()).unwrap(), None);
        assert!(unshelve_key("{").is_err());
        let (clock, rng) = (FixedClock::at(Moment::UNIX_EPOCH), SeededEntropy::new(6));
        let key = ProviderKey {
            id: ProviderKeyId::new(&clock, &rng),
            provider: "acme".to_owned(),
            name: "mine".to_owned(),
            hint: "cret".to_owned(),
            disabled: false,
            fallback: true,
            created_at: clock.now(),
        };
        let keys = vec![(key, vec![0, 255, 7])];
        assert_eq!(unshelve_sealed(&shelve_sealed(&keys).unwrap()).unwrap(), keys);
        assert!(unshelve_sealed("[]").unwrap().is_empty());
    }

    #[test]
    fn only_its_own_organization_blocks_a_key() {
        let record = record();
        let (clock, rng) = (FixedClock::at(Moment::UNIX_EPOCH), SeededEntropy::new(9));
        let block = |org, act| Block { org, hash: record.hash.clone(), act, at: clock.now() };
        let foreign = block(OrgId::new(&clock, &rng), BlockAct::Delete);
        let list = BlockList::new("1".to_owned(), std::slice::from_ref(&foreign));
        assert_eq!(list.act(&record), None);
        let list = BlockList::new("2".to_owned(), &[foreign, block(record.org, BlockAct::Disable)]);
        assert_eq!(list.act(&record), Some(BlockAct::Disable));
    }
}
