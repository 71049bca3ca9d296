//! The connection dies while a batch is being committed, and nobody knows whether it was. The writer reads the
//! cursor again and goes on from there: nothing is booked twice, nothing is left out.

use crate::cut::{Cut, Proxy};
use crate::database::with_db;
use crate::support::{Stream, rounds};
use crate::world::World;
use billing::ledger::IngestLedger as _;
use kernel::Entropy as _;
use kernel::rng::{SeededEntropy, SystemEntropy};
use std::sync::Arc;
use store_postgres::PgStore;

#[tokio::test]
async fn a_commit_that_nobody_heard_of_is_neither_lost_nor_doubled() {
    let (rounds, entropy) = (rounds(), SeededEntropy::new(27));
    with_db(async |db| {
        let proxy = Proxy::before(&db.url).await;
        let clock: Arc<dyn kernel::Clock> = Arc::<kernel::clock::FixedClock>::clone(&db.clock);
        let remote = PgStore::connect(&proxy.url, 2, clock, Arc::new(SystemEntropy)).await.unwrap();
        let world = World::open(db).await;
        world.buy(100_000).await;
        let mut stream = Stream::new(&world).await;
        let (mut committed, mut lost) = (0, 0);
        for _ in 0..rounds {
            stream.grow(&world, 1 + entropy.below(20));
            let before = world.cursor().await;
            let cut = if entropy.below(2) == 0 { Cut::BeforeCommit } else { Cut::AfterCommit };
            proxy.arm(cut);
            let lease = remote.lease("writer", 60).await.unwrap().unwrap();
            remote.ingest(lease, &stream.after(&before)).await.unwrap_err();
            proxy.disarm();
            // What the writer's job does: the cursor is read anew, on a new connection.
            let lease = remote.lease("writer", 60).await.unwrap().unwrap();
            let rest = stream.after(&remote.cursors().await.unwrap().remove(0).id);
            if rest.is_empty() {
                committed += 1
            } else {
                lost += 1
            }
            assert!(!remote.ingest(lease, &rest).await.unwrap().lost_lease);
        }
        println!(
            "{rounds} rounds: {committed} were committed unheard, {lost} were not; {} entries",
            stream.entries()
        );
        assert!(committed > 0 && lost > 0, "both must have happened: {committed}, {lost}");
        stream.assert_booked_once(&world).await;
        remote.close().await;
    })
    .await;
}
