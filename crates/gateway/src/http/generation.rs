//! `GET /generation?id=`: the receipt of one call. Waits up to two seconds for a call that was just made.

use crate::http::account::AccountDoor;
use crate::http::answer;
use crate::refusal::Refusal;
use crate::stage::authenticate::Caller;
use actix_web::{HttpRequest, HttpResponse, web};
use billing::reports::{Generation, Reports};
use billing::{AttemptRecord, HoldKey};
use catalog::{Catalog, Snapshot};
use kernel::ids::{GenerationId, OrgId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait for the ledger, and how often to look.
const PATIENCE: Duration = Duration::from_secs(2);
const GLANCE: Duration = Duration::from_millis(50);

/// What the generation door needs.
#[derive(Clone)]
pub struct GenerationDoor {
    pub account: AccountDoor,
    pub reports: Arc<dyn Reports>,
    /// For the names that providers go by.
    pub catalog: Arc<Catalog>,
}

/// Adds the route below the API's base.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.route("/generation", web::get().to(read));
}

/// Metadata, tokens and cost of one generation.
#[utoipa::path(get, path = "/generation", tag = "Generations", params(("id" = String, Query, description = "gen-…")),
    responses((status = 200, description = "The generation"), (status = 404, description = "Unknown, or not booked yet")))]
pub async fn read(request: HttpRequest, door: web::Data<GenerationDoor>) -> HttpResponse {
    match door.booked(&request).await {
        Ok((_, generation)) => {
            let body = generation_json(&generation, &door.catalog.snapshot());
            HttpResponse::Ok().json(json!({ "data": body }))
        }
        Err(refusal) => answer::refusal(&refusal),
    }
}

impl GenerationDoor {
    /// The booked generation that a request names, and its organization. Waits for one that was just made.
    pub(crate) async fn booked(&self, request: &HttpRequest) -> Result<(OrgId, Generation), Refusal> {
        let caller = self.account.caller(request).await?;
        let generation = booked(request, self, &caller).await?;
        Ok((caller.org, generation))
    }
}

async fn booked(
    request: &HttpRequest,
    door: &GenerationDoor,
    caller: &Caller,
) -> Result<Generation, Refusal> {
    #[derive(Deserialize)]
    struct Query {
        id: String,
    }
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|_missing| Refusal::invalid("Name the generation: /generation?id=gen-…"))?;
    let id: GenerationId = query.id.parse().map_err(|_malformed| Refusal::not_found("The generation"))?;
    let deadline = door.account.clock.monotonic() + PATIENCE;
    loop {
        let found =
            door.reports.generation(caller.org, id).await.map_err(|error| Refusal::from_store(&error))?;
        if let Some(generation) = found {
            return Ok(generation);
        }
        let mut known = false;
        for funding in [1, 0, 3, 2] {
            let hold = HoldKey { generation: id, funding };
            let knows = door.account.credits.knows(&hold, caller.account).await;
            known |= knows.map_err(|error| Refusal::from_store(&error))?;
        }
        if !known {
            return Err(Refusal::not_found("The generation"));
        }
        if door.account.clock.monotonic() >= deadline {
            let message = "The generation is not booked yet. Ask again in a second.";
            return Err(Refusal::new(crate::refusal::Kind::NotFound, message).retry_after(1));
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// A generation in OpenRouter's shape, with our own receipt beside it. Providers go by their names, as
/// everywhere in the API; `farebox.provider` is the slug that requests use.
#[must_use]
pub fn generation_json(generation: &Generation, snapshot: &Snapshot) -> Value {
    let record = &generation.record;
    let usage = &record.usage;
    let own_key = record.provider_key.is_some();
    let attempts: Vec<Value> = record.attempts.iter().map(|a| attempt_json(a, snapshot)).collect();
    json!({
        "id": record.id,
        "upstream_id": record.upstream_id,
        "model": record.model,
        "provider_name": provider_name(snapshot, &record.provider),
        "api_type": "completions",
        "created_at": generation.created_at.to_rfc3339(),
        "latency": record.latency_ms,
        "generation_time": record.generation_ms,
        "moderation_latency": null,
        "streamed": record.streamed,
        "cancelled": record.cancelled,
        "finish_reason": record.finish_reason,
        "native_finish_reason": record.native_finish_reason,
        "tokens_prompt": usage.prompt,
        "tokens_completion": usage.completion,
        "native_tokens_prompt": usage.prompt,
        "native_tokens_completion": usage.completion,
        "native_tokens_reasoning": usage.reasoning,
        "native_tokens_cached": usage.cache_read,
        "num_media_prompt": record.extras.images,
        "total_cost": generation.charge.json(),
        "usage": generation.charge.json(),
        "upstream_inference_cost": record.list_price.json(),
        "cache_discount": null,
        "is_byok": own_key,
        "workspace_id": record.workspace,
        "external_user": record.end_user,
        "session_id": record.session,
        "http_referer": record.app_referer,
        "origin": record.app_referer.as_deref().unwrap_or(""),
        "data_region": "global",
        "provider_responses": attempts,
        "farebox": {
            "provider": record.provider,
            "price_version": record.tariff_version,
            "tariff": record.tariff,
            "catalog_version": record.catalog_version,
            "usage_source": record.usage_source,
            "held": generation.held.json(),
            "charge": generation.charge.json(),
            "uncollected": generation.uncollected.json(),
            "list_price": record.list_price.json(),
            "paid_by": if own_key { "own_key" } else { "credits" },
            "error": record.error,
            "simulated": record.simulated,
            "app_title": record.app_title,
        },
        // Clients expect these; nothing of the kind is recorded.
        "app_id": null,
        "native_tokens_completion_images": null,
        "num_fetches": null,
        "num_input_audio_prompt": null,
        "num_media_completion": null,
        "num_search_results": null,
        "preset_id": null,
        "request_id": record.id,
        "router": null,
        "service_tier": null,
        "user_agent": null,
        "web_search_engine": null,
    })
}

/// A provider that is no longer known goes by its slug.
fn provider_name<'a>(snapshot: &'a Snapshot, slug: &'a str) -> &'a str {
    snapshot.provider(slug).map_or(slug, |provider| provider.name.as_str())
}

fn attempt_json(attempt: &AttemptRecord, snapshot: &Snapshot) -> Value {
    json!({
        "provider_name": provider_name(snapshot, &attempt.provider), "provider": attempt.provider, "status": attempt.status, "outcome": attempt.outcome,
        "started_ms": attempt.started_ms, "latency": attempt.duration_ms, "is_byok": attempt.own_key,
    })
}
