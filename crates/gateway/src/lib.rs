//! Carries one request through: doors, the chat face, the pipeline's stages and the upstream client.
//!
//! Knows no SQL, no Redis, no Stripe and no templates; it meets them as ports. Money is decided in
//! `billing`, the way in `routing`, the words of providers in `dialects`.

#![recursion_limit = "256"]

pub mod client;
pub mod face;
pub mod http;
pub mod intake;
pub mod key_cache;
pub mod lookups;
pub mod meter;
pub mod metrics;
pub mod outcome;
pub mod pipeline;
pub mod prompt;
pub mod refusal;
pub mod settlements;
pub mod stage;
mod tail;
pub mod tasks;
pub mod trace;
pub mod upstream;
pub mod usage;

pub use pipeline::Pipeline;
