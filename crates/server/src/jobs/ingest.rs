//! Ingest: closed holds leave Redis for the ledger, in order, by the one process that has the lease.

use crate::wiring::House;
use billing::engine::{Outbox as _, OutboxEntry};
use billing::ledger::{Cursor, IngestLedger as _};
use kernel::{StoreError, StoreErrorKind, crash};
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
    cursors: BTreeMap<u8, Cursor>,
    /// Redis keeps nothing up to the cursors. Not known of what a writer before this one has committed.
    trimmed: bool,
}

/// What one look at the outbox came to.
enum Booked {
    /// So many entries are in the ledger now; there may be more.
    Some(usize),
    Nothing,
    /// Another process writes, or the epochs moved: nothing was booked here.
    NotOurs,
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
            match self.book(house).await {
                Ok(Booked::Some(_)) => {}
                Ok(Booked::Nothing | Booked::NotOurs) => return,
                Err(error) if error.kind == StoreErrorKind::Moving => {
                    tracing::debug!(%error, "the outbox is not read from a Redis without an epoch");
                    return;
                }
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
        let cursors = house.store.cursors().await?;
        let cursors = cursors.into_iter().map(|cursor| (cursor.shard, cursor)).collect();
        let mut held = self.held.lock();
        let trimmed = held.as_ref().is_some_and(|before| before.token == token && before.trimmed);
        *held = Some(Held { token, renewed, cursors, trimmed });
        drop(held);
        Ok(Some(token))
    }

    fn forget(&self) {
        *self.held.lock() = None;
    }

    /// The lease's token and its cursors, while it is fresh.
    fn fresh(&self, now: Duration) -> Option<(i64, Vec<Cursor>)> {
        let held = self.held.lock();
        let held = held.as_ref().filter(|held| now.saturating_sub(held.renewed) < RENEW_AFTER)?;
        Some((held.token, held.cursors.values().cloned().collect()))
    }

    /// Moves the cursors, unless the lease or an epoch moved since they were read: an id of another life of Redis
    /// says nothing about this one.
    fn advance(&self, token: i64, entries: &[OutboxEntry]) {
        let mut held = self.held.lock();
        let Some(held) = held.as_mut().filter(|held| held.token == token) else { return };
        for entry in entries {
            if let Some(cursor) = held.cursors.get_mut(&entry.shard) {
                cursor.id.clone_from(&entry.id);
            }
        }
    }

    /// Renews the lease; `Conflict` when another process has it.
    pub(crate) async fn keep_lease(&self, house: &House) -> Result<(), StoreError> {
        match self.renew(house).await? {
            Some(_token) => Ok(()),
            None => Err(StoreError::conflict("another process has the writer's lease")),
        }
    }

    /// Books everything that a Redis whose shards were just sealed still has. `Conflict` when this process is not
    /// the writer, `Moving` when another Redis answers: nobody may take that for an empty outbox.
    pub(crate) async fn drain(&self, house: &House) -> Result<(), StoreError> {
        self.keep_lease(house).await?;
        loop {
            match self.book(house).await? {
                Booked::Some(count) => tracing::info!(count, "entries of an earlier epoch were booked"),
                Booked::Nothing => return Ok(()),
                Booked::NotOurs => {
                    return Err(StoreError::conflict("the shards were not drained by this process"));
                }
            }
        }
    }

    /// Forgets in Redis what is booked and was left there: its writer died between commit and trim, or Redis did
    /// not answer. It would count as waiting for the ledger.
    async fn trim_rest(&self, house: &House, token: i64, cursors: &[Cursor]) -> Result<(), StoreError> {
        if self.is_trimmed(token) {
            return Ok(());
        }
        for cursor in cursors.iter().filter(|cursor| cursor.id != "0-0") {
            house.engine.trim(cursor.shard, cursor.epoch, &cursor.id).await?;
        }
        self.set_trimmed(token, true);
        Ok(())
    }

    fn is_trimmed(&self, token: i64) -> bool {
        self.held.lock().as_ref().is_some_and(|held| held.token == token && held.trimmed)
    }

    fn set_trimmed(&self, token: i64, trimmed: bool) {
        if let Some(held) = self.held.lock().as_mut().filter(|held| held.token == token) {
            held.trimmed = trimmed;
        }
    }

    /// Books one batch and forgets it in Redis.
    async fn book(&self, house: &House) -> Result<Booked, StoreError> {
        let (token, cursors) = match self.fresh(house.clock.monotonic()) {
            Some(fresh) => fresh,
            None => match self.renew(house).await? {
                Some(_token) => match self.fresh(house.clock.monotonic()) {
                    Some(fresh) => fresh,
                    None => return Ok(Booked::NotOurs),
                },
                None => return Ok(Booked::NotOurs),
            },
        };
        let entries = read(house, &cursors).await?;
        if entries.is_empty() {
            self.trim_rest(house, token, &cursors).await?;
            return Ok(Booked::Nothing);
        }
        crash::point("ingest.read");
        let done = house.store.ingest(token, &entries).await.inspect_err(|_unknown| self.forget())?;
        if done.lost_lease {
            self.forget();
            return Ok(Booked::NotOurs);
        }
        crash::point("ingest.committed");
        self.advance(token, &entries);
        self.entries.inc_by(u64::try_from(entries.len()).unwrap_or(u64::MAX));
        if done.divergences > 0 {
            tracing::error!(divergences = done.divergences, "balances of ledger and engine differ");
            self.divergences.inc_by(done.divergences);
        }
        let rest = self.is_trimmed(token);
        self.set_trimmed(token, false);
        trim(house, &cursors, &entries).await?;
        self.set_trimmed(token, rest);
        crash::point("ingest.trimmed");
        Ok(Booked::Some(entries.len()))
    }
}

/// Reads after the cursors, each from the Redis process of its epoch and from no other: after a failover ids begin
/// anew, and an id of one process would hide entries of the next.
async fn read(house: &House, cursors: &[Cursor]) -> Result<Vec<OutboxEntry>, StoreError> {
    let mut nodes: BTreeMap<&str, Vec<(u8, String)>> = BTreeMap::new();
    for cursor in cursors {
        nodes.entry(&cursor.node).or_default().push((cursor.shard, cursor.id.clone()));
    }
    let mut entries = Vec::new();
    for (node, after) in nodes {
        entries.extend(house.engine.read_from(node, &after, BATCH).await?);
    }
    Ok(entries)
}

/// Forgets what the ledger has committed, on the process that it was read from.
async fn trim(house: &House, cursors: &[Cursor], entries: &[OutboxEntry]) -> Result<(), StoreError> {
    let last: BTreeMap<u8, &str> = entries.iter().map(|entry| (entry.shard, entry.id.as_str())).collect();
    for cursor in cursors {
        if let Some(id) = last.get(&cursor.shard) {
            house.engine.trim(cursor.shard, cursor.epoch, id).await?;
        }
    }
    Ok(())
}
