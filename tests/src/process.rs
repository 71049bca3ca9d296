//! One process of a stack: started with an environment of its own and a log file, killed when dropped, and by
//! the kernel should the test itself be killed.

use anyhow::Context as _;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Lines of a log that a failing test shows.
const SHOWN: usize = 25;

/// A port that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with nothing of our own environment but the search path: a developer's provider keys
    /// must not make providers real.
    ///
    /// Call it on the test's own thread: where the system can, the kernel kills the child with that thread.
    pub(crate) fn start(
        program: &Path,
        arguments: &[&str],
        environment: &BTreeMap<String, String>,
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let output = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let mut command = with_parent(program);
        let child = command
            .args(arguments)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{} could not be started", program.display()))?;
        Ok(Self { child, log })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        let _status = self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.signal("TERM")
    }

    /// A signal by its name, e.g. `STOP`, without waiting.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status()?;
        anyhow::ensure!(sent.success(), "the process is gone already");
        Ok(())
    }

    /// For reading what the system knows of it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has said so far.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    fn show(&self) {
        let log = self.log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.iter().skip(lines.len().saturating_sub(SHOWN));
        let mut out = std::io::stderr().lock();
        let _shown = writeln!(out, "--- last lines of {}", self.log.display());
        for line in tail {
            let _shown = writeln!(out, "{}", line.chars().take(600).collect::<String>());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.kill();
        if std::thread::panicking() {
            self.show();
        }
    }
}

/// The program, killed by the kernel with the thread that starts it (Linux).
fn with_parent(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.exists() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}
