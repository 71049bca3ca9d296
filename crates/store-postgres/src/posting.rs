//! A change of one balance that is born here: the balance with its next credit sequence, one movement, and
//! the outbox row by which the engine learns of it. Purchases have two movements and their own file.

use crate::convert::plus;
use crate::error::Named as _;
use kernel::{Moment, StoreError};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

/// What is booked.
pub(crate) struct Posting {
    /// The movement's id; with its class it is the idempotency key.
    pub(crate) id: Uuid,
    pub(crate) class: &'static str,
    /// The customer's account.
    pub(crate) account: Uuid,
    /// Nano-dollars; negative takes from the customer.
    pub(crate) delta: i64,
    /// The marketplace's own account on the other side.
    pub(crate) counter: &'static str,
    /// Why, in the outbox's words.
    pub(crate) reason: &'static str,
    pub(crate) at: Moment,
}

/// The balance of an account, locked until the transaction ends. Whoever also locks a purchase does so before.
pub(crate) async fn locked_balance(
    tx: &mut Transaction<'_, Postgres>,
    account: Uuid,
) -> Result<i64, StoreError> {
    sqlx::query_scalar!("SELECT posted_nano_usd FROM account_state WHERE account_id = $1 FOR UPDATE", account)
        .fetch_one(&mut **tx)
        .await
        .named("posting: lock")
}

/// Books it; the account's credit sequence. A change of nothing must not be asked for.
pub(crate) async fn post(tx: &mut Transaction<'_, Postgres>, posting: &Posting) -> Result<i64, StoreError> {
    let balance = plus(locked_balance(tx, posting.account).await?, posting.delta)?;
    let seq = sqlx::query_scalar!(
        "UPDATE account_state SET posted_nano_usd = $2, credit_seq = credit_seq + 1,
                granted_nano_usd = granted_nano_usd + $3
         WHERE account_id = $1 RETURNING credit_seq",
        posting.account,
        balance,
        posting.delta
    )
    .fetch_one(&mut **tx)
    .await
    .named("posting: balance")?;
    sqlx::query!(
        "INSERT INTO ledger_movement (id, class, day, debit, credit, amount_nano_usd, txn, credit_seq,
                                      balance_after_nano_usd, booked_at)
         SELECT $1, $2, uuid7_day($1), CASE WHEN $4::bigint < 0 THEN $3::uuid ELSE platform_account($5, '') END,
                CASE WHEN $4 < 0 THEN platform_account($5, '') ELSE $3 END, abs($4), $1, $6, $7, $8",
        posting.id,
        posting.class,
        posting.account,
        posting.delta,
        posting.counter,
        seq,
        balance,
        posting.at
    )
    .execute(&mut **tx)
    .await
    .named("posting: movement")?;
    sqlx::query!(
        "WITH told AS (SELECT pg_notify('farebox_credits', $7))
         INSERT INTO credit_outbox (account_id, seq, delta_nano_usd, is_grant, reason, ref, created_at)
         SELECT $1, $2, $3, true, $4, $5, $6 FROM told",
        posting.account,
        seq,
        posting.delta,
        posting.reason,
        posting.id,
        posting.at,
        kernel::ids::AccountId::from_uuid(posting.account).to_string()
    )
    .execute(&mut **tx)
    .await
    .named("posting: outbox")?;
    Ok(seq)
}
