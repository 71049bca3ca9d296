//! Switching providers and endpoints off at once, and on again. A log that is only added to; the last entry
//! about a subject counts.

use crate::PgStore;
use crate::error::Named as _;
use async_trait::async_trait;
use catalog::switch::{KillSwitch, SwitchEntry, SwitchKind, Switched, Turn};
use kernel::{Moment, StoreError};
use sqlx::{Postgres, Transaction};
use std::collections::HashSet;

#[async_trait]
impl KillSwitch for PgStore {
    async fn turn(&self, turn: &Turn<'_>, at: Moment) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await.named("kill switch")?;
        if !known(&mut tx, turn).await? {
            return Ok(false);
        }
        sqlx::query!(
            "INSERT INTO kill_switch (kind, subject, off, by, at, reason) VALUES ($1, $2, $3, $4, $5, $6)",
            turn.kind.as_str(),
            turn.subject,
            turn.off,
            turn.by,
            at,
            turn.reason
        )
        .execute(&mut *tx)
        .await
        .named("kill switch")?;
        sqlx::query!(
            "INSERT INTO audit_log (at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)",
            at,
            turn.by,
            if turn.off { "catalog.switch_off" } else { "catalog.switch_on" },
            format!("{}:{}", turn.kind.as_str(), turn.subject),
            serde_json::json!({ "reason": turn.reason })
        )
        .execute(&mut *tx)
        .await
        .named("kill switch: audit")?;
        // Any number makes every process load the catalog anew.
        sqlx::query!("SELECT pg_notify('farebox_catalog', '0')")
            .execute(&mut *tx)
            .await
            .named("kill switch: notice")?;
        tx.commit().await.named("kill switch: commit")?;
        Ok(true)
    }

    async fn switch_log(&self, limit: u32) -> Result<Vec<SwitchEntry>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT kind, subject, off, by, at, reason FROM kill_switch ORDER BY seq DESC LIMIT $1"#,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .named("switch log")?;
        let entry = |kind: &str| {
            SwitchKind::parse(kind).ok_or_else(|| StoreError::corrupt(format!("kill_switch.kind: {kind}")))
        };
        rows.into_iter()
            .map(|row| {
                let kind = entry(&row.kind)?;
                let (subject, off, by, at, reason) = (row.subject, row.off, row.by, row.at, row.reason);
                Ok(SwitchEntry { kind, subject, off, by, at, reason })
            })
            .collect()
    }
}

async fn known(tx: &mut Transaction<'_, Postgres>, turn: &Turn<'_>) -> Result<bool, StoreError> {
    sqlx::query_scalar!(
        r#"SELECT CASE $1 WHEN 'provider' THEN EXISTS (SELECT 1 FROM provider WHERE slug = $2)
                          ELSE EXISTS (SELECT 1 FROM endpoint WHERE model || ' at ' || tag = $2) END AS "known!""#,
        turn.kind.as_str(),
        turn.subject
    )
    .fetch_one(&mut **tx)
    .await
    .named("kill switch: subject")
}

/// What is switched off now.
pub(crate) async fn switched(tx: &mut Transaction<'_, Postgres>) -> Result<Switched, StoreError> {
    let rows = sqlx::query!(
        "SELECT DISTINCT ON (kind, subject) kind, subject, off, seq FROM kill_switch
         ORDER BY kind, subject, seq DESC"
    )
    .fetch_all(&mut **tx)
    .await
    .named("catalog: switches")?;
    let seq = rows.iter().map(|row| row.seq).max().unwrap_or_default();
    let off = |kind: SwitchKind| -> HashSet<String> {
        let ours = rows.iter().filter(|row| row.off && row.kind == kind.as_str());
        ours.map(|row| row.subject.clone()).collect()
    };
    Ok(Switched { seq, providers: off(SwitchKind::Provider), endpoints: off(SwitchKind::Endpoint) })
}

impl PgStore {
    /// Counts the turns of the switch: cheap, for polling.
    pub async fn switch_seq(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar!(r#"SELECT coalesce(max(seq), 0) AS "seq!" FROM kill_switch"#)
            .fetch_one(&self.pool)
            .await
            .named("switch seq")
    }
}
