//! The dispute desk: asks the payment provider for its present word about a dispute and takes it into the
//! ledger, whichever message or poll led here.
//!
//! Which word counts is `dispute::DisputeState::follows`; what it moves is the ledger's one transaction.

use crate::desk::{DeskError, Progress};
use crate::dispute::{Advance, Advanced, check};
use crate::ledger::{DisputeLedger, GrantLedger};
use crate::mail;
use crate::payment::DisputeProvider;
use crate::purchase::Mismatch;
use kernel::{Clock, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// Undecided disputes are asked about again after so long: a message may have been lost.
const CHECK_AFTER: Duration = Duration::from_secs(3600);

/// How far back a sweep looks; messages are repeated for three days.
const SWEEP: Duration = Duration::from_secs(5 * 24 * 3600);

/// What the desk works with. `live` says whether real money is expected.
#[derive(Clone)]
pub struct DisputeDesk {
    pub provider: Arc<dyn DisputeProvider>,
    pub disputes: Arc<dyn DisputeLedger>,
    pub grants: Arc<dyn GrantLedger>,
    pub clock: Arc<dyn Clock>,
    pub live: bool,
    /// Base of addresses in letters.
    pub site: String,
}

impl DisputeDesk {
    /// Looks at a dispute by the payment provider's id.
    pub async fn look(&self, id: &str) -> Result<Progress, DeskError> {
        let word = self.provider.dispute(id).await?;
        let purchase = match &word.payment {
            Some(payment) => self.grants.purchase_by_payment(payment).await?,
            None => None,
        };
        let Some(purchase) = purchase else {
            tracing::error!(dispute = %id, "a payment that no purchase of ours names is disputed");
            return Ok(Progress::Foreign);
        };
        let alarm = |mismatch: Mismatch| {
            tracing::error!(
                dispute = %id, purchase = %purchase.id, org = %purchase.org, %mismatch,
                "a dispute does not match its purchase; nothing was booked"
            );
            Ok(Progress::Alarm(mismatch))
        };
        if let Err(mismatch) = check(&purchase, &word, self.live) {
            return alarm(mismatch);
        }
        let advance = Advance {
            provider_id: word.id.clone(),
            purchase: purchase.id,
            amount: word.amount,
            to: word.state,
            reason: word.reason.clone(),
            letter: mail::dispute(word.state, word.amount, &self.site),
            at: self.clock.now(),
        };
        match self.disputes.advance_dispute(&advance).await? {
            Advanced::Moved(Some(booked)) => Ok(Progress::Booked(booked)),
            Advanced::Moved(None) => Ok(Progress::Already { account: purchase.account }),
            Advanced::Already(account) => Ok(Progress::Already { account }),
            Advanced::Busy => {
                Err(StoreError::conflict(format!("dispute {id} waits for a refund in progress")).into())
            }
            Advanced::TooMuch => {
                alarm(Mismatch::Amount { paid: word.amount.get(), expected: purchase.total().get() })
            }
        }
    }

    /// Looks at every dispute of the last days that the payment provider has: their first message may have
    /// been lost, and then nobody else would ask.
    pub async fn sweep(&self) -> Result<Vec<Progress>, DeskError> {
        let mut seen = Vec::new();
        for id in self.provider.disputes_since(self.clock.now() - SWEEP).await? {
            match self.look(&id).await {
                Ok(progress) => seen.push(progress),
                Err(error) => tracing::warn!(dispute = %id, %error, "a dispute could not be looked at"),
            }
        }
        Ok(seen)
    }

    /// Asks about undecided disputes whose messages may have been lost; what was booked.
    pub async fn poll(&self, limit: u32) -> Result<Vec<Progress>, DeskError> {
        let now = self.clock.now();
        let mut seen = Vec::new();
        for dispute in self.disputes.disputes_to_check(now - CHECK_AFTER, now, limit).await? {
            match self.look(&dispute.provider_id).await {
                Ok(progress) => seen.push(progress),
                Err(error) => {
                    tracing::warn!(dispute = %dispute.provider_id, %error, "a dispute could not be looked at");
                }
            }
        }
        Ok(seen)
    }
}
