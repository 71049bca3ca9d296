//! The promises of the engine as a plain program: no Redis, no packing, and nothing stored that can be
//! counted. What is reserved is always the sum of the open holds; what is in flight is counted from them.
//!
//! What the acts that end a hold do is in `model_close`.

use crate::ops::{Answer, Ask, Op, sorted};
use billing::engine::{
    AccountRef, AccountState, Balance, Cap, CapPeriod, CapUse, CapWindow, ClosedBy, CreditEntry, Credited,
    Extended, Grant, HeldAgain, HoldKey, Kept, Loaded, OutboxEntry, Reserved, ShardEpoch, Ticket,
};
use billing::fees::Allowance;
use kernel::ids::AccountId;
use kernel::{Moment, NanoUsd};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

const MAX: i64 = NanoUsd::REDIS_MAX.get();

/// An open hold.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    pub(crate) key: HoldKey,
    pub(crate) account: AccountRef,
    pub(crate) held: i64,
    pub(crate) metered: i64,
    pub(crate) ticket: Ticket,
    pub(crate) month: i64,
    pub(crate) ceiling: i64,
    pub(crate) rate: i64,
    pub(crate) windows: Vec<CapWindow>,
    /// Milliseconds since 1970 at which it may be swept.
    pub(crate) expires: i64,
}

#[derive(Clone)]
pub(crate) struct Account {
    /// The epoch in which it was loaded; an older one than the shard's means: not loaded.
    pub(crate) epoch: i64,
    pub(crate) version: i64,
    pub(crate) balance: i64,
    pub(crate) granted: i64,
    pub(crate) credit_seq: i64,
    pub(crate) debit_seq: i64,
    pub(crate) frozen: bool,
    pub(crate) allowance: Allowance,
    pub(crate) month: i64,
    pub(crate) used: i64,
    pub(crate) list: i64,
    pub(crate) caps: BTreeMap<String, Cap>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shard {
    pub(crate) epoch: i64,
    pub(crate) sealed: bool,
    /// Holds of earlier epochs may be left.
    old: bool,
    pub(crate) unloads: i64,
}

/// The engine, all of its shards.
#[derive(Clone, Default)]
pub(crate) struct Model {
    /// Redis' clock.
    pub(crate) now: Moment,
    pub(crate) shards: BTreeMap<u8, Shard>,
    pub(crate) accounts: HashMap<AccountId, Account>,
    /// By the text of their key, which decides among those that expire together.
    pub(crate) holds: BTreeMap<String, Hold>,
    pub(crate) closed: BTreeMap<String, (ClosedBy, i64)>,
    /// What must be on its way to the ledger, by shard and in order, with empty stream ids.
    pub(crate) outbox: BTreeMap<u8, Vec<OutboxEntry>>,
}

pub(crate) fn name_of(key: &HoldKey) -> String {
    format!("{}:{}", key.generation.uuid().simple(), key.funding)
}

/// A cap with the window that it counts now.
pub(crate) fn window_of(cap: &Cap) -> CapWindow {
    CapWindow { cap: cap.id.clone(), period: cap.period, window: cap.window }
}

pub(crate) fn missing() -> Answer {
    Answer::Refused("MISSING".to_owned())
}

impl Account {
    /// Counts a change; the version after it.
    pub(crate) fn changed(&mut self) -> i64 {
        self.version += 1;
        self.version
    }

    fn begin_month(&mut self, month: i64) {
        if month > self.month {
            (self.month, self.used, self.list) = (month, 0, 0);
        }
    }
}

impl Model {
    /// Carries out an act and answers it.
    pub(crate) fn apply(&mut self, op: &Op) -> Answer {
        let (shard, while_sealed) = match op {
            Op::Seal { shard, epoch } => return self.begin(*shard, *epoch, true),
            Op::Open { shard, epoch } => return self.begin(*shard, *epoch, false),
            Op::Epoch(shard) => {
                let known = self.shards.get(shard).map(|s| ShardEpoch { epoch: s.epoch, sealed: s.sealed });
                return Answer::Epoch(known);
            }
            Op::Knows { key, .. } => {
                let name = name_of(key);
                return Answer::Knows(self.holds.contains_key(&name) || self.closed.contains_key(&name));
            }
            Op::Sweep { shard, .. } => (*shard, false),
            Op::Reserve(ask) => (ask.account.shard, false),
            Op::Extend { hold, .. } => (hold.account.shard, false),
            Op::Settle { account, .. } | Op::Release { account, .. } => (account.shard, false),
            Op::SetCap { account, .. } | Op::Freeze { account, .. } => (account.shard, false),
            Op::Credit(entry) => (entry.account.shard, false),
            Op::Unload(account) => (account.shard, false),
            Op::Again { hold, .. } => (hold.account.shard, true),
            Op::Kept(account) | Op::Balance(account) | Op::Caps { account, .. } => (account.shard, true),
            Op::Load { state, .. } => (state.account.shard, true),
        };
        match self.shards.get(&shard) {
            None => Answer::Refused("NOEPOCH".to_owned()),
            Some(known) if known.sealed && !while_sealed => Answer::Refused("SEALED".to_owned()),
            Some(_) => self.serve(op),
        }
    }

    fn serve(&mut self, op: &Op) -> Answer {
        match op {
            Op::Reserve(ask) => Answer::Reserved(self.reserve(ask)),
            Op::Extend { hold, extra, metered, lifetime } => self.extend(hold, *extra, *metered, *lifetime),
            Op::Settle { key, account: _, amount, list_price } => self.settle(key, *amount, *list_price),
            Op::Release { key, .. } => self.release(key),
            Op::Sweep { shard, limit } => self.sweep(*shard, *limit),
            Op::Credit(entry) => Answer::Credited(self.credit(entry)),
            Op::SetCap { account, cap } => Answer::Version(self.set_cap(*account, cap)),
            Op::Freeze { account, frozen } => {
                let account = self.loaded(*account);
                Answer::Version(account.map(|account| {
                    account.frozen = *frozen;
                    account.changed()
                }))
            }
            Op::Kept(account) => Answer::Kept(self.kept(*account)),
            Op::Load { state, unloads } => Answer::Loaded(self.load(state, *unloads)),
            Op::Unload(account) => Answer::Unloaded(self.unload(*account)),
            Op::Again { hold, metered, lifetime } => Answer::Again(self.again(hold, *metered, *lifetime)),
            Op::Balance(account) => Answer::Balance(self.is_loaded(*account).then(|| self.balance(*account))),
            Op::Caps { account, ids } if self.is_loaded(*account) => {
                Answer::Caps(ids.iter().filter_map(|id| self.cap(*account, &id.0)).collect())
            }
            Op::Caps { .. } => Answer::Caps(Vec::new()),
            Op::Seal { .. } | Op::Open { .. } | Op::Epoch(_) | Op::Knows { .. } => panic!("answered before"),
        }
    }

    pub(crate) fn is_loaded(&self, account: AccountRef) -> bool {
        let epoch = self.shards[&account.shard].epoch;
        self.accounts.get(&account.account).is_some_and(|known| known.epoch == epoch)
    }

    pub(crate) fn loaded(&mut self, account: AccountRef) -> Option<&mut Account> {
        let epoch = self.shards[&account.shard].epoch;
        self.accounts.get_mut(&account.account).filter(|known| known.epoch == epoch)
    }

    pub(crate) fn account(&mut self, account: AccountRef) -> &mut Account {
        self.accounts.get_mut(&account.account).unwrap()
    }

    fn holds_of(&self, account: AccountRef) -> impl Iterator<Item = &Hold> {
        self.holds.values().filter(move |hold| hold.account == account)
    }

    pub(crate) fn reserved(&self, account: AccountRef) -> i64 {
        self.holds_of(account).map(|hold| hold.held).sum()
    }

    pub(crate) fn cap_reserved(&self, account: AccountRef, named: &CapWindow) -> i64 {
        self.holds_of(account).filter(|hold| hold.windows.contains(named)).map(|hold| hold.held).sum()
    }

    /// What of the month's allowance is in flight, in its unit.
    pub(crate) fn in_flight(&self, account: AccountRef, month: i64) -> i64 {
        let own = self.holds_of(account).filter(|hold| hold.month == month && hold.ticket != Ticket::None);
        match self.accounts[&account.account].allowance {
            Allowance::Requests(_) => {
                i64::try_from(own.filter(|hold| hold.ticket == Ticket::Free).count()).unwrap()
            }
            Allowance::ListPrice(_) => own.map(|hold| hold.ceiling).sum(),
        }
    }

    /// A cap as it stands now.
    pub(crate) fn cap(&self, account: AccountRef, id: &str) -> Option<CapUse> {
        let cap = self.accounts[&account.account].caps.get(id)?;
        let window = cap.period.window(self.now).max(cap.window);
        Some(CapUse {
            id: cap.id.clone(),
            limit: cap.limit,
            period: cap.period,
            window,
            used: if window == cap.window { cap.used } else { NanoUsd::ZERO },
            reserved: NanoUsd::new(self.cap_reserved(account, &CapWindow { window, ..window_of(cap) })),
        })
    }

    pub(crate) fn balance(&self, account: AccountRef) -> Balance {
        let a = &self.accounts[&account.account];
        Balance {
            balance: NanoUsd::new(a.balance),
            reserved: NanoUsd::new(self.reserved(account)),
            granted: NanoUsd::new(a.granted),
            credit_seq: a.credit_seq,
            debit_seq: a.debit_seq,
            frozen: a.frozen,
        }
    }

    fn available(&self, account: AccountRef) -> i64 {
        self.accounts[&account.account].balance - self.reserved(account)
    }

    fn expiry(&self, lifetime: Duration) -> i64 {
        self.now.timestamp_millis() + i64::try_from(lifetime.as_millis()).unwrap()
    }

    fn reserve(&mut self, ask: &Ask) -> Reserved {
        let (name, account) = (name_of(&ask.key), ask.account);
        if let Some(hold) = self.holds.get(&name) {
            return Reserved::Duplicate(NanoUsd::new(hold.held));
        }
        if self.closed.contains_key(&name) {
            return Reserved::Closed;
        }
        if !self.is_loaded(account) {
            return Reserved::AccountMissing;
        }
        if self.account(account).frozen {
            return Reserved::Frozen;
        }
        let (ticket, month, want, least) = self.ticket(ask);
        let available = self.available(account);
        let mut granted = want;
        let mut windows = Vec::new();
        for id in &ask.caps {
            let Some(cap) = self.cap(account, &id.0) else { return Reserved::CapMissing(id.clone()) };
            let rest = cap.limit.get() - cap.used.get() - cap.reserved.get();
            if least > 0 && rest < least {
                let CapUse { id, limit, period, used, reserved, .. } = cap;
                return Reserved::CapExceeded { cap: id, limit, used, reserved, period };
            }
            granted = granted.min(rest);
            windows.push(CapWindow { cap: id.clone(), period: cap.period, window: cap.window });
        }
        if least > 0 && available < least {
            let Balance { balance, reserved, .. } = self.balance(account);
            return Reserved::Insufficient { available: NanoUsd::new(available), balance, reserved };
        }
        let granted = granted.min(available).max(0);
        self.begin_hold(ask, granted, ticket, month, &windows);
        let version = self.account(account).changed();
        Reserved::Granted(Grant {
            key: ask.key,
            account,
            amount: NanoUsd::new(granted),
            available: NanoUsd::new(available - granted),
            ticket,
            windows,
            own_key: ask.own_key,
            epoch: self.shards[&account.shard].epoch,
            version,
        })
    }

    /// Ticket, its month, and what is to be held at most and at least.
    fn ticket(&self, ask: &Ask) -> (Ticket, i64, i64, i64) {
        let Some(terms) = ask.own_key else { return (Ticket::None, 0, ask.want, ask.least) };
        let account = &self.accounts[&ask.account.account];
        let month = CapPeriod::Monthly.window(self.now).max(account.month);
        let (used, list) = if month == account.month { (account.used, account.list) } else { (0, 0) };
        let in_flight = self.in_flight(ask.account, month);
        match account.allowance {
            Allowance::Requests(requests) if used + in_flight < i64::try_from(requests).unwrap() => {
                (Ticket::Free, month, 0, 0)
            }
            Allowance::Requests(_) => (Ticket::Paid, month, ask.want, ask.least),
            Allowance::ListPrice(line) => {
                let ceiling = terms.ceiling.get();
                let over = (list + in_flight + ceiling - line.get()).clamp(0, ceiling);
                let fee = i128::from(over) * i128::from(terms.basis_points);
                let hold = i64::try_from((fee + 9999) / 10_000).unwrap();
                (if over == 0 { Ticket::Free } else { Ticket::Paid }, month, hold, hold)
            }
        }
    }

    /// A granted reserve is what makes windows and months roll.
    fn begin_hold(&mut self, ask: &Ask, held: i64, ticket: Ticket, month: i64, windows: &[CapWindow]) {
        let expires = self.expiry(ask.lifetime);
        let account = self.account(ask.account);
        account.begin_month(month);
        for named in windows {
            let cap = account.caps.get_mut(&named.cap.0).unwrap();
            if named.window > cap.window {
                (cap.window, cap.used) = (named.window, NanoUsd::ZERO);
            }
        }
        let hold = Hold {
            key: ask.key,
            account: ask.account,
            held,
            metered: 0,
            ticket,
            month,
            ceiling: ask.own_key.map_or(0, |terms| terms.ceiling.get()),
            rate: ask.own_key.map_or(0, |terms| i64::from(terms.basis_points)),
            windows: windows.to_vec(),
            expires,
        };
        self.holds.insert(name_of(&ask.key), hold);
    }

    fn extend(&mut self, hold: &Grant, extra: i64, metered: i64, lifetime: Duration) -> Answer {
        let name = name_of(&hold.key);
        let Some(hold) = self.holds.get(&name).cloned() else { return Answer::Extended(Extended::NoHold) };
        if !self.is_loaded(hold.account) {
            return missing();
        }
        let available = self.available(hold.account);
        let account = &self.accounts[&hold.account.account];
        let extra = if hold.ticket == Ticket::Free { 0 } else { extra };
        let fits = extra == 0
            || (!account.frozen
                && available >= extra
                && hold.windows.iter().all(|named| self.fits(&hold, named, extra)));
        let caps = &account.caps;
        let moved = if fits && extra > 0 {
            hold.windows.iter().map(|named| window_of(&caps[&named.cap.0])).collect()
        } else {
            hold.windows.clone()
        };
        let expires = self.expiry(lifetime);
        let open = self.holds.get_mut(&name).unwrap();
        open.expires = expires;
        open.metered = open.metered.max(metered);
        if !fits {
            return Answer::Extended(Extended::Refused { available: NanoUsd::new(available) });
        }
        open.held += extra;
        open.windows = moved;
        let amount = NanoUsd::new(open.held);
        let account = self.account(hold.account);
        let version = if extra > 0 { account.changed() } else { account.version };
        Answer::Extended(Extended::Granted { amount, version })
    }

    /// Growth counts in the cap's current window; a hold of an older one must fit there as a whole.
    fn fits(&self, hold: &Hold, named: &CapWindow, extra: i64) -> bool {
        let Some(cap) = self.accounts[&hold.account.account].caps.get(&named.cap.0) else { return false };
        let more = if window_of(cap) == *named { extra } else { hold.held + extra };
        let reserved = self.cap_reserved(hold.account, &window_of(cap));
        cap.limit.get() - cap.used.get() - reserved >= more
    }

    fn credit(&mut self, entry: &CreditEntry) -> Credited {
        let Some(account) = self.loaded(entry.account) else { return Credited::AccountMissing };
        if entry.seq <= account.credit_seq {
            return Credited::Already;
        }
        if entry.seq > account.credit_seq + 1 {
            return Credited::Gap { have: account.credit_seq };
        }
        account.credit_seq = entry.seq;
        account.balance += entry.delta.get();
        assert!(account.balance.abs() <= MAX, "the random amounts stay far from the edge");
        if entry.is_grant {
            account.granted += entry.delta.get();
        }
        for change in &entry.caps {
            let Some(cap) = account.caps.get_mut(&change.cap.0) else { continue };
            if cap.period != change.period || cap.window > change.window {
                continue;
            }
            let used = if cap.window == change.window { cap.used.get() } else { 0 };
            (cap.window, cap.used) = (change.window, NanoUsd::new(used + change.delta.get()));
        }
        Credited::Done { balance: NanoUsd::new(account.balance), version: account.changed() }
    }

    fn set_cap(&mut self, account: AccountRef, cap: &Cap) -> Option<i64> {
        let now = self.now;
        let account = self.loaded(account)?;
        let current = cap.period.window(now).max(cap.window);
        let set = match account.caps.get(&cap.id.0) {
            Some(before) if before.period == cap.period => Cap { limit: cap.limit, ..before.clone() },
            Some(_) => Cap { window: current, used: NanoUsd::ZERO, ..cap.clone() },
            None if current > cap.window => Cap { window: current, used: NanoUsd::ZERO, ..cap.clone() },
            None => cap.clone(),
        };
        account.caps.insert(cap.id.0.clone(), set);
        Some(account.changed())
    }

    fn kept(&self, account: AccountRef) -> Kept {
        let shard = &self.shards[&account.shard];
        let holds = self.holds_of(account).filter(|_| shard.old).map(|hold| hold.key);
        sorted(Kept { holds: holds.collect(), unloads: shard.unloads, epoch: 0 })
    }

    fn load(&mut self, state: &AccountState, unloads: i64) -> Loaded {
        let account = state.account;
        if self.is_loaded(account) {
            return Loaded::Already;
        }
        let shard = self.shards[&account.shard];
        if unloads != shard.unloads {
            return Loaded::Overtaken;
        }
        for key in &state.booked {
            if self.holds.get(&name_of(key)).is_some_and(|hold| hold.account == account) {
                self.holds.remove(&name_of(key));
            }
        }
        let before = self.accounts.get(&account.account).map_or(0, |known| known.version);
        let mut known = Account {
            epoch: shard.epoch,
            version: before.max(shard.unloads) + 1,
            balance: state.posted.get(),
            granted: state.granted.get(),
            credit_seq: state.credit_seq,
            debit_seq: state.debit_seq,
            frozen: state.frozen,
            allowance: state.byok.allowance,
            month: state.byok.month,
            used: i64::try_from(state.byok.requests).unwrap(),
            list: state.byok.list_price.get(),
            caps: BTreeMap::new(),
        };
        let tickets =
            self.holds_of(account).filter(|hold| hold.ticket != Ticket::None).map(|hold| hold.month);
        known.begin_month(tickets.max().unwrap_or(0).max(CapPeriod::Monthly.window(self.now)));
        for cap in &state.caps {
            let mut window = cap.window.max(cap.period.window(self.now));
            for named in self.holds_of(account).flat_map(|hold| &hold.windows) {
                if named.cap == cap.id && named.period == cap.period {
                    window = window.max(named.window);
                }
            }
            let used = if window == cap.window { cap.used } else { NanoUsd::ZERO };
            known.caps.insert(cap.id.0.clone(), Cap { window, used, ..cap.clone() });
        }
        let version = known.version;
        self.accounts.insert(account.account, known);
        Loaded::Done { version }
    }

    fn unload(&mut self, account: AccountRef) -> bool {
        if !self.is_loaded(account) {
            return true;
        }
        let waits = self.outbox.get(&account.shard).map_or(&[][..], Vec::as_slice);
        let mine = waits.iter().any(|entry| entry.account == account.account);
        if mine || waits.len() > 1000 || self.holds_of(account).next().is_some() {
            return false;
        }
        let version = self.accounts.remove(&account.account).map_or(0, |known| known.version);
        let shard = self.shards.get_mut(&account.shard).unwrap();
        shard.unloads = shard.unloads.max(version) + 1;
        true
    }

    fn again(&mut self, hold: &Grant, metered: i64, lifetime: Duration) -> HeldAgain {
        let (name, account) = (name_of(&hold.key), hold.account);
        if !self.shards[&account.shard].sealed {
            return HeldAgain::TooLate;
        }
        if self.holds.contains_key(&name) || self.closed.contains_key(&name) {
            return HeldAgain::Known;
        }
        let admitted = CapPeriod::Monthly.window(hold.key.generation.created_at());
        let open = Hold {
            key: hold.key,
            account,
            held: hold.amount.get(),
            metered,
            ticket: hold.ticket,
            month: if hold.ticket == Ticket::None { 0 } else { admitted },
            ceiling: hold.own_key.map_or(0, |terms| terms.ceiling.get()),
            rate: hold.own_key.map_or(0, |terms| i64::from(terms.basis_points)),
            windows: hold.windows.clone(),
            expires: self.expiry(lifetime),
        };
        self.shards.get_mut(&account.shard).unwrap().old = true;
        if let Some(known) = self.loaded(account) {
            if open.ticket != Ticket::None {
                known.begin_month(open.month);
            }
            for named in &open.windows {
                let Some(cap) = known.caps.get_mut(&named.cap.0) else { continue };
                if cap.period == named.period && named.window > cap.window {
                    (cap.window, cap.used) = (named.window, NanoUsd::ZERO);
                }
            }
            known.changed();
        }
        self.holds.insert(name, open);
        HeldAgain::Done
    }

    fn begin(&mut self, shard: u8, epoch: i64, sealed: bool) -> Answer {
        let old = self.holds.values().any(|hold| hold.account.shard == shard);
        let known = self.shards.entry(shard).or_default();
        let same = epoch == known.epoch && !sealed;
        if epoch < known.epoch || epoch == known.epoch && !same {
            return Answer::Refused("STALE".to_owned());
        }
        let old = if same { known.old } else { old };
        (known.epoch, known.sealed, known.old) = (epoch, sealed, old);
        Answer::Done
    }
}
