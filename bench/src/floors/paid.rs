//! The paid floor: the least that a metered gateway does. actix in, hyper out, one thread; the key's digest is
//! looked up, the body read as typed JSON, the model's name spliced; one Redis function reserves and one
//! settles with an entry in a stream; the usage is found in the bytes.
//!
//! No routing, fallback, caps, prices, tombstones, records or ledger: it is a floor and not a gateway.

use super::{Forwarder, forwarder};
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Incoming;
use memchr::memmem;
use redis::aio::MultiplexedConnection;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::cell::Cell;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use tokio::sync::OnceCell;

const LIBRARY: &str = "#!lua name=farebox_bench
local function reserve(keys, args)
  local balance, want = tonumber(redis.call('GET', keys[1]) or '0'), tonumber(args[2])
  if balance < want then return 0 end
  redis.call('DECRBY', keys[1], want)
  redis.call('HSET', keys[2], args[1], want)
  return 1
end
local function settle(keys, args)
  local held = redis.call('HGET', keys[2], args[1])
  if not held then return 0 end
  redis.call('HDEL', keys[2], args[1])
  redis.call('INCRBY', keys[1], tonumber(held) - tonumber(args[2]))
  redis.call('XADD', keys[3], 'MAXLEN', '~', '100000', '*', 'u', args[3])
  return 1
end
redis.register_function('bench_reserve', reserve)
redis.register_function('bench_settle', settle)
";
const BALANCE: &str = "{bench}:balance";
const HOLDS: &str = "{bench}:holds";
const USAGE: &str = "{bench}:usage";

/// The one key that the floor knows.
pub const KEY: &str = "sk-floor-0000000000000000000000000000000000000000000000000000000000000000";

struct Floor {
    client: Forwarder,
    upstream: SocketAddr,
    redis_url: String,
    redis: OnceCell<MultiplexedConnection>,
    keys: HashMap<[u8; 32], u64>,
    turn: Cell<u64>,
}

/// The part of a request that the floor reads.
#[derive(Deserialize)]
struct Asked<'a> {
    model: &'a str,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    max_tokens: u32,
    #[serde(borrow)]
    messages: &'a RawValue,
}

/// Serves for ever on one worker.
///
/// # Errors
/// When Redis does not answer or the server cannot start.
pub async fn serve(listener: TcpListener, upstream: SocketAddr, redis_url: String) -> anyhow::Result<()> {
    let mut connection = redis::Client::open(redis_url.as_str())?.get_multiplexed_async_connection().await?;
    redis::cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(LIBRARY).exec_async(&mut connection).await?;
    redis::cmd("SET").arg(BALANCE).arg(1_000_000_000_000_u64).exec_async(&mut connection).await?;
    let server = HttpServer::new(move || {
        let floor = Rc::new(Floor {
            client: forwarder(),
            upstream,
            redis_url: redis_url.clone(),
            redis: OnceCell::new(),
            keys: HashMap::from([(Sha256::digest(KEY).into(), 1)]),
            turn: Cell::new(0),
        });
        App::new()
            .app_data(web::Data::new(floor))
            .app_data(web::PayloadConfig::new(32 * 1024 * 1024))
            .route("/v1/chat/completions", web::post().to(create))
    });
    server.workers(1).tcp_nodelay(true).h1_allow_half_closed(false).listen(listener)?.run().await?;
    Ok(())
}

async fn create(
    request: actix_web::HttpRequest,
    body: Bytes,
    floor: web::Data<Rc<Floor>>,
) -> Result<HttpResponse, actix_web::Error> {
    let known = floor.knows(&request);
    if !known {
        return Ok(HttpResponse::Unauthorized().finish());
    }
    let answer = Rc::clone(&floor).carry(body).await;
    answer.map_err(|error| actix_web::error::ErrorBadGateway(error.to_string()))
}

impl Floor {
    fn knows(&self, request: &actix_web::HttpRequest) -> bool {
        let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let key = header.and_then(|text| text.strip_prefix("Bearer "));
        key.is_some_and(|key| self.keys.contains_key::<[u8; 32]>(&Sha256::digest(key).into()))
    }

    async fn carry(self: Rc<Self>, body: Bytes) -> anyhow::Result<HttpResponse> {
        let asked: Asked<'_> = serde_json::from_slice(&body)?;
        let (stream, onward) = (asked.stream, spliced(&body, asked.model)?);
        let hold = self.turn.get() + 1;
        self.turn.set(hold);
        let want = asked.messages.get().len() + usize::try_from(asked.max_tokens)?;
        anyhow::ensure!(self.act("bench_reserve", &[hold.to_string(), want.to_string()]).await?, "no credit");
        let onward = Request::post(format!("http://{}/v1/chat/completions", self.upstream))
            .header("content-type", "application/json")
            .body(Full::new(onward))?;
        let answer = self.client.request(onward).await?.into_body();
        if stream {
            let body = streamed(Rc::clone(&self), answer, hold);
            return Ok(HttpResponse::Ok().content_type("text/event-stream").streaming(body));
        }
        let whole = answer.collect().await?.to_bytes();
        let cost = tokens(&whole).unwrap_or(0);
        let floor = Rc::clone(&self);
        actix_web::rt::spawn(async move { floor.settle(hold, cost).await });
        Ok(HttpResponse::Ok().content_type("application/json").body(whole))
    }

    async fn act(&self, function: &str, arguments: &[String]) -> anyhow::Result<bool> {
        let connect = || async {
            let client = redis::Client::open(self.redis_url.as_str())?;
            client.get_multiplexed_async_connection().await
        };
        let mut connection = self.redis.get_or_try_init(connect).await?.clone();
        let mut command = redis::cmd("FCALL");
        command.arg(function).arg(3).arg(BALANCE).arg(HOLDS).arg(USAGE).arg(arguments);
        let done: i64 = command.query_async(&mut connection).await?;
        Ok(done == 1)
    }

    async fn settle(&self, hold: u64, cost: u64) {
        let entry = format!("{hold}|1|bench|{cost}|ok");
        // A floor keeps no books; a settlement that fails shows in the balance.
        let _done = self.act("bench_settle", &[hold.to_string(), cost.to_string(), entry]).await;
    }
}

/// The body with the provider's name of the model.
fn spliced(body: &Bytes, model: &str) -> anyhow::Result<Bytes> {
    let at = memmem::find(body, model.as_bytes()).context("no model")?;
    let bare = model.strip_prefix("bench/").unwrap_or(model);
    let mut onward = BytesMut::with_capacity(body.len());
    onward.extend_from_slice(body.get(..at).unwrap_or_default());
    onward.extend_from_slice(bare.as_bytes());
    onward.extend_from_slice(body.get(at + model.len()..).unwrap_or_default());
    Ok(onward.freeze())
}

/// `total_tokens` of the usage, if these bytes have it.
fn tokens(bytes: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"\"total_tokens\":";
    let usage = bytes.get(memmem::find(bytes, b"\"usage\":{")?..)?;
    let digits = usage.get(memmem::find(usage, NAME)? + NAME.len()..)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

struct Passing {
    floor: Rc<Floor>,
    answer: Incoming,
    hold: u64,
    cost: u64,
}

/// The answer's bytes; all frames that are ready go in one write. Settles when the last one was taken.
fn streamed(
    floor: Rc<Floor>,
    answer: Incoming,
    hold: u64,
) -> impl futures_util::Stream<Item = Result<Bytes, hyper::Error>> {
    let passing = Passing { floor, answer, hold, cost: 0 };
    futures_util::stream::unfold(Some(passing), |passing| async move {
        let mut passing = passing?;
        let mut bytes = BytesMut::new();
        let mut next = passing.answer.frame().await;
        let ended = loop {
            match next {
                None => break true,
                Some(Err(error)) => return Some((Err(error), None)),
                Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            }
            match passing.answer.frame().now_or_never() {
                None => break false,
                Some(ready) => next = ready,
            }
        };
        passing.cost = tokens(&bytes).unwrap_or(passing.cost);
        if ended {
            let Passing { floor, hold, cost, .. } = passing;
            actix_web::rt::spawn(async move { floor.settle(hold, cost).await });
            return (!bytes.is_empty()).then(|| (Ok(bytes.freeze()), None));
        }
        Some((Ok(bytes.freeze()), Some(passing)))
    })
}
