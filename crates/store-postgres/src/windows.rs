//! Which window of a cap a moment belongs to. The engine in Redis numbers them the same way.

use billing::engine::CapPeriod;
use chrono::{Datelike as _, NaiveDate};
use kernel::Moment;

/// Days since 1970, weeks from Monday, or year × 12 + month − 1; `0` for a total.
#[must_use]
pub fn window_id(period: CapPeriod, at: Moment) -> i64 {
    let days = at.timestamp().div_euclid(86_400);
    match period {
        CapPeriod::Total => 0,
        CapPeriod::Daily => days,
        // 1 January 1970 was a Thursday.
        CapPeriod::Weekly => (days + 3).div_euclid(7),
        CapPeriod::Monthly => month_id(at),
    }
}

/// Year × 12 + month − 1.
pub(crate) fn month_id(at: Moment) -> i64 {
    i64::from(at.year()) * 12 + i64::from(at.month0())
}

/// The first days of the UTC day, week and month of a moment.
pub(crate) struct Starts {
    pub(crate) day: NaiveDate,
    pub(crate) week: NaiveDate,
    pub(crate) month: NaiveDate,
}

impl Starts {
    pub(crate) fn of(at: Moment) -> Self {
        let day = at.date_naive();
        let since_monday = u64::from(day.weekday().num_days_from_monday());
        let week = day.checked_sub_days(chrono::Days::new(since_monday)).unwrap_or(day);
        let month = day.with_day(1).unwrap_or(day);
        Self { day, week, month }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_begin_at_midnight_on_monday_and_on_the_first() {
        let rows = [
            ("1970-01-01T00:00:00Z", 0, 0, 1970 * 12),
            ("1970-01-04T23:59:59Z", 3, 0, 1970 * 12),
            ("1970-01-05T00:00:00Z", 4, 1, 1970 * 12),
            ("2026-11-20T12:00:00Z", 20_777, 2968, 2026 * 12 + 10),
            ("2024-02-29T23:59:59Z", 19_782, 2826, 2024 * 12 + 1),
        ];
        for (text, day, week, month) in rows {
            let at: Moment = text.parse().unwrap();
            assert_eq!(window_id(CapPeriod::Total, at), 0);
            assert_eq!(window_id(CapPeriod::Daily, at), day, "{text}");
            assert_eq!(window_id(CapPeriod::Weekly, at), week, "{text}");
            assert_eq!(window_id(CapPeriod::Monthly, at), month, "{text}");
        }
        let starts = Starts::of("2026-11-20T12:00:00Z".parse().unwrap());
        assert_eq!(starts.week.to_string(), "2026-11-16");
        assert_eq!(starts.month.to_string(), "2026-11-01");
    }
}
