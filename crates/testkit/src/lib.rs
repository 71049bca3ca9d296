//! testkit: stub.

pub mod postgres;
pub mod redis;
