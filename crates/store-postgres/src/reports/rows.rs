//! What both ways of reporting read: a day's use of a model, and totals, as their queries name the columns.

use crate::convert::{count, nano};
use billing::reports::{DayModelUsage, UsageTotals};
use kernel::StoreError;

/// A day's use of one model.
pub(super) struct DayRow {
    pub(super) day: String,
    pub(super) model: String,
    pub(super) requests: i64,
    pub(super) prompt: i64,
    pub(super) completion: i64,
    pub(super) charge: i64,
    pub(super) byok: i64,
}

impl DayRow {
    pub(super) fn usage(self) -> Result<DayModelUsage, StoreError> {
        Ok(DayModelUsage {
            day: self.day,
            model: self.model,
            requests: count("usage.requests", self.requests)?,
            prompt_tokens: count("usage.prompt_tokens", self.prompt)?,
            completion_tokens: count("usage.completion_tokens", self.completion)?,
            charge: nano(self.charge),
            byok_list_price: nano(self.byok),
        })
    }
}

/// Sums over a filter.
pub(super) struct TotalsRow {
    pub(super) requests: i64,
    pub(super) prompt: i64,
    pub(super) completion: i64,
    pub(super) charge: i64,
}

impl TotalsRow {
    pub(super) fn totals(&self) -> Result<UsageTotals, StoreError> {
        Ok(UsageTotals {
            requests: count("usage.requests", self.requests)?,
            prompt_tokens: count("usage.prompt_tokens", self.prompt)?,
            completion_tokens: count("usage.completion_tokens", self.completion)?,
            charge: nano(self.charge),
        })
    }
}
