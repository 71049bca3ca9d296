//! As much HTTP/1.1 as the rig needs: heads, bodies by length and chunked bodies, over kept connections.
//!
//! It reads what well-behaved peers send and is no parser for the open internet.

use bytes::BytesMut;
use memchr::memmem;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest head that is read.
const HEAD_BYTES: usize = 64 * 1024;

/// A head, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// 0 for a request.
    pub status: u16,
    pub body: Body,
    /// Bytes of the head itself.
    pub length: usize,
}

/// How the body's end is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Length(usize),
    Chunked,
}

/// Reads a head if all of it is there.
#[must_use]
pub fn head(bytes: &[u8]) -> Option<Head> {
    let length = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(bytes.get(..length)?).ok()?;
    let mut lines = text.split("\r\n");
    let first = lines.next()?;
    let status =
        first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|digits| digits.parse().ok());
    let mut body = Body::Length(0);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            body = Body::Length(value.trim().parse().ok()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            body = Body::Chunked;
        }
    }
    Some(Head { status: status.unwrap_or(0), body, length })
}

/// Takes a body from a buffer as it fills.
#[derive(Debug)]
pub struct Decoder {
    body: Body,
    /// Bytes left of the body or of the current chunk.
    left: usize,
    /// What a chunk is followed by and is not yet taken.
    tail: usize,
    last: bool,
}

impl Decoder {
    #[must_use]
    pub fn new(body: Body) -> Self {
        let left = if let Body::Length(length) = body { length } else { 0 };
        Self { body, left, tail: 0, last: false }
    }

    /// Hands what is there to `seen`; `true` when the body has ended.
    ///
    /// # Errors
    /// When a chunk's size is none.
    pub fn feed(&mut self, buffer: &mut BytesMut, seen: &mut impl FnMut(&[u8])) -> anyhow::Result<bool> {
        loop {
            if self.left > 0 {
                if buffer.is_empty() {
                    return Ok(false);
                }
                let piece = buffer.split_to(self.left.min(buffer.len()));
                self.left -= piece.len();
                seen(&piece);
            } else if self.tail > 0 {
                if buffer.len() < self.tail {
                    return Ok(false);
                }
                let _line_end = buffer.split_to(self.tail);
                self.tail = 0;
            } else if self.last || self.body != Body::Chunked {
                return Ok(true);
            } else if !self.next_chunk(buffer)? {
                return Ok(false);
            }
        }
    }

    fn next_chunk(&mut self, buffer: &mut BytesMut) -> anyhow::Result<bool> {
        let Some(end) = memmem::find(buffer, b"\r\n") else { return Ok(false) };
        let line = buffer.split_to(end + 2);
        let size = std::str::from_utf8(&line)?.trim();
        self.left = usize::from_str_radix(size, 16)?;
        self.tail = 2;
        self.last = self.left == 0;
        Ok(true)
    }
}

/// A connection that is used again and again.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        Ok(Self::over(stream)?)
    }

    /// # Errors
    /// When the socket is already dead.
    pub fn over(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(64 * 1024) })
    }

    /// # Errors
    /// When the peer has gone.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads one message to its end, handing its body to `seen` as it comes; `None` when the peer closed
    /// instead of beginning one.
    ///
    /// # Errors
    /// When it is broken or breaks off.
    pub async fn read(&mut self, mut seen: impl FnMut(&[u8])) -> anyhow::Result<Option<Head>> {
        let found = loop {
            if let Some(found) = head(&self.buffer) {
                break found;
            }
            anyhow::ensure!(self.buffer.len() < HEAD_BYTES, "the head is too long");
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                anyhow::ensure!(self.buffer.is_empty(), "the connection broke in a head");
                return Ok(None);
            }
        };
        let _head = self.buffer.split_to(found.length);
        let mut decoder = Decoder::new(found.body);
        while !decoder.feed(&mut self.buffer, &mut seen)? {
            self.buffer.reserve(16 * 1024);
            anyhow::ensure!(
                self.stream.read_buf(&mut self.buffer).await? > 0,
                "the connection broke in a body"
            );
        }
        Ok(Some(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_the_same_however_it_is_split() {
        let wire = b"5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n";
        for size in 1..wire.len() {
            let (mut buffer, mut text, mut done) = (BytesMut::new(), Vec::new(), false);
            let mut decoder = Decoder::new(Body::Chunked);
            for part in wire.chunks(size) {
                buffer.extend_from_slice(part);
                done = decoder.feed(&mut buffer, &mut |piece| text.extend_from_slice(piece)).unwrap();
            }
            assert!(done && buffer.is_empty() && text == b"hello world", "pieces of {size}");
        }
    }

    #[test]
    fn a_head_tells_status_and_body() {
        let length = head(b"HTTP/1.1 402 Payment Required\r\nContent-Length: 12\r\n\r\n").unwrap();
        assert_eq!((length.status, length.body), (402, Body::Length(12)));
        let chunked = head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxx").unwrap();
        assert_eq!((chunked.body, chunked.length), (Body::Chunked, 47));
        assert_eq!(head(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
