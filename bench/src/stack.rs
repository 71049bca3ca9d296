//! The processes of a run: mock, floors, and the product with everything on. Each target runs on a core of its
//! own where the machine has more than one.

use crate::floors::paid;
use crate::http::Connection;
use crate::load::Target;
use crate::time::{now, stamp};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where the stores are.
#[derive(Debug, Clone)]
pub struct Stores {
    pub database_url: String,
    pub redis_url: String,
}

/// All processes of a run.
#[derive(Debug)]
pub struct Stack {
    children: Vec<(&'static str, Child)>,
    programs: PathBuf,
    /// Logs of the product, and what else a run leaves behind.
    pub folder: PathBuf,
    pinned: bool,
    /// What measured processes are started under; mostly nothing.
    pub under: Vec<String>,
}

/// The measured product.
#[derive(Debug, Clone)]
pub struct Product {
    pub target: Target,
    pub pid: u32,
}

const READY_WITHIN: Duration = Duration::from_secs(60);
const PEPPER: &str = "v1:00000000000000000000000000000000000000000000000000000000000000aa";
const STRIPE_KEY: &str = "sk_test_bench";
const WEBHOOK_SECRET: &str = "whsec_0000000000000000000000000000000000000000";

impl Stack {
    /// Programs are those beside this one.
    ///
    /// # Errors
    /// When the folder for logs cannot be made.
    pub fn new(pinned: bool) -> anyhow::Result<Self> {
        let programs = std::env::current_exe()?.parent().context("no folder")?.to_path_buf();
        let folder = std::env::temp_dir().join(format!("farebox-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self { children: Vec::new(), programs, folder, pinned, under: Vec::new() })
    }

    /// Ends everything, the youngest first.
    pub fn stop(&mut self) {
        for (_, child) in self.children.iter_mut().rev() {
            // What is already gone needs no ending.
            let _gone = child.kill();
            let _reaped = child.wait();
        }
        self.children.clear();
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.children.last().map(|(_, child)| child.id()).context("no process")
    }

    /// Starts a role of this program; it prints where it listens.
    ///
    /// # Errors
    /// When it does not start.
    pub fn role(
        &mut self,
        role: &'static str,
        measured: bool,
        arguments: &[&str],
    ) -> anyhow::Result<(SocketAddr, u32)> {
        let program = self.programs.join("farebox-bench");
        let mut command = self.command(&program, measured);
        let mut child = command.arg(role).args(arguments).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        self.children.push((role, child));
        let address = line.trim().parse().with_context(|| format!("{role} did not start: {line}"))?;
        Ok((address, self.pid()?))
    }

    /// Measured processes have the first core; everything else of the run was started on the others.
    fn command(&self, program: &Path, measured: bool) -> Command {
        let pin: &[&str] = if self.pinned { &["taskset", "-c", "0"] } else { &[] };
        let mut words = pin.iter().copied().chain(self.under.iter().map(String::as_str)).filter(|_| measured);
        let Some(first) = words.next() else { return Command::new(program) };
        let mut command = Command::new(first);
        command.args(words).arg(program);
        command
    }

    /// Migrates, fills the catalog, adds the mock as a provider, starts `serve`, buys credit, makes a key with a
    /// cap.
    ///
    /// # Errors
    /// When any of that fails; the logs are in [`Stack::folder`].
    pub fn product(&mut self, stores: &Stores, mock: SocketAddr) -> anyhow::Result<Product> {
        let ports = free_ports()?;
        let environment = environment(stores, &ports);
        let farebox = self.programs.join("farebox");
        self.act(&farebox, &environment, &["migrate"])?;
        self.act(&farebox, &environment, &["catalog", "seed"])?;
        let base_url = format!("http://{mock}/v1");
        let mut add = vec!["provider", "add", "bench", "--base-url", &base_url];
        for model in ["small", "stream", "large", "paced"] {
            add.extend(["--model", model]);
        }
        add.extend(["--price-prompt", "0.01", "--price-completion", "0.01", "--context-length", "1000000"]);
        self.act(&farebox, &environment, &add)?;
        self.payments(&ports)?;
        let log = std::fs::File::create(self.folder.join("farebox.log"))?;
        let mut command = self.command(&farebox, true);
        let child = command.arg("serve").env_clear().envs(environment.clone()).stderr(log).spawn()?;
        self.children.push(("farebox", child));
        let pid = self.pid()?;
        wait_until_ready(ports.public)?;
        let seeded = self.act(&farebox, &environment, &["dev-seed"])?;
        let seeded: Value = serde_json::from_str(&seeded).context("dev-seed")?;
        let manager =
            seeded.get("demo_management_key").and_then(Value::as_str).context("no management key")?;
        let key = capped_key(ports.public, manager)?;
        Ok(Product {
            target: Target { address: ports.public, path: "/api/v1/chat/completions".into(), key },
            pid,
        })
    }

    fn act(
        &self,
        farebox: &Path,
        environment: &[(String, String)],
        arguments: &[&str],
    ) -> anyhow::Result<String> {
        let done = Command::new(farebox).args(arguments).env_clear().envs(environment.to_vec()).output()?;
        let complaint = String::from_utf8_lossy(&done.stderr);
        anyhow::ensure!(done.status.success(), "farebox {arguments:?}: {complaint}");
        Ok(String::from_utf8(done.stdout)?)
    }

    fn payments(&mut self, ports: &Ports) -> anyhow::Result<()> {
        let mut command = Command::new(self.programs.join("farebox-simulators"));
        command.arg("payments").args(["--port", &ports.payments.port().to_string()]);
        command.args(["--public-url", &format!("http://{}", ports.payments)]);
        command.args(["--secret-key", STRIPE_KEY, "--webhook-secret", WEBHOOK_SECRET]);
        command.args(["--webhook-url", &format!("http://{}/webhooks/stripe", ports.public)]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        self.children.push(("payments", child));
        let (_, child) = self.children.last_mut().context("no process")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        anyhow::ensure!(line.starts_with("ready"), "the payments simulator did not start");
        Ok(())
    }
}

struct Ports {
    public: SocketAddr,
    staff: SocketAddr,
    metrics: SocketAddr,
    payments: SocketAddr,
}

/// Ports that were free a moment ago.
fn free_ports() -> anyhow::Result<Ports> {
    let listeners: Vec<TcpListener> =
        (0..4).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let mut addresses = listeners.iter().map(TcpListener::local_addr);
    let mut next = || anyhow::Ok(addresses.next().context("too few ports")??);
    Ok(Ports { public: next()?, staff: next()?, metrics: next()?, payments: next()? })
}

fn environment(stores: &Stores, ports: &Ports) -> Vec<(String, String)> {
    let secret = |digit: &str| digit.repeat(64);
    let pairs = [
        ("FAREBOX_MODE", "development".to_owned()),
        ("FAREBOX_WORKERS", "1".to_owned()),
        ("FAREBOX_LOG", "warn".to_owned()),
        ("FAREBOX_DATABASE_URL", stores.database_url.clone()),
        ("FAREBOX_REDIS_URL", stores.redis_url.clone()),
        ("FAREBOX_PUBLIC_LISTEN", ports.public.to_string()),
        ("FAREBOX_STAFF_LISTEN", ports.staff.to_string()),
        ("FAREBOX_METRICS_LISTEN", ports.metrics.to_string()),
        ("FAREBOX_SITE_URL", format!("http://{}", ports.public)),
        ("FAREBOX_STAFF_URL", format!("http://{}", ports.staff)),
        ("FAREBOX_KEY_PEPPER", PEPPER.to_owned()),
        ("FAREBOX_SEAL_KEY", secret("b")),
        ("FAREBOX_JWT_SEED", secret("c")),
        ("FAREBOX_STRIPE_SECRET_KEY", STRIPE_KEY.to_owned()),
        ("FAREBOX_STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
        ("FAREBOX_STRIPE_API_BASE", format!("http://{}", ports.payments)),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn wait_until_ready(public: SocketAddr) -> anyhow::Result<()> {
    let begun = now();
    loop {
        if call(public, "GET", "/readyz", "", "").is_ok_and(|(status, _)| status == 200) {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < READY_WITHIN, "farebox is not ready; its log tells why");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A key as a customer would make it, with a monthly cap, so that admission has a cap to check.
fn capped_key(public: SocketAddr, manager: &str) -> anyhow::Result<String> {
    let body =
        json!({ "name": format!("bench {}", stamp()), "limit": 20, "limit_reset": "monthly" }).to_string();
    let (status, answer) = call(public, "POST", "/api/v1/keys", manager, &body)?;
    let made: Value = serde_json::from_slice(&answer).context("the answer of POST /keys")?;
    let key = made.get("key").and_then(Value::as_str);
    Ok(key.with_context(|| format!("POST /keys answered {status}: {made}"))?.to_owned())
}

/// One request on a connection of its own.
fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    key: &str,
    body: &str,
) -> anyhow::Result<(u16, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = Connection::open(address).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let head = connection.read(|piece| answer.extend_from_slice(piece)).await?;
        Ok((head.context("no answer")?.status, answer))
    })
}

/// The target that needs no gateway, and the two floors, as the load generator sees them.
#[must_use]
pub fn plain(address: SocketAddr) -> Target {
    Target { address, path: "/v1/chat/completions".to_owned(), key: paid::KEY.to_owned() }
}
