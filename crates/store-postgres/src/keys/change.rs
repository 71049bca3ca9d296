//! Changing a key: its row, its cap, the audit row and the notices, in one transaction.

use crate::PgStore;
use crate::error::Named as _;
use crate::{limits, notices};
use accounts::api_key::LimitReset;
use accounts::ports::{KeyChange, key_cap};
use kernel::ids::{KeyId, OrgId};
use kernel::{Moment, NanoUsd, StoreError};
use sqlx::{Postgres, Transaction};

/// Applies a change; `false` when there is no such key.
pub(super) async fn apply(
    store: &PgStore,
    org: OrgId,
    hash: &str,
    change: &KeyChange,
    at: Moment,
) -> Result<bool, StoreError> {
    let mut tx = store.pool.begin().await.named("change_key")?;
    let row = sqlx::query!(
        "SELECT id, digest, limit_nano_usd, limit_reset FROM api_key
         WHERE org_id = $1 AND hash = $2 AND deleted_at IS NULL FOR UPDATE",
        org.uuid(),
        hash
    )
    .fetch_optional(&mut *tx)
    .await
    .named("change_key: read")?;
    let Some(row) = row else { return Ok(false) };
    let stored = LimitReset::parse(row.limit_reset.as_deref())
        .ok_or_else(|| StoreError::corrupt(format!("api_key.limit_reset of {}", row.id)))?;
    let limit = change.limit.unwrap_or(row.limit_nano_usd.map(NanoUsd::new));
    let reset = change.limit_reset.unwrap_or(stored);
    sqlx::query!(
        "UPDATE api_key SET name = coalesce($2, name), disabled = coalesce($3, disabled), limit_nano_usd = $4,
                limit_reset = $5, include_byok_in_limit = coalesce($6, include_byok_in_limit), updated_at = $7
         WHERE id = $1",
        row.id,
        change.name,
        change.disabled,
        limit.map(NanoUsd::get),
        reset.as_str(),
        change.include_byok_in_limit,
        at
    )
    .execute(&mut *tx)
    .await
    .named("change_key")?;
    let owner = limits::Owner { cap: key_cap(KeyId::from_uuid(row.id)), id: row.id };
    match limit {
        Some(limit) => limits::put(&mut tx, org, &owner, limit, limits::period(reset), at).await?,
        None => limits::remove(&mut tx, org, &owner).await?,
    }
    audit(&mut tx, &Audit { org, at, action: "key.change", hash }).await?;
    tell(&mut tx, &row.digest).await?;
    tx.commit().await.named("change_key: commit")?;
    Ok(true)
}

/// What the audit log says of a key. The port does not name the actor yet; the organization is known.
pub(super) struct Audit<'a> {
    pub(super) org: OrgId,
    pub(super) at: Moment,
    pub(super) action: &'static str,
    pub(super) hash: &'a str,
}

pub(super) async fn audit(tx: &mut Transaction<'_, Postgres>, entry: &Audit<'_>) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO audit_log (at, actor, org_id, action, subject, detail) VALUES ($1, 'organization', $2, $3, $4, '{}')",
        entry.at,
        entry.org.uuid(),
        entry.action,
        entry.hash
    )
    .execute(&mut **tx)
    .await
    .named("audit of a key")?;
    Ok(())
}

/// Tells every process to forget the key of this digest.
pub(super) async fn tell(tx: &mut Transaction<'_, Postgres>, digest: &[u8]) -> Result<(), StoreError> {
    sqlx::query!("SELECT pg_notify('farebox_keys', $1)", notices::hex(digest))
        .execute(&mut **tx)
        .await
        .named("notice of a key")?;
    Ok(())
}
