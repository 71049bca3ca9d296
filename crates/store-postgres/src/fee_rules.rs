//! Fee rules in force at a moment. Rules are rows; their arithmetic is in `billing::fees`.

use crate::PgStore;
use crate::convert::document;
use crate::error::Named as _;
use billing::fees::{ByokFee, PurchaseFee};
use kernel::{Moment, StoreError};
use serde::de::DeserializeOwned;

impl PgStore {
    /// What a purchase of credits costs at a moment.
    pub async fn purchase_fee(&self, at: Moment) -> Result<PurchaseFee, StoreError> {
        self.fee_rule("purchase", at).await
    }

    /// What the use of an own provider key costs at a moment.
    pub async fn byok_fee(&self, at: Moment) -> Result<ByokFee, StoreError> {
        self.fee_rule("byok", at).await
    }

    async fn fee_rule<T: DeserializeOwned>(&self, kind: &'static str, at: Moment) -> Result<T, StoreError> {
        let rule = sqlx::query_scalar!(
            "SELECT rule FROM fee_rule WHERE kind = $1 AND valid_from <= $2 ORDER BY valid_from DESC LIMIT 1",
            kind,
            at
        )
        .fetch_optional(&self.pool)
        .await
        .named("fee_rule")?;
        let rule = rule.ok_or_else(|| StoreError::corrupt(format!("fee_rule: no {kind} rule at {at}")))?;
        document("fee_rule.rule", kind, rule)
    }
}
