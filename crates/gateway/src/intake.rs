//! Whether new calls are taken in. It is closed while more settlements wait for the ledger than may
//! (`billing::backlog`); calls in progress go on and settle.
//!
//! It measures nothing: a job of the server does, and tells every worker through the shared value.

use crate::refusal::{Kind, Refusal};
use billing::backlog::BacklogFull;
use parking_lot::RwLock;
use std::sync::Arc;

/// When a refused caller should come again: booking goes by thousands a second once it goes.
const AGAIN_AFTER: u32 = 10;

/// Shared by all workers of a process; open until told otherwise.
#[derive(Debug, Clone, Default)]
pub struct Intake(Arc<RwLock<Option<BacklogFull>>>);

impl Intake {
    /// Opens, or closes with a reason. Whether that changed anything.
    pub fn set(&self, full: Option<BacklogFull>) -> bool {
        std::mem::replace(&mut *self.0.write(), full).is_some() != full.is_some()
    }

    /// Refuses a new call while the intake is closed.
    pub fn check(&self) -> Result<(), Refusal> {
        let Some(full) = *self.0.read() else { return Ok(()) };
        tracing::debug!(reason = %full, "a call was refused until settlements are booked");
        let message = "Farebox is catching up with its bookkeeping and takes no new requests for a moment. Nothing \
                       was charged. Try again shortly.";
        Err(Refusal::new(Kind::Unavailable, message).retry_after(AGAIN_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_intake_refuses_with_503_and_a_time_to_come_again() {
        let intake = Intake::default();
        let worker = intake.clone();
        assert!(worker.check().is_ok());
        assert!(intake.set(Some(BacklogFull::Oldest)));
        assert!(!intake.set(Some(BacklogFull::Entries)), "still closed");
        let refusal = worker.check().unwrap_err();
        assert_eq!((refusal.status(), refusal.retry_after), (503, Some(AGAIN_AFTER)));
        assert!(intake.set(None));
        assert!(worker.check().is_ok());
    }
}
