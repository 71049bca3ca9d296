//! One test per rule, each a table where the rule has cases.

use crate::support::{
    Bed, CENT, DOLLAR, MINUTE, cap, done, exactly, ids, new_account, new_hold, own_key, state, window_now,
    without_version,
};
use billing::engine::{
    CapId, CapPeriod, ClosedBy, CreditEngine as _, CreditEntry, Credited, EngineUpkeep as _, Extended,
    Loaded, Reserve, Reserved, Settled, Settlement, Ticket,
};
use kernel::{NanoUsd, StoreErrorKind};

#[tokio::test]
async fn a_reserve_grants_the_most_between_least_and_want() {
    let bed = Bed::shared().await;
    // balance, limit of the cap, used of the cap, want, least; granted
    let rows = [
        (DOLLAR, DOLLAR, 0, CENT, CENT, Some(CENT)),
        (DOLLAR, DOLLAR, 0, DOLLAR, DOLLAR, Some(DOLLAR)),
        (DOLLAR, 9 * DOLLAR, 0, DOLLAR + 1, DOLLAR + 1, None),
        (DOLLAR, 9 * DOLLAR, 0, 5 * DOLLAR, CENT, Some(DOLLAR)),
        (9 * DOLLAR, DOLLAR, 30 * CENT, 5 * DOLLAR, CENT, Some(70 * CENT)),
        (9 * DOLLAR, DOLLAR, 30 * CENT, 5 * DOLLAR, 71 * CENT, None),
        (9 * DOLLAR, DOLLAR, 2 * DOLLAR, CENT, 0, Some(0)),
        (0, DOLLAR, 0, 0, 0, Some(0)),
        (-DOLLAR, 0, DOLLAR, 0, 0, Some(0)),
        (-DOLLAR, DOLLAR, 0, CENT, 0, Some(0)),
        (0, DOLLAR, 0, 1, 1, None),
    ];
    for row in rows {
        let (balance, limit, used, want, least, granted) = row;
        let mut state = state(balance);
        state.caps = vec![cap("k:one", limit, CapPeriod::Daily, used)];
        bed.load(&state).await;
        let caps = ids(&["k:one"]);
        let request = Reserve { least: NanoUsd::new(least), ..exactly(state.account, want, &caps) };
        let answer = bed.engine.reserve(&request).await.unwrap();
        match granted {
            Some(granted) => {
                let Reserved::Granted(grant) = answer else { panic!("{row:?}: {answer:?}") };
                assert_eq!(grant.amount.get(), granted, "{row:?}");
                assert_eq!(grant.available.get(), balance - granted, "{row:?}");
                assert_eq!(bed.money(state.account).await, (balance, granted), "{row:?}");
                assert_eq!(bed.cap(state.account, "k:one").await, (used, granted), "{row:?}");
            }
            None => {
                assert!(!matches!(answer, Reserved::Granted(_)), "{row:?}");
                assert_eq!(bed.money(state.account).await, (balance, 0), "{row:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_names_the_first_cap_in_order_and_the_balance_last() {
    let bed = Bed::shared().await;
    let mut state = state(DOLLAR);
    state.caps = vec![
        cap("k:wide", 9 * DOLLAR, CapPeriod::Total, 0),
        cap("m:spent", DOLLAR, CapPeriod::Weekly, DOLLAR),
        cap("o:half", DOLLAR, CapPeriod::Monthly, 50 * CENT),
    ];
    bed.load(&state).await;
    let account = state.account;
    let rows: [(&[&str], Option<&str>); 5] = [
        (&["k:wide", "m:spent", "o:half"], Some("m:spent")),
        (&["o:half", "m:spent"], Some("o:half")),
        (&["k:wide", "o:half"], Some("o:half")),
        (&["k:wide"], None),
        (&[], None),
    ];
    for (caps, named) in rows {
        let caps = ids(caps);
        let answer = bed.engine.reserve(&exactly(account, 2 * DOLLAR, &caps)).await.unwrap();
        match (answer, named) {
            (Reserved::CapExceeded { cap, .. }, Some(named)) => assert_eq!(cap.0, named),
            (Reserved::Insufficient { available, balance, reserved }, None) => {
                assert_eq!((available.get(), balance.get(), reserved.get()), (DOLLAR, DOLLAR, 0));
            }
            other => panic!("{caps:?}: {other:?}"),
        }
    }
    let caps = ids(&["o:half"]);
    let answer = bed.engine.reserve(&exactly(account, 60 * CENT, &caps)).await.unwrap();
    let expected = Reserved::CapExceeded {
        cap: CapId("o:half".to_owned()),
        limit: NanoUsd::new(DOLLAR),
        used: NanoUsd::new(50 * CENT),
        reserved: NanoUsd::ZERO,
        period: CapPeriod::Monthly,
    };
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn an_unknown_cap_or_account_is_told_and_never_means_unlimited() {
    let bed = Bed::shared().await;
    let stranger = new_account();
    let answer = bed.engine.reserve(&exactly(stranger, 0, &[])).await.unwrap();
    assert_eq!(answer, Reserved::AccountMissing);
    let state = state(DOLLAR);
    bed.load(&state).await;
    let caps = ids(&["k:new"]);
    let request = exactly(state.account, CENT, &caps);
    assert_eq!(bed.engine.reserve(&request).await.unwrap(), Reserved::CapMissing(CapId("k:new".to_owned())));
    bed.engine.set_cap(state.account, &cap("k:new", 3 * CENT, CapPeriod::Daily, 2 * CENT)).await.unwrap();
    let grant = bed.granted(&request).await;
    assert_eq!(bed.cap(state.account, "k:new").await, (2 * CENT, CENT));
    let _ = bed.settle(&grant, CENT).await;
    // A cap named twice would count twice.
    let twice = ids(&["k:new", "k:new"]);
    let refused = bed.engine.reserve(&exactly(state.account, 0, &twice)).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn frozen_means_no_new_hold_and_no_growth_but_open_ones_are_settled() {
    let bed = Bed::shared().await;
    let state = state(DOLLAR);
    bed.load(&state).await;
    let grant = bed.granted(&exactly(state.account, CENT, &[])).await;
    bed.engine.freeze(state.account, true).await.unwrap();
    for amount in [0, CENT] {
        let request = exactly(state.account, amount, &[]);
        assert_eq!(bed.engine.reserve(&request).await.unwrap(), Reserved::Frozen);
    }
    assert_eq!(bed.engine.reserve(&own_key(state.account, 0)).await.unwrap(), Reserved::Frozen);
    let grown = bed.engine.extend(&grant, NanoUsd::new(1), NanoUsd::ZERO, MINUTE).await.unwrap();
    assert_eq!(grown, Extended::Refused { available: NanoUsd::new(DOLLAR - CENT) });
    assert_eq!(bed.settle(&grant, CENT).await, done(CENT, 0, DOLLAR - CENT));
    bed.engine.freeze(state.account, false).await.unwrap();
    let _ = bed.granted(&exactly(state.account, CENT, &[])).await;
    // An account that is not loaded learns it by its next load.
    bed.engine.freeze(new_account(), true).await.unwrap();
}

#[tokio::test]
async fn a_charge_is_the_hold_and_above_it_what_is_available_and_left_in_every_cap() {
    let bed = Bed::shared().await;
    // balance, limit, used, hold, other hold, asked; charge
    let rows = [
        (DOLLAR, 9 * DOLLAR, 0, 10 * CENT, 0, 4 * CENT, 4 * CENT),
        (DOLLAR, 9 * DOLLAR, 0, 10 * CENT, 0, 0, 0),
        (DOLLAR, 9 * DOLLAR, 0, 10 * CENT, 0, 15 * CENT, 15 * CENT),
        (DOLLAR, 9 * DOLLAR, 0, 10 * CENT, 0, 5 * DOLLAR, DOLLAR),
        (DOLLAR, 9 * DOLLAR, 0, 10 * CENT, 60 * CENT, 5 * DOLLAR, 40 * CENT),
        (9 * DOLLAR, DOLLAR, 50 * CENT, 10 * CENT, 0, 5 * DOLLAR, 50 * CENT),
        (9 * DOLLAR, DOLLAR, 50 * CENT, 10 * CENT, 30 * CENT, 5 * DOLLAR, 20 * CENT),
    ];
    for row in rows {
        let (balance, limit, used, hold, other, asked, charge) = row;
        let mut state = state(balance);
        state.caps = vec![cap("k:one", limit, CapPeriod::Monthly, used)];
        bed.load(&state).await;
        let caps = ids(&["k:one"]);
        let _ = bed.granted(&exactly(state.account, other, &caps)).await;
        let grant = bed.granted(&exactly(state.account, hold, &caps)).await;
        let settled = bed.settle(&grant, asked).await;
        assert_eq!(settled, done(charge, asked - charge, balance - charge), "{row:?}");
        assert_eq!(bed.money(state.account).await, (balance - charge, other), "{row:?}");
        assert_eq!(bed.cap(state.account, "k:one").await, (used + charge, other), "{row:?}");
    }
}

#[tokio::test]
async fn a_dispute_may_make_the_balance_negative_and_the_hold_is_still_charged() {
    let bed = Bed::shared().await;
    let state = state(DOLLAR);
    bed.load(&state).await;
    let grant = bed.granted(&exactly(state.account, 10 * CENT, &[])).await;
    let delta = NanoUsd::new(-3 * DOLLAR);
    let dispute = CreditEntry { account: state.account, seq: 4, delta, is_grant: true, caps: Vec::new() };
    let credited = bed.engine.credit(&dispute).await.unwrap();
    assert_eq!(credited, Credited::Done { balance: NanoUsd::new(-2 * DOLLAR), version: 3 });
    assert_eq!(bed.settle(&grant, 15 * CENT).await, done(10 * CENT, 5 * CENT, -2 * DOLLAR - 10 * CENT));
    let balance = bed.engine.balance(state.account).await.unwrap().unwrap();
    assert_eq!((balance.granted.get(), balance.credit_seq, balance.debit_seq), (-2 * DOLLAR, 4, 6));
}

#[tokio::test]
async fn credits_apply_in_sequence_and_once() {
    let bed = Bed::shared().await;
    let state = state(DOLLAR);
    bed.load(&state).await;
    let credit = |seq, delta, is_grant| CreditEntry {
        account: state.account,
        seq,
        delta: NanoUsd::new(delta),
        is_grant,
        caps: Vec::new(),
    };
    let balance = |nano, version| Credited::Done { balance: NanoUsd::new(nano), version };
    let rows = [
        (credit(3, DOLLAR, true), Credited::Already),
        (credit(5, DOLLAR, true), Credited::Gap { have: 3 }),
        (credit(4, DOLLAR, true), balance(2 * DOLLAR, 2)),
        (credit(4, DOLLAR, true), Credited::Already),
        (credit(5, -CENT, false), balance(2 * DOLLAR - CENT, 3)),
        (credit(6, 0, false), balance(2 * DOLLAR - CENT, 4)),
    ];
    for (entry, expected) in rows {
        assert_eq!(bed.engine.credit(&entry).await.unwrap(), expected, "{entry:?}");
    }
    let now = bed.engine.balance(state.account).await.unwrap().unwrap();
    assert_eq!((now.granted.get(), now.credit_seq), (2 * DOLLAR, 6));
    let elsewhere = CreditEntry { account: new_account(), ..credit(1, 1, true) };
    assert_eq!(bed.engine.credit(&elsewhere).await.unwrap(), Credited::AccountMissing);
}

#[tokio::test]
async fn amounts_stay_within_what_a_lua_number_holds() {
    let bed = Bed::shared().await;
    let max = NanoUsd::REDIS_MAX.get();
    let mut state = state(max);
    state.caps = vec![cap("k:one", max, CapPeriod::Total, 0)];
    bed.load(&state).await;
    let caps = ids(&["k:one"]);
    let grant = bed.granted(&exactly(state.account, max, &caps)).await;
    assert_eq!(bed.money(state.account).await, (max, max));
    assert_eq!(bed.settle(&grant, max).await, done(max, 0, 0));
    assert_eq!(bed.cap(state.account, "k:one").await, (max, 0));
    let debit = |seq, delta| CreditEntry {
        account: state.account,
        seq,
        delta: NanoUsd::new(delta),
        is_grant: false,
        caps: Vec::new(),
    };
    let lowest = Credited::Done { balance: NanoUsd::new(-max), version: 4 };
    assert_eq!(bed.engine.credit(&debit(4, -max)).await.unwrap(), lowest);
    let beyond = bed.engine.credit(&debit(5, -1)).await.unwrap_err();
    assert_eq!(beyond.kind, StoreErrorKind::Corrupt);
    assert_eq!(bed.money(state.account).await, (-max, 0));
    for amount in [-1, max + 1, i64::MIN, i64::MAX] {
        let refused = bed.engine.reserve(&exactly(state.account, amount, &[])).await.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Corrupt, "{amount}");
    }
}

#[tokio::test]
async fn each_act_is_done_once_per_hold_key() {
    let bed = Bed::shared().await;
    let state = state(DOLLAR);
    bed.load(&state).await;
    let request = exactly(state.account, CENT, &[]);
    let grant = bed.granted(&request).await;
    assert_eq!(bed.engine.reserve(&request).await.unwrap(), Reserved::Duplicate(NanoUsd::new(CENT)));
    assert_eq!(bed.settle(&grant, 4).await, done(4, 0, DOLLAR - 4));
    let already = Settled::Already { kind: ClosedBy::Settle, charge: NanoUsd::new(4) };
    assert_eq!(bed.settle(&grant, 9).await, already);
    assert_eq!(bed.engine.release(&grant.key, grant.account).await.unwrap(), already);
    assert_eq!(bed.engine.reserve(&request).await.unwrap(), Reserved::Closed);
    let extended = bed.engine.extend(&grant, NanoUsd::ZERO, NanoUsd::ZERO, MINUTE).await.unwrap();
    assert_eq!(extended, Extended::NoHold);
    assert_eq!(bed.money(state.account).await, (DOLLAR - 4, 0));
    // The customer's own key first, then ours: two holds of one generation.
    let mut second = exactly(state.account, CENT, &[]);
    second.key.generation = grant.key.generation;
    second.key.funding = 0;
    let _ = bed.granted(&second).await;
    // A hold is settled only by its own account.
    let other = crate::support::state(DOLLAR);
    bed.load(&other).await;
    let mut foreign = bed.granted(&exactly(state.account, CENT, &[])).await;
    foreign.account.account = other.account.account;
    assert!(bed.engine.release(&foreign.key, foreign.account).await.is_err());
}

#[tokio::test]
async fn growth_is_all_or_nothing_and_the_meter_only_rises() {
    let bed = Bed::shared().await;
    let mut state = state(DOLLAR);
    state.caps = vec![cap("k:one", 50 * CENT, CapPeriod::Daily, 0)];
    bed.load(&state).await;
    let caps = ids(&["k:one"]);
    let grant = bed.granted(&exactly(state.account, 10 * CENT, &caps)).await;
    let granted = |cents: i64, version| Extended::Granted { amount: NanoUsd::new(cents * CENT), version };
    let refused = |cents: i64| Extended::Refused { available: NanoUsd::new(cents * CENT) };
    // growth and meter in cents
    let rows = [
        (0, 5, granted(10, 2)),
        (20, 3, granted(30, 3)),
        (21, 8, refused(70)),
        (20, 0, granted(50, 4)),
        (1, 0, refused(50)),
        (0, 0, granted(50, 4)),
    ];
    for (extra, metered, expected) in rows {
        let (extra, metered) = (NanoUsd::new(extra * CENT), NanoUsd::new(metered * CENT));
        assert_eq!(bed.engine.extend(&grant, extra, metered, MINUTE).await.unwrap(), expected);
    }
    assert_eq!(bed.cap(state.account, "k:one").await, (0, 50 * CENT));
    assert_eq!(bed.money(state.account).await, (DOLLAR, 50 * CENT));
    assert_eq!(bed.settle(&grant, 60 * CENT).await, done(50 * CENT, 10 * CENT, 50 * CENT));
}

#[tokio::test]
async fn windows_roll_forward_and_never_back() {
    let bed = Bed::shared().await;
    for period in [CapPeriod::Daily, CapPeriod::Weekly, CapPeriod::Monthly] {
        let now = window_now(period);
        // window of the use that was loaded: does it count today?
        for (window, counts) in [(now - 1, false), (now, true), (now + 1, true)] {
            let mut state = state(DOLLAR);
            let mut spent = cap("k:one", CENT, period, CENT);
            spent.window = window;
            state.caps = vec![spent];
            bed.load(&state).await;
            let caps = ids(&["k:one"]);
            let answer = bed.engine.reserve(&exactly(state.account, CENT, &caps)).await.unwrap();
            let refused = matches!(answer, Reserved::CapExceeded { .. });
            assert_eq!(refused, counts, "{period:?} {window}");
            if let Reserved::Granted(grant) = answer {
                assert_eq!(grant.windows[0].window, now);
            }
        }
    }
    let mut state = state(DOLLAR);
    state.caps = vec![cap("k:total", CENT, CapPeriod::Total, CENT)];
    bed.load(&state).await;
    let caps = ids(&["k:total"]);
    let answer = bed.engine.reserve(&exactly(state.account, CENT, &caps)).await.unwrap();
    assert!(matches!(answer, Reserved::CapExceeded { .. }));
}

#[tokio::test]
async fn a_hold_counts_in_the_window_in_which_it_was_made() {
    let bed = Bed::shared().await;
    let mut state = state(9 * DOLLAR);
    state.caps = vec![cap("k:one", DOLLAR, CapPeriod::Daily, 0)];
    bed.load(&state).await;
    let (account, caps) = (state.account, ids(&["k:one"]));
    let today = window_now(CapPeriod::Daily);
    let first = bed.granted(&exactly(account, 10 * CENT, &caps)).await;
    let second = bed.granted(&exactly(account, 10 * CENT, &caps)).await;
    // The window rolls on under them, with 5 cents of tomorrow's own.
    let tomorrow = format!("d{}", today + 1);
    bed.rewrite_cap(account, "k:one", [DOLLAR, 5 * CENT, 0], &tomorrow).await;
    // What is left of a past window is not known: the hold and no more.
    assert_eq!(bed.settle(&first, 12 * CENT).await, done(10 * CENT, 2 * CENT, 9 * DOLLAR - 10 * CENT));
    assert_eq!(bed.cap(account, "k:one").await, (5 * CENT, 0));
    // Growth moves the whole hold to the new window, where it must fit.
    let too_much = NanoUsd::new(86 * CENT);
    let refused = bed.engine.extend(&second, too_much, NanoUsd::ZERO, MINUTE).await.unwrap();
    assert!(matches!(refused, Extended::Refused { .. }));
    let grown = bed.engine.extend(&second, NanoUsd::new(85 * CENT), NanoUsd::ZERO, MINUTE).await.unwrap();
    assert!(matches!(grown, Extended::Granted { amount, .. } if amount.get() == 95 * CENT));
    assert_eq!(bed.cap(account, "k:one").await, (5 * CENT, 95 * CENT));
    let _ = bed.settle(&second, 20 * CENT).await;
    assert_eq!(bed.cap(account, "k:one").await, (25 * CENT, 0));
}

#[tokio::test]
async fn a_new_limit_keeps_the_use_and_a_new_period_starts_a_new_window() {
    let bed = Bed::shared().await;
    let mut state = state(9 * DOLLAR);
    state.caps = vec![cap("k:one", DOLLAR, CapPeriod::Daily, 30 * CENT)];
    bed.load(&state).await;
    let (account, caps) = (state.account, ids(&["k:one"]));
    let grant = bed.granted(&exactly(account, 10 * CENT, &caps)).await;
    let set = async |limit: i64, period, used: i64| {
        bed.engine.set_cap(account, &cap("k:one", limit, period, used)).await.unwrap();
        bed.cap(account, "k:one").await
    };
    assert_eq!(set(20 * CENT, CapPeriod::Daily, 0).await, (30 * CENT, 10 * CENT));
    let answer = bed.engine.reserve(&exactly(account, 1, &caps)).await.unwrap();
    assert!(matches!(answer, Reserved::CapExceeded { .. }));
    assert_eq!(set(20 * CENT, CapPeriod::Monthly, 7 * CENT).await, (0, 0));
    // Back within the day: the open hold counts again, or settling it would leave less than nothing.
    assert_eq!(set(20 * CENT, CapPeriod::Daily, 7 * CENT).await, (0, 10 * CENT));
    let _ = bed.settle(&grant, 10 * CENT).await;
    assert_eq!(bed.cap(account, "k:one").await, (10 * CENT, 0));
    // A cap of an account that is not loaded comes with its load.
    bed.engine.set_cap(new_account(), &cap("k:one", 1, CapPeriod::Daily, 0)).await.unwrap();
}

#[tokio::test]
async fn an_own_key_call_within_the_allowance_holds_and_costs_nothing() {
    let bed = Bed::shared().await;
    let mut state = state(0);
    state.byok.requests = 39;
    bed.load(&state).await;
    let first = bed.granted(&own_key(state.account, CENT)).await;
    assert_eq!((first.ticket, first.amount), (Ticket::Free, NanoUsd::ZERO));
    // The allowance is in flight; the next one must pay, and cannot.
    let second = bed.engine.reserve(&own_key(state.account, CENT)).await.unwrap();
    assert!(matches!(second, Reserved::Insufficient { .. }));
    // Growth of a free ticket holds no money either.
    let grown = bed.engine.extend(&first, NanoUsd::new(CENT), NanoUsd::new(1), MINUTE).await.unwrap();
    assert!(matches!(grown, Extended::Granted { amount: NanoUsd::ZERO, .. }));
    // A failed request gives its ticket back, even when something was metered.
    let given_back = bed.engine.release(&first.key, first.account).await.unwrap();
    assert_eq!(without_version(given_back), done(0, 0, 0));
    let third = bed.granted(&own_key(state.account, CENT)).await;
    assert_eq!(bed.settle_with(&third, CENT, 20 * CENT).await, done(0, 0, 0));
    let fourth = bed.engine.reserve(&own_key(state.account, CENT)).await.unwrap();
    assert!(matches!(fourth, Reserved::Insufficient { .. }));
}

#[tokio::test]
async fn nobody_pays_a_fee_while_allowance_is_left() {
    let bed = Bed::shared().await;
    let mut state = state(DOLLAR);
    state.byok.requests = 39;
    bed.load(&state).await;
    let free = bed.granted(&own_key(state.account, CENT)).await;
    let paid = bed.granted(&own_key(state.account, CENT)).await;
    let late = bed.granted(&own_key(state.account, CENT)).await;
    assert_eq!((free.ticket, paid.ticket, paid.amount.get()), (Ticket::Free, Ticket::Paid, CENT));
    assert_eq!(bed.money(state.account).await, (DOLLAR, 2 * CENT));
    let _ = bed.engine.release(&free.key, free.account).await.unwrap();
    assert_eq!(bed.settle(&paid, CENT).await, done(0, 0, DOLLAR));
    assert_eq!(bed.settle(&late, CENT).await, done(CENT, 0, DOLLAR - CENT));
}

#[tokio::test]
async fn the_allowance_starts_anew_each_month_and_never_goes_back() {
    let bed = Bed::shared().await;
    // months from now of the use that was loaded; the ticket
    for (month, ticket) in [(-1, Ticket::Free), (0, Ticket::Paid), (1, Ticket::Paid)] {
        let mut state = state(DOLLAR);
        state.byok.requests = 40;
        state.byok.month += month;
        bed.load(&state).await;
        let grant = bed.granted(&own_key(state.account, CENT)).await;
        assert_eq!(grant.ticket, ticket, "{month}");
        let charge = if ticket == Ticket::Free { 0 } else { CENT };
        assert_eq!(bed.settle(&grant, CENT).await, done(charge, 0, DOLLAR - charge), "{month}");
    }
}

#[tokio::test]
async fn a_load_never_overwrites_within_an_epoch() {
    let bed = Bed::shared().await;
    let mut state = state(DOLLAR);
    bed.load(&state).await;
    let grant = bed.granted(&exactly(state.account, CENT, &[])).await;
    state.posted = NanoUsd::new(9 * DOLLAR);
    let kept = bed.engine.kept_holds(state.account).await.unwrap();
    assert_eq!(bed.engine.load(&state, &kept).await.unwrap(), Loaded::Already);
    assert_eq!(bed.money(state.account).await, (DOLLAR, CENT));
    assert!(bed.engine.knows(&grant.key, grant.account).await.unwrap());
    assert!(!bed.engine.knows(&new_hold(1), grant.account).await.unwrap());
}

#[tokio::test]
async fn an_account_with_hundreds_of_caps_is_loaded_whole() {
    let bed = Bed::shared().await;
    let mut state = state(DOLLAR);
    state.caps = (0..777).map(|n| cap(&format!("k:{n}"), DOLLAR, CapPeriod::Daily, n)).collect();
    bed.load(&state).await;
    let all: Vec<CapId> = state.caps.iter().map(|cap| cap.id.clone()).collect();
    let known = bed.engine.caps(state.account, &all).await.unwrap();
    let used: Vec<i64> = known.iter().map(|cap| cap.used.get()).collect();
    assert_eq!(used, (0..777).collect::<Vec<i64>>());
}

#[tokio::test]
async fn every_change_of_an_account_counts_its_version_and_answers_it() {
    let bed = Bed::shared().await;
    let mut state = state(DOLLAR);
    state.caps = vec![cap("k:one", DOLLAR, CapPeriod::Daily, 0)];
    let account = state.account;
    let kept = bed.engine.kept_holds(account).await.unwrap();
    assert_eq!(bed.engine.freeze(account, false).await.unwrap(), None);
    assert_eq!(bed.engine.load(&state, &kept).await.unwrap(), Loaded::Done { version: 1 });
    let grant = bed.granted(&exactly(account, CENT, &ids(&["k:one"]))).await;
    assert_eq!(grant.version, 2);
    let grown = bed.engine.extend(&grant, NanoUsd::new(1), NanoUsd::ZERO, MINUTE).await.unwrap();
    assert_eq!(grown, Extended::Granted { amount: NanoUsd::new(CENT + 1), version: 3 });
    let renewed = bed.engine.extend(&grant, NanoUsd::ZERO, NanoUsd::new(5), MINUTE).await.unwrap();
    assert_eq!(
        renewed,
        Extended::Granted { amount: NanoUsd::new(CENT + 1), version: 3 },
        "a hold's own affair"
    );
    let settlement = Settlement { amount: NanoUsd::new(1), list_price: NanoUsd::new(1), record: "" };
    let settled = bed.engine.settle(&grant.key, account, &settlement).await.unwrap();
    assert!(matches!(settled, Settled::Done { version: 4, .. }), "{settled:?}");
    let _ = bed.settle(&grant, CENT).await;
    let _ = bed.engine.reserve(&exactly(account, 9 * DOLLAR, &[])).await.unwrap();
    assert_eq!(
        bed.engine.freeze(account, true).await.unwrap(),
        Some(5),
        "what changes nothing does not count"
    );
    let limit = cap("k:one", CENT, CapPeriod::Daily, 0);
    assert_eq!(bed.engine.set_cap(account, &limit).await.unwrap(), Some(6));
    let delta = NanoUsd::new(1);
    let entry = CreditEntry { account, seq: 4, delta, is_grant: false, caps: Vec::new() };
    assert!(matches!(bed.engine.credit(&entry).await.unwrap(), Credited::Done { version: 7, .. }));
}
