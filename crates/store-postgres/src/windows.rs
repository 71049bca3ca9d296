//! Days, weeks and months of a moment as dates and as the numbers of the columns.

use billing::engine::CapPeriod;
use chrono::{Datelike as _, NaiveDate};
use kernel::Moment;

/// Year × 12 + month − 1.
pub(crate) fn month_id(at: Moment) -> i64 {
    CapPeriod::Monthly.window(at)
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
    fn a_week_starts_on_monday_and_a_month_on_the_first() {
        let rows = [
            ("2026-11-20T12:00:00Z", "2026-11-16", "2026-11-01"),
            ("2026-11-16T00:00:00Z", "2026-11-16", "2026-11-01"),
            ("2026-11-15T23:59:59Z", "2026-11-09", "2026-11-01"),
            ("2027-01-01T00:00:00Z", "2026-12-28", "2027-01-01"),
        ];
        for (text, week, month) in rows {
            let starts = Starts::of(text.parse().unwrap());
            assert_eq!(
                (starts.week.to_string(), starts.month.to_string()),
                (week.to_owned(), month.to_owned())
            );
        }
    }
}
