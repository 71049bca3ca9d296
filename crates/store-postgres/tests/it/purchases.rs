//! Purchases: granted once, by whatever way and however often the word comes.

use crate::database::{noon, with_db};
use crate::world::World;
use billing::ledger::{GrantLedger as _, Ledger as _, PurchaseLedger as _};
use billing::purchase::{Grant, Granted, NewPurchase, PurchaseEnd, PurchaseState};
use kernel::ids::PurchaseId;
use kernel::{Cents, StoreErrorKind};
use store_postgres::{Notice, notices};

#[tokio::test]
async fn a_purchase_is_granted_once_however_many_ask_at_once() {
    with_db(async |db| {
        let world = World::open(db).await;
        let store = world.store();
        let new = world.new_purchase(1000);
        store.open_purchase(&new).await.unwrap();
        let mut notices = notices(&world.db.url);
        assert_eq!(notices.next().await.unwrap(), Notice::Resync);
        let grant = Grant { purchase: new.id, payment: "pi_1".to_owned(), at: noon() };
        let tries = (0..8).map(|_| store.grant(&grant));
        let outcomes: Vec<_> =
            futures_util::future::join_all(tries).await.into_iter().map(Result::unwrap).collect();
        let done = Granted::Done { account: world.org.account, seq: 1 };
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == done).count(), 1);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Granted::Already).count(), 7);
        assert_eq!(world.posted().await, 10_000_000_000);
        assert_eq!(notices.next().await.unwrap(), Notice::Credits(world.org.account.account));
        let fee = "SELECT count(*) FROM ledger_movement m JOIN ledger_account a ON a.id = m.credit
                   WHERE m.class = 'fee' AND a.kind = 'fee_revenue' AND m.amount_nano_usd = 800000000";
        assert_eq!(world.db.number(fee).await, 1);
        let stored = store.purchase(world.org.id, new.id).await.unwrap().unwrap();
        assert_eq!((stored.state, stored.payment.as_deref()), (PurchaseState::Granted, Some("pi_1")));
        assert_eq!(stored.granted_at, Some(noon()));
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn parallel_purchases_get_gapless_sequences() {
    with_db(async |db| {
        let world = World::open(db).await;
        futures_util::future::join_all((0..8).map(|_| world.buy(500))).await;
        let entries = world.store().credits_after(world.org.account, 0, 100).await.unwrap();
        assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
        assert_eq!(world.posted().await, 8 * 5_000_000_000);
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn opening_twice_is_once_and_another_content_is_refused() {
    with_db(async |db| {
        let world = World::open(db).await;
        let store = world.store();
        let new = world.new_purchase(1000);
        let first = store.open_purchase(&new).await.unwrap();
        assert_eq!(store.open_purchase(&new).await.unwrap(), first);
        let other = NewPurchase { amount: Cents::new(2000), ..new.clone() };
        assert_eq!(store.open_purchase(&other).await.unwrap_err().kind, StoreErrorKind::Conflict);
        assert_eq!(store.purchases(world.org.id, 10).await.unwrap(), vec![first]);
        let unknown = Grant {
            purchase: PurchaseId::from_uuid(uuid::Uuid::nil()),
            payment: "pi".to_owned(),
            at: noon(),
        };
        assert_eq!(store.grant(&unknown).await.unwrap(), Granted::Missing);
    })
    .await;
}

#[tokio::test]
async fn a_session_belongs_to_one_purchase() {
    with_db(async |db| {
        let world = World::open(db).await;
        let store = world.store();
        let (one, two) = (world.new_purchase(1000), world.new_purchase(1000));
        for purchase in [&one, &two] {
            store.open_purchase(purchase).await.unwrap();
        }
        store.attach_session(world.org.id, one.id, "cs_1", "https://pay/1").await.unwrap();
        store.attach_session(world.org.id, one.id, "cs_1", "https://pay/1").await.unwrap();
        let again = store.attach_session(world.org.id, one.id, "cs_2", "https://pay/2").await.unwrap_err();
        let taken = store.attach_session(world.org.id, two.id, "cs_1", "https://pay/1").await.unwrap_err();
        assert_eq!((again.kind, taken.kind), (StoreErrorKind::Conflict, StoreErrorKind::Conflict));
        let found = store.purchase_by_session("cs_1").await.unwrap().unwrap();
        assert_eq!((found.id, found.checkout_url.as_deref()), (one.id, Some("https://pay/1")));
        assert!(store.purchase_by_session("cs_9").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn an_ended_purchase_that_was_paid_after_all_is_granted() {
    with_db(async |db| {
        let world = World::open(db).await;
        let store = world.store();
        let new = world.new_purchase(1000);
        store.open_purchase(&new).await.unwrap();
        let later = noon() + chrono::Duration::minutes(1);
        assert_eq!(store.purchases_to_check(later, later, 10).await.unwrap().len(), 1);
        assert!(store.purchases_to_check(noon(), later, 10).await.unwrap().is_empty());
        store.end_purchase(new.id, PurchaseEnd::Expired).await.unwrap();
        assert!(store.purchases_to_check(later, later, 10).await.unwrap().is_empty());
        let grant = Grant { purchase: new.id, payment: "pi_1".to_owned(), at: noon() };
        assert!(matches!(store.grant(&grant).await.unwrap(), Granted::Done { .. }));
        store.end_purchase(new.id, PurchaseEnd::Failed).await.unwrap();
        let stored = store.purchase(world.org.id, new.id).await.unwrap().unwrap();
        assert_eq!(stored.state, PurchaseState::Granted);
        let other = world.new_purchase(500);
        store.open_purchase(&other).await.unwrap();
        let same_payment = Grant { purchase: other.id, ..grant };
        assert_eq!(store.grant(&same_payment).await.unwrap_err().kind, StoreErrorKind::Conflict);
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn an_event_is_noted_once() {
    with_db(async |db| {
        assert!(db.store.note_event("evt_1", "checkout.session.completed").await.unwrap());
        assert!(!db.store.note_event("evt_1", "checkout.session.completed").await.unwrap());
    })
    .await;
}
