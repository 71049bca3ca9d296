//! A stack: database, Redis, simulators and as many gateways as asked for, all of them this test's own.

use crate::customer::{Customer, Key};
use crate::postgres::Postgres;
use crate::process::{Process, free_port};
use crate::redis::Redis;
use crate::replicas::Replicas;
use crate::settings;
use crate::simulators::{Payments, Providers};
use crate::site::Site;
use crate::sql::Database;
use crate::wait::eventually;
use crate::wires::Wires;
use anyhow::Context as _;
use reqwest::Client;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

const READY: Duration = Duration::from_secs(60);
/// Starts tried: another process may take a free port before the gateway does.
const TRIES: u32 = 3;
/// Shards of the credit engine.
const SHARDS: u8 = 64;
const STRIPE_KEY: &str = "sk_test_e2e0123456789abcdef0123456789";
const STRIPE_WEBHOOK: &str = "whsec_e2e0123456789abcdef0123456789abcdef0123456789";

/// What a stack shall be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Processes of `farebox serve`.
    pub gateways: usize,
    pub hold_lifetime_seconds: u32,
    /// Further settings, `FAREBOX_…`.
    pub environment: Vec<(String, String)>,
    /// SQL that runs on the database before anything starts.
    pub sql_before_start: String,
    /// Redis has a replica, and the product reaches whoever is the primary.
    pub replicated: bool,
    /// A PostgreSQL of this stack alone, which may be stopped.
    pub own_postgres: bool,
    /// Gateways reach their stores and providers over wires that can be hurt.
    pub wires: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            gateways: 1,
            hold_lifetime_seconds: 120,
            environment: Vec::new(),
            sql_before_start: String::new(),
            own_postgres: false,
            wires: false,
            replicated: false,
        }
    }
}

/// One `farebox serve`.
#[derive(Debug)]
pub struct Gateway {
    pub process: Process,
    public: u16,
    staff: u16,
    metrics: u16,
    log: PathBuf,
}

impl Gateway {
    /// Site and API, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.public)
    }

    #[must_use]
    pub fn staff_url(&self) -> String {
        format!("http://localhost:{}", self.staff)
    }

    #[must_use]
    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.metrics)
    }

    /// `127.0.0.1:port`, for requests that no HTTP client would send.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.public)
    }
}

/// How a command of the binary ended.
#[derive(Debug, Clone)]
pub struct Ran {
    pub success: bool,
    /// Standard output and standard error.
    pub output: String,
}

/// Everything, running. Dropping it kills the processes and drops the database.
#[derive(Debug)]
pub struct Stack {
    // Processes come first: they end before what they use goes away.
    pub gateways: Vec<Gateway>,
    pub payments: Payments,
    pub providers: Providers,
    pub redis: Redis,
    /// With `Options::replicated`.
    pub replicas: Option<Replicas>,
    pub database: Database,
    postgres: Option<Postgres>,
    wires: Option<Wires>,
    pub http: Client,
    environment: BTreeMap<String, String>,
    folder: Folder,
    signed_up: AtomicU32,
}

/// A temporary folder that is removed with this value, unless the test failed.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }
}

impl Stack {
    /// Starts it all and waits until every gateway is ready.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let http = crate::http_client()?;
        let folder = folder()?;
        let (redis, replicas) = if options.replicated {
            let (redis, replicas) = Replicas::start(&folder.0).await?;
            (redis, Some(replicas))
        } else {
            (Redis::start(&folder.0).await?, None)
        };
        let redis_url = replicas.as_ref().map_or_else(|| redis.url(), Replicas::url);
        let base = secrets(redis_url);
        let postgres = if options.own_postgres { Some(Postgres::start(&folder.0).await?) } else { None };
        let server = postgres.as_ref().map_or_else(testkit::postgres::url, Postgres::url);
        let database = Database::create(server, |url| fill(base.clone(), url)).await?;
        if !options.sql_before_start.is_empty() {
            database.ask(&options.sql_before_start)?;
        }
        let providers = Providers::start(&folder.0, http.clone()).await?;
        let payments = Payments::start(&folder.0, [STRIPE_KEY, STRIPE_WEBHOOK], http.clone()).await?;
        let mut environment = base;
        environment.extend(named([
            ("FAREBOX_DATABASE_URL", database.url()?),
            ("FAREBOX_STRIPE_API_BASE", payments.url().to_owned()),
            ("FAREBOX_SIMULATOR_URL", providers.url().to_owned()),
            ("FAREBOX_HOLD_LIFETIME_SECONDS", options.hold_lifetime_seconds.to_string()),
            ("FAREBOX_JOURNAL_DIR", folder.0.join("journal").display().to_string()),
            ("FAREBOX_JOURNAL_SEGMENT_MIB", "1".to_owned()),
        ]));
        let wires = if options.wires { Some(Wires::over(&mut environment).await?) } else { None };
        environment.extend(options.environment);
        let signed_up = AtomicU32::new(0);
        let gateways = Vec::new();
        let mut stack = Self {
            gateways,
            payments,
            providers,
            redis,
            replicas,
            database,
            postgres,
            wires,
            http,
            environment,
            folder,
            signed_up,
        };
        for number in 0..options.gateways {
            let gateway = stack.launch(number).await?;
            stack.gateways.push(gateway);
        }
        if let Some(first) = stack.gateways.first() {
            stack.payments.send_events_to(&format!("{}/webhooks/stripe", first.url())).await?;
        }
        Ok(stack)
    }

    /// One gateway with default options.
    pub async fn one() -> anyhow::Result<Self> {
        Self::start(Options::default()).await
    }

    async fn launch(&self, number: usize) -> anyhow::Result<Gateway> {
        let mut fault = anyhow::anyhow!("not tried");
        for _ in 0..TRIES {
            let ports = [free_port()?, free_port()?, free_port()?];
            let log = self.folder.0.join(format!("gateway-{number}.log"));
            match self.serve(ports, log).await {
                Ok(gateway) => return Ok(gateway),
                Err(error) => fault = error,
            }
        }
        Err(fault)
    }

    /// Starts `farebox serve` on these ports and waits until it is ready.
    async fn serve(&self, ports: [u16; 3], log: PathBuf) -> anyhow::Result<Gateway> {
        let mut gateway = self.begin_serving(ports, log, &[])?;
        let alive = self
            .until_ready(&mut gateway)
            .await
            .with_context(|| gateway.process.log().unwrap_or_default())?;
        anyhow::ensure!(alive, "the gateway stopped: {}", gateway.process.log()?);
        Ok(gateway)
    }

    /// Waits until a process is ready; `false` when it ended before.
    async fn until_ready(&self, gateway: &mut Gateway) -> anyhow::Result<bool> {
        let ready = format!("http://127.0.0.1:{}/readyz", gateway.public);
        eventually(READY, "the gateway is ready", || {
            let (ended, asked) = (gateway.process.ended(), self.http.get(&ready).send());
            async move {
                if ended?.is_some() {
                    return Ok(Some(false));
                }
                Ok(asked.await.ok().filter(|answer| answer.status() == 200).map(|_ready| true))
            }
        })
        .await
    }

    fn begin_serving(&self, ports: [u16; 3], log: PathBuf, more: &[(&str, &str)]) -> anyhow::Result<Gateway> {
        let [public, staff, metrics] = ports;
        let mut environment = self.environment.clone();
        environment.extend(named([
            ("FAREBOX_PUBLIC_LISTEN", format!("127.0.0.1:{public}")),
            ("FAREBOX_STAFF_LISTEN", format!("127.0.0.1:{staff}")),
            ("FAREBOX_METRICS_LISTEN", format!("127.0.0.1:{metrics}")),
            ("FAREBOX_SITE_URL", format!("http://localhost:{public}")),
            ("FAREBOX_STAFF_URL", format!("http://localhost:{staff}")),
        ]));
        environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process = Process::start(&settings::farebox()?, &["serve"], &environment, log.clone())?;
        Ok(Gateway { process, public, staff, metrics, log })
    }

    /// `kill -9` of a gateway; its ports stay its own.
    pub fn kill_gateway(&mut self, number: usize) -> anyhow::Result<()> {
        self.gateways.get_mut(number).context("no such gateway")?.process.kill()
    }

    /// Starts a killed gateway again on its ports.
    pub async fn restart_gateway(&mut self, number: usize) -> anyhow::Result<()> {
        let old = self.gateways.get(number).context("no such gateway")?;
        let (ports, log) = ([old.public, old.staff, old.metrics], old.log.clone());
        let new = self.serve(ports, log).await?;
        *self.gateways.get_mut(number).context("no such gateway")? = new;
        Ok(())
    }

    /// Starts a gateway that is gone again on its ports, with further settings, and waits until it is ready;
    /// `false` when it ended before that.
    pub async fn start_gateway_with(&mut self, number: usize, more: &[(&str, &str)]) -> anyhow::Result<bool> {
        let old = self.gateways.get(number).context("no such gateway")?;
        let (ports, log) = ([old.public, old.staff, old.metrics], old.log.clone());
        let mut new = self.begin_serving(ports, log, more)?;
        let alive = self.until_ready(&mut new).await?;
        *self.gateways.get_mut(number).context("no such gateway")? = new;
        Ok(alive)
    }

    /// Waits until a gateway has ended by itself.
    pub async fn gateway_ends(&mut self, number: usize, within: Duration) -> anyhow::Result<()> {
        let process = &mut self.gateways.get_mut(number).context("no such gateway")?.process;
        eventually(within, "the gateway has ended", || {
            let ended = process.ended();
            async move { Ok(ended?.map(drop)) }
        })
        .await
    }

    /// Waits until nothing is on its way: no hold, nothing unbooked, no settlement unconfirmed, no journal
    /// whose process is gone.
    pub async fn at_rest(&self, within: Duration) -> anyhow::Result<()> {
        self.settled(within).await?;
        eventually(within, "the journals of the dead are done", || async {
            let mut journals = 0;
            for entry in std::fs::read_dir(self.folder.0.join("journal"))? {
                journals += usize::from(!entry?.file_name().to_string_lossy().starts_with('.'));
            }
            Ok((journals == self.gateways.len()).then_some(()))
        })
        .await?;
        eventually(within, "every settlement is confirmed", || async {
            Ok((self.metric("farebox_unconfirmed").await? == "0").then_some(()))
        })
        .await?;
        self.settled(within).await
    }

    pub fn gateway(&self, number: usize) -> anyhow::Result<&Gateway> {
        self.gateways.get(number).context("no such gateway")
    }

    /// The PostgreSQL of this stack alone.
    pub fn postgres(&mut self) -> anyhow::Result<&mut Postgres> {
        self.postgres.as_mut().context("this stack shares its PostgreSQL")
    }

    /// The wires of this stack.
    pub fn wires(&self) -> anyhow::Result<&Wires> {
        self.wires.as_ref().context("this stack has no wires")
    }

    /// Runs the binary against this stack.
    pub async fn farebox(&self, arguments: &[&str]) -> anyhow::Result<Ran> {
        run(arguments, &self.environment, "").await
    }

    /// Runs the binary and types something into it.
    pub async fn farebox_typing(&self, arguments: &[&str], input: &str) -> anyhow::Result<Ran> {
        run(arguments, &self.environment, input).await
    }

    /// Runs the binary without any setting: for what works offline.
    pub async fn farebox_bare(&self, arguments: &[&str]) -> anyhow::Result<Ran> {
        run(arguments, &BTreeMap::new(), "").await
    }

    /// Runs the binary with further settings.
    pub async fn farebox_with(&self, arguments: &[&str], more: &[(&str, &str)]) -> anyhow::Result<Ran> {
        let mut environment = self.environment.clone();
        environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        run(arguments, &environment, "").await
    }

    /// Proves the books: fails with the whole report when one invariant is broken.
    pub async fn verify(&self) -> anyhow::Result<()> {
        let ran = self.farebox(&["verify"]).await?;
        anyhow::ensure!(ran.success, "the books do not balance:\n{}", ran.output);
        Ok(())
    }

    /// Somebody new with an organization and no credits.
    pub async fn customer(&self) -> anyhow::Result<Customer> {
        let number = self.signed_up.fetch_add(1, Ordering::SeqCst);
        Customer::sign_up(self, &format!("customer-{number}@e2e.example")).await
    }

    /// Somebody new who bought credits, and a key without limits.
    pub async fn paying(&self, dollars: &str) -> anyhow::Result<(Customer, Key)> {
        let mut customer = self.customer().await?;
        customer.buy(self, dollars).await?;
        let key = customer.key(self, crate::KeyWish::default()).await?;
        Ok((customer, key))
    }

    /// The demo account with $25: its key and its management key.
    pub async fn demo(&self) -> anyhow::Result<(Customer, Key, Key)> {
        let ran = self.farebox(&["dev-seed"]).await?;
        anyhow::ensure!(ran.success, "dev-seed failed: {}", ran.output);
        let start = ran.output.find('{').context("dev-seed printed no JSON")?;
        let json = ran.output.get(start..).unwrap_or_default();
        let seeded: Value = serde_json::Deserializer::from_str(json)
            .into_iter()
            .next()
            .context("dev-seed printed no JSON")??;
        let text = |name: &str| crate::text_of(&seeded, name).to_owned();
        let mut site = Site::new(&self.gateway(0)?.url(), self.http.clone());
        let (email, password) = (text("/demo_email"), text("/demo_password"));
        let fields = [("email", email.as_str()), ("password", password.as_str())];
        let page = site.submit("/sign-in", "/sign-in", &fields).await?;
        anyhow::ensure!(page.location.is_some(), "the demo account cannot sign in: {}", page.status);
        let customer = Customer::known(self, &email, site)?;
        Ok((customer, self.key(0, &text("/demo_api_key"))?, self.key(0, &text("/demo_management_key"))?))
    }

    /// A key used at one of the gateways.
    pub fn key(&self, gateway: usize, secret: &str) -> anyhow::Result<Key> {
        Ok(Key::new(format!("{}/api/v1", self.gateway(gateway)?.url()), secret, self.http.clone()))
    }

    /// Adds a provider without credential, served by the simulator, with one model at these prices (dollars per
    /// million tokens). Gives the model's slug.
    pub async fn add_provider(&self, name: &str, prompt: &str, completion: &str) -> anyhow::Result<String> {
        let base = self.providers.local(name);
        let arguments = [
            "provider",
            "add",
            name,
            "--base-url",
            &base,
            "--model",
            "plain",
            "--price-prompt",
            prompt,
            "--price-completion",
            completion,
            "--context-length",
            "200000",
            "--max-completion-tokens",
            "100000",
        ];
        let ran = self.farebox(&arguments).await?;
        anyhow::ensure!(ran.success, "provider add: {}", ran.output);
        let model = format!("{name}/plain");
        for gateway in &self.gateways {
            let url = format!("{}/api/v1/models/{model}/endpoints", gateway.url());
            eventually(Duration::from_secs(10), "the new model is live", || async {
                Ok(self.http.get(&url).send().await.ok().filter(|answer| answer.status() == 200))
            })
            .await?;
        }
        Ok(model)
    }

    /// Waits until the engine has no hold and the ledger every settlement.
    pub async fn settled(&self, within: Duration) -> anyhow::Result<()> {
        eventually(within, "no hold is open and everything is booked", || async {
            Ok((self.open_holds()? == 0 && self.unbooked()? == 0).then_some(()))
        })
        .await
    }

    /// Holds that the engine knows at this moment.
    pub fn open_holds(&self) -> anyhow::Result<u64> {
        self.redis.sum((0..SHARDS).map(|shard| format!("ZCARD {{c{shard:02}}}:x")))
    }

    /// Closed holds that the ledger does not have yet.
    pub fn unbooked(&self) -> anyhow::Result<u64> {
        self.redis.sum((0..SHARDS).map(|shard| format!("XLEN {{c{shard:02}}}:out")))
    }

    /// The value of a metric without labels at the first gateway.
    pub async fn metric(&self, name: &str) -> anyhow::Result<String> {
        self.metric_of(0, name).await
    }

    /// The value of a metric without labels at a gateway.
    pub async fn metric_of(&self, gateway: usize, name: &str) -> anyhow::Result<String> {
        let text = self.http.get(self.gateway(gateway)?.metrics_url()).send().await?.text().await?;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        Ok(line.with_context(|| format!("no metric {name}"))?.to_owned())
    }
}

fn folder() -> anyhow::Result<Folder> {
    let port = free_port()?;
    let path = std::env::temp_dir().join(format!("farebox-e2e-{}-{port}", std::process::id()));
    std::fs::create_dir(&path)?;
    Ok(Folder(path))
}

fn named<const N: usize>(pairs: [(&str, String); N]) -> impl Iterator<Item = (String, String)> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value))
}

/// Settings that every process of a stack shares. The secrets are worth nothing.
fn secrets(redis_url: String) -> BTreeMap<String, String> {
    named([
        ("FAREBOX_MODE", "development".to_owned()),
        ("FAREBOX_REDIS_URL", redis_url),
        // A server that was killed here takes no more writes.
        ("FAREBOX_REDIS_FENCE_SECONDS", "0".to_owned()),
        ("FAREBOX_KEY_PEPPER", format!("v1:{}", "ab".repeat(32))),
        ("FAREBOX_SEAL_KEY", "cd".repeat(32)),
        ("FAREBOX_JWT_SEED", "ef".repeat(32)),
        ("FAREBOX_STRIPE_SECRET_KEY", STRIPE_KEY.to_owned()),
        ("FAREBOX_STRIPE_WEBHOOK_SECRET", STRIPE_WEBHOOK.to_owned()),
        ("FAREBOX_WORKERS", "2".to_owned()),
        ("FAREBOX_DATABASE_CONNECTIONS", "10".to_owned()),
        ("FAREBOX_DRAIN_SECONDS", "10".to_owned()),
    ])
    .collect()
}

/// Migrates and seeds an empty database.
async fn fill(mut environment: BTreeMap<String, String>, url: String) -> anyhow::Result<()> {
    environment.insert("FAREBOX_DATABASE_URL".to_owned(), url);
    for arguments in [["migrate"].as_slice(), &["catalog", "seed"]] {
        let ran = run(arguments, &environment, "").await?;
        anyhow::ensure!(ran.success, "farebox {arguments:?}: {}", ran.output);
    }
    Ok(())
}

async fn run(arguments: &[&str], environment: &BTreeMap<String, String>, input: &str) -> anyhow::Result<Ran> {
    let binary: &Path = &settings::farebox()?;
    let mut child = tokio::process::Command::new(binary)
        .args(arguments)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    // A command that reads nothing may have closed it.
    let _read = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let output_text = format!("{}{}", text(&output.stdout), text(&output.stderr));
    Ok(Ran { success: output.status.success(), output: output_text })
}
