//! What Stripe's failures mean to the shop: try again, tell the customer, or wake a person.
//!
//! Stripe's own messages are not repeated outside card refusals, because they quote what was sent (an email
//! address, the end of a key); the type, code and parameter say enough for a log.

use billing::payment::PaymentError;
use stripe::{ApiErrors, ApiErrorsType, StripeError};

/// What async-stripe says when an answer that is an error has no body of Stripe's: it came from something
/// between us and Stripe. The crate is pinned exactly and a test holds the text.
const FOREIGN_BODY: [&str; 2] = ["error deserializing Stripe error", "Response was not valid UTF-8"];

/// How the same request may be sent once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// With the same idempotency key: it is not known whether the first one arrived.
    SameKey,
    /// With the next key: Stripe keeps the failure of this one and would repeat it for a day.
    NextKey,
    /// Not now.
    No,
}

pub(crate) fn retry(error: &StripeError) -> Retry {
    match error {
        StripeError::Timeout | StripeError::ClientError(_) => Retry::SameKey,
        StripeError::JSONDeserialize(text) if is_foreign(text) => Retry::SameKey,
        StripeError::Stripe(_, 500..) => Retry::NextKey,
        _ => Retry::No,
    }
}

pub(crate) fn classify(error: StripeError) -> PaymentError {
    match error {
        StripeError::Timeout => PaymentError::Unavailable("no answer in time".to_owned()),
        StripeError::ClientError(text) => PaymentError::Unavailable(text),
        StripeError::JSONDeserialize(text) if is_foreign(&text) => {
            PaymentError::Unavailable("an error answer that is not Stripe's".to_owned())
        }
        StripeError::JSONDeserialize(text) | StripeError::ConfigError(text) => PaymentError::Malformed(text),
        StripeError::Stripe(error, status) => by_status(&error, status),
    }
}

fn by_status(error: &ApiErrors, status: u16) -> PaymentError {
    let refused = |message: &str| PaymentError::Refused { message: message.to_owned() };
    match status {
        // 409: the same key is being worked on at this moment. 424 and 429: too much, or something behind.
        409 | 424 | 429 | 500.. => PaymentError::Unavailable(describe(error, status)),
        // The one kind of message that Stripe writes for customers.
        402 => refused(error.message.as_deref().unwrap_or("The payment was declined.")),
        _ if error.type_ == ApiErrorsType::IdempotencyError => {
            refused("This purchase was begun before with other details. Please begin a new one.")
        }
        400 if error.param.as_deref() == Some("customer_email") => {
            refused("The payment provider does not accept this email address.")
        }
        _ => PaymentError::Malformed(describe(error, status)),
    }
}

/// Status, type, code and parameter, for the log.
fn describe(error: &ApiErrors, status: u16) -> String {
    let code = error.code.as_ref().map_or("no code", |code| code.as_str());
    let param = error.param.as_deref().unwrap_or("none");
    format!("status {status}, {}, {code}, parameter {param}", error.type_.as_str())
}

fn is_foreign(text: &str) -> bool {
    FOREIGN_BODY.contains(&text)
}
