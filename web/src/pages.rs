//! The public site: its route table and what it is given. One file a page.

mod credits;
mod dashboard;
mod home;
mod keys;
mod logs;
pub(crate) mod model;
mod models;
mod pricing;
mod provider_keys;
mod providers;
mod purchases;
pub(crate) mod sign;
mod style;
pub(crate) mod theme;
mod token;
mod usage;

use crate::assets;
use crate::attempts::Attempts;
use crate::passwords::Passwords;
use crate::shield::shield;
use crate::site::Site;
use crate::trouble::{Answer, Trouble};
use crate::visit::{FORM_BYTES, Visit};
use accounts::Pepper;
use accounts::ports::{Keys, People, ProviderKeys};
use accounts::seal::Sealer;
use accounts::token::TokenSigner;
use actix_web::Route;
use actix_web::guard;
use actix_web::middleware::{Compress, from_fn};
use actix_web::web::{self, Data, ServiceConfig, post};
use billing::Credits;
use billing::fees::{ByokFee, PurchaseFee};
use billing::ledger::PurchaseLedger;
use billing::payment::PaymentProvider;
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
    pub reports: Arc<dyn Reports>,
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
        .app_data(Data::from(deps.reports))
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
    let scope = if development { scope.route("/style", read().to(style::show)) } else { scope };
    config.service(scope.default_service(web::to(nowhere)).wrap(from_fn(shield)));
}

fn shop_front(config: &mut ServiceConfig) {
    config
        .route("/", read().to(home::show))
        .route("/models", read().to(models::list))
        .route("/models/{author}/{slug:.+}", read().to(model::show))
        .route("/providers", read().to(providers::list))
        .route("/pricing", read().to(pricing::show))
        .route("/theme", post().to(theme::set))
        .service(
            web::scope("/assets")
                .wrap(Compress::default())
                .route("/{stamp}/{name}", read().to(assets::serve)),
        );
}

fn account(config: &mut ServiceConfig) {
    config
        .route("/sign-up", read().to(sign::sign_up_form))
        .route("/sign-up", post().to(sign::sign_up))
        .route("/sign-in", read().to(sign::sign_in_form))
        .route("/sign-in", post().to(sign::sign_in))
        .route("/sign-out", post().to(sign::sign_out))
        .route("/dashboard", read().to(dashboard::show))
        .route("/account/token", post().to(token::issue))
        .route("/keys", read().to(keys::list))
        .route("/keys", post().to(keys::create))
        .route("/keys/new", read().to(keys::new_form))
        .route("/keys/{hash}/disable", post().to(keys::disable))
        .route("/keys/{hash}/enable", post().to(keys::enable))
        .route("/keys/{hash}/delete", read().to(keys::delete_form))
        .route("/keys/{hash}/delete", post().to(keys::delete))
        .route("/provider-keys", read().to(provider_keys::list))
        .route("/provider-keys", post().to(provider_keys::create))
        .route("/provider-keys/{id}/delete", read().to(provider_keys::delete_form))
        .route("/provider-keys/{id}/delete", post().to(provider_keys::delete));
}

fn money(config: &mut ServiceConfig) {
    config
        .route("/credits", read().to(credits::show))
        .route("/credits/confirm", read().to(credits::confirm))
        .route("/credits/purchases", post().to(purchases::begin))
        .route("/credits/purchases", read().to(credits::elsewhere))
        .route("/credits/purchases/{id}", read().to(purchases::show))
        .route("/credits/purchases/{id}/status", read().to(purchases::status))
        .route("/usage", read().to(usage::show))
        .route("/logs", read().to(logs::list))
        .route("/logs/{id}", read().to(logs::show));
}

/// GET, and HEAD for those who only ask whether a page is there.
pub(crate) fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Every other path: the page that says so, with the visitor's own header.
async fn nowhere(_visit: Visit) -> Answer {
    Err(Trouble::NotFound)
}
