//! Staff and their sessions: separate tables, never joined with customers.

use crate::PgStore;
use crate::error::Named as _;
use accounts::Email;
use accounts::ports::{Staff, StaffDesk};
use async_trait::async_trait;
use kernel::ids::StaffId;
use kernel::{Moment, StoreError};

#[async_trait]
impl StaffDesk for PgStore {
    async fn set_staff(&self, email: &Email, password_hash: &str, at: Moment) -> Result<StaffId, StoreError> {
        let mut tx = self.pool.begin().await.named("set_staff")?;
        let id = sqlx::query_scalar!(
            "INSERT INTO staff (id, email, password_hash, created_at, changed_at) VALUES ($1, $2, $3, $4, $4)
             ON CONFLICT (email) DO UPDATE SET password_hash = EXCLUDED.password_hash, changed_at = EXCLUDED.changed_at
             RETURNING id",
            self.new_id(),
            email.as_str(),
            password_hash,
            at
        )
        .fetch_one(&mut *tx)
        .await
        .named("set_staff")?;
        // A renewed password ends what was signed in with the old one.
        sqlx::query!("DELETE FROM staff_session WHERE staff_id = $1", id)
            .execute(&mut *tx)
            .await
            .named("set_staff: sessions")?;
        sqlx::query!(
            "INSERT INTO audit_log (at, actor, action, subject, detail) VALUES ($1, 'command line', 'staff.set', $2, '{}')",
            at,
            email.as_str()
        )
        .execute(&mut *tx)
        .await
        .named("set_staff: audit")?;
        tx.commit().await.named("set_staff: commit")?;
        Ok(StaffId::from_uuid(id))
    }

    async fn staff_credentials(&self, email: &Email) -> Result<Option<(StaffId, String)>, StoreError> {
        let row = sqlx::query!("SELECT id, password_hash FROM staff WHERE email = $1", email.as_str())
            .fetch_optional(&self.pool)
            .await
            .named("staff_credentials")?;
        Ok(row.map(|row| (StaffId::from_uuid(row.id), row.password_hash)))
    }

    async fn add_staff_session(
        &self,
        staff: StaffId,
        digest: &[u8; 32],
        at: Moment,
        expires_at: Moment,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "WITH lapsed AS (DELETE FROM staff_session WHERE staff_id = $2 AND expires_at <= $3)
             INSERT INTO staff_session (digest, staff_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
            digest.as_slice(),
            staff.uuid(),
            at,
            expires_at
        )
        .execute(&self.pool)
        .await
        .named("add_staff_session")?;
        Ok(())
    }

    async fn staff_session(&self, digest: &[u8; 32], now: Moment) -> Result<Option<Staff>, StoreError> {
        let row = sqlx::query!(
            "SELECT s.id, s.email FROM staff_session x JOIN staff s ON s.id = x.staff_id
             WHERE x.digest = $1 AND x.expires_at > $2",
            digest.as_slice(),
            now
        )
        .fetch_optional(&self.pool)
        .await
        .named("staff_session")?;
        Ok(row.map(|row| Staff { id: StaffId::from_uuid(row.id), email: row.email }))
    }

    async fn end_staff_session(&self, digest: &[u8; 32]) -> Result<(), StoreError> {
        sqlx::query!("DELETE FROM staff_session WHERE digest = $1", digest.as_slice())
            .execute(&self.pool)
            .await
            .named("end_staff_session")?;
        Ok(())
    }
}
