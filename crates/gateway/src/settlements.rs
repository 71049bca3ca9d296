//! Settlements on their way to the ledger. Each is written to the journal before the engine is asked, and kept
//! here until PostgreSQL has booked it for good: asked about every second, and settled again every ten.
//!
//! Decides no amount: it repeats what was packed once.

#[cfg(test)]
mod tests;

use crate::metrics::Metrics;
use async_trait::async_trait;
use billing::engine::{ClosedBy, EpochView, Grant, HoldKey, Settled, Settlement};
use billing::journal::replay::Unfinished;
use billing::ledger::Confirmations;
use billing::{AccountRef, Closing, Credits, Journal};
use futures_util::StreamExt as _;
use kernel::ids::GenerationId;
use kernel::{Clock, NanoUsd, StoreError, crash};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A settlement that the ledger does not have after so long is sent again.
const AGAIN: Duration = Duration::from_secs(10);
/// After an engine that did not answer, or was not ready.
const SOON: Duration = Duration::from_secs(1);
/// The ledger is not asked about what is younger: it is on its way.
const YOUNG: Duration = Duration::from_millis(300);
/// Generations in one question to the ledger.
const QUESTION: usize = 10_000;
/// Settlements sent again at once, and in one round.
const AT_ONCE: usize = 16;
const IN_ROUND: usize = 2_000;
/// Packed settlements in memory; beyond it nothing new may begin.
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// The engine with the ledger behind it, as settling needs them.
#[async_trait]
pub trait Till: Send + Sync {
    async fn settle(
        &self,
        hold: &HoldKey,
        account: AccountRef,
        settlement: &Settlement<'_>,
    ) -> Result<Settled, StoreError>;
    async fn release(&self, hold: &HoldKey, account: AccountRef) -> Result<Settled, StoreError>;
    /// Books a settlement in the ledger first; the engine learns the difference.
    async fn settle_late(&self, hold: &Grant, settlement: &Settlement<'_>) -> Result<(), StoreError>;
}

#[async_trait]
impl Till for Credits {
    async fn settle(
        &self,
        hold: &HoldKey,
        account: AccountRef,
        settlement: &Settlement<'_>,
    ) -> Result<Settled, StoreError> {
        Self::settle(self, hold, account, settlement).await
    }

    async fn release(&self, hold: &HoldKey, account: AccountRef) -> Result<Settled, StoreError> {
        Self::release(self, hold, account).await
    }

    async fn settle_late(&self, hold: &Grant, settlement: &Settlement<'_>) -> Result<(), StoreError> {
        Self::settle_late(self, hold, settlement).await
    }
}

/// The settlements of a process; cheap to clone, shared by its workers.
#[derive(Clone)]
pub struct Settlements {
    shared: Arc<Shared>,
}

struct Shared {
    journal: Arc<dyn Journal>,
    ledger: Arc<dyn Confirmations>,
    epochs: Arc<dyn EpochView>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    pending: Mutex<Pending>,
    full: AtomicBool,
    bytes_max: usize,
}

#[derive(Default)]
struct Pending {
    by_hold: HashMap<HoldKey, Entry>,
    bytes: usize,
}

#[derive(Clone)]
struct Entry {
    work: Arc<Unfinished>,
    since: Duration,
    /// When it is sent next.
    again: Duration,
    /// 0 for this process's own; else the number of the journal that it was found in.
    journal: u64,
}

/// How a repetition went.
enum Went {
    /// The engine or the ledger has it; the ledger will confirm.
    Taken,
    /// Nothing is left to be done.
    Over,
    Failed(StoreError),
}

impl Settlements {
    pub fn new(
        journal: Arc<dyn Journal>,
        ledger: Arc<dyn Confirmations>,
        epochs: Arc<dyn EpochView>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (pending, full) = (Mutex::default(), AtomicBool::new(false));
        let shared = Shared { journal, ledger, epochs, clock, metrics, pending, full, bytes_max: BYTES_MAX };
        Self { shared: Arc::new(shared) }
    }

    /// Whether new paid work may begin: there is room to remember how it ends.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.shared.journal.has_room() && !self.shared.full.load(Ordering::Acquire)
    }

    /// A hold was taken. `false` when that could not be written: give it back.
    #[must_use]
    pub fn admitted(&self, grant: &Grant) -> bool {
        self.shared.journal.admit(grant)
    }

    /// What a stream has cost so far, before the engine is told.
    pub fn metered(&self, closing: &Closing) {
        if !self.shared.journal.meter(closing) {
            tracing::error!(generation = %closing.key.generation, "a metering is not in the journal");
        }
    }

    /// A hold that was never metered was given back.
    pub fn released(&self, key: &HoldKey) {
        self.shared.journal.release(key);
    }

    /// Writes a settlement, remembers it until the ledger has it, and asks the engine for it.
    pub async fn settle(&self, till: &dyn Till, closing: Closing) -> Result<NanoUsd, StoreError> {
        let shared = &self.shared;
        crash::point("gateway.before_settle_record");
        if !shared.journal.settle(&closing) {
            tracing::error!(generation = %closing.key.generation, amount = closing.amount.get(),
                "a settlement is in memory only: the journal takes no more");
        }
        let now = shared.clock.monotonic();
        let work = Arc::new(Unfinished::Settle(closing));
        let key = work.key();
        shared.remember(Entry { work: Arc::clone(&work), since: now, again: now + AGAIN, journal: 0 });
        let Unfinished::Settle(closing) = work.as_ref() else {
            return Err(StoreError::corrupt("a settlement is none"));
        };
        crash::point("gateway.settle_recorded");
        let asked = shared.ask(till, closing).await;
        crash::point("gateway.settled");
        if asked.is_err() {
            shared.metrics.settle_retries.inc();
            shared.at(&key, shared.clock.monotonic());
        }
        asked
    }

    /// Takes over what a journal has left; `number` is the journal's, above 0.
    pub async fn adopt(&self, number: u64, unfinished: &[Unfinished]) -> Result<(), StoreError> {
        let now = self.shared.clock.monotonic();
        // Most of a journal is in the ledger already, and need not be remembered at all.
        for some in unfinished.chunks(QUESTION) {
            let booked = self.shared.booked(some.iter()).await?;
            crash::point("replay.asked");
            for work in some.iter().filter(|work| !confirms(work, &booked)) {
                let work = Arc::new(work.clone());
                self.shared.remember(Entry { work, since: now, again: now, journal: number });
            }
        }
        Ok(())
    }

    /// Settlements that the ledger has not confirmed, and the age of the oldest.
    #[must_use]
    pub fn unconfirmed(&self) -> (usize, Duration) {
        let pending = self.shared.pending.lock();
        let oldest = pending.by_hold.values().map(|entry| entry.since).min();
        let now = self.shared.clock.monotonic();
        (pending.by_hold.len(), oldest.map_or(Duration::ZERO, |since| now.saturating_sub(since)))
    }

    /// How much of a journal that was taken over is not done.
    #[must_use]
    pub fn left_of(&self, journal: u64) -> usize {
        let pending = self.shared.pending.lock();
        pending.by_hold.values().filter(|entry| entry.journal == journal).count()
    }

    /// Asks the ledger about everything, then sends again what is due.
    pub async fn round(&self, till: &dyn Till) {
        if let Err(error) = self.shared.confirm(till).await {
            tracing::warn!(%error, "settlements could not be confirmed; they are asked about again");
            return;
        }
        self.shared.repeat(till).await;
    }
}

impl Shared {
    fn remember(&self, entry: Entry) {
        let mut pending = self.pending.lock();
        pending.bytes = pending.bytes.saturating_add(weight(&entry.work));
        if let Some(before) = pending.by_hold.insert(entry.work.key(), entry) {
            pending.bytes = pending.bytes.saturating_sub(weight(&before.work));
        }
        self.note_fullness(&pending);
    }

    fn note_fullness(&self, pending: &Pending) {
        // New work waits until a quarter is free again, so that the door does not flutter.
        let full = self.full.load(Ordering::Acquire);
        let bound = if full { self.bytes_max / 4 * 3 } else { self.bytes_max };
        if full != (pending.bytes > bound) {
            self.full.store(!full, Ordering::Release);
            tracing::warn!(full = !full, "room for settlements that the ledger has not confirmed");
        }
    }

    fn forget(&self, keys: &[HoldKey]) {
        let mut own = Vec::with_capacity(keys.len());
        let mut pending = self.pending.lock();
        for key in keys {
            if let Some(entry) = pending.by_hold.remove(key) {
                pending.bytes = pending.bytes.saturating_sub(weight(&entry.work));
                if entry.journal == 0 {
                    own.push(*key);
                }
            }
        }
        self.note_fullness(&pending);
        drop(pending);
        self.journal.forget(&own);
    }

    fn at(&self, key: &HoldKey, again: Duration) {
        if let Some(entry) = self.pending.lock().by_hold.get_mut(key) {
            entry.again = again;
        }
    }

    /// Final bookings of these generations with their amounts.
    async fn booked<'a>(
        &self,
        works: impl Iterator<Item = &'a Unfinished>,
    ) -> Result<HashMap<GenerationId, NanoUsd>, StoreError> {
        let ids: Vec<GenerationId> = works.map(|work| work.key().generation).collect();
        Ok(self.ledger.finals(&ids).await?.into_iter().collect())
    }

    /// One question a round for all, in pieces of a bearable size.
    async fn confirm(&self, till: &dyn Till) -> Result<(), StoreError> {
        let now = self.clock.monotonic();
        let old = |entry: &&Entry| entry.journal > 0 || now.saturating_sub(entry.since) >= YOUNG;
        let asked: Vec<Arc<Unfinished>> =
            self.pending.lock().by_hold.values().filter(old).map(|entry| Arc::clone(&entry.work)).collect();
        for some in asked.chunks(QUESTION) {
            let booked = self.booked(some.iter().map(Arc::as_ref)).await?;
            crash::point("confirm.asked");
            let done = some.iter().filter(|work| confirms(work, &booked)).map(|work| work.key());
            self.forget(&done.collect::<Vec<_>>());
            crash::point("confirm.forgotten");
            for work in some.iter().filter(|work| !confirms(work, &booked)) {
                if let (Unfinished::Settle(closing), Some(other)) =
                    (work.as_ref(), booked.get(&work.key().generation))
                {
                    self.report(till, closing, *other).await?;
                }
            }
        }
        Ok(())
    }

    /// The ledger has another final amount: the first stays, and this one goes to the review queue.
    async fn report(&self, till: &dyn Till, closing: &Closing, other: NanoUsd) -> Result<(), StoreError> {
        tracing::error!(generation = %closing.key.generation, booked = other.get(), asked = closing.amount.get(),
            "a generation was settled at two amounts");
        match self.book_late(till, closing, self.epochs.epoch(closing.account.shard)).await {
            Ok(()) => self.forget(&[closing.key]),
            Err(error) => tracing::warn!(%error, "the review queue is told later"),
        }
        Ok(())
    }

    async fn repeat(&self, till: &dyn Till) {
        let now = self.clock.monotonic();
        let due = |entry: &&Entry| entry.again <= now;
        let due: Vec<Entry> =
            self.pending.lock().by_hold.values().filter(due).take(IN_ROUND).cloned().collect();
        let mut repeated = futures_util::stream::iter(due)
            .map(|entry| async move {
                if entry.journal == 0 {
                    self.metrics.settle_retries.inc();
                }
                let went = self.end(till, &entry.work).await;
                (entry.work.key(), went)
            })
            .buffer_unordered(AT_ONCE);
        let mut failed = 0_u32;
        while let Some((key, went)) = repeated.next().await {
            crash::point("confirm.repeated");
            let now = self.clock.monotonic();
            match went {
                Went::Taken => self.at(&key, now + AGAIN),
                Went::Over => self.forget(&[key]),
                Went::Failed(error) => {
                    self.at(&key, now + SOON);
                    failed += 1;
                    if failed == 1 {
                        tracing::warn!(%error, generation = %key.generation, "a settlement is repeated");
                    }
                    // An engine that is away is not asked for each by itself.
                    if failed > u32::try_from(AT_ONCE).unwrap_or(u32::MAX) {
                        return;
                    }
                }
            }
        }
    }

    async fn end(&self, till: &dyn Till, work: &Unfinished) -> Went {
        let outcome = match work {
            Unfinished::Settle(closing) | Unfinished::Crashed(closing) => {
                self.ask(till, closing).await.map(|_charge| Went::Taken)
            }
            // It was never metered, so whatever has closed it has charged nothing.
            Unfinished::Release(grant) => {
                till.release(&grant.key, grant.account).await.map(|_closed| Went::Over)
            }
        };
        outcome.unwrap_or_else(Went::Failed)
    }

    /// Settles in the engine; where the engine has swept the hold or never knew it, in the ledger first.
    async fn ask(&self, till: &dyn Till, closing: &Closing) -> Result<NanoUsd, StoreError> {
        let shard = closing.account.shard;
        let epoch = self.epochs.epoch(shard);
        let answer = till.settle(&closing.key, closing.account, &closing.settlement()).await?;
        crash::point("gateway.settle_answered");
        match answer {
            Settled::Done { charge, uncollected, .. } => {
                if uncollected > NanoUsd::ZERO {
                    self.metrics.uncollected.inc_by(uncollected.get().unsigned_abs());
                    tracing::error!(generation = %closing.key.generation, uncollected = uncollected.get(),
                        "a charge was not covered by its hold and the balance");
                }
                Ok(charge)
            }
            Settled::Already { kind: ClosedBy::Settle, charge } => Ok(charge),
            Settled::Already { kind: ClosedBy::Sweep | ClosedBy::Release, .. } | Settled::NoHold => {
                tracing::warn!(generation = %closing.key.generation, amount = closing.amount.get(),
                    "a settlement came after its hold had ended; the ledger books it");
                self.book_late(till, closing, epoch).await?;
                Ok(closing.amount)
            }
        }
    }

    /// Only an answer of the present epoch allows this; the ledger checks that it still is.
    async fn book_late(
        &self,
        till: &dyn Till,
        closing: &Closing,
        epoch: Option<i64>,
    ) -> Result<(), StoreError> {
        let now = self.epochs.epoch(closing.account.shard);
        let (Some(epoch), Some(hold)) = (epoch.filter(|_| epoch == now), closing.grant()) else {
            return Err(StoreError::conflict("the epoch turned while a settlement was on its way"));
        };
        till.settle_late(&Grant { epoch, ..hold }, &closing.settlement()).await
    }
}

/// Whether the ledger's final bookings are the end of this. What was found metered only was never more than a
/// guess: any final booking is the truth.
fn confirms(work: &Unfinished, booked: &HashMap<GenerationId, NanoUsd>) -> bool {
    match (work, booked.get(&work.key().generation)) {
        (Unfinished::Settle(closing), Some(amount)) => closing.amount == *amount,
        (Unfinished::Crashed(_), Some(_)) => true,
        // A hold may be open beside a settlement of another hold of the same call.
        (Unfinished::Release(_), _) | (_, None) => false,
    }
}

fn weight(work: &Unfinished) -> usize {
    const FIXED: usize = 256;
    match work {
        Unfinished::Settle(closing) | Unfinished::Crashed(closing) => FIXED + closing.bytes().len(),
        Unfinished::Release(_) => FIXED,
    }
}
