//! The ingest writer: once is once, one writer, and the booking rule row by row.

mod unknown_commit;
mod zombie;

use crate::database::{noon, with_db};
use crate::world::{Call, RUN_ID, World, customer, later, record};
use billing::engine::{CapId, ClosedBy, OutboxEntry, Ticket};
use billing::ledger::{IngestLedger as _, Ingested, Ledger as _};
use billing::reports::Reports as _;
use billing::verify::LedgerAudit as _;
use kernel::Entropy as _;
use kernel::ids::ProviderKeyId;
use kernel::rng::SeededEntropy;
use kernel::{NanoUsd, StoreErrorKind};
use store_postgres::LimitOwner;

impl World {
    async fn ingest(&self, batch: &[OutboxEntry]) -> Ingested {
        self.store().ingest(self.lease, batch).await.unwrap()
    }

    /// Every invariant holds.
    pub(crate) async fn assert_sound(&self) {
        for finding in self.store().check().await.unwrap() {
            assert!(finding.holds(), "{} {:?}", finding.id, finding.breaches);
        }
    }

    /// The corrections that the engine must still learn, after a sequence.
    async fn corrections(&self, after: i64) -> Vec<i64> {
        let entries = self.store().credits_after(self.org.account, after, 100).await.unwrap();
        entries.iter().map(|entry| entry.delta.get()).collect()
    }
}

#[tokio::test]
async fn a_batch_twice_is_once() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let mut engine = world.engine().await;
        let batch: Vec<_> =
            (1..=50).map(|n| engine.close(&world, &Call::settled(&world, n * 10, n))).collect();
        let done = world.ingest(&batch).await;
        // One charge and one cost a call.
        assert_eq!(done, Ingested { movements: 100, ..Ingested::default() });
        assert_eq!(world.posted().await, engine.balance);
        let again = world.ingest(&batch).await;
        assert_eq!(again, Ingested { duplicates: 50, ..Ingested::default() });
        assert_eq!(world.posted().await, engine.balance);
        assert!(world.corrections(1).await.is_empty());
        assert_eq!(world.cursor().await, "1795000000000-50");
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn a_charge_of_nothing_has_no_charge_movement() {
    with_db(async |db| {
        let world = World::open(db).await;
        let mut engine = world.engine().await;
        let mut failed = record(&world, 0, 0, None);
        failed.usage_source = "nothing".to_owned();
        failed.error = Some("upstream".to_owned());
        failed.provider_cost = NanoUsd::new(70);
        let entry = engine.close(&world, &Call::from_record(failed));
        assert_eq!(world.ingest(&[entry]).await.movements, 1);
        let insurance = "SELECT count(*) FROM ledger_movement m JOIN ledger_account a ON a.id = m.debit
                         WHERE m.class = 'cost' AND a.kind = 'insurance_cost' AND m.amount_nano_usd = 70";
        assert_eq!(world.db.number(insurance).await, 1);
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn a_writer_without_the_lease_writes_nothing() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let mut engine = world.engine().await;
        let batch = [engine.close(&world, &Call::settled(&world, 10, 1))];
        assert_eq!(world.store().lease("other", 60).await.unwrap(), None);
        assert_eq!(world.store().lease("writer", 0).await.unwrap(), Some(world.lease));
        let taken = world.store().lease("other", 60).await.unwrap().unwrap();
        assert!(taken > world.lease);
        assert!(world.ingest(&batch).await.lost_lease);
        assert_eq!(world.posted().await, 10_000_000_000);
        assert!(!world.store().ingest(taken, &batch).await.unwrap().lost_lease);
        assert_eq!(world.posted().await, engine.balance);
    })
    .await;
}

#[tokio::test]
async fn opening_an_epoch_ends_the_lease_of_what_was_read_before() {
    with_db(async |db| {
        let world = World::open(db).await;
        let mut engine = world.engine().await;
        let batch = [engine.close(&world, &Call::settled(&world, 10, 1))];
        assert_eq!(world.next_epoch("run-2").await, 2);
        assert!(world.ingest(&batch).await.lost_lease);
        let renewed = world.store().lease("writer", 60).await.unwrap().unwrap();
        assert!(renewed > world.lease);
        assert_eq!(world.cursor().await, "0-0");
    })
    .await;
}

#[tokio::test]
async fn the_debit_of_an_older_epoch_is_sent_to_the_engine() {
    with_db(async |db| {
        let mut world = World::open(db).await;
        world.buy(1000).await;
        let mut old = world.engine().await;
        let call = Call { caps: vec!["o:x".to_owned()], ..Call::settled(&world, 1000, 10) };
        let entry = old.close(&world, &call);
        world.next_epoch("run-2").await;
        world.lease = world.store().lease("writer", 60).await.unwrap().unwrap();
        let mut new = world.engine().await;
        assert_eq!(world.ingest(&[entry]).await.divergences, 0);
        assert_eq!(world.posted().await, 10_000_000_000 - call.charge);
        assert_eq!(world.corrections(1).await, vec![-call.charge]);
        let used =
            format!(r#"[{{"cap": "o:x", "period": "daily", "window": 20777, "used": {}}}]"#, call.charge);
        assert_eq!(world.cap_changes().await, serde_json::from_str::<serde_json::Value>(&used).unwrap());
        // The same charge once more, now through the engine's own books: it is given back.
        new.stream = 1;
        let again = new.close(&world, &call);
        assert_eq!(world.ingest(&[again]).await.duplicates, 1);
        assert_eq!(world.posted().await, 10_000_000_000 - call.charge);
        assert_eq!(world.corrections(2).await, vec![call.charge]);
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn an_epoch_from_the_future_stops_the_writer() {
    with_db(async |db| {
        let world = World::open(db).await;
        let mut engine = world.engine().await;
        engine.epoch = 9;
        let entry = engine.close(&world, &Call::settled(&world, 10, 1));
        let error = world.store().ingest(world.lease, &[entry]).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Corrupt);
    })
    .await;
}

#[tokio::test]
async fn a_sweep_is_corrected_once_by_its_settlement() {
    for late in [5_000_i64, 1_000, 3_000, 0] {
        with_db(async |db| {
            let world = World::open(db).await;
            world.buy(1000).await;
            let mut engine = world.engine().await;
            let mut call = Call::settled(&world, 1000, 10);
            let swept = engine.close(&world, &call.swept(&world, 3_000));
            world.ingest(&[swept]).await;
            let row = world.store().generation(world.org.id, call.id).await.unwrap().unwrap();
            assert_eq!(
                (row.record.model.as_str(), row.record.usage_source.as_str()),
                ("acme/small", "nothing")
            );
            assert_eq!((row.record.member, row.charge.get()), (world.member, 3_000));
            // Its gateway wakes and knows what was really used; Redis answers that the hold is gone.
            let mut real = record(&world, late.unsigned_abs() / 1000, 0, None);
            real.id = call.id;
            call = Call::from_record(real);
            let entry = OutboxEntry { balance_after: NanoUsd::ZERO, ..engine.close(&world, &call) };
            let entry = OutboxEntry { debit_seq: 0, ..entry };
            let done = world.store().book_late(&entry).await.unwrap();
            assert_eq!(done.duplicates, 0);
            assert_eq!(world.posted().await, 10_000_000_000 - late);
            let told = if late == 3_000 { vec![] } else { vec![3_000 - late] };
            assert_eq!(world.corrections(1).await, told);
            assert_eq!(world.store().book_late(&entry).await.unwrap().duplicates, 1);
            assert_eq!(world.corrections(1).await, told);
            let row = world.store().generation(world.org.id, call.id).await.unwrap().unwrap();
            assert_eq!((row.charge.get(), row.record.usage_source.as_str()), (late, "exact"));
            world.assert_sound().await;
        })
        .await;
    }
}

/// What closes the holds of one call, in order: which hold, how, and at what charge; then what the call
/// costs in the end and how many movements its charge has.
type Story = (&'static [(u8, ClosedBy, i64)], i64, i64);

const STORIES: &[Story] = &[
    (&[(1, ClosedBy::Settle, 10_000)], 10_000, 1),
    (&[(1, ClosedBy::Sweep, 4_000), (1, ClosedBy::Settle, 10_000)], 10_000, 2),
    (&[(1, ClosedBy::Settle, 10_000), (1, ClosedBy::Sweep, 4_000)], 10_000, 1),
    (&[(1, ClosedBy::Sweep, 4_000), (1, ClosedBy::Sweep, 4_000)], 4_000, 1),
    (&[(1, ClosedBy::Sweep, 0), (1, ClosedBy::Settle, 10_000)], 10_000, 1),
    // A failed answer is free, even where the sweeper came first.
    (&[(1, ClosedBy::Sweep, 4_000), (1, ClosedBy::Release, 0)], 0, 2),
    (&[(1, ClosedBy::Release, 0), (1, ClosedBy::Sweep, 4_000)], 0, 0),
    // The customer's own key failed after it had been metered; our credential answered.
    (&[(0, ClosedBy::Release, 0), (1, ClosedBy::Settle, 10_000)], 10_000, 1),
    (&[(0, ClosedBy::Release, 0), (1, ClosedBy::Sweep, 4_000), (1, ClosedBy::Settle, 10_000)], 10_000, 2),
    (&[(1, ClosedBy::Sweep, 4_000), (0, ClosedBy::Release, 0)], 4_000, 1),
    (
        &[
            (0, ClosedBy::Sweep, 500),
            (0, ClosedBy::Release, 0),
            (1, ClosedBy::Sweep, 4_000),
            (1, ClosedBy::Settle, 10_000),
        ],
        10_000,
        4,
    ),
];

#[tokio::test]
async fn every_story_of_a_call_ends_at_its_own_charge_in_one_batch_or_in_many() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let mut engine = world.engine().await;
        for (story, charge, postings) in STORIES {
            for together in [true, false] {
                let before = world.posted().await;
                let call = Call::settled(&world, 10, 0);
                let batch: Vec<_> = story.iter().map(|end| engine.close(&world, &call.ended(&world, *end))).collect();
                if together {
                    world.ingest(&batch).await;
                } else {
                    for entry in &batch {
                        world.ingest(std::slice::from_ref(entry)).await;
                    }
                }
                assert_eq!(before - world.posted().await, *charge, "{story:?}");
                let row = world.store().generation(world.org.id, call.id).await.unwrap().unwrap();
                assert_eq!(row.charge.get(), *charge, "{story:?}");
                let booked = "SELECT count(*) FROM ledger_movement m JOIN (SELECT max(id::text)::uuid AS id FROM generation) g
                              ON g.id = m.id WHERE m.class = 'charge' OR m.class LIKE 'adjust%'";
                assert_eq!(world.db.number(booked).await, *postings, "{story:?}");
                // What the engine took too much or too little, it is told.
                let told: i64 = world.corrections(1).await.iter().sum();
                assert_eq!(engine.balance + told, world.posted().await, "{story:?}");
                later(&world, 1);
            }
        }
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn through_epochs_and_late_drains_the_engine_is_told_exactly_what_it_missed() {
    with_db(async |db| {
        let mut world = World::open(db).await;
        world.buy(100_000).await;
        let entropy = SeededEntropy::new(17);
        for _ in 0..6 {
            let mut engine = world.engine().await;
            let mut late = Vec::new();
            for round in 0..40 {
                let call = Call::settled(&world, 1 + entropy.below(500), 0);
                let funding = u8::try_from(entropy.below(2)).unwrap();
                let mut entries = vec![engine.close(&world, &Call { funding, ..call.clone() })];
                if entropy.below(3) == 0 {
                    let swept = call.ended(&world, (1, ClosedBy::Sweep, 1 + i64::from(round)));
                    entries.insert(usize::from(entropy.below(2) == 0), engine.close(&world, &swept));
                    entries.sort_by_key(|entry| entry.debit_seq);
                }
                if entropy.below(4) == 0 {
                    late.append(&mut entries);
                } else if late.is_empty() {
                    world.ingest(&entries).await;
                } else {
                    late.append(&mut entries);
                    world.ingest(&late).await;
                    late.clear();
                }
                later(&world, 1);
            }
            // The shard's Redis is lost; what it had not delivered is drained under the next epoch.
            world.next_epoch(RUN_ID).await;
            world.lease = world.store().lease("writer", 60).await.unwrap().unwrap();
            let loaded = world.engine().await;
            world.ingest(&late).await;
            let told: i64 = world.corrections(loaded.credit_seq).await.iter().sum();
            assert_eq!(loaded.balance + told, world.posted().await);
            world.next_epoch(RUN_ID).await;
            world.lease = world.store().lease("writer", 60).await.unwrap().unwrap();
        }
        let findings = world.store().check().await.unwrap();
        for finding in findings {
            assert!(finding.holds(), "{} {:?}", finding.id, finding.breaches);
        }
    })
    .await;
}

#[tokio::test]
async fn purchases_and_batches_at_once_leave_sound_books() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(10_000).await;
        let mut engine = world.engine().await;
        let batches: Vec<Vec<_>> = (0..10)
            .map(|_| (0..20).map(|n| engine.close(&world, &Call::settled(&world, n, 1))).collect())
            .collect();
        let ingest = async {
            for batch in &batches {
                assert_eq!(world.ingest(batch).await.divergences, 0);
            }
        };
        let buy = futures_util::future::join_all((0..20).map(|_| world.buy(500)));
        futures_util::future::join(ingest, buy).await;
        assert_eq!(world.posted().await, engine.balance + 20 * 5_000_000_000);
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn a_late_settlement_of_a_closed_epoch_is_refused() {
    with_db(async |db| {
        let world = World::open(db).await;
        let mut engine = world.engine().await;
        let entry = engine.close(&world, &Call::settled(&world, 10, 0));
        world.next_epoch(RUN_ID).await;
        assert_eq!(world.store().book_late(&entry).await.unwrap_err().kind, StoreErrorKind::Conflict);
    })
    .await;
}

#[tokio::test]
async fn a_balance_that_differs_from_the_engines_is_noted_and_booked() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let mut engine = world.engine().await;
        engine.balance += 1;
        let batch = [engine.close(&world, &Call::settled(&world, 10, 0))];
        assert_eq!(world.ingest(&batch).await.divergences, 1);
        assert_eq!(world.posted().await, engine.balance - 1);
        let findings = world.store().check().await.unwrap();
        assert!(!findings.iter().find(|finding| finding.id == "I1").unwrap().holds());
    })
    .await;
}

#[tokio::test]
async fn a_purchase_between_charge_and_booking_is_no_divergence() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let mut engine = world.engine().await;
        let batch = [engine.close(&world, &Call::settled(&world, 10, 0))];
        world.buy(500).await;
        assert_eq!(world.ingest(&batch).await.divergences, 0);
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn use_of_caps_is_kept_by_window() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let limit = Some((NanoUsd::new(1_000_000), billing::engine::CapPeriod::Daily));
        world.store().set_limit(world.org.id, LimitOwner::Organization, limit, noon()).await.unwrap();
        let cap = format!("o:{}", world.org.id);
        let mut engine = world.engine().await;
        let call = |prompt| Call { caps: vec![cap.clone()], ..Call::settled(&world, prompt, 0) };
        let batch = [engine.close(&world, &call(10)), engine.close(&world, &call(20))];
        world.ingest(&batch).await;
        let id = CapId(cap.clone());
        let used = async |at| {
            world.store().cap(world.org.account.account, &id, at).await.unwrap().unwrap().used.get()
        };
        assert_eq!(used(noon()).await, 30_000);
        assert_eq!(used(noon() + chrono::Duration::days(1)).await, 0);
        let audited = world.store().accounts(world.org.account.shard).await.unwrap();
        assert_eq!((audited[0].posted.get(), audited[0].caps[0].used.get()), (engine.balance, 30_000));
        // Another period is another window, as in the engine.
        let limit = limit.map(|(limit, _)| (limit, billing::engine::CapPeriod::Total));
        world.store().set_limit(world.org.id, LimitOwner::Organization, limit, noon()).await.unwrap();
        assert_eq!(used(noon()).await, 0);
    })
    .await;
}

#[tokio::test]
async fn own_keys_count_their_allowance_and_pay_the_fee() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let mut engine = world.engine().await;
        let own = |amount: i64, ticket| {
            let mut record = record(&world, 1000, 0, None);
            record.provider_key = Some(ProviderKeyId::from_uuid(uuid::Uuid::from_u128(1)));
            record.provider_cost = NanoUsd::ZERO;
            record.amount = NanoUsd::new(amount);
            Call { funding: 0, ticket, ..Call::from_record(record) }
        };
        let free = Call { charge: 0, ..own(50_000, Ticket::Free) };
        let paid = own(50_000, Ticket::Paid);
        let batch = [engine.close(&world, &free), engine.close(&world, &paid)];
        assert_eq!(world.ingest(&batch).await.movements, 1);
        let state =
            world.store().account_state(world.org.account.account, &[], noon()).await.unwrap().unwrap();
        assert_eq!(
            (state.byok.month, state.byok.requests, state.byok.list_price.get()),
            (2026 * 12 + 10, 2, 2_000_000)
        );
        let revenue = "SELECT count(*) FROM ledger_movement m JOIN ledger_account a ON a.id = m.credit
                       WHERE a.kind = 'byok_revenue' AND m.amount_nano_usd = 50000";
        assert_eq!(world.db.number(revenue).await, 1);
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn what_could_not_be_collected_is_the_marketplaces_loss() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let mut engine = world.engine().await;
        let full = Call::settled(&world, 1000, 0);
        let short = Call { charge: full.charge - 300, uncollected: 300, ..full };
        let batch = [engine.close(&world, &short)];
        assert_eq!(world.ingest(&batch).await.movements, 3);
        let loss = "SELECT count(*) FROM ledger_movement m JOIN ledger_account a ON a.id = m.debit
                    WHERE m.class = 'insurance' AND a.kind = 'insurance_cost' AND m.amount_nano_usd = 300";
        assert_eq!(world.db.number(loss).await, 1);
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn a_record_that_cannot_be_read_does_not_stop_the_shard() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let (other, _) = customer(world.store(), "ben@example.com").await;
        let mut engine = world.engine().await;
        let mut foreign = record(&world, 10, 0, None);
        foreign.org = other.id;
        let mut negative = record(&world, 10, 0, None);
        negative.list_price = NanoUsd::new(-1);
        let mut nul = record(&world, 10, 0, None);
        nul.app_title = Some("a\0b".to_owned());
        let torn = Call { record: "{".to_owned(), ..Call::settled(&world, 10, 0) };
        let calls =
            [Call::from_record(foreign), Call::from_record(negative), Call::from_record(nul.clone()), torn];
        let batch: Vec<_> = calls.iter().map(|call| engine.close(&world, call)).collect();
        assert_eq!(world.ingest(&batch).await.duplicates, 0);
        assert_eq!(world.posted().await, engine.balance);
        assert_eq!(world.db.number("SELECT count(*) FROM ledger_divergence WHERE kind = 'record'").await, 3);
        let kept = world.store().generation(world.org.id, nul.id).await.unwrap().unwrap();
        assert_eq!(kept.record.app_title.as_deref(), Some("a\u{fffd}b"));
        assert!(world.store().generations(other.id, &Default::default(), None, 10).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_second_settlement_of_another_amount_changes_nothing_and_is_noted() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let mut engine = world.engine().await;
        let first = Call::settled(&world, 10, 0);
        let mut other = record(&world, 20, 0, None);
        other.id = first.id;
        let batch = [engine.close(&world, &first), engine.close(&world, &Call::from_record(other))];
        assert_eq!(world.ingest(&batch).await.duplicates, 1);
        assert_eq!(world.posted().await, 10_000_000_000 - first.charge);
        assert_eq!(world.corrections(1).await, vec![20_000]);
        assert_eq!(
            world.db.number("SELECT count(*) FROM ledger_divergence WHERE kind = 'second_final'").await,
            1
        );
    })
    .await;
}

#[tokio::test]
async fn rows_find_their_daily_partition_or_the_default_one() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let mut engine = world.engine().await;
        world.ingest(&[engine.close(&world, &Call::settled(&world, 10, 0))]).await;
        later(&world, 86_400);
        world.ingest(&[engine.close(&world, &Call::settled(&world, 10, 0))]).await;
        assert_eq!(world.db.number("SELECT count(*) FROM generation_20261120").await, 1);
        assert_eq!(world.db.number("SELECT count(*) FROM ledger_movement_20261121").await, 2);
        // Too many days at once are not worth partitions; nothing is lost.
        let batch: Vec<_> = (0..9)
            .map(|_| {
                later(&world, 86_400);
                engine.close(&world, &Call::settled(&world, 10, 0))
            })
            .collect();
        world.ingest(&batch).await;
        assert_eq!(world.db.number("SELECT count(*) FROM generation_default").await, 9);
        assert_eq!(world.posted().await, engine.balance);
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn movements_are_never_changed() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        for sql in [
            "UPDATE ledger_movement SET amount_nano_usd = 1",
            "DELETE FROM ledger_movement",
            "TRUNCATE ledger_movement",
        ] {
            assert!(world.db.refused(sql).await.contains("insert-only"), "{sql}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_batch_takes_a_constant_number_of_statements() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(2_500_000).await;
        let mut engine = world.engine().await;
        let batch: Vec<_> =
            (0..2000).map(|_| engine.close(&world, &Call::settled(&world, 100, 10))).collect();
        assert_eq!(world.ingest(&batch).await.movements, 4000);
        assert_eq!(world.posted().await, engine.balance);
        world.assert_sound().await;
    })
    .await;
}

impl World {
    async fn cap_changes(&self) -> serde_json::Value {
        use sqlx::{Connection as _, Row as _};
        let mut connection = sqlx::PgConnection::connect(&self.db.url).await.unwrap();
        let sql =
            "SELECT cap_changes::text FROM credit_outbox WHERE reason = 'correction' ORDER BY seq LIMIT 1";
        let row = sqlx::raw_sql(sql).fetch_one(&mut connection).await.unwrap();
        serde_json::from_str(row.get(0)).unwrap()
    }
}
