//! Writes a booked batch: one statement per table, each from arrays.

use super::book::{Book, Side};
use crate::error::Named as _;
use billing::ledger::Ingested;
use kernel::StoreError;
use kernel::ids::AccountId;
use sqlx::{Postgres, Transaction};

type Tx<'a, 'c> = &'a mut Transaction<'c, Postgres>;

impl Book {
    pub(super) async fn write(self, tx: Tx<'_, '_>) -> Result<Ingested, StoreError> {
        self.generations(tx).await?;
        self.movements(tx).await?;
        self.balances(tx).await?;
        self.corrections(tx).await?;
        self.caps(tx).await?;
        self.byok(tx).await?;
        self.daily(tx).await?;
        self.key_use(tx).await?;
        self.divergences(tx).await?;
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        Ok(Ingested {
            movements: count(self.movements.len()),
            duplicates: self.duplicates,
            divergences: count(self.divergences.iter().filter(|one| one.kind == "balance").count()),
            lost_lease: false,
        })
    }

    async fn generations(&self, tx: Tx<'_, '_>) -> Result<(), StoreError> {
        let rows: Vec<_> = self.rows.values().collect();
        sqlx::query!(
            "INSERT INTO generation (id, day, account_id, org_id, workspace_id, key_id, member_id, model, provider,
                 tariff_id, prompt_tokens, completion_tokens, usage_source, own_key, list_price_nano_usd,
                 amount_nano_usd, provider_cost_nano_usd, charge_nano_usd, uncollected_nano_usd, held_nano_usd,
                 closing, ticket, byok_month, epoch, debit_seq, booked_at, record, funding, postings)
             SELECT n.id, uuid7_day(n.id), n.account, n.org, n.workspace, n.key, n.member, n.model, n.provider,
                 n.tariff, n.prompt, n.completion, n.source, n.own_key, n.list_price, n.amount, n.cost, n.charge,
                 n.uncollected, n.held, n.closing, n.ticket, n.month, n.epoch, n.seq, $25, n.record, n.funding, n.postings
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[],
                 $8::text[], $9::uuid[], $10::bigint[], $11::bigint[], $12::text[], $13::boolean[], $14::bigint[],
                 $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[], $20::smallint[],
                 $21::smallint[], $22::integer[], $23::bigint[], $24::bigint[], $26::jsonb[],
                 $27::smallint[], $28::smallint[])
               AS n (id, account, org, workspace, key, member, model, provider, tariff, prompt, completion, source,
                 own_key, list_price, amount, cost, charge, uncollected, held, closing, ticket, month, epoch, seq,
                 record, funding, postings)
             ON CONFLICT (id, day) DO UPDATE SET account_id = EXCLUDED.account_id, org_id = EXCLUDED.org_id,
                 workspace_id = EXCLUDED.workspace_id, key_id = EXCLUDED.key_id, member_id = EXCLUDED.member_id,
                 model = EXCLUDED.model, provider = EXCLUDED.provider, tariff_id = EXCLUDED.tariff_id,
                 prompt_tokens = EXCLUDED.prompt_tokens, completion_tokens = EXCLUDED.completion_tokens,
                 usage_source = EXCLUDED.usage_source, own_key = EXCLUDED.own_key,
                 list_price_nano_usd = EXCLUDED.list_price_nano_usd, amount_nano_usd = EXCLUDED.amount_nano_usd,
                 provider_cost_nano_usd = EXCLUDED.provider_cost_nano_usd,
                 charge_nano_usd = EXCLUDED.charge_nano_usd, uncollected_nano_usd = EXCLUDED.uncollected_nano_usd,
                 held_nano_usd = EXCLUDED.held_nano_usd, closing = EXCLUDED.closing, ticket = EXCLUDED.ticket,
                 byok_month = EXCLUDED.byok_month, epoch = EXCLUDED.epoch, debit_seq = EXCLUDED.debit_seq,
                 booked_at = EXCLUDED.booked_at, record = EXCLUDED.record,
                 funding = EXCLUDED.funding, postings = EXCLUDED.postings
             WHERE generation.closing < 2",
            &rows.iter().map(|r| r.id).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.account).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.org).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.workspace).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.key).collect::<Vec<_>>() as _,
            &rows.iter().map(|r| r.known.member).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.model.clone()).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.provider.clone()).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.tariff).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.prompt_tokens).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.completion_tokens).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.usage_source.clone()).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.own_key).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.list_price).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.amount).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.provider_cost).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.charge).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.uncollected).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.held).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.closing.column()).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.ticket).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.byok_month).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.epoch).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.debit_seq).collect::<Vec<_>>(),
            self.at,
            &rows.iter().map(|r| r.record.clone()).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.funding).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.known.postings).collect::<Vec<_>>()
        )
        .execute(&mut **tx)
        .await
        .named("ingest: generations")?;
        Ok(())
    }

    /// Inserts without looking away from conflicts: what the key refuses here was decided wrongly.
    async fn movements(&self, tx: Tx<'_, '_>) -> Result<(), StoreError> {
        let all = &self.movements;
        let names = |pick: fn(&super::book::Movement) -> &Side| all.iter().map(move |m| name(pick(m)));
        let (debit_kinds, debit_names): (Vec<String>, Vec<String>) = names(|m| &m.debit).unzip();
        let (credit_kinds, credit_names): (Vec<String>, Vec<String>) = names(|m| &m.credit).unzip();
        sqlx::query!(
            "WITH providers AS (
                 INSERT INTO ledger_account (id, kind, provider)
                 SELECT DISTINCT platform_account(p.kind, p.name), p.kind, p.name
                 FROM unnest($1::text[] || $3::text[], $2::text[] || $4::text[]) AS p (kind, name)
                 WHERE p.kind LIKE 'provider%' ON CONFLICT (id) DO NOTHING)
             INSERT INTO ledger_movement (id, class, day, debit, credit, amount_nano_usd, txn, epoch, debit_seq,
                                          balance_after_nano_usd, booked_at)
             SELECT n.id, n.class, uuid7_day(n.id),
                    CASE n.debit_kind WHEN '' THEN n.debit::uuid ELSE platform_account(n.debit_kind, n.debit) END,
                    CASE n.credit_kind WHEN '' THEN n.credit::uuid ELSE platform_account(n.credit_kind, n.credit) END,
                    n.amount, n.id, n.epoch, n.seq, n.balance, $11
             FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::bigint[],
                         $8::bigint[], $9::bigint[], $10::bigint[])
                  AS n (debit_kind, debit, credit_kind, credit, id, class, amount, epoch, seq, balance)",
            &debit_kinds,
            &debit_names,
            &credit_kinds,
            &credit_names,
            &all.iter().map(|m| m.id).collect::<Vec<_>>(),
            &all.iter().map(|m| m.class.to_owned()).collect::<Vec<_>>(),
            &all.iter().map(|m| m.amount).collect::<Vec<_>>(),
            &all.iter().map(|m| m.epoch).collect::<Vec<_>>(),
            &all.iter().map(|m| m.debit_seq).collect::<Vec<_>>(),
            &all.iter().map(|m| m.balance_after).collect::<Vec<_>>() as _,
            self.at
        )
        .execute(&mut **tx)
        .await
        .named("ingest: movements")?;
        Ok(())
    }

    async fn balances(&self, tx: Tx<'_, '_>) -> Result<(), StoreError> {
        let touched: Vec<_> = self.accounts.iter().filter(|(_, account)| account.touched).collect();
        sqlx::query!(
            "UPDATE account_state s SET posted_nano_usd = n.posted, credit_seq = n.credit_seq, debit_seq = n.debit_seq
             FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[]) AS n (id, posted, credit_seq, debit_seq)
             WHERE s.account_id = n.id",
            &touched.iter().map(|(id, _)| **id).collect::<Vec<_>>(),
            &touched.iter().map(|(_, a)| a.posted).collect::<Vec<_>>(),
            &touched.iter().map(|(_, a)| a.credit_seq).collect::<Vec<_>>(),
            &touched.iter().map(|(_, a)| a.debit_seq).collect::<Vec<_>>()
        )
        .execute(&mut **tx)
        .await
        .named("ingest: balances")?;
        Ok(())
    }

    async fn corrections(&self, tx: Tx<'_, '_>) -> Result<(), StoreError> {
        let all = &self.corrections;
        if all.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "WITH told AS (SELECT n.account, n.seq, n.delta, n.ref, n.caps, pg_notify('farebox_credits', n.name)
                           FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::uuid[], $5::jsonb[], $6::text[])
                                AS n (account, seq, delta, ref, caps, name))
             INSERT INTO credit_outbox (account_id, seq, delta_nano_usd, is_grant, reason, ref, cap_changes, created_at)
             SELECT account, seq, delta, false, 'correction', ref, caps, $7 FROM told",
            &all.iter().map(|c| c.account).collect::<Vec<_>>(),
            &all.iter().map(|c| c.seq).collect::<Vec<_>>(),
            &all.iter().map(|c| c.delta).collect::<Vec<_>>(),
            &all.iter().map(|c| c.generation).collect::<Vec<_>>(),
            &all.iter().map(|c| c.caps.clone()).collect::<Vec<_>>(),
            &all.iter().map(|c| AccountId::from_uuid(c.account).to_string()).collect::<Vec<_>>(),
            self.at
        )
        .execute(&mut **tx)
        .await
        .named("ingest: corrections")?;
        Ok(())
    }

    async fn caps(&self, tx: Tx<'_, '_>) -> Result<(), StoreError> {
        let used: Vec<_> = self.caps.iter().filter(|(_, used)| **used != 0).collect();
        sqlx::query!(
            "INSERT INTO cap_usage AS u (account_id, cap_id, window_id, used_nano_usd)
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[])
             ON CONFLICT (account_id, cap_id, window_id)
             DO UPDATE SET used_nano_usd = u.used_nano_usd + EXCLUDED.used_nano_usd",
            &used.iter().map(|((account, _, _), _)| *account).collect::<Vec<_>>(),
            &used.iter().map(|((_, cap, _), _)| cap.clone()).collect::<Vec<_>>(),
            &used.iter().map(|((_, _, window), _)| *window).collect::<Vec<_>>(),
            &used.iter().map(|(_, used)| **used).collect::<Vec<_>>()
        )
        .execute(&mut **tx)
        .await
        .named("ingest: caps")?;
        Ok(())
    }

    async fn byok(&self, tx: Tx<'_, '_>) -> Result<(), StoreError> {
        if self.byok.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "INSERT INTO byok_usage AS u (account_id, month, requests, list_price_nano_usd)
             SELECT * FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::bigint[])
             ON CONFLICT (account_id, month) DO UPDATE SET requests = u.requests + EXCLUDED.requests,
                 list_price_nano_usd = u.list_price_nano_usd + EXCLUDED.list_price_nano_usd",
            &self.byok.keys().map(|(account, _)| *account).collect::<Vec<_>>(),
            &self.byok.keys().map(|(_, month)| *month).collect::<Vec<_>>(),
            &self.byok.values().map(|(requests, _)| *requests).collect::<Vec<_>>(),
            &self.byok.values().map(|(_, list_price)| *list_price).collect::<Vec<_>>()
        )
        .execute(&mut **tx)
        .await
        .named("ingest: own keys")?;
        Ok(())
    }

    async fn daily(&self, tx: Tx<'_, '_>) -> Result<(), StoreError> {
        let keys: Vec<_> = self.daily.keys().collect();
        let [requests, prompt, completion, charge, byok, cost] = columns(self.daily.values());
        sqlx::query!(
            "INSERT INTO usage_daily AS u (org_id, day, model, provider, key_id, member_id, requests, prompt_tokens,
                 completion_tokens, charge_nano_usd, byok_list_price_nano_usd, provider_cost_nano_usd)
             SELECT * FROM unnest($1::uuid[], $2::date[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::bigint[],
                 $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
             ON CONFLICT (org_id, day, model, provider, key_id, member_id) DO UPDATE SET
                 requests = u.requests + EXCLUDED.requests,
                 prompt_tokens = u.prompt_tokens + EXCLUDED.prompt_tokens,
                 completion_tokens = u.completion_tokens + EXCLUDED.completion_tokens,
                 charge_nano_usd = u.charge_nano_usd + EXCLUDED.charge_nano_usd,
                 byok_list_price_nano_usd = u.byok_list_price_nano_usd + EXCLUDED.byok_list_price_nano_usd,
                 provider_cost_nano_usd = u.provider_cost_nano_usd + EXCLUDED.provider_cost_nano_usd",
            &keys.iter().map(|k| k.org).collect::<Vec<_>>(),
            &keys.iter().map(|k| k.day).collect::<Vec<_>>(),
            &keys.iter().map(|k| k.model.clone()).collect::<Vec<_>>(),
            &keys.iter().map(|k| k.provider.clone()).collect::<Vec<_>>(),
            &keys.iter().map(|k| k.key).collect::<Vec<_>>(),
            &keys.iter().map(|k| k.member).collect::<Vec<_>>(),
            &requests,
            &prompt,
            &completion,
            &charge,
            &byok,
            &cost
        )
        .execute(&mut **tx)
        .await
        .named("ingest: daily sums")?;
        Ok(())
    }

    async fn key_use(&self, tx: Tx<'_, '_>) -> Result<(), StoreError> {
        sqlx::query!(
            "INSERT INTO api_key_use AS u (key_id, last_used_at) SELECT * FROM unnest($1::uuid[], $2::timestamptz[])
             ON CONFLICT (key_id) DO UPDATE SET last_used_at = greatest(u.last_used_at, EXCLUDED.last_used_at)",
            &self.key_use.keys().copied().collect::<Vec<_>>(),
            &self.key_use.values().copied().collect::<Vec<_>>()
        )
        .execute(&mut **tx)
        .await
        .named("ingest: keys used")?;
        Ok(())
    }

    async fn divergences(&self, tx: Tx<'_, '_>) -> Result<(), StoreError> {
        let all = &self.divergences;
        if all.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "INSERT INTO ledger_divergence (found_at, kind, account_id, generation_id, shard, epoch, debit_seq,
                                            expected_nano_usd, found_nano_usd)
             SELECT $9, n.* FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::smallint[], $5::bigint[], $6::bigint[],
                                        $7::bigint[], $8::bigint[]) AS n",
            &all.iter().map(|d| d.kind.to_owned()).collect::<Vec<_>>(),
            &all.iter().map(|d| d.account).collect::<Vec<_>>(),
            &all.iter().map(|d| d.generation).collect::<Vec<_>>(),
            &all.iter().map(|d| d.shard).collect::<Vec<_>>(),
            &all.iter().map(|d| d.epoch).collect::<Vec<_>>(),
            &all.iter().map(|d| d.debit_seq).collect::<Vec<_>>(),
            &all.iter().map(|d| d.expected).collect::<Vec<_>>(),
            &all.iter().map(|d| d.found).collect::<Vec<_>>(),
            self.at
        )
        .execute(&mut **tx)
        .await
        .named("ingest: divergences")?;
        Ok(())
    }
}

/// A side as kind and name; a customer's kind is empty and its name the id.
fn name(side: &Side) -> (String, String) {
    match side {
        Side::Customer(id) => (String::new(), id.to_string()),
        Side::Platform(kind) => ((*kind).to_owned(), String::new()),
        Side::Provider(kind, provider) => ((*kind).to_owned(), provider.clone()),
    }
}

/// Rows of six sums as six columns.
fn columns<'a>(rows: impl Iterator<Item = &'a [i64; 6]>) -> [Vec<i64>; 6] {
    let mut columns: [Vec<i64>; 6] = std::array::from_fn(|_| Vec::new());
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(*value);
        }
    }
    columns
}
