//! Many callers at once, over several connections: no cap and no allowance is passed by one.

use crate::support::{Bed, CENT, DOLLAR, cap, exactly, ids, own_key, state};
use billing::engine::{CapPeriod, CreditEngine as _, Grant, Reserve, Reserved, Settled, Settlement, Ticket};
use futures_util::future::join_all;
use kernel::NanoUsd;
use store_redis::{Epochs, RedisEngine};

/// Four gateways: connections of their own, each with every epoch the bed knows.
async fn gateways(bed: &Bed, shard: u8) -> Vec<RedisEngine> {
    let epoch = billing::engine::EngineEpochs::epoch(&bed.engine, shard).await.unwrap().unwrap().epoch;
    let mut engines = Vec::new();
    for _ in 0..4 {
        engines.push(RedisEngine::connect(&bed.url, Epochs::new(&[(shard, epoch)])).await.unwrap());
    }
    engines
}

/// The answers to requests sent at once, round robin over the gateways.
async fn reserve_all(engines: &[RedisEngine], requests: &[Reserve<'_>]) -> Vec<Reserved> {
    let calls = requests.iter().zip(engines.iter().cycle()).map(|(request, engine)| engine.reserve(request));
    join_all(calls).await.into_iter().map(Result::unwrap).collect()
}

async fn settle_all(engines: &[RedisEngine], grants: &[Grant], amount: i64) -> Vec<i64> {
    let amount = NanoUsd::new(amount);
    let settlement = Settlement { amount, list_price: amount, record: "" };
    let calls = grants
        .iter()
        .zip(engines.iter().cycle())
        .map(|(grant, engine)| engine.settle(&grant.key, grant.account, &settlement));
    let charge = |settled| match settled {
        Ok(Settled::Done { charge, .. }) => charge.get(),
        other => panic!("{other:?}"),
    };
    join_all(calls).await.into_iter().map(charge).collect()
}

fn grants_of(answers: Vec<Reserved>) -> Vec<Grant> {
    let grant = |answer| if let Reserved::Granted(grant) = answer { Some(grant) } else { None };
    answers.into_iter().filter_map(grant).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_requests_of_a_cent_against_a_dollar_grant_exactly_a_hundred() {
    let bed = Bed::shared().await;
    // (balance, limit of the one cap, granted)
    for (balance, limit, expected) in [(DOLLAR, 9 * DOLLAR, 100), (9 * DOLLAR, 50 * CENT, 50)] {
        let mut state = state(balance);
        state.caps = vec![cap("k:one", limit, CapPeriod::Daily, 0)];
        bed.load(&state).await;
        let caps = ids(&["k:one"]);
        let engines = gateways(&bed, state.account.shard).await;
        let requests: Vec<Reserve<'_>> = (0..1000).map(|_| exactly(state.account, CENT, &caps)).collect();
        let grants = grants_of(reserve_all(&engines, &requests).await);
        assert_eq!(grants.len(), expected);
        // Each asks for more than it held: together they never get more than there was.
        let charged: i64 = settle_all(&engines, &grants, 2 * CENT).await.iter().sum();
        assert_eq!(charged, i64::try_from(expected).unwrap() * CENT);
        assert_eq!(bed.money(state.account).await, (balance - charged, 0));
        assert_eq!(bed.cap(state.account, "k:one").await, (charged, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_own_key_requests_fifty_below_the_allowance_make_exactly_fifty_free() {
    let bed = Bed::shared().await;
    // How many of the free ones fail and give their ticket back.
    for failed in [0_usize, 10] {
        let mut state = state(9 * DOLLAR);
        state.byok.allowance = billing::fees::Allowance::Requests(1000);
        state.byok.requests = 950;
        bed.load(&state).await;
        let engines = gateways(&bed, state.account.shard).await;
        let requests: Vec<Reserve<'_>> = (0..200).map(|_| own_key(state.account, CENT)).collect();
        let grants = grants_of(reserve_all(&engines, &requests).await);
        assert_eq!(grants.len(), 200);
        let (free, paid): (Vec<Grant>, Vec<Grant>) =
            grants.into_iter().partition(|grant| grant.ticket == Ticket::Free);
        assert_eq!((free.len(), paid.len()), (50, 150));
        for grant in &free[..failed] {
            let _ = bed.engine.release(&grant.key, grant.account).await.unwrap();
        }
        let rest: Vec<Grant> = paid.into_iter().chain(free[failed..].to_vec()).collect();
        let charges = settle_all(&engines, &rest, CENT).await;
        assert_eq!(charges.iter().filter(|charge| **charge == 0).count(), 50);
        let charged: i64 = charges.iter().sum();
        assert_eq!(bed.money(state.account).await, (9 * DOLLAR - charged, 0));
    }
}
