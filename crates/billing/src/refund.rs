//! Refunds of unused credits: how much comes back, who may ask, and the states of a refund.
//!
//! The fee of a purchase is not refunded. The money leaves the balance before the payment provider is asked;
//! `refund_desk` carries it there and back.

use crate::engine::AccountRef;
use crate::ledger::Booked;
use crate::purchase::{Purchase, PurchaseState};
use kernel::ids::{MemberId, OrgId, PurchaseId, RefundId};
use kernel::{Cents, Moment, NanoUsd};
use std::time::Duration;

/// How long after its credits came a customer may have a purchase refunded.
pub const REFUND_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// Above this a refund that staff ask for needs the agreement of a second member of staff.
pub const FOUR_EYES_ABOVE: Cents = Cents::new(10_000);

/// Nano-dollars of one cent.
const NANO_PER_CENT: i64 = 10_000_000;

/// Who asked for a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requester {
    /// The customer, by the button on the purchase's page.
    Member(MemberId),
    /// Staff, by their email address, with a reason.
    Staff(String),
}

/// Where a refund stands. The order of states is `Waiting` < `Debited` < `Done` < `Reversed`; `Rejected`
/// follows `Waiting` only. A bank may send back what was `Done`: then it is `Reversed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefundState {
    /// A second member of staff has to agree; no money has moved.
    Waiting,
    /// They did not agree, or there was nothing left to refund when they did.
    Rejected,
    /// Taken from the balance; the payment provider has not said its last word.
    Debited,
    /// On its way to the card.
    Done,
    /// Refused by the payment provider or sent back by the bank; the credits are on the account again.
    Reversed,
}

impl RefundState {
    const ALL: [Self; 5] = [Self::Waiting, Self::Rejected, Self::Debited, Self::Done, Self::Reversed];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Rejected => "rejected",
            Self::Debited => "debited",
            Self::Done => "done",
            Self::Reversed => "reversed",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A refund as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    pub id: RefundId,
    pub purchase: PurchaseId,
    pub org: OrgId,
    pub account: AccountRef,
    pub amount: Cents,
    pub state: RefundState,
    pub by: Requester,
    pub reason: String,
    /// The payment that it goes back on.
    pub payment: String,
    /// The payment provider's id of it, once it has one.
    pub provider_id: Option<String>,
    /// Why it was reversed or rejected.
    pub failure: Option<String>,
    pub created_at: Moment,
}

/// A refund about to be opened. Its id is its idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRefund {
    pub id: RefundId,
    pub org: OrgId,
    pub purchase: PurchaseId,
    pub amount: Cents,
    pub by: Requester,
    pub reason: String,
    pub at: Moment,
}

impl NewRefund {
    /// Whether nothing may move before a second member of staff agrees.
    #[must_use]
    pub fn needs_second(&self) -> bool {
        matches!(self.by, Requester::Staff(_)) && self.amount > FOUR_EYES_ABOVE
    }
}

/// The second member's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Their email address.
    pub staff: String,
    pub agreed: bool,
    pub at: Moment,
}

/// What opening or deciding did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// The customer was debited; `None` when it was so before.
    Debited(Box<Refund>, Option<Booked>),
    /// It stands in another state: waiting, rejected, or over.
    Standing(Box<Refund>),
    Refused(RefundRefusal),
}

/// Why nothing is refunded. The sentences are for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefundRefusal {
    #[error("This purchase was not paid, so there is nothing to refund.")]
    NotPaid,
    #[error("Unused credits can be refunded within 24 hours of a purchase. Write to support.")]
    TooLate,
    #[error(
        "A payment of this organization is disputed at the bank. Nothing is refunded until that is decided."
    )]
    Disputed,
    #[error("Another refund of this purchase is in progress. Wait until it is over.")]
    InProgress,
    #[error("All credits of this purchase are used, set aside for calls in flight, or refunded already.")]
    NothingLeft,
    #[error("That is more than the unused credits of this purchase.")]
    TooMuch,
    #[error("Whoever asked for a refund cannot agree to it. Ask a colleague.")]
    SamePerson,
    #[error("There is no such refund, or it was decided before.")]
    Unknown,
}

/// How a refund ended at the payment provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundEnd {
    Done { provider_id: String },
    Reversed { provider_id: Option<String>, why: String },
}

/// What of a purchase can be refunded: its credits less what was refunded or disputed, at most what is
/// `unused`, floored to the cent. `unused` is the balance less holds and less promotional credit.
pub fn refundable(purchase: &Purchase, unused: NanoUsd) -> Result<Cents, RefundRefusal> {
    if purchase.state != PurchaseState::Granted {
        return Err(RefundRefusal::NotPaid);
    }
    if purchase.disputed > Cents::ZERO {
        return Err(RefundRefusal::Disputed);
    }
    let unused = Cents::new(unused.get().div_euclid(NANO_PER_CENT));
    let left = purchase.amount.get().checked_sub(purchase.refunded.get()).map_or(Cents::ZERO, Cents::new);
    let amount = unused.min(left);
    if amount > Cents::ZERO { Ok(amount) } else { Err(RefundRefusal::NothingLeft) }
}

/// Until when the customer may press the button.
#[must_use]
pub fn refundable_until(purchase: &Purchase) -> Option<Moment> {
    purchase.granted_at.map(|at| at + REFUND_WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purchase::PurchaseKind;
    use kernel::ids::AccountId;

    fn granted(amount: i64, refunded: i64, disputed: i64) -> Purchase {
        Purchase {
            id: PurchaseId::from_uuid(Default::default()),
            org: OrgId::from_uuid(Default::default()),
            member: MemberId::from_uuid(Default::default()),
            account: AccountRef { account: AccountId::from_uuid(Default::default()), shard: 0 },
            kind: PurchaseKind::Checkout,
            amount: Cents::new(amount),
            fee: Cents::new(80),
            refunded: Cents::new(refunded),
            disputed: Cents::new(disputed),
            state: PurchaseState::Granted,
            session: None,
            checkout_url: None,
            payment: None,
            created_at: Moment::UNIX_EPOCH,
            granted_at: Some(Moment::UNIX_EPOCH),
        }
    }

    #[test]
    fn the_smaller_of_unused_and_unrefunded_comes_back_in_whole_cents() {
        use RefundRefusal::{Disputed, NothingLeft};
        // amount, refunded and disputed in cents, unused in nano-dollars, refundable
        let rows = [
            (1000, 0, 0, 10_000_000_000, Ok(1000)),
            (1000, 0, 0, 50_000_000_000, Ok(1000)),
            (1000, 0, 0, 9_999_999_999, Ok(999)),
            (1000, 400, 0, 50_000_000_000, Ok(600)),
            (1000, 400, 0, 10_000_000, Ok(1)),
            (1000, 0, 0, 9_999_999, Err(NothingLeft)),
            (1000, 0, 0, 0, Err(NothingLeft)),
            (1000, 0, 0, -1, Err(NothingLeft)),
            (1000, 1000, 0, 50_000_000_000, Err(NothingLeft)),
            (1000, 0, 1080, 50_000_000_000, Err(Disputed)),
        ];
        for (amount, refunded, disputed, unused, expected) in rows {
            let found = refundable(&granted(amount, refunded, disputed), NanoUsd::new(unused));
            assert_eq!(found, expected.map(Cents::new), "{amount} {refunded} {disputed} {unused}");
        }
        let open = Purchase { state: PurchaseState::Open, ..granted(1000, 0, 0) };
        assert_eq!(refundable(&open, NanoUsd::new(i64::MAX)), Err(RefundRefusal::NotPaid));
    }

    #[test]
    fn only_staff_above_a_hundred_dollars_need_a_second_person() {
        let new = |cents, by| NewRefund {
            id: RefundId::from_uuid(Default::default()),
            org: OrgId::from_uuid(Default::default()),
            purchase: PurchaseId::from_uuid(Default::default()),
            amount: Cents::new(cents),
            by,
            reason: String::new(),
            at: Moment::UNIX_EPOCH,
        };
        let staff = || Requester::Staff("a@farebox.example".to_owned());
        let member = || Requester::Member(MemberId::from_uuid(Default::default()));
        for (cents, by, needed) in
            [(10_000, staff(), false), (10_001, staff(), true), (2_500_000, member(), false)]
        {
            assert_eq!(new(cents, by).needs_second(), needed, "{cents}");
        }
    }
}
