//! API keys, limits, provider keys, and the notices that changes send.

use crate::database::{Db, noon, with_db};
use crate::world::{Call, World, customer};
use accounts::api_key::LimitReset;
use accounts::ports::{
    KeyChange, KeyDirectory as _, Keys as _, NewKey, NewProviderKey, ProviderKeys as _, key_cap,
};
use accounts::{KeyDigest, KeyKind, OrgSummary};
use billing::engine::{CapId, CapPeriod};
use billing::ledger::{IngestLedger as _, Ledger as _};
use kernel::ids::MemberId;
use kernel::{NanoUsd, StoreErrorKind};
use store_postgres::{LimitOwner, Notice, notices};

pub(crate) fn new_key(org: &OrgSummary, creator: MemberId, number: u8) -> NewKey {
    NewKey {
        org: org.id,
        workspace: org.default_workspace,
        creator,
        kind: KeyKind::Model,
        digest: KeyDigest { pepper_version: 1, bytes: [number; 32] },
        hash: format!("{number:02x}").repeat(32),
        name: format!("key {number}"),
        label: "sk-fb-v1-abc...xyz".to_owned(),
        limit: None,
        limit_reset: LimitReset::None,
        include_byok_in_limit: false,
        expires_at: None,
        at: noon(),
    }
}

#[tokio::test]
async fn a_key_is_found_by_its_digest_until_it_is_deleted() {
    with_db(async |db| {
        let (org, member) = customer(&db.store, "ana@example.com").await;
        let new = new_key(&org, member, 7);
        let key = db.store.add_key(&new).await.unwrap();
        assert_eq!((key.org, key.account, key.creator, key.disabled), (org.id, org.account, member, false));
        assert_eq!(*db.store.find(&new.digest).await.unwrap().unwrap(), key);
        let other_pepper = KeyDigest { pepper_version: 2, ..new.digest };
        assert!(db.store.find(&other_pepper).await.unwrap().is_none());
        let error = db.store.add_key(&new).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Conflict);
        assert!(db.store.delete_key(org.id, &new.hash, noon()).await.unwrap());
        assert!(!db.store.delete_key(org.id, &new.hash, noon()).await.unwrap());
        assert!(db.store.find(&new.digest).await.unwrap().is_none());
        assert!(db.store.keys(org.id, 0, 10, noon()).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn no_organization_reaches_into_another() {
    with_db(async |db| {
        let (ana, ana_member) = customer(&db.store, "ana@example.com").await;
        let (ben, ben_member) = customer(&db.store, "ben@example.com").await;
        let key = new_key(&ana, ana_member, 1);
        db.store.add_key(&key).await.unwrap();
        assert!(db.store.key(ben.id, &key.hash, noon()).await.unwrap().is_none());
        assert!(!db.store.delete_key(ben.id, &key.hash, noon()).await.unwrap());
        let change = KeyChange { disabled: Some(true), ..KeyChange::default() };
        assert!(db.store.change_key(ben.id, &key.hash, &change, noon()).await.unwrap().is_none());
        assert!(!db.store.find(&key.digest).await.unwrap().unwrap().disabled);
        let foreign_workspace = NewKey { workspace: ana.default_workspace, ..new_key(&ben, ben_member, 2) };
        let foreign_creator = NewKey { creator: ana_member, ..new_key(&ben, ben_member, 3) };
        for key in [foreign_workspace, foreign_creator] {
            assert_eq!(db.store.add_key(&key).await.unwrap_err().kind, StoreErrorKind::Conflict);
        }
        let foreign = db.store.set_limit(ben.id, LimitOwner::Member(ana_member), None, noon()).await;
        assert_eq!(foreign.unwrap_err().kind, StoreErrorKind::Conflict);
    })
    .await;
}

#[tokio::test]
async fn a_limit_becomes_a_cap_and_follows_its_changes() {
    with_db(async |db| {
        let (org, member) = customer(&db.store, "ana@example.com").await;
        let limit = Some(NanoUsd::new(5_000));
        let new = NewKey { limit, limit_reset: LimitReset::Daily, ..new_key(&org, member, 1) };
        let key = db.store.add_key(&new).await.unwrap();
        let id = CapId(key_cap(key.id));
        let cap = async || db.store.cap(org.account.account, &id, noon()).await.unwrap();
        let stored = cap().await.unwrap();
        assert_eq!((stored.limit.get(), stored.period, stored.window), (5_000, CapPeriod::Daily, 20_777));
        let change = KeyChange {
            limit: Some(Some(NanoUsd::new(9))),
            limit_reset: Some(LimitReset::None),
            ..KeyChange::default()
        };
        let changed = db.store.change_key(org.id, &new.hash, &change, noon()).await.unwrap().unwrap();
        assert_eq!(
            (changed.limit, changed.limit_reset, changed.name),
            (Some(NanoUsd::new(9)), LimitReset::None, key.name)
        );
        assert_eq!(cap().await.unwrap().period, CapPeriod::Total);
        let change =
            KeyChange { limit: Some(None), name: Some("renamed".to_owned()), ..KeyChange::default() };
        let changed = db.store.change_key(org.id, &new.hash, &change, noon()).await.unwrap().unwrap();
        assert_eq!((changed.limit, changed.name.as_str()), (None, "renamed"));
        assert!(cap().await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_first_limit_on_a_used_key_counts_what_the_window_used() {
    with_db(async |db| {
        let (org, member) = customer(&db.store, "ana@example.com").await;
        let new = new_key(&org, member, 1);
        let key = db.store.add_key(&new).await.unwrap();
        // Yesterday 30, today (noon() is on 2026-11-20) 12; another key's use does not count.
        db.sql(
            "INSERT INTO usage_daily
             SELECT k.org_id, u.day, 'a/m', 'p', u.key, k.creator_id, 1, 1, 1, u.charge, 0, 0 FROM api_key k,
             LATERAL (VALUES (k.id, '2026-11-19'::date, 30), (k.id, '2026-11-20', 12),
                             (k.org_id, '2026-11-20', 500)) AS u (key, day, charge)",
        )
        .await;
        let id = CapId(key_cap(key.id));
        let set = async |reset| {
            let change = KeyChange {
                limit: Some(Some(NanoUsd::new(100))),
                limit_reset: Some(reset),
                ..KeyChange::default()
            };
            db.store.change_key(org.id, &new.hash, &change, noon()).await.unwrap();
            db.store.cap(org.account.account, &id, noon()).await.unwrap().unwrap().used.get()
        };
        assert_eq!(set(LimitReset::Daily).await, 12);
        // Raising or repeating it keeps the count; a change of period starts a new window.
        assert_eq!(set(LimitReset::Daily).await, 12);
        assert_eq!(set(LimitReset::None).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_record_names_the_caps_of_member_workspace_and_organization() {
    with_db(async |db| {
        let (org, member) = customer(&db.store, "ana@example.com").await;
        let new = new_key(&org, member, 1);
        db.store.add_key(&new).await.unwrap();
        let limit = Some((NanoUsd::new(1), CapPeriod::Monthly));
        let owners = [
            LimitOwner::Member(member),
            LimitOwner::Workspace(org.default_workspace),
            LimitOwner::Organization,
        ];
        for owner in owners {
            db.store.set_limit(org.id, owner, limit, noon()).await.unwrap();
        }
        let expected =
            vec![format!("m:{member}"), format!("o:{}", org.id), format!("w:{}", org.default_workspace)];
        assert_eq!(db.store.find(&new.digest).await.unwrap().unwrap().caps, expected);
        let state = db.store.account_state(org.account.account, &[], noon()).await.unwrap().unwrap();
        assert_eq!(state.caps.iter().map(|cap| cap.id.0.clone()).collect::<Vec<_>>(), expected);
        db.store.set_limit(org.id, LimitOwner::Organization, None, noon()).await.unwrap();
        assert_eq!(db.store.find(&new.digest).await.unwrap().unwrap().caps.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_key_knows_what_it_has_spent() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let new = new_key(&world.org, world.member, 1);
        let key = world.store().add_key(&new).await.unwrap();
        let mut engine = world.engine().await;
        let calls = [
            Call::keyed(&world, key.id, 100, 10),
            Call::keyed(&world, key.id, 50, 0),
            Call::settled(&world, 9, 9),
        ];
        let batch: Vec<_> = calls.iter().map(|call| engine.close(&world, call)).collect();
        world.store().ingest(world.lease, &batch).await.unwrap();
        let spent = calls[0].charge + calls[1].charge;
        let usage = world.store().key(world.org.id, &new.hash, noon()).await.unwrap().unwrap();
        assert_eq!(
            [usage.usage, usage.usage_daily, usage.usage_weekly, usage.usage_monthly].map(NanoUsd::get),
            [spent; 4]
        );
        assert_eq!(usage.last_used_at, Some(noon()));
        let next_month = noon() + chrono::Duration::days(30);
        let usage = world.store().key(world.org.id, &new.hash, next_month).await.unwrap().unwrap();
        assert_eq!([usage.usage.get(), usage.usage_daily.get(), usage.usage_monthly.get()], [spent, 0, 0]);
    })
    .await;
}

#[tokio::test]
async fn provider_keys_stay_sealed_and_with_their_organization() {
    with_db(async |db| {
        let (ana, _) = customer(&db.store, "ana@example.com").await;
        let (ben, _) = customer(&db.store, "ben@example.com").await;
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
        let listed = db.store.provider_keys(ana.id).await.unwrap();
        let sealed = db.store.sealed_keys(ana.id).await.unwrap();
        assert_eq!((listed[0].id, listed[0].hint.as_str()), (id, "cret"));
        assert_eq!(sealed, vec![(listed[0].clone(), vec![1, 2, 3])]);
        assert!(db.store.provider_keys(ben.id).await.unwrap().is_empty());
        assert!(!db.store.delete_provider_key(ben.id, id).await.unwrap());
        assert!(db.store.delete_provider_key(ana.id, id).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn every_change_sends_its_notice_with_the_commit() {
    with_db(async |db| {
        let (org, member) = customer(&db.store, "ana@example.com").await;
        let mut notices = notices(&db.url);
        assert_eq!(notices.next().await.unwrap(), Notice::Resync);
        let account = org.account.account;
        let new = NewKey { limit: Some(NanoUsd::new(1)), ..new_key(&org, member, 0xcd) };
        let key = db.store.add_key(&new).await.unwrap();
        let cap = Notice::Cap { account, cap: key_cap(key.id) };
        assert_eq!(take(&mut notices, 2).await, vec![cap.clone(), Notice::Key([0xcd; 32])]);
        let change = KeyChange { disabled: Some(true), ..KeyChange::default() };
        db.store.change_key(org.id, &new.hash, &change, noon()).await.unwrap();
        assert_eq!(take(&mut notices, 2).await, vec![cap, Notice::Key([0xcd; 32])]);
        db.store.delete_key(org.id, &new.hash, noon()).await.unwrap();
        assert_eq!(take(&mut notices, 1).await, vec![Notice::Key([0xcd; 32])]);
        db.store
            .set_limit(org.id, LimitOwner::Organization, Some((NanoUsd::new(1), CapPeriod::Daily)), noon())
            .await
            .unwrap();
        assert_eq!(take(&mut notices, 2).await[1], Notice::AllKeys);
        reconnects(&db, &mut notices).await;
    })
    .await;
}

async fn take(notices: &mut store_postgres::Notices, count: usize) -> Vec<Notice> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(notices.next().await.unwrap());
    }
    taken
}

/// A listener whose connection is cut says so before anything else.
async fn reconnects(db: &Db, notices: &mut store_postgres::Notices) {
    db.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'").await;
    let mut answer = notices.next().await;
    while answer.is_err() {
        answer = notices.next().await;
    }
    assert_eq!(answer.unwrap(), Notice::Resync);
    db.sql("SELECT pg_notify('farebox_keys', 'all')").await;
    assert_eq!(notices.next().await.unwrap(), Notice::AllKeys);
}
