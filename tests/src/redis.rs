//! A Redis of a stack's own, with an append-only file as in production. It can be killed and started again on
//! the same data.

use crate::process::{Process, free_port};
use crate::settings;
use crate::wait::eventually;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const START: Duration = Duration::from_secs(20);
const PASSWORD: &str = "e2e-redis";

/// The server and its data.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: u16,
    folder: PathBuf,
}

impl Redis {
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let data = folder.join("redis");
        std::fs::create_dir_all(&data)?;
        let port = free_port()?;
        let redis = Self { process: launch(&data, port)?, port, folder: data };
        redis.wait().await?;
        Ok(redis)
    }

    /// For `FAREBOX_REDIS_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://default:{PASSWORD}@127.0.0.1:{}/0", self.port)
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Stops it from answering, and lets it go on.
    pub fn freeze(&self, frozen: bool) -> anyhow::Result<()> {
        self.process.signal(if frozen { "STOP" } else { "CONT" })
    }

    /// `kill -9`, and everything it has kept is gone: data and functions.
    pub fn wipe(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        std::fs::remove_dir_all(self.folder.join("appendonlydir"))?;
        Ok(())
    }

    /// Starts it again on the same port and data.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process = launch(&self.folder, self.port)?;
        self.wait().await
    }

    async fn wait(&self) -> anyhow::Result<()> {
        eventually(START, "Redis answers", || async {
            Ok(self.run(&["PING"]).ok().filter(|answer| answer.trim() == "PONG"))
        })
        .await?;
        Ok(())
    }

    /// `redis-cli`, told where this Redis is.
    #[must_use]
    pub fn client(&self) -> Command {
        let mut client = Command::new(settings::redis_cli());
        client.args(["--no-auth-warning", "-u", &self.url()]);
        client
    }

    /// The answer of one command as `redis-cli` prints it.
    pub fn run(&self, command: &[&str]) -> anyhow::Result<String> {
        let output = self.client().args(command).output().context("redis-cli could not be started")?;
        anyhow::ensure!(output.status.success(), "redis-cli: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The sum of what many commands count, asked over one connection.
    pub(crate) fn sum(&self, commands: impl Iterator<Item = String>) -> anyhow::Result<u64> {
        let mut session = self
            .client()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("redis-cli could not be started")?;
        let commands: String = commands.map(|command| format!("{command}\n")).collect();
        session.stdin.take().context("redis-cli without input")?.write_all(commands.as_bytes())?;
        let output = session.wait_with_output()?;
        let text = String::from_utf8(output.stdout)?;
        let mut sum = 0;
        for line in text.lines() {
            sum += line.trim().parse::<u64>().with_context(|| format!("redis-cli answered {line:?}"))?;
        }
        Ok(sum)
    }
}

fn launch(folder: &Path, port: u16) -> anyhow::Result<Process> {
    let data = folder.display().to_string();
    let port = port.to_string();
    let arguments = [
        "--bind",
        "127.0.0.1",
        "--port",
        &port,
        "--requirepass",
        PASSWORD,
        "--dir",
        &data,
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
        "--maxmemory-policy",
        "noeviction",
    ];
    Process::start(&settings::redis_server(), &arguments, &BTreeMap::new(), folder.join("redis.log"))
}
