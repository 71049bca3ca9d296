//! Judges what many clients saw of one engine over a network that failed them: whether one order of their acts,
//! the one that the accounts' versions name, explains every answer, and whether the books agree with it.
//!
//! Acts without an answer may have happened at any time after they were sent, once or not at all. It knows
//! nothing of how a history came about.

use crate::model::{Model, name_of};
use crate::ops::{Answer, Ask, Op};
use billing::engine::{
    AccountRef, Balance, ClosedBy, CreditEntry, Credited, Extended, Loaded, OutboxEntry, Reserved, Settled,
};
use kernel::NanoUsd;
use std::collections::{BTreeMap, BTreeSet};

/// One act as a client saw it. The numbers order all beginnings and ends of all acts.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) op: Op,
    pub(crate) invoked: u64,
    /// `u64::MAX` when no answer came.
    pub(crate) completed: u64,
    pub(crate) answer: Answer,
    /// Of the shard, for a load.
    pub(crate) epoch: i64,
}

/// Everything that is known when a run is over.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) events: Vec<Event>,
    /// What the ledger booked, in order.
    pub(crate) movements: Vec<OutboxEntry>,
    pub(crate) credits: Vec<CreditEntry>,
    /// What each account began with.
    pub(crate) start: Vec<(AccountRef, i64)>,
    /// What the engine says at last.
    pub(crate) end: Vec<(AccountRef, Balance)>,
}

/// A rule that the history breaks, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

/// Steps that the search for an order may take for each act of an account.
const PATIENCE: usize = 8;

/// Every rule but the search for an order, and that where the others are kept.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    for (account, start) in &history.start {
        Acts::of(history, *account).order(&mut found);
        snapshots(history, *account, *start, &mut found);
        sequences(history, *account, &mut found);
        conserved(history, *account, *start, &mut found);
    }
    durable(history, &mut found);
    for (account, _) in &history.start {
        if found.is_empty() {
            let acts = Acts::of(history, *account);
            Replay::of(history, &acts, *account).run(&mut found);
        }
    }
    found
}

fn broken(found: &mut Vec<Violation>, rule: &'static str, what: String) {
    found.push(Violation { rule, what });
}

/// The account that an act is about, and the version that its answer names.
fn account_of(op: &Op) -> Option<AccountRef> {
    match op {
        Op::Reserve(ask) => Some(ask.account),
        Op::Extend { hold, .. } => Some(hold.account),
        Op::Settle { account, .. } | Op::Release { account, .. } => Some(*account),
        Op::SetCap { account, .. } | Op::Freeze { account, .. } => Some(*account),
        Op::Credit(entry) => Some(entry.account),
        Op::Load { state, .. } => Some(state.account),
        _ => None,
    }
}

fn version_of(answer: &Answer) -> Option<i64> {
    match answer {
        Answer::Reserved(Reserved::Granted(grant)) => Some(grant.version),
        Answer::Extended(Extended::Granted { version, .. })
        | Answer::Settled(Settled::Done { version, .. })
        | Answer::Credited(Credited::Done { version, .. })
        | Answer::Version(Some(version))
        | Answer::Loaded(Loaded::Done { version }) => Some(*version),
        _ => None,
    }
}

/// The acts on one account: those that changed it by version, those that changed nothing, and those of which
/// nobody knows.
struct Acts<'a> {
    known: Vec<(i64, &'a Event)>,
    refused: Vec<&'a Event>,
    unknown: Vec<&'a Event>,
}

impl<'a> Acts<'a> {
    fn of(history: &'a History, account: AccountRef) -> Self {
        let mut acts = Self { known: Vec::new(), refused: Vec::new(), unknown: Vec::new() };
        for event in history.events.iter().filter(|event| account_of(&event.op) == Some(account)) {
            match (&event.answer, version_of(&event.answer)) {
                (_, Some(version)) => acts.known.push((version, event)),
                (Answer::Unknown(_), None) => acts.unknown.push(event),
                // The shard was closed to it or the account not loaded: nothing was decided.
                (Answer::Refused(_) | Answer::Version(None) | Answer::Loaded(_), None)
                | (Answer::Reserved(Reserved::AccountMissing), None)
                | (Answer::Credited(Credited::AccountMissing), None) => {}
                (_, None) => acts.refused.push(event),
            }
        }
        acts.known.sort_by_key(|(version, _)| *version);
        let done: BTreeSet<String> = acts.known.iter().filter_map(|(_, event)| once(&event.op)).collect();
        // What is done once per key was done by the act that was told so, and by none that was not.
        acts.unknown.retain(|event| once(&event.op).is_none_or(|name| !done.contains(&name)));
        // What was later said to have been done before must have been done: those are tried first.
        let told: BTreeSet<String> = acts.refused.iter().filter_map(|event| told(event)).collect();
        acts.unknown
            .sort_by_key(|event| (!once(&event.op).is_some_and(|name| told.contains(&name)), event.invoked));
        acts
    }

    /// An act that was over before another began has the lower version, and no version is given twice.
    fn order(&self, found: &mut Vec<Violation>) {
        let mut latest = 0;
        for pair in self.known.windows(2) {
            if pair[0].0 == pair[1].0 {
                broken(found, "order", format!("version {} twice: {:?}", pair[0].0, pair[1].1.op));
            }
        }
        for (version, event) in &self.known {
            if event.completed < latest {
                broken(
                    found,
                    "order",
                    format!("version {version} ended before a lower one began: {:?}", event.op),
                );
            }
            latest = latest.max(event.invoked);
        }
    }
}

/// What can happen only once: a hold is made once and closed once, a credit applied once.
fn once(op: &Op) -> Option<String> {
    match op {
        Op::Reserve(ask) => Some(format!("reserve {}", name_of(&ask.key))),
        Op::Settle { key, .. } | Op::Release { key, .. } => Some(format!("close {}", name_of(key))),
        Op::Credit(entry) => Some(format!("credit {}", entry.seq)),
        _ => None,
    }
}

/// The act that an answer speaks of as done before.
fn told(event: &Event) -> Option<String> {
    match event.answer {
        Answer::Reserved(Reserved::Duplicate(_) | Reserved::Closed)
        | Answer::Settled(Settled::Already { .. })
        | Answer::Credited(Credited::Already) => once(&event.op),
        _ => None,
    }
}

/// The search for an order of the acts on an account that explains every answer.
struct Replay<'a> {
    known: &'a [(i64, &'a Event)],
    unknown: &'a [&'a Event],
    /// Acts that changed nothing, with the versions between which they were answered.
    refused: Vec<(i64, i64, &'a Event)>,
    account: AccountRef,
    end: Option<Balance>,
    steps: usize,
    /// Choices that led nowhere: how far, what was used, and the balance and holds that came of it.
    dead: BTreeSet<(usize, BTreeSet<usize>, i64, i64)>,
    /// The furthest version that was reached, and what was wrong there.
    furthest: (i64, String),
}

impl<'a> Replay<'a> {
    fn of(history: &History, acts: &'a Acts<'a>, account: AccountRef) -> Self {
        let mut refused = Vec::with_capacity(acts.refused.len());
        for event in &acts.refused {
            let before = acts.known.iter().filter(|(_, other)| other.completed < event.invoked);
            let low = before.map(|(version, _)| *version).max().unwrap_or(0);
            let after = acts.known.iter().filter(|(_, other)| other.invoked > event.completed);
            let high = after.map(|(version, _)| *version - 1).min().unwrap_or(i64::MAX);
            refused.push((low, high, *event));
        }
        let end = history.end.iter().find(|(known, _)| *known == account).map(|(_, balance)| *balance);
        let (known, unknown) = (acts.known.as_slice(), acts.unknown.as_slice());
        Self {
            known,
            unknown,
            refused,
            account,
            end,
            steps: 0,
            dead: BTreeSet::new(),
            furthest: (-1, String::new()),
        }
    }

    fn run(mut self, found: &mut Vec<Violation>) {
        let explained = BTreeSet::new();
        if !self.follow(Model::default(), 0, 0, &BTreeSet::new(), explained) {
            let (version, why) = &self.furthest;
            let what = format!("no order explains the answers beyond version {version}: {why}");
            broken(found, "replay", what);
        }
    }

    fn stuck(&mut self, version: i64, why: impl FnOnce() -> String) -> bool {
        if version >= self.furthest.0 {
            self.furthest = (version, why());
        }
        false
    }

    /// Whether everything from a version on can be explained, from this state.
    fn follow(
        &mut self,
        mut model: Model,
        mut version: i64,
        mut next: usize,
        used: &BTreeSet<usize>,
        mut explained: BTreeSet<usize>,
    ) -> bool {
        loop {
            self.steps += 1;
            if self.steps > PATIENCE * (self.known.len() + 100) {
                return self.stuck(version, || "too many possible orders".to_owned());
            }
            if next > 0 && !self.explain(&model, version, &mut explained) {
                return false;
            }
            let Some((at, event)) = self.known.get(next).copied() else {
                return self.finish(&model, version, used, &explained);
            };
            if next > 0 && at > version + 1 {
                let why = format!("nothing fills the gap before version {at}: {:?}", event.op);
                return self.branch(&model, (version, next), used, &explained, event.completed)
                    || self.stuck(version, || why);
            }
            let answer = self.act(&mut model, event);
            if answer.as_ref() != Some(&event.answer) {
                return self.stuck(version, || {
                    format!("{:?} answered {:?}, not {answer:?}", event.op, event.answer)
                });
            }
            (version, next) = (at, next + 1);
        }
    }

    /// Tries every act of which nobody heard, and that was sent early enough, as the next one.
    fn branch(
        &mut self,
        model: &Model,
        (version, next): (i64, usize),
        used: &BTreeSet<usize>,
        explained: &BTreeSet<usize>,
        before: u64,
    ) -> bool {
        for (number, candidate) in self.unknown.iter().enumerate() {
            if used.contains(&number) || candidate.invoked > before {
                continue;
            }
            let mut state = model.clone();
            let answer = self.act(&mut state, candidate);
            if answer.and_then(|answer| version_of(&answer)) != Some(version + 1) {
                continue;
            }
            let mut with = used.clone();
            with.insert(number);
            let Balance { balance, reserved, .. } = state.balance(self.account);
            let choice = (next, with.clone(), balance.get(), reserved.get());
            if self.dead.contains(&choice) {
                continue;
            }
            if self.follow(state, version + 1, next, &with, explained.clone()) {
                return true;
            }
            self.dead.insert(choice);
        }
        false
    }

    /// Carries out an act; `None` where it would have overdrawn the account.
    fn act(&self, state: &mut Model, event: &Event) -> Option<Answer> {
        if let Op::Load { unloads, .. } = &event.op {
            state.apply(&Op::Open { shard: self.account.shard, epoch: event.epoch });
            state.shards.get_mut(&self.account.shard)?.unloads = *unloads;
        }
        let mut answer = state.apply(&event.op);
        state.outbox.clear();
        // Which epoch a hold was granted in is the shard's affair.
        if let (Answer::Reserved(Reserved::Granted(ours)), Answer::Reserved(Reserved::Granted(theirs))) =
            (&mut answer, &event.answer)
        {
            ours.epoch = theirs.epoch;
        }
        let granted = matches!(answer, Answer::Reserved(Reserved::Granted(_)));
        let balance = state.balance(self.account);
        (!granted || balance.balance >= balance.reserved).then_some(answer)
    }

    /// Whether an act that changes nothing would be answered as it was. Most are told by a look.
    fn answers(&self, model: &Model, event: &Event) -> bool {
        match (&event.op, &event.answer) {
            (_, Answer::Reserved(Reserved::Insufficient { balance, reserved, .. })) => {
                let now = model.balance(self.account);
                (now.balance, now.reserved) == (*balance, *reserved) && self.peeks(model, event)
            }
            (_, Answer::Reserved(Reserved::CapExceeded { cap, used, reserved, .. })) => {
                let now = model.cap(self.account, &cap.0);
                now.is_some_and(|now| (now.used, now.reserved) == (*used, *reserved))
                    && self.peeks(model, event)
            }
            (
                Op::Settle { key, .. } | Op::Release { key, .. },
                Answer::Settled(Settled::Already { kind, charge }),
            ) => model.closed.get(&name_of(key)) == Some(&(*kind, charge.get())),
            (Op::Settle { key, .. } | Op::Release { key, .. }, Answer::Settled(Settled::NoHold)) => {
                !model.closed.contains_key(&name_of(key)) && !model.holds.contains_key(&name_of(key))
            }
            _ => self.peeks(model, event),
        }
    }

    fn peeks(&self, model: &Model, event: &Event) -> bool {
        self.peek(model, event).as_ref() == Some(&event.answer)
    }

    /// What an act would be answered in a state.
    fn peek(&self, model: &Model, event: &Event) -> Option<Answer> {
        let mut state = Model {
            shards: model.shards.clone(),
            accounts: model.accounts.clone(),
            holds: model.holds.clone(),
            ..Model::default()
        };
        if let Op::Reserve(Ask { key, .. }) | Op::Settle { key, .. } | Op::Release { key, .. } = &event.op {
            let closed = model.closed.get(&name_of(key));
            state.closed.extend(closed.map(|closed| (name_of(key), *closed)));
        }
        self.act(&mut state, event)
    }

    /// Every act that changed nothing is explained by one of the states that it may have met.
    fn explain(&mut self, model: &Model, version: i64, explained: &mut BTreeSet<usize>) -> bool {
        for number in 0..self.refused.len() {
            let (low, high, event) = self.refused[number];
            if explained.contains(&number) || version < low {
                continue;
            }
            if version <= high && self.answers(model, event) {
                explained.insert(number);
            } else if version >= high {
                return self.stuck(version, || {
                    format!("{:?} cannot have been answered {:?}", event.op, event.answer)
                });
            }
        }
        true
    }

    fn finish(
        &mut self,
        model: &Model,
        version: i64,
        used: &BTreeSet<usize>,
        explained: &BTreeSet<usize>,
    ) -> bool {
        if self.end.is_none_or(|end| model.balance(self.account) == end)
            && explained.len() == self.refused.len()
        {
            return true;
        }
        // Acts of which nobody heard may have come last.
        if self.branch(model, (version, self.known.len()), used, explained, u64::MAX) {
            return true;
        }
        let end = self.end;
        let balance = model.balance(self.account);
        self.stuck(version, || format!("the end is {end:?}, not {balance:?}"))
    }
}

/// A load brings what the books say: every credit up to its sequence and every charge of the epochs before.
fn snapshots(history: &History, account: AccountRef, start: i64, found: &mut Vec<Violation>) {
    for event in &history.events {
        let Op::Load { state, .. } = &event.op else { continue };
        if state.account != account || !matches!(event.answer, Answer::Loaded(Loaded::Done { .. })) {
            continue;
        }
        let before = |entry: &&OutboxEntry| entry.account == account.account && entry.epoch < event.epoch;
        let charged: i64 = history.movements.iter().filter(before).map(|entry| entry.charge.get()).sum();
        let credits = history.credits.iter().filter(|entry| entry.account == account);
        let credited: i64 =
            credits.filter(|entry| entry.seq <= state.credit_seq).map(|entry| entry.delta.get()).sum();
        if state.posted.get() != start + credited - charged {
            let what = format!("{account:?} was loaded with {:?} in epoch {}", state.posted, event.epoch);
            broken(found, "snapshot", what);
        }
        for cap in &state.caps {
            let names = |entry: &&OutboxEntry| entry.windows.iter().any(|named| named.cap == cap.id);
            let used: i64 =
                history.movements.iter().filter(before).filter(names).map(|entry| entry.charge.get()).sum();
            if cap.used != NanoUsd::new(used) {
                broken(found, "window", format!("{:?} was loaded with a use of {:?}", cap.id, cap.used));
            }
        }
    }
}

/// Debits are numbered without gaps, and each says the balance after it.
fn sequences(history: &History, account: AccountRef, found: &mut Vec<Violation>) {
    let mine = history.movements.iter().filter(|entry| entry.account == account.account);
    for (expected, entry) in (1..).zip(mine) {
        if entry.debit_seq != expected {
            broken(
                found,
                "sequence",
                format!("debit {} of {account:?} instead of {expected}", entry.debit_seq),
            );
            return;
        }
    }
}

/// Nothing comes from nowhere: the start, the credits and the charges make the end.
fn conserved(history: &History, account: AccountRef, start: i64, found: &mut Vec<Violation>) {
    let charged: i64 = history
        .movements
        .iter()
        .filter(|entry| entry.account == account.account)
        .map(|entry| entry.charge.get())
        .sum();
    let credits = history.credits.iter().filter(|entry| entry.account == account);
    for (_, end) in history.end.iter().filter(|(known, _)| *known == account) {
        let applied = credits.clone().filter(|entry| entry.seq <= end.credit_seq);
        let credited: i64 = applied.map(|entry| entry.delta.get()).sum();
        if end.balance.get() != start + credited - charged {
            broken(found, "conservation", format!("{account:?} ends with {:?}", end.balance));
        }
        if end.reserved != NanoUsd::ZERO {
            broken(found, "leak", format!("{account:?} ends with {:?} in holds", end.reserved));
        }
        if end.credit_seq != credits.clone().map(|entry| entry.seq).max().unwrap_or(0) {
            broken(found, "credits", format!("{account:?} ends at credit {}", end.credit_seq));
        }
    }
}

/// What was acknowledged is booked, once and with its amount; and nothing else is.
fn durable(history: &History, found: &mut Vec<Violation>) {
    let mut booked: BTreeMap<String, Vec<&OutboxEntry>> = BTreeMap::new();
    for entry in &history.movements {
        booked.entry(name_of(&entry.key)).or_default().push(entry);
    }
    let mut asked = BTreeSet::new();
    for event in &history.events {
        let (Op::Settle { key, .. } | Op::Release { key, .. }) = &event.op else { continue };
        asked.insert(name_of(key));
        let charge = match &event.answer {
            Answer::Settled(Settled::Done { charge, .. }) if matches!(event.op, Op::Settle { .. }) => *charge,
            Answer::Settled(Settled::Already { kind: ClosedBy::Settle, charge }) => *charge,
            _ => continue,
        };
        match booked.get(&name_of(key)).map(Vec::as_slice) {
            None => broken(found, "lost", format!("{key:?} was charged {charge:?}")),
            Some([entry]) if entry.charge != charge => {
                broken(found, "amount", format!("{key:?} was charged {charge:?}, booked {:?}", entry.charge));
            }
            Some(_) => {}
        }
    }
    for (name, entries) in &booked {
        if entries.len() > 1 {
            broken(found, "double", format!("{name} is booked {} times", entries.len()));
        }
        if !asked.contains(name) {
            broken(found, "phantom", format!("{name} was never settled"));
        }
    }
}
