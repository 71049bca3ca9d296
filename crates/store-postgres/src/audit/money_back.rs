//! The part of I12 about what went back: refunds and disputes have exactly their movements, the sums beside
//! a purchase are theirs, the engine was told of each, and who has an unsettled dispute is frozen.

use super::{Breach, Breaches, Tx};
use crate::error::Named as _;
use kernel::StoreError;

pub(super) async fn check(tx: Tx<'_, '_>, breaches: &mut Breaches) -> Result<(), StoreError> {
    let found = [movements(tx).await?, sums(tx).await?, told(tx).await?];
    for list in found {
        breaches.add_all(list);
    }
    Ok(())
}

/// Movements that must be there against movements that are.
async fn movements(tx: Tx<'_, '_>) -> Result<Vec<Breach>, StoreError> {
    sqlx::query_as!(
        Breach,
        r#"WITH clearing AS (SELECT platform_account('stripe_clearing', '') AS id),
           due AS (
               SELECT r.id, 'refund' AS class, p.account_id AS debit, c.id AS credit, r.amount_cents * 10000000 AS amount
               FROM refund r JOIN purchase p ON p.id = r.purchase_id, clearing c
               WHERE r.state IN ('debited', 'done', 'reversed')
               UNION ALL
               SELECT r.reversal_id, 'refund', c.id, p.account_id, r.amount_cents * 10000000
               FROM refund r JOIN purchase p ON p.id = r.purchase_id, clearing c WHERE r.state = 'reversed'
               UNION ALL
               SELECT d.id, 'dispute', p.account_id, c.id, d.amount_cents * 10000000
               FROM dispute d JOIN purchase p ON p.id = d.purchase_id, clearing c WHERE d.state IN ('open', 'won', 'lost')
               UNION ALL
               SELECT d.return_id, 'dispute', c.id, p.account_id, d.amount_cents * 10000000
               FROM dispute d JOIN purchase p ON p.id = d.purchase_id, clearing c WHERE d.state = 'won'
               UNION ALL
               SELECT d.id, 'write_off', platform_account('bad_debt', ''), p.account_id, d.written_off_nano_usd
               FROM dispute d JOIN purchase p ON p.id = d.purchase_id WHERE d.written_off_nano_usd > 0),
           booked AS (SELECT id, class, debit, credit, amount_nano_usd AS amount FROM ledger_movement
                      WHERE class IN ('refund', 'dispute', 'write_off')),
           breach AS (
               SELECT format('%s %s: booked %s, due %s', coalesce(d.class, b.class), coalesce(d.id, b.id),
                             coalesce(b.amount::text, 'nothing'), coalesce(d.amount::text, 'nothing')) AS line
               FROM due d FULL JOIN booked b ON b.id = d.id AND b.class = d.class
               WHERE d.id IS NULL OR b.id IS NULL OR (d.debit, d.credit, d.amount) <> (b.debit, b.credit, b.amount))
           SELECT line AS "line!", count(*) OVER () AS "total!" FROM breach ORDER BY line LIMIT 10"#
    )
    .fetch_all(&mut **tx)
    .await
    .named("audit: money back")
}

/// The sums that a purchase carries, and who is frozen.
async fn sums(tx: Tx<'_, '_>) -> Result<Vec<Breach>, StoreError> {
    sqlx::query_as!(
        Breach,
        r#"WITH back AS (
               SELECT purchase_id, sum(refunded) AS refunded, sum(disputed) AS disputed
               FROM (SELECT purchase_id, amount_cents AS refunded, 0 AS disputed FROM refund WHERE state IN ('debited', 'done')
                     UNION ALL
                     SELECT purchase_id, 0, amount_cents FROM dispute WHERE state IN ('open', 'lost')) AS one
               GROUP BY purchase_id),
           held AS (
               SELECT DISTINCT p.account_id FROM dispute d JOIN purchase p ON p.id = d.purchase_id
               WHERE d.state = 'open' OR d.state = 'lost' AND d.released_at IS NULL),
           breach AS (
               SELECT format('purchase %s: refunded %s, disputed %s; its refunds are %s, its disputes %s', p.id,
                             p.refunded_cents, p.disputed_cents, coalesce(b.refunded, 0), coalesce(b.disputed, 0)) AS line
               FROM purchase p LEFT JOIN back b ON b.purchase_id = p.id
               WHERE p.refunded_cents <> coalesce(b.refunded, 0) OR p.disputed_cents <> coalesce(b.disputed, 0)
                  OR p.refunded_cents + p.disputed_cents > p.amount_cents + p.fee_cents
               UNION ALL
               SELECT format('account %s: frozen is %s, an unsettled dispute is %s', s.account_id, s.frozen,
                             h.account_id IS NOT NULL)
               FROM account_state s LEFT JOIN held h ON h.account_id = s.account_id
               WHERE s.frozen <> (h.account_id IS NOT NULL))
           SELECT line AS "line!", count(*) OVER () AS "total!" FROM breach ORDER BY line LIMIT 10"#
    )
    .fetch_all(&mut **tx)
    .await
    .named("audit: money back")
}

/// What the engine was told of each, against what was booked.
async fn told(tx: Tx<'_, '_>) -> Result<Vec<Breach>, StoreError> {
    sqlx::query_as!(
        Breach,
        r#"WITH told AS (SELECT ref AS id, account_id, sum(delta_nano_usd) AS delta FROM credit_outbox
                         WHERE reason IN ('refund', 'dispute', 'promo') GROUP BY ref, account_id),
           booked AS (
               SELECT m.id, coalesce(d.account_id, c.account_id) AS account_id,
                      sum(CASE WHEN d.account_id IS NULL THEN m.amount_nano_usd ELSE -m.amount_nano_usd END) AS delta
               FROM ledger_movement m
               LEFT JOIN ledger_account d ON d.id = m.debit LEFT JOIN ledger_account c ON c.id = m.credit
               WHERE m.class IN ('refund', 'dispute', 'write_off', 'promo')
                 AND coalesce(d.account_id, c.account_id) IS NOT NULL
               GROUP BY m.id, coalesce(d.account_id, c.account_id)),
           breach AS (
               SELECT format('%s of account %s: booked %s, the engine was told %s', coalesce(b.id, t.id),
                             coalesce(b.account_id, t.account_id), coalesce(b.delta, 0), coalesce(t.delta, 0)) AS line
               FROM booked b FULL JOIN told t ON t.id = b.id AND t.account_id = b.account_id
               WHERE coalesce(b.delta, 0) <> coalesce(t.delta, 0))
           SELECT line AS "line!", count(*) OVER () AS "total!" FROM breach ORDER BY line LIMIT 10"#
    )
    .fetch_all(&mut **tx)
    .await
    .named("audit: money back")
}
