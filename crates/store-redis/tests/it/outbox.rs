//! What reaches the ledger: one entry per closed hold, kept until it is trimmed.

use crate::support::{Bed, CENT, DOLLAR, MINUTE, cap, exactly, ids, own_key, state, window_now};
use billing::backlog::{Backlog, OutboxBacklog as _};
use billing::engine::{
    CapPeriod, CapWindow, ClosedBy, CreditEngine as _, EngineAudit as _, EngineUpkeep as _, Outbox as _,
    OutboxEntry, Reserve, Settled, Ticket,
};
use kernel::NanoUsd;
use std::time::Duration;

async fn entries(bed: &Bed, shard: u8) -> Vec<OutboxEntry> {
    bed.engine.read(&[(shard, "0-0".to_owned())], 100).await.unwrap()
}

#[tokio::test]
async fn a_settlement_carries_all_that_the_ledger_books() {
    let bed = Bed::private().await;
    let mut state = state(DOLLAR);
    state.caps =
        vec![cap("k:a-b_c", 5 * DOLLAR, CapPeriod::Daily, 0), cap("o:1", DOLLAR, CapPeriod::Total, 0)];
    bed.load(&state).await;
    let caps = ids(&["k:a-b_c", "o:1"]);
    let grant = bed.granted(&exactly(state.account, 10 * CENT, &caps)).await;
    let _ = bed.settle_with(&grant, 7 * CENT, 9 * CENT).await;
    let got = entries(&bed, state.account.shard).await;
    let expected = OutboxEntry {
        id: got[0].id.clone(),
        shard: state.account.shard,
        epoch: 1,
        key: grant.key,
        kind: ClosedBy::Settle,
        account: state.account.account,
        charge: NanoUsd::new(7 * CENT),
        uncollected: NanoUsd::ZERO,
        held: NanoUsd::new(10 * CENT),
        list_price: NanoUsd::new(9 * CENT),
        ticket: Ticket::None,
        byok_month: 0,
        windows: vec![
            CapWindow {
                cap: caps[0].clone(),
                period: CapPeriod::Daily,
                window: window_now(CapPeriod::Daily),
            },
            CapWindow { cap: caps[1].clone(), period: CapPeriod::Total, window: 0 },
        ],
        balance_after: NanoUsd::new(DOLLAR - 7 * CENT),
        debit_seq: 6,
        credit_seq: 3,
        record: "{\"g\":1}".to_owned(),
    };
    assert_eq!(got, [expected]);
    assert_eq!(grant.windows, got[0].windows);
}

#[tokio::test]
async fn a_release_leaves_no_entry_unless_something_was_metered() {
    let bed = Bed::private().await;
    let state = state(DOLLAR);
    bed.load(&state).await;
    let shard = state.account.shard;
    let quiet = bed.granted(&exactly(state.account, CENT, &[])).await;
    let _ = bed.engine.release(&quiet.key, quiet.account).await.unwrap();
    let again = Settled::Already { kind: ClosedBy::Release, charge: NanoUsd::ZERO };
    assert_eq!(bed.engine.release(&quiet.key, quiet.account).await.unwrap(), again);
    assert_eq!(entries(&bed, shard).await, []);
    let metered = bed.granted(&own_key(state.account, CENT)).await;
    let _ = bed.engine.extend(&metered, NanoUsd::ZERO, NanoUsd::new(1), MINUTE).await.unwrap();
    let _ = bed.engine.release(&metered.key, metered.account).await.unwrap();
    let got = entries(&bed, shard).await;
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].kind, got[0].charge, got[0].ticket), (ClosedBy::Settle, NanoUsd::ZERO, Ticket::None));
    assert_eq!((got[0].byok_month, got[0].record.as_str()), (0, "release:k=1|w=2"));
    // A settlement of nothing reaches the ledger: the generation must.
    let free = bed.granted(&exactly(state.account, 0, &[])).await;
    let _ = bed.settle(&free, 0).await;
    assert_eq!(entries(&bed, shard).await.len(), 2);
}

#[tokio::test]
async fn the_sweeper_settles_what_nobody_renews_at_its_meter_and_never_above_the_hold() {
    let bed = Bed::private().await;
    let state = state(DOLLAR);
    bed.load(&state).await;
    let account = state.account;
    // meter in cents of a hold of 10 cents; charge
    for (metered, charge) in [(0, 0), (4, 4), (11, 10)] {
        let moment = Duration::from_millis(1);
        let grant = bed.granted(&exactly(account, 10 * CENT, &[])).await;
        let alive = bed.granted(&exactly(account, CENT, &[])).await;
        let metered = NanoUsd::new(metered * CENT);
        let _ = bed.engine.extend(&grant, NanoUsd::ZERO, metered, moment).await.unwrap();
        bed.pass_two_milliseconds().await;
        assert_eq!(bed.engine.overdue_holds(Duration::ZERO).await.unwrap(), 1);
        assert_eq!(bed.engine.overdue_holds(MINUTE).await.unwrap(), 0);
        assert_eq!(bed.engine.sweep(account.shard, 10).await.unwrap(), 1);
        assert_eq!(bed.engine.sweep(account.shard, 10).await.unwrap(), 0);
        let last = entries(&bed, account.shard).await.pop().unwrap();
        assert_eq!((last.kind, last.charge.get(), last.key), (ClosedBy::Sweep, charge * CENT, grant.key));
        assert_eq!(last.record, "sweep:k=1|w=2");
        let swept = Settled::Already { kind: ClosedBy::Sweep, charge: NanoUsd::new(charge * CENT) };
        assert_eq!(bed.settle(&grant, 9 * CENT).await, swept);
        assert_eq!(bed.engine.open_holds().await.unwrap(), 1);
        let _ = bed.engine.release(&alive.key, account).await.unwrap();
    }
}

#[tokio::test]
async fn entries_stay_until_trimmed_and_are_read_in_order_from_several_shards() {
    let bed = Bed::private().await;
    let (one, two) = (state(DOLLAR), state(DOLLAR));
    for state in [&one, &two] {
        bed.load(state).await;
        for amount in 1..=5 {
            let grant = bed.granted(&exactly(state.account, amount, &[])).await;
            let _ = bed.settle(&grant, amount).await;
        }
    }
    let cursors = |id: &str| -> Vec<(u8, String)> {
        let mut shards = vec![one.account.shard, two.account.shard];
        shards.dedup();
        shards.into_iter().map(|shard| (shard, id.to_owned())).collect()
    };
    assert_eq!(bed.engine.length().await.unwrap(), 10);
    let all = bed.engine.read(&cursors("0-0"), 100).await.unwrap();
    for state in [&one, &two] {
        let mine = all.iter().filter(|entry| entry.account == state.account.account);
        let charges: Vec<i64> = mine.map(|entry| entry.charge.get()).collect();
        assert_eq!(charges, [1, 2, 3, 4, 5]);
    }
    let booked = all.iter().filter(|entry| entry.account == one.account.account).nth(2).unwrap();
    bed.engine.trim(one.account.shard, 1, &booked.id).await.unwrap();
    assert_eq!(bed.engine.length().await.unwrap(), 7);
    let left = bed.engine.read(&[(one.account.shard, "0-0".to_owned())], 1).await.unwrap();
    assert_eq!((left.len(), left[0].charge.get()), (1, 4));
    // A trim of another epoch, or of nonsense, changes nothing.
    assert!(bed.engine.trim(one.account.shard, 2, &booked.id).await.is_err());
    assert!(bed.engine.trim(one.account.shard, 1, "rubbish").await.is_err());
    assert_eq!(bed.engine.length().await.unwrap(), 7);
    assert_eq!(bed.engine.read(&[], 10).await.unwrap(), []);
}

#[tokio::test]
async fn the_audit_shows_every_account_with_the_sum_of_its_holds() {
    let bed = Bed::private().await;
    let mut first = state(DOLLAR);
    first.caps = vec![cap("k:one", DOLLAR, CapPeriod::Weekly, CENT)];
    bed.load(&first).await;
    let caps = ids(&["k:one"]);
    for amount in [CENT, 2 * CENT] {
        let _ = bed.granted(&exactly(first.account, amount, &caps)).await;
    }
    for _ in 0..150 {
        let mut other = state(DOLLAR);
        other.account.shard = first.account.shard;
        bed.load(&other).await;
    }
    let audited = bed.engine.accounts(first.account.shard).await.unwrap();
    assert_eq!(audited.len(), 151);
    let mine = audited.iter().find(|audited| audited.account == first.account.account).unwrap();
    assert_eq!((mine.held.get(), mine.balance.reserved.get(), mine.epoch), (3 * CENT, 3 * CENT, 1));
    assert_eq!((mine.caps[0].used.get(), mine.caps[0].reserved.get()), (CENT, 3 * CENT));
    let request = Reserve { lifetime: Duration::from_millis(1), ..exactly(first.account, CENT, &caps) };
    let _ = bed.granted(&request).await;
    assert_eq!(bed.engine.open_holds().await.unwrap(), 3);
}

#[tokio::test]
async fn the_backlog_tells_how_many_wait_how_long_and_how_large() {
    let bed = Bed::private().await;
    assert_eq!(bed.engine.backlog().await.unwrap(), Backlog::default());
    let state = state(DOLLAR);
    bed.load(&state).await;
    for _ in 0..2 {
        let grant = bed.granted(&exactly(state.account, CENT, &[])).await;
        let _ = bed.settle(&grant, CENT).await;
    }
    bed.pass_two_milliseconds().await;
    let backlog = bed.engine.backlog().await.unwrap();
    assert_eq!(backlog.entries, 2);
    assert!(backlog.oldest >= Duration::from_millis(2), "{backlog:?}");
    assert!((100..100_000).contains(&backlog.shard_bytes), "{backlog:?}");
    let last = entries(&bed, state.account.shard).await.pop().unwrap();
    bed.engine.trim(state.account.shard, 1, &last.id).await.unwrap();
    let rest = bed.engine.backlog().await.unwrap();
    assert_eq!((rest.entries, rest.oldest), (0, Duration::ZERO));
}
