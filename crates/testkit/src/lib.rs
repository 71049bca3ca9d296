//! testkit: stores of a test's own, and a network that misbehaves on request. Nothing here is part of the product.

pub mod postgres;
mod private;
pub mod proxy;
pub mod redis;
