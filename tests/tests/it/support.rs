//! Small words that the tests share: bodies, simulator scripts, an independent token count.

use kernel::rng::{Entropy as _, SeededEntropy};
use serde_json::{Value, json};
use std::time::Duration;

/// How long settlements may take to reach the ledger on a slow machine.
pub(crate) const BOOKED: Duration = Duration::from_secs(30);
/// A dollar in nano-dollars.
pub(crate) const DOLLAR: i64 = 1_000_000_000;

/// A chat request with one user message.
pub(crate) fn ask(model: &str, content: &str, max_tokens: u32) -> Value {
    json!({
        "model": model,
        "max_tokens": max_tokens,
        "messages": [{ "role": "user", "content": content }],
    })
}

/// A message that tells the simulator how to answer.
pub(crate) fn scripted(text: &str, script: &Value) -> String {
    format!("{text} [[sim {script}]]")
}

/// Tokens of a text, counted without the product.
pub(crate) fn tokens(text: &str) -> i64 {
    i64::try_from(tiktoken_rs::o200k_base_singleton().encode_ordinary(text).len()).unwrap()
}

/// What a prompt of one message is billed by when its provider reported nothing: four tokens a message, three
/// for the whole.
pub(crate) fn prompt_tokens(content: &str) -> i64 {
    tokens(content) + 4 + 3
}

/// A number from `low` to `high`, both included.
pub(crate) fn between(entropy: &SeededEntropy, low: u64, high: u64) -> u64 {
    low + entropy.next_u64() % (high - low + 1)
}
