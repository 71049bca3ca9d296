//! The one HTTP client towards providers: sends a [`WireRequest`], bounds what comes back, classifies what
//! goes wrong. Knows no dialect's words and never retries.

use bytes::{Bytes, BytesMut};
use dialects::{Dialect, UpstreamFailure, WireError, WireRequest};
use kernel::{ExposeSecret as _, SecretString};
use std::time::Duration;

/// How long to wait for a provider, and how much to read of it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connect: Duration,
    /// From sending to the head of a stream.
    pub head: Duration,
    /// Between two pieces of a stream.
    pub idle: Duration,
    /// From sending to the end of an answer that is not streamed.
    pub whole: Duration,
    /// Bytes of an answer that is not streamed.
    pub body_bytes: usize,
    /// Bytes read of an error answer.
    pub error_bytes: usize,
}

impl Limits {
    pub const STANDARD: Self = Self {
        connect: Duration::from_secs(5),
        head: Duration::from_secs(180),
        idle: Duration::from_secs(120),
        whole: Duration::from_secs(900),
        body_bytes: 64 * 1024 * 1024,
        error_bytes: 64 * 1024,
    };
}

/// Where a provider is reached and with which credential.
#[derive(Debug, Clone)]
pub struct Access {
    /// Without a trailing slash.
    pub base_url: String,
    pub key: Option<SecretString>,
    /// A simulator answers in the provider's place (development only).
    pub simulated: bool,
}

/// Why a call brought no answer.
#[derive(Debug)]
pub enum CallFailure {
    /// No connection, or it broke before the head.
    Connect(String),
    Timeout,
    /// The provider answered with an error.
    Refused {
        failure: UpstreamFailure,
        retry_after: Option<Duration>,
    },
    /// The request cannot be said to this provider, or its answer not be read.
    Wire(WireError),
    /// The answer is larger than we read.
    TooLarge,
    /// The connection broke after the head.
    Broken(String),
}

/// The HTTP client of one worker.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: reqwest::Client,
    limits: Limits,
}

/// An answer with a success status whose body is still to be read.
#[derive(Debug)]
pub struct Answer {
    response: reqwest::Response,
    limits: Limits,
    /// When the last piece came; the wait for the next is counted from here, however often it is resumed.
    heard: tokio::time::Instant,
    pub status: u16,
}

impl Upstream {
    /// One client per worker: its connections are driven by the worker's own thread.
    pub fn new(limits: Limits) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(limits.connect)
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(55))
            .pool_max_idle_per_host(512)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("farebox/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, limits })
    }

    /// Sends a request and waits for the answer's head. An error status is read and classified.
    pub async fn send(
        &self,
        access: &Access,
        dialect: &dyn Dialect,
        request: &WireRequest,
        stream: bool,
    ) -> Result<Answer, CallFailure> {
        let mut call =
            self.client.post(format!("{}{}", access.base_url, request.path)).body(request.body.clone());
        for (name, value) in &request.headers {
            call = call.header(name.as_ref(), value);
        }
        if let Some(key) = &access.key {
            let (name, value) = dialect.auth_header(key.expose_secret());
            call = call.header(name, value);
        }
        // An answer that is not streamed usually sends its head with its end.
        let patience = if stream { self.limits.head } else { self.limits.whole };
        let sent = tokio::time::timeout(patience, call.send()).await;
        let response = sent.map_err(|_elapsed| CallFailure::Timeout)?.map_err(connect_failure)?;
        let status = response.status().as_u16();
        let heard = tokio::time::Instant::now();
        let answer = Answer { response, limits: self.limits, heard, status };
        if (200..300).contains(&status) { Ok(answer) } else { Err(answer.refused(dialect).await) }
    }
}

impl Answer {
    /// The wait for the next piece begins now: until now it was ours.
    pub fn resume(&mut self) {
        self.heard = tokio::time::Instant::now();
    }

    /// The whole body, bounded in size and time.
    pub async fn whole(mut self) -> Result<Bytes, CallFailure> {
        let limit = self.limits.body_bytes;
        let read = tokio::time::timeout(self.limits.whole, read_up_to(&mut self.response, limit));
        match read.await {
            Err(_elapsed) => Err(CallFailure::Timeout),
            Ok(Err(error)) => Err(CallFailure::Broken(error.without_url().to_string())),
            Ok(Ok((_, true))) => Err(CallFailure::TooLarge),
            Ok(Ok((body, false))) => Ok(body),
        }
    }

    /// The next piece of a stream; `None` at its end. Dropping the future loses nothing.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, CallFailure> {
        match tokio::time::timeout_at(self.heard + self.limits.idle, self.response.chunk()).await {
            Err(_elapsed) => Err(CallFailure::Timeout),
            Ok(Err(error)) => Err(CallFailure::Broken(error.without_url().to_string())),
            Ok(Ok(piece)) => {
                self.heard = tokio::time::Instant::now();
                Ok(piece)
            }
        }
    }

    async fn refused(mut self, dialect: &dyn Dialect) -> CallFailure {
        let retry_after = retry_after(&self.response);
        let limit = self.limits.error_bytes;
        let read = tokio::time::timeout(self.limits.connect, read_up_to(&mut self.response, limit)).await;
        let body = match read {
            Ok(Ok((body, _cut))) => body,
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        CallFailure::Refused { failure: dialect.parse_error(self.status, &body), retry_after }
    }
}

/// Reads at most `limit` bytes; `true` when there was more.
async fn read_up_to(response: &mut reqwest::Response, limit: usize) -> Result<(Bytes, bool), reqwest::Error> {
    let mut body = BytesMut::new();
    let mut first: Option<Bytes> = None;
    while let Some(piece) = response.chunk().await? {
        if body.len() + first.as_ref().map_or(0, Bytes::len) + piece.len() > limit {
            return Ok((first.unwrap_or_else(|| body.freeze()), true));
        }
        // Most answers come in one piece, which is handed on without a copy.
        match first.take() {
            None if body.is_empty() => first = Some(piece),
            None => body.extend_from_slice(&piece),
            Some(before) => {
                body.extend_from_slice(&before);
                body.extend_from_slice(&piece);
            }
        }
    }
    Ok((first.unwrap_or_else(|| body.freeze()), false))
}

fn connect_failure(error: reqwest::Error) -> CallFailure {
    if error.is_timeout() && !error.is_connect() {
        CallFailure::Timeout
    } else {
        CallFailure::Connect(error.without_url().to_string())
    }
}

/// `Retry-After` in seconds; dates are not used by model providers and are ignored.
fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let text = response.headers().get("retry-after")?.to_str().ok()?;
    text.trim().parse::<u32>().ok().map(|seconds| Duration::from_secs(u64::from(seconds)))
}
