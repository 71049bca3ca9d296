//! The bare floor: hyper in, hyper out, one thread. The request is buffered, the answer passed as it comes.

use super::{Forwarder, forwarder};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Serves for ever. Must run inside a `LocalSet`.
///
/// # Errors
/// When the listener dies.
pub async fn serve(listener: TcpListener, upstream: SocketAddr) -> anyhow::Result<()> {
    let client = forwarder();
    loop {
        let (stream, _peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let client = client.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| forward(client.clone(), upstream, request));
            let served = hyper::server::conn::http1::Builder::new();
            // A client that leaves is no matter.
            let _ended = served.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn forward(
    client: Forwarder,
    upstream: SocketAddr,
    request: Request<Incoming>,
) -> anyhow::Result<Response<Incoming>> {
    let path = request.uri().path().to_owned();
    let body: Bytes = request.into_body().collect().await?.to_bytes();
    let onward = Request::post(format!("http://{upstream}{path}"))
        .header("content-type", "application/json")
        .body(Full::new(body))?;
    Ok(client.request(onward).await?)
}
