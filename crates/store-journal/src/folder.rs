//! Folders: each process has one below the journal's root, and holds its lock for as long as it lives. A folder
//! whose lock is free has lost its process; whoever takes the lock brings its work to an end.

use crate::disk::{FolderDisk, segments};
use crate::frame::{self, Scanned};
use crate::journal::DiskJournal;
use billing::Closing;
use billing::journal::Record;
use billing::journal::replay::{Replay, Unfinished};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";

/// A journal could not be opened or read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct JournalError {
    path: PathBuf,
    what: &'static str,
    #[source]
    source: io::Error,
}

fn named(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError { path: path.to_owned(), what, source }
}

/// Makes a folder of this name below `root`, locked until the process ends, and opens a journal in it.
/// [`DiskJournal::keep`] must run on a thread of its own.
///
/// # Errors
/// When the folder cannot be made, or the disk has no room for two segments.
pub fn open(root: &Path, name: &str, segment_bytes: u64) -> Result<DiskJournal, JournalError> {
    std::fs::create_dir_all(root).map_err(named(root, "the folder cannot be made"))?;
    // Nobody may see it before its lock is taken.
    let (hidden, path) = (root.join(format!(".{name}")), root.join(name));
    let locked = || {
        std::fs::create_dir(&hidden)?;
        let lock = File::create(hidden.join(LOCK))?;
        lock.lock()?;
        std::fs::rename(&hidden, &path)?;
        File::open(root)?.sync_all()?;
        Ok(lock)
    };
    let lock = locked().map_err(named(&path, "the journal's folder cannot be made"))?;
    let disk = FolderDisk { path: path.clone() };
    let journal =
        DiskJournal::start(Box::new(disk), segment_bytes).map_err(named(&path, "the journal has no room"))?;
    Ok(journal.in_folder(path, lock))
}

/// A folder without a living owner, locked by this process until the value is gone.
#[derive(Debug)]
pub struct Orphan {
    pub path: PathBuf,
    /// What its owner has left to be done.
    pub unfinished: Vec<Unfinished>,
    pub records: u64,
    /// Stretches that are no record.
    pub damaged: u64,
    _lock: File,
}

impl Orphan {
    /// Everything is done: the folder is not needed any more.
    ///
    /// # Errors
    /// When the file system says so.
    pub fn remove(&self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.path)
    }
}

/// Takes over every folder below `root` whose owner is gone. A folder that another process takes over at the
/// same moment is left to it.
///
/// # Errors
/// When `root` or a segment cannot be read; nothing is then taken over.
pub fn orphans(root: &Path) -> Result<Vec<Orphan>, JournalError> {
    let mut found = Vec::new();
    for path in folders(root)? {
        if let Some(lock) = abandoned(&path).map_err(named(&path, "the lock cannot be taken"))? {
            match adopt(&path, lock) {
                Ok(orphan) => found.push(orphan),
                // Another process was faster and has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(named(&path, "the journal cannot be read")(error)),
            }
        }
    }
    Ok(found)
}

/// Every settlement that stands in a journal below `root`, of living processes too, for the proof of the books.
///
/// # Errors
/// When `root` or a segment cannot be read.
pub fn settlements(root: &Path) -> Result<Vec<Closing>, JournalError> {
    let mut found = Vec::new();
    for path in folders(root)? {
        match read(&path, |record| {
            if let Record::Settle(closing) = record {
                found.push(closing);
            }
        }) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(named(&path, "the journal cannot be read")(error));
            }
            _ => {}
        }
    }
    Ok(found)
}

fn folders(root: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let list = || {
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(root)? {
            let entry = entry?;
            let visible = !entry.file_name().to_string_lossy().starts_with('.');
            if visible && entry.path().join(LOCK).exists() {
                folders.push(entry.path());
            }
        }
        folders.sort();
        Ok(folders)
    };
    match list() {
        Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Ok(Vec::new()),
        outcome => outcome.map_err(named(root, "the folder cannot be read")),
    }
}

/// The folder's lock, when nobody has it.
fn abandoned(folder: &Path) -> io::Result<Option<File>> {
    let lock = match File::open(folder.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        outcome => outcome?,
    };
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn adopt(folder: &Path, lock: File) -> io::Result<Orphan> {
    let mut replay = Replay::default();
    let Scanned { records, damaged } = read(folder, |record| replay.take(record))?;
    Ok(Orphan { path: folder.to_owned(), unfinished: replay.unfinished(), records, damaged, _lock: lock })
}

fn read(folder: &Path, mut each: impl FnMut(Record)) -> io::Result<Scanned> {
    let mut all = Scanned::default();
    for path in segments(folder)? {
        let bytes = match std::fs::read(&path) {
            // A living owner drops what it needs no longer.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            outcome => outcome?,
        };
        let found = frame::scan(&bytes, &mut each);
        all.records += found.records;
        all.damaged += found.damaged;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{closing, grant};
    use billing::Journal as _;

    /// A folder that is removed with this value.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("farebox-journal-{name}-{}", std::process::id()));
            let _old = std::fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_folder_is_taken_over_when_its_owner_is_gone_and_not_before() {
        let root = Root::new("adopt");
        let journal = open(&root.0, "a", 1 << 16).unwrap();
        assert!(journal.admit(&grant(1)) && journal.admit(&grant(2)));
        assert!(journal.settle(&closing(2, 70)));
        assert!(orphans(&root.0).unwrap().is_empty(), "its owner lives");
        drop(journal);
        let found = orphans(&root.0).unwrap();
        assert_eq!(found.len(), 1);
        let expected = [Unfinished::Release(grant(1)), Unfinished::Settle(closing(2, 70))];
        assert_eq!(found[0].unfinished, expected);
        assert_eq!((found[0].records, found[0].damaged), (3, 0));
        assert!(orphans(&root.0).unwrap().is_empty(), "it is being taken care of");
        found[0].remove().unwrap();
        drop(found);
        assert!(orphans(&root.0).unwrap().is_empty());
    }

    #[test]
    fn a_proof_reads_the_settlements_of_the_living() {
        let root = Root::new("proof");
        assert!(settlements(&root.0).unwrap().is_empty(), "no folder yet");
        let journal = open(&root.0, "a", 1 << 16).unwrap();
        assert!(journal.admit(&grant(1)) && journal.meter(&closing(1, 5)) && journal.settle(&closing(1, 7)));
        assert_eq!(settlements(&root.0).unwrap(), [closing(1, 7)]);
    }
}
