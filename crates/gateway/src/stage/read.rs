//! Reading: credential and body, syntax only. No store is asked before both are sound.

use crate::refusal::{Kind, Refusal};
use accounts::KeySecret;
use bytes::Bytes;
use dialects::{RequestError, RequestHead, parse_chat_request};
use kernel::ids::GenerationId;
use std::time::Duration;

/// A request as it came through the door.
#[derive(Debug)]
pub struct Received {
    pub generation: GenerationId,
    /// Monotonic time of arrival.
    pub arrived: Duration,
    /// Sound; whether it is known is another stage's question.
    pub credential: Credential,
    pub referer: Option<String>,
    pub title: Option<String>,
    pub session: Option<String>,
    /// Only the fields of the strict standard in the answer.
    pub strict: bool,
    pub body: Bytes,
}

/// A sound credential; whether it is known is another stage's question.
#[derive(Debug)]
pub enum Credential {
    Key(KeySecret),
    Token(String),
}

/// Finds the credential of a request and checks its syntax.
pub fn credential(authorization: Option<&str>, api_key: Option<&str>) -> Result<Credential, Refusal> {
    let bearer = authorization.map(|value| {
        value
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, rest)| rest.trim())
    });
    let text = match (bearer, api_key) {
        (Some(Some(text)), _) if !text.is_empty() => text,
        (_, Some(text)) if !text.trim().is_empty() => text.trim(),
        (Some(None), _) => {
            return Err(unauthenticated("Send the API key as \"Authorization: Bearer sk-fb-v1-…\"."));
        }
        _ => {
            let hint =
                "Missing Authentication header. Send your API key as \"Authorization: Bearer sk-fb-v1-…\".";
            return Err(unauthenticated(hint));
        }
    };
    if accounts::token::looks_like_token(text) {
        return Ok(Credential::Token(text.to_owned()));
    }
    KeySecret::parse(text).map(Credential::Key).map_err(|error| {
        unauthenticated(format!("This is not a valid API key: {error}. Find your keys on the Keys page."))
    })
}

/// Reads the body as a chat request.
pub fn chat_request(body: &[u8]) -> Result<RequestHead<'_>, Refusal> {
    parse_chat_request(body).map_err(|error| invalid_body(&error))
}

fn invalid_body(error: &RequestError) -> Refusal {
    Refusal::invalid(error.to_string()).with("reason", error.kind.code()).with("path", error.path.clone())
}

/// A 401 with what to do about it.
pub fn unauthenticated(message: impl Into<String>) -> Refusal {
    Refusal::new(Kind::Authentication, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use accounts::KeyKind;
    use kernel::rng::SeededEntropy;

    #[test]
    fn a_key_is_found_in_either_header() {
        let key = KeySecret::draw(KeyKind::Model, &SeededEntropy::new(1));
        let text = key.reveal();
        let bearer = format!("Bearer {text}");
        let lower = format!("bearer  {text} ");
        for (authorization, api_key) in [
            (Some(bearer.as_str()), None),
            (Some(lower.as_str()), None),
            (None, Some(text)),
            (Some("Bearer "), Some(text)),
        ] {
            assert!(
                matches!(credential(authorization, api_key), Ok(Credential::Key(_))),
                "{authorization:?}"
            );
        }
        assert!(matches!(credential(Some("Bearer eyJa.b.c"), None), Ok(Credential::Token(_))));
    }

    #[test]
    fn what_is_no_credential_answers_401_with_a_hint() {
        for (authorization, api_key) in [
            (None, None),
            (Some(""), None),
            (Some("Basic abc"), None),
            (Some("Bearer "), None),
            (Some("Bearer sk-or-v1-123"), None),
            (Some("Bearer sk-fb-v1-short"), None),
            (None, Some(" ")),
        ] {
            let refusal = credential(authorization, api_key).unwrap_err();
            assert_eq!(
                (refusal.status(), refusal.error_type()),
                (401, "authentication"),
                "{authorization:?}"
            );
        }
    }
}
