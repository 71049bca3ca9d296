//! Scripted model providers. Every first path segment is a provider of its own, speaking OpenAI's
//! chat completions and Anthropic's Messages; a script decides how each request goes, and a journal
//! remembers what was asked, what was sent and who hung up.
//! No model runs here: answers are made from the prompt, the same each time.

mod answer;
mod anthropic;
mod ask;
mod control;
mod converse;
mod fault;
mod frame;
mod journal;
mod openai;
mod plan;
mod play;
mod prompt_cache;
mod rules;
mod schema;
mod script;
mod tokens;
mod wire;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use kernel::clock::{Clock, SystemClock};
use kernel::rng::{Entropy, SystemEntropy};

use crate::serving::{self, Running};

/// Largest request body that is read.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// How the provider simulator runs.
#[derive(Debug, Clone)]
pub struct Config {
    pub host: IpAddr,
    /// 0 takes a free port.
    pub port: u16,
    pub workers: usize,
    /// Requests the journal remembers.
    pub journal_entries: usize,
    /// Bytes of each request body it keeps.
    pub journal_body_bytes: usize,
    /// Stop on SIGTERM and SIGINT; off inside tests.
    pub signals: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            workers: 2,
            journal_entries: 20_000,
            journal_body_bytes: 65_536,
            signals: false,
        }
    }
}

/// What the handlers share.
pub(crate) struct Desk {
    pub(crate) journal: Arc<journal::Journal>,
    pub(crate) rules: rules::Rules,
    pub(crate) prompt_cache: prompt_cache::PromptCache,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// A running provider simulator.
#[derive(Debug)]
pub struct Providers {
    running: Running,
}

impl Providers {
    /// Binds and serves in the background of the current tokio runtime.
    /// Fails when the port is taken.
    pub fn start(config: Config) -> io::Result<Self> {
        tokens::warm();
        let listener = serving::bind(config.host, config.port)?;
        let addr = listener.local_addr()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let journal =
            Arc::new(journal::Journal::new(config.journal_entries, config.journal_body_bytes, clock.clone()));
        let counted = journal.clone();
        let desk = web::Data::new(Desk {
            journal,
            rules: rules::Rules::default(),
            prompt_cache: prompt_cache::PromptCache::default(),
            clock,
            entropy: Arc::new(SystemEntropy),
        });
        let server = HttpServer::new(move || {
            App::new()
                .app_data(desk.clone())
                .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
                .configure(control::routes)
                .configure(converse::routes)
        })
        .workers(config.workers)
        .on_connect(move |_, extensions| {
            extensions.insert(counted.connection_opened());
        })
        // Without this an abandoned stream would look open for as long as nothing is written to it.
        .h1_allow_half_closed(false)
        .tcp_nodelay(true)
        .keep_alive(Duration::from_secs(90))
        .shutdown_timeout(2);
        let server = if config.signals { server } else { server.disable_signals() };
        Ok(Self { running: Running::launch(addr, server.listen(listener)?.run()) })
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

    /// Closes every connection and waits for the end.
    pub async fn stop(self) -> io::Result<()> {
        self.running.stop().await
    }

    /// Waits until a signal ends the server.
    pub async fn wait(self) -> io::Result<()> {
        self.running.wait().await
    }
}
