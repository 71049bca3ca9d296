//! `GET /models/user`: the models that the calling key can use. There are no preferences of an account that
//! would hide models, so it is the list of `/models`, in its shape, for those who have a key.

use crate::http::account::AccountDoor;
use crate::http::answer;
use crate::refusal::Refusal;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use catalog::Catalog;
use catalog::wire::{self, ModelsQuery};
use std::sync::Arc;

/// What the door needs.
#[derive(Clone)]
pub struct UserModelsDoor {
    pub account: AccountDoor,
    pub catalog: Arc<Catalog>,
}

/// Adds the route below the API's base.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.route("/models/user", web::get().to(list));
}

/// The models that the calling key can use; takes `offset`, `limit` and the filters of `/models`.
#[utoipa::path(get, path = "/models/user", tag = "Catalog", responses((status = 200, description = "Models"), (status = 401, description = "No key, or one that is not good")))]
pub async fn list(request: HttpRequest, door: web::Data<UserModelsDoor>) -> HttpResponse {
    match body(&request, &door).await {
        Ok(body) => HttpResponse::Ok()
            .insert_header(("cache-control", "private, no-cache"))
            .content_type("application/json")
            .body(body),
        Err(refusal) => answer::refusal(&refusal),
    }
}

async fn body(request: &HttpRequest, door: &UserModelsDoor) -> Result<Bytes, Refusal> {
    door.account.caller(request).await?;
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    let pairs = pairs.map(web::Query::into_inner).unwrap_or_default();
    let query = ModelsQuery::parse(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let query = query.map_err(|error| Refusal::invalid(error.message).with("parameter", error.parameter))?;
    Ok(wire::models(&door.catalog.snapshot(), &query, door.account.clock.now(), request.path()))
}
