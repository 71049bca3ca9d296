//! What a proxy costs at least: with nothing on top, and with the least that paid calls need.

pub mod bare;
pub mod paid;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

type Forwarder = Client<HttpConnector, Full<Bytes>>;

fn forwarder() -> Forwarder {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(512).build(connector)
}
