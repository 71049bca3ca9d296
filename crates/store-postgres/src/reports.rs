//! What pages and the API read of past calls.
//!
//! Whole days come from the daily sums, so pages never scan generations; other bounds count generations.

mod rows;
mod scan;
mod sums;

use crate::PgStore;
use crate::convert::{document, nano};
use crate::error::Named as _;
use async_trait::async_trait;
use billing::GenerationRecord;
use billing::reports::{DayModelUsage, Generation, Reports, UsageFilter, UsageTotals};
use chrono::{NaiveTime, Timelike as _};
use kernel::ids::{GenerationId, KeyId, MemberId, OrgId};
use kernel::{Moment, StoreError};
use uuid::Uuid;

#[async_trait]
impl Reports for PgStore {
    async fn usage_by_day(&self, org: OrgId, filter: &UsageFilter) -> Result<Vec<DayModelUsage>, StoreError> {
        if whole_days(filter) {
            sums::usage_by_day(&self.pool, org, filter).await
        } else {
            scan::usage_by_day(&self.pool, org, filter).await
        }
    }

    async fn totals(&self, org: OrgId, filter: &UsageFilter) -> Result<UsageTotals, StoreError> {
        if whole_days(filter) {
            sums::totals(&self.pool, org, filter).await
        } else {
            scan::totals(&self.pool, org, filter).await
        }
    }

    async fn generations(
        &self,
        org: OrgId,
        filter: &UsageFilter,
        before: Option<GenerationId>,
        limit: u32,
    ) -> Result<Vec<Generation>, StoreError> {
        let bounds = scan::Bounds::of(filter);
        let below = before.map_or(bounds.below, |id| id.uuid().min(bounds.below));
        let rows = sqlx::query_as!(
            GenerationRow,
            r#"SELECT g.id, g.record, g.charge_nano_usd, g.uncollected_nano_usd, g.held_nano_usd,
                      k.name AS "key_name?"
               FROM generation g LEFT JOIN api_key k ON k.id = g.key_id
               WHERE g.org_id = $1 AND g.closing > 0 AND g.id >= $2 AND g.id < $3
                 AND g.day BETWEEN uuid7_day($2) AND uuid7_day($3)
                 AND ($4::uuid IS NULL OR g.key_id = $4) AND ($5::uuid IS NULL OR g.member_id = $5)
                 AND ($6::text IS NULL OR g.model = $6) AND ($7::text IS NULL OR g.provider = $7)
               ORDER BY g.id DESC LIMIT $8"#,
            org.uuid(),
            bounds.from,
            below,
            filter.key.map(KeyId::uuid),
            filter.member.map(MemberId::uuid),
            filter.model,
            filter.provider,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("generations")?;
        rows.into_iter().map(GenerationRow::generation).collect()
    }

    async fn generation(&self, org: OrgId, id: GenerationId) -> Result<Option<Generation>, StoreError> {
        let row = sqlx::query_as!(
            GenerationRow,
            r#"SELECT g.id, g.record, g.charge_nano_usd, g.uncollected_nano_usd, g.held_nano_usd,
                      k.name AS "key_name?"
               FROM generation g LEFT JOIN api_key k ON k.id = g.key_id
               WHERE g.org_id = $1 AND g.id = $2 AND g.day = uuid7_day($2)"#,
            org.uuid(),
            id.uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .named("generation")?;
        row.map(GenerationRow::generation).transpose()
    }
}

struct GenerationRow {
    id: Uuid,
    record: serde_json::Value,
    charge_nano_usd: i64,
    uncollected_nano_usd: i64,
    held_nano_usd: i64,
    key_name: Option<String>,
}

impl GenerationRow {
    fn generation(self) -> Result<Generation, StoreError> {
        let record: GenerationRecord = document("generation.record", self.id, self.record)?;
        Ok(Generation {
            record,
            created_at: GenerationId::from_uuid(self.id).created_at(),
            charge: nano(self.charge_nano_usd),
            uncollected: nano(self.uncollected_nano_usd),
            held: nano(self.held_nano_usd),
            key_name: self.key_name,
        })
    }
}

/// Whether both ends of a filter are midnights, so that days need not be cut.
fn whole_days(filter: &UsageFilter) -> bool {
    let midnight = |at: &Moment| at.time() == NaiveTime::MIN && at.nanosecond() == 0;
    [filter.from, filter.to].iter().flatten().all(midnight)
}
