//! The published price list as one immutable value, swapped whole. Every request keeps the snapshot it
//! was admitted with, so a price change in mid-stream changes nothing.

use crate::import::{fold, without_date};
use crate::model::{Endpoint, Model, Provider};
use crate::wire::Rendered;
use arc_swap::ArcSwap;
use kernel::Moment;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

/// A model with the endpoints that sell it.
#[derive(Debug, Clone)]
pub struct Listing {
    pub model: Model,
    /// At least one; in catalog order.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Union over the endpoints, sorted.
    pub supported_parameters: Vec<String>,
}

/// Everything that is for sale at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Rises by one with every publication.
    pub version: i64,
    /// Counts the turns of the kill switch that are in it.
    pub switch_seq: i64,
    /// When these prices came into force.
    pub taken_at: Moment,
    /// The next moment at which a tariff already published comes into force.
    pub next_change_at: Option<Moment>,
    listings: Vec<Listing>,
    by_slug: HashMap<String, usize>,
    /// By the slug with every separator a dash.
    by_fold: HashMap<String, usize>,
    providers: HashMap<String, Arc<Provider>>,
    provider_order: Vec<Arc<Provider>>,
    rendered: OnceLock<Rendered>,
}

/// The rows of which a snapshot is made.
#[derive(Debug, Default, Clone)]
pub struct Rows {
    pub providers: Vec<Provider>,
    pub models: Vec<Model>,
    pub endpoints: Vec<Endpoint>,
}

impl Snapshot {
    /// Builds the index. Models without an enabled endpoint at an enabled provider are left out, and so
    /// are endpoints whose model or provider is missing.
    #[must_use]
    pub fn build(version: i64, taken_at: Moment, next_change_at: Option<Moment>, rows: Rows) -> Self {
        let mut provider_order: Vec<Arc<Provider>> = rows.providers.into_iter().map(Arc::new).collect();
        provider_order.sort_by_key(|provider| provider.name.to_lowercase());
        let providers: HashMap<String, Arc<Provider>> =
            provider_order.iter().map(|p| (p.slug.clone(), Arc::clone(p))).collect();
        let mut by_model: HashMap<String, Vec<Arc<Endpoint>>> = HashMap::new();
        for endpoint in rows.endpoints {
            let open = providers.get(&endpoint.provider).is_some_and(|p| p.enabled) && endpoint.enabled;
            if open {
                by_model.entry(endpoint.model.clone()).or_default().push(Arc::new(endpoint));
            }
        }
        let mut listings: Vec<Listing> = Vec::new();
        for model in rows.models {
            if let Some(endpoints) = by_model.remove(&model.slug) {
                let names: BTreeSet<&String> =
                    endpoints.iter().flat_map(|e| &e.supported_parameters).collect();
                let supported_parameters = names.into_iter().cloned().collect();
                listings.push(Listing { model, endpoints, supported_parameters });
            }
        }
        listings.sort_by(|a, b| {
            b.model.created.cmp(&a.model.created).then_with(|| a.model.slug.cmp(&b.model.slug))
        });
        let by_slug = listings.iter().enumerate().map(|(i, l)| (l.model.slug.clone(), i)).collect();
        let by_fold = listings.iter().enumerate().map(|(i, l)| (fold(&l.model.slug), i)).collect();
        let rendered = OnceLock::new();
        Self {
            version,
            switch_seq: 0,
            taken_at,
            next_change_at,
            listings,
            by_slug,
            by_fold,
            providers,
            provider_order,
            rendered,
        }
    }

    /// An empty price list, before the first one is loaded.
    #[must_use]
    pub fn empty(taken_at: Moment) -> Self {
        Self::build(0, taken_at, None, Rows::default())
    }

    /// Newest model first.
    #[must_use]
    pub fn listings(&self) -> &[Listing] {
        &self.listings
    }

    #[must_use]
    pub fn find(&self, slug: &str) -> Option<&Listing> {
        self.by_slug.get(slug).and_then(|index| self.listings.get(*index))
    }

    /// A listing by another spelling of its slug: other separators, or a date at the end.
    #[must_use]
    pub fn find_spelled(&self, slug: &str) -> Option<&Listing> {
        let folded = fold(slug);
        let index = self.by_fold.get(&folded).or_else(|| self.by_fold.get(without_date(&folded)?))?;
        self.listings.get(*index)
    }

    /// The public JSON of this snapshot, built once.
    #[must_use]
    pub fn rendered(&self) -> &Rendered {
        self.rendered.get_or_init(|| Rendered::of(self))
    }

    #[must_use]
    pub fn provider(&self, slug: &str) -> Option<&Arc<Provider>> {
        self.providers.get(slug)
    }

    /// By name.
    #[must_use]
    pub fn providers(&self) -> &[Arc<Provider>] {
        &self.provider_order
    }

    #[must_use]
    pub fn endpoint_count(&self) -> usize {
        self.listings.iter().map(|l| l.endpoints.len()).sum()
    }

    /// Names this snapshot for HTTP caches. Two processes with the same prices give the same text.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"catalog-{}-{}-{}\"", self.version, self.switch_seq, self.taken_at.timestamp())
    }
}

/// The current snapshot of a process. Cheap to read, swapped whole.
#[derive(Debug)]
pub struct Catalog {
    current: ArcSwap<Snapshot>,
}

impl Catalog {
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        Self { current: ArcSwap::from_pointee(first) }
    }

    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    pub fn replace(&self, next: Snapshot) {
        self.current.store(Arc::new(next));
    }
}
