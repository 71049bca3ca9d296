//! Sixty-four clients on one engine behind a network that delays, swallows, cuts and resets, while a small
//! ledger books what comes out and shards get new epochs. `checker` judges what they saw; twelve anomalies are
//! planted to judge the checker.
//!
//! `FAREBOX_TEST_FULL=1` makes a million operations.

use crate::checker::{Event, History, check};
use crate::ops::{Answer, Ask, Op};
use crate::support::{Bed, CENT, MINUTE, cap, environment, new_hold, state};
use billing::engine::{
    AccountRef, AccountState, Balance, CapId, CapPeriod, ClosedBy, CreditEngine as _, CreditEntry,
    EngineEpochs as _, EngineUpkeep as _, Extended, Grant, Loaded, Outbox as _, OutboxEntry, Reserved,
    Settled,
};
use futures_util::future::join_all;
use kernel::clock::SystemClock;
use kernel::rng::SeededEntropy;
use kernel::{Clock as _, Entropy as _, NanoUsd};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use store_redis::{Epochs, RedisEngine};
use testkit::proxy::{Direction, Fault, Proxy};

const CLIENTS: u64 = 64;
const SHARDS: [u8; 2] = [1, 2];
const START: i64 = 30 * CENT;
/// The cap of every account: less than what will be asked for.
const LIMIT: i64 = 200 * CENT;
/// How often an act without an answer is sent again.
const AGAIN: u32 = 200;

/// The ledger's side, in memory.
#[derive(Default)]
struct Books {
    cursors: BTreeMap<u8, String>,
    movements: Vec<OutboxEntry>,
    credits: Vec<CreditEntry>,
}

/// What all clients share.
struct World {
    bed: Bed,
    proxy: Proxy,
    epochs: Epochs,
    accounts: Vec<AccountRef>,
    /// Orders beginnings and ends of acts.
    ticks: AtomicU64,
    begun: AtomicU64,
    planned: u64,
    /// Faults so far, and new epochs.
    faults: AtomicU64,
    lives: AtomicU64,
    finished: AtomicBool,
    events: tokio::sync::Mutex<Vec<Event>>,
    books: tokio::sync::Mutex<Books>,
}

impl World {
    async fn new(planned: u64) -> Self {
        let bed = Bed::bare().await;
        let (_password, address) = bed.url.trim_start_matches("redis://:").split_once('@').unwrap();
        let proxy = Proxy::start(address.trim_end_matches('/').parse().unwrap()).await.unwrap();
        let mut accounts = Vec::new();
        for number in 0..12 {
            let mut account = state(0).account;
            account.shard = SHARDS[number % SHARDS.len()];
            accounts.push(account);
        }
        let world = Self {
            bed,
            proxy,
            epochs: Epochs::new(&[]),
            accounts,
            ticks: AtomicU64::new(1),
            begun: AtomicU64::new(0),
            planned,
            faults: AtomicU64::new(0),
            lives: AtomicU64::new(0),
            finished: AtomicBool::new(false),
            events: tokio::sync::Mutex::default(),
            books: tokio::sync::Mutex::default(),
        };
        for shard in SHARDS {
            world.new_epoch(shard, 1).await;
        }
        world
    }

    /// A gateway's engine, through the proxy.
    async fn engine(&self) -> RedisEngine {
        let (front, _) = self.bed.url.split_once('@').unwrap();
        RedisEngine::connect(&format!("{front}@{}/", self.proxy.address()), self.epochs.clone())
            .await
            .unwrap()
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// Sends an act and notes what was seen of it.
    async fn act(&self, engine: &RedisEngine, op: Op, epoch: i64) -> Answer {
        let invoked = self.tick();
        let answer = op.send(engine).await;
        let known = !matches!(answer, Answer::Unknown(_));
        let completed = if known { self.tick() } else { u64::MAX };
        let event = Event { op, invoked, completed, answer: answer.clone(), epoch };
        self.events.lock().await.push(event);
        answer
    }

    /// The same act until it is answered, as a gateway repeats a settlement.
    async fn insist(&self, engine: &RedisEngine, op: Op) -> Answer {
        let mut answer = self.act(engine, op.clone(), 0).await;
        for _ in 0..AGAIN {
            let turned_away = match &answer {
                Answer::Unknown(_) => true,
                Answer::Refused(word) => word != "BADARG" && word != "RANGE",
                Answer::Reserved(Reserved::AccountMissing) => true,
                _ => false,
            };
            if !turned_away {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            answer = self.act(engine, op.clone(), 0).await;
        }
        answer
    }

    /// Books everything that waits in a shard's outbox.
    async fn ingest(&self, shard: u8, books: &mut Books, epoch: i64) {
        loop {
            let cursor = books.cursors.entry(shard).or_insert_with(|| "0-0".to_owned()).clone();
            let entries = self.bed.engine.read(&[(shard, cursor)], 500).await.unwrap();
            let Some(last) = entries.last().map(|entry| entry.id.clone()) else { return };
            books.movements.extend(entries);
            self.bed.engine.trim(shard, epoch, &last).await.unwrap();
            books.cursors.insert(shard, last);
        }
    }

    fn state_of(&self, account: AccountRef, books: &Books) -> AccountState {
        let mine = || books.movements.iter().filter(|entry| entry.account == account.account);
        let credits = || books.credits.iter().filter(|entry| entry.account == account);
        let charged: i64 = mine().map(|entry| entry.charge.get()).sum();
        let credited: i64 = credits().map(|entry| entry.delta.get()).sum();
        let mut known = state(START + credited - charged);
        known.account = account;
        known.credit_seq = credits().map(|entry| entry.seq).max().unwrap_or(0);
        known.debit_seq = mine().map(|entry| entry.debit_seq).max().unwrap_or(0);
        let named = mine().filter(|entry| !entry.windows.is_empty());
        known.caps =
            vec![cap("k:one", LIMIT, CapPeriod::Total, named.map(|entry| entry.charge.get()).sum::<i64>())];
        known
    }

    /// Seals, drains, loads and opens a shard, with the books locked: what they say is one snapshot.
    async fn new_epoch(&self, shard: u8, epoch: i64) {
        let mut books = self.books.lock().await;
        self.bed.engine.seal(shard, epoch).await.unwrap();
        self.ingest(shard, &mut books, epoch).await;
        for account in self.accounts.iter().filter(|account| account.shard == shard) {
            let kept = self.bed.engine.kept_holds(*account).await.unwrap();
            let mut state = self.state_of(*account, &books);
            let settled: BTreeSet<_> = books
                .movements
                .iter()
                .map(|entry| (entry.key.generation.uuid(), entry.key.funding))
                .collect();
            state.booked = kept.holds.clone();
            state.booked.retain(|key| settled.contains(&(key.generation.uuid(), key.funding)));
            let op = Op::Load { state: Box::new(state), unloads: kept.unloads };
            let answer = self.act(&self.bed.engine, op, epoch).await;
            assert!(matches!(answer, Answer::Loaded(Loaded::Done { .. })), "{answer:?}");
        }
        self.bed.engine.open_epoch(shard, epoch).await.unwrap();
        self.epochs.set(&[(shard, epoch)]);
    }

    async fn client(&self, number: u64, engine: RedisEngine) {
        let rng = SeededEntropy::new(number + 1000);
        let mut open: Vec<Grant> = Vec::new();
        while self.begun.fetch_add(1, Ordering::Relaxed) < self.planned || !self.enough_happened() {
            let account = self.accounts[usize::try_from(rng.below(12)).unwrap()];
            match rng.below(100) {
                0..45 => self.reserve(&engine, &rng, account, &mut open).await,
                45..75 => self.close(&engine, &rng, &mut open).await,
                // Growing twice is not growing once, so nobody repeats it, and nobody may have to guess.
                75..83 => self.extend(&self.bed.engine, &rng, &mut open).await,
                83..91 => self.credit(&engine, &rng, account).await,
                91..93 => {
                    let frozen = rng.below(5) == 0;
                    // Staff's network is sound.
                    self.act(&self.bed.engine, Op::Freeze { account, frozen }, 0).await;
                }
                _ => self.repeat(&engine, &rng).await,
            }
        }
        for grant in open {
            let op = Op::Release { key: grant.key, account: grant.account };
            let answer = self.insist(&engine, op).await;
            assert!(matches!(answer, Answer::Settled(_)), "{answer:?}");
        }
    }

    /// Every kind of fault, and a few lives of each shard.
    fn enough_happened(&self) -> bool {
        self.faults.load(Ordering::Relaxed) > 8 && self.lives.load(Ordering::Relaxed) > 3
    }

    /// Every amount is another one, so that no act can be taken for another.
    fn amount(&self, rng: &SeededEntropy) -> i64 {
        i64::try_from(rng.below(60_000_000)).unwrap() + 1
    }

    async fn reserve(
        &self,
        engine: &RedisEngine,
        rng: &SeededEntropy,
        account: AccountRef,
        open: &mut Vec<Grant>,
    ) {
        let want = self.amount(rng);
        let caps = if rng.below(3) == 0 { Vec::new() } else { vec![CapId("k:one".to_owned())] };
        let lifetime = MINUTE * 600;
        let ask = Ask { key: new_hold(1), account, want, least: want, lifetime, own_key: None, caps };
        match self.insist(engine, Op::Reserve(ask.clone())).await {
            Answer::Reserved(Reserved::Granted(grant)) => open.push(grant),
            // It was made, and the answer was lost.
            Answer::Reserved(Reserved::Duplicate(_)) => {
                let op = Op::Release { key: ask.key, account };
                self.insist(engine, op).await;
            }
            // An attempt without an answer may still arrive.
            _ => {
                let op = Op::Release { key: ask.key, account };
                self.insist(engine, op).await;
            }
        }
    }

    async fn close(&self, engine: &RedisEngine, rng: &SeededEntropy, open: &mut Vec<Grant>) {
        let Some(grant) = open.pop() else {
            let account = self.accounts[usize::try_from(rng.below(12)).unwrap()];
            return self.reserve(engine, rng, account, open).await;
        };
        let (key, account) = (grant.key, grant.account);
        let amount = i64::try_from(rng.below(grant.amount.get().unsigned_abs() * 5 / 4 + 1)).unwrap();
        let op = match rng.below(4) {
            0 => Op::Release { key, account },
            _ => Op::Settle { key, account, amount, list_price: amount },
        };
        let answer = self.insist(engine, op).await;
        assert!(matches!(answer, Answer::Settled(_)), "{answer:?}");
    }

    async fn extend(&self, engine: &RedisEngine, rng: &SeededEntropy, open: &mut [Grant]) {
        let Some(hold) = open.last_mut() else { return };
        let (extra, lifetime) = (self.amount(rng), MINUTE * 600);
        let op = Op::Extend { hold: hold.clone(), extra, metered: 0, lifetime };
        if let Answer::Extended(Extended::Granted { amount, .. }) = self.act(engine, op, 0).await {
            hold.amount = amount;
        }
    }

    /// Born in the books, then told to the engine until it has it.
    async fn credit(&self, engine: &RedisEngine, rng: &SeededEntropy, account: AccountRef) {
        let entry = {
            let mut books = self.books.lock().await;
            let last =
                books.credits.iter().filter(|entry| entry.account == account).map(|entry| entry.seq).max();
            let delta = NanoUsd::new(self.amount(rng) - 10_000_000);
            let seq = last.unwrap_or(0) + 1;
            let entry = CreditEntry { account, seq, delta, is_grant: true, caps: Vec::new() };
            books.credits.push(entry.clone());
            entry
        };
        for _ in 0..AGAIN {
            match self.insist(engine, Op::Credit(entry.clone())).await {
                Answer::Credited(billing::engine::Credited::Gap { .. }) | Answer::Unknown(_) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                _ => return,
            }
        }
    }

    /// Some act that was sent before, by whomever, once more.
    async fn repeat(&self, engine: &RedisEngine, rng: &SeededEntropy) {
        let op = {
            let events = self.events.lock().await;
            let back = usize::try_from(rng.below(200)).unwrap();
            events.iter().rev().nth(back).map(|event| event.op.clone())
        };
        if let Some(op @ (Op::Settle { .. } | Op::Release { .. } | Op::Credit(_))) = op {
            self.act(engine, op, 0).await;
        }
    }

    /// One fault after the other, with time to recover between them.
    async fn trouble(&self, rng: &SeededEntropy) {
        let none = Fault::default();
        for round in 0_u32.. {
            if self.finished.load(Ordering::Relaxed) {
                return;
            }
            let direction = if rng.below(2) == 0 { Direction::ToServer } else { Direction::ToClient };
            let mut lasts = 30 + rng.below(60);
            match round % 7 {
                0 => self.proxy.set(direction, Fault { latency: Duration::from_millis(20), ..none }),
                1 | 4 => self.proxy.set(direction, Fault { cut_after: Some(rng.below(3000)), ..none }),
                2 => self.proxy.reset(),
                3 => self.proxy.refuse(true),
                // The first is shorter than a client's patience, the second longer.
                round => {
                    self.proxy.set(direction, Fault { blackhole: true, ..none });
                    lasts += if round == 6 { 1100 } else { 0 };
                }
            }
            if round % 7 == 3 {
                self.proxy.reset();
            }
            tokio::time::sleep(Duration::from_millis(lasts)).await;
            self.proxy.heal();
            self.faults.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(30 + rng.below(60))).await;
        }
    }

    /// The ingest job, and a new life of a shard now and then.
    async fn keep_books(&self) {
        let mut epoch = 1;
        while !self.finished.load(Ordering::Relaxed) {
            for round in 0..10 {
                for shard in SHARDS {
                    let mut books = self.books.lock().await;
                    self.ingest(shard, &mut books, epoch).await;
                }
                tokio::time::sleep(Duration::from_millis(50 + round % 2)).await;
            }
            epoch += 1;
            for shard in SHARDS {
                self.new_epoch(shard, epoch).await;
            }
            self.lives.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Everything that was seen, once nothing is under way any more.
    async fn history(&self) -> History {
        self.proxy.reset();
        let mut books = self.books.lock().await;
        let mut end = Vec::new();
        for shard in SHARDS {
            let epoch = self.bed.engine.epoch(shard).await.unwrap().unwrap().epoch;
            self.ingest(shard, &mut books, epoch).await;
        }
        for account in &self.accounts {
            end.push((*account, self.bed.engine.balance(*account).await.unwrap().unwrap()));
        }
        History {
            events: std::mem::take(&mut *self.events.lock().await),
            movements: std::mem::take(&mut books.movements),
            credits: std::mem::take(&mut books.credits),
            start: self.accounts.iter().map(|account| (*account, START)).collect(),
            end,
        }
    }
}

/// A history of so many operations, and whether enough of everything happened in it.
async fn record(planned: u64) -> History {
    let world = Arc::new(World::new(planned).await);
    let rng = SeededEntropy::new(5);
    let engines = join_all((0..CLIENTS).map(|_| world.engine())).await;
    let clients = async {
        join_all((0..).zip(engines).map(|(number, engine)| world.client(number, engine))).await;
        world.finished.store(true, Ordering::Relaxed);
    };
    tokio::join!(clients, world.trouble(&rng), world.keep_books());
    let history = world.history().await;
    let faults = world.proxy.counts();
    let count = |what: fn(&Event) -> bool| history.events.iter().filter(|event| what(event)).count();
    let reserves = count(|event| matches!(event.op, Op::Reserve(_)));
    let refused = count(|event| {
        matches!(
            event.answer,
            Answer::Reserved(Reserved::Insufficient { .. } | Reserved::CapExceeded { .. } | Reserved::Frozen)
        )
    });
    let unknown = count(|event| matches!(event.answer, Answer::Unknown(_)));
    let loads = count(|event| matches!(event.op, Op::Load { .. }));
    println!(
        "{} operations by {CLIENTS} clients, {unknown} without an answer, {reserves} reserves of which {refused} \
         refused, {} booked, {loads} loads; {faults:?}",
        history.events.len(),
        history.movements.len()
    );
    assert!(u64::try_from(history.events.len()).unwrap() >= planned * 9 / 10, "too little was done");
    assert!(refused * 5 >= reserves, "too little was refused");
    assert!(unknown >= 20 && loads > 12 * 2, "too little went wrong");
    assert!(
        faults.cut > 0 && faults.reset > 0 && faults.refused > 0 && faults.held > 0 && faults.delayed > 0
    );
    history
}

/// The judgement, on a stack that is deep enough for a search.
fn judged(history: &History) -> Vec<&'static str> {
    let found = std::thread::scope(|scope| {
        let judge = std::thread::Builder::new().stack_size(1 << 28);
        judge.spawn_scoped(scope, || check(history)).unwrap().join().unwrap()
    });
    for violation in found.iter().take(3) {
        println!("{}: {}", violation.rule, violation.what.chars().take(600).collect::<String>());
    }
    found.into_iter().map(|violation| violation.rule).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn credit_history() {
    let full = environment("FAREBOX_TEST_FULL").is_some_and(|value| value == "1");
    let history = record(if full { 1_000_000 } else { 16_000 }).await;
    let begun = SystemClock::new().now();
    assert_eq!(judged(&history), Vec::<&str>::new());
    println!("judged in {} ms", (SystemClock::new().now() - begun).num_milliseconds());
    let mut missed = Vec::new();
    for (name, rules, plant) in ANOMALIES {
        let mut sick = history.clone();
        assert!(plant(&mut sick), "{name} could not be planted");
        let found = judged(&sick);
        println!("{name}: {found:?}");
        if !rules.iter().any(|rule| found.contains(rule)) {
            missed.push(*name);
        }
    }
    println!("{} of {} planted anomalies found", ANOMALIES.len() - missed.len(), ANOMALIES.len());
    assert_eq!(missed, Vec::<&str>::new());
}

/// Name, the rules of which one must speak, and what is done to the history; `false` when it has no place for it.
type Anomaly = (&'static str, &'static [&'static str], fn(&mut History) -> bool);

const ANOMALIES: &[Anomaly] = &[
    ("a settlement that was acknowledged is lost", &["lost"], |history| {
        let done = |event: &Event| match (&event.op, &event.answer) {
            (Op::Settle { key, .. }, Answer::Settled(Settled::Done { charge, .. })) => {
                (charge.get() > 0).then_some(*key)
            }
            _ => None,
        };
        let Some(key) = history.events.iter().rev().find_map(done) else { return false };
        history.movements.retain(|entry| entry.key != key);
        true
    }),
    ("a settlement is booked twice", &["double"], |history| {
        let Some(entry) = history.movements.get(7).cloned() else { return false };
        history.movements.push(entry);
        true
    }),
    ("a batch of an old epoch is booked by a writer that was replaced", &["double"], |history| {
        let last = history.movements.last().map_or(0, |entry| entry.epoch);
        let mut batch: Vec<OutboxEntry> =
            history.movements.iter().filter(|entry| entry.epoch < last).rev().take(3).cloned().collect();
        batch.iter_mut().for_each(|entry| entry.epoch = last);
        history.movements.extend(batch);
        last > 1
    }),
    ("a charge that nobody asked for", &["phantom"], |history| {
        let Some(mut entry) = history.movements.last().cloned() else { return false };
        (entry.key, entry.debit_seq, entry.charge) = (new_hold(1), entry.debit_seq + 1, NanoUsd::ZERO);
        history.movements.push(entry);
        true
    }),
    ("a charge is booked with another amount", &["amount"], |history| {
        let charged = |entry: &&mut OutboxEntry| entry.kind == ClosedBy::Settle && entry.charge.get() > 0;
        let Some(entry) = history.movements.iter_mut().rev().find(charged) else { return false };
        entry.charge = NanoUsd::new(entry.charge.get() + 1);
        true
    }),
    ("a debit is skipped because its number was seen before", &["sequence"], |history| {
        // One that nobody was told of by its own answer.
        let told: BTreeSet<String> = history
            .events
            .iter()
            .filter(|event| matches!(event.answer, Answer::Settled(Settled::Done { .. })))
            .filter_map(|event| match &event.op {
                Op::Settle { key, .. } => Some(crate::model::name_of(key)),
                _ => None,
            })
            .collect();
        let silent = |entry: &OutboxEntry| !told.contains(&crate::model::name_of(&entry.key));
        let Some(place) = history.movements.iter().position(silent) else { return false };
        let skipped = history.movements.remove(place);
        history
            .movements
            .iter()
            .any(|entry| entry.account == skipped.account && entry.debit_seq > skipped.debit_seq)
    }),
    ("an old balance is loaded after a resync", &["snapshot"], |history| {
        let later = |event: &&mut Event| event.epoch > 1 && matches!(event.op, Op::Load { .. });
        let Some(event) = history.events.iter_mut().find(later) else { return false };
        let Op::Load { state, .. } = &mut event.op else { return false };
        state.posted = NanoUsd::new(state.posted.get() + CENT);
        // Whoever reads this balance from now on is consistent with it.
        true
    }),
    ("a window that was spent is open again", &["window"], |history| {
        let spent = |event: &&mut Event| match &event.op {
            Op::Load { state, .. } => event.epoch > 1 && state.caps[0].used.get() > 0,
            _ => false,
        };
        let Some(event) = history.events.iter_mut().find(spent) else { return false };
        let Op::Load { state, .. } = &mut event.op else { return false };
        state.caps[0].used = NanoUsd::ZERO;
        true
    }),
    ("a credit is applied before the one that precedes it", &["replay", "credits"], |history| {
        let applied = |event: &&mut Event| match (&event.op, &event.answer) {
            (Op::Credit(entry), Answer::Credited(billing::engine::Credited::Done { .. })) => entry.seq > 2,
            _ => false,
        };
        let Some(event) = history.events.iter_mut().find(applied) else { return false };
        let Op::Credit(entry) = &mut event.op else { return false };
        entry.seq += 1;
        true
    }),
    ("a hold is never given back", &["leak"], |history| {
        let Some((_, end)) = history.end.first_mut() else { return false };
        *end = Balance { reserved: NanoUsd::new(CENT), ..*end };
        true
    }),
    ("a reserve is granted beyond the balance", &["replay"], |history| {
        let granted = |event: &&mut Event| matches!(event.answer, Answer::Reserved(Reserved::Granted(_)));
        let Some(event) = history.events.iter_mut().rev().find(granted) else { return false };
        let (Op::Reserve(ask), Answer::Reserved(Reserved::Granted(grant))) =
            (&mut event.op, &mut event.answer)
        else {
            return false;
        };
        let beyond = grant.amount.get() + grant.available.get() + 1;
        (ask.want, ask.least) = (beyond, beyond);
        (grant.amount, grant.available) = (NanoUsd::new(beyond), NanoUsd::new(-1));
        true
    }),
    ("two acts are seen in another order than they happened", &["order"], |history| {
        let version = |event: &Event| match &event.answer {
            Answer::Reserved(Reserved::Granted(grant)) => Some((grant.account, grant.version)),
            _ => None,
        };
        let granted: Vec<(usize, AccountRef, i64)> = history
            .events
            .iter()
            .enumerate()
            .filter_map(|(at, event)| version(event).map(|(account, version)| (at, account, version)))
            .collect();
        let first = granted[0];
        let apart = |(at, account, _): &&(usize, AccountRef, i64)| {
            *account == first.1 && history.events[*at].invoked > history.events[first.0].completed
        };
        let Some(second) = granted.iter().rev().find(apart).copied() else { return false };
        for (at, version) in [(first.0, second.2), (second.0, first.2)] {
            if let Answer::Reserved(Reserved::Granted(grant)) = &mut history.events[at].answer {
                grant.version = version;
            }
        }
        true
    }),
];
