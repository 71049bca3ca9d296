//! The companies that serve models here.

use crate::frame::{Frame, page};
use crate::query::Query;
use crate::trouble::Answer;
use crate::visit::Visit;
use actix_web::web;
use askama::Template;
use catalog::{Catalog, Provider, Snapshot};
use std::collections::HashMap;
use std::sync::Arc;

/// A provider in the list.
struct Row {
    name: String,
    slug: String,
    models: usize,
    models_href: String,
    headquarters: String,
    trains: bool,
    retains: bool,
    privacy_url: String,
    terms_url: String,
    status_url: String,
}

impl Row {
    fn new(provider: &Provider, models: usize) -> Self {
        Self {
            name: provider.name.clone(),
            slug: provider.slug.clone(),
            models,
            models_href: Query::new().with("provider", provider.slug.as_str()).on("/models"),
            headquarters: provider.headquarters.clone().unwrap_or_default(),
            trains: provider.trains_on_data,
            retains: provider.retains_prompts,
            privacy_url: web_url(provider.privacy_policy_url.as_deref()),
            terms_url: web_url(provider.terms_of_service_url.as_deref()),
            status_url: web_url(provider.status_page_url.as_deref()),
        }
    }
}

/// Only web addresses become links: a catalog file could carry `javascript:`.
fn web_url(url: Option<&str>) -> String {
    url.filter(|url| url.starts_with("https://") || url.starts_with("http://")).unwrap_or_default().to_owned()
}

#[derive(Template)]
#[template(path = "providers.html")]
struct ProvidersPage {
    frame: Frame,
    rows: Vec<Row>,
}

pub(crate) async fn list(visit: Visit, catalog: web::Data<Catalog>) -> Answer {
    let snapshot = catalog.snapshot();
    let rows = serving(&snapshot).into_iter().map(|(provider, models)| Row::new(&provider, models)).collect();
    page(&ProvidersPage { frame: visit.frame("Providers"), rows })
}

/// Providers with at least one endpoint on sale, by name, with the number of their endpoints.
pub(crate) fn serving(snapshot: &Snapshot) -> Vec<(Arc<Provider>, usize)> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for endpoint in snapshot.listings().iter().flat_map(|listing| &listing.endpoints) {
        *counts.entry(endpoint.provider.as_str()).or_default() += 1;
    }
    let providers = snapshot.providers().iter();
    providers
        .filter_map(|provider| counts.get(provider.slug.as_str()).map(|n| (Arc::clone(provider), *n)))
        .collect()
}
