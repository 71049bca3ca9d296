//! The words that every room uses: ids, money, usage, moments, chance, store errors.
//!
//! Does no I/O and knows nobody's JSON. A word enters only when three crates say it.

pub mod clock;
pub mod crash;
pub mod decimal;
pub mod ids;
pub mod money;
pub mod rng;
pub mod store;
pub mod usage;

pub use clock::{Clock, Moment};
pub use ids::AccountRef;
pub use money::{Cents, MoneyError, NanoUsd, PicoTotal, PicoUsd};
pub use rng::Entropy;
pub use secrecy::{ExposeSecret, SecretString};
pub use store::{StoreError, StoreErrorKind};
pub use usage::{Metering, Usage};
