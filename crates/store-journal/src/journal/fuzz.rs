//! Journals that are torn, flipped, cut and starved of room, thousands of times: whatever is left is read
//! without a panic, and no hold is ever settled twice or at an amount that nobody wrote.

use super::tests::{MemoryDisk, closing, grant};
use super::*;
use crate::frame::scan;
use billing::journal::Record;
use billing::journal::replay::{Replay, Unfinished};
use kernel::Entropy as _;
use kernel::rng::SeededEntropy;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Holds of one journal.
const HOLDS: u128 = 24;
const SEGMENT: u64 = 4096;

/// What a process did before it died, by hold.
#[derive(Default, Clone)]
struct Lived {
    metered: Vec<i64>,
    /// What the engine was asked for, whether that could be written or not.
    asked: Option<i64>,
    /// Written, as the journal said.
    settled: Option<i64>,
    /// The engine was asked and has answered.
    charged: Option<i64>,
    released: bool,
    confirmed: bool,
}

struct Chance(SeededEntropy);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        let drawn = self.0.next_u64() % u64::try_from(bound.max(1)).unwrap();
        usize::try_from(drawn).unwrap()
    }
}

/// Runs a journal for a while: streams begin, are metered, settled, confirmed or released, in any order.
fn live(journal: &DiskJournal, chance: &mut Chance) -> BTreeMap<u128, Lived> {
    let mut lives: BTreeMap<u128, Lived> = BTreeMap::new();
    for _ in 0..chance.below(160) {
        let number = 1 + u128::try_from(chance.below(usize::try_from(HOLDS).unwrap())).unwrap();
        let amount = i64::try_from(chance.below(1000)).unwrap();
        if let Some(life) = lives.get_mut(&number) {
            let over = life.settled.is_some() || life.released;
            match chance.below(5) {
                0 | 1 if !over => {
                    let amount = life.metered.last().copied().unwrap_or(0) + amount;
                    if journal.meter(&closing(number, amount)) {
                        life.metered.push(amount);
                    }
                }
                2 if !over => {
                    // A settlement that could not be written is sent all the same.
                    life.asked = Some(amount);
                    if journal.settle(&closing(number, amount)) {
                        life.settled = Some(amount);
                    }
                    life.charged = (chance.below(3) > 0).then_some(amount);
                    if life.settled.is_none() {
                        life.released = true;
                    }
                }
                3 if !over && life.metered.is_empty() => {
                    journal.release(&grant(number).key);
                    life.released = true;
                }
                4 if life.settled.is_some() && life.charged.is_some() => {
                    journal.forget(&[grant(number).key]);
                    life.confirmed = true;
                }
                _ => {}
            }
        } else if journal.has_room() && journal.admit(&grant(number)) {
            lives.insert(number, Lived::default());
        }
        if chance.below(9) == 0 {
            let state = journal.state.lock();
            journal.make_durable(state);
            journal.look_after();
        }
    }
    lives
}

/// Damages what the disk has; whether records may be missing from it.
fn mutate(segments: &mut BTreeMap<u64, Vec<u8>>, chance: &mut Chance) -> bool {
    let numbers: Vec<u64> = segments.keys().copied().collect();
    let which = numbers[chance.below(numbers.len())];
    let bytes = segments.get_mut(&which).unwrap();
    let at = chance.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
    match chance.below(6) {
        0 => return false,
        1 => bytes.truncate(at),
        2 => bytes[at] ^= 1 << chance.below(8),
        3 => {
            let end = (at + chance.below(512)).min(bytes.len());
            bytes[at..end].fill(0);
        }
        4 => {
            let end = (at + chance.below(64)).min(bytes.len());
            bytes[at..end]
                .iter_mut()
                .for_each(|byte| *byte = u8::try_from(chance.0.next_u64() % 256).unwrap());
        }
        // A stretch that a lying disk wrote twice.
        _ => {
            let end = (at + chance.below(2048)).min(bytes.len());
            let again = bytes[at..end].to_vec();
            bytes.extend_from_slice(&again);
        }
    }
    true
}

/// An engine that knows every hold: closes each once, at what it is told first.
fn settle_all(lives: &BTreeMap<u128, Lived>, left: &[Unfinished]) -> HashMap<HoldKey, i64> {
    let live = |(number, life): (&u128, &Lived)| Some((grant(*number).key, life.charged?));
    let mut charges: HashMap<HoldKey, i64> = lives.iter().filter_map(live).collect();
    for unfinished in left {
        let amount = match unfinished {
            Unfinished::Release(_) => 0,
            Unfinished::Settle(closing) | Unfinished::Crashed(closing) => closing.amount.get(),
        };
        charges.entry(unfinished.key()).or_insert(amount);
    }
    charges
}

fn one(seed: u64) -> (u64, u64) {
    let mut chance = Chance(SeededEntropy::new(seed));
    // Room for a few segments, so that some disks are full.
    let room = 2 + chance.below(6);
    let disk = MemoryDisk::with_room(room);
    let journal = DiskJournal::start(Box::new(disk.clone()), SEGMENT).unwrap();
    let lives = live(&journal, &mut chance);
    // kill -9: what was not written is gone.
    drop(journal);
    let mut segments = disk.segments();
    let damaged = mutate(&mut segments, &mut chance);
    let mut replay = Replay::default();
    let mut records = 0;
    for bytes in segments.values() {
        let found = scan(bytes, |record: Record| replay.take(record));
        records += found.records;
    }
    let left = replay.unfinished();
    let mut seen = HashSet::new();
    for unfinished in &left {
        assert!(seen.insert(unfinished.key()), "seed {seed}: a hold is ended twice");
        let number = unfinished.key().generation.uuid().as_u128();
        let life = &lives[&number];
        match unfinished {
            Unfinished::Settle(closing) => {
                assert_eq!(Some(closing.amount.get()), life.asked, "seed {seed}: hold {number}");
            }
            Unfinished::Crashed(closing) => {
                assert!(life.metered.contains(&closing.amount.get()), "seed {seed}: hold {number}");
                let last = life.metered.last().copied();
                assert!(damaged || last == Some(closing.amount.get()), "seed {seed}: hold {number}");
                assert!(damaged || life.settled.is_none(), "seed {seed}: hold {number}");
            }
            Unfinished::Release(_) => {
                assert!(
                    damaged || life.metered.is_empty() && life.settled.is_none(),
                    "seed {seed}: {number}"
                );
            }
        }
    }
    for (number, life) in &lives {
        let here = seen.contains(&grant(*number).key);
        let must = life.settled.is_some() && !life.confirmed;
        assert!(damaged || here || !must, "seed {seed}: the settlement of hold {number} is lost");
    }
    let charges = settle_all(&lives, &left);
    for (number, life) in &lives {
        let charge = charges.get(&grant(*number).key).copied().unwrap_or(0);
        let written = life.asked.into_iter().chain(life.metered.iter().copied());
        assert!(charge == 0 || written.into_iter().any(|amount| amount == charge), "seed {seed}: {number}");
        assert!(
            life.charged.is_none_or(|charged| charged == charge),
            "seed {seed}: hold {number} paid twice"
        );
    }
    (records, u64::from(damaged))
}

#[test]
fn no_damage_makes_a_hold_settle_twice() {
    let full = std::env::vars_os().any(|(name, value)| name == "FAREBOX_TEST_FULL" && value != "0");
    let journals = if full { 100_000 } else { 5_000 };
    let (mut records, mut damaged) = (0, 0);
    for seed in 0..journals {
        let (read, mutated) = one(seed);
        records += read;
        damaged += mutated;
    }
    println!("{journals} journals, {damaged} of them damaged, {records} records read");
    assert!(records > journals && damaged > journals / 2);
}
