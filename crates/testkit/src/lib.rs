//! testkit: stores of a test's own, and a network that misbehaves on request. Nothing here is part of the product.

pub mod postgres;
pub mod proxy;
pub mod redis;
