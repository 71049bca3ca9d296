//! The writing side. Records are framed into one buffer under a lock; a settlement, or a full buffer, writes
//! it to the segment at once, in the caller's thread (a copy into the system's memory, which outlives the
//! process). One thread of the process ([`DiskJournal::keep`]) writes what is left, makes it durable in groups,
//! keeps a spare segment ready and drops segments that nobody needs.
//!
//! The spare is the emergency: room on the disk is taken when a segment is made, so a full disk shows while
//! there is still a whole empty segment to finish open streams in. Then nothing new may begin.

#[cfg(test)]
mod fuzz;

use crate::disk::{Disk, Segment};
use crate::frame;
use billing::engine::{Grant, HoldKey};
use billing::journal::{Closing, Journal, Kind, write_grant, write_key};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long records may wait for others to become durable with them, and how many end the waiting.
const GROUP: Duration = Duration::from_millis(5);
const GROUP_RECORDS: u32 = 64;
/// Bytes that wait in memory before they are written, whatever they are.
const BUFFER: usize = 32 * 1024;
/// How often the disk is asked again for a segment, and old ones are dropped.
const UPKEEP: Duration = Duration::from_secs(1);

/// A journal in segments on a disk.
pub struct DiskJournal {
    disk: Box<dyn Disk>,
    segment_bytes: u64,
    state: Mutex<State>,
    work: Condvar,
    room: AtomicBool,
    /// The folder with its lock, which is free when the process is gone.
    folder: Option<(PathBuf, File)>,
}

struct Open {
    number: u64,
    segment: Arc<dyn Segment>,
    /// Bytes written.
    end: u64,
}

struct State {
    current: Open,
    /// Made before it is needed.
    spare: Option<Open>,
    /// Framed and not yet written.
    buffer: Vec<u8>,
    /// Segments with writes that are not durable, but the current one.
    unsynced: Vec<Arc<dyn Segment>>,
    /// Records since the last group.
    waiting: u32,
    /// The current segment takes no more: a write into it has failed.
    broken: bool,
    next_number: u64,
    /// Holds that are not over, each at the segment of its last record.
    last: HashMap<HoldKey, u64>,
    /// Segments on the disk before the spare, with how many holds need each.
    needed: BTreeMap<u64, u64>,
    stopping: bool,
}

impl DiskJournal {
    pub(crate) fn start(disk: Box<dyn Disk>, segment_bytes: u64) -> io::Result<Self> {
        let open =
            |number| disk.create(number, segment_bytes).map(|segment| Open { number, segment, end: 0 });
        let (current, spare) = (open(1)?, open(2)?);
        let state = State {
            needed: BTreeMap::from([(current.number, 0)]),
            current,
            spare: Some(spare),
            buffer: Vec::with_capacity(2 * BUFFER),
            unsynced: Vec::new(),
            waiting: 0,
            broken: false,
            next_number: 3,
            last: HashMap::new(),
            stopping: false,
        };
        Ok(Self {
            disk,
            segment_bytes,
            state: Mutex::new(state),
            work: Condvar::new(),
            room: AtomicBool::new(true),
            folder: None,
        })
    }

    pub(crate) fn in_folder(self, path: PathBuf, lock: File) -> Self {
        Self { folder: Some((path, lock)), ..self }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.folder.as_ref().map(|(path, _lock)| path.as_path())
    }

    /// Holds that need the journal: open ones, and settlements that the ledger has not confirmed.
    #[must_use]
    pub fn open_holds(&self) -> usize {
        self.state.lock().last.len()
    }

    /// Bytes of its segments on the disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let state = self.state.lock();
        let segments = state.needed.len() + usize::from(state.spare.is_some());
        self.segment_bytes.saturating_mul(u64::try_from(segments).unwrap_or(u64::MAX))
    }

    /// Makes records durable in groups and looks after the segments, until [`stop`](Self::stop). Blocks.
    pub fn keep(&self) {
        loop {
            let mut state = self.state.lock();
            if state.waiting == 0 && !state.stopping {
                self.work.wait_for(&mut state, UPKEEP);
            }
            if state.waiting > 0 && state.waiting < GROUP_RECORDS && !state.stopping {
                self.work.wait_for(&mut state, GROUP);
            }
            let stopping = state.stopping;
            self.make_durable(state);
            self.look_after();
            if stopping {
                return;
            }
        }
    }

    /// Ends [`keep`](Self::keep) after a last group.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.notify_all();
    }

    /// Removes the folder when no hold needs it: after a stop in good order.
    pub fn remove_if_done(&self) {
        if let Some(path) = self.path().filter(|_| self.open_holds() == 0)
            && let Err(error) = std::fs::remove_dir_all(path)
        {
            tracing::warn!(%error, path = %path.display(), "the journal's folder stays");
        }
    }

    fn make_durable(&self, mut state: MutexGuard<'_, State>) {
        let wrote = state.buffer.is_empty() || self.write(&mut state);
        if state.waiting == 0 || !wrote {
            return;
        }
        state.waiting = 0;
        let mut segments = std::mem::take(&mut state.unsynced);
        segments.push(Arc::clone(&state.current.segment));
        // Appending goes on meanwhile.
        drop(state);
        for segment in segments {
            if let Err(error) = segment.sync() {
                tracing::error!(%error, "the journal could not be made durable; it goes on in another segment");
                self.state.lock().broken = true;
            }
        }
        kernel::crash::point("journal.durable");
    }

    /// Drops what is at the end of its use, oldest first, so that what ended a hold is never dropped before
    /// what began it; then sees to the spare.
    fn look_after(&self) {
        let mut state = self.state.lock();
        while let Some((number, 0)) = state.needed.first_key_value().map(|(number, count)| (*number, *count))
            && number < state.current.number
        {
            state.needed.pop_first();
            if let Err(error) = self.disk.remove(number) {
                tracing::warn!(%error, number, "an old segment could not be removed");
            }
        }
        if state.spare.is_some() {
            self.room.store(true, Ordering::Release);
            return;
        }
        let number = state.next_number;
        state.next_number += 1;
        drop(state);
        match self.disk.create(number, self.segment_bytes) {
            Ok(segment) => {
                self.state.lock().spare = Some(Open { number, segment, end: 0 });
                if !self.room.swap(true, Ordering::AcqRel) {
                    tracing::info!("the journal has room again");
                }
            }
            Err(error) => {
                if self.room.swap(false, Ordering::AcqRel) {
                    tracing::error!(%error, "the journal's disk is full: new paid work is refused");
                }
            }
        }
    }

    /// Frames a record and, where it must outlive the process from now on, writes it.
    fn append(&self, kind: Kind, key: HoldKey, now: bool, body: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.state.lock();
        let start = state.buffer.len();
        if !frame::append(&mut state.buffer, kind, body) {
            tracing::error!(generation = %key.generation, "a record is too long for the journal");
            return false;
        }
        let end = state.current.end.saturating_add(u64::try_from(state.buffer.len()).unwrap_or(u64::MAX));
        if end > self.segment_bytes || state.broken {
            let frame = state.buffer.split_off(start);
            let written = state.buffer.is_empty() || self.write(&mut state);
            if !written || !self.turn(&mut state) {
                return false;
            }
            state.buffer.extend_from_slice(&frame);
        }
        state.note(kind, key);
        state.waiting = state.waiting.saturating_add(1);
        if state.waiting == 1 || state.waiting == GROUP_RECORDS {
            self.work.notify_one();
        }
        if now || state.buffer.len() >= BUFFER { self.write(&mut state) } else { true }
    }

    /// Writes the buffer into the current segment, or into the spare when that fails.
    fn write(&self, state: &mut State) -> bool {
        for _ in 0..2 {
            let fits =
                state.current.end.saturating_add(u64::try_from(state.buffer.len()).unwrap_or(u64::MAX))
                    <= self.segment_bytes;
            if fits && !state.broken {
                match state.current.segment.write_at(&state.buffer, state.current.end) {
                    Ok(()) => {
                        state.current.end += u64::try_from(state.buffer.len()).unwrap_or_default();
                        state.buffer.clear();
                        return true;
                    }
                    Err(error) => {
                        tracing::error!(%error, "the journal could not be written; it goes on in the spare segment");
                        state.broken = true;
                    }
                }
            }
            if !self.turn(state) {
                break;
            }
        }
        // What waits is kept for the next segment, within its bound.
        if state.buffer.len() > 4 * BUFFER {
            state.buffer.clear();
        }
        false
    }

    /// Goes on in the spare segment.
    fn turn(&self, state: &mut State) -> bool {
        let Some(spare) = state.spare.take() else {
            if self.room.swap(false, Ordering::AcqRel) {
                tracing::error!("the journal is full: new paid work is refused");
            }
            return false;
        };
        state.needed.insert(spare.number, 0);
        let old = std::mem::replace(&mut state.current, spare);
        state.unsynced.push(old.segment);
        state.broken = false;
        self.work.notify_one();
        true
    }
}

impl State {
    /// A hold is at the segment of its last record, or over.
    fn note(&mut self, kind: Kind, key: HoldKey) {
        let before = match kind {
            Kind::Release => self.last.remove(&key),
            _ => self.last.insert(key, self.current.number),
        };
        if kind != Kind::Release && before != Some(self.current.number) {
            *self.needed.entry(self.current.number).or_insert(0) += 1;
        }
        if kind == Kind::Release || before != Some(self.current.number) {
            self.let_go(before);
        }
    }

    fn let_go(&mut self, number: Option<u64>) {
        if let Some(count) = number.and_then(|number| self.needed.get_mut(&number)) {
            *count = count.saturating_sub(1);
        }
    }
}

impl Journal for DiskJournal {
    fn has_room(&self) -> bool {
        self.room.load(Ordering::Acquire)
    }

    fn admit(&self, grant: &Grant) -> bool {
        self.append(Kind::Admit, grant.key, false, |body| write_grant(body, grant))
    }

    fn meter(&self, closing: &Closing) -> bool {
        self.append(Kind::Meter, closing.key, true, |body| body.extend_from_slice(closing.bytes()))
    }

    fn settle(&self, closing: &Closing) -> bool {
        self.append(Kind::Settle, closing.key, true, |body| body.extend_from_slice(closing.bytes()))
    }

    fn release(&self, key: &HoldKey) {
        // Left out at worst: a hold that was never metered is released again by the replay.
        self.append(Kind::Release, *key, false, |body| write_key(body, key));
    }

    fn forget(&self, keys: &[HoldKey]) {
        let mut state = self.state.lock();
        for key in keys {
            let last = state.last.remove(key);
            state.let_go(last);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use billing::engine::{AccountRef, CapId, CapPeriod, CapWindow, Ticket};
    use kernel::NanoUsd;
    use kernel::ids::{AccountId, GenerationId};

    /// A disk in memory with room for so many segments.
    #[derive(Clone, Default)]
    pub(crate) struct MemoryDisk {
        pub(crate) files: Arc<Mutex<BTreeMap<u64, Arc<MemorySegment>>>>,
        pub(crate) room: Arc<Mutex<usize>>,
    }

    #[derive(Default)]
    pub(crate) struct MemorySegment {
        bytes: Mutex<Vec<u8>>,
        pub(crate) failing: AtomicBool,
    }

    impl MemoryDisk {
        pub(crate) fn with_room(segments: usize) -> Self {
            let disk = Self::default();
            *disk.room.lock() = segments;
            disk
        }

        pub(crate) fn segments(&self) -> BTreeMap<u64, Vec<u8>> {
            self.files.lock().iter().map(|(number, file)| (*number, file.bytes.lock().clone())).collect()
        }
    }

    impl Disk for MemoryDisk {
        fn create(&self, number: u64, bytes: u64) -> io::Result<Arc<dyn Segment>> {
            let mut files = self.files.lock();
            if files.len() >= *self.room.lock() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let segment = Arc::new(MemorySegment::default());
            *segment.bytes.lock() = vec![0; usize::try_from(bytes).unwrap()];
            files.insert(number, Arc::clone(&segment));
            Ok(segment)
        }

        fn remove(&self, number: u64) -> io::Result<()> {
            self.files.lock().remove(&number);
            Ok(())
        }
    }

    impl Segment for MemorySegment {
        fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
            if self.failing.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let at = usize::try_from(at).unwrap();
            self.bytes.lock()[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            if self.failing.load(Ordering::SeqCst) { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
        }
    }

    pub(crate) fn grant(number: u128) -> Grant {
        let generation = GenerationId::from_uuid(kernel_uuid(number));
        let account = AccountRef { account: AccountId::from_uuid(kernel_uuid(9)), shard: 7 };
        Grant {
            key: HoldKey { generation, funding: 1 },
            account,
            amount: NanoUsd::new(1000),
            available: NanoUsd::ZERO,
            ticket: Ticket::None,
            windows: vec![CapWindow {
                cap: CapId("k:0f".to_owned()),
                period: CapPeriod::Daily,
                window: 20_777,
            }],
            own_key: None,
            epoch: 2,
            version: 0,
        }
    }

    fn kernel_uuid(number: u128) -> uuid::Uuid {
        uuid::Uuid::from_u128(number)
    }

    pub(crate) fn closing(number: u128, amount: i64) -> Closing {
        let amount = NanoUsd::new(amount);
        // What a record says is nothing to a journal.
        let mut bytes = Vec::new();
        write_grant(&mut bytes, &grant(number));
        bytes.extend_from_slice(&amount.get().to_le_bytes());
        bytes.extend_from_slice(&amount.get().to_le_bytes());
        bytes.extend_from_slice(format!("{{\"of\":{number},\"at\":\"{amount:?}\"}}").as_bytes());
        Closing::read(&bytes).unwrap()
    }

    fn round(journal: &DiskJournal) {
        let state = journal.state.lock();
        journal.make_durable(state);
        journal.look_after();
    }

    #[test]
    fn segments_go_when_nobody_needs_them_oldest_first() {
        let disk = MemoryDisk::with_room(100);
        let journal = DiskJournal::start(Box::new(disk.clone()), 1024).unwrap();
        for number in 1..=40 {
            assert!(journal.admit(&grant(number)) && journal.settle(&closing(number, 5)));
            round(&journal);
        }
        let all = disk.segments().len();
        assert!(all > 5, "{all}");
        // The first hold holds everything after it, because what ended the others lies there.
        let others: Vec<HoldKey> = (2..=40).map(|number| grant(number).key).collect();
        journal.forget(&others);
        round(&journal);
        assert_eq!(disk.segments().len(), all);
        assert_eq!(journal.open_holds(), 1);
        journal.forget(&[grant(1).key]);
        round(&journal);
        assert_eq!(disk.segments().len(), 2, "the current one and the spare");
        assert_eq!(journal.bytes(), 2048);
    }

    #[test]
    fn a_long_stream_holds_no_more_than_the_segment_of_its_last_metering() {
        let disk = MemoryDisk::with_room(100);
        let journal = DiskJournal::start(Box::new(disk.clone()), 1024).unwrap();
        assert!(journal.admit(&grant(1)));
        for amount in 0..200 {
            assert!(journal.meter(&closing(1, amount)));
            round(&journal);
        }
        assert_eq!(disk.segments().len(), 2);
    }

    #[test]
    fn a_full_disk_refuses_new_work_while_open_streams_still_have_a_segment() {
        let disk = MemoryDisk::with_room(2);
        let journal = DiskJournal::start(Box::new(disk.clone()), 2048).unwrap();
        let mut admitted = 0;
        while journal.has_room() {
            admitted += 1;
            assert!(journal.admit(&grant(admitted)));
            round(&journal);
        }
        let settled = (1..=admitted).take_while(|number| journal.settle(&closing(*number, 3))).count();
        assert!(settled >= 5, "{settled} of {admitted} settled in the emergency segment");
        assert!(!journal.settle(&closing(1000, 3)), "in the end nothing fits");
        *disk.room.lock() = 100;
        round(&journal);
        assert!(journal.has_room());
        assert!(journal.settle(&closing(1000, 3)));
    }

    #[test]
    fn a_disk_that_fails_to_write_is_left_for_the_spare() {
        let disk = MemoryDisk::with_room(100);
        let journal = DiskJournal::start(Box::new(disk.clone()), 4096).unwrap();
        assert!(journal.admit(&grant(1)));
        disk.files.lock()[&1].failing.store(true, Ordering::SeqCst);
        assert!(journal.settle(&closing(1, 3)), "it is in the spare");
        let mut found = Vec::new();
        crate::frame::scan(&disk.segments()[&2], |record| found.push(record));
        assert_eq!(found.len(), 2, "the waiting ADMIT went with it");
    }

    #[test]
    fn keeping_ends_when_told_and_leaves_nothing_unwritten() {
        let disk = MemoryDisk::with_room(100);
        let journal = Arc::new(DiskJournal::start(Box::new(disk.clone()), 4096).unwrap());
        let keeper = Arc::clone(&journal);
        let thread = std::thread::spawn(move || keeper.keep());
        assert!(journal.admit(&grant(1)));
        journal.stop();
        thread.join().unwrap();
        let mut found = 0;
        crate::frame::scan(&disk.segments()[&1], |_record| found += 1);
        assert_eq!(found, 1);
    }
}
