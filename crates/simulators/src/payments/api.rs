//! The API routes: who may call, what is parsed, which act or list answers, in Stripe's envelope.
//! The acts themselves are in `actions`.

use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use super::Desk;
use super::actions::Act;
use super::failure::Failure;
use super::form::Params;
use super::idempotency::{self, Answered};
use super::listing;
use super::objects::{API_VERSION, Mint};

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/v1/checkout/sessions", web::post().to(create_session))
        .route("/v1/checkout/sessions/{id}/expire", web::post().to(expire_session))
        .route("/v1/checkout/sessions/{id}/line_items", web::get().to(session_lines))
        .route("/v1/customers", web::post().to(create_customer))
        .route("/v1/refunds", web::post().to(create_refund));
    for (path, kind) in [
        ("/v1/checkout/sessions", "checkout.session"),
        ("/v1/payment_intents", "payment_intent"),
        ("/v1/charges", "charge"),
        ("/v1/events", "event"),
        ("/v1/balance_transactions", "balance_transaction"),
        ("/v1/customers", "customer"),
        ("/v1/refunds", "refund"),
        ("/v1/disputes", "dispute"),
    ] {
        let list = move |desk: web::Data<Desk>, request: HttpRequest| async move {
            answer(&desk, &request, request.query_string(), |act, params| {
                listing::page(act.store, kind, request.path(), params)
            })
        };
        let one = move |desk: web::Data<Desk>, request: HttpRequest| async move {
            answer(&desk, &request, request.query_string(), |act, _| retrieve(act, kind, id(&request)))
        };
        config.route(path, web::get().to(list)).route(&format!("{path}/{{id}}"), web::get().to(one));
    }
}

fn id(request: &HttpRequest) -> &str {
    request.match_info().get("id").unwrap_or_default()
}

fn retrieve(act: &mut Act<'_>, kind: &'static str, id: &str) -> Result<Value, Failure> {
    if kind == "checkout.session" {
        return act.session(id);
    }
    act.store.of_kind(kind, id).cloned().ok_or_else(|| Failure::no_such(kind, id))
}

async fn create_session(desk: web::Data<Desk>, request: HttpRequest, body: String) -> HttpResponse {
    answer(&desk, &request, &body, |act, params| act.create_session(params))
}

async fn expire_session(desk: web::Data<Desk>, request: HttpRequest, body: String) -> HttpResponse {
    answer(&desk, &request, &body, |act, _| act.expire(id(&request)))
}

async fn session_lines(desk: web::Data<Desk>, request: HttpRequest) -> HttpResponse {
    answer(&desk, &request, request.query_string(), |act, _| {
        act.session(id(&request)).map(|_| listing::lines(act.store, id(&request)))
    })
}

async fn create_customer(desk: web::Data<Desk>, request: HttpRequest, body: String) -> HttpResponse {
    answer(&desk, &request, &body, |act, params| act.create_customer(params))
}

async fn create_refund(desk: web::Data<Desk>, request: HttpRequest, body: String) -> HttpResponse {
    answer(&desk, &request, &body, |act, params| act.create_refund(params))
}

/// Routes that neither this simulator nor the real service knows.
pub(crate) async fn unknown_route(request: HttpRequest) -> HttpResponse {
    let message = format!("Unrecognized request URL ({}: {}).", request.method(), request.path());
    Failure { status: 404, ..Failure::invalid(message) }.response()
}

/// The one way of every API call: key, parameters, idempotency, work, expansion, envelope.
fn answer(
    desk: &Desk,
    request: &HttpRequest,
    encoded: &str,
    work: impl FnOnce(&mut Act<'_>, &Params) -> Result<Value, Failure>,
) -> HttpResponse {
    let key = header(request.headers(), "idempotency-key").filter(|_| request.method() == Method::POST);
    let done = authorize(request.headers(), &desk.secret_key).and_then(|()| Params::parse(encoded)).and_then(
        |params| {
            let fingerprint = format!("{} {}\n{}", request.method(), request.path(), params.0);
            desk.act(|act| {
                idempotency::once(act, key, fingerprint, |act| {
                    let mut body = work(act, &params)?;
                    listing::expand(act.store, &mut body, &params)?;
                    Ok(body)
                })
            })
        },
    );
    let (mut response, replayed) = match done {
        Ok(Answered { body, replayed }) => (HttpResponse::Ok().json(body), replayed),
        Err(failure) => (failure.response(), false),
    };
    let mint = Mint { entropy: desk.entropy.as_ref(), now: 0 };
    let mut extra = vec![("request-id", mint.id("req_", 14)), ("stripe-version", API_VERSION.to_owned())];
    extra.extend(key.map(|key| ("idempotency-key", key.to_owned())));
    extra.extend(replayed.then(|| ("idempotent-replayed", "true".to_owned())));
    for (name, value) in extra {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(actix_web::http::header::HeaderName::from_static(name), value);
        }
    }
    response
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Checks the secret key, sent as a bearer token.
fn authorize(headers: &HeaderMap, secret_key: &str) -> Result<(), Failure> {
    let given = header(headers, "authorization").and_then(|value| value.strip_prefix("Bearer "));
    match given {
        None => Err(Failure::unauthorized(
            "You did not provide an API key. You need to provide your API key in the Authorization header, \
             using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        )),
        Some(given) if given == secret_key => Ok(()),
        Some(given) => {
            let last: String = given.chars().skip(given.chars().count().saturating_sub(4)).collect();
            Err(Failure::unauthorized(format!("Invalid API Key provided: sk_test_****{last}")))
        }
    }
}
