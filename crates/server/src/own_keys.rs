//! The customers' sealed provider keys, remembered for a second: most organizations have none, and every
//! request asks.
//!
//! A change reaches every process when the second is over; no notice is needed. While the store does not answer,
//! the last answer holds for a while, and an organization that this process does not know is read from the copy.

use accounts::ports::{NewProviderKey, ProviderKey, ProviderKeys};
use accounts::shelf::{Shelf, ShelfName, unshelve_sealed};
use async_trait::async_trait;
use gateway::lookups::Lookups;
use kernel::ids::{OrgId, ProviderKeyId};
use kernel::{Clock, StoreError, StoreErrorKind};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const FRESH: Duration = Duration::from_millis(900);
/// How long the last answer holds while the store does not answer.
const OUTAGE: Duration = Duration::from_secs(15 * 60);
const KNOWN_PATIENCE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_secs(1);
const ENTRIES: usize = 100_000;

type Sealed = Vec<(ProviderKey, Vec<u8>)>;

/// A [`ProviderKeys`] that remembers the sealed keys of another.
pub(crate) struct OwnKeyCache {
    source: Arc<dyn ProviderKeys>,
    shelf: Arc<dyn Shelf>,
    lookups: Lookups,
    clock: Arc<dyn Clock>,
    entries: RwLock<HashMap<OrgId, (Duration, Sealed)>>,
    /// The store did not answer lately: it is not asked until then.
    quiet_until: RwLock<Duration>,
}

impl OwnKeyCache {
    pub(crate) fn new(
        source: Arc<dyn ProviderKeys>,
        shelf: Arc<dyn Shelf>,
        lookups: Lookups,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let quiet_until = RwLock::new(Duration::ZERO);
        Self { source, shelf, lookups, clock, entries: RwLock::default(), quiet_until }
    }

    /// The last answer, if it is not older than this.
    fn known(&self, org: OrgId, oldest: Duration) -> Option<Sealed> {
        let entries = self.entries.read();
        let (at, sealed) = entries.get(&org)?;
        (self.clock.monotonic().saturating_sub(*at) < oldest).then(|| sealed.clone())
    }

    fn remember(&self, org: OrgId, asked: Duration, sealed: &Sealed) {
        let mut entries = self.entries.write();
        if entries.len() >= ENTRIES {
            let leaving: Vec<OrgId> = entries.keys().take(ENTRIES / 16).copied().collect();
            for org in leaving {
                entries.remove(&org);
            }
        }
        entries.insert(org, (asked, sealed.clone()));
    }

    /// Without the store nothing can have changed: the last answer holds for a while, and the copy has the others.
    async fn without_store(
        &self,
        org: OrgId,
        known: Option<Sealed>,
        asked: Duration,
    ) -> Result<Option<Sealed>, StoreError> {
        if known.is_some() {
            return Ok(known);
        }
        let shelved = self.shelf.get(&ShelfName::Org(org)).await?;
        if !shelved.whole {
            return Ok(None);
        }
        // A whole copy has every organization that ever had a key.
        let sealed = shelved.text.map_or(Ok(Sealed::new()), |text| unshelve_sealed(&text))?;
        self.remember(org, asked, &sealed);
        Ok(Some(sealed))
    }
}

#[async_trait]
impl ProviderKeys for OwnKeyCache {
    async fn add_provider_key(&self, key: &NewProviderKey) -> Result<ProviderKeyId, StoreError> {
        self.source.add_provider_key(key).await
    }

    async fn provider_keys(&self, org: OrgId) -> Result<Vec<ProviderKey>, StoreError> {
        self.source.provider_keys(org).await
    }

    async fn delete_provider_key(&self, org: OrgId, id: ProviderKeyId) -> Result<bool, StoreError> {
        self.source.delete_provider_key(org, id).await
    }

    async fn sealed_keys(&self, org: OrgId) -> Result<Sealed, StoreError> {
        if let Some(sealed) = self.known(org, FRESH) {
            return Ok(sealed);
        }
        let asked = self.clock.monotonic();
        let known = self.known(org, OUTAGE);
        if asked < *self.quiet_until.read()
            && let Some(sealed) = self.without_store(org, known.clone(), asked).await?
        {
            return Ok(sealed);
        }
        let patience = if known.is_some() { KNOWN_PATIENCE } else { PATIENCE };
        match self.lookups.ask(patience, self.source.sealed_keys(org)).await {
            Ok(sealed) => {
                self.remember(org, asked, &sealed);
                Ok(sealed)
            }
            Err(error) if error.kind == StoreErrorKind::Unavailable => {
                *self.quiet_until.write() = self.clock.monotonic() + QUIET;
                self.without_store(org, known, asked).await?.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use accounts::shelf::{ShelfRow, Shelved, shelve_sealed};
    use kernel::Moment;
    use kernel::clock::FixedClock;
    use kernel::rng::SeededEntropy;
    use parking_lot::Mutex;

    /// A store that answers, refuses or is silent, and counts what it is asked.
    #[derive(Default)]
    struct Store {
        mood: Mutex<Mood>,
        asked: Mutex<u32>,
    }

    #[derive(Default, Clone, Copy)]
    enum Mood {
        #[default]
        Answers,
        Refuses,
        Silent,
    }

    #[async_trait]
    impl ProviderKeys for Store {
        async fn add_provider_key(&self, _key: &NewProviderKey) -> Result<ProviderKeyId, StoreError> {
            panic!("not asked for")
        }

        async fn provider_keys(&self, _org: OrgId) -> Result<Vec<ProviderKey>, StoreError> {
            panic!("not asked for")
        }

        async fn delete_provider_key(&self, _org: OrgId, _id: ProviderKeyId) -> Result<bool, StoreError> {
            panic!("not asked for")
        }

        async fn sealed_keys(&self, _org: OrgId) -> Result<Sealed, StoreError> {
            *self.asked.lock() += 1;
            let mood = *self.mood.lock();
            match mood {
                Mood::Answers => Ok(sealed()),
                Mood::Refuses => Err(StoreError::unavailable("away", std::fmt::Error)),
                Mood::Silent => std::future::pending().await,
            }
        }
    }

    #[derive(Default)]
    struct Copy(Mutex<Option<Shelved>>);

    #[async_trait]
    impl Shelf for Copy {
        async fn get(&self, _name: &ShelfName) -> Result<Shelved, StoreError> {
            Ok(self.0.lock().clone().unwrap_or(Shelved { whole: false, text: None }))
        }

        async fn put(&self, _rows: &[ShelfRow]) -> Result<(), StoreError> {
            panic!("not asked for")
        }

        async fn is_whole(&self) -> Result<bool, StoreError> {
            panic!("not asked for")
        }

        async fn set_whole(&self, _life: &str) -> Result<(), StoreError> {
            panic!("not asked for")
        }

        fn life(&self) -> Result<String, StoreError> {
            panic!("not asked for")
        }
    }

    fn sealed() -> Sealed {
        let (clock, rng) = (FixedClock::at(Moment::UNIX_EPOCH), SeededEntropy::new(3));
        let key = ProviderKey {
            id: ProviderKeyId::new(&clock, &rng),
            provider: "acme".to_owned(),
            name: "mine".to_owned(),
            hint: "cret".to_owned(),
            disabled: false,
            fallback: false,
            created_at: Moment::UNIX_EPOCH,
        };
        vec![(key, vec![7; 40])]
    }

    struct Bed {
        cache: OwnKeyCache,
        store: Arc<Store>,
        copy: Arc<Copy>,
        clock: Arc<FixedClock>,
        org: OrgId,
    }

    fn bed() -> Bed {
        let (store, copy) = (Arc::new(Store::default()), Arc::new(Copy::default()));
        let clock = Arc::new(FixedClock::at(Moment::UNIX_EPOCH));
        let lookups = Lookups::register(&prometheus::Registry::new()).unwrap();
        let cache = OwnKeyCache::new(store.clone(), copy.clone(), lookups, clock.clone());
        let org = OrgId::new(clock.as_ref(), &SeededEntropy::new(1));
        Bed { cache, store, copy, clock, org }
    }

    #[tokio::test]
    async fn a_known_organization_waits_a_third_of_a_second_for_a_silent_store_and_then_goes_on() {
        let bed = bed();
        assert_eq!(bed.cache.sealed_keys(bed.org).await.unwrap(), sealed());
        for mood in [Mood::Silent, Mood::Refuses] {
            *bed.store.mood.lock() = mood;
            bed.clock.advance(Duration::from_secs(60));
            let before = tokio::time::Instant::now();
            assert_eq!(bed.cache.sealed_keys(bed.org).await.unwrap(), sealed());
            assert!(before.elapsed() < PATIENCE, "{:?}", before.elapsed());
            // The store is left alone for a second.
            let asked = *bed.store.asked.lock();
            assert_eq!(bed.cache.sealed_keys(bed.org).await.unwrap(), sealed());
            assert_eq!(*bed.store.asked.lock(), asked);
        }
        bed.clock.advance(OUTAGE);
        assert!(bed.cache.sealed_keys(bed.org).await.is_err(), "too old to go on, and no copy is whole");
    }

    #[tokio::test]
    async fn without_the_store_an_unknown_organization_is_read_from_a_whole_copy_only() {
        let bed = bed();
        *bed.store.mood.lock() = Mood::Refuses;
        let text = shelve_sealed(&sealed()).unwrap();
        *bed.copy.0.lock() = Some(Shelved { whole: false, text: Some(text.clone()) });
        assert!(bed.cache.sealed_keys(bed.org).await.is_err());
        *bed.copy.0.lock() = Some(Shelved { whole: true, text: Some(text) });
        assert_eq!(bed.cache.sealed_keys(bed.org).await.unwrap(), sealed());
        let other = OrgId::new(bed.clock.as_ref(), &SeededEntropy::new(2));
        *bed.copy.0.lock() = Some(Shelved { whole: true, text: None });
        assert!(bed.cache.sealed_keys(other).await.unwrap().is_empty());
    }
}
