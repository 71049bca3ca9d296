//! I17 and I22: epochs do not run ahead, and the liability to all customers adds up from its sources.

use super::{Breach, Rule, Tx};
use crate::error::Named as _;
use billing::verify::Finding;
use kernel::StoreError;

pub(super) async fn epochs(tx: Tx<'_, '_>) -> Result<Finding, StoreError> {
    let checked =
        sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM ledger_movement WHERE class = 'charge'"#)
            .fetch_one(&mut **tx)
            .await
            .named("audit: I17")?;
    let breaches = sqlx::query_as!(
        Breach,
        r#"WITH breach AS (
               SELECT format('ledger_movement %s %s: epoch %s, shard %s is at %s', m.id, m.class,
                             coalesce(m.epoch::text, 'none'), a.shard, coalesce(e.epoch::text, 'none')) AS line
               FROM ledger_movement m JOIN account a ON a.id = CASE m.class WHEN 'charge' THEN m.debit
                    ELSE CASE WHEN EXISTS (SELECT 1 FROM account x WHERE x.id = m.debit) THEN m.debit ELSE m.credit END END
               LEFT JOIN shard_epoch e ON e.shard = a.shard
               WHERE m.class IN ('charge', 'adjust', 'adjust_2', 'adjust_3') AND (m.epoch IS NULL OR e.epoch IS NULL OR m.epoch > e.epoch)
               UNION ALL
               SELECT format('shard %s has an epoch and no cursor', e.shard)
               FROM shard_epoch e LEFT JOIN ingest_cursor c ON c.shard = e.shard WHERE c.shard IS NULL)
           SELECT line AS "line!", count(*) OVER () AS "total!" FROM breach ORDER BY line LIMIT 10"#
    )
    .fetch_all(&mut **tx)
    .await
    .named("audit: I17")?;
    let rule = "no settlement carries an epoch that its shard has not reached";
    Ok(Rule { id: "I17", rule, checked }.verdict(breaches))
}

pub(super) async fn liability(tx: Tx<'_, '_>) -> Result<Finding, StoreError> {
    let sums = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM account_state) AS "accounts!",
                  (SELECT coalesce(sum(posted_nano_usd), 0)::text FROM account_state) AS "posted!",
                  ((SELECT coalesce(sum(amount_cents), 0) * 10000000 FROM purchase WHERE state = 'granted')
                   + (SELECT coalesce(sum(delta_nano_usd), 0) FROM credit_outbox
                      WHERE reason IN ('promo', 'refund', 'dispute'))
                   - (SELECT coalesce(sum(charge_nano_usd), 0) FROM generation))::text AS "due!""#
    )
    .fetch_one(&mut **tx)
    .await
    .named("audit: I22")?;
    let breaches = if sums.posted == sums.due {
        Vec::new()
    } else {
        let line = format!(
            "customers have {}, purchases and promos less refunds and charges are {}",
            sums.posted, sums.due
        );
        vec![Breach { line, total: 1 }]
    };
    let rule = "all customers' balances are purchases and promos less refunds, disputes and charges";
    Ok(Rule { id: "I22", rule, checked: sums.accounts }.verdict(breaches))
}
