//! What accounts needs from a store. A method is one atomic act; everything that an organization owns
//! takes the organization first.

use crate::api_key::{KeyDigest, KeyKind, KeyRecord, LimitReset};
use crate::email::Email;
use crate::org::{Member, OrgSummary};
use async_trait::async_trait;
use kernel::ids::{KeyId, MemberId, OrgId, PersonId, ProviderKeyId, StaffId, WorkspaceId};
use kernel::{Moment, NanoUsd, StoreError};

/// A person who signs up, with everything that is made for them in one transaction: person, personal
/// organization, owner, default workspace and credit account.
#[derive(Debug, Clone)]
pub struct NewPerson {
    pub email: Email,
    pub password_hash: String,
    pub at: Moment,
}

/// What signing up did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignUp {
    Done {
        person: PersonId,
        org: OrgId,
        member: MemberId,
    },
    /// The address is taken.
    EmailTaken,
}

/// A stored session with whom it speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    pub person: PersonId,
    pub email: String,
    pub org: OrgSummary,
    pub member: Member,
    pub expires_at: Moment,
}

/// People and their sessions.
#[async_trait]
pub trait People: Send + Sync {
    async fn sign_up(&self, person: &NewPerson) -> Result<SignUp, StoreError>;

    /// The person of an address with the stored password hash.
    async fn credentials(&self, email: &Email) -> Result<Option<(PersonId, String)>, StoreError>;

    async fn add_session(
        &self,
        person: PersonId,
        digest: &[u8; 32],
        at: Moment,
        expires_at: Moment,
    ) -> Result<(), StoreError>;

    /// The session of a token's digest, if it lives at `now`.
    async fn session(&self, digest: &[u8; 32], now: Moment) -> Result<Option<SignedIn>, StoreError>;

    async fn end_session(&self, digest: &[u8; 32]) -> Result<(), StoreError>;
}

/// A key to be stored.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub org: OrgId,
    pub workspace: WorkspaceId,
    pub creator: MemberId,
    pub kind: KeyKind,
    pub digest: KeyDigest,
    /// 64 hex characters.
    pub hash: String,
    pub name: String,
    pub label: String,
    pub limit: Option<NanoUsd>,
    pub limit_reset: LimitReset,
    pub include_byok_in_limit: bool,
    pub expires_at: Option<Moment>,
    pub at: Moment,
}

/// What to change about a key; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct KeyChange {
    pub name: Option<String>,
    pub disabled: Option<bool>,
    /// `Some(None)` removes the limit.
    pub limit: Option<Option<NanoUsd>>,
    pub limit_reset: Option<LimitReset>,
    pub include_byok_in_limit: Option<bool>,
}

/// A key with what it has spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUsage {
    pub key: KeyRecord,
    pub usage: NanoUsd,
    pub usage_daily: NanoUsd,
    pub usage_weekly: NanoUsd,
    pub usage_monthly: NanoUsd,
    /// List price of own-key calls.
    pub byok_usage: NanoUsd,
    pub byok_usage_daily: NanoUsd,
    pub byok_usage_weekly: NanoUsd,
    pub byok_usage_monthly: NanoUsd,
    pub last_used_at: Option<Moment>,
}

/// Keys as their organization manages them. Every change reaches all processes within a second.
#[async_trait]
pub trait Keys: Send + Sync {
    async fn add_key(&self, key: &NewKey) -> Result<KeyRecord, StoreError>;

    /// Newest first.
    async fn keys(
        &self,
        org: OrgId,
        offset: u32,
        limit: u32,
        now: Moment,
    ) -> Result<Vec<KeyUsage>, StoreError>;

    async fn key(&self, org: OrgId, hash: &str, now: Moment) -> Result<Option<KeyUsage>, StoreError>;

    async fn change_key(
        &self,
        org: OrgId,
        hash: &str,
        change: &KeyChange,
        at: Moment,
    ) -> Result<Option<KeyRecord>, StoreError>;

    /// Deletes a key: it stops working at once; its generations stay.
    async fn delete_key(&self, org: OrgId, hash: &str, at: Moment) -> Result<bool, StoreError>;
}

/// Finding the key of a request. The gateway's hot path; an implementation may remember answers as long
/// as revocation reaches it within a second.
#[async_trait]
pub trait KeyDirectory: Send + Sync {
    async fn find(&self, digest: &KeyDigest) -> Result<Option<std::sync::Arc<KeyRecord>>, StoreError>;
}

/// A customer's key at a provider, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderKey {
    pub id: ProviderKeyId,
    pub provider: String,
    pub name: String,
    /// The last four characters.
    pub hint: String,
    pub disabled: bool,
    /// When it fails, our own credential may be used instead (and credits are charged).
    pub fallback: bool,
    pub created_at: Moment,
}

/// A provider key to be stored, sealed.
#[derive(Debug, Clone)]
pub struct NewProviderKey {
    pub org: OrgId,
    pub provider: String,
    pub name: String,
    pub hint: String,
    pub sealed: Vec<u8>,
    pub fallback: bool,
    pub at: Moment,
}

/// Customers' provider keys.
#[async_trait]
pub trait ProviderKeys: Send + Sync {
    async fn add_provider_key(&self, key: &NewProviderKey) -> Result<ProviderKeyId, StoreError>;

    async fn provider_keys(&self, org: OrgId) -> Result<Vec<ProviderKey>, StoreError>;

    async fn delete_provider_key(&self, org: OrgId, id: ProviderKeyId) -> Result<bool, StoreError>;

    /// The enabled keys of an organization with their sealed secrets, for calling.
    async fn sealed_keys(&self, org: OrgId) -> Result<Vec<(ProviderKey, Vec<u8>)>, StoreError>;
}

/// A member of staff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staff {
    pub id: StaffId,
    pub email: String,
}

/// Staff and their sessions: a desk of its own, never given to the public pages.
#[async_trait]
pub trait StaffDesk: Send + Sync {
    /// Adds or renews a member of staff.
    async fn set_staff(&self, email: &Email, password_hash: &str, at: Moment) -> Result<StaffId, StoreError>;

    async fn staff_credentials(&self, email: &Email) -> Result<Option<(StaffId, String)>, StoreError>;

    async fn add_staff_session(
        &self,
        staff: StaffId,
        digest: &[u8; 32],
        at: Moment,
        expires_at: Moment,
    ) -> Result<(), StoreError>;

    async fn staff_session(&self, digest: &[u8; 32], now: Moment) -> Result<Option<Staff>, StoreError>;

    async fn end_staff_session(&self, digest: &[u8; 32]) -> Result<(), StoreError>;
}

/// The key a generation or an audit row names, for tests and receipts.
#[must_use]
pub fn key_cap(key: KeyId) -> String {
    format!("k:{key}")
}
