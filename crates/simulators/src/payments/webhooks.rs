//! Delivers events to the webhook address, signed, with retries, and with the disorder a script asks for.
//! What happened is decided elsewhere; here it only travels.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use kernel::clock::Clock;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::RetryPolicy;
use super::signature;

/// Batches that may wait for delivery; more are recorded as not delivered.
const QUEUE: usize = 1_024;
/// Events under way at once.
const MOST_UNDER_WAY: usize = 64;
const MOST_RECORDED: usize = 5_000;
/// A receiver that takes longer has failed, as with the real service.
const RECEIVER_TIMEOUT: Duration = Duration::from_secs(20);

/// How events travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    #[default]
    Normal,
    /// Every event arrives twice.
    Duplicate,
    /// Every event waits first.
    Delayed,
    /// The events of one act arrive last first.
    Reordered,
    /// Nothing is sent.
    Dropped,
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    pub(crate) delay: Duration,
    pub(crate) url: Option<String>,
    pub(crate) secret: String,
    retry: RetryPolicy,
}

impl Settings {
    pub(crate) fn new(url: Option<String>, secret: String, retry: RetryPolicy) -> Self {
        Self { mode: Mode::Normal, delay: Duration::ZERO, url, secret, retry }
    }
}

/// One attempt, or the reason why there was none.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Delivery {
    pub(crate) event: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) url: Option<String>,
    /// 1 for the first.
    pub(crate) attempt: u32,
    /// RFC 3339.
    pub(crate) at: String,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) delivered: bool,
}

struct Batch {
    events: Vec<Value>,
    settings: Settings,
}

/// The way out for events.
pub(crate) struct Webhooks {
    settings: Mutex<Settings>,
    queue: mpsc::Sender<Batch>,
    courier: Arc<Courier>,
}

/// What the delivering tasks share.
struct Courier {
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    recorded: Mutex<VecDeque<Delivery>>,
    changed: watch::Sender<u64>,
}

impl Webhooks {
    /// Starts the delivering task on the current runtime; it ends when the returned value is dropped.
    pub(crate) fn start(settings: Settings, clock: Arc<dyn Clock>, tasks: &TaskTracker) -> io::Result<Self> {
        // Another part of the process may have chosen already; any choice serves.
        let _chosen_before = rustls::crypto::ring::default_provider().install_default().is_err();
        let client = reqwest::Client::builder()
            .timeout(RECEIVER_TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(io::Error::other)?;
        let courier =
            Arc::new(Courier { client, clock, recorded: Mutex::default(), changed: watch::Sender::new(0) });
        let (queue, batches) = mpsc::channel(QUEUE);
        tasks.spawn(deliver_all(courier.clone(), batches));
        Ok(Self { settings: Mutex::new(settings), queue, courier })
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings.lock().clone()
    }

    pub(crate) fn configure(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings.lock());
    }

    /// Sends the events of one act.
    pub(crate) fn send(&self, events: Vec<Value>) {
        self.send_with(events, self.settings());
    }

    /// Sends one event again, whatever the mode.
    pub(crate) fn send_again(&self, event: Value) {
        self.send_with(vec![event], Settings { mode: Mode::Normal, ..self.settings() });
    }

    fn send_with(&self, events: Vec<Value>, settings: Settings) {
        let refused = match (settings.mode, &settings.url) {
            (Mode::Dropped, _) => Some("dropped by the simulator's mode"),
            (_, None) => Some("no webhook address configured"),
            _ => None,
        };
        if let Some(reason) = refused {
            events.iter().for_each(|event| self.courier.record_unsent(event, reason));
            return;
        }
        if let Err(error) = self.queue.try_send(Batch { events, settings }) {
            let batch = match error {
                mpsc::error::TrySendError::Full(batch) | mpsc::error::TrySendError::Closed(batch) => batch,
            };
            batch.events.iter().for_each(|event| self.courier.record_unsent(event, "delivery queue is full"));
        }
    }

    /// Attempts so far, newest first.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.courier.recorded.lock().iter().rev().cloned().collect()
    }

    /// Changes with each recorded attempt.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.courier.changed.subscribe()
    }
}

/// Takes batch after batch. The first attempts of a batch happen in its order; what fails is tried again
/// beside the others, so that one bad event holds up nobody.
async fn deliver_all(courier: Arc<Courier>, mut batches: mpsc::Receiver<Batch>) {
    let mut retries = JoinSet::new();
    while let Some(batch) = batches.recv().await {
        let Batch { mut events, settings } = batch;
        match settings.mode {
            Mode::Reordered => events.reverse(),
            Mode::Duplicate => events = events.into_iter().flat_map(|event| [event.clone(), event]).collect(),
            Mode::Delayed => {
                while retries.len() >= MOST_UNDER_WAY {
                    retries.join_next().await;
                }
                retries.spawn(deliver_late(courier.clone(), events, settings));
                continue;
            }
            Mode::Normal | Mode::Dropped => {}
        }
        for event in events {
            if !courier.attempt(&event, &settings, 1).await {
                while retries.len() >= MOST_UNDER_WAY {
                    retries.join_next().await;
                }
                retries.spawn(retry(courier.clone(), event, settings.clone()));
            }
        }
        while retries.try_join_next().is_some() {}
    }
}

async fn deliver_late(courier: Arc<Courier>, events: Vec<Value>, settings: Settings) {
    tokio::time::sleep(settings.delay).await;
    for event in events {
        if !courier.attempt(&event, &settings, 1).await {
            retry(courier.clone(), event, settings.clone()).await;
        }
    }
}

/// All attempts after the first.
async fn retry(courier: Arc<Courier>, event: Value, settings: Settings) {
    let mut pause = settings.retry.first;
    for attempt in 2..=settings.retry.attempts {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(settings.retry.longest);
        if courier.attempt(&event, &settings, attempt).await {
            return;
        }
    }
}

impl Courier {
    /// One attempt; true when the receiver took the event.
    async fn attempt(&self, event: &Value, settings: &Settings, attempt: u32) -> bool {
        let now = self.clock.now();
        // The real service sends indented JSON; receivers must verify the bytes, not a parsed copy.
        let body = serde_json::to_string_pretty(event).unwrap_or_default();
        let url = settings.url.clone().unwrap_or_default();
        let signed = signature::header(&settings.secret, now.timestamp(), &body).unwrap_or_default();
        let sent = self
            .client
            .post(&url)
            .header("content-type", "application/json; charset=utf-8")
            .header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
            .header("stripe-signature", signed)
            .body(body)
            .send()
            .await;
        let (status, error) = match sent {
            Ok(response) => (Some(response.status()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let delivered = status.is_some_and(|status| status.is_success());
        let status = status.map(|status| status.as_u16());
        self.record(Delivery { url: Some(url), attempt, status, error, delivered, ..self.blank(event) });
        delivered
    }

    fn record_unsent(&self, event: &Value, reason: &str) {
        self.record(Delivery { error: Some(reason.to_owned()), ..self.blank(event) });
    }

    fn blank(&self, event: &Value) -> Delivery {
        let text = |name| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Delivery {
            event: text("id"),
            kind: text("type"),
            url: None,
            attempt: 0,
            at: self.clock.now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            status: None,
            error: None,
            delivered: false,
        }
    }

    fn record(&self, delivery: Delivery) {
        let mut recorded = self.recorded.lock();
        recorded.push_back(delivery);
        if recorded.len() > MOST_RECORDED {
            recorded.pop_front();
        }
        drop(recorded);
        self.changed.send_modify(|count| *count += 1);
    }
}
