//! Buying credits: the states of a purchase and the checks before its credits are granted.
//!
//! What the payment provider says is compared with our own row; credit amounts come from the row alone.

use crate::engine::AccountRef;
use kernel::ids::{MemberId, OrgId, PurchaseId};
use kernel::{Cents, Moment};

/// A purchase that is about to be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPurchase {
    pub id: PurchaseId,
    pub org: OrgId,
    pub member: MemberId,
    /// Credits granted when paid.
    pub amount: Cents,
    pub fee: Cents,
    pub created_at: Moment,
}

/// Where a purchase stands. States only rise: `Open` < `Failed`, `Expired` < `Granted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurchaseState {
    /// Waiting for the customer or for the payment provider's word.
    Open,
    /// The payment was declined for good.
    Failed,
    /// The customer let the checkout lapse or cancelled it.
    Expired,
    /// Paid, and the credits are on the account.
    Granted,
}

impl PurchaseState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Granted => "granted",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Failed, Self::Expired, Self::Granted].into_iter().find(|s| s.as_str() == text)
    }
}

/// How a purchase was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurchaseKind {
    /// By a person, on the payment provider's page.
    Checkout,
    /// By us, with the card that the customer saved for it.
    TopUp,
}

impl PurchaseKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::TopUp => "top_up",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Checkout, Self::TopUp].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// How an unpaid purchase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurchaseEnd {
    Failed,
    Expired,
}

/// A purchase as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    pub id: PurchaseId,
    pub org: OrgId,
    pub member: MemberId,
    pub account: AccountRef,
    pub kind: PurchaseKind,
    pub amount: Cents,
    pub fee: Cents,
    /// Debited for refunds that are done or in progress.
    pub refunded: Cents,
    /// Debited for disputes that are undecided or lost.
    pub disputed: Cents,
    pub state: PurchaseState,
    pub session: Option<String>,
    pub checkout_url: Option<String>,
    pub payment: Option<String>,
    pub created_at: Moment,
    pub granted_at: Option<Moment>,
}

impl Purchase {
    /// What the card pays.
    #[must_use]
    pub fn total(&self) -> Cents {
        self.amount.checked_add(self.fee).unwrap_or(self.amount)
    }
}

/// The payment provider's current word on a checkout session, fetched again by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidSession {
    pub session: String,
    pub purchase: Option<PurchaseId>,
    pub payment: Option<String>,
    pub status: SessionStatus,
    pub total: Cents,
    /// Lower-case ISO code.
    pub currency: String,
    pub live: bool,
}

/// Where a checkout session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStatus {
    Open,
    /// Complete and paid.
    Paid,
    /// Complete, money still on its way.
    Processing,
    Expired,
}

/// Why a paid session must not grant credits; each is an alarm for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("the session names another purchase")]
    Purchase,
    #[error("paid {paid} cents instead of {expected}")]
    Amount { paid: i64, expected: i64 },
    #[error("paid in {0} instead of usd")]
    Currency(String),
    #[error("live and test payments are mixed")]
    LiveMode,
}

/// The order to grant a purchase's credits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub purchase: PurchaseId,
    pub payment: String,
    pub at: Moment,
}

/// What granting did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    Done { account: AccountRef, seq: i64 },
    Already,
    Missing,
}

/// What to do about a session: the ranked state machine in one place. Order and duplicates of events
/// cannot matter, because it looks only at the session as it is now and at our row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Grant(Grant),
    End(PurchaseEnd),
    /// Nothing to do now.
    Wait,
}

/// Decides the next step of a purchase from the payment provider's current word.
pub fn next_step(
    purchase: &Purchase,
    session: &PaidSession,
    live: bool,
    now: Moment,
) -> Result<Step, Mismatch> {
    if session.purchase != Some(purchase.id) || purchase.session.as_deref() != Some(session.session.as_str())
    {
        return Err(Mismatch::Purchase);
    }
    if session.live != live {
        return Err(Mismatch::LiveMode);
    }
    match session.status {
        _ if purchase.state == PurchaseState::Granted => Ok(Step::Wait),
        SessionStatus::Open | SessionStatus::Processing => Ok(Step::Wait),
        SessionStatus::Expired => Ok(Step::End(PurchaseEnd::Expired)),
        SessionStatus::Paid => {
            check_amount(purchase, session)?;
            let payment = session.payment.clone().unwrap_or_else(|| session.session.clone());
            Ok(Step::Grant(Grant { purchase: purchase.id, payment, at: now }))
        }
    }
}

fn check_amount(purchase: &Purchase, session: &PaidSession) -> Result<(), Mismatch> {
    if session.currency != "usd" {
        return Err(Mismatch::Currency(session.currency.clone()));
    }
    if session.total != purchase.total() {
        return Err(Mismatch::Amount { paid: session.total.get(), expected: purchase.total().get() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::ids::AccountId;

    fn purchase(state: PurchaseState) -> Purchase {
        Purchase {
            id: PurchaseId::from_uuid(Default::default()),
            org: OrgId::from_uuid(Default::default()),
            member: MemberId::from_uuid(Default::default()),
            account: AccountRef { account: AccountId::from_uuid(Default::default()), shard: 0 },
            kind: PurchaseKind::Checkout,
            amount: Cents::new(1000),
            fee: Cents::new(80),
            refunded: Cents::ZERO,
            disputed: Cents::ZERO,
            state,
            session: Some("cs_1".to_owned()),
            checkout_url: None,
            payment: None,
            created_at: Moment::UNIX_EPOCH,
            granted_at: None,
        }
    }

    fn session(status: SessionStatus) -> PaidSession {
        PaidSession {
            session: "cs_1".to_owned(),
            purchase: Some(PurchaseId::from_uuid(Default::default())),
            payment: Some("pi_1".to_owned()),
            status,
            total: Cents::new(1080),
            currency: "usd".to_owned(),
            live: false,
        }
    }

    #[test]
    fn only_a_paid_session_that_matches_grants() {
        let step =
            |state, session: &PaidSession| next_step(&purchase(state), session, false, Moment::UNIX_EPOCH);
        let paid = session(SessionStatus::Paid);
        assert!(matches!(step(PurchaseState::Open, &paid), Ok(Step::Grant(_))));
        assert!(matches!(step(PurchaseState::Expired, &paid), Ok(Step::Grant(_))));
        assert!(matches!(step(PurchaseState::Failed, &paid), Ok(Step::Grant(_))));
        assert_eq!(step(PurchaseState::Granted, &paid), Ok(Step::Wait));
        assert_eq!(step(PurchaseState::Open, &session(SessionStatus::Open)), Ok(Step::Wait));
        assert_eq!(step(PurchaseState::Open, &session(SessionStatus::Processing)), Ok(Step::Wait));
        assert_eq!(
            step(PurchaseState::Open, &session(SessionStatus::Expired)),
            Ok(Step::End(PurchaseEnd::Expired))
        );
        assert_eq!(step(PurchaseState::Granted, &session(SessionStatus::Expired)), Ok(Step::Wait));
    }

    #[test]
    fn a_session_that_differs_from_our_row_never_grants() {
        let differs: [fn(&mut PaidSession); 5] = [
            |s| s.total = Cents::new(1079),
            |s| s.currency = "eur".to_owned(),
            |s| s.live = true,
            |s| s.purchase = None,
            |s| s.session = "cs_2".to_owned(),
        ];
        for change in differs {
            let mut session = session(SessionStatus::Paid);
            change(&mut session);
            assert!(next_step(&purchase(PurchaseState::Open), &session, false, Moment::UNIX_EPOCH).is_err());
        }
    }
}
