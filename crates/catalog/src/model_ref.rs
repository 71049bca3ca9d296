//! How a customer names a model: `author/slug[:variant…]`.
//!
//! Knows the grammar and the aliases; which endpoint answers is `routing`'s business.

use crate::lists::Lists;
use crate::snapshot::{Listing, Snapshot};

/// A routing variant that sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortVariant {
    /// `:floor`: the lowest price first.
    Floor,
    /// `:nitro`: the highest throughput first.
    Nitro,
    /// `:exacto`: the best tool calls first.
    Exacto,
}

/// A variant that is an entry of the catalog itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogVariant {
    Free,
    Batch,
}

impl CatalogVariant {
    fn suffix(self) -> &'static str {
        match self {
            Self::Free => ":free",
            Self::Batch => ":batch",
        }
    }
}

/// A model name, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRef {
    /// Lower case, without variants.
    pub slug: String,
    pub catalog_variant: Option<CatalogVariant>,
    /// The last one given wins.
    pub sort: Option<SortVariant>,
}

/// Why a text names no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelRefError {
    #[error("{0:?} is not a model name: expected author/slug, as in openai/gpt-4.1-mini")]
    Syntax(String),
    #[error("{variant:?} is not a variant: use :floor, :nitro, :exacto, :free or :batch")]
    UnknownVariant { variant: String },
    #[error("the variant :online is not available; give the model a web search tool of your own instead")]
    OnlineUnsupported,
    #[error("a model name carries at most one of :free and :batch")]
    TwoCatalogVariants,
}

impl ModelRef {
    /// Reads a name as a request gives it, in any case.
    pub fn parse(text: &str) -> Result<Self, ModelRefError> {
        let mut parts = text.split(':');
        let slug = parts.next().unwrap_or_default().to_lowercase();
        if !is_slug(&slug) {
            return Err(ModelRefError::Syntax(shorten(text)));
        }
        let mut parsed = Self { slug, catalog_variant: None, sort: None };
        for variant in parts {
            match variant {
                "floor" => parsed.sort = Some(SortVariant::Floor),
                "nitro" => parsed.sort = Some(SortVariant::Nitro),
                "exacto" => parsed.sort = Some(SortVariant::Exacto),
                "free" => parsed.set_catalog(CatalogVariant::Free)?,
                "batch" => parsed.set_catalog(CatalogVariant::Batch)?,
                "online" => return Err(ModelRefError::OnlineUnsupported),
                other => return Err(ModelRefError::UnknownVariant { variant: shorten(other) }),
            }
        }
        Ok(parsed)
    }

    fn set_catalog(&mut self, variant: CatalogVariant) -> Result<(), ModelRefError> {
        if self.catalog_variant.is_some_and(|before| before != variant) {
            return Err(ModelRefError::TwoCatalogVariants);
        }
        self.catalog_variant = Some(variant);
        Ok(())
    }

    /// The catalog's id: the slug with its catalog variant, without routing variants.
    #[must_use]
    pub fn id(&self) -> String {
        let suffix = self.catalog_variant.map_or("", CatalogVariant::suffix);
        format!("{}{suffix}", self.slug)
    }

    /// The listing that answers: by its id, by an alias, or by another spelling (`claude-sonnet-4-5`, a date).
    #[must_use]
    pub fn resolve<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s Listing> {
        let id = self.id();
        if let Some(listing) = snapshot.find(&id) {
            return Some(listing);
        }
        if self.catalog_variant.is_some() {
            return None;
        }
        let renamed = Lists::get().ok().and_then(|lists| lists.renamed(&id));
        renamed.and_then(|slug| snapshot.find(slug)).or_else(|| snapshot.find_spelled(&id))
    }
}

/// `author/slug`: lower-case letters, digits and `-._~` on both sides of one slash.
#[must_use]
pub fn is_slug(text: &str) -> bool {
    let part = |part: &str| {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
        !part.is_empty() && part.len() <= 128 && part.bytes().all(letter)
    };
    text.split_once('/').is_some_and(|(author, slug)| part(author) && part(slug))
}

/// Enough of a wrong name to recognize it.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_by_the_grammar_or_say_what_is_wrong() {
        use CatalogVariant::{Batch, Free};
        use SortVariant::{Exacto, Floor, Nitro};
        let rows = [
            ("openai/gpt-4.1", "openai/gpt-4.1", None, None),
            ("OpenAI/GPT-4.1:nitro", "openai/gpt-4.1", None, Some(Nitro)),
            ("a/b:nitro:floor", "a/b", None, Some(Floor)),
            ("a/b:floor:free:exacto", "a/b", Some(Free), Some(Exacto)),
            ("a/b:batch", "a/b", Some(Batch), None),
            ("a/b:free:free", "a/b", Some(Free), None),
        ];
        for (text, slug, catalog_variant, sort) in rows {
            let expected = ModelRef { slug: slug.into(), catalog_variant, sort };
            assert_eq!(ModelRef::parse(text), Ok(expected), "{text}");
        }
        for text in ["", "gpt-4", "/x", "x/", "a/b/c", "a b/c", "a/b\n", "ä/b", ":free"] {
            assert!(matches!(ModelRef::parse(text), Err(ModelRefError::Syntax(_))), "{text}");
        }
        assert_eq!(ModelRef::parse("a/b:online"), Err(ModelRefError::OnlineUnsupported));
        assert_eq!(ModelRef::parse("a/b:free:batch"), Err(ModelRefError::TwoCatalogVariants));
        assert!(matches!(ModelRef::parse("a/b:"), Err(ModelRefError::UnknownVariant { .. })));
        assert!(matches!(ModelRef::parse("a/b:thinking"), Err(ModelRefError::UnknownVariant { .. })));
    }
}
