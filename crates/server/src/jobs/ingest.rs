//! Ingest: closed holds leave Redis for the ledger, in order, by the one process that has the lease.

use crate::wiring::House;
use billing::engine::{Outbox as _, OutboxEntry};
use billing::ledger::IngestLedger as _;
use kernel::{StoreError, crash};
use parking_lot::Mutex;
use prometheus::{IntCounter, Registry};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Entries of all shards in one transaction.
const BATCH: u32 = 100;
/// How long the lease lasts without renewal; renewed with every round.
const LEASE_SECONDS: u32 = 10;
/// Rounds without entries pause, others follow at once.
pub(crate) const PAUSE: Duration = Duration::from_millis(40);

/// Between two renewals of the lease: the token is checked in every transaction anyway.
const RENEW_AFTER: Duration = Duration::from_secs(2);

/// The lease with what was read under it.
struct Held {
    token: i64,
    renewed: Duration,
    /// Shard to the stream id up to which it is booked.
    cursors: BTreeMap<u8, String>,
}

/// The writer of this process.
#[derive(Clone)]
pub(crate) struct Ingest {
    owner: String,
    held: Arc<Mutex<Option<Held>>>,
    divergences: IntCounter,
    entries: IntCounter,
}

impl Ingest {
    pub(crate) fn new(owner: String, registry: &Registry) -> anyhow::Result<Self> {
        let divergences =
            IntCounter::new("farebox_ledger_divergence_total", "Balances that differed after booking")?;
        let entries = IntCounter::new("farebox_ingested_total", "Entries booked")?;
        registry.register(Box::new(divergences.clone()))?;
        registry.register(Box::new(entries.clone()))?;
        Ok(Self { owner, held: Arc::default(), divergences, entries })
    }

    /// Books what there is, batch after batch.
    pub(crate) async fn round(&self, house: &House) {
        loop {
            match self.batch(house).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "ingest failed; it is tried again");
                    return;
                }
            }
        }
    }

    /// Whether this process is the writer now (it takes a free lease).
    pub(crate) async fn has_lease(&self, house: &House) -> Result<bool, StoreError> {
        Ok(self.renew(house).await?.is_some())
    }

    /// Gives the lease back, so that the next process need not wait until it runs out.
    pub(crate) async fn resign(&self, house: &House) {
        if self.held.lock().take().is_some()
            && let Err(error) = house.store.lease(&self.owner, 0).await
        {
            tracing::warn!(%error, "the writer's lease runs out by itself");
        }
    }

    /// Takes or renews the lease and reads the cursors under it.
    async fn renew(&self, house: &House) -> Result<Option<i64>, StoreError> {
        let renewed = house.clock.monotonic();
        let Some(token) = house.store.lease(&self.owner, LEASE_SECONDS).await? else {
            self.forget();
            return Ok(None);
        };
        let cursors = house.store.cursors().await?.into_iter().collect();
        *self.held.lock() = Some(Held { token, renewed, cursors });
        Ok(Some(token))
    }

    fn forget(&self) {
        *self.held.lock() = None;
    }

    /// The lease's token while it is fresh.
    fn fresh(&self, now: Duration) -> Option<i64> {
        let held = self.held.lock();
        held.as_ref().filter(|held| now.saturating_sub(held.renewed) < RENEW_AFTER).map(|held| held.token)
    }

    fn cursors(&self) -> Vec<(u8, String)> {
        let held = self.held.lock();
        held.iter().flat_map(|held| held.cursors.iter().map(|(shard, id)| (*shard, id.clone()))).collect()
    }

    fn advance(&self, entries: &[OutboxEntry]) {
        if let Some(held) = self.held.lock().as_mut() {
            for entry in entries {
                held.cursors.insert(entry.shard, entry.id.clone());
            }
        }
    }

    /// An epoch began: its cursors start anew.
    pub(crate) async fn restart(&self, house: &House) -> Result<(), StoreError> {
        self.renew(house).await.map(|_token| ())
    }

    /// Books until nothing is left, and gives each shard's last entry. Nothing is trimmed: a Redis whose epochs
    /// are not open yet refuses to, and [`trim_drained`] does it once they are.
    pub(crate) async fn drain(&self, house: &House) -> Result<BTreeMap<u8, String>, StoreError> {
        let mut last = BTreeMap::new();
        while let Some(entries) = self.book(house).await? {
            last.extend(entries.into_iter().map(|entry| (entry.shard, entry.id)));
        }
        Ok(last)
    }

    /// One batch; whether there may be more.
    async fn batch(&self, house: &House) -> Result<bool, StoreError> {
        let Some(entries) = self.book(house).await? else { return Ok(false) };
        trim(house, &entries).await?;
        crash::point("ingest.trimmed");
        Ok(true)
    }

    /// Books one batch and gives it; `None` when there is nothing to book, or another writer does it.
    async fn book(&self, house: &House) -> Result<Option<Vec<OutboxEntry>>, StoreError> {
        let lease = match self.fresh(house.clock.monotonic()) {
            Some(token) => token,
            None => match self.renew(house).await? {
                Some(token) => token,
                None => return Ok(None),
            },
        };
        let entries = house.engine.read(&self.cursors(), BATCH).await?;
        if entries.is_empty() {
            return Ok(None);
        }
        crash::point("ingest.read");
        let done = house.store.ingest(lease, &entries).await.inspect_err(|_unknown| self.forget())?;
        if done.lost_lease {
            self.forget();
            return Ok(None);
        }
        crash::point("ingest.committed");
        self.advance(&entries);
        self.entries.inc_by(u64::try_from(entries.len()).unwrap_or(u64::MAX));
        if done.divergences > 0 {
            tracing::error!(divergences = done.divergences, "balances of ledger and engine differ");
            self.divergences.inc_by(done.divergences);
        }
        Ok(Some(entries))
    }
}

/// Forgets what the ledger has committed.
async fn trim(house: &House, entries: &[OutboxEntry]) -> Result<(), StoreError> {
    let last: BTreeMap<u8, (i64, &str)> =
        entries.iter().map(|entry| (entry.shard, (entry.epoch, entry.id.as_str()))).collect();
    for (shard, (epoch, id)) in last {
        house.engine.trim(shard, epoch, id).await?;
    }
    Ok(())
}

/// Forgets what was drained before these epochs were opened.
pub(crate) async fn trim_drained(
    house: &House,
    drained: &BTreeMap<u8, String>,
    opened: &[(u8, i64)],
) -> Result<(), StoreError> {
    for (shard, epoch) in opened {
        if let Some(id) = drained.get(shard) {
            house.engine.trim(*shard, *epoch, id).await?;
        }
    }
    Ok(())
}
