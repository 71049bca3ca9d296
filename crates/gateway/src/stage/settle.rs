//! Settling: usage becomes a charge, the charge closes the hold. Nothing decides an amount but the rules of
//! `billing`; nothing here is skipped when the client has left.

use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::stage::admit::Cashier;
use billing::engine::{ClosedBy, Funding, Grant, Settled, Settlement};
use billing::fees::ByokFee;
use billing::price::{Extras, Priced, price};
use billing::{Credits, GenerationRecord};
use catalog::Endpoint;
use kernel::{Metering, MoneyError, NanoUsd, StoreError, Usage};
use std::sync::Arc;
use std::time::Duration;

/// What a generation costs, before the engine takes it.
#[derive(Debug, Clone, Copy)]
pub struct Bill {
    /// What the engine is asked to take.
    pub amount: NanoUsd,
    /// The price at catalog rates, rounded down.
    pub list_price: NanoUsd,
    /// What the provider costs us, rounded up; zero with an own key.
    pub provider_cost: NanoUsd,
    pub priced: Priced,
    /// `exact`, `estimated` or `nothing`. What was cut at its hold is an estimate.
    pub source: &'static str,
}

/// The rules around a bill.
#[derive(Debug, Clone, Copy)]
pub struct BillRules<'a> {
    pub endpoint: &'a Endpoint,
    pub extras: Extras,
    pub funding: Funding,
    pub byok: &'a ByokFee,
    pub held: NanoUsd,
    /// Choices asked for.
    pub choices: u32,
}

impl Bill {
    const FREE: Self = Self {
        amount: NanoUsd::ZERO,
        list_price: NanoUsd::ZERO,
        provider_cost: NanoUsd::ZERO,
        priced: Priced {
            prompt: kernel::PicoTotal::ZERO,
            completion: kernel::PicoTotal::ZERO,
            other: kernel::PicoTotal::ZERO,
        },
        source: "nothing",
    };

    /// Prices a metering. An estimate is never above the hold, and neither is a usage beyond what the endpoint
    /// can do; both are marked as estimates. Any other usage is asked for in full: the engine takes what hold,
    /// balance and caps cover, and the rest is uncollected.
    #[must_use]
    pub fn of(metering: &Metering, rules: &BillRules<'_>) -> Self {
        let Some(usage) = metering.usage() else { return Self::FREE };
        match Self::priced(usage, metering.source(), rules) {
            Ok(bill) if Self::absurd(usage, rules) && bill.amount > rules.held => bill.capped(rules),
            Ok(bill) if bill.source == "estimated" && bill.amount > rules.held => bill.capped(rules),
            Ok(bill) => bill,
            Err(error) => {
                tracing::error!(%error, endpoint = %rules.endpoint.tag, "a usage could not be priced");
                Self { amount: rules.held, list_price: rules.held, source: "estimated", ..Self::FREE }
            }
        }
    }

    fn priced(
        usage: &Usage,
        source: &'static str,
        rules: &BillRules<'_>,
    ) -> Result<Self, billing::price::PriceError> {
        let endpoint = rules.endpoint;
        let priced = price(&endpoint.tariff, usage, rules.extras)?;
        let total = priced.total()?;
        let list_price = total.floor()?;
        let (amount, provider_cost) = match rules.funding {
            Funding::Credits => {
                let cost = endpoint.cost_tariff.as_ref().unwrap_or(&endpoint.tariff);
                (list_price, price(cost, usage, rules.extras)?.total()?.ceil()?)
            }
            Funding::OwnKey => (rules.byok.fee(total)?, NanoUsd::ZERO),
        };
        Ok(Self { amount, list_price, provider_cost, priced, source })
    }

    /// More than the endpoint can read or write, with a tenth of grace: nobody used that.
    fn absurd(usage: &Usage, rules: &BillRules<'_>) -> bool {
        let endpoint = rules.endpoint;
        let beyond = |count: u64, most: u64| count > most.saturating_add(most / 10);
        let writes =
            u64::from(endpoint.max_completion_tokens).saturating_mul(u64::from(rules.choices.max(1)));
        beyond(usage.prompt, u64::from(endpoint.context_length))
            || beyond(usage.completion, writes.max(u64::from(endpoint.context_length)))
    }

    fn capped(self, rules: &BillRules<'_>) -> Self {
        tracing::warn!(endpoint = %rules.endpoint.tag, amount = self.amount.get(), held = rules.held.get(),
            "a usage far above its hold was capped");
        match rules.funding {
            // The books know a price that was cut at its hold as an estimate.
            Funding::Credits => {
                Self { amount: rules.held, list_price: rules.held, source: "estimated", ..self }
            }
            Funding::OwnKey => Self { amount: rules.held, ..self },
        }
    }
}

/// Whether the amount that the client is told can still change: an own-key fee may turn out free, and an
/// amount above the hold may not be covered.
#[must_use]
pub fn is_final(bill: &Bill, grant: &Grant, funding: Funding) -> bool {
    funding == Funding::Credits && bill.amount <= grant.amount
}

/// What settling came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    Charged(NanoUsd),
    /// The engine did not answer; the settlement is repeated until it does.
    Unknown,
}

/// Closes the hold. An unreachable engine is asked again in the background, by the same key.
pub async fn settle(cashier: &Cashier, grant: &Grant, bill: &Bill, record: &GenerationRecord) -> Closed {
    let packed = match serde_json::to_string(record) {
        Ok(packed) => packed,
        Err(error) => {
            tracing::error!(%error, generation = %record.id, "a generation could not be packed");
            String::new()
        }
    };
    match attempt(&cashier.credits, &cashier.metrics, grant, bill, &packed).await {
        Ok(charge) => Closed::Charged(charge),
        Err(error) => {
            let _logged = Refusal::from_store(&error);
            retry_until_settled(cashier, grant.clone(), *bill, packed);
            Closed::Unknown
        }
    }
}

async fn attempt(
    credits: &Credits,
    metrics: &Metrics,
    grant: &Grant,
    bill: &Bill,
    packed: &str,
) -> Result<NanoUsd, StoreError> {
    let settlement = Settlement { amount: bill.amount, list_price: bill.list_price, record: packed };
    match credits.settle(&grant.key, grant.account, &settlement).await? {
        Settled::Done { charge, uncollected, .. } => {
            if uncollected > NanoUsd::ZERO {
                metrics.uncollected.inc_by(uncollected.get().unsigned_abs());
                tracing::error!(generation = %grant.key.generation, uncollected = uncollected.get(),
                    "a charge was not covered by its hold and the balance");
            }
            Ok(charge)
        }
        // The sweeper was faster, or this Redis never knew the hold: the ledger takes the final amount, and the
        // engine learns the difference from it.
        Settled::Already { kind: ClosedBy::Sweep, .. } | Settled::NoHold => {
            tracing::warn!(generation = %grant.key.generation, amount = bill.amount.get(),
                "a settlement came after its hold had ended; the ledger books it");
            credits.settle_late(grant, &settlement).await?;
            Ok(bill.amount)
        }
        Settled::Already { charge, .. } => Ok(charge),
    }
}

/// Closes a hold without a charge: nothing was used.
pub async fn release(credits: &Credits, grant: &Grant) {
    if let Err(error) = credits.release(&grant.key, grant.account).await {
        let _logged = Refusal::from_store(&error);
        // The sweeper closes it at its metered amount, which is zero.
        tracing::warn!(generation = %grant.key.generation, "a hold is left to the sweeper");
    }
}

/// Repeats a settlement until the engine has it. It is a session of its own, so shutdown waits for it.
fn retry_until_settled(cashier: &Cashier, grant: Grant, bill: Bill, packed: String) {
    const PAUSE: Duration = Duration::from_millis(500);
    // An hour: after that the sweeper and its tombstone have decided.
    const TRIES: u32 = 7200;
    let (credits, metrics) = (cashier.credits.clone(), Arc::clone(&cashier.metrics));
    cashier.tasks.spawn_session(Box::pin(async move {
        for _ in 0..TRIES {
            tokio::time::sleep(PAUSE).await;
            metrics.settle_retries.inc();
            if attempt(&credits, &metrics, &grant, &bill, &packed).await.is_ok() {
                return;
            }
        }
        tracing::error!(generation = %grant.key.generation, amount = bill.amount.get(), "a settlement was given up");
    }));
}

/// What an amount in flight has cost so far, for the heartbeat of a hold.
pub fn metered_so_far(metering: &Metering, rules: &BillRules<'_>) -> Result<NanoUsd, MoneyError> {
    let bill = Bill::of(metering, rules);
    Ok(bill.amount.min(rules.held))
}
