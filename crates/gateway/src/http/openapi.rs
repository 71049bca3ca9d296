//! The OpenAPI document, generated from the doors.

use actix_web::{HttpResponse, web};
use utoipa::OpenApi;

/// Everything the API answers.
#[derive(OpenApi)]
#[openapi(
    info(title = "Farebox API", description = "One key for every model. OpenAI-compatible.", license(name = "Apache-2.0")),
    servers((url = "/api/v1")),
    paths(
        crate::http::chat_completions::create,
        crate::http::catalog::models,
        crate::http::catalog::count,
        crate::http::catalog::endpoints,
        crate::http::catalog::model,
        crate::http::user_models::list,
        crate::http::catalog::providers,
        crate::http::account::key,
        crate::http::account::credits,
        crate::http::generation::read,
        crate::http::receipt::read,
        crate::http::keys::list,
        crate::http::keys::create,
        crate::http::keys::read,
        crate::http::keys::change,
        crate::http::keys::delete,
        crate::http::limits::read,
        crate::http::limits::set,
    ),
    tags((name = "Chat"), (name = "Catalog"), (name = "Account"), (name = "Generations"), (name = "API keys"))
)]
pub struct Api;

/// The document as pretty JSON, ending with a line feed: what `docs/openapi.json` pins.
#[must_use]
pub fn document() -> String {
    let mut text = Api::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Adds the route below the API's base.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.route("/openapi.json", web::get().to(serve));
}

async fn serve() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document())
}
