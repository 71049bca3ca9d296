//! Refunds: debited, done, or given back. The row's state and the movements change in one transaction.

use crate::PgStore;
use crate::convert::shard;
use crate::error::Named as _;
use crate::ingest::day_of;
use crate::posting::{Posting, locked_balance, post};
use async_trait::async_trait;
use billing::ledger::{Booked, RefundLedger};
use billing::refund::{
    Decision, NewRefund, Opened, Refund, RefundEnd, RefundRefusal, RefundState, Requester,
};
use kernel::ids::{AccountId, MemberId, OrgId, PurchaseId, RefundId};
use kernel::{AccountRef, Cents, Moment, NanoUsd, StoreError};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

type Tx<'a, 'c> = &'a mut Transaction<'c, Postgres>;

struct Row {
    id: Uuid,
    purchase_id: Uuid,
    org_id: Uuid,
    account_id: Uuid,
    shard: i16,
    amount_cents: i64,
    state: String,
    member_id: Option<Uuid>,
    staff: Option<String>,
    reason: String,
    payment: Option<String>,
    provider_id: Option<String>,
    failure: Option<String>,
    created_at: Moment,
}

impl Row {
    fn refund(self) -> Result<Refund, StoreError> {
        let state = RefundState::parse(&self.state)
            .ok_or_else(|| StoreError::corrupt(format!("refund.state of {}: {}", self.id, self.state)))?;
        let by = match (self.member_id, self.staff) {
            (Some(member), None) => Requester::Member(MemberId::from_uuid(member)),
            (_, staff) => Requester::Staff(staff.unwrap_or_else(|| "unknown".to_owned())),
        };
        Ok(Refund {
            id: RefundId::from_uuid(self.id),
            purchase: PurchaseId::from_uuid(self.purchase_id),
            org: OrgId::from_uuid(self.org_id),
            account: AccountRef { account: AccountId::from_uuid(self.account_id), shard: shard(self.shard)? },
            amount: Cents::new(self.amount_cents),
            state,
            by,
            reason: self.reason,
            payment: self
                .payment
                .ok_or_else(|| StoreError::corrupt(format!("refund {} of an unpaid purchase", self.id)))?,
            provider_id: self.provider_id,
            failure: self.failure,
            created_at: self.created_at,
        })
    }
}

/// The purchase of a refund, locked.
struct Locked {
    account: AccountRef,
    amount: i64,
    refunded: i64,
    disputed: i64,
    granted: bool,
}

#[async_trait]
impl RefundLedger for PgStore {
    async fn open_refund(&self, new: &NewRefund) -> Result<Opened, StoreError> {
        self.prepare_days(std::iter::once(day_of(new.id.uuid())).collect()).await;
        let mut tx = self.pool.begin().await.named("open_refund")?;
        let Some(purchase) = lock(&mut tx, new.purchase.uuid(), Some(new.org.uuid())).await? else {
            return Ok(Opened::Refused(RefundRefusal::NotPaid));
        };
        if let Some(known) = read(&mut tx, new.id.uuid()).await? {
            return Ok(Opened::Standing(Box::new(known)));
        }
        if in_progress(&mut tx, new.purchase.uuid()).await? {
            return Ok(Opened::Refused(RefundRefusal::InProgress));
        }
        if let Some(refusal) = refusal(&mut tx, &purchase, new.amount.get()).await? {
            return Ok(Opened::Refused(refusal));
        }
        insert(&mut tx, new).await?;
        let booked = if new.needs_second() {
            None
        } else {
            Some(debit(&mut tx, &purchase, new.id.uuid(), new.at).await?)
        };
        if let Requester::Staff(staff) = &new.by {
            audit(&mut tx, staff, "refund.open", new.id, new.at).await?;
        }
        self.finish(tx, new.id, booked).await
    }

    async fn decide_refund(&self, id: RefundId, decision: &Decision) -> Result<Opened, StoreError> {
        self.prepare_days(std::iter::once(day_of(id.uuid())).collect()).await;
        let mut tx = self.pool.begin().await.named("decide_refund")?;
        let Some(refund) = read(&mut tx, id.uuid()).await? else {
            return Ok(Opened::Refused(RefundRefusal::Unknown));
        };
        if refund.by == Requester::Staff(decision.staff.clone()) {
            return Ok(Opened::Refused(RefundRefusal::SamePerson));
        }
        let Some(purchase) = lock(&mut tx, refund.purchase.uuid(), None).await? else {
            return Ok(Opened::Refused(RefundRefusal::NotPaid));
        };
        let state = if decision.agreed { "waiting" } else { "rejected" };
        let decided = sqlx::query!(
            "UPDATE refund SET decided_by = $2, state = $3, touched_at = $4 WHERE id = $1 AND state = 'waiting'",
            id.uuid(),
            decision.staff,
            state,
            decision.at
        )
        .execute(&mut *tx)
        .await
        .named("decide_refund")?;
        if decided.rows_affected() == 0 {
            return Ok(Opened::Refused(RefundRefusal::Unknown));
        }
        let mut booked = None;
        if decision.agreed {
            if let Some(refusal) = refusal(&mut tx, &purchase, refund.amount.get()).await? {
                return Ok(Opened::Refused(refusal));
            }
            booked = Some(debit(&mut tx, &purchase, id.uuid(), decision.at).await?);
        }
        let action = if decision.agreed { "refund.agree" } else { "refund.reject" };
        audit(&mut tx, &decision.staff, action, id, decision.at).await?;
        self.finish(tx, id, booked).await
    }

    async fn finish_refund(
        &self,
        id: RefundId,
        end: &RefundEnd,
        at: Moment,
    ) -> Result<Option<Booked>, StoreError> {
        let reversal = self.new_id();
        self.prepare_days(std::iter::once(day_of(reversal)).collect()).await;
        let mut tx = self.pool.begin().await.named("finish_refund")?;
        let Some(refund) = read(&mut tx, id.uuid()).await? else { return Ok(None) };
        let purchase = lock(&mut tx, refund.purchase.uuid(), None).await?;
        let booked = match end {
            RefundEnd::Done { provider_id } => {
                sqlx::query!(
                    "UPDATE refund SET state = 'done', provider_id = $2, touched_at = $3
                     WHERE id = $1 AND state = 'debited'",
                    id.uuid(),
                    provider_id,
                    at
                )
                .execute(&mut *tx)
                .await
                .named("finish_refund: done")?;
                None
            }
            RefundEnd::Reversed { provider_id, why } => {
                let done = sqlx::query!(
                    "UPDATE refund SET state = 'reversed', provider_id = coalesce($2, provider_id), failure = $3,
                            reversal_id = $4, touched_at = $5
                     WHERE id = $1 AND state IN ('debited', 'done')",
                    id.uuid(),
                    provider_id.as_deref(),
                    why.chars().take(500).collect::<String>(),
                    reversal,
                    at
                )
                .execute(&mut *tx)
                .await
                .named("finish_refund: reversed")?;
                match purchase.filter(|_| done.rows_affected() == 1) {
                    Some(purchase) => Some(give_back(&mut tx, &purchase, &refund, (reversal, at)).await?),
                    None => None,
                }
            }
        };
        tx.commit().await.named("finish_refund: commit")?;
        Ok(booked)
    }

    async fn refund(&self, id: RefundId) -> Result<Option<Refund>, StoreError> {
        let mut tx = self.pool.begin().await.named("refund")?;
        let found = read(&mut tx, id.uuid()).await?;
        tx.commit().await.named("refund")?;
        Ok(found)
    }

    async fn refunds_of(&self, org: OrgId, purchase: PurchaseId) -> Result<Vec<Refund>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "SELECT r.id, r.purchase_id, p.org_id, p.account_id, a.shard, r.amount_cents, r.state, r.member_id, r.staff,
                    r.reason, p.payment, r.provider_id, r.failure, r.created_at
             FROM refund r JOIN purchase p ON p.id = r.purchase_id JOIN account a ON a.id = p.account_id
             WHERE p.org_id = $1 AND p.id = $2 ORDER BY r.id",
            org.uuid(),
            purchase.uuid()
        )
        .fetch_all(&self.pool)
        .await
        .named("refunds_of")?;
        rows.into_iter().map(Row::refund).collect()
    }

    async fn refunds_to_decide(&self) -> Result<Vec<Refund>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "SELECT r.id, r.purchase_id, p.org_id, p.account_id, a.shard, r.amount_cents, r.state, r.member_id, r.staff,
                    r.reason, p.payment, r.provider_id, r.failure, r.created_at
             FROM refund r JOIN purchase p ON p.id = r.purchase_id JOIN account a ON a.id = p.account_id
             WHERE r.state = 'waiting' ORDER BY r.id LIMIT 200"
        )
        .fetch_all(&self.pool)
        .await
        .named("refunds_to_decide")?;
        rows.into_iter().map(Row::refund).collect()
    }

    async fn refunds_to_finish(&self, before: Moment, limit: u32) -> Result<Vec<Refund>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "WITH due AS (
                 UPDATE refund SET touched_at = $3 WHERE id IN (
                     SELECT id FROM refund
                     WHERE (state = 'debited' AND touched_at < $1)
                        OR (state = 'done' AND touched_at < $1 - interval '1 day' AND created_at > $1 - interval '30 days')
                     ORDER BY touched_at LIMIT $2 FOR UPDATE SKIP LOCKED)
                 RETURNING *)
             SELECT r.id, r.purchase_id, p.org_id, p.account_id, a.shard, r.amount_cents, r.state, r.member_id, r.staff,
                    r.reason, p.payment, r.provider_id, r.failure, r.created_at
             FROM due r JOIN purchase p ON p.id = r.purchase_id JOIN account a ON a.id = p.account_id ORDER BY r.id",
            before,
            i64::from(limit),
            self.clock.now()
        )
        .fetch_all(&self.pool)
        .await
        .named("refunds_to_finish")?;
        rows.into_iter().map(Row::refund).collect()
    }
}

impl PgStore {
    /// Commits, with the refund as it stands now.
    async fn finish(
        &self,
        mut tx: Transaction<'_, Postgres>,
        id: RefundId,
        booked: Option<Booked>,
    ) -> Result<Opened, StoreError> {
        let refund = read(&mut tx, id.uuid()).await?;
        let refund = refund.ok_or_else(|| StoreError::corrupt(format!("refund {id} vanished")))?;
        tx.commit().await.named("refund: commit")?;
        let refund = Box::new(refund);
        Ok(if booked.is_some() { Opened::Debited(refund, booked) } else { Opened::Standing(refund) })
    }
}

async fn read(tx: Tx<'_, '_>, id: Uuid) -> Result<Option<Refund>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        "SELECT r.id, r.purchase_id, p.org_id, p.account_id, a.shard, r.amount_cents, r.state, r.member_id, r.staff,
                r.reason, p.payment, r.provider_id, r.failure, r.created_at
         FROM refund r JOIN purchase p ON p.id = r.purchase_id JOIN account a ON a.id = p.account_id WHERE r.id = $1",
        id
    )
    .fetch_optional(&mut **tx)
    .await
    .named("refund: read")?;
    row.map(Row::refund).transpose()
}

async fn lock(tx: Tx<'_, '_>, purchase: Uuid, org: Option<Uuid>) -> Result<Option<Locked>, StoreError> {
    let row = sqlx::query!(
        "SELECT p.account_id, a.shard, p.amount_cents, p.refunded_cents, p.disputed_cents, p.state
         FROM purchase p JOIN account a ON a.id = p.account_id
         WHERE p.id = $1 AND p.org_id = coalesce($2, p.org_id) FOR UPDATE OF p",
        purchase,
        org
    )
    .fetch_optional(&mut **tx)
    .await
    .named("refund: lock")?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Locked {
        account: AccountRef { account: AccountId::from_uuid(row.account_id), shard: shard(row.shard)? },
        amount: row.amount_cents,
        refunded: row.refunded_cents,
        disputed: row.disputed_cents,
        granted: row.state == "granted",
    }))
}

async fn in_progress(tx: Tx<'_, '_>, purchase: Uuid) -> Result<bool, StoreError> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM refund WHERE purchase_id = $1 AND state IN ('waiting', 'debited')) AS "yes!""#,
        purchase
    )
    .fetch_one(&mut **tx)
    .await
    .named("refund: in progress")
}

/// Why so much cannot be refunded now, by the ledger's own numbers.
async fn refusal(tx: Tx<'_, '_>, purchase: &Locked, cents: i64) -> Result<Option<RefundRefusal>, StoreError> {
    if !purchase.granted {
        return Ok(Some(RefundRefusal::NotPaid));
    }
    if purchase.disputed > 0 {
        return Ok(Some(RefundRefusal::Disputed));
    }
    let posted = locked_balance(tx, purchase.account.account.uuid()).await?;
    let fits =
        cents <= purchase.amount - purchase.refunded && NanoUsd::from(Cents::new(cents)).get() <= posted;
    Ok((!fits).then_some(RefundRefusal::TooMuch))
}

async fn insert(tx: Tx<'_, '_>, new: &NewRefund) -> Result<(), StoreError> {
    let (member, staff) = match &new.by {
        Requester::Member(member) => (Some(member.uuid()), None),
        Requester::Staff(staff) => (None, Some(staff.as_str())),
    };
    sqlx::query!(
        "INSERT INTO refund (id, purchase_id, amount_cents, state, member_id, staff, reason, created_at, touched_at)
         VALUES ($1, $2, $3, 'waiting', $4, $5, $6, $7, $7)",
        new.id.uuid(),
        new.purchase.uuid(),
        new.amount.get(),
        member,
        staff,
        new.reason,
        new.at
    )
    .execute(&mut **tx)
    .await
    .named("refund: insert")?;
    Ok(())
}

/// Customer → clearing, and the purchase's own sum.
async fn debit(tx: Tx<'_, '_>, purchase: &Locked, id: Uuid, at: Moment) -> Result<Booked, StoreError> {
    let cents = sqlx::query_scalar!(
        "WITH moved AS (UPDATE refund SET state = 'debited', touched_at = $2 WHERE id = $1 RETURNING purchase_id, amount_cents)
         UPDATE purchase p SET refunded_cents = refunded_cents + m.amount_cents FROM moved m WHERE p.id = m.purchase_id
         RETURNING m.amount_cents",
        id,
        at
    )
    .fetch_one(&mut **tx)
    .await
    .named("refund: debit")?;
    let posting = Posting {
        id,
        class: "refund",
        account: purchase.account.account.uuid(),
        delta: -NanoUsd::from(Cents::new(cents)).get(),
        counter: "stripe_clearing",
        reason: "refund",
        at,
    };
    Ok(Booked { account: purchase.account, seq: post(tx, &posting).await? })
}

/// Clearing → customer.
async fn give_back(
    tx: Tx<'_, '_>,
    purchase: &Locked,
    refund: &Refund,
    (id, at): (Uuid, Moment),
) -> Result<Booked, StoreError> {
    sqlx::query!(
        "UPDATE purchase SET refunded_cents = refunded_cents - $2 WHERE id = $1",
        refund.purchase.uuid(),
        refund.amount.get()
    )
    .execute(&mut **tx)
    .await
    .named("refund: purchase")?;
    let posting = Posting {
        id,
        class: "refund",
        account: purchase.account.account.uuid(),
        delta: NanoUsd::from(refund.amount).get(),
        counter: "stripe_clearing",
        reason: "refund",
        at,
    };
    Ok(Booked { account: purchase.account, seq: post(tx, &posting).await? })
}

async fn audit(
    tx: Tx<'_, '_>,
    staff: &str,
    action: &str,
    id: RefundId,
    at: Moment,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO audit_log (at, actor, org_id, action, subject, detail)
         SELECT $1, $2, p.org_id, $3, $4, jsonb_build_object('purchase', p.id, 'cents', r.amount_cents, 'reason', r.reason)
         FROM refund r JOIN purchase p ON p.id = r.purchase_id WHERE r.id = $5",
        at,
        staff,
        action,
        id.to_string(),
        id.uuid()
    )
    .execute(&mut **tx)
    .await
    .named("refund: audit")?;
    Ok(())
}
