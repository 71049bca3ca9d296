//! The objects of the API as JSON, one file per kind, with every field of the real ones. Builders take what
//! is known and give a value; they look nothing up and change nothing.

pub(crate) mod balance_transaction;
pub(crate) mod charge;
pub(crate) mod checkout_session;
pub(crate) mod customer;
pub(crate) mod dispute;
pub(crate) mod event;
pub(crate) mod line_item;
pub(crate) mod payment_intent;
pub(crate) mod refund;

use kernel::rng::Entropy;
use serde_json::Value;

/// The version of the API whose shapes these are.
pub(crate) const API_VERSION: &str = "2026-09-30.endive";

/// Makes ids and time stamps for new objects.
pub(crate) struct Mint<'a> {
    pub(crate) entropy: &'a dyn Entropy,
    /// Unix seconds.
    pub(crate) now: i64,
}

impl Mint<'_> {
    /// `prefix` and `length` random letters and digits.
    pub(crate) fn id(&self, prefix: &str, length: usize) -> String {
        let mut id = prefix.to_owned();
        while id.len() < prefix.len() + length {
            // Ten digits of a 64-bit number are all close to evenly spread.
            let random = kernel::ids::base62(u128::from(self.entropy.next_u64()), 11);
            id.extend(random.chars().skip(1));
        }
        id.chars().take(prefix.len() + length).collect()
    }
}

/// Text at a JSON pointer.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

/// Sets top-level fields.
pub(crate) fn set<const N: usize>(object: &mut Value, fields: [(&str, Value); N]) {
    if let Some(object) = object.as_object_mut() {
        object.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    }
}
