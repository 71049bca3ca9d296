//! What is for sale, at what price, able to do what: models, providers, endpoints, tariffs, the
//! published snapshot, drafts and their import.
//!
//! Knows no SQL and no HTTP, and not who buys. Prices become amounts in `billing`, not here.

pub mod draft;
pub mod model;
pub mod ports;
pub mod snapshot;
pub mod tariff;

pub use model::{Endpoint, Modality, Model, Provider};
pub use snapshot::{Catalog, Snapshot};
pub use tariff::{Rates, Tariff, Tier};
