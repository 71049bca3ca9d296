//! Small housekeeping: partitions for the coming days, gauges, readiness.

use crate::jobs::epochs;
use crate::jobs::journal::Books;
use crate::wiring::House;
use billing::engine::EngineAudit as _;
use chrono::Days;
use prometheus::{IntGauge, Registry};

/// Days for which partitions stand ready.
const DAYS_AHEAD: u64 = 3;

/// Gauges of the credit engine.
#[derive(Clone)]
pub(crate) struct Gauges {
    holds: IntGauge,
    catalog: IntGauge,
}

impl Gauges {
    pub(crate) fn new(registry: &Registry) -> anyhow::Result<Self> {
        let holds = IntGauge::new("farebox_holds_open", "Open holds")?;
        let catalog = IntGauge::new("farebox_catalog_version", "Catalog version in memory")?;
        for gauge in [&holds, &catalog] {
            registry.register(Box::new(gauge.clone()))?;
        }
        Ok(Self { holds, catalog })
    }

    /// One reading.
    pub(crate) async fn read(&self, house: &House) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        if let Ok(open) = house.engine.open_holds().await {
            self.holds.set(number(open));
        }
        self.catalog.set(house.catalog.snapshot().version);
    }
}

/// Makes the partitions of today and the days ahead.
pub(crate) async fn partitions(house: &House) {
    let today = house.clock.now().date_naive();
    let last = today.checked_add_days(Days::new(DAYS_AHEAD)).unwrap_or(today);
    kernel::crash::point("partitions.begun");
    if let Err(error) = house.store.ensure_partitions(today, last).await {
        tracing::error!(%error, "partitions could not be made; rows go to the default one");
    }
}

/// Ready while Redis is in its epochs, the catalog is loaded, and there is room to remember how calls end. Calls are
/// served without PostgreSQL for a while, so only the staff desk, which has no books, is not ready without it.
pub(crate) async fn readiness(house: &House, books: Option<&Books>) {
    let open = epochs::serves(house).await.unwrap_or(false);
    let store = books.is_some() || house.store.ping().await.is_ok();
    let loaded = house.catalog.snapshot().version > 0;
    let room = books.is_none_or(|books| books.settlements().has_room());
    house.readiness.set(open && store && loaded && room);
}
