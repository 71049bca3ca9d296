//! CPU time and memory of processes, from `/proc` (Linux only).

use anyhow::Context as _;
use std::path::Path;

/// `USER_HZ` of every Linux this runs on: ten milliseconds a tick.
const TICK_NANOS: u64 = 10_000_000;

/// Nanoseconds on a core, in user and kernel mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// `utime + stime` of the process.
    pub process: u64,
    /// Of the threads that carry requests (the web server's workers); to the nanosecond.
    pub workers: u64,
}

impl Spent {
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            process: self.process.saturating_sub(before.process),
            workers: self.workers.saturating_sub(before.workers),
        }
    }

    pub fn add(&mut self, other: Self) {
        self.process += other.process;
        self.workers += other.workers;
    }
}

/// What a process has used so far.
///
/// # Errors
/// When it is gone, or this is no Linux.
pub fn spent(pid: u32) -> anyhow::Result<Spent> {
    let stat = read(pid, "stat")?;
    let fields = stat.rsplit_once(')').context("/proc stat")?.1;
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Spent { process: ticks * TICK_NANOS, workers: workers(pid)? })
}

fn workers(pid: u32) -> anyhow::Result<u64> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let name = text(&task.join("comm"));
        if name.starts_with("actix-rt|") || name.starts_with("actix-server wo") {
            let nanos = text(&task.join("schedstat"));
            total += nanos.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(total)
}

/// A thread may end between being listed and being read; then it counts nothing more.
fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Resident memory in KiB.
///
/// # Errors
/// When the process is gone.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = read(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn read(pid: u32, what: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{what}");
    std::fs::read_to_string(&path).with_context(|| path)
}

/// Cores of the machine, whichever of them this process may use.
#[must_use]
pub fn cores() -> usize {
    std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default().matches("processor\t:").count().max(1)
}

/// The processor's name and the number of cores, for the report.
#[must_use]
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    format!("{}, {} cores", model.trim_start_matches([' ', '\t', ':']), cores())
}
