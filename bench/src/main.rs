//! The command line of the load rig: the whole comparison, a profiler's victim, or one role of it.

use anyhow::Context as _;
use bench::run::{self, Busy, Options};
use bench::{floors, mock};
use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures farebox beside its floors; see bench/README.md.
#[derive(Debug, Parser)]
#[command(name = "farebox-bench")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Everything in turns; prints tables and writes a file
    All {
        #[command(flatten)]
        options: Options,
        /// Where the figures go as JSON
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Keeps one target busy and prints its pid, for a profiler or a count
    Busy {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        busy: Busy,
    },
    /// The credit engine's functions alone, on a Redis of their own
    Engine {
        #[command(flatten)]
        options: bench::engine::Options,
    },
    /// The mock provider
    Mock,
    /// The bare proxy
    Bare {
        #[arg(long)]
        upstream: SocketAddr,
    },
    /// The least that metered calls need
    Paid {
        #[arg(long)]
        upstream: SocketAddr,
        #[arg(long)]
        redis_url: String,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().role {
        Role::All { options, out } => {
            let report = run::all(&options)?;
            print(&report.table())?;
            if let Some(path) = out {
                // Not the program's path: it says nothing but where somebody keeps their checkout.
                let arguments: Vec<String> = std::env::args().skip(1).collect();
                let command = format!("farebox-bench {}", arguments.join(" "));
                let text = serde_json::to_string_pretty(&report.json(&command))?;
                std::fs::write(&path, text + "\n").with_context(|| path.display().to_string())?;
            }
            Ok(())
        }
        Role::Busy { options, busy } => {
            let measured = run::keep_busy(&options, &busy)?;
            print(&format!("{} answers, {} failures", measured.answers, measured.failures))
        }
        Role::Engine { options } => print(&bench::engine::measure(&options)?),
        Role::Mock => local(async { mock::serve(listen().await?).await }),
        Role::Bare { upstream } => local(async move { floors::bare::serve(listen().await?, upstream).await }),
        Role::Paid { upstream, redis_url } => actix_web::rt::System::new().block_on(async move {
            floors::paid::serve(listen().await?.into_std()?, upstream, redis_url).await
        }),
    }
}

/// Runs on this one thread.
fn local(role: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, role)
}

/// A free port, which is printed, so that whoever started this role finds it.
async fn listen() -> anyhow::Result<tokio::net::TcpListener> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    print(&listener.local_addr()?.to_string())?;
    Ok(listener)
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}
