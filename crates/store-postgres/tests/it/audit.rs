//! The proof of the books: clean books pass, and each planted fault is found by its invariant.

use crate::database::{noon, with_db};
use crate::world::{Call, World, record};
use billing::dispute::{Advance, DisputeState};
use billing::engine::Ticket;
use billing::ledger::{DisputeLedger as _, IngestLedger as _, RefundLedger as _};
use billing::refund::{NewRefund, RefundEnd, Requester};
use billing::verify::LedgerAudit as _;
use kernel::ids::{ProviderKeyId, RefundId};
use kernel::rng::SystemEntropy;
use kernel::{Cents, NanoUsd};

/// Books with every kind of row in them.
async fn books(world: &World) {
    world.buy(1000).await;
    world.buy(2500).await;
    let open = world.new_purchase(700);
    billing::ledger::PurchaseLedger::open_purchase(world.store(), &open).await.unwrap();
    went_back(world).await;
    let mut engine = world.engine().await;
    let mut own = record(world, 1000, 10, None);
    own.provider_key = Some(ProviderKeyId::from_uuid(uuid::Uuid::from_u128(1)));
    own.provider_cost = NanoUsd::ZERO;
    own.amount = NanoUsd::new(51_000);
    let mut calls: Vec<Call> = (1..=5).map(|n| Call::settled(world, n * 100, n)).collect();
    calls.push(Call { charge: 0, funding: 0, ticket: Ticket::Free, ..Call::from_record(own) });
    let full = Call::settled(world, 1000, 0);
    calls.push(Call { charge: full.charge - 300, uncollected: 300, ..full });
    calls.push(Call::settled(world, 9, 9).swept(world, 4_000));
    let batch: Vec<_> = calls.iter().map(|call| engine.close(world, call)).collect();
    world.store().ingest(world.lease, &batch).await.unwrap();
}

/// One refund done, one given back, one dispute lost with a debt, another won.
async fn went_back(world: &World) {
    let store = world.store();
    let purchases =
        [world.buy(1100).await, world.buy(1200).await, world.buy(1300).await, world.buy(1400).await];
    for (purchase, cents, end) in [
        (purchases[0], 300, RefundEnd::Done { provider_id: "re_1".to_owned() }),
        (purchases[1], 400, RefundEnd::Reversed { provider_id: None, why: "no".to_owned() }),
    ] {
        let new = NewRefund {
            id: RefundId::new(world.db.clock.as_ref(), &SystemEntropy),
            org: world.org.id,
            purchase,
            amount: Cents::new(cents),
            by: Requester::Member(world.member),
            reason: "a test".to_owned(),
            at: noon(),
        };
        store.open_refund(&new).await.unwrap();
        store.finish_refund(new.id, &end, noon()).await.unwrap();
    }
    for (purchase, id, to) in
        [(purchases[2], "du_1", DisputeState::Won), (purchases[3], "du_2", DisputeState::Lost)]
    {
        let letter = billing::mail::dispute(to, Cents::new(500), "https://farebox.example");
        let (provider_id, reason) = (id.to_owned(), "fraudulent".to_owned());
        let advance =
            Advance { provider_id, purchase, amount: Cents::new(500), to, reason, letter, at: noon() };
        store.advance_dispute(&advance).await.unwrap();
    }
}

#[tokio::test]
async fn clean_books_have_no_breach_and_every_invariant_looked_at_something() {
    with_db(async |db| {
        let world = World::open(db).await;
        books(&world).await;
        let findings = world.store().check().await.unwrap();
        let ids: Vec<_> = findings.iter().map(|finding| finding.id).collect();
        assert_eq!(ids, ["I1", "I2", "I3", "I7", "I11", "I12", "I15", "I16", "I17", "I22"]);
        for finding in findings {
            assert!(finding.holds() && finding.checked > 0, "{} {:?}", finding.id, finding.breaches);
        }
    })
    .await;
}

#[tokio::test]
async fn empty_books_are_sound() {
    with_db(async |db| {
        for finding in db.store.check().await.unwrap() {
            assert!(finding.holds(), "{} {:?}", finding.id, finding.breaches);
        }
    })
    .await;
}

/// What is planted, and which invariants must say so.
const FAULTS: &[(&str, &[&str])] = &[
    ("UPDATE account_state SET posted_nano_usd = posted_nano_usd + 1", &["I1", "I22"]),
    ("UPDATE account_state SET granted_nano_usd = granted_nano_usd - 1", &["I1"]),
    (
        "INSERT INTO ledger_movement (id, class, day, debit, credit, amount_nano_usd, txn, booked_at)
         SELECT id, 'promo', day, gen_random_uuid(), credit, 5, id, now() FROM ledger_movement WHERE class = 'fee' LIMIT 1",
        &["I2"],
    ),
    (
        "ALTER TABLE ledger_movement DROP CONSTRAINT ledger_movement_amount_nano_usd_check;
         UPDATE ledger_movement SET amount_nano_usd = -amount_nano_usd WHERE class = 'fee'",
        &["I2", "I12"],
    ),
    ("DELETE FROM ledger_movement WHERE class = 'charge'", &["I1", "I3"]),
    ("DELETE FROM ledger_movement WHERE class = 'cost'", &["I3"]),
    ("DELETE FROM ledger_movement WHERE class = 'insurance'", &["I3"]),
    ("UPDATE ledger_movement SET amount_nano_usd = amount_nano_usd + 1 WHERE class = 'charge'", &["I1", "I3"]),
    ("DELETE FROM generation WHERE closing = 2 AND ticket = 0", &["I3", "I22"]),
    ("UPDATE generation SET charge_nano_usd = charge_nano_usd + 1 WHERE closing = 2 AND ticket = 0", &["I3", "I15", "I22"]),
    ("DELETE FROM credit_outbox WHERE seq = 1", &["I1", "I7", "I12"]),
    ("UPDATE account_state SET credit_seq = credit_seq + 1", &["I7"]),
    ("UPDATE account_state SET debit_seq = debit_seq - 1", &["I7"]),
    ("UPDATE generation SET debit_seq = 1", &["I7"]),
    (
        "INSERT INTO ledger_divergence (found_at, kind, account_id, generation_id, shard, epoch, debit_seq,
         expected_nano_usd, found_nano_usd) SELECT now(), 'debit_gap', id, id, shard, 1, 9, 8, 9 FROM account",
        &["I7"],
    ),
    ("UPDATE byok_usage SET requests = requests + 1", &["I11"]),
    (
        "UPDATE fee_rule SET rule = '{\"allowance\": {\"requests\": 0}, \"basis_points\": 500}' WHERE kind = 'byok'",
        &["I11"],
    ),
    ("UPDATE generation SET charge_nano_usd = 1 WHERE ticket = 1", &["I3", "I11", "I15", "I22"]),
    ("UPDATE purchase SET amount_cents = amount_cents + 1 WHERE state = 'granted'", &["I12", "I22"]),
    ("UPDATE purchase SET fee_cents = fee_cents + 1 WHERE state = 'open'", &["I12"]),
    ("UPDATE purchase SET state = 'granted', payment = 'x', granted_at = now() WHERE state = 'open'", &["I12", "I22"]),
    ("DELETE FROM ledger_movement WHERE class = 'fee'", &["I12"]),
    ("UPDATE refund SET amount_cents = amount_cents + 1 WHERE state = 'done'", &["I12"]),
    ("DELETE FROM refund WHERE state = 'reversed'", &["I12"]),
    ("UPDATE refund SET state = 'rejected' WHERE state = 'done'", &["I12"]),
    ("UPDATE purchase SET refunded_cents = refunded_cents + 1 WHERE refunded_cents > 0", &["I12"]),
    ("UPDATE dispute SET amount_cents = amount_cents - 1 WHERE state = 'lost'", &["I12"]),
    ("UPDATE purchase SET disputed_cents = 0 WHERE disputed_cents > 0", &["I12"]),
    ("DELETE FROM ledger_movement WHERE class = 'refund'", &["I1", "I12"]),
    ("DELETE FROM ledger_movement WHERE class = 'dispute'", &["I1", "I12"]),
    ("UPDATE account_state SET frozen = false", &["I12"]),
    (
        "UPDATE credit_outbox SET delta_nano_usd = delta_nano_usd - 1 WHERE reason = 'refund' AND delta_nano_usd < 0",
        &["I1", "I12", "I22"],
    ),
    ("UPDATE generation SET uncollected_nano_usd = 0 WHERE uncollected_nano_usd > 0", &["I3", "I15"]),
    ("UPDATE generation SET amount_nano_usd = amount_nano_usd + 1 WHERE closing = 2 AND ticket = 0", &["I15", "I16"]),
    ("UPDATE generation SET prompt_tokens = prompt_tokens + 1 WHERE closing = 2", &["I16"]),
    ("UPDATE tariff SET prompt_pico_usd = prompt_pico_usd + 1000", &["I16"]),
    ("UPDATE tariff SET version = 7", &["I16"]),
    ("UPDATE generation SET record = jsonb_set(record, '{u,prompt}', '5'), prompt_tokens = 5 WHERE closing = 2", &["I16"]),
    ("UPDATE ledger_movement SET epoch = 99 WHERE class = 'charge'", &["I17"]),
    ("UPDATE ledger_movement SET epoch = NULL WHERE class = 'charge'", &["I17"]),
    ("DELETE FROM ingest_cursor", &["I17"]),
    (
        "UPDATE account_state SET posted_nano_usd = posted_nano_usd + 5;
         INSERT INTO ledger_movement (id, class, day, debit, credit, amount_nano_usd, txn, booked_at)
         SELECT p.id, 'promo', uuid7_day(p.id), platform_account('promo_cost', ''), p.account_id, 5, p.id, now()
         FROM purchase p LIMIT 1",
        &["I12", "I22"],
    ),
];

#[tokio::test]
async fn every_planted_fault_is_found_by_its_invariants_and_no_other() {
    let mut surprises = Vec::new();
    for (fault, expected) in FAULTS {
        with_db(async |db| {
            let world = World::open(db).await;
            books(&world).await;
            world.db.plant(fault).await;
            let findings = world.store().check().await.unwrap();
            let broken: Vec<_> = findings.iter().filter(|one| !one.holds()).map(|one| one.id).collect();
            if broken != *expected {
                let lines: Vec<_> = findings.iter().flat_map(|finding| finding.breaches.clone()).collect();
                surprises.push(format!("{fault}\n  found {broken:?} instead of {expected:?}: {lines:#?}"));
            }
        })
        .await;
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[tokio::test]
async fn breaches_are_all_counted_and_ten_are_named() {
    with_db(async |db| {
        let world = World::open(db).await;
        world.buy(1000).await;
        let mut engine = world.engine().await;
        let batch: Vec<_> = (1..=25).map(|n| engine.close(&world, &Call::settled(&world, n, 0))).collect();
        world.store().ingest(world.lease, &batch).await.unwrap();
        world
            .db
            .plant("UPDATE generation SET prompt_tokens = prompt_tokens + 1, provider_cost_nano_usd = 0")
            .await;
        let findings = world.store().check().await.unwrap();
        for id in ["I3", "I16"] {
            let finding = findings.iter().find(|finding| finding.id == id).unwrap();
            assert_eq!((finding.breach_count, finding.breaches.len(), finding.checked), (25, 10, 25), "{id}");
        }
        assert!(findings.iter().find(|finding| finding.id == "I1").unwrap().holds());
    })
    .await;
}
