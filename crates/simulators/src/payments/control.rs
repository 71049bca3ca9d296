//! Routes for tests and scripts: pay without a page, disturb webhooks, look at deliveries.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use super::failure::Failure;
use super::webhooks::{Delivery, Mode};

/// The longest a request may wait for deliveries.
const MOST_WAIT_MS: u64 = 60_000;

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/healthz", web::get().to(healthz))
        .route("/_control/webhooks", web::put().to(put_webhooks))
        .route("/_control/webhooks", web::get().to(get_webhooks))
        .route("/_control/deliveries", web::get().to(deliveries))
        .route("/_control/pay/{id}", web::post().to(pay))
        .route("/_control/decline/{id}", web::post().to(decline))
        .route("/_control/dispute/{id}", web::post().to(dispute))
        .route("/_control/disputes/{id}/{status}", web::post().to(move_dispute))
        .route("/_control/refunds/{id}/fail", web::post().to(fail_refund))
        .route("/_control/redeliver/{id}", web::post().to(redeliver));
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Changes to how events travel; what is absent stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    mode: Option<Mode>,
    delay_ms: Option<u64>,
    url: Option<String>,
    secret: Option<String>,
}

async fn put_webhooks(desk: web::Data<Desk>, body: web::Bytes) -> HttpResponse {
    let change: Change = match serde_json::from_slice(&body) {
        Ok(change) => change,
        Err(error) => return HttpResponse::BadRequest().json(json!({"error": error.to_string()})),
    };
    desk.webhooks.configure(|settings| {
        settings.mode = change.mode.unwrap_or(settings.mode);
        settings.delay = change.delay_ms.map_or(settings.delay, Duration::from_millis);
        settings.url = change.url.or(settings.url.take());
        if let Some(secret) = change.secret {
            settings.secret = secret;
        }
    });
    get_webhooks(desk).await
}

async fn get_webhooks(desk: web::Data<Desk>) -> HttpResponse {
    let settings = desk.webhooks.settings();
    let delay_ms = u64::try_from(settings.delay.as_millis()).unwrap_or(u64::MAX);
    HttpResponse::Ok().json(json!({"mode": settings.mode, "delay_ms": delay_ms, "url": settings.url}))
}

/// Which attempts to give. With `wait_ms`, waits until `at_least` (1) of them are there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    event: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    delivered: Option<bool>,
    wait_ms: Option<u64>,
    at_least: Option<usize>,
}

async fn deliveries(desk: web::Data<Desk>, wanted: web::Query<Wanted>) -> HttpResponse {
    let list = || -> Vec<Delivery> {
        let mut found = desk.webhooks.deliveries();
        found.retain(|delivery| {
            wanted.event.as_ref().is_none_or(|event| delivery.event == *event)
                && wanted.kind.as_ref().is_none_or(|kind| delivery.kind == *kind)
                && wanted.delivered.is_none_or(|delivered| delivery.delivered == delivered)
        });
        found
    };
    if let Some(wait) = wanted.wait_ms {
        let mut changes = desk.webhooks.changes();
        let enough =
            async { while list().len() < wanted.at_least.unwrap_or(1) && changes.changed().await.is_ok() {} };
        // The answer is the same either way: what is known now.
        let _in_time =
            tokio::time::timeout(Duration::from_millis(wait.min(MOST_WAIT_MS)), enough).await.is_ok();
    }
    HttpResponse::Ok().json(json!({"deliveries": list()}))
}

fn shown(result: Result<Value, Failure>) -> HttpResponse {
    match result {
        Ok(value) => HttpResponse::Ok().json(value),
        Err(failure) => failure.response(),
    }
}

async fn pay(desk: web::Data<Desk>, id: web::Path<String>) -> HttpResponse {
    shown(desk.act(|act| act.pay(&id, None)))
}

async fn decline(desk: web::Data<Desk>, id: web::Path<String>) -> HttpResponse {
    shown(desk.act(|act| act.decline(&id, None)))
}

/// How a dispute begins; all of the payment, and with money withdrawn, unless said otherwise.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Opened {
    amount: Option<i64>,
    #[serde(default)]
    inquiry: bool,
}

async fn dispute(desk: web::Data<Desk>, id: web::Path<String>, how: web::Query<Opened>) -> HttpResponse {
    shown(desk.act(|act| act.open_dispute(&id, how.amount, how.inquiry)))
}

async fn move_dispute(desk: web::Data<Desk>, path: web::Path<(String, String)>) -> HttpResponse {
    let (id, status) = path.into_inner();
    shown(desk.act(|act| act.move_dispute(&id, &status)))
}

async fn fail_refund(desk: web::Data<Desk>, id: web::Path<String>) -> HttpResponse {
    shown(desk.act(|act| act.fail_refund(&id)))
}

async fn redeliver(desk: web::Data<Desk>, id: web::Path<String>) -> HttpResponse {
    let event = desk.store.lock().of_kind("event", &id).cloned();
    match event {
        None => Failure::no_such("event", &id).response(),
        Some(event) => {
            desk.webhooks.send_again(event);
            HttpResponse::Accepted().json(json!({"event": *id}))
        }
    }
}
