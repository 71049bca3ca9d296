//! How Stripe is spoken to: the only Stripe client of the workspace, the reader of its webhooks, and the
//! check of its configuration.
//!
//! No amount of credit and no fee is decided here, and nothing is granted: see `billing::desk`. No card
//! number ever passes through; customers type it on Stripe's own page.

mod call;
mod client;
pub mod config;
mod failure;
mod money_back;
pub mod webhook;

pub use client::StripeClient;
pub use config::{ConfigFault, StripeConfig, check_config};
