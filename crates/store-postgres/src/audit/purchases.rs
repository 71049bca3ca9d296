//! I12: a granted purchase granted what was paid, once, with the fee of its day; others granted nothing.

use super::usage::in_force;
use super::{Breaches, Rule, Tx};
use crate::convert::document;
use crate::error::Named as _;
use billing::fees::PurchaseFee;
use billing::verify::Finding;
use futures_util::TryStreamExt as _;
use kernel::{Cents, Moment, NanoUsd, StoreError};
use uuid::Uuid;

struct Row {
    id: Uuid,
    amount_cents: i64,
    fee_cents: i64,
    state: String,
    created_at: Moment,
    credited: i64,
    fee_booked: i64,
    told: i64,
    told_times: i64,
}

pub(super) async fn check(tx: Tx<'_, '_>) -> Result<Finding, StoreError> {
    let rules = rules(tx).await?;
    let mut breaches = Breaches::default();
    strangers(tx, &mut breaches).await?;
    super::money_back::check(tx, &mut breaches).await?;
    let mut checked: i64 = 0;
    let mut rows = sqlx::query_as!(
        Row,
        r#"SELECT p.id AS "id!", p.amount_cents AS "amount_cents!", p.fee_cents AS "fee_cents!", p.state AS "state!",
                  p.created_at AS "created_at!",
                  coalesce(c.amount_nano_usd, 0) AS "credited!", coalesce(f.amount_nano_usd, 0) AS "fee_booked!",
                  coalesce(o.delta, 0)::bigint AS "told!", coalesce(o.times, 0) AS "told_times!"
           FROM purchase p
           LEFT JOIN ledger_movement c ON c.id = p.id AND c.class = 'credit' AND c.day = uuid7_day(p.id)
                AND c.credit = p.account_id
           LEFT JOIN ledger_movement f ON f.id = p.id AND f.class = 'fee' AND f.day = uuid7_day(p.id)
           LEFT JOIN (SELECT account_id, ref, sum(delta_nano_usd) AS delta, count(*) AS times FROM credit_outbox
                      WHERE reason = 'purchase' GROUP BY account_id, ref) o ON o.ref = p.id AND o.account_id = p.account_id"#
    )
    .fetch(&mut **tx);
    while let Some(row) = rows.try_next().await.named("audit: I12")? {
        checked += 1;
        if let Some(line) = breach(&row, &rules) {
            breaches.add(line);
        }
    }
    let rule = "a granted purchase credited its amount exactly once with the fee of its day, at most what was paid went back, and nothing else moved money";
    Ok(Rule { id: "I12", rule, checked }.finding(breaches.count, breaches.lines))
}

async fn rules(tx: Tx<'_, '_>) -> Result<Vec<(Moment, PurchaseFee)>, StoreError> {
    let rows =
        sqlx::query!("SELECT valid_from, rule FROM fee_rule WHERE kind = 'purchase' ORDER BY valid_from")
            .fetch_all(&mut **tx)
            .await
            .named("audit: fee rules")?;
    rows.into_iter()
        .map(|row| Ok((row.valid_from, document("fee_rule.rule", "purchase", row.rule)?)))
        .collect()
}

/// Credits and fees in the ledger that no purchase asked for.
async fn strangers(tx: Tx<'_, '_>, breaches: &mut Breaches) -> Result<(), StoreError> {
    let mut rows = sqlx::query!(
        "SELECT m.id, m.class, m.amount_nano_usd FROM ledger_movement m LEFT JOIN purchase p ON p.id = m.id
         WHERE m.class IN ('credit', 'fee') AND p.id IS NULL"
    )
    .fetch(&mut **tx);
    while let Some(row) = rows.try_next().await.named("audit: I12")? {
        breaches.add(format!(
            "ledger_movement {} {}: {} without a purchase",
            row.id, row.class, row.amount_nano_usd
        ));
    }
    Ok(())
}

fn breach(row: &Row, rules: &[(Moment, PurchaseFee)]) -> Option<String> {
    let expected_fee = in_force(rules, row.created_at).map(|rule| rule.fee(Cents::new(row.amount_cents)));
    if expected_fee != Some(Ok(Cents::new(row.fee_cents))) {
        return Some(format!(
            "purchase {}: fee {} on {} is not the rule's",
            row.id, row.fee_cents, row.amount_cents
        ));
    }
    let granted = row.state == "granted";
    let due = |cents: i64| if granted { NanoUsd::from(Cents::new(cents)).get() } else { 0 };
    let expected = (due(row.amount_cents), due(row.fee_cents), due(row.amount_cents), i64::from(granted));
    let found = (row.credited, row.fee_booked, row.told, row.told_times);
    (expected != found).then(|| {
        format!(
            "purchase {} ({}): credit, fee, credit told and times told are {found:?} instead of {expected:?}",
            row.id, row.state
        )
    })
}
