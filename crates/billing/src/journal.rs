//! The journal of a gateway process: what it must still bring to an end when it is killed. This file has the
//! records, how they are written as bytes, and the port; `replay` says what a journal leaves to be done.
//!
//! Does no I/O: files, checksums and segments are the adapter's (`store-journal`).

pub mod replay;

use crate::GenerationRecord;
use crate::engine::{
    AccountRef, CapId, CapPeriod, CapWindow, Grant, HoldKey, OwnKeyTerms, Settlement, Ticket,
};
use kernel::NanoUsd;
use kernel::ids::{AccountId, GenerationId};
use std::ops::Range;
use uuid::Uuid;

/// Where a process writes what it must not forget. Nothing here waits for the disk to have it: what is
/// written survives the death of the process, and within some milliseconds also the loss of power.
pub trait Journal: Send + Sync {
    /// Whether new paid work may begin: there is room for what it will write.
    fn has_room(&self) -> bool;

    /// A hold was taken. `false` when it could not be written: give the hold back.
    fn admit(&self, grant: &Grant) -> bool;

    /// What a hold would be settled at if the process died now. `false` when it could not be written.
    fn meter(&self, closing: &Closing) -> bool;

    /// How a hold is settled; written before the engine is asked. `false` when it could not be written.
    fn settle(&self, closing: &Closing) -> bool;

    /// A hold that was never metered was given back.
    fn release(&self, key: &HoldKey);

    /// These holds need the journal no longer: the ledger has them.
    fn forget(&self, keys: &[HoldKey]);
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Admit(Grant),
    Meter(Closing),
    Settle(Closing),
    Release(HoldKey),
}

/// The kinds of record, as bytes. Never renumbered: a newer process reads what an older one wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Admit,
    Meter,
    Settle,
    Release,
}

impl Kind {
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Admit => 1,
            Self::Meter => 2,
            Self::Settle => 3,
            Self::Release => 4,
        }
    }

    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Admit, Self::Meter, Self::Settle, Self::Release].into_iter().find(|kind| kind.byte() == byte)
    }
}

impl Record {
    /// Reads the body of a record; `None` when it is not one.
    #[must_use]
    pub fn read(kind: Kind, body: &[u8]) -> Option<Self> {
        Some(match kind {
            Kind::Admit => {
                let mut reader = Reader { rest: body };
                let grant = reader.grant()?;
                reader.rest.is_empty().then_some(Self::Admit(grant))?
            }
            Kind::Meter => Self::Meter(Closing::read(body)?),
            Kind::Settle => Self::Settle(Closing::read(body)?),
            Kind::Release => {
                let mut reader = Reader { rest: body };
                let key = reader.key()?;
                reader.rest.is_empty().then_some(Self::Release(key))?
            }
        })
    }

    #[must_use]
    pub fn key(&self) -> HoldKey {
        match self {
            Self::Admit(grant) => grant.key,
            Self::Meter(closing) | Self::Settle(closing) => closing.key,
            Self::Release(key) => *key,
        }
    }
}

/// How a hold is closed: the hold as the engine gave it, what is asked for, and the packed generation. It is
/// packed once, and the same bytes go to the journal, to the engine and to every repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    pub key: HoldKey,
    pub account: AccountRef,
    pub amount: NanoUsd,
    pub list_price: NanoUsd,
    bytes: Vec<u8>,
    record: Range<usize>,
}

/// Room for the hold and a usual record, so that packing allocates once.
const USUAL_BYTES: usize = 1280;

impl Closing {
    /// Packs a closing. A record that cannot be packed (never seen) is left out; the ledger then says so.
    #[must_use]
    pub fn of(grant: &Grant, amount: NanoUsd, list_price: NanoUsd, record: &GenerationRecord) -> Self {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        write_grant(&mut bytes, grant);
        bytes.extend_from_slice(&amount.get().to_le_bytes());
        bytes.extend_from_slice(&list_price.get().to_le_bytes());
        let start = bytes.len();
        if let Err(error) = serde_json::to_writer(&mut bytes, record) {
            tracing::error!(%error, generation = %grant.key.generation, "a generation could not be packed");
            bytes.truncate(start);
        }
        let record = start..bytes.len();
        Self { key: grant.key, account: grant.account, amount, list_price, bytes, record }
    }

    /// Reads what [`bytes`](Self::bytes) gave.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader { rest: body };
        let grant = reader.grant()?;
        let (amount, list_price) = (NanoUsd::new(reader.i64()?), NanoUsd::new(reader.i64()?));
        let record = body.len() - reader.rest.len()..body.len();
        std::str::from_utf8(reader.rest).ok()?;
        let bytes = body.to_vec();
        Some(Self { key: grant.key, account: grant.account, amount, list_price, bytes, record })
    }

    /// The body of the record.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hold. What was available beside it, and the account's version, are not remembered.
    #[must_use]
    pub fn grant(&self) -> Option<Grant> {
        Reader { rest: &self.bytes }.grant()
    }

    /// As the engine takes it.
    #[must_use]
    pub fn settlement(&self) -> Settlement<'_> {
        let packed = self.bytes.get(self.record.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok());
        // `of` and `read` admit nothing but text.
        Settlement { amount: self.amount, list_price: self.list_price, record: packed.unwrap_or_default() }
    }
}

/// Writes a hold; the body of an ADMIT and the beginning of a [`Closing`].
pub fn write_grant(into: &mut Vec<u8>, grant: &Grant) {
    write_key(into, &grant.key);
    into.extend_from_slice(grant.account.account.uuid().as_bytes());
    into.push(grant.account.shard);
    into.extend_from_slice(&grant.epoch.to_le_bytes());
    into.extend_from_slice(&grant.amount.get().to_le_bytes());
    into.push(match grant.ticket {
        Ticket::None => 0,
        Ticket::Free => 1,
        Ticket::Paid => 2,
    });
    into.push(u8::from(grant.own_key.is_some()));
    if let Some(terms) = grant.own_key {
        into.extend_from_slice(&terms.ceiling.get().to_le_bytes());
        into.extend_from_slice(&terms.basis_points.to_le_bytes());
    }
    // At most five caps apply, each named by a letter and an id.
    let windows = grant.windows.iter().filter(|window| window.cap.0.len() <= 255).take(255);
    into.push(u8::try_from(windows.clone().count()).unwrap_or(u8::MAX));
    for window in windows {
        into.push(u8::try_from(window.cap.0.len()).unwrap_or(u8::MAX));
        into.extend_from_slice(window.cap.0.as_bytes());
        into.extend_from_slice(window.period.code().as_bytes());
        into.extend_from_slice(&window.window.to_le_bytes());
    }
}

/// Writes the name of a hold; the body of a RELEASE.
pub fn write_key(into: &mut Vec<u8>, key: &HoldKey) {
    into.extend_from_slice(key.generation.uuid().as_bytes());
    into.push(key.funding);
}

/// Takes a body apart from its front; `None` where it ends too soon.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn uuid(&mut self) -> Option<Uuid> {
        Uuid::from_slice(self.take(16)?).ok()
    }

    fn key(&mut self) -> Option<HoldKey> {
        Some(HoldKey { generation: GenerationId::from_uuid(self.uuid()?), funding: self.byte()? })
    }

    fn terms(&mut self) -> Option<OwnKeyTerms> {
        let ceiling = NanoUsd::new(self.i64()?);
        Some(OwnKeyTerms { ceiling, basis_points: u32::from_le_bytes(self.take(4)?.try_into().ok()?) })
    }

    fn grant(&mut self) -> Option<Grant> {
        let key = self.key()?;
        let account = AccountRef { account: AccountId::from_uuid(self.uuid()?), shard: self.byte()? };
        let (epoch, amount) = (self.i64()?, NanoUsd::new(self.i64()?));
        let ticket = match self.byte()? {
            0 => Ticket::None,
            1 => Ticket::Free,
            2 => Ticket::Paid,
            _ => return None,
        };
        let own_key = match self.byte()? {
            0 => None,
            1 => Some(self.terms()?),
            _ => return None,
        };
        let windows = (0..self.byte()?).map(|_| {
            let length = usize::from(self.byte()?);
            let cap = std::str::from_utf8(self.take(length)?).ok()?.to_owned();
            let period = CapPeriod::from_code(std::str::from_utf8(self.take(1)?).ok()?)?;
            Some(CapWindow { cap: CapId(cap), period, window: self.i64()? })
        });
        let windows = windows.collect::<Option<Vec<_>>>()?;
        Some(Grant {
            key,
            account,
            amount,
            available: NanoUsd::ZERO,
            ticket,
            windows,
            own_key,
            epoch,
            version: 0,
        })
    }
}
