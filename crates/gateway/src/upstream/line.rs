//! One HTTP/1.1 connection to a provider, driven by whoever waits for its answer.
//!
//! No task of its own stands behind it: the one poll that wants the next bytes also reads them. So nothing
//! is handed between tasks, and all frames that have arrived come as one piece. A line that nobody uses is
//! not driven; that it was closed meanwhile shows when it is taken up again.

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use tokio::net::TcpStream;

/// A connected socket, with or without TLS.
pub(super) type Socket = MaybeHttpsStream<TokioIo<TcpStream>>;
/// How much of what is ready is joined into one piece.
const PIECE: usize = 64 * 1024;

/// A connection. Dropped before its answer has ended, it is closed.
pub(super) struct Line {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    connection: Option<Connection<Socket, Full<Bytes>>>,
}

/// What is left of an answer's body.
#[derive(Debug)]
pub(super) struct Body {
    incoming: Incoming,
    /// Met after bytes that had to be handed on first.
    met: Option<End>,
}

#[derive(Debug)]
enum End {
    Whole,
    Broken(hyper::Error),
}

/// Why a request got no answer.
pub(super) struct Unanswered {
    /// The request, when surely nothing of it was sent.
    pub(super) unsent: Option<Request<Full<Bytes>>>,
    pub(super) cause: hyper::Error,
}

impl Line {
    pub(super) async fn over(socket: Socket) -> Result<Self, hyper::Error> {
        let (sender, connection) = http1::handshake(socket).await?;
        Ok(Self { sender, connection: Some(connection) })
    }

    /// Sends a request and waits for the answer's head.
    pub(super) async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<()>, Body), Unanswered> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        let answered = poll_fn(|cx| {
            drive(connection, cx);
            answer.as_mut().poll(cx)
        });
        match answered.await {
            Ok(response) => {
                let (head, incoming) = response.into_parts();
                Ok((Response::from_parts(head, ()), Body { incoming, met: None }))
            }
            Err(mut error) => {
                let unsent = error.take_message();
                Err(Unanswered { unsent, cause: error.into_error() })
            }
        }
    }

    /// The next bytes of a body, as many as are there; `None` at its end. Dropping the future loses nothing.
    pub(super) async fn piece(&mut self, body: &mut Body) -> Result<Option<Bytes>, hyper::Error> {
        poll_fn(|cx| self.poll_piece(body, cx)).await
    }

    fn poll_piece(
        &mut self,
        body: &mut Body,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, hyper::Error>> {
        let mut joined = Joined::default();
        // Asking for the next frame is what makes the connection decode it: a frame can be there only when it
        // was driven after the question.
        let mut asked = false;
        while body.met.is_none() && joined.len() < PIECE {
            drive(&mut self.connection, cx);
            match Pin::new(&mut body.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    asked = false;
                    if let Ok(data) = frame.into_data() {
                        joined.push(data);
                    }
                }
                Poll::Ready(Some(Err(error))) => body.met = Some(End::Broken(error)),
                Poll::Ready(None) => body.met = Some(End::Whole),
                Poll::Pending if asked => break,
                Poll::Pending => asked = true,
            }
        }
        match (joined.take(), body.met.take()) {
            (Some(bytes), end) => {
                body.met = end;
                Poll::Ready(Ok(Some(bytes)))
            }
            (None, Some(End::Whole)) => {
                body.met = Some(End::Whole);
                Poll::Ready(Ok(None))
            }
            (None, Some(End::Broken(error))) => Poll::Ready(Err(error)),
            (None, None) => Poll::Pending,
        }
    }

    /// Whether it can carry another request: it is open, and idle.
    pub(super) fn usable(&mut self) -> bool {
        // Nobody waits: what becomes ready later is found by the next look.
        drive(&mut self.connection, &mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// Lets the connection read and write what it can. How it ended is told by what was waited for.
fn drive(connection: &mut Option<Connection<Socket, Full<Bytes>>>, cx: &mut Context<'_>) {
    if let Some(alive) = connection
        && Pin::new(alive).poll(cx).is_ready()
    {
        *connection = None;
    }
}

/// Frames joined; a single one is handed on without a copy.
#[derive(Default)]
struct Joined {
    first: Option<Bytes>,
    more: BytesMut,
}

impl Joined {
    fn len(&self) -> usize {
        self.first.as_ref().map_or(self.more.len(), Bytes::len)
    }

    fn push(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        match self.first.take() {
            None if self.more.is_empty() => self.first = Some(data),
            None => self.more.extend_from_slice(&data),
            Some(before) => {
                self.more.reserve(PIECE.min(before.len() * 16));
                self.more.extend_from_slice(&before);
                self.more.extend_from_slice(&data);
            }
        }
    }

    fn take(self) -> Option<Bytes> {
        self.first.or_else(|| (!self.more.is_empty()).then(|| self.more.freeze()))
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("open", &self.connection.is_some()).finish_non_exhaustive()
    }
}
