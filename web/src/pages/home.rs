//! The landing page: what this is, three steps to start, what is for sale.

use super::models::Card;
use crate::format;
use crate::frame::{Frame, page};
use crate::snippets::{Snippets, starter_model};
use crate::trouble::Answer;
use crate::visit::Visit;
use actix_web::web;
use askama::Template;
use billing::fees::PurchaseFee;
use catalog::Catalog;

const FEATURED: usize = 8;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    frame: Frame,
    models: String,
    providers: String,
    endpoints: String,
    rate: String,
    minimum_fee: String,
    smallest: String,
    api_base: String,
    featured: Vec<Card>,
    snippets: Snippets,
}

pub(crate) async fn show(visit: Visit, catalog: web::Data<Catalog>, fee: web::Data<PurchaseFee>) -> Answer {
    let snapshot = catalog.snapshot();
    let serving = super::providers::serving(&snapshot).len();
    let model = starter_model(&snapshot).map_or("author/model", |model| model.slug.as_str());
    let count = |number: usize| format::count(u64::try_from(number).unwrap_or(u64::MAX));
    page(&HomePage {
        frame: visit.frame("One key for every model"),
        models: count(snapshot.listings().len()),
        providers: count(serving),
        endpoints: count(snapshot.endpoint_count()),
        rate: format::per_mille(fee.rate_per_mille),
        minimum_fee: format::card(fee.minimum),
        smallest: format::card(fee.smallest_purchase),
        api_base: visit.site.api_base.clone(),
        featured: featured(&snapshot),
        snippets: Snippets::new(&visit.site.api_base, None, model),
    })
}

/// What most providers serve, newest first among equals, two of an author at most.
fn featured(snapshot: &catalog::Snapshot) -> Vec<Card> {
    let mut listings: Vec<_> = snapshot.listings().iter().collect();
    listings.sort_by_key(|listing| std::cmp::Reverse((listing.endpoints.len(), listing.model.created)));
    let mut chosen: Vec<Card> = Vec::with_capacity(FEATURED);
    for listing in listings {
        let same = chosen.iter().filter(|card| card.author == listing.model.author()).count();
        if same < 2 && chosen.len() < FEATURED {
            chosen.push(Card::new(listing));
        }
    }
    chosen
}
