//! The staff desk: a site of its own, for a port of its own. Staff sign in, publish or discard drafts of the
//! price list, and deal with refunds and disputes. Nothing here is mounted on the public site.

mod draft;
mod drafts;
mod payments;
mod prices;
mod sign;
mod switches;

use crate::assets;
use crate::attempts::Attempts;
use crate::frame::see_other;
use crate::pages::theme;
use crate::passwords::Passwords;
use crate::routes::{both_at, form_at, page_at, read};
use crate::shield::shield;
use crate::site::Site;
use crate::trouble::{Answer, Trouble};
use crate::visit::Visit;
use accounts::ports::StaffDesk;
use actix_web::middleware::{Compress, from_fn};
use actix_web::web::{self, Data, ServiceConfig, post};
use billing::ledger::{DisputeLedger, GrantLedger};
use billing::mail::MailOutbox;
use billing::refund_desk::RefundDesk;
use catalog::Catalog;
use catalog::ports::CatalogDesk;
use catalog::switch::KillSwitch;
use kernel::{Clock, Entropy};
use std::sync::Arc;

/// Largest pasted price file; percent-encoding can triple it on its way.
pub(crate) const FILE_BYTES: usize = 5 * 1024 * 1024;

/// What the staff desk is given.
#[derive(Clone)]
pub struct StaffDeps {
    /// Its realm must be [`Realm::Staff`](crate::Realm::Staff).
    pub site: Site,
    pub staff: Arc<dyn StaffDesk>,
    pub desk: Arc<dyn CatalogDesk>,
    pub grants: Arc<dyn GrantLedger>,
    pub refunds: RefundDesk,
    pub disputes: Arc<dyn DisputeLedger>,
    pub mail: Arc<dyn MailOutbox>,
    pub switch: Arc<dyn KillSwitch>,
    pub catalog: Arc<Catalog>,
    pub passwords: Passwords,
    pub attempts: Arc<Attempts>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// Mounts the staff desk at `/`. It answers every path with a page, so mount it after everything else.
pub fn configure_staff(config: &mut ServiceConfig, deps: StaffDeps) {
    let scope = web::scope("")
        .app_data(Data::new(deps.site))
        .app_data(Data::from(deps.staff))
        .app_data(Data::from(deps.desk))
        .app_data(Data::from(deps.grants))
        .app_data(Data::new(deps.refunds))
        .app_data(Data::from(deps.disputes))
        .app_data(Data::from(deps.mail))
        .app_data(Data::from(deps.switch))
        .app_data(Data::from(deps.catalog))
        .app_data(Data::new(deps.passwords))
        .app_data(Data::from(deps.attempts))
        .app_data(Data::from(deps.clock))
        .app_data(Data::from(deps.entropy))
        .app_data(web::FormConfig::default().limit(FILE_BYTES * 3 + 64 * 1024))
        .configure(routes);
    config.service(scope.default_service(web::to(nowhere)).wrap(from_fn(shield)));
}

fn routes(config: &mut ServiceConfig) {
    config
        .service(page_at("/", read().to(start)))
        .service(both_at("/sign-in", read().to(sign::form), post().to(sign::sign_in)))
        .service(form_at("/sign-out", post().to(sign::sign_out)))
        .service(form_at("/theme", post().to(theme::set)))
        .service(both_at("/drafts", read().to(drafts::list), post().to(drafts::create)))
        .service(page_at("/drafts/new", read().to(drafts::new_form)))
        .service(page_at("/drafts/{id}", read().to(draft::show)))
        .service(form_at("/drafts/{id}/publish", post().to(draft::publish)))
        .service(form_at("/drafts/{id}/discard", post().to(draft::discard)))
        .service(both_at("/switches", read().to(switches::list), post().to(switches::turn)))
        .service(page_at("/prices", read().to(prices::list)))
        .service(page_at("/prices/{endpoint}", read().to(prices::history)))
        .service(page_at("/payments", read().to(payments::list)))
        .service(page_at("/payments/{id}", read().to(payments::show)))
        .service(form_at("/payments/{id}/refund", post().to(payments::refund)))
        .service(form_at("/refunds/{id}/decide", post().to(payments::decide)))
        .service(form_at("/organizations/{org}/unfreeze", post().to(payments::unfreeze)))
        .service(
            web::scope("/assets")
                .wrap(Compress::default())
                .service(page_at("/{stamp}/{name}", read().to(assets::serve))),
        );
}

async fn start(visit: Visit) -> Answer {
    visit.staff()?;
    see_other("/drafts")
}

/// Every other path. Strangers learn nothing about which paths exist.
async fn nowhere(visit: Visit) -> Answer {
    visit.staff()?;
    Err(Trouble::NotFound)
}
