//! What the private servers of tests have in common: a free port, a folder, a password, and a keeper, a shell
//! that ends the server and removes its folder when the pipe from the test process closes.
//!
//! Knows no server: each brings its keeper's script and its way of telling whether it answers.

use kernel::Entropy as _;
use kernel::rng::SystemEntropy;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// A private server. It ends when this value is dropped, or with the process.
#[derive(Debug)]
pub struct Server {
    url: String,
    /// Holds the pipe whose closing ends the server.
    _keeper: Child,
}

impl Server {
    /// Its address with the user that may do everything.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// How one kind of server is started and asked.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Names a server that is there already.
    pub(crate) variable: &'static str,
    /// Ports tried; another process may take a free port before the server does.
    pub(crate) tries: u32,
    /// Waits for the first answer.
    pub(crate) waits: u32,
    pub(crate) pause: Duration,
    pub(crate) start: fn(&Kind) -> anyhow::Result<Server>,
}

impl Kind {
    /// The address of the server that this process's tests share.
    pub(crate) fn shared(&self, cell: &'static OnceLock<Server>) -> String {
        self.named_by_environment().unwrap_or_else(|| cell.get_or_init(|| self.private()).url.clone())
    }

    #[expect(clippy::panic, reason = "a test without its store cannot go on")]
    pub(crate) fn private(&self) -> Server {
        let mut last = String::new();
        for _ in 0..self.tries {
            match (self.start)(self) {
                Ok(server) => return server,
                Err(fault) => last = format!("{fault:#}"),
            }
        }
        panic!("{} did not start: {last}", self.name)
    }

    #[expect(clippy::disallowed_methods, reason = "tests have no configuration but this")]
    fn named_by_environment(&self) -> Option<String> {
        std::env::var(self.variable).ok().filter(|url| !url.is_empty())
    }

    /// Runs the keeper and waits until the server answers.
    pub(crate) fn keep(
        &self,
        seat: &Seat,
        keeper: &mut Command,
        url: String,
        answers: impl Fn() -> bool,
    ) -> anyhow::Result<Server> {
        let keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        for _ in 0..self.waits {
            if answers() {
                return Ok(Server { url, _keeper: keeper });
            }
            std::thread::sleep(self.pause);
        }
        anyhow::bail!("no answer on port {}; see {}", seat.port, seat.directory.display())
    }
}

/// Where a server shall live.
pub(crate) struct Seat {
    pub(crate) port: u16,
    /// Proves that an answer comes from the server just started.
    pub(crate) password: String,
    directory: PathBuf,
}

impl Seat {
    pub(crate) fn take(name: &str) -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let password = format!("{:016x}{:016x}", SystemEntropy.next_u64(), SystemEntropy.next_u64());
        let directory =
            std::env::temp_dir().join(format!("farebox-{name}-{:016x}", SystemEntropy.next_u64()));
        std::fs::create_dir(&directory)?;
        Ok(Self { port, password, directory })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}
