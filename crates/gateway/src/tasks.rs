//! The one place that spawns. A session outlives its client, and shutdown waits for it.

use std::future::Future;
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

    /// Runs a session on the worker's own thread, counted until it ends.
    pub fn spawn_session<F>(&self, session: F)
    where
        F: Future<Output = ()> + 'static,
    {
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
