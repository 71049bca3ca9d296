//! The booking rule, in memory: what every entry does to movements, balances, caps and sums.
//!
//! Each entry has two numbers: by how much the ledger's balance changes, and by how much the engine's
//! balance of the current epoch already changed. Where they differ the engine is sent the difference, with
//! the same difference for the caps. The ledger decides by the generation's id alone: nothing there books
//! the charge; something there that gives way (see `Known::gives_way_to`) books the difference; else nothing.

use super::read::{self, Account};
use super::row::{Closing, Known, Row};
use crate::convert::{minus, plus};
use billing::engine::{CapChange, OutboxEntry};
use chrono::NaiveDate;
use kernel::{Moment, NanoUsd, StoreError};
use sqlx::{Postgres, Transaction};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// Where an entry's charge was already taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paid {
    /// From the balance that the engine has now.
    InEngine,
    /// From no balance that still counts: an older epoch's, or none.
    Nowhere,
}

/// Everything a batch will write.
pub(super) struct Book {
    pub(super) at: Moment,
    pub(super) accounts: BTreeMap<Uuid, Account>,
    known: HashMap<Uuid, Known>,
    pub(super) rows: BTreeMap<Uuid, Row>,
    pub(super) movements: Vec<Movement>,
    pub(super) corrections: Vec<Correction>,
    pub(super) caps: BTreeMap<(Uuid, String, i64), i64>,
    pub(super) byok: BTreeMap<(Uuid, i32), (i64, i64)>,
    pub(super) daily: BTreeMap<DayKey, DaySums>,
    pub(super) key_use: BTreeMap<Uuid, Moment>,
    pub(super) divergences: Vec<Divergence>,
    pub(super) duplicates: u64,
}

/// One of our own accounts, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Side {
    Customer(Uuid),
    Platform(&'static str),
    Provider(&'static str, String),
}

pub(super) struct Movement {
    pub(super) id: Uuid,
    pub(super) class: &'static str,
    pub(super) debit: Side,
    pub(super) credit: Side,
    pub(super) amount: i64,
    pub(super) epoch: i64,
    pub(super) debit_seq: i64,
    /// Only on movements of the customer's account.
    pub(super) balance_after: Option<i64>,
}

/// A change that the engine must still learn.
pub(super) struct Correction {
    pub(super) account: Uuid,
    pub(super) seq: i64,
    pub(super) delta: i64,
    pub(super) generation: Uuid,
    pub(super) caps: serde_json::Value,
}

pub(super) struct Divergence {
    pub(super) kind: &'static str,
    pub(super) account: Uuid,
    pub(super) generation: Uuid,
    pub(super) shard: i16,
    pub(super) epoch: i64,
    pub(super) debit_seq: i64,
    pub(super) expected: i64,
    pub(super) found: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DayKey {
    pub(super) org: Uuid,
    pub(super) day: NaiveDate,
    pub(super) model: String,
    pub(super) provider: String,
    pub(super) key: Uuid,
    pub(super) member: Uuid,
}

/// The classes of a charge and its corrections, in the order in which they are used. Two holds of a call, each
/// swept and then closed, use all of them.
const CHARGE_CLASSES: [&str; 4] = ["charge", "adjust", "adjust_2", "adjust_3"];

/// Sums of a day: requests, prompt and completion tokens, charge, list price of own-key calls, our cost.
pub(super) type DaySums = [i64; 6];

impl Book {
    pub(super) async fn open(
        tx: &mut Transaction<'_, Postgres>,
        entries: &[&OutboxEntry],
        at: Moment,
    ) -> Result<Self, StoreError> {
        let accounts = read::accounts(tx, entries).await?;
        let known = read::known(tx, entries).await?;
        Ok(Self {
            at,
            accounts,
            known,
            rows: BTreeMap::new(),
            movements: Vec::new(),
            corrections: Vec::new(),
            caps: BTreeMap::new(),
            byok: BTreeMap::new(),
            daily: BTreeMap::new(),
            key_use: BTreeMap::new(),
            divergences: Vec::new(),
            duplicates: 0,
        })
    }

    /// Books one entry.
    pub(super) fn enter(&mut self, entry: &OutboxEntry, paid: Paid) -> Result<(), StoreError> {
        let id = entry.key.generation.uuid();
        let account = self.accounts.get_mut(&entry.account.uuid()).ok_or_else(|| {
            StoreError::corrupt(format!("account: {} of outbox entry {} is missing", entry.account, entry.id))
        })?;
        account.touched = true;
        let mut row = Row::of(entry, account);
        let before = self.known.get(&id).cloned();
        let taken = before.as_ref().is_none_or(|before| before.gives_way_to(&row.known));
        let engine = if paid == Paid::InEngine { minus(0, entry.charge.get())? } else { 0 };
        let charged_before = before.as_ref().map_or(0, |before| before.charge);
        let ledger = if taken { minus(charged_before, entry.charge.get())? } else { 0 };
        self.check_sequence(entry, paid);
        self.post(entry, ledger, engine)?;
        if taken {
            self.move_money(&mut row, before.as_ref(), entry)?;
            self.sum_up(&row, before.as_ref(), entry)?;
            if row.bad_record {
                self.diverge("record", entry, 0, 0);
            }
            self.known.insert(id, row.known.clone());
            self.rows.insert(id, row);
        } else {
            self.duplicates += 1;
            let second = before
                .filter(|before| before.closing == Closing::Settle && row.known.closing == Closing::Settle);
            if let Some(first) = second.filter(|first| first.amount != row.known.amount) {
                self.diverge("second_final", entry, first.amount, row.known.amount);
            }
        }
        Ok(())
    }

    /// Sequences only raise alarms. A sequence that was seen before belongs to a life of Redis that is over.
    fn check_sequence(&mut self, entry: &OutboxEntry, paid: Paid) {
        let Some(account) = self.accounts.get_mut(&entry.account.uuid()) else { return };
        let next = account.debit_seq.saturating_add(1);
        account.debit_seq = account.debit_seq.max(entry.debit_seq);
        if paid == Paid::InEngine && entry.debit_seq > next {
            self.diverge("debit_gap", entry, next, entry.debit_seq);
        }
    }

    /// Balance and caps, and the correction where ledger and engine disagree.
    fn post(&mut self, entry: &OutboxEntry, ledger: i64, engine: i64) -> Result<(), StoreError> {
        let Some(account) = self.accounts.get_mut(&entry.account.uuid()) else { return Ok(()) };
        account.posted = plus(account.posted, ledger)?;
        let (posted, known_seq) = (account.posted, account.credit_seq);
        let delta = minus(ledger, engine)?;
        if delta != 0 {
            account.credit_seq = plus(account.credit_seq, 1)?;
            self.corrections.push(Correction {
                account: entry.account.uuid(),
                seq: account.credit_seq,
                delta,
                generation: entry.key.generation.uuid(),
                caps: cap_changes(entry, minus(0, delta)?)?,
            });
        } else if engine != 0 && entry.credit_seq == known_seq && entry.balance_after.get() != posted {
            self.diverge("balance", entry, posted, entry.balance_after.get());
        }
        for window in &entry.windows {
            let used =
                self.caps.entry((entry.account.uuid(), window.cap.0.clone(), window.window)).or_insert(0);
            *used = minus(*used, ledger)?;
        }
        Ok(())
    }

    fn move_money(
        &mut self,
        row: &mut Row,
        before: Option<&Known>,
        entry: &OutboxEntry,
    ) -> Result<(), StoreError> {
        let posted = self.accounts.get(&row.account).map(|account| account.posted);
        let revenue = Side::Platform(if row.known.own_key { "byok_revenue" } else { "inference_revenue" });
        let customer = Side::Customer(row.account);
        let charged_before = before.map_or(0, |before| before.charge);
        let difference = minus(row.known.charge, charged_before)?;
        let postings = before.map_or(0, |before| before.postings);
        row.known.postings = if difference == 0 { postings } else { postings.saturating_add(1) };
        // What was charged before has its movement; only the difference is booked beside it.
        let class = usize::try_from(postings)
            .ok()
            .and_then(|booked| CHARGE_CLASSES.get(booked).copied())
            .ok_or_else(|| {
                StoreError::corrupt(format!("generation {}: charged {postings} times already", row.id))
            })?;
        let mut book = |class, debit: Side, credit: Side, amount: i64, balance_after| {
            if amount > 0 {
                let id = row.id;
                let (epoch, debit_seq) = (entry.epoch, entry.debit_seq);
                self.movements.push(Movement {
                    id,
                    class,
                    debit,
                    credit,
                    amount,
                    epoch,
                    debit_seq,
                    balance_after,
                });
            }
        };
        if difference > 0 {
            book(class, customer, revenue.clone(), difference, posted);
        } else {
            book(class, revenue.clone(), customer, minus(0, difference)?, posted);
        }
        book("insurance", Side::Platform("insurance_cost"), revenue, row.uncollected, None);
        // Nobody pays for a free answer, so its cost is the marketplace's own.
        let provider = || row.known.provider.clone();
        let cost = if row.known.amount == 0 {
            Side::Platform("insurance_cost")
        } else {
            Side::Provider("provider_cost", provider())
        };
        book("cost", cost, Side::Provider("provider_payable", provider()), row.known.provider_cost, None);
        Ok(())
    }

    /// Daily sums and own-key counters: what was counted before is taken back.
    fn sum_up(&mut self, row: &Row, before: Option<&Known>, entry: &OutboxEntry) -> Result<(), StoreError> {
        if let Some(before) = before {
            self.count(row.account, before, -1)?;
        }
        self.count(row.account, &row.known, 1)?;
        if let Some(key) = row.known.key.filter(|_| row.known.closing == Closing::Settle) {
            let at = entry.key.generation.created_at();
            let last = self.key_use.entry(key).or_insert(at);
            *last = at.max(*last);
        }
        Ok(())
    }

    fn count(&mut self, account: Uuid, known: &Known, sign: i64) -> Result<(), StoreError> {
        if known.ticket > 0 {
            let (requests, list_price) = self.byok.entry((account, known.byok_month)).or_insert((0, 0));
            *requests = plus(*requests, sign)?;
            *list_price = plus(*list_price, sign * known.list_price)?;
        }
        // A released hold is no call of its own: another hold of the same call follows, or its settlement.
        if known.closing == Closing::Release {
            return Ok(());
        }
        let key = DayKey {
            org: known.org,
            day: known.day,
            model: known.model.clone(),
            provider: known.provider.clone(),
            key: known.key.unwrap_or(Uuid::nil()),
            member: known.member,
        };
        let byok_list_price = if known.own_key { known.list_price } else { 0 };
        let added = [
            1,
            known.prompt_tokens,
            known.completion_tokens,
            known.charge,
            byok_list_price,
            known.provider_cost,
        ];
        let sums = self.daily.entry(key).or_insert([0; 6]);
        for (sum, value) in sums.iter_mut().zip(added) {
            *sum = plus(*sum, sign * value)?;
        }
        Ok(())
    }

    fn diverge(&mut self, kind: &'static str, entry: &OutboxEntry, expected: i64, found: i64) {
        self.divergences.push(Divergence {
            kind,
            account: entry.account.uuid(),
            generation: entry.key.generation.uuid(),
            shard: i16::from(entry.shard),
            epoch: entry.epoch,
            debit_seq: entry.debit_seq,
            expected,
            found,
        });
    }
}

/// The change of use that belongs to a correction, for each cap in the window of the hold.
fn cap_changes(entry: &OutboxEntry, used: i64) -> Result<serde_json::Value, StoreError> {
    let changes = entry.windows.iter().map(|named| CapChange {
        cap: named.cap.clone(),
        period: named.period,
        window: named.window,
        delta: NanoUsd::new(used),
    });
    serde_json::to_value(changes.collect::<Vec<CapChange>>())
        .map_err(|fault| StoreError::corrupt(format!("changes of caps: {fault}")))
}
