//! The receipt of one generation: what was tried, what was used, at which prices, what was set aside, taken
//! and corrected, and who paid. One document for the API, the page and the file that can be checked offline.
//!
//! Signs nothing (see `accounts::receipt_key`) and computes nothing: every amount is one of the books.

use crate::generation::{AttemptRecord, GenerationRecord};
use crate::reports::Generation;
use async_trait::async_trait;
use catalog::{Rates, Tariff};
use kernel::ids::{GenerationId, OrgId};
use kernel::{Moment, NanoUsd, PicoUsd, StoreError};
use serde_json::{Map, Value, json};

/// Names the form of the document; another form gets another number.
pub const FORM: &str = "farebox.receipt/1";

/// What ended the call's last hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Given back unused: nothing answered.
    Released,
    /// Its process died or was away for too long: charged at the last known use, which may still change once.
    Swept,
    /// Charged by what was used: final.
    Settled,
}

impl Closing {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Swept => "swept",
            Self::Settled => "settled",
        }
    }
}

/// Everything that the books know of one generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptFacts {
    pub generation: Generation,
    pub closing: Closing,
    pub booked_at: Moment,
    /// The prices it was charged by; `None` when nothing was answered.
    pub tariff: Option<Tariff>,
    /// What later corrections added to the first charge; negative when they gave back.
    pub adjusted: NanoUsd,
}

/// Reading what a receipt is made of.
#[async_trait]
pub trait Receipts: Send + Sync {
    async fn receipt(&self, org: OrgId, id: GenerationId) -> Result<Option<ReceiptFacts>, StoreError>;
}

impl ReceiptFacts {
    /// The prices that applied to this prompt's length.
    #[must_use]
    pub fn rates(&self) -> Option<&Rates> {
        let prompt = self.generation.record.usage.prompt;
        let tariff = self.tariff.as_ref()?;
        let tier = tariff.tiers.iter().rev().find(|tier| prompt > tier.above_prompt_tokens);
        Some(tier.map_or(&tariff.rates, |tier| &tier.rates))
    }

    /// Who paid: the customer's own key paid the provider, credits paid us, or nobody paid anything.
    #[must_use]
    pub fn paid_by(&self) -> &'static str {
        let own_key = self.generation.record.provider_key.is_some();
        match (own_key, self.generation.charge > NanoUsd::ZERO) {
            (true, true) => "own_key_and_credits",
            (true, false) => "own_key",
            (false, true) => "credits",
            (false, false) => "nobody",
        }
    }

    /// What of the charge is the fee for an own key.
    #[must_use]
    pub fn fee(&self) -> NanoUsd {
        if self.generation.record.provider_key.is_some() { self.generation.charge } else { NanoUsd::ZERO }
    }

    /// The document that is signed. `issuer` is the address of this site. Amounts are decimal texts of dollars.
    #[must_use]
    pub fn document(&self, issuer: &str) -> Value {
        let (call, record) = (&self.generation, &self.generation.record);
        json!({
            "form": FORM,
            "issuer": issuer,
            "id": record.id.to_string(),
            "organization": record.org.to_string(),
            "workspace": record.workspace.to_string(),
            "member": record.member.to_string(),
            "key": record.key.map(|key| key.to_string()),
            "created_at": call.created_at.to_rfc3339(),
            "booked_at": self.booked_at.to_rfc3339(),
            "model": record.model,
            "provider": record.provider,
            "endpoint": record.endpoint.to_string(),
            "upstream_id": record.upstream_id,
            "simulated": record.simulated,
            "outcome": outcome(record),
            "attempts": record.attempts.iter().map(attempt).collect::<Vec<_>>(),
            "tokens": tokens(record),
            "tokens_counted_by": record.usage_source,
            "price": self.price(),
            "hold_usd": call.held.dollars(),
            "list_price_usd": record.list_price.dollars(),
            "charge_usd": call.charge.dollars(),
            "fee_usd": self.fee().dollars(),
            "adjusted_usd": self.adjusted.dollars(),
            "uncollected_usd": call.uncollected.dollars(),
            "paid_by": self.paid_by(),
            "closing": self.closing.as_str(),
        })
    }

    fn price(&self) -> Value {
        let record = &self.generation.record;
        let Some(tariff) = &self.tariff else { return Value::Null };
        let tier = |tier: &catalog::Tier| json!({ "above_prompt_tokens": tier.above_prompt_tokens, "rates": rates(&tier.rates) });
        json!({
            "tariff": tariff.id.to_string(),
            "version": tariff.version,
            "catalog_version": record.catalog_version,
            "effective_from": tariff.effective_from.to_rfc3339(),
            "rates": rates(&tariff.rates),
            "tiers": tariff.tiers.iter().map(tier).collect::<Vec<_>>(),
            "free": tariff.free,
        })
    }
}

fn outcome(record: &GenerationRecord) -> Value {
    json!({
        "streamed": record.streamed,
        "client_left": record.cancelled,
        "finish_reason": record.finish_reason,
        "native_finish_reason": record.native_finish_reason,
        "error": record.error,
        "latency_ms": record.latency_ms,
        "generation_ms": record.generation_ms,
    })
}

fn attempt(attempt: &AttemptRecord) -> Value {
    json!({
        "provider": attempt.provider,
        "status": attempt.status,
        "outcome": attempt.outcome,
        "started_ms": attempt.started_ms,
        "duration_ms": attempt.duration_ms,
        "own_key": attempt.own_key,
    })
}

fn tokens(record: &GenerationRecord) -> Value {
    let usage = &record.usage;
    json!({
        "prompt": usage.prompt,
        "cache_read": usage.cache_read,
        "cache_write": usage.cache_write,
        "cache_write_1h": usage.cache_write_1h,
        "audio_prompt": usage.audio_prompt,
        "completion": usage.completion,
        "reasoning": usage.reasoning,
        "audio_completion": usage.audio_completion,
        "images": record.extras.images,
    })
}

/// Dollars per million tokens, and per piece; a class without a price of its own is left out.
#[must_use]
pub fn rates(rates: &Rates) -> Value {
    let mut all = Map::new();
    let mut put = |name: &str, price: Option<String>| {
        if let Some(price) = price {
            all.insert(name.to_owned(), Value::from(price));
        }
    };
    let million = |price: Option<PicoUsd>| price.map(PicoUsd::per_million);
    put("prompt_per_million", million(Some(rates.prompt)));
    put("completion_per_million", million(Some(rates.completion)));
    put("cache_read_per_million", million(rates.cache_read));
    put("cache_write_per_million", million(rates.cache_write));
    put("cache_write_1h_per_million", million(rates.cache_write_1h));
    put("reasoning_per_million", million(rates.reasoning));
    put("audio_prompt_per_million", million(rates.audio_prompt));
    put("audio_completion_per_million", million(rates.audio_completion));
    put("image", rates.image.map(PicoUsd::per_unit));
    put("request", rates.request.map(PicoUsd::per_unit));
    Value::Object(all)
}
