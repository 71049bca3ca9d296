//! An allowance in list prices: what lies beyond the line is held and paid for, and nothing else.

use crate::support::{Bed, CENT, DOLLAR, MINUTE, exactly, new_hold, state, window_now};
use billing::engine::{
    AccountRef, AccountState, CapPeriod, ClosedBy, CreditEngine as _, EngineEpochs as _, EngineUpkeep as _,
    Grant, Outbox as _, OwnKeyTerms, Reserve, Reserved, Settled, Settlement, Ticket,
};
use billing::fees::Allowance;
use futures_util::future::join_all;
use kernel::NanoUsd;
use std::time::Duration;

/// Worth this much at list prices is free each month.
const ALLOWANCE: i64 = 10 * DOLLAR;
const RATE: u32 = 500;

fn by_list_price(balance: i64, used: i64) -> AccountState {
    let mut state = state(balance);
    state.byok.allowance = Allowance::ListPrice(NanoUsd::new(ALLOWANCE));
    state.byok.list_price = NanoUsd::new(used);
    state
}

/// A call that costs at most `ceiling` at list prices.
fn call(account: AccountRef, ceiling: i64) -> Reserve<'static> {
    let terms = OwnKeyTerms { ceiling: NanoUsd::new(ceiling), basis_points: RATE };
    let fee = (ceiling * i64::from(RATE) + 9999) / 10_000;
    Reserve { own_key: Some(terms), key: new_hold(0), ..exactly(account, fee, &[]) }
}

/// What the gateway asks for: the whole fee of the list price.
async fn settle(bed: &Bed, grant: &Grant, list: i64) -> (i64, i64) {
    let (amount, list_price) = (NanoUsd::new(list * i64::from(RATE) / 10_000), NanoUsd::new(list));
    let settlement = Settlement { amount, list_price, record: "" };
    match bed.engine.settle(&grant.key, grant.account, &settlement).await.unwrap() {
        Settled::Done { charge, uncollected, .. } => (charge.get(), uncollected.get()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_call_that_crosses_the_line_holds_and_pays_only_for_the_part_above_it() {
    let bed = Bed::shared().await;
    let line = ALLOWANCE;
    // used before, ceiling, list price in the end; held, ticket, charged
    let rows = [
        (0, DOLLAR, DOLLAR, 0, Ticket::Free, 0),
        (line - DOLLAR, DOLLAR, DOLLAR, 0, Ticket::Free, 0),
        (line - DOLLAR, DOLLAR + 20, DOLLAR + 20, 1, Ticket::Paid, 1),
        (line - DOLLAR, DOLLAR + 21, DOLLAR + 21, 2, Ticket::Paid, 1),
        (line - DOLLAR, 3 * DOLLAR, 2 * DOLLAR, 10 * CENT, Ticket::Paid, 5 * CENT),
        (line - DOLLAR, 3 * DOLLAR, DOLLAR, 10 * CENT, Ticket::Paid, 0),
        (line, DOLLAR, DOLLAR, 5 * CENT, Ticket::Paid, 5 * CENT),
        (line + 7 * DOLLAR, DOLLAR, DOLLAR, 5 * CENT, Ticket::Paid, 5 * CENT),
        (line + 7 * DOLLAR, DOLLAR, 19, 5 * CENT, Ticket::Paid, 0),
        // More than its ceiling: what is available pays for it.
        (line - DOLLAR, DOLLAR, 2 * DOLLAR, 0, Ticket::Free, 5 * CENT),
    ];
    for row in rows {
        let (used, ceiling, list, held, ticket, charge) = row;
        let state = by_list_price(DOLLAR, used);
        bed.load(&state).await;
        let grant = bed.granted(&call(state.account, ceiling)).await;
        assert_eq!((grant.amount.get(), grant.ticket), (held, ticket), "{row:?}");
        assert_eq!(bed.money(state.account).await, (DOLLAR, held), "{row:?}");
        assert_eq!(settle(&bed, &grant, list).await, (charge, 0), "{row:?}");
        assert_eq!(bed.money(state.account).await, (DOLLAR - charge, 0), "{row:?}");
    }
}

#[tokio::test]
async fn what_is_in_flight_counts_against_the_line_and_is_given_back() {
    let bed = Bed::shared().await;
    let state = by_list_price(0, ALLOWANCE - DOLLAR);
    bed.load(&state).await;
    let first = bed.granted(&call(state.account, DOLLAR)).await;
    let refused = bed.engine.reserve(&call(state.account, DOLLAR)).await.unwrap();
    assert!(matches!(refused, Reserved::Insufficient { .. }), "{refused:?}");
    let _ = bed.engine.release(&first.key, first.account).await.unwrap();
    let second = bed.granted(&call(state.account, DOLLAR)).await;
    assert_eq!(settle(&bed, &second, DOLLAR / 2).await, (0, 0));
    let third = bed.granted(&call(state.account, DOLLAR / 2)).await;
    assert_eq!((third.amount.get(), third.ticket), (0, Ticket::Free));
}

#[tokio::test]
async fn a_month_that_is_over_charges_at_most_its_hold() {
    let bed = Bed::shared().await;
    let mut state = by_list_price(DOLLAR, ALLOWANCE);
    state.byok.month -= 1;
    bed.load(&state).await;
    // The use was of last month: the allowance begins anew.
    let grant = bed.granted(&call(state.account, DOLLAR)).await;
    assert_eq!((grant.amount.get(), grant.ticket), (0, Ticket::Free));
    let mut state = by_list_price(DOLLAR, ALLOWANCE);
    state.byok.month = window_now(CapPeriod::Monthly);
    bed.load(&state).await;
    let grant = bed.granted(&call(state.account, DOLLAR)).await;
    assert_eq!(grant.amount.get(), 5 * CENT);
    assert_eq!(settle(&bed, &grant, DOLLAR / 5).await, (CENT, 0));
}

#[tokio::test]
async fn a_sweep_takes_the_fee_of_what_was_metered_above_the_line() {
    let bed = Bed::private().await;
    // used before, metered fee; swept
    for (used, metered, charge) in
        [(ALLOWANCE, 2 * CENT, 2 * CENT), (ALLOWANCE - 20 * CENT, 2 * CENT, CENT), (0, 2 * CENT, 0)]
    {
        let state = by_list_price(DOLLAR, used);
        bed.load(&state).await;
        let request = call(state.account, 20 * DOLLAR);
        let grant = bed.granted(&request).await;
        let moment = Duration::from_millis(1);
        let _ = bed.engine.extend(&grant, NanoUsd::ZERO, NanoUsd::new(metered), moment).await.unwrap();
        bed.pass_two_milliseconds().await;
        assert_eq!(bed.engine.sweep(state.account.shard, 10).await.unwrap(), 1);
        let swept = bed.engine.release(&grant.key, grant.account).await.unwrap();
        let expected = Settled::Already { kind: ClosedBy::Sweep, charge: NanoUsd::new(charge) };
        assert_eq!(swept, expected, "{used} {metered}");
    }
}

#[tokio::test]
async fn a_new_epoch_counts_the_ceilings_that_are_in_flight() {
    let bed = Bed::private().await;
    let state = by_list_price(DOLLAR, ALLOWANCE - 3 * DOLLAR);
    bed.load(&state).await;
    for _ in 0..2 {
        let _ = bed.granted(&call(state.account, DOLLAR)).await;
    }
    bed.engine.open_epoch(state.account.shard, 2).await.unwrap();
    bed.load(&state).await;
    let held = [(DOLLAR, 0), (DOLLAR, 5 * CENT)];
    for (ceiling, expected) in held {
        assert_eq!(bed.granted(&call(state.account, ceiling)).await.amount.get(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_at_once_around_the_line_pay_for_exactly_what_lies_above_it() {
    let bed = Bed::shared().await;
    let list = 10 * CENT;
    // 50 of them fit below the line.
    let state = by_list_price(9 * DOLLAR, ALLOWANCE - 50 * list);
    bed.load(&state).await;
    let requests: Vec<Reserve<'_>> = (0..200).map(|_| call(state.account, 2 * list)).collect();
    let answers = join_all(requests.iter().map(|request| bed.engine.reserve(request))).await;
    let grants: Vec<Grant> = answers
        .into_iter()
        .map(|answer| match answer.unwrap() {
            Reserved::Granted(grant) => grant,
            other => panic!("{other:?}"),
        })
        .collect();
    // At their ceilings only 25 fit: those hold nothing, the others their whole fee.
    let free = grants.iter().filter(|grant| grant.ticket == Ticket::Free).count();
    assert_eq!(free, 25);
    let (_, reserved) = bed.money(state.account).await;
    assert_eq!(reserved, 175 * CENT);
    let charges = join_all(grants.iter().map(|grant| settle(&bed, grant, list))).await;
    let charged: i64 = charges.iter().map(|(charge, _)| charge).sum();
    let uncollected: i64 = charges.iter().map(|(_, uncollected)| uncollected).sum();
    assert_eq!((charged, uncollected), (150 * list / 20, 0));
    assert_eq!(bed.money(state.account).await, (9 * DOLLAR - charged, 0));
    let paid = charges.iter().filter(|(charge, _)| *charge > 0).count();
    assert_eq!(paid, 150, "nobody pays while allowance is left");
    let shard = state.account.shard;
    let entries = bed.engine.read(&[(shard, "0-0".to_owned())], 100_000).await.unwrap();
    let told = entries.iter().filter(|e| e.account == state.account.account && e.ticket == Ticket::Free);
    assert_eq!(told.count(), 50);
    let renewed = bed.engine.extend(&grants[0], NanoUsd::ZERO, NanoUsd::ZERO, MINUTE).await.unwrap();
    assert_eq!(renewed, billing::engine::Extended::NoHold);
}
