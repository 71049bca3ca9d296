//! `PaymentProvider` over Stripe Checkout, by async-stripe (why: `docs/adr/0004-async-stripe.md`).
//!
//! It carries amounts as given and reads sessions as they are. Refunds and disputes are in `money_back`. Whatever Stripe answers becomes a value or a `PaymentError`; nothing panics.

use crate::config::{ConfigFault, StripeConfig, is_live};
use crate::failure::{Retry, classify, retry};
use async_trait::async_trait;
use billing::desk::CHECKOUT_LIFETIME;
use billing::payment::{CheckoutOrder, CheckoutSession, PaymentError, PaymentProvider};
use billing::purchase::{PaidSession, SessionStatus};
use kernel::ids::PurchaseId;
use kernel::{Cents, ExposeSecret};
use std::collections::HashMap;
use stripe::{Client, ClientBuilder, IdempotencyKey, RequestStrategy, StripeError, StripeRequest};
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionAllowedPaymentMethodTypes as Method,
    CreateCheckoutSessionLineItems as LineItem, CreateCheckoutSessionLineItemsPriceData as PriceData,
    CreateCheckoutSessionPaymentIntentData as PaymentIntentData, ExpireCheckoutSession, ProductData,
    RetrieveCheckoutSession,
};
use stripe_checkout::{
    CheckoutSession as StripeSession, CheckoutSessionMode, CheckoutSessionPaymentStatus as PaymentStatus,
    CheckoutSessionStatus,
};

/// Times that a page is asked for before giving up: the customer is waiting.
const ATTEMPTS: u32 = 2;

/// Metadata on the session and on its payment; `webhook` reads the same names.
pub(crate) const PURCHASE: &str = "purchase";
pub(crate) const ORG: &str = "org";

/// Stripe, or a simulator that speaks like it.
#[derive(Clone)]
pub struct StripeClient {
    pub(crate) client: Client,
    live: bool,
}

impl StripeClient {
    /// Sends nothing yet. TLS takes the process's rustls provider, or the only one that is compiled in.
    pub fn new(config: &StripeConfig) -> Result<Self, ConfigFault> {
        let live = is_live(&config.secret_key);
        let mut builder = ClientBuilder::new(config.secret_key.expose_secret())
            .timeout(config.timeout)
            .app_info("Farebox", Some(env!("CARGO_PKG_VERSION").to_owned()), None);
        if let Some(url) = &config.base_url {
            builder = builder.url(base_url(url, live)?);
        }
        let client = builder.build().map_err(|error| match error {
            // Only the key becomes a header; only the address is parsed as one.
            StripeError::ClientError(_) => ConfigFault::KeyForm,
            _ => ConfigFault::Address,
        })?;
        Ok(Self { client, live })
    }

    /// Whether real money moves.
    #[must_use]
    pub fn live(&self) -> bool {
        self.live
    }

    async fn create(&self, request: CreateCheckoutSession, order: &CheckoutOrder) -> Created {
        let mut serial = 1_u32;
        let mut tries = 0_u32;
        loop {
            let key = IdempotencyKey::new(format!("{}-{serial}", order.purchase))
                .map_err(|error| PaymentError::Malformed(error.to_string()))?;
            let call = request.customize().request_strategy(RequestStrategy::Idempotent(key));
            let error = match Box::pin(call.send(&self.client)).await {
                Ok(session) => return Ok(Box::new(session)),
                Err(error) => error,
            };
            tries += 1;
            match retry(&error) {
                Retry::SameKey if tries < ATTEMPTS => {}
                Retry::NextKey if tries < ATTEMPTS => serial += 1,
                _ => return Err(classify(error)),
            }
        }
    }

    async fn fetch(&self, id: &str) -> Created {
        let request = RetrieveCheckoutSession::new(session_id(id)?);
        Box::pin(request.send(&self.client)).await.map(Box::new).map_err(classify)
    }
}

/// A session is several kilobytes of fields.
type Created = Result<Box<StripeSession>, PaymentError>;

#[async_trait]
impl PaymentProvider for StripeClient {
    /// A page with two lines, credits and fee. The idempotency key is the purchase; a failure of Stripe's
    /// own is tried once more under the purchase's second key, in the same order every time, so that a
    /// repeated call meets the same page.
    async fn begin_checkout(&self, order: &CheckoutOrder) -> Result<CheckoutSession, PaymentError> {
        let session = self.create(checkout_request(order)?, order).await?;
        let url = session.url.clone().filter(|url| !url.is_empty());
        let url = url.ok_or_else(|| PaymentError::Malformed("a session without an address".to_owned()))?;
        Ok(CheckoutSession { id: session.id.to_string(), url })
    }

    async fn session(&self, id: &str) -> Result<PaidSession, PaymentError> {
        paid_session(&*self.fetch(id).await?)
    }

    /// Stripe refuses to close what is closed already; then the session is looked at instead.
    async fn expire(&self, id: &str) -> Result<(), PaymentError> {
        let request = ExpireCheckoutSession::new(session_id(id)?);
        let Err(error) = Box::pin(request.send(&self.client)).await else { return Ok(()) };
        if matches!(error, StripeError::Stripe(_, 400))
            && self.session(id).await?.status != SessionStatus::Open
        {
            return Ok(());
        }
        Err(classify(error))
    }
}

/// The page as Stripe shall show it. Everything in it follows from the order, since a repeated call with
/// other parameters would be refused.
fn checkout_request(order: &CheckoutOrder) -> Result<CreateCheckoutSession, PaymentError> {
    if order.amount.checked_add(order.fee) != Ok(order.total) {
        return Err(PaymentError::Malformed("the order's total is not amount and fee".to_owned()));
    }
    let names = HashMap::from([
        (PURCHASE.to_owned(), order.purchase.to_string()),
        (ORG.to_owned(), order.org.to_string()),
    ]);
    let mut payment = PaymentIntentData::new();
    payment.metadata = Some(names.clone());
    payment.receipt_email = Some(order.email.clone());
    let lines = vec![line("Farebox credits", order.amount), line("Processing fee", order.fee)];
    Ok(CreateCheckoutSession::new()
        .mode(CheckoutSessionMode::Payment)
        // Cards and wallets pay at once; delayed methods would leave purchases neither paid nor ended.
        .allowed_payment_method_types(vec![Method::Card, Method::Link])
        .line_items(lines)
        .client_reference_id(order.purchase.to_string())
        .customer_email(order.email.clone())
        .metadata(names)
        .payment_intent_data(payment)
        .expires_at(expires_at(order.purchase)?)
        .success_url(order.success_url.clone())
        .cancel_url(order.cancel_url.clone()))
}

fn line(name: &str, amount: Cents) -> LineItem {
    let mut price = PriceData::new(stripe_types::Currency::USD);
    price.unit_amount = Some(amount.get());
    price.product_data = Some(ProductData::new(name));
    let mut line = LineItem::new();
    line.price_data = Some(price);
    line.quantity = Some(1);
    line
}

/// Unix seconds; counted from the purchase's birth, which its id carries (a UUIDv7).
fn expires_at(purchase: PurchaseId) -> Result<i64, PaymentError> {
    let born = purchase.uuid().get_timestamp().map(|stamp| stamp.to_unix().0);
    let end = born.and_then(|seconds| seconds.checked_add(CHECKOUT_LIFETIME.as_secs()));
    end.and_then(|end| i64::try_from(end).ok())
        .ok_or_else(|| PaymentError::Malformed("the purchase's id carries no time".to_owned()))
}

fn paid_session(session: &StripeSession) -> Result<PaidSession, PaymentError> {
    let missing = |what: &str| PaymentError::Malformed(format!("session {} without {what}", session.id));
    let total = session.amount_total.ok_or_else(|| missing("a total"))?;
    let currency = session.currency.as_ref().ok_or_else(|| missing("a currency"))?;
    Ok(PaidSession {
        session: session.id.to_string(),
        purchase: purchase_of(session),
        payment: session.payment_intent.as_ref().map(|payment| payment.id().to_string()),
        status: status_of(session)?,
        total: Cents::new(total),
        currency: currency.to_string(),
        live: session.livemode,
    })
}

/// Metadata and reference are written together. When they differ somebody changed one, and the session
/// names no purchase that we would believe.
fn purchase_of(session: &StripeSession) -> Option<PurchaseId> {
    let named = session.metadata.as_ref().and_then(|names| names.get(PURCHASE));
    let referred = session.client_reference_id.as_ref();
    match (named, referred) {
        (Some(named), Some(referred)) if named != referred => None,
        (Some(text), _) | (None, Some(text)) => text.parse().ok(),
        (None, None) => None,
    }
}

/// A session that needed no payment counts as paid; its total of nothing then fails the check of amounts.
fn status_of(session: &StripeSession) -> Result<SessionStatus, PaymentError> {
    match (&session.status, &session.payment_status) {
        (Some(CheckoutSessionStatus::Open), _) => Ok(SessionStatus::Open),
        (Some(CheckoutSessionStatus::Expired), _) => Ok(SessionStatus::Expired),
        (Some(CheckoutSessionStatus::Complete), PaymentStatus::Paid | PaymentStatus::NoPaymentRequired) => {
            Ok(SessionStatus::Paid)
        }
        (Some(CheckoutSessionStatus::Complete), PaymentStatus::Unpaid) => Ok(SessionStatus::Processing),
        (status, payment) => {
            let status = status.as_ref().map_or("none", |status| status.as_str());
            let payment = payment.as_str();
            Err(PaymentError::Malformed(format!("session {}: status {status}, {payment}", session.id)))
        }
    }
}

/// Ids become part of an address, so nothing else may pass.
fn session_id(id: &str) -> Result<String, PaymentError> {
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain && (1..=255).contains(&id.len()) {
        Ok(id.to_owned())
    } else {
        Err(PaymentError::Malformed("not the id of a session".to_owned()))
    }
}

/// async-stripe appends `v1/…` to the address as it stands, so it must end in a slash.
fn base_url(url: &str, live: bool) -> Result<String, ConfigFault> {
    let secure = url.starts_with("https://");
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/') || host.contains(['?', '#'])) {
        return Err(ConfigFault::Address);
    }
    if live && !secure {
        return Err(ConfigFault::PlainAddress);
    }
    Ok(format!("{}/", url.trim_end_matches('/')))
}
