//! Finding the key of a request by its digest, without any memory: the cache before it lives elsewhere.

use crate::PgStore;
use crate::convert::shard;
use crate::error::Named as _;
use accounts::api_key::LimitReset;
use accounts::ports::KeyDirectory;
use accounts::{KeyDigest, KeyKind, KeyRecord};
use async_trait::async_trait;
use kernel::ids::{AccountId, KeyId, MemberId, OrgId, WorkspaceId};
use kernel::{AccountRef, Moment, NanoUsd, StoreError};
use std::sync::Arc;
use uuid::Uuid;

/// A row of `api_key` with its account and the caps of its owners.
pub(crate) struct KeyRow {
    pub(crate) id: Uuid,
    pub(crate) hash: String,
    pub(crate) kind: String,
    pub(crate) org_id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) shard: i16,
    pub(crate) workspace_id: Uuid,
    pub(crate) creator_id: Uuid,
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) limit_nano_usd: Option<i64>,
    pub(crate) limit_reset: Option<String>,
    pub(crate) include_byok_in_limit: bool,
    pub(crate) disabled: bool,
    pub(crate) expires_at: Option<Moment>,
    pub(crate) created_at: Moment,
    pub(crate) updated_at: Option<Moment>,
    pub(crate) caps: Vec<String>,
}

impl KeyRow {
    pub(crate) fn record(self) -> Result<KeyRecord, StoreError> {
        let bad = |column: &str| StoreError::corrupt(format!("api_key.{column} of {}", self.id));
        Ok(KeyRecord {
            id: KeyId::from_uuid(self.id),
            kind: KeyKind::parse(&self.kind).ok_or_else(|| bad("kind"))?,
            limit_reset: LimitReset::parse(self.limit_reset.as_deref()).ok_or_else(|| bad("limit_reset"))?,
            hash: self.hash,
            org: OrgId::from_uuid(self.org_id),
            account: AccountRef { account: AccountId::from_uuid(self.account_id), shard: shard(self.shard)? },
            workspace: WorkspaceId::from_uuid(self.workspace_id),
            creator: MemberId::from_uuid(self.creator_id),
            name: self.name,
            label: self.label,
            limit: self.limit_nano_usd.map(NanoUsd::new),
            include_byok_in_limit: self.include_byok_in_limit,
            disabled: self.disabled,
            expires_at: self.expires_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
            caps: self.caps,
        })
    }
}

#[async_trait]
impl KeyDirectory for PgStore {
    async fn find(&self, digest: &KeyDigest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        let row = sqlx::query_as!(
            KeyRow,
            r#"SELECT k.id, k.hash, k.kind, k.org_id, a.id AS account_id, a.shard, k.workspace_id, k.creator_id,
                      k.name, k.label, k.limit_nano_usd, k.limit_reset, k.include_byok_in_limit, k.disabled,
                      k.expires_at, k.created_at, k.updated_at,
                      ARRAY(SELECT c.cap_id FROM cap c
                            WHERE c.account_id = a.id AND c.owner_id IN (k.creator_id, k.workspace_id, k.org_id)
                            ORDER BY c.cap_id) AS "caps!"
               FROM api_key k JOIN account a ON a.org_id = k.org_id
               WHERE k.digest = $1 AND k.pepper_version = $2 AND k.deleted_at IS NULL"#,
            digest.bytes.as_slice(),
            digest.pepper_version
        )
        .fetch_optional(&self.pool)
        .await
        .named("find key")?;
        row.map(|row| row.record().map(Arc::new)).transpose()
    }
}
