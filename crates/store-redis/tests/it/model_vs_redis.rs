//! Random operations on a real Redis, each answer compared with the model's, and the whole state at the end.
//!
//! `FAREBOX_TEST_FULL=1` makes ten times as many; `FAREBOX_TEST_SEED` chooses another run.

use crate::model::{Close, Model};
use crate::support::{Bed, MINUTE, cap, environment, new_account, new_hold, state};
use billing::engine::{
    AccountRef, Cap, CapId, CapPeriod, CreditEngine as _, CreditEntry, EngineAudit as _, EngineUpkeep as _,
    Grant, HoldKey, Outbox as _, OutboxEntry, OwnKeyTerms, Reserve, Reserved, Settled, Settlement,
};
use kernel::clock::SystemClock;
use kernel::rng::SeededEntropy;
use kernel::{Clock as _, Entropy as _, NanoUsd};
use std::collections::BTreeMap;
use std::time::Duration;

const PERIODS: [CapPeriod; 4] = [CapPeriod::Total, CapPeriod::Daily, CapPeriod::Weekly, CapPeriod::Monthly];
const RECORD: &str = "{\"g\":\"a|b=c,d\"}";

fn terms() -> OwnKeyTerms {
    OwnKeyTerms { ceiling: NanoUsd::new(1_000_000), basis_points: 500 }
}

struct Run {
    bed: Bed,
    model: Model,
    rng: SeededEntropy,
    clock: SystemClock,
    accounts: Vec<AccountRef>,
    /// Every hold ever granted; open ones are those the model has.
    grants: Vec<Grant>,
    open: Vec<Grant>,
    /// How often each kind of answer came.
    answers: BTreeMap<String, u32>,
}

#[tokio::test]
async fn credit_model_vs_redis() {
    let full = environment("FAREBOX_TEST_FULL").is_some_and(|value| value == "1");
    let operations: u32 = if full { 200_000 } else { 20_000 };
    let seed = environment("FAREBOX_TEST_SEED").map_or(31, |seed| seed.parse().unwrap());
    let mut run = Run::new(seed).await;
    for _ in 0..operations {
        run.step().await;
    }
    run.compare_everything().await;
    println!("{operations} operations with seed {seed}, no difference: {:#?}", run.answers);
    for kind in
        ["Granted", "CapExceeded", "Insufficient", "Frozen", "Duplicate", "Closed", "CapMissing", "Refused"]
    {
        assert!(run.answers.contains_key(kind), "no operation was answered {kind}");
    }
}

impl Run {
    async fn new(seed: u64) -> Self {
        let mut run = Self {
            bed: Bed::private().await,
            model: Model::default(),
            rng: SeededEntropy::new(seed),
            clock: SystemClock::new(),
            accounts: Vec::new(),
            grants: Vec::new(),
            open: Vec::new(),
            answers: BTreeMap::new(),
        };
        for _ in 0..8 {
            let start = *run.pick(&[100_000_000, 1_000_000_000, 3_000_000_000, 100_000_000_000]);
            let mut state = state(run.below(start));
            state.caps = (0..6).map(|n| run.some_cap(n)).collect();
            run.bed.load(&state).await;
            run.model.load(&state);
            run.accounts.push(state.account);
        }
        run
    }

    fn below(&self, bound: u64) -> i64 {
        i64::try_from(self.rng.below(bound)).unwrap()
    }

    fn pick<'a, T>(&self, items: &'a [T]) -> &'a T {
        &items[usize::try_from(self.rng.below(u64::try_from(items.len()).unwrap())).unwrap()]
    }

    /// One in three carries the use of an older window, which must not count.
    fn some_cap(&self, n: usize) -> Cap {
        let limit = *self.pick(&[500_000_000, 10_000_000_000, 1_000_000_000_000, NanoUsd::REDIS_MAX.get()]);
        let mut cap = cap(&format!("k:key_{n}"), limit, *self.pick(&PERIODS), self.below(400_000_000));
        if cap.period != CapPeriod::Total && self.rng.below(3) == 0 {
            cap.window -= 1 + self.below(3);
        }
        cap
    }

    fn amount(&self) -> i64 {
        let bound = *self.pick(&[1, 2, 10_000, 100_000_000, 1_000_000_000]);
        self.below(bound)
    }

    fn count<T: std::fmt::Debug>(&mut self, answer: &T) {
        let text = format!("{answer:?}");
        let name = text.split([' ', '(', '{']).next().unwrap().to_owned();
        *self.answers.entry(name).or_default() += 1;
    }

    async fn step(&mut self) {
        match self.rng.below(100) {
            0..34 => self.reserve().await,
            34..56 => self.settle().await,
            56..63 => self.release().await,
            63..77 => self.extend().await,
            77..83 => self.credit().await,
            83..91 => self.replay().await,
            91..92 => self.freeze().await,
            92..94 => self.set_cap().await,
            94..96 => self.expire().await,
            96..98 => self.refused_calls().await,
            _ => self.unknown().await,
        }
    }

    async fn reserve(&mut self) {
        let account = *self.pick(&self.accounts);
        let mut caps = Vec::new();
        for n in 0..6 {
            if self.rng.below(4) == 0 {
                caps.push(CapId(format!("k:key_{n}")));
            }
        }
        if self.rng.below(50) == 0 {
            caps.push(CapId("k:unknown".to_owned()));
        }
        let want = self.amount();
        let least = *self.pick(&[want, want, 0, want / 3]);
        let own = self.rng.below(5) == 0;
        let request = Reserve {
            key: new_hold(u8::from(!own)),
            account,
            want: NanoUsd::new(want),
            least: NanoUsd::new(least),
            lifetime: MINUTE,
            own_key: own.then(terms),
            owner: "key|workspace=1,2",
            caps: &caps,
        };
        self.compare_reserve(&request).await;
    }

    async fn compare_reserve(&mut self, request: &Reserve<'_>) -> Option<Grant> {
        let expected = self.model.reserve(request, 1, self.clock.now());
        let got = self.bed.engine.reserve(request).await.unwrap();
        assert_eq!(got, expected, "{request:?}");
        self.count(&got);
        let Reserved::Granted(grant) = got else { return None };
        self.open.push(grant.clone());
        self.grants.push(grant.clone());
        Some(grant)
    }

    fn take_open(&mut self) -> Option<Grant> {
        if self.open.is_empty() {
            return None;
        }
        let index = self.rng.below(u64::try_from(self.open.len()).unwrap());
        Some(self.open.swap_remove(usize::try_from(index).unwrap()))
    }

    async fn settle(&mut self) {
        let Some(grant) = self.take_open() else { return };
        let held = grant.amount.get();
        let amount = match self.rng.below(4) {
            0 => 0,
            1 => held,
            2 => held + self.amount(),
            _ => self.below(held.unsigned_abs() + 1),
        };
        self.compare_settle(&grant.key, grant.account, amount).await;
    }

    async fn compare_settle(&mut self, key: &HoldKey, account: AccountRef, amount: i64) {
        let list_price = amount * 20;
        let how = Close::Settle { amount, list_price, record: RECORD };
        let expected = self.model.close(key, how, 1);
        let settlement =
            Settlement { amount: NanoUsd::new(amount), list_price: NanoUsd::new(list_price), record: RECORD };
        let got = self.bed.engine.settle(key, account, &settlement).await.unwrap();
        assert_eq!(got, expected, "{key:?}");
        self.count(&got);
    }

    async fn release(&mut self) {
        let Some(grant) = self.take_open() else { return };
        self.compare_release(&grant.key, grant.account).await;
    }

    async fn compare_release(&mut self, key: &HoldKey, account: AccountRef) {
        let expected = self.model.close(key, Close::Release, 1);
        assert_eq!(self.bed.engine.release(key, account).await.unwrap(), expected, "{key:?}");
    }

    async fn extend(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let grant = self.pick(&self.open).clone();
        let extra = *self.pick(&[0, self.below(10_000_000), self.below(50_000_000_000)]);
        let metered = self.below(grant.amount.get().unsigned_abs() + 1);
        let expected = self.model.extend(&grant.key, extra, metered);
        let (more, so_far) = (NanoUsd::new(extra), NanoUsd::new(metered));
        let got = self.bed.engine.extend(&grant, more, so_far, MINUTE).await.unwrap();
        assert_eq!(got, expected, "{grant:?} + {extra}");
        if matches!(got, billing::engine::Extended::Refused { .. }) {
            self.count(&got);
        }
    }

    async fn credit(&mut self) {
        let account = *self.pick(&self.accounts);
        let seq = self.model.balance(account).credit_seq + *self.pick(&[0, 1, 1, 1, 2]);
        let delta = NanoUsd::new(self.below(500_000_000) - 100_000_000);
        let entry = CreditEntry { account, seq, delta, is_grant: self.rng.below(2) == 0, caps: Vec::new() };
        let expected = self.model.credit(&entry);
        assert_eq!(self.bed.engine.credit(&entry).await.unwrap(), expected, "{entry:?}");
    }

    /// The same act a second time, on holds open and closed.
    async fn replay(&mut self) {
        if self.grants.is_empty() {
            return;
        }
        let some = if self.rng.below(3) == 0 && !self.open.is_empty() { &self.open } else { &self.grants };
        let grant = self.pick(some).clone();
        let open = self.model.holds.contains_key(&crate::model::name_of(&grant.key));
        assert!(self.bed.engine.knows(&grant.key, grant.account).await.unwrap());
        if open || self.rng.below(3) == 0 {
            let request = Reserve {
                key: grant.key,
                account: grant.account,
                want: grant.amount,
                least: grant.amount,
                lifetime: MINUTE,
                own_key: None,
                owner: "",
                caps: &[],
            };
            assert!(self.compare_reserve(&request).await.is_none());
        } else if self.rng.below(2) == 0 {
            self.compare_settle(&grant.key, grant.account, 7).await;
        } else {
            self.compare_release(&grant.key, grant.account).await;
        }
    }

    async fn freeze(&mut self) {
        let account = *self.pick(&self.accounts);
        let frozen = self.rng.below(8) == 0;
        let version = self.model.freeze(account, frozen);
        assert_eq!(self.bed.engine.freeze(account, frozen).await.unwrap(), Some(version));
    }

    async fn set_cap(&mut self) {
        let account = *self.pick(&self.accounts);
        let number = usize::try_from(self.rng.below(8)).unwrap();
        let mut cap = self.some_cap(number);
        // A new cap comes with its current window, as the ledger reads it.
        cap.window = cap.period.window(self.clock.now());
        if number > 5 {
            cap.id = CapId(format!("m:{number}"));
        }
        let version = self.model.set_cap(account, &cap, self.clock.now());
        assert_eq!(self.bed.engine.set_cap(account, &cap).await.unwrap(), Some(version));
        let known = self.bed.engine.caps(account, std::slice::from_ref(&cap.id)).await.unwrap();
        assert_eq!(Some(&known[0]), self.model.cap(account, &cap.id.0, self.clock.now()).as_ref());
    }

    /// A hold that nobody renews is settled at what was metered.
    async fn expire(&mut self) {
        let account = *self.pick(&self.accounts);
        let want = NanoUsd::new(self.amount());
        let request = Reserve {
            key: new_hold(1),
            account,
            want,
            least: NanoUsd::ZERO,
            lifetime: MINUTE,
            own_key: (self.rng.below(3) == 0).then(terms),
            owner: "someone",
            caps: &[CapId("k:key_1".to_owned())],
        };
        let Some(grant) = self.compare_reserve(&request).await else { return };
        self.open.retain(|open| open.key != grant.key);
        let metered = self.amount();
        let expected = self.model.extend(&grant.key, 0, metered);
        let moment = Duration::from_millis(1);
        let engine = &self.bed.engine;
        let got = engine.extend(&grant, NanoUsd::ZERO, NanoUsd::new(metered), moment).await.unwrap();
        assert_eq!(got, expected);
        self.bed.pass_two_milliseconds().await;
        let closed = self.model.close(&grant.key, Close::Sweep, 1);
        assert!(matches!(closed, Settled::Done { .. }));
        assert_eq!(engine.sweep(account.shard, 10).await.unwrap(), 1);
    }

    /// Calls that only a wrong or late process makes; none may change anything.
    async fn refused_calls(&mut self) {
        let account = *self.pick(&self.accounts);
        let (shard, id) = (account.shard, account.account.uuid().simple().to_string());
        let stale = *self.pick(&["0", "2", "", "x"]);
        assert_eq!(self.bed.call("fb1_settle", shard, &[stale, "g:1", &id, "1", "1", "r"]).await, "STALE|1");
        let bad =
            *self.pick(&["-1", "1.5", "1e3", "9007199254740992", "", "x", " 1", "0x10", "99999999999999999"]);
        for call in [
            ("fb1_settle", ["1", "g:1", &id, bad, "1", "r", "", ""]),
            ("fb1_settle", ["1", "g:1", &id, "1", bad, "r", "", ""]),
            ("fb1_reserve", ["1", "g:1", &id, bad, "0", "9", "c", ""]),
            ("fb1_reserve", ["1", "g:1", &id, "9", bad, "9", "c", ""]),
            ("fb1_reserve", ["1", "g:1", &id, "9", "9", bad, "c", ""]),
            ("fb1_extend", ["1", "g:1", &id, bad, "9", "9", "", ""]),
            ("fb1_extend", ["1", "g:1", &id, "9", bad, "9", "", ""]),
        ] {
            assert_eq!(self.bed.call(call.0, shard, &call.1).await, "BADARG", "{call:?}");
        }
    }

    async fn unknown(&mut self) {
        let account = *self.pick(&self.accounts);
        let key = new_hold(1);
        self.compare_settle(&key, account, 1).await;
        self.compare_release(&key, account).await;
        assert!(!self.bed.engine.knows(&key, account).await.unwrap());
        let stranger = new_account();
        let request = Reserve {
            key,
            account: stranger,
            want: NanoUsd::ZERO,
            least: NanoUsd::ZERO,
            lifetime: MINUTE,
            own_key: None,
            owner: "",
            caps: &[],
        };
        assert!(self.compare_reserve(&request).await.is_none());
        assert_eq!(self.bed.engine.balance(stranger).await.unwrap(), None);
    }

    async fn compare_everything(&self) {
        let outbox = self.read_outbox().await;
        assert_eq!(
            u64::try_from(self.model.holds.len()).unwrap(),
            self.bed.engine.open_holds().await.unwrap()
        );
        for account in &self.accounts {
            let mine = |entry: &&OutboxEntry| entry.account == account.account;
            let got: Vec<&OutboxEntry> = outbox.iter().filter(mine).collect();
            let expected: Vec<&OutboxEntry> = self.model.outbox.iter().filter(mine).collect();
            assert_eq!(got, expected);
            let sequences: Vec<i64> = got.iter().map(|entry| entry.debit_seq).collect();
            let first = 6;
            assert!(sequences.iter().zip(first..).all(|(got, expected)| *got == expected), "a gap");
            let audited = self.bed.engine.accounts(account.shard).await.unwrap();
            let audited = audited.iter().find(|audited| audited.account == account.account).unwrap();
            assert_eq!(audited.balance, self.model.balance(*account));
            assert_eq!(audited.held, audited.balance.reserved);
            assert_eq!(audited.balance.balance.get(), self.model.balance_by_sums(*account, &outbox));
            let ids = self.model.caps_of(*account);
            assert_eq!(audited.caps.len(), ids.len());
            for cap in self.bed.engine.caps(*account, &ids).await.unwrap() {
                assert_eq!(Some(&cap), self.model.cap(*account, &cap.id.0, self.clock.now()).as_ref());
            }
        }
    }

    /// All entries of all shards, without their stream ids.
    async fn read_outbox(&self) -> Vec<OutboxEntry> {
        let mut after: Vec<(u8, String)> = (0..64).map(|shard| (shard, "0-0".to_owned())).collect();
        let mut all = Vec::new();
        loop {
            let some = self.bed.engine.read(&after, 500).await.unwrap();
            if some.is_empty() {
                return all;
            }
            for entry in some {
                after[usize::from(entry.shard)].1.clone_from(&entry.id);
                all.push(OutboxEntry { id: String::new(), ..entry });
            }
        }
    }
}
