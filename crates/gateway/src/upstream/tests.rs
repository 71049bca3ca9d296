//! The upstream client against sockets that do what providers do.

use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn upstream() -> Upstream {
    // Whoever comes second finds it installed.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Upstream::new(Limits::STANDARD).unwrap()
}

async fn provider() -> (TcpListener, Access) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    (listener, Access { base_url, key: Some(SecretString::from("sk-test")), simulated: false })
}

fn request() -> WireRequest {
    WireRequest {
        path: "/chat/completions".to_owned(),
        headers: vec![("content-type".into(), "application/json".to_owned())],
        body: Bytes::from_static(b"{}"),
        warnings: Vec::new(),
    }
}

async fn send(upstream: &Upstream, access: &Access) -> Result<Answer, CallFailure> {
    let dialect = dialects::registry::find("openai").unwrap();
    upstream.send(access, dialect, &request(), true).await
}

/// Reads a whole request, whose body is `{}`.
async fn heard(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n{}") {
        assert!(stream.read_buf(&mut text).await.unwrap() > 0, "the client left");
    }
    String::from_utf8(text).unwrap()
}

fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

#[tokio::test]
async fn the_request_names_its_host_path_and_credential() {
    let ((listener, access), upstream) = (provider().await, upstream());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let text = heard(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        text
    };
    let ask = async { send(&upstream, &access).await.unwrap().whole().await.unwrap() };
    let (text, body) = tokio::join!(serve, ask);
    assert_eq!(body, "ok");
    let text = text.to_ascii_lowercase();
    assert!(text.starts_with("post /v1/chat/completions http/1.1\r\n"), "{text}");
    let host = access.base_url.trim_start_matches("http://").trim_end_matches("/v1");
    for line in [&format!("host: {host}"), "authorization: bearer sk-test", "content-length: 2"] {
        assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}: {text}");
    }
}

#[tokio::test]
async fn frames_that_came_together_are_one_piece_and_late_ones_another() {
    let ((listener, access), upstream) = (provider().await, upstream());
    let (go_on, wait) = tokio::sync::oneshot::channel();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _request = heard(&mut stream).await;
        let together: Vec<u8> = (0..50).flat_map(|index| chunk(&format!("data: {index}\n\n"))).collect();
        stream.write_all(&[HEAD, &together].concat()).await.unwrap();
        wait.await.unwrap();
        stream.write_all(&[chunk("data: late\n\n"), b"0\r\n\r\n".to_vec()].concat()).await.unwrap();
        stream
    };
    let ask = async {
        let mut answer = send(&upstream, &access).await.unwrap();
        let first = answer.piece().await.unwrap().unwrap();
        assert_eq!(first.iter().filter(|byte| **byte == b':').count(), 50);
        go_on.send(()).unwrap();
        assert_eq!(answer.piece().await.unwrap().unwrap(), "data: late\n\n");
        assert_eq!(answer.piece().await.unwrap(), None);
        assert_eq!(answer.piece().await.unwrap(), None);
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn a_line_is_used_again_until_the_provider_closes_it() {
    let ((listener, access), upstream) = (provider().await, upstream());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..3 {
            let _request = heard(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
        drop(stream);
        let (mut second, _) = listener.accept().await.unwrap();
        let _request = heard(&mut second).await;
        second.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nnew").await.unwrap();
        second
    };
    let ask = async {
        for _ in 0..3 {
            assert_eq!(send(&upstream, &access).await.unwrap().whole().await.unwrap(), "ok");
        }
        assert_eq!(send(&upstream, &access).await.unwrap().whole().await.unwrap(), "new");
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn a_stream_that_is_left_after_its_last_word_keeps_the_connection_once_its_end_has_come() {
    let ((listener, access), upstream) = (provider().await, upstream());
    let (left, wait) = tokio::sync::oneshot::channel();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _request = heard(&mut stream).await;
        stream.write_all(&[HEAD, &chunk("data: [DONE]\n\n")].concat()).await.unwrap();
        wait.await.unwrap();
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        let _request = heard(&mut stream).await;
        stream.write_all(&[HEAD, &chunk("data: [DONE]\n\n"), b"0\r\n\r\n"].concat()).await.unwrap();
        let _request = heard(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    };
    let ask = async {
        let mut late = send(&upstream, &access).await.unwrap();
        assert_eq!(late.piece().await.unwrap().unwrap(), "data: [DONE]\n\n");
        left.send(()).unwrap();
        late.part().await;
        let mut at_once = send(&upstream, &access).await.unwrap();
        assert_eq!(at_once.piece().await.unwrap().unwrap(), "data: [DONE]\n\n");
        at_once.part().await;
        assert_eq!(send(&upstream, &access).await.unwrap().whole().await.unwrap(), "ok");
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn a_provider_that_goes_on_talking_after_its_last_word_is_cut_off() {
    let ((listener, access), upstream) = (provider().await, upstream());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _request = heard(&mut stream).await;
        stream.write_all(&[HEAD, &chunk("data: [DONE]\n\n")].concat()).await.unwrap();
        // Ends only because the other side closes.
        while stream.write_all(&chunk(&"more ".repeat(100))).await.is_ok() {}
    };
    let ask = async {
        let mut answer = send(&upstream, &access).await.unwrap();
        let _last = answer.piece().await.unwrap();
        answer.part().await;
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn an_answer_dropped_before_its_end_closes_the_connection() {
    let ((listener, access), upstream) = (provider().await, upstream());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _request = heard(&mut stream).await;
        stream.write_all(&[HEAD, &chunk("data: 1\n\n")].concat()).await.unwrap();
        // Nothing but the end of the connection ends this.
        while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
    };
    let ask = async {
        let mut answer = send(&upstream, &access).await.unwrap();
        assert_eq!(answer.piece().await.unwrap().unwrap(), "data: 1\n\n");
        drop(answer);
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_apart_from_an_answer_that_ends() {
    for (wire, broken) in [
        ([HEAD, b"5\r\nhello\r\n0\r\n\r\n"].concat(), false),
        ([HEAD, b"5\r\nhello\r\n"].concat(), true),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello".to_vec(), true),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello".to_vec(), false),
    ] {
        let ((listener, access), upstream) = (provider().await, upstream());
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _request = heard(&mut stream).await;
            stream.write_all(&wire).await.unwrap();
        };
        let ask = async { send(&upstream, &access).await.unwrap().whole().await };
        let ((), body) = tokio::join!(serve, ask);
        let text = String::from_utf8_lossy(&wire).into_owned();
        if broken {
            assert!(matches!(body, Err(CallFailure::Broken(_))), "{text}: {body:?}");
        } else {
            assert_eq!(body.unwrap(), "hello", "{text}");
        }
    }
}

#[tokio::test]
async fn an_error_is_read_and_its_line_kept() {
    let ((listener, access), upstream) = (provider().await, upstream());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _request = heard(&mut stream).await;
        let error = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(error).await.unwrap();
        let _request = heard(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    };
    let ask = async {
        let refused = send(&upstream, &access).await;
        let wait = Some(Duration::from_secs(7));
        assert!(matches!(refused, Err(CallFailure::Refused { retry_after, .. }) if retry_after == wait));
        assert_eq!(send(&upstream, &access).await.unwrap().whole().await.unwrap(), "ok");
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn what_cannot_be_reached_or_addressed_is_a_failure_to_connect() {
    let upstream = upstream();
    let (listener, closed) = provider().await;
    drop(listener);
    for base_url in [closed.base_url.as_str(), "not an address", "/only/a/path"] {
        let access = Access { base_url: base_url.to_owned(), key: None, simulated: false };
        let failed = send(&upstream, &access).await;
        assert!(matches!(failed, Err(CallFailure::Connect(_))), "{base_url}: {failed:?}");
    }
}
