//! Proves the books now and then, in the process that writes them, and shows the result as a metric.

use crate::commands::verify;
use crate::jobs::ingest::Ingest;
use crate::wiring::House;
use prometheus::{IntGauge, Registry};

/// The metric of the last proof.
#[derive(Clone)]
pub(crate) struct Proof {
    breaches: IntGauge,
    at: IntGauge,
}

impl Proof {
    pub(crate) fn new(registry: &Registry) -> anyhow::Result<Self> {
        let breaches =
            IntGauge::new("farebox_verify_breaches", "Invariants broken in the last proof of the books")?;
        let at = IntGauge::new("farebox_verify_timestamp_seconds", "When the books were last proved")?;
        registry.register(Box::new(breaches.clone()))?;
        registry.register(Box::new(at.clone()))?;
        Ok(Self { breaches, at })
    }

    /// One proof, where this process is the ledger's writer.
    pub(crate) async fn round(&self, house: &House, writer: &Ingest) {
        if !writer.has_lease(house).await.unwrap_or(false) {
            return;
        }
        match verify::prove(house).await {
            Ok(findings) => {
                let broken: Vec<_> = findings.iter().filter(|finding| !finding.holds()).collect();
                for finding in &broken {
                    tracing::error!(invariant = finding.id, rule = finding.rule, breaches = ?finding.breaches,
                        "the books do not balance");
                }
                self.breaches.set(i64::try_from(broken.len()).unwrap_or(i64::MAX));
                self.at.set(house.clock.now().timestamp());
            }
            Err(error) => tracing::warn!(%error, "the books could not be proved"),
        }
    }
}
