//! The ingest writer: entries of the engine's outbox become generations, movements and balances.
//!
//! One transaction a batch, with a constant number of statements: read what the batch touches, decide in
//! memory by the booking rule (`book`), write everything in bulk (`write`).

mod book;
mod read;
mod row;
mod write;

use crate::PgStore;
use crate::error::Named as _;
use async_trait::async_trait;
use billing::engine::OutboxEntry;
use billing::ledger::{Cursor, IngestLedger, Ingested};
use book::{Book, Paid};
use chrono::NaiveDate;
use kernel::ids::GenerationId;
use kernel::{StoreError, crash};
use read::Shards;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

#[async_trait]
impl IngestLedger for PgStore {
    async fn lease(&self, owner: &str, seconds: u32) -> Result<Option<i64>, StoreError> {
        // The server's clock, because it is the one that all writers share.
        sqlx::query_scalar!(
            "UPDATE ingest_lease SET owner = $1, until = clock_timestamp() + make_interval(secs => $2),
                    token = CASE WHEN owner = $1 AND until > clock_timestamp() THEN token ELSE token + 1 END
             WHERE owner = $1 OR until <= clock_timestamp() RETURNING token",
            owner,
            f64::from(seconds)
        )
        .fetch_optional(&self.pool)
        .await
        .named("lease")
    }

    async fn cursors(&self) -> Result<Vec<Cursor>, StoreError> {
        let rows = sqlx::query!(
            "SELECT e.shard, e.epoch, e.redis_run_id, c.stream_ms, c.stream_seq
             FROM ingest_cursor c JOIN shard_epoch e ON e.shard = c.shard ORDER BY e.shard"
        )
        .fetch_all(&self.pool)
        .await
        .named("cursors")?;
        rows.into_iter()
            .map(|row| {
                let shard = crate::convert::shard(row.shard)?;
                let id = format!("{}-{}", row.stream_ms, row.stream_seq);
                Ok(Cursor { shard, epoch: row.epoch, node: row.redis_run_id, id })
            })
            .collect()
    }

    /// The token must have been taken before the batch was read: opening an epoch ends it.
    async fn ingest(&self, lease: i64, batch: &[OutboxEntry]) -> Result<Ingested, StoreError> {
        if batch.is_empty() {
            return Ok(Ingested::default());
        }
        self.prepare_days(batch.iter().map(|entry| day_of(entry.key.generation.uuid())).collect()).await;
        let mut tx = self.pool.begin().await.named("ingest")?;
        if !holds_lease(&mut tx, lease).await? {
            return Ok(Ingested { lost_lease: true, ..Ingested::default() });
        }
        let mut shards = Shards::lock(&mut tx, batch).await?;
        let mut fresh = Vec::with_capacity(batch.len());
        for entry in batch {
            if shards.pass(entry)? {
                fresh.push(entry);
            }
        }
        let mut book = Book::open(&mut tx, &fresh, self.clock.now()).await?;
        for entry in &fresh {
            // An older epoch's debit is unknown to the balance that the engine now has.
            let paid = if shards.epoch(entry)? == entry.epoch { Paid::InEngine } else { Paid::Nowhere };
            book.enter(entry, paid)?;
        }
        let skipped =
            crate::convert::count("batch", i64::try_from(batch.len() - fresh.len()).unwrap_or(i64::MAX))?;
        let mut done = book.write(&mut tx).await?;
        done.duplicates += skipped;
        shards.advance(&mut tx).await?;
        crash::point("ingest.before_commit");
        tx.commit().await.named("ingest: commit")?;
        Ok(done)
    }
}

impl PgStore {
    /// Books a settlement that the engine no longer takes (swept, or its hold is unknown) straight into the
    /// ledger; the engine learns the difference as a correction. Twice is once.
    ///
    /// # Errors
    /// `Conflict` when the entry's epoch is not the shard's or the shard is not open: ask the engine again.
    pub async fn book_late(&self, entry: &OutboxEntry) -> Result<Ingested, StoreError> {
        self.prepare_days(std::iter::once(day_of(entry.key.generation.uuid())).collect()).await;
        let mut tx = self.pool.begin().await.named("book_late")?;
        let open = sqlx::query_scalar!(
            "SELECT epoch FROM shard_epoch WHERE shard = $1 AND authority = 'redis' FOR SHARE",
            i16::from(entry.shard)
        )
        .fetch_optional(&mut *tx)
        .await
        .named("book_late: epoch")?;
        if open != Some(entry.epoch) {
            return Err(StoreError::conflict(format!(
                "book_late: epoch {} of shard {} is over",
                entry.epoch, entry.shard
            )));
        }
        let mut book = Book::open(&mut tx, &[entry], self.clock.now()).await?;
        book.enter(entry, Paid::Nowhere)?;
        let done = book.write(&mut tx).await?;
        crash::point("late.before_commit");
        tx.commit().await.named("book_late: commit")?;
        crash::point("late.committed");
        Ok(done)
    }
}

/// Holds the lease row until the commit, so that nobody takes over in between.
async fn holds_lease(tx: &mut Transaction<'_, Postgres>, token: i64) -> Result<bool, StoreError> {
    let held = sqlx::query_scalar!("SELECT token FROM ingest_lease FOR UPDATE")
        .fetch_one(&mut **tx)
        .await
        .named("ingest: lease")?;
    Ok(held == token)
}

/// The partition day of a generation or purchase: the UTC day in which its id was made.
pub(crate) fn day_of(id: Uuid) -> NaiveDate {
    GenerationId::from_uuid(id).created_at().date_naive()
}
