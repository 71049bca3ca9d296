//! Epochs in PostgreSQL: raised in the act that seals, published only while they are still the shard's, and what a
//! new life is told comes from one snapshot.

use crate::database::{noon, with_db};
use crate::world::{Call, RUN_ID, World, customer};
use billing::engine::{ClosedBy, HoldKey};
use billing::epochs::{Authority, EpochLedger as _, ShardLife};
use billing::ledger::{IngestLedger as _, Ledger as _};
use kernel::StoreErrorKind;
use kernel::ids::{AccountId, GenerationId};

#[tokio::test]
async fn epochs_rise_by_one_for_each_shard() {
    with_db(async |db| {
        let store = &db.store;
        assert!(store.epochs().await.unwrap().is_empty());
        assert_eq!(store.seal_epochs(&[3], "a").await.unwrap(), [(3, 1)]);
        assert_eq!(store.seal_epochs(&[63, 3], "b").await.unwrap(), [(3, 2), (63, 1)]);
        assert_eq!(store.epochs().await.unwrap(), vec![(3, 2), (63, 1)]);
        let raised = futures_util::future::join_all((0..6).map(|_| store.seal_epochs(&[3], "c"))).await;
        let mut raised: Vec<_> = raised.into_iter().map(Result::unwrap).collect();
        raised.sort_unstable();
        assert_eq!(raised, (3..=8).map(|epoch| vec![(3, epoch)]).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn a_shard_is_sealed_until_its_own_epoch_is_published() {
    with_db(async |db| {
        let store = &db.store;
        let life = |epoch, authority, node: &str, served_by: &str, filled| ShardLife {
            shard: 5,
            epoch,
            authority,
            node: node.to_owned(),
            served_by: served_by.to_owned(),
            filled,
        };
        let first = store.seal_epochs(&[5], "a").await.unwrap();
        assert_eq!(store.shard_lives().await.unwrap(), [life(1, Authority::Sealed, "a", "", false)]);
        assert_eq!(store.publish_epochs(&first).await.unwrap(), [5]);
        store.mark_filled(&first).await.unwrap();
        assert_eq!(store.shard_lives().await.unwrap(), [life(1, Authority::Engine, "a", "a", true)]);
        assert!(store.publish_epochs(&first).await.unwrap().is_empty(), "it is not sealed");

        // A coordinator that stops half-way, and the one that replaces it.
        let abandoned = store.seal_epochs(&[5], "b").await.unwrap();
        assert_eq!(store.shard_lives().await.unwrap(), [life(2, Authority::Sealed, "b", "a", false)]);
        let second = store.seal_epochs(&[5], "c").await.unwrap();
        assert!(store.publish_epochs(&abandoned).await.unwrap().is_empty(), "its epoch is over");
        store.mark_filled(&abandoned).await.unwrap();
        assert_eq!(store.shard_lives().await.unwrap(), [life(3, Authority::Sealed, "c", "a", false)]);
        assert_eq!(store.publish_epochs(&second).await.unwrap(), [5]);
        assert_eq!(store.shard_lives().await.unwrap(), [life(3, Authority::Engine, "c", "c", false)]);
    })
    .await;
}

#[tokio::test]
async fn no_late_settlement_is_booked_while_its_shard_is_sealed() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let shard = world.org.account.shard;
        let sealed = world.store().seal_epochs(&[shard], "run-2").await.unwrap();
        // In the epoch of the answer, so nothing but the seal speaks against it.
        let mut engine = world.engine().await;
        let entry = engine.close(&world, &Call::settled(&world, 10, 10));
        assert_eq!(entry.epoch, 2);
        let refused = world.store().book_late(&entry).await.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Conflict);
        world.store().publish_epochs(&sealed).await.unwrap();
        world.store().book_late(&entry).await.unwrap();
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn states_of_many_accounts_come_with_the_holds_that_are_booked_for_good() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let (other, _) = customer(world.store(), "ben@example.com").await;
        let mut engine = world.engine().await;
        let settled = Call::settled(&world, 100, 10);
        let swept = Call::settled(&world, 100, 10).ended(&world, (1, ClosedBy::Sweep, 40));
        let open = GenerationId::new(world.db.clock.as_ref(), &kernel::rng::SystemEntropy);
        let batch = [engine.close(&world, &settled), engine.close(&world, &swept)];
        assert!(!world.store().ingest(world.lease, &batch).await.unwrap().lost_lease);
        let hold = |generation, funding| HoldKey { generation, funding };
        let kept = [hold(settled.id, 0), hold(settled.id, 1), hold(swept.id, 1), hold(open, 1)];
        let unknown = AccountId::from_uuid(uuid::Uuid::nil());
        let accounts = [world.org.account.account, other.account.account, unknown];
        let mut states = world.store().account_states(&accounts, &kept, noon()).await.unwrap();
        states.sort_by_key(|state| state.posted.get());
        let told: Vec<_> =
            states.iter().map(|state| (state.account, state.posted.get(), state.debit_seq)).collect();
        assert_eq!(told, [(other.account, 0, 0), (world.org.account, engine.balance, 2)]);
        assert_eq!(states[0].booked, []);
        // Both holds of a settled call; a swept one may still get its settlement.
        assert_eq!(states[1].booked, kept[..2]);
        let one = world.store().account_state(world.org.account.account, &kept, noon()).await.unwrap();
        assert_eq!(one.as_ref(), states.last());
    })
    .await;
}

#[tokio::test]
async fn accounts_are_listed_once_in_order_and_the_latest_used_apart() {
    with_db(async |db| {
        let world = World::open(db).await;
        assert_eq!(RUN_ID, world.store().shard_lives().await.unwrap()[0].node);
        let mut all = vec![world.org.account];
        for number in 0..4 {
            all.push(customer(world.store(), &format!("c{number}@example.com")).await.0.account);
        }
        all.sort_by_key(|account| account.account.uuid());
        let mut seen = Vec::new();
        loop {
            let page = world
                .store()
                .accounts_after(seen.last().map(|last: &kernel::AccountRef| last.account), 2)
                .await;
            let page = page.unwrap();
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, all);
        assert!(
            world.store().recent_accounts(noon() - chrono::Duration::days(1), 10).await.unwrap().is_empty()
        );
    })
    .await;
}
