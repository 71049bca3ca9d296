//! Settling: usage becomes a charge, the charge closes the hold. Nothing decides an amount but the rules of
//! `billing`; nothing here is skipped when the client has left.

use crate::refusal::Refusal;
use crate::stage::admit::Cashier;
use billing::engine::{Funding, Grant};
use billing::fees::ByokFee;
use billing::price::{Extras, Priced, price};
use billing::{Closing, GenerationRecord};
use catalog::Endpoint;
use kernel::{Metering, NanoUsd, Usage, crash};

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
    /// The engine did not answer; the settlement is repeated until the ledger has it.
    Unknown,
}

/// Closes the hold: written first, then asked of the engine, then kept until the ledger has it.
pub async fn settle(cashier: &Cashier, grant: &Grant, bill: &Bill, record: &GenerationRecord) -> Closed {
    let closing = Closing::of(grant, bill.amount, bill.list_price, record);
    match cashier.settlements.settle(&cashier.credits, closing).await {
        Ok(charge) => Closed::Charged(charge),
        Err(error) => {
            let _logged = Refusal::from_store(&error);
            Closed::Unknown
        }
    }
}

/// Closes a hold that was never metered: nothing was used.
pub async fn release(cashier: &Cashier, grant: &Grant) {
    crash::point("gateway.before_release");
    let answer = cashier.credits.release(&grant.key, grant.account).await;
    crash::point("gateway.released");
    match answer {
        Ok(_closed) => cashier.settlements.released(&grant.key),
        Err(error) => {
            let _logged = Refusal::from_store(&error);
            // The sweeper closes it at its metered amount, which is zero.
            tracing::warn!(generation = %grant.key.generation, "a hold is left to the sweeper");
            cashier.settlements.released(&grant.key);
        }
    }
}
