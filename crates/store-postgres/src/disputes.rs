//! Disputes: one transaction takes a dispute through every state up to the one that the payment provider
//! names, with its movements, the purchase's sum, the freezing of the account and the letter.

use crate::PgStore;
use crate::convert::{nano, shard};
use crate::error::Named as _;
use crate::ingest::day_of;
use crate::posting::{Posting, locked_balance, post};
use async_trait::async_trait;
use billing::dispute::{Advance, Advanced, Dispute, DisputeState};
use billing::ledger::{Booked, DisputeLedger, OrgDisputes};
use kernel::ids::{AccountId, DisputeId, OrgId, PurchaseId};
use kernel::{AccountRef, Cents, Moment, NanoUsd, StoreError};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

type Tx<'a, 'c> = &'a mut Transaction<'c, Postgres>;

struct Row {
    id: Uuid,
    provider_id: String,
    purchase_id: Uuid,
    org_id: Uuid,
    amount_cents: i64,
    state: String,
    reason: String,
    written_off_nano_usd: i64,
    created_at: Moment,
    frozen: bool,
}

impl Row {
    fn dispute(self) -> Result<Dispute, StoreError> {
        Ok(Dispute {
            id: DisputeId::from_uuid(self.id),
            provider_id: self.provider_id,
            purchase: PurchaseId::from_uuid(self.purchase_id),
            org: OrgId::from_uuid(self.org_id),
            amount: Cents::new(self.amount_cents),
            state: state(&self.state)?,
            reason: self.reason,
            written_off: nano(self.written_off_nano_usd),
            created_at: self.created_at,
            frozen: self.frozen,
        })
    }
}

fn state(text: &str) -> Result<DisputeState, StoreError> {
    DisputeState::parse(text).ok_or_else(|| StoreError::corrupt(format!("dispute.state: {text}")))
}

/// A dispute on its way, with what every step needs.
struct Case<'a> {
    id: Uuid,
    account: AccountRef,
    purchase: Uuid,
    cents: i64,
    to: &'a Advance,
    return_id: Uuid,
}

#[async_trait]
impl OrgDisputes for PgStore {
    async fn disputes_of(&self, org: OrgId) -> Result<Vec<Dispute>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "SELECT d.id, d.provider_id, d.purchase_id, p.org_id, d.amount_cents, d.state, d.reason,
                    d.written_off_nano_usd, d.created_at, s.frozen
             FROM dispute d JOIN purchase p ON p.id = d.purchase_id JOIN account_state s ON s.account_id = p.account_id
             WHERE p.org_id = $1 ORDER BY d.id DESC",
            org.uuid()
        )
        .fetch_all(&self.pool)
        .await
        .named("disputes_of")?;
        rows.into_iter().map(Row::dispute).collect()
    }
}

#[async_trait]
impl DisputeLedger for PgStore {
    async fn advance_dispute(&self, to: &Advance) -> Result<Advanced, StoreError> {
        let (fresh, return_id) = (self.new_id(), self.new_id());
        self.prepare_days([fresh, return_id].into_iter().map(day_of).collect()).await;
        let mut tx = self.pool.begin().await.named("advance_dispute")?;
        let purchase = sqlx::query!(
            "SELECT p.account_id, p.org_id, a.shard, p.amount_cents + p.fee_cents AS \"total!\",
                    p.refunded_cents + p.disputed_cents AS \"back!\",
                    EXISTS (SELECT 1 FROM refund r WHERE r.purchase_id = p.id AND r.state = 'debited') AS \"refunding!\"
             FROM purchase p JOIN account a ON a.id = p.account_id WHERE p.id = $1 FOR UPDATE OF p",
            to.purchase.uuid()
        )
        .fetch_one(&mut *tx)
        .await
        .named("advance_dispute: purchase")?;
        let account =
            AccountRef { account: AccountId::from_uuid(purchase.account_id), shard: shard(purchase.shard)? };
        let known = known(&mut tx, &to.provider_id).await?;
        let now = known.as_ref().map(|(_, _, now)| *now);
        if !to.to.follows(now) {
            return Ok(Advanced::Already(account));
        }
        let withdrawn = now.is_some_and(DisputeState::moved_money);
        if to.to.moved_money() && !withdrawn && purchase.back + to.amount.get() > purchase.total {
            return Ok(if purchase.refunding { Advanced::Busy } else { Advanced::TooMuch });
        }
        let (id, cents) = match known {
            Some((id, cents, _)) if withdrawn => (id, cents),
            Some((id, ..)) => (id, to.amount.get()),
            None => (insert(&mut tx, fresh, to).await?, to.amount.get()),
        };
        let case = Case { id, account, purchase: to.purchase.uuid(), cents, to, return_id };
        let booked = case.advance(&mut tx, withdrawn).await?;
        crate::mail::queue(&mut tx, purchase.org_id, id, &to.letter, to.at).await?;
        tx.commit().await.named("advance_dispute: commit")?;
        Ok(Advanced::Moved(booked.map(|seq| Booked { account, seq })))
    }

    async fn all_disputes(&self, limit: u32) -> Result<Vec<Dispute>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "SELECT d.id, d.provider_id, d.purchase_id, p.org_id, d.amount_cents, d.state, d.reason,
                    d.written_off_nano_usd, d.created_at, s.frozen
             FROM dispute d JOIN purchase p ON p.id = d.purchase_id JOIN account_state s ON s.account_id = p.account_id
             ORDER BY d.state NOT IN ('open', 'inquiry'), d.id DESC LIMIT $1",
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("all_disputes")?;
        rows.into_iter().map(Row::dispute).collect()
    }

    async fn disputes_to_check(
        &self,
        before: Moment,
        now: Moment,
        limit: u32,
    ) -> Result<Vec<Dispute>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "WITH due AS (
                 UPDATE dispute SET checked_at = $3 WHERE id IN (
                     SELECT id FROM dispute WHERE state IN ('inquiry', 'open') AND checked_at < $1
                     ORDER BY checked_at LIMIT $2 FOR UPDATE SKIP LOCKED)
                 RETURNING *)
             SELECT d.id, d.provider_id, d.purchase_id, p.org_id, d.amount_cents, d.state, d.reason,
                    d.written_off_nano_usd, d.created_at, s.frozen
             FROM due d JOIN purchase p ON p.id = d.purchase_id JOIN account_state s ON s.account_id = p.account_id",
            before,
            i64::from(limit),
            now
        )
        .fetch_all(&self.pool)
        .await
        .named("disputes_to_check")?;
        rows.into_iter().map(Row::dispute).collect()
    }

    async fn unfreeze(&self, org: OrgId, staff: &str, at: Moment) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await.named("unfreeze")?;
        let freed = sqlx::query_scalar!(
            "UPDATE account_state s SET frozen = false FROM account a
             WHERE a.id = s.account_id AND a.org_id = $1 AND s.frozen AND NOT EXISTS (
                 SELECT 1 FROM dispute d JOIN purchase p ON p.id = d.purchase_id
                 WHERE p.account_id = a.id AND d.state = 'open')
             RETURNING a.id",
            org.uuid()
        )
        .fetch_optional(&mut *tx)
        .await
        .named("unfreeze")?;
        let Some(account) = freed else { return Ok(false) };
        sqlx::query!(
            "UPDATE dispute d SET released_at = $2 FROM purchase p
             WHERE p.id = d.purchase_id AND p.account_id = $1 AND d.state = 'lost' AND d.released_at IS NULL",
            account,
            at
        )
        .execute(&mut *tx)
        .await
        .named("unfreeze: disputes")?;
        sqlx::query!(
            "INSERT INTO audit_log (at, actor, org_id, action, subject, detail)
             VALUES ($1, $2, $3, 'account.unfreeze', $4, '{}')",
            at,
            staff,
            org.uuid(),
            org.to_string()
        )
        .execute(&mut *tx)
        .await
        .named("unfreeze: audit")?;
        tx.commit().await.named("unfreeze: commit")?;
        Ok(true)
    }

    async fn freezes_to_send(&self, limit: u32) -> Result<Vec<(AccountRef, bool)>, StoreError> {
        let rows = sqlx::query!(
            "SELECT s.account_id, a.shard, s.frozen FROM account_state s JOIN account a ON a.id = s.account_id
             WHERE s.frozen <> s.engine_frozen ORDER BY s.account_id LIMIT $1",
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("freezes_to_send")?;
        rows.into_iter()
            .map(|row| {
                let account = AccountId::from_uuid(row.account_id);
                Ok((AccountRef { account, shard: shard(row.shard)? }, row.frozen))
            })
            .collect()
    }

    async fn freeze_sent(&self, account: AccountRef, frozen: bool) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE account_state SET engine_frozen = $2 WHERE account_id = $1",
            account.account.uuid(),
            frozen
        )
        .execute(&self.pool)
        .await
        .named("freeze_sent")?;
        Ok(())
    }
}

async fn known(tx: Tx<'_, '_>, provider_id: &str) -> Result<Option<(Uuid, i64, DisputeState)>, StoreError> {
    let row = sqlx::query!("SELECT id, amount_cents, state FROM dispute WHERE provider_id = $1", provider_id)
        .fetch_optional(&mut **tx)
        .await
        .named("dispute: read")?;
    row.map(|row| Ok((row.id, row.amount_cents, state(&row.state)?))).transpose()
}

async fn insert(tx: Tx<'_, '_>, id: Uuid, to: &Advance) -> Result<Uuid, StoreError> {
    sqlx::query!(
        "INSERT INTO dispute (id, provider_id, purchase_id, amount_cents, state, reason, created_at, changed_at, checked_at)
         VALUES ($1, $2, $3, $4, 'inquiry', $5, $6, $6, $6)",
        id,
        to.provider_id,
        to.purchase.uuid(),
        to.amount.get(),
        to.reason,
        to.at
    )
    .execute(&mut **tx)
    .await
    .named("dispute: insert")?;
    Ok(id)
}

impl Case<'_> {
    /// Every step from where the dispute stands; the first credit sequence that was booked.
    async fn advance(&self, tx: Tx<'_, '_>, withdrawn: bool) -> Result<Option<i64>, StoreError> {
        if !self.to.to.moved_money() {
            self.set(tx, self.to.to, 0).await?;
            return Ok(None);
        }
        let first = if withdrawn { None } else { Some(self.withdraw(tx).await?) };
        let second = match self.to.to {
            DisputeState::Won => Some(self.won(tx).await?),
            DisputeState::Lost => self.lost(tx).await?,
            DisputeState::Inquiry | DisputeState::Closed | DisputeState::Open => None,
        };
        Ok(first.or(second))
    }

    /// Customer → clearing; the account is frozen.
    async fn withdraw(&self, tx: Tx<'_, '_>) -> Result<i64, StoreError> {
        self.set(tx, DisputeState::Open, 0).await?;
        self.purchase(tx, self.cents).await?;
        self.freeze(tx, true).await?;
        post(tx, &self.posting(self.id, -NanoUsd::from(Cents::new(self.cents)).get())).await
    }

    /// Clearing → customer; free again, unless another dispute holds the account.
    async fn won(&self, tx: Tx<'_, '_>) -> Result<i64, StoreError> {
        self.set(tx, DisputeState::Won, 0).await?;
        self.purchase(tx, -self.cents).await?;
        let others = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM dispute d JOIN purchase p ON p.id = d.purchase_id
                              WHERE p.account_id = $1 AND (d.state = 'open' OR d.state = 'lost' AND d.released_at IS NULL)
                             ) AS "yes!""#,
            self.account.account.uuid()
        )
        .fetch_one(&mut **tx)
        .await
        .named("dispute: others")?;
        self.freeze(tx, others).await?;
        post(tx, &self.posting(self.return_id, NanoUsd::from(Cents::new(self.cents)).get())).await
    }

    /// What the balance lacks is bad debt.
    async fn lost(&self, tx: Tx<'_, '_>) -> Result<Option<i64>, StoreError> {
        let balance = locked_balance(tx, self.account.account.uuid()).await?;
        let lacking = balance.checked_neg().unwrap_or_default().max(0);
        self.set(tx, DisputeState::Lost, lacking).await?;
        if lacking == 0 {
            return Ok(None);
        }
        let posting = Posting { class: "write_off", counter: "bad_debt", ..self.posting(self.id, lacking) };
        post(tx, &posting).await.map(Some)
    }

    fn posting(&self, id: Uuid, delta: i64) -> Posting {
        Posting {
            id,
            class: "dispute",
            account: self.account.account.uuid(),
            delta,
            counter: "stripe_clearing",
            reason: "dispute",
            at: self.to.at,
        }
    }

    async fn set(&self, tx: Tx<'_, '_>, state: DisputeState, written_off: i64) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE dispute SET state = $2, written_off_nano_usd = $3, amount_cents = $4, changed_at = $5,
                    return_id = CASE WHEN $2 = 'won' THEN $6::uuid END
             WHERE id = $1",
            self.id,
            state.as_str(),
            written_off,
            self.cents,
            self.to.at,
            self.return_id
        )
        .execute(&mut **tx)
        .await
        .named("dispute: state")?;
        Ok(())
    }

    async fn purchase(&self, tx: Tx<'_, '_>, cents: i64) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE purchase SET disputed_cents = disputed_cents + $2 WHERE id = $1",
            self.purchase,
            cents
        )
        .execute(&mut **tx)
        .await
        .named("dispute: purchase")?;
        Ok(())
    }

    async fn freeze(&self, tx: Tx<'_, '_>, frozen: bool) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE account_state SET frozen = $2 WHERE account_id = $1",
            self.account.account.uuid(),
            frozen
        )
        .execute(&mut **tx)
        .await
        .named("dispute: freeze")?;
        Ok(())
    }
}
