//! One generation as a row: from the engine's entry and the record that travelled with it.

use super::day_of;
use super::read::Account;
use billing::engine::{ClosedBy, OutboxEntry, Ticket};
use billing::price::Extras;
use billing::{GenerationRecord, HoldOwner};
use chrono::NaiveDate;
use kernel::ids::{EndpointId, KeyId, MemberId, OrgId, TariffId, WorkspaceId};
use kernel::{NanoUsd, Usage};
use uuid::Uuid;

/// What closed a hold of a generation. Only a settlement is final for the whole generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    Release,
    Sweep,
    Settle,
}

impl Closing {
    /// A metered hold that was released comes as a settlement of nothing; its record tells it apart.
    fn of(entry: &OutboxEntry) -> Self {
        match entry.kind {
            ClosedBy::Sweep => Self::Sweep,
            ClosedBy::Settle if !entry.record.starts_with("release:") => Self::Settle,
            ClosedBy::Settle | ClosedBy::Release => Self::Release,
        }
    }

    pub(super) fn column(self) -> i16 {
        match self {
            Self::Release => 0,
            Self::Sweep => 1,
            Self::Settle => 2,
        }
    }

    /// The column's CHECK admits nothing else.
    pub(super) fn from_column(value: i16) -> Self {
        match value {
            0 => Self::Release,
            1 => Self::Sweep,
            _ => Self::Settle,
        }
    }
}

/// What the booking rule and the sums need of a generation that is booked.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) day: NaiveDate,
    pub(super) org: Uuid,
    pub(super) key: Option<Uuid>,
    pub(super) member: Uuid,
    pub(super) model: String,
    pub(super) provider: String,
    pub(super) prompt_tokens: i64,
    pub(super) completion_tokens: i64,
    pub(super) own_key: bool,
    pub(super) list_price: i64,
    pub(super) amount: i64,
    pub(super) provider_cost: i64,
    pub(super) charge: i64,
    pub(super) closing: Closing,
    pub(super) funding: i16,
    /// Movements of the charge so far.
    pub(super) postings: i16,
    pub(super) ticket: i16,
    pub(super) byok_month: i32,
}

impl Known {
    /// Whether something that closed a hold of this generation replaces what is booked. A settlement does,
    /// once. A release is the last word on its own hold only: it takes back that hold's sweep, and leaves
    /// room for the sweep of another.
    pub(super) fn gives_way_to(&self, next: &Self) -> bool {
        match (self.closing, next.closing) {
            (Closing::Settle, _)
            | (Closing::Release, Closing::Release)
            | (Closing::Sweep, Closing::Sweep) => false,
            (_, Closing::Settle) => true,
            (Closing::Sweep, Closing::Release) => self.funding == next.funding,
            (Closing::Release, Closing::Sweep) => self.funding != next.funding,
        }
    }
}

/// A generation to be written.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) account: Uuid,
    pub(super) workspace: Uuid,
    pub(super) tariff: Uuid,
    pub(super) usage_source: String,
    pub(super) uncollected: i64,
    pub(super) held: i64,
    pub(super) epoch: i64,
    pub(super) debit_seq: i64,
    pub(super) record: serde_json::Value,
    pub(super) known: Known,
    /// The settlement came without a record that can be read; a person must look.
    pub(super) bad_record: bool,
}

impl Row {
    pub(super) fn of(entry: &OutboxEntry, account: &Account) -> Self {
        let closing = Closing::of(entry);
        let parsed = if closing == Closing::Settle { readable(entry, account) } else { None };
        let bad_record = closing == Closing::Settle && parsed.is_none();
        let own_key = parsed.as_ref().map_or(entry.key.funding == 0, |record| record.provider_key.is_some());
        let record = parsed.unwrap_or_else(|| minimal(entry, account));
        let known = Known {
            day: day_of(entry.key.generation.uuid()),
            org: account.org,
            key: record.key.map(KeyId::uuid),
            member: record.member.uuid(),
            model: clean(&record.model),
            provider: clean(&record.provider),
            prompt_tokens: tokens(record.usage.prompt),
            completion_tokens: tokens(record.usage.completion),
            own_key,
            list_price: record.list_price.get(),
            amount: record.amount.get(),
            provider_cost: record.provider_cost.get(),
            charge: entry.charge.get(),
            closing,
            funding: i16::from(entry.key.funding),
            postings: 0,
            ticket: ticket(entry.ticket),
            byok_month: i32::try_from(entry.byok_month).unwrap_or(0),
        };
        Self {
            id: entry.key.generation.uuid(),
            account: entry.account.uuid(),
            workspace: record.workspace.uuid(),
            tariff: record.tariff.uuid(),
            usage_source: record.usage_source.clone(),
            // Only a settlement can fall short; what the sweeper takes is what was metered.
            uncollected: if closing == Closing::Settle { entry.uncollected.get() } else { 0 },
            held: entry.held.get(),
            epoch: entry.epoch,
            debit_seq: entry.debit_seq,
            record: storable(&record),
            known,
            bad_record,
        }
    }
}

/// The settlement's record, if it is this generation's and every column will take it. One bad record must
/// not stop the whole shard.
fn readable(entry: &OutboxEntry, account: &Account) -> Option<GenerationRecord> {
    let record: GenerationRecord = serde_json::from_str(&entry.record).ok()?;
    let amounts = [record.list_price, record.amount, record.provider_cost];
    let usage = [record.usage.prompt, record.usage.completion];
    let fits = record.id == entry.key.generation
        && record.org.uuid() == account.org
        && amounts.iter().all(|amount| !amount.is_negative())
        && usage.iter().all(|count| i64::try_from(*count).is_ok())
        && ["exact", "estimated", "nothing"].contains(&record.usage_source.as_str());
    fits.then_some(record)
}

/// What can be said of a call that nobody lived to settle.
fn minimal(entry: &OutboxEntry, account: &Account) -> GenerationRecord {
    let text = entry.record.split_once(':').map_or("", |(_, owner)| owner);
    let owner = HoldOwner::unpack(text).filter(|owner| owner.org.uuid() == account.org);
    let capped = |mark: &str| entry.windows.iter().find_map(|window| window.cap.0.strip_prefix(mark));
    let key =
        owner.as_ref().and_then(|owner| owner.key).or_else(|| capped("k:").and_then(|id| id.parse().ok()));
    let member =
        owner.as_ref().map(|owner| owner.member).or_else(|| capped("m:").and_then(|id| id.parse().ok()));
    let amount = entry.charge.checked_add(entry.uncollected).unwrap_or(entry.charge);
    GenerationRecord {
        id: entry.key.generation,
        org: OrgId::from_uuid(account.org),
        workspace: owner
            .as_ref()
            .map_or_else(|| WorkspaceId::from_uuid(account.workspace), |owner| owner.workspace),
        key,
        member: member.unwrap_or_else(|| MemberId::from_uuid(account.owner)),
        model: owner.map_or_else(|| "unknown".to_owned(), |owner| owner.model),
        provider: "unknown".to_owned(),
        endpoint: EndpointId::from_uuid(Uuid::nil()),
        tariff: TariffId::from_uuid(Uuid::nil()),
        tariff_version: 0,
        catalog_version: 0,
        usage: Usage::default(),
        extras: Extras::default(),
        usage_source: "nothing".to_owned(),
        list_price: entry.list_price.max(NanoUsd::ZERO),
        amount,
        provider_cost: NanoUsd::ZERO,
        provider_key: None,
        finish_reason: None,
        native_finish_reason: None,
        streamed: false,
        cancelled: false,
        error: None,
        latency_ms: 0,
        generation_ms: 0,
        attempts: Vec::new(),
        upstream_id: None,
        app_referer: None,
        app_title: None,
        end_user: None,
        session: None,
        simulated: false,
    }
}

fn ticket(ticket: Ticket) -> i16 {
    match ticket {
        Ticket::None => 0,
        Ticket::Free => 1,
        Ticket::Paid => 2,
    }
}

/// `readable` has refused counts that do not fit.
fn tokens(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// PostgreSQL's text cannot hold NUL, and a client may send one as its title.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn storable(record: &GenerationRecord) -> serde_json::Value {
    let mut value = serde_json::to_value(record).unwrap_or(serde_json::Value::Null);
    scrub(&mut value);
    value
}

fn scrub(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) if text.contains('\0') => *text = clean(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(scrub),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(scrub),
        _ => {}
    }
}
