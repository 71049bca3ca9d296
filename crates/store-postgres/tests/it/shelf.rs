//! What the copy of keys is made from: every change of a key, of its owners' limits and of provider keys.

use crate::database::{Db, noon, with_db};
use crate::keys::new_key;
use crate::world::customer;
use accounts::KeyRecord;
use accounts::ports::{KeyChange, Keys as _, NewProviderKey, ProviderKeys as _};
use accounts::shelf::{ShelfName, ShelfRow, ShelfSource as _, unshelve_key, unshelve_sealed};
use billing::engine::CapPeriod;
use kernel::NanoUsd;
use store_postgres::LimitOwner;

/// The changes that wait, called done.
async fn take(db: &Db) -> Vec<ShelfRow> {
    let waiting = db.store.shelf_changes(100).await.unwrap();
    db.store.shelf_done(&waiting.changes).await.unwrap();
    assert!(db.store.shelf_changes(100).await.unwrap().changes.is_empty());
    waiting.rows
}

/// The one key that changed.
async fn one(db: &Db, number: u8) -> (i64, Option<KeyRecord>) {
    let rows = take(db).await;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(row.name, ShelfName::Key([number; 32]));
    (row.version, unshelve_key(&row.text).unwrap())
}

#[tokio::test]
async fn every_change_of_a_key_waits_for_the_copy_with_a_higher_version() {
    with_db(async |db| {
        let (org, member) = customer(&db.store, "ana@example.com").await;
        let new = new_key(&org, member, 7);
        let key = db.store.add_key(&new).await.unwrap();
        let (first, shelved) = one(&db, 7).await;
        assert_eq!(shelved, Some(key));
        let change = KeyChange { disabled: Some(true), ..KeyChange::default() };
        db.store.change_key(org.id, &new.hash, &change, noon()).await.unwrap();
        let (second, shelved) = one(&db, 7).await;
        assert!(second > first && shelved.unwrap().disabled);
        let limit = Some((NanoUsd::new(1), CapPeriod::Daily));
        for owner in [LimitOwner::Member(member), LimitOwner::Organization] {
            db.store.set_limit(org.id, owner, limit, noon()).await.unwrap();
        }
        let (third, shelved) = one(&db, 7).await;
        assert_eq!(shelved.unwrap().caps.len(), 2);
        db.store.set_limit(org.id, LimitOwner::Organization, None, noon()).await.unwrap();
        let (fourth, shelved) = one(&db, 7).await;
        assert_eq!((fourth > third && third > second, shelved.unwrap().caps.len()), (true, 1));
        db.store.delete_key(org.id, &new.hash, noon()).await.unwrap();
        let (fifth, shelved) = one(&db, 7).await;
        assert_eq!((fifth > fourth, shelved), (true, None));
    })
    .await;
}

#[tokio::test]
async fn changes_of_provider_keys_wait_too_and_everything_comes_in_pages() {
    with_db(async |db| {
        let (ana, member) = customer(&db.store, "ana@example.com").await;
        let new = NewProviderKey {
            org: ana.id,
            provider: "acme".to_owned(),
            name: "mine".to_owned(),
            hint: "cret".to_owned(),
            sealed: vec![1, 2, 3],
            fallback: true,
            at: noon(),
        };
        let id = db.store.add_provider_key(&new).await.unwrap();
        let rows = take(&db).await;
        assert_eq!((rows.len(), rows[0].name), (1, ShelfName::Org(ana.id)));
        assert_eq!(unshelve_sealed(&rows[0].text).unwrap(), db.store.sealed_keys(ana.id).await.unwrap());
        let page = db.store.shelf_orgs(0, 10).await.unwrap();
        assert_eq!((page.rows.as_slice(), page.next.is_some()), (rows.as_slice(), true));
        db.store.delete_provider_key(ana.id, id).await.unwrap();
        let gone = take(&db).await;
        assert!(gone[0].version > rows[0].version);
        assert!(unshelve_sealed(&gone[0].text).unwrap().is_empty());

        for number in 1..=5 {
            db.store.add_key(&new_key(&ana, member, number)).await.unwrap();
        }
        let hash = new_key(&ana, member, 3).hash;
        db.store.delete_key(ana.id, &hash, noon()).await.unwrap();
        let (mut seen, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after {
            let page = db.store.shelf_keys(from, 2).await.unwrap();
            seen.extend(page.rows);
            after = page.next;
        }
        let deleted = seen.iter().filter(|row| unshelve_key(&row.text).unwrap().is_none()).count();
        assert_eq!((seen.len(), deleted), (5, 1));
    })
    .await;
}
