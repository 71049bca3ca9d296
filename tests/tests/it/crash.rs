//! `kill -9`: of a gateway under a hundred streams, and of Redis under load. Nothing stays held, nothing is
//! charged twice, and the books balance.

mod points;

use crate::support::{BOOKED, ask, scripted};
use e2e::{Key, Options, Reply, Stack, Streamed, eventually};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use std::cell::Cell;
use std::time::Duration;

const STREAMS: usize = 100;
/// Seconds after which the hold of a dead gateway is swept.
const HOLD_LIFETIME: u32 = 3;
/// The same where gateways live and Redis is away for a moment: their settlements come first.
const PATIENT_LIFETIME: u32 = 12;
/// Everybody who calls while Redis is away.
const CALLERS: usize = 20;
pub(crate) const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";

/// No generation was charged twice, and the ledger's balance is what was bought minus all charges.
fn charged_once(stack: &Stack, bought: i64, balance: i64) {
    let twice = "SELECT count(*) FROM (SELECT id FROM ledger_movement WHERE class = 'charge' GROUP BY id \
                 HAVING count(*) > 1) AS double";
    assert_eq!(stack.database.number(twice).unwrap(), 0);
    let charged = "SELECT coalesce(sum(charge_nano_usd), 0) FROM generation";
    assert_eq!(balance, bought - stack.database.number(charged).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_leaves_no_hold_and_no_double_charge() {
    let options = Options { gateways: 2, hold_lifetime_seconds: HOLD_LIFETIME, ..Options::default() };
    let mut stack = Stack::start(options).await.unwrap();
    let (customer, key) = stack.paying("25").await.unwrap();
    let other = key.at(&stack.gateway(1).unwrap().url());
    let script = json!({ "completion_tokens": 400, "chunk_delay_ms": 25 });
    let body = ask(MODEL, &scripted("A long story, please.", &script), 500);
    let begun = Cell::new(0);
    let survivors = join_all((0..10).map(|_| other.stream(&body)));
    let doomed = join_all((0..STREAMS).map(|_| async {
        let mut counted = false;
        let note = |read: &Streamed| {
            if !counted && read.chunks.len() > 3 {
                counted = true;
                begun.set(begun.get() + 1);
            }
            false
        };
        key.stream_until(&body, note).await
    }));
    let victim = &mut stack.gateways[0].process;
    let killing = async {
        let all = eventually(Duration::from_secs(60), "all streams are under way", || async {
            Ok((begun.get() == STREAMS).then_some(()))
        });
        all.await.unwrap();
        victim.kill().unwrap();
    };
    let ((cut, whole), ()) = join(join(doomed, survivors), killing).await;
    assert!(
        cut.iter().all(|read| read.as_ref().map_or(true, |read| !read.done)),
        "a stream outlived its gateway"
    );
    assert!(
        whole.iter().all(|read| read.as_ref().is_ok_and(|read| read.done)),
        "a neighbor's stream was hurt"
    );
    stack.restart_gateway(0).await.unwrap();
    stack.settled(BOOKED).await.unwrap();

    let rows = stack.database.number("SELECT count(*) FROM generation").unwrap();
    assert_eq!(rows, i64::try_from(STREAMS + whole.len()).unwrap());
    charged_once(&stack, customer.bought(&stack).unwrap(), customer.balance(&stack).unwrap());
    let again = key.chat(&ask(MODEL, "Are you back?", 20)).await.unwrap();
    assert_eq!(again.status, 200, "{}", again.text);
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}

/// Calls again and again until told to stop; every answer counts.
async fn call_until(key: &Key, body: &Value, stop: &Cell<bool>) -> Vec<Reply> {
    let mut replies = Vec::new();
    while !stop.get() {
        replies.push(key.chat(body).await.unwrap());
    }
    replies
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_comes_back_by_itself_and_loses_nothing() {
    let options = Options { gateways: 2, hold_lifetime_seconds: PATIENT_LIFETIME, ..Options::default() };
    let mut stack = Stack::start(options).await.unwrap();
    let (customer, key) = stack.paying("25").await.unwrap();
    let keys = [key.clone(), key.at(&stack.gateway(1).unwrap().url())];
    let body = ask(MODEL, &scripted("Quick.", &json!({ "latency_ms": 60, "completion_tokens": 20 })), 30);
    let stop = Cell::new(false);
    let calling = join_all((0..CALLERS).map(|number| call_until(&keys[number % keys.len()], &body, &stop)));
    let providers = &stack.providers;
    let redis = &mut stack.redis;
    let breaking = async {
        served(providers, 200).await;
        redis.kill().unwrap();
        let down = eventually(Duration::from_secs(20), "calls are refused", || async {
            Ok(key.chat(&body).await.ok().filter(|reply| reply.status == 503))
        });
        assert_ne!(down.await.unwrap().header("retry-after"), "");
        redis.restart().await.unwrap();
        let back = eventually(Duration::from_secs(60), "calls are served again", || async {
            let mut served = 0;
            for key in &keys {
                served += usize::from(key.chat(&body).await?.status == 200);
            }
            Ok((served == keys.len()).then_some(()))
        });
        back.await.unwrap();
        stop.set(true);
    };
    let (replies, ()) = join(calling, breaking).await;
    let replies: Vec<Reply> = replies.into_iter().flatten().collect();
    let answered: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 200).collect();
    println!("{} calls, {} answered", replies.len(), answered.len());
    for reply in &replies {
        assert!(matches!(reply.status, 200 | 503), "{}: {}", reply.status, reply.text);
    }
    stack.settled(BOOKED).await.unwrap();
    for reply in &answered {
        let charge = key.receipt_nano(reply.generation(), "/usage").await.unwrap();
        assert_eq!(charge, reply.cost().unwrap(), "{}", reply.generation());
    }
    charged_once(&stack, customer.bought(&stack).unwrap(), customer.balance(&stack).unwrap());
    stack.verify().await.unwrap();
}

/// Waits until providers have seen so many requests.
async fn served(providers: &e2e::Providers, requests: u64) {
    eventually(Duration::from_secs(60), "requests reach the provider", || async {
        let counts = providers.counts().await?;
        Ok(counts["total_requests"].as_u64().filter(|seen| *seen >= requests))
    })
    .await
    .unwrap();
}
