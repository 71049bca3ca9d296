//! API keys kept in process for a short while. Revocation evicts them within a second; a key that nobody
//! knows is looked up once at a time and its absence remembered briefly, so that a flood of bad keys is
//! not a flood of queries.

use accounts::ports::KeyDirectory;
use accounts::{KeyDigest, KeyRecord};
use async_trait::async_trait;
use kernel::{Clock, StoreError, StoreErrorKind};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long an answer is good. While notices of revocation do not arrive, answers live only `deaf`.
const FRESH: Duration = Duration::from_secs(15);
const DEAF: Duration = Duration::from_millis(800);
/// How long a known key works while the store does not answer.
const OUTAGE: Duration = Duration::from_secs(15 * 60);
/// How long a known key waits for the store, and how long the store is left alone when it did not answer.
const KNOWN_PATIENCE: Duration = Duration::from_millis(300);
const QUIET: Duration = Duration::from_secs(1);
const ABSENT: Duration = Duration::from_secs(5);
/// Look-ups in flight at once.
const LOOKUPS: usize = 64;
/// Entries kept; beyond that the cache starts anew.
const ENTRIES: usize = 200_000;

#[derive(Clone)]
struct Entry {
    record: Option<Arc<KeyRecord>>,
    at: Duration,
}

/// A [`KeyDirectory`] that remembers the answers of another.
pub struct KeyCache {
    source: Arc<dyn KeyDirectory>,
    clock: Arc<dyn Clock>,
    entries: RwLock<HashMap<[u8; 32], Entry>>,
    lookups: Semaphore,
    /// Counts evictions: an answer that was asked for before one is not kept.
    generation: AtomicU64,
    listening: AtomicBool,
    /// The store did not answer lately: known keys are not asked for until then.
    quiet_until: RwLock<Duration>,
}

impl KeyCache {
    #[must_use]
    pub fn new(source: Arc<dyn KeyDirectory>, clock: Arc<dyn Clock>) -> Self {
        Self {
            source,
            clock,
            entries: RwLock::default(),
            lookups: Semaphore::new(LOOKUPS),
            generation: AtomicU64::new(0),
            listening: AtomicBool::new(false),
            quiet_until: RwLock::new(Duration::ZERO),
        }
    }

    /// A key changed somewhere: forget what is known of it.
    pub fn evict(&self, digest: &[u8; 32]) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.entries.write().remove(digest);
    }

    /// Notices may have been missed: forget everything.
    pub fn clear(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.entries.write().clear();
    }

    /// Whether notices of revocation arrive. Without them nothing is trusted for longer than 0.8 seconds.
    pub fn set_listening(&self, listening: bool) {
        self.listening.store(listening, Ordering::SeqCst);
    }

    fn remembered(&self, digest: &KeyDigest) -> Option<Option<Arc<KeyRecord>>> {
        let entry = self.entries.read().get(&digest.bytes).cloned()?;
        let age = self.clock.monotonic().saturating_sub(entry.at);
        let longest = if entry.record.is_none() { ABSENT } else { FRESH };
        let limit = if self.listening.load(Ordering::SeqCst) { longest } else { longest.min(DEAF) };
        (age < limit).then_some(entry.record)
    }

    fn quiet(&self, record: Arc<KeyRecord>) -> Arc<KeyRecord> {
        *self.quiet_until.write() = self.clock.monotonic() + QUIET;
        record
    }

    fn last_known(&self, digest: &KeyDigest) -> Option<Arc<KeyRecord>> {
        let entry = self.entries.read().get(&digest.bytes).cloned()?;
        let age = self.clock.monotonic().saturating_sub(entry.at);
        entry.record.filter(|_| age < OUTAGE)
    }

    fn remember(&self, digest: &KeyDigest, asked: (u64, Duration), record: Option<Arc<KeyRecord>>) {
        let mut entries = self.entries.write();
        if self.generation.load(Ordering::SeqCst) != asked.0 {
            return;
        }
        if entries.len() >= ENTRIES {
            entries.clear();
        }
        entries.insert(digest.bytes, Entry { record, at: asked.1 });
    }
}

#[async_trait]
impl KeyDirectory for KeyCache {
    async fn find(&self, digest: &KeyDigest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        if let Some(known) = self.remembered(digest) {
            return Ok(known);
        }
        let known = self.last_known(digest);
        if let Some(record) = known.as_ref().filter(|_| self.clock.monotonic() < *self.quiet_until.read()) {
            return Ok(Some(Arc::clone(record)));
        }
        let permit = self.lookups.acquire().await;
        let _permit = permit.map_err(|closed| StoreError::unavailable("key look-ups are closed", closed))?;
        // Whoever waited here may find the answer of the one before.
        if let Some(known) = self.remembered(digest) {
            return Ok(known);
        }
        // The age counts from before the question: a revocation after it must not be outlived.
        let asked = (self.generation.load(Ordering::SeqCst), self.clock.monotonic());
        let asking = self.source.find(digest);
        let answer = match known {
            None => asking.await,
            // Without the store nothing can have been revoked: what was known of a key goes on for a while, and
            // the store is left alone for a moment.
            Some(record) => match tokio::time::timeout(KNOWN_PATIENCE, asking).await {
                Ok(Err(error)) if error.kind == StoreErrorKind::Unavailable => {
                    return Ok(Some(self.quiet(record)));
                }
                Err(_elapsed) => return Ok(Some(self.quiet(record))),
                Ok(answer) => answer,
            },
        };
        let record = answer?;
        self.remember(digest, asked, record.clone());
        Ok(record)
    }
}
