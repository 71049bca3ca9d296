//! Turns files of prices into drafts: rows that may go live, and rows held back with a reason each.
//!
//! Publishes nothing, asks no network. Four formats are known by their shape: models.dev, LiteLLM's map,
//! a model list as OpenRouter serves it, and our plain price file.

mod assemble;
mod check;
mod keep;
mod litellm;
mod models_dev;
mod names;
mod openrouter;
mod price_file;
mod row;

use crate::draft::{DraftContent, HeldBack};
use crate::lists::{Lists, ListsError};
use crate::model::Provider;
use crate::snapshot::Snapshot;
use row::{Facts, Row};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};

pub use litellm::PriceBook;
pub(crate) use names::{fold, without_date};

/// A file that is no price list at all. Faulty rows are not errors: they are held back.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{source_name} is not a price list this program knows: {hint}")]
    UnknownFormat { source_name: String, hint: &'static str },
    #[error("the file is not valid JSON of its format: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Lists(#[from] ListsError),
}

/// A source as read, before judgment.
#[derive(Debug, Default)]
struct Sheet {
    rows: Vec<Row>,
    /// Facts of models by our slug, stated independently of providers.
    canonical: HashMap<String, Facts>,
    /// Providers that the file itself brings.
    providers: Vec<Provider>,
    held_back: Vec<HeldBack>,
}

fn held(provider: &str, model: &str, fault: &check::Fault) -> HeldBack {
    HeldBack {
        provider: provider.to_owned(),
        model: model.to_owned(),
        code: fault.code.to_owned(),
        reason: fault.reason.clone(),
    }
}

/// What an import is compared with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Against<'a> {
    /// The prices in force.
    pub live: Option<&'a Snapshot>,
    /// Another source of prices.
    pub second: Option<&'a PriceBook>,
}

/// Reads a price file of any known format. `live` is the price list in force, against which jumps show.
pub fn read(bytes: &[u8], source_name: &str, live: Option<&Snapshot>) -> Result<DraftContent, ImportError> {
    read_against(bytes, source_name, Against { live, second: None })
}

/// As [`read`], with a second source as a further opinion.
pub fn read_against(
    bytes: &[u8],
    source_name: &str,
    against: Against<'_>,
) -> Result<DraftContent, ImportError> {
    let lists = Lists::get()?;
    let mut namer = names::Namer::new(lists);
    for listing in against.live.iter().flat_map(|live| live.listings()) {
        namer.learn(&listing.model.slug);
    }
    let sheet = match detect(bytes, source_name)? {
        Format::ModelsDev => models_dev::read(bytes, lists, &mut namer)?,
        Format::LiteLlm => litellm::read(bytes, lists)?,
        Format::ModelList => openrouter::read(bytes)?,
        Format::PriceFile => price_file::read(bytes)?,
    };
    Ok(assemble::assemble(sheet, namer, lists, against))
}

enum Format {
    ModelsDev,
    LiteLlm,
    ModelList,
    PriceFile,
}

fn detect(bytes: &[u8], source_name: &str) -> Result<Format, ImportError> {
    let unknown = |hint| ImportError::UnknownFormat { source_name: source_name.to_owned(), hint };
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Ok(Format::PriceFile);
    }
    let top: BTreeMap<String, &RawValue> = serde_json::from_slice(bytes)?;
    let any = |needle: &str| top.values().any(|value| value.get().contains(needle));
    if top.contains_key("rows") {
        Ok(Format::PriceFile)
    } else if top.contains_key("data") {
        Ok(Format::ModelList)
    } else if top.contains_key("sample_spec") || any("\"litellm_provider\"") {
        Ok(Format::LiteLlm)
    } else if top.contains_key("providers") || any("\"npm\"") {
        Ok(Format::ModelsDev)
    } else {
        Err(unknown("expected models.dev's JSON, LiteLLM's map, a /models list, or a list of price rows"))
    }
}

#[cfg(test)]
mod tests;
