//! People and their browser sessions. Sign-up makes everything a customer needs in one transaction.

use crate::PgStore;
use crate::convert::{nano, shard};
use crate::error::Named as _;
use accounts::ports::{NewPerson, People, SignUp, SignedIn};
use accounts::{Email, Member, OrgSummary, Role};
use async_trait::async_trait;
use kernel::ids::{AccountId, MemberId, OrgId, PersonId, WorkspaceId};
use kernel::{AccountRef, Moment, StoreError};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

/// The ids drawn for a sign-up.
struct Drawn {
    person: Uuid,
    org: Uuid,
    account: Uuid,
    member: Uuid,
    workspace: Uuid,
}

#[async_trait]
impl People for PgStore {
    async fn sign_up(&self, person: &NewPerson) -> Result<SignUp, StoreError> {
        let ids = Drawn {
            person: self.new_id(),
            org: self.new_id(),
            account: self.new_id(),
            member: self.new_id(),
            workspace: self.new_id(),
        };
        let mut tx = self.pool.begin().await.named("sign_up")?;
        let made = sqlx::query!(
            "INSERT INTO person (id, email, created_at) VALUES ($1, $2, $3) ON CONFLICT (email) DO NOTHING",
            ids.person,
            person.email.as_str(),
            person.at
        )
        .execute(&mut *tx)
        .await
        .named("sign_up: person")?;
        if made.rows_affected() == 0 {
            return Ok(SignUp::EmailTaken);
        }
        add_owner(&mut tx, &ids, person).await?;
        add_account(&mut tx, &ids, person.at).await?;
        tx.commit().await.named("sign_up: commit")?;
        Ok(SignUp::Done {
            person: PersonId::from_uuid(ids.person),
            org: OrgId::from_uuid(ids.org),
            member: MemberId::from_uuid(ids.member),
        })
    }

    async fn credentials(&self, email: &Email) -> Result<Option<(PersonId, String)>, StoreError> {
        let row = sqlx::query!(
            "SELECT p.id, c.password_hash FROM person p JOIN person_credential c ON c.person_id = p.id
             WHERE p.email = $1",
            email.as_str()
        )
        .fetch_optional(&self.pool)
        .await
        .named("credentials")?;
        Ok(row.map(|row| (PersonId::from_uuid(row.id), row.password_hash)))
    }

    async fn add_session(
        &self,
        person: PersonId,
        digest: &[u8; 32],
        at: Moment,
        expires_at: Moment,
    ) -> Result<(), StoreError> {
        // The person's lapsed sessions go with the new one, so the table does not grow for ever.
        sqlx::query!(
            "WITH lapsed AS (DELETE FROM session WHERE person_id = $2 AND expires_at <= $3)
             INSERT INTO session (digest, person_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
            digest.as_slice(),
            person.uuid(),
            at,
            expires_at
        )
        .execute(&self.pool)
        .await
        .named("add_session")?;
        Ok(())
    }

    async fn session(&self, digest: &[u8; 32], now: Moment) -> Result<Option<SignedIn>, StoreError> {
        // With several organizations the personal one is meant, then the one joined first.
        let row = sqlx::query!(
            "SELECT s.person_id, s.expires_at, p.email, m.id AS member_id, m.role, m.joined_at,
                    o.id AS org_id, o.name, o.personal, a.id AS account_id, a.shard, w.id AS workspace_id
             FROM session s
             JOIN person p ON p.id = s.person_id
             JOIN member m ON m.person_id = p.id
             JOIN organization o ON o.id = m.org_id
             JOIN account a ON a.org_id = o.id
             JOIN workspace w ON w.org_id = o.id AND w.is_default
             WHERE s.digest = $1 AND s.expires_at > $2
             ORDER BY o.personal DESC, m.joined_at, m.id LIMIT 1",
            digest.as_slice(),
            now
        )
        .fetch_optional(&self.pool)
        .await
        .named("session")?;
        let Some(row) = row else { return Ok(None) };
        let role = Role::parse(&row.role)
            .ok_or_else(|| StoreError::corrupt(format!("member.role of {}: {}", row.member_id, row.role)))?;
        let person = PersonId::from_uuid(row.person_id);
        let account = AccountRef { account: AccountId::from_uuid(row.account_id), shard: shard(row.shard)? };
        let org = OrgSummary {
            id: OrgId::from_uuid(row.org_id),
            name: row.name,
            account,
            default_workspace: WorkspaceId::from_uuid(row.workspace_id),
            personal: row.personal,
        };
        let member = Member {
            id: MemberId::from_uuid(row.member_id),
            person,
            email: row.email.clone(),
            role,
            joined_at: row.joined_at,
        };
        Ok(Some(SignedIn { person, email: row.email, org, member, expires_at: row.expires_at }))
    }

    async fn end_session(&self, digest: &[u8; 32]) -> Result<(), StoreError> {
        sqlx::query!("DELETE FROM session WHERE digest = $1", digest.as_slice())
            .execute(&self.pool)
            .await
            .named("end_session")?;
        Ok(())
    }
}

async fn add_owner(
    tx: &mut Transaction<'_, Postgres>,
    ids: &Drawn,
    person: &NewPerson,
) -> Result<(), StoreError> {
    let name = person.email.as_str().split('@').next().unwrap_or("Personal");
    sqlx::query!(
        "WITH credential AS (
             INSERT INTO person_credential (person_id, password_hash, changed_at) VALUES ($1, $2, $3)
         ), org AS (
             INSERT INTO organization (id, name, personal, created_at) VALUES ($4, $5, true, $3)
         ), owner AS (
             INSERT INTO member (id, org_id, person_id, role, joined_at) VALUES ($6, $4, $1, 'owner', $3)
         )
         INSERT INTO workspace (id, org_id, name, is_default, created_at) VALUES ($7, $4, 'Default', true, $3)",
        ids.person,
        person.password_hash,
        person.at,
        ids.org,
        name,
        ids.member,
        ids.workspace
    )
    .execute(&mut **tx)
    .await
    .named("sign_up: organization")?;
    Ok(())
}

async fn add_account(tx: &mut Transaction<'_, Postgres>, ids: &Drawn, at: Moment) -> Result<(), StoreError> {
    let shard = billing::engine::shard_of(AccountId::from_uuid(ids.account));
    sqlx::query!(
        "WITH account AS (
             INSERT INTO account (id, org_id, shard, created_at) VALUES ($1, $2, $3, $4)
         ), ledger AS (
             INSERT INTO ledger_account (id, kind, account_id) VALUES ($1, 'customer_credit', $1)
         )
         INSERT INTO account_state (account_id, posted_nano_usd) VALUES ($1, $5)",
        ids.account,
        ids.org,
        i16::from(shard),
        at,
        nano(0).get()
    )
    .execute(&mut **tx)
    .await
    .named("sign_up: account")?;
    Ok(())
}
