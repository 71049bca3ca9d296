//! Reports from the daily sums: for filters that cut no day.

use super::rows::{DayRow, TotalsRow};
use crate::error::Named as _;
use billing::reports::{DayModelUsage, UsageFilter, UsageTotals};
use kernel::StoreError;
use kernel::ids::{KeyId, MemberId, OrgId};
use sqlx::PgPool;

pub(super) async fn usage_by_day(
    pool: &PgPool,
    org: OrgId,
    filter: &UsageFilter,
) -> Result<Vec<DayModelUsage>, StoreError> {
    let rows = sqlx::query_as!(
        DayRow,
        r#"SELECT to_char(day, 'YYYY-MM-DD') AS "day!", model, sum(requests)::bigint AS "requests!",
                  sum(prompt_tokens)::bigint AS "prompt!", sum(completion_tokens)::bigint AS "completion!",
                  sum(charge_nano_usd)::bigint AS "charge!", sum(byok_list_price_nano_usd)::bigint AS "byok!"
           FROM usage_daily
           WHERE org_id = $1 AND ($2::date IS NULL OR day >= $2) AND ($3::date IS NULL OR day < $3)
             AND ($4::uuid IS NULL OR key_id = $4) AND ($5::uuid IS NULL OR member_id = $5)
             AND ($6::text IS NULL OR model = $6) AND ($7::text IS NULL OR provider = $7)
           GROUP BY usage_daily.day, model HAVING sum(requests) > 0
           ORDER BY usage_daily.day, sum(charge_nano_usd) DESC, model"#,
        org.uuid(),
        filter.from.map(|at| at.date_naive()),
        filter.to.map(|at| at.date_naive()),
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
    let row = sqlx::query_as!(
        TotalsRow,
        r#"SELECT coalesce(sum(requests), 0)::bigint AS "requests!", coalesce(sum(prompt_tokens), 0)::bigint AS "prompt!",
                  coalesce(sum(completion_tokens), 0)::bigint AS "completion!",
                  coalesce(sum(charge_nano_usd), 0)::bigint AS "charge!"
           FROM usage_daily
           WHERE org_id = $1 AND ($2::date IS NULL OR day >= $2) AND ($3::date IS NULL OR day < $3)
             AND ($4::uuid IS NULL OR key_id = $4) AND ($5::uuid IS NULL OR member_id = $5)
             AND ($6::text IS NULL OR model = $6) AND ($7::text IS NULL OR provider = $7)"#,
        org.uuid(),
        filter.from.map(|at| at.date_naive()),
        filter.to.map(|at| at.date_naive()),
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
