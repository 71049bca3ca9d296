//! Flags of the two roles, and what they mean as configuration. Nothing is read from files here.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};
use simulators::{PaymentsConfig, ProvidersConfig, RetryPolicy};

/// Simulated services for developing and testing Farebox without the internet.
#[derive(Debug, Parser)]
#[command(name = "farebox-simulators", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) role: Role,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Scripted model providers: OpenAI's and Anthropic's wire formats under /{provider}/v1.
    Providers(ProvidersFlags),
    /// A payment provider with Stripe's API, a hosted checkout page and signed webhooks.
    Payments(PaymentsFlags),
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Listen {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Where to write the bound port once requests are accepted.
    #[arg(long)]
    pub(crate) port_file: Option<PathBuf>,
    /// Threads that serve requests.
    #[arg(long, default_value_t = 2)]
    pub(crate) workers: usize,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ProvidersFlags {
    #[command(flatten)]
    pub(crate) listen: Listen,
    /// How many requests the journal remembers.
    #[arg(long, default_value_t = 20_000)]
    journal_entries: usize,
    /// How many bytes of each request body the journal keeps.
    #[arg(long, default_value_t = 65_536)]
    journal_body_bytes: usize,
}

impl ProvidersFlags {
    pub(crate) fn config(self) -> ProvidersConfig {
        ProvidersConfig {
            host: self.listen.host,
            port: self.listen.port,
            workers: self.listen.workers,
            journal_entries: self.journal_entries,
            journal_body_bytes: self.journal_body_bytes,
            signals: true,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PaymentsFlags {
    #[command(flatten)]
    pub(crate) listen: Listen,
    /// Where events are sent; without it they are only recorded.
    #[arg(long)]
    webhook_url: Option<String>,
    /// The secret that signs them.
    #[arg(long, default_value = "whsec_simulated")]
    webhook_secret: String,
    /// The API key that clients must use.
    #[arg(long, default_value = "sk_test_simulated")]
    secret_key: String,
    /// How a browser reaches this simulator; by default the address it listens on.
    #[arg(long)]
    public_url: Option<String>,
    /// A file that keeps sessions and events over restarts.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Attempts to deliver one event.
    #[arg(long, default_value_t = 8)]
    webhook_attempts: u32,
    /// Pause after the first failed attempt; it doubles after each.
    #[arg(long, default_value_t = 500)]
    webhook_retry_ms: u64,
}

impl PaymentsFlags {
    pub(crate) fn config(self) -> PaymentsConfig {
        PaymentsConfig {
            host: self.listen.host,
            port: self.listen.port,
            workers: self.listen.workers,
            webhook_url: self.webhook_url,
            webhook_secret: self.webhook_secret,
            secret_key: self.secret_key,
            public_url: self.public_url,
            state_file: self.state,
            retry: RetryPolicy {
                attempts: self.webhook_attempts,
                first: Duration::from_millis(self.webhook_retry_ms),
                longest: Duration::from_secs(60),
            },
            signals: true,
        }
    }
}
