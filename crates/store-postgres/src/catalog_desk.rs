//! Staff's desk: drafts, their publication, and the history of prices.

mod publish;

use crate::PgStore;
use crate::convert::{document, json};
use crate::error::Named as _;
use crate::tariffs::TariffRow;
use async_trait::async_trait;
use catalog::draft::{DraftContent, DraftState, DraftSummary, PriceVersion, PublishedSince};
use catalog::ports::{CatalogDesk, Published};
use kernel::ids::{DraftId, EndpointId};
use kernel::{Moment, StoreError};
use uuid::Uuid;

struct DraftRow {
    id: Uuid,
    source: String,
    state: String,
    created_at: Moment,
    created_by: String,
    endpoints: i32,
    held_back: i32,
    published_at: Option<Moment>,
    effective_from: Option<Moment>,
}

impl DraftRow {
    fn summary(self) -> Result<DraftSummary, StoreError> {
        let bad = |column: &str| StoreError::corrupt(format!("draft.{column} of {}", self.id));
        let state = match self.state.as_str() {
            "open" => DraftState::Open,
            "published" => DraftState::Published,
            "discarded" => DraftState::Discarded,
            _ => return Err(bad("state")),
        };
        Ok(DraftSummary {
            id: DraftId::from_uuid(self.id),
            state,
            endpoints: usize::try_from(self.endpoints).map_err(|_negative| bad("endpoints"))?,
            held_back: usize::try_from(self.held_back).map_err(|_negative| bad("held_back"))?,
            source: self.source,
            created_at: self.created_at,
            created_by: self.created_by,
            published_at: self.published_at,
            effective_from: self.effective_from,
        })
    }
}

#[async_trait]
impl CatalogDesk for PgStore {
    async fn add_draft(&self, source: &str, by: &str, content: &DraftContent) -> Result<DraftId, StoreError> {
        let id = self.new_id();
        let length = |count: usize| {
            i32::try_from(count).map_err(|_large| StoreError::conflict("draft: too many rows"))
        };
        sqlx::query!(
            "INSERT INTO draft (id, source, state, content, endpoints, held_back, created_by, created_at)
             VALUES ($1, $2, 'open', $3, $4, $5, $6, $7)",
            id,
            source,
            json("draft.content", content)?,
            length(content.endpoints.len())?,
            length(content.held_back.len())?,
            by,
            self.clock.now()
        )
        .execute(&self.pool)
        .await
        .named("add_draft")?;
        Ok(DraftId::from_uuid(id))
    }

    async fn drafts(&self, limit: u32) -> Result<Vec<DraftSummary>, StoreError> {
        let rows = sqlx::query_as!(
            DraftRow,
            "SELECT id, source, state, created_at, created_by, endpoints, held_back, published_at, effective_from
             FROM draft ORDER BY id DESC LIMIT $1",
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("drafts")?;
        rows.into_iter().map(DraftRow::summary).collect()
    }

    async fn draft(&self, id: DraftId) -> Result<Option<(DraftSummary, DraftContent)>, StoreError> {
        let row = sqlx::query!(
            "SELECT id, source, state, created_at, created_by, endpoints, held_back, published_at, effective_from,
                    content
             FROM draft WHERE id = $1",
            id.uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .named("draft")?;
        let Some(row) = row else { return Ok(None) };
        let content = document("draft.content", id, row.content)?;
        let row = DraftRow {
            id: row.id,
            source: row.source,
            state: row.state,
            created_at: row.created_at,
            created_by: row.created_by,
            endpoints: row.endpoints,
            held_back: row.held_back,
            published_at: row.published_at,
            effective_from: row.effective_from,
        };
        Ok(Some((row.summary()?, content)))
    }

    async fn publish(&self, id: DraftId, by: &str, effective_from: Moment) -> Result<Published, StoreError> {
        publish::publish(self, id, by, effective_from).await
    }

    async fn published_since(&self, version: i64) -> Result<Vec<PublishedSince>, StoreError> {
        sqlx::query_as!(
            PublishedSince,
            r#"SELECT p.version, d.source, p.published_by AS by, p.published_at AS at,
                      ARRAY(SELECT e.model || ' at ' || e.tag FROM endpoint e
                            WHERE e.updated_at = p.published_at
                               OR EXISTS (SELECT 1 FROM tariff t
                                          WHERE t.endpoint_id = e.id AND t.catalog_version = p.version)
                            ORDER BY 1 LIMIT 50) AS "endpoints!"
               FROM publication p JOIN draft d ON d.id = p.draft_id
               WHERE p.version > $1 ORDER BY p.version DESC LIMIT 20"#,
            version
        )
        .fetch_all(&self.pool)
        .await
        .named("published_since")
    }

    async fn discard(&self, id: DraftId, by: &str) -> Result<Published, StoreError> {
        publish::discard(self, id, by).await
    }

    async fn price_history(&self, endpoint: EndpointId) -> Result<Vec<PriceVersion>, StoreError> {
        let rows = sqlx::query!(
            "SELECT t.id, t.endpoint_id, t.version, t.effective_from, t.prompt_pico_usd, t.completion_pico_usd,
                    t.cache_read_pico_usd, t.cache_write_pico_usd, t.cache_write_1h_pico_usd, t.reasoning_pico_usd,
                    t.audio_prompt_pico_usd, t.audio_completion_pico_usd, t.image_pico_usd, t.request_pico_usd,
                    t.tiers, t.free, e.model, e.provider, p.published_by, p.published_at
             FROM tariff t JOIN endpoint e ON e.id = t.endpoint_id
             JOIN publication p ON p.version = t.catalog_version
             WHERE t.endpoint_id = $1 AND t.kind = 'sale' ORDER BY t.version DESC",
            endpoint.uuid()
        )
        .fetch_all(&self.pool)
        .await
        .named("price_history")?;
        let mut history = Vec::with_capacity(rows.len());
        for row in rows {
            let tariff = TariffRow {
                id: row.id,
                endpoint_id: row.endpoint_id,
                version: row.version,
                effective_from: row.effective_from,
                prompt_pico_usd: row.prompt_pico_usd,
                completion_pico_usd: row.completion_pico_usd,
                cache_read_pico_usd: row.cache_read_pico_usd,
                cache_write_pico_usd: row.cache_write_pico_usd,
                cache_write_1h_pico_usd: row.cache_write_1h_pico_usd,
                reasoning_pico_usd: row.reasoning_pico_usd,
                audio_prompt_pico_usd: row.audio_prompt_pico_usd,
                audio_completion_pico_usd: row.audio_completion_pico_usd,
                image_pico_usd: row.image_pico_usd,
                request_pico_usd: row.request_pico_usd,
                tiers: row.tiers,
                free: row.free,
            }
            .tariff()?;
            history.push(PriceVersion {
                endpoint,
                model: row.model,
                provider: row.provider,
                version: tariff.version,
                effective_from: tariff.effective_from,
                rates: tariff.rates,
                tiers: tariff.tiers,
                free: tariff.free,
                published_by: row.published_by,
                published_at: row.published_at,
            });
        }
        Ok(history)
    }
}
