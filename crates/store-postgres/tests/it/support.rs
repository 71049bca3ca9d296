//! An outbox stream that is never trimmed, as a Redis would keep it for a writer, and what must be true when all
//! of it is booked.

use crate::world::{Call, Engine, World};
use billing::engine::OutboxEntry;

/// Rounds of a test with faults: short, or long with `FAREBOX_TEST_FULL`.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration but this")]
pub(crate) fn rounds() -> u64 {
    if std::env::var("FAREBOX_TEST_FULL").is_ok_and(|value| value != "0") { 500 } else { 20 }
}

/// The stream of the one account's shard.
pub(crate) struct Stream {
    engine: Engine,
    entries: Vec<OutboxEntry>,
    charged: i64,
    bought: i64,
}

impl Stream {
    pub(crate) async fn new(world: &World) -> Self {
        let engine = world.engine().await;
        let bought = engine.balance;
        Self { engine, entries: Vec::new(), charged: 0, bought }
    }

    /// So many calls end.
    pub(crate) fn grow(&mut self, world: &World, calls: u64) {
        for number in 0..calls {
            let call = Call::settled(world, 10 + number, number);
            self.charged += call.charge;
            self.entries.push(self.engine.close(world, &call));
        }
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries.len()
    }

    /// What a reader gets after a stream id.
    pub(crate) fn after(&self, id: &str) -> Vec<OutboxEntry> {
        let position = |id: &str| id.split_once('-').map(|(ms, seq)| (ms.parse(), seq.parse())).unwrap();
        let number = |id: &str| -> (u64, u64) {
            let (ms, seq) = position(id);
            (ms.unwrap(), seq.unwrap())
        };
        self.entries.iter().filter(|entry| number(&entry.id) > number(id)).cloned().collect()
    }

    /// The account is loaded in the shard's next life, on the same stream.
    pub(crate) async fn reload(&mut self, world: &World) {
        let stream = self.engine.stream;
        self.engine = world.engine().await;
        self.engine.stream = stream;
    }

    /// Every call has its generation and its one charge, the balance is what was bought less all of them, and the
    /// books are sound.
    pub(crate) async fn assert_booked_once(&self, world: &World) {
        assert_eq!(world.posted().await, self.bought - self.charged);
        let calls = i64::try_from(self.entries.len()).unwrap();
        assert_eq!(world.db.number("SELECT count(*) FROM generation").await, calls);
        let charges = "SELECT count(*) FROM ledger_movement WHERE class = 'charge'";
        assert_eq!(world.db.number(charges).await, calls);
        assert_eq!(world.db.number("SELECT count(*) FROM ledger_divergence").await, 0);
        world.assert_sound().await;
    }
}
