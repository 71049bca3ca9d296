//! The command line of the simulators: reads flags, starts one role, says when it is ready.
//! It decides nothing about how a role behaves.

mod args;

use std::io::Write as _;

use anyhow::Context as _;
use clap::Parser as _;

use crate::args::{Args, Role};

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.role {
        Role::Providers(flags) => {
            let (listen, config) = (flags.listen.clone(), flags.config());
            let simulator = simulators::Providers::start(config).context("providers cannot start")?;
            announce(&listen, simulator.addr(), &simulator.url())?;
            simulator.wait().await.context("providers ended")
        }
        Role::Payments(flags) => {
            let (listen, config) = (flags.listen.clone(), flags.config());
            let simulator = simulators::Payments::start(config).context("payments cannot start")?;
            announce(&listen, simulator.addr(), &simulator.url())?;
            simulator.wait().await.context("payments ended")
        }
    }
}

/// Tells whoever started us that requests are welcome now.
fn announce(listen: &args::Listen, addr: std::net::SocketAddr, url: &str) -> anyhow::Result<()> {
    if let Some(path) = &listen.port_file {
        simulators::write_port_file(path, addr.port()).context("port file cannot be written")?;
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready {url}")?;
    out.flush()?;
    Ok(())
}
