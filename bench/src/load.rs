//! The load generator: closed loop (each connection asks again at once) and open loop (arrivals at a constant
//! rate, whatever the answers do). One thread, prebuilt requests, latencies in nanoseconds.
//!
//! In the open loop the time of an answer counts from its scheduled arrival when every connection was busy
//! then, so that a slow target cannot hide its queue. A connection that slept until the arrival counts
//! from its waking: the timer's own coarseness is not the target's doing.

use crate::http::Connection;
use crate::time::{now, stamp};
use crate::workload::{STAMP, TOKENS, Workload};
use anyhow::Context as _;
use hdrhistogram::Histogram;
use memchr::memmem;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Who is asked.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub path: String,
    pub key: String,
}

/// When the next request is sent.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    Closed,
    /// Requests per second.
    Open(u32),
}

/// When it is enough.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    Elapsed(Duration),
    Requests(u64),
}

/// A piece of load.
#[derive(Debug, Clone)]
pub struct Load {
    pub target: Target,
    pub workload: Workload,
    pub connections: u32,
    pub pace: Pace,
    pub until: Until,
}

/// What came of it. Times in nanoseconds.
#[derive(Debug)]
pub struct Measured {
    pub answers: u64,
    pub failures: u64,
    /// What the first failure said.
    pub complaint: Option<String>,
    /// Server-sent events, `[DONE]` not counted.
    pub frames: u64,
    pub took: Duration,
    pub latency: Histogram<u64>,
    /// Until the first event.
    pub first: Histogram<u64>,
    /// From the mock's stamp to here.
    pub lag: Histogram<u64>,
}

impl Measured {
    fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(100, 60_000_000_000, 3);
        Ok(Self {
            answers: 0,
            failures: 0,
            complaint: None,
            frames: 0,
            took: Duration::ZERO,
            latency: histogram()?,
            first: histogram()?,
            lag: histogram()?,
        })
    }

    /// Takes another repetition in.
    ///
    /// # Errors
    /// Never, as long as both have the same bounds.
    pub fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.answers += other.answers;
        self.failures += other.failures;
        self.frames += other.frames;
        self.took += other.took;
        self.complaint = self.complaint.take().or_else(|| other.complaint.clone());
        self.latency.add(&other.latency)?;
        self.first.add(&other.first)?;
        self.lag.add(&other.lag)?;
        Ok(())
    }
}

/// Runs a load on a thread and runtime of its own and waits for its end.
///
/// # Errors
/// When no connection can be opened.
pub fn run(load: &Load) -> anyhow::Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, drive(load))
}

struct Shared {
    request: Vec<u8>,
    load: Load,
    begun: Instant,
    turn: Cell<u64>,
    measured: RefCell<Measured>,
}

async fn drive(load: &Load) -> anyhow::Result<Measured> {
    let Target { address, path, key } = &load.target;
    let mut opened = Vec::new();
    for _ in 0..load.connections {
        opened.push(Connection::open(*address).await.with_context(|| format!("{address} does not answer"))?);
    }
    let shared = Rc::new(Shared {
        request: load.workload.request(&address.to_string(), path, key),
        load: load.clone(),
        begun: now(),
        turn: Cell::new(0),
        measured: RefCell::new(Measured::new()?),
    });
    let mut tasks = JoinSet::new();
    for connection in opened {
        let shared = Rc::clone(&shared);
        tasks.spawn_local(async move { shared.converse(connection).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    let took = shared.begun.elapsed();
    let shared = Rc::into_inner(shared).context("a connection is still busy")?;
    let mut measured = shared.measured.into_inner();
    measured.took = took;
    Ok(measured)
}

impl Shared {
    /// When the next request counts from; `None` when it is enough.
    async fn next(&self) -> Option<Instant> {
        let turn = self.turn.get();
        let due = match self.load.pace {
            Pace::Closed => now(),
            Pace::Open(rate) => {
                let nanos = turn.saturating_mul(1_000_000_000) / u64::from(rate.max(1));
                self.begun + Duration::from_nanos(nanos)
            }
        };
        let enough = match self.load.until {
            Until::Requests(most) => turn >= most,
            Until::Elapsed(most) => due.saturating_duration_since(self.begun) >= most,
        };
        if enough {
            return None;
        }
        self.turn.set(turn + 1);
        if due > now() {
            tokio::time::sleep_until(due.into()).await;
            return Some(now());
        }
        Some(due)
    }

    async fn converse(&self, mut connection: Connection) {
        while let Some(since) = self.next().await {
            if let Err(error) = self.ask(&mut connection, since).await {
                {
                    let mut measured = self.measured.borrow_mut();
                    measured.failures += 1;
                    measured.complaint.get_or_insert_with(|| error.to_string());
                }
                match Connection::open(self.load.target.address).await {
                    Ok(fresh) => connection = fresh,
                    Err(_gone) => return,
                }
            }
        }
    }

    async fn ask(&self, connection: &mut Connection, since: Instant) -> anyhow::Result<()> {
        connection.write(&self.request).await?;
        let streamed = self.load.workload.streamed();
        let mut seen = Seen::default();
        let head = connection
            .read(|piece| {
                if streamed {
                    self.frames(&mut seen, piece, since);
                } else if seen.start.is_empty() {
                    seen.start = piece.iter().copied().take(200).collect();
                }
            })
            .await?;
        let status = head.map_or(0, |head| head.status);
        let start = String::from_utf8_lossy(&seen.start).into_owned();
        anyhow::ensure!(status == 200, "status {status}: {start}");
        anyhow::ensure!(!streamed || seen.events > TOKENS, "{} events: {start}", seen.events);
        let mut measured = self.measured.borrow_mut();
        measured.answers += 1;
        measured.frames += seen.events.saturating_sub(1);
        measured.latency.saturating_record(nanos(since.elapsed()));
        Ok(())
    }

    /// Counts events and reads stamps. Every event but the last one is JSON.
    fn frames(&self, seen: &mut Seen, piece: &[u8], since: Instant) {
        if seen.start.is_empty() {
            seen.start = piece.iter().copied().take(200).collect();
            self.measured.borrow_mut().first.saturating_record(nanos(since.elapsed()));
        }
        for byte in piece {
            seen.events += u64::from(*byte == b'\n' && seen.last == b'\n');
            seen.last = *byte;
        }
        if self.load.workload == Workload::Paced {
            let here = stamp();
            for sent in stamps(piece) {
                self.measured.borrow_mut().lag.saturating_record(here.saturating_sub(sent));
            }
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    start: Vec<u8>,
    events: u64,
    last: u8,
}

/// The stamps in a piece; one that is cut in two is left out.
fn stamps(piece: &[u8]) -> impl Iterator<Item = u64> {
    const DIGITS: usize = 19;
    memmem::find_iter(piece, b"\"@").filter_map(move |at| {
        let digits = piece.get(at + 2..at + 2 + DIGITS)?;
        (piece.get(at + 2 + DIGITS) == Some(&STAMP)).then_some(())?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_found_in_frames_and_cut_ones_left_out() {
        let piece = b"{\"content\":\"@1763657483123456789@\"} {\"content\":\"@17636574831234";
        assert_eq!(stamps(piece).collect::<Vec<_>>(), [1_763_657_483_123_456_789]);
    }
}
