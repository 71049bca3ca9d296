//! What the engine learns: account state, credits in order, epochs.

use crate::database::{noon, with_db};
use crate::world::World;
use billing::fees::Allowance;
use billing::ledger::Ledger as _;
use kernel::ids::AccountId;

#[tokio::test]
async fn an_account_is_read_as_it_stands() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let account = world.org.account;
        let state = world.store().account_state(account.account, &[], noon()).await.unwrap().unwrap();
        assert_eq!(
            (state.account, state.posted.get(), state.granted.get()),
            (account, 10_000_000_000, 10_000_000_000)
        );
        assert_eq!((state.credit_seq, state.debit_seq, state.frozen), (1, 0, false));
        assert_eq!((state.byok.allowance, state.byok.requests), (Allowance::Requests(1_000_000), 0));
        let unknown = AccountId::from_uuid(uuid::Uuid::nil());
        assert!(world.store().account_state(unknown, &[], noon()).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn credits_are_told_in_order_until_they_are_acknowledged() {
    with_db(async |db| {
        let world = World::open(db).await;
        let (store, account) = (world.store(), world.org.account);
        assert!(store.unsent_credits(10).await.unwrap().is_empty());
        world.buy(500).await;
        world.buy(1000).await;
        assert_eq!(store.unsent_credits(10).await.unwrap(), vec![(account, 0)]);
        let entries = store.credits_after(account, 0, 10).await.unwrap();
        let told: Vec<_> = entries.iter().map(|e| (e.seq, e.delta.get(), e.is_grant)).collect();
        assert_eq!(told, vec![(1, 5_000_000_000, true), (2, 10_000_000_000, true)]);
        store.acknowledge_credits(account.account, 1).await.unwrap();
        assert_eq!(store.unsent_credits(10).await.unwrap(), vec![(account, 1)]);
        store.acknowledge_credits(account.account, 2).await.unwrap();
        assert!(store.unsent_credits(10).await.unwrap().is_empty());
        // An engine that lost a credit is told again.
        store.acknowledge_credits(account.account, 1).await.unwrap();
        assert_eq!(store.unsent_credits(10).await.unwrap(), vec![(account, 1)]);
    })
    .await;
}
