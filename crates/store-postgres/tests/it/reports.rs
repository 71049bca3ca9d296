//! Usage pages and logs: sums and scans agree, lists continue, organizations are apart.

use crate::database::{noon, with_db};
use crate::world::{Call, World, customer, later};
use billing::ledger::IngestLedger as _;
use billing::reports::{Reports as _, UsageFilter};
use chrono::Duration;

#[tokio::test]
async fn sums_of_whole_days_equal_the_count_of_generations() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let mut engine = world.engine().await;
        let mut batch = Vec::new();
        for n in 1..=6 {
            batch.push(engine.close(&world, &Call::settled(&world, n * 10, n)));
            later(&world, 8 * 3600);
        }
        world.store().ingest(world.lease, &batch).await.unwrap();
        let (store, org) = (world.store(), world.org.id);
        let midnight = noon() - Duration::hours(12);
        let whole = UsageFilter {
            from: Some(midnight),
            to: Some(midnight + Duration::days(5)),
            ..Default::default()
        };
        let cut =
            UsageFilter { to: Some(midnight + Duration::days(5) + Duration::seconds(1)), ..whole.clone() };
        assert_eq!(store.totals(org, &whole).await.unwrap(), store.totals(org, &cut).await.unwrap());
        let days = store.usage_by_day(org, &whole).await.unwrap();
        assert_eq!(days, store.usage_by_day(org, &cut).await.unwrap());
        let by_day: Vec<_> =
            days.iter().map(|day| (day.day.as_str(), day.requests, day.prompt_tokens)).collect();
        assert_eq!(by_day, vec![("2026-11-20", 2, 30), ("2026-11-21", 3, 120), ("2026-11-22", 1, 60)]);
        // A bound within a day counts exactly the calls after it.
        let afternoon = UsageFilter { from: Some(noon() + Duration::hours(1)), ..Default::default() };
        assert_eq!(store.totals(org, &afternoon).await.unwrap().requests, 5);
        let exact =
            UsageFilter { from: Some(noon()), to: Some(noon() + Duration::hours(8)), ..Default::default() };
        assert_eq!(store.totals(org, &exact).await.unwrap().requests, 1);
    })
    .await;
}

#[tokio::test]
async fn a_list_continues_where_it_ended_newest_first() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let mut engine = world.engine().await;
        let mut batch = Vec::new();
        for n in 1..=7 {
            batch.push(engine.close(&world, &Call::settled(&world, n, 0)));
            later(&world, 6 * 3600);
        }
        world.store().ingest(world.lease, &batch).await.unwrap();
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page =
                world.store().generations(world.org.id, &UsageFilter::default(), before, 3).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.record.id);
            seen.extend(page.iter().map(|generation| generation.record.usage.prompt));
        }
        assert_eq!(seen, vec![7, 6, 5, 4, 3, 2, 1]);
        let none = UsageFilter { model: Some("acme/other".to_owned()), ..Default::default() };
        assert!(world.store().generations(world.org.id, &none, None, 3).await.unwrap().is_empty());
        let mine = UsageFilter {
            member: Some(world.member),
            provider: Some("acme".to_owned()),
            ..Default::default()
        };
        assert_eq!(world.store().generations(world.org.id, &mine, None, 30).await.unwrap().len(), 7);
    })
    .await;
}

#[tokio::test]
async fn a_generation_is_shown_to_its_organization_alone() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let (other, _) = customer(world.store(), "ben@example.com").await;
        let mut engine = world.engine().await;
        let call = Call::settled(&world, 10, 1);
        world.store().ingest(world.lease, &[engine.close(&world, &call)]).await.unwrap();
        let shown = world.store().generation(world.org.id, call.id).await.unwrap().unwrap();
        assert_eq!(serde_json::to_string(&shown.record).unwrap(), call.record);
        assert_eq!((shown.charge.get(), shown.created_at, shown.key_name), (call.charge, noon(), None));
        assert!(world.store().generation(other.id, call.id).await.unwrap().is_none());
        assert_eq!(world.store().totals(other.id, &UsageFilter::default()).await.unwrap().requests, 0);
    })
    .await;
}
