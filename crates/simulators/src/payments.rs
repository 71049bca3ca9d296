//! Stub.
use crate::serving::Running;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
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
    pub port: u16,
    pub workers: usize,
    pub webhook_url: Option<String>,
    pub webhook_secret: String,
    pub secret_key: String,
    pub public_url: Option<String>,
    pub state_file: Option<PathBuf>,
    pub retry: RetryPolicy,
    pub signals: bool,
}
/// A running payment simulator.
#[derive(Debug)]
pub struct Payments {
    running: Running,
}
impl Payments {
    pub fn start(_config: Config) -> io::Result<Self> {
        let _ = Ipv4Addr::LOCALHOST;
        Err(io::Error::other("not yet"))
    }
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.running.addr()
    }
    #[must_use]
    pub fn url(&self) -> String {
        String::new()
    }
    pub async fn wait(self) -> io::Result<()> {
        self.running.wait().await
    }
}
