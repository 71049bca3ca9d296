//! The faults: each is injected, looked at whether it was felt, and taken back before the next one.

use super::load::Load;
use e2e::{Shutdown, Stack};
use serde_json::json;
use std::time::Duration;
use testkit::proxy::{Direction, Fault as Hurt, Proxy};

/// How long stores and processes stay away or silent. Shorter than a hold lives.
const AWAY: Duration = Duration::from_secs(3);
/// How long an answer over a slowed wire waits, each way.
const SLOW: Duration = Duration::from_millis(60);
/// Bytes of replies after which a connection is cut, again and again.
const LOST_AFTER: u64 = 2_000;
/// The gateway that faults may restart.
const RESTARTED: usize = 0;
const OTHER: usize = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    GatewayStopped,
    GatewayFrozen,
    RedisKilled,
    RedisFrozen,
    RedisClientsKilled,
    PostgresFast,
    PostgresImmediate,
    PostgresSessionsEnded,
    RedisSlow,
    RedisReset,
    RedisRepliesLost,
    PostgresSilent,
    PostgresReset,
    ProviderReset,
    ProviderErrors,
    WebhooksTwice,
    CatalogPublished,
}

pub(super) const KINDS: [Fault; 17] = [
    Fault::GatewayStopped,
    Fault::GatewayFrozen,
    Fault::RedisKilled,
    Fault::RedisFrozen,
    Fault::RedisClientsKilled,
    Fault::PostgresFast,
    Fault::PostgresImmediate,
    Fault::PostgresSessionsEnded,
    Fault::RedisSlow,
    Fault::RedisReset,
    Fault::RedisRepliesLost,
    Fault::PostgresSilent,
    Fault::PostgresReset,
    Fault::ProviderReset,
    Fault::ProviderErrors,
    Fault::WebhooksTwice,
    Fault::CatalogPublished,
];

impl Fault {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::GatewayStopped => "gateway stopped",
            Self::GatewayFrozen => "gateway frozen",
            Self::RedisKilled => "redis killed",
            Self::RedisFrozen => "redis frozen",
            Self::RedisClientsKilled => "redis clients killed",
            Self::PostgresFast => "postgres restarted",
            Self::PostgresImmediate => "postgres crashed",
            Self::PostgresSessionsEnded => "postgres sessions ended",
            Self::RedisSlow => "redis wire slow",
            Self::RedisReset => "redis wire reset",
            Self::RedisRepliesLost => "redis replies lost",
            Self::PostgresSilent => "postgres wire silent",
            Self::PostgresReset => "postgres wire reset",
            Self::ProviderReset => "provider wire reset",
            Self::ProviderErrors => "provider errors",
            Self::WebhooksTwice => "webhooks twice",
            Self::CatalogPublished => "catalog published",
        }
    }

    /// Whether it was felt.
    pub(super) async fn inject(self, stack: &mut Stack, load: &Load, turn: usize) -> bool {
        match self {
            Self::GatewayStopped => stop_gateway(stack).await,
            Self::GatewayFrozen => freeze_gateway(stack, turn % 2).await,
            Self::RedisKilled => {
                stack.redis.kill().unwrap();
                let felt = refused(load).await;
                stack.redis.restart().await.unwrap();
                felt
            }
            Self::RedisFrozen => {
                stack.redis.freeze(true).unwrap();
                let (felt, ()) = futures_util::future::join(refused(load), tokio::time::sleep(AWAY)).await;
                stack.redis.freeze(false).unwrap();
                felt
            }
            Self::RedisClientsKilled => {
                let killed = stack.redis.run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).unwrap();
                killed.trim().parse::<u64>().unwrap() > 0
            }
            Self::PostgresFast => restart_postgres(stack, Shutdown::Fast).await,
            Self::PostgresImmediate => restart_postgres(stack, Shutdown::Immediate).await,
            Self::PostgresSessionsEnded => {
                let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                           WHERE datname = current_database() AND pid <> pg_backend_pid()";
                stack.database.number(end).unwrap() > 0
            }
            Self::RedisSlow => {
                let slow = Hurt { latency: SLOW, ..Hurt::default() };
                hurt(&stack.wires().unwrap().redis, slow, slow).await
            }
            Self::RedisReset => reset(&stack.wires().unwrap().redis).await,
            Self::RedisRepliesLost => {
                let lost = Hurt { cut_after: Some(LOST_AFTER), ..Hurt::default() };
                hurt(&stack.wires().unwrap().redis, Hurt::default(), lost).await
            }
            Self::PostgresSilent => {
                let silent = Hurt { blackhole: true, ..Hurt::default() };
                hurt(&stack.wires().unwrap().postgres, silent, silent).await
            }
            Self::PostgresReset => reset(&stack.wires().unwrap().postgres).await,
            Self::ProviderReset => reset(&stack.wires().unwrap().providers).await,
            Self::ProviderErrors => provider_errors(stack, load).await,
            Self::WebhooksTwice => buy_with_webhooks_twice(stack, load).await,
            Self::CatalogPublished => stack.add_provider(&format!("soak-{turn}"), "1", "2").await.is_ok(),
        }
    }
}

/// Somebody's call is refused, or does not come through at all.
async fn refused(load: &Load) -> bool {
    for _ in 0..20 {
        if load.probe(OTHER).await != Some(200) {
            return true;
        }
    }
    false
}

async fn stop_gateway(stack: &mut Stack) -> bool {
    let process = &mut stack.gateways[RESTARTED].process;
    process.terminate().unwrap();
    let ended = e2e::eventually(Duration::from_secs(60), "the gateway has ended", || {
        let ended = process.ended();
        async move { ended }
    });
    let clean = ended.await.unwrap().success();
    stack.restart_gateway(RESTARTED).await.unwrap();
    clean
}

async fn freeze_gateway(stack: &Stack, gateway: usize) -> bool {
    let gateway = stack.gateway(gateway).unwrap();
    gateway.process.signal("STOP").unwrap();
    let (url, glance) = (format!("{}/healthz", gateway.url()), Duration::from_secs(1));
    // The signal takes a moment to reach every thread.
    let silent = e2e::eventually(AWAY, "the gateway is silent", || async {
        Ok(stack.http.get(&url).timeout(glance).send().await.err().map(drop))
    });
    let felt = silent.await.is_ok();
    tokio::time::sleep(AWAY).await;
    gateway.process.signal("CONT").unwrap();
    felt
}

async fn restart_postgres(stack: &mut Stack, how: Shutdown) -> bool {
    let postgres = stack.postgres().unwrap();
    postgres.stop(how).await.unwrap();
    tokio::time::sleep(AWAY).await;
    postgres.launch().await.unwrap();
    true
}

/// Hurts both directions for a while.
async fn hurt(wire: &Proxy, to_server: Hurt, to_client: Hurt) -> bool {
    let before = wire.counts();
    wire.set(Direction::ToServer, to_server);
    wire.set(Direction::ToClient, to_client);
    tokio::time::sleep(AWAY).await;
    wire.heal();
    let after = wire.counts();
    (after.delayed, after.held, after.cut) != (before.delayed, before.held, before.cut)
}

/// Resets whatever is open.
async fn reset(wire: &Proxy) -> bool {
    let before = wire.counts().reset;
    wire.reset();
    let done = e2e::eventually(AWAY, "connections are reset", || async {
        Ok((wire.counts().reset > before).then_some(()))
    });
    done.await.is_ok()
}

/// Attempts at providers that did not go well, at both gateways.
async fn failed_attempts(stack: &Stack) -> u64 {
    let mut failed = 0;
    for gateway in &stack.gateways {
        let text = stack.http.get(gateway.metrics_url()).send().await.unwrap().text().await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with("farebox_upstream_attempts_total{"));
        let bad = lines.filter(|line| !line.contains("outcome=\"ok\""));
        failed += bad.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
    }
    failed
}

/// Some calls go badly at every provider that is tried, each in its own way.
async fn provider_errors(stack: &Stack, load: &Load) -> bool {
    let before = failed_attempts(stack).await;
    load.ask_for(&[
        json!({ "status": 500 }),
        json!({ "status": 429, "retry_after": "1" }),
        json!({ "cut_after_chunks": 2 }),
        json!({ "malformed_after_chunks": 1 }),
        json!({ "error_after_chunks": 3 }),
        json!({ "empty": true }),
    ]);
    tokio::time::sleep(AWAY).await;
    load.ask_for(&[]);
    failed_attempts(stack).await > before
}

/// A purchase whose every event arrives twice credits once.
async fn buy_with_webhooks_twice(stack: &Stack, load: &Load) -> bool {
    stack.payments.webhooks(json!({ "mode": "duplicate" })).await.unwrap();
    let mut buyer = load.buyer.borrow().clone();
    let before = buyer.bought(stack).unwrap();
    let bought = buyer.buy(stack, "5").await;
    stack.payments.webhooks(json!({ "mode": "normal" })).await.unwrap();
    let credited = buyer.bought(stack).unwrap() - before;
    *load.buyer.borrow_mut() = buyer;
    bought.is_ok() && credited == 5_000_000_000
}
