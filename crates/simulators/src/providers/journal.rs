//! What was asked and how it ended: a ring of the newest requests, and counts of what is open.
//! Credentials are kept only as a short fingerprint.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kernel::clock::Clock;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

/// Bodies and texts together may hold this much memory; beyond it the oldest entries go first.
const MOST_HELD_BYTES: usize = 256 * 1024 * 1024;
/// The answer text kept of one entry.
const MOST_TEXT_BYTES: usize = 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finished {
    Completed,
    /// The client went away before the end.
    ClientClosed,
    /// A script dropped the connection.
    Cut,
}

/// One request. Times in milliseconds count from its start.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) provider: String,
    pub(crate) path: String,
    pub(crate) model: Option<String>,
    pub(crate) stream: bool,
    /// First 12 hex digits of the credential's SHA-256.
    pub(crate) credential: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    /// JSON when it was kept whole and is JSON, else text.
    #[serde(serialize_with = "readable")]
    pub(crate) body: String,
    /// The true length, even when less was kept.
    pub(crate) body_bytes: usize,
    /// RFC 3339, microseconds.
    pub(crate) started_at: String,
    pub(crate) status: Option<u16>,
    /// Absent while the response is open.
    pub(crate) finished: Option<Finished>,
    pub(crate) first_byte_ms: Option<u64>,
    pub(crate) closed_after_ms: Option<u64>,
    /// Content frames handed to the network.
    pub(crate) chunks_sent: u64,
    pub(crate) bytes_sent: u64,
    /// The answer text in those frames.
    pub(crate) text_sent: String,
    pub(crate) script: Option<Value>,
    /// Tokens that the provider would bill for a complete answer: prompt and completion.
    pub(crate) tokens: Option<(u64, u64)>,
}

/// What is known when a request arrives.
pub(crate) struct Arrival {
    pub(crate) provider: String,
    pub(crate) path: String,
    pub(crate) credential: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
}

fn readable<S: serde::Serializer>(body: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match serde_json::from_str::<Value>(body) {
        Ok(json) => json.serialize(serializer),
        Err(_) => serializer.serialize_str(body),
    }
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    next_id: u64,
    held_bytes: usize,
}

pub(crate) struct Journal {
    ring: Mutex<Ring>,
    most_entries: usize,
    body_bytes: usize,
    clock: Arc<dyn Clock>,
    open_streams: AtomicU64,
    open_connections: AtomicU64,
    total_connections: AtomicU64,
    total_requests: AtomicU64,
    changed: watch::Sender<u64>,
}

/// Counts of what is open now and of what there ever was.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Counts {
    /// Requests being answered, streamed or not.
    open_streams: u64,
    open_connections: u64,
    total_connections: u64,
    total_requests: u64,
}

impl Journal {
    pub(crate) fn new(most_entries: usize, body_bytes: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            ring: Mutex::default(),
            most_entries: most_entries.max(1),
            body_bytes,
            clock,
            open_streams: AtomicU64::new(0),
            open_connections: AtomicU64::new(0),
            total_connections: AtomicU64::new(0),
            total_requests: AtomicU64::new(0),
            changed: watch::Sender::new(0),
        }
    }

    /// Counts a network connection until the returned value is dropped.
    pub(crate) fn connection_opened(self: &Arc<Self>) -> Connection {
        self.open_connections.fetch_add(1, Ordering::Relaxed);
        self.total_connections.fetch_add(1, Ordering::Relaxed);
        Connection { journal: self.clone() }
    }

    /// Notes a request; the returned value must be told how it ends.
    pub(crate) fn open(self: &Arc<Self>, arrival: Arrival, body: &[u8]) -> Exchange {
        let kept = body.get(..self.body_bytes).unwrap_or(body);
        let kept = String::from_utf8_lossy(kept).into_owned();
        self.open_streams.fetch_add(1, Ordering::Relaxed);
        self.total_requests.fetch_add(1, Ordering::Relaxed);
        let started_at = self.clock.now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let mut ring = self.ring.lock();
        let id = ring.next_id;
        ring.next_id += 1;
        ring.held_bytes += kept.len();
        ring.entries.push_back(Entry {
            id,
            provider: arrival.provider,
            path: arrival.path,
            model: None,
            stream: false,
            credential: arrival.credential,
            headers: arrival.headers,
            body: kept,
            body_bytes: body.len(),
            started_at,
            status: None,
            finished: None,
            first_byte_ms: None,
            closed_after_ms: None,
            chunks_sent: 0,
            bytes_sent: 0,
            text_sent: String::new(),
            script: None,
            tokens: None,
        });
        ring.trim(self.most_entries);
        drop(ring);
        Exchange { journal: self.clone(), id, started: self.clock.monotonic(), open: true }
    }

    /// The newest `limit` entries that fit, newest first.
    pub(crate) fn list(&self, limit: usize, fits: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let ring = self.ring.lock();
        ring.entries.iter().rev().filter(|entry| fits(entry)).take(limit).cloned().collect()
    }

    pub(crate) fn clear(&self) {
        let mut ring = self.ring.lock();
        ring.entries.clear();
        ring.held_bytes = 0;
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            open_streams: self.open_streams.load(Ordering::Relaxed),
            open_connections: self.open_connections.load(Ordering::Relaxed),
            total_connections: self.total_connections.load(Ordering::Relaxed),
            total_requests: self.total_requests.load(Ordering::Relaxed),
        }
    }

    /// Changes whenever a request ends.
    pub(crate) fn endings(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.ring.lock().entry(id) {
            change(entry);
        }
    }
}

impl Ring {
    fn entry(&mut self, id: u64) -> Option<&mut Entry> {
        let first = self.entries.front()?.id;
        self.entries.get_mut(usize::try_from(id.checked_sub(first)?).ok()?)
    }

    fn trim(&mut self, most_entries: usize) {
        while self.entries.len() > most_entries
            || (self.held_bytes > MOST_HELD_BYTES && self.entries.len() > 1)
        {
            if let Some(gone) = self.entries.pop_front() {
                self.held_bytes = self.held_bytes.saturating_sub(gone.body.len() + gone.text_sent.len());
            }
        }
    }
}

/// An open network connection.
pub(crate) struct Connection {
    journal: Arc<Journal>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.journal.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request being answered. The server tells of a client that left only by dropping what it holds for it,
/// so dropping this before [`Exchange::finish`] notes exactly that.
pub(crate) struct Exchange {
    journal: Arc<Journal>,
    id: u64,
    started: Duration,
    open: bool,
}

impl Exchange {
    /// What became known about the request after it was read.
    pub(crate) fn describe(&self, change: impl FnOnce(&mut Entry)) {
        self.journal.change(self.id, change);
    }

    /// Bytes handed to the network.
    pub(crate) fn sent(&mut self, bytes: usize, content: bool, text: &str) {
        let now = self.elapsed_ms();
        let mut ring = self.journal.ring.lock();
        let Some(entry) = ring.entry(self.id) else { return };
        entry.first_byte_ms.get_or_insert(now);
        entry.chunks_sent += u64::from(content);
        entry.bytes_sent += u64::try_from(bytes).unwrap_or(u64::MAX);
        if entry.text_sent.len() + text.len() <= MOST_TEXT_BYTES {
            entry.text_sent.push_str(text);
            ring.held_bytes += text.len();
        }
    }

    pub(crate) fn finish(&mut self, how: Finished) {
        if !std::mem::replace(&mut self.open, false) {
            return;
        }
        let closed = self.elapsed_ms();
        self.journal.change(self.id, |entry| {
            entry.finished = Some(how);
            entry.closed_after_ms = Some(closed);
        });
        self.journal.open_streams.fetch_sub(1, Ordering::Relaxed);
        self.journal.changed.send_modify(|count| *count += 1);
    }

    fn elapsed_ms(&self) -> u64 {
        let elapsed = self.journal.clock.monotonic().saturating_sub(self.started);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.finish(Finished::ClientClosed);
    }
}
