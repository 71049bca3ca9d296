//! What waits for the ledger: measured in Redis by every process, shown as metrics, and the reason for which new
//! calls are refused when it is too much.
//!
//! It is measured beside the ingest, so that it rises too when nobody books or PostgreSQL is away.

use crate::wiring::House;
use billing::backlog::OutboxBacklog as _;
use prometheus::{IntGauge, Registry};

/// The gauges of the backlog.
#[derive(Clone)]
pub(crate) struct BacklogWatch {
    lag: IntGauge,
    entries: IntGauge,
    bytes: IntGauge,
    closed: IntGauge,
}

impl BacklogWatch {
    pub(crate) fn new(registry: &Registry) -> anyhow::Result<Self> {
        let gauge = |name: &str, help: &str| -> anyhow::Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        Ok(Self {
            lag: gauge("farebox_ingest_lag_seconds", "Age of the oldest entry not yet in the ledger")?,
            entries: gauge("farebox_outbox_length", "Closed holds on their way to the ledger")?,
            bytes: gauge("farebox_outbox_shard_bytes", "Memory of the fullest shard's outbox")?,
            closed: gauge("farebox_intake_closed", "1 while new calls are refused because too much waits")?,
        })
    }

    /// One look. While Redis does not answer, the last verdict stays: no call is admitted anyway.
    pub(crate) async fn round(&self, house: &House) {
        let backlog = match house.engine.backlog().await {
            Ok(backlog) => backlog,
            Err(error) => return tracing::warn!(%error, "what waits for the ledger could not be measured"),
        };
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.lag.set(number(backlog.oldest.as_secs()));
        self.entries.set(number(backlog.entries));
        self.bytes.set(number(backlog.shard_bytes));
        let full = house.config.backlog.reached(&backlog);
        self.closed.set(i64::from(full.is_some()));
        if house.intake.set(full) {
            match full {
                Some(reason) => {
                    tracing::error!(%reason, ?backlog, "new calls are refused until it is booked")
                }
                None => tracing::info!("settlements are booked again; new calls are taken"),
            }
        }
    }
}
