//! The one way in which a store port fails. Absence is `None`, refusals are values; this is trouble.

/// What kind of trouble. The edge answers `Unavailable` and `Moving` with 503 and Retry-After.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The store did not answer in time, or refused the connection. The outcome may be unknown.
    Unavailable,
    /// The store is changing hands and refused before it did anything: ask again in a moment.
    Moving,
    /// The act contradicts what is stored (a unique key with other content, a lost race).
    Conflict,
    /// What is stored contradicts our own rules; a person must look.
    Corrupt,
}

/// An opaque failure of a store, with its cause for the log.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct StoreError {
    pub kind: StoreErrorKind,
    /// What was tried, for the log. Never shown to customers.
    pub context: String,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    pub fn unavailable(
        context: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self { kind: StoreErrorKind::Unavailable, context: context.into(), source: Some(Box::new(source)) }
    }

    /// Nothing was done.
    pub fn moving(
        context: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self { kind: StoreErrorKind::Moving, context: context.into(), source: Some(Box::new(source)) }
    }

    pub fn conflict(context: impl Into<String>) -> Self {
        Self { kind: StoreErrorKind::Conflict, context: context.into(), source: None }
    }

    /// Names the table or key, the column and the row that make no sense.
    pub fn corrupt(context: impl Into<String>) -> Self {
        Self { kind: StoreErrorKind::Corrupt, context: context.into(), source: None }
    }
}
