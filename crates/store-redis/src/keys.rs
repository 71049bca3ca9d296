//! The names of keys and ids in Redis. The Lua library makes the same names from the shard's tag.
//!
//! Ids are 32 hex digits of the UUID: they are made and read on every call, and base62 costs a microsecond.

use accounts::shelf::ShelfName;
use billing::engine::{AccountRef, HoldKey, SHARDS};
use kernel::StoreError;
use kernel::ids::{AccountId, GenerationId};
use uuid::Uuid;

/// The hash tag that puts every key of a shard into one slot: `{c07}`.
pub(crate) fn tag(shard: u8) -> String {
    format!("{{c{shard:02}}}")
}

pub(crate) fn outbox(shard: u8) -> String {
    format!("{{c{shard:02}}}:out")
}

/// Open holds by expiry.
pub(crate) fn expiry(shard: u8) -> String {
    format!("{{c{shard:02}}}:x")
}

/// Accounts that were ever loaded.
pub(crate) fn account_set(shard: u8) -> String {
    format!("{{c{shard:02}}}:as")
}

pub(crate) fn hold(account: AccountRef, hold: &HoldKey) -> String {
    format!("{{c{:02}}}:h:{}", account.shard, hold_id(hold))
}

pub(crate) fn account_id(account: AccountId) -> String {
    account.uuid().simple().to_string()
}

pub(crate) fn hold_id(hold: &HoldKey) -> String {
    format!("{}:{}", hold.generation.uuid().simple(), hold.funding)
}

/// Spread over the slots by a byte that is as good as drawn.
pub(crate) fn shelf(name: &ShelfName) -> String {
    use std::fmt::Write as _;
    match name {
        ShelfName::Key(digest) => {
            let [first, ..] = digest;
            let mut text = format!("{{c{:02}}}:k:", first % SHARDS);
            for byte in digest {
                // Writing into a string cannot fail.
                write!(text, "{byte:02x}").ok();
            }
            text
        }
        ShelfName::Org(org) => {
            let [.., last] = org.uuid().into_bytes();
            format!("{{c{:02}}}:o:{}", last % SHARDS, org.uuid().simple())
        }
    }
}

/// Every shard's number.
pub(crate) fn shards() -> std::ops::Range<u8> {
    0..SHARDS
}

/// The shard of an outbox key, e.g. 7 of `{c07}:out`.
pub(crate) fn shard_of_key(key: &str) -> Option<u8> {
    key.strip_prefix("{c").and_then(|rest| rest.split_once('}')).and_then(|(shard, _)| shard.parse().ok())
}

pub(crate) fn parse_account(text: &str) -> Result<AccountId, StoreError> {
    let uuid = Uuid::try_parse(text);
    uuid.map(AccountId::from_uuid).map_err(|fault| corrupt("account", text, &fault))
}

pub(crate) fn parse_hold(text: &str) -> Result<HoldKey, StoreError> {
    let (generation, funding) = text.split_once(':').unwrap_or((text, ""));
    let generation = Uuid::try_parse(generation).map_err(|fault| corrupt("generation", text, &fault))?;
    let funding = funding.parse().map_err(|fault| corrupt("funding", text, &fault))?;
    Ok(HoldKey { generation: GenerationId::from_uuid(generation), funding })
}

fn corrupt(what: &str, text: &str, fault: &dyn std::fmt::Display) -> StoreError {
    StoreError::corrupt(format!("redis: {what} {text:?}: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_ids_and_shards_survive_the_trip_through_their_text() {
        let generation = GenerationId::from_uuid(Uuid::from_u128(7 << 76 | 42));
        let key = HoldKey { generation, funding: 1 };
        assert_eq!(parse_hold(&hold_id(&key)).unwrap(), key);
        for shard in shards() {
            assert_eq!(shard_of_key(&outbox(shard)), Some(shard));
        }
        for text in ["", "x", "00000000000000000000000000000001", "00000000000000000000000000000001:256"] {
            assert!(parse_hold(text).is_err(), "{text}");
        }
    }
}
