//! What a page cannot do, as values that the shield turns into a page saying what to do next.
//!
//! Bad input of a form is not trouble: the form is shown again with what was typed.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use billing::desk::DeskError;
use billing::payment::PaymentError;
use kernel::{StoreError, StoreErrorKind};

/// What every handler gives.
pub(crate) type Answer = Result<HttpResponse, Trouble>;

/// Seconds after which asking again is worthwhile.
pub(crate) const RETRY_SECONDS: u32 = 5;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("no such page")]
    NotFound,
    /// Nobody is signed in; `next` is where the visitor wanted to go.
    #[error("sign in first")]
    SignIn { next: String },
    /// Signed in, but the role does not allow it. The sentence says who can.
    #[error("{0}")]
    Forbidden(&'static str),
    /// A form without our token or from another site.
    #[error("the form did not come from this site")]
    ForeignForm,
    /// There is such a page, but not for this method; what it takes is named for the `Allow` header.
    #[error("use {0}")]
    Method(&'static str),
    /// The body of a form did not arrive in time.
    #[error("the form took too long")]
    Slow,
    #[error("too many attempts")]
    TooMany { seconds: u64 },
    /// A request that none of our pages makes. The sentence says what is wrong.
    #[error("{0}")]
    Invalid(String),
    /// A store does not answer. For the log, never shown.
    #[error("{0}")]
    Unavailable(String),
    /// The payment provider does not answer. For the log, never shown.
    #[error("{0}")]
    NoPayments(String),
    /// Our own fault. For the log, never shown.
    #[error("{0}")]
    Broken(String),
}

impl Trouble {
    /// The headline and the advice shown to the visitor.
    #[must_use]
    pub(crate) fn words(&self) -> (String, String) {
        let (title, advice) = match self {
            Self::NotFound => (
                "There is no such page",
                "The address may be mistyped, or what it showed was deleted. Start again from the home page.",
            ),
            Self::SignIn { .. } => ("Sign in first", "This page belongs to an account."),
            Self::Forbidden(who) => ("Your role does not allow this", *who),
            Self::ForeignForm => (
                "This form has expired",
                "It was opened before you signed in or out, or it came from another site. Nothing was changed. Go back, reload the page and send it again.",
            ),
            Self::Method(allowed) => {
                let advice = format!("This address answers {allowed} only. Nothing was changed.");
                return ("This page is used otherwise".to_owned(), advice);
            }
            Self::Slow => (
                "The form took too long to arrive",
                "Your connection may be slow or broken. Nothing was changed. Go back and send it again.",
            ),
            Self::TooMany { seconds } => {
                let minutes = seconds.div_ceil(60);
                let advice = format!("Wait {minutes} minutes, then try again. Nothing was changed.");
                return ("Too many attempts".to_owned(), advice);
            }
            Self::Invalid(what) => return ("This request makes no sense".to_owned(), what.clone()),
            Self::Unavailable(_) => (
                "We cannot reach our books right now",
                "Nothing was changed and nothing was charged. This usually passes within seconds: try again.",
            ),
            Self::NoPayments(_) => (
                "The payment provider does not answer right now",
                "No payment was made and nothing was charged. Your credits work as before; try again in a minute.",
            ),
            Self::Broken(_) => (
                "Something broke on our side",
                "It was logged and nothing was charged. Try again; if it happens twice, tell support what you did.",
            ),
        };
        (title.to_owned(), advice.to_owned())
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error.kind {
            StoreErrorKind::Unavailable | StoreErrorKind::Moving | StoreErrorKind::Conflict => {
                Self::Unavailable(error.context)
            }
            StoreErrorKind::Corrupt => Self::Broken(error.context),
        }
    }
}

impl From<PaymentError> for Trouble {
    fn from(error: PaymentError) -> Self {
        match error {
            PaymentError::Unavailable(_) => Self::NoPayments(error.to_string()),
            PaymentError::Refused { message } => {
                Self::Invalid(format!("The payment provider refused: {message}"))
            }
            PaymentError::Malformed(_) => Self::Broken(error.to_string()),
        }
    }
}

impl From<DeskError> for Trouble {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Store(error) => error.into(),
            DeskError::Payment(error) => error.into(),
        }
    }
}

impl From<askama::Error> for Trouble {
    fn from(error: askama::Error) -> Self {
        Self::Broken(format!("a template failed: {error}"))
    }
}

impl ResponseError for Trouble {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::SignIn { .. } => StatusCode::SEE_OTHER,
            Self::Forbidden(_) | Self::ForeignForm => StatusCode::FORBIDDEN,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable(_) | Self::NoPayments(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::SignIn { next } => {
                let query = crate::query::Query::new().with("next", next);
                response.insert_header((header::LOCATION, query.on("/sign-in")));
            }
            Self::Method(allowed) => {
                response.insert_header((header::ALLOW, *allowed));
            }
            Self::Slow => {
                response.insert_header((header::CONNECTION, "close"));
            }
            Self::TooMany { seconds } => {
                response.insert_header((header::RETRY_AFTER, seconds.to_string()));
            }
            Self::Unavailable(_) | Self::NoPayments(_) => {
                response.insert_header((header::RETRY_AFTER, RETRY_SECONDS.to_string()));
            }
            _ => {}
        }
        response.finish()
    }
}
