//! What the engine must know of accounts, read from one snapshot: posted balance and sequences, caps with their
//! use, own-key counters, and which holds are booked for good.
//!
//! One snapshot, because the engine is sent everything after `credit_seq` later: a balance of one moment with the
//! sequence of another would lose a credit or count it twice.

use crate::PgStore;
use crate::convert::{count, nano, shard};
use crate::error::Named as _;
use crate::ingest::day_of;
use crate::windows::month_id;
use billing::engine::{AccountState, ByokState, Cap, CapId, CapPeriod, HoldKey};
use kernel::ids::AccountId;
use kernel::{AccountRef, Moment, StoreError};
use sqlx::{Postgres, Transaction};
use std::collections::HashMap;
use uuid::Uuid;

type Tx<'a, 'c> = &'a mut Transaction<'c, Postgres>;

impl PgStore {
    /// States of the accounts that exist, each with those of the kept holds whose generation is booked for good.
    pub(crate) async fn states(
        &self,
        accounts: &[AccountId],
        kept: &[HoldKey],
        now: Moment,
    ) -> Result<Vec<AccountState>, StoreError> {
        let byok_fee = self.byok_fee(now).await?;
        let ids: Vec<Uuid> = accounts.iter().map(|account| account.uuid()).collect();
        let mut tx = self.pool.begin().await.named("account_states")?;
        snapshot(&mut tx).await?;
        let month = month_id(now);
        let rows = sqlx::query!(
            r#"SELECT a.id, a.shard, s.posted_nano_usd, s.credit_seq, s.debit_seq, s.granted_nano_usd, s.frozen,
                      coalesce(b.requests, 0) AS "requests!", coalesce(b.list_price_nano_usd, 0) AS "list_price!"
               FROM account a JOIN account_state s ON s.account_id = a.id
               LEFT JOIN byok_usage b ON b.account_id = a.id AND b.month = $2
               WHERE a.id = ANY($1)"#,
            &ids,
            i32::try_from(month).map_err(|_range| StoreError::corrupt("month out of range"))?
        )
        .fetch_all(&mut *tx)
        .await
        .named("account_states")?;
        let mut caps = caps_of(&mut tx, &ids, None, now).await?;
        let booked = booked_for_good(&mut tx, kept).await?;
        tx.commit().await.named("account_states: commit")?;
        rows.into_iter()
            .map(|row| {
                Ok(AccountState {
                    account: AccountRef { account: AccountId::from_uuid(row.id), shard: shard(row.shard)? },
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
                    caps: caps.remove(&row.id).unwrap_or_default(),
                    booked: booked.get(&row.id).cloned().unwrap_or_default(),
                })
            })
            .collect()
    }
}

/// Of the kept holds those whose generation has its final settlement, by account. A swept or released one is not
/// final: its other hold, or the rest of it, may still be needed.
async fn booked_for_good(
    tx: Tx<'_, '_>,
    kept: &[HoldKey],
) -> Result<HashMap<Uuid, Vec<HoldKey>>, StoreError> {
    let days = kept.iter().map(|hold| day_of(hold.generation.uuid()));
    let (Some(first), Some(last)) = (days.clone().min(), days.max()) else { return Ok(HashMap::new()) };
    let ids: Vec<Uuid> = kept.iter().map(|hold| hold.generation.uuid()).collect();
    let rows = sqlx::query!(
        "SELECT id, account_id FROM generation WHERE id = ANY($1) AND day BETWEEN $2 AND $3 AND closing = 2",
        &ids,
        first,
        last
    )
    .fetch_all(&mut **tx)
    .await
    .named("account_states: booked")?;
    let account_of: HashMap<Uuid, Uuid> = rows.into_iter().map(|row| (row.id, row.account_id)).collect();
    let mut booked: HashMap<Uuid, Vec<HoldKey>> = HashMap::new();
    for hold in kept {
        if let Some(account) = account_of.get(&hold.generation.uuid()) {
            booked.entry(*account).or_default().push(*hold);
        }
    }
    Ok(booked)
}

/// Makes a transaction read one snapshot and write nothing. Must be its first statement.
pub(crate) async fn snapshot(tx: Tx<'_, '_>) -> Result<(), StoreError> {
    sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .execute(&mut **tx)
        .await
        .named("snapshot")?;
    Ok(())
}

/// The caps of accounts, or one cap of them, with their use in the window of `now`, or in a later one that has
/// some already: another clock was there first, and windows only roll forward.
pub(crate) async fn caps_of(
    tx: Tx<'_, '_>,
    accounts: &[Uuid],
    only: Option<&str>,
    now: Moment,
) -> Result<HashMap<Uuid, Vec<Cap>>, StoreError> {
    let windows = Windows::of(now);
    let rows = sqlx::query!(
        r#"SELECT c.account_id, c.cap_id, c.limit_nano_usd, c.period, coalesce(u.window_id, w.id) AS "window_id!",
                  coalesce(u.used_nano_usd, 0) AS "used!"
           FROM cap c
           JOIN unnest($3::text[], $4::bigint[]) AS w (period, id) ON w.period = c.period
           LEFT JOIN LATERAL (
               SELECT n.window_id, n.used_nano_usd FROM cap_usage n
               WHERE n.account_id = c.account_id AND n.cap_id = c.cap_id AND n.window_id >= w.id
               ORDER BY n.window_id DESC LIMIT 1) u ON true
           WHERE c.account_id = ANY($1) AND ($2::text IS NULL OR c.cap_id = $2)
           ORDER BY c.account_id, c.cap_id"#,
        accounts,
        only,
        &windows.codes,
        &windows.ids
    )
    .fetch_all(&mut **tx)
    .await
    .named("caps")?;
    let mut caps: HashMap<Uuid, Vec<Cap>> = HashMap::new();
    for row in rows {
        let period = CapPeriod::from_code(&row.period)
            .ok_or_else(|| StoreError::corrupt(format!("cap.period of {}: {}", row.cap_id, row.period)))?;
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
