//! Prices in force by endpoint, and the history of one: which version was in force when, published by whom.

use crate::format;
use crate::frame::{Frame, page};
use crate::pages::model::{Price, prices};
use crate::trouble::{Answer, Trouble};
use crate::visit::Visit;
use actix_web::web;
use askama::Template;
use catalog::draft::PriceVersion;
use catalog::ports::CatalogDesk;
use catalog::{Catalog, Endpoint};
use kernel::ids::EndpointId;

const SHOWN: usize = 100;

struct Row {
    href: String,
    model: String,
    tag: String,
    prompt: String,
    completion: String,
    version: i32,
    since: String,
}

impl Row {
    fn new(endpoint: &Endpoint) -> Self {
        Self {
            href: format!("/prices/{}", endpoint.id),
            model: endpoint.model.clone(),
            tag: endpoint.tag.clone(),
            prompt: format::per_million(endpoint.tariff.rates.prompt),
            completion: format::per_million(endpoint.tariff.rates.completion),
            version: endpoint.tariff.version,
            since: format::time(endpoint.tariff.effective_from),
        }
    }
}

/// What staff look for.
#[derive(serde::Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    q: String,
}

#[derive(Template)]
#[template(path = "staff/prices.html")]
struct PricesPage {
    frame: Frame,
    q: String,
    rows: Vec<Row>,
    more: bool,
}

pub(crate) async fn list(visit: Visit, query: web::Query<Asked>, catalog: web::Data<Catalog>) -> Answer {
    visit.staff()?;
    let q = query.into_inner().q;
    let words = q.to_lowercase();
    let snapshot = catalog.snapshot();
    let all = snapshot.listings().iter().flat_map(|listing| &listing.endpoints);
    let matches = |endpoint: &Endpoint| {
        let text = format!("{} {}", endpoint.model, endpoint.tag).to_lowercase();
        words.split_whitespace().all(|word| text.contains(word))
    };
    let mut rows: Vec<Row> =
        all.filter(|endpoint| matches(endpoint)).take(SHOWN + 1).map(|e| Row::new(e)).collect();
    let more = rows.len() > SHOWN;
    rows.truncate(SHOWN);
    page(&PricesPage { frame: visit.frame("Prices"), q, rows, more })
}

struct Version {
    number: i32,
    effective: String,
    by: String,
    published: String,
    prices: Vec<Price>,
    tiers: Vec<(String, Vec<Price>)>,
    free: bool,
}

impl Version {
    fn new(version: &PriceVersion) -> Self {
        let tier = |tier: &catalog::Tier| (format::count(tier.above_prompt_tokens), prices(&tier.rates));
        Self {
            number: version.version,
            effective: format::time(version.effective_from),
            by: version.published_by.clone(),
            published: format::time(version.published_at),
            prices: prices(&version.rates),
            tiers: version.tiers.iter().map(tier).collect(),
            free: version.free,
        }
    }
}

#[derive(Template)]
#[template(path = "staff/history.html")]
struct HistoryPage {
    frame: Frame,
    model: String,
    provider: String,
    versions: Vec<Version>,
}

pub(crate) async fn history(
    visit: Visit,
    path: web::Path<String>,
    desk: web::Data<dyn CatalogDesk>,
) -> Answer {
    visit.staff()?;
    let id: EndpointId = path.parse().map_err(|_not_an_id| Trouble::NotFound)?;
    let versions = desk.price_history(id).await?;
    let newest = versions.first().ok_or(Trouble::NotFound)?;
    page(&HistoryPage {
        frame: visit.frame("Price history"),
        model: newest.model.clone(),
        provider: newest.provider.clone(),
        versions: versions.iter().map(Version::new).collect(),
    })
}
