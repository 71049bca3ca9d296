//! What keys have spent, from the daily sums. Days are UTC days.

use crate::PgStore;
use crate::convert::nano;
use crate::error::Named as _;
use crate::windows::Starts;
use accounts::KeyRecord;
use accounts::ports::KeyUsage;
use kernel::{Moment, NanoUsd, StoreError};
use std::collections::HashMap;
use uuid::Uuid;

struct Spent {
    total: i64,
    daily: i64,
    weekly: i64,
    monthly: i64,
    byok_total: i64,
    byok_daily: i64,
    byok_weekly: i64,
    byok_monthly: i64,
    last_used_at: Option<Moment>,
}

impl PgStore {
    pub(super) async fn with_usage(
        &self,
        keys: Vec<KeyRecord>,
        now: Moment,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.id.uuid()).collect();
        let mut spent = self.spent(&ids, now).await?;
        Ok(keys.into_iter().map(|key| joined(spent.remove(&key.id.uuid()), key)).collect())
    }

    async fn spent(&self, keys: &[Uuid], now: Moment) -> Result<HashMap<Uuid, Spent>, StoreError> {
        let starts = Starts::of(now);
        let rows = sqlx::query!(
            r#"SELECT k.id AS "id!", max(u.last_used_at) AS last_used_at,
                coalesce(sum(d.charge_nano_usd), 0)::bigint AS "total!",
                coalesce(sum(d.charge_nano_usd) FILTER (WHERE d.day >= $2), 0)::bigint AS "daily!",
                coalesce(sum(d.charge_nano_usd) FILTER (WHERE d.day >= $3), 0)::bigint AS "weekly!",
                coalesce(sum(d.charge_nano_usd) FILTER (WHERE d.day >= $4), 0)::bigint AS "monthly!",
                coalesce(sum(d.byok_list_price_nano_usd), 0)::bigint AS "byok_total!",
                coalesce(sum(d.byok_list_price_nano_usd) FILTER (WHERE d.day >= $2), 0)::bigint AS "byok_daily!",
                coalesce(sum(d.byok_list_price_nano_usd) FILTER (WHERE d.day >= $3), 0)::bigint AS "byok_weekly!",
                coalesce(sum(d.byok_list_price_nano_usd) FILTER (WHERE d.day >= $4), 0)::bigint AS "byok_monthly!"
               FROM unnest($1::uuid[]) AS k (id)
               LEFT JOIN usage_daily d ON d.key_id = k.id
               LEFT JOIN api_key_use u ON u.key_id = k.id
               GROUP BY k.id"#,
            keys,
            starts.day,
            starts.week,
            starts.month
        )
        .fetch_all(&self.pool)
        .await
        .named("usage of keys")?;
        let spent = rows.into_iter().map(|row| {
            let spent = Spent {
                total: row.total,
                daily: row.daily,
                weekly: row.weekly,
                monthly: row.monthly,
                byok_total: row.byok_total,
                byok_daily: row.byok_daily,
                byok_weekly: row.byok_weekly,
                byok_monthly: row.byok_monthly,
                last_used_at: row.last_used_at,
            };
            (row.id, spent)
        });
        Ok(spent.collect())
    }
}

fn joined(spent: Option<Spent>, key: KeyRecord) -> KeyUsage {
    let of = |pick: fn(&Spent) -> i64| spent.as_ref().map_or(NanoUsd::ZERO, |spent| nano(pick(spent)));
    KeyUsage {
        usage: of(|s| s.total),
        usage_daily: of(|s| s.daily),
        usage_weekly: of(|s| s.weekly),
        usage_monthly: of(|s| s.monthly),
        byok_usage: of(|s| s.byok_total),
        byok_usage_daily: of(|s| s.byok_daily),
        byok_usage_weekly: of(|s| s.byok_weekly),
        byok_usage_monthly: of(|s| s.byok_monthly),
        last_used_at: spent.as_ref().and_then(|spent| spent.last_used_at),
        key,
    }
}
