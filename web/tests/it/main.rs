//! The pages as a browser sees them: real handlers and templates over the ports in memory.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::as_conversions,
    reason = "the helpers of tests are tests too"
)]

mod browser;
mod fakes;
mod keys;
mod money;
mod pages;
mod security;
mod staff;
mod trouble;
