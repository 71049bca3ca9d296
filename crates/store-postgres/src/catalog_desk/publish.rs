//! Publishing a draft: descriptions at once, prices as new versions from their date, in one transaction.
//!
//! A price that equals the one in force at that date makes no version. What must not be sold is refused
//! here again, whatever the import thought of it.

use crate::PgStore;
use crate::catalog_read::in_force;
use crate::convert::{document, json};
use crate::error::Named as _;
use crate::tariffs;
use catalog::draft::{DraftContent, EndpointDraft};
use catalog::ports::Published;
use catalog::{Rates, Tariff};
use kernel::ids::DraftId;
use kernel::{Moment, PicoUsd, StoreError};
use sqlx::{Postgres, Transaction};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

type Tx<'a, 'c> = &'a mut Transaction<'c, Postgres>;

/// `pg_advisory_xact_lock` key: one publication at a time, so versions have no gaps.
const PUBLISHING: i64 = 7_309_454;

/// A publication on its way.
struct Act<'a> {
    store: &'a PgStore,
    draft: DraftId,
    by: &'a str,
    at: Moment,
    effective_from: Moment,
    version: i64,
}

pub(super) async fn publish(
    store: &PgStore,
    draft: DraftId,
    by: &str,
    effective_from: Moment,
) -> Result<Published, StoreError> {
    let mut tx = store.pool.begin().await.named("publish")?;
    let content = match take(&mut tx, draft).await? {
        Taken::Open(content) => content,
        Taken::Not(answer) => return Ok(answer),
    };
    guard(&content)?;
    let live = sqlx::query_scalar!(r#"SELECT coalesce(max(version), 0) AS "version!" FROM publication"#)
        .fetch_one(&mut *tx)
        .await
        .named("publish: version")?;
    if content.base.is_some_and(|base| base != live) {
        return Ok(Published::Stale { live });
    }
    let version = live + 1;
    let act = Act { store, draft, by, at: store.clock.now(), effective_from, version };
    let changed = act.write(&mut tx, &content).await?;
    kernel::crash::point("catalog.before_commit");
    tx.commit().await.named("publish: commit")?;
    kernel::crash::point("catalog.committed");
    Ok(Published::Done { version, changed_endpoints: changed })
}

pub(super) async fn discard(store: &PgStore, draft: DraftId, by: &str) -> Result<Published, StoreError> {
    let mut tx = store.pool.begin().await.named("discard")?;
    if let Taken::Not(answer) = take(&mut tx, draft).await? {
        return Ok(answer);
    }
    sqlx::query!("UPDATE draft SET state = 'discarded' WHERE id = $1", draft.uuid())
        .execute(&mut *tx)
        .await
        .named("discard")?;
    audit(&mut tx, store.clock.now(), by, ("catalog.discard", draft, serde_json::json!({}))).await?;
    tx.commit().await.named("discard: commit")?;
    let version = catalog::ports::PublishedCatalog::version(store).await?;
    Ok(Published::Done { version, changed_endpoints: 0 })
}

enum Taken {
    Open(DraftContent),
    Not(Published),
}

async fn take(tx: Tx<'_, '_>, draft: DraftId) -> Result<Taken, StoreError> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", PUBLISHING)
        .execute(&mut **tx)
        .await
        .named("publish: lock")?;
    let row = sqlx::query!("SELECT state, content FROM draft WHERE id = $1 FOR UPDATE", draft.uuid())
        .fetch_optional(&mut **tx)
        .await
        .named("publish: draft")?;
    match row {
        None => Ok(Taken::Not(Published::Missing)),
        Some(row) if row.state != "open" => Ok(Taken::Not(Published::NotOpen)),
        Some(row) => Ok(Taken::Open(document("draft.content", draft, row.content)?)),
    }
}

/// Refuses the whole draft for one bad row: half a price list is worse than none.
fn guard(content: &DraftContent) -> Result<(), StoreError> {
    let mut names = BTreeSet::new();
    for endpoint in &content.endpoints {
        let name = format!("{} at {}", endpoint.model, endpoint.tag);
        if let Some(why) = tariffs::refusal(&endpoint.rates, &endpoint.tiers, endpoint.free) {
            return Err(StoreError::conflict(format!("publish: {name}: {why}")));
        }
        if !names.insert((&endpoint.model, &endpoint.provider, &endpoint.tag)) {
            return Err(StoreError::conflict(format!("publish: {name} is in the draft twice")));
        }
    }
    Ok(())
}

impl Act<'_> {
    /// Everything but the commit; how many endpoints changed.
    async fn write(&self, tx: Tx<'_, '_>, content: &DraftContent) -> Result<u64, StoreError> {
        self.descriptions(tx, content).await?;
        let (ids, mut changed) = self.endpoints(tx, &content.endpoints).await?;
        let current = in_force(tx, "sale", self.effective_from).await?;
        let priced = new_prices(&content.endpoints, &ids, &current)?;
        changed.extend(priced.iter().map(|(id, _)| *id));
        let count = u64::try_from(changed.len()).unwrap_or(u64::MAX);
        self.publication(tx, i64::try_from(changed.len()).unwrap_or(i64::MAX)).await?;
        self.tariffs(tx, &priced).await?;
        let detail = serde_json::json!({
            "version": self.version, "effective_from": self.effective_from, "changed_endpoints": count,
        });
        audit(tx, self.at, self.by, ("catalog.publish", self.draft, detail)).await?;
        sqlx::query!("SELECT pg_notify('farebox_catalog', $1)", self.version.to_string())
            .execute(&mut **tx)
            .await
            .named("publish: notice")?;
        Ok(count)
    }

    async fn descriptions(&self, tx: Tx<'_, '_>, content: &DraftContent) -> Result<(), StoreError> {
        let specs: Result<Vec<_>, _> = content.providers.iter().map(|p| json("provider.spec", p)).collect();
        sqlx::query!(
            "INSERT INTO provider AS p (slug, spec, updated_at) SELECT n.slug, n.spec, $3
             FROM unnest($1::text[], $2::jsonb[]) AS n (slug, spec)
             ON CONFLICT (slug) DO UPDATE SET spec = EXCLUDED.spec, updated_at = EXCLUDED.updated_at
             WHERE p.spec <> EXCLUDED.spec",
            &content.providers.iter().map(|p| p.slug.clone()).collect::<Vec<_>>(),
            &specs?,
            self.at
        )
        .execute(&mut **tx)
        .await
        .named("publish: providers")?;
        let specs: Result<Vec<_>, _> = content.models.iter().map(|m| json("model.spec", m)).collect();
        sqlx::query!(
            "INSERT INTO model AS m (slug, spec, updated_at) SELECT n.slug, n.spec, $3
             FROM unnest($1::text[], $2::jsonb[]) AS n (slug, spec)
             ON CONFLICT (slug) DO UPDATE SET spec = EXCLUDED.spec, updated_at = EXCLUDED.updated_at
             WHERE m.spec <> EXCLUDED.spec",
            &content.models.iter().map(|m| m.slug.clone()).collect::<Vec<_>>(),
            &specs?,
            self.at
        )
        .execute(&mut **tx)
        .await
        .named("publish: models")?;
        Ok(())
    }

    /// The id of every endpoint of the draft, and those that are new or described otherwise.
    async fn endpoints(
        &self,
        tx: Tx<'_, '_>,
        endpoints: &[EndpointDraft],
    ) -> Result<(BTreeMap<Name, Uuid>, BTreeSet<Uuid>), StoreError> {
        let new_ids: Vec<Uuid> = endpoints.iter().map(|_| self.store.new_id()).collect();
        let models: Vec<String> = endpoints.iter().map(|e| e.model.clone()).collect();
        let providers: Vec<String> = endpoints.iter().map(|e| e.provider.clone()).collect();
        let tags: Vec<String> = endpoints.iter().map(|e| e.tag.clone()).collect();
        let specs: Result<Vec<_>, _> = endpoints.iter().map(description).collect();
        let written = sqlx::query_scalar!(
            "INSERT INTO endpoint AS e (id, model, provider, tag, spec, updated_at)
             SELECT n.id, n.model, n.provider, n.tag, n.spec, $6
             FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[])
                  AS n (id, model, provider, tag, spec)
             ON CONFLICT (model, provider, tag) DO UPDATE SET spec = EXCLUDED.spec, updated_at = EXCLUDED.updated_at
             WHERE e.spec <> EXCLUDED.spec RETURNING e.id",
            &new_ids,
            &models,
            &providers,
            &tags,
            &specs?,
            self.at
        )
        .fetch_all(&mut **tx)
        .await
        .named("publish: endpoints")?;
        let rows = sqlx::query!(
            "SELECT e.id, e.model, e.provider, e.tag
             FROM unnest($1::text[], $2::text[], $3::text[]) AS n (model, provider, tag)
             JOIN endpoint e ON e.model = n.model AND e.provider = n.provider AND e.tag = n.tag",
            &models,
            &providers,
            &tags
        )
        .fetch_all(&mut **tx)
        .await
        .named("publish: endpoint ids")?;
        let ids = rows.into_iter().map(|row| ((row.model, row.provider, row.tag), row.id)).collect();
        Ok((ids, written.into_iter().collect()))
    }

    async fn publication(&self, tx: Tx<'_, '_>, changed: i64) -> Result<(), StoreError> {
        sqlx::query!(
            "WITH done AS (
                 UPDATE draft SET state = 'published', published_at = $4, effective_from = $5 WHERE id = $2)
             INSERT INTO publication (version, draft_id, published_by, published_at, effective_from, changed_endpoints)
             VALUES ($1, $2, $3, $4, $5, $6)",
            self.version,
            self.draft.uuid(),
            self.by,
            self.at,
            self.effective_from,
            changed
        )
        .execute(&mut **tx)
        .await
        .named("publish: publication")?;
        Ok(())
    }

    async fn tariffs(&self, tx: Tx<'_, '_>, priced: &[(Uuid, &EndpointDraft)]) -> Result<(), StoreError> {
        let base = |pick: fn(&Rates) -> PicoUsd| {
            priced.iter().map(|(_, e)| pick(&e.rates).get()).collect::<Vec<_>>()
        };
        let rate = |pick: fn(&Rates) -> Option<PicoUsd>| {
            priced.iter().map(|(_, e)| pick(&e.rates).map(PicoUsd::get)).collect::<Vec<_>>()
        };
        let tiers: Result<Vec<_>, _> = priced.iter().map(|(_, e)| json("tariff.tiers", &e.tiers)).collect();
        sqlx::query!(
            "INSERT INTO tariff (id, endpoint_id, kind, version, effective_from, prompt_pico_usd, completion_pico_usd,
                 cache_read_pico_usd, cache_write_pico_usd, cache_write_1h_pico_usd, reasoning_pico_usd,
                 audio_prompt_pico_usd, audio_completion_pico_usd, image_pico_usd, request_pico_usd, tiers, free,
                 catalog_version)
             SELECT n.id, n.endpoint, 'sale',
                 coalesce((SELECT max(t.version) FROM tariff t WHERE t.endpoint_id = n.endpoint AND t.kind = 'sale'), 0) + 1,
                 $15, n.r1, n.r2, n.r3, n.r4, n.r5, n.r6, n.r7, n.r8, n.r9, n.r10, n.tiers, n.free, $16
             FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                 $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::jsonb[], $14::boolean[])
               AS n (id, endpoint, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, tiers, free)",
            &priced.iter().map(|_| self.store.new_id()).collect::<Vec<_>>(),
            &priced.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            &base(|r| r.prompt),
            &base(|r| r.completion),
            &rate(|r| r.cache_read) as _,
            &rate(|r| r.cache_write) as _,
            &rate(|r| r.cache_write_1h) as _,
            &rate(|r| r.reasoning) as _,
            &rate(|r| r.audio_prompt) as _,
            &rate(|r| r.audio_completion) as _,
            &rate(|r| r.image) as _,
            &rate(|r| r.request) as _,
            &tiers?,
            &priced.iter().map(|(_, e)| e.free).collect::<Vec<_>>(),
            self.effective_from,
            self.version
        )
        .execute(&mut **tx)
        .await
        .named("publish: tariffs")?;
        Ok(())
    }
}

/// Model, provider and tag: what an endpoint is known by.
type Name = (String, String, String);

/// The endpoints whose prices differ from those in force at the date of the draft.
fn new_prices<'a>(
    endpoints: &'a [EndpointDraft],
    ids: &BTreeMap<Name, Uuid>,
    current: &HashMap<Uuid, Tariff>,
) -> Result<Vec<(Uuid, &'a EndpointDraft)>, StoreError> {
    let mut priced = Vec::new();
    for endpoint in endpoints {
        let name = (endpoint.model.clone(), endpoint.provider.clone(), endpoint.tag.clone());
        let id = ids
            .get(&name)
            .ok_or_else(|| StoreError::corrupt(format!("endpoint: {name:?} was not written")))?;
        let same = |tariff: &Tariff| {
            (&tariff.rates, &tariff.tiers, tariff.free) == (&endpoint.rates, &endpoint.tiers, endpoint.free)
        };
        if !current.get(id).is_some_and(same) {
            priced.push((*id, endpoint));
        }
    }
    Ok(priced)
}

/// The endpoint without its prices: they live in `tariff` alone.
fn description(endpoint: &EndpointDraft) -> Result<serde_json::Value, StoreError> {
    let bare = EndpointDraft { rates: Rates::default(), tiers: Vec::new(), free: false, ..endpoint.clone() };
    json("endpoint.spec", &bare)
}

async fn audit(
    tx: Tx<'_, '_>,
    at: Moment,
    by: &str,
    (action, draft, detail): (&'static str, DraftId, serde_json::Value),
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO audit_log (at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)",
        at,
        by,
        action,
        draft.to_string(),
        detail
    )
    .execute(&mut **tx)
    .await
    .named("audit of the catalog")?;
    Ok(())
}
