//! I1, I2, I3, I7: balances, movements, generations and sequences agree with each other.

use super::{Breach, Rule, Tx};
use crate::error::Named as _;
use billing::verify::Finding;
use kernel::StoreError;

pub(super) async fn check(tx: Tx<'_, '_>) -> Result<Vec<Finding>, StoreError> {
    let counts = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM account_state) AS "accounts!",
                  (SELECT count(*) FROM ledger_movement) AS "movements!",
                  (SELECT count(*) FROM generation) AS "generations!""#
    )
    .fetch_one(&mut **tx)
    .await
    .named("audit: counts")?;
    Ok(vec![
        balances(tx, counts.accounts).await?,
        double_entry(tx, counts.movements).await?,
        charges(tx, counts.generations).await?,
        sequences(tx, counts.accounts).await?,
    ])
}

async fn balances(tx: Tx<'_, '_>, checked: i64) -> Result<Finding, StoreError> {
    let breaches = sqlx::query_as!(
        Breach,
        r#"WITH moved AS (
               SELECT account, sum(amount) AS amount
               FROM (SELECT credit AS account, amount_nano_usd AS amount FROM ledger_movement
                     UNION ALL SELECT debit, -amount_nano_usd FROM ledger_movement) AS sides
               GROUP BY account),
           granted AS (SELECT account_id, sum(delta_nano_usd) AS amount FROM credit_outbox WHERE is_grant GROUP BY account_id),
           breach AS (
               SELECT format('account_state %s: posted %s, its movements sum to %s', s.account_id, s.posted_nano_usd,
                             coalesce(m.amount, 0)) AS line
               FROM account_state s LEFT JOIN moved m ON m.account = s.account_id
               WHERE s.posted_nano_usd <> coalesce(m.amount, 0)
               UNION ALL
               SELECT format('account_state %s: granted %s, its grants sum to %s', s.account_id, s.granted_nano_usd,
                             coalesce(g.amount, 0))
               FROM account_state s LEFT JOIN granted g ON g.account_id = s.account_id
               WHERE s.granted_nano_usd <> coalesce(g.amount, 0)
               UNION ALL
               SELECT format('account %s has no account_state', a.id)
               FROM account a LEFT JOIN account_state s ON s.account_id = a.id WHERE s.account_id IS NULL
               UNION ALL
               SELECT format('ledger_divergence %s: after generation %s the ledger had %s and the engine %s', id,
                             generation_id, expected_nano_usd, found_nano_usd)
               FROM ledger_divergence WHERE kind = 'balance' AND resolved_at IS NULL)
           SELECT line AS "line!", count(*) OVER () AS "total!" FROM breach ORDER BY line LIMIT 10"#
    )
    .fetch_all(&mut **tx)
    .await
    .named("audit: I1")?;
    let rule =
        "every posted balance is the sum of the account's movements, and no booking differed from the engine";
    Ok(Rule { id: "I1", rule, checked }.verdict(breaches))
}

async fn double_entry(tx: Tx<'_, '_>, checked: i64) -> Result<Finding, StoreError> {
    let breaches = sqlx::query_as!(
        Breach,
        r#"WITH breach AS (
               SELECT format('ledger_movement %s %s: amount %s from %s to %s', m.id, m.class, m.amount_nano_usd,
                             coalesce(d.kind, 'stranger ' || m.debit), coalesce(c.kind, 'stranger ' || m.credit)) AS line
               FROM ledger_movement m
               LEFT JOIN ledger_account d ON d.id = m.debit LEFT JOIN ledger_account c ON c.id = m.credit
               WHERE m.amount_nano_usd <= 0 OR m.debit = m.credit OR d.id IS NULL OR c.id IS NULL)
           SELECT line AS "line!", count(*) OVER () AS "total!" FROM breach ORDER BY line LIMIT 10"#
    )
    .fetch_all(&mut **tx)
    .await
    .named("audit: I2")?;
    let rule = "every movement has an amount above zero and two different known accounts, so all balances sum to zero";
    Ok(Rule { id: "I2", rule, checked }.verdict(breaches))
}

async fn charges(tx: Tx<'_, '_>, checked: i64) -> Result<Finding, StoreError> {
    let breaches = sqlx::query_as!(
        Breach,
        r#"WITH booked AS (
               SELECT m.id, m.day, array_agg(DISTINCT coalesce(d.account_id, c.account_id))
                          FILTER (WHERE m.class IN ('charge', 'adjust', 'adjust_2', 'adjust_3')) AS customers,
                      coalesce(sum(CASE WHEN d.account_id IS NULL THEN -m.amount_nano_usd ELSE m.amount_nano_usd END)
                          FILTER (WHERE m.class IN ('charge', 'adjust', 'adjust_2', 'adjust_3')), 0) AS charge,
                      coalesce(sum(m.amount_nano_usd) FILTER (WHERE m.class = 'cost'), 0) AS cost,
                      coalesce(sum(m.amount_nano_usd) FILTER (WHERE m.class = 'insurance'), 0) AS uncollected
               FROM ledger_movement m
               LEFT JOIN ledger_account d ON d.id = m.debit LEFT JOIN ledger_account c ON c.id = m.credit
               WHERE m.class IN ('charge', 'adjust', 'adjust_2', 'adjust_3', 'cost', 'insurance') GROUP BY m.id, m.day),
           breach AS (
               SELECT CASE WHEN g.id IS NULL THEN format('movements of %s have no generation', b.id)
                      ELSE format('generation %s: charge %s, cost %s, uncollected %s; movements %s, %s, %s', g.id,
                                  g.charge_nano_usd, g.provider_cost_nano_usd, g.uncollected_nano_usd,
                                  coalesce(b.charge, 0), coalesce(b.cost, 0), coalesce(b.uncollected, 0)) END AS line
               FROM generation g FULL JOIN booked b ON b.id = g.id AND b.day = g.day
               WHERE g.id IS NULL OR g.charge_nano_usd <> coalesce(b.charge, 0)
                  OR g.provider_cost_nano_usd <> coalesce(b.cost, 0)
                  OR g.uncollected_nano_usd <> coalesce(b.uncollected, 0)
                  OR b.customers <> ARRAY[g.account_id])
           SELECT line AS "line!", count(*) OVER () AS "total!" FROM breach ORDER BY line LIMIT 10"#
    )
    .fetch_all(&mut **tx)
    .await
    .named("audit: I3")?;
    let rule = "every charge of a generation has exactly its movements on its own account, and every such movement its generation";
    Ok(Rule { id: "I3", rule, checked }.verdict(breaches))
}

async fn sequences(tx: Tx<'_, '_>, checked: i64) -> Result<Finding, StoreError> {
    let breaches = sqlx::query_as!(
        Breach,
        r#"WITH credits AS (SELECT account_id, count(*) AS rows, max(seq) AS last FROM credit_outbox GROUP BY account_id),
           debits AS (SELECT account_id, max(debit_seq) AS last FROM generation GROUP BY account_id),
           breach AS (
               SELECT format('account_state %s: credit_seq %s, outbox has %s rows up to %s', s.account_id, s.credit_seq,
                             coalesce(c.rows, 0), coalesce(c.last, 0)) AS line
               FROM account_state s LEFT JOIN credits c ON c.account_id = s.account_id
               WHERE s.credit_seq <> coalesce(c.rows, 0) OR s.credit_seq <> coalesce(c.last, 0)
               UNION ALL
               SELECT format('account_state %s: debit_seq %s, a generation has %s', s.account_id, s.debit_seq, d.last)
               FROM account_state s JOIN debits d ON d.account_id = s.account_id WHERE d.last > s.debit_seq
               UNION ALL
               SELECT format('account %s: debit %s of epoch %s was booked %s times', account_id, debit_seq, epoch, count(*))
               FROM generation WHERE debit_seq > 0 GROUP BY account_id, epoch, debit_seq HAVING count(*) > 1
               UNION ALL
               SELECT format('ledger_divergence %s: account %s expected debit %s and got %s', id, account_id,
                             expected_nano_usd, found_nano_usd)
               FROM ledger_divergence WHERE kind = 'debit_gap' AND resolved_at IS NULL)
           SELECT line AS "line!", count(*) OVER () AS "total!" FROM breach ORDER BY line LIMIT 10"#
    )
    .fetch_all(&mut **tx)
    .await
    .named("audit: I7")?;
    let rule = "credits of an account are numbered without gaps, and no debit is missing or booked twice";
    Ok(Rule { id: "I7", rule, checked }.verdict(breaches))
}
