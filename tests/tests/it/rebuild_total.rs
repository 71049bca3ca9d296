//! Redis loses everything: first its data, then its process too. All accounts are back within seconds, each with
//! its balance to the nano-dollar.

use crate::support::{BOOKED, ask};
use e2e::{Options, Stack, eventually, full_size};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";
const SHARDS: u8 = 64;
/// Seconds as they are in production.
const FENCE: &str = "5";

/// So many accounts with a grant each, whose movements make the balance. Shards by turns, balances all different.
fn accounts(count: u32) -> String {
    format!(
        "CREATE TEMP TABLE seed AS SELECT n, gen_random_uuid() AS org, gen_random_uuid() AS account,
             (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n), 3, '0')
              || '8' || lpad(to_hex(n), 15, '0'))::uuid AS grant_id, 1000000 + n * 1009 AS amount
         FROM generate_series(1, {count}) AS n;
         INSERT INTO organization SELECT org, 'seeded ' || n, true, now() FROM seed;
         INSERT INTO account SELECT account, org, n % 64, now() FROM seed;
         INSERT INTO ledger_account (id, kind, account_id) SELECT account, 'customer_credit', account FROM seed;
         INSERT INTO account_state (account_id, posted_nano_usd, credit_seq, granted_nano_usd, engine_credit_seq)
             SELECT account, amount, 1, amount, 1 FROM seed;
         INSERT INTO credit_outbox (account_id, seq, delta_nano_usd, is_grant, reason, ref, created_at)
             SELECT account, 1, amount, true, 'promo', grant_id, now() FROM seed;
         INSERT INTO ledger_movement (id, class, day, debit, credit, amount_nano_usd, txn, credit_seq, booked_at)
             SELECT grant_id, 'promo', uuid7_day(grant_id), platform_account('promo_cost', ''), account, amount,
                    grant_id, 1, now() FROM seed;
         ANALYZE account; ANALYZE account_state;"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_redis_has_every_balance_again_within_seconds() {
    let (count, within) = if full_size() { (1_000_000, 180) } else { (10_000, 15) };
    let environment = vec![("FAREBOX_REDIS_FENCE_SECONDS".to_owned(), FENCE.to_owned())];
    let options = Options { environment, sql_before_start: accounts(count), ..Options::default() };
    let mut stack = Stack::start(options).await.unwrap();
    let (_customer, key) = stack.paying("5").await.unwrap();
    let body = ask(MODEL, "Still there?", 20);
    assert_eq!(key.chat(&body).await.unwrap().status, 200);
    stack.settled(BOOKED).await.unwrap();
    filled(&stack, 0, Duration::from_secs(within)).await;
    for emptied in ["the data", "the process"] {
        let epoch = stack.database.number("SELECT max(epoch) FROM shard_epoch").unwrap();
        let began = Instant::now();
        if emptied == "the data" {
            stack.redis.run(&["FLUSHALL"]).unwrap();
        } else {
            stack.redis.replace_by_empty().await.unwrap();
        }
        let served = eventually(Duration::from_secs(within), "calls are served", || async {
            Ok((key.chat(&body).await?.status == 200).then_some(()))
        });
        served.await.unwrap();
        let serving = began.elapsed();
        filled(&stack, epoch, Duration::from_secs(within)).await;
        let whole = began.elapsed();
        println!("{emptied} of {count} accounts: calls after {serving:?}, every account after {whole:?}");
        assert!(whole <= Duration::from_secs(within), "{whole:?}");
        stack.settled(BOOKED).await.unwrap();
        assert_eq!(differing(&stack), 0);
    }
    if !full_size() {
        stack.verify().await.unwrap();
    }
}

/// Waits until every shard serves in a later epoch with all of its accounts.
async fn filled(stack: &Stack, after: i64, within: Duration) {
    let full =
        format!("SELECT count(*) FROM shard_epoch WHERE filled AND authority = 'redis' AND epoch > {after}");
    let all = eventually(within, "every account is loaded", || async {
        Ok((stack.database.number(&full)? == i64::from(SHARDS)).then_some(()))
    });
    all.await.unwrap();
}

/// Accounts whose balance in Redis is not PostgreSQL's, those that one of them lacks included.
fn differing(stack: &Stack) -> usize {
    let rows = stack.database.ask("SELECT account_id, posted_nano_usd FROM account_state").unwrap();
    let mut posted: HashMap<String, i64> = rows
        .lines()
        .map(|line| {
            let (id, amount) = line.split_once('|').unwrap();
            (id.replace('-', ""), amount.parse().unwrap())
        })
        .collect();
    let mut differing = 0;
    for shard in 0..SHARDS {
        let ids = stack.redis.run(&["SMEMBERS", &format!("{{c{shard:02}}}:as")]).unwrap();
        let ids: Vec<&str> = ids.lines().filter(|id| !id.is_empty()).collect();
        for some in ids.chunks(500) {
            let tag = format!("{{c{shard:02}}}");
            let call: Vec<&str> =
                ["FCALL", "fb1_audit", "1", &tag].into_iter().chain(some.iter().copied()).collect();
            let answer = stack.redis.run(&call).unwrap();
            // Each account is its id, what it holds, its state; the state begins with epoch and balance.
            let words: Vec<&str> = answer.lines().collect();
            for (position, id) in words.iter().enumerate().filter(|(_, word)| word.len() == 32) {
                let balance: i64 = words[position + 2].split('|').nth(1).unwrap().parse().unwrap();
                differing += usize::from(posted.remove(*id) != Some(balance));
            }
        }
    }
    differing + posted.len()
}
