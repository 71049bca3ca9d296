//! The published catalog: every description as approved, with the tariff in force at a moment.

use crate::PgStore;
use crate::convert::document;
use crate::error::Named as _;
use crate::kill_switch;
use crate::states::snapshot;
use crate::tariffs::TariffRow;
use async_trait::async_trait;
use catalog::draft::EndpointDraft;
use catalog::ports::PublishedCatalog;
use catalog::snapshot::{Rows, Snapshot};
use catalog::{Endpoint, Model, Provider, Tariff};
use kernel::ids::EndpointId;
use kernel::{Moment, StoreError};
use sqlx::{Postgres, Transaction};
use std::collections::HashMap;
use uuid::Uuid;

#[async_trait]
impl PublishedCatalog for PgStore {
    async fn snapshot(&self, at: Moment) -> Result<Snapshot, StoreError> {
        let mut tx = self.pool.begin().await.named("catalog")?;
        snapshot(&mut tx).await?;
        let head = sqlx::query!(
            r#"SELECT coalesce((SELECT max(version) FROM publication), 0) AS "version!",
                      (SELECT max(effective_from) FROM tariff WHERE effective_from <= $1) AS since,
                      (SELECT min(effective_from) FROM tariff WHERE effective_from > $1) AS next"#,
            at
        )
        .fetch_one(&mut *tx)
        .await
        .named("catalog: version")?;
        let sale = in_force(&mut tx, "sale", at).await?;
        let cost = in_force(&mut tx, "cost", at).await?;
        let mut rows = Rows {
            providers: providers(&mut tx).await?,
            models: models(&mut tx).await?,
            endpoints: endpoints(&mut tx, sale, cost).await?,
        };
        let off = kill_switch::switched(&mut tx).await?;
        for provider in &mut rows.providers {
            provider.enabled &= !off.providers.contains(&provider.slug);
        }
        for endpoint in &mut rows.endpoints {
            endpoint.enabled &= !off.endpoints.contains(&format!("{} at {}", endpoint.model, endpoint.tag));
        }
        tx.commit().await.named("catalog: commit")?;
        // The moment of the last change, not of asking: equal prices have equal names in every process.
        let since = head.since.unwrap_or(Moment::UNIX_EPOCH);
        let mut snapshot = Snapshot::build(head.version, since, head.next, rows);
        snapshot.switch_seq = off.seq;
        Ok(snapshot)
    }

    async fn version(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar!(r#"SELECT coalesce(max(version), 0) AS "version!" FROM publication"#)
            .fetch_one(&self.pool)
            .await
            .named("catalog version")
    }
}

async fn providers(tx: &mut Transaction<'_, Postgres>) -> Result<Vec<Provider>, StoreError> {
    let rows = sqlx::query!("SELECT slug, spec FROM provider ORDER BY slug")
        .fetch_all(&mut **tx)
        .await
        .named("catalog: providers")?;
    rows.into_iter().map(|row| document("provider.spec", row.slug, row.spec)).collect()
}

async fn models(tx: &mut Transaction<'_, Postgres>) -> Result<Vec<Model>, StoreError> {
    let rows = sqlx::query!("SELECT slug, spec FROM model ORDER BY slug")
        .fetch_all(&mut **tx)
        .await
        .named("catalog: models")?;
    rows.into_iter().map(|row| document("model.spec", row.slug, row.spec)).collect()
}

/// Endpoints with a sale tariff in force; the others are not for sale yet.
async fn endpoints(
    tx: &mut Transaction<'_, Postgres>,
    mut sale: HashMap<Uuid, Tariff>,
    mut cost: HashMap<Uuid, Tariff>,
) -> Result<Vec<Endpoint>, StoreError> {
    let rows = sqlx::query!("SELECT id, spec, enabled FROM endpoint ORDER BY model, provider, tag")
        .fetch_all(&mut **tx)
        .await
        .named("catalog: endpoints")?;
    let mut endpoints = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(tariff) = sale.remove(&row.id) else { continue };
        let spec: EndpointDraft = document("endpoint.spec", row.id, row.spec)?;
        endpoints.push(Endpoint {
            id: EndpointId::from_uuid(row.id),
            model: spec.model,
            provider: spec.provider,
            provider_model: spec.provider_model,
            tag: spec.tag,
            context_length: spec.context_length,
            max_prompt_tokens: spec.max_prompt_tokens,
            max_completion_tokens: spec.max_completion_tokens,
            quantization: spec.quantization,
            supported_parameters: spec.supported_parameters,
            tariff,
            cost_tariff: cost.remove(&row.id),
            enabled: row.enabled,
        });
    }
    Ok(endpoints)
}

/// The tariff of each endpoint at a moment: the one that came into force last, and of two at once the newer.
pub(crate) async fn in_force(
    tx: &mut Transaction<'_, Postgres>,
    kind: &str,
    at: Moment,
) -> Result<HashMap<Uuid, Tariff>, StoreError> {
    let rows = sqlx::query_as!(
        TariffRow,
        "SELECT DISTINCT ON (endpoint_id) id, endpoint_id, version, effective_from, prompt_pico_usd,
                completion_pico_usd, cache_read_pico_usd, cache_write_pico_usd, cache_write_1h_pico_usd,
                reasoning_pico_usd, audio_prompt_pico_usd, audio_completion_pico_usd, image_pico_usd,
                request_pico_usd, tiers, free
         FROM tariff WHERE kind = $1 AND effective_from <= $2
         ORDER BY endpoint_id, effective_from DESC, version DESC",
        kind,
        at
    )
    .fetch_all(&mut **tx)
    .await
    .named("catalog: tariffs")?;
    rows.into_iter().map(|row| Ok((row.endpoint_id, row.tariff()?))).collect()
}
