//! `GET /key` and `GET /credits`: what a key may spend and what its account has. Figures come from the
//! credit engine, so every settled call is in them at once.

use crate::http::answer;
use crate::refusal::Refusal;
use crate::stage::admit::window_end;
use crate::stage::authenticate::{Caller, Doorkeeper};
use crate::stage::read::credential;
use accounts::api_key::LimitReset;
use accounts::ports::Keys;
use accounts::{KeyKind, KeyRecord};
use actix_web::{HttpRequest, HttpResponse, web};
use billing::engine::CapPeriod;
use billing::{CapId, Credits};
use kernel::{Clock, Moment, NanoUsd};
use serde_json::{Value, json};
use std::sync::Arc;

/// What the account doors need.
#[derive(Clone)]
pub struct AccountDoor {
    pub doorkeeper: Doorkeeper,
    pub credits: Credits,
    pub keys: Arc<dyn Keys>,
    pub clock: Arc<dyn Clock>,
}

impl AccountDoor {
    /// Whoever sent this request, with whichever kind of key.
    pub async fn caller(&self, request: &HttpRequest) -> Result<Caller, Refusal> {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let credential = credential(header("authorization"), header("x-api-key"))?;
        self.doorkeeper.any_key(&credential, self.clock.now()).await
    }

    /// The same, but it must be a management key.
    pub async fn manager(&self, request: &HttpRequest) -> Result<Caller, Refusal> {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let credential = credential(header("authorization"), header("x-api-key"))?;
        self.doorkeeper.identify(&credential, KeyKind::Management, self.clock.now()).await
    }
}

/// Adds both routes below the API's base.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.route("/credits", web::get().to(credits))
        .route("/key", web::get().to(key))
        .route("/auth/key", web::get().to(key));
}

/// Credits bought and used, in dollars.
#[utoipa::path(get, path = "/credits", tag = "Account", responses((status = 200, description = "Total credits and usage")))]
pub async fn credits(request: HttpRequest, door: web::Data<AccountDoor>) -> HttpResponse {
    match credits_body(&request, &door).await {
        Ok(body) => HttpResponse::Ok().json(body),
        Err(refusal) => answer::refusal(&refusal),
    }
}

async fn credits_body(request: &HttpRequest, door: &AccountDoor) -> Result<Value, Refusal> {
    let caller = door.caller(request).await?;
    let balance = door.credits.balance(caller.account).await.map_err(|error| Refusal::from_store(&error))?;
    // Holds are not usage: what was granted minus what is left is what was settled.
    let used = balance.granted.checked_sub(balance.balance).map_err(|_range| out_of_range())?;
    Ok(json!({ "data": { "total_credits": balance.granted.json(), "total_usage": used.json() } }))
}

/// The key that asks: its limit, what is left of it, and what it used.
#[utoipa::path(get, path = "/key", tag = "Account", responses((status = 200, description = "The calling key")))]
pub async fn key(request: HttpRequest, door: web::Data<AccountDoor>) -> HttpResponse {
    match key_body(&request, &door).await {
        Ok(body) => HttpResponse::Ok().json(body),
        Err(refusal) => answer::refusal(&refusal),
    }
}

async fn key_body(request: &HttpRequest, door: &AccountDoor) -> Result<Value, Refusal> {
    let caller = door.caller(request).await?;
    let Some(record) = caller.key.clone() else { return Err(Refusal::not_found("The key")) };
    let found = door.keys.key(record.org, &record.hash, door.clock.now()).await;
    let usage =
        found.map_err(|error| Refusal::from_store(&error))?.ok_or_else(|| Refusal::not_found("The key"))?;
    let remaining = remaining(door, &caller, &record).await?;
    let budget = budget(&record, remaining, door.clock.now());
    Ok(json!({ "data": {
        "label": record.label,
        "name": record.name,
        "limit": record.limit.map(NanoUsd::json),
        "limit_remaining": remaining.map(NanoUsd::json),
        "limit_reset": record.limit_reset.as_str(),
        "include_byok_in_limit": record.include_byok_in_limit,
        "usage": usage.usage.json(),
        "usage_daily": usage.usage_daily.json(),
        "usage_weekly": usage.usage_weekly.json(),
        "usage_monthly": usage.usage_monthly.json(),
        "byok_usage": usage.byok_usage.json(),
        "byok_usage_daily": usage.byok_usage_daily.json(),
        "byok_usage_weekly": usage.byok_usage_weekly.json(),
        "byok_usage_monthly": usage.byok_usage_monthly.json(),
        "is_free_tier": false,
        "is_management_key": record.kind == KeyKind::Management,
        "is_provisioning_key": record.kind == KeyKind::Management,
        "rate_limit": { "requests": -1, "interval": "10s", "note": "This field is deprecated and safe to ignore." },
        "creator_user_id": record.creator,
        "organization_id": record.org,
        "workspace_id": record.workspace,
        "expires_at": record.expires_at.map(|at| at.to_rfc3339()),
        "budgets": budget.iter().collect::<Vec<_>>(),
        "effective_budget": budget,
        // No free models are for sale, and no region is set apart.
        "free_model_daily_requests": { "limit": 0, "remaining": 0, "used": 0 },
        "allowed_data_regions": ["global"],
    }}))
}

/// The key's own limit as a layer of budgets. What holds set aside counts as spent.
fn budget(record: &KeyRecord, remaining: Option<NanoUsd>, now: Moment) -> Option<Value> {
    let (limit, remaining) = (record.limit?, remaining?);
    let period = match record.limit_reset {
        LimitReset::None => CapPeriod::Total,
        LimitReset::Daily => CapPeriod::Daily,
        LimitReset::Weekly => CapPeriod::Weekly,
        LimitReset::Monthly => CapPeriod::Monthly,
    };
    Some(json!({
        "scope": "key_limit",
        "budget_id": null,
        "guardrail_id": null,
        "include_byok": record.include_byok_in_limit,
        "limit_usd": limit.json(),
        "spend_usd": limit.checked_sub(remaining).ok()?.json(),
        "remaining_usd": remaining.json(),
        "reset_interval": record.limit_reset.as_str(),
        "resets_at": window_end(period, now).map(|at| at.to_rfc3339()),
    }))
}

/// What is left of the key's limit now, holds taken off.
async fn remaining(
    door: &AccountDoor,
    caller: &Caller,
    record: &KeyRecord,
) -> Result<Option<NanoUsd>, Refusal> {
    if record.limit.is_none() {
        return Ok(None);
    }
    let id = CapId(accounts::ports::key_cap(record.id));
    let caps = door.credits.caps(caller.account, std::slice::from_ref(&id)).await;
    let caps = caps.map_err(|error| Refusal::from_store(&error))?;
    let Some(cap) = caps.into_iter().find(|cap| cap.id == id) else { return Ok(record.limit) };
    let left = cap.limit.checked_sub(cap.used).and_then(|left| left.checked_sub(cap.reserved));
    Ok(Some(left.map_err(|_range| out_of_range())?.max(NanoUsd::ZERO)))
}

fn out_of_range() -> Refusal {
    Refusal::new(crate::refusal::Kind::Internal, "The account's figures do not add up. Write to support.")
}
