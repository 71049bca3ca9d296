//! `FAREBOX_FAILPOINTS`, in debug builds only: `name=kill` lets the process kill itself with SIGKILL at a named
//! point (`kernel::crash`), `name=kill@3` when it comes by for the third time. Several are separated by commas.

use crate::config::Config;

/// Sets the points that the configuration names. Nothing, in a release.
#[cfg(debug_assertions)]
pub(crate) fn install(config: &Config) -> anyhow::Result<()> {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicU32, Ordering};
    if config.failpoints.is_empty() {
        return Ok(());
    }
    let mut left: HashMap<String, AtomicU32> = HashMap::new();
    for point in config.failpoints.split(',') {
        let parsed = point.trim().split_once('=').and_then(|(name, act)| match act.strip_prefix("kill") {
            Some("") => Some((name, 1)),
            Some(times) => Some((name, times.strip_prefix('@')?.parse().ok()?)),
            None => None,
        });
        let (name, times) =
            parsed.ok_or_else(|| anyhow::anyhow!("FAREBOX_FAILPOINTS: {point} is not name=kill@times"))?;
        left.insert(name.to_owned(), AtomicU32::new(times));
    }
    tracing::warn!(points = %config.failpoints, "this process will kill itself");
    kernel::crash::install(Box::new(move |name| {
        let due = left.get(name).is_some_and(|left| left.fetch_sub(1, Ordering::SeqCst) == 1);
        if due {
            let _dead =
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }));
    Ok(())
}

/// A release has no points.
#[cfg(not(debug_assertions))]
pub(crate) fn install(_config: &Config) -> anyhow::Result<()> {
    Ok(())
}
