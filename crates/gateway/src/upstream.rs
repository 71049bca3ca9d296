//! The one HTTP client towards providers: sends a [`WireRequest`], bounds what comes back, classifies what
//! goes wrong. Knows no dialect's words and never retries.

mod line;
mod pool;

use bytes::{Bytes, BytesMut};
use dialects::{Dialect, UpstreamFailure, WireError, WireRequest};
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Scheme;
use hyper::{Request, Response, Uri};
use kernel::{ExposeSecret as _, SecretString};
use line::{Body, Line, Unanswered};
use pool::{Place, Pool};
use std::time::Duration;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("farebox/", env!("CARGO_PKG_VERSION")));
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");

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

/// The HTTP client of one worker. Follows no redirect and uses no proxy.
#[derive(Debug, Clone)]
pub struct Upstream {
    pool: Pool,
    limits: Limits,
}

/// An answer with a success status whose body is still to be read. Dropped before its end, it cuts the
/// connection, which is how a provider learns that nobody wants the rest.
#[derive(Debug)]
pub struct Answer {
    /// `None` once the body has ended.
    line: Option<Line>,
    body: Body,
    headers: HeaderMap,
    place: Place,
    pool: Pool,
    limits: Limits,
    /// When the last piece came; the wait for the next is counted from here, however often it is resumed.
    heard: tokio::time::Instant,
    pub status: u16,
}

impl Upstream {
    /// One client per worker: its connections belong to the worker's own thread.
    pub fn new(limits: Limits) -> Result<Self, rustls::Error> {
        Ok(Self { pool: Pool::new(&limits)?, limits })
    }

    /// Sends a request and waits for the answer's head. An error status is read and classified.
    pub async fn send(
        &self,
        access: &Access,
        dialect: &dyn Dialect,
        request: &WireRequest,
        stream: bool,
    ) -> Result<Answer, CallFailure> {
        let (place, call) = call(access, dialect, request).map_err(CallFailure::Connect)?;
        // An answer that is not streamed usually sends its head with its end.
        let patience = if stream { self.limits.head } else { self.limits.whole };
        let asked = tokio::time::timeout(patience, self.ask(&place, call)).await;
        let (line, response, body) = asked.map_err(|_elapsed| CallFailure::Timeout)??;
        let status = response.status().as_u16();
        let (head, ()) = response.into_parts();
        let answer = Answer {
            line: Some(line),
            body,
            headers: head.headers,
            place,
            pool: self.pool.clone(),
            limits: self.limits,
            heard: tokio::time::Instant::now(),
            status,
        };
        if (200..300).contains(&status) { Ok(answer) } else { Err(answer.refused(dialect).await) }
    }

    /// Asks over a line that is there, else over a new one. A request is sent again only when surely nothing
    /// of it went out: the provider closed an idle line at the same moment.
    async fn ask(
        &self,
        place: &Place,
        mut call: Request<Full<Bytes>>,
    ) -> Result<(Line, Response<()>, Body), CallFailure> {
        while let Some(mut line) = self.pool.take(place) {
            match line.ask(call).await {
                Ok((response, body)) => return Ok((line, response, body)),
                Err(Unanswered { unsent: Some(again), .. }) => call = again,
                Err(Unanswered { cause, .. }) => return Err(CallFailure::Connect(cause.to_string())),
            }
        }
        let mut line = self.pool.open(place).await.map_err(CallFailure::Connect)?;
        let answered = line.ask(call).await;
        let (response, body) = answered.map_err(|lost| CallFailure::Connect(lost.cause.to_string()))?;
        Ok((line, response, body))
    }
}

/// The request as it goes out, and where to.
fn call(
    access: &Access,
    dialect: &dyn Dialect,
    request: &WireRequest,
) -> Result<(Place, Request<Full<Bytes>>), String> {
    let uri: Uri =
        format!("{}{}", access.base_url, request.path).parse().map_err(|_bad| "the address is none")?;
    let parts = uri.into_parts();
    let scheme = parts.scheme.unwrap_or(Scheme::HTTP);
    let authority = parts.authority.ok_or("the address has no host")?;
    let path = parts.path_and_query.ok_or("the address has no path")?;
    let mut call = Request::new(Full::new(request.body.clone()));
    *call.method_mut() = hyper::Method::POST;
    *call.uri_mut() = Uri::from(path);
    let headers = call.headers_mut();
    let bad = |_unfit| "a header cannot be sent".to_owned();
    headers.insert(header::HOST, HeaderValue::from_str(authority.as_str()).map_err(bad)?);
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::ACCEPT, ANYTHING);
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_unfit| "a header has no name")?;
        headers.insert(name, HeaderValue::from_str(value).map_err(bad)?);
    }
    if let Some(key) = &access.key {
        let (name, value) = dialect.auth_header(key.expose_secret());
        let mut value = HeaderValue::from_str(&value).map_err(bad)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(((scheme, authority), call))
}

impl Answer {
    /// The wait for the next piece begins now: until now it was ours.
    pub fn resume(&mut self) {
        self.heard = tokio::time::Instant::now();
    }

    /// The whole body, bounded in size and time.
    pub async fn whole(mut self) -> Result<Bytes, CallFailure> {
        let limit = self.limits.body_bytes;
        let read = tokio::time::timeout(self.limits.whole, self.read_up_to(limit));
        match read.await {
            Err(_elapsed) => Err(CallFailure::Timeout),
            Ok(Err(error)) => Err(CallFailure::Broken(error.to_string())),
            Ok(Ok((_, true))) => Err(CallFailure::TooLarge),
            Ok(Ok((body, false))) => Ok(body),
        }
    }

    /// The next piece of a stream: all that has come; `None` at its end. Dropping the future loses nothing.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, CallFailure> {
        match tokio::time::timeout_at(self.heard + self.limits.idle, self.next()).await {
            Err(_elapsed) => Err(CallFailure::Timeout),
            Ok(Err(error)) => Err(CallFailure::Broken(error.to_string())),
            Ok(Ok(piece)) => {
                self.heard = tokio::time::Instant::now();
                Ok(piece)
            }
        }
    }

    /// Waits for the end of a body of which nothing more is wanted, so that its line can be used again. A
    /// provider that goes on talking is cut off.
    pub async fn part(mut self) {
        let limit = self.limits.error_bytes;
        let _read = self.read_up_to(limit).await;
    }

    /// At the body's end the line goes back to the pool.
    async fn next(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        let Some(line) = &mut self.line else { return Ok(None) };
        let piece = line.piece(&mut self.body).await?;
        if piece.is_none()
            && let Some(line) = self.line.take()
        {
            self.pool.give_back(self.place.clone(), line);
        }
        Ok(piece)
    }

    async fn refused(mut self, dialect: &dyn Dialect) -> CallFailure {
        let retry_after = retry_after(&self.headers);
        let limit = self.limits.error_bytes;
        let body = match tokio::time::timeout(self.limits.connect, self.read_up_to(limit)).await {
            Ok(Ok((body, _cut))) => body,
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        CallFailure::Refused { failure: dialect.parse_error(self.status, &body), retry_after }
    }

    /// Reads at most `limit` bytes; `true` when there was more.
    async fn read_up_to(&mut self, limit: usize) -> Result<(Bytes, bool), hyper::Error> {
        let mut body = BytesMut::new();
        let mut first: Option<Bytes> = None;
        while let Some(piece) = self.next().await? {
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
}

/// `Retry-After` in seconds; dates are not used by model providers and are ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse::<u32>().ok().map(|seconds| Duration::from_secs(u64::from(seconds)))
}

#[cfg(test)]
mod tests;
