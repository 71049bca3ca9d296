//! `POST /webhooks/stripe`: the raw body is verified, the purchase desk looks at the session again, and 2xx is
//! answered after the commit. Nothing in an event is believed.

use crate::wiring::House;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use billing::Credits;
use billing::desk::{DeskError, PaymentEvent, Progress};
use billing::ledger::Booked;
use billing::money_desk::MoneyDesk;
use kernel::{Clock, SecretString};
use payments::webhook;
use prometheus::{IntCounterVec, Opts};
use std::sync::Arc;
use std::time::Duration;
use store_redis::RedisEngine;

/// Bytes of an event; Stripe's are far smaller.
const EVENT_BYTES: usize = 1024 * 1024;
/// How long an event's bytes may take to arrive.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// What the webhook needs.
#[derive(Clone)]
pub(crate) struct WebhookDoor {
    desk: MoneyDesk,
    credits: Credits,
    secret: SecretString,
    clock: Arc<dyn Clock>,
    counter: IntCounterVec,
}

impl WebhookDoor {
    pub(crate) fn new(house: &House, engine: &Arc<RedisEngine>) -> anyhow::Result<Self> {
        let options = Opts::new("farebox_stripe_webhooks_total", "Webhook events by type and outcome");
        let counter = IntCounterVec::new(options, &["type", "outcome"])?;
        // Every worker asks for it; the first one registers it.
        let _first_only = house.registry.register(Box::new(counter.clone()));
        Ok(Self {
            desk: house.money_desk(engine),
            credits: house.credits(engine),
            secret: house.config.stripe_webhook_secret.clone(),
            clock: Arc::clone(&house.clock),
            counter,
        })
    }
}

/// Adds the route at the site's root.
pub(crate) fn configure(cfg: &mut ServiceConfig, door: WebhookDoor) {
    cfg.service(web::resource("/webhooks/stripe").app_data(Data::new(door)).route(web::post().to(receive)));
}

/// The raw body, within its time and size; the answer to give otherwise.
async fn read(body: Payload) -> Result<Bytes, HttpResponse> {
    match tokio::time::timeout(READ_WITHIN, body.to_bytes_limited(EVENT_BYTES)).await {
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(_broken))) => Err(answer(StatusCode::BAD_REQUEST, "the body broke off")),
        Ok(Err(_too_large)) => Err(answer(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 1 MiB")),
        Err(_late) => Err(answer(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

async fn receive(request: HttpRequest, body: Payload, door: Data<WebhookDoor>) -> HttpResponse {
    let body = match read(body).await {
        Ok(body) => body,
        Err(refused) => {
            door.counter.with_label_values(&["unknown", "refused"]).inc();
            return refused;
        }
    };
    let header = request.headers().get(webhook::SIGNATURE_HEADER).and_then(|value| value.to_str().ok());
    let now = door.clock.now();
    let verified = webhook::verify(&body, header.unwrap_or_default(), &door.secret, now, webhook::TOLERANCE);
    if let Err(error) = verified {
        door.counter.with_label_values(&["unknown", "refused"]).inc();
        return answer(StatusCode::BAD_REQUEST, &error.to_string());
    }
    let event = match webhook::parse(&body) {
        Ok(event) => event,
        Err(error) => {
            door.counter.with_label_values(&["unknown", "refused"]).inc();
            return answer(StatusCode::BAD_REQUEST, &error.to_string());
        }
    };
    let event = PaymentEvent::from(&event);
    kernel::crash::point("webhook.received");
    let result = door.desk.handle_event(&event).await;
    kernel::crash::point("webhook.handled");
    door.counter.with_label_values(&[known_kind(&event.kind), outcome(&result)]).inc();
    match result {
        Ok(Progress::Granted { account, seq, .. } | Progress::Booked(Booked { account, seq })) => {
            // The engine learns the credit at once; if not, the job sends it.
            if let Err(error) = door.credits.send_credits(account, seq - 1).await {
                tracing::warn!(%error, "a credit is sent to the engine later");
            }
            kernel::crash::point("webhook.credited");
            answer(StatusCode::OK, "booked")
        }
        Ok(_) => answer(StatusCode::OK, "noted"),
        Err(error) => {
            tracing::warn!(%error, event = event.id, "a webhook could not be handled; it will come again");
            answer(StatusCode::SERVICE_UNAVAILABLE, "try again")
        }
    }
}

fn answer(status: StatusCode, text: &str) -> HttpResponse {
    HttpResponse::build(status).content_type("text/plain").body(format!("{text}\n"))
}

fn outcome(result: &Result<Progress, DeskError>) -> &'static str {
    match result {
        Ok(Progress::Granted { .. } | Progress::Booked(_)) => "posted",
        Ok(Progress::Already { .. }) => "duplicate",
        Ok(Progress::Alarm(_)) => "mismatch",
        Ok(_) => "ignored",
        Err(_) => "failed",
    }
}

/// Types become labels only when they are ours: a label must not grow with what others send.
fn known_kind(kind: &str) -> &str {
    const KNOWN: [&str; 14] = [
        "checkout.session.completed",
        "checkout.session.expired",
        "checkout.session.async_payment_succeeded",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "charge.succeeded",
        "charge.refunded",
        "refund.updated",
        "refund.failed",
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
    ];
    KNOWN.into_iter().find(|known| *known == kind).unwrap_or("other")
}
