//! Having the unused credits of a purchase refunded: the button on the purchase's page and what it does. How
//! much comes back is decided by `billing`.

use super::credits::WHO_BUYS;
use crate::format;
use crate::frame::{Notice, see_other};
use crate::trouble::{Answer, Trouble};
use crate::visit::Post;
use accounts::Role;
use actix_web::web;
use billing::purchase::{Purchase, PurchaseState};
use billing::refund::{Opened, Refund, RefundState, Requester, refundable_until};
use billing::refund_desk::{Ask, RefundDesk};
use kernel::ids::{PurchaseId, RefundId};
use kernel::{Clock, Entropy};

/// A refund in a list.
pub(crate) struct RefundRow {
    pub when: String,
    pub amount: String,
    pub state: &'static str,
    pub tone: &'static str,
    /// Why it was asked for or what became of it.
    pub note: String,
}

impl RefundRow {
    pub(crate) fn new(refund: &Refund) -> Self {
        let (state, tone) = match refund.state {
            RefundState::Waiting => ("Waits for a second look", "warn"),
            RefundState::Rejected => ("Not agreed", "quiet"),
            RefundState::Debited => ("On its way to the payment provider", "warn"),
            RefundState::Done => ("Refunded to the card", "good"),
            RefundState::Reversed => ("Not possible, credits are back", "bad"),
        };
        Self {
            when: format::time(refund.created_at),
            amount: format::card(refund.amount),
            state,
            tone,
            note: refund.failure.clone().unwrap_or_else(|| refund.reason.clone()),
        }
    }
}

/// What a purchase's page says about refunds.
pub(crate) struct RefundPart {
    /// What would come back; empty when nothing would.
    pub offer: String,
    /// Until when, or why nothing comes back.
    pub note: String,
    pub rows: Vec<RefundRow>,
}

impl RefundPart {
    pub(crate) async fn of(desk: &RefundDesk, purchase: &Purchase) -> Result<Self, Trouble> {
        let refunds = desk.refunds.refunds_of(purchase.org, purchase.id).await?;
        let rows = refunds.iter().map(RefundRow::new).collect();
        let mut part = Self { offer: String::new(), note: String::new(), rows };
        let running =
            refunds.iter().any(|one| matches!(one.state, RefundState::Waiting | RefundState::Debited));
        if purchase.state != PurchaseState::Granted
            || running
            || !RefundDesk::in_time(purchase, desk.clock.now())
        {
            return Ok(part);
        }
        let until = refundable_until(purchase).map(format::time).unwrap_or_default();
        match desk.offer(purchase).await {
            Ok(Ok(amount)) => {
                part.offer = format::card(amount);
                part.note = format!("Until {until}. The fee is not refunded.");
            }
            Ok(Err(refusal)) => part.note = refusal.to_string(),
            // The page is still good without the offer.
            Err(error) => tracing::warn!(%error, "a purchase is shown without its refund"),
        }
        Ok(part)
    }
}

pub(crate) async fn refund(
    post: Post,
    path: web::Path<String>,
    desk: web::Data<RefundDesk>,
    clock: web::Data<dyn Clock>,
    entropy: web::Data<dyn Entropy>,
) -> Answer {
    let member = post.visit.may(Role::buys_credits, WHO_BUYS)?;
    let purchase: PurchaseId = path.parse().map_err(|_not_an_id| Trouble::NotFound)?;
    desk.purchases.purchase(member.org.id, purchase).await?.ok_or(Trouble::NotFound)?;
    let ask = Ask {
        id: RefundId::new(clock.get_ref(), entropy.get_ref()),
        org: member.org.id,
        purchase,
        amount: None,
        by: Requester::Member(member.member.id),
        reason: "Asked for by the customer".to_owned(),
    };
    match desk.request(&ask).await? {
        Opened::Refused(refusal) => Err(Trouble::Invalid(refusal.to_string())),
        Opened::Debited(..) | Opened::Standing(_) => {
            see_other(&format!("/credits/purchases/{purchase}?refund=1"))
        }
    }
}

/// What the page says after the button, by what stands now.
pub(crate) fn notice(part: &RefundPart) -> Option<Notice> {
    part.rows
        .last()
        .map(|row| Notice { bad: row.tone == "bad", text: format!("{}: {}.", row.amount, row.state) })
}
