//! The rig itself: every workload reaches the mock, directly and through the bare floor, and is counted whole.
//! No times are asserted.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails its test")]

use bench::load::{self, Load, Measured, Pace, Target, Until};
use bench::stack::plain;
use bench::workload::{FRAMES, Workload};
use bench::{floors, mock};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// Serves on a thread of its own until the test's process ends.
fn serve<R>(role: impl FnOnce(TcpListener) -> R + Send + 'static) -> SocketAddr
where
    R: Future<Output = anyhow::Result<()>>,
{
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            role(listener).await.unwrap();
        });
    });
    told.recv().unwrap()
}

fn ask(target: Target, workload: Workload, pace: Pace) -> Measured {
    let until = Until::Requests(50);
    load::run(&Load { target, workload, connections: 8, pace, until }).unwrap()
}

fn counted(target: &Target) {
    for workload in Workload::ALL {
        let pace = if workload == Workload::Paced { Pace::Open(200) } else { Pace::Closed };
        let measured = ask(target.clone(), workload, pace);
        assert_eq!((measured.answers, measured.failures), (50, 0), "{workload:?}: {:?}", measured.complaint);
        let frames = if workload.streamed() { 50 * FRAMES } else { 0 };
        assert_eq!(measured.frames, frames, "{workload:?}");
        assert_eq!(measured.latency.len(), 50, "{workload:?}");
        assert_eq!(measured.first.len(), if workload.streamed() { 50 } else { 0 }, "{workload:?}");
        let stamped = workload == Workload::Paced;
        assert_eq!(!measured.lag.is_empty(), stamped, "{workload:?}");
    }
}

#[test]
fn every_workload_is_answered_and_counted_directly() {
    counted(&plain(serve(mock::serve)));
}

#[test]
fn every_workload_is_answered_and_counted_through_the_bare_floor() {
    let upstream = serve(mock::serve);
    counted(&plain(serve(move |listener| floors::bare::serve(listener, upstream))));
}

#[test]
fn what_is_refused_counts_as_a_failure_with_its_status() {
    let mut target = plain(serve(mock::serve));
    target.path = "/elsewhere".to_owned();
    // The mock answers by model alone, so the path does not matter to it; a closed port does.
    assert_eq!(ask(target, Workload::Small, Pace::Closed).failures, 0);
    let closed: SocketAddr = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let until = Until::Elapsed(Duration::from_millis(1));
    let load =
        Load { target: plain(closed), workload: Workload::Small, connections: 1, pace: Pace::Closed, until };
    assert!(load::run(&load).is_err());
}
