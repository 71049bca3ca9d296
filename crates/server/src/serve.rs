//! `farebox serve`: opens the ports of its role, runs the jobs, drains on SIGTERM.

use crate::config::Config;
use crate::jobs::{
    Jobs, backlog, catalog, credits, epochs, ingest, journal, loading, notices, proof, purchases, shelf,
    sweep, upkeep,
};
use crate::wiring::{self, House};
use crate::{doors, telemetry};
use anyhow::Context as _;
use gateway::trace::Tracing;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What a start says when Redis will not take its epoch.
const EPOCHS: &str = "the credit engine's epochs could not be opened; where PostgreSQL was restored or replaced, this \
    Redis belongs to another life of the books: make sure nothing else uses it, empty it, and start again";

/// Which ports a process opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// API, site, staff desk and jobs: one process for everything.
    All,
    /// API, site and jobs.
    Gateway,
    /// The staff desk alone.
    Staff,
}

/// Runs until a signal, then drains.
pub(crate) async fn run(config: Config, role: Role) -> anyhow::Result<()> {
    let exporter = telemetry::tracing(&config)?;
    let tracing = if exporter.is_some() { Tracing::on() } else { Tracing::default() };
    let house = wiring::build(config, tracing).await?;
    // In containers every process has the same number and address; chance tells them apart.
    let owner =
        format!("{}-{}-{:016x}", std::process::id(), house.config.public_listen, house.entropy.next_u64());
    let writer = ingest::Ingest::new(owner, &house.registry)?;
    if role != Role::Staff {
        epochs::open(&house, &writer).await.context(EPOCHS)?;
    }
    // Beside the start: the first request that needs the tokenizer waits for it at most.
    let _warming = tokio::task::spawn_blocking(gateway::meter::warm_up);
    let books = if role == Role::Staff { None } else { Some(journal::Books::open(&house)?) };
    let jobs = start_jobs(&house, books.as_ref(), writer.clone())?;
    let mut handles = Vec::new();
    let mut servers = Vec::new();
    if let Some(books) = &books {
        servers.push(doors::public(&house, &doors::engines(&house)?, books.settlements())?);
    }
    if role != Role::Gateway {
        servers.push(doors::staff(&house)?);
    }
    servers.push(doors::metrics(&house)?);
    handles.extend(servers.iter().map(actix_web::dev::Server::handle));
    upkeep::readiness(&house, books.as_ref()).await;
    tracing::info!(public = %house.config.public_listen, staff = %house.config.staff_listen, "farebox serves");
    let running = all_servers(servers);
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => ended?,
        () = stop_signal()? => {}
    }
    drain(&house, handles, running).await;
    if let Some(books) = &books {
        books.confirmed(&house).await;
    }
    jobs.stop().await;
    if let Some(books) = books {
        books.close();
    }
    writer.resign(&house).await;
    tracing::info!("stopped");
    if let Some(exporter) = exporter {
        let _flushed = exporter.shutdown();
    }
    Ok(())
}

/// Awaits all servers; the first that ends with an error ends the process.
async fn all_servers(servers: Vec<actix_web::dev::Server>) -> anyhow::Result<()> {
    let mut set = tokio::task::JoinSet::new();
    for server in servers {
        set.spawn(server);
    }
    while let Some(ended) = set.join_next().await {
        ended.context("a server panicked")?.context("a server failed")?;
    }
    Ok(())
}

async fn wait_for(mut interrupt: tokio::signal::unix::Signal, mut terminate: tokio::signal::unix::Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(wait_for(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
}

/// How long idle connections and pages may take to end.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
/// Time for a load balancer to see that this process is not ready before its doors close.
const NOTICE: Duration = Duration::from_millis(300);

/// Not ready any more and no new calls; then sessions end, doors close, jobs stop. Sessions come first: a
/// worker that is told to stop would cut those whose client has left.
async fn drain(
    house: &House,
    handles: Vec<actix_web::dev::ServerHandle>,
    running: impl Future<Output = anyhow::Result<()>>,
) {
    tracing::info!(open = house.tasks.open(), "draining");
    house.readiness.drain();
    let patience = house.config.drain_patience;
    tokio::time::sleep(NOTICE.min(patience)).await;
    if tokio::time::timeout(patience, house.tasks.drained()).await.is_err() {
        tracing::warn!(open = house.tasks.open(), "sessions were cut; the journal settles them");
    }
    let closing = async {
        for handle in handles {
            handle.stop(true).await;
        }
        let _ended = running.await;
    };
    if tokio::time::timeout(CLOSE_PATIENCE, closing).await.is_err() {
        tracing::warn!("connections were cut");
    }
}

fn start_jobs(house: &House, books: Option<&journal::Books>, writer: ingest::Ingest) -> anyhow::Result<Jobs> {
    let jobs = Jobs::default();
    let listener = house.clone();
    jobs.run(move |stop| notices::listen(listener, stop));
    every(&jobs, house, Duration::from_secs(2), |house| async move { catalog::refresh(&house).await });
    let watched = books.cloned();
    every(&jobs, house, Duration::from_secs(1), move |house| {
        let books = watched.clone();
        async move { upkeep::readiness(&house, books.as_ref()).await }
    });
    let Some(books) = books.cloned() else { return Ok(jobs) };
    every(&jobs, house, Duration::from_secs(1), move |house| {
        let books = books.clone();
        async move { books.round(&house).await }
    });
    let watcher = writer.clone();
    every(&jobs, house, Duration::from_secs(1), move |house| {
        let writer = watcher.clone();
        async move { epochs::watch(&house, &writer).await }
    });
    let loader = writer.clone();
    every(&jobs, house, Duration::from_millis(500), move |house| {
        let writer = loader.clone();
        async move { loading::fill(&house, &writer).await }
    });
    let booker = writer.clone();
    every(&jobs, house, ingest::PAUSE, move |house| {
        let writer = booker.clone();
        async move { writer.round(&house).await }
    });
    let (proof, prover) = (proof::Proof::new(&house.registry)?, writer.clone());
    every(&jobs, house, Duration::from_secs(600), move |house| {
        let (proof, writer) = (proof.clone(), prover.clone());
        async move { proof.round(&house, &writer).await }
    });
    let gauges = upkeep::Gauges::new(&house.registry)?;
    every(&jobs, house, Duration::from_secs(2), move |house| {
        let gauges = gauges.clone();
        async move { gauges.read(&house).await }
    });
    let waiting = backlog::BacklogWatch::new(&house.registry)?;
    every(&jobs, house, Duration::from_secs(1), move |house| {
        let waiting = waiting.clone();
        async move { waiting.round(&house).await }
    });
    every(&jobs, house, Duration::from_secs(1), |house| async move { sweep::sweep(&house).await });
    every(&jobs, house, Duration::from_secs(1), |house| async move { credits::send(&house).await });
    money_jobs(&jobs, house, &writer);
    keys_jobs(&jobs, house, writer);
    every(&jobs, house, Duration::from_secs(3600), |house| async move { upkeep::partitions(&house).await });
    Ok(jobs)
}

/// What keeps keys usable without PostgreSQL, and revocations quick.
fn keys_jobs(jobs: &Jobs, house: &House, writer: ingest::Ingest) {
    every(jobs, house, Duration::from_millis(500), move |house| {
        let writer = writer.clone();
        async move { shelf::fill(&house, &writer).await }
    });
    every(jobs, house, Duration::from_millis(100), |house| async move { shelf::hear(&house).await });
    every(jobs, house, Duration::from_secs(5), |house| async move { shelf::carry(&house).await });
}

/// What follows payments: the provider's word, and whom the engine must freeze.
fn money_jobs(jobs: &Jobs, house: &House, writer: &ingest::Ingest) {
    every(jobs, house, Duration::from_secs(20), |house| async move { purchases::poll(&house).await });
    let sweep = Duration::from_secs(300);
    every(jobs, house, sweep, |house| async move { purchases::sweep_disputes(&house).await });
    let writer = writer.clone();
    every(jobs, house, Duration::from_secs(1), move |house| {
        let writer = writer.clone();
        async move { purchases::freeze(&house, &writer).await }
    });
}

/// A job over the house.
fn every<F, R>(jobs: &Jobs, house: &House, pause: Duration, round: F)
where
    F: Fn(House) -> R + Send + 'static,
    R: Future<Output = ()> + Send,
{
    let house = house.clone();
    jobs.every(pause, move || round(house.clone()));
}
