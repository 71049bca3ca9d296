//! Lines kept for the next request, by where they lead. One pool a worker; the last one used is the first one
//! used again, so that spare ones grow old and are dropped.

use super::Limits;
use super::line::{Line, Socket};
use hyper::Uri;
use hyper::http::uri::{Authority, Scheme};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use rustls_platform_verifier::ConfigVerifierExt as _;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tower_service::Service as _;

/// A provider closes idle connections after a minute or more; ours are dropped before.
const IDLE: Duration = Duration::from_secs(55);
/// Idle lines to one place.
const SPARE: usize = 512;
/// How often all places are looked through for old lines.
const SWEEP: Duration = Duration::from_secs(10);
/// A peer that vanished during a long wait is noticed by probes.
const PROBE: Duration = Duration::from_secs(15);

/// Where a line leads: `http` or `https`, and host with port.
pub(super) type Place = (Scheme, Authority);

/// Opens lines and keeps the idle ones.
#[derive(Clone)]
pub(super) struct Pool {
    connector: HttpsConnector<HttpConnector>,
    connect_within: Duration,
    idle: Arc<Mutex<Idle>>,
}

#[derive(Default)]
struct Idle {
    lines: HashMap<Place, Vec<(Line, Instant)>>,
    swept: Option<Instant>,
}

impl Pool {
    pub(super) fn new(limits: &Limits) -> Result<Self, rustls::Error> {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        http.set_connect_timeout(Some(limits.connect));
        http.set_keepalive(Some(PROBE));
        http.set_keepalive_interval(Some(PROBE));
        http.set_keepalive_retries(Some(3));
        let tls = rustls::ClientConfig::with_platform_verifier()?;
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self { connector, connect_within: limits.connect, idle: Arc::default() })
    }

    /// A line that was used before and is still good.
    pub(super) fn take(&self, place: &Place) -> Option<Line> {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        idle.sweep(now);
        let lines = idle.lines.get_mut(place)?;
        while let Some((mut line, since)) = lines.pop() {
            if now.duration_since(since) < IDLE && line.usable() {
                return Some(line);
            }
        }
        None
    }

    /// A new line; the error says why there is none.
    pub(super) async fn open(&self, place: &Place) -> Result<Line, String> {
        let (scheme, authority) = place.clone();
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
        let uri = uri.map_err(|error| error.to_string())?;
        let mut connector = self.connector.clone();
        let connecting = async move {
            let socket: Socket = connector.call(uri).await.map_err(|error| chain(error.as_ref()))?;
            Line::over(socket).await.map_err(|error| chain(&error))
        };
        let opened = tokio::time::timeout(self.connect_within, connecting).await;
        opened.unwrap_or_else(|_elapsed| Err("connecting took too long".to_owned()))
    }

    /// Keeps a line whose answer has ended; one that cannot be used again is closed.
    pub(super) fn give_back(&self, place: Place, mut line: Line) {
        if !line.usable() {
            return;
        }
        let mut idle = self.idle.lock();
        let lines = idle.lines.entry(place).or_default();
        if lines.len() < SPARE {
            lines.push((line, Instant::now()));
        }
    }
}

impl Idle {
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        self.lines.retain(|_, lines| {
            lines.retain(|(_, since)| now.duration_since(*since) < IDLE);
            !lines.is_empty()
        });
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// An error with its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text.push_str(": ");
        text.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    text
}
