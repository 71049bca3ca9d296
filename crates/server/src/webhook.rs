//! `POST /webhooks/stripe`: the raw body is verified, the purchase desk looks at the session again, and 2xx is
//! answered after the commit. Nothing in an event is believed.

use crate::wiring::House;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use billing::Credits;
use billing::desk::{DeskError, PaymentEvent, Progress, PurchaseDesk};
use kernel::{Clock, SecretString};
use payments::webhook;
use prometheus::{IntCounterVec, Opts};
use std::sync::Arc;

/// Bytes of an event; Stripe's are far smaller.
const EVENT_BYTES: usize = 1024 * 1024;

/// What the webhook needs.
#[derive(Clone)]
pub(crate) struct WebhookDoor {
    desk: PurchaseDesk,
    credits: Credits,
    secret: SecretString,
    clock: Arc<dyn Clock>,
    counter: IntCounterVec,
}

impl WebhookDoor {
    pub(crate) fn new(house: &House, credits: Credits) -> anyhow::Result<Self> {
        let options = Opts::new("farebox_stripe_webhooks_total", "Webhook events by type and outcome");
        let counter = IntCounterVec::new(options, &["type", "outcome"])?;
        // Every worker asks for it; the first one registers it.
        let _first_only = house.registry.register(Box::new(counter.clone()));
        Ok(Self {
            desk: house.desk.clone(),
            credits,
            secret: house.config.stripe_webhook_secret.clone(),
            clock: Arc::clone(&house.clock),
            counter,
        })
    }
}

/// Adds the route at the site's root.
pub(crate) fn configure(cfg: &mut ServiceConfig, door: WebhookDoor) {
    cfg.service(
        web::resource("/webhooks/stripe")
            .app_data(Data::new(door))
            .app_data(web::PayloadConfig::new(EVENT_BYTES))
            .route(web::post().to(receive)),
    );
}

async fn receive(request: HttpRequest, body: Bytes, door: Data<WebhookDoor>) -> HttpResponse {
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
    let result = door.desk.handle_event(&event).await;
    door.counter.with_label_values(&[known_kind(&event.kind), outcome(&result)]).inc();
    match result {
        Ok(Progress::Granted { account, seq, .. }) => {
            // The engine learns the credit at once; if not, the job sends it.
            if let Err(error) = door.credits.send_credits(account, seq - 1).await {
                tracing::warn!(%error, "a credit is sent to the engine later");
            }
            answer(StatusCode::OK, "granted")
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
        Ok(Progress::Granted { .. }) => "posted",
        Ok(Progress::Already { .. }) => "duplicate",
        Ok(Progress::Alarm(_)) => "mismatch",
        Ok(_) => "ignored",
        Err(_) => "failed",
    }
}

/// Types become labels only when they are ours: a label must not grow with what others send.
fn known_kind(kind: &str) -> &str {
    const KNOWN: [&str; 6] = [
        "checkout.session.completed",
        "checkout.session.expired",
        "checkout.session.async_payment_succeeded",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "charge.succeeded",
    ];
    KNOWN.into_iter().find(|known| *known == kind).unwrap_or("other")
}
