//! A PostgreSQL of a stack's own, which a test may stop, start again on the same data, and restart in its ways.
//!
//! Commits are waited for as in production; only the disk's flush is left out, since no test takes the power away.

use crate::process::{Process, free_port};
use crate::settings;
use crate::wait::eventually;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);
const PASSWORD: &str = "e2e-postgres";

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Sessions are ended, what was committed is written.
    Fast,
    /// At once, as after a crash: the next start recovers.
    Immediate,
}

/// The server and its data.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    binaries: PathBuf,
    port: u16,
    folder: PathBuf,
}

impl Postgres {
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let (binaries, folder) = (settings::postgres_binaries()?, folder.join("postgres"));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("password"), PASSWORD)?;
        if let Some(user) = unprivileged()? {
            run(Command::new("chown").args(["-R", &user]).arg(&folder), "chown")?;
        }
        let (program, mut arguments) = as_user(&binaries.join("initdb"))?;
        let [data, password] = [folder.join("data"), folder.join("password")];
        let (data, password) = (data.display().to_string(), format!("--pwfile={}", password.display()));
        let more = ["-D", &data, "-U", "farebox", "-A", "scram-sha-256", &password];
        arguments.extend(more.map(str::to_owned));
        arguments.extend(["-E", "UTF8", "--locale=C", "--no-sync"].map(str::to_owned));
        run(Command::new(program).args(arguments).current_dir(&folder).stdout(Stdio::null()), "initdb")?;
        let mut postgres = Self { process: None, binaries, port: free_port()?, folder };
        postgres.launch().await?;
        Ok(postgres)
    }

    /// Of the database `postgres`, with a user who may create databases.
    pub(crate) fn url(&self) -> String {
        format!("postgres://farebox:{PASSWORD}@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it and waits until it is gone.
    pub async fn stop(&mut self, how: Shutdown) -> anyhow::Result<()> {
        let mut process = self.process.take().context("it is stopped already")?;
        process.signal(match how {
            Shutdown::Fast => "INT",
            Shutdown::Immediate => "QUIT",
        })?;
        eventually(STOP, "PostgreSQL has ended", || {
            let ended = process.ended();
            async move { ended }
        })
        .await?;
        Ok(())
    }

    /// Starts it on its port and data, and waits until it answers.
    pub async fn launch(&mut self) -> anyhow::Result<()> {
        let (program, mut arguments) = as_user(&self.binaries.join("postgres"))?;
        arguments.extend(["-D".to_owned(), self.folder.join("data").display().to_string()]);
        arguments.extend(["-p".to_owned(), self.port.to_string()]);
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "max_connections=200",
            "timezone=UTC",
        ];
        arguments.extend(settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let log = self.folder.join("postgres.log");
        self.process = Some(Process::start(&program, &arguments, &BTreeMap::new(), log)?);
        let (asker, port) = (self.binaries.join("pg_isready"), self.port.to_string());
        eventually(START, "PostgreSQL answers", || async {
            let asked = Command::new(&asker)
                .args(["-q", "-h", "127.0.0.1", "-p", &port])
                .stdin(Stdio::null())
                .status()?;
            Ok(asked.success().then_some(()))
        })
        .await
    }
}

/// The user and group under which a server runs that refuses to be root; `None` where we are not.
fn unprivileged() -> anyhow::Result<Option<String>> {
    let number = |arguments: &[&str]| -> anyhow::Result<Option<String>> {
        let output = Command::new("id").args(arguments).stderr(Stdio::null()).output()?;
        Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    };
    if number(&["-u"])?.as_deref() != Some("0") {
        return Ok(None);
    }
    let name = if number(&["-u", "postgres"])?.is_some() { "postgres" } else { "nobody" };
    let (user, group) = (number(&["-u", name])?, number(&["-g", name])?);
    Ok(user.zip(group).map(|(user, group)| format!("{user}:{group}")))
}

/// The program and its first arguments, under that user. The kernel forgets whom to die with when the user
/// changes, so it is told again.
fn as_user(program: &Path) -> anyhow::Result<(PathBuf, Vec<String>)> {
    let Some(user) = unprivileged()? else { return Ok((program.to_owned(), Vec::new())) };
    let (user, group) = user.split_once(':').context("no user")?;
    let arguments = [
        "--pdeathsig".to_owned(),
        "KILL".to_owned(),
        format!("--reuid={user}"),
        format!("--regid={group}"),
        "--clear-groups".to_owned(),
        "--".to_owned(),
        program.display().to_string(),
    ];
    Ok((PathBuf::from("/usr/bin/setpriv"), arguments.into()))
}

fn run(command: &mut Command, what: &str) -> anyhow::Result<()> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("{what} cannot be started"))?;
    anyhow::ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
