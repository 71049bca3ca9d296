//! A PostgreSQL for tests: the one that `FAREBOX_TEST_DATABASE_URL` names, else a private server in a
//! temporary directory on a free port, which ends with the process that started it.
//!
//! It makes no databases: tests that share a server make their own and drop them.

use kernel::Entropy as _;
use kernel::rng::SystemEntropy;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// Ports tried; another process may take a free port before the server does.
const TRIES: u32 = 3;
/// Waits for the server's first answer, of 20 ms each.
const WAITS: u32 = 1500;
/// The oldest version that the schema promises to work with.
const OLDEST: u32 = 15;
/// Makes a cluster as an unprivileged user, runs it, and removes it when the pipe from the test closes.
const KEEPER: &str = r#"
exec 3<&0
as=""
if [ "$(id -u)" = 0 ]; then
  user=postgres
  id "$user" >/dev/null 2>&1 || user=nobody
  chown -R "$user" "$2"
  as="setpriv --reuid=$(id -u "$user") --regid=$(id -g "$user") --clear-groups"
fi
cd "$2" || exit 1
$as "$1/initdb" -D "$2/data" -U farebox -A scram-sha-256 --pwfile="$2/password" -E UTF8 --locale=C --no-sync \
  </dev/null >"$2/log" 2>&1 || exit 1
$as "$1/postgres" -D "$2/data" -p "$3" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off \
  -c synchronous_commit=off -c full_page_writes=off -c max_connections=200 </dev/null >>"$2/log" 2>&1 &
server=$!
read -r _ <&3
kill -INT "$server"
wait "$server"
cd /
rm -rf "$2"
"#;

/// A private server with the superuser `farebox`. It ends when this value is dropped, or with the process.
#[derive(Debug)]
pub struct Server {
    url: String,
    /// Holds the pipe whose closing ends the server.
    _keeper: Child,
}

impl Server {
    /// Of the database `postgres`, with a user who may create databases.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The address of a PostgreSQL that this process's tests share, with a user who may create databases.
#[must_use]
pub fn url() -> String {
    static SHARED: OnceLock<Server> = OnceLock::new();
    named_by_environment().unwrap_or_else(|| SHARED.get_or_init(private).url.clone())
}

/// A server for one test alone. Takes a few seconds.
#[must_use]
#[expect(clippy::panic, reason = "a test without its store cannot go on")]
pub fn private() -> Server {
    let mut last = String::new();
    for _ in 0..TRIES {
        match start() {
            Ok(server) => return server,
            Err(fault) => last = format!("{fault:#}"),
        }
    }
    panic!("PostgreSQL did not start: {last}")
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration but this")]
fn named_by_environment() -> Option<String> {
    std::env::var("FAREBOX_TEST_DATABASE_URL").ok().filter(|url| !url.is_empty())
}

fn start() -> anyhow::Result<Server> {
    let binaries = binaries()?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let password = format!("{:016x}{:016x}", SystemEntropy.next_u64(), SystemEntropy.next_u64());
    let directory = std::env::temp_dir().join(format!("farebox-postgres-{:016x}", SystemEntropy.next_u64()));
    std::fs::create_dir(&directory)?;
    std::fs::write(directory.join("password"), &password)?;
    let keeper = Command::new("sh")
        .args(["-c", KEEPER, "sh"])
        .args([&binaries, &directory])
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    for _ in 0..WAITS {
        if answers(&binaries, port) {
            let url = format!("postgres://farebox:{password}@127.0.0.1:{port}/postgres");
            return Ok(Server { url, _keeper: keeper });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    anyhow::bail!("no answer on port {port}; see {}", directory.display())
}

fn answers(binaries: &Path, port: u16) -> bool {
    let asked = Command::new(binaries.join("pg_isready"))
        .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
        .stdin(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

/// The folder of the newest installed server: Debian's, Homebrew's, or the one of `pg_config`.
///
/// # Errors
/// None is installed.
pub fn binaries() -> anyhow::Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (folder, mark) in [("/usr/lib/postgresql", ""), ("/opt/homebrew/opt", "postgresql@")] {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let version = name.strip_prefix(mark).and_then(|version| version.parse().ok());
            let path = entry.path().join("bin");
            if let Some(version) = version.filter(|_| path.join("initdb").exists()) {
                found.push((version, path));
            }
        }
    }
    if let Some((_, path)) = found.into_iter().filter(|(version, _)| *version >= OLDEST).max() {
        return Ok(path);
    }
    let asked = Command::new("pg_config").arg("--bindir").output();
    let named = asked.ok().map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    named.filter(|path| path.join("initdb").exists()).ok_or_else(|| {
        anyhow::anyhow!("PostgreSQL {OLDEST} or newer is not installed; set FAREBOX_TEST_DATABASE_URL")
    })
}
