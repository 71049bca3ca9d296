//! The journal of this process: opened before the first call, made durable by a thread of its own, asked about
//! every second, and the journals of processes that are gone brought to their end.

use crate::wiring::House;
use anyhow::Context as _;
use gateway::settlements::Settlements;
use kernel::crash;
use parking_lot::Mutex;
use prometheus::{IntGauge, Registry};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use store_journal::{DiskJournal, Orphan};

/// Rounds between two looks for journals without a living owner.
const LOOK_EVERY: u64 = 10;
/// How long a process that stops waits for the ledger to have everything.
const LAST_WORD: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

/// A journal that was taken over.
struct Adopted {
    number: u64,
    orphan: Orphan,
    /// Its work is remembered.
    taken: bool,
}

/// The journal with what is on its way to the ledger; cheap to clone.
#[derive(Clone)]
pub(crate) struct Books {
    journal: Arc<DiskJournal>,
    keeper: Arc<Mutex<Option<JoinHandle<()>>>>,
    settlements: Settlements,
    adopted: Arc<Mutex<Vec<Adopted>>>,
    rounds: Arc<AtomicU64>,
    gauges: Gauges,
}

#[derive(Clone)]
struct Gauges {
    unconfirmed: IntGauge,
    oldest: IntGauge,
    bytes: IntGauge,
    room: IntGauge,
}

impl Gauges {
    fn new(registry: &Registry) -> anyhow::Result<Self> {
        let gauge = |name: &str, help: &str| -> anyhow::Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        Ok(Self {
            unconfirmed: gauge("farebox_unconfirmed", "Settlements that the ledger does not have yet")?,
            oldest: gauge("farebox_unconfirmed_oldest_seconds", "Age of the oldest of them")?,
            bytes: gauge("farebox_journal_bytes", "Disk space of this process's journal")?,
            room: gauge(
                "farebox_journal_room",
                "1 while new paid work is admitted, 0 when the journal is full",
            )?,
        })
    }
}

impl Books {
    /// Opens a journal of this process's own.
    pub(crate) fn open(house: &House) -> anyhow::Result<Self> {
        let config = &house.config;
        let name = format!("{:016x}", house.entropy.next_u64());
        let journal = store_journal::open(&config.journal_dir, &name, config.journal_segment_bytes)
            .context("the journal cannot be opened; FAREBOX_JOURNAL_DIR names its folder")?;
        let journal = Arc::new(journal);
        let kept = Arc::clone(&journal);
        let keeper = std::thread::Builder::new().name("journal".to_owned()).spawn(move || kept.keep())?;
        let settlements = Settlements::new(
            journal.clone(),
            house.store.clone(),
            Arc::new(house.epochs.clone()),
            Arc::clone(&house.clock),
            Arc::clone(&house.metrics),
        );
        Ok(Self {
            journal,
            keeper: Arc::new(Mutex::new(Some(keeper))),
            settlements,
            adopted: Arc::default(),
            rounds: Arc::default(),
            gauges: Gauges::new(&house.registry)?,
        })
    }

    pub(crate) fn settlements(&self) -> &Settlements {
        &self.settlements
    }

    /// Takes over what the dead have left, confirms, settles again.
    pub(crate) async fn round(&self, house: &House) {
        if self.rounds.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK_EVERY) {
            self.look_for_orphans(house).await;
        }
        self.take_over().await;
        self.settlements.round(&house.credits(&house.engine)).await;
        self.remove_finished();
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let (count, oldest) = self.settlements.unconfirmed();
        self.gauges.unconfirmed.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.gauges.oldest.set(number(oldest.as_secs()));
        self.gauges.bytes.set(number(self.journal.bytes()));
        self.gauges.room.set(i64::from(self.settlements.has_room()));
    }

    async fn look_for_orphans(&self, house: &House) {
        let root = house.config.journal_dir.clone();
        let found = tokio::task::spawn_blocking(move || store_journal::orphans(&root)).await;
        match found {
            Ok(Ok(orphans)) => {
                let mut adopted = self.adopted.lock();
                if !orphans.is_empty() {
                    crash::point("replay.read");
                }
                for orphan in orphans {
                    tracing::info!(journal = %orphan.path.display(), records = orphan.records, damaged = orphan.damaged,
                        holds = orphan.unfinished.len(), "the journal of a process that is gone is taken over");
                    let number = 1 + adopted.last().map_or(0, |last| last.number);
                    adopted.push(Adopted { number, orphan, taken: false });
                }
            }
            Ok(Err(error)) => tracing::error!(%error, "journals of other processes could not be read"),
            Err(error) => tracing::error!(%error, "reading journals of other processes ended early"),
        }
    }

    /// Remembers what adopted journals have left; tried again while the ledger does not answer.
    async fn take_over(&self) {
        let mut waiting = std::mem::take(&mut *self.adopted.lock());
        for adopted in waiting.iter_mut().filter(|adopted| !adopted.taken) {
            match self.settlements.adopt(adopted.number, &adopted.orphan.unfinished).await {
                Ok(()) => {
                    crash::point("replay.remembered");
                    adopted.taken = true;
                    adopted.orphan.unfinished = Vec::new();
                }
                Err(error) => tracing::warn!(%error, "a journal that was taken over waits for the ledger"),
            }
        }
        *self.adopted.lock() = waiting;
    }

    fn remove_finished(&self) {
        self.adopted.lock().retain(|adopted| {
            let done = adopted.taken && self.settlements.left_of(adopted.number) == 0;
            if done {
                crash::point("replay.done");
            }
            if done && let Err(error) = adopted.orphan.remove() {
                tracing::warn!(%error, "a finished journal could not be removed");
            }
            !done
        });
    }

    /// At the end: waits a little until the ledger has everything. What it does not have stays in the journal.
    pub(crate) async fn confirmed(&self, house: &House) {
        let credits = house.credits(&house.engine);
        let begun = house.clock.monotonic();
        while self.settlements.unconfirmed().0 > 0 {
            if house.clock.monotonic().saturating_sub(begun) > LAST_WORD {
                tracing::warn!(
                    left = self.settlements.unconfirmed().0,
                    "settlements are left in the journal"
                );
                return;
            }
            tokio::time::sleep(PAUSE).await;
            self.settlements.round(&credits).await;
        }
    }

    /// The last group, and the end of the thread. An empty journal leaves no folder.
    pub(crate) fn close(self) {
        self.remove_finished();
        self.journal.stop();
        let keeper = self.keeper.lock().take();
        if keeper.is_some_and(|keeper| keeper.join().is_err()) {
            tracing::error!("the journal's thread panicked");
        }
        self.journal.remove_if_done();
    }
}
