//! Epochs: born, sealed and published. What is loaded in them is read in `states`.

use crate::PgStore;
use crate::convert::shard;
use crate::error::Named as _;
use async_trait::async_trait;
use billing::engine::{AccountState, HoldKey};
use billing::epochs::{Authority, EpochLedger, ShardLife};
use kernel::ids::AccountId;
use kernel::{AccountRef, Moment, StoreError};
use uuid::Uuid;

#[async_trait]
impl EpochLedger for PgStore {
    async fn shard_lives(&self) -> Result<Vec<ShardLife>, StoreError> {
        let rows = sqlx::query!(
            "SELECT shard, epoch, authority, redis_run_id, served_by, filled FROM shard_epoch ORDER BY shard"
        )
        .fetch_all(&self.pool)
        .await
        .named("shard_lives")?;
        rows.into_iter()
            .map(|row| {
                let authority = if row.authority == "redis" { Authority::Engine } else { Authority::Sealed };
                let shard = shard(row.shard)?;
                let (epoch, node, served_by) = (row.epoch, row.redis_run_id, row.served_by);
                Ok(ShardLife { shard, epoch, authority, node, served_by, filled: row.filled })
            })
            .collect()
    }

    async fn seal_epochs(&self, shards: &[u8], node: &str) -> Result<Vec<(u8, i64)>, StoreError> {
        let mut shards: Vec<i16> = shards.iter().copied().map(i16::from).collect();
        shards.sort_unstable();
        let mut tx = self.pool.begin().await.named("seal_epochs")?;
        // A batch that was read under the old epoch must not move the new cursor: its token ends here. The
        // lease comes before the shards, in the same order as in ingest.
        sqlx::query!("UPDATE ingest_lease SET token = token + 1")
            .execute(&mut *tx)
            .await
            .named("seal_epochs: token")?;
        let rows = sqlx::query!(
            "INSERT INTO shard_epoch (shard, epoch, authority, redis_run_id, opened_at)
             SELECT n.shard, 1, 'sealed', $2, $3 FROM unnest($1::smallint[]) AS n (shard) ORDER BY n.shard
             ON CONFLICT (shard) DO UPDATE SET epoch = shard_epoch.epoch + 1, authority = 'sealed', filled = false,
                 redis_run_id = EXCLUDED.redis_run_id, opened_at = EXCLUDED.opened_at
             RETURNING shard, epoch",
            &shards,
            node,
            self.clock.now()
        )
        .fetch_all(&mut *tx)
        .await
        .named("seal_epochs")?;
        sqlx::query!(
            "INSERT INTO ingest_cursor (shard, stream_ms, stream_seq)
             SELECT n.shard, 0, 0 FROM unnest($1::smallint[]) AS n (shard) ORDER BY n.shard
             ON CONFLICT (shard) DO UPDATE SET stream_ms = 0, stream_seq = 0",
            &shards
        )
        .execute(&mut *tx)
        .await
        .named("seal_epochs: cursors")?;
        told(&mut tx).await?;
        tx.commit().await.named("seal_epochs: commit")?;
        kernel::crash::point("epochs.raised");
        let mut sealed = Vec::with_capacity(rows.len());
        for row in rows {
            sealed.push((shard(row.shard)?, row.epoch));
        }
        sealed.sort_unstable();
        Ok(sealed)
    }

    async fn publish_epochs(&self, epochs: &[(u8, i64)]) -> Result<Vec<u8>, StoreError> {
        let (shards, numbers) = columns(epochs);
        let mut tx = self.pool.begin().await.named("publish_epochs")?;
        let rows = sqlx::query_scalar!(
            "UPDATE shard_epoch e SET authority = 'redis', served_by = e.redis_run_id
             FROM unnest($1::smallint[], $2::bigint[]) AS n (shard, epoch)
             WHERE e.shard = n.shard AND e.epoch = n.epoch AND e.authority = 'sealed' RETURNING e.shard",
            &shards,
            &numbers
        )
        .fetch_all(&mut *tx)
        .await
        .named("publish_epochs")?;
        told(&mut tx).await?;
        tx.commit().await.named("publish_epochs: commit")?;
        let mut published = rows.into_iter().map(shard).collect::<Result<Vec<u8>, StoreError>>()?;
        published.sort_unstable();
        Ok(published)
    }

    async fn mark_filled(&self, epochs: &[(u8, i64)]) -> Result<(), StoreError> {
        let (shards, numbers) = columns(epochs);
        sqlx::query!(
            "UPDATE shard_epoch e SET filled = true FROM unnest($1::smallint[], $2::bigint[]) AS n (shard, epoch)
             WHERE e.shard = n.shard AND e.epoch = n.epoch",
            &shards,
            &numbers
        )
        .execute(&self.pool)
        .await
        .named("mark_filled")?;
        Ok(())
    }

    async fn account_states(
        &self,
        accounts: &[AccountId],
        kept: &[HoldKey],
        now: Moment,
    ) -> Result<Vec<AccountState>, StoreError> {
        self.states(accounts, kept, now).await
    }

    async fn recent_accounts(&self, since: Moment, limit: u32) -> Result<Vec<AccountRef>, StoreError> {
        let rows = sqlx::query!(
            "SELECT a.id, a.shard
             FROM (SELECT k.org_id, max(u.last_used_at) AS last FROM api_key_use u JOIN api_key k ON k.id = u.key_id
                   WHERE u.last_used_at >= $1 GROUP BY k.org_id) hot
             JOIN account a ON a.org_id = hot.org_id ORDER BY hot.last DESC, a.id LIMIT $2",
            since,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("recent_accounts")?;
        rows.into_iter().map(|row| account(row.id, row.shard)).collect()
    }

    async fn accounts_after(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountRef>, StoreError> {
        let rows = sqlx::query!(
            "SELECT id, shard FROM account WHERE id > $1 ORDER BY id LIMIT $2",
            after.map_or(Uuid::nil(), AccountId::uuid),
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("accounts_after")?;
        rows.into_iter().map(|row| account(row.id, row.shard)).collect()
    }
}

/// Every process looks at the epochs at once.
async fn told(tx: &mut sqlx::Transaction<'_, sqlx::Postgres>) -> Result<(), StoreError> {
    sqlx::query!("SELECT pg_notify('farebox_epochs', '')")
        .execute(&mut **tx)
        .await
        .named("epochs: notice")?;
    Ok(())
}

fn account(id: Uuid, of: i16) -> Result<AccountRef, StoreError> {
    Ok(AccountRef { account: AccountId::from_uuid(id), shard: shard(of)? })
}

fn columns(epochs: &[(u8, i64)]) -> (Vec<i16>, Vec<i64>) {
    epochs.iter().map(|(shard, epoch)| (i16::from(*shard), *epoch)).unzip()
}
