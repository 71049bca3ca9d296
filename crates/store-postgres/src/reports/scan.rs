//! Reports that cut a day: counted over the generations themselves, within the ids of the time asked for.

use super::rows::{DayRow, TotalsRow};
use crate::error::Named as _;
use billing::reports::{DayModelUsage, UsageFilter, UsageTotals};
use kernel::ids::{KeyId, MemberId, OrgId};
use kernel::{Moment, StoreError};
use sqlx::PgPool;
use uuid::Uuid;

/// The ids between two moments: a UUIDv7 begins with its milliseconds. `below` is exclusive.
pub(super) struct Bounds {
    pub(super) from: Uuid,
    pub(super) below: Uuid,
}

impl Bounds {
    pub(super) fn of(filter: &UsageFilter) -> Self {
        Self {
            from: filter.from.map_or(Uuid::nil(), first_id),
            below: filter.to.map_or(Uuid::max(), first_id),
        }
    }
}

/// The smallest id that can be made at or after a moment.
fn first_id(at: Moment) -> Uuid {
    let millis = at.timestamp_micros().max(0).unsigned_abs().div_ceil(1000);
    Uuid::from_u128(u128::from(millis) << 80)
}

pub(super) async fn usage_by_day(
    pool: &PgPool,
    org: OrgId,
    filter: &UsageFilter,
) -> Result<Vec<DayModelUsage>, StoreError> {
    let bounds = Bounds::of(filter);
    let rows = sqlx::query_as!(
        DayRow,
        r#"SELECT to_char(day, 'YYYY-MM-DD') AS "day!", model, count(*) AS "requests!",
                  sum(prompt_tokens)::bigint AS "prompt!", sum(completion_tokens)::bigint AS "completion!",
                  sum(charge_nano_usd)::bigint AS "charge!",
                  coalesce(sum(list_price_nano_usd) FILTER (WHERE own_key), 0)::bigint AS "byok!"
           FROM generation
           WHERE org_id = $1 AND closing > 0 AND id >= $2 AND id < $3 AND day BETWEEN uuid7_day($2) AND uuid7_day($3)
             AND ($4::uuid IS NULL OR key_id = $4) AND ($5::uuid IS NULL OR member_id = $5)
             AND ($6::text IS NULL OR model = $6) AND ($7::text IS NULL OR provider = $7)
           GROUP BY generation.day, model ORDER BY generation.day, sum(charge_nano_usd) DESC, model"#,
        org.uuid(),
        bounds.from,
        bounds.below,
        filter.key.map(KeyId::uuid),
        filter.member.map(MemberId::uuid),
        filter.model,
        filter.provider
    )
    .fetch_all(pool)
    .await
    .named("usage_by_day")?;
    rows.into_iter().map(DayRow::usage).collect()
}

pub(super) async fn totals(
    pool: &PgPool,
    org: OrgId,
    filter: &UsageFilter,
) -> Result<UsageTotals, StoreError> {
    let bounds = Bounds::of(filter);
    let row = sqlx::query_as!(
        TotalsRow,
        r#"SELECT count(*) AS "requests!", coalesce(sum(prompt_tokens), 0)::bigint AS "prompt!",
                  coalesce(sum(completion_tokens), 0)::bigint AS "completion!",
                  coalesce(sum(charge_nano_usd), 0)::bigint AS "charge!"
           FROM generation
           WHERE org_id = $1 AND closing > 0 AND id >= $2 AND id < $3 AND day BETWEEN uuid7_day($2) AND uuid7_day($3)
             AND ($4::uuid IS NULL OR key_id = $4) AND ($5::uuid IS NULL OR member_id = $5)
             AND ($6::text IS NULL OR model = $6) AND ($7::text IS NULL OR provider = $7)"#,
        org.uuid(),
        bounds.from,
        bounds.below,
        filter.key.map(KeyId::uuid),
        filter.member.map(MemberId::uuid),
        filter.model,
        filter.provider
    )
    .fetch_one(pool)
    .await
    .named("totals")?;
    row.totals()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_of_a_time_hold_exactly_its_ids() {
        let at: Moment = "2026-11-20T12:00:00.5Z".parse().unwrap();
        let id =
            |millis: i64| Uuid::from_u128((u128::from(millis.unsigned_abs()) << 80) | (7 << 76) | (2 << 62));
        let first = first_id(at);
        assert!(id(at.timestamp_millis()) > first);
        assert!(id(at.timestamp_millis() - 1) < first);
        let later = at + chrono::Duration::microseconds(1);
        assert!(id(at.timestamp_millis()) < first_id(later));
    }
}
