//! Epochs: which Redis process may serve, and what becomes of accounts and holds of an earlier life.

use crate::support::{Bed, CENT, DOLLAR, MINUTE, cap, exactly, ids, own_key, state};
use accounts::shelf::{Block, BlockAct, KeyBlocks as _, Shelf as _, ShelfName, ShelfRow};
use billing::backlog::OutboxBacklog as _;
use billing::engine::{
    AccountRef, CapPeriod, CreditEngine as _, EngineAudit as _, EngineEpochs as _, EngineUpkeep as _, Kept,
    Loaded, Outbox as _, Reserved, ShardEpoch, Ticket,
};
use kernel::ids::OrgId;
use kernel::{Moment, NanoUsd, StoreErrorKind};
use std::time::Duration;
use store_redis::{Epochs, LIBRARY, RedisEngine, load_library};

/// Whether a reserve is answered 503 instead of a decision.
async fn unavailable(engine: &RedisEngine, account: AccountRef) -> bool {
    match engine.reserve(&exactly(account, 1, &[])).await {
        Err(fault) => fault.kind == StoreErrorKind::Moving,
        Ok(_) => false,
    }
}

#[tokio::test]
async fn a_shard_serves_only_in_the_epoch_the_caller_believes_in() {
    let bed = Bed::bare().await;
    let state = state(DOLLAR);
    let (account, shard) = (state.account, state.account.shard);
    assert!(unavailable(&bed.engine, account).await, "this process knows no epoch");
    bed.engine.set_epochs(&[(shard, 4)]);
    assert!(unavailable(&bed.engine, account).await, "Redis has no epoch");
    assert_eq!(bed.engine.epoch(shard).await.unwrap(), None);
    bed.engine.open_epoch(shard, 5).await.unwrap();
    assert_eq!(bed.engine.epoch(shard).await.unwrap(), Some(ShardEpoch { epoch: 5, sealed: false }));
    bed.load(&state).await;
    assert!(!unavailable(&bed.engine, account).await);
    let late = RedisEngine::connect(&bed.url, Epochs::new(&[(shard, 4)])).await.unwrap();
    assert!(unavailable(&late, account).await, "stale");
    late.set_epochs(&[(shard, 5)]);
    assert!(!unavailable(&late, account).await);
    assert!(bed.engine.open_epoch(shard, 4).await.is_err(), "epochs never fall");
    bed.engine.open_epoch(shard, 5).await.unwrap();
    assert!(bed.engine.seal(shard, 5).await.is_err(), "a seal raises the epoch");
    bed.engine.seal(shard, 6).await.unwrap();
    bed.engine.set_epochs(&[(shard, 6)]);
    assert!(unavailable(&bed.engine, account).await, "sealed");
    bed.load(&state).await;
    assert_eq!(bed.money(account).await, (DOLLAR, 2), "the two holds of before");
    bed.engine.open_epoch(shard, 6).await.unwrap();
    assert!(!unavailable(&bed.engine, account).await);
}

#[tokio::test]
async fn a_process_that_inherits_an_epoch_serves_nobody() {
    let bed = Bed::private().await;
    let state = state(DOLLAR);
    bed.load(&state).await;
    let shard = state.account.shard;
    let key = format!("{{c{shard:02}}}:ep");
    let () = bed.command(&["SET", &key, "1|0|0123456789abcdef0123456789abcdef01234567|0"]).await;
    assert!(unavailable(&bed.engine, state.account).await);
    assert_eq!(bed.engine.epoch(shard).await.unwrap(), None);
    assert!(bed.engine.open_epoch(shard, 1).await.is_err(), "the number is of another life");
    bed.engine.open_epoch(shard, 2).await.unwrap();
    let answer = bed.engine.reserve(&exactly(state.account, 1, &[])).await.unwrap();
    assert_eq!(answer, Reserved::AccountMissing);
    assert_eq!(bed.engine.run_id().await.unwrap().len(), 40);
}

#[tokio::test]
async fn a_promoted_replica_has_everything_and_serves_nobody_until_an_epoch_is_opened_on_it() {
    let primary = Bed::private().await;
    let state = state(DOLLAR);
    primary.load(&state).await;
    let (account, shard) = (state.account, state.account.shard);
    let grant = primary.granted(&exactly(account, CENT, &[])).await;
    let replica = Bed::bare().await;
    let (password, address) = primary.url.trim_start_matches("redis://:").split_once('@').unwrap();
    let (host, port) = address.trim_end_matches('/').split_once(':').unwrap();
    let () = primary.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]).await;
    let () = replica.command(&["CONFIG", "SET", "masterauth", password]).await;
    let () = replica.command(&["REPLICAOF", host, port]).await;
    // WAIT answers once the replica has this write and all before it; 10 s is only the end of patience.
    let () = primary.command(&["SET", "mark", "1"]).await;
    let copies: i64 = primary.command(&["WAIT", "1", "10000"]).await;
    assert_eq!(copies, 1);
    let () = replica.command(&["REPLICAOF", "NO", "ONE"]).await;
    replica.engine.set_epochs(&[(shard, 1)]);
    assert!(unavailable(&replica.engine, account).await);
    assert!(replica.engine.release(&grant.key, account).await.is_err());
    assert_eq!(replica.engine.epoch(shard).await.unwrap(), None);
    replica.engine.open_epoch(shard, 2).await.unwrap();
    replica.load(&state).await;
    assert_eq!(replica.money(account).await, (DOLLAR, CENT));
    // Meanwhile the old primary goes on in its own epoch, for callers that do not know better yet.
    assert!(!unavailable(&primary.engine, account).await);
}

#[tokio::test]
async fn a_load_in_a_new_epoch_counts_the_holds_that_are_left() {
    let bed = Bed::private().await;
    let mut state = state(DOLLAR);
    state.byok.requests = 37;
    state.caps = vec![cap("k:one", DOLLAR, CapPeriod::Daily, 0), cap("k:gone", DOLLAR, CapPeriod::Daily, 0)];
    bed.load(&state).await;
    let (account, shard) = (state.account, state.account.shard);
    let caps = ids(&["k:one", "k:gone"]);
    let kept = bed.granted(&exactly(account, 10 * CENT, &caps)).await;
    let _ = bed.granted(&exactly(account, 5 * CENT, &caps[..1])).await;
    let settled = bed.granted(&exactly(account, 20 * CENT, &caps)).await;
    let _ = bed.settle(&settled, 20 * CENT).await;
    for _ in 0..2 {
        let _ = bed.granted(&own_key(account, CENT)).await;
    }
    bed.engine.open_epoch(shard, 2).await.unwrap();
    // Nothing may touch the money of an account that this epoch has not loaded.
    let moment = Duration::from_millis(1);
    assert!(bed.engine.extend(&kept, NanoUsd::ZERO, NanoUsd::ZERO, moment).await.is_err());
    assert!(bed.engine.release(&kept.key, account).await.is_err());
    assert_eq!(bed.engine.balance(account).await.unwrap(), None);
    // The ledger booked the settlement; one of the caps was taken away, the other's use is known a day late.
    state.posted = NanoUsd::new(80 * CENT);
    state.caps.truncate(1);
    state.caps[0].window -= 1;
    state.caps[0].used = NanoUsd::new(99 * CENT);
    bed.load(&state).await;
    assert_eq!(bed.money(account).await, (80 * CENT, 15 * CENT));
    assert_eq!(bed.cap(account, "k:one").await, (0, 15 * CENT));
    // 37 used and 2 in flight: one more is free, the next pays.
    assert_eq!(bed.granted(&own_key(account, CENT)).await.ticket, Ticket::Free);
    assert_eq!(bed.granted(&own_key(account, CENT)).await.ticket, Ticket::Paid);
    // A cap that is gone allows the hold and no more.
    let charged = bed.settle(&kept, 15 * CENT).await;
    assert_eq!(charged, crate::support::done(10 * CENT, 5 * CENT, 70 * CENT));
    let entries = bed.engine.read(&[(shard, "0-0".to_owned())], 10).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.epoch).collect::<Vec<_>>(), [1, 2]);
    for audited in bed.engine.accounts(shard).await.unwrap() {
        assert_eq!((audited.held, audited.epoch), (audited.balance.reserved, 2));
    }
}

#[tokio::test]
async fn the_sweeper_leaves_holds_of_accounts_that_are_not_loaded() {
    let bed = Bed::private().await;
    let mut state = state(DOLLAR);
    bed.load(&state).await;
    let shard = state.account.shard;
    let grant = bed.granted(&exactly(state.account, 10 * CENT, &[])).await;
    let moment = Duration::from_millis(1);
    let _ = bed.engine.extend(&grant, NanoUsd::ZERO, NanoUsd::new(CENT), moment).await.unwrap();
    bed.engine.open_epoch(shard, 2).await.unwrap();
    bed.pass_two_milliseconds().await;
    assert_eq!(bed.engine.sweep(shard, 10).await.unwrap(), 0);
    assert_eq!(bed.engine.open_holds().await.unwrap(), 1);
    state.posted = NanoUsd::new(DOLLAR);
    bed.load(&state).await;
    assert_eq!(bed.money(state.account).await, (DOLLAR, 10 * CENT));
    let _ = bed.engine.extend(&grant, NanoUsd::ZERO, NanoUsd::ZERO, moment).await.unwrap();
    bed.pass_two_milliseconds().await;
    assert_eq!(bed.engine.sweep(shard, 10).await.unwrap(), 1);
    assert_eq!(bed.money(state.account).await, (DOLLAR - CENT, 0));
}

#[tokio::test]
async fn the_library_is_loaded_only_where_its_text_differs() {
    let bed = Bed::private().await;
    assert!(!load_library(&bed.url).await.unwrap(), "the bed has loaded it");
    let other = format!("#!lua name={LIBRARY}\nredis.register_function('fb1_old', function() return 1 end)");
    let () = bed.command(&["FUNCTION", "LOAD", "REPLACE", &other]).await;
    let state = state(DOLLAR);
    let fault = bed.engine.load(&state, &Kept::default()).await.unwrap_err();
    assert_eq!(fault.kind, StoreErrorKind::Unavailable);
    assert!(load_library(&bed.url).await.unwrap());
    bed.load(&state).await;
}

#[tokio::test]
async fn the_product_s_user_needs_no_scripts_of_its_own() {
    let bed = Bed::private().await;
    let documented = include_str!("../../src/lib.rs");
    let (_, rule) = documented.split_once("ACL SETUSER").unwrap();
    let rule = rule.split("```").next().unwrap().replace("//!", " ");
    let words: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(rule.split_whitespace()).collect();
    let () = bed.command(&words).await;
    let (_, host) = bed.url.split_once('@').unwrap();
    let url = format!("redis://farebox:secret@{host}");
    let engine = RedisEngine::connect(&url, Epochs::new(&[])).await.unwrap();
    let mut state = state(DOLLAR);
    state.caps = vec![cap("k:one", DOLLAR, CapPeriod::Daily, 0)];
    let (account, shard) = (state.account, state.account.shard);
    engine.open_epoch(shard, 2).await.unwrap();
    let kept = engine.kept_holds(account).await.unwrap();
    assert!(matches!(engine.load(&state, &kept).await.unwrap(), Loaded::Done { .. }));
    engine.set_cap(account, &cap("k:one", 2 * DOLLAR, CapPeriod::Monthly, 0)).await.unwrap();
    let caps = ids(&["k:one"]);
    let moment = Duration::from_millis(1);
    for swept in [false, true] {
        let Reserved::Granted(grant) = engine.reserve(&exactly(account, CENT, &caps)).await.unwrap() else {
            panic!("not granted")
        };
        assert!(engine.knows(&grant.key, account).await.unwrap());
        let lifetime = if swept { moment } else { MINUTE };
        let _ = engine.extend(&grant, NanoUsd::new(1), NanoUsd::new(1), lifetime).await.unwrap();
        bed.pass_two_milliseconds().await;
        assert_eq!(engine.sweep(shard, 9).await.unwrap(), u32::from(swept));
        let _ = engine.release(&grant.key, account).await.unwrap();
    }
    let entries = engine.read(&[(shard, "0-0".to_owned())], 9).await.unwrap();
    assert_eq!(engine.backlog().await.unwrap().entries, 2);
    engine.trim(shard, 2, &entries[1].id).await.unwrap();
    assert_eq!(engine.length().await.unwrap(), 0);
    assert_eq!(engine.accounts(shard).await.unwrap().len(), 1);
    assert_eq!(engine.overdue_holds(MINUTE).await.unwrap() + engine.open_holds().await.unwrap(), 0);
    let name = ShelfName::Key([3; 32]);
    engine.put(&[ShelfRow { name, version: 1, text: "text".to_owned() }]).await.unwrap();
    engine.open_epoch(63, 2).await.unwrap();
    engine.set_whole(&engine.life().unwrap()).await.unwrap();
    assert!(engine.get(&name).await.unwrap().whole);
    let org = OrgId::from_uuid(uuid::Uuid::from_u128(1));
    let block = Block { org, hash: "aa".to_owned(), act: BlockAct::Disable, at: Moment::UNIX_EPOCH };
    engine.block(&block).await.unwrap();
    assert!(engine.news("").await.unwrap().is_some());
    engine.unblock(org, "aa").await.unwrap();
    let client = redis::Client::open(url).unwrap();
    let mut raw = client.get_multiplexed_async_connection().await.unwrap();
    let eval: redis::RedisResult<i64> = redis::cmd("EVAL").arg("return 1").arg(0).query_async(&mut raw).await;
    assert!(eval.unwrap_err().to_string().contains("permission"));
}

#[tokio::test]
async fn a_snapshot_that_was_read_for_one_epoch_is_refused_in_the_next() {
    let bed = Bed::private().await;
    let state = state(DOLLAR);
    let kept = bed.engine.kept_holds(state.account).await.unwrap();
    // Between the snapshot and the load the shard begins its next life, and this process knows it.
    bed.engine.open_epoch(state.account.shard, 2).await.unwrap();
    assert_eq!(bed.engine.load(&state, &kept).await.unwrap_err().kind, StoreErrorKind::Moving);
    bed.load(&state).await;
}

#[tokio::test]
async fn only_the_process_that_was_sealed_in_an_epoch_is_unsealed_in_it() {
    let (bed, other) = (Bed::bare().await, Bed::bare().await);
    let refused = async |engine: &RedisEngine, epoch| {
        engine.unseal(7, epoch).await.is_err_and(|fault| fault.kind == StoreErrorKind::Moving)
    };
    assert!(refused(&bed.engine, 1).await, "never sealed");
    bed.engine.seal(7, 1).await.unwrap();
    assert!(refused(&bed.engine, 2).await, "another epoch");
    assert!(refused(&other.engine, 1).await, "another process");
    bed.engine.unseal(7, 1).await.unwrap();
    assert_eq!(bed.engine.epoch(7).await.unwrap().map(|at| (at.epoch, at.sealed)), Some((1, false)));
    // A coordinator that was replaced comes late.
    bed.engine.seal(7, 2).await.unwrap();
    assert!(refused(&bed.engine, 1).await);
    // What a promoted replica inherits is nobody's to unseal.
    let () = bed.command(&["SET", "{c07}:ep", "2|1|0123456789abcdef0123456789abcdef01234567|0"]).await;
    assert!(refused(&bed.engine, 2).await);
}

#[tokio::test]
async fn the_outbox_is_read_from_the_named_process_and_from_no_other() {
    let (bed, other) = (Bed::private().await, Bed::private().await);
    let state = state(DOLLAR);
    bed.load(&state).await;
    let grant = bed.granted(&exactly(state.account, CENT, &[])).await;
    let _ = bed.settle(&grant, CENT).await;
    let node = bed.engine.run_id().await.unwrap();
    let after = [(state.account.shard, "0-0".to_owned())];
    assert_eq!(bed.engine.read_from(&node, &after, 9).await.unwrap().len(), 1);
    let fault = other.engine.read_from(&node, &after, 9).await.unwrap_err();
    assert_eq!(fault.kind, StoreErrorKind::Moving, "{fault}");
}

#[tokio::test]
async fn the_users_of_the_deployment_can_do_their_work_and_nothing_else() {
    let bed = Bed::private().await;
    let users = include_str!("../../../../deploy/redis/users.acl");
    let documented = include_str!("../../src/lib.rs").split("ACL SETUSER farebox").nth(1).unwrap();
    let documented = documented.split("```").next().unwrap().replace("//!", " ");
    for line in users.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, name, rules @ ..] = &words[..] else { panic!("{line}") };
        if *name == "farebox" {
            let said: Vec<&str> =
                documented.split_whitespace().filter(|word| !word.starts_with('>')).collect();
            let given: Vec<&str> = rules.iter().copied().filter(|word| !word.starts_with('>')).collect();
            assert_eq!(said, given);
        }
        if *name != "default" {
            let () = bed.command(&[&["ACL", "SETUSER", name][..], rules].concat()).await;
        }
    }
    let (_, host) = bed.url.split_once('@').unwrap();
    let product = redis::Client::open(format!("redis://farebox:CHANGE-ME-FAREBOX@{host}")).unwrap();
    let mut product = product.get_multiplexed_async_connection().await.unwrap();
    let forbidden = [
        "EVAL return_1 0",
        "SCRIPT LOAD x",
        "FUNCTION LIST",
        "CONFIG GET dir",
        "KEYS *",
        "FLUSHALL",
        "REPLICAOF NO ONE",
        "ACL LIST",
        "GET elsewhere",
        "MEMORY PURGE",
    ];
    for line in forbidden {
        let mut words = line.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        command.arg(words.collect::<Vec<_>>());
        let answer: redis::RedisResult<redis::Value> = command.query_async(&mut product).await;
        assert_eq!(answer.unwrap_err().code(), Some("NOPERM"), "{line}");
    }
    let admin = format!("redis://farebox-admin:CHANGE-ME-ADMIN@{host}");
    assert!(!load_library(&admin).await.unwrap(), "the library is there already");
}
