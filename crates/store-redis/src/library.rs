//! The function library and its loading. Its name carries a version: another meaning of a function comes as
//! a new library beside the old one, never as a replacement of it.

use crate::engine::trouble;
use kernel::StoreError;
use std::time::Duration;

/// The library's name in Redis.
pub const LIBRARY: &str = "farebox_credit_v1";

/// How long Redis may take to compile it, behind whatever else it does.
const LOAD_WITHIN: Duration = Duration::from_secs(10);

/// Its source; the first line names it.
const SOURCE: &str = include_str!("lua/credit_v1.lua");

/// Loads the library where Redis does not have exactly this text of it; whether it did. Needs an
/// administrator's connection. Calls that run meanwhile see the old functions or the new ones.
pub async fn load_library(admin_url: &str) -> Result<bool, StoreError> {
    let client = redis::Client::open(admin_url).map_err(|fault| trouble("the admin address", fault))?;
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(LOAD_WITHIN));
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&patient)
        .await
        .map_err(|fault| trouble("connecting as administrator", fault))?;
    let known: redis::Value = redis::cmd("FUNCTION")
        .arg(&["LIST", "LIBRARYNAME", LIBRARY, "WITHCODE"])
        .query_async(&mut connection)
        .await
        .map_err(|fault| trouble("FUNCTION LIST", fault))?;
    if mentions_source(&known) {
        return Ok(false);
    }
    let () = redis::cmd("FUNCTION")
        .arg(&["LOAD", "REPLACE", SOURCE])
        .query_async(&mut connection)
        .await
        .map_err(|fault| trouble("FUNCTION LOAD", fault))?;
    Ok(true)
}

/// Whether the answer of FUNCTION LIST holds this very source, at whatever depth.
fn mentions_source(value: &redis::Value) -> bool {
    match value {
        redis::Value::BulkString(text) => text == SOURCE.as_bytes(),
        redis::Value::Array(items) => items.iter().any(mentions_source),
        redis::Value::Map(pairs) => pairs.iter().any(|(_, value)| mentions_source(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_names_the_library() {
        assert_eq!(SOURCE.lines().next(), Some(format!("#!lua name={LIBRARY}").as_str()));
    }
}
