//! The only list of dialects.

use crate::anthropic::Anthropic;
use crate::dialect::Dialect;
use crate::openai::OpenAi;

/// Every dialect, in alphabetical order.
pub const ALL: &[&dyn Dialect] = &[&Anthropic, &OpenAi];

/// A dialect by its name in the catalog.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Dialect> {
    ALL.iter().copied().find(|dialect| dialect.name() == name)
}
