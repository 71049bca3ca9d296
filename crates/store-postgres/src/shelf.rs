//! What the copy of keys beside the credit engine is made from: the changes it may lack, and everything.
//!
//! Rows of `shelf_outbox` come from triggers. A row and its version are read in one statement, so a text is never
//! older than its version says.

use crate::PgStore;
use crate::error::Named as _;
use crate::key_directory::KeyRow;
use accounts::ports::ProviderKeys as _;
use accounts::shelf::{ShelfChanges, ShelfName, ShelfPage, ShelfRow, ShelfSource, shelve_key, shelve_sealed};
use async_trait::async_trait;
use kernel::ids::OrgId;
use kernel::{Moment, StoreError};
use uuid::Uuid;

/// A key with what the copy needs beside its record.
struct Row {
    id: Uuid,
    hash: String,
    kind: String,
    org_id: Uuid,
    account_id: Uuid,
    shard: i16,
    workspace_id: Uuid,
    creator_id: Uuid,
    name: String,
    label: String,
    limit_nano_usd: Option<i64>,
    limit_reset: Option<String>,
    include_byok_in_limit: bool,
    disabled: bool,
    expires_at: Option<Moment>,
    created_at: Moment,
    updated_at: Option<Moment>,
    caps: Vec<String>,
    digest: Vec<u8>,
    deleted: bool,
    shelf_version: i64,
}

impl Row {
    fn shelved(self) -> Result<ShelfRow, StoreError> {
        let digest = self.digest.as_slice().try_into();
        let digest =
            digest.map_err(|_length| StoreError::corrupt(format!("api_key.digest of {}", self.id)))?;
        let (name, version, deleted) = (ShelfName::Key(digest), self.shelf_version, self.deleted);
        let record = KeyRow {
            id: self.id,
            hash: self.hash,
            kind: self.kind,
            org_id: self.org_id,
            account_id: self.account_id,
            shard: self.shard,
            workspace_id: self.workspace_id,
            creator_id: self.creator_id,
            name: self.name,
            label: self.label,
            limit_nano_usd: self.limit_nano_usd,
            limit_reset: self.limit_reset,
            include_byok_in_limit: self.include_byok_in_limit,
            disabled: self.disabled,
            expires_at: self.expires_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
            caps: self.caps,
        };
        let record = record.record()?;
        Ok(ShelfRow { name, version, text: shelve_key((!deleted).then_some(&record))? })
    }
}

#[async_trait]
impl ShelfSource for PgStore {
    async fn shelf_changes(&self, limit: u32) -> Result<ShelfChanges, StoreError> {
        let waiting = sqlx::query!(
            "SELECT id, key_id, org_id FROM shelf_outbox ORDER BY id LIMIT $1",
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("shelf_changes")?;
        let keys: Vec<Uuid> = waiting.iter().filter_map(|row| row.key_id).collect();
        let mut orgs: Vec<Uuid> = waiting.iter().filter_map(|row| row.org_id).collect();
        orgs.sort_unstable();
        orgs.dedup();
        let mut rows = if keys.is_empty() { Vec::new() } else { self.shelf_some(&keys).await? };
        for org in orgs {
            rows.push(self.shelf_org(OrgId::from_uuid(org)).await?);
        }
        Ok(ShelfChanges { changes: waiting.iter().map(|row| row.id).collect(), rows })
    }

    async fn shelf_done(&self, changes: &[i64]) -> Result<(), StoreError> {
        sqlx::query!("DELETE FROM shelf_outbox WHERE id = ANY($1)", changes)
            .execute(&self.pool)
            .await
            .named("shelf_done")
            .map(|_done| ())
    }

    async fn shelf_keys(&self, after: u128, limit: u32) -> Result<ShelfPage, StoreError> {
        let ids = sqlx::query_scalar!(
            "SELECT id FROM api_key WHERE id > $1 ORDER BY id LIMIT $2",
            Uuid::from_u128(after),
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("shelf_keys")?;
        let rows = if ids.is_empty() { Vec::new() } else { self.shelf_some(&ids).await? };
        Ok(ShelfPage { rows, next: ids.last().map(Uuid::as_u128) })
    }

    async fn shelf_orgs(&self, after: u128, limit: u32) -> Result<ShelfPage, StoreError> {
        let ids = sqlx::query_scalar!(
            "SELECT DISTINCT org_id FROM provider_key WHERE org_id > $1 ORDER BY org_id LIMIT $2",
            Uuid::from_u128(after),
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("shelf_orgs")?;
        let mut rows = Vec::with_capacity(ids.len());
        for org in &ids {
            rows.push(self.shelf_org(OrgId::from_uuid(*org)).await?);
        }
        Ok(ShelfPage { rows, next: ids.last().map(Uuid::as_u128) })
    }
}

impl PgStore {
    async fn shelf_some(&self, keys: &[Uuid]) -> Result<Vec<ShelfRow>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT k.id, k.hash, k.kind, k.org_id, a.id AS account_id, a.shard, k.workspace_id, k.creator_id,
                      k.name, k.label, k.limit_nano_usd, k.limit_reset, k.include_byok_in_limit, k.disabled,
                      k.expires_at, k.created_at, k.updated_at,
                      ARRAY(SELECT c.cap_id FROM cap c
                            WHERE c.account_id = a.id AND c.owner_id IN (k.creator_id, k.workspace_id, k.org_id)
                            ORDER BY c.cap_id) AS "caps!",
                      k.digest, k.deleted_at IS NOT NULL AS "deleted!", k.shelf_version
               FROM api_key k JOIN account a ON a.org_id = k.org_id WHERE k.id = ANY($1)"#,
            keys
        )
        .fetch_all(&self.pool)
        .await
        .named("keys for the shelf")?;
        rows.into_iter().map(Row::shelved).collect()
    }

    /// The version is read first: a text may be newer than it says, which the next change mends.
    async fn shelf_org(&self, org: OrgId) -> Result<ShelfRow, StoreError> {
        let version = sqlx::query_scalar!("SELECT shelf_version FROM organization WHERE id = $1", org.uuid())
            .fetch_optional(&self.pool)
            .await
            .named("provider keys for the shelf")?;
        let text = shelve_sealed(&self.sealed_keys(org).await?)?;
        Ok(ShelfRow { name: ShelfName::Org(org), version: version.unwrap_or_default(), text })
    }
}
