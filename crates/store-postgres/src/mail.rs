//! The outbox of letters. A letter is queued inside the transaction of its event, once for each recipient.

use crate::PgStore;
use crate::error::Named as _;
use async_trait::async_trait;
use billing::mail::{Letter, MailOutbox, Outgoing};
use kernel::ids::OrgId;
use kernel::{Moment, StoreError};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

/// Queues a letter to those of an organization who deal with its money. Twice with one event is once.
pub(crate) async fn queue(
    tx: &mut Transaction<'_, Postgres>,
    org: Uuid,
    event: Uuid,
    letter: &Letter,
    at: Moment,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO mail_outbox (org_id, recipient, kind, ref, subject, body, created_at)
         SELECT m.org_id, p.email, $2, $3, $4, $5, $6
         FROM member m JOIN person p ON p.id = m.person_id
         WHERE m.org_id = $1 AND m.role IN ('owner', 'admin', 'billing')
         ON CONFLICT (kind, ref, recipient) DO NOTHING",
        org,
        letter.kind,
        event,
        letter.subject,
        letter.body,
        at
    )
    .execute(&mut **tx)
    .await
    .named("mail: queue")?;
    Ok(())
}

struct Row {
    id: i64,
    org_id: Uuid,
    recipient: String,
    kind: String,
    subject: String,
    body: String,
    created_at: Moment,
    sent_at: Option<Moment>,
}

impl From<Row> for Outgoing {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            org: OrgId::from_uuid(row.org_id),
            to: row.recipient,
            letter: Letter { kind: row.kind, subject: row.subject, body: row.body },
            created_at: row.created_at,
            sent_at: row.sent_at,
        }
    }
}

#[async_trait]
impl MailOutbox for PgStore {
    async fn latest_mail(&self, limit: u32) -> Result<Vec<Outgoing>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "SELECT id, org_id, recipient, kind, subject, body, created_at, sent_at
             FROM mail_outbox ORDER BY id DESC LIMIT $1",
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("latest_mail")?;
        Ok(rows.into_iter().map(Outgoing::from).collect())
    }

    async fn unsent_mail(&self, limit: u32) -> Result<Vec<Outgoing>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "SELECT id, org_id, recipient, kind, subject, body, created_at, sent_at
             FROM mail_outbox WHERE sent_at IS NULL ORDER BY id LIMIT $1",
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("unsent_mail")?;
        Ok(rows.into_iter().map(Outgoing::from).collect())
    }

    async fn mark_sent(&self, id: i64, at: Moment) -> Result<(), StoreError> {
        sqlx::query!("UPDATE mail_outbox SET sent_at = $2 WHERE id = $1 AND sent_at IS NULL", id, at)
            .execute(&self.pool)
            .await
            .named("mark_sent")?;
        Ok(())
    }
}
