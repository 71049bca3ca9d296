//! The public JSON of the catalog, in the shapes that OpenRouter's clients read. Built once per snapshot,
//! so that serving the whole list is a copy of bytes.
//!
//! Knows no HTTP: bodies, an entity tag, and typed errors for queries.

mod query;
mod shape;

use crate::model_ref::ModelRef;
use crate::snapshot::Snapshot;
use bytes::Bytes;
use kernel::Moment;
use kernel::ids::EndpointId;
use serde::Serialize;

pub use query::{ModelsQuery, QueryError, SortOrder};

/// Rolling percentiles of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    pub p50: u64,
    pub p75: u64,
    pub p90: u64,
    pub p99: u64,
}

/// What was measured at an endpoint lately. Percent and rates are for display only.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct EndpointStats {
    /// 0 is healthy; negative numbers are degrees of trouble.
    pub status: i32,
    /// Percent of minutes in which the endpoint answered; `None` without traffic.
    pub uptime_last_5m: Option<f64>,
    pub uptime_last_30m: Option<f64>,
    pub uptime_last_1d: Option<f64>,
    /// Milliseconds to the first token.
    pub latency_last_30m: Option<Percentiles>,
    /// Output tokens per second.
    pub throughput_last_30m: Option<Percentiles>,
}

/// Looks up what was measured; `None` where nothing was.
pub type StatsOf<'a> = &'a dyn Fn(EndpointId) -> Option<EndpointStats>;

/// The bodies that do not depend on who asks.
#[derive(Debug)]
pub struct Rendered {
    /// `GET /models` without filters.
    pub models: Bytes,
    /// `GET /providers`.
    pub providers: Bytes,
    /// For both; quoted as HTTP wants it.
    pub etag: String,
    /// One JSON object per listing, in the snapshot's order.
    fragments: Vec<Bytes>,
}

impl Rendered {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let fragments: Vec<Bytes> =
            snapshot.listings().iter().map(|listing| json(&shape::model(listing))).collect();
        let selection = ModelsQuery::default().select(snapshot, snapshot.taken_at);
        Self {
            models: list_body(&fragments, &selection.rows, selection.total, None),
            providers: json(&shape::providers(snapshot)),
            etag: snapshot.etag(),
            fragments,
        }
    }
}

/// `GET /models` with a query. `path` is what links repeat, e.g. `/api/v1/models`.
#[must_use]
pub fn models(snapshot: &Snapshot, query: &ModelsQuery, now: Moment, path: &str) -> Bytes {
    let rendered = snapshot.rendered();
    if query.is_plain() {
        return rendered.models.clone();
    }
    let selection = query.select(snapshot, now);
    let next = selection.next.map(|(offset, limit)| format!("{path}?{}", query.page(offset, limit)));
    list_body(&rendered.fragments, &selection.rows, selection.total, next.as_deref())
}

/// `GET /models/{author}/{slug}/endpoints`; `None` when no such model is for sale.
#[must_use]
pub fn endpoints(snapshot: &Snapshot, model: &ModelRef, stats: StatsOf<'_>) -> Option<Bytes> {
    let listing = model.resolve(snapshot)?;
    Some(json(&shape::endpoints(snapshot, listing, stats)))
}

/// `GET /model/{author}/{slug}`; `None` when no such model is for sale.
#[must_use]
pub fn model(snapshot: &Snapshot, model: &ModelRef) -> Option<Bytes> {
    let listing = model.resolve(snapshot)?;
    let mut body = b"{\"data\":".to_vec();
    body.extend_from_slice(&json(&shape::model(listing)));
    body.push(b'}');
    Some(body.into())
}

fn list_body(fragments: &[Bytes], rows: &[usize], total: usize, next: Option<&str>) -> Bytes {
    let mut body = Vec::with_capacity(rows.len() * 1200 + 64);
    body.extend_from_slice(b"{\"data\":[");
    let mut first = true;
    for fragment in rows.iter().filter_map(|row| fragments.get(*row)) {
        if !first {
            body.push(b',');
        }
        first = false;
        body.extend_from_slice(fragment);
    }
    body.extend_from_slice(b"],\"links\":{\"next\":");
    body.extend_from_slice(&json(&next));
    body.extend_from_slice(format!("}},\"total_count\":{total}}}").as_bytes());
    body.into()
}

#[expect(clippy::expect_used, reason = "plain structs with string keys always serialize")]
fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("plain structs serialize").into()
}
