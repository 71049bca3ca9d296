//! The table of replies: what a settlement does next, whatever the engine and the ledger say.

use super::*;
use billing::engine::{CapId, CapPeriod, CapWindow, Ticket};
use kernel::ids::AccountId;
use kernel::{StoreErrorKind, clock::FixedClock};
use parking_lot::Mutex;
use std::collections::VecDeque;
use uuid::Uuid;

/// What the engine was asked, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Act {
    Settle(i64),
    Release,
    /// Amount and epoch.
    Late(i64, i64),
}

/// An engine and ledger that answer as told.
#[derive(Default)]
struct Fake {
    replies: Mutex<VecDeque<Result<Settled, StoreError>>>,
    acts: Mutex<Vec<Act>>,
    finals: Mutex<HashMap<GenerationId, NanoUsd>>,
    asked: Mutex<Vec<usize>>,
    epoch: Mutex<i64>,
    /// The epoch turns while the engine answers.
    turning: Mutex<bool>,
    journal_full: Mutex<bool>,
    journaled: Mutex<Vec<i64>>,
    forgotten: Mutex<usize>,
}

impl Fake {
    fn reply(&self) -> Result<Settled, StoreError> {
        if *self.turning.lock() {
            *self.epoch.lock() += 1;
        }
        let done = Settled::Done {
            charge: NanoUsd::new(7),
            uncollected: NanoUsd::ZERO,
            balance: NanoUsd::ZERO,
            version: 1,
        };
        self.replies.lock().pop_front().unwrap_or(Ok(done))
    }
}

#[async_trait]
impl Till for Fake {
    async fn settle(
        &self,
        _: &HoldKey,
        _: AccountRef,
        settlement: &Settlement<'_>,
    ) -> Result<Settled, StoreError> {
        self.acts.lock().push(Act::Settle(settlement.amount.get()));
        self.reply()
    }

    async fn release(&self, _: &HoldKey, _: AccountRef) -> Result<Settled, StoreError> {
        self.acts.lock().push(Act::Release);
        self.reply()
    }

    async fn settle_late(&self, hold: &Grant, settlement: &Settlement<'_>) -> Result<(), StoreError> {
        self.acts.lock().push(Act::Late(settlement.amount.get(), hold.epoch));
        Ok(())
    }
}

#[async_trait]
impl Confirmations for Fake {
    async fn finals(&self, ids: &[GenerationId]) -> Result<Vec<(GenerationId, NanoUsd)>, StoreError> {
        self.asked.lock().push(ids.len());
        let finals = self.finals.lock();
        Ok(ids.iter().filter_map(|id| Some((*id, *finals.get(id)?))).collect())
    }
}

impl EpochView for Fake {
    fn epoch(&self, _: u8) -> Option<i64> {
        Some(*self.epoch.lock()).filter(|epoch| *epoch > 0)
    }
}

impl Journal for Fake {
    fn has_room(&self) -> bool {
        !*self.journal_full.lock()
    }

    fn admit(&self, _: &Grant) -> bool {
        !*self.journal_full.lock()
    }

    fn meter(&self, _: &Closing) -> bool {
        true
    }

    fn settle(&self, closing: &Closing) -> bool {
        assert!(self.acts.lock().is_empty(), "the engine was asked before the journal");
        self.journaled.lock().push(closing.amount.get());
        true
    }

    fn release(&self, _: &HoldKey) {}

    fn forget(&self, keys: &[HoldKey]) {
        *self.forgotten.lock() += keys.len();
    }
}

struct Bench {
    fake: Arc<Fake>,
    clock: Arc<FixedClock>,
    settlements: Settlements,
}

fn bench() -> Bench {
    let fake = Arc::new(Fake::default());
    *fake.epoch.lock() = 4;
    let clock = Arc::new(FixedClock::at("2026-11-20T12:00:00Z".parse().unwrap()));
    let metrics = Arc::new(Metrics::register(&prometheus::Registry::new()).unwrap());
    let settlements = Settlements::new(fake.clone(), fake.clone(), fake.clone(), clock.clone(), metrics);
    Bench { fake, clock, settlements }
}

impl Bench {
    async fn round_after(&self, wait: Duration) -> Vec<Act> {
        self.clock.advance(wait);
        self.fake.acts.lock().clear();
        self.settlements.round(self.fake.as_ref()).await;
        self.fake.acts.lock().clone()
    }

    fn count(&self) -> usize {
        self.settlements.unconfirmed().0
    }
}

fn grant(number: u128) -> Grant {
    Grant {
        key: HoldKey { generation: GenerationId::from_uuid(Uuid::from_u128(number)), funding: 1 },
        account: AccountRef { account: AccountId::from_uuid(Uuid::from_u128(9)), shard: 7 },
        amount: NanoUsd::new(1000),
        available: NanoUsd::ZERO,
        ticket: Ticket::None,
        windows: vec![CapWindow { cap: CapId("k:0f".to_owned()), period: CapPeriod::Daily, window: 20_777 }],
        own_key: None,
        epoch: 3,
        version: 0,
    }
}

fn closing(number: u128, amount: i64) -> Closing {
    let mut bytes = Vec::new();
    billing::journal::write_grant(&mut bytes, &grant(number));
    bytes.extend_from_slice(&amount.to_le_bytes());
    bytes.extend_from_slice(&amount.to_le_bytes());
    bytes.extend_from_slice(b"{}");
    Closing::read(&bytes).unwrap()
}

fn down() -> Result<Settled, StoreError> {
    Err(StoreError::conflict("down"))
}

fn already(kind: ClosedBy) -> Result<Settled, StoreError> {
    Ok(Settled::Already { kind, charge: NanoUsd::new(3) })
}

#[tokio::test]
async fn a_settlement_is_repeated_until_the_ledger_has_its_own_amount() {
    let bench = bench();
    let charged = bench.settlements.settle(bench.fake.as_ref(), closing(1, 70)).await.unwrap();
    assert_eq!((charged, bench.count()), (NanoUsd::new(7), 1));
    assert_eq!(*bench.fake.journaled.lock(), [70]);
    assert_eq!(bench.round_after(Duration::from_secs(1)).await, []);
    assert_eq!(*bench.fake.asked.lock(), [1], "the ledger is asked every round");
    assert_eq!(bench.round_after(AGAIN).await, [Act::Settle(70)]);
    bench.fake.finals.lock().insert(grant(1).key.generation, NanoUsd::new(70));
    assert_eq!(bench.round_after(Duration::from_secs(1)).await, []);
    assert_eq!((bench.count(), *bench.fake.forgotten.lock()), (0, 1));
}

#[tokio::test]
async fn each_reply_leads_where_the_protocol_says() {
    // The reply, whether the epoch turns with it, what follows in the same round, and whether it is due at once.
    let rows = [
        (already(ClosedBy::Settle), false, vec![Act::Settle(70)], false),
        (already(ClosedBy::Sweep), false, vec![Act::Settle(70), Act::Late(70, 4)], false),
        (Ok(Settled::NoHold), false, vec![Act::Settle(70), Act::Late(70, 4)], false),
        (Ok(Settled::NoHold), true, vec![Act::Settle(70)], true),
        (down(), false, vec![Act::Settle(70)], true),
    ];
    for (reply, turning, acts, soon) in rows {
        let shown = format!("{reply:?} {turning}");
        let bench = bench();
        bench.fake.replies.lock().push_back(down());
        assert!(bench.settlements.settle(bench.fake.as_ref(), closing(1, 70)).await.is_err());
        bench.fake.replies.lock().push_back(reply);
        *bench.fake.turning.lock() = turning;
        assert_eq!(bench.round_after(YOUNG).await, acts, "{shown}");
        *bench.fake.turning.lock() = false;
        assert_eq!(bench.count(), 1, "only the ledger confirms: {shown}");
        assert_eq!(!bench.round_after(SOON).await.is_empty(), soon, "{shown}");
    }
}

#[tokio::test]
async fn the_engine_s_own_answer_on_the_way_is_used_at_once() {
    let bench = bench();
    bench.fake.replies.lock().push_back(Ok(Settled::NoHold));
    let charged = bench.settlements.settle(bench.fake.as_ref(), closing(1, 70)).await.unwrap();
    assert_eq!(charged, NanoUsd::new(70));
    assert_eq!(*bench.fake.acts.lock(), [Act::Settle(70), Act::Late(70, 4)]);
}

#[tokio::test]
async fn a_second_final_amount_goes_to_the_review_queue_and_is_not_repeated() {
    let bench = bench();
    bench.settlements.settle(bench.fake.as_ref(), closing(1, 70)).await.unwrap();
    bench.fake.finals.lock().insert(grant(1).key.generation, NanoUsd::new(60));
    assert_eq!(bench.round_after(SOON).await, [Act::Late(70, 4)]);
    assert_eq!(bench.count(), 0);
}

#[tokio::test]
async fn what_a_journal_left_is_asked_about_first_and_then_ended() {
    let bench = bench();
    let left = [
        Unfinished::Settle(closing(1, 70)),
        Unfinished::Settle(closing(2, 70)),
        Unfinished::Crashed(closing(3, 30)),
        Unfinished::Crashed(closing(4, 30)),
        Unfinished::Release(grant(5)),
    ];
    for number in [1, 3] {
        bench.fake.finals.lock().insert(grant(number).key.generation, NanoUsd::new(70));
    }
    bench.settlements.adopt(1, &left).await.unwrap();
    assert_eq!((bench.count(), bench.settlements.left_of(1)), (3, 3), "two are booked, one as a guess");
    let mut acts = bench.round_after(Duration::ZERO).await;
    acts.sort_by_key(|act| format!("{act:?}"));
    assert_eq!(acts, [Act::Release, Act::Settle(30), Act::Settle(70)]);
    assert_eq!(bench.settlements.left_of(1), 2, "what was never metered is over when it is given back");
    for number in [2, 4] {
        bench.fake.finals.lock().insert(grant(number).key.generation, NanoUsd::new(70));
    }
    assert_eq!(bench.round_after(SOON).await, []);
    assert_eq!(
        (bench.count(), *bench.fake.forgotten.lock()),
        (0, 0),
        "another process's journal is not ours"
    );
}

#[tokio::test]
async fn nothing_new_begins_when_journal_or_memory_is_full() {
    let bench = bench();
    assert!(bench.settlements.has_room() && bench.settlements.admitted(&grant(1)));
    *bench.fake.journal_full.lock() = true;
    assert!(!bench.settlements.has_room() && !bench.settlements.admitted(&grant(1)));
    *bench.fake.journal_full.lock() = false;

    let shared = Shared {
        journal: bench.fake.clone(),
        ledger: bench.fake.clone(),
        epochs: bench.fake.clone(),
        clock: bench.clock.clone(),
        metrics: Arc::new(Metrics::register(&prometheus::Registry::new()).unwrap()),
        pending: Mutex::default(),
        full: AtomicBool::new(false),
        bytes_max: 4000,
    };
    let small = Settlements { shared: Arc::new(shared) };
    let mut begun = 0;
    while small.has_room() {
        begun += 1;
        bench.fake.acts.lock().clear();
        small.settle(bench.fake.as_ref(), closing(begun, 5)).await.unwrap();
    }
    assert!((5..20).contains(&begun), "{begun}");
    bench.clock.advance(SOON);
    for number in 1..=begun / 2 {
        bench.fake.finals.lock().insert(grant(number).key.generation, NanoUsd::new(5));
    }
    small.round(bench.fake.as_ref()).await;
    assert!(small.has_room());
}

#[tokio::test]
async fn an_engine_that_is_away_is_not_asked_for_each_by_itself() {
    let bench = bench();
    let left: Vec<Unfinished> = (1..=500).map(|number| Unfinished::Settle(closing(number, 5))).collect();
    bench.settlements.adopt(1, &left).await.unwrap();
    let unavailable =
        || Err(StoreError { kind: StoreErrorKind::Unavailable, ..StoreError::conflict("away") });
    bench.fake.replies.lock().extend((0..500).map(|_| unavailable()));
    let acts = bench.round_after(SOON).await;
    assert!(acts.len() <= 3 * AT_ONCE, "{}", acts.len());
    assert_eq!(bench.count(), 500);
}
