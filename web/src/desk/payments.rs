//! Payments at the staff desk: refunds that wait for a second person, disputes, letters, and one purchase
//! with its refund form. Every act leaves an entry in the audit log.

use crate::format;
use crate::frame::{Frame, Notice, page, see_other};
use crate::pages::credits::PurchaseRow;
use crate::pages::refunds::RefundRow;
use crate::trouble::{Answer, Trouble};
use crate::visit::{Post, Visit};
use actix_web::web;
use askama::Template;
use billing::dispute::{Dispute, DisputeState};
use billing::ledger::{DisputeLedger, GrantLedger};
use billing::mail::MailOutbox;
use billing::purchase::{Purchase, PurchaseState};
use billing::refund::{Decision, FOUR_EYES_ABOVE, Opened, Refund, Requester};
use billing::refund_desk::{Ask, RefundDesk};
use kernel::ids::{OrgId, PurchaseId, RefundId};
use kernel::{Cents, Clock, Entropy};

const SHOWN: u32 = 50;

struct DisputeRow {
    when: String,
    purchase: String,
    org: String,
    amount: String,
    state: &'static str,
    tone: &'static str,
    reason: String,
    can_unfreeze: bool,
}

impl DisputeRow {
    fn new(dispute: &Dispute) -> Self {
        let (state, tone) = dispute_words(dispute.state);
        Self {
            when: format::time(dispute.created_at),
            purchase: dispute.purchase.to_string(),
            org: dispute.org.to_string(),
            amount: format::card(dispute.amount),
            state,
            tone,
            reason: dispute.reason.clone(),
            can_unfreeze: dispute.frozen && dispute.state == DisputeState::Lost,
        }
    }
}

/// A dispute's state for people, with the color of its badge.
pub(crate) fn dispute_words(state: DisputeState) -> (&'static str, &'static str) {
    match state {
        DisputeState::Inquiry => ("The bank asks", "warn"),
        DisputeState::Closed => ("Closed without a dispute", "quiet"),
        DisputeState::Open => ("Disputed", "bad"),
        DisputeState::Won => ("Settled for us", "good"),
        DisputeState::Lost => ("Lost", "bad"),
    }
}

struct WaitingRow {
    id: String,
    purchase: String,
    by: String,
    mine: bool,
    row: RefundRow,
}

impl WaitingRow {
    fn new(refund: &Refund, me: &str) -> Self {
        let by = match &refund.by {
            Requester::Staff(email) => email.clone(),
            Requester::Member(member) => member.to_string(),
        };
        Self {
            id: refund.id.to_string(),
            purchase: refund.purchase.to_string(),
            mine: by == me,
            by,
            row: RefundRow::new(refund),
        }
    }
}

struct MailRow {
    when: String,
    to: String,
    subject: String,
    sent: bool,
}

#[derive(Template)]
#[template(path = "staff/payments.html")]
struct PaymentsPage {
    frame: Frame,
    waiting: Vec<WaitingRow>,
    disputes: Vec<DisputeRow>,
    mail: Vec<MailRow>,
}

/// What was just done, or what is looked for.
#[derive(serde::Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    done: String,
    #[serde(default)]
    number: String,
}

fn done(word: &str) -> Option<Notice> {
    match word {
        "refunded" => Some(Notice::good("The refund was opened; its state is below.")),
        "decided" => Some(Notice::good("Decided.")),
        "unfrozen" => Some(Notice::good("The organization can call again.")),
        "held" => Some(Notice::bad("It is not frozen, or a dispute is still undecided.")),
        _ => None,
    }
}

pub(crate) async fn list(
    visit: Visit,
    query: web::Query<Asked>,
    refunds: web::Data<RefundDesk>,
    disputes: web::Data<dyn DisputeLedger>,
    mail: web::Data<dyn MailOutbox>,
) -> Answer {
    let staff = visit.staff()?;
    let number = query.number.trim();
    if !number.is_empty() {
        let id: PurchaseId = number.parse().map_err(|_not_an_id| Trouble::NotFound)?;
        return see_other(&format!("/payments/{id}"));
    }
    let waiting = refunds.refunds.refunds_to_decide().await?;
    let letters = mail.latest_mail(SHOWN).await?;
    page(&PaymentsPage {
        frame: visit.frame("Payments").noting(done(&query.done)),
        waiting: waiting.iter().map(|refund| WaitingRow::new(refund, &staff.email)).collect(),
        disputes: disputes.all_disputes(SHOWN).await?.iter().map(DisputeRow::new).collect(),
        mail: letters
            .into_iter()
            .map(|letter| MailRow {
                when: format::time(letter.created_at),
                to: letter.to,
                subject: letter.letter.subject,
                sent: letter.sent_at.is_some(),
            })
            .collect(),
    })
}

#[derive(Template)]
#[template(path = "staff/payment.html")]
struct PaymentPage {
    frame: Frame,
    row: PurchaseRow,
    org: String,
    payment: String,
    /// What can be refunded now; empty when nothing can.
    most: String,
    why_not: String,
    four_eyes_above: String,
    refunds: Vec<RefundRow>,
}

pub(crate) async fn show(
    visit: Visit,
    path: web::Path<String>,
    query: web::Query<Asked>,
    grants: web::Data<dyn GrantLedger>,
    desk: web::Data<RefundDesk>,
) -> Answer {
    visit.staff()?;
    let purchase = find(&path, grants.get_ref()).await?;
    let refunds = desk.refunds.refunds_of(purchase.org, purchase.id).await?;
    let (most, why_not) = if purchase.state == PurchaseState::Granted {
        match desk.offer(&purchase).await? {
            Ok(most) => (most.dollars(), String::new()),
            Err(refusal) => (String::new(), refusal.to_string()),
        }
    } else {
        (String::new(), String::new())
    };
    page(&PaymentPage {
        frame: visit.frame("Payment").noting(done(&query.done)),
        row: PurchaseRow::new(&purchase),
        org: purchase.org.to_string(),
        payment: purchase.payment.clone().unwrap_or_default(),
        most,
        why_not,
        four_eyes_above: format::card(FOUR_EYES_ABOVE),
        refunds: refunds.iter().map(RefundRow::new).collect(),
    })
}

async fn find(id: &str, grants: &dyn GrantLedger) -> Result<Purchase, Trouble> {
    let id: PurchaseId = id.parse().map_err(|_not_an_id| Trouble::NotFound)?;
    grants.purchase_by_id(id).await?.ok_or(Trouble::NotFound)
}

pub(crate) async fn refund(
    post: Post,
    path: web::Path<String>,
    grants: web::Data<dyn GrantLedger>,
    desk: web::Data<RefundDesk>,
    clock: web::Data<dyn Clock>,
    entropy: web::Data<dyn Entropy>,
) -> Answer {
    let staff = post.visit.staff()?;
    let purchase = find(&path, grants.get_ref()).await?;
    let reason = post.fields.text("reason");
    if reason.is_empty() || reason.chars().count() > 500 {
        return Err(Trouble::Invalid("Say why in at most 500 characters, then send it again.".to_owned()));
    }
    let typed = crate::query::plain_dollars(post.fields.text("amount")).unwrap_or_default();
    let amount = Cents::parse_dollars(&typed).map_err(|_not_an_amount| {
        Trouble::Invalid("Enter an amount in dollars and cents, like 12.50.".to_owned())
    })?;
    let ask = Ask {
        id: RefundId::new(clock.get_ref(), entropy.get_ref()),
        org: purchase.org,
        purchase: purchase.id,
        amount: Some(amount),
        by: Requester::Staff(staff.email.clone()),
        reason: reason.to_owned(),
    };
    match desk.request(&ask).await? {
        Opened::Refused(refusal) => Err(Trouble::Invalid(refusal.to_string())),
        Opened::Debited(..) | Opened::Standing(_) => {
            see_other(&format!("/payments/{}?done=refunded", purchase.id))
        }
    }
}

pub(crate) async fn decide(
    post: Post,
    path: web::Path<String>,
    desk: web::Data<RefundDesk>,
    clock: web::Data<dyn Clock>,
) -> Answer {
    let staff = post.visit.staff()?;
    let id: RefundId = path.parse().map_err(|_not_an_id| Trouble::NotFound)?;
    let agreed = post.fields.text("decision") == "agree";
    let decision = Decision { staff: staff.email.clone(), agreed, at: clock.now() };
    match desk.decide(id, &decision).await? {
        Opened::Refused(refusal) => Err(Trouble::Invalid(refusal.to_string())),
        Opened::Debited(..) | Opened::Standing(_) => see_other("/payments?done=decided"),
    }
}

pub(crate) async fn unfreeze(
    post: Post,
    path: web::Path<String>,
    disputes: web::Data<dyn DisputeLedger>,
    clock: web::Data<dyn Clock>,
) -> Answer {
    let staff = post.visit.staff()?;
    let org: OrgId = path.parse().map_err(|_not_an_id| Trouble::NotFound)?;
    let freed = disputes.unfreeze(org, &staff.email, clock.now()).await?;
    see_other(if freed { "/payments?done=unfrozen" } else { "/payments?done=held" })
}
