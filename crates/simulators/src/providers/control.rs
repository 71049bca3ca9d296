//! Routes for tests and people: scripts, the journal, counts. Nothing here speaks to a model client.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::Desk;
use super::rules::Rule;

/// The longest a request may wait for others to end.
const MOST_WAIT_MS: u64 = 60_000;

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/healthz", web::get().to(healthz))
        .route("/_control/script", web::put().to(put_script))
        .route("/_control/script", web::get().to(list_scripts))
        .route("/_control/script", web::delete().to(clear_scripts))
        .route("/_control/requests", web::get().to(requests))
        .route("/_control/requests", web::delete().to(clear_requests))
        .route("/_control/connections", web::get().to(connections));
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

async fn put_script(desk: web::Data<Desk>, body: web::Bytes) -> HttpResponse {
    let rule = match serde_json::from_slice::<Rule>(&body) {
        Ok(rule) => rule,
        Err(error) => return HttpResponse::BadRequest().json(json!({"error": error.to_string()})),
    };
    if desk.rules.add(rule) {
        HttpResponse::Ok().json(json!({"rules": desk.rules.list().len()}))
    } else {
        HttpResponse::InsufficientStorage().json(json!({"error": "too many scripts"}))
    }
}

async fn list_scripts(desk: web::Data<Desk>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"rules": desk.rules.list()}))
}

async fn clear_scripts(desk: web::Data<Desk>) -> HttpResponse {
    desk.rules.clear();
    HttpResponse::NoContent().finish()
}

/// Which entries to give. With `wait_ms`, waits until all that fit have ended and there is at least one
/// (or `at_least`), so that nobody has to poll.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    provider: Option<String>,
    model: Option<String>,
    id: Option<u64>,
    limit: Option<usize>,
    wait_ms: Option<u64>,
    at_least: Option<usize>,
}

async fn requests(desk: web::Data<Desk>, wanted: web::Query<Wanted>) -> HttpResponse {
    let list = || {
        desk.journal.list(wanted.limit.unwrap_or(100), |entry| {
            wanted.provider.as_ref().is_none_or(|provider| entry.provider == *provider)
                && wanted.model.as_ref().is_none_or(|model| entry.model.as_ref() == Some(model))
                && wanted.id.is_none_or(|id| entry.id == id)
        })
    };
    if let Some(wait) = wanted.wait_ms {
        let mut endings = desk.journal.endings();
        let ended = async {
            loop {
                endings.mark_unchanged();
                let found = list();
                let enough = found.len() >= wanted.at_least.unwrap_or(1);
                if (enough && found.iter().all(|entry| entry.finished.is_some()))
                    || endings.changed().await.is_err()
                {
                    return;
                }
            }
        };
        // The answer is the same either way: what is known now.
        let _in_time =
            tokio::time::timeout(Duration::from_millis(wait.min(MOST_WAIT_MS)), ended).await.is_ok();
    }
    HttpResponse::Ok().json(json!({"requests": list()}))
}

async fn clear_requests(desk: web::Data<Desk>) -> HttpResponse {
    desk.journal.clear();
    HttpResponse::NoContent().finish()
}

async fn connections(desk: web::Data<Desk>) -> HttpResponse {
    HttpResponse::Ok().json(desk.journal.counts())
}
