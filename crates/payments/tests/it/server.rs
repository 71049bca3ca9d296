//! A tiny HTTP/1.1 server that gives prepared answers in order and keeps what it was sent. It closes the
//! connection after each answer.

use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What to do with one request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Status and body.
    Send(u16, String),
    /// Keep the connection open and say nothing.
    Hang,
    /// Close the connection without an answer.
    Close,
}

impl Reply {
    /// Stripe's envelope of an error.
    pub(crate) fn error(status: u16, fields: &str) -> Self {
        Self::Send(status, format!(r#"{{"error":{{"message":"secret text",{fields}}}}}"#))
    }
}

/// A request as it came, head and body decoded from the form encoding.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Method and path.
    pub(crate) line: String,
    /// Lower-case names.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) raw_body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A form field by its decoded name.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let fields = self.raw_body.split('&').filter_map(|pair| pair.split_once('='));
        fields.map(|(key, value)| (decode(key), decode(value))).find(|(key, _)| key == name).map(|(_, v)| v)
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

pub(crate) struct Server {
    pub(crate) url: String,
    seen: mpsc::Receiver<Seen>,
}

impl Server {
    /// Answers with `replies` in order; after the last one every connection is closed.
    #[expect(clippy::disallowed_methods, reason = "the test's runtime ends the server with the test")]
    pub(crate) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, seen) = mpsc::channel(100);
        let replies = Arc::new(tokio::sync::Mutex::new(replies.into_iter()));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, replies.clone(), sender.clone()));
            }
        });
        Self { url, seen }
    }

    /// The next request, waited for.
    pub(crate) async fn next(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    /// Requests so far that nobody took.
    pub(crate) fn rest(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    replies: Arc<tokio::sync::Mutex<std::vec::IntoIter<Reply>>>,
    sender: mpsc::Sender<Seen>,
) {
    let Some(seen) = read(&mut stream).await else { return };
    sender.send(seen).await.unwrap();
    let reply = replies.lock().await.next();
    match reply {
        Some(Reply::Send(status, body)) => {
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(body.as_bytes()).await.unwrap();
        }
        Some(Reply::Hang) => std::future::pending().await,
        Some(Reply::Close) | None => {}
    }
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
            let headers: Vec<_> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            if body.len() >= length.map_or(0, |(_, value)| value.parse().unwrap()) {
                return Some(Seen { line, headers, raw_body: body.to_owned() });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Sends one request without a body and gives the status.
pub(crate) async fn post(url: &str) -> u16 {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let head =
        format!("POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
