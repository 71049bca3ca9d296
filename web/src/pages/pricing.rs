//! What everything costs: no markup, the fee on purchases, own provider keys.

use crate::format;
use crate::frame::{Frame, page};
use crate::trouble::Answer;
use crate::visit::Visit;
use actix_web::web;
use askama::Template;
use billing::fees::{ByokFee, PurchaseFee};
use kernel::Cents;

/// Amounts of the example table, in cents; $14.63 and $14.64 are where the minimum ends.
const EXAMPLES: [i64; 8] = [500, 1_000, 1_463, 1_464, 2_500, 10_000, 100_000, 2_500_000];

struct Example {
    amount: String,
    fee: String,
    percent: String,
    total: String,
}

#[derive(Template)]
#[template(path = "pricing.html")]
struct PricingPage {
    frame: Frame,
    rate: String,
    minimum: String,
    smallest: String,
    largest: String,
    examples: Vec<Example>,
    byok_allowance: String,
    byok_rate: String,
}

pub(crate) async fn show(visit: Visit, fee: web::Data<PurchaseFee>, byok: web::Data<ByokFee>) -> Answer {
    let examples = EXAMPLES.into_iter().filter_map(|cents| {
        let quote = fee.quote(Cents::new(cents)).ok()?;
        Some(Example {
            amount: format::card(quote.amount),
            fee: format::card(quote.fee),
            percent: format::share(quote.fee, quote.amount),
            total: format::card(quote.total),
        })
    });
    page(&PricingPage {
        frame: visit.frame("Pricing"),
        rate: format::per_mille(fee.rate_per_mille),
        minimum: format::card(fee.minimum),
        smallest: format::card(fee.smallest_purchase),
        largest: format::card(fee.largest_purchase),
        examples: examples.collect(),
        byok_allowance: super::provider_keys::allowance(&byok),
        byok_rate: format::basis_points(byok.basis_points),
    })
}
