//! A payment provider with the part of Stripe's API that selling credits needs: Checkout sessions with a
//! hosted page, what a payment leaves behind, events, and signed webhooks with faults on demand.
//!
//! One file in `objects/` per kind of object. Evidence of disputes, payouts and subscriptions are not simulated.

mod actions;
mod api;
mod control;
mod failure;
mod form;
mod idempotency;
mod listing;
mod money_back;
mod objects;
mod page;
mod signature;
mod store;
mod webhooks;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use kernel::clock::{Clock, SystemClock};
use kernel::rng::{Entropy, SystemEntropy};
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use crate::serving::{self, Running};

/// How failed webhook deliveries are tried again.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// All attempts, the first included.
    pub attempts: u32,
    /// Pause after the first failure; it doubles after each.
    pub first: Duration,
    /// No pause is longer.
    pub longest: Duration,
}

/// How the payment simulator runs.
#[derive(Debug, Clone)]
pub struct Config {
    pub host: IpAddr,
    /// 0 takes a free port.
    pub port: u16,
    pub workers: usize,
    /// Where events are sent; without it they are only recorded.
    pub webhook_url: Option<String>,
    /// Signs the events, `whsec_…`.
    pub webhook_secret: String,
    /// The API key that clients must use, `sk_test_…`.
    pub secret_key: String,
    /// How a browser reaches the hosted page; by default the address listened on.
    pub public_url: Option<String>,
    /// Keeps objects over restarts.
    pub state_file: Option<PathBuf>,
    pub retry: RetryPolicy,
    /// Stop on SIGTERM and SIGINT; off inside tests.
    pub signals: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            workers: 1,
            webhook_url: None,
            webhook_secret: "whsec_simulated".to_owned(),
            secret_key: "sk_test_simulated".to_owned(),
            public_url: None,
            state_file: None,
            retry: RetryPolicy {
                attempts: 8,
                first: Duration::from_millis(500),
                longest: Duration::from_secs(60),
            },
            signals: false,
        }
    }
}

/// What the handlers share.
pub(crate) struct Desk {
    pub(crate) store: Mutex<store::Store>,
    pub(crate) webhooks: webhooks::Webhooks,
    pub(crate) secret_key: String,
    /// Base of the hosted page's addresses, without a trailing slash.
    pub(crate) public_url: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// A running payment simulator.
#[derive(Debug)]
pub struct Payments {
    running: Running,
    deliveries: TaskTracker,
}

impl Payments {
    /// Binds and serves in the background of the current tokio runtime.
    /// Fails when the port is taken, the state file cannot be read or the webhook client cannot be built.
    pub fn start(config: Config) -> io::Result<Self> {
        let listener = serving::bind(config.host, config.port)?;
        let addr = listener.local_addr()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let deliveries = TaskTracker::new();
        let settings = webhooks::Settings::new(config.webhook_url, config.webhook_secret, config.retry);
        let desk = web::Data::new(Desk {
            store: Mutex::new(store::Store::load(config.state_file)?),
            webhooks: webhooks::Webhooks::start(settings, clock.clone(), &deliveries)?,
            secret_key: config.secret_key,
            public_url: config
                .public_url
                .unwrap_or_else(|| format!("http://{addr}"))
                .trim_end_matches('/')
                .to_owned(),
            clock,
            entropy: Arc::new(SystemEntropy),
        });
        let server = HttpServer::new(move || {
            App::new()
                .app_data(desk.clone())
                .configure(control::routes)
                .configure(page::routes)
                .configure(api::routes)
                .default_service(web::to(api::unknown_route))
        })
        .workers(config.workers)
        .h1_allow_half_closed(false)
        .tcp_nodelay(true)
        .shutdown_timeout(2);
        let server = if config.signals { server } else { server.disable_signals() };
        Ok(Self { running: Running::launch(addr, server.listen(listener)?.run()), deliveries })
    }

    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.running.addr()
    }

    /// Base of all routes, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Closes every connection, gives up undelivered webhooks and waits for the end.
    pub async fn stop(self) -> io::Result<()> {
        self.running.stop().await?;
        self.deliveries.close();
        self.deliveries.wait().await;
        Ok(())
    }

    /// Waits until a signal ends the server.
    pub async fn wait(self) -> io::Result<()> {
        self.running.wait().await
    }
}
