//! `POST /chat/completions`: reads the request, starts its session and relays what the session says.
//!
//! The session owns upstream and hold and outlives this handler; dropping the handler is how it learns that
//! the client has left.

use crate::client::{self, Message};
use crate::face::{self, ErrorBody, FaceContext};
use crate::http::answer;
use crate::http::body::Bodies;
use crate::http::health::Readiness;
use crate::http::schema::ChatBody;
use crate::pipeline::Pipeline;
use crate::refusal::{Kind, Refusal};
use crate::stage::read::{self, Credential, Received};
use crate::stage::stream::last_frames;
use crate::tasks::Tasks;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use kernel::Entropy;
use kernel::ids::GenerationId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// After so long without a word a stream's head is sent, and comments keep the connection alive.
const SILENCE: Duration = Duration::from_secs(5);

/// What the chat door needs.
#[derive(Clone)]
pub struct ChatDoor {
    pub pipeline: Arc<Pipeline>,
    pub tasks: Tasks,
    pub entropy: Arc<dyn Entropy>,
    pub readiness: Readiness,
    /// Shared by all workers of the process.
    pub bodies: Bodies,
}

/// Adds the route below the API's base.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/chat/completions").route(web::post().to(create)).default_service(web::to(only_post)),
    );
}

async fn only_post() -> HttpResponse {
    let refusal = Refusal::new(Kind::MethodNotAllowed, "Send chat completions with POST.");
    let mut response = answer::refusal(&refusal);
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST"));
    response
}

/// One chat completion, streamed or whole.
#[utoipa::path(post, path = "/chat/completions", tag = "Chat", request_body = ChatBody,
    responses((status = 200, description = "The answer, or a stream of server-sent events"), (status = 400, description = "Malformed"),
    (status = 401, description = "No valid key"), (status = 402, description = "Not enough credits"), (status = 403, description = "A limit"),
    (status = 404, description = "No endpoint fits"), (status = 429, description = "Rate limited"), (status = 502, description = "The provider failed"),
    (status = 503, description = "Try again")))]
pub async fn create(request: HttpRequest, payload: web::Payload, door: web::Data<ChatDoor>) -> HttpResponse {
    let arrived = door.pipeline.clock.monotonic();
    let generation = GenerationId::new(door.pipeline.clock.as_ref(), door.entropy.as_ref());
    let mut response = match admit_body(&request, payload, &door).await {
        Ok((credential, body)) => {
            let received = received(&request, (generation, arrived), credential, body);
            let (sink, inbox) = client::channel();
            let pipeline = Arc::clone(&door.pipeline);
            pipeline.metrics.streams_open.inc();
            door.tasks.spawn_session(Box::pin(async move {
                pipeline.run(received, sink).await;
                pipeline.metrics.streams_open.dec();
            }));
            relay(inbox, generation).await
        }
        Err(refusal) => answer::refusal(&refusal),
    };
    mark(&mut response, generation, door.pipeline.clock.monotonic().saturating_sub(arrived));
    response
}

/// The headers that are read of every request, as names that need no reading themselves.
mod names {
    use actix_web::http::header::HeaderName;

    pub(super) static API_KEY: HeaderName = HeaderName::from_static("x-api-key");
    pub(super) static HTTP_REFERER: HeaderName = HeaderName::from_static("http-referer");
    pub(super) static TITLES: [HeaderName; 3] = [
        HeaderName::from_static("x-farebox-title"),
        HeaderName::from_static("x-openrouter-title"),
        HeaderName::from_static("x-title"),
    ];
    pub(super) static SESSION: HeaderName = HeaderName::from_static("x-session-id");
    pub(super) static STRICT: HeaderName = HeaderName::from_static("x-farebox-strict");
    pub(super) static GENERATION: HeaderName = HeaderName::from_static("x-generation-id");
    pub(super) static REQUEST: HeaderName = HeaderName::from_static("x-request-id");
    pub(super) static TIMING: HeaderName = HeaderName::from_static("server-timing");
}

fn header_text<'r>(request: &'r HttpRequest, name: &header::HeaderName) -> Option<&'r str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

fn received(
    request: &HttpRequest,
    (generation, arrived): (GenerationId, Duration),
    credential: Credential,
    body: Bytes,
) -> Received {
    let text = |name: &header::HeaderName| header_text(request, name);
    let short = |value: Option<&str>| value.map(|value| value.chars().take(256).collect::<String>());
    Received {
        generation,
        arrived,
        credential,
        referer: short(text(&names::HTTP_REFERER).or_else(|| text(&header::REFERER))),
        title: short(names::TITLES.iter().find_map(text)),
        session: short(text(&names::SESSION)),
        strict: text(&names::STRICT).is_some_and(|value| value.eq_ignore_ascii_case("openai")),
        body,
    }
}

/// Reads the body of a request that may be read: the process goes on, the credential is well formed, and a
/// large body finds room.
async fn admit_body(
    request: &HttpRequest,
    payload: web::Payload,
    door: &ChatDoor,
) -> Result<(Credential, Bytes), Refusal> {
    if door.readiness.is_draining() {
        let message = "This process is shutting down. Send the request again.";
        return Err(Refusal::new(Kind::Draining, message).retry_after(1));
    }
    let text = |name: &header::HeaderName| header_text(request, name);
    if text(&header::CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(Refusal::new(
            Kind::Encoded,
            "Compressed request bodies are not read. Send the body uncompressed.",
        ));
    }
    let credential = read::credential(text(&header::AUTHORIZATION), text(&names::API_KEY))?;
    Ok((credential, door.bodies.read(request, payload).await?))
}

/// Waits for the session's first word and answers with it. Once a stream is under way its head is sent after
/// five seconds of silence at the latest; until then the request may still be refused with its own status.
async fn relay(mut inbox: mpsc::Receiver<Message>, generation: GenerationId) -> HttpResponse {
    let mut underway = false;
    loop {
        let message = if underway {
            match tokio::time::timeout(SILENCE, inbox.recv()).await {
                Ok(message) => message,
                Err(_silence) => return stream_head().streaming(frames(inbox, generation)),
            }
        } else {
            inbox.recv().await
        };
        match message {
            Some(Message::Underway) => underway = true,
            Some(Message::Refused(refusal)) => return answer::refusal(&refusal),
            Some(Message::Whole(whole)) => {
                let mut response = HttpResponse::Ok();
                answer::answerer_headers(&mut response, &whole.answerer);
                return response.content_type("application/json").body(whole.body);
            }
            Some(Message::Head(answerer)) => {
                let mut response = stream_head();
                answer::answerer_headers(&mut response, &answerer);
                return response.streaming(frames(inbox, generation));
            }
            // An answer cannot begin without a head; a session that is gone has nothing to say.
            Some(Message::Frames(_) | Message::Last(_)) | None => return answer::refusal(&lost()),
        }
    }
}

fn lost() -> Refusal {
    Refusal::new(Kind::Internal, "The request could not be carried out. Send it again.")
}

fn stream_head() -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header(("x-accel-buffering", "no"));
    response
}

type Frame = Result<Bytes, std::convert::Infallible>;

/// The session's frames, with comments while it says nothing. A refusal after the head is an error chunk. The
/// stream ends with the session's last word and does not wait for the session's own end.
fn frames(
    inbox: mpsc::Receiver<Message>,
    generation: GenerationId,
) -> impl futures_util::Stream<Item = Frame> {
    futures_util::stream::unfold(Some(inbox), move |inbox| async move {
        let mut inbox = inbox?;
        loop {
            match tokio::time::timeout(SILENCE, inbox.recv()).await {
                Err(_silence) => return Some((Ok(Bytes::from_static(face::KEEP_ALIVE)), Some(inbox))),
                Ok(None) => return None,
                Ok(Some(Message::Frames(frames))) => return Some((Ok(frames), Some(inbox))),
                Ok(Some(Message::Last(frames))) => return Some((Ok(frames), None)),
                Ok(Some(Message::Refused(refusal))) => {
                    return Some((Ok(refused_late(&refusal, generation)), None));
                }
                Ok(Some(Message::Head(_) | Message::Underway | Message::Whole(_))) => {}
            }
        }
    })
}

fn refused_late(refusal: &Refusal, generation: GenerationId) -> Bytes {
    let context = FaceContext::new(&generation.to_string(), generation.created_at().timestamp(), "", "");
    let mut body = ErrorBody::new(refusal.status(), refusal.error_type(), refusal.message.clone());
    for (name, value) in &refusal.metadata {
        body = body.with(name, value.clone());
    }
    last_frames(&[&face::render_error_chunk(&body, &context), face::DONE])
}

/// The headers of every inference answer.
fn mark(response: &mut HttpResponse, generation: GenerationId, took: Duration) {
    let headers = response.headers_mut();
    let id = generation.to_string();
    if let Ok(value) = header::HeaderValue::from_str(&id) {
        headers.insert(names::GENERATION.clone(), value.clone());
        headers.insert(names::REQUEST.clone(), value);
    }
    let timing = format!("gateway;dur={}.{:03}", took.as_millis(), took.as_micros() % 1000);
    if let Ok(value) = header::HeaderValue::from_str(&timing) {
        headers.insert(names::TIMING.clone(), value);
    }
    let exposed =
        header::HeaderValue::from_static("X-Generation-Id,X-Provider-Name,X-Request-Id,Server-Timing");
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, header::HeaderValue::from_static("*"));
}
