//! testkit: stub.

pub mod redis;
