//! A provider's failure in our words: its class, who may be told what, and whether another provider
//! could do better. Retry delays come from response headers and are the gateway's matter.

/// The classes the router and the error faces distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    RateLimited,
    Overloaded,
    /// The provider refused our (or the customer's own) credential.
    Auth,
    /// The provider wants money from the owner of the key.
    Billing,
    BadRequest,
    ContextLength,
    ContentPolicy,
    NotFound,
    TooLarge,
    Timeout,
    Server,
}

impl FailureClass {
    /// By status alone; bodies refine it.
    #[must_use]
    pub fn from_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Auth,
            402 => Self::Billing,
            404 | 410 => Self::NotFound,
            408 | 504 | 524 => Self::Timeout,
            413 => Self::TooLarge,
            429 => Self::RateLimited,
            503 | 529 => Self::Overloaded,
            400..=499 => Self::BadRequest,
            _ => Self::Server,
        }
    }

    /// The stable `error_type` of the public API. A provider refusing *our* key is our trouble, not the
    /// caller's, so it reads as an unavailable provider.
    #[must_use]
    pub fn error_type(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limit_exceeded",
            Self::Overloaded => "provider_overloaded",
            Self::Auth | Self::Billing | Self::NotFound | Self::Server => "provider_unavailable",
            Self::BadRequest => "invalid_request",
            Self::ContextLength => "context_length_exceeded",
            Self::ContentPolicy => "content_policy_violation",
            Self::TooLarge => "payload_too_large",
            Self::Timeout => "timeout",
        }
    }

    /// The HTTP status our client gets for it.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::RateLimited => 429,
            Self::Overloaded => 503,
            Self::Auth | Self::Billing | Self::NotFound | Self::Server => 502,
            Self::BadRequest | Self::ContextLength | Self::ContentPolicy => 400,
            Self::TooLarge => 413,
            Self::Timeout => 504,
        }
    }
}

/// One failure of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamFailure {
    pub class: FailureClass,
    /// The HTTP status, `None` for a failure inside a stream.
    pub status: Option<u16>,
    /// The provider's own code or type, cut to 64 characters.
    pub provider_code: Option<String>,
    /// The provider's message as it came, cut to 1,000 characters. For staff and own-key customers.
    pub message: String,
}

impl UpstreamFailure {
    /// A failure with a message and code cut to their bounds.
    #[must_use]
    pub fn new(class: FailureClass, status: Option<u16>, provider_code: Option<&str>, message: &str) -> Self {
        Self {
            class,
            status,
            provider_code: provider_code.map(|code| code.chars().take(64).collect()),
            message: message.chars().take(1000).collect(),
        }
    }

    /// What a customer may read. Messages about our own account at the provider are masked, and
    /// anything that looks like a key is blotted out of the rest.
    #[must_use]
    pub fn public_message(&self) -> String {
        let generic = match self.class {
            FailureClass::Auth | FailureClass::Billing => "The provider refused the request.",
            FailureClass::NotFound => "The provider does not serve this model.",
            FailureClass::Server => "The provider had an internal error.",
            FailureClass::Overloaded => "The provider is overloaded.",
            FailureClass::RateLimited => "The provider is limiting the rate of requests.",
            FailureClass::Timeout => "The provider did not answer in time.",
            _ if self.message.is_empty() => "The provider refused the request as invalid.",
            _ => return blot_keys(&self.message),
        };
        generic.to_owned()
    }

    /// Whether another endpoint of the same model may succeed where this one failed.
    #[must_use]
    pub fn retryable_elsewhere(&self) -> bool {
        !matches!(
            self.class,
            FailureClass::BadRequest
                | FailureClass::ContextLength
                | FailureClass::ContentPolicy
                | FailureClass::TooLarge
        )
    }

    /// Whether the next model of the caller's own fallback list may succeed.
    #[must_use]
    pub fn retryable_with_other_model(&self) -> bool {
        self.class != FailureClass::BadRequest
    }
}

fn blot_keys(message: &str) -> String {
    let secret = |word: &str| {
        let bare = word.trim_start_matches(|c: char| !c.is_alphanumeric());
        ["sk-", "org-", "proj_", "AIza", "key-"].iter().any(|prefix| bare.starts_with(prefix))
    };
    message
        .split(' ')
        .map(|word| if secret(word) { "[redacted]" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_about_the_request_reach_the_customer_and_never_a_key() {
        let say = |class, message| UpstreamFailure::new(class, Some(400), None, message).public_message();
        assert_eq!(say(FailureClass::Auth, "Incorrect API key sk-abc"), "The provider refused the request.");
        assert_eq!(say(FailureClass::BadRequest, "bad 'sk-abc', sorry"), "bad [redacted] sorry");
        assert_eq!(say(FailureClass::ContextLength, "too long by 3"), "too long by 3");
    }
}
