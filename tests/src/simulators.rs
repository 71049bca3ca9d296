//! The simulated model providers and card processor as processes, and their control routes.

use crate::process::Process;
use crate::settings;
use crate::wait::eventually;
use anyhow::Context as _;
use reqwest::Client;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const START: Duration = Duration::from_secs(20);

/// Starts one role on a free port and waits for the port file, which appears when it listens.
async fn launch(folder: &Path, role: &str, more: &[&str]) -> anyhow::Result<(Process, String)> {
    let port_file = folder.join(format!("{role}.port"));
    let shown = port_file.display().to_string();
    let mut arguments = vec![role, "--port", "0", "--port-file", &shown];
    arguments.extend_from_slice(more);
    let log = folder.join(format!("{role}.log"));
    let mut process = Process::start(&settings::simulators()?, &arguments, &BTreeMap::new(), log)?;
    let port = eventually(START, "the simulator listens", || {
        let ended = process.ended();
        let port = std::fs::read_to_string(&port_file).ok();
        async move {
            anyhow::ensure!(ended?.is_none(), "the simulator stopped");
            Ok(port)
        }
    })
    .await?;
    Ok((process, format!("http://127.0.0.1:{port}")))
}

/// The simulated model providers.
#[derive(Debug)]
pub struct Providers {
    _process: Process,
    url: String,
    http: Client,
}

impl Providers {
    pub(crate) async fn start(folder: &Path, http: Client) -> anyhow::Result<Self> {
        let (process, url) = launch(folder, "providers", &[]).await?;
        Ok(Self { _process: process, url, http })
    }

    /// Without a trailing slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The base address of a provider that needs no credential, for `farebox provider add`.
    #[must_use]
    pub fn local(&self, name: &str) -> String {
        format!("{}/local-{name}/v1", self.url)
    }

    /// Adds a rule: `{"provider", "model", "key", "script", "times"}`, all but `script` optional.
    pub async fn script(&self, rule: Value) -> anyhow::Result<()> {
        let sent = self.http.put(format!("{}/_control/script", self.url)).json(&rule).send().await?;
        anyhow::ensure!(sent.status().is_success(), "script refused: {}", sent.text().await?);
        Ok(())
    }

    /// Forgets all rules.
    pub async fn clear_scripts(&self) -> anyhow::Result<()> {
        let sent = self.http.delete(format!("{}/_control/script", self.url)).send().await?;
        anyhow::ensure!(sent.status().is_success(), "scripts were not cleared");
        Ok(())
    }

    /// Entries of the journal, newest first; `query` is that of `GET /_control/requests`.
    pub async fn requests(&self, query: &str) -> anyhow::Result<Vec<Value>> {
        let answer = self.http.get(format!("{}/_control/requests?{query}", self.url)).send().await?;
        let body: Value = answer.json().await?;
        Ok(body.pointer("/requests").and_then(Value::as_array).context("no journal")?.clone())
    }

    /// `{open_streams, open_connections, total_connections, total_requests}`.
    pub async fn counts(&self) -> anyhow::Result<Value> {
        Ok(self.http.get(format!("{}/_control/connections", self.url)).send().await?.json().await?)
    }
}

/// The simulated card processor.
#[derive(Debug)]
pub struct Payments {
    _process: Process,
    url: String,
    http: Client,
}

impl Payments {
    pub(crate) async fn start(folder: &Path, secrets: [&str; 2], http: Client) -> anyhow::Result<Self> {
        let [key, webhook] = secrets;
        // A webhook needs an address from the start; the real one is told when the gateway has its port.
        let more = ["--secret-key", key, "--webhook-secret", webhook, "--webhook-url", "http://127.0.0.1:9/"];
        let (process, url) = launch(folder, "payments", &more).await?;
        Ok(Self { _process: process, url, http })
    }

    /// Without a trailing slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where events are sent from now on.
    pub async fn send_events_to(&self, url: &str) -> anyhow::Result<()> {
        self.webhooks(json!({ "url": url })).await
    }

    /// Changes how webhooks behave: `{mode?, delay_ms?, url?, secret?}`.
    pub async fn webhooks(&self, change: Value) -> anyhow::Result<()> {
        let sent = self.http.put(format!("{}/_control/webhooks", self.url)).json(&change).send().await?;
        anyhow::ensure!(sent.status().is_success(), "webhooks: {}", sent.text().await?);
        Ok(())
    }

    /// What the hosted page's pay button does.
    pub async fn pay(&self, session: &str) -> anyhow::Result<()> {
        let sent = self.http.post(format!("{}/_control/pay/{session}", self.url)).send().await?;
        let status = sent.status();
        anyhow::ensure!(status.is_success() || status.is_redirection(), "paying was refused: {status}");
        Ok(())
    }

    /// A control route, `POST`; what it answers.
    pub async fn control(&self, path: &str) -> anyhow::Result<Value> {
        let sent = self.http.post(format!("{}/_control/{path}", self.url)).send().await?;
        let status = sent.status();
        let body = sent.text().await?;
        anyhow::ensure!(status.is_success(), "{path}: {status} {body}");
        Ok(serde_json::from_str(&body)?)
    }
}
