//! A Redis for tests: the one that `FAREBOX_TEST_REDIS_URL` names, else a private `redis-server` in a
//! temporary directory on a free port, which ends with the process that started it.
//!
//! Tests share a server: use accounts of your own, and [`private`] where epochs or the process matter.

use kernel::Entropy as _;
use kernel::rng::SystemEntropy;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// Ports tried; another process may take a free port before the server does.
const TRIES: u32 = 5;
/// Waits for the server's first answer, of 5 ms each.
const WAITS: u32 = 1000;
/// Ends the server and removes its directory when the pipe from the test process closes.
const KEEPER: &str = r#"
exec 3<&0
redis-server --port "$1" --bind 127.0.0.1 --requirepass "$2" --dir "$3" --save "" --appendonly no \
  --maxmemory-policy noeviction </dev/null >"$3/log" 2>&1 &
server=$!
read -r _ <&3
kill "$server"
wait "$server"
rm -rf "$3"
"#;

/// A private server. It ends when this value is dropped, or with the process.
#[derive(Debug)]
pub struct Server {
    url: String,
    /// Holds the pipe whose closing ends the server.
    _keeper: Child,
}

impl Server {
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The address of a Redis that this process's tests share.
#[must_use]
pub fn url() -> String {
    static SHARED: OnceLock<Server> = OnceLock::new();
    named_by_environment().unwrap_or_else(|| SHARED.get_or_init(private).url.clone())
}

/// A server for one test alone.
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
    panic!("redis-server did not start: {last}")
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration but this")]
fn named_by_environment() -> Option<String> {
    std::env::var("FAREBOX_TEST_REDIS_URL").ok().filter(|url| !url.is_empty())
}

fn start() -> anyhow::Result<Server> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    // The password is what proves that the answer comes from the server just started.
    let password = format!("{:016x}{:016x}", SystemEntropy.next_u64(), SystemEntropy.next_u64());
    let directory = std::env::temp_dir().join(format!("farebox-redis-{password}"));
    std::fs::create_dir(&directory)?;
    let keeper = Command::new("sh")
        .args(["-c", KEEPER, "sh", &port.to_string(), &password])
        .arg(&directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    for _ in 0..WAITS {
        if answers(port, &password) {
            return Ok(Server { url: format!("redis://:{password}@127.0.0.1:{port}/"), _keeper: keeper });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    anyhow::bail!("no answer on port {port}; see {}", directory.display())
}

fn answers(port: u16, password: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let mut answer = [0; 5];
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.write_all(format!("AUTH {password}\r\n").as_bytes()).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == *b"+OK\r\n"
}
