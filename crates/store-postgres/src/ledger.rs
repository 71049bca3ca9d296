//! What the engine learns from the ledger: balances, caps, credits and epochs.

use crate::PgStore;
use crate::convert::{nano, shard};
use crate::error::Named as _;
use crate::states::{caps_of, snapshot};
use async_trait::async_trait;
use billing::engine::{AccountState, Cap, CapChange, CapId, CreditEntry, HoldKey};
use billing::ledger::Ledger;
use kernel::ids::AccountId;
use kernel::{AccountRef, Moment, StoreError};

#[async_trait]
impl Ledger for PgStore {
    async fn account_state(
        &self,
        account: AccountId,
        kept: &[HoldKey],
        now: Moment,
    ) -> Result<Option<AccountState>, StoreError> {
        Ok(self.states(&[account], kept, now).await?.pop())
    }

    async fn cap(&self, account: AccountId, cap: &CapId, now: Moment) -> Result<Option<Cap>, StoreError> {
        let mut tx = self.pool.begin().await.named("cap")?;
        snapshot(&mut tx).await?;
        let mut caps = caps_of(&mut tx, &[account.uuid()], Some(&cap.0), now).await?;
        tx.commit().await.named("cap: commit")?;
        Ok(caps.remove(&account.uuid()).and_then(|mut caps| caps.pop()))
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
}
