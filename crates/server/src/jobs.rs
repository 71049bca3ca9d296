//! Work beside requests, each piece a file: what keeps processes in step, the ledger fed and holds swept.
//!
//! A job that fails says so and tries again after its pause; none of them decides a rule.

pub(crate) mod backlog;
pub(crate) mod catalog;
pub(crate) mod credits;
pub(crate) mod epochs;
pub(crate) mod ingest;
pub(crate) mod journal;
pub(crate) mod loading;
pub(crate) mod notices;
pub(crate) mod proof;
pub(crate) mod purchases;
pub(crate) mod resync;
pub(crate) mod shelf;
pub(crate) mod sweep;
pub(crate) mod upkeep;

use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The jobs of a process, stopped together.
#[derive(Clone, Default)]
pub(crate) struct Jobs {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Jobs {
    /// Runs a job again and again with a pause between, until the process stops. A round in progress is
    /// finished, never cut.
    pub(crate) fn every<F, R>(&self, pause: Duration, mut round: F)
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = ()> + Send,
    {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            while !stop.is_cancelled() {
                round().await;
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        });
    }

    /// Runs a job that ends by itself when the token is cancelled.
    pub(crate) fn run<R>(&self, job: impl FnOnce(CancellationToken) -> R)
    where
        R: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(job(self.stop.clone()));
    }

    /// Stops all jobs and waits for their last rounds.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
