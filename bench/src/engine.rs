//! The credit engine's functions alone, on a Redis of their own: what a reserve and a settle with three caps cost
//! its one thread, beside a function that does nothing and, where it is given, another library.
//!
//! Every subject gets a fresh `redis-server` with an append-only file, the same number of pairs and the same
//! arguments; they take turns. Nothing of the product is linked: the library is read from its file.

use crate::time::now;
use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The product's library
    #[arg(long, default_value = "crates/store-redis/src/lua/credit_v1.lua")]
    pub library: PathBuf,
    /// Another library with functions `cr1_reserve`, `cr1_settle`, `cr1_load` and `cr1_limit`
    #[arg(long)]
    pub prototype: Option<PathBuf>,
    /// Reserves and settles of a turn
    #[arg(long, default_value_t = 40_000)]
    pub pairs: u32,
    #[arg(long, default_value_t = 3)]
    pub turns: u32,
    /// Calls under way at once
    #[arg(long, default_value_t = 64)]
    pub window: u32,
    #[arg(long, default_value_t = 1000)]
    pub accounts: u32,
}

/// A library under measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Empty,
    Product,
    Prototype,
}

/// What a turn came to.
#[derive(Debug, Clone, Copy)]
struct Turn {
    subject: Subject,
    pairs_per_second: u64,
    p99_micros: u64,
    /// Nanoseconds of the Redis process for a pair.
    cpu: u64,
    /// Bytes of the append-only file for a pair.
    written: u64,
}

const TAG: &str = "{c00}";
const EMPTY: &str = "#!lua name=nothing\n\
    redis.register_function('fb1_reserve', function() return 'OK' end)\n\
    redis.register_function('fb1_settle', function() return 'OK' end)\n";
/// As large as the record of a short call.
const RECORD: usize = 600;
const MONEY: &str = "900000000000000";

/// All turns, and the medians of each subject as a table.
///
/// # Errors
/// When `redis-server` does not start or a library answers something else than OK.
pub fn measure(options: &Options) -> anyhow::Result<String> {
    let mut turns = Vec::new();
    for _ in 0..options.turns {
        turns.push(turn(options, Subject::Empty, EMPTY)?);
        if let Some(path) = &options.prototype {
            turns.push(turn(options, Subject::Prototype, &text(path)?)?);
        }
        turns.push(turn(options, Subject::Product, &text(&options.library)?)?);
    }
    let mut table = String::from(
        "| functions | pairs/s | p99 of a call, us | Redis CPU of a pair, us | AOF bytes of a pair |\n|---|--:|--:|--:|--:|\n",
    );
    for subject in [Subject::Empty, Subject::Prototype, Subject::Product] {
        let of = |value: fn(&Turn) -> u64| {
            let mut values: Vec<u64> =
                turns.iter().filter(|turn| turn.subject == subject).map(value).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied()
        };
        let Some(cpu) = of(|turn| turn.cpu) else { continue };
        let [rate, late, written] =
            [of(|turn| turn.pairs_per_second), of(|turn| turn.p99_micros), of(|turn| turn.written)]
                .map(Option::unwrap_or_default);
        let (whole, tenths) = (cpu / 1000, cpu % 1000 / 100);
        table += &format!("| {subject:?} | {rate} | {late} | {whole}.{tenths} | {written} |\n");
    }
    Ok(table)
}

fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn turn(options: &Options, subject: Subject, library: &str) -> anyhow::Result<Turn> {
    let mut server = Server::start()?;
    let measured = server.drive(options, subject, library);
    server.stop();
    measured
}

struct Server {
    child: Child,
    folder: PathBuf,
    stream: BufReader<TcpStream>,
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let folder = std::env::temp_dir().join(format!("farebox-bench-redis-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let number = port.to_string();
        let settings =
            ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--bind", "127.0.0.1"];
        let child = Command::new("redis-server")
            .args(["--port", &number, "--dir"])
            .arg(&folder)
            .args(settings)
            .stdout(Stdio::null())
            .spawn()
            .context("redis-server")?;
        for _ in 0..400 {
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                stream.set_nodelay(true)?;
                return Ok(Self { child, folder, stream: BufReader::new(stream) });
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        bail!("redis-server does not answer on port {port}")
    }

    fn stop(&mut self) {
        // What is already gone needs no ending.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        let _left = std::fs::remove_dir_all(&self.folder);
    }

    fn drive(&mut self, options: &Options, subject: Subject, library: &str) -> anyhow::Result<Turn> {
        self.ask(&command(&["FUNCTION", "LOAD", library]))?;
        for account in 0..options.accounts {
            for setup in prepare(subject, account) {
                self.ask(&setup)?;
            }
        }
        let mut late = Histogram::<u64>::new(3)?;
        self.pairs(options, subject, 0..options.window * 8, &mut late)?;
        let (mut late, before) = (Histogram::<u64>::new(3)?, self.state()?);
        let begun = now();
        let from = options.window * 8;
        self.pairs(options, subject, from..from + options.pairs, &mut late)?;
        let took = begun.elapsed();
        let after = self.state()?;
        let pairs = u64::from(options.pairs.max(1));
        let micros = u64::try_from(took.as_micros())?.max(1);
        Ok(Turn {
            subject,
            pairs_per_second: pairs * 1_000_000 / micros,
            p99_micros: late.value_at_quantile(0.99),
            cpu: (after.0 - before.0) * 1000 / pairs,
            written: (after.1 - before.1) / pairs,
        })
    }

    /// Reserves and then settles a window of calls at a time.
    fn pairs(
        &mut self,
        options: &Options,
        subject: Subject,
        calls: std::ops::Range<u32>,
        late: &mut Histogram<u64>,
    ) -> anyhow::Result<()> {
        let mut next = calls.start;
        while next < calls.end {
            let some = next..calls.end.min(next + options.window);
            for settle in [false, true] {
                let mut batch = Vec::new();
                for call in some.clone() {
                    batch.extend(act(subject, call, call % options.accounts, settle));
                }
                let sent = now();
                self.stream.get_mut().write_all(&batch)?;
                for _ in some.clone() {
                    self.answer()?;
                    late.record(u64::try_from(sent.elapsed().as_micros())?)?;
                }
            }
            next = some.end;
        }
        Ok(())
    }

    /// Microseconds of CPU so far, and bytes of the append-only file.
    fn state(&mut self) -> anyhow::Result<(u64, u64)> {
        let info = self.ask(&command(&["INFO", "everything"]))?;
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).with_context(|| format!("INFO without {name}"))
        };
        let mut micros = 0;
        for name in ["used_cpu_user:", "used_cpu_sys:"] {
            let (seconds, rest) = field(name)?.split_once('.').context("seconds")?;
            micros += seconds.parse::<u64>()? * 1_000_000 + rest.parse::<u64>()?;
        }
        Ok((micros, field("aof_current_size:")?.parse()?))
    }

    fn ask(&mut self, command: &[u8]) -> anyhow::Result<String> {
        self.stream.get_mut().write_all(command)?;
        self.answer()
    }

    /// The text of an answer; of an array its first element.
    fn answer(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let (kind, rest) = line.trim_end().split_at_checked(1).context("an empty answer")?;
        match kind {
            "+" | ":" => Ok(rest.to_owned()),
            "$" => {
                let mut text = vec![0; rest.parse::<usize>().unwrap_or_default() + 2];
                self.stream.read_exact(&mut text)?;
                Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
            }
            "*" => {
                let mut all = Vec::new();
                for _ in 0..rest.parse::<usize>()? {
                    all.push(self.answer()?);
                }
                all.into_iter().next().context("an empty array")
            }
            _ => bail!("Redis says {line}"),
        }
        .and_then(|text| {
            let word = text.split('|').next().unwrap_or_default();
            let refused =
                ["BADARG", "MISSING", "STALE", "NOEPOCH", "FUNDS", "CAP", "NOHOLD", "INSUFFICIENT", "LIMIT"];
            if refused.contains(&word) { bail!("the library says {text}") } else { Ok(text) }
        })
    }
}

/// A command as Redis reads it.
fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend(word.bytes());
        bytes.extend(b"\r\n");
    }
    bytes
}

fn caps_of(account: u32) -> [String; 3] {
    ["k", "m", "o"].map(|kind| format!("{kind}:{account:032x}"))
}

/// What makes an account with three caps known.
fn prepare(subject: Subject, account: u32) -> Vec<Vec<u8>> {
    let (id, caps) = (format!("{account:032x}"), caps_of(account));
    match subject {
        Subject::Empty => Vec::new(),
        Subject::Product => {
            let mut load = vec![
                "FCALL", "fb1_load", "1", TAG, "1", &id, MONEY, "0", "0", "0", "0", "r", "1", "0", "0", "0",
                "0", "3",
            ];
            for (cap, period) in caps.iter().zip(["d", "w", "m"]) {
                load.extend([cap.as_str(), MONEY, period, "0", "0"]);
            }
            vec![command(&["FCALL", "fb1_open", "1", TAG, "1"]), command(&load)]
        }
        Subject::Prototype => {
            let mut all = vec![
                command(&["HSET", "{c00}:ep", "epoch", "1", "sealed", "0"]),
                command(&["FCALL", "cr1_load", "1", TAG, "1", &id, MONEY, "0", "0", "0"]),
            ];
            for (cap, period) in caps.iter().zip(["d", "w", "m"]) {
                all.push(command(&["FCALL", "cr1_limit", "1", TAG, "1", cap, MONEY, period]));
            }
            all
        }
    }
}

/// A reserve or a settle as the product sends it.
fn act(subject: Subject, call: u32, account: u32, settle: bool) -> Vec<u8> {
    let generation = format!("{call:032x}");
    let (id, hold, caps) = (format!("{account:032x}"), format!("{generation}:1"), caps_of(account));
    let (record, owner) = ("r".repeat(RECORD), "o".repeat(120));
    let mut words = match (subject, settle) {
        (Subject::Prototype, false) => {
            vec!["FCALL", "cr1_reserve", "1", TAG, "1", &generation, &id, "1234567", "120000", "gateway", "0"]
        }
        (Subject::Prototype, true) => {
            vec!["FCALL", "cr1_settle", "1", TAG, "1", &generation, "765432", &record]
        }
        (_, false) => {
            vec![
                "FCALL",
                "fb1_reserve",
                "1",
                TAG,
                "1",
                &hold,
                &id,
                "1234567",
                "1234567",
                "120000",
                "c",
                &owner,
            ]
        }
        (_, true) => vec!["FCALL", "fb1_settle", "1", TAG, "1", &hold, &id, "765432", "765432", &record],
    };
    if !settle {
        words.extend(caps.iter().map(String::as_str));
    }
    command(&words)
}
