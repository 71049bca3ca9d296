//! What the catalog needs from a store. Each method is one atomic act.

use crate::draft::{DraftContent, DraftSummary, PriceVersion, PublishedSince};
use crate::snapshot::Snapshot;
use async_trait::async_trait;
use kernel::ids::{DraftId, EndpointId};
use kernel::{Moment, StoreError};

/// Reading the published catalog; every process has it.
#[async_trait]
pub trait PublishedCatalog: Send + Sync {
    /// The price list in force at a moment, with the version of the last publication.
    async fn snapshot(&self, at: Moment) -> Result<Snapshot, StoreError>;

    /// The version of the last publication: cheap, for polling.
    async fn version(&self) -> Result<i64, StoreError>;
}

/// What publishing a draft did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is live (or will be at its effective date); the new catalog version.
    Done { version: i64, changed_endpoints: u64 },
    /// It was already published or discarded.
    NotOpen,
    /// There is no such draft.
    Missing,
    /// It was made on an older catalog version than this one: what came between would be undone unseen.
    Stale { live: i64 },
}

/// Staff's desk: drafts and publication. Gateway and customer pages never receive it.
#[async_trait]
pub trait CatalogDesk: Send + Sync {
    async fn add_draft(&self, source: &str, by: &str, content: &DraftContent) -> Result<DraftId, StoreError>;

    /// Newest first.
    async fn drafts(&self, limit: u32) -> Result<Vec<DraftSummary>, StoreError>;

    async fn draft(&self, id: DraftId) -> Result<Option<(DraftSummary, DraftContent)>, StoreError>;

    /// Writes the draft's rows as new versions in force from `effective_from`, in one transaction with the
    /// new catalog version, an audit row and the notice to all processes. Twice is once; a draft that was
    /// made on another version than the live one is refused.
    async fn publish(&self, id: DraftId, by: &str, effective_from: Moment) -> Result<Published, StoreError>;

    /// What was published after a version, newest first; at most twenty.
    async fn published_since(&self, version: i64) -> Result<Vec<PublishedSince>, StoreError>;

    async fn discard(&self, id: DraftId, by: &str) -> Result<Published, StoreError>;

    /// Newest first.
    async fn price_history(&self, endpoint: EndpointId) -> Result<Vec<PriceVersion>, StoreError>;
}
