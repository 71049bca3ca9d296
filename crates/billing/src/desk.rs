//! The purchase desk: begins a purchase at the payment provider and carries every later word about it
//! into the ledger, whichever way the word arrives (webhook, poll, the customer's return).
//!
//! It orchestrates two ports and decides nothing about money: amounts and fees stand in the purchase's row,
//! and `purchase::next_step` alone says when credits are granted. It knows no webhook's shape and no
//! signature; the caller verifies both and passes a `PaymentEvent`.

use crate::engine::AccountRef;
use crate::ledger::{Booked, GrantLedger, PurchaseLedger};
use crate::payment::{CheckoutOrder, CheckoutSession, PaymentError, PaymentProvider};
use crate::purchase::{
    Granted, Mismatch, NewPurchase, PaidSession, Purchase, PurchaseEnd, PurchaseState, SessionStatus, Step,
    next_step,
};
use kernel::ids::{OrgId, PurchaseId};
use kernel::{Clock, StoreError, StoreErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// How long after a purchase was begun its checkout page closes by itself. A page's end is derived from the
/// purchase and not from the moment of asking, so that asking twice asks for the same thing.
pub const CHECKOUT_LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// The last moment at which a purchase may still get its page: payment providers refuse pages that would
/// close within half an hour.
const LAST_BEGIN: Duration = Duration::from_secs(5 * 3600);

/// A purchase this old without a page was never shown to anybody.
const PAGELESS_LIFETIME: Duration = Duration::from_secs(7 * 3600);

/// A poll ends after so many outages in a row: each may last a whole time limit, and all would fail alike.
const OUTAGES_MAX: u32 = 3;

/// Younger purchases are left to their webhooks.
const POLL_AFTER: Duration = Duration::from_secs(180);

/// A purchase about to be sent to the payment provider.
#[derive(Debug, Clone)]
pub struct BeginPurchase<'a> {
    /// Amount and fee as quoted. Its id is the idempotency key: the same form sent twice carries the same id.
    pub purchase: NewPurchase,
    /// Where the receipt goes.
    pub email: &'a str,
    /// Absolute address to return to after paying.
    pub success_url: &'a str,
    /// Absolute address to return to after giving up.
    pub cancel_url: &'a str,
}

/// What became of an attempt to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Send the customer there.
    Checkout(CheckoutSession),
    /// This purchase needs no page any more: it was granted, or it ended. A new one takes a new id.
    Closed(PurchaseState),
}

/// A verified message from the payment provider. It only says where to look; nothing in it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentEvent {
    pub id: String,
    /// The payment provider's word for what happened; for the record only.
    pub kind: String,
    /// Real money, not a test.
    pub live: bool,
    /// The checkout session that the event is about.
    pub session: Option<String>,
    /// The payment that it is about.
    pub payment: Option<String>,
    /// The dispute that it is about.
    pub dispute: Option<String>,
    /// It is about a refund of the payment.
    pub refund: bool,
    /// The purchase that the event names; finds the purchase when the session is unknown.
    pub purchase: Option<(OrgId, PurchaseId)>,
}

/// What looking at a purchase came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The credits are on the account now, as its credit number `seq`: let the engine know at once.
    Granted { purchase: PurchaseId, account: AccountRef, seq: i64 },
    /// They were there before.
    Already { account: AccountRef },
    /// A refund or dispute changed the balance: let the engine know at once.
    Booked(Booked),
    /// It will not be paid.
    Ended(PurchaseEnd),
    /// Neither paid nor ended yet.
    Waiting,
    /// Something was paid that does not fit the purchase. Nothing was granted; a person must look.
    Alarm(Mismatch),
    /// No purchase of ours.
    Foreign,
}

/// What a poll came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Polled {
    /// Accounts that got credits, with the credit's sequence.
    pub granted: Vec<(AccountRef, i64)>,
    pub ended: u32,
    pub waiting: u32,
    pub alarms: u32,
    /// Purchases that could not be looked at; the next poll tries again.
    pub failed: u32,
}

/// Why the desk could not do its work. Every act may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error("the ledger failed: {0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Payment(#[from] PaymentError),
}

impl DeskError {
    /// Whether it says more about a store or the payment provider than about this purchase.
    fn is_outage(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error.kind, StoreErrorKind::Unavailable | StoreErrorKind::Moving),
            Self::Payment(error) => matches!(error, PaymentError::Unavailable(_)),
        }
    }
}

/// The desk. `live` says whether real money is expected; the other kind is refused.
#[derive(Clone)]
pub struct PurchaseDesk {
    provider: Arc<dyn PaymentProvider>,
    ledger: Arc<dyn PurchaseLedger>,
    grants: Arc<dyn GrantLedger>,
    clock: Arc<dyn Clock>,
    live: bool,
}

impl PurchaseDesk {
    #[must_use]
    pub fn new(
        provider: Arc<dyn PaymentProvider>,
        ledger: Arc<dyn PurchaseLedger>,
        grants: Arc<dyn GrantLedger>,
        clock: Arc<dyn Clock>,
        live: bool,
    ) -> Self {
        Self { provider, ledger, grants, clock, live }
    }

    /// Records the purchase, makes its page and remembers it, in this order: whatever breaks between, the
    /// same call again finds what is there and goes on from it.
    pub async fn begin(&self, begin: &BeginPurchase<'_>) -> Result<Begun, DeskError> {
        let row = self.ledger.open_purchase(&begin.purchase).await?;
        if (row.org, row.amount, row.fee) != (begin.purchase.org, begin.purchase.amount, begin.purchase.fee) {
            return Err(
                StoreError::conflict(format!("purchase {} was begun with other terms", row.id)).into()
            );
        }
        if row.state != PurchaseState::Open {
            return Ok(Begun::Closed(row.state));
        }
        if let (Some(id), Some(url)) = (&row.session, &row.checkout_url) {
            return Ok(Begun::Checkout(CheckoutSession { id: id.clone(), url: url.clone() }));
        }
        if self.older_than(&row, LAST_BEGIN) {
            self.grants.end_purchase(row.id, PurchaseEnd::Expired).await?;
            return Ok(Begun::Closed(PurchaseState::Expired));
        }
        match self.provider.begin_checkout(&checkout_order(&row, begin)?).await {
            Ok(session) => {
                self.ledger.attach_session(row.org, row.id, &session.id, &session.url).await?;
                Ok(Begun::Checkout(session))
            }
            Err(error) => {
                // Only a refusal is certain; after anything else the same purchase may be tried again.
                if matches!(error, PaymentError::Refused { .. }) {
                    self.grants.end_purchase(row.id, PurchaseEnd::Failed).await?;
                }
                Err(error.into())
            }
        }
    }

    /// Notes a message; `Some` when it must not be acted on.
    ///
    /// A duplicate is looked at again, because its first delivery may have failed after it was noted.
    pub async fn accept(&self, event: &PaymentEvent) -> Result<Option<Progress>, DeskError> {
        if event.live != self.live {
            tracing::error!(event = %event.id, live = event.live, "a payment event of the wrong mode arrived");
            return Ok(Some(Progress::Alarm(Mismatch::LiveMode)));
        }
        let first = self.grants.note_event(&event.id, &event.kind).await?;
        tracing::debug!(event = %event.id, kind = %event.kind, first, "payment event");
        Ok(None)
    }

    /// Carries a message about a purchase into the ledger.
    pub async fn handle_event(&self, event: &PaymentEvent) -> Result<Progress, DeskError> {
        match self.accept(event).await? {
            Some(refused) => Ok(refused),
            None => self.carry(event).await,
        }
    }

    /// The same with a message that was accepted.
    pub(crate) async fn carry(&self, event: &PaymentEvent) -> Result<Progress, DeskError> {
        match self.find(event).await? {
            Some(purchase) => self.look(purchase, event.session.as_deref()).await,
            None => Ok(Progress::Foreign),
        }
    }

    /// Asks about open purchases whose webhooks should have come by now; at most `limit` of them.
    pub async fn poll_open(&self, limit: u32) -> Result<Polled, DeskError> {
        let mut polled = Polled::default();
        let mut outages = 0;
        let now = self.clock.now();
        for purchase in self.grants.purchases_to_check(now - POLL_AFTER, now, limit).await? {
            let id = purchase.id;
            match self.look_or_give_up(purchase).await {
                Ok(progress) => {
                    polled.count(progress);
                    outages = 0;
                }
                Err(error) => {
                    tracing::warn!(purchase = %id, %error, "a purchase could not be looked at");
                    polled.failed += 1;
                    outages = if error.is_outage() { outages + 1 } else { 0 };
                }
            }
            if outages == OUTAGES_MAX {
                break;
            }
        }
        Ok(polled)
    }

    /// Looks at one purchase now, as when its customer returns before the webhook; `None` when there is none.
    pub async fn check(&self, org: OrgId, id: PurchaseId) -> Result<Option<Progress>, DeskError> {
        match self.ledger.purchase(org, id).await? {
            Some(purchase) => Ok(Some(self.look(purchase, None).await?)),
            None => Ok(None),
        }
    }

    /// Closes the page of a purchase that its customer gave up. What was paid before stays paid.
    pub async fn abandon(&self, org: OrgId, id: PurchaseId) -> Result<Option<Progress>, DeskError> {
        let Some(purchase) = self.ledger.purchase(org, id).await? else { return Ok(None) };
        if let (PurchaseState::Open, Some(session)) = (purchase.state, &purchase.session) {
            self.provider.expire(session).await?;
        }
        Ok(Some(self.look(purchase, None).await?))
    }

    async fn find(&self, event: &PaymentEvent) -> Result<Option<Purchase>, StoreError> {
        if let Some(session) = &event.session
            && let Some(purchase) = self.grants.purchase_by_session(session).await?
        {
            return Ok(Some(purchase));
        }
        let Some((org, id)) = event.purchase else { return Ok(None) };
        let found = self.ledger.purchase(org, id).await?;
        if found.is_none() && self.live {
            tracing::error!(event = %event.id, purchase = %id, "a payment names a purchase that we do not have");
        }
        Ok(found)
    }

    /// Fetches the session afresh and takes the next step. `told` is the session that an event named; without
    /// one the purchase's own is asked for.
    async fn look(&self, mut purchase: Purchase, told: Option<&str>) -> Result<Progress, DeskError> {
        let Some(id) = told.map(str::to_owned).or_else(|| purchase.session.clone()) else {
            return Ok(Progress::Waiting);
        };
        let own = purchase.session.as_ref().is_none_or(|session| *session == id);
        if own && purchase.state == PurchaseState::Granted {
            return Ok(Progress::Already { account: purchase.account });
        }
        let session = self.provider.session(&id).await?;
        if !own && session.status != SessionStatus::Paid {
            // A second page of the same purchase, made when the first one's answer was lost. It matters only
            // if somebody paid on it, and then as an alarm.
            return Ok(Progress::Waiting);
        }
        // The page was made, but the row never learned of it. The session names the purchase by itself.
        purchase.session.get_or_insert(id);
        self.step(&purchase, &session).await
    }

    async fn step(&self, purchase: &Purchase, session: &PaidSession) -> Result<Progress, DeskError> {
        match next_step(purchase, session, self.live, self.clock.now()) {
            Err(mismatch) => {
                tracing::error!(
                    purchase = %purchase.id, org = %purchase.org, session = %session.session, %mismatch,
                    "a payment does not match its purchase; no credits were granted"
                );
                Ok(Progress::Alarm(mismatch))
            }
            Ok(Step::Wait) => Ok(Progress::Waiting),
            Ok(Step::End(end)) => {
                self.grants.end_purchase(purchase.id, end).await?;
                Ok(Progress::Ended(end))
            }
            Ok(Step::Grant(grant)) => match self.grants.grant(&grant).await? {
                Granted::Done { account, seq } => {
                    Ok(Progress::Granted { purchase: purchase.id, account, seq })
                }
                Granted::Already => Ok(Progress::Already { account: purchase.account }),
                Granted::Missing => {
                    Err(StoreError::corrupt(format!("purchase {} vanished before its grant", purchase.id))
                        .into())
                }
            },
        }
    }

    async fn look_or_give_up(&self, purchase: Purchase) -> Result<Progress, DeskError> {
        if purchase.session.is_none() && self.older_than(&purchase, PAGELESS_LIFETIME) {
            self.grants.end_purchase(purchase.id, PurchaseEnd::Expired).await?;
            return Ok(Progress::Ended(PurchaseEnd::Expired));
        }
        self.look(purchase, None).await
    }

    fn older_than(&self, purchase: &Purchase, age: Duration) -> bool {
        purchase.created_at < self.clock.now() - age
    }
}

impl Polled {
    fn count(&mut self, progress: Progress) {
        match progress {
            Progress::Granted { account, seq, .. } => self.granted.push((account, seq)),
            Progress::Ended(_) => self.ended += 1,
            Progress::Alarm(_) => self.alarms += 1,
            Progress::Waiting | Progress::Already { .. } | Progress::Booked(_) | Progress::Foreign => {
                self.waiting += 1;
            }
        }
    }
}

/// The order as the stored row has it, so that a second call asks for exactly the same.
fn checkout_order(row: &Purchase, begin: &BeginPurchase<'_>) -> Result<CheckoutOrder, StoreError> {
    let total = row.amount.checked_add(row.fee);
    Ok(CheckoutOrder {
        purchase: row.id,
        org: row.org,
        email: begin.email.to_owned(),
        amount: row.amount,
        fee: row.fee,
        total: total.map_err(|error| StoreError::corrupt(format!("purchase {}: {error}", row.id)))?,
        success_url: begin.success_url.to_owned(),
        cancel_url: begin.cancel_url.to_owned(),
    })
}

#[cfg(test)]
mod tests;
