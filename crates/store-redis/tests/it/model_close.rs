//! How a hold ends, in the model: settled, released or swept.

use crate::model::{Hold, Model, missing, name_of, window_of};
use crate::ops::{Answer, OWNER, RECORD};
use billing::engine::{AccountRef, CapWindow, ClosedBy, HoldKey, OutboxEntry, Settled, Ticket};
use billing::fees::Allowance;
use kernel::NanoUsd;

/// What closes a hold.
struct Close {
    kind: ClosedBy,
    amount: i64,
    list_price: i64,
    record: String,
}

impl Model {
    pub(crate) fn settle(&mut self, key: &HoldKey, amount: i64, list_price: i64) -> Answer {
        self.close(key, Close { kind: ClosedBy::Settle, amount, list_price, record: RECORD.to_owned() })
    }

    pub(crate) fn release(&mut self, key: &HoldKey) -> Answer {
        let record = format!("release:{OWNER}");
        self.close(key, Close { kind: ClosedBy::Release, amount: 0, list_price: 0, record })
    }

    /// Those that are due, the longest overdue first. One whose account is not loaded is looked at again in a
    /// minute.
    pub(crate) fn sweep(&mut self, shard: u8, limit: u32) -> Answer {
        let now = self.now.timestamp_millis();
        let expired = |hold: &&Hold| hold.account.shard == shard && hold.expires <= now;
        let mut due: Vec<(i64, HoldKey)> =
            self.holds.values().filter(expired).map(|hold| (hold.expires, hold.key)).collect();
        due.sort_by_key(|(expires, key)| (*expires, name_of(key)));
        let mut swept = 0;
        for (_, key) in due.into_iter().take(usize::try_from(limit).unwrap()) {
            let hold = &self.holds[&name_of(&key)];
            let amount = hold.metered.min(hold.held);
            let list_price = if hold.ticket == Ticket::None { amount } else { 0 };
            let close = Close { kind: ClosedBy::Sweep, amount, list_price, record: format!("sweep:{OWNER}") };
            if self.close(&key, close) == missing() {
                self.holds.get_mut(&name_of(&key)).unwrap().expires = now + 60_000;
            } else {
                swept += 1;
            }
        }
        Answer::Swept(swept)
    }

    fn close(&mut self, key: &HoldKey, how: Close) -> Answer {
        let name = name_of(key);
        if let Some((kind, charge)) = self.closed.get(&name) {
            return Answer::Settled(Settled::Already { kind: *kind, charge: NanoUsd::new(*charge) });
        }
        let Some(hold) = self.holds.get(&name).cloned() else { return Answer::Settled(Settled::NoHold) };
        if !self.is_loaded(hold.account) {
            return missing();
        }
        let (ticket, due) = self.end_ticket(&hold, &how);
        let beyond = self.beyond(&hold);
        let charge = due.min(hold.held + beyond);
        self.holds.remove(&name);
        let account = self.account(hold.account);
        for named in &hold.windows {
            if let Some(cap) = account.caps.get_mut(&named.cap.0).filter(|cap| window_of(cap) == *named) {
                cap.used = NanoUsd::new(cap.used.get() + charge);
            }
        }
        account.balance -= charge;
        let kind =
            if how.kind == ClosedBy::Release && hold.metered > 0 { ClosedBy::Settle } else { how.kind };
        self.closed.insert(name, (kind, charge));
        if kind != ClosedBy::Release {
            self.book(&hold, kind, &how, (charge, due - charge), ticket);
        }
        let account = self.account(hold.account);
        let (balance, version) = (NanoUsd::new(account.balance), account.changed());
        let (charge, uncollected) = (NanoUsd::new(charge), NanoUsd::new(due - charge));
        Answer::Settled(Settled::Done { charge, uncollected, balance, version })
    }

    /// What may be taken above the hold: what is available, and left in every cap.
    fn beyond(&self, hold: &Hold) -> i64 {
        let balance = self.balance(hold.account);
        let mut beyond = (balance.balance.get() - balance.reserved.get()).max(0);
        for named in &hold.windows {
            beyond = beyond.min(self.rest_for(hold.account, named).unwrap_or(0).max(0));
        }
        beyond
    }

    /// What is left of a cap for a hold of its window; `None` for one of another window, or without the cap.
    fn rest_for(&self, account: AccountRef, named: &CapWindow) -> Option<i64> {
        let cap = self.accounts[&account.account].caps.get(&named.cap.0)?;
        let rest = || cap.limit.get() - cap.used.get() - self.cap_reserved(account, named);
        (window_of(cap) == *named).then(rest)
    }

    /// How a ticket ended, and what is due. Every own-key call that is not given back counts in its month.
    fn end_ticket(&mut self, hold: &Hold, how: &Close) -> (Ticket, i64) {
        if hold.ticket == Ticket::None {
            return (Ticket::None, how.amount);
        }
        if how.kind == ClosedBy::Release {
            return (Ticket::None, 0);
        }
        let others = self.in_flight(hold.account, hold.month) - i64::from(hold.ticket == Ticket::Free);
        let account = self.account(hold.account);
        let same = account.month == hold.month;
        let (free, due) = match account.allowance {
            Allowance::Requests(requests) => {
                let room = same && account.used + others < i64::try_from(requests).unwrap();
                (hold.ticket == Ticket::Free || room, how.amount)
            }
            Allowance::ListPrice(_) if !same => (hold.ticket == Ticket::Free, how.amount.min(hold.held)),
            Allowance::ListPrice(line) => {
                let spent = match how.kind {
                    ClosedBy::Sweep if hold.rate == 0 => 0,
                    ClosedBy::Sweep => i128::from(how.amount) * 10_000 / i128::from(hold.rate),
                    _ => i128::from(how.list_price),
                };
                let above = |used: i128| (used - i128::from(line.get())).max(0);
                let used = i128::from(account.list);
                let part = above(used + spent) - above(used);
                let fee = i64::try_from(part * i128::from(hold.rate) / 10_000).unwrap();
                (part == 0, how.amount.min(fee))
            }
        };
        if same {
            account.used += 1;
            account.list += how.list_price;
        }
        if free { (Ticket::Free, 0) } else { (Ticket::Paid, due) }
    }

    fn book(
        &mut self,
        hold: &Hold,
        kind: ClosedBy,
        how: &Close,
        (charge, uncollected): (i64, i64),
        ticket: Ticket,
    ) {
        let account = self.account(hold.account);
        account.debit_seq += 1;
        let entry = OutboxEntry {
            id: String::new(),
            shard: hold.account.shard,
            epoch: account.epoch,
            key: hold.key,
            kind,
            account: hold.account.account,
            charge: NanoUsd::new(charge),
            uncollected: NanoUsd::new(uncollected),
            held: NanoUsd::new(hold.held),
            list_price: NanoUsd::new(how.list_price),
            ticket,
            byok_month: if ticket == Ticket::None { 0 } else { hold.month },
            windows: hold.windows.clone(),
            balance_after: NanoUsd::new(account.balance),
            debit_seq: account.debit_seq,
            credit_seq: account.credit_seq,
            record: how.record.clone(),
        };
        self.outbox.entry(entry.shard).or_default().push(entry);
    }
}
