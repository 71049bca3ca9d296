//! What a stack does by itself when something was lost: an emptied Redis is filled, a lease is handed over, a
//! settlement that comes too late corrects the books, a notice line that died in silence hides no revocation.

use crate::support::{BOOKED, ask, scripted};
use e2e::{Key, KeyWish, Options, Stack, eventually, text_of};
use reqwest::Method;
use serde_json::json;
use std::cell::Cell;
use std::time::Duration;

const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";
const SOON: Duration = Duration::from_secs(1);
/// Seconds without renewal after which a hold is swept.
const HOLD_LIFETIME: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_gets_its_functions_accounts_and_keys_back() {
    let mut stack = Stack::one().await.unwrap();
    let (customer, key) = stack.paying("5").await.unwrap();
    let body = ask(MODEL, "Are you there?", 10);
    assert_eq!(key.chat(&body).await.unwrap().status, 200);
    stack.settled(BOOKED).await.unwrap();
    let before = customer.balance(&stack).unwrap();
    stack.redis.wipe().unwrap();
    stack.redis.restart().await.unwrap();
    assert_eq!(stack.redis.run(&["FUNCTION", "LIST"]).unwrap().trim(), "");
    let served = eventually(Duration::from_secs(30), "calls are served again", || async {
        let reply = key.chat(&body).await?;
        assert!(matches!(reply.status, 200 | 503), "{} {}", reply.status, reply.text);
        Ok((reply.status == 200).then_some(reply))
    });
    let cost = served.await.unwrap().cost().unwrap();
    eventually(Duration::from_secs(10), "the copy of keys is whole again", || async {
        Ok(Some(stack.redis.run(&["GET", "{ck}:w"])?).filter(|life| !life.trim().is_empty()))
    })
    .await
    .unwrap();
    stack.settled(BOOKED).await.unwrap();
    assert_eq!(customer.balance(&stack).unwrap(), before - cost);
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_cleanly_gives_the_writers_lease_back() {
    let mut stack = Stack::start(Options { gateways: 2, ..Options::default() }).await.unwrap();
    let owner =
        |stack: &Stack| stack.database.ask("SELECT owner FROM ingest_lease WHERE until > now()").unwrap();
    let first = owner(&stack);
    assert_ne!(first, "", "nobody has the lease");
    let addresses = [0, 1].map(|gateway| stack.gateway(gateway).unwrap().address());
    let number = usize::from(!first.contains(&addresses[0]));
    assert!(first.contains(&addresses[number]), "{first}");
    let process = &mut stack.gateways[number].process;
    process.terminate().unwrap();
    let ended = eventually(Duration::from_secs(30), "the process has ended", || {
        let ended = process.ended();
        async { ended }
    });
    assert!(ended.await.unwrap().success());
    // A lease that runs out would take ten seconds.
    let next = eventually(Duration::from_secs(4), "the other process has the lease", || async {
        Ok(Some(owner(&stack)).filter(|owner| !owner.is_empty() && *owner != first))
    });
    assert!(next.await.unwrap().contains(&addresses[1 - number]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_slept_through_its_hold_corrects_what_the_sweeper_booked() {
    let options = Options { gateways: 2, hold_lifetime_seconds: HOLD_LIFETIME, ..Options::default() };
    let stack = Stack::start(options).await.unwrap();
    let (customer, key) = stack.paying("5").await.unwrap();
    let script = json!({ "completion_tokens": 200, "chunk_delay_ms": 20 });
    let body = ask(MODEL, &scripted("A story, please.", &script), 300);
    let begun = Cell::new(false);
    let sleeper = &stack.gateway(0).unwrap().process;
    let sleeping = async {
        let under_way = eventually(Duration::from_secs(20), "the stream is under way", || async {
            Ok(begun.get().then_some(()))
        });
        under_way.await.unwrap();
        sleeper.signal("STOP").unwrap();
        let swept = eventually(Duration::from_secs(60), "the hold is swept", || async {
            Ok((stack.database.number("SELECT count(*) FROM generation WHERE closing = 1")? == 1)
                .then_some(()))
        });
        let swept = swept.await;
        let provisional = customer.balance(&stack);
        sleeper.signal("CONT").unwrap();
        swept.unwrap();
        provisional.unwrap()
    };
    let reading = key.stream_until(&body, |read| {
        begun.set(read.chunks.len() > 3);
        false
    });
    let (streamed, provisional) = futures_util::future::join(reading, sleeping).await;
    let streamed = streamed.unwrap();
    assert!(streamed.done, "the stream was cut");
    let cost = streamed.cost().unwrap();
    let bought = customer.bought(&stack).unwrap();
    assert!(bought - provisional < cost, "the sweeper knew only the last heartbeat");
    eventually(BOOKED, "the late settlement is booked", || async {
        Ok((bought - customer.balance(&stack)? == cost).then_some(()))
    })
    .await
    .unwrap();
    let last = "SELECT count(*) FROM generation WHERE closing = 2";
    assert_eq!(stack.database.number(last).unwrap(), 1);
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}

/// A key made by the API, with where it is managed.
async fn made(stack: &Stack, manager: &Key) -> (Key, String) {
    let made = manager.send(Method::POST, "/keys", &json!({ "name": "to be revoked" })).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.text);
    let key = stack.key(0, text_of(&made.body, "/key")).unwrap();
    (key, format!("/keys/{}", text_of(&made.body, "/data/hash")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_line_that_died_in_silence_keeps_no_revoked_key_alive() {
    let stack =
        Stack::start(Options { gateways: 2, own_postgres: true, ..Options::default() }).await.unwrap();
    let (_customer, _key, manager) = stack.demo().await.unwrap();
    let (here, path) = made(&stack, &manager).await;
    let there = here.at(&stack.gateway(1).unwrap().url());
    let body = ask(MODEL, "Hello", 10);
    for key in [&here, &there] {
        assert_eq!(key.chat(&body).await.unwrap().status, 200);
    }
    let listening =
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    let pids = stack.database.ask(listening).unwrap();
    assert_eq!(pids.lines().count(), 2, "{pids}");
    let signal = |name: &str| {
        for pid in pids.lines() {
            assert!(std::process::Command::new("kill").args([name, pid]).status().unwrap().success());
        }
    };
    signal("-STOP");
    let deleted = manager.send(Method::DELETE, &path, &json!({})).await.unwrap();
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    for key in [&here, &there] {
        let refused = eventually(SOON, "the revoked key is refused", || async {
            Ok(Some(key.chat(&body).await?).filter(|reply| reply.status == 401))
        });
        refused.await.unwrap();
    }
    signal("-CONT");
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_takes_no_credential_takes_no_own_key_either() {
    let stack = Stack::one().await.unwrap();
    let model = stack.add_provider("open", "1", "1").await.unwrap();
    let (mut customer, key) = stack.paying("5").await.unwrap();
    let refused = customer.provider_key("open", "any text at all 0123456789", false).await;
    assert!(refused.is_err(), "a key was stored at a provider without credentials");
    // A row that is there all the same is not used: the call is paid with credits.
    customer.provider_key("groq", "gsk_own_key_of_the_customer_0123456789", false).await.unwrap();
    stack.database.ask("UPDATE provider_key SET provider = 'open'").unwrap();
    let second = customer.key(&stack, KeyWish::default()).await.unwrap();
    for key in [&key, &second] {
        let paid = eventually(Duration::from_secs(5), "the row is read", || async {
            let reply = key.chat(&ask(&model, "Hello", 10)).await?;
            assert_eq!(
                (reply.status, &reply.body["usage"]["is_byok"]),
                (200, &json!(false)),
                "{}",
                reply.text
            );
            Ok(Some(reply.cost()?))
        });
        assert!(paid.await.unwrap() > 0);
    }
    let own = "SELECT count(*) FROM generation WHERE own_key";
    stack.settled(BOOKED).await.unwrap();
    assert_eq!(stack.database.number(own).unwrap(), 0);
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_listen_is_a_bad_gateway_that_says_when_to_retry() {
    let stack = Stack::one().await.unwrap();
    let model = stack.add_provider("deaf", "1", "1").await.unwrap();
    let (_customer, key) = stack.paying("5").await.unwrap();
    // Nobody listens at port 9 of this machine.
    let moved = "UPDATE provider SET spec = jsonb_set(spec, '{base_url}', '\"http://127.0.0.1:9/v1\"') WHERE slug = 'deaf'";
    stack.database.ask(moved).unwrap();
    let more = stack.add_provider("other", "1", "1").await.unwrap();
    let refused = eventually(Duration::from_secs(10), "the new address is in force", || async {
        Ok(Some(key.chat(&ask(&model, "Hello", 10)).await?).filter(|reply| reply.status != 200))
    });
    let refused = refused.await.unwrap();
    assert_eq!((refused.status, refused.error_type()), (502, "provider_unavailable"), "{}", refused.text);
    assert_ne!(refused.header("retry-after"), "", "{}", refused.text);
    let mut tier = ask(&more, "Hello", 10);
    tier["service_tier"] = json!("priority");
    let refused = key.chat(&tier).await.unwrap();
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.text.contains("Leave it out"), "{}", refused.text);
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}
