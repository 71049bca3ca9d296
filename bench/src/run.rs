//! The whole comparison: starts everything, measures target after target in turns, and takes each figure from
//! the same run.

use crate::cpu::{self, Spent};
use crate::load::{self, Load, Measured, Pace, Target, Until};
use crate::report::Report;
use crate::stack::{Stack, Stores, plain};
use crate::time::now;
use crate::workload::Workload;
use anyhow::Context as _;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Repetitions; the targets take turns in each
    #[arg(long, default_value_t = 3)]
    pub repetitions: u32,
    /// Milliseconds of each closed-loop cell
    #[arg(long, default_value_t = 1500)]
    pub cell_ms: u64,
    /// Milliseconds of each open-loop cell
    #[arg(long, default_value_t = 3000)]
    pub open_ms: u64,
    /// Only these targets (direct, bare, paid, farebox)
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    #[arg(long, env = "FAREBOX_TEST_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    #[arg(long, env = "FAREBOX_TEST_REDIS_URL", hide_env_values = true)]
    pub redis_url: String,
}

/// A row of the plan: what is asked how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As fast as so many connections go; its CPU time is measured.
    Full(Workload, u32),
    /// So many requests a second; its latency is measured.
    Steady(Workload, u32),
}

/// Every cell that each target gets.
pub const KINDS: [Kind; 5] = [
    Kind::Full(Workload::Small, 64),
    Kind::Full(Workload::Stream, 16),
    Kind::Full(Workload::Large, 16),
    Kind::Steady(Workload::Small, 200),
    Kind::Steady(Workload::Paced, 20),
];

/// Who is measured.
#[derive(Debug, Clone)]
pub struct Contender {
    pub name: &'static str,
    pub target: Target,
    /// `None` without a gateway.
    pub pid: Option<u32>,
    /// KiB at rest after the first answers.
    pub resident: u64,
}

/// All repetitions of one cell of one contender.
#[derive(Debug)]
pub struct Cell {
    pub contender: &'static str,
    pub kind: Kind,
    pub measured: Measured,
    pub gateway: Spent,
    pub redis: Spent,
}

/// Runs everything and gives the report.
///
/// # Errors
/// When a process does not start or the load finds nobody.
pub fn all(options: &Options) -> anyhow::Result<Report> {
    let mut stack = Stack::new(pinnable())?;
    let report = with_stack(options, &mut stack);
    stack.stop();
    if report.is_ok() {
        // A run that failed leaves its logs behind.
        let _left = std::fs::remove_dir_all(&stack.folder);
    }
    report.with_context(|| format!("logs are in {}", stack.folder.display()))
}

/// Load on one target alone.
#[derive(Debug, Clone, clap::Args)]
pub struct Busy {
    #[arg(long, value_enum, default_value = "small")]
    pub workload: Workload,
    #[arg(long, default_value_t = 64)]
    pub connections: u32,
    /// Exactly so many requests, instead of --cell-ms
    #[arg(long)]
    pub requests: Option<u64>,
    /// Milliseconds between the pid and the load, in which a tracer can attach; the same again afterwards
    #[arg(long, default_value_t = 0)]
    pub pause_ms: u64,
    /// A command that the target is started under, e.g. "valgrind --tool=callgrind"
    #[arg(long)]
    pub under: Option<String>,
}

/// Starts one target (the product, or the one of --only) and keeps it under load, for a profiler or a count;
/// prints its process id first.
///
/// # Errors
/// As [`all`].
pub fn keep_busy(options: &Options, busy: &Busy) -> anyhow::Result<Measured> {
    let mut stack = Stack::new(pinnable())?;
    stack.under =
        busy.under.iter().flat_map(|command| command.split_whitespace()).map(str::to_owned).collect();
    let measured = (|| {
        let only = if options.only.is_empty() { vec!["farebox".to_owned()] } else { options.only.clone() };
        let contenders = contenders(&Options { only, ..options.clone() }, &mut stack)?;
        let contender = contenders.into_iter().next().context("--only names no target")?;
        say(&format!("pid {}", contender.pid.unwrap_or(0)))?;
        let pause = Duration::from_millis(busy.pause_ms);
        std::thread::sleep(pause);
        let until = match busy.requests {
            Some(most) => Until::Requests(most),
            None => Until::Elapsed(Duration::from_millis(options.cell_ms)),
        };
        let Busy { workload, connections, .. } = *busy;
        let load = Load { target: contender.target, workload, connections, pace: Pace::Closed, until };
        let measured = load::run(&load);
        std::thread::sleep(pause);
        measured
    })();
    stack.stop();
    measured.with_context(|| format!("logs are in {}", stack.folder.display()))
}

fn product(options: &Options, stack: &mut Stack, mock: SocketAddr) -> anyhow::Result<Contender> {
    let stores = Stores { database_url: options.database_url.clone(), redis_url: options.redis_url.clone() };
    let product = stack.product(&stores, mock)?;
    let mut contender =
        Contender { name: "farebox", target: product.target, pid: Some(product.pid), resident: 0 };
    warm_up(&mut contender)?;
    Ok(contender)
}

fn with_stack(options: &Options, stack: &mut Stack) -> anyhow::Result<Report> {
    let redis_pid = redis_pid(&options.redis_url)?;
    let contenders = contenders(options, stack)?;
    let mut cells: Vec<Cell> = Vec::new();
    let mut background = Background::default();
    for repetition in 0..options.repetitions {
        for kind in KINDS {
            for turn in 0..contenders.len() {
                // Each repetition begins with another contender, so that none always runs beside the same noise.
                let shifted = (turn + usize::try_from(repetition)?) % contenders.len();
                let Some(contender) = contenders.get(shifted) else { continue };
                let cell = measure(options, contender, kind, redis_pid, &mut background)?;
                match cells.iter_mut().find(|known| known.contender == cell.contender && known.kind == kind) {
                    None => cells.push(cell),
                    Some(known) => known.take_in(&cell)?,
                }
            }
        }
        say(&format!("repetition {} of {} done", repetition + 1, options.repetitions))?;
    }
    Ok(Report::new(cells, &contenders, background.per_answer()))
}

fn contenders(options: &Options, stack: &mut Stack) -> anyhow::Result<Vec<Contender>> {
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut contenders = Vec::new();
    let (mock, _) = stack.role("mock", false, &[])?;
    let upstream = mock.to_string();
    if wanted("direct") {
        contenders.push(Contender { name: "direct", target: plain(mock), pid: None, resident: 0 });
    }
    if wanted("bare") {
        let (address, pid) = stack.role("bare", true, &["--upstream", &upstream])?;
        contenders.push(Contender { name: "bare", target: plain(address), pid: Some(pid), resident: 0 });
    }
    if wanted("paid") {
        let arguments = ["--upstream", &upstream, "--redis-url", &options.redis_url];
        let (address, pid) = stack.role("paid", true, &arguments)?;
        contenders.push(Contender { name: "paid", target: plain(address), pid: Some(pid), resident: 0 });
    }
    for contender in &mut contenders {
        warm_up(contender)?;
    }
    if wanted("farebox") {
        contenders.push(product(options, stack, mock)?);
    }
    Ok(contenders)
}

/// Opens connections everywhere and loads what is loaded once.
fn warm_up(contender: &mut Contender) -> anyhow::Result<()> {
    for workload in [Workload::Small, Workload::Stream, Workload::Large] {
        let target = contender.target.clone();
        let until = Until::Requests(300);
        let warm = load::run(&Load { target, workload, connections: 16, pace: Pace::Closed, until })?;
        anyhow::ensure!(warm.failures == 0, "{}: {}", contender.name, warm.complaint.unwrap_or_default());
    }
    if let Some(pid) = contender.pid {
        contender.resident = cpu::resident(pid)?;
    }
    Ok(())
}

fn measure(
    options: &Options,
    contender: &Contender,
    kind: Kind,
    redis_pid: u32,
    background: &mut Background,
) -> anyhow::Result<Cell> {
    let (workload, connections, pace, milliseconds) = match kind {
        Kind::Full(workload, connections) => (workload, connections, Pace::Closed, options.cell_ms),
        Kind::Steady(workload, rate) => (workload, 64, Pace::Open(rate), options.open_ms),
    };
    let until = Until::Elapsed(Duration::from_millis(milliseconds));
    let before = sample(contender.pid, redis_pid)?;
    let load = Load { target: contender.target.clone(), workload, connections, pace, until };
    let measured = load::run(&load)?;
    if let Some(complaint) = &measured.complaint {
        say(&format!("{}, {kind:?}: {} failed: {complaint}", contender.name, measured.failures))?;
    }
    if contender.name == "farebox" {
        drain(&options.redis_url)?;
    }
    let after = sample(contender.pid, redis_pid)?;
    let (gateway, redis) = (after.0.since(before.0), after.1.since(before.1));
    if contender.name == "farebox" && matches!(kind, Kind::Full(..)) {
        background.add(measured.answers, gateway);
    }
    Ok(Cell { contender: contender.name, kind, measured, gateway, redis })
}

fn sample(gateway: Option<u32>, redis: u32) -> anyhow::Result<(Spent, Spent)> {
    Ok((gateway.map(cpu::spent).transpose()?.unwrap_or_default(), cpu::spent(redis)?))
}

impl Cell {
    fn take_in(&mut self, other: &Self) -> anyhow::Result<()> {
        self.gateway.add(other.gateway);
        self.redis.add(other.redis);
        self.measured.add(&other.measured)
    }
}

/// What the product's other threads did meanwhile: mostly writing the ledger.
#[derive(Debug, Default)]
struct Background {
    answers: u64,
    nanos: u64,
}

impl Background {
    fn add(&mut self, answers: u64, gateway: Spent) {
        self.answers += answers;
        self.nanos += gateway.process.saturating_sub(gateway.workers);
    }

    fn per_answer(&self) -> u64 {
        self.nanos / self.answers.max(1)
    }
}

/// Waits until the ledger has taken what was settled, so that its work counts to who caused it.
fn drain(redis_url: &str) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut connection = redis::Client::open(redis_url)?.get_connection()?;
    let outboxes: Vec<String> = redis::cmd("KEYS").arg("*:out").query(&mut connection)?;
    let begun = now();
    loop {
        let mut waiting = 0_u64;
        for outbox in &outboxes {
            waiting += redis::cmd("XLEN").arg(outbox).query::<u64>(&mut connection)?;
        }
        // The newest entry of each stream may stay as its mark.
        if waiting <= u64::try_from(outboxes.len())? {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "the ledger does not keep up: {waiting} entries wait");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn redis_pid(redis_url: &str) -> anyhow::Result<u32> {
    let mut connection = redis::Client::open(redis_url)?.get_connection()?;
    // As the product demands it of its operators; the scratch stores are without.
    redis::cmd("CONFIG").arg(&["SET", "appendonly", "yes"]).exec(&mut connection)?;
    let info: String = redis::cmd("INFO").arg("server").query(&mut connection)?;
    let line = info.lines().find_map(|line| line.strip_prefix("process_id:")).context("process_id")?;
    Ok(line.trim().parse()?)
}

/// Whether the measured process can have a core of its own.
fn pinnable() -> bool {
    cpu::cores() > 1 && Command::new("taskset").arg("-V").output().is_ok_and(|done| done.status.success())
}

/// Progress, for the person who waits.
///
/// # Errors
/// When standard error is closed.
pub fn say(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stderr().lock(), "{line}")?)
}
