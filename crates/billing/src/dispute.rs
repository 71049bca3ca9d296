//! Disputed payments: what the payment provider may say about one, in which order, and what follows.
//!
//! The words are ranked, and only a higher rank changes anything; so order and repetition of messages cannot
//! matter. The provider's word is fetched afresh each time and must fit our purchase.

use crate::engine::AccountRef;
use crate::ledger::Booked;
use crate::mail::Letter;
use crate::purchase::{Mismatch, Purchase};
use kernel::ids::{DisputeId, OrgId, PurchaseId};
use kernel::{Cents, Moment};

/// Where a dispute stands; the order is the rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DisputeState {
    /// The bank only asks; no money has moved.
    Inquiry,
    /// The bank stopped asking; no money has moved.
    Closed,
    /// The money is withdrawn: the customer is debited and frozen.
    Open,
    /// The money came back: so do the credits, and the account is free again.
    Won,
    /// The money is gone: what the balance lacks is bad debt.
    Lost,
}

impl DisputeState {
    const ALL: [Self; 5] = [Self::Inquiry, Self::Closed, Self::Open, Self::Won, Self::Lost];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inquiry => "inquiry",
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether money is away, or was when it ended.
    #[must_use]
    pub fn moved_money(self) -> bool {
        self >= Self::Open
    }

    /// Whether the payment provider can still say something else.
    #[must_use]
    pub fn is_decided(self) -> bool {
        matches!(self, Self::Closed | Self::Won | Self::Lost)
    }

    /// Whether this word changes a dispute that stands at `now`; `None` is one never heard of.
    #[must_use]
    pub fn follows(self, now: Option<Self>) -> bool {
        now.is_none_or(|now| self > now && !(now == Self::Won && self == Self::Lost))
    }
}

/// The payment provider's present word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderDispute {
    pub id: String,
    /// The payment that it is about.
    pub payment: Option<String>,
    pub amount: Cents,
    /// Lower-case ISO code.
    pub currency: String,
    pub live: bool,
    pub state: DisputeState,
    /// The bank's word for why, like `fraudulent`.
    pub reason: String,
}

/// A dispute as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute {
    pub id: DisputeId,
    pub provider_id: String,
    pub purchase: PurchaseId,
    pub org: OrgId,
    pub amount: Cents,
    pub state: DisputeState,
    pub reason: String,
    /// What was written off when it was lost, in nano-dollars.
    pub written_off: kernel::NanoUsd,
    pub created_at: Moment,
    /// Whether the organization is frozen now.
    pub frozen: bool,
}

/// The order to take a dispute to a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    pub provider_id: String,
    pub purchase: PurchaseId,
    pub amount: Cents,
    pub to: DisputeState,
    pub reason: String,
    /// Sent when the state changes.
    pub letter: Letter,
    pub at: Moment,
}

/// What advancing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advanced {
    /// It stands where it was told to; `None` when no money moved.
    Moved(Option<Booked>),
    /// It stood there, or further, before.
    Already(AccountRef),
    /// With a refund in progress the sum would be more than was paid: ask again when the refund is over.
    Busy,
    /// More than was paid would be taken back. A person must look.
    TooMuch,
}

/// Whether a dispute is one of this purchase.
pub fn check(purchase: &Purchase, dispute: &ProviderDispute, live: bool) -> Result<(), Mismatch> {
    if purchase.payment.is_none() || purchase.payment != dispute.payment {
        return Err(Mismatch::Purchase);
    }
    if dispute.live != live {
        return Err(Mismatch::LiveMode);
    }
    if dispute.currency != "usd" {
        return Err(Mismatch::Currency(dispute.currency.clone()));
    }
    let (paid, expected) = (dispute.amount.get(), purchase.total().get());
    if paid <= 0 || paid > expected { Err(Mismatch::Amount { paid, expected }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_higher_rank_follows_and_what_is_won_stays_won() {
        use DisputeState::{Closed, Inquiry, Lost, Open, Won};
        let rows = [
            (None, Inquiry, true),
            (None, Lost, true),
            (Some(Inquiry), Open, true),
            (Some(Inquiry), Closed, true),
            (Some(Closed), Open, true),
            (Some(Open), Inquiry, false),
            (Some(Open), Open, false),
            (Some(Open), Won, true),
            (Some(Open), Lost, true),
            (Some(Won), Open, false),
            (Some(Won), Lost, false),
            (Some(Lost), Won, false),
            (Some(Lost), Lost, false),
        ];
        for (now, word, follows) in rows {
            assert_eq!(word.follows(now), follows, "{now:?} {word:?}");
        }
    }
}
