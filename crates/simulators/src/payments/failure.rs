//! Stripe's errors: what went wrong as a value, and its JSON. Every API refusal leaves through here.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    /// Stripe's error type.
    pub(crate) kind: &'static str,
    pub(crate) code: Option<&'static str>,
    pub(crate) param: Option<String>,
    pub(crate) message: String,
}

impl Failure {
    /// 400 without a code.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { status: 400, kind: "invalid_request_error", code: None, param: None, message: message.into() }
    }

    /// 400 about one parameter.
    pub(crate) fn parameter(code: &'static str, param: &str, message: impl Into<String>) -> Self {
        Self { code: Some(code), param: Some(param.to_owned()), ..Self::invalid(message) }
    }

    pub(crate) fn missing(param: &str) -> Self {
        Self::parameter("parameter_missing", param, format!("Missing required param: {param}."))
    }

    /// 404 for an id that does not exist.
    pub(crate) fn no_such(kind: &str, id: &str) -> Self {
        let message = format!("No such {kind}: '{id}'");
        Self { status: 404, ..Self::parameter("resource_missing", "id", message) }
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self { status: 401, ..Self::invalid(message) }
    }

    /// 400 for an idempotency key that was used for something else.
    pub(crate) fn idempotency(key: &str) -> Self {
        let message = format!(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. \
             Try using a key other than '{key}' if you meant to execute a different request."
        );
        Self { kind: "idempotency_error", ..Self::invalid(message) }
    }

    /// 500: the simulator cannot go on.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self { status: 500, kind: "api_error", ..Self::invalid(message) }
    }

    pub(crate) fn response(&self) -> HttpResponse {
        let mut error = serde_json::Map::new();
        error.insert("type".to_owned(), json!(self.kind));
        error.insert("message".to_owned(), json!(self.message));
        if let Some(code) = self.code {
            error.insert("code".to_owned(), json!(code));
            error.insert(
                "doc_url".to_owned(),
                json!(format!("https://stripe.com/docs/error-codes/{}", code.replace('_', "-"))),
            );
        }
        if let Some(param) = &self.param {
            error.insert("param".to_owned(), json!(param));
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        HttpResponse::build(status).json(json!({"error": error}))
    }
}
