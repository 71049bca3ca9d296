//! The memory of keys against a store that answers, refuses or is silent, a copy and a list of blocks.

use super::*;
use accounts::KeyKind;
use accounts::api_key::LimitReset;
use accounts::shelf::{Block, ShelfRow, Shelved, shelve_key};
use futures_util::future::join_all;
use kernel::clock::FixedClock;
use kernel::ids::{AccountId, KeyId, MemberId, OrgId, WorkspaceId};
use kernel::rng::SeededEntropy;
use kernel::{AccountRef, Moment};
use std::sync::atomic::AtomicUsize;

#[derive(Debug, Default, Clone, Copy)]
enum Mood {
    #[default]
    Answers,
    /// Answers after this many milliseconds.
    Slow(u64),
    Refuses,
    Silent,
}

/// The store of keys, its copy and the list of blocks in one.
#[derive(Default)]
struct World {
    mood: parking_lot::Mutex<Mood>,
    records: parking_lot::Mutex<HashMap<[u8; 32], Arc<KeyRecord>>>,
    asked: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
    shelf: parking_lot::Mutex<HashMap<[u8; 32], String>>,
    whole: AtomicBool,
    blocks: parking_lot::Mutex<Vec<Block>>,
    blocks_away: AtomicBool,
}

#[async_trait]
impl KeyDirectory for World {
    async fn find(&self, digest: &KeyDigest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        let mood = *self.mood.lock();
        let answer = match mood {
            Mood::Answers => Ok(self.records.lock().get(&digest.bytes).cloned()),
            Mood::Slow(millis) => {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Ok(self.records.lock().get(&digest.bytes).cloned())
            }
            Mood::Refuses => Err(away()),
            Mood::Silent => std::future::pending().await,
        };
        self.running.fetch_sub(1, Ordering::SeqCst);
        answer
    }
}

#[async_trait]
impl Shelf for World {
    async fn get(&self, name: &ShelfName) -> Result<Shelved, StoreError> {
        let ShelfName::Key(digest) = name else { panic!("only keys are asked for") };
        let text = self.shelf.lock().get(digest).cloned();
        Ok(Shelved { whole: self.whole.load(Ordering::SeqCst), text })
    }

    async fn put(&self, _rows: &[ShelfRow]) -> Result<(), StoreError> {
        panic!("the memory does not write")
    }

    async fn is_whole(&self) -> Result<bool, StoreError> {
        panic!("not asked for")
    }

    async fn set_whole(&self, _life: &str) -> Result<(), StoreError> {
        panic!("not asked for")
    }

    fn life(&self) -> Result<String, StoreError> {
        panic!("not asked for")
    }
}

#[async_trait]
impl KeyBlocks for World {
    async fn block(&self, _block: &Block) -> Result<(), StoreError> {
        panic!("the memory does not block")
    }

    async fn unblock(&self, _org: OrgId, _hash: &str) -> Result<(), StoreError> {
        panic!("the memory does not unblock")
    }

    async fn news(&self, mark: &str) -> Result<Option<BlockList>, StoreError> {
        if self.blocks_away.load(Ordering::SeqCst) {
            return Err(away());
        }
        let blocks = self.blocks.lock();
        let now = blocks.len().to_string();
        Ok((now != mark).then(|| BlockList::new(now, &blocks)))
    }

    async fn blocks(&self) -> Result<Vec<Block>, StoreError> {
        panic!("not asked for")
    }
}

fn away() -> StoreError {
    StoreError::unavailable("away", std::fmt::Error)
}

struct Bed {
    world: Arc<World>,
    clock: Arc<FixedClock>,
    cache: KeyCache,
}

impl Bed {
    /// A process that hears both notices and blocks.
    async fn new() -> Self {
        let (world, clock) = (Arc::new(World::default()), Arc::new(FixedClock::at(Moment::UNIX_EPOCH)));
        let sources = Sources { keys: world.clone(), shelf: world.clone(), blocks: world.clone() };
        let lookups = Lookups::register(&prometheus::Registry::new()).unwrap();
        let cache = KeyCache::new(sources, lookups, clock.clone());
        cache.set_listening(true);
        cache.hear().await.unwrap();
        Self { world, clock, cache }
    }

    /// A key that the store has.
    fn key(&self, number: u16) -> (KeyDigest, Arc<KeyRecord>) {
        let (digest, record) = key(number);
        self.world.records.lock().insert(digest.bytes, record.clone());
        (digest, record)
    }

    fn mood(&self, mood: Mood) {
        *self.world.mood.lock() = mood;
    }

    fn asked(&self) -> usize {
        self.world.asked.load(Ordering::SeqCst)
    }

    /// Time passes, and the list of blocks is read as the job does.
    async fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.cache.hear().await.unwrap();
    }
}

fn key(number: u16) -> (KeyDigest, Arc<KeyRecord>) {
    let (clock, rng) = (FixedClock::at(Moment::UNIX_EPOCH), SeededEntropy::new(u64::from(number)));
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    let record = KeyRecord {
        id: KeyId::new(&clock, &rng),
        hash: format!("{number:064x}"),
        kind: KeyKind::Model,
        org: OrgId::new(&clock, &rng),
        account: AccountRef { account: AccountId::new(&clock, &rng), shard: 1 },
        workspace: WorkspaceId::new(&clock, &rng),
        creator: MemberId::new(&clock, &rng),
        name: "a key".to_owned(),
        label: "sk-fb-v1-abc...xyz".to_owned(),
        limit: None,
        limit_reset: LimitReset::None,
        include_byok_in_limit: false,
        disabled: false,
        expires_at: None,
        created_at: Moment::UNIX_EPOCH,
        updated_at: None,
        caps: Vec::new(),
    };
    (KeyDigest { pepper_version: 1, bytes }, Arc::new(record))
}

#[tokio::test]
async fn a_known_key_waits_a_third_of_a_second_for_a_silent_store_and_then_goes_on() {
    let bed = Bed::new().await;
    let (digest, record) = bed.key(1);
    assert_eq!(bed.cache.find(&digest).await.unwrap(), Some(record.clone()));
    for mood in [Mood::Silent, Mood::Refuses] {
        bed.mood(mood);
        bed.pass(60).await;
        let before = tokio::time::Instant::now();
        assert_eq!(bed.cache.find(&digest).await.unwrap(), Some(record.clone()));
        assert!(before.elapsed() < PATIENCE, "{mood:?}: {:?}", before.elapsed());
        let asked = bed.asked();
        assert_eq!(bed.cache.find(&digest).await.unwrap(), Some(record.clone()));
        assert_eq!(bed.asked(), asked, "{mood:?}: the store is left alone for a second");
    }
    bed.pass(OUTAGE.as_secs()).await;
    assert!(bed.cache.find(&digest).await.is_err(), "too old, and no copy is whole");
}

#[tokio::test]
async fn a_key_that_this_process_never_saw_is_read_from_a_whole_copy() {
    let bed = Bed::new().await;
    bed.mood(Mood::Refuses);
    let ((digest, record), (deleted, _), (unknown, _)) = (key(1), key(2), key(3));
    bed.world.shelf.lock().insert(digest.bytes, shelve_key(Some(&record)).unwrap());
    bed.world.shelf.lock().insert(deleted.bytes, shelve_key(None).unwrap());
    let fault = bed.cache.find(&digest).await.unwrap_err();
    assert_eq!(fault.kind, StoreErrorKind::Unavailable, "a copy that is not whole says nothing");
    bed.world.whole.store(true, Ordering::SeqCst);
    assert_eq!(bed.cache.find(&digest).await.unwrap(), Some(record));
    assert_eq!(bed.cache.find(&deleted).await.unwrap(), None);
    // It may be too new for the copy: nothing is known of it, which is not "no such key".
    assert_eq!(bed.cache.find(&unknown).await.unwrap_err().kind, StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn a_blocked_key_is_refused_whatever_is_remembered() {
    let bed = Bed::new().await;
    let (digest, record) = bed.key(1);
    let (gone, deleted) = bed.key(2);
    let (foreign, other) = bed.key(3);
    for digest in [&digest, &gone, &foreign] {
        assert!(!bed.cache.find(digest).await.unwrap().unwrap().disabled);
    }
    bed.mood(Mood::Refuses);
    let block = |org, hash: &str, act| Block { org, hash: hash.to_owned(), act, at: Moment::UNIX_EPOCH };
    *bed.world.blocks.lock() = vec![
        block(record.org, &record.hash, BlockAct::Disable),
        block(deleted.org, &deleted.hash, BlockAct::Delete),
        block(record.org, &other.hash, BlockAct::Delete),
    ];
    bed.pass(1).await;
    assert!(bed.cache.find(&digest).await.unwrap().unwrap().disabled);
    assert_eq!(bed.cache.find(&gone).await.unwrap(), None);
    assert_eq!(bed.cache.find(&foreign).await.unwrap(), Some(other), "another organization's list");
    bed.world.blocks.lock().clear();
    bed.pass(1).await;
    assert!(!bed.cache.find(&digest).await.unwrap().unwrap().disabled);
}

#[tokio::test]
async fn what_is_remembered_is_not_trusted_while_notices_or_blocks_do_not_arrive() {
    let bed = Bed::new().await;
    let (digest, record) = bed.key(1);
    let find = || bed.cache.find(&digest);
    assert_eq!(find().await.unwrap(), Some(record.clone()));
    bed.pass(14).await;
    assert_eq!((find().await.unwrap().is_some(), bed.asked()), (true, 1), "fresh for 15 seconds");
    // Nobody has read the list for a second: the store is asked again.
    bed.clock.advance(Duration::from_secs(1));
    assert_eq!((find().await.unwrap().is_some(), bed.asked()), (true, 2));
    bed.cache.set_listening(false);
    bed.pass(1).await;
    assert_eq!((find().await.unwrap().is_some(), bed.asked()), (true, 3));
    // Neither store nor list: a block may be there that nobody here knows.
    bed.mood(Mood::Refuses);
    bed.world.blocks_away.store(true, Ordering::SeqCst);
    bed.clock.advance(Duration::from_secs(2));
    assert_eq!(find().await.unwrap_err().kind, StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn a_store_that_comes_back_is_asked_once_for_a_key_and_by_at_most_thirty_two_at_a_time() {
    let bed = Bed::new().await;
    bed.mood(Mood::Slow(20));
    let (digest, _) = bed.key(1);
    let found = join_all((0..200).map(|_| bed.cache.find(&digest))).await;
    assert!(found.into_iter().all(|found| found.unwrap().is_some()));
    assert_eq!(bed.asked(), 1);
    let digests: Vec<KeyDigest> = (2..502).map(|number| bed.key(number).0).collect();
    let found = join_all(digests.iter().map(|digest| bed.cache.find(digest))).await;
    assert!(found.into_iter().all(|found| found.unwrap().is_some()));
    assert_eq!(bed.asked(), 501);
    let most = bed.world.most.load(Ordering::SeqCst);
    assert!((2..=crate::lookups::AT_ONCE).contains(&most), "{most} at once");
}

#[tokio::test]
async fn absence_is_remembered_for_half_a_minute_and_pushes_no_known_key_out() {
    let bed = Bed::new().await;
    let (known, record) = bed.key(1);
    bed.cache.find(&known).await.unwrap();
    let (absent, new) = key(2);
    assert_eq!(bed.cache.find(&absent).await.unwrap(), None);
    let asked = bed.asked();
    for number in 0..ABSENTS {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bed.cache.remember(&KeyDigest { pepper_version: 1, bytes }, (0, Duration::ZERO), None);
    }
    assert!(bed.cache.absent.read().len() <= ABSENTS);
    assert_eq!((bed.cache.find(&known).await.unwrap(), bed.asked()), (Some(record), asked));
    bed.cache.evict(&absent.bytes);
    assert_eq!(bed.cache.find(&absent).await.unwrap(), None);
    bed.world.records.lock().insert(absent.bytes, new.clone());
    bed.pass(29).await;
    assert_eq!(bed.cache.find(&absent).await.unwrap(), None);
    bed.pass(2).await;
    assert_eq!(bed.cache.find(&absent).await.unwrap(), Some(new));
}

#[tokio::test]
async fn missed_notices_make_every_key_be_asked_again_but_none_unknown() {
    let bed = Bed::new().await;
    let (digest, record) = bed.key(1);
    bed.cache.find(&digest).await.unwrap();
    bed.pass(1).await;
    bed.cache.doubt();
    bed.mood(Mood::Refuses);
    assert_eq!(bed.cache.find(&digest).await.unwrap(), Some(record), "known, and the store is away");
    bed.mood(Mood::Answers);
    bed.world.records.lock().clear();
    bed.pass(2).await;
    assert_eq!(bed.cache.find(&digest).await.unwrap(), None, "asked again");
}
