//! What a resync and an unload lean on: corrections of caps, holds that are kept, dropped or asserted again,
//! accounts that are forgotten.

use crate::support::{
    Bed, CENT, DOLLAR, MINUTE, cap, done, exactly, ids, own_key, state, window_now, without_version,
};
use billing::engine::{
    AccountRef, CapChange, CapId, CapPeriod, CreditEngine as _, CreditEntry, Credited, EngineEpochs as _,
    EngineUpkeep as _, Grant, HeldAgain, HoldKey, Kept, Loaded, Outbox as _, Reserved, ShardEpoch, Ticket,
};
use kernel::{NanoUsd, StoreErrorKind};

fn change(id: &str, period: CapPeriod, window: i64, delta: i64) -> CapChange {
    CapChange { cap: CapId(id.to_owned()), period, window, delta: NanoUsd::new(delta) }
}

fn correction(account: AccountRef, seq: i64, delta: i64, caps: Vec<CapChange>) -> CreditEntry {
    CreditEntry { account, seq, delta: NanoUsd::new(delta), is_grant: false, caps }
}

#[tokio::test]
async fn a_correction_counts_in_its_own_window_begins_a_newer_one_and_leaves_a_past_one_alone() {
    let bed = Bed::shared().await;
    let today = window_now(CapPeriod::Daily);
    // Period and window (from today) of the change, its amount; used and reserved of the cap afterwards.
    let rows = [
        (CapPeriod::Daily, 0, 5, 35, 10),
        (CapPeriod::Daily, 0, -7, 23, 10),
        (CapPeriod::Daily, -1, 5, 30, 10),
        (CapPeriod::Daily, 1, 5, 5, 0),
        (CapPeriod::Weekly, 0, 5, 30, 10),
        (CapPeriod::Total, -today, 5, 30, 10),
    ];
    for row in rows {
        let (period, from_today, delta, used, reserved) = row;
        let mut state = state(DOLLAR);
        state.caps = vec![cap("k:one", DOLLAR, CapPeriod::Daily, 30)];
        bed.load(&state).await;
        let caps = ids(&["k:one"]);
        let grant = bed.granted(&exactly(state.account, 10, &caps)).await;
        let changes = vec![
            change("k:one", period, today + from_today, delta),
            change("k:not here", CapPeriod::Daily, today, 1),
        ];
        let credited = bed.engine.credit(&correction(state.account, 4, -delta, changes)).await.unwrap();
        assert_eq!(credited, Credited::Done { balance: NanoUsd::new(DOLLAR - delta), version: 3 });
        assert_eq!(bed.cap(state.account, "k:one").await, (used, reserved), "{row:?}");
        // The open hold is settled in its own window, wherever the cap stands.
        let _ = bed.settle(&grant, 10).await;
        let expected = if from_today == 1 { (used, 0) } else { (used + 10, 0) };
        assert_eq!(bed.cap(state.account, "k:one").await, expected, "{row:?}");
    }
}

#[tokio::test]
async fn a_correction_is_applied_once_and_in_its_turn() {
    let bed = Bed::shared().await;
    let mut state = state(DOLLAR);
    state.caps = vec![cap("k:one", DOLLAR, CapPeriod::Total, 30)];
    bed.load(&state).await;
    let account = state.account;
    let sent = async |seq, delta| {
        let entry = correction(account, seq, delta, vec![change("k:one", CapPeriod::Total, 0, -delta)]);
        bed.engine.credit(&entry).await.unwrap()
    };
    assert_eq!(sent(5, 2).await, Credited::Gap { have: 3 });
    assert_eq!(sent(3, 2).await, Credited::Already);
    assert_eq!(bed.cap(account, "k:one").await, (30, 0));
    assert_eq!(sent(4, 2).await, Credited::Done { balance: NanoUsd::new(DOLLAR + 2), version: 2 });
    assert_eq!(sent(4, 2).await, Credited::Already);
    assert_eq!(bed.cap(account, "k:one").await, (28, 0));
    // The same cap twice in one correction: both count.
    let twice = vec![change("k:one", CapPeriod::Total, 0, 1), change("k:one", CapPeriod::Total, 0, 1)];
    let _ = bed.engine.credit(&correction(account, 5, -2, twice)).await.unwrap();
    assert_eq!(bed.cap(account, "k:one").await, (30, 0));
}

#[tokio::test]
async fn a_load_drops_the_holds_that_are_booked_for_good_and_counts_the_others() {
    let bed = Bed::private().await;
    let mut state = state(DOLLAR);
    state.byok.requests = 38;
    state.caps = vec![cap("k:one", DOLLAR, CapPeriod::Daily, 0)];
    bed.load(&state).await;
    let (account, shard) = (state.account, state.account.shard);
    let caps = ids(&["k:one"]);
    let booked = bed.granted(&exactly(account, 10 * CENT, &caps)).await;
    let open = bed.granted(&exactly(account, 5 * CENT, &caps)).await;
    let free = bed.granted(&own_key(account, CENT)).await;
    let mut other = crate::support::state(DOLLAR);
    other.account.shard = shard;
    bed.load(&other).await;
    let foreign = bed.granted(&exactly(other.account, CENT, &[])).await;
    let nothing = Kept { epoch: 1, ..Kept::default() };
    assert_eq!(bed.engine.kept_holds(account).await.unwrap(), nothing, "nothing of another life");
    bed.engine.seal(shard, 2).await.unwrap();
    assert_eq!(bed.engine.epoch(shard).await.unwrap(), Some(ShardEpoch { epoch: 2, sealed: true }));
    let mut kept = bed.engine.kept_holds(account).await.unwrap();
    let mut expected: Vec<HoldKey> = [&booked, &open, &free].map(|grant| grant.key).to_vec();
    let by_id = |key: &HoldKey| (key.generation.uuid(), key.funding);
    kept.holds.sort_by_key(by_id);
    expected.sort_by_key(by_id);
    assert_eq!(kept.holds, expected);
    state.posted = NanoUsd::new(90 * CENT);
    state.caps[0].used = NanoUsd::new(10 * CENT);
    // One of another account is not this load's to drop.
    state.booked = vec![booked.key, free.key, foreign.key];
    assert!(matches!(bed.engine.load(&state, &kept).await.unwrap(), Loaded::Done { .. }));
    bed.engine.open_epoch(shard, 2).await.unwrap();
    assert_eq!(bed.money(account).await, (90 * CENT, 5 * CENT));
    assert_eq!(bed.cap(account, "k:one").await, (10 * CENT, 5 * CENT));
    assert!(!bed.engine.knows(&booked.key, account).await.unwrap());
    assert!(bed.engine.knows(&open.key, account).await.unwrap());
    assert!(bed.engine.knows(&foreign.key, other.account).await.unwrap());
    // The ticket of the dropped own-key hold is free again: 38 used of 40.
    let tickets = [Ticket::Free, Ticket::Free, Ticket::Paid];
    for ticket in tickets {
        assert_eq!(bed.granted(&own_key(account, CENT)).await.ticket, ticket);
    }
    assert_eq!(bed.settle(&open, 5 * CENT).await, done(5 * CENT, 0, 85 * CENT));
}

#[tokio::test]
async fn an_account_is_unloaded_only_when_nothing_depends_on_it() {
    let bed = Bed::private().await;
    let state = state(DOLLAR);
    bed.load(&state).await;
    let (account, shard) = (state.account, state.account.shard);
    let before = bed.engine.kept_holds(account).await.unwrap();
    for amount in [CENT, 0] {
        let grant = bed.granted(&exactly(account, amount, &[])).await;
        assert!(!bed.engine.unload(account).await.unwrap(), "a hold of {amount}");
        let _ = bed.settle(&grant, amount).await;
        assert!(!bed.engine.unload(account).await.unwrap(), "an entry on its way");
        let entries = bed.engine.read(&[(shard, "0-0".to_owned())], 10).await.unwrap();
        bed.engine.trim(shard, 1, &entries[0].id).await.unwrap();
    }
    assert!(bed.engine.unload(account).await.unwrap());
    assert!(bed.engine.unload(account).await.unwrap(), "twice is once");
    assert_eq!(bed.engine.balance(account).await.unwrap(), None);
    assert_eq!(bed.engine.reserve(&exactly(account, 1, &[])).await.unwrap(), Reserved::AccountMissing);
    // What was read before the unload is too old: the cent that was spent since is not in it.
    assert_eq!(bed.engine.load(&state, &before).await.unwrap(), Loaded::Overtaken);
    let now = bed.engine.kept_holds(account).await.unwrap();
    let loaded = bed.engine.load(&state, &now).await.unwrap();
    assert!(matches!(loaded, Loaded::Done { version } if version > 5), "versions go on: {loaded:?}");
    // An entry of another account holds nothing up.
    let mut other = crate::support::state(DOLLAR);
    other.account.shard = shard;
    bed.load(&other).await;
    let grant = bed.granted(&exactly(other.account, 1, &[])).await;
    let _ = bed.settle(&grant, 1).await;
    assert!(bed.engine.unload(account).await.unwrap());
}

async fn again(bed: &Bed, grant: &Grant) -> HeldAgain {
    bed.engine.hold_again(grant, NanoUsd::new(3), MINUTE, "someone").await.unwrap()
}

#[tokio::test]
async fn a_lost_hold_is_asserted_again_only_while_the_shard_is_sealed() {
    // Whether the account is loaded before or after the gateway speaks.
    for loaded_before in [false, true] {
        let (old, new) = (Bed::private().await, Bed::bare().await);
        let mut state = state(DOLLAR);
        state.byok.requests = 39;
        state.caps = vec![cap("k:one", DOLLAR, CapPeriod::Daily, 0)];
        let (account, shard) = (state.account, state.account.shard);
        old.load(&state).await;
        let caps = ids(&["k:one"]);
        let lost = old.granted(&exactly(account, 10 * CENT, &caps)).await;
        let free = old.granted(&own_key(account, CENT)).await;
        new.engine.seal(shard, 2).await.unwrap();
        if loaded_before {
            new.load(&state).await;
        }
        for grant in [&lost, &free] {
            assert_eq!(again(&new, grant).await, HeldAgain::Done);
            assert_eq!(again(&new, grant).await, HeldAgain::Known, "it is there now");
        }
        if !loaded_before {
            assert_eq!(new.engine.kept_holds(account).await.unwrap().holds.len(), 2);
            new.load(&state).await;
        }
        new.engine.open_epoch(shard, 2).await.unwrap();
        assert_eq!(new.money(account).await, (DOLLAR, 10 * CENT));
        assert_eq!(new.cap(account, "k:one").await, (0, 10 * CENT));
        assert_eq!(
            new.granted(&own_key(account, CENT)).await.ticket,
            Ticket::Paid,
            "the last one is in flight"
        );
        let late = old.granted(&exactly(account, CENT, &caps)).await;
        assert_eq!(again(&new, &late).await, HeldAgain::TooLate);
        assert_eq!(new.settle(&lost, 10 * CENT).await, done(10 * CENT, 0, 90 * CENT));
        new.engine.seal(shard, 3).await.unwrap();
        assert_eq!(again(&new, &lost).await, HeldAgain::Known, "it was settled");
        // What the old process still does is of an epoch that is over.
        assert_eq!(without_version(old.settle(&lost, 10 * CENT).await), done(10 * CENT, 0, 90 * CENT));
    }
}

#[tokio::test]
async fn a_hold_of_a_newer_window_than_the_ledger_read_takes_its_cap_along() {
    let (old, new) = (Bed::private().await, Bed::bare().await);
    let mut state = state(DOLLAR);
    state.caps = vec![cap("k:one", DOLLAR, CapPeriod::Daily, 30 * CENT)];
    let (account, shard) = (state.account, state.account.shard);
    old.load(&state).await;
    let mut tomorrow = old.granted(&exactly(account, 10 * CENT, &ids(&["k:one"]))).await;
    tomorrow.windows[0].window += 1;
    new.engine.seal(shard, 2).await.unwrap();
    assert_eq!(again(&new, &tomorrow).await, HeldAgain::Done);
    new.load(&state).await;
    new.engine.open_epoch(shard, 2).await.unwrap();
    assert_eq!(new.cap(account, "k:one").await, (0, 10 * CENT));
    let _ = new.settle(&tomorrow, 4 * CENT).await;
    assert_eq!(new.cap(account, "k:one").await, (4 * CENT, 0));
}

#[tokio::test]
async fn no_act_that_touches_money_works_on_an_account_of_another_epoch() {
    let bed = Bed::private().await;
    let mut state = state(DOLLAR);
    state.caps = vec![cap("k:one", DOLLAR, CapPeriod::Daily, 0)];
    bed.load(&state).await;
    let (account, shard) = (state.account, state.account.shard);
    let grant = bed.granted(&exactly(account, CENT, &[])).await;
    bed.engine.open_epoch(shard, 2).await.unwrap();
    let (id, hold) =
        (account.account.uuid().simple().to_string(), format!("{}:1", grant.key.generation.uuid().simple()));
    let id = id.as_str();
    let rows: [(&str, Vec<&str>); 9] = [
        ("fb1_reserve", vec!["2", "00000000000000000000000000000009:1", id, "1", "1", "9", "c", ""]),
        ("fb1_extend", vec!["2", &hold, id, "1", "1", "9"]),
        ("fb1_settle", vec!["2", &hold, id, "1", "1", ""]),
        ("fb1_release", vec!["2", &hold, id]),
        ("fb1_credit", vec!["2", id, "4", "1", "0"]),
        ("fb1_limit", vec!["2", id, "k:one", "1", "d", "0", "0"]),
        ("fb1_freeze", vec!["2", id, "1"]),
        ("fb1_balance", vec!["2", id]),
        ("fb1_caps", vec!["2", id, "k:one"]),
    ];
    for (function, arguments) in rows {
        assert_eq!(bed.call(function, shard, &arguments).await, "MISSING", "{function}");
    }
    let refused = bed.engine.release(&grant.key, account).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Unavailable);
}
