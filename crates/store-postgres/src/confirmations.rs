//! Which settlements have arrived for good: what a gateway asks about every second.

use crate::PgStore;
use crate::convert::nano;
use crate::error::Named as _;
use crate::ingest::day_of;
use async_trait::async_trait;
use billing::ledger::Confirmations;
use kernel::ids::GenerationId;
use kernel::{NanoUsd, StoreError};

#[async_trait]
impl Confirmations for PgStore {
    async fn finals(&self, generations: &[GenerationId]) -> Result<Vec<(GenerationId, NanoUsd)>, StoreError> {
        let ids: Vec<_> = generations.iter().map(|id| id.uuid()).collect();
        // First and last day leave only their partitions to be searched, and each by its key.
        let days = ids.iter().map(|id| day_of(*id));
        let (Some(first), Some(last)) = (days.clone().min(), days.max()) else { return Ok(Vec::new()) };
        let rows = sqlx::query!(
            "SELECT id, amount_nano_usd FROM generation WHERE id = ANY($1) AND day BETWEEN $2 AND $3 AND closing = 2",
            &ids,
            first,
            last
        )
        .fetch_all(&self.pool)
        .await
        .named("finals")?;
        Ok(rows.into_iter().map(|row| (GenerationId::from_uuid(row.id), nano(row.amount_nano_usd))).collect())
    }
}
