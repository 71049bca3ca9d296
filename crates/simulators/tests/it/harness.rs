//! What the tests share: started simulators, an HTTP client, a webhook receiver.

use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use parking_lot::Mutex;
use serde_json::{Value, json};
use simulators::{Payments, PaymentsConfig, Providers, ProvidersConfig, RetryPolicy};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

pub(crate) const SECRET: &str = "whsec_test_secret";
pub(crate) const KEY: &str = "sk_test_key";
/// Longer than anything here takes; only a failing test waits that long.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn client() -> reqwest::Client {
    let _chosen_before = rustls::crypto::ring::default_provider().install_default().is_err();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(LIMIT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// A provider simulator and a client for it.
pub(crate) struct Models {
    pub(crate) simulator: Providers,
    pub(crate) client: reqwest::Client,
}

impl Models {
    pub(crate) fn start() -> Self {
        let config = ProvidersConfig { workers: 1, ..ProvidersConfig::default() };
        Self { simulator: Providers::start(config).unwrap(), client: client() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.simulator.url())
    }

    /// Posts a chat completion for provider `acme` with fields added to a simple request.
    pub(crate) async fn chat(&self, extra: Value) -> reqwest::Response {
        let mut body = json!({"model": "sim-1", "messages": [{"role": "user", "content": "Hello there"}]});
        merge(&mut body, extra);
        let request =
            self.client.post(self.url("/acme/v1/chat/completions")).bearer_auth("sk-one").json(&body);
        request.send().await.unwrap()
    }

    /// Posts a message for provider `ant` with fields added to a simple request.
    pub(crate) async fn message(&self, extra: Value) -> reqwest::Response {
        let content = json!([{"role": "user", "content": "Hello there"}]);
        let mut body = json!({"model": "sim-1", "max_tokens": 500, "messages": content});
        merge(&mut body, extra);
        let request = self.client.post(self.url("/ant/v1/messages")).header("x-api-key", "k");
        request.header("anthropic-version", "2023-06-01").json(&body).send().await.unwrap()
    }

    /// The newest journal entries of a provider, once all of them have ended.
    pub(crate) async fn ended(&self, provider: &str) -> Vec<Value> {
        let url = self.url(&format!("/_control/requests?provider={provider}&wait_ms=9000"));
        let body: Value = self.client.get(url).send().await.unwrap().json().await.unwrap();
        body["requests"].as_array().unwrap().clone()
    }
}

pub(crate) fn merge(body: &mut Value, extra: Value) {
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
}

/// A message list whose only message carries a script.
pub(crate) fn scripted(script: Value) -> Value {
    json!([{"role": "user", "content": format!("Hello there [[sim {script}]]")}])
}

/// The `data:` lines of a stream, parsed; `[DONE]` as text.
pub(crate) fn events(stream: &str) -> Vec<Value> {
    let lines = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}

/// A payment simulator and a client for it.
pub(crate) struct Shop {
    pub(crate) simulator: Payments,
    pub(crate) client: reqwest::Client,
}

impl Shop {
    pub(crate) fn start(change: impl FnOnce(&mut PaymentsConfig)) -> Self {
        let mut config = PaymentsConfig {
            webhook_secret: SECRET.to_owned(),
            secret_key: KEY.to_owned(),
            retry: RetryPolicy { attempts: 5, first: Duration::ZERO, longest: Duration::ZERO },
            ..PaymentsConfig::default()
        };
        change(&mut config);
        Self { simulator: Payments::start(config).unwrap(), client: client() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.simulator.url())
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.client.get(self.url(path)).bearer_auth(KEY).send().await.unwrap().json().await.unwrap()
    }

    /// Posts a form; gives status and body.
    pub(crate) async fn post(&self, path: &str, form: &str, key: Option<&str>) -> (u16, Value) {
        let mut request = self.client.post(self.url(path)).bearer_auth(KEY).body(form.to_owned());
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// A new open session over $10.80; gives its object.
    pub(crate) async fn session(&self) -> Value {
        let (status, session) = self.post("/v1/checkout/sessions", &session_form(), None).await;
        assert_eq!(status, 200, "{session}");
        session
    }

    pub(crate) async fn control(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        let request = self.client.request(method, self.url(path)).json(&body);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Types of all events so far, oldest first.
    pub(crate) async fn event_types(&self) -> Vec<String> {
        let list = self.get("/v1/events?limit=100").await;
        let types =
            list["data"].as_array().unwrap().iter().rev().map(|event| event["type"].as_str().unwrap());
        types.map(str::to_owned).collect()
    }
}

pub(crate) fn session_form() -> String {
    [
        "mode=payment",
        "success_url=http://shop.test/ok?s={CHECKOUT_SESSION_ID}",
        "cancel_url=http://shop.test/no",
        "client_reference_id=org_1",
        "metadata[purchase]=pur_1",
        "payment_intent_data[metadata][purchase]=pur_1",
        "line_items[0][quantity]=1",
        "line_items[0][price_data][currency]=usd",
        "line_items[0][price_data][unit_amount]=1000",
        "line_items[0][price_data][product_data][name]=Credits",
        "line_items[1][quantity]=1",
        "line_items[1][price_data][currency]=usd",
        "line_items[1][price_data][unit_amount]=80",
        "line_items[1][price_data][product_data][name]=Fee",
    ]
    .join("&")
}

/// What a webhook receiver got.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) signature: String,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn kind(&self) -> String {
        let event: Value = serde_json::from_str(&self.body).unwrap();
        event["type"].as_str().unwrap().to_owned()
    }
}

/// A webhook receiver that takes every event, or refuses some first.
pub(crate) struct Receiver {
    pub(crate) url: String,
    received: mpsc::Receiver<Received>,
}

struct Inbox {
    /// How many events are still refused, and of which type.
    refusals: Mutex<usize>,
    refused_type: &'static str,
    out: mpsc::Sender<Received>,
}

async fn receive(inbox: web::Data<Inbox>, request: HttpRequest, body: String) -> HttpResponse {
    let signature = request.headers().get("stripe-signature").unwrap().to_str().unwrap().to_owned();
    let received = Received { signature, body };
    let refused = received.kind().contains(inbox.refused_type) && {
        let mut left = inbox.refusals.lock();
        let refused = *left > 0;
        *left = left.saturating_sub(1);
        refused
    };
    inbox.out.send(received).await.unwrap();
    if refused { HttpResponse::InternalServerError().finish() } else { HttpResponse::Ok().finish() }
}

impl Receiver {
    pub(crate) fn start() -> Self {
        Self::refusing(0, "")
    }

    /// Answers 500 to the first `refusals` events whose type contains `refused_type`.
    pub(crate) fn refusing(refusals: usize, refused_type: &'static str) -> Self {
        let (out, received) = mpsc::channel(100);
        let inbox = web::Data::new(Inbox { refusals: Mutex::new(refusals), refused_type, out });
        let server = HttpServer::new(move || {
            App::new().app_data(inbox.clone()).route("/hook", web::post().to(receive))
        });
        let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/hook", server.addrs()[0]);
        TaskTracker::new().spawn(server.run());
        Self { url, received }
    }

    pub(crate) async fn next(&mut self) -> Received {
        tokio::time::timeout(LIMIT, self.received.recv()).await.expect("a webhook arrives").unwrap()
    }

    /// Types of the next `count` events.
    pub(crate) async fn next_types(&mut self, count: usize) -> Vec<String> {
        let mut types = Vec::new();
        for _ in 0..count {
            types.push(self.next().await.kind());
        }
        types
    }
}
