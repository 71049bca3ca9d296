//! The public site: its route table and what it is given. One file a page.

pub(crate) mod credits;
mod dashboard;
mod home;
mod keys;
mod logs;
pub(crate) mod model;
mod models;
mod new_key;
mod policy;
mod pricing;
mod provider_keys;
mod providers;
mod purchases;
mod receipt;
pub(crate) mod refunds;
pub(crate) mod sign;
mod style;
pub(crate) mod theme;
mod token;
mod usage;

use crate::assets;
use crate::attempts::Attempts;
use crate::passwords::Passwords;
use crate::routes::{both_at, form_at, page_at, read};
use crate::shield::shield;
use crate::site::Site;
use crate::trouble::{Answer, Trouble};
use crate::visit::{FORM_BYTES, Visit};
use accounts::Pepper;
use accounts::ports::{Keys, People, ProviderKeys};
use accounts::receipt_key::ReceiptSigner;
use accounts::seal::Sealer;
use accounts::token::TokenSigner;
use actix_web::middleware::{Compress, from_fn};
use actix_web::web::{self, Data, ServiceConfig, post};
use billing::Credits;
use billing::fees::{ByokFee, PurchaseFee};
use billing::ledger::{OrgDisputes, PurchaseLedger};
use billing::payment::PaymentProvider;
use billing::receipt::Receipts;
use billing::refund_desk::RefundDesk;
use billing::reports::Reports;
use catalog::Catalog;
use kernel::{Clock, Entropy};
use std::sync::Arc;

/// What the public pages are given. Cloned once per worker; everything in it is shared.
#[derive(Clone)]
pub struct PublicDeps {
    pub site: Site,
    pub people: Arc<dyn People>,
    pub keys: Arc<dyn Keys>,
    pub pepper: Pepper,
    pub provider_keys: Arc<dyn ProviderKeys>,
    pub sealer: Sealer,
    pub purchases: Arc<dyn PurchaseLedger>,
    pub payments: Arc<dyn PaymentProvider>,
    pub refunds: RefundDesk,
    pub disputes: Arc<dyn OrgDisputes>,
    pub reports: Arc<dyn Reports>,
    pub receipts: Arc<dyn Receipts>,
    pub receipt_signer: ReceiptSigner,
    pub credits: Credits,
    pub catalog: Arc<Catalog>,
    pub tokens: TokenSigner,
    pub passwords: Passwords,
    /// One table for all workers.
    pub attempts: Arc<Attempts>,
    pub purchase_fee: PurchaseFee,
    pub byok_fee: ByokFee,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// Mounts the public site at `/`. It answers every path with a page, so mount it after everything else.
pub fn configure_public(config: &mut ServiceConfig, deps: PublicDeps) {
    let development = deps.site.development;
    let scope = web::scope("")
        .app_data(Data::new(deps.site))
        .app_data(Data::from(deps.people))
        .app_data(Data::from(deps.keys))
        .app_data(Data::new(deps.pepper))
        .app_data(Data::from(deps.provider_keys))
        .app_data(Data::new(deps.sealer))
        .app_data(Data::from(deps.purchases))
        .app_data(Data::from(deps.payments))
        .app_data(Data::new(deps.refunds))
        .app_data(Data::from(deps.disputes))
        .app_data(Data::from(deps.reports))
        .app_data(Data::from(deps.receipts))
        .app_data(Data::new(deps.receipt_signer))
        .app_data(Data::new(deps.credits))
        .app_data(Data::from(deps.catalog))
        .app_data(Data::new(deps.tokens))
        .app_data(Data::new(deps.passwords))
        .app_data(Data::from(deps.attempts))
        .app_data(Data::new(deps.purchase_fee))
        .app_data(Data::new(deps.byok_fee))
        .app_data(Data::from(deps.clock))
        .app_data(Data::from(deps.entropy))
        .app_data(web::FormConfig::default().limit(FORM_BYTES))
        .configure(shop_front)
        .configure(account)
        .configure(money);
    let scope = if development { scope.service(page_at("/style", read().to(style::show))) } else { scope };
    config.service(scope.default_service(web::to(nowhere)).wrap(from_fn(shield)));
}

fn shop_front(config: &mut ServiceConfig) {
    config
        .service(page_at("/", read().to(home::show)))
        .service(page_at("/models", read().to(models::list)))
        .service(page_at("/models/{author}/{slug:.+}", read().to(model::show)))
        .service(page_at("/providers", read().to(providers::list)))
        .service(page_at("/pricing", read().to(pricing::show)))
        .service(page_at("/billing-policy", read().to(policy::show)))
        .service(form_at("/theme", post().to(theme::set)))
        .service(
            web::scope("/assets")
                .wrap(Compress::default())
                .service(page_at("/{stamp}/{name}", read().to(assets::serve))),
        );
}

fn account(config: &mut ServiceConfig) {
    config
        .service(both_at("/sign-up", read().to(sign::sign_up_form), post().to(sign::sign_up)))
        .service(both_at("/sign-in", read().to(sign::sign_in_form), post().to(sign::sign_in)))
        .service(form_at("/sign-out", post().to(sign::sign_out)))
        .service(page_at("/dashboard", read().to(dashboard::show)))
        .service(form_at("/account/token", post().to(token::issue)))
        .service(both_at("/keys", read().to(keys::list), post().to(new_key::create)))
        .service(page_at("/keys/new", read().to(new_key::form)))
        .service(page_at("/keys/{hash}/created", read().to(new_key::created)))
        .service(form_at("/keys/{hash}/disable", post().to(keys::disable)))
        .service(form_at("/keys/{hash}/enable", post().to(keys::enable)))
        .service(both_at("/keys/{hash}/delete", read().to(keys::delete_form), post().to(keys::delete)))
        .service(both_at("/provider-keys", read().to(provider_keys::list), post().to(provider_keys::create)))
        .service(both_at(
            "/provider-keys/{id}/delete",
            read().to(provider_keys::delete_form),
            post().to(provider_keys::delete),
        ));
}

fn money(config: &mut ServiceConfig) {
    config
        .service(page_at("/credits", read().to(credits::show)))
        .service(page_at("/credits/confirm", read().to(credits::confirm)))
        .service(both_at("/credits/purchases", read().to(credits::elsewhere), post().to(purchases::begin)))
        .service(page_at("/credits/purchases/{id}", read().to(purchases::show)))
        .service(page_at("/credits/purchases/{id}/status", read().to(purchases::status)))
        .service(form_at("/credits/purchases/{id}/refund", post().to(refunds::refund)))
        .service(page_at("/usage", read().to(usage::show)))
        .service(page_at("/logs", read().to(logs::list)))
        .service(page_at("/logs/{id}", read().to(receipt::show)))
        .service(page_at("/logs/{id}/receipt.json", read().to(receipt::file)));
}

/// Every other path: the page that says so, with the visitor's own header.
async fn nowhere(_visit: Visit) -> Answer {
    Err(Trouble::NotFound)
}
