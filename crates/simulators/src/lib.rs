//! Stand-ins for the services Farebox buys from and is paid through, for development and tests:
//! scripted model providers (`providers`) and a payment provider (`payments`).
//! They run as a binary of their own, or inside a test's process; nothing of them is part of `farebox`,
//! and they share no code with the product's dialects or payment client, so that a mistake cannot agree
//! with itself.

#![recursion_limit = "256"] // one object of the payment provider is a single JSON literal of that size

mod payments;
mod providers;
mod serving;

pub use payments::{Config as PaymentsConfig, Payments, RetryPolicy};
pub use providers::{Config as ProvidersConfig, Providers};
pub use serving::write_port_file;
