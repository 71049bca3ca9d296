//! The journal of a gateway on local files: `billing::journal`'s port, kept in segments in a folder of the
//! process's own.
//!
//! Decides no business: what a record means, and what replay makes of it, is `billing`'s.

mod disk;
mod folder;
mod frame;
mod journal;

pub use folder::{JournalError, Orphan, open, orphans, settlements};
pub use journal::DiskJournal;
