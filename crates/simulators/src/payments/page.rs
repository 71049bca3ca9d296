//! The hosted checkout page: shows what is bought and offers Pay, Decline and Cancel as plain forms.
//! It works without JavaScript and asks for no card.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::Desk;
use super::actions::Act;
use super::failure::Failure;
use super::objects::text;
use super::webhooks::Mode;

/// The real page, too, gives the seller's webhook a moment before it sends the buyer on.
const WEBHOOK_PATIENCE: Duration = Duration::from_secs(10);
/// What a success address may contain instead of the session's id.
const ID_TEMPLATE: &str = "{CHECKOUT_SESSION_ID}";

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/c/pay/{id}", web::get().to(show))
        .route("/c/pay/{id}/pay", web::post().to(pay))
        .route("/c/pay/{id}/decline", web::post().to(decline))
        .route("/c/pay/{id}/cancel", web::post().to(cancel));
}

#[derive(Template)]
#[template(path = "checkout.html")]
struct CheckoutPage {
    id: String,
    status: String,
    email: String,
    total: String,
    lines: Vec<Line>,
    /// What went wrong, for the buyer.
    problem: Option<&'static str>,
}

struct Line {
    name: String,
    quantity: i64,
    amount: String,
}

impl CheckoutPage {
    fn of(act: &mut Act<'_>, id: &str, problem: Option<&'static str>) -> Result<Self, Failure> {
        let session = act.session(id)?;
        let currency = text(&session, "/currency").unwrap_or_default().to_owned();
        let line = |item: &Value| Line {
            name: text(item, "/description").unwrap_or_default().to_owned(),
            quantity: item.get("quantity").and_then(Value::as_i64).unwrap_or_default(),
            amount: money(item, "amount_total", &currency),
        };
        Ok(Self {
            id: id.to_owned(),
            status: text(&session, "/status").unwrap_or_default().to_owned(),
            email: text(&session, "/customer_email").unwrap_or_default().to_owned(),
            total: money(&session, "amount_total", &currency),
            lines: act.store.line_items(id).iter().map(line).collect(),
            problem,
        })
    }

    fn is_open(&self) -> bool {
        self.status == "open"
    }
}

/// A field's cents as `12.34 USD`.
fn money(object: &Value, field: &str, currency: &str) -> String {
    match object.get(field).and_then(Value::as_i64) {
        Some(cents) => format!("{}.{:02} {}", cents / 100, cents % 100, currency.to_uppercase()),
        None => String::new(),
    }
}

#[derive(Debug, Deserialize)]
struct Buyer {
    #[serde(default)]
    email: String,
}

impl Buyer {
    fn email(&self) -> Option<&str> {
        Some(self.email.trim()).filter(|email| !email.is_empty())
    }
}

async fn show(desk: web::Data<Desk>, id: web::Path<String>) -> HttpResponse {
    rendered(desk.act(|act| CheckoutPage::of(act, &id, None)), HttpResponse::Ok())
}

async fn pay(desk: web::Data<Desk>, id: web::Path<String>, buyer: web::Form<Buyer>) -> HttpResponse {
    let mut changes = desk.webhooks.changes();
    changes.mark_unchanged();
    let session = match desk.act(|act| act.pay(&id, buyer.email())) {
        Ok(session) => session,
        Err(failure) if failure.status == 404 => return lost(),
        Err(_) => {
            return rendered(desk.act(|act| CheckoutPage::of(act, &id, None)), HttpResponse::Conflict());
        }
    };
    let told = async { while !completion_was_sent(&desk, &id) && changes.changed().await.is_ok() {} };
    if desk.webhooks.settings().mode != Mode::Delayed {
        // A receiver that is late does not keep the buyer.
        let _in_time = tokio::time::timeout(WEBHOOK_PATIENCE, told).await.is_ok();
    }
    let target = text(&session, "/success_url").unwrap_or_default().replace(ID_TEMPLATE, &id);
    see_other(&target)
}

/// Whether the news of the session's completion was tried at least once, or will not be.
fn completion_was_sent(desk: &Desk, session: &str) -> bool {
    let store = desk.store.lock();
    let news = store.all("event").into_iter().find(|event| {
        text(event, "/type") == Some("checkout.session.completed")
            && text(event, "/data/object/id") == Some(session)
    });
    let id = news.and_then(|event| text(event, "/id")).map(str::to_owned);
    drop(store);
    id.is_none_or(|id| desk.webhooks.deliveries().iter().any(|delivery| delivery.event == id))
}

async fn decline(desk: web::Data<Desk>, id: web::Path<String>, buyer: web::Form<Buyer>) -> HttpResponse {
    let page = desk.act(|act| {
        let problem =
            act.decline(&id, buyer.email()).is_ok().then_some("Your card was declined. Try another one.");
        CheckoutPage::of(act, &id, problem)
    });
    rendered(page, HttpResponse::PaymentRequired())
}

async fn cancel(desk: web::Data<Desk>, id: web::Path<String>) -> HttpResponse {
    match desk.act(|act| act.session(&id)) {
        Ok(session) => match text(&session, "/cancel_url") {
            Some(target) => see_other(&target.replace(ID_TEMPLATE, &id)),
            None => rendered(desk.act(|act| CheckoutPage::of(act, &id, None)), HttpResponse::Ok()),
        },
        Err(_) => lost(),
    }
}

fn see_other(target: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, target)).finish()
}

fn lost() -> HttpResponse {
    HttpResponse::NotFound()
        .content_type("text/plain; charset=utf-8")
        .body("There is no such checkout session.")
}

fn rendered(
    page: Result<CheckoutPage, Failure>,
    mut response: actix_web::HttpResponseBuilder,
) -> HttpResponse {
    match page.map(|page| page.render()) {
        Ok(Ok(html)) => response
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(html),
        Ok(Err(error)) => HttpResponse::InternalServerError().body(error.to_string()),
        Err(_) => lost(),
    }
}
