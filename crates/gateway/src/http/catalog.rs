//! `GET /models`, `/models/{author}/{slug}/endpoints` and `/providers`, from the snapshot in memory.

use crate::http::answer;
use crate::refusal::Refusal;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use catalog::wire::{self, ModelsQuery};
use catalog::{Catalog, ModelRef, Snapshot};
use kernel::Clock;
use std::sync::Arc;

/// What the catalog doors need.
#[derive(Clone)]
pub struct CatalogDoor {
    pub catalog: Arc<Catalog>,
    pub clock: Arc<dyn Clock>,
}

/// Adds the routes below the API's base.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.route("/models", web::get().to(models))
        .route("/models/count", web::get().to(count))
        .route("/model/{author}/{slug}", web::get().to(model))
        .route("/models/{author}/{slug}/endpoints", web::get().to(endpoints))
        .route("/providers", web::get().to(providers));
}

/// Every model for sale, with filters and sort.
#[utoipa::path(get, path = "/models", tag = "Catalog", responses((status = 200, description = "Models"), (status = 304, description = "Unchanged")))]
pub async fn models(request: HttpRequest, door: web::Data<CatalogDoor>) -> HttpResponse {
    let snapshot = door.catalog.snapshot();
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    let pairs = pairs.map(web::Query::into_inner).unwrap_or_default();
    let query = ModelsQuery::parse(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    match query {
        Ok(query) => {
            cached(&request, &snapshot, || wire::models(&snapshot, &query, door.clock.now(), request.path()))
        }
        Err(error) => {
            let refusal = Refusal::invalid(error.message).with("parameter", error.parameter);
            answer::refusal(&refusal)
        }
    }
}

/// How many models there are.
#[utoipa::path(get, path = "/models/count", tag = "Catalog", responses((status = 200, description = "The number")))]
pub async fn count(door: web::Data<CatalogDoor>) -> HttpResponse {
    let count = door.catalog.snapshot().listings().len();
    HttpResponse::Ok().json(serde_json::json!({ "data": { "count": count } }))
}

/// One model's endpoints with prices and limits.
#[utoipa::path(get, path = "/models/{author}/{slug}/endpoints", tag = "Catalog", responses((status = 200, description = "Endpoints")))]
pub async fn endpoints(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    door: web::Data<CatalogDoor>,
) -> HttpResponse {
    let snapshot = door.catalog.snapshot();
    let name = format!("{}/{}", path.0, path.1);
    let found = ModelRef::parse(&name).ok().and_then(|model| wire::endpoints(&snapshot, &model, &|_| None));
    match found {
        Some(body) => cached(&request, &snapshot, || body),
        None => answer::refusal(&Refusal::not_found(&format!("The model {name}"))),
    }
}

/// One model by its slug; other spellings and variants are resolved.
#[utoipa::path(get, path = "/model/{author}/{slug}", tag = "Catalog", responses((status = 200, description = "The model"), (status = 404, description = "No such model is for sale")))]
pub async fn model(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    door: web::Data<CatalogDoor>,
) -> HttpResponse {
    let snapshot = door.catalog.snapshot();
    let name = format!("{}/{}", path.0, path.1);
    match ModelRef::parse(&name).ok().and_then(|model| wire::model(&snapshot, &model)) {
        Some(body) => cached(&request, &snapshot, || body),
        None => answer::refusal(&Refusal::not_found(&format!("The model {name}"))),
    }
}

/// The companies that serve models.
#[utoipa::path(get, path = "/providers", tag = "Catalog", responses((status = 200, description = "Providers")))]
pub async fn providers(request: HttpRequest, door: web::Data<CatalogDoor>) -> HttpResponse {
    let snapshot = door.catalog.snapshot();
    cached(&request, &snapshot, || snapshot.rendered().providers.clone())
}

/// Answers 304 when the client has this snapshot already.
fn cached(request: &HttpRequest, snapshot: &Snapshot, body: impl FnOnce() -> Bytes) -> HttpResponse {
    let etag = snapshot.etag();
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let unchanged =
        known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == etag));
    let mut response = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::ETAG, etag))
        .insert_header((header::CACHE_CONTROL, "public, max-age=0, must-revalidate"));
    if unchanged { response.finish() } else { response.content_type("application/json").body(body()) }
}
