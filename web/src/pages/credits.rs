//! Buying credits, steps one and two: choose an amount, see the fee in dollars and percent, then go on.
//! Step three is in `purchases`.

use crate::format;
use crate::frame::{BalanceText, Frame, page, page_with, see_other};
use crate::trouble::{Answer, Trouble};
use crate::visit::Visit;
use accounts::Role;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use billing::dispute::{Dispute, DisputeState};
use billing::fees::{PurchaseFee, PurchaseQuote};
use billing::ledger::{OrgDisputes, PurchaseLedger};
use billing::purchase::{Purchase, PurchaseState};
use kernel::{Cents, NanoUsd};

pub(crate) const WHO_BUYS: &str =
    "Owners, admins and billing members buy credits. Ask one of them, or ask for another role.";
const HISTORY: u32 = 50;
/// Amounts offered at one click, in cents.
const OFFERS: [i64; 4] = [500, 1_000, 2_500, 10_000];

/// A purchase in the history.
pub(crate) struct PurchaseRow {
    pub href: String,
    pub id: String,
    pub when: String,
    pub amount: String,
    pub fee: String,
    pub total: String,
    pub state: &'static str,
    /// The color of its badge.
    pub tone: &'static str,
}

impl PurchaseRow {
    pub(crate) fn new(purchase: &Purchase) -> Self {
        let (state, tone) = match purchase.state {
            PurchaseState::Open => ("Waiting for payment", "warn"),
            PurchaseState::Failed => ("Declined", "bad"),
            PurchaseState::Expired => ("Not paid", "quiet"),
            PurchaseState::Granted => ("Paid", "good"),
        };
        Self {
            href: format!("/credits/purchases/{}", purchase.id),
            id: purchase.id.to_string(),
            when: format::time(purchase.created_at),
            amount: format::card(purchase.amount),
            fee: format::card(purchase.fee),
            total: format::card(purchase.total()),
            state,
            tone,
        }
    }
}

/// An amount with what it costs.
struct Offer {
    /// The value of the form field: `10` or `12.50`.
    value: String,
    quote: QuoteText,
}

/// A quote in words.
struct QuoteText {
    amount: String,
    fee: String,
    /// The fee as a share of the amount.
    percent: String,
    total: String,
}

impl QuoteText {
    fn new(quote: &PurchaseQuote) -> Self {
        Self {
            amount: format::card(quote.amount),
            fee: format::card(quote.fee),
            percent: format::share(quote.fee, quote.amount),
            total: format::card(quote.total),
        }
    }
}

/// A dispute as its customer is told of it.
struct DisputeText {
    headline: String,
    advice: &'static str,
}

impl DisputeText {
    /// `None` for what holds nobody any more.
    fn new(dispute: &Dispute) -> Option<Self> {
        let amount = format::card(dispute.amount);
        match dispute.state {
            DisputeState::Open => Some(Self {
                headline: format!("A payment of {amount} is disputed at your bank: this account is frozen."),
                advice: "Calls are refused and automatic top-up is off until it is decided. If it was a mistake, ask your bank to withdraw it.",
            }),
            DisputeState::Lost if dispute.frozen => Some(Self {
                headline: format!(
                    "The dispute of {amount} was decided for the cardholder: this account is frozen."
                ),
                advice: "Write to support to use it again.",
            }),
            _ => None,
        }
    }
}

/// Step one.
#[derive(Template)]
#[template(path = "credits.html")]
struct CreditsPage {
    frame: Frame,
    balance: BalanceText,
    /// Disputed payments that hold the account.
    disputes: Vec<DisputeText>,
    /// Money set aside for calls in flight; empty when there is none.
    held: String,
    offers: Vec<Offer>,
    custom: String,
    error: String,
    rate: String,
    minimum_fee: String,
    smallest: String,
    largest: String,
    history: Vec<PurchaseRow>,
}

pub(crate) async fn show(
    visit: Visit,
    fee: web::Data<PurchaseFee>,
    ledger: web::Data<dyn PurchaseLedger>,
    disputes: web::Data<dyn OrgDisputes>,
) -> Answer {
    let mut shown = credits_page(&visit, &fee, ledger.get_ref(), "", String::new()).await?;
    let found = disputes.disputes_of(visit.signed()?.org.id).await?;
    shown.disputes = found.iter().filter_map(DisputeText::new).collect();
    page(&shown)
}

/// The address of a sent form, opened by hand or by reloading a page of trouble.
pub(crate) async fn elsewhere(_visit: Visit) -> Answer {
    see_other("/credits")
}

async fn credits_page(
    visit: &Visit,
    fee: &PurchaseFee,
    ledger: &dyn PurchaseLedger,
    custom: &str,
    error: String,
) -> Result<CreditsPage, Trouble> {
    let member = visit.may(Role::buys_credits, WHO_BUYS)?;
    let history = ledger.purchases(member.org.id, HISTORY).await?;
    let held = visit.balance.filter(|balance| balance.reserved > NanoUsd::ZERO);
    Ok(CreditsPage {
        frame: visit.frame("Credits"),
        balance: visit.balance_text(),
        disputes: Vec::new(),
        held: held.map(|balance| format::exact(balance.reserved)).unwrap_or_default(),
        offers: OFFERS.into_iter().filter_map(|cents| offer(fee, Cents::new(cents))).collect(),
        custom: custom.to_owned(),
        error,
        rate: format::per_mille(fee.rate_per_mille),
        minimum_fee: format::card(fee.minimum),
        smallest: format::card(fee.smallest_purchase),
        largest: format::card(fee.largest_purchase),
        history: history.iter().map(PurchaseRow::new).collect(),
    })
}

fn offer(fee: &PurchaseFee, amount: Cents) -> Option<Offer> {
    let quote = fee.quote(amount).ok()?;
    Some(Offer { value: amount.dollars(), quote: QuoteText::new(&quote) })
}

/// The chosen amount: a button of an offer, or the free field.
#[derive(serde::Deserialize)]
pub(crate) struct Chosen {
    #[serde(default)]
    amount: String,
    #[serde(default)]
    custom: String,
}

/// Step two.
#[derive(Template)]
#[template(path = "credits_confirm.html")]
struct ConfirmPage {
    frame: Frame,
    quote: QuoteText,
    value: String,
    email: String,
    simulated: bool,
}

pub(crate) async fn confirm(
    visit: Visit,
    query: web::Query<Chosen>,
    fee: web::Data<PurchaseFee>,
    ledger: web::Data<dyn PurchaseLedger>,
) -> Answer {
    let member = visit.may(Role::buys_credits, WHO_BUYS)?;
    let typed = if query.amount.is_empty() { &query.custom } else { &query.amount };
    match quote(&fee, typed) {
        Ok(quote) => page(&ConfirmPage {
            frame: visit.frame("Confirm your purchase"),
            value: quote.amount.dollars(),
            quote: QuoteText::new(&quote),
            email: member.email.clone(),
            simulated: visit.site.simulated,
        }),
        Err(error) => {
            let again = credits_page(&visit, &fee, ledger.get_ref(), typed, error).await?;
            page_with(StatusCode::UNPROCESSABLE_ENTITY, &again)
        }
    }
}

/// The quote of a typed amount, or the sentence that says what to type instead.
pub(crate) fn quote(fee: &PurchaseFee, typed: &str) -> Result<PurchaseQuote, String> {
    let plain = crate::query::plain_dollars(typed).unwrap_or_default();
    let amount = Cents::parse_dollars(&plain)
        .map_err(|_not_an_amount| "Enter an amount in dollars and cents, like 20 or 12.50.".to_owned())?;
    fee.quote(amount).map_err(|refusal| super::sign::sentence(&refusal.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_amounts_become_quotes_or_sentences() {
        let quote = |typed| quote(&PurchaseFee::STANDARD, typed).map(|quote| quote.total.get());
        for (typed, total) in [("10", 1080), ("$10.00", 1080), (" 1,000 ", 105_500), ("14.64", 1545)] {
            assert_eq!(quote(typed), Ok(total), "{typed}");
        }
        assert_eq!(quote("4.99"), Err("The smallest purchase is $5.00.".to_owned()));
        assert_eq!(quote("25000.01"), Err("The largest purchase is $25000.00.".to_owned()));
        for typed in ["", "ten", "1e3x", "10.001", "-10 000"] {
            assert!(quote(typed).is_err(), "{typed}");
        }
    }
}
