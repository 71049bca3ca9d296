//! Daily partitions of movements and generations: made ahead by a job, on demand by the ingest writer.
//!
//! Nothing depends on them being there: a row without a partition goes to the default one.

use crate::PgStore;
use crate::error::Named as _;
use chrono::NaiveDate;
use kernel::StoreError;
use std::collections::BTreeSet;

/// New days that one batch may bring; more is not our traffic, and the default partition takes it.
const NEW_DAYS_MAX: usize = 8;
/// Days remembered as done.
const REMEMBERED_MAX: usize = 1000;

impl PgStore {
    /// Makes the partitions of a range of UTC days, both ends included; how many were made.
    ///
    /// # Errors
    /// `Unavailable` also when the tables were locked for too long: try again later, nothing is lost.
    pub async fn ensure_partitions(&self, first: NaiveDate, last: NaiveDate) -> Result<u32, StoreError> {
        let made = sqlx::query_scalar!(r#"SELECT ensure_partitions($1, $2) AS "made!""#, first, last)
            .fetch_one(&self.pool)
            .await
            .named("ensure_partitions")?;
        Ok(u32::try_from(made).unwrap_or(0))
    }

    /// Sees to the partitions of a batch's days. Failure is only logged: the default partition catches all.
    pub(crate) async fn prepare_days(&self, days: BTreeSet<NaiveDate>) {
        let unknown: Vec<NaiveDate> = {
            let seen = self.days.lock();
            days.into_iter().filter(|day| !seen.contains(day)).collect()
        };
        if unknown.len() > NEW_DAYS_MAX {
            tracing::warn!(
                days = unknown.len(),
                "a batch spans too many new days for partitions of their own"
            );
            return;
        }
        for day in unknown {
            match self.ensure_partitions(day, day).await {
                Ok(_made) => self.remember(day),
                Err(error) => tracing::warn!(%day, %error, "no partition yet; rows go to the default one"),
            }
        }
    }

    fn remember(&self, day: NaiveDate) {
        let mut seen = self.days.lock();
        if seen.len() >= REMEMBERED_MAX {
            seen.pop_first();
        }
        seen.insert(day);
    }
}
