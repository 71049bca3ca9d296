//! e2e: the whole service as its users meet it. A [`Stack`] is the real binary on a database and a Redis of
//! its own, with simulated providers and a simulated card processor; a [`Customer`] signs up, pays and calls.
//!
//! Speaks HTTP, SQL and Redis from outside and reaches into no crate of the product. Fixtures, browser and
//! client scripts have folders of their own.

mod calls;
mod customer;
mod postgres;
mod process;
mod redis;
mod replicas;
mod settings;
mod simulators;
mod site;
mod sql;
mod stack;
mod wait;
mod wires;

pub use calls::{Reply, Streamed, text_of};
pub use customer::{Customer, Key, KeyWish, nano_at};
pub use postgres::{Postgres, Shutdown};
pub use process::Process;
pub use redis::Redis;
pub use replicas::Replicas;
pub use settings::{full_size, number};
pub use simulators::{Payments, Providers};
pub use site::Site;
pub use sql::Database;
pub use stack::{Gateway, Options, Ran, Stack};
pub use wait::eventually;
pub use wires::Wires;

/// An HTTP client as our customers have one: no proxy, no redirects followed, a bounded wait.
pub fn http_client() -> anyhow::Result<reqwest::Client> {
    // A second installation in one process is refused and changes nothing.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(std::time::Duration::from_secs(180))
        .build()?;
    Ok(client)
}
