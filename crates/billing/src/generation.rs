//! The record of one completed call: what the ledger, the logs and the receipt are made of.

use crate::price::Extras;
use kernel::ids::{EndpointId, GenerationId, KeyId, MemberId, OrgId, ProviderKeyId, TariffId, WorkspaceId};
use kernel::{NanoUsd, Usage};
use serde::{Deserialize, Serialize};

/// One try of a generation at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Provider slug.
    pub provider: String,
    /// HTTP status; 0 when no answer came.
    pub status: u16,
    /// A stable word: `ok`, `rate_limited`, `timeout`, `connect`, …
    pub outcome: String,
    pub started_ms: u32,
    pub duration_ms: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_key: bool,
}

/// A completed call. It travels packed through the engine's outbox, so field names are short and stable;
/// a field may be added with a default, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRecord {
    #[serde(rename = "g")]
    pub id: GenerationId,
    #[serde(rename = "o")]
    pub org: OrgId,
    #[serde(rename = "w")]
    pub workspace: WorkspaceId,
    /// `None` for the browser's own calls.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    #[serde(rename = "m")]
    pub member: MemberId,
    /// Model slug.
    #[serde(rename = "mo")]
    pub model: String,
    /// Provider slug.
    #[serde(rename = "p")]
    pub provider: String,
    #[serde(rename = "e")]
    pub endpoint: EndpointId,
    #[serde(rename = "t")]
    pub tariff: TariffId,
    #[serde(rename = "tv")]
    pub tariff_version: i32,
    /// Catalog snapshot that was frozen in the hold.
    #[serde(rename = "cv")]
    pub catalog_version: i64,
    #[serde(rename = "u", default)]
    pub usage: Usage,
    #[serde(rename = "x", default)]
    pub extras: Extras,
    /// `exact`, `estimated` or `nothing`.
    #[serde(rename = "us")]
    pub usage_source: String,
    /// Price at the tariff, rounded down: what credits pay, or what the fee is a share of.
    #[serde(rename = "lp")]
    pub list_price: NanoUsd,
    /// What was asked of the engine: the list price, or the own-key fee.
    #[serde(rename = "a")]
    pub amount: NanoUsd,
    /// What the provider costs us, rounded up; zero with an own key.
    #[serde(rename = "c")]
    pub provider_cost: NanoUsd,
    #[serde(rename = "bk", default, skip_serializing_if = "Option::is_none")]
    pub provider_key: Option<ProviderKeyId>,
    #[serde(rename = "fr", default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    #[serde(rename = "nf", default, skip_serializing_if = "Option::is_none")]
    pub native_finish_reason: Option<String>,
    #[serde(rename = "s")]
    pub streamed: bool,
    /// The client left before the end.
    #[serde(rename = "ca", default)]
    pub cancelled: bool,
    /// Error type when the answer failed.
    #[serde(rename = "er", default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// From the request's arrival to the provider's first token.
    #[serde(rename = "l")]
    pub latency_ms: u32,
    /// From the first token to the end.
    #[serde(rename = "gt")]
    pub generation_ms: u32,
    #[serde(rename = "at", default)]
    pub attempts: Vec<AttemptRecord>,
    /// The provider's own id of the answer.
    #[serde(rename = "ui", default, skip_serializing_if = "Option::is_none")]
    pub upstream_id: Option<String>,
    /// App attribution: referer and title.
    #[serde(rename = "ar", default, skip_serializing_if = "Option::is_none")]
    pub app_referer: Option<String>,
    #[serde(rename = "an", default, skip_serializing_if = "Option::is_none")]
    pub app_title: Option<String>,
    /// The customer's own end-user and session labels.
    #[serde(rename = "eu", default, skip_serializing_if = "Option::is_none")]
    pub end_user: Option<String>,
    #[serde(rename = "si", default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// It was answered by a simulated provider (development only).
    #[serde(rename = "sm", default)]
    pub simulated: bool,
}

/// Whose call a hold belongs to, packed into `Reserve::owner`: what the ledger can still say of a call whose
/// gateway did not live to settle it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldOwner {
    #[serde(rename = "o")]
    pub org: OrgId,
    #[serde(rename = "w")]
    pub workspace: WorkspaceId,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    #[serde(rename = "m")]
    pub member: MemberId,
    /// Slug of the model that was asked for.
    #[serde(rename = "mo")]
    pub model: String,
}

impl HoldOwner {
    /// The packed text; `None` when it cannot be written (never seen) or is longer than the engine takes.
    #[must_use]
    pub fn packed(&self) -> Option<String> {
        serde_json::to_string(self).ok().filter(|text| text.len() <= 512)
    }

    /// Reads what [`packed`](Self::packed) wrote.
    #[must_use]
    pub fn unpack(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use uuid::Uuid;

    /// A record of one priced call, for tests.
    pub(crate) fn record(id: GenerationId) -> GenerationRecord {
        GenerationRecord {
            id,
            org: OrgId::from_uuid(Uuid::from_u128(4)),
            workspace: WorkspaceId::from_uuid(Uuid::nil()),
            key: None,
            member: MemberId::from_uuid(Uuid::nil()),
            model: "a/b".to_owned(),
            provider: "x".to_owned(),
            endpoint: EndpointId::from_uuid(Uuid::nil()),
            tariff: TariffId::from_uuid(Uuid::nil()),
            tariff_version: 1,
            catalog_version: 1,
            usage: Usage::default(),
            extras: Extras::default(),
            usage_source: "exact".to_owned(),
            list_price: NanoUsd::ZERO,
            amount: NanoUsd::ZERO,
            provider_cost: NanoUsd::ZERO,
            provider_key: None,
            finish_reason: None,
            native_finish_reason: None,
            streamed: true,
            cancelled: false,
            error: None,
            latency_ms: 1,
            generation_ms: 1,
            attempts: Vec::new(),
            upstream_id: None,
            app_referer: None,
            app_title: None,
            end_user: None,
            session: None,
            simulated: false,
        }
    }
}
