//! `/limits/{scope}`: hard spending limits of an organization, a workspace or a member, set with a management
//! key. A scope is `organization`, or the id of a workspace (`wsp_…`) or a member (`mem_…`).

use crate::http::account::AccountDoor;
use crate::http::answer;
use crate::http::keys::{limit, malformed, reset};
use crate::http::schema::SetLimitBody;
use crate::refusal::Refusal;
use crate::stage::authenticate::Caller;
use accounts::api_key::LimitReset;
use accounts::limits::{LimitOwner, Limits, SpendingLimit};
use actix_web::{HttpRequest, HttpResponse, web};
use billing::CapId;
use kernel::NanoUsd;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;

/// What the limits door needs.
#[derive(Clone)]
pub struct LimitsDoor {
    pub account: AccountDoor,
    pub limits: Arc<dyn Limits>,
}

/// Adds the routes below the API's base.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/limits/{scope}").route(web::get().to(read)).route(web::put().to(set)));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish<'a> {
    /// Dollars; null removes the limit.
    #[serde(borrow)]
    limit: &'a RawValue,
    #[serde(default)]
    limit_reset: Option<String>,
}

/// The limit of a scope, and what is used of it.
#[utoipa::path(get, path = "/limits/{scope}", tag = "Account", params(("scope" = String, Path, description = "organization, wsp_… or mem_…")),
    responses((status = 200, description = "The limit, null when there is none"), (status = 404, description = "No such workspace or member")))]
pub async fn read(
    request: HttpRequest,
    scope: web::Path<String>,
    door: web::Data<LimitsDoor>,
) -> HttpResponse {
    respond(read_body(&request, &scope, &door).await)
}

async fn read_body(request: &HttpRequest, scope: &str, door: &LimitsDoor) -> Result<Value, Refusal> {
    let manager = door.account.manager(request).await?;
    let owner = owner(scope)?;
    let found = door.limits.spending_limit(manager.org, owner).await;
    let found = found.map_err(|error| Refusal::from_store(&error))?;
    shown(door, &manager, (scope, owner), found).await
}

/// Sets or removes the limit of a scope. It holds everywhere within a second, for keys and the browser alike.
#[utoipa::path(put, path = "/limits/{scope}", tag = "Account", request_body = SetLimitBody, params(("scope" = String, Path, description = "organization, wsp_… or mem_…")),
    responses((status = 200, description = "The limit as it is now"), (status = 404, description = "No such workspace or member")))]
pub async fn set(
    request: HttpRequest,
    scope: web::Path<String>,
    body: web::Bytes,
    door: web::Data<LimitsDoor>,
) -> HttpResponse {
    respond(set_body(&request, &scope, &body, &door).await)
}

async fn set_body(
    request: &HttpRequest,
    scope: &str,
    body: &[u8],
    door: &LimitsDoor,
) -> Result<Value, Refusal> {
    let manager = door.account.manager(request).await?;
    let owner = owner(scope)?;
    let asked: Wish<'_> = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let period = reset(asked.limit_reset.as_deref())?;
    let wish = match asked.limit.get() {
        "null" => None,
        _ => Some((limit(asked.limit)?, period)),
    };
    let now = door.account.clock.now();
    let known = door.limits.set_spending_limit(manager.org, owner, wish, now).await;
    if !known.map_err(|error| Refusal::from_store(&error))? {
        return Err(Refusal::not_found("The workspace or member"));
    }
    shown(door, &manager, (scope, owner), wish).await
}

fn owner(scope: &str) -> Result<LimitOwner, Refusal> {
    if scope == "organization" {
        return Ok(LimitOwner::Organization);
    }
    let workspace = scope.parse().map(LimitOwner::Workspace).ok();
    let member = || scope.parse().map(LimitOwner::Member).ok();
    workspace.or_else(member).ok_or_else(|| Refusal::not_found("The scope"))
}

/// What is used comes from the credit engine, holds included; before the first call nothing is.
async fn shown(
    door: &LimitsDoor,
    manager: &Caller,
    (scope, owner): (&str, LimitOwner),
    found: Option<SpendingLimit>,
) -> Result<Value, Refusal> {
    let id = CapId(owner.cap(manager.org));
    let remaining = match found {
        None => None,
        Some((limit, _)) => {
            let caps = door.account.credits.caps(manager.account, std::slice::from_ref(&id)).await;
            let caps = caps.map_err(|error| Refusal::from_store(&error))?;
            let cap = caps.into_iter().find(|cap| cap.id == id);
            let left = cap.and_then(|cap| limit.checked_sub(cap.used).ok()?.checked_sub(cap.reserved).ok());
            Some(left.unwrap_or(limit).max(NanoUsd::ZERO))
        }
    };
    let period = found.and_then(|(_, period)| LimitReset::as_str(period));
    Ok(json!({ "data": {
        "scope": scope,
        "limit": found.map(|(limit, _)| limit.json()),
        "limit_reset": period,
        "limit_remaining": remaining.map(NanoUsd::json),
    }}))
}

fn respond(result: Result<Value, Refusal>) -> HttpResponse {
    match result {
        Ok(body) => HttpResponse::Ok().json(body),
        Err(refusal) => answer::refusal(&refusal),
    }
}
