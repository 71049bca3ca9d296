//! Turns sqlx's errors into the store's three kinds. The only place that knows SQLSTATE codes.

use kernel::{StoreError, StoreErrorKind};
use sqlx::Error;

/// Names what was tried and classifies the failure.
pub(crate) trait Named<T> {
    fn named(self, what: &'static str) -> Result<T, StoreError>;
}

impl<T> Named<T> for Result<T, Error> {
    fn named(self, what: &'static str) -> Result<T, StoreError> {
        self.map_err(|error| classify(what, error))
    }
}

pub(crate) fn classify(what: &'static str, error: Error) -> StoreError {
    let kind = kind_of(&error);
    StoreError { kind, context: format!("postgres: {what}: {error}"), source: Some(Box::new(error)) }
}

fn kind_of(error: &Error) -> StoreErrorKind {
    match error {
        Error::Database(database) => {
            database.code().map_or(StoreErrorKind::Corrupt, |code| kind_of_code(&code))
        }
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed
        | Error::BeginFailed => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Corrupt,
    }
}

/// Class 23 contradicts stored rows, 40 lost a race; 08, 25, 53, 55, 57 and 58 are the server's trouble.
fn kind_of_code(code: &str) -> StoreErrorKind {
    match code.get(..2) {
        Some("23" | "40") => StoreErrorKind::Conflict,
        Some("08" | "25" | "28" | "53" | "55" | "57" | "58") => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Corrupt,
    }
}

pub(crate) fn migration(error: sqlx::migrate::MigrateError) -> StoreError {
    use sqlx::migrate::MigrateError;
    let kind = match &error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => kind_of(cause),
        _ => StoreErrorKind::Corrupt,
    };
    StoreError { kind, context: format!("postgres: migrate: {error}"), source: Some(Box::new(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_apart_from_contradiction_and_nonsense() {
        let rows = [
            ("23505", StoreErrorKind::Conflict),
            ("23514", StoreErrorKind::Conflict),
            ("40001", StoreErrorKind::Conflict),
            ("40P01", StoreErrorKind::Conflict),
            ("53300", StoreErrorKind::Unavailable),
            ("55P03", StoreErrorKind::Unavailable),
            ("57014", StoreErrorKind::Unavailable),
            ("57P01", StoreErrorKind::Unavailable),
            ("42P01", StoreErrorKind::Corrupt),
            ("", StoreErrorKind::Corrupt),
        ];
        for (code, kind) in rows {
            assert_eq!(kind_of_code(code), kind, "{code}");
        }
        assert_eq!(kind_of(&Error::PoolTimedOut), StoreErrorKind::Unavailable);
        assert_eq!(kind_of(&Error::RowNotFound), StoreErrorKind::Corrupt);
    }
}
