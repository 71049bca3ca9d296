//! A minute without PostgreSQL under load: calls are paid from Redis within the bound, keys that a process never saw
//! work, revocations reach every gateway, and nothing is lost. Redis away is a refusal that says when to come back.

use crate::support::{BOOKED, DOLLAR, ask, scripted};
use e2e::{Customer, Key, KeyWish, Options, Reply, Shutdown, Stack, eventually, text_of};
use futures_util::future::{join, join_all};
use reqwest::Method;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";
/// How long PostgreSQL is away.
const AWAY: Duration = Duration::from_secs(60);
/// How long calls are paid without it, as the stack is told.
const BOUND: Duration = Duration::from_secs(20);
/// Around the bound calls may be answered either way: figures are read every second or two.
const MARGIN: Duration = Duration::from_secs(6);
/// Everybody who calls, each with keys of its own.
const CALLERS: usize = 12;
/// Keys that are used for the first time without PostgreSQL.
const NEW_KEYS: usize = 24;
/// Look-ups of keys at once, over all gateways.
const LOOKUPS: i64 = 64;

/// One answer and when it was asked for.
struct Answer {
    asked: Instant,
    gateway: usize,
    reply: Reply,
}

/// Calls both gateways in turn until told to stop.
async fn call(keys: &[Key; 2], body: &Value, stop: Instant, answers: &RefCell<Vec<Answer>>) {
    let mut turn = 0;
    while Instant::now() < stop {
        let (gateway, asked) = (turn % 2, Instant::now());
        let reply = keys[gateway].chat(body).await.unwrap();
        let refused = reply.status != 200;
        answers.borrow_mut().push(Answer { asked, gateway, reply });
        turn += 1;
        if refused {
            // As a client with manners does; a second is what it is told at least.
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

fn at_both(stack: &Stack, key: &Key) -> [Key; 2] {
    [key.clone(), key.at(&stack.gateway(1).unwrap().url())]
}

/// Keys that only PostgreSQL and its copy know.
async fn new_keys(stack: &Stack, customer: &mut Customer) -> Vec<Key> {
    let mut keys = Vec::new();
    for _ in 0..NEW_KEYS {
        keys.push(customer.key(stack, KeyWish::default()).await.unwrap());
    }
    keys
}

/// The copy has every change.
async fn copied(stack: &Stack) {
    eventually(Duration::from_secs(20), "the copy of keys is filled", || async {
        let whole = !stack.redis.run(&["GET", "{ck}:w"])?.trim().is_empty();
        let waiting = stack.database.number("SELECT count(*) FROM shelf_outbox")?;
        Ok((whole && waiting == 0).then_some(()))
    })
    .await
    .unwrap();
}

/// From the moment at which the revocation is asked for.
async fn revoked_everywhere(keys: &[Key; 2], body: &Value) {
    let from = Instant::now();
    let refused = keys.each_ref().map(|key| {
        eventually(Duration::from_secs(1), "the revoked key is refused", || async {
            Ok(Some(key.chat(body).await?).filter(|reply| reply.status == 401))
        })
    });
    for refused in join_all(refused).await {
        refused.unwrap();
    }
    println!("revoked at both gateways after {:?}", from.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_without_postgresql_is_served_up_to_the_bound_and_loses_nothing() {
    let bound = ("FAREBOX_UNBOOKED_SECONDS".to_owned(), BOUND.as_secs().to_string());
    let options = Options { gateways: 2, own_postgres: true, environment: vec![bound], ..Options::default() };
    let mut stack = Stack::start(options).await.unwrap();
    let (mut customer, manager, key, doomed) = people(&stack).await;
    let body = ask(MODEL, &scripted("Quick.", &json!({ "latency_ms": 40, "completion_tokens": 20 })), 30);
    let unseen = new_keys(&stack, &mut customer).await;
    let everybody = at_both(&stack, &key);
    for key in at_both(&stack, &doomed.0).iter().chain(&everybody) {
        assert_eq!(key.chat(&body).await.unwrap().status, 200);
    }
    // A process that never saw a key.
    stack.kill_gateway(1).unwrap();
    stack.restart_gateway(1).await.unwrap();
    copied(&stack).await;

    let begun = Instant::now();
    let away = begun + Duration::from_secs(3);
    let back = away + AWAY;
    let answers = RefCell::new(Vec::new());
    let calling = join_all((0..CALLERS).map(|_| call(&everybody, &body, back, &answers)));
    let [doomed_here, doomed_there] = at_both(&stack, &doomed.0);
    let other = stack.gateway(1).unwrap().url();
    let breaking = async {
        tokio::time::sleep_until(away).await;
        stack.postgres().unwrap().stop(Shutdown::Fast).await.unwrap();
        for key in &unseen {
            let reply = key.at(&other).chat(&body).await.unwrap();
            assert_eq!(reply.status, 200, "a key that this process never saw: {}", reply.text);
        }
        let nothing = json!({});
        let revoking = manager.send(Method::DELETE, &doomed.1, &nothing);
        let doomed_keys = [doomed_here.clone(), doomed_there.clone()];
        let (gone, ()) = join(revoking, revoked_everywhere(&doomed_keys, &body)).await;
        let gone = gone.unwrap();
        assert_eq!(gone.status, 503, "{}", gone.text);
        assert_ne!(gone.header("retry-after"), "");
        assert_eq!(gone.body.pointer("/error/metadata/key_blocked"), Some(&json!(true)), "{}", gone.text);
        assert!(Instant::now() < away + BOUND - Duration::from_secs(2), "too slow to be within the bound");
        tokio::time::sleep_until(back).await;
    };
    let ((), _) = join(breaking, calling).await;
    let answers = answers.into_inner();
    judge(&answers, away);
    stack.postgres().unwrap().launch().await.unwrap();
    // Everybody comes back at once, with keys that must be looked up.
    let crowd: Vec<Key> = unseen.iter().chain([&key]).flat_map(|key| at_both(&stack, key)).collect();
    let served = eventually(Duration::from_secs(60), "both gateways serve again", || async {
        let replies = join_all(crowd.iter().map(|key| key.chat(&body))).await;
        let replies: Vec<Reply> = replies.into_iter().collect::<anyhow::Result<_>>()?;
        assert!(replies.iter().all(|reply| matches!(reply.status, 200 | 503)), "{replies:?}");
        Ok(replies.iter().all(|reply| reply.status == 200).then_some(()))
    });
    served.await.unwrap();
    let mut most = 0;
    for gateway in 0..2 {
        most += stack.metric_of(gateway, "farebox_key_lookups_most").await.unwrap().parse::<i64>().unwrap();
    }
    println!("at most {most} key look-ups at a time");
    assert!((1..=LOOKUPS).contains(&most), "{most}");
    for key in [doomed_here, doomed_there] {
        assert_eq!(key.chat(&body).await.unwrap().status, 401);
    }
    recorded(&stack, &doomed.1).await;
    stack.settled(BOOKED).await.unwrap();
    charged(&stack, &customer, &key, &answers).await;
    stack.verify().await.unwrap();
}

/// A customer with credits, a management key, and two keys; of the second also where it is managed.
async fn people(stack: &Stack) -> (Customer, Key, Key, (Key, String)) {
    let (customer, key, manager) = stack.demo().await.unwrap();
    let made = manager.send(Method::POST, "/keys", &json!({ "name": "to be revoked" })).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.text);
    let doomed = stack.key(0, text_of(&made.body, "/key")).unwrap();
    let path = format!("/keys/{}", text_of(&made.body, "/data/hash"));
    (customer, manager, key, (doomed, path))
}

/// Within the bound everything is served; past it everything is refused with 503 and says when to come back; never
/// is anybody told that a key or the credit is missing.
fn judge(answers: &[Answer], away: Instant) {
    let mut seen: BTreeMap<(&str, u16), usize> = BTreeMap::new();
    for answer in answers {
        let phase = match answer.asked {
            asked if asked < away + BOUND - MARGIN => "within",
            asked if asked < away + BOUND + MARGIN => "around",
            _ => "past",
        };
        let (status, text) = (answer.reply.status, &answer.reply.text);
        *seen.entry((phase, status)).or_default() += 1;
        match phase {
            "within" => assert_eq!(status, 200, "gateway {}: {text}", answer.gateway),
            "past" => assert_eq!(status, 503, "gateway {}: {text}", answer.gateway),
            _ => assert!(matches!(status, 200 | 503), "{status}: {text}"),
        }
        if status == 503 {
            assert_ne!(answer.reply.header("retry-after"), "", "{text}");
        }
    }
    println!("{} answers: {seen:?}", answers.len());
    assert!(seen.get(&("within", 200)).is_some_and(|served| *served >= 200), "{seen:?}");
    assert!(seen.get(&("past", 503)).is_some_and(|refused| *refused >= 200), "{seen:?}");
}

/// What was blocked without PostgreSQL is revoked in it by itself.
async fn recorded(stack: &Stack, path: &str) {
    let hash = path.trim_start_matches("/keys/");
    let deleted = format!("SELECT count(*) FROM api_key WHERE hash = '{hash}' AND deleted_at IS NOT NULL");
    eventually(Duration::from_secs(30), "the revocation is in the store", || async {
        Ok((stack.database.number(&deleted)? == 1).then_some(()))
    })
    .await
    .unwrap();
}

/// Every answer's cost is in the ledger exactly once.
async fn charged(stack: &Stack, customer: &Customer, key: &Key, answers: &[Answer]) {
    let served: Vec<&Reply> =
        answers.iter().map(|answer| &answer.reply).filter(|reply| reply.status == 200).collect();
    let ids: Vec<String> = served.iter().map(|reply| format!("'{}'", reply.generation())).collect();
    let mut cost = 0;
    for reply in &served {
        cost += reply.cost().unwrap();
    }
    for reply in served.iter().step_by(served.len().div_ceil(20).max(1)) {
        assert_eq!(key.receipt_nano(reply.generation(), "/usage").await.unwrap(), reply.cost().unwrap());
    }
    let spent = customer.bought(stack).unwrap() - customer.balance(stack).unwrap();
    assert!(spent >= cost && spent < 25 * DOLLAR, "{spent} spent, {cost} in {} answers", ids.len());
    let all = stack.database.number("SELECT sum(charge_nano_usd) FROM generation").unwrap();
    assert_eq!(spent, all);
}
