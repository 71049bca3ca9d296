//! The clocks of the rig: one for durations, one that several processes of a machine agree on.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// For durations within a process.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the rig measures real time; nothing here takes a clock as a parameter"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds since 1970: the mock stamps frames with it, the load generator subtracts.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "two processes compare stamps, so it must be the wall clock")]
pub fn stamp() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Today in UTC as `YYYY-MM-DD` (Hinnant's `civil_from_days`).
#[must_use]
pub fn today() -> String {
    let days = stamp() / 86_400_000_000_000 + 719_468;
    let era = days / 146_097;
    let doe = days % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let shifted = (5 * doy + 2) / 153;
    let day = doy - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
