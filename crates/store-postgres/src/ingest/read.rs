//! What a batch touches, read and locked: shards with cursors, accounts, and generations booked before.

use super::day_of;
use super::row::{Closing, Known};
use crate::error::Named as _;
use billing::engine::OutboxEntry;
use kernel::StoreError;
use sqlx::{Postgres, Transaction};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

/// The shards of a batch: epoch, and the cursor as it moves.
pub(super) struct Shards {
    at: BTreeMap<i16, At>,
}

struct At {
    epoch: i64,
    cursor: (i64, i64),
    moved: bool,
}

impl Shards {
    pub(super) async fn lock(
        tx: &mut Transaction<'_, Postgres>,
        batch: &[OutboxEntry],
    ) -> Result<Self, StoreError> {
        let shards: BTreeSet<i16> = batch.iter().map(|entry| i16::from(entry.shard)).collect();
        let shards: Vec<i16> = shards.into_iter().collect();
        let rows = sqlx::query!(
            "SELECT e.shard, e.epoch, c.stream_ms, c.stream_seq
             FROM shard_epoch e JOIN ingest_cursor c ON c.shard = e.shard
             WHERE e.shard = ANY($1) ORDER BY e.shard FOR UPDATE",
            &shards
        )
        .fetch_all(&mut **tx)
        .await
        .named("ingest: cursors")?;
        let at = rows.into_iter().map(|row| {
            let at = At { epoch: row.epoch, cursor: (row.stream_ms, row.stream_seq), moved: false };
            (row.shard, at)
        });
        Ok(Self { at: at.collect() })
    }

    /// Moves the cursor over an entry; `false` when the cursor is past it already.
    pub(super) fn pass(&mut self, entry: &OutboxEntry) -> Result<bool, StoreError> {
        let id = stream_id(&entry.id)?;
        let at = self.at.get_mut(&i16::from(entry.shard)).ok_or_else(|| no_epoch(entry))?;
        if entry.epoch > at.epoch {
            let text = format!(
                "shard {}: entry {} of epoch {} is ahead of epoch {}",
                entry.shard, entry.id, entry.epoch, at.epoch
            );
            return Err(StoreError::corrupt(text));
        }
        if id <= at.cursor {
            return Ok(false);
        }
        at.cursor = id;
        at.moved = true;
        Ok(true)
    }

    pub(super) fn epoch(&self, entry: &OutboxEntry) -> Result<i64, StoreError> {
        self.at.get(&i16::from(entry.shard)).map(|at| at.epoch).ok_or_else(|| no_epoch(entry))
    }

    pub(super) async fn advance(&self, tx: &mut Transaction<'_, Postgres>) -> Result<(), StoreError> {
        let moved: Vec<(&i16, &At)> = self.at.iter().filter(|(_, at)| at.moved).collect();
        let shards: Vec<i16> = moved.iter().map(|(shard, _)| **shard).collect();
        let ms: Vec<i64> = moved.iter().map(|(_, at)| at.cursor.0).collect();
        let seq: Vec<i64> = moved.iter().map(|(_, at)| at.cursor.1).collect();
        sqlx::query!(
            "UPDATE ingest_cursor c SET stream_ms = n.ms, stream_seq = n.seq
             FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS n (shard, ms, seq) WHERE c.shard = n.shard",
            &shards,
            &ms,
            &seq
        )
        .execute(&mut **tx)
        .await
        .named("ingest: advance")?;
        Ok(())
    }
}

fn no_epoch(entry: &OutboxEntry) -> StoreError {
    StoreError::corrupt(format!("shard_epoch: shard {} has entries but no epoch", entry.shard))
}

/// `milliseconds-sequence`, as Redis orders its streams.
fn stream_id(text: &str) -> Result<(i64, i64), StoreError> {
    let parts = text.split_once('-').and_then(|(ms, seq)| Some((ms.parse().ok()?, seq.parse().ok()?)));
    parts.ok_or_else(|| StoreError::corrupt(format!("outbox: {text} is not a stream id")))
}

/// A customer's account as the batch changes it.
pub(super) struct Account {
    pub(super) org: Uuid,
    pub(super) owner: Uuid,
    pub(super) workspace: Uuid,
    pub(super) posted: i64,
    pub(super) credit_seq: i64,
    pub(super) debit_seq: i64,
    pub(super) touched: bool,
}

/// Locks the accounts of the entries, in the order of their ids.
pub(super) async fn accounts(
    tx: &mut Transaction<'_, Postgres>,
    entries: &[&OutboxEntry],
) -> Result<BTreeMap<Uuid, Account>, StoreError> {
    let ids: BTreeSet<Uuid> = entries.iter().map(|entry| entry.account.uuid()).collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let rows = sqlx::query!(
        r#"SELECT s.account_id, a.org_id, s.posted_nano_usd, s.credit_seq, s.debit_seq,
                  coalesce((SELECT m.id FROM member m WHERE m.org_id = a.org_id AND m.role = 'owner'
                            ORDER BY m.joined_at, m.id LIMIT 1), '00000000-0000-0000-0000-000000000000') AS "owner!",
                  coalesce((SELECT w.id FROM workspace w WHERE w.org_id = a.org_id AND w.is_default),
                           '00000000-0000-0000-0000-000000000000') AS "workspace!"
           FROM account_state s JOIN account a ON a.id = s.account_id
           WHERE s.account_id = ANY($1) ORDER BY s.account_id FOR UPDATE OF s"#,
        &ids
    )
    .fetch_all(&mut **tx)
    .await
    .named("ingest: accounts")?;
    let accounts = rows.into_iter().map(|row| {
        let account = Account {
            org: row.org_id,
            owner: row.owner,
            workspace: row.workspace,
            posted: row.posted_nano_usd,
            credit_seq: row.credit_seq,
            debit_seq: row.debit_seq,
            touched: false,
        };
        (row.account_id, account)
    });
    Ok(accounts.collect())
}

/// Generations of the entries that are booked already. Read after the accounts are locked.
pub(super) async fn known(
    tx: &mut Transaction<'_, Postgres>,
    entries: &[&OutboxEntry],
) -> Result<HashMap<Uuid, Known>, StoreError> {
    let ids: Vec<Uuid> = entries.iter().map(|entry| entry.key.generation.uuid()).collect();
    // First and last day leave only their partitions to be searched, and each by its key.
    let days = ids.iter().map(|id| day_of(*id));
    let (Some(first), Some(last)) = (days.clone().min(), days.max()) else { return Ok(HashMap::new()) };
    let rows = sqlx::query!(
        "SELECT g.id, g.day, g.org_id, g.key_id, g.member_id, g.model, g.provider, g.prompt_tokens,
                g.completion_tokens, g.own_key, g.list_price_nano_usd, g.amount_nano_usd, g.provider_cost_nano_usd,
                g.charge_nano_usd, g.closing, g.funding, g.postings, g.ticket, g.byok_month
         FROM generation g WHERE g.id = ANY($1) AND g.day BETWEEN $2 AND $3",
        &ids,
        first,
        last
    )
    .fetch_all(&mut **tx)
    .await
    .named("ingest: known")?;
    let known = rows.into_iter().map(|row| {
        let known = Known {
            day: row.day,
            org: row.org_id,
            key: row.key_id,
            member: row.member_id,
            model: row.model,
            provider: row.provider,
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            own_key: row.own_key,
            list_price: row.list_price_nano_usd,
            amount: row.amount_nano_usd,
            provider_cost: row.provider_cost_nano_usd,
            charge: row.charge_nano_usd,
            closing: Closing::from_column(row.closing),
            funding: row.funding,
            postings: row.postings,
            ticket: row.ticket,
            byok_month: row.byok_month,
        };
        (row.id, known)
    });
    Ok(known.collect())
}

#[cfg(test)]
mod tests {
    use super::stream_id;

    #[test]
    fn stream_ids_are_ordered_as_numbers() {
        assert!(stream_id("9-1").unwrap() < stream_id("10-0").unwrap());
        assert!(stream_id("10-9").unwrap() < stream_id("10-10").unwrap());
        for bad in ["", "1", "1-", "-1", "a-b", "1-2-3"] {
            assert!(stream_id(bad).is_err(), "{bad}");
        }
    }
}
