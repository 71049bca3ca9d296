//! Buying credits, step three: to the payment provider's page and back. The page of a purchase confirms by
//! itself when the payment provider's word arrives; coming back to it grants nothing.

use super::credits::{PurchaseRow, WHO_BUYS, quote};
use super::refunds::{self, RefundPart};
use crate::format;
use crate::frame::{BalanceText, Frame, Notice, page, see_other};
use crate::trouble::{Answer, Trouble};
use crate::visit::{Post, Visit};
use accounts::Role;
use actix_web::{HttpResponse, web};
use askama::Template;
use billing::fees::PurchaseFee;
use billing::ledger::PurchaseLedger;
use billing::payment::{CheckoutOrder, PaymentError, PaymentProvider};
use billing::purchase::{NewPurchase, Purchase, PurchaseState};
use billing::refund_desk::RefundDesk;
use kernel::ids::PurchaseId;
use kernel::{Clock, Entropy};

/// A purchase's own page.
#[derive(Template)]
#[template(path = "purchase.html")]
struct PurchasePage {
    frame: Frame,
    row: PurchaseRow,
    state: PurchaseState,
    balance: BalanceText,
    /// The customer said on the payment page that they do not want to pay.
    cancelled: bool,
    checkout_url: String,
    granted_at: String,
    refund: RefundPart,
}

impl PurchasePage {
    fn is_open(&self) -> bool {
        self.state == PurchaseState::Open
    }

    fn is_granted(&self) -> bool {
        self.state == PurchaseState::Granted
    }

    /// Waiting for the payment provider's word, not for the customer.
    fn is_confirming(&self) -> bool {
        self.is_open() && !self.cancelled
    }
}

pub(crate) async fn begin(
    post: Post,
    fee: web::Data<PurchaseFee>,
    ledger: web::Data<dyn PurchaseLedger>,
    payments: web::Data<dyn PaymentProvider>,
    clock: web::Data<dyn Clock>,
    entropy: web::Data<dyn Entropy>,
) -> Answer {
    let member = post.visit.may(Role::buys_credits, WHO_BUYS)?;
    let quote = quote(&fee, post.fields.text("amount")).map_err(Trouble::Invalid)?;
    let id = PurchaseId::new(clock.get_ref(), entropy.get_ref());
    let new = NewPurchase {
        id,
        org: member.org.id,
        member: member.member.id,
        amount: quote.amount,
        fee: quote.fee,
        created_at: clock.now(),
    };
    ledger.open_purchase(&new).await?;
    let back = format!("{}/credits/purchases/{id}", post.visit.site.url);
    let order = CheckoutOrder {
        purchase: id,
        org: new.org,
        email: member.email.clone(),
        amount: quote.amount,
        fee: quote.fee,
        total: quote.total,
        success_url: back.clone(),
        cancel_url: format!("{back}?cancelled=1"),
    };
    match payments.begin_checkout(&order).await {
        Ok(session) => {
            ledger.attach_session(new.org, id, &session.id, &session.url).await?;
            see_other(&session.url)
        }
        Err(PaymentError::Refused { message }) => {
            Err(Trouble::Invalid(format!("The payment provider refused: {message}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// How the customer came back.
#[derive(serde::Deserialize)]
pub(crate) struct Return {
    #[serde(default)]
    cancelled: String,
    #[serde(default)]
    refund: String,
}

pub(crate) async fn show(
    visit: Visit,
    path: web::Path<String>,
    query: web::Query<Return>,
    ledger: web::Data<dyn PurchaseLedger>,
    desk: web::Data<RefundDesk>,
) -> Answer {
    let purchase = find(&visit, &path, ledger.get_ref()).await?;
    let refund = RefundPart::of(&desk, &purchase).await?;
    let granted = purchase.state == PurchaseState::Granted;
    let notice = granted
        .then(|| Notice::good(format!("{} of credits are on your account.", format::card(purchase.amount))));
    let notice = if query.refund.is_empty() { notice } else { refunds::notice(&refund) };
    page(&PurchasePage {
        frame: visit.frame("Your purchase").noting(notice),
        refund,
        row: PurchaseRow::new(&purchase),
        state: purchase.state,
        balance: visit.balance_text(),
        cancelled: !query.cancelled.is_empty(),
        checkout_url: purchase.checkout_url.clone().unwrap_or_default(),
        granted_at: purchase.granted_at.map(format::time).unwrap_or_default(),
    })
}

/// `{"state": "open"}`: what the waiting page asks every second.
pub(crate) async fn status(
    visit: Visit,
    path: web::Path<String>,
    ledger: web::Data<dyn PurchaseLedger>,
) -> Answer {
    let purchase = find(&visit, &path, ledger.get_ref()).await?;
    Ok(HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .json(serde_json::json!({ "state": purchase.state.as_str() })))
}

async fn find(visit: &Visit, id: &str, ledger: &dyn PurchaseLedger) -> Result<Purchase, Trouble> {
    let member = visit.may(Role::buys_credits, WHO_BUYS)?;
    let id: PurchaseId = id.parse().map_err(|_not_an_id| Trouble::NotFound)?;
    ledger.purchase(member.org.id, id).await?.ok_or(Trouble::NotFound)
}
