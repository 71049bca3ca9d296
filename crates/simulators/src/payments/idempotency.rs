//! Idempotency keys: the same key and request give the same answer, another request is refused.
//! Refusals are not remembered, as with the real service.

use serde_json::Value;

use super::actions::Act;
use super::failure::Failure;

/// An answer, and whether it was given before.
pub(crate) struct Answered {
    pub(crate) body: Value,
    pub(crate) replayed: bool,
}

/// Does the work once per key. `request` is method, path and parameters in one text.
pub(crate) fn once(
    act: &mut Act<'_>,
    key: Option<&str>,
    request: String,
    work: impl FnOnce(&mut Act<'_>) -> Result<Value, Failure>,
) -> Result<Answered, Failure> {
    let Some(key) = key else {
        return work(act).map(|body| Answered { body, replayed: false });
    };
    if let Some(earlier) = act.store.remembered(key) {
        return if earlier.request == request {
            Ok(Answered { body: earlier.body.clone(), replayed: true })
        } else {
            Err(Failure::idempotency(key))
        };
    }
    let body = work(act)?;
    act.store.remember(key, request, body.clone());
    Ok(Answered { body, replayed: false })
}
