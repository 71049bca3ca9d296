//! What the engine learns from the ledger: balances, caps, credits and epochs.

use crate::PgStore;
use crate::convert::{count, nano, shard};
use crate::error::Named as _;
use crate::ingest::day_of;
use crate::windows::month_id;
use async_trait::async_trait;
use billing::engine::{AccountState, ByokState, Cap, CapChange, CapId, CapPeriod, CreditEntry, HoldKey};
use billing::ledger::Ledger;
use kernel::ids::AccountId;
use kernel::{AccountRef, Moment, StoreError};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

#[async_trait]
impl Ledger for PgStore {
    async fn account_state(
        &self,
        account: AccountId,
        kept: &[HoldKey],
        now: Moment,
    ) -> Result<Option<AccountState>, StoreError> {
        let byok_fee = self.byok_fee(now).await?;
        let mut tx = self.pool.begin().await.named("account_state")?;
        snapshot(&mut tx).await?;
        let month = month_id(now);
        let row = sqlx::query!(
            r#"SELECT a.shard, s.posted_nano_usd, s.credit_seq, s.debit_seq, s.granted_nano_usd, s.frozen,
                      coalesce(b.requests, 0) AS "requests!", coalesce(b.list_price_nano_usd, 0) AS "list_price!"
               FROM account a JOIN account_state s ON s.account_id = a.id
               LEFT JOIN byok_usage b ON b.account_id = a.id AND b.month = $2
               WHERE a.id = $1"#,
            account.uuid(),
            i32::try_from(month).map_err(|_range| StoreError::corrupt("month out of range"))?
        )
        .fetch_optional(&mut *tx)
        .await
        .named("account_state")?;
        let Some(row) = row else { return Ok(None) };
        let caps = caps_of(&mut tx, account.uuid(), None, now).await?;
        let booked = booked_for_good(&mut tx, kept).await?;
        tx.commit().await.named("account_state: commit")?;
        Ok(Some(AccountState {
            account: AccountRef { account, shard: shard(row.shard)? },
            posted: nano(row.posted_nano_usd),
            credit_seq: row.credit_seq,
            debit_seq: row.debit_seq,
            granted: nano(row.granted_nano_usd),
            frozen: row.frozen,
            byok: ByokState {
                allowance: byok_fee.allowance,
                month,
                requests: count("byok_usage.requests", row.requests)?,
                list_price: nano(row.list_price),
            },
            caps,
            booked,
        }))
    }

    async fn cap(&self, account: AccountId, cap: &CapId, now: Moment) -> Result<Option<Cap>, StoreError> {
        let mut tx = self.pool.begin().await.named("cap")?;
        snapshot(&mut tx).await?;
        let mut caps = caps_of(&mut tx, account.uuid(), Some(&cap.0), now).await?;
        tx.commit().await.named("cap: commit")?;
        Ok(caps.pop())
    }

    async fn credits_after(
        &self,
        account: AccountRef,
        seq: i64,
        limit: u32,
    ) -> Result<Vec<CreditEntry>, StoreError> {
        let rows = sqlx::query!(
            "SELECT seq, delta_nano_usd, is_grant, cap_changes FROM credit_outbox
             WHERE account_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
            account.account.uuid(),
            seq,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("credits_after")?;
        rows.into_iter()
            .map(|row| {
                let caps: Vec<CapChange> = serde_json::from_value(row.cap_changes).map_err(|fault| {
                    StoreError::corrupt(format!(
                        "credit_outbox.cap_changes of {}, {}: {fault}",
                        account.account, row.seq
                    ))
                })?;
                let (seq, delta, is_grant) = (row.seq, nano(row.delta_nano_usd), row.is_grant);
                Ok(CreditEntry { account, seq, delta, is_grant, caps })
            })
            .collect()
    }

    async fn unsent_credits(&self, limit: u32) -> Result<Vec<(AccountRef, i64)>, StoreError> {
        let rows = sqlx::query!(
            "SELECT s.account_id, a.shard, s.engine_credit_seq
             FROM account_state s JOIN account a ON a.id = s.account_id
             WHERE s.engine_credit_seq < s.credit_seq ORDER BY s.account_id LIMIT $1",
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("unsent_credits")?;
        rows.into_iter()
            .map(|row| {
                let account =
                    AccountRef { account: AccountId::from_uuid(row.account_id), shard: shard(row.shard)? };
                Ok((account, row.engine_credit_seq))
            })
            .collect()
    }

    async fn acknowledge_credits(&self, account: AccountId, seq: i64) -> Result<(), StoreError> {
        // Set, not raised: an engine that has lost credits says so by a lower number.
        sqlx::query!(
            "UPDATE account_state SET engine_credit_seq = least($2, credit_seq)
             WHERE account_id = $1 AND engine_credit_seq <> least($2, credit_seq)",
            account.uuid(),
            seq
        )
        .execute(&self.pool)
        .await
        .named("acknowledge_credits")?;
        Ok(())
    }

    async fn book_late(&self, entry: &billing::engine::OutboxEntry) -> Result<(), StoreError> {
        PgStore::book_late(self, entry).await.map(|_done| ())
    }

    async fn epochs(&self) -> Result<Vec<(u8, i64)>, StoreError> {
        let rows = sqlx::query!("SELECT shard, epoch FROM shard_epoch ORDER BY shard")
            .fetch_all(&self.pool)
            .await
            .named("epochs")?;
        rows.into_iter().map(|row| Ok((shard(row.shard)?, row.epoch))).collect()
    }

    async fn next_epochs(&self, shards: &[u8], redis_run_id: &str) -> Result<Vec<(u8, i64)>, StoreError> {
        let mut tx = self.pool.begin().await.named("next_epochs")?;
        // A batch that was read under the old epoch must not move the new cursor: its token ends here. The
        // lease comes before the shards, in the same order as in ingest.
        sqlx::query!("UPDATE ingest_lease SET token = token + 1")
            .execute(&mut *tx)
            .await
            .named("next_epochs")?;
        let mut opened = Vec::with_capacity(shards.len());
        for shard in shards {
            opened.push((*shard, next_epoch(&mut tx, *shard, redis_run_id, self.clock.now()).await?));
        }
        tx.commit().await.named("next_epochs: commit")?;
        kernel::crash::point("epochs.raised");
        Ok(opened)
    }
}

async fn next_epoch(
    tx: &mut Transaction<'_, Postgres>,
    shard: u8,
    redis_run_id: &str,
    at: Moment,
) -> Result<i64, StoreError> {
    let epoch = sqlx::query_scalar!(
        "INSERT INTO shard_epoch (shard, epoch, authority, redis_run_id, opened_at) VALUES ($1, 1, 'redis', $2, $3)
             ON CONFLICT (shard) DO UPDATE SET epoch = shard_epoch.epoch + 1, authority = 'redis',
                 redis_run_id = EXCLUDED.redis_run_id, opened_at = EXCLUDED.opened_at
             RETURNING epoch",
        i16::from(shard),
        redis_run_id,
        at
    )
    .fetch_one(&mut **tx)
    .await
    .named("next_epochs")?;
    sqlx::query!(
        "INSERT INTO ingest_cursor (shard, stream_ms, stream_seq) VALUES ($1, 0, 0)
             ON CONFLICT (shard) DO UPDATE SET stream_ms = 0, stream_seq = 0",
        i16::from(shard)
    )
    .execute(&mut **tx)
    .await
    .named("next_epochs: cursor")?;
    Ok(epoch)
}

/// Those of the holds whose generation has its final booking: a settlement, not a sweep or the release of
/// another hold of it.
async fn booked_for_good(
    tx: &mut Transaction<'_, Postgres>,
    kept: &[HoldKey],
) -> Result<Vec<HoldKey>, StoreError> {
    let days = kept.iter().map(|hold| day_of(hold.generation.uuid()));
    // First and last day leave only their partitions to be searched, and each by its key.
    let (Some(first), Some(last)) = (days.clone().min(), days.max()) else { return Ok(Vec::new()) };
    let ids: Vec<Uuid> = kept.iter().map(|hold| hold.generation.uuid()).collect();
    let booked = sqlx::query_scalar!(
        "SELECT id FROM generation WHERE id = ANY($1) AND day BETWEEN $2 AND $3 AND closing = 2",
        &ids,
        first,
        last
    )
    .fetch_all(&mut **tx)
    .await
    .named("account_state: booked")?;
    Ok(kept.iter().filter(|hold| booked.contains(&hold.generation.uuid())).copied().collect())
}

/// Makes a transaction read one snapshot and write nothing. Must be its first statement.
pub(crate) async fn snapshot(tx: &mut Transaction<'_, Postgres>) -> Result<(), StoreError> {
    sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .execute(&mut **tx)
        .await
        .named("snapshot")?;
    Ok(())
}

/// The caps of an account, or one of them, with their use in the window of `now`.
pub(crate) async fn caps_of(
    tx: &mut Transaction<'_, Postgres>,
    account: Uuid,
    only: Option<&str>,
    now: Moment,
) -> Result<Vec<Cap>, StoreError> {
    let windows = Windows::of(now);
    let rows = sqlx::query!(
        r#"SELECT c.cap_id, c.limit_nano_usd, c.period, w.id AS "window_id!",
                  coalesce(u.used_nano_usd, 0) AS "used!"
           FROM cap c
           JOIN unnest($3::text[], $4::bigint[]) AS w (period, id) ON w.period = c.period
           LEFT JOIN cap_usage u ON u.account_id = c.account_id AND u.cap_id = c.cap_id AND u.window_id = w.id
           WHERE c.account_id = $1 AND ($2::text IS NULL OR c.cap_id = $2)
           ORDER BY c.cap_id"#,
        account,
        only,
        &windows.codes,
        &windows.ids
    )
    .fetch_all(&mut **tx)
    .await
    .named("caps")?;
    rows.into_iter()
        .map(|row| {
            let period = CapPeriod::from_code(&row.period).ok_or_else(|| {
                StoreError::corrupt(format!("cap.period of {}: {}", row.cap_id, row.period))
            })?;
            Ok(Cap {
                id: CapId(row.cap_id),
                limit: nano(row.limit_nano_usd),
                period,
                window: row.window_id,
                used: nano(row.used),
            })
        })
        .collect()
}

/// The current window of each kind of period, as two columns.
pub(crate) struct Windows {
    pub(crate) codes: Vec<String>,
    pub(crate) ids: Vec<i64>,
}

impl Windows {
    pub(crate) fn of(now: Moment) -> Self {
        let periods = [CapPeriod::Total, CapPeriod::Daily, CapPeriod::Weekly, CapPeriod::Monthly];
        Self {
            codes: periods.iter().map(|period| period.code().to_owned()).collect(),
            ids: periods.iter().map(|period| period.window(now)).collect(),
        }
    }
}
