//! The filters and sorts of `GET /models`. Everything that is sent is honored or refused by name.

use super::shape::{face, tokenizer};
use crate::import::fold;
use crate::model::Modality;
use crate::snapshot::{Listing, Snapshot};
use kernel::{Moment, PicoUsd};

/// A query parameter that cannot be honored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {message}")]
pub struct QueryError {
    pub parameter: String,
    pub message: String,
}

/// The orders in which models can be listed. Without one: newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortOrder {
    Newest,
    PriceAscending,
    PriceDescending,
    ContextDescending,
}

/// A parsed query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelsQuery {
    text: Option<String>,
    parameters: Vec<String>,
    input: Vec<Modality>,
    /// Empty: models that answer in text.
    output: Vec<Modality>,
    any_output: bool,
    context: Option<u32>,
    prompt: Between,
    completion: Between,
    authors: Vec<String>,
    providers: Vec<String>,
    arch: Option<String>,
    zdr: bool,
    min_age_days: Option<i64>,
    max_age_days: Option<i64>,
    sort: Option<SortOrder>,
    offset: usize,
    limit: Option<usize>,
    /// As sent, without the page, for the link to the next one.
    sent: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Between {
    least: Option<PicoUsd>,
    most: Option<PicoUsd>,
}

impl Between {
    fn holds(self, price: PicoUsd) -> bool {
        self.least.is_none_or(|least| price >= least) && self.most.is_none_or(|most| price <= most)
    }
}

/// The rows of one page, as indices into the snapshot's listings.
pub(super) struct Selection {
    pub(super) rows: Vec<usize>,
    pub(super) total: usize,
    /// Offset and limit of the next page.
    pub(super) next: Option<(usize, usize)>,
}

const MAX_LIMIT: usize = 1000;

impl ModelsQuery {
    /// Reads decoded query parameters.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for (name, value) in pairs {
            let result = query.set(name, value);
            result.map_err(|message| QueryError { parameter: name.to_owned(), message })?;
            if !matches!(name, "offset" | "limit") {
                query.sent.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "q" => self.text = Some(value.to_lowercase()),
            "supported_parameters" => self.parameters = list(value),
            "input_modalities" => self.input = modalities(value)?,
            "output_modalities" if value == "all" => self.any_output = true,
            "output_modalities" => self.output = modalities(value)?,
            "context" => self.context = Some(number(value)?),
            "min_price" => self.prompt.least = Some(price(value)?),
            "max_price" => self.prompt.most = Some(price(value)?),
            "min_output_price" => self.completion.least = Some(price(value)?),
            "max_output_price" => self.completion.most = Some(price(value)?),
            "model_authors" => self.authors = list(value),
            "providers" => self.providers = list(value).iter().map(|name| fold(name)).collect(),
            "arch" => self.arch = Some(value.to_lowercase()),
            "zdr" if value == "true" => self.zdr = true,
            "zdr" => return Err("use true, or leave it out".to_owned()),
            "min_age_days" => self.min_age_days = Some(number(value)?),
            "max_age_days" => self.max_age_days = Some(number(value)?),
            "sort" => self.sort = Some(sort(value)?),
            "offset" => self.offset = number(value)?,
            "limit" => self.limit = Some(limit(value)?),
            _ => return Err("is not a filter of this server".to_owned()),
        }
        Ok(())
    }

    /// No filter, no page: the body that is built once.
    pub(super) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The query string of another page of the same list.
    pub(super) fn page(&self, offset: usize, limit: usize) -> String {
        let mut text = String::new();
        for (name, value) in &self.sent {
            text.push_str(&format!("{name}={}&", percent_encode(value)));
        }
        text + &format!("offset={offset}&limit={limit}")
    }

    pub(super) fn select(&self, snapshot: &Snapshot, now: Moment) -> Selection {
        let mut found: Vec<(usize, &Listing)> = snapshot
            .listings()
            .iter()
            .enumerate()
            .filter(|(_, listing)| self.fits(snapshot, listing, now))
            .collect();
        let price = |listing: &Listing| {
            face(listing).map(|endpoint| {
                let rates = &endpoint.tariff.rates;
                rates.prompt.get().saturating_add(rates.completion.get())
            })
        };
        match self.sort {
            // The snapshot is in this order already.
            None | Some(SortOrder::Newest) => {}
            Some(SortOrder::PriceAscending) => found.sort_by_key(|(_, listing)| price(listing)),
            Some(SortOrder::PriceDescending) => {
                found.sort_by_key(|(_, listing)| std::cmp::Reverse(price(listing)));
            }
            Some(SortOrder::ContextDescending) => {
                found.sort_by_key(|(_, listing)| std::cmp::Reverse(listing.model.context_length));
            }
        }
        let total = found.len();
        let limit = self.limit.unwrap_or(if self.offset > 0 { MAX_LIMIT } else { usize::MAX });
        let rows = found.into_iter().skip(self.offset).take(limit).map(|(index, _)| index).collect();
        let end = self.offset.saturating_add(limit);
        Selection { rows, total, next: (end < total).then_some((end, limit)) }
    }

    fn fits(&self, snapshot: &Snapshot, listing: &Listing, now: Moment) -> bool {
        let model = &listing.model;
        let text = self.text.as_ref().is_none_or(|text| {
            model.name.to_lowercase().contains(text) || model.slug.contains(text.as_str())
        });
        let parameters = self.parameters.iter().all(|p| listing.supported_parameters.contains(p));
        let age = now.signed_duration_since(model.created).num_days();
        text && parameters
            && self.modalities_fit(listing)
            && self.context.is_none_or(|least| model.context_length >= least)
            && self.min_age_days.is_none_or(|least| age >= least)
            && self.max_age_days.is_none_or(|most| age <= most)
            && (self.authors.is_empty() || self.authors.iter().any(|author| author == model.author()))
            && self.arch.as_ref().is_none_or(|arch| {
                tokenizer(&model.slug).to_lowercase() == *arch || model.family.as_ref() == Some(arch)
            })
            && self.endpoint_fits(snapshot, listing)
    }

    fn modalities_fit(&self, listing: &Listing) -> bool {
        let model = &listing.model;
        let input = self.input.iter().all(|modality| model.input_modalities.contains(modality));
        let wanted = if self.output.is_empty() { &[Modality::Text][..] } else { &self.output };
        let output = self.any_output || wanted.iter().any(|m| model.output_modalities.contains(m));
        input && output
    }

    /// Prices are those shown for the model; provider and privacy may be met by any endpoint.
    fn endpoint_fits(&self, snapshot: &Snapshot, listing: &Listing) -> bool {
        let shown = face(listing).is_some_and(|endpoint| {
            let rates = &endpoint.tariff.rates;
            self.prompt.holds(rates.prompt) && self.completion.holds(rates.completion)
        });
        let provider = listing.endpoints.iter().filter_map(|e| snapshot.provider(&e.provider)).any(|p| {
            let named = self.providers.iter().any(|name| *name == p.slug || *name == fold(&p.name));
            (self.providers.is_empty() || named) && !(self.zdr && p.retains_prompts)
        });
        shown && provider
    }
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(|word| word.trim().to_lowercase()).filter(|word| !word.is_empty()).collect()
}

fn modalities(value: &str) -> Result<Vec<Modality>, String> {
    let read = |word: String| match word.as_str() {
        "text" => Ok(Modality::Text),
        "image" => Ok(Modality::Image),
        "audio" => Ok(Modality::Audio),
        "video" => Ok(Modality::Video),
        "file" => Ok(Modality::File),
        other => Err(format!("{other:?} is not a modality: use text, image, audio, video or file")),
    };
    list(value).into_iter().map(read).collect()
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_not_a_number| format!("{value:?} is not a whole number"))
}

fn limit(value: &str) -> Result<usize, String> {
    match number(value)? {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(format!("must be between 1 and {MAX_LIMIT}")),
    }
}

fn price(value: &str) -> Result<PicoUsd, String> {
    PicoUsd::parse_per_million(value)
        .map_err(|error| format!("{value:?} is not a price in dollars per million tokens: {error}"))
}

fn sort(value: &str) -> Result<SortOrder, String> {
    match value {
        "newest" => Ok(SortOrder::Newest),
        "pricing-low-to-high" => Ok(SortOrder::PriceAscending),
        "pricing-high-to-low" => Ok(SortOrder::PriceDescending),
        "context-high-to-low" => Ok(SortOrder::ContextDescending),
        other => Err(format!(
            "{other:?} is not an order of this server: use newest, pricing-low-to-high, \
             pricing-high-to-low or context-high-to-low"
        )),
    }
}

/// Everything but unreserved characters as `%XX`.
fn percent_encode(value: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(encode).collect()
}
