//! Drafts, publication, and the price list at a moment.

use crate::database::{noon, with_db};
use crate::world::{endpoint, price_list, publish};
use catalog::draft::{DraftContent, DraftState};
use catalog::ports::{CatalogDesk as _, Published, PublishedCatalog as _};
use catalog::switch::{KillSwitch as _, SwitchKind, Turn};
use catalog::{Rates, Tier};
use kernel::{Moment, PicoUsd, StoreErrorKind};
use store_postgres::{Notice, PgStore, notices};

fn at(text: &str) -> Moment {
    text.parse().unwrap()
}

async fn publish_from(store: &PgStore, prompt: i64, from: &str) -> Published {
    let draft = store.add_draft("file.toml", "staff", &price_list(prompt, 2)).await.unwrap();
    store.publish(draft, "staff", at(from)).await.unwrap()
}

async fn prompt_price(store: &PgStore, when: &str) -> Option<i64> {
    let snapshot = store.snapshot(at(when)).await.unwrap();
    snapshot.find("acme/small").map(|listing| listing.endpoints[0].tariff.rates.prompt.get())
}

#[tokio::test]
async fn a_price_is_in_force_from_its_date() {
    with_db(async |db| {
        let store = &db.store;
        assert_eq!(store.version().await.unwrap(), 0);
        publish_from(store, 10, "2026-02-01T00:00:00Z").await;
        publish_from(store, 20, "2026-06-01T00:00:00Z").await;
        let rows = [
            ("2026-01-31T23:59:59Z", None),
            ("2026-02-01T00:00:00Z", Some(10)),
            ("2026-05-31T23:59:59Z", Some(10)),
            ("2026-06-01T00:00:00Z", Some(20)),
        ];
        for (when, price) in rows {
            assert_eq!(prompt_price(store, when).await, price, "{when}");
        }
        let before = store.snapshot(at("2026-03-01T00:00:00Z")).await.unwrap();
        assert_eq!((before.version, before.next_change_at), (2, Some(at("2026-06-01T00:00:00Z"))));
        let after = store.snapshot(at("2026-07-01T00:00:00Z")).await.unwrap();
        assert_eq!((after.next_change_at, after.taken_at), (None, at("2026-06-01T00:00:00Z")));
        assert_eq!(after.etag(), store.snapshot(at("2026-08-01T00:00:00Z")).await.unwrap().etag());
        assert_ne!(after.etag(), before.etag());
    })
    .await;
}

#[tokio::test]
async fn an_earlier_date_between_two_prices_ends_where_the_next_begins() {
    with_db(async |db| {
        let store = &db.store;
        publish_from(store, 10, "2026-02-01T00:00:00Z").await;
        publish_from(store, 20, "2026-06-01T00:00:00Z").await;
        publish_from(store, 15, "2026-04-01T00:00:00Z").await;
        for (when, price) in
            [("2026-03-01T00:00:00Z", 10), ("2026-05-01T00:00:00Z", 15), ("2026-07-01T00:00:00Z", 20)]
        {
            assert_eq!(prompt_price(store, when).await, Some(price), "{when}");
        }
    })
    .await;
}

#[tokio::test]
async fn only_changed_prices_make_versions() {
    with_db(async |db| {
        let store = &db.store;
        let from = "2026-02-01T00:00:00Z";
        assert_eq!(publish_from(store, 10, from).await, Published::Done { version: 1, changed_endpoints: 1 });
        assert_eq!(publish_from(store, 10, from).await, Published::Done { version: 2, changed_endpoints: 0 });
        let mut described = price_list(10, 2);
        described.endpoints[0].context_length = 4096;
        assert_eq!(publish(store, described).await, Published::Done { version: 3, changed_endpoints: 1 });
        let snapshot = store.snapshot(noon()).await.unwrap();
        let listed = &snapshot.find("acme/small").unwrap().endpoints[0];
        assert_eq!((listed.context_length, listed.tariff.rates.prompt.get()), (4096, 10));
        assert_eq!(publish_from(store, 11, from).await, Published::Done { version: 4, changed_endpoints: 1 });
        let history = store.price_history(listed.id).await.unwrap();
        let versions: Vec<_> = history.iter().map(|one| (one.version, one.rates.prompt.get())).collect();
        assert_eq!(versions.first(), Some(&(i32::try_from(history.len()).unwrap(), 11)));
        assert_eq!(versions.last(), Some(&(1, 10)));
    })
    .await;
}

#[tokio::test]
async fn of_two_drafts_on_one_base_only_the_first_goes_live() {
    with_db(async |db| {
        let store = &db.store;
        let from = "2026-02-01T00:00:00Z";
        publish_from(store, 10, from).await;
        let on_base = |prompt, base| DraftContent { base: Some(base), ..price_list(prompt, 2) };
        let first = store.add_draft("first.json", "rosa", &on_base(20, 1)).await.unwrap();
        let second = store.add_draft("second.json", "ben", &on_base(30, 1)).await.unwrap();
        assert_eq!(store.published_since(1).await.unwrap(), []);
        let done = store.publish(first, "rosa", at(from)).await.unwrap();
        assert_eq!(done, Published::Done { version: 2, changed_endpoints: 1 });
        assert_eq!(store.publish(second, "ben", at(from)).await.unwrap(), Published::Stale { live: 2 });
        assert_eq!(prompt_price(store, "2026-03-01T00:00:00Z").await, Some(20), "the first stands");
        let (summary, _) = store.draft(second).await.unwrap().unwrap();
        assert_eq!(summary.state, DraftState::Open, "it can still be read and discarded");
        let since = store.published_since(1).await.unwrap();
        let told: Vec<_> = since.iter().map(|s| (s.version, s.source.as_str(), s.by.as_str())).collect();
        assert_eq!(told, [(2, "first.json", "rosa")]);
        assert_eq!(since[0].endpoints, ["acme/small at acme"]);
        let rebased = store.add_draft("second.json", "ben", &on_base(30, 2)).await.unwrap();
        assert!(matches!(store.publish(rebased, "ben", at(from)).await.unwrap(), Published::Done { .. }));
    })
    .await;
}

#[tokio::test]
async fn what_is_switched_off_stays_off_through_publications_until_it_is_brought_back() {
    with_db(async |db| {
        let store = &db.store;
        publish(store, price_list(10, 2)).await;
        let for_sale = async || store.snapshot(noon()).await.unwrap().find("acme/small").is_some();
        let turn = async |kind, subject: &str, off| {
            let turn = Turn { kind, subject, off, by: "rosa", reason: "a test" };
            store.turn(&turn, noon()).await.unwrap()
        };
        assert!(for_sale().await);
        let before = store.snapshot(noon()).await.unwrap();
        for (kind, subject) in [(SwitchKind::Provider, "acme"), (SwitchKind::Endpoint, "acme/small at acme")]
        {
            assert!(turn(kind, subject, true).await);
            assert!(!for_sale().await, "{subject}");
            publish(store, price_list(11, 2)).await;
            assert!(!for_sale().await, "{subject}: a publication brings nothing back");
            assert!(turn(kind, subject, false).await);
            assert!(for_sale().await, "{subject}");
        }
        assert!(!turn(SwitchKind::Provider, "nobody", true).await);
        assert!(!turn(SwitchKind::Endpoint, "acme/small", true).await);
        let log = store.switch_log(10).await.unwrap();
        assert_eq!((log.len(), log[0].off, log[3].subject.as_str()), (4, false, "acme"));
        let after = store.snapshot(noon()).await.unwrap();
        assert_eq!((after.switch_seq, store.switch_seq().await.unwrap()), (4, 4));
        assert_ne!(before.etag(), after.etag());
    })
    .await;
}

#[tokio::test]
async fn every_part_of_a_tariff_comes_back_as_it_was_published() {
    with_db(async |db| {
        let some = |pico| Some(PicoUsd::new(pico));
        let rates = Rates {
            prompt: PicoUsd::new(1),
            completion: PicoUsd::new(2),
            cache_read: some(3),
            cache_write: some(4),
            cache_write_1h: some(5),
            reasoning: some(6),
            audio_prompt: some(7),
            audio_completion: some(8),
            image: some(9),
            request: some(10),
        };
        let tiers =
            vec![Tier { above_prompt_tokens: 200_000, rates: Rates { prompt: PicoUsd::new(11), ..rates } }];
        let mut content = price_list(1, 2);
        content.endpoints[0].rates = rates;
        content.endpoints[0].tiers = tiers.clone();
        publish(&db.store, content).await;
        let snapshot = db.store.snapshot(noon()).await.unwrap();
        let tariff = &snapshot.find("acme/small").unwrap().endpoints[0].tariff;
        assert_eq!(
            (tariff.rates, tariff.tiers.clone(), tariff.version, tariff.free),
            (rates, tiers, 1, false)
        );
    })
    .await;
}

#[tokio::test]
async fn a_draft_is_published_or_discarded_once() {
    with_db(async |db| {
        let store = &db.store;
        let draft = store.add_draft("file.toml", "staff", &price_list(1, 2)).await.unwrap();
        let tries = (0..4).map(|_| store.publish(draft, "staff", noon()));
        let outcomes: Vec<_> =
            futures_util::future::join_all(tries).await.into_iter().map(Result::unwrap).collect();
        let done = outcomes.iter().filter(|outcome| matches!(outcome, Published::Done { .. })).count();
        assert_eq!((done, store.version().await.unwrap()), (1, 1));
        assert_eq!(store.discard(draft, "staff").await.unwrap(), Published::NotOpen);
        let other = store.add_draft("file.toml", "staff", &price_list(3, 4)).await.unwrap();
        assert!(matches!(store.discard(other, "staff").await.unwrap(), Published::Done { .. }));
        assert_eq!(store.publish(other, "staff", noon()).await.unwrap(), Published::NotOpen);
        let unknown = kernel::ids::DraftId::from_uuid(uuid::Uuid::nil());
        assert_eq!(store.publish(unknown, "staff", noon()).await.unwrap(), Published::Missing);
        let (summary, content) = store.draft(other).await.unwrap().unwrap();
        assert_eq!((summary.endpoints, content), (1, price_list(3, 4)));
        assert_eq!(store.drafts(10).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_priced_is_not_published() {
    with_db(async |db| {
        let store = &db.store;
        for (prompt, completion) in [(0, 1), (1, 0), (0, 0), (-1, 1)] {
            let draft = store.add_draft("bad", "staff", &price_list(prompt, completion)).await.unwrap();
            let error = store.publish(draft, "staff", noon()).await.unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Conflict, "{prompt} {completion}");
        }
        let mut twice = price_list(1, 1);
        twice.endpoints.push(endpoint(2, 2));
        let draft = store.add_draft("twice", "staff", &twice).await.unwrap();
        assert_eq!(store.publish(draft, "staff", noon()).await.unwrap_err().kind, StoreErrorKind::Conflict);
        assert_eq!(store.version().await.unwrap(), 0);
        let mut free = price_list(0, 0);
        free.endpoints[0].free = true;
        assert!(matches!(publish(store, free).await, Published::Done { .. }));
        // The database says it again, should the program forget.
        let unmarked = db.refused(
            "INSERT INTO tariff (id, endpoint_id, kind, version, effective_from, prompt_pico_usd, completion_pico_usd,
             free, catalog_version) SELECT gen_random_uuid(), id, 'sale', 9, now(), 0, 1, false, 1 FROM endpoint",
        );
        assert!(unmarked.await.contains("tariff_is_priced_or_marked_free"));
        assert!(db.refused("UPDATE tariff SET prompt_pico_usd = 1").await.contains("never changed"));
    })
    .await;
}

#[tokio::test]
async fn a_publication_is_told_to_all() {
    with_db(async |db| {
        let mut notices = notices(&db.url);
        assert_eq!(notices.next().await.unwrap(), Notice::Resync);
        publish(&db.store, price_list(1, 2)).await;
        assert_eq!(notices.next().await.unwrap(), Notice::Catalog(1));
        assert_eq!(db.number("SELECT count(*) FROM audit_log WHERE action = 'catalog.publish'").await, 1);
    })
    .await;
}
