//! A TCP proxy that does to a connection what networks do: delays, silence, cuts in the middle of a message,
//! resets, refusals. Everything can be switched while connections are open, each direction by itself.
//!
//! It knows no protocol. Bytes are never lost, changed or reordered on a connection that lives on: silence
//! holds them back, as a network does whose packets are sent again. The proxy ends when its value is dropped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// The most of a message that is carried at once.
const CHUNK: usize = 16 * 1024;
/// Chunks on their way in one direction; a sender that is faster waits.
const IN_FLIGHT: usize = 64;

/// The way that bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What clients send.
    ToServer,
    /// What they are answered.
    ToClient,
}

/// What happens to the bytes of one direction. The default does nothing to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fault {
    /// How long every byte is on its way; how many are on their way is not limited by it.
    pub latency: Duration,
    /// Nothing arrives until this is taken back; what was sent meanwhile arrives then.
    pub blackhole: bool,
    /// Every connection is reset after so many more bytes of this direction, the rest of the message being
    /// lost. Each connection counts for itself, from when the fault was set.
    pub cut_after: Option<u64>,
}

/// What the proxy did, over all of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub connections: u64,
    pub refused: u64,
    pub cut: u64,
    pub reset: u64,
    /// Chunks that were held back by a black hole.
    pub held: u64,
    /// Chunks that were late.
    pub delayed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    refused: AtomicU64,
    cut: AtomicU64,
    reset: AtomicU64,
    held: AtomicU64,
    delayed: AtomicU64,
}

#[derive(Debug, Clone)]
struct Rules {
    target: SocketAddr,
    refuse: bool,
    /// Raised to reset every connection that is open.
    resets: u64,
    /// Raised when a direction's fault is set, so that a cut counts anew.
    to_server: (u64, Fault),
    to_client: (u64, Fault),
}

impl Rules {
    fn fault(&self, direction: Direction) -> (u64, Fault) {
        match direction {
            Direction::ToServer => self.to_server,
            Direction::ToClient => self.to_client,
        }
    }
}

/// A listening proxy in front of one address.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    counters: Arc<Counters>,
}

impl Proxy {
    /// Listens on a free port of this machine and hands on to `target`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let none = (0, Fault::default());
        let rules = Rules { target, refuse: false, resets: 0, to_server: none, to_client: none };
        let (rules, seen) = watch::channel(rules);
        let counters = Arc::new(Counters::default());
        spawn(accept(listener, seen, Arc::clone(&counters)));
        Ok(Self { address, rules, counters })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this happens to the bytes of a direction, those on their way included.
    pub fn set(&self, direction: Direction, fault: Fault) {
        self.rules.send_modify(|rules| match direction {
            Direction::ToServer => rules.to_server = (rules.to_server.0 + 1, fault),
            Direction::ToClient => rules.to_client = (rules.to_client.0 + 1, fault),
        });
    }

    /// From now on everything passes, and new connections are taken.
    pub fn heal(&self) {
        self.set(Direction::ToServer, Fault::default());
        self.set(Direction::ToClient, Fault::default());
        self.refuse(false);
    }

    /// Resets every connection that is open; what is on its way is lost.
    pub fn reset(&self) {
        self.rules.send_modify(|rules| rules.resets += 1);
    }

    /// Whether new connections are reset at once, as by a host without the server.
    pub fn refuse(&self, refuse: bool) {
        self.rules.send_modify(|rules| rules.refuse = refuse);
    }

    /// New connections go there; those that are open stay where they are.
    pub fn retarget(&self, target: SocketAddr) {
        self.rules.send_modify(|rules| rules.target = target);
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &self.counters;
        Counts {
            connections: of(&c.connections),
            refused: of(&c.refused),
            cut: of(&c.cut),
            reset: of(&c.reset),
            held: of(&c.held),
            delayed: of(&c.delayed),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's proxy has no shutdown to wait for")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

async fn accept(listener: TcpListener, mut rules: watch::Receiver<Rules>, counters: Arc<Counters>) {
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => accepted,
            // Only the end of the proxy's value is of interest here.
            ended = async { while rules.changed().await.is_ok() {} } => return ended,
        };
        let Ok((client, _)) = client else { continue };
        let (target, refuse) = {
            let now = rules.borrow();
            (now.target, now.refuse)
        };
        if refuse {
            counters.refused.fetch_add(1, Ordering::Relaxed);
            reset(&client);
            continue;
        }
        counters.connections.fetch_add(1, Ordering::Relaxed);
        spawn(carry(client, target, rules.clone(), Arc::clone(&counters)));
    }
}

/// Makes the end of a socket an abrupt one.
fn reset(socket: &TcpStream) {
    let _too_late = socket.set_zero_linger();
}

/// A connection ended otherwise than in order.
struct Broken;

/// One connection: until both sides have ended it, or a fault does.
async fn carry(
    mut client: TcpStream,
    target: SocketAddr,
    rules: watch::Receiver<Rules>,
    counters: Arc<Counters>,
) {
    let Ok(mut server) = TcpStream::connect(target).await else { return reset(&client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let broken = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let before = rules.borrow().resets;
        let up = pump(from_client, to_server, Direction::ToServer, rules.clone(), &counters);
        let down = pump(from_server, to_client, Direction::ToClient, rules.clone(), &counters);
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => ended.is_err(),
            () = reset_after(rules, before, &counters) => true,
        }
    };
    if broken {
        reset(&client);
        reset(&server);
    }
}

/// Returns when connections are to be reset, or the proxy is gone.
async fn reset_after(mut rules: watch::Receiver<Rules>, before: u64, counters: &Counters) {
    if rules.wait_for(|now| now.resets != before).await.is_ok() {
        counters.reset.fetch_add(1, Ordering::Relaxed);
    }
}

/// Carries one direction to its end: everything that was read is written before the end is passed on.
async fn pump(
    mut from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    direction: Direction,
    rules: watch::Receiver<Rules>,
    counters: &Counters,
) -> Result<(), Broken> {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>(IN_FLIGHT);
    let reading = async move {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = from.read(&mut buffer).await.map_err(|_broken| Broken)?;
            if read == 0 {
                return Ok(());
            }
            let chunk = buffer.get(..read).unwrap_or_default().to_vec();
            sender.send((Instant::now(), chunk)).await.map_err(|_over| Broken)?;
        }
    };
    let writing = deliver(receiver, to, direction, rules, counters);
    tokio::try_join!(reading, writing).map(|_ended| ())
}

async fn deliver(
    mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    mut rules: watch::Receiver<Rules>,
    counters: &Counters,
) -> Result<(), Broken> {
    let (mut set_at, mut since) = (0, 0_u64);
    while let Some((read_at, chunk)) = chunks.recv().await {
        let (set, fault) = arrival(&mut rules, direction, read_at, counters).await.ok_or(Broken)?;
        if set != set_at {
            (set_at, since) = (set, 0);
        }
        let left = fault.cut_after.map_or(u64::MAX, |most| most.saturating_sub(since));
        let passes = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        to.write_all(chunk.get(..passes).unwrap_or_default()).await.map_err(|_broken| Broken)?;
        since += u64::try_from(passes).unwrap_or(u64::MAX);
        if passes < chunk.len() {
            counters.cut.fetch_add(1, Ordering::Relaxed);
            return Err(Broken);
        }
    }
    to.shutdown().await.map_err(|_broken| Broken)
}

/// Waits until a chunk may arrive, and says what else happens to it. `None` when the proxy is gone.
async fn arrival(
    rules: &mut watch::Receiver<Rules>,
    direction: Direction,
    read_at: Instant,
    counters: &Counters,
) -> Option<(u64, Fault)> {
    let (mut held, mut delayed) = (false, false);
    loop {
        let (set, fault) = rules.borrow_and_update().fault(direction);
        let due = read_at + fault.latency;
        if fault.blackhole {
            if !std::mem::replace(&mut held, true) {
                counters.held.fetch_add(1, Ordering::Relaxed);
            }
            rules.changed().await.ok()?;
        } else if Instant::now() < due {
            if !std::mem::replace(&mut delayed, true) {
                counters.delayed.fetch_add(1, Ordering::Relaxed);
            }
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                changed = rules.changed() => changed.ok()?,
            }
        } else {
            return Some((set, fault));
        }
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
