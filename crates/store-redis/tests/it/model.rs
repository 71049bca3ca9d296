//! The promises of the engine as a plain program: no Redis, no packing, and nothing stored that can be
//! counted. What is reserved is always the sum of the open holds.

use billing::engine::{
    AccountRef, AccountState, Balance, Cap, CapId, CapPeriod, CapUse, CapWindow, ClosedBy, CreditEntry,
    Credited, Extended, Grant, HoldKey, OutboxEntry, Reserve, Reserved, Settled, Ticket,
};
use billing::fees::Allowance;
use kernel::ids::AccountId;
use kernel::{Moment, NanoUsd};
use std::collections::{BTreeMap, HashMap};

const MAX: i64 = NanoUsd::REDIS_MAX.get();

/// An open hold.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    pub(crate) account: AccountRef,
    pub(crate) held: i64,
    pub(crate) metered: i64,
    pub(crate) ticket: Ticket,
    month: i64,
    windows: Vec<CapWindow>,
    owner: String,
}

struct Account {
    state: AccountState,
    balance: i64,
    granted: i64,
    credit_seq: i64,
    debit_seq: i64,
    version: i64,
    frozen: bool,
    allowance: u64,
    month: i64,
    used: u64,
    caps: BTreeMap<String, Cap>,
}

impl Account {
    /// Counts a change; the version after it.
    fn changed(&mut self) -> i64 {
        self.version += 1;
        self.version
    }
}

/// What closes a hold.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Close<'a> {
    Settle { amount: i64, list_price: i64, record: &'a str },
    Release,
    Sweep,
}

#[derive(Default)]
pub(crate) struct Model {
    accounts: HashMap<AccountId, Account>,
    pub(crate) holds: BTreeMap<(u128, u8), Hold>,
    pub(crate) closed: BTreeMap<(u128, u8), (ClosedBy, i64)>,
    /// What must have gone to the ledger, in order, with empty stream ids.
    pub(crate) outbox: Vec<OutboxEntry>,
    /// Sum of credits applied, by account.
    pub(crate) credited: HashMap<AccountId, i64>,
}

pub(crate) fn name_of(key: &HoldKey) -> (u128, u8) {
    (key.generation.uuid().as_u128(), key.funding)
}

/// A cap with the window that it counts now.
fn window_of(cap: &Cap) -> CapWindow {
    CapWindow { cap: cap.id.clone(), period: cap.period, window: cap.window }
}

impl Model {
    pub(crate) fn load(&mut self, state: &AccountState) {
        let Allowance::Requests(allowance) = state.byok.allowance else { panic!("requests only") };
        let account = Account {
            state: state.clone(),
            balance: state.posted.get(),
            granted: state.granted.get(),
            credit_seq: state.credit_seq,
            debit_seq: state.debit_seq,
            version: 1,
            frozen: state.frozen,
            allowance,
            month: state.byok.month,
            used: state.byok.requests,
            caps: state.caps.iter().map(|cap| (cap.id.0.clone(), cap.clone())).collect(),
        };
        self.accounts.insert(state.account.account, account);
    }

    fn account(&mut self, account: AccountRef) -> &mut Account {
        self.accounts.get_mut(&account.account).unwrap()
    }

    fn reserved(&self, account: AccountRef) -> i64 {
        self.holds.values().filter(|hold| hold.account == account).map(|hold| hold.held).sum()
    }

    fn cap_reserved(&self, account: AccountRef, named: &CapWindow) -> i64 {
        let names = |hold: &&Hold| hold.windows.contains(named);
        self.holds.values().filter(|hold| hold.account == account).filter(names).map(|hold| hold.held).sum()
    }

    fn in_flight(&self, account: AccountRef, month: i64) -> u64 {
        let free = |hold: &&Hold| hold.ticket == Ticket::Free && hold.month == month;
        let holds = self.holds.values().filter(|hold| hold.account == account).filter(free);
        u64::try_from(holds.count()).unwrap()
    }

    /// A cap as it stands at a moment.
    pub(crate) fn cap(&self, account: AccountRef, id: &str, now: Moment) -> Option<CapUse> {
        let cap = self.accounts[&account.account].caps.get(id)?;
        let window = cap.period.window(now).max(cap.window);
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

    /// Balance at loading, plus credits, minus what the given entries charged: what it must be now.
    pub(crate) fn balance_by_sums(&self, account: AccountRef, entries: &[OutboxEntry]) -> i64 {
        let charged: i64 =
            entries.iter().filter(|e| e.account == account.account).map(|e| e.charge.get()).sum();
        let start = self.accounts[&account.account].state.posted.get();
        start + self.credited.get(&account.account).copied().unwrap_or(0) - charged
    }

    pub(crate) fn reserve(&mut self, request: &Reserve<'_>, epoch: i64, now: Moment) -> Reserved {
        let (key, account) = (name_of(&request.key), request.account);
        if let Some(hold) = self.holds.get(&key) {
            return Reserved::Duplicate(NanoUsd::new(hold.held));
        }
        if self.closed.contains_key(&key) {
            return Reserved::Closed;
        }
        if !self.accounts.contains_key(&account.account) {
            return Reserved::AccountMissing;
        }
        if self.account(account).frozen {
            return Reserved::Frozen;
        }
        let (ticket, month) = self.ticket(request, now);
        let free = ticket == Ticket::Free;
        let (want, least) = if free { (0, 0) } else { (request.want.get(), request.least.get()) };
        let balance = self.balance(account);
        let available = balance.balance.get() - balance.reserved.get();
        let mut granted = want;
        let mut windows = Vec::new();
        for id in request.caps {
            let Some(cap) = self.cap(account, &id.0, now) else {
                return Reserved::CapMissing(id.clone());
            };
            let rest = cap.limit.get() - cap.used.get() - cap.reserved.get();
            if least > 0 && rest < least {
                let CapUse { id, limit, period, used, reserved, .. } = cap;
                return Reserved::CapExceeded { cap: id, limit, used, reserved, period };
            }
            granted = granted.min(rest);
            windows.push(CapWindow { cap: id.clone(), period: cap.period, window: cap.window });
        }
        if least > 0 && available < least {
            return Reserved::Insufficient {
                available: NanoUsd::new(available),
                balance: balance.balance,
                reserved: balance.reserved,
            };
        }
        let granted = granted.min(available).max(0);
        self.begin(request, granted, ticket, month, &windows);
        let version = self.account(account).changed();
        Reserved::Granted(Grant {
            key: request.key,
            account,
            amount: NanoUsd::new(granted),
            available: NanoUsd::new(available - granted),
            ticket,
            windows,
            own_key: request.own_key,
            epoch,
            version,
        })
    }

    fn ticket(&mut self, request: &Reserve<'_>, now: Moment) -> (Ticket, i64) {
        if request.own_key.is_none() {
            return (Ticket::None, 0);
        }
        let account = &self.accounts[&request.account.account];
        let month = CapPeriod::Monthly.window(now).max(account.month);
        let used = if month == account.month { account.used } else { 0 };
        let free = used + self.in_flight(request.account, month) < account.allowance;
        (if free { Ticket::Free } else { Ticket::Paid }, month)
    }

    /// A granted reserve is what makes windows and months roll.
    fn begin(&mut self, request: &Reserve<'_>, held: i64, ticket: Ticket, month: i64, windows: &[CapWindow]) {
        let account = self.account(request.account);
        if ticket != Ticket::None && month > account.month {
            (account.month, account.used) = (month, 0);
        }
        for named in windows {
            let cap = account.caps.get_mut(&named.cap.0).unwrap();
            if named.window > cap.window {
                (cap.window, cap.used) = (named.window, NanoUsd::ZERO);
            }
        }
        let hold = Hold {
            account: request.account,
            held,
            metered: 0,
            ticket,
            month,
            windows: windows.to_vec(),
            owner: request.owner.to_owned(),
        };
        self.holds.insert(name_of(&request.key), hold);
    }

    /// What is left of a cap for a hold of an older or the current window; `None` where it cannot be known.
    fn rest_for(&self, account: AccountRef, named: &CapWindow) -> Option<i64> {
        let cap = self.accounts[&account.account].caps.get(&named.cap.0)?;
        let same = window_of(cap) == *named;
        same.then(|| cap.limit.get() - cap.used.get() - self.cap_reserved(account, named))
    }

    pub(crate) fn extend(&mut self, key: &HoldKey, extra: i64, metered: i64) -> Extended {
        let Some(hold) = self.holds.get(&name_of(key)).cloned() else { return Extended::NoHold };
        let balance = self.balance(hold.account);
        let available = balance.balance.get() - balance.reserved.get();
        let extra = if hold.ticket == Ticket::Free { 0 } else { extra };
        let fits = extra == 0
            || (!balance.frozen
                && available >= extra
                && hold.windows.iter().all(|named| self.fits(&hold, named, extra)));
        let caps = &self.accounts[&hold.account.account].caps;
        let moved: Vec<CapWindow> = hold.windows.iter().map(|named| window_of(&caps[&named.cap.0])).collect();
        let open = self.holds.get_mut(&name_of(key)).unwrap();
        open.metered = open.metered.max(metered);
        if !fits {
            return Extended::Refused { available: NanoUsd::new(available) };
        }
        if extra > 0 {
            open.held += extra;
            open.windows = moved;
        }
        let amount = NanoUsd::new(open.held);
        let account = self.account(hold.account);
        let version = if extra > 0 { account.changed() } else { account.version };
        Extended::Granted { amount, version }
    }

    /// Growth counts in the cap's current window; a hold of an older one must fit there as a whole.
    fn fits(&self, hold: &Hold, named: &CapWindow, extra: i64) -> bool {
        let Some(cap) = self.accounts[&hold.account.account].caps.get(&named.cap.0) else { return false };
        let more = if window_of(cap) == *named { extra } else { hold.held + extra };
        let reserved = self.cap_reserved(hold.account, &window_of(cap));
        cap.limit.get() - cap.used.get() - reserved >= more
    }

    pub(crate) fn close(&mut self, key: &HoldKey, how: Close<'_>, epoch: i64) -> Settled {
        let name = name_of(key);
        if let Some((kind, charge)) = self.closed.get(&name) {
            return Settled::Already { kind: *kind, charge: NanoUsd::new(*charge) };
        }
        let Some(hold) = self.holds.get(&name).cloned() else { return Settled::NoHold };
        let (due, list_price, record) = match how {
            Close::Settle { amount, list_price, record } => (amount, list_price, record.to_owned()),
            Close::Release => (0, 0, format!("release:{}", hold.owner)),
            Close::Sweep => {
                let due = hold.metered.min(hold.held);
                let list = if hold.ticket == Ticket::None { due } else { 0 };
                (due, list, format!("sweep:{}", hold.owner))
            }
        };
        let ticket = self.end_ticket(&hold, matches!(how, Close::Release));
        let due = if ticket == Ticket::Free { 0 } else { due };
        let balance = self.balance(hold.account);
        let mut beyond = (balance.balance.get() - balance.reserved.get()).max(0);
        for named in &hold.windows {
            beyond = beyond.min(self.rest_for(hold.account, named).unwrap_or(0).max(0));
        }
        let charge = due.min(hold.held + beyond);
        self.holds.remove(&name);
        let account = self.account(hold.account);
        for named in &hold.windows {
            if let Some(cap) = account.caps.get_mut(&named.cap.0).filter(|cap| window_of(cap) == *named) {
                cap.used = NanoUsd::new(cap.used.get() + charge);
            }
        }
        account.balance -= charge;
        let kind = match how {
            Close::Settle { .. } => ClosedBy::Settle,
            Close::Release if hold.metered > 0 => ClosedBy::Settle,
            Close::Release => ClosedBy::Release,
            Close::Sweep => ClosedBy::Sweep,
        };
        self.closed.insert(name, (kind, charge));
        if kind != ClosedBy::Release {
            let figures = (charge, due - charge, list_price);
            self.book(key, &hold, kind, figures, ticket, record, epoch);
        }
        let balance = self.balance(hold.account).balance;
        let version = self.account(hold.account).changed();
        Settled::Done {
            charge: NanoUsd::new(charge),
            uncollected: NanoUsd::new(due - charge),
            balance,
            version,
        }
    }

    /// How a ticket ended. Every own-key call that is not given back counts in its month.
    fn end_ticket(&mut self, hold: &Hold, given_back: bool) -> Ticket {
        if hold.ticket == Ticket::None || given_back {
            return Ticket::None;
        }
        let others = self.in_flight(hold.account, hold.month) - u64::from(hold.ticket == Ticket::Free);
        let account = self.account(hold.account);
        let same = account.month == hold.month;
        let room = same && account.used + others < account.allowance;
        account.used += u64::from(same);
        if hold.ticket == Ticket::Free || room { Ticket::Free } else { Ticket::Paid }
    }

    #[expect(clippy::too_many_arguments, reason = "one line of a book has many columns")]
    fn book(
        &mut self,
        key: &HoldKey,
        hold: &Hold,
        kind: ClosedBy,
        (charge, uncollected, list_price): (i64, i64, i64),
        ticket: Ticket,
        record: String,
        epoch: i64,
    ) {
        let account = self.account(hold.account);
        account.debit_seq += 1;
        let entry = OutboxEntry {
            id: String::new(),
            shard: hold.account.shard,
            epoch,
            key: *key,
            kind,
            account: hold.account.account,
            charge: NanoUsd::new(charge),
            uncollected: NanoUsd::new(uncollected),
            held: NanoUsd::new(hold.held),
            list_price: NanoUsd::new(list_price),
            ticket,
            byok_month: if ticket == Ticket::None { 0 } else { hold.month },
            windows: hold.windows.clone(),
            balance_after: NanoUsd::new(account.balance),
            debit_seq: account.debit_seq,
            credit_seq: account.credit_seq,
            record,
        };
        self.outbox.push(entry);
    }

    pub(crate) fn credit(&mut self, entry: &CreditEntry) -> Credited {
        let Some(account) = self.accounts.get_mut(&entry.account.account) else {
            return Credited::AccountMissing;
        };
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
        let (balance, version) = (NanoUsd::new(account.balance), account.changed());
        *self.credited.entry(entry.account.account).or_default() += entry.delta.get();
        Credited::Done { balance, version }
    }

    pub(crate) fn freeze(&mut self, account: AccountRef, frozen: bool) -> i64 {
        let account = self.account(account);
        account.frozen = frozen;
        account.changed()
    }

    pub(crate) fn set_cap(&mut self, account: AccountRef, cap: &Cap, now: Moment) -> i64 {
        let account = self.account(account);
        let caps = &mut account.caps;
        let set = match caps.get(&cap.id.0) {
            Some(before) if before.period == cap.period => Cap { limit: cap.limit, ..before.clone() },
            Some(_) => {
                Cap { window: cap.period.window(now).max(cap.window), used: NanoUsd::ZERO, ..cap.clone() }
            }
            None => cap.clone(),
        };
        caps.insert(cap.id.0.clone(), set);
        account.changed()
    }

    pub(crate) fn caps_of(&self, account: AccountRef) -> Vec<CapId> {
        self.accounts[&account.account].caps.values().map(|cap| cap.id.clone()).collect()
    }
}
