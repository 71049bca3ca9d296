//! The customers' sealed provider keys, remembered for a second: most organizations have none, and every
//! request asks.
//!
//! A change reaches every process when the second is over; no notice is needed.

use accounts::ports::{NewProviderKey, ProviderKey, ProviderKeys};
use async_trait::async_trait;
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
const QUIET: Duration = Duration::from_secs(1);
const ENTRIES: usize = 100_000;

type Sealed = Vec<(ProviderKey, Vec<u8>)>;

/// A [`ProviderKeys`] that remembers the sealed keys of another.
pub(crate) struct OwnKeyCache {
    source: Arc<dyn ProviderKeys>,
    clock: Arc<dyn Clock>,
    entries: RwLock<HashMap<OrgId, (Duration, Sealed)>>,
    /// The store did not answer lately: known organizations are not asked for until then.
    quiet_until: RwLock<Duration>,
}

impl OwnKeyCache {
    pub(crate) fn new(source: Arc<dyn ProviderKeys>, clock: Arc<dyn Clock>) -> Self {
        Self { source, clock, entries: RwLock::default(), quiet_until: RwLock::new(Duration::ZERO) }
    }

    fn remembered(&self, org: OrgId) -> Option<Sealed> {
        let entries = self.entries.read();
        let (at, sealed) = entries.get(&org)?;
        (self.clock.monotonic().saturating_sub(*at) < FRESH).then(|| sealed.clone())
    }

    fn last_known(&self, org: OrgId) -> Option<Sealed> {
        let entries = self.entries.read();
        let (at, sealed) = entries.get(&org)?;
        (self.clock.monotonic().saturating_sub(*at) < OUTAGE).then(|| sealed.clone())
    }

    fn remember(&self, org: OrgId, asked: Duration, sealed: Sealed) {
        let mut entries = self.entries.write();
        if entries.len() >= ENTRIES {
            entries.clear();
        }
        entries.insert(org, (asked, sealed));
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
        if let Some(sealed) = self.remembered(org) {
            return Ok(sealed);
        }
        let asked = self.clock.monotonic();
        let known = self.last_known(org);
        if let Some(sealed) = known.as_ref().filter(|_| asked < *self.quiet_until.read()) {
            return Ok(sealed.clone());
        }
        let patience = if known.is_some() { KNOWN_PATIENCE } else { Duration::MAX };
        let answer = match tokio::time::timeout(patience, self.source.sealed_keys(org)).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(StoreError::unavailable("the provider keys did not come in time", elapsed)),
        };
        match answer {
            Ok(sealed) => {
                self.remember(org, asked, sealed.clone());
                Ok(sealed)
            }
            // Without the store nothing can have changed: the last answer holds for a while.
            Err(error) if error.kind == StoreErrorKind::Unavailable => {
                *self.quiet_until.write() = asked + QUIET;
                known.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }
}
