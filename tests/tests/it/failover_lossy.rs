//! A primary is killed while its replica is behind: Redis loses settlements that it had acknowledged. The books
//! lose none and double none, whoever was told the price of a call is charged exactly that, and service goes on.

use crate::support::{ask, scripted};
use e2e::{Key, Options, Reply, Stack, eventually, full_size};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use std::cell::Cell;
use std::time::Duration;

/// How far the replica is behind when its primary dies.
const BEHIND: Duration = Duration::from_millis(400);
const CALLERS: usize = 16;
/// Calls that are answered before the primary dies.
const CALLS: usize = 60;
const HOLD_LIFETIME: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(60);
const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_loses_acknowledged_settlements_loses_no_charge() {
    let rounds = if full_size() { 50 } else { 3 };
    let options = Options {
        gateways: 2,
        replicated: true,
        hold_lifetime_seconds: HOLD_LIFETIME,
        environment: vec![("FAREBOX_REDIS_FENCE_SECONDS".to_owned(), "1".to_owned())],
        ..Options::default()
    };
    let mut stack = Stack::start(options).await.unwrap();
    let (customer, key) = stack.paying("100").await.unwrap();
    let keys = [key.clone(), key.at(&stack.gateway(1).unwrap().url())];
    let of = format!("SELECT shard FROM account WHERE org_id = '{}'", customer.org);
    let shard = stack.database.number(&of).unwrap();
    let (mut answered, mut lossy_rounds, mut lost) = (Vec::new(), 0, 0);
    for round in 1..=rounds {
        let (replies, gone) = play(&mut stack, &keys, shard).await;
        lost += gone;
        lossy_rounds += u32::from(gone > 0);
        answered.extend(replies);
        let calls = i64::try_from(answered.len()).unwrap();
        eventually(PATIENCE, "every answered call is booked", || async {
            let booked = "SELECT count(*) FROM generation WHERE closing = 2";
            Ok((stack.database.number(booked)? >= calls).then_some(()))
        })
        .await
        .unwrap();
        stack.settled(PATIENCE).await.unwrap();
        println!(
            "round {round}: {calls} calls answered so far, {gone} acknowledged settlements lost by Redis"
        );
    }
    let late =
        stack.database.number("SELECT count(*) FROM generation WHERE closing = 2 AND debit_seq = 0").unwrap();
    println!(
        "{rounds} rounds, {lossy_rounds} lossy, {lost} settlements lost by Redis, {late} booked by the ledger first"
    );
    assert!(lossy_rounds * 10 >= rounds * 9, "Redis lost nothing, so nothing was tested");

    for reply in &answered {
        // What this Redis took and lost is repeated after ten seconds; other calls may have filled the count.
        let booked = eventually(PATIENCE, "the answered call is booked", || async {
            Ok(key.receipt_nano(reply.generation(), "/usage").await.ok())
        });
        let charge = booked.await.unwrap();
        assert_eq!(charge, reply.cost().unwrap(), "{}", reply.generation());
    }
    stack.settled(PATIENCE).await.unwrap();
    let twice = "SELECT count(*) FROM (SELECT id FROM ledger_movement WHERE class = 'charge' GROUP BY id \
                 HAVING count(*) > 1) AS double";
    assert_eq!(stack.database.number(twice).unwrap(), 0);
    let charged = stack.database.number("SELECT coalesce(sum(charge_nano_usd), 0) FROM generation").unwrap();
    assert_eq!(customer.balance(&stack).unwrap(), customer.bought(&stack).unwrap() - charged);
    stack.verify().await.unwrap();
}

/// Load, a failover in the middle of it, service again. The calls that were answered, and how many settlements
/// the promoted replica lacks of those that its primary had acknowledged.
async fn play(stack: &mut Stack, keys: &[Key; 2], shard: i64) -> (Vec<Reply>, u64) {
    let body = ask(MODEL, &scripted("Quick.", &json!({ "latency_ms": 30, "completion_tokens": 20 })), 30);
    let (stop, count) = (Cell::new(false), Cell::new(0));
    let calling = join_all((0..CALLERS).map(|number| call_until(&keys[number % 2], &body, &stop, &count)));
    let redis = &mut stack.redis;
    let replicas = stack.replicas.as_mut().unwrap();
    let breaking = async {
        replicas.delay(BEHIND);
        answers(&count, CALLS).await;
        let acknowledged = redis.settlements(shard).unwrap();
        replicas.fail_over(redis).await.unwrap();
        let kept = redis.settlements(shard).unwrap();
        replicas.complete(redis).await.unwrap();
        let before = count.get();
        answers(&count, before + CALLERS).await;
        for key in keys {
            let served = eventually(PATIENCE, "both gateways serve", || async {
                Ok((key.chat(&body).await?.status == 200).then_some(()))
            });
            served.await.unwrap();
        }
        stop.set(true);
        acknowledged.saturating_sub(kept)
    };
    let (replies, lost) = join(calling, breaking).await;
    let replies: Vec<Reply> = replies.into_iter().flatten().collect();
    for reply in &replies {
        assert!(matches!(reply.status, 200 | 503), "{}: {}", reply.status, reply.text);
        assert!(reply.status == 200 || !reply.header("retry-after").is_empty(), "{}", reply.text);
    }
    (replies.into_iter().filter(|reply| reply.status == 200).collect(), lost)
}

async fn answers(count: &Cell<usize>, wanted: usize) {
    let enough =
        eventually(PATIENCE, "calls are answered", || async { Ok((count.get() >= wanted).then_some(())) });
    enough.await.unwrap();
}

/// Calls again and again until told to stop; every answer counts.
async fn call_until(key: &Key, body: &Value, stop: &Cell<bool>, count: &Cell<usize>) -> Vec<Reply> {
    let mut replies = Vec::new();
    while !stop.get() {
        let reply = key.chat(body).await.unwrap();
        count.set(count.get() + usize::from(reply.status == 200));
        replies.push(reply);
    }
    replies
}
