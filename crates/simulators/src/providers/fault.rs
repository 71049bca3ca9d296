//! What a provider says when it refuses, before it has a wire shape. Each wire format renders it.

/// A refusal: HTTP status and the words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// The request field at fault, where there is one.
    pub(crate) param: Option<&'static str>,
}

impl Fault {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None }
    }

    /// A 400 about one field.
    pub(crate) fn field(param: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, message: message.into(), param: Some(param) }
    }

    /// What a scripted status says when the script gives no body.
    pub(crate) fn scripted(status: u16) -> Self {
        let message = match status {
            401 => "Incorrect API key provided.",
            402 => "Your account has insufficient balance.",
            403 => "You are not allowed to use this resource.",
            404 => "The model does not exist or you do not have access to it.",
            413 => "The request is too large.",
            429 => "Rate limit reached for requests.",
            503 | 529 => "The engine is currently overloaded, please try again later.",
            400..=499 => "The request was refused.",
            _ => "The server had an error while processing your request.",
        };
        Self::new(status, message)
    }
}
