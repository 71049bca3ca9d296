//! Numbers and documents between columns and the domain's words. What does not fit is named, never bent.

use kernel::{NanoUsd, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A column that must not be negative.
pub(crate) fn count(column: &'static str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_negative| StoreError::corrupt(format!("{column}: {value} is negative")))
}

/// The shard of a stored account.
pub(crate) fn shard(value: i16) -> Result<u8, StoreError> {
    u8::try_from(value).map_err(|_range| StoreError::corrupt(format!("account.shard: {value}")))
}

/// A stored document.
pub(crate) fn document<T: DeserializeOwned>(
    column: &'static str,
    row: impl std::fmt::Display,
    value: serde_json::Value,
) -> Result<T, StoreError> {
    serde_json::from_value(value).map_err(|error| StoreError::corrupt(format!("{column} of {row}: {error}")))
}

/// A document to be stored.
pub(crate) fn json<T: Serialize>(what: &'static str, value: &T) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(value).map_err(|error| StoreError::corrupt(format!("{what}: {error}")))
}

/// Sum of two amounts within the columns' range.
pub(crate) fn plus(a: i64, b: i64) -> Result<i64, StoreError> {
    a.checked_add(b).ok_or_else(|| StoreError::corrupt(format!("{a} + {b} overflows")))
}

/// Difference of two amounts within the columns' range.
pub(crate) fn minus(a: i64, b: i64) -> Result<i64, StoreError> {
    a.checked_sub(b).ok_or_else(|| StoreError::corrupt(format!("{a} - {b} overflows")))
}

pub(crate) fn nano(value: i64) -> NanoUsd {
    NanoUsd::new(value)
}
