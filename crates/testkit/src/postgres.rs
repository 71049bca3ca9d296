//! A PostgreSQL for tests: the one that `FAREBOX_TEST_DATABASE_URL` names, else a private server in a
//! temporary directory on a free port, which ends with the process that started it.
//!
//! It makes no databases: tests that share a server make their own and drop them.

use crate::private::{Kind, Seat};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

pub use crate::private::Server;

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

const KIND: Kind = Kind {
    name: "PostgreSQL",
    variable: "FAREBOX_TEST_DATABASE_URL",
    tries: 3,
    waits: 1500,
    pause: Duration::from_millis(20),
    start,
};

/// The address of a PostgreSQL that this process's tests share, with a user who may create databases.
#[must_use]
pub fn url() -> String {
    static SHARED: OnceLock<Server> = OnceLock::new();
    KIND.shared(&SHARED)
}

/// A server for one test alone, with the superuser `farebox`. Takes a few seconds.
#[must_use]
pub fn private() -> Server {
    KIND.private()
}

fn start(kind: &Kind) -> anyhow::Result<Server> {
    let (binaries, seat) = (binaries()?, Seat::take("postgres")?);
    std::fs::write(seat.directory().join("password"), &seat.password)?;
    let mut keeper = Command::new("sh");
    keeper.args(["-c", KEEPER, "sh"]).args([binaries.as_path(), seat.directory()]).arg(seat.port.to_string());
    let url = format!("postgres://farebox:{}@127.0.0.1:{}/postgres", seat.password, seat.port);
    kind.keep(&seat, &mut keeper, url, || answers(&binaries, seat.port))
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
