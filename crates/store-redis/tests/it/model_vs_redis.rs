//! Random acts on a real Redis, each answer compared with the model's, and the whole state now and then. All
//! functions, on a clock that the test moves over days and months and back, through seals and new epochs.
//!
//! `FAREBOX_TEST_FULL=1` makes five times as many; `FAREBOX_TEST_SEED` chooses another run.

use crate::model::{Model, name_of, window_of};
use crate::ops::{Answer, Ask, Op};
use crate::support::{Bed, cap, environment, new_hold, state};
use billing::engine::{
    AccountRef, AccountState, Cap, CapChange, CapId, CapPeriod, CapUse, CreditEntry, EngineAudit as _, Grant,
    Outbox as _, OutboxEntry, OwnKeyTerms, Reserved,
};
use billing::fees::Allowance;
use kernel::clock::SystemClock;
use kernel::rng::SeededEntropy;
use kernel::{Clock as _, Entropy as _, NanoUsd};
use std::collections::BTreeMap;
use std::time::Duration;

const PERIODS: [CapPeriod; 4] = [CapPeriod::Total, CapPeriod::Daily, CapPeriod::Weekly, CapPeriod::Monthly];
const SHARDS: [u8; 3] = [3, 7, 63];
/// More open holds than this are settled first.
const OPEN_MAX: usize = 150;
const HOUR: u64 = 3600;

struct Run {
    bed: Bed,
    model: Model,
    rng: SeededEntropy,
    accounts: Vec<AccountRef>,
    /// Granted holds, the newest last; some are open, and a few were lost.
    grants: Vec<Grant>,
    /// Where each shard's outbox is read.
    cursors: BTreeMap<u8, String>,
    sent: u64,
    entries: u64,
    clock_moves: u64,
    /// How often each kind of answer came.
    answers: BTreeMap<String, u64>,
}

#[tokio::test]
async fn credit_model_vs_redis() {
    let full = environment("FAREBOX_TEST_FULL").is_some_and(|value| value == "1");
    let operations: u64 = if full { 1_000_000 } else { 200_000 };
    let seed = environment("FAREBOX_TEST_SEED").map_or(31, |seed| seed.parse().unwrap());
    let mut run = Run::new(seed).await;
    let mut compared = 0;
    while run.sent < operations {
        run.step().await;
        if run.sent / 20_000 > compared {
            compared = run.sent / 20_000;
            run.compare_everything().await;
        }
    }
    run.compare_everything().await;
    println!(
        "{} operations with seed {seed}, {} ledger entries, {} moves of the clock: 0 differences\n{:#?}",
        run.sent, run.entries, run.clock_moves, run.answers
    );
    for kind in [
        "Reserved(Granted",
        "Reserved(CapExceeded",
        "Reserved(Insufficient",
        "Reserved(Frozen",
        "Reserved(Duplicate",
        "Reserved(Closed",
        "Reserved(CapMissing",
        "Reserved(AccountMissing",
        "Extended(Granted",
        "Extended(Refused",
        "Extended(NoHold",
        "Settled(Done",
        "Settled(Already",
        "Settled(NoHold",
        "Swept(1",
        "Credited(Done",
        "Credited(Already",
        "Credited(Gap",
        "Credited(AccountMissing",
        "Loaded(Done",
        "Loaded(Already",
        "Loaded(Overtaken",
        "Unloaded(true",
        "Unloaded(false",
        "Again(Done",
        "Again(Known",
        "Again(TooLate",
        "Refused(\"SEALED",
        "Refused(\"STALE",
        "Refused(\"MISSING",
        "Kept(Kept",
        "Version(Some",
        "Version(None",
        "Balance(None",
    ] {
        let times: u64 = run.answers.iter().filter(|(name, _)| name.starts_with(kind)).map(|(_, n)| n).sum();
        assert!(times >= 10, "{kind} came {times} times");
    }
}

/// The first two words of an answer: `Reserved(Granted`.
fn kind_of(answer: &Answer) -> String {
    let text = format!("{answer:?}");
    let mut words = text.split(['(', ' ', '{', ')', ',']).filter(|word| !word.is_empty());
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    format!("{first}({second}")
}

impl Run {
    async fn new(seed: u64) -> Self {
        let mut run = Self {
            bed: Bed::with_clock().await,
            model: Model::default(),
            rng: SeededEntropy::new(seed),
            accounts: Vec::new(),
            grants: Vec::new(),
            cursors: SHARDS.iter().map(|shard| (*shard, "0-0".to_owned())).collect(),
            sent: 0,
            entries: 0,
            clock_moves: 0,
            answers: BTreeMap::new(),
        };
        run.model.now = SystemClock::new().now();
        run.bed.set_clock(run.model.now).await;
        for shard in SHARDS {
            run.send(Op::Open { shard, epoch: 1 }).await;
        }
        for number in 0..9 {
            let mut state = state(0);
            state.account.shard = SHARDS[number % SHARDS.len()];
            run.accounts.push(state.account);
            run.load(state.account).await;
        }
        run
    }

    fn below(&self, bound: u64) -> i64 {
        i64::try_from(self.rng.below(bound)).unwrap()
    }

    fn chance(&self, one_in: u64) -> bool {
        self.rng.below(one_in) == 0
    }

    fn pick<'a, T>(&self, items: &'a [T]) -> &'a T {
        &items[usize::try_from(self.rng.below(u64::try_from(items.len()).unwrap())).unwrap()]
    }

    fn amount(&self) -> i64 {
        let bound = *self.pick(&[1, 2, 10_000, 100_000_000, 1_000_000_000]);
        self.below(bound)
    }

    fn lifetime(&self) -> Duration {
        Duration::from_millis(1 + self.rng.below(*self.pick(&[3, 60_000, 3_600_000])))
    }

    /// Carries out an act on both sides; what they answered.
    async fn send(&mut self, op: Op) -> Answer {
        let expected = self.model.apply(&op);
        let got = op.send(&self.bed.engine).await;
        assert_eq!(got, expected, "operation {}: {op:?}", self.sent);
        self.sent += 1;
        *self.answers.entry(kind_of(&got)).or_default() += 1;
        got
    }

    async fn step(&mut self) {
        let open = self.model.holds.len() > OPEN_MAX;
        match self.rng.below(1000) {
            0..330 if !open => self.reserve().await,
            0..570 => self.settle().await,
            570..620 => self.release().await,
            620..750 => self.extend().await,
            750..810 => self.credit().await,
            810..870 => self.replay().await,
            870..880 => self.freeze().await,
            880..900 => self.set_cap().await,
            900..920 => self.sweep().await,
            920..940 => self.look().await,
            940..960 => self.load_some().await,
            960..965 => self.unknown().await,
            965..970 => self.assert_again().await,
            970..985 => self.move_clock().await,
            985..988 => self.refused_calls().await,
            988..994 => self.unload().await,
            _ => self.new_epoch().await,
        }
    }

    /// An account that is loaded, nearly always.
    async fn account(&mut self) -> AccountRef {
        let account = *self.pick(&self.accounts);
        if !self.model.is_loaded(account) && !self.chance(4) {
            self.load(account).await;
        }
        account
    }

    fn terms(&self) -> OwnKeyTerms {
        let basis_points = *self.pick(&[500, 500, 0, 750, 10_000]);
        OwnKeyTerms { ceiling: NanoUsd::new(self.amount()), basis_points }
    }

    async fn reserve(&mut self) {
        let account = self.account().await;
        let mut caps = Vec::new();
        for n in 0..8 {
            if self.chance(if n < 6 { 4 } else { 100 }) {
                caps.push(CapId(format!("k:key_{n}")));
            }
        }
        if self.chance(50) {
            caps.push(CapId("k:unknown".to_owned()));
        }
        let want = self.amount();
        let least = *self.pick(&[want, want, 0, want / 3]);
        let own_key = self.chance(4).then(|| self.terms());
        let key = new_hold(u8::from(own_key.is_none()));
        let ask = Ask { key, account, want, least, lifetime: self.lifetime(), own_key, caps };
        self.ask(ask).await;
    }

    async fn ask(&mut self, ask: Ask) {
        if let Answer::Reserved(Reserved::Granted(grant)) = self.send(Op::Reserve(ask)).await {
            self.grants.push(grant);
            if self.grants.len() > 400 {
                let model = &self.model;
                let oldest = self.grants.len() - 200;
                let mut index = 0;
                self.grants.retain(|grant| {
                    index += 1;
                    index > oldest || model.holds.contains_key(&name_of(&grant.key))
                });
            }
        }
    }

    /// A hold that is open.
    fn some_open(&self) -> Option<Grant> {
        let start =
            usize::try_from(self.rng.below(u64::try_from(self.grants.len().max(1)).unwrap())).unwrap();
        let (after, before) = (self.grants.iter().skip(start), self.grants.iter().take(start));
        after.chain(before).find(|grant| self.model.holds.contains_key(&name_of(&grant.key))).cloned()
    }

    async fn settle(&mut self) {
        let Some(grant) = self.some_open() else { return };
        let held = grant.amount.get();
        let amount = match self.rng.below(4) {
            0 => 0,
            1 => held,
            2 => held + self.amount(),
            _ => self.below(held.unsigned_abs() + 1),
        };
        let list_price = *self.pick(&[amount, amount * 20, self.amount()]);
        self.send(Op::Settle { key: grant.key, account: grant.account, amount, list_price }).await;
    }

    async fn release(&mut self) {
        let Some(grant) = self.some_open() else { return };
        self.send(Op::Release { key: grant.key, account: grant.account }).await;
    }

    async fn extend(&mut self) {
        let Some(hold) = self.some_open() else { return };
        let extra = *self.pick(&[0, 0, self.below(10_000_000), self.below(50_000_000_000)]);
        let metered = *self.pick(&[0, self.below(hold.amount.get().unsigned_abs() + 1), self.amount()]);
        self.send(Op::Extend { hold, extra, metered, lifetime: self.lifetime() }).await;
    }

    async fn credit(&mut self) {
        let account = self.account().await;
        let have = self.model.accounts.get(&account.account).map_or(0, |known| known.credit_seq);
        let seq = have + *self.pick(&[0, 1, 1, 1, 2]);
        let delta = NanoUsd::new(self.below(500_000_000) - 100_000_000);
        let caps = (0..self.rng.below(4)).map(|_| self.some_change()).collect();
        let is_grant = self.chance(2);
        self.send(Op::Credit(CreditEntry { account, seq, delta, is_grant, caps })).await;
    }

    fn some_change(&self) -> CapChange {
        let (number, period) = (self.below(7), *self.pick(&PERIODS));
        let window = period.window(self.model.now) + *self.pick(&[0, 0, 0, -1, 1]);
        let window = if period == CapPeriod::Total { 0 } else { window };
        let delta = NanoUsd::new(self.below(200_000_000) - 100_000_000);
        CapChange { cap: CapId(format!("k:key_{number}")), period, window, delta }
    }

    /// The same act a second time, on holds open, closed and lost.
    async fn replay(&mut self) {
        if self.grants.is_empty() {
            return;
        }
        let Grant { key, account, amount, .. } = self.pick(&self.grants).clone();
        let open = self.model.holds.contains_key(&name_of(&key));
        self.send(Op::Knows { key, account }).await;
        if open || self.chance(3) {
            let want = amount.get();
            let (lifetime, caps) = (self.lifetime(), Vec::new());
            self.ask(Ask { key, account, want, least: want, lifetime, own_key: None, caps }).await;
        } else if self.chance(2) {
            self.send(Op::Settle { key, account, amount: 7, list_price: 7 }).await;
        } else if self.chance(2) {
            self.send(Op::Release { key, account }).await;
        } else {
            let hold = self.pick(&self.grants).clone();
            self.send(Op::Extend { hold, extra: 1, metered: 1, lifetime: self.lifetime() }).await;
        }
    }

    async fn freeze(&mut self) {
        let account = *self.pick(&self.accounts);
        let frozen = self.chance(6);
        self.send(Op::Freeze { account, frozen }).await;
    }

    /// Mostly with the current window, as the ledger reads it.
    fn some_cap(&self, number: i64) -> Cap {
        let limit = *self.pick(&[500_000_000, 10_000_000_000, 1_000_000_000_000, NanoUsd::REDIS_MAX.get()]);
        let period = *self.pick(&PERIODS);
        let used = self.below(400_000_000);
        let mut cap = cap(&format!("k:key_{number}"), limit, period, used);
        cap.window = period.window(self.model.now);
        if period != CapPeriod::Total {
            cap.window += *self.pick(&[0, 0, 0, 0, -1, -3, 1]);
        }
        cap
    }

    async fn set_cap(&mut self) {
        let account = *self.pick(&self.accounts);
        let cap = self.some_cap(self.below(8));
        let ids = vec![cap.id.clone()];
        self.send(Op::SetCap { account, cap }).await;
        self.send(Op::Caps { account, ids }).await;
    }

    async fn sweep(&mut self) {
        let (shard, limit) = (*self.pick(&SHARDS), *self.pick(&[1, 3, 1000]));
        self.send(Op::Sweep { shard, limit }).await;
    }

    async fn look(&mut self) {
        let account = *self.pick(&self.accounts);
        let ids = (0..9).map(|n| CapId(format!("k:key_{n}"))).collect();
        let op = match self.rng.below(4) {
            0 => Op::Balance(account),
            1 => Op::Caps { account, ids },
            2 => Op::Kept(account),
            _ => Op::Epoch(account.shard),
        };
        self.send(op).await;
    }

    async fn unknown(&mut self) {
        let (account, key) = (*self.pick(&self.accounts), new_hold(1));
        self.send(Op::Settle { key, account, amount: 1, list_price: 1 }).await;
        self.send(Op::Release { key, account }).await;
        self.send(Op::Knows { key, account }).await;
    }

    /// What the ledger might say of an account now.
    fn some_state(&self, account: AccountRef) -> AccountState {
        let start = *self.pick(&[100_000_000, 1_000_000_000, 3_000_000_000, 100_000_000_000]);
        let known = self.model.accounts.get(&account.account);
        let mut state = state(self.below(start));
        state.account = account;
        state.credit_seq = known.map_or(3, |known| known.credit_seq) + self.below(2);
        state.debit_seq = known.map_or(5, |known| known.debit_seq);
        state.frozen = self.chance(30);
        state.byok.allowance = if self.chance(2) {
            Allowance::Requests(self.rng.below(40))
        } else {
            Allowance::ListPrice(NanoUsd::new(self.amount() * 3))
        };
        state.byok.month = CapPeriod::Monthly.window(self.model.now) + *self.pick(&[0, 0, 0, -1, 1]);
        state.byok.requests = self.rng.below(10);
        state.byok.list_price = NanoUsd::new(self.amount());
        state.caps = (0..6).map(|number| self.some_cap(number)).collect();
        let holds = self.model.holds.values().map(|hold| hold.key);
        state.booked = holds.filter(|_| self.chance(8)).collect();
        state
    }

    async fn load(&mut self, account: AccountRef) {
        let unloads = self.model.shards[&account.shard].unloads;
        let mut state = Box::new(self.some_state(account));
        let kept = self.send(Op::Kept(account)).await;
        // Only of holds that the engine told of can the ledger say that they are booked; foreign ones now and
        // then, which must not matter.
        if let Answer::Kept(kept) = kept
            && !self.chance(10)
        {
            state.booked.retain(|key| kept.holds.contains(key));
        }
        self.send(Op::Load { state, unloads }).await;
    }

    /// A load that comes when it is not needed, or too late.
    async fn load_some(&mut self) {
        let account = *self.pick(&self.accounts);
        let unloads = self.model.shards[&account.shard].unloads + i64::from(self.chance(3));
        let mut state = Box::new(self.some_state(account));
        state.booked.clear();
        self.send(Op::Load { state, unloads }).await;
    }

    /// Mostly forward, by moments up to months; sometimes back.
    async fn move_clock(&mut self) {
        let seconds = match self.rng.below(20) {
            0 => 24 * HOUR * (1 + self.rng.below(40)),
            1 | 2 => 24 * HOUR,
            3..7 => HOUR * self.rng.below(12),
            _ => self.rng.below(90),
        };
        let by = Duration::from_millis(seconds * 1000 + self.rng.below(1000));
        if self.chance(5) {
            self.model.now -= by;
        } else {
            self.model.now += by;
        }
        self.clock_moves += 1;
        self.bed.set_clock(self.model.now).await;
    }

    /// Calls that only a wrong or late process makes; none may change anything.
    async fn refused_calls(&mut self) {
        let account = *self.pick(&self.accounts);
        let known = self.model.shards[&account.shard];
        let (shard, id) = (account.shard, account.account.uuid().simple().to_string());
        let (epoch, stale) = (known.epoch.to_string(), format!("STALE|{}", known.epoch));
        let wrong = [&(known.epoch - 1).to_string(), &(known.epoch + 1).to_string(), "", "x"];
        for function in ["fb1_settle", "fb1_credit", "fb1_load", "fb1_trim", "fb1_kept", "fb1_again"] {
            let wrong = *self.pick(&wrong);
            assert_eq!(self.bed.call(function, shard, &[wrong, "g:1", &id, "1", "1", "r"]).await, stale);
        }
        let bad =
            *self.pick(&["-1", "1.5", "1e3", "9007199254740992", "", "x", " 1", "0x10", "99999999999999999"]);
        for (function, arguments) in [
            ("fb1_settle", ["g:1", &id, bad, "1", "r", "", ""]),
            ("fb1_settle", ["g:1", &id, "1", bad, "r", "", ""]),
            ("fb1_reserve", ["g:1", &id, bad, "0", "9", "c", ""]),
            ("fb1_reserve", ["g:1", &id, "9", bad, "9", "c", ""]),
            ("fb1_reserve", ["g:1", &id, "9", "9", bad, "c", ""]),
            ("fb1_extend", ["g:1", &id, bad, "9", "9", "", ""]),
            ("fb1_extend", ["g:1", &id, "9", bad, "9", "", ""]),
        ] {
            let all: Vec<&str> = std::iter::once(epoch.as_str()).chain(arguments).collect();
            assert_eq!(self.bed.call(function, shard, &all).await, "BADARG", "{function} {arguments:?}");
        }
    }

    /// Every entry of a shard that was not read yet must be the model's; then both forget them.
    async fn drain(&mut self, shard: u8) {
        let expected = self.model.outbox.remove(&shard).unwrap_or_default();
        let mut got = Vec::new();
        loop {
            let after = [(shard, self.cursors[&shard].clone())];
            let some = self.bed.engine.read(&after, 1000).await.unwrap();
            let Some(last) = some.last() else { break };
            self.cursors.insert(shard, last.id.clone());
            got.extend(some.into_iter().map(|entry| OutboxEntry { id: String::new(), ..entry }));
        }
        assert_eq!(got, expected, "the outbox of shard {shard}");
        self.entries += u64::try_from(got.len()).unwrap();
        let epoch = self.model.shards[&shard].epoch;
        self.bed.engine.trim(shard, epoch, &self.cursors[&shard]).await.unwrap();
    }

    async fn unload(&mut self) {
        let account = *self.pick(&self.accounts);
        self.send(Op::Unload(account)).await;
        if self.chance(2) {
            let mine: Vec<Grant> =
                self.grants.iter().filter(|grant| grant.account == account).cloned().collect();
            for grant in mine {
                self.send(Op::Release { key: grant.key, account }).await;
            }
            self.drain(account.shard).await;
            self.send(Op::Unload(account)).await;
        }
    }

    async fn assert_again(&mut self) {
        if self.grants.is_empty() {
            return;
        }
        let mut hold = self.pick(&self.grants).clone();
        if self.chance(3) {
            for named in hold.windows.iter_mut().filter(|named| named.period != CapPeriod::Total) {
                named.window += *self.pick(&[-1, 1]);
            }
        }
        let (metered, lifetime) = (self.amount(), self.lifetime());
        self.send(Op::Again { hold, metered, lifetime }).await;
    }

    /// A new life of a shard: sealed, some holds lost and some of those asserted again, accounts loaded, open;
    /// or simply opened.
    async fn new_epoch(&mut self) {
        let shard = *self.pick(&SHARDS);
        let have = self.model.shards[&shard].epoch;
        if self.chance(3) {
            self.send(Op::Open { shard, epoch: have + 1 }).await;
            return;
        }
        let wrong = have - self.below(2);
        self.send(Op::Seal { shard, epoch: wrong }).await;
        self.send(Op::Seal { shard, epoch: have + 1 + self.below(2) }).await;
        self.drain(shard).await;
        self.lose_some_holds(shard).await;
        for _ in 0..self.rng.below(12) {
            match self.rng.below(6) {
                0 => self.reserve().await,
                1 => self.settle().await,
                2 => self.sweep().await,
                3 => self.look().await,
                _ => self.assert_again().await,
            }
        }
        for account in self.accounts.clone() {
            if account.shard == shard && !self.chance(5) {
                self.load(account).await;
            }
        }
        for _ in 0..self.rng.below(6) {
            self.assert_again().await;
        }
        let sealed = self.model.shards[&shard].epoch;
        self.send(Op::Open { shard, epoch: sealed - 1 }).await;
        self.send(Op::Open { shard, epoch: sealed }).await;
    }

    /// As if they had never been replicated. No account of the shard is loaded yet.
    async fn lose_some_holds(&mut self, shard: u8) {
        let of_shard = self.model.holds.iter().filter(|(_, hold)| hold.account.shard == shard);
        let lost: Vec<String> = of_shard.filter(|_| self.chance(3)).map(|(name, _)| name.clone()).collect();
        for name in lost {
            let _: i64 = self.bed.command(&["DEL", &format!("{{c{shard:02}}}:h:{name}")]).await;
            let _: i64 = self.bed.command(&["ZREM", &format!("{{c{shard:02}}}:x"), &name]).await;
            self.model.holds.remove(&name);
        }
    }

    async fn compare_everything(&mut self) {
        for shard in SHARDS {
            self.drain(shard).await;
            let audited = self.bed.engine.accounts(shard).await.unwrap();
            for account in self.accounts.iter().filter(|account| account.shard == shard) {
                if !self.model.is_loaded(*account) {
                    continue;
                }
                let found = audited.iter().find(|audited| audited.account == account.account).unwrap();
                let known = &self.model.accounts[&account.account];
                assert_eq!(found.epoch, known.epoch);
                assert_eq!(found.balance, self.model.balance(*account));
                assert_eq!(found.held, found.balance.reserved);
                let reserved = |cap: &Cap| NanoUsd::new(self.model.cap_reserved(*account, &window_of(cap)));
                let expected: Vec<CapUse> = known
                    .caps
                    .values()
                    .map(|cap| CapUse {
                        id: cap.id.clone(),
                        limit: cap.limit,
                        period: cap.period,
                        window: cap.window,
                        used: cap.used,
                        reserved: reserved(cap),
                    })
                    .collect();
                assert_eq!(found.caps, expected, "{account:?}");
            }
        }
        let open = u64::try_from(self.model.holds.len()).unwrap();
        assert_eq!(self.bed.engine.open_holds().await.unwrap(), open);
    }
}
