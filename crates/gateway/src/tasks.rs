//! The one place that spawns. A session outlives its client, and shutdown waits for it.

use std::future::Future;
use std::pin::Pin;
use tokio_util::task::TaskTracker;

/// Counts the sessions of a process; shared by all of its workers.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
}

impl Tasks {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a session on the worker's own thread, counted until it ends. Boxed where it is made: a session
    /// is tens of kilobytes, and spawning moves what it is given half a dozen times.
    pub fn spawn_session(&self, session: Pin<Box<dyn Future<Output = ()>>>) {
        let _detached = actix_web::rt::spawn(self.tracker.track_future(session));
    }

    /// Sessions that have not ended.
    #[must_use]
    pub fn open(&self) -> usize {
        self.tracker.len()
    }

    /// Waits until every session has ended. New ones may still be counted until the doors are closed.
    pub async fn drained(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
