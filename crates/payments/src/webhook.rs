//! Stripe's webhooks: is this message Stripe's, and what is it about?
//!
//! Own code, because messages arrive in the API version of the Stripe account, not in the one that a client
//! library was generated for. Only what leads to the session or payment is read; what it says about money
//! is fetched again by id. The body must be the raw bytes: reformatted JSON has another signature.

use crate::client::{ORG, PURCHASE};
use billing::desk::PaymentEvent;
use hmac::{Hmac, KeyInit, Mac};
use kernel::ids::{OrgId, PurchaseId};
use kernel::{ExposeSecret, Moment, SecretString};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;
use std::fmt::Write as _;
use std::time::Duration;
use subtle::{Choice, ConstantTimeEq};

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "Stripe-Signature";

/// How old, or how far ahead of our clock, a message may be. Stripe's own libraries use the same.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// Longer headers are not Stripe's; it sends one or two signatures.
const HEADER_MAX: usize = 4096;

/// Why a message is not believed. Answer 400; Stripe tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("no webhook secret is configured")]
    NoSecret,
    #[error("the signature header has no single timestamp or no v1 signature")]
    Header,
    #[error("no signature matches")]
    NoMatch,
    #[error("the message is too old")]
    TooOld,
    #[error("the message is from the future")]
    TooNew,
}

/// A body that is signed, but not an event as Stripe writes them.
#[derive(Debug, thiserror::Error)]
#[error("not a Stripe event: {0}")]
pub struct EventError(#[from] serde_json::Error);

/// Checks that the body was signed with our secret, lately.
///
/// Every `v1` is compared in full and in constant time; several appear while a secret is being changed. The
/// signature is checked first, so that a stranger learns nothing about clocks.
pub fn verify(
    raw_body: &[u8],
    signature_header: &str,
    secret: &SecretString,
    now: Moment,
    tolerance: Duration,
) -> Result<(), SignatureError> {
    if secret.expose_secret().is_empty() {
        return Err(SignatureError::NoSecret);
    }
    let (timestamp, signatures) = read_header(signature_header)?;
    let expected = sign(raw_body, timestamp, secret).ok_or(SignatureError::NoSecret)?;
    let matches = signatures
        .iter()
        .fold(Choice::from(0), |found, signature| found | expected.as_bytes().ct_eq(signature.as_bytes()));
    if !bool::from(matches) {
        return Err(SignatureError::NoMatch);
    }
    let seconds: i64 = timestamp.parse().map_err(|_too_large| SignatureError::Header)?;
    let age = i128::from(now.timestamp()) - i128::from(seconds);
    let allowed = i128::from(tolerance.as_secs());
    match age {
        _ if age > allowed => Err(SignatureError::TooOld),
        _ if age < -allowed => Err(SignatureError::TooNew),
        _ => Ok(()),
    }
}

/// The timestamp as it was written (it is signed as text) and all `v1` signatures. Other schemes, such as
/// the `v0` of test messages, are passed over.
fn read_header(header: &str) -> Result<(&str, Vec<&str>), SignatureError> {
    if header.len() > HEADER_MAX {
        return Err(SignatureError::Header);
    }
    let mut timestamp = None;
    let mut signatures = Vec::new();
    for (name, value) in header.split(',').filter_map(|part| part.trim().split_once('=')) {
        match name {
            "t" if timestamp.is_some() => return Err(SignatureError::Header),
            "t" => timestamp = Some(value),
            "v1" => signatures.push(value),
            _ => {}
        }
    }
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match timestamp.filter(digits) {
        Some(timestamp) if !signatures.is_empty() => Ok((timestamp, signatures)),
        _ => Err(SignatureError::Header),
    }
}

/// HMAC-SHA256 of `timestamp.body` in lower-case hex: Stripe's scheme `v1`.
fn sign(raw_body: &[u8], timestamp: &str, secret: &SecretString) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(raw_body);
    let mut hex = String::with_capacity(64);
    for byte in mac.finalize().into_bytes() {
        write!(hex, "{byte:02x}").ok()?;
    }
    Some(hex)
}

/// What happened, of the kinds that we act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    CheckoutCompleted,
    CheckoutExpired,
    CheckoutLatePaid,
    CheckoutLateFailed,
    PaymentSucceeded,
    PaymentFailed,
    ChargeRefunded,
    RefundCreated,
    RefundUpdated,
    RefundFailed,
    DisputeOpened,
    DisputeUpdated,
    DisputeWithdrawn,
    DisputeReinstated,
    DisputeClosed,
    /// Any other, kept as it was written.
    Other(String),
}

impl EventKind {
    const NAMES: [(Self, &'static str); 15] = [
        (Self::CheckoutCompleted, "checkout.session.completed"),
        (Self::CheckoutExpired, "checkout.session.expired"),
        (Self::CheckoutLatePaid, "checkout.session.async_payment_succeeded"),
        (Self::CheckoutLateFailed, "checkout.session.async_payment_failed"),
        (Self::PaymentSucceeded, "payment_intent.succeeded"),
        (Self::PaymentFailed, "payment_intent.payment_failed"),
        (Self::ChargeRefunded, "charge.refunded"),
        (Self::RefundCreated, "refund.created"),
        (Self::RefundUpdated, "refund.updated"),
        (Self::RefundFailed, "refund.failed"),
        (Self::DisputeOpened, "charge.dispute.created"),
        (Self::DisputeUpdated, "charge.dispute.updated"),
        (Self::DisputeWithdrawn, "charge.dispute.funds_withdrawn"),
        (Self::DisputeReinstated, "charge.dispute.funds_reinstated"),
        (Self::DisputeClosed, "charge.dispute.closed"),
    ];

    fn from_name(name: String) -> Self {
        let known = Self::NAMES.into_iter().find(|(_, known)| *known == name);
        known.map_or(Self::Other(name), |(kind, _)| kind)
    }

    fn is_refund(&self) -> bool {
        matches!(self, Self::ChargeRefunded | Self::RefundCreated | Self::RefundUpdated | Self::RefundFailed)
    }

    /// Stripe's name for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if let Self::Other(name) = self {
            return name;
        }
        Self::NAMES.iter().find(|(kind, _)| kind == self).map_or("", |(_, name)| *name)
    }
}

/// An event as far as it leads somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookEvent {
    pub id: String,
    pub kind: EventKind,
    /// Real money, not a test.
    pub live: bool,
    /// When it happened, Unix seconds; absent in some kinds.
    pub created: Option<i64>,
    /// The checkout session, when the event is about one.
    pub session: Option<String>,
    /// The payment (`pi_…`) that the event is about or its object belongs to.
    pub payment: Option<String>,
    /// The dispute, when the event is about one.
    pub dispute: Option<String>,
    /// Organization and purchase from our own metadata, when the object carries it.
    pub purchase: Option<(OrgId, PurchaseId)>,
}

/// The three fields without which nothing can be done, and the object as it comes.
#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    livemode: bool,
    created: Option<Value>,
    data: Option<Value>,
}

/// Reads an event that [`verify`] has passed. Unknown kinds and fields, and fields of unexpected shape
/// outside the envelope, are no error.
pub fn parse(raw_body: &[u8]) -> Result<WebhookEvent, EventError> {
    let envelope: Envelope = serde_json::from_slice(raw_body)?;
    let object = envelope.data.as_ref().and_then(|data| data.get("object")).unwrap_or(&Value::Null);
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let is = |kind: &str| object.get("object").and_then(Value::as_str) == Some(kind);
    let payment = if is("payment_intent") {
        text("/id")
    } else {
        text("/payment_intent").or_else(|| text("/payment_intent/id"))
    };
    let org = text(&format!("/metadata/{ORG}")).and_then(|org| org.parse().ok());
    let purchase = text(&format!("/metadata/{PURCHASE}")).and_then(|id| id.parse().ok());
    Ok(WebhookEvent {
        id: envelope.id,
        kind: EventKind::from_name(envelope.kind),
        live: envelope.livemode,
        created: envelope.created.as_ref().and_then(Value::as_i64),
        session: if is("checkout.session") { text("/id") } else { None },
        payment,
        dispute: if is("dispute") { text("/id") } else { None },
        purchase: org.zip(purchase),
    })
}

impl From<&WebhookEvent> for PaymentEvent {
    fn from(event: &WebhookEvent) -> Self {
        Self {
            id: event.id.clone(),
            kind: event.kind.as_str().to_owned(),
            live: event.live,
            session: event.session.clone(),
            payment: event.payment.clone(),
            dispute: event.dispute.clone(),
            refund: event.kind.is_refund(),
            purchase: event.purchase,
        }
    }
}
