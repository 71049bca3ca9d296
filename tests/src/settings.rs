//! What the environment says to the tests: where binaries are and how large a run shall be. `./dev test` and
//! `./dev with-stores` set all of it; without them the binaries of this build and private stores are used.

use anyhow::Context as _;
use std::path::PathBuf;

/// A variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
}

/// Whether the long forms are asked for (`./dev test --full`).
#[must_use]
pub fn full_size() -> bool {
    variable("FAREBOX_TEST_FULL").is_some_and(|value| value != "0")
}

/// A number of a long form's own, by its variable.
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    variable(name)?.parse().ok()
}

/// The product's binary.
pub(crate) fn farebox() -> anyhow::Result<PathBuf> {
    binary("FAREBOX_BIN", "farebox")
}

pub(crate) fn simulators() -> anyhow::Result<PathBuf> {
    binary("FAREBOX_SIMULATORS_BIN", "farebox-simulators")
}

/// `redis-server`, or the one that `./dev` found.
pub(crate) fn redis_server() -> PathBuf {
    variable("FAREBOX_TEST_REDIS_SERVER").map_or_else(|| "redis-server".into(), PathBuf::from)
}

/// `redis-cli` lies beside the server.
pub(crate) fn redis_cli() -> PathBuf {
    let beside = redis_server().with_file_name("redis-cli");
    if beside.exists() { beside } else { "redis-cli".into() }
}

/// The folder of PostgreSQL's binaries.
pub(crate) fn postgres_binaries() -> anyhow::Result<PathBuf> {
    variable("FAREBOX_TEST_PG_BIN").map_or_else(testkit::postgres::binaries, |folder| Ok(folder.into()))
}

pub(crate) fn psql() -> PathBuf {
    variable("FAREBOX_TEST_PG_BIN").map_or_else(|| "psql".into(), |folder| PathBuf::from(folder).join("psql"))
}

fn binary(variable_name: &str, name: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = variable(variable_name) {
        return Ok(path.into());
    }
    // Tests lie in target/<profile>/deps, binaries one folder above.
    let here = std::env::current_exe()?;
    let built = here.ancestors().nth(2).map(|folder| folder.join(name)).filter(|path| path.exists());
    built.with_context(|| format!("{name} is not built: `cargo build --workspace`, or set {variable_name}"))
}
