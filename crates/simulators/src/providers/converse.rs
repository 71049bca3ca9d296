//! The routes that model clients call, and the one way every conversation goes: read, find the script,
//! wait, refuse or answer. Wire formats and faults are decided elsewhere.

use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Desk;
use super::answer::{self, Answer};
use super::anthropic::Anthropic;
use super::ask::Ask;
use super::fault::Fault;
use super::journal::{Arrival, Exchange, Finished};
use super::openai::OpenAi;
use super::plan::{self, Breakage};
use super::play;
use super::rules::Caller;
use super::script::{self, Script};
use super::wire::{Reply, Wire};

/// Request headers the journal keeps.
const KEPT_HEADERS: [&str; 14] = [
    "accept",
    "accept-encoding",
    "anthropic-beta",
    "anthropic-version",
    "content-type",
    "http-referer",
    "idempotency-key",
    "openai-organization",
    "openai-project",
    "traceparent",
    "user-agent",
    "x-request-id",
    "x-title",
    "via",
];
/// Providers of these names run on the customer's own machines and ask for no credential.
const LOCAL_PROVIDERS: [&str; 4] = ["ollama", "vllm", "llamacpp", "local"];
/// Names that `/v1/models` lists; any other name is answered too.
const MODELS: [&str; 4] = ["sim-small", "sim-large", "sim-reasoner", "sim-vision"];
/// The provider of routes without a provider in the path.
const DEFAULT_PROVIDER: &str = "default";

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    for prefix in ["", "/{provider}"] {
        config
            .route(&format!("{prefix}/v1/chat/completions"), web::post().to(chat_completions))
            .route(&format!("{prefix}/v1/messages"), web::post().to(messages))
            .route(&format!("{prefix}/v1/messages/count_tokens"), web::post().to(count_tokens))
            .route(&format!("{prefix}/v1/models"), web::get().to(models));
    }
}

async fn chat_completions(desk: web::Data<Desk>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    converse(&OpenAi, &desk, &request, &body).await
}

async fn messages(desk: web::Data<Desk>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    converse(&Anthropic, &desk, &request, &body).await
}

async fn count_tokens(body: web::Bytes) -> HttpResponse {
    let mut body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("max_tokens".to_owned(), json!(1));
    }
    match Anthropic.read(&body) {
        Ok(ask) => HttpResponse::Ok().json(json!({"input_tokens": ask.prompt_tokens()})),
        Err(fault) => HttpResponse::BadRequest().json(Anthropic.fault(&fault, "req_count")),
    }
}

async fn models(request: HttpRequest) -> HttpResponse {
    let provider = provider(&request);
    if request.headers().contains_key("anthropic-version") {
        let entry = |id: &&str| json!({"type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z"});
        let data: Vec<Value> = MODELS.iter().map(entry).collect();
        return HttpResponse::Ok().json(json!({
            "data": data, "has_more": false, "first_id": MODELS.first(), "last_id": MODELS.last(),
        }));
    }
    let entry =
        |id: &&str| json!({"id": id, "object": "model", "created": 1_767_225_600, "owned_by": provider});
    let data: Vec<Value> = MODELS.iter().map(entry).collect();
    HttpResponse::Ok().json(json!({"object": "list", "data": data}))
}

fn provider(request: &HttpRequest) -> String {
    request.match_info().get("provider").unwrap_or(DEFAULT_PROVIDER).to_owned()
}

async fn converse(wire: &dyn Wire, desk: &Desk, request: &HttpRequest, body: &[u8]) -> HttpResponse {
    let provider = provider(request);
    let credential = credential(request.headers());
    let arrival = Arrival {
        provider: provider.clone(),
        path: request.path().to_owned(),
        credential: credential.as_deref().map(fingerprint),
        headers: kept_headers(request.headers()),
    };
    let exchange = desk.journal.open(arrival, body);
    let random = (u128::from(desk.entropy.next_u64()) << 64) | u128::from(desk.entropy.next_u64());
    let unique = kernel::ids::base62(random, 22);
    let talk = Talk { wire, desk, unique, exchange };
    let ask = match admitted(wire, &provider, credential.as_deref(), request.headers(), body) {
        Ok(ask) => ask,
        Err(fault) => return talk.refuse(&fault, None),
    };
    let credential = credential.unwrap_or_default();
    let caller = Caller {
        provider: &provider,
        model: &ask.model,
        credential: &credential,
        fingerprint: &fingerprint(&credential),
    };
    match script_for(desk, request.headers(), &ask, &caller) {
        Ok(script) => talk.perform(&ask, &script, &format!("{provider}\n{credential}\n{}", ask.model)).await,
        Err(message) => talk.refuse(&Fault::new(400, message), None),
    }
}

/// The request, if the real service would not refuse it at once.
fn admitted(
    wire: &dyn Wire,
    provider: &str,
    credential: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Ask, Fault> {
    let local = LOCAL_PROVIDERS.iter().any(|name| provider.starts_with(name));
    if credential.is_none() && !local {
        return Err(Fault::new(401, "You didn't provide an API key."));
    }
    wire.admit(headers)?;
    let body = serde_json::from_slice(body).map_err(|error| {
        Fault::new(400, format!("We could not parse the JSON body of your request: {error}"))
    })?;
    wire.read(&body)
}

/// The script by precedence: header, message, rule, none.
fn script_for(desk: &Desk, headers: &HeaderMap, ask: &Ask, caller: &Caller<'_>) -> Result<Script, String> {
    if let Some(header) = headers.get(script::HEADER) {
        let text = header.to_str().map_err(|error| format!("bad simulator script: {error}"))?;
        return script::parse(text);
    }
    Ok(ask.script.clone().or_else(|| desk.rules.take(caller)).unwrap_or_default())
}

fn credential(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    bearer.or_else(|| text("x-api-key")).filter(|key| !key.is_empty()).map(str::to_owned)
}

fn fingerprint(credential: &str) -> String {
    Sha256::digest(credential).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn kept_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let kept = KEPT_HEADERS.iter().filter_map(|name| {
        let value = headers.get(*name)?.to_str().ok()?;
        Some(((*name).to_owned(), value.to_owned()))
    });
    kept.collect()
}

/// One conversation on its way to an answer.
struct Talk<'a> {
    wire: &'a dyn Wire,
    desk: &'a Desk,
    unique: String,
    exchange: Exchange,
}

impl Talk<'_> {
    async fn perform(self, ask: &Ask, script: &Script, cache_scope: &str) -> HttpResponse {
        let answer = self.answer(ask, script, cache_scope);
        self.exchange.describe(|entry| {
            entry.model = Some(ask.model.clone());
            entry.stream = ask.stream;
            entry.script = (*script != Script::default()).then(|| json!(script));
            entry.tokens = Some((answer.tally.prompt, answer.tally.completion));
        });
        let pause = script.latency_ms + script.slow_headers_ms;
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        if let Some(status) = script.status {
            return self.refuse(&Fault::scripted(status), Some(script));
        }
        let unique = self.unique.clone();
        let reply = Reply {
            ask,
            script,
            answer: &answer,
            unique: &unique,
            created: self.desk.clock.now().timestamp(),
        };
        self.respond(&reply)
    }

    fn answer(&self, ask: &Ask, script: &Script, cache_scope: &str) -> Answer {
        let mut answer = answer::make(ask, script);
        if script.cached_tokens.is_none() && !ask.cache_points.is_empty() {
            let (read, write) = self.desk.prompt_cache.consult(cache_scope, &ask.cache_points);
            answer.tally.cache_read = read;
            answer.tally.cache_write = write;
        }
        answer
    }

    fn respond(self, reply: &Reply<'_>) -> HttpResponse {
        let fault = Fault::scripted(529);
        let request_id = self.request_id();
        self.exchange.describe(|entry| entry.status = Some(200));
        let mut response = self.head(200);
        if reply.ask.stream {
            let breakage = Breakage {
                broken: self.wire.broken_frame().to_owned(),
                error: self.wire.error_frame(&fault, &request_id),
            };
            let steps = plan::stream(self.wire.frames(reply), reply.script, &breakage);
            response.content_type("text/event-stream; charset=utf-8");
            response.insert_header(("cache-control", "no-cache"));
            return response.streaming(play::body(steps, self.exchange));
        }
        let breakage = Breakage {
            broken: self.wire.broken_frame().to_owned(),
            error: self.wire.fault(&fault, &request_id).to_string(),
        };
        let body = self.wire.whole(reply).to_string();
        let (size, steps) = plan::whole(body, &reply.answer.text, reply.script, &breakage);
        response.body(SizedStream::new(size, play::body(steps, self.exchange)))
    }

    fn refuse(mut self, fault: &Fault, script: Option<&Script>) -> HttpResponse {
        let mut response = self.head(fault.status);
        if let Some(wait) = script.and_then(|script| script.retry_after.as_ref()) {
            let text = wait.as_str().map_or_else(|| wait.to_string(), str::to_owned);
            response.insert_header(("retry-after", text));
        }
        let body = match script.and_then(|script| script.error_body.clone()) {
            Some(Value::String(text)) => {
                response.content_type("text/html");
                text
            }
            Some(body) => body.to_string(),
            None => self.wire.fault(fault, &self.request_id()).to_string(),
        };
        self.exchange.describe(|entry| entry.status = Some(fault.status));
        self.exchange.sent(body.len(), false, "");
        self.exchange.finish(Finished::Completed);
        response.body(body)
    }

    fn request_id(&self) -> String {
        format!("req_{}", self.unique)
    }

    fn head(&self, status: u16) -> HttpResponseBuilder {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        response.content_type("application/json");
        response.insert_header((self.wire.request_id_header(), self.request_id()));
        response
    }
}
