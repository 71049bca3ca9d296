//! What is for sale, at what price, able to do what: models, providers, endpoints, tariffs, the
//! published snapshot, drafts and their import.
//!
//! Knows no SQL and no HTTP, and not who buys. Prices become amounts in `billing`, not here.

pub mod diff;
pub mod draft;
pub mod import;
pub mod lists;
pub mod model;
pub mod model_ref;
pub mod ports;
pub mod seed;
pub mod snapshot;
pub mod switch;
pub mod tariff;
pub mod wire;

pub use model::{Endpoint, Modality, Model, Provider};
pub use model_ref::ModelRef;
pub use snapshot::{Catalog, Snapshot};
pub use tariff::{Rates, Tariff, Tier};
