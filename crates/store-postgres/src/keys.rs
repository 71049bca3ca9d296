//! API keys as their organization manages them. Every change sends a notice with its commit.

mod change;
mod usage;

use crate::PgStore;
use crate::error::Named as _;
use crate::key_directory::KeyRow;
use crate::limits;
use accounts::KeyRecord;
use accounts::ports::{KeyChange, KeyUsage, Keys, NewKey, key_cap};
use async_trait::async_trait;
use kernel::ids::{KeyId, OrgId};
use kernel::{Moment, StoreError};

#[async_trait]
impl Keys for PgStore {
    async fn add_key(&self, key: &NewKey) -> Result<KeyRecord, StoreError> {
        let mut tx = self.pool.begin().await.named("add_key")?;
        let id = KeyId::from_uuid(self.new_id());
        // The joins keep a key from being made in another organization's workspace or name.
        let made = sqlx::query!(
            "INSERT INTO api_key (id, org_id, workspace_id, creator_id, kind, digest, pepper_version, hash, name,
                                  label, limit_nano_usd, limit_reset, include_byok_in_limit, expires_at, created_at)
             SELECT $1, o.id, w.id, m.id, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15
             FROM organization o
             JOIN workspace w ON w.org_id = o.id AND w.id = $3
             JOIN member m ON m.org_id = o.id AND m.id = $4
             WHERE o.id = $2",
            id.uuid(),
            key.org.uuid(),
            key.workspace.uuid(),
            key.creator.uuid(),
            key.kind.as_str(),
            key.digest.bytes.as_slice(),
            key.digest.pepper_version,
            key.hash,
            key.name,
            key.label,
            key.limit.map(kernel::NanoUsd::get),
            key.limit_reset.as_str(),
            key.include_byok_in_limit,
            key.expires_at,
            key.at
        )
        .execute(&mut *tx)
        .await
        .named("add_key")?;
        if made.rows_affected() != 1 {
            return Err(StoreError::conflict("add_key: workspace or creator is not the organization's"));
        }
        if let Some(limit) = key.limit {
            let owner = limits::Owner { cap: key_cap(id), id: id.uuid() };
            limits::put(&mut tx, key.org, &owner, limit, limits::period(key.limit_reset), key.at).await?;
        }
        let audit = change::Audit { org: key.org, at: key.at, action: "key.create", hash: &key.hash };
        change::audit(&mut tx, &audit).await?;
        change::tell(&mut tx, &key.digest.bytes).await?;
        tx.commit().await.named("add_key: commit")?;
        let row = self.key_row(key.org, &key.hash).await?;
        row.ok_or_else(|| StoreError::conflict("add_key: deleted at once"))?.record()
    }

    async fn keys(
        &self,
        org: OrgId,
        offset: u32,
        limit: u32,
        now: Moment,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        let rows = sqlx::query_as!(
            KeyRow,
            r#"SELECT k.id, k.hash, k.kind, k.org_id, a.id AS account_id, a.shard, k.workspace_id, k.creator_id,
                      k.name, k.label, k.limit_nano_usd, k.limit_reset, k.include_byok_in_limit, k.disabled,
                      k.expires_at, k.created_at, k.updated_at,
                      ARRAY(SELECT c.cap_id FROM cap c
                            WHERE c.account_id = a.id AND c.owner_id IN (k.creator_id, k.workspace_id, k.org_id)
                            ORDER BY c.cap_id) AS "caps!"
               FROM api_key k JOIN account a ON a.org_id = k.org_id
               WHERE k.org_id = $1 AND k.deleted_at IS NULL
               ORDER BY k.id DESC OFFSET $2 LIMIT $3"#,
            org.uuid(),
            i64::from(offset),
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("keys")?;
        let records: Result<Vec<KeyRecord>, StoreError> = rows.into_iter().map(KeyRow::record).collect();
        self.with_usage(records?, now).await
    }

    async fn key(&self, org: OrgId, hash: &str, now: Moment) -> Result<Option<KeyUsage>, StoreError> {
        let Some(row) = self.key_row(org, hash).await? else { return Ok(None) };
        let mut found = self.with_usage(vec![row.record()?], now).await?;
        Ok(found.pop())
    }

    async fn change_key(
        &self,
        org: OrgId,
        hash: &str,
        change: &KeyChange,
        at: Moment,
    ) -> Result<Option<KeyRecord>, StoreError> {
        if !change::apply(self, org, hash, change, at).await? {
            return Ok(None);
        }
        self.key_row(org, hash).await?.map(KeyRow::record).transpose()
    }

    async fn delete_key(&self, org: OrgId, hash: &str, at: Moment) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await.named("delete_key")?;
        let row = sqlx::query!(
            "UPDATE api_key SET deleted_at = $3, updated_at = $3
             WHERE org_id = $1 AND hash = $2 AND deleted_at IS NULL RETURNING digest",
            org.uuid(),
            hash,
            at
        )
        .fetch_optional(&mut *tx)
        .await
        .named("delete_key")?;
        let Some(row) = row else { return Ok(false) };
        change::audit(&mut tx, &change::Audit { org, at, action: "key.delete", hash }).await?;
        change::tell(&mut tx, &row.digest).await?;
        tx.commit().await.named("delete_key: commit")?;
        Ok(true)
    }
}

impl PgStore {
    async fn key_row(&self, org: OrgId, hash: &str) -> Result<Option<KeyRow>, StoreError> {
        sqlx::query_as!(
            KeyRow,
            r#"SELECT k.id, k.hash, k.kind, k.org_id, a.id AS account_id, a.shard, k.workspace_id, k.creator_id,
                      k.name, k.label, k.limit_nano_usd, k.limit_reset, k.include_byok_in_limit, k.disabled,
                      k.expires_at, k.created_at, k.updated_at,
                      ARRAY(SELECT c.cap_id FROM cap c
                            WHERE c.account_id = a.id AND c.owner_id IN (k.creator_id, k.workspace_id, k.org_id)
                            ORDER BY c.cap_id) AS "caps!"
               FROM api_key k JOIN account a ON a.org_id = k.org_id
               WHERE k.org_id = $1 AND k.hash = $2 AND k.deleted_at IS NULL"#,
            org.uuid(),
            hash
        )
        .fetch_optional(&self.pool)
        .await
        .named("key")
    }
}
