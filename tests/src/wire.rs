//! A wire between two processes of a stack that can be slow, silent or cut. It carries bytes and knows no protocol.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes carried at once.
const PIECE: usize = 16 * 1024;

/// What a wire does to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Clear,
    /// Every piece waits so long, in both directions.
    Slow(Duration),
    /// Nothing passes and nothing fails: a dead line.
    Silent,
}

#[derive(Debug)]
struct State {
    weather: watch::Sender<Weather>,
    /// Rises when all connections are to end.
    cuts: watch::Sender<u64>,
    open: AtomicUsize,
    /// Pieces that were late, held back or lost.
    hurt: AtomicUsize,
}

/// A listening end that carries every connection to one address. It ends with this value.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    state: Arc<State>,
    _carrying: JoinSet<()>,
}

impl Wire {
    /// To `host:port`.
    pub async fn to(target: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            weather: watch::Sender::new(Weather::Clear),
            cuts: watch::Sender::new(0),
            open: AtomicUsize::new(0),
            hurt: AtomicUsize::new(0),
        });
        let mut carrying = JoinSet::new();
        carrying.spawn(accept(listener, target, Arc::clone(&state)));
        Ok(Self { port, state, _carrying: carrying })
    }

    /// The same address with this wire's port in place of the target's.
    pub fn instead_of(&self, url: &str) -> anyhow::Result<String> {
        let mut url = reqwest::Url::parse(url)?;
        anyhow::ensure!(url.set_port(Some(self.port)).is_ok(), "an address without a port");
        Ok(url.to_string().trim_end_matches('/').to_owned())
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, weather: Weather) {
        self.state.weather.send_replace(weather);
    }

    /// Ends every connection; how many there were.
    pub fn cut(&self) -> usize {
        let open = self.state.open.load(Ordering::SeqCst);
        self.state.cuts.send_modify(|cuts| *cuts += 1);
        open
    }

    /// Pieces that were slowed or held back so far.
    #[must_use]
    pub fn hurt(&self) -> usize {
        self.state.hurt.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, target: String, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((near, _)) = accepted {
                    connections.spawn(carry(near, target.clone(), Arc::clone(&state)));
                }
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn carry(near: TcpStream, target: String, state: Arc<State>) {
    let mut cuts = state.cuts.subscribe();
    cuts.mark_unchanged();
    let Ok(far) = TcpStream::connect(target).await else { return };
    let _undelayed = (near.set_nodelay(true), far.set_nodelay(true));
    state.open.fetch_add(1, Ordering::SeqCst);
    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        _cut = cuts.changed() => {}
        // A connection of which one side has ended is over: none of our protocols leaves one half open.
        () = pump(&mut near_in, &mut far_out, &state) => {}
        () = pump(&mut far_in, &mut near_out, &state) => {}
    }
    state.open.fetch_sub(1, Ordering::SeqCst);
}

async fn pump(
    from: &mut tokio::net::tcp::OwnedReadHalf,
    to: &mut tokio::net::tcp::OwnedWriteHalf,
    state: &State,
) {
    let mut weather = state.weather.subscribe();
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let now = *weather.borrow_and_update();
        if now != Weather::Clear {
            state.hurt.fetch_add(1, Ordering::SeqCst);
        }
        match now {
            Weather::Clear => {}
            Weather::Slow(by) => tokio::time::sleep(by).await,
            Weather::Silent => {
                if weather.wait_for(|weather| *weather != Weather::Silent).await.is_err() {
                    return;
                }
            }
        }
        if to.write_all(piece.get(..length).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}
