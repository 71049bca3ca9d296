//! A database of a stack's own: copied from a template that is migrated and seeded once per build, dropped at
//! the end. Asked through `psql`; the product's own store is not used.

use crate::settings;
use anyhow::Context as _;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

/// `pg_advisory_lock` key under which one process makes the template.
const TEMPLATE_LOCK: i64 = 7_309_460;

/// A database that is dropped with this value.
#[derive(Debug)]
pub struct Database {
    admin: String,
    name: String,
}

impl Database {
    /// Copies the template of this server; `fill` migrates and seeds a database of that address where there is
    /// none yet.
    pub(crate) async fn create<F, R>(admin: String, fill: F) -> anyhow::Result<Self>
    where
        F: FnOnce(String) -> R,
        R: Future<Output = anyhow::Result<()>>,
    {
        let template = template_name()?;
        {
            let _lock = Lock::take(&admin)?;
            let known = ask(&admin, &format!("SELECT 1 FROM pg_database WHERE datname = '{template}'"))?;
            if known.is_empty() {
                let draft = format!("{template}_draft");
                ask(&admin, &format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)"))?;
                ask(&admin, &format!("CREATE DATABASE {draft}"))?;
                fill(address(&admin, &draft)?).await?;
                ask(&admin, &format!("ALTER DATABASE {draft} RENAME TO {template}"))?;
            }
        }
        let name =
            format!("farebox_e2e_{:x}", fingerprint(&(std::process::id(), tokio::time::Instant::now())));
        ask(&admin, &format!("CREATE DATABASE {name} TEMPLATE {template}"))?;
        Ok(Self { admin, name })
    }

    /// For `FAREBOX_DATABASE_URL`.
    pub fn url(&self) -> anyhow::Result<String> {
        address(&self.admin, &self.name)
    }

    /// Runs SQL as the superuser: rows as lines, columns separated by `|`.
    pub fn ask(&self, sql: &str) -> anyhow::Result<String> {
        ask(&self.url()?, sql)
    }

    /// One whole number.
    pub fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let text = self.ask(sql)?;
        text.parse().with_context(|| format!("{sql}: {text:?} is no number"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _gone = ask(&self.admin, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// Another binary has another template.
fn template_name() -> anyhow::Result<String> {
    let binary = std::fs::metadata(settings::farebox()?)?;
    Ok(format!("farebox_e2e_template_{:x}", fingerprint(&(binary.len(), binary.modified()?))))
}

fn fingerprint(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The same server, another database.
fn address(admin: &str, database: &str) -> anyhow::Result<String> {
    let mut url = reqwest::Url::parse(admin).context("FAREBOX_TEST_DATABASE_URL")?;
    url.set_path(database);
    Ok(url.to_string())
}

fn psql(url: &str) -> Command {
    let mut command = Command::new(settings::psql());
    command.args(["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", url]);
    command
}

fn ask(url: &str, sql: &str) -> anyhow::Result<String> {
    let output = psql(url).args(["-c", sql]).output().context("psql could not be started")?;
    anyhow::ensure!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// An advisory lock, held by an open session.
struct Lock {
    session: Child,
    input: Option<ChildStdin>,
}

impl Lock {
    fn take(url: &str) -> anyhow::Result<Self> {
        let mut session = psql(url).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = session.stdin.take().context("psql without input")?;
        let output = session.stdout.take().context("psql without output")?;
        writeln!(input, "SELECT 'locked' FROM (SELECT pg_advisory_lock({TEMPLATE_LOCK})) AS taken;")?;
        let mut answer = String::new();
        BufReader::new(output).read_line(&mut answer)?;
        anyhow::ensure!(answer.trim() == "locked", "the template's lock was not taken: {answer:?}");
        Ok(Self { session, input: Some(input) })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The end of its input ends the session, and the session's end gives the lock back.
        drop(self.input.take());
        let _ended = self.session.wait();
    }
}
