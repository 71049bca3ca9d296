//! I11 and I15: allowances of own keys, and what was asked for against what was taken.

use super::{Breach, Breaches, Rule, Tx};
use crate::convert::document;
use crate::error::Named as _;
use billing::fees::{Allowance, ByokFee};
use billing::verify::Finding;
use futures_util::TryStreamExt as _;
use kernel::{Moment, StoreError};

/// The own-key rules with their dates, oldest first.
pub(super) async fn byok_rules(tx: Tx<'_, '_>) -> Result<Vec<(Moment, ByokFee)>, StoreError> {
    let rows = sqlx::query!("SELECT valid_from, rule FROM fee_rule WHERE kind = 'byok' ORDER BY valid_from")
        .fetch_all(&mut **tx)
        .await
        .named("audit: own-key rules")?;
    rows.into_iter().map(|row| Ok((row.valid_from, document("fee_rule.rule", "byok", row.rule)?))).collect()
}

/// The rule in force at a moment.
pub(super) fn in_force<T>(rules: &[(Moment, T)], at: Moment) -> Option<&T> {
    rules.iter().rev().find(|(from, _)| *from <= at).map(|(_, rule)| rule)
}

pub(super) async fn own_keys(tx: Tx<'_, '_>) -> Result<Finding, StoreError> {
    let rules = byok_rules(tx).await?;
    let mut breaches = Breaches::default();
    let mut checked: i64 = 0;
    let mut rows = sqlx::query!(
        r#"WITH counted AS (
               SELECT account_id, byok_month AS month, count(*) AS requests,
                      sum(list_price_nano_usd)::bigint AS list_price,
                      count(*) FILTER (WHERE ticket = 1) AS free,
                      count(*) FILTER (WHERE ticket = 1 AND charge_nano_usd + uncollected_nano_usd > 0) AS charged,
                      -- What the engine decided; a late settlement is booked by its hold.
                      coalesce(sum(charge_nano_usd + uncollected_nano_usd) FILTER (WHERE debit_seq > 0), 0)::bigint AS fees
               FROM generation WHERE ticket > 0 GROUP BY account_id, byok_month)
           SELECT coalesce(c.account_id, u.account_id) AS "account!", coalesce(c.month, u.month) AS "month!",
                  coalesce(c.requests, 0) AS "requests!", coalesce(c.list_price, 0) AS "list_price!",
                  coalesce(c.free, 0) AS "free!", coalesce(c.charged, 0) AS "charged!",
                  coalesce(c.fees, 0) AS "fees!",
                  coalesce(u.requests, 0) AS "stored!", coalesce(u.list_price_nano_usd, 0) AS "stored_price!"
           FROM counted c FULL JOIN byok_usage u ON u.account_id = c.account_id AND u.month = c.month
           ORDER BY 1, 2"#
    )
    .fetch(&mut **tx);
    while let Some(row) = rows.try_next().await.named("audit: I11")? {
        checked += 1;
        let name = format!("byok_usage {} month {}", row.account, row.month);
        if (row.requests, row.list_price) != (row.stored, row.stored_price) {
            breaches.add(format!(
                "{name}: {} requests worth {}, generations say {} worth {}",
                row.stored, row.stored_price, row.requests, row.list_price
            ));
        }
        if row.charged > 0 {
            breaches.add(format!("{name}: {} requests within the allowance were charged", row.charged));
        }
        if let Some(most) = most_in_fees(&rules, row.month, row.list_price)
            && row.fees > most
        {
            breaches.add(format!("{name}: fees of {}, what lies above the allowance costs {most}", row.fees));
        }
        // The rule at the month's end: an allowance may grow within a month, and is not taken back.
        if let Some(Allowance::Requests(most)) =
            month_end(row.month).and_then(|at| in_force(&rules, at)).map(|r| r.allowance)
            && u64::try_from(row.free).is_ok_and(|free| free > most)
        {
            breaches.add(format!("{name}: {} free requests of {most}", row.free));
        }
    }
    let rule = "own-key calls were free up to the allowance and no further, none of those was charged, and the counter is theirs";
    Ok(Rule { id: "I11", rule, checked }.finding(breaches.count, breaches.lines))
}

/// The most that own-key calls of a month may have cost together, where their allowance was a list price all
/// the time: the fee of what lies above the smallest allowance. `None` where another rule had a part in it.
fn most_in_fees(rules: &[(Moment, ByokFee)], month: i32, list_price: i64) -> Option<i64> {
    let (begin, end) = (month_end(month.checked_sub(1)?)?, month_end(month)?);
    let within = rules.iter().filter(|(from, _)| *from > begin && *from < end).map(|(_, rule)| rule);
    let mut most = None;
    for rule in within.chain(in_force(rules, begin)) {
        let Allowance::ListPrice(line) = rule.allowance else { return None };
        let above = i128::from(list_price.saturating_sub(line.get()).max(0));
        let fee = above * i128::from(rule.basis_points) / 10_000;
        most = most.max(Some(i64::try_from(fee).unwrap_or(i64::MAX)));
    }
    most
}

/// The first moment after a month numbered year × 12 + month − 1.
fn month_end(month: i32) -> Option<Moment> {
    let next = month.checked_add(1)?;
    let first = u32::try_from(next.rem_euclid(12)).ok()?;
    let day = chrono::NaiveDate::from_ymd_opt(next.div_euclid(12), first + 1, 1)?;
    Some(day.and_time(chrono::NaiveTime::MIN).and_utc())
}

pub(super) async fn collected(tx: Tx<'_, '_>) -> Result<Finding, StoreError> {
    let checked = sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM generation WHERE closing = 2"#)
        .fetch_one(&mut **tx)
        .await
        .named("audit: I15")?;
    let breaches = sqlx::query_as!(
        Breach,
        r#"WITH breach AS (
               SELECT format('generation %s: charge %s and uncollected %s are not the amount %s', id, charge_nano_usd,
                             uncollected_nano_usd, amount_nano_usd) AS line
               FROM generation
               WHERE closing = 2 AND charge_nano_usd + uncollected_nano_usd <> amount_nano_usd
                 AND NOT (own_key AND ticket < 2 AND charge_nano_usd = 0 AND uncollected_nano_usd = 0)
                 -- Only the part above an allowance in list prices is due.
                 AND NOT (own_key AND ticket = 2 AND charge_nano_usd + uncollected_nano_usd < amount_nano_usd
                          AND EXISTS (SELECT 1 FROM fee_rule WHERE kind = 'byok' AND valid_from < day + 1
                                      AND rule -> 'allowance' ? 'list_price'))
               UNION ALL
               SELECT format('generation %s: charge %s, asked %s', id, charge_nano_usd, amount_nano_usd) FROM generation
               WHERE closing < 2 AND charge_nano_usd > amount_nano_usd
               UNION ALL
               SELECT format('ledger_divergence %s: generation %s needs a look (%s)', id, generation_id, kind)
               FROM ledger_divergence WHERE kind IN ('second_final', 'record') AND resolved_at IS NULL)
           SELECT line AS "line!", count(*) OVER () AS "total!" FROM breach ORDER BY line LIMIT 10"#
    )
    .fetch_all(&mut **tx)
    .await
    .named("audit: I15")?;
    let rule = "charge and uncollected are what the generation cost, and nothing waits for a look";
    Ok(Rule { id: "I15", rule, checked }.verdict(breaches))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_by_list_price_are_at_most_those_of_what_lies_above_the_smallest_allowance() {
        let rule = |allowance| ByokFee { allowance, basis_points: 500 };
        let line = |nano| rule(Allowance::ListPrice(kernel::NanoUsd::new(nano)));
        let at = |text: &str| text.parse::<Moment>().unwrap();
        let (old, mid) = (at("2020-01-01T00:00:00Z"), at("2026-11-10T00:00:00Z"));
        let month = 2026 * 12 + 10;
        let rows = [
            (vec![(old, line(1000))], 900, Some(0)),
            (vec![(old, line(1000))], 1039, Some(1)),
            (vec![(old, line(1000)), (mid, line(3000))], 3000, Some(100)),
            (vec![(old, rule(Allowance::Requests(9))), (mid, line(3000))], 9000, None),
            (
                vec![(old, line(1000)), (at("2026-12-01T00:00:00Z"), rule(Allowance::Requests(9)))],
                3000,
                Some(100),
            ),
            (vec![], 3000, None),
        ];
        for (rules, list_price, most) in rows {
            assert_eq!(most_in_fees(&rules, month, list_price), most, "{rules:?}");
        }
    }

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let rows =
            [(2026 * 12 + 10, "2026-12-01"), (2026 * 12 + 11, "2027-01-01"), (2026 * 12, "2026-02-01")];
        for (month, day) in rows {
            assert_eq!(month_end(month).unwrap().date_naive().to_string(), day);
        }
    }
}
