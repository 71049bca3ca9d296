//! The function libraries and their loading. A library's name carries a version: another meaning of a function comes as
//! a new library beside the old one, never as a replacement of it.

use crate::engine::trouble;
use kernel::StoreError;
use std::time::Duration;

/// The credit engine's library in Redis.
pub const LIBRARY: &str = "farebox_credit_v1";

/// How long Redis may take to compile it, behind whatever else it does.
const LOAD_WITHIN: Duration = Duration::from_secs(10);

/// Names and sources; the first line of a source names it.
const SOURCES: [(&str, &str); 2] =
    [(LIBRARY, include_str!("lua/credit_v1.lua")), ("farebox_keys_v1", include_str!("lua/keys_v1.lua"))];

/// Loads the libraries of which Redis does not have exactly this text; whether there was one. Needs an
/// administrator's connection. Calls that run meanwhile see the old functions or the new ones.
pub async fn load_library(admin_url: &str) -> Result<bool, StoreError> {
    let client = redis::Client::open(admin_url).map_err(|fault| trouble("the admin address", fault))?;
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(LOAD_WITHIN));
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&patient)
        .await
        .map_err(|fault| trouble("connecting as administrator", fault))?;
    let mut loaded = false;
    for (name, source) in SOURCES {
        loaded |= load(&mut connection, name, source).await?;
    }
    Ok(loaded)
}

async fn load(
    connection: &mut redis::aio::MultiplexedConnection,
    name: &str,
    source: &str,
) -> Result<bool, StoreError> {
    let known: redis::Value = redis::cmd("FUNCTION")
        .arg(&["LIST", "LIBRARYNAME", name, "WITHCODE"])
        .query_async(connection)
        .await
        .map_err(|fault| trouble("FUNCTION LIST", fault))?;
    if mentions(&known, source) {
        return Ok(false);
    }
    let () = redis::cmd("FUNCTION")
        .arg(&["LOAD", "REPLACE", source])
        .query_async(connection)
        .await
        .map_err(|fault| trouble("FUNCTION LOAD", fault))?;
    Ok(true)
}

/// Whether the answer of FUNCTION LIST holds this very source, at whatever depth.
fn mentions(value: &redis::Value, source: &str) -> bool {
    match value {
        redis::Value::BulkString(text) => text == source.as_bytes(),
        redis::Value::Array(items) => items.iter().any(|item| mentions(item, source)),
        redis::Value::Map(pairs) => pairs.iter().any(|(_, value)| mentions(value, source)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_names_its_library() {
        for (name, source) in SOURCES {
            assert_eq!(source.lines().next(), Some(format!("#!lua name={name}").as_str()));
        }
    }
}
