//! The named lists that ship with the program: known companies, authors, aliases. Data, with a reason for
//! everything that is held back.
//!
//! Holds no prices and no models: those come from imports.

use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

/// A list in the tree cannot be read. A test reads all of them, so this means a broken build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the built-in list {list} cannot be read: {message}")]
pub struct ListsError {
    pub list: &'static str,
    pub message: String,
}

/// Why a company is, or is not, a source of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It serves models itself.
    Host,
    Reseller,
    SubscriptionPlan,
    RegionalTwin,
    LocalServer,
    Dialect,
    PlaceholderUrl,
}

impl Kind {
    /// The stable code of its held-back rows; `None` when it is not held back.
    #[must_use]
    pub fn code(self) -> Option<&'static str> {
        match self {
            Self::Host => None,
            Self::Reseller => Some("reseller"),
            Self::SubscriptionPlan => Some("subscription_plan"),
            Self::RegionalTwin => Some("regional_twin"),
            Self::LocalServer => Some("local_server"),
            Self::Dialect => Some("dialect"),
            Self::PlaceholderUrl => Some("placeholder_url"),
        }
    }
}

/// Some models of a company that must not be sold, by a pattern with `*` at either end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    pub pattern: String,
    pub code: String,
    pub reason: String,
}

impl Hold {
    #[must_use]
    pub fn matches(&self, id: &str) -> bool {
        let (start, end) = (self.pattern.starts_with('*'), self.pattern.ends_with('*'));
        let core = self.pattern.trim_matches('*');
        match (start, end) {
            (true, true) => id.contains(core),
            (true, false) => id.ends_with(core),
            (false, true) => id.starts_with(core),
            (false, false) => id == core,
        }
    }
}

/// What is known about a company. Fields as in [`crate::Provider`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Company {
    pub kind: Kind,
    pub name: String,
    /// Its slug in models.dev, where that differs from ours.
    pub source: Option<String>,
    /// Why it is held back.
    pub reason: Option<String>,
    /// The author whose models it makes itself.
    pub author: Option<String>,
    #[serde(default = "openai")]
    pub dialect: String,
    #[serde(default)]
    pub base_url: String,
    pub credential_env: Option<String>,
    /// `litellm_provider` names of the same service.
    #[serde(default)]
    pub litellm: Vec<String>,
    /// Endings of its model ids that name a way of serving, not another model.
    #[serde(default)]
    pub variants: Vec<String>,
    #[serde(default = "yes")]
    pub bills_after_cancel: bool,
    #[serde(default = "yes")]
    pub trains_on_data: bool,
    #[serde(default = "yes")]
    pub retains_prompts: bool,
    pub headquarters: Option<String>,
    pub privacy_policy_url: Option<String>,
    pub terms_of_service_url: Option<String>,
    pub status_page_url: Option<String>,
    /// Its price of an hour-long cache write as a multiple of the prompt price, for sources that omit it.
    pub cache_write_1h_factor: Option<i64>,
    /// Request parameters it honors beside those of its dialect, where a model has sampling dials at all.
    #[serde(default)]
    pub parameters: Vec<String>,
    #[serde(default)]
    pub quirks: serde_json::Value,
    #[serde(default)]
    pub hold: Vec<Hold>,
}

fn openai() -> String {
    "openai".to_owned()
}

const fn yes() -> bool {
    true
}

impl Company {
    /// The catalog's row of this company.
    #[must_use]
    pub fn provider(&self, slug: &str) -> crate::Provider {
        crate::Provider {
            slug: slug.to_owned(),
            name: self.name.clone(),
            dialect: self.dialect.clone(),
            base_url: self.base_url.clone(),
            credential_env: self.credential_env.clone(),
            quirks: self.quirks.clone(),
            bills_after_cancel: self.bills_after_cancel,
            privacy_policy_url: self.privacy_policy_url.clone(),
            terms_of_service_url: self.terms_of_service_url.clone(),
            status_page_url: self.status_page_url.clone(),
            headquarters: self.headquarters.clone(),
            trains_on_data: self.trains_on_data,
            retains_prompts: self.retains_prompts,
            enabled: true,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Authors {
    names: BTreeMap<String, String>,
    aliases: HashMap<String, String>,
    repackagers: Repackagers,
    families: Families,
    closed: Closed,
}

#[derive(Debug, Deserialize)]
struct Repackagers {
    names: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Families {
    prefixes: Vec<(String, String)>,
}

#[derive(Debug, Deserialize)]
struct Closed {
    prefixes: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Aliases {
    models: BTreeMap<String, String>,
    renamed: HashMap<String, String>,
}

/// All lists, read once.
#[derive(Debug)]
pub struct Lists {
    companies: BTreeMap<String, Company>,
    by_source: HashMap<String, String>,
    authors: Authors,
    aliases: Aliases,
    slugs: Vec<&'static str>,
}

static LISTS: LazyLock<Result<Lists, ListsError>> = LazyLock::new(Lists::read);

impl Lists {
    /// The lists of this build.
    pub fn get() -> Result<&'static Self, ListsError> {
        LISTS.as_ref().map_err(Clone::clone)
    }

    fn read() -> Result<Self, ListsError> {
        let companies: BTreeMap<String, Company> =
            parse("providers.toml", include_str!("../data/providers.toml"))?;
        let by_source = companies
            .iter()
            .map(|(slug, company)| (company.source.clone().unwrap_or_else(|| slug.clone()), slug.clone()))
            .collect();
        Ok(Self {
            companies,
            by_source,
            authors: parse("authors.toml", include_str!("../data/authors.toml"))?,
            aliases: parse("aliases.toml", include_str!("../data/aliases.toml"))?,
            slugs: include_str!("../data/slugs.txt").lines().filter(|line| !line.is_empty()).collect(),
        })
    }

    #[must_use]
    pub fn company(&self, slug: &str) -> Option<&Company> {
        self.companies.get(slug)
    }

    /// Our slug and the company behind a provider of models.dev.
    #[must_use]
    pub fn by_source(&self, source: &str) -> Option<(&str, &Company)> {
        let slug = self.by_source.get(source)?;
        self.companies.get_key_value(slug).map(|(slug, company)| (slug.as_str(), company))
    }

    /// Our slug and the company behind a `litellm_provider`.
    #[must_use]
    pub fn by_litellm(&self, name: &str) -> Option<(&str, &Company)> {
        let found = self.companies.iter().find(|(_, company)| company.litellm.iter().any(|l| l == name));
        found.map(|(slug, company)| (slug.as_str(), company))
    }

    /// Slugs in use elsewhere for models, so that ours are spelled alike.
    pub fn slugs(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.slugs.iter().copied()
    }

    /// Folded provider names and the slugs they mean.
    pub fn model_aliases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.aliases.models.iter().map(|(fold, slug)| (fold.as_str(), slug.as_str()))
    }

    /// The slug that answers for a renamed one.
    #[must_use]
    pub fn renamed(&self, slug: &str) -> Option<&str> {
        self.aliases.renamed.get(slug).map(String::as_str)
    }

    /// The author as we spell it, for a vendor as a source spells it (lower case).
    #[must_use]
    pub fn author(&self, vendor: &str) -> Option<&str> {
        match self.authors.names.get_key_value(vendor) {
            Some((author, _)) => Some(author),
            None => self.authors.aliases.get(vendor).map(String::as_str),
        }
    }

    /// Every spelling of every author, for cutting `vendor-` off a model id.
    pub fn vendors(&self) -> impl Iterator<Item = &str> {
        self.authors.names.keys().chain(self.authors.aliases.keys()).map(String::as_str)
    }

    #[must_use]
    pub fn author_name(&self, author: &str) -> Option<&str> {
        self.authors.names.get(author).map(String::as_str)
    }

    #[must_use]
    pub fn repackages(&self, vendor: &str) -> bool {
        self.authors.repackagers.names.iter().any(|name| name == vendor)
    }

    /// Who makes the family to which a folded id belongs.
    #[must_use]
    pub fn family_author(&self, fold: &str) -> Option<&str> {
        let found = self.authors.families.prefixes.iter().find(|(prefix, _)| fold.starts_with(prefix));
        found.map(|(_, author)| author.as_str())
    }

    /// Only the author of this model has its weights.
    #[must_use]
    pub fn is_closed(&self, fold: &str) -> bool {
        self.authors.closed.prefixes.iter().any(|prefix| fold.starts_with(prefix))
    }
}

fn parse<T: serde::de::DeserializeOwned>(list: &'static str, text: &str) -> Result<T, ListsError> {
    toml::from_str(text).map_err(|error| ListsError { list, message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_is_readable_and_consistent() {
        let lists = Lists::get().unwrap();
        for (slug, company) in &lists.companies {
            match company.kind {
                Kind::Host => {
                    assert!(company.base_url.starts_with("https://"), "{slug}");
                    assert!(!company.base_url.ends_with('/') && !company.base_url.contains('$'), "{slug}");
                    assert!(company.credential_env.is_some(), "{slug}");
                }
                _ => assert!(company.reason.is_some(), "{slug} is held back without a reason"),
            }
            if let Some(author) = &company.author {
                assert!(lists.author_name(author).is_some(), "{slug}: {author} has no name");
            }
        }
        for author in
            lists.authors.aliases.values().chain(lists.authors.families.prefixes.iter().map(|f| &f.1))
        {
            assert!(lists.author_name(author).is_some(), "{author} has no name");
        }
    }

    #[test]
    fn a_hold_matches_by_its_ends() {
        for (pattern, id, expected) in [
            ("*-pro", "o1-pro", true),
            ("*-pro", "o1-pro-max", false),
            ("*codex*", "gpt-5-codex-mini", true),
            ("gpt-3*", "gpt-3.5", true),
            ("gpt-3", "gpt-3.5", false),
            ("*", "anything", true),
        ] {
            let hold = Hold { pattern: pattern.into(), code: String::new(), reason: String::new() };
            assert_eq!(hold.matches(id), expected, "{pattern} {id}");
        }
    }
}
