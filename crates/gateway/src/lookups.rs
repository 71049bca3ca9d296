//! A bound on questions to the store of keys: so many at once, each with a deadline, counted. A store that comes
//! back is asked by at most that many, however many calls wait.
//!
//! Remembers nothing and repeats nothing.

use kernel::StoreError;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge, Registry};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Questions in flight at once. The pool of connections is smaller: more would only wait there.
pub const AT_ONCE: usize = 32;

/// Shared by everything in a process that looks keys up; cheap to clone.
#[derive(Debug, Clone)]
pub struct Lookups {
    permits: Arc<Semaphore>,
    most: Arc<Mutex<IntGauge>>,
    asked: IntCounter,
    unanswered: IntCounter,
}

impl Lookups {
    /// Registers what it counts; fails only when a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let most = IntGauge::new("farebox_key_lookups_most", "The most questions for keys at once so far")?;
        let asked = IntCounter::new("farebox_key_lookups_total", "Questions to the store of keys")?;
        let unanswered =
            IntCounter::new("farebox_key_lookups_unanswered_total", "Those that it did not answer")?;
        registry.register(Box::new(most.clone()))?;
        registry.register(Box::new(asked.clone()))?;
        registry.register(Box::new(unanswered.clone()))?;
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        Ok(Self { permits, most: Arc::new(Mutex::new(most)), asked, unanswered })
    }

    /// Asks when there is room. The patience covers the wait for it.
    ///
    /// # Errors
    /// The store's own, and `Unavailable` when patience ended.
    pub async fn ask<T>(
        &self,
        patience: Duration,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answered = tokio::time::timeout(patience, async {
            let permit = self.permits.acquire().await;
            let _permit =
                permit.map_err(|closed| StoreError::unavailable("key look-ups are closed", closed))?;
            self.count();
            question.await
        });
        let answer = match answered.await {
            Ok(answer) => answer,
            Err(elapsed) => Err(StoreError::unavailable("a key was not found in time", elapsed)),
        };
        answer.inspect_err(|_fault| self.unanswered.inc())
    }

    fn count(&self) {
        self.asked.inc();
        let most = self.most.lock();
        let running = AT_ONCE.saturating_sub(self.permits.available_permits());
        most.set(most.get().max(i64::try_from(running).unwrap_or(i64::MAX)));
    }
}
