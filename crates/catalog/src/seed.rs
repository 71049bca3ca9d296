//! The first price list, shipped inside the program, so that a fresh installation has something to sell.
//!
//! It is a draft like any other: it goes live by publication. `examples/make_seed.rs` writes its file.

use crate::draft::DraftContent;
use serde::{Deserialize, Serialize};

/// Where the seed's facts come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub source: String,
    /// `YYYY-MM-DD` of the source.
    pub date: String,
    pub license: String,
    /// Where the license text lies, relative to this crate.
    pub license_file: String,
    /// What the prices were compared with.
    pub compared_with: String,
}

/// The file of the seed.
#[derive(Debug, Serialize, Deserialize)]
pub struct SeedFile {
    pub origin: Origin,
    pub content: DraftContent,
}

/// The seed in the tree is broken; a test reads it, so no build ships this.
#[derive(Debug, thiserror::Error)]
#[error("the built-in price list cannot be read: {0}")]
pub struct SeedError(#[from] serde_json::Error);

const FILE: &str = include_str!("../seed/catalog.json");

/// The seed with its origin.
pub fn file() -> Result<SeedFile, SeedError> {
    Ok(serde_json::from_str(FILE)?)
}

/// What to import and publish on a fresh installation.
pub fn draft() -> Result<DraftContent, SeedError> {
    file().map(|file| file.content)
}
