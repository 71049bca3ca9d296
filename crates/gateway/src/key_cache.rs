//! API keys kept in process for a short while. A key that was blocked is refused within a second, whatever is
//! remembered of it; a key that nobody knows is looked up once at a time and its absence remembered briefly, so
//! that a flood of bad keys is not a flood of queries.
//!
//! While the store of keys does not answer, what is remembered goes on for a while, and what is not is read from
//! the copy beside the credit engine. Trouble is an error, never "no such key".

use crate::lookups::Lookups;
use accounts::ports::KeyDirectory;
use accounts::shelf::{BlockAct, BlockList, KeyBlocks, Shelf, ShelfName, unshelve_key};
use accounts::{KeyDigest, KeyRecord};
use async_trait::async_trait;
use kernel::{Clock, StoreError, StoreErrorKind};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// How long an answer is good. While notices or blocks do not arrive, answers live only `DEAF`.
const FRESH: Duration = Duration::from_secs(15);
const DEAF: Duration = Duration::from_millis(800);
/// How long the list of blocked keys counts as known after it was asked for.
const HEARD: Duration = Duration::from_millis(800);
/// How long a known key works while the store does not answer.
const OUTAGE: Duration = Duration::from_secs(15 * 60);
/// How long a known key waits for the store, how long an unknown one, and how long the store is left alone when
/// it did not answer.
const KNOWN_PATIENCE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_secs(1);
const ABSENT: Duration = Duration::from_secs(30);
/// Entries kept. Of known keys a sixteenth makes room; of absent ones all.
const ENTRIES: usize = 200_000;
const ABSENTS: usize = 50_000;
/// Keys that are looked up side by side; those that share a place wait for each other.
const PLACES: usize = 1024;

#[derive(Clone)]
struct Entry {
    record: Arc<KeyRecord>,
    at: Duration,
}

/// What was heard of blocked keys, and when it was asked for.
#[derive(Default)]
struct Heard {
    list: Arc<BlockList>,
    at: Option<Duration>,
}

/// Where a [`KeyCache`] asks.
#[derive(Clone)]
pub struct Sources {
    /// The store of keys.
    pub keys: Arc<dyn KeyDirectory>,
    /// Its copy, for when it does not answer.
    pub shelf: Arc<dyn Shelf>,
    pub blocks: Arc<dyn KeyBlocks>,
}

/// A [`KeyDirectory`] that remembers the answers of another.
pub struct KeyCache {
    sources: Sources,
    lookups: Lookups,
    clock: Arc<dyn Clock>,
    entries: RwLock<HashMap<[u8; 32], Entry>>,
    absent: RwLock<HashMap<[u8; 32], Duration>>,
    /// One question at a time for a key.
    places: Vec<Mutex<()>>,
    /// Counts evictions: an answer that was asked for before one is not kept.
    generation: AtomicU64,
    listening: AtomicBool,
    heard: RwLock<Heard>,
    /// What was answered before must be asked again, and goes on only while the store does not answer.
    doubted: RwLock<Duration>,
    /// The store did not answer lately: it is not asked until then.
    quiet_until: RwLock<Duration>,
}

impl KeyCache {
    #[must_use]
    pub fn new(sources: Sources, lookups: Lookups, clock: Arc<dyn Clock>) -> Self {
        Self {
            sources,
            lookups,
            clock,
            entries: RwLock::default(),
            absent: RwLock::default(),
            places: (0..PLACES).map(|_| Mutex::new(())).collect(),
            generation: AtomicU64::new(0),
            listening: AtomicBool::new(false),
            heard: RwLock::default(),
            doubted: RwLock::new(Duration::ZERO),
            quiet_until: RwLock::new(Duration::ZERO),
        }
    }

    /// A key changed somewhere: forget what is known of it.
    pub fn evict(&self, digest: &[u8; 32]) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.entries.write().remove(digest);
        self.absent.write().remove(digest);
    }

    /// Notices may have been missed: ask again for everything. What is known is kept for an outage, so that no
    /// event can make every key unknown at once.
    pub fn doubt(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        *self.doubted.write() = self.clock.monotonic();
        self.absent.write().clear();
    }

    /// Whether notices of changes arrive. Without them nothing is trusted for longer than 0.8 seconds.
    pub fn set_listening(&self, listening: bool) {
        self.listening.store(listening, Ordering::SeqCst);
    }

    /// Reads the list of blocked keys, where it changed. To be called several times a second.
    ///
    /// # Errors
    /// The list's store does not answer; what is remembered is then soon not trusted.
    pub async fn hear(&self) -> Result<(), StoreError> {
        let asked = self.clock.monotonic();
        let mark = self.heard.read().list.mark.clone();
        let news = self.sources.blocks.news(&mark).await?;
        let mut heard = self.heard.write();
        // An answer that was overtaken by a later question says nothing new.
        if heard.at.is_none_or(|at| at <= asked) {
            heard.at = Some(asked);
            if let Some(list) = news {
                heard.list = Arc::new(list);
            }
        }
        Ok(())
    }

    fn hears(&self) -> bool {
        let heard = self.heard.read().at;
        heard.is_some_and(|at| self.clock.monotonic().saturating_sub(at) < HEARD)
    }

    /// What a remembered or fresh record is worth once blocks are looked at.
    fn unblocked(&self, record: Option<Arc<KeyRecord>>) -> Option<Arc<KeyRecord>> {
        let record = record?;
        let list = Arc::clone(&self.heard.read().list);
        match list.act(&record) {
            None => Some(record),
            Some(BlockAct::Delete) => None,
            Some(BlockAct::Disable) => {
                Some(Arc::new(KeyRecord { disabled: true, ..KeyRecord::clone(&record) }))
            }
        }
    }

    fn remembered(&self, digest: &KeyDigest) -> Option<Option<Arc<KeyRecord>>> {
        let now = self.clock.monotonic();
        let (hears, doubted) = (self.listening.load(Ordering::SeqCst) && self.hears(), *self.doubted.read());
        let good = |at: Duration, longest: Duration| {
            let longest = if hears { longest } else { longest.min(DEAF) };
            at >= doubted && now.saturating_sub(at) < longest
        };
        if let Some(entry) = self.entries.read().get(&digest.bytes) {
            return good(entry.at, FRESH).then(|| Some(Arc::clone(&entry.record)));
        }
        let absent = self.absent.read().get(&digest.bytes).copied()?;
        good(absent, ABSENT).then_some(None)
    }

    fn last_known(&self, digest: &KeyDigest) -> Option<Arc<KeyRecord>> {
        let entries = self.entries.read();
        let entry = entries.get(&digest.bytes)?;
        let age = self.clock.monotonic().saturating_sub(entry.at);
        (age < OUTAGE).then(|| Arc::clone(&entry.record))
    }

    fn remember(&self, digest: &KeyDigest, asked: (u64, Duration), record: Option<&Arc<KeyRecord>>) {
        let (generation, at) = asked;
        let mut entries = self.entries.write();
        if self.generation.load(Ordering::SeqCst) != generation {
            return;
        }
        let Some(record) = record else {
            entries.remove(&digest.bytes);
            let mut absent = self.absent.write();
            if absent.len() >= ABSENTS {
                absent.clear();
            }
            absent.insert(digest.bytes, at);
            return;
        };
        if entries.len() >= ENTRIES {
            let leaving: Vec<[u8; 32]> = entries.keys().take(ENTRIES / 16).copied().collect();
            for digest in leaving {
                entries.remove(&digest);
            }
        }
        entries.insert(digest.bytes, Entry { record: Arc::clone(record), at });
    }

    fn place(&self, digest: &KeyDigest) -> Option<&Mutex<()>> {
        let [high, low, ..] = digest.bytes;
        self.places.get(usize::from(u16::from_be_bytes([high, low])) % PLACES)
    }

    /// Asks the store; where that does not answer, what else is known.
    async fn ask(&self, digest: &KeyDigest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        let _turn = match self.place(digest) {
            Some(place) => Some(place.lock().await),
            None => None,
        };
        // Whoever waited here may find the answer of the one before.
        if let Some(known) = self.remembered(digest) {
            return Ok(known);
        }
        // The age counts from before the question: a revocation after it must not be outlived.
        let asked = (self.generation.load(Ordering::SeqCst), self.clock.monotonic());
        let known = self.last_known(digest);
        if asked.1 < *self.quiet_until.read() {
            return self.without_store(digest, known, asked).await;
        }
        let patience = if known.is_some() { KNOWN_PATIENCE } else { PATIENCE };
        match self.lookups.ask(patience, self.sources.keys.find(digest)).await {
            Ok(record) => {
                self.remember(digest, asked, record.as_ref());
                Ok(record)
            }
            Err(fault) if fault.kind == StoreErrorKind::Unavailable => {
                *self.quiet_until.write() = self.clock.monotonic() + QUIET;
                // What the log should say is why the store did not answer, whatever its copy lacks.
                self.without_store(digest, known, asked).await.map_err(|_lacking| fault)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Without the store a key can still be blocked, so the list of blocks must be known; then what was known of
    /// a key goes on for a while, and the copy knows the others.
    async fn without_store(
        &self,
        digest: &KeyDigest,
        known: Option<Arc<KeyRecord>>,
        asked: (u64, Duration),
    ) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        if !self.hears() {
            self.hear().await?;
        }
        if known.is_some() {
            return Ok(known);
        }
        let shelved = self.sources.shelf.get(&ShelfName::Key(digest.bytes)).await?;
        let Some(text) = shelved.text.filter(|_| shelved.whole) else {
            return Err(StoreError::unavailable("a key is not on the shelf", NotShelved));
        };
        let record = unshelve_key(&text)?.map(Arc::new);
        self.remember(digest, asked, record.as_ref());
        Ok(record)
    }
}

/// The copy does not have the key; it may be too new.
#[derive(Debug)]
struct NotShelved;

impl std::fmt::Display for NotShelved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the copy of keys does not have it")
    }
}

impl std::error::Error for NotShelved {}

#[async_trait]
impl KeyDirectory for KeyCache {
    async fn find(&self, digest: &KeyDigest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        let found = match self.remembered(digest) {
            Some(known) => known,
            None => self.ask(digest).await?,
        };
        Ok(self.unblocked(found))
    }
}

#[cfg(test)]
mod tests;
