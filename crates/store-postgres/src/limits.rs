//! Spending limits (caps) of keys, members, workspaces and organizations, as rows.
//!
//! The engine enforces them; it learns a change by notice, or asks when it meets a cap it does not know.

use crate::PgStore;
use crate::error::Named as _;
use crate::windows::Starts;
use accounts::api_key::LimitReset;
use accounts::limits::{LimitOwner, Limits, MemberCaps, SpendingLimit};
use async_trait::async_trait;
use billing::engine::CapPeriod;
use kernel::ids::{AccountId, MemberId, OrgId, WorkspaceId};
use kernel::{Moment, NanoUsd, StoreError};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

/// The cap's name and the id of what it bounds.
pub(crate) struct Owner {
    pub(crate) cap: String,
    pub(crate) id: Uuid,
}

pub(crate) fn period(reset: LimitReset) -> CapPeriod {
    match reset {
        LimitReset::None => CapPeriod::Total,
        LimitReset::Daily => CapPeriod::Daily,
        LimitReset::Weekly => CapPeriod::Weekly,
        LimitReset::Monthly => CapPeriod::Monthly,
    }
}

impl PgStore {
    /// Sets or (with `None`) removes the limit of a member, a workspace or the whole organization.
    ///
    /// # Errors
    /// `Conflict` when the organization has no such member or workspace.
    pub async fn set_limit(
        &self,
        org: OrgId,
        owner: LimitOwner,
        limit: Option<(NanoUsd, CapPeriod)>,
        at: Moment,
    ) -> Result<(), StoreError> {
        if !self.set_spending(org, owner, limit, at).await? {
            return Err(StoreError::conflict(format!("set_limit: {} is not of {org}", owner.cap(org))));
        }
        Ok(())
    }

    /// The same; `false` when the organization has no such member or workspace.
    async fn set_spending(
        &self,
        org: OrgId,
        owner: LimitOwner,
        limit: Option<(NanoUsd, CapPeriod)>,
        at: Moment,
    ) -> Result<bool, StoreError> {
        let owner = Owner { cap: owner.cap(org), id: owner_id(org, owner) };
        let mut tx = self.pool.begin().await.named("set_limit")?;
        let ours = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM organization WHERE id = $1 AND id = $2
                              UNION ALL SELECT 1 FROM member WHERE org_id = $1 AND id = $2
                              UNION ALL SELECT 1 FROM workspace WHERE org_id = $1 AND id = $2) AS "ours!""#,
            org.uuid(),
            owner.id
        )
        .fetch_one(&mut *tx)
        .await
        .named("set_limit: owner")?;
        if !ours {
            return Ok(false);
        }
        match limit {
            Some((limit, period)) => put(&mut tx, org, &owner, limit, period, at).await?,
            None => remove(&mut tx, org, &owner).await?,
        }
        // Which caps apply is part of every remembered key record.
        sqlx::query!("SELECT pg_notify('farebox_keys', 'all')").execute(&mut *tx).await.named("set_limit")?;
        tx.commit().await.named("set_limit: commit")?;
        Ok(true)
    }
}

fn owner_id(org: OrgId, owner: LimitOwner) -> Uuid {
    match owner {
        LimitOwner::Member(id) => id.uuid(),
        LimitOwner::Workspace(id) => id.uuid(),
        LimitOwner::Organization => org.uuid(),
    }
}

#[async_trait]
impl Limits for PgStore {
    async fn set_spending_limit(
        &self,
        org: OrgId,
        owner: LimitOwner,
        limit: Option<SpendingLimit>,
        at: Moment,
    ) -> Result<bool, StoreError> {
        self.set_spending(org, owner, limit.map(|(limit, reset)| (limit, period(reset))), at).await
    }

    async fn spending_limit(
        &self,
        org: OrgId,
        owner: LimitOwner,
    ) -> Result<Option<SpendingLimit>, StoreError> {
        let row = sqlx::query!(
            "SELECT c.limit_nano_usd, c.period FROM cap c JOIN account a ON a.id = c.account_id
             WHERE a.org_id = $1 AND c.cap_id = $2",
            org.uuid(),
            owner.cap(org)
        )
        .fetch_optional(&self.pool)
        .await
        .named("spending limit")?;
        // The column's CHECK admits no fifth letter.
        let reset = |code: &str| match code {
            "d" => LimitReset::Daily,
            "w" => LimitReset::Weekly,
            "m" => LimitReset::Monthly,
            _ => LimitReset::None,
        };
        Ok(row.map(|row| (NanoUsd::new(row.limit_nano_usd), reset(&row.period))))
    }
}

#[async_trait]
impl MemberCaps for PgStore {
    async fn member_caps(
        &self,
        org: OrgId,
        workspace: WorkspaceId,
        member: MemberId,
    ) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar!(
            "SELECT c.cap_id FROM cap c JOIN account a ON a.id = c.account_id
             WHERE a.org_id = $1 AND c.owner_id IN ($1, $2, $3) ORDER BY c.cap_id",
            org.uuid(),
            workspace.uuid(),
            member.uuid()
        )
        .fetch_all(&self.pool)
        .await
        .named("caps of a member")
    }
}

/// Writes a cap. A change of period starts a new window, as in the engine.
pub(crate) async fn put(
    tx: &mut Transaction<'_, Postgres>,
    org: OrgId,
    owner: &Owner,
    limit: NanoUsd,
    period: CapPeriod,
    at: Moment,
) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM cap_usage u USING account a, cap c
         WHERE a.org_id = $1 AND c.account_id = a.id AND c.cap_id = $2 AND c.period <> $3
           AND u.account_id = a.id AND u.cap_id = c.cap_id",
        org.uuid(),
        owner.cap,
        period.code()
    )
    .execute(&mut **tx)
    .await
    .named("cap: new window")?;
    let row = sqlx::query!(
        r#"INSERT INTO cap (account_id, cap_id, owner_id, limit_nano_usd, period, updated_at)
         SELECT id, $2, $3, $4, $5, $6 FROM account WHERE org_id = $1
         ON CONFLICT (account_id, cap_id) DO UPDATE
         SET limit_nano_usd = EXCLUDED.limit_nano_usd, period = EXCLUDED.period, updated_at = EXCLUDED.updated_at
         RETURNING account_id, (xmax = 0) AS "is_new!""#,
        org.uuid(),
        owner.cap,
        owner.id,
        limit.get(),
        period.code(),
        at
    )
    .fetch_optional(&mut **tx)
    .await
    .named("cap: put")?;
    if let Some(row) = row.as_ref().filter(|row| row.is_new) {
        count_the_past(tx, row.account_id, owner, period, at).await?;
    }
    tell(tx, row.map(|row| row.account_id), owner).await
}

/// A first limit on a key that was used before counts what it used in the current window. A cap that was
/// there before, even if it was removed in between, keeps its own count, which is the engine's.
async fn count_the_past(
    tx: &mut Transaction<'_, Postgres>,
    account: Uuid,
    owner: &Owner,
    period: CapPeriod,
    at: Moment,
) -> Result<(), StoreError> {
    let starts = Starts::of(at);
    let from = match period {
        CapPeriod::Total => chrono::NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default(),
        CapPeriod::Daily => starts.day,
        CapPeriod::Weekly => starts.week,
        CapPeriod::Monthly => starts.month,
    };
    sqlx::query!(
        "INSERT INTO cap_usage (account_id, cap_id, window_id, used_nano_usd)
         SELECT $1, $2, $3, sum(charge_nano_usd)::bigint FROM usage_daily
         WHERE key_id = $4 AND day >= $5
           AND NOT EXISTS (SELECT 1 FROM cap_usage WHERE account_id = $1 AND cap_id = $2)
         HAVING sum(charge_nano_usd) > 0",
        account,
        owner.cap,
        period.window(at),
        owner.id,
        from
    )
    .execute(&mut **tx)
    .await
    .named("cap: past usage")?;
    Ok(())
}

/// Removes a cap; none is fine too. What it counted stays, and at least a zero does: the engine never forgets a
/// cap, so one that comes back must go on where the engine stands.
pub(crate) async fn remove(
    tx: &mut Transaction<'_, Postgres>,
    org: OrgId,
    owner: &Owner,
) -> Result<(), StoreError> {
    let account = sqlx::query_scalar!(
        "DELETE FROM cap c USING account a WHERE a.org_id = $1 AND c.account_id = a.id AND c.cap_id = $2
         RETURNING c.account_id",
        org.uuid(),
        owner.cap
    )
    .fetch_optional(&mut **tx)
    .await
    .named("cap: remove")?;
    if let Some(account) = account {
        sqlx::query!(
            "INSERT INTO cap_usage VALUES ($1, $2, 0, 0) ON CONFLICT DO NOTHING",
            account,
            owner.cap
        )
        .execute(&mut **tx)
        .await
        .named("cap: remembered")?;
    }
    tell(tx, account, owner).await
}

async fn tell(
    tx: &mut Transaction<'_, Postgres>,
    account: Option<Uuid>,
    owner: &Owner,
) -> Result<(), StoreError> {
    if let Some(account) = account {
        let payload = format!("{}:{}", AccountId::from_uuid(account), owner.cap);
        sqlx::query!("SELECT pg_notify('farebox_caps', $1)", payload)
            .execute(&mut **tx)
            .await
            .named("notice of a cap")?;
    }
    Ok(())
}
