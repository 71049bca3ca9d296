//! The little that a journal asks of a disk, so that tests can give it a full or a lying one.

use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of numbered segments.
pub(crate) trait Disk: Send + Sync {
    /// A segment full of zeros whose room is already taken, so that writing into it cannot fail for want of it.
    fn create(&self, number: u64, bytes: u64) -> io::Result<Arc<dyn Segment>>;
    fn remove(&self, number: u64) -> io::Result<()>;
}

/// An open segment.
pub(crate) trait Segment: Send + Sync {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Returns when what was written survives the loss of power.
    fn sync(&self) -> io::Result<()>;
}

/// A real folder.
pub(crate) struct FolderDisk {
    pub(crate) path: PathBuf,
}

impl FolderDisk {
    fn file(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:010}{SUFFIX}"))
    }
}

/// Ends the names of segments.
const SUFFIX: &str = ".journal";

/// The segments of a folder, oldest first.
pub(crate) fn segments(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(SUFFIX) {
            paths.push(path);
        }
    }
    // Numbers are padded, so names are in their order.
    paths.sort();
    Ok(paths)
}

impl Disk for FolderDisk {
    fn create(&self, number: u64, bytes: u64) -> io::Result<Arc<dyn Segment>> {
        let path = self.file(number);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        if let Err(error) = reserve(&file, bytes).and_then(|()| file.sync_all()) {
            // What could not be taken is given back: other files need the room too.
            let _gone = std::fs::remove_file(&path);
            return Err(error);
        }
        // The name must be as durable as what is in it.
        File::open(&self.path)?.sync_all()?;
        Ok(Arc::new(file))
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        std::fs::remove_file(self.file(number))
    }
}

/// Takes the room. Where the file system cannot, the file is only as long: a full disk then shows when writing.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(bytes),
        outcome => Ok(outcome?),
    }
}

impl Segment for File {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
