//! `GET /generation/receipt?id=`: the signed receipt of one call, and the public keys that check it.

use crate::http::answer;
use crate::http::generation::GenerationDoor;
use crate::refusal::{Kind, Refusal};
use accounts::receipt_key::ReceiptSigner;
use actix_web::{HttpRequest, HttpResponse, web};
use billing::receipt::Receipts;
use serde_json::Value;
use std::sync::Arc;

/// Where the public keys are, on the site's own address.
pub const KEYS_PATH: &str = "/.well-known/farebox-receipt-keys.json";

/// What the receipt door needs.
#[derive(Clone)]
pub struct ReceiptDoor {
    /// Knows who calls, and waits for the ledger.
    pub generation: GenerationDoor,
    pub receipts: Arc<dyn Receipts>,
    pub signer: ReceiptSigner,
    /// The address of this site, which the receipt names.
    pub issuer: String,
}

/// Adds the route below the API's base.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.route("/generation/receipt", web::get().to(read));
}

/// Adds the public keys at their well-known address.
pub fn configure_keys(cfg: &mut web::ServiceConfig, signer: &ReceiptSigner) {
    let keys = signer.published().to_string();
    let serve = move || {
        let keys = keys.clone();
        async move {
            HttpResponse::Ok()
                .content_type("application/json")
                .insert_header(("cache-control", "public, max-age=3600"))
                .insert_header(("access-control-allow-origin", "*"))
                .body(keys)
        }
    };
    cfg.route(KEYS_PATH, web::get().to(serve));
}

/// The signed receipt of one generation: attempts, tokens, prices, hold, charge and who paid. Check it offline
/// with `farebox receipt verify`.
#[utoipa::path(get, path = "/generation/receipt", tag = "Generations", params(("id" = String, Query, description = "gen-…")),
    responses((status = 200, description = "The receipt with its signature"), (status = 404, description = "Unknown, or not booked yet")))]
pub async fn read(request: HttpRequest, door: web::Data<ReceiptDoor>) -> HttpResponse {
    match body(&request, &door).await {
        Ok(body) => HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(body),
        Err(refusal) => answer::refusal(&refusal),
    }
}

async fn body(request: &HttpRequest, door: &ReceiptDoor) -> Result<Value, Refusal> {
    let (org, booked) = door.generation.booked(request).await?;
    let facts = door.receipts.receipt(org, booked.record.id).await;
    let facts = facts.map_err(|error| Refusal::from_store(&error))?;
    let facts = facts.ok_or_else(|| Refusal::not_found("The generation"))?;
    door.signer.sign(facts.document(&door.issuer)).map_err(|error| {
        tracing::error!(%error, generation = %booked.record.id, "a receipt could not be signed");
        Refusal::new(Kind::Internal, "The receipt could not be signed. Write to support.")
    })
}
