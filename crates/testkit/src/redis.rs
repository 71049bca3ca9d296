//! A Redis for tests: the one that `FAREBOX_TEST_REDIS_URL` names, else a private `redis-server` in a
//! temporary directory on a free port, which ends with the process that started it.
//!
//! Tests share a server: use accounts of your own, and [`private`] where epochs or the process matter.

use crate::private::{Kind, Seat};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

pub use crate::private::Server;

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

const KIND: Kind = Kind {
    name: "redis-server",
    variable: "FAREBOX_TEST_REDIS_URL",
    tries: 5,
    waits: 1000,
    pause: Duration::from_millis(5),
    start,
};

/// The address of a Redis that this process's tests share.
#[must_use]
pub fn url() -> String {
    static SHARED: OnceLock<Server> = OnceLock::new();
    KIND.shared(&SHARED)
}

/// A server for one test alone.
#[must_use]
pub fn private() -> Server {
    KIND.private()
}

fn start(kind: &Kind) -> anyhow::Result<Server> {
    let seat = Seat::take("redis")?;
    let mut keeper = Command::new("sh");
    keeper.args(["-c", KEEPER, "sh", &seat.port.to_string(), &seat.password]).arg(seat.directory());
    let url = format!("redis://:{}@127.0.0.1:{}/", seat.password, seat.port);
    kind.keep(&seat, &mut keeper, url, || answers(seat.port, &seat.password))
}

fn answers(port: u16, password: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let mut answer = [0; 5];
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.write_all(format!("AUTH {password}\r\n").as_bytes()).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == *b"+OK\r\n"
}
