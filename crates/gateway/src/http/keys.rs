//! `/keys`: an organization's API keys, managed with a management key, in OpenRouter's shapes.

use crate::http::account::AccountDoor;
use crate::http::answer;
use crate::http::schema::{ChangeKeyBody, CreateKeyBody};
use crate::refusal::Refusal;
use accounts::api_key::LimitReset;
use accounts::ports::{KeyChange, KeyUsage, NewKey};
use accounts::shelf::BlockedMeanwhile;
use accounts::{KeyKind, KeySecret};
use actix_web::{HttpRequest, HttpResponse, web};
use kernel::{Entropy, Moment, NanoUsd, StoreError};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;

/// Keys a page of the list holds.
const PAGE: u32 = 100;
const NAME_CHARS: usize = 100;

/// What the keys door needs beside the account door.
#[derive(Clone)]
pub struct KeysDoor {
    pub account: AccountDoor,
    pub pepper: accounts::Pepper,
    pub entropy: Arc<dyn Entropy>,
}

/// Adds the routes below the API's base.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/keys").route(web::get().to(list)).route(web::post().to(create)));
    cfg.service(
        web::resource("/keys/{hash}")
            .route(web::get().to(read))
            .route(web::patch().to(change))
            .route(web::delete().to(delete)),
    );
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create<'a> {
    name: String,
    #[serde(borrow, default)]
    limit: Option<&'a RawValue>,
    #[serde(default)]
    limit_reset: Option<String>,
    #[serde(default)]
    include_byok_in_limit: bool,
    #[serde(default)]
    expires_at: Option<Moment>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change<'a> {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    disabled: Option<bool>,
    /// Present and null removes the limit; so presence must be told from null.
    #[serde(borrow, default, deserialize_with = "present")]
    limit: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    limit_reset: Option<&'a RawValue>,
    #[serde(default)]
    include_byok_in_limit: Option<bool>,
}

fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&'a RawValue>::deserialize(deserializer).map(Some)
}

/// Newest first; `offset` continues the list.
#[utoipa::path(get, path = "/keys", tag = "API keys", responses((status = 200, description = "Keys, newest first")))]
pub async fn list(request: HttpRequest, door: web::Data<KeysDoor>) -> HttpResponse {
    respond(list_body(&request, &door).await, 200)
}

async fn list_body(request: &HttpRequest, door: &KeysDoor) -> Result<Value, Refusal> {
    #[derive(Deserialize)]
    struct Query {
        #[serde(default)]
        offset: u32,
        #[serde(default)]
        include_disabled: Option<bool>,
    }
    let manager = door.account.manager(request).await?;
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|_malformed| Refusal::invalid("offset must be a number and include_disabled a boolean."))?;
    let keys = door.account.keys.keys(manager.org, query.offset, PAGE, door.account.clock.now()).await;
    let keys = keys.map_err(|error| Refusal::from_store(&error))?;
    let hide_disabled = query.include_disabled == Some(false);
    let shown = keys.iter().filter(|key| !(hide_disabled && key.key.disabled));
    Ok(json!({ "data": shown.map(key_json).collect::<Vec<_>>() }))
}

/// Creates a key; its text is in this answer and never again.
#[utoipa::path(post, path = "/keys", tag = "API keys", request_body = CreateKeyBody, responses((status = 201, description = "The key, shown once")))]
pub async fn create(request: HttpRequest, body: web::Bytes, door: web::Data<KeysDoor>) -> HttpResponse {
    respond(create_body(&request, &body, &door).await, 201)
}

async fn create_body(request: &HttpRequest, body: &[u8], door: &KeysDoor) -> Result<Value, Refusal> {
    let manager = door.account.manager(request).await?;
    let asked: Create<'_> = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    refuse_byok_limit(Some(asked.include_byok_in_limit))?;
    let now = door.account.clock.now();
    if asked.expires_at.is_some_and(|at| at <= now) {
        return Err(Refusal::invalid("expires_at must be in the future."));
    }
    let secret = KeySecret::draw(KeyKind::Model, door.entropy.as_ref());
    let new = NewKey {
        org: manager.org,
        workspace: manager.workspace,
        creator: manager.member,
        kind: KeyKind::Model,
        digest: door.pepper.digest(&secret),
        hash: draw_hash(door.entropy.as_ref()),
        name: name(&asked.name)?,
        label: secret.label(),
        limit: asked.limit.map(limit).transpose()?,
        limit_reset: reset(asked.limit_reset.as_deref())?,
        include_byok_in_limit: asked.include_byok_in_limit,
        expires_at: asked.expires_at,
        at: now,
    };
    let record = door.account.keys.add_key(&new).await.map_err(|error| Refusal::from_store(&error))?;
    let found = door.account.keys.key(record.org, &record.hash, now).await;
    let usage =
        found.map_err(|error| Refusal::from_store(&error))?.ok_or_else(|| Refusal::not_found("The key"))?;
    Ok(json!({ "data": key_json(&usage), "key": secret.reveal() }))
}

/// One key by its hash.
#[utoipa::path(get, path = "/keys/{hash}", tag = "API keys", responses((status = 200, description = "The key")))]
pub async fn read(request: HttpRequest, hash: web::Path<String>, door: web::Data<KeysDoor>) -> HttpResponse {
    respond(read_body(&request, &hash, &door).await, 200)
}

async fn read_body(request: &HttpRequest, hash: &str, door: &KeysDoor) -> Result<Value, Refusal> {
    let manager = door.account.manager(request).await?;
    let found = door.account.keys.key(manager.org, hash, door.account.clock.now()).await;
    let usage =
        found.map_err(|error| Refusal::from_store(&error))?.ok_or_else(|| Refusal::not_found("The key"))?;
    Ok(json!({ "data": key_json(&usage) }))
}

/// Changes name, limit, period, or disables a key. It takes effect everywhere within a second.
#[utoipa::path(patch, path = "/keys/{hash}", tag = "API keys", request_body = ChangeKeyBody, responses((status = 200, description = "The key")))]
pub async fn change(
    request: HttpRequest,
    hash: web::Path<String>,
    body: web::Bytes,
    door: web::Data<KeysDoor>,
) -> HttpResponse {
    respond(change_body(&request, &hash, &body, &door).await, 200)
}

async fn change_body(
    request: &HttpRequest,
    hash: &str,
    body: &[u8],
    door: &KeysDoor,
) -> Result<Value, Refusal> {
    let manager = door.account.manager(request).await?;
    let asked: Change<'_> = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    refuse_byok_limit(asked.include_byok_in_limit)?;
    let limit_reset = match asked.limit_reset.map(|raw| serde_json::from_str::<Option<String>>(raw.get())) {
        None => None,
        Some(Ok(text)) => Some(reset(text.as_deref())?),
        Some(Err(error)) => return Err(malformed(&error)),
    };
    let change = KeyChange {
        name: asked.name.as_deref().map(name).transpose()?,
        disabled: asked.disabled,
        limit: asked
            .limit
            .map(|raw| if raw.get() == "null" { Ok(None) } else { limit(raw).map(Some) })
            .transpose()?,
        limit_reset,
        include_byok_in_limit: asked.include_byok_in_limit,
    };
    let now = door.account.clock.now();
    let changed = door.account.keys.change_key(manager.org, hash, &change, now).await;
    changed.map_err(|error| not_changed(&error))?.ok_or_else(|| Refusal::not_found("The key"))?;
    let found = door.account.keys.key(manager.org, hash, now).await;
    let usage =
        found.map_err(|error| Refusal::from_store(&error))?.ok_or_else(|| Refusal::not_found("The key"))?;
    Ok(json!({ "data": key_json(&usage) }))
}

/// Deletes a key: it stops working at once, its generations stay.
#[utoipa::path(delete, path = "/keys/{hash}", tag = "API keys", responses((status = 200, description = "Deleted")))]
pub async fn delete(
    request: HttpRequest,
    hash: web::Path<String>,
    door: web::Data<KeysDoor>,
) -> HttpResponse {
    respond(delete_body(&request, &hash, &door).await, 200)
}

async fn delete_body(request: &HttpRequest, hash: &str, door: &KeysDoor) -> Result<Value, Refusal> {
    let manager = door.account.manager(request).await?;
    let deleted = door.account.keys.delete_key(manager.org, hash, door.account.clock.now()).await;
    if deleted.map_err(|error| not_changed(&error))? {
        Ok(json!({ "deleted": true }))
    } else {
        Err(Refusal::not_found("The key"))
    }
}

/// A revocation that the store could not take yet holds at every gateway all the same.
fn not_changed(error: &StoreError) -> Refusal {
    let refusal = Refusal::from_store(error);
    let source = error.source.as_deref();
    if source.and_then(|source| source.downcast_ref::<BlockedMeanwhile>()).is_none() {
        return refusal;
    }
    let message = "The key is blocked everywhere already and stays so. The database does not answer, so the change is \
                   not recorded yet; it will be by itself. Send this call again to see it confirmed.";
    Refusal { message: message.to_owned(), ..refusal }.with("key_blocked", true).retry_after(5)
}

fn respond(result: Result<Value, Refusal>, status: u16) -> HttpResponse {
    match result {
        Ok(body) if status == 201 => HttpResponse::Created().json(body),
        Ok(body) => HttpResponse::Ok().json(body),
        Err(refusal) => answer::refusal(&refusal),
    }
}

/// A key's public handle: 64 hex characters, drawn, not derived from the secret.
pub fn draw_hash(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_json(usage: &KeyUsage) -> Value {
    let key = &usage.key;
    let spent = match key.limit_reset {
        LimitReset::None => usage.usage,
        LimitReset::Daily => usage.usage_daily,
        LimitReset::Weekly => usage.usage_weekly,
        LimitReset::Monthly => usage.usage_monthly,
    };
    let remaining =
        key.limit.and_then(|limit| limit.checked_sub(spent).ok()).map(|left| left.max(NanoUsd::ZERO));
    json!({
        "hash": key.hash,
        "name": key.name,
        "label": key.label,
        "disabled": key.disabled,
        "limit": key.limit.map(NanoUsd::json),
        "limit_remaining": remaining.map(NanoUsd::json),
        "limit_reset": key.limit_reset.as_str(),
        "include_byok_in_limit": key.include_byok_in_limit,
        "usage": usage.usage.json(),
        "usage_daily": usage.usage_daily.json(),
        "usage_weekly": usage.usage_weekly.json(),
        "usage_monthly": usage.usage_monthly.json(),
        "byok_usage": usage.byok_usage.json(),
        "byok_usage_daily": usage.byok_usage_daily.json(),
        "byok_usage_weekly": usage.byok_usage_weekly.json(),
        "byok_usage_monthly": usage.byok_usage_monthly.json(),
        "created_at": key.created_at.to_rfc3339(),
        "updated_at": key.updated_at.map(|at| at.to_rfc3339()),
        "last_used_at": usage.last_used_at.map(|at| at.to_rfc3339()),
        "expires_at": key.expires_at.map(|at| at.to_rfc3339()),
        "creator_user_id": key.creator,
        "external_user": null,
        "workspace_id": key.workspace,
    })
}

fn name(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > NAME_CHARS || text.chars().any(char::is_control) {
        return Err(Refusal::invalid(format!("name must have 1 to {NAME_CHARS} printable characters.")));
    }
    Ok(text.to_owned())
}

/// A limit in dollars, read from its digits.
pub(crate) fn limit(raw: &RawValue) -> Result<NanoUsd, Refusal> {
    let amount = NanoUsd::parse_dollars(raw.get());
    let amount =
        amount.map_err(|error| Refusal::invalid(format!("limit must be dollars, e.g. 12.5: {error}.")))?;
    if amount.is_negative() || amount > NanoUsd::REDIS_MAX {
        return Err(Refusal::invalid("limit must lie between 0 and 9007199 dollars."));
    }
    Ok(amount)
}

pub(crate) fn reset(text: Option<&str>) -> Result<LimitReset, Refusal> {
    LimitReset::parse(text)
        .ok_or_else(|| Refusal::invalid("limit_reset must be daily, weekly, monthly or null."))
}

/// Own-key calls count against a limit by their fee only; a limit on their list price is not enforced, so it
/// is not promised.
fn refuse_byok_limit(asked: Option<bool>) -> Result<(), Refusal> {
    if asked == Some(true) {
        return Err(Refusal::invalid(
            "include_byok_in_limit is not supported; leave it out or set it to false.",
        ));
    }
    Ok(())
}

pub(crate) fn malformed(error: &serde_json::Error) -> Refusal {
    Refusal::invalid(format!("The body is not valid: {error}."))
}
