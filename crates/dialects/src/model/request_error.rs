//! Why a client's request body is refused: where, and what was expected. All of them are a 400.
//!
//! Holds no text of the customer beyond short excerpts of wrong scalar values.

use std::fmt;

/// A refusal with the path of the offending value, like `messages[2].content[0].type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    /// Empty for the document as a whole.
    pub path: String,
    pub kind: RequestErrorKind,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { self.kind.fmt(f) } else { write!(f, "{}: {}", self.path, self.kind) }
    }
}

impl std::error::Error for RequestError {}

/// The kinds of refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestErrorKind {
    #[error("the body is not UTF-8 (byte {offset})")]
    NotUtf8 { offset: usize },
    #[error("invalid JSON at line {line}, column {column}: {detail}")]
    Syntax { line: usize, column: usize, detail: String },
    #[error("nested deeper than {limit} levels")]
    TooDeep { limit: usize },
    #[error("the key `{key}` appears twice")]
    DuplicateKey { key: String },
    #[error("expected {expected}, got {got}")]
    WrongType { expected: &'static str, got: &'static str },
    #[error("required, but missing")]
    Missing,
    #[error("expected {expected}, got {got}")]
    OutOfRange { expected: String, got: String },
    #[error("expected one of {expected}, got `{got}`")]
    Unknown { expected: String, got: String },
}

impl RequestErrorKind {
    /// A stable word for metrics and tests.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotUtf8 { .. } => "not_utf8",
            Self::Syntax { .. } => "syntax",
            Self::TooDeep { .. } => "too_deep",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::WrongType { .. } => "wrong_type",
            Self::Missing => "missing",
            Self::OutOfRange { .. } => "out_of_range",
            Self::Unknown { .. } => "unknown_value",
        }
    }
}

/// A place in a document, linked to its parents on the stack: no allocation until something fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'p> {
    parent: Option<&'p At<'p>>,
    step: Step<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Root,
    Key(&'p str),
    Index(usize),
}

impl<'p> At<'p> {
    pub(crate) const ROOT: At<'static> = At { parent: None, step: Step::Root };

    pub(crate) fn key(&'p self, key: &'p str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }

    pub(crate) fn index(&'p self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    pub(crate) fn fail(&self, kind: RequestErrorKind) -> RequestError {
        let mut path = String::new();
        self.write(&mut path);
        RequestError { path, kind }
    }

    fn write(&self, path: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(path);
        }
        match self.step {
            Step::Root => {}
            Step::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.extend(key.chars().take(64));
            }
            Step::Index(index) => {
                path.push('[');
                path.push_str(&index.to_string());
                path.push(']');
            }
        }
    }
}

/// The first characters of a client's value, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}
