//! What does it cost, who owes whom: quotes, charges, fees, the credit engine's contract, the ledger's
//! contract, purchases and the proof of the books.
//!
//! No floats, no SQL, no Redis, no Stripe types, no provider's dialect. The rules are told in
//! `docs/money.md`; every rule is one table of cases beside its code.

pub mod backlog;
pub mod credits;
pub mod desk;
pub mod dispute;
pub mod dispute_desk;
pub mod engine;
pub mod epochs;
pub mod fees;
pub mod generation;
pub mod journal;
pub mod ledger;
pub mod mail;
pub mod money_desk;
pub mod outcomes;
pub mod payment;
pub mod price;
pub mod purchase;
pub mod receipt;
pub mod refund;
pub mod refund_desk;
pub mod reports;
pub mod verify;

pub use credits::Credits;
pub use engine::{AccountRef, Cap, CapId, CreditEngine, HoldKey};
pub use generation::{AttemptRecord, GenerationRecord, HoldOwner};
pub use journal::{Closing, Journal};
pub use ledger::Ledger;
