//! The one way out for refusals, and the headers that every inference answer carries.

use crate::client::Answerer;
use crate::refusal::{Kind, Refusal};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde_json::json;

/// A refusal in the shape of the chat-completions API.
#[must_use]
pub fn refusal(refusal: &Refusal) -> HttpResponse {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if let Some(seconds) = refusal.retry_after {
        response.insert_header(("retry-after", seconds.to_string()));
    }
    if refusal.kind == Kind::Authentication {
        response.insert_header(("www-authenticate", "Bearer realm=\"farebox\""));
    }
    response.insert_header(("x-farebox-error-type", refusal.error_type()));
    response.json(json!({ "error": refusal.error_object() }))
}

/// Sets the headers that tell who answered, and which parameters it did not get to see.
pub fn answerer_headers(response: &mut HttpResponseBuilder, answerer: &Answerer) {
    response.insert_header(("x-provider-name", answerer.provider.as_str()));
    if answerer.simulated {
        response.insert_header(("x-farebox-simulated", "true"));
    }
    // Names may come from the client: only plain ones, and not endlessly many.
    let plain = |name: &&String| name.len() <= 64 && name.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    let names: Vec<&str> = answerer.ignored.iter().filter(plain).map(String::as_str).take(16).collect();
    if !names.is_empty() {
        response.insert_header(("x-farebox-ignored-parameters", names.join(", ")));
    }
}
