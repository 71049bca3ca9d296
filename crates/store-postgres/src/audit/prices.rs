//! I16: every settled generation priced again from its stored usage and the tariff it names. Rows are
//! streamed; only the tariffs are held in memory.

use super::usage::{byok_rules, in_force};
use super::{Breaches, Rule, Tx};
use crate::error::Named as _;
use crate::tariffs::TariffRow;
use billing::GenerationRecord;
use billing::fees::ByokFee;
use billing::price;
use billing::verify::Finding;
use catalog::Tariff;
use futures_util::TryStreamExt as _;
use kernel::{Moment, StoreError};
use std::collections::HashMap;
use uuid::Uuid;

struct Row {
    id: Uuid,
    tariff_id: Uuid,
    prompt_tokens: i64,
    completion_tokens: i64,
    usage_source: String,
    list_price_nano_usd: i64,
    amount_nano_usd: i64,
    provider_cost_nano_usd: i64,
    record: serde_json::Value,
}

struct Prices {
    tariffs: HashMap<Uuid, Tariff>,
    byok: Vec<(Moment, ByokFee)>,
}

pub(super) async fn check(tx: Tx<'_, '_>) -> Result<Finding, StoreError> {
    let prices = Prices { tariffs: tariffs(tx).await?, byok: byok_rules(tx).await? };
    let mut breaches = Breaches::default();
    let mut checked: i64 = 0;
    let mut rows = sqlx::query_as!(
        Row,
        "SELECT id, tariff_id, prompt_tokens, completion_tokens, usage_source, list_price_nano_usd, amount_nano_usd,
                provider_cost_nano_usd, record
         FROM generation WHERE closing = 2 AND tariff_id <> '00000000-0000-0000-0000-000000000000'"
    )
    .fetch(&mut **tx);
    while let Some(row) = rows.try_next().await.named("audit: I16")? {
        checked += 1;
        let id = row.id;
        if let Err(why) = prices.prove(row) {
            breaches.add(format!("generation {id}: {why}"));
        }
    }
    let rule =
        "every price is its stored usage times the tariff it names, rounded down, and no amount is above it";
    Ok(Rule { id: "I16", rule, checked }.finding(breaches.count, breaches.lines))
}

async fn tariffs(tx: Tx<'_, '_>) -> Result<HashMap<Uuid, Tariff>, StoreError> {
    let rows = sqlx::query_as!(
        TariffRow,
        "SELECT id, endpoint_id, version, effective_from, prompt_pico_usd, completion_pico_usd,
                cache_read_pico_usd, cache_write_pico_usd, cache_write_1h_pico_usd, reasoning_pico_usd,
                audio_prompt_pico_usd, audio_completion_pico_usd, image_pico_usd, request_pico_usd, tiers, free
         FROM tariff WHERE kind = 'sale'"
    )
    .fetch_all(&mut **tx)
    .await
    .named("audit: tariffs")?;
    rows.into_iter().map(|row| Ok((row.id, row.tariff()?))).collect()
}

impl Prices {
    fn prove(&self, row: Row) -> Result<(), String> {
        let record: GenerationRecord =
            serde_json::from_value(row.record.clone()).map_err(|error| format!("record: {error}"))?;
        agree(&row, &record)?;
        let (list, amount) = (record.list_price, record.amount);
        if record.usage_source == "nothing" {
            let free = list.get() == 0 && amount.get() == 0;
            return if free {
                Ok(())
            } else {
                Err(format!("nothing was used, and {} is asked", amount.get()))
            };
        }
        let tariff =
            self.tariffs.get(&row.tariff_id).ok_or_else(|| format!("tariff {} is missing", row.tariff_id))?;
        if tariff.version != record.tariff_version {
            return Err(format!("tariff version {} instead of {}", record.tariff_version, tariff.version));
        }
        let total = price::price(tariff, &record.usage, record.extras)
            .and_then(|priced| Ok(priced.total()?))
            .map_err(|error| format!("cannot be priced: {error}"))?;
        let due = total.floor().map_err(|error| error.to_string())?;
        // Free by rule: an answer that failed, or one without output. An estimate is cut at the hold.
        let waived = list.get() == 0 && (record.error.is_some() || record.usage.completion == 0);
        let cut = record.usage_source == "estimated" && list <= due;
        if list != due && !waived && !cut {
            return Err(format!("list price {} instead of {}", list.get(), due.get()));
        }
        let most = if record.provider_key.is_some() {
            let rule = in_force(&self.byok, record.id.created_at()).ok_or("no own-key rule at that time")?;
            rule.fee(total).map_err(|error| error.to_string())?
        } else {
            list
        };
        let exact = record.provider_key.is_none();
        if amount > most || (exact && amount != most) {
            return Err(format!("amount {} instead of {}", amount.get(), most.get()));
        }
        Ok(())
    }
}

/// The columns say what the record says.
fn agree(row: &Row, record: &GenerationRecord) -> Result<(), String> {
    let column = |value: u64| i64::try_from(value).unwrap_or(-1);
    let columns = (row.prompt_tokens, row.completion_tokens, row.usage_source.as_str());
    let amounts = (row.list_price_nano_usd, row.amount_nano_usd, row.provider_cost_nano_usd);
    let said = (column(record.usage.prompt), column(record.usage.completion), record.usage_source.as_str());
    let asked = (record.list_price.get(), record.amount.get(), record.provider_cost.get());
    if (columns, amounts, row.tariff_id) == (said, asked, record.tariff.uuid()) {
        Ok(())
    } else {
        Err(format!("columns {columns:?} {amounts:?} differ from the record {said:?} {asked:?}"))
    }
}
