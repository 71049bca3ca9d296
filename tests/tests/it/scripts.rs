//! Runs the client and browser scripts against a stack, with what they read in the environment and in a JSON file
//! of the shape of `.farebox/dev.json`.

use anyhow::Context as _;
use e2e::{Key, Stack, text_of};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::{Child, Command};

/// A script that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(240);

/// The scripts of one test.
pub(crate) struct Scripts {
    file: PathBuf,
    variables: Vec<(String, String)>,
}

impl Drop for Scripts {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.file);
    }
}

impl Scripts {
    /// Makes the demo account and tells the scripts about everything that runs.
    pub(crate) async fn of(stack: &Stack) -> anyhow::Result<Self> {
        let first = stack.gateway(0)?;
        let mut told = seeded(stack).await?;
        told["site_url"] = json!(first.url());
        told["base_url"] = json!(format!("{}/api/v1", first.url()));
        told["staff_url"] = json!(first.staff_url());
        told["base_urls"] = stack.gateways.iter().map(|one| json!(format!("{}/api/v1", one.url()))).collect();
        told["simulator_url"] = json!(stack.providers.url());
        told["payments_url"] = json!(stack.payments.url());
        Self::telling(&told)
    }

    /// Only simulators run.
    pub(crate) fn of_simulators(stack: &Stack) -> anyhow::Result<Self> {
        Self::telling(&json!({ "simulator_url": stack.providers.url() }))
    }

    fn telling(stack: &Value) -> anyhow::Result<Self> {
        let unique = text_of(stack, "/simulator_url").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let file = std::env::temp_dir().join(format!("farebox-scripts-{}-{unique}.json", std::process::id()));
        std::fs::write(&file, stack.to_string())?;
        Ok(Self { file, variables: Vec::new() })
    }

    /// A further variable for the scripts.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) async fn python(&self, script: &str) -> anyhow::Result<()> {
        self.run(Command::new(python()), &folder("clients").join(script)).await
    }

    pub(crate) async fn node(&self, script: &str) -> anyhow::Result<()> {
        self.run(Command::new(node()), &folder("clients").join(script)).await
    }

    pub(crate) async fn browser(&self, script: &str) -> anyhow::Result<()> {
        self.run(Command::new(node()), &folder("browser").join(script)).await
    }

    /// Runs a script to its end and prints what it said, which is shown when the test fails.
    async fn run(&self, mut command: Command, script: &Path) -> anyhow::Result<()> {
        let chromium = variable("FAREBOX_CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
        let simulators =
            variable("FAREBOX_SIMULATORS_BIN").map_or_else(|| built("farebox-simulators"), Ok)?;
        command
            .arg(script)
            .envs(self.variables.iter().cloned())
            .env("FAREBOX_STACK", &self.file)
            .env("FAREBOX_CHROMIUM", chromium)
            .env("FAREBOX_PYTHON", python())
            .env("FAREBOX_SIMULATORS_BIN", simulators)
            .kill_on_drop(true);
        let name = script.file_name().unwrap_or_default().display().to_string();
        let ended = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = ended.with_context(|| format!("{name} hangs"))?.with_context(|| name.clone())?;
        println!("--- {name}\n{}", String::from_utf8_lossy(&output.stdout));
        println!("{}", String::from_utf8_lossy(&output.stderr));
        anyhow::ensure!(output.status.success(), "{name} failed");
        Ok(())
    }
}

/// Starts npm's aimock on a port, with our fixtures. Dropping it ends it.
pub(crate) fn aimock(port: u16) -> anyhow::Result<Child> {
    let clients = folder("clients");
    Command::new(node())
        .arg(clients.join("node_modules/@copilotkit/aimock/dist/cli.js"))
        .args(["--port", &port.to_string(), "--log-level", "silent", "--fixtures"])
        .arg(clients.join("aimock.json"))
        .kill_on_drop(true)
        .spawn()
        .context("aimock could not be started")
}

/// A key of somebody who bought nothing.
pub(crate) async fn empty_key(stack: &Stack) -> anyhow::Result<Key> {
    let mut customer = stack.customer().await?;
    customer.key(stack, e2e::KeyWish::default()).await
}

/// What `farebox dev-seed` prints: addresses, passwords and keys of the demo account and of staff.
async fn seeded(stack: &Stack) -> anyhow::Result<Value> {
    let ran = stack.farebox(&["dev-seed"]).await?;
    anyhow::ensure!(ran.success, "dev-seed failed: {}", ran.output);
    let start = ran.output.find('{').context("dev-seed printed no JSON")?;
    let json = ran.output.get(start..).unwrap_or_default();
    let first = serde_json::Deserializer::from_str(json).into_iter().next();
    Ok(first.context("dev-seed printed no JSON")??)
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The environment that `./dev test` makes, also without being told of it.
fn python() -> PathBuf {
    variable("FAREBOX_PYTHON").unwrap_or_else(|| folder("../.farebox/venv/bin/python"))
}

fn node() -> PathBuf {
    variable("FAREBOX_NODE").unwrap_or_else(|| "node".into())
}

/// A binary beside this test's own folder.
fn built(name: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let built = here.ancestors().nth(2).map(|folder| folder.join(name)).filter(|path| path.exists());
    built.with_context(|| format!("{name} is not built"))
}
