//! A Redis of a stack's own, with an append-only file as in production. It can be killed and started again on
//! the same data.

use crate::process::{Process, free_port};
use crate::settings;
use crate::wait::eventually;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
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
    settings: &'static [&'static str],
}

impl Redis {
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        Self::start_with(&folder.join("redis"), &[]).await
    }

    /// With data in this folder and further settings.
    pub(crate) async fn start_with(folder: &Path, settings: &'static [&'static str]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (folder, port) = (folder.to_owned(), free_port()?);
        let redis = Self { process: launch(&folder, port, settings)?, port, folder, settings };
        redis.wait().await?;
        Ok(redis)
    }

    /// For `FAREBOX_REDIS_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        Self::url_at(self.address())
    }

    /// The same behind another address.
    pub(crate) fn url_at(address: SocketAddr) -> String {
        format!("redis://default:{PASSWORD}@{address}/0")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Becomes the replica of whoever answers there, and waits until it has everything.
    pub(crate) async fn follow(&self, primary: SocketAddr) -> anyhow::Result<()> {
        self.run(&["CONFIG", "SET", "masterauth", PASSWORD])?;
        self.run(&["REPLICAOF", &primary.ip().to_string(), &primary.port().to_string()])?;
        eventually(START, "the replica has everything", || async {
            Ok(self.run(&["INFO", "replication"])?.contains("master_link_status:up").then_some(()))
        })
        .await
    }

    /// Becomes a primary with what it has.
    pub(crate) fn promote(&self) -> anyhow::Result<()> {
        self.run(&["REPLICAOF", "NO", "ONE"]).map(|_done| ())
    }

    pub(crate) async fn has_replicas(&self, count: u32) -> anyhow::Result<()> {
        let line = format!("min_slaves_good_slaves:{count}");
        eventually(START, "the primary has its replica", || async {
            Ok(self.run(&["INFO", "replication"])?.contains(&line).then_some(()))
        })
        .await
    }

    /// Settlements of a shard that this server has ever taken: entries added to its outbox.
    pub fn settlements(&self, shard: i64) -> anyhow::Result<u64> {
        let info = self.run(&["XINFO", "STREAM", &format!("{{c{shard:02}}}:out")])?;
        let mut lines = info.lines().skip_while(|line| line.trim() != "entries-added");
        // A server that has not heard of the stream yet has none.
        lines.nth(1).map_or(Ok(0), |count| Ok(count.trim().parse()?))
    }

    /// `kill -9` and the data with it; then a new, empty process on the same port.
    pub async fn replace_by_empty(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        std::fs::remove_dir_all(&self.folder)?;
        std::fs::create_dir_all(&self.folder)?;
        self.restart().await
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
        self.process = launch(&self.folder, self.port, self.settings)?;
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
        // Entries of a stream are packed; what a test looks for in an answer is text.
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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

fn launch(folder: &Path, port: u16, settings: &[&str]) -> anyhow::Result<Process> {
    let data = folder.display().to_string();
    let port = port.to_string();
    let mut arguments = vec![
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
    arguments.extend_from_slice(settings);
    Process::start(&crate::settings::redis_server(), &arguments, &BTreeMap::new(), folder.join("redis.log"))
}
