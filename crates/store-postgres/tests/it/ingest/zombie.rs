//! A writer that stops between reading and writing and wakes up late: after another took over, or after the shard
//! began its next life. Whatever it read is booked once, by somebody, and its own late word changes nothing.

use crate::database::with_db;
use crate::support::{Stream, rounds};
use crate::world::{RUN_ID, World};
use billing::ledger::IngestLedger as _;
use futures_util::future::join;
use kernel::Entropy as _;
use kernel::rng::SeededEntropy;

#[tokio::test]
async fn a_writer_that_wakes_up_late_changes_nothing() {
    let (rounds, entropy) = (rounds(), SeededEntropy::new(26));
    with_db(async |db| {
        let mut world = World::open(db).await;
        world.buy(100_000).await;
        let mut stream = Stream::new(&world).await;
        world.store().lease("writer", 0).await.unwrap();
        let mut late = 0;
        for round in 0..rounds {
            stream.grow(&world, 1 + entropy.below(20));
            let zombie = world.store().lease("zombie", 60).await.unwrap().unwrap();
            let read = stream.after(&world.cursor().await);
            let next_life = entropy.below(3) == 0;
            if next_life {
                world.next_epoch(&format!("{RUN_ID}-{round}")).await;
            }
            // Its lease runs out, and another writer comes.
            world.store().lease("zombie", 0).await.unwrap();
            let writer = world.store().lease("writer", 60).await.unwrap().unwrap();
            let theirs = stream.after(&world.cursor().await);
            let some = usize::try_from(entropy.below(u64::try_from(theirs.len()).unwrap() + 1)).unwrap();
            // Before, beside or after the other's first batch.
            let woken = match entropy.below(3) {
                0 => world.store().ingest(zombie, &read).await.unwrap(),
                1 => {
                    let both = join(
                        world.store().ingest(zombie, &read),
                        world.store().ingest(writer, &theirs[..some]),
                    );
                    let (woken, booked) = both.await;
                    assert!(!booked.unwrap().lost_lease);
                    woken.unwrap()
                }
                _ => {
                    assert!(!world.store().ingest(writer, &theirs[..some]).await.unwrap().lost_lease);
                    world.store().ingest(zombie, &read).await.unwrap()
                }
            };
            assert!(woken.lost_lease && woken.movements == 0, "{woken:?}");
            late += 1;
            let rest = stream.after(&world.cursor().await);
            assert!(!world.store().ingest(writer, &rest).await.unwrap().lost_lease);
            world.store().lease("writer", 0).await.unwrap();
            if next_life {
                stream.reload(&world).await;
            }
        }
        println!("{rounds} rounds, {} entries, {late} late writers", stream.entries());
        world.lease = world.store().lease("prover", 60).await.unwrap().unwrap();
        stream.assert_booked_once(&world).await;
    })
    .await;
}
