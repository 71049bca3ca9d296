//! What a receipt is made of: the generation, the tariff it names, and the movements of its charge.

use crate::PgStore;
use crate::convert::nano;
use crate::error::Named as _;
use crate::tariffs::TariffRow;
use async_trait::async_trait;
use billing::receipt::{Closing, ReceiptFacts, Receipts};
use billing::reports::Reports as _;
use catalog::Tariff;
use kernel::StoreError;
use kernel::ids::{GenerationId, OrgId};
use uuid::Uuid;

#[async_trait]
impl Receipts for PgStore {
    async fn receipt(&self, org: OrgId, id: GenerationId) -> Result<Option<ReceiptFacts>, StoreError> {
        let Some(generation) = self.generation(org, id).await? else { return Ok(None) };
        let row = sqlx::query!(
            r#"SELECT g.closing, g.booked_at, g.tariff_id,
                      coalesce((SELECT sum(CASE WHEN m.debit = g.account_id THEN m.amount_nano_usd
                                                ELSE -m.amount_nano_usd END)
                                FROM ledger_movement m
                                WHERE m.id = g.id AND m.day = g.day AND m.class LIKE 'adjust%'), 0)::bigint AS "adjusted!"
               FROM generation g WHERE g.org_id = $1 AND g.id = $2 AND g.day = uuid7_day($2)"#,
            org.uuid(),
            id.uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .named("receipt")?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(ReceiptFacts {
            generation,
            closing: closing(row.closing),
            booked_at: row.booked_at,
            tariff: self.sale_tariff(row.tariff_id).await?,
            adjusted: nano(row.adjusted),
        }))
    }
}

/// The column's CHECK admits nothing else.
fn closing(column: i16) -> Closing {
    match column {
        0 => Closing::Released,
        1 => Closing::Swept,
        _ => Closing::Settled,
    }
}

impl PgStore {
    async fn sale_tariff(&self, id: Uuid) -> Result<Option<Tariff>, StoreError> {
        let row = sqlx::query_as!(
            TariffRow,
            "SELECT id, endpoint_id, version, effective_from, prompt_pico_usd, completion_pico_usd,
                    cache_read_pico_usd, cache_write_pico_usd, cache_write_1h_pico_usd, reasoning_pico_usd,
                    audio_prompt_pico_usd, audio_completion_pico_usd, image_pico_usd, request_pico_usd, tiers, free
             FROM tariff WHERE id = $1 AND kind = 'sale'",
            id
        )
        .fetch_optional(&self.pool)
        .await
        .named("receipt: tariff")?;
        row.map(TariffRow::tariff).transpose()
    }
}
