//! Purchases: the payment side of the ledger. The row decides what is granted, and its key that it is once.

use crate::PgStore;
use crate::convert::{nano, plus, shard};
use crate::error::Named as _;
use async_trait::async_trait;
use billing::ledger::{GrantLedger, PurchaseLedger};
use billing::purchase::{Grant, Granted, NewPurchase, Purchase, PurchaseEnd, PurchaseKind, PurchaseState};
use kernel::ids::{AccountId, MemberId, OrgId, PurchaseId};
use kernel::{AccountRef, Cents, Moment, NanoUsd, StoreError};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

struct Row {
    id: Uuid,
    org_id: Uuid,
    member_id: Uuid,
    account_id: Uuid,
    shard: i16,
    kind: String,
    amount_cents: i64,
    fee_cents: i64,
    refunded_cents: i64,
    disputed_cents: i64,
    state: String,
    session: Option<String>,
    checkout_url: Option<String>,
    payment: Option<String>,
    created_at: Moment,
    granted_at: Option<Moment>,
}

impl Row {
    fn purchase(self) -> Result<Purchase, StoreError> {
        let state = PurchaseState::parse(&self.state)
            .ok_or_else(|| StoreError::corrupt(format!("purchase.state of {}: {}", self.id, self.state)))?;
        let kind = PurchaseKind::parse(&self.kind)
            .ok_or_else(|| StoreError::corrupt(format!("purchase.kind of {}: {}", self.id, self.kind)))?;
        Ok(Purchase {
            id: PurchaseId::from_uuid(self.id),
            org: OrgId::from_uuid(self.org_id),
            member: MemberId::from_uuid(self.member_id),
            account: AccountRef { account: AccountId::from_uuid(self.account_id), shard: shard(self.shard)? },
            kind,
            amount: Cents::new(self.amount_cents),
            fee: Cents::new(self.fee_cents),
            refunded: Cents::new(self.refunded_cents),
            disputed: Cents::new(self.disputed_cents),
            state,
            session: self.session,
            checkout_url: self.checkout_url,
            payment: self.payment,
            created_at: self.created_at,
            granted_at: self.granted_at,
        })
    }
}

#[async_trait]
impl PurchaseLedger for PgStore {
    async fn open_purchase(&self, new: &NewPurchase) -> Result<Purchase, StoreError> {
        sqlx::query!(
            "INSERT INTO purchase (id, org_id, member_id, account_id, amount_cents, fee_cents, state, created_at)
             SELECT $1, a.org_id, m.id, a.id, $4, $5, 'open', $6
             FROM account a JOIN member m ON m.org_id = a.org_id AND m.id = $3 WHERE a.org_id = $2
             ON CONFLICT (id) DO NOTHING",
            new.id.uuid(),
            new.org.uuid(),
            new.member.uuid(),
            new.amount.get(),
            new.fee.get(),
            new.created_at
        )
        .execute(&self.pool)
        .await
        .named("open_purchase")?;
        let stored = self.purchase(new.org, new.id).await?;
        let same = |p: &Purchase| (p.member, p.amount, p.fee) == (new.member, new.amount, new.fee);
        stored.filter(same).ok_or_else(|| {
            StoreError::conflict(format!("open_purchase: {} is another purchase or member", new.id))
        })
    }

    async fn attach_session(
        &self,
        org: OrgId,
        id: PurchaseId,
        session: &str,
        url: &str,
    ) -> Result<(), StoreError> {
        let done = sqlx::query!(
            "UPDATE purchase SET session = $3, checkout_url = $4
             WHERE org_id = $1 AND id = $2 AND (session IS NULL OR session = $3)",
            org.uuid(),
            id.uuid(),
            session,
            url
        )
        .execute(&self.pool)
        .await
        .named("attach_session")?;
        if done.rows_affected() == 1 {
            Ok(())
        } else {
            Err(StoreError::conflict(format!("attach_session: {id} is missing or has another session")))
        }
    }

    async fn purchase(&self, org: OrgId, id: PurchaseId) -> Result<Option<Purchase>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            "SELECT p.id, p.org_id, p.member_id, p.account_id, a.shard, p.kind, p.amount_cents, p.fee_cents,
                    p.refunded_cents, p.disputed_cents, p.state, p.session, p.checkout_url, p.payment, p.created_at,
                    p.granted_at
             FROM purchase p JOIN account a ON a.id = p.account_id WHERE p.org_id = $1 AND p.id = $2",
            org.uuid(),
            id.uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .named("purchase")?;
        row.map(Row::purchase).transpose()
    }

    async fn purchases(&self, org: OrgId, limit: u32) -> Result<Vec<Purchase>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "SELECT p.id, p.org_id, p.member_id, p.account_id, a.shard, p.kind, p.amount_cents, p.fee_cents,
                    p.refunded_cents, p.disputed_cents, p.state, p.session, p.checkout_url, p.payment, p.created_at,
                    p.granted_at
             FROM purchase p JOIN account a ON a.id = p.account_id
             WHERE p.org_id = $1 ORDER BY p.id DESC LIMIT $2",
            org.uuid(),
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("purchases")?;
        rows.into_iter().map(Row::purchase).collect()
    }
}

#[async_trait]
impl GrantLedger for PgStore {
    async fn purchase_by_session(&self, session: &str) -> Result<Option<Purchase>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            "SELECT p.id, p.org_id, p.member_id, p.account_id, a.shard, p.kind, p.amount_cents, p.fee_cents,
                    p.refunded_cents, p.disputed_cents, p.state, p.session, p.checkout_url, p.payment, p.created_at,
                    p.granted_at
             FROM purchase p JOIN account a ON a.id = p.account_id WHERE p.session = $1",
            session
        )
        .fetch_optional(&self.pool)
        .await
        .named("purchase_by_session")?;
        row.map(Row::purchase).transpose()
    }

    async fn purchase_by_id(&self, id: PurchaseId) -> Result<Option<Purchase>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            "SELECT p.id, p.org_id, p.member_id, p.account_id, a.shard, p.kind, p.amount_cents, p.fee_cents,
                    p.refunded_cents, p.disputed_cents, p.state, p.session, p.checkout_url, p.payment, p.created_at,
                    p.granted_at
             FROM purchase p JOIN account a ON a.id = p.account_id WHERE p.id = $1",
            id.uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .named("purchase_by_id")?;
        row.map(Row::purchase).transpose()
    }

    async fn purchase_by_payment(&self, payment: &str) -> Result<Option<Purchase>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            "SELECT p.id, p.org_id, p.member_id, p.account_id, a.shard, p.kind, p.amount_cents, p.fee_cents,
                    p.refunded_cents, p.disputed_cents, p.state, p.session, p.checkout_url, p.payment, p.created_at,
                    p.granted_at
             FROM purchase p JOIN account a ON a.id = p.account_id WHERE p.payment = $1",
            payment
        )
        .fetch_optional(&self.pool)
        .await
        .named("purchase_by_payment")?;
        row.map(Row::purchase).transpose()
    }

    /// An old purchase is asked about less often, so that many abandoned ones leave room for the others.
    async fn purchases_to_check(
        &self,
        begun_before: Moment,
        now: Moment,
        limit: u32,
    ) -> Result<Vec<Purchase>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "WITH due AS (
                 UPDATE purchase SET checked_at = $2 WHERE id IN (
                     SELECT id FROM purchase
                     WHERE state = 'open' AND created_at < $1 AND created_at + interval '72 hours' > $2
                       AND coalesce(checked_at, created_at) + least((coalesce(checked_at, created_at) - created_at) / 10, interval '1 hour') < $2
                     ORDER BY coalesce(checked_at, created_at) LIMIT $3 FOR UPDATE SKIP LOCKED)
                 RETURNING *)
             SELECT p.id, p.org_id, p.member_id, p.account_id, a.shard, p.kind, p.amount_cents, p.fee_cents,
                    p.refunded_cents, p.disputed_cents, p.state, p.session, p.checkout_url, p.payment, p.created_at,
                    p.granted_at
             FROM due p JOIN account a ON a.id = p.account_id ORDER BY p.id",
            begun_before,
            now,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("purchases_to_check")?;
        rows.into_iter().map(Row::purchase).collect()
    }

    async fn grant(&self, grant: &Grant) -> Result<Granted, StoreError> {
        self.prepare_days(std::iter::once(crate::ingest::day_of(grant.purchase.uuid())).collect()).await;
        let mut tx = self.pool.begin().await.named("grant")?;
        let row = sqlx::query!(
            "SELECT p.account_id, a.shard, p.amount_cents, p.fee_cents, p.state
             FROM purchase p JOIN account a ON a.id = p.account_id WHERE p.id = $1 FOR UPDATE OF p",
            grant.purchase.uuid()
        )
        .fetch_optional(&mut *tx)
        .await
        .named("grant: read")?;
        let Some(row) = row else { return Ok(Granted::Missing) };
        if row.state == PurchaseState::Granted.as_str() {
            return Ok(Granted::Already);
        }
        let account = AccountRef { account: AccountId::from_uuid(row.account_id), shard: shard(row.shard)? };
        let credit = Credit {
            account,
            amount: NanoUsd::from(Cents::new(row.amount_cents)),
            fee: NanoUsd::from(Cents::new(row.fee_cents)),
        };
        let seq = book(&mut tx, grant, &credit).await?;
        kernel::crash::point("purchase.before_commit");
        tx.commit().await.named("grant: commit")?;
        kernel::crash::point("purchase.committed");
        Ok(Granted::Done { account, seq })
    }

    async fn end_purchase(&self, id: PurchaseId, end: PurchaseEnd) -> Result<(), StoreError> {
        let state = match end {
            PurchaseEnd::Failed => PurchaseState::Failed,
            PurchaseEnd::Expired => PurchaseState::Expired,
        };
        sqlx::query!(
            "UPDATE purchase SET state = $2 WHERE id = $1 AND state = 'open'",
            id.uuid(),
            state.as_str()
        )
        .execute(&self.pool)
        .await
        .named("end_purchase")?;
        Ok(())
    }

    async fn note_event(&self, event: &str, kind: &str) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "INSERT INTO payment_event (id, kind, received_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
            event,
            kind,
            self.clock.now()
        )
        .execute(&self.pool)
        .await
        .named("note_event")?;
        Ok(done.rows_affected() == 1)
    }
}

struct Credit {
    account: AccountRef,
    amount: NanoUsd,
    fee: NanoUsd,
}

/// State, balance with its next credit sequence, movements and outbox of a grant; the sequence.
async fn book(tx: &mut Transaction<'_, Postgres>, grant: &Grant, credit: &Credit) -> Result<i64, StoreError> {
    let account = credit.account.account;
    sqlx::query!(
        "UPDATE purchase SET state = 'granted', payment = $2, granted_at = $3 WHERE id = $1",
        grant.purchase.uuid(),
        grant.payment,
        grant.at
    )
    .execute(&mut **tx)
    .await
    .named("grant: purchase")?;
    let state = sqlx::query!(
        "SELECT posted_nano_usd, credit_seq FROM account_state WHERE account_id = $1 FOR UPDATE",
        account.uuid()
    )
    .fetch_one(&mut **tx)
    .await
    .named("grant: lock")?;
    let (posted, seq) = (plus(state.posted_nano_usd, credit.amount.get())?, plus(state.credit_seq, 1)?);
    sqlx::query!(
        "UPDATE account_state SET posted_nano_usd = $2, credit_seq = $3, granted_nano_usd = granted_nano_usd + $4
         WHERE account_id = $1",
        account.uuid(),
        posted,
        seq,
        credit.amount.get()
    )
    .execute(&mut **tx)
    .await
    .named("grant: balance")?;
    movements(tx, grant, credit, (seq, nano(posted))).await?;
    sqlx::query!(
        "WITH told AS (SELECT pg_notify('farebox_credits', $6))
         INSERT INTO credit_outbox (account_id, seq, delta_nano_usd, is_grant, reason, ref, created_at)
         SELECT $1, $2, $3, true, 'purchase', $4, $5 FROM told",
        account.uuid(),
        seq,
        credit.amount.get(),
        grant.purchase.uuid(),
        grant.at,
        account.to_string()
    )
    .execute(&mut **tx)
    .await
    .named("grant: outbox")?;
    Ok(seq)
}

/// Clearing → customer and clearing → fee revenue. A fee of nothing moves nothing.
async fn movements(
    tx: &mut Transaction<'_, Postgres>,
    grant: &Grant,
    credit: &Credit,
    (seq, posted): (i64, NanoUsd),
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO ledger_movement (id, class, day, debit, credit, amount_nano_usd, txn, credit_seq,
                                      balance_after_nano_usd, booked_at)
         SELECT $1, m.class, uuid7_day($1), platform_account('stripe_clearing', ''), m.credit, m.amount, $1, m.seq,
                m.balance, $2
         FROM (VALUES ('credit', $3::uuid, $4::bigint, $5::bigint, $6::bigint),
                      ('fee', platform_account('fee_revenue', ''), $7::bigint, NULL, NULL))
              AS m (class, credit, amount, seq, balance)
         WHERE m.amount > 0",
        grant.purchase.uuid(),
        grant.at,
        credit.account.account.uuid(),
        credit.amount.get(),
        seq,
        posted.get(),
        credit.fee.get()
    )
    .execute(&mut **tx)
    .await
    .named("grant: movements")?;
    Ok(())
}
