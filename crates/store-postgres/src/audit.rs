//! The proof of the books: the invariants that PostgreSQL alone can show, all over one snapshot.
//!
//! Each file asks one kind of question; each question counts every breach and names up to ten.

mod money_back;
mod movements;
mod prices;
mod purchases;
mod totals;
mod usage;

use crate::PgStore;
use crate::convert::nano;
use crate::error::Named as _;
use crate::states::{Windows, snapshot};
use async_trait::async_trait;
use billing::engine::{Cap, CapId, CapPeriod};
use billing::verify::{Finding, LedgerAudit, PostedAccount};
use kernel::StoreError;
use kernel::ids::AccountId;
use sqlx::{Postgres, Transaction};
use std::collections::HashMap;
use uuid::Uuid;

type Tx<'a, 'c> = &'a mut Transaction<'c, Postgres>;

/// How many breaches are named.
const NAMED: usize = 10;

/// A named breach, with the number of all breaches of its rule.
pub(crate) struct Breach {
    pub(crate) line: String,
    pub(crate) total: i64,
}

/// A rule that is proved, and how many rows were looked at.
struct Rule {
    id: &'static str,
    rule: &'static str,
    checked: i64,
}

impl Rule {
    /// From breaches that a query has counted.
    fn verdict(self, breaches: Vec<Breach>) -> Finding {
        let total = breaches.first().map_or(0, |breach| breach.total);
        let lines = breaches.into_iter().map(|breach| breach.line).collect();
        self.finding(u64::try_from(total).unwrap_or(u64::MAX), lines)
    }

    fn finding(self, breach_count: u64, lines: Vec<String>) -> Finding {
        let checked = u64::try_from(self.checked).unwrap_or(u64::MAX);
        Finding { breach_count, ..Finding::new(self.id, self.rule, checked, lines) }
    }
}

/// Collects breaches that the program finds itself: all counted, the first few named.
#[derive(Default)]
struct Breaches {
    count: u64,
    lines: Vec<String>,
}

impl Breaches {
    fn add(&mut self, line: String) {
        self.count += 1;
        if self.lines.len() < NAMED {
            self.lines.push(line);
        }
    }

    /// Breaches that a query has counted and named in part.
    fn add_all(&mut self, found: Vec<Breach>) {
        let total = found.first().map_or(0, |breach| u64::try_from(breach.total).unwrap_or(u64::MAX));
        let counted = self.count.saturating_add(total);
        found.into_iter().for_each(|breach| self.add(breach.line));
        self.count = counted;
    }
}

#[async_trait]
impl LedgerAudit for PgStore {
    async fn check(&self) -> Result<Vec<Finding>, StoreError> {
        let mut tx = self.pool.begin().await.named("audit")?;
        snapshot(&mut tx).await?;
        // A proof over all rows takes its time; both settings end with the transaction.
        sqlx::query!(
            "SELECT set_config('statement_timeout', '0', true) AS timeout, set_config('work_mem', '64MB', true) AS memory"
        )
        .fetch_one(&mut *tx)
        .await
        .named("audit: limits")?;
        let mut findings = movements::check(&mut tx).await?;
        findings.push(usage::own_keys(&mut tx).await?);
        findings.push(purchases::check(&mut tx).await?);
        findings.push(usage::collected(&mut tx).await?);
        findings.push(prices::check(&mut tx).await?);
        findings.push(totals::epochs(&mut tx).await?);
        findings.push(totals::liability(&mut tx).await?);
        tx.commit().await.named("audit: commit")?;
        Ok(findings)
    }

    async fn accounts(&self, shard: u8) -> Result<Vec<PostedAccount>, StoreError> {
        let mut tx = self.pool.begin().await.named("audit: accounts")?;
        snapshot(&mut tx).await?;
        let rows = sqlx::query!(
            "SELECT s.account_id, s.posted_nano_usd, s.credit_seq, s.debit_seq
             FROM account a JOIN account_state s ON s.account_id = a.id WHERE a.shard = $1 ORDER BY a.id",
            i16::from(shard)
        )
        .fetch_all(&mut *tx)
        .await
        .named("audit: accounts")?;
        let mut caps = self.caps_of_shard(&mut tx, shard).await?;
        tx.commit().await.named("audit: accounts")?;
        let accounts = rows.into_iter().map(|row| PostedAccount {
            account: AccountId::from_uuid(row.account_id),
            posted: nano(row.posted_nano_usd),
            credit_seq: row.credit_seq,
            debit_seq: row.debit_seq,
            caps: caps.remove(&row.account_id).unwrap_or_default(),
        });
        Ok(accounts.collect())
    }
}

impl PgStore {
    async fn caps_of_shard(&self, tx: Tx<'_, '_>, shard: u8) -> Result<HashMap<Uuid, Vec<Cap>>, StoreError> {
        let windows = Windows::of(self.clock.now());
        let rows = sqlx::query!(
            r#"SELECT c.account_id, c.cap_id, c.limit_nano_usd, c.period, w.id AS "window_id!",
                      coalesce(u.used_nano_usd, 0) AS "used!"
               FROM account a JOIN cap c ON c.account_id = a.id
               JOIN unnest($2::text[], $3::bigint[]) AS w (period, id) ON w.period = c.period
               LEFT JOIN cap_usage u ON u.account_id = c.account_id AND u.cap_id = c.cap_id AND u.window_id = w.id
               WHERE a.shard = $1 ORDER BY c.cap_id"#,
            i16::from(shard),
            &windows.codes,
            &windows.ids
        )
        .fetch_all(&mut **tx)
        .await
        .named("audit: caps")?;
        let mut caps: HashMap<Uuid, Vec<Cap>> = HashMap::new();
        for row in rows {
            let period = CapPeriod::from_code(&row.period).ok_or_else(|| {
                StoreError::corrupt(format!("cap.period of {}: {}", row.cap_id, row.period))
            })?;
            caps.entry(row.account_id).or_default().push(Cap {
                id: CapId(row.cap_id),
                limit: nano(row.limit_nano_usd),
                period,
                window: row.window_id,
                used: nano(row.used),
            });
        }
        Ok(caps)
    }
}
