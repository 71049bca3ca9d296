//! What `farebox` does besides serving, a file each.

pub(crate) mod catalog;
pub(crate) mod dev_seed;
pub(crate) mod provider;
pub(crate) mod receipt;
pub(crate) mod staff;
pub(crate) mod verify;

use std::io::Write as _;

/// Writes lines to standard output: the answer of a command, not a log.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(())
}
