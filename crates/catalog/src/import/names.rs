//! Finds the public slug of a model that every provider calls differently, and what its name says about
//! how it is served. Knows names only, no prices.

use crate::lists::{Company, Lists};
use std::collections::{BTreeSet, HashMap};

/// A provider's name of a model, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) slug: String,
    /// `turbo`, `fp8` …: the second half of the endpoint's tag.
    pub(crate) variant: Option<String>,
    pub(crate) quantization: Option<String>,
}

/// Endings that name a number format, and the format.
const FORMATS: &[(&str, Option<&str>)] = &[
    ("-nvfp4", Some("nvfp4")),
    ("-mxfp4", Some("mxfp4")),
    ("-fp4", Some("fp4")),
    ("-fp8-dynamic", Some("fp8")),
    ("-fp8", Some("fp8")),
    ("-mxfp8", Some("mxfp8")),
    ("-fp16", Some("fp16")),
    ("-bf16", Some("bf16")),
    ("-int8", Some("int8")),
    ("-int4-mixed-ar", Some("int4")),
    ("-int4", Some("int4")),
    ("-awq", None),
    ("-gptq", None),
];

/// Lower case, with every separator a dash: spelling differences disappear.
pub(crate) fn fold(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    for letter in name.chars().flat_map(char::to_lowercase) {
        let letter = if matches!(letter, '.' | '_' | ' ' | ':' | '/') { '-' } else { letter };
        if letter != '-' || !folded.ends_with('-') {
            folded.push(letter);
        }
    }
    folded.trim_matches('-').to_owned()
}

/// Cuts a date at the end: `-20250929` or `-2025-09-29`.
pub(crate) fn without_date(fold: &str) -> Option<&str> {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let (rest, last) = fold.rsplit_once('-')?;
    if digits(last, 8) && last.starts_with("20") {
        return Some(rest);
    }
    let (rest, month) = rest.rsplit_once('-')?;
    let (rest, year) = rest.rsplit_once('-')?;
    (digits(last, 2) && digits(month, 2) && digits(year, 4)).then_some(rest)
}

/// The vendor and the bare name in a provider's model id.
fn split(id: &str) -> (Option<String>, String) {
    if let Some(rest) = id.strip_prefix("accounts/fireworks/") {
        let name = rest.rsplit('/').next().unwrap_or(rest);
        return (None, dotted(name));
    }
    let id = id.strip_prefix("hf:").or_else(|| id.strip_prefix("@cf/")).unwrap_or(id);
    match (id.split_once('/'), id.rsplit_once('/')) {
        (Some((vendor, _)), Some((_, name))) => (Some(vendor.to_lowercase()), name.to_owned()),
        _ => (None, id.to_owned()),
    }
}

/// Some ids write `2p5` for `2.5`.
fn dotted(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let digit = |index: Option<usize>| index.and_then(|i| letters.get(i)).is_some_and(char::is_ascii_digit);
    let point = |(index, letter): (usize, &char)| {
        let between = digit(index.checked_sub(1)) && digit(Some(index + 1));
        if *letter == 'p' && between { '.' } else { *letter }
    };
    letters.iter().enumerate().map(point).collect()
}

/// Knows the slugs in use and learns those it coins.
#[derive(Debug)]
pub(crate) struct Namer<'a> {
    lists: &'a Lists,
    known: HashMap<String, String>,
}

impl<'a> Namer<'a> {
    /// Starts with the aliases and slugs of the lists; the aliases win.
    pub(crate) fn new(lists: &'a Lists) -> Self {
        let mut namer = Self { lists, known: HashMap::new() };
        for (fold, slug) in lists.model_aliases() {
            namer.known.insert(fold.to_owned(), slug.to_owned());
        }
        for slug in lists.slugs() {
            namer.learn(slug);
        }
        namer
    }

    /// A slug in use. The first slug of a name keeps it.
    pub(crate) fn learn(&mut self, slug: &str) {
        if let Some((_, name)) = slug.split_once('/') {
            self.known.entry(fold(name)).or_insert_with(|| slug.to_owned());
        }
    }

    /// The slug of `vendor/name` of a source that names authors, coined in our spelling if it is new.
    pub(crate) fn canonical(&mut self, source_slug: &str) -> Option<String> {
        let (vendor, name) = split(source_slug);
        let author = self.lists.author(vendor.as_deref()?)?.to_owned();
        self.find(&tries(&fold(&name), &[])).map(|(slug, _)| slug).or_else(|| Some(self.coin(&author, &name)))
    }

    /// What a provider's model id means; `None` when nobody can tell who made it.
    pub(crate) fn name(&mut self, company: &Company, id: &str, base: Option<&str>) -> Option<Named> {
        let (vendor, name) = split(id);
        let whole = fold(&name);
        let cuts = self.without_vendor(&whole);
        let readings = |folds: &[String]| -> Vec<Try> {
            folds.iter().flat_map(|f| tries(f, &company.variants)).collect()
        };
        let own = |served: &Try, slug: String| Named {
            slug,
            variant: served.variant.clone(),
            quantization: served.quantization.clone(),
        };
        let tried: Vec<Try> = [readings(std::slice::from_ref(&whole)), readings(&cuts)].concat();
        if let Some((slug, served)) = self.find(&tried) {
            return Some(own(&served, slug));
        }
        // Without a known slug, a cut is right only if what is left is a family's name.
        let family = |fold: &&String| self.lists.family_author(fold).is_some();
        let bare = cuts.iter().find(family).cloned().unwrap_or(whole);
        let plain = tries(&bare, &company.variants).into_iter().min_by_key(|t| t.fold.len())?;
        if let Some(slug) = base.and_then(|base| self.canonical(base)) {
            return Some(own(&plain, slug));
        }
        let author = self.author(company, vendor.as_deref(), &bare)?;
        let bare = self.bare_name(&author, &name, &plain);
        let slug = self.coin(&author, &bare);
        Some(own(&plain, slug))
    }

    fn find(&self, tried: &[Try]) -> Option<(String, Try)> {
        tried.iter().find_map(|t| self.known.get(&t.fold).map(|slug| (slug.clone(), t.clone())))
    }

    /// `alibaba-qwen3-32b` is `qwen3-32b`: the fold with each vendor's name in front cut off.
    fn without_vendor(&self, fold_of_name: &str) -> Vec<String> {
        let vendors: BTreeSet<String> = self.lists.vendors().map(fold).collect();
        let cut = |vendor: &String| {
            fold_of_name.strip_prefix(vendor.as_str()).and_then(|rest| rest.strip_prefix('-'))
        };
        vendors.iter().filter_map(cut).map(str::to_owned).collect()
    }

    fn author(&self, company: &Company, vendor: Option<&str>, fold_of_name: &str) -> Option<String> {
        let family = || self.lists.family_author(fold_of_name);
        let found = match vendor {
            Some(vendor) if self.lists.repackages(vendor) => family().or_else(|| self.lists.author(vendor)),
            Some(vendor) => self.lists.author(vendor),
            None => family().or(company.author.as_deref()),
        };
        found.map(str::to_owned)
    }

    /// The name in its own spelling, cut to the length of the plain fold.
    fn bare_name(&self, author: &str, name: &str, plain: &Try) -> String {
        let lower = name.to_lowercase().replace(['_', ' ', ':'], "-");
        let cut = lower.len().saturating_sub(plain.cut);
        let short = lower.get(..cut).unwrap_or(&lower);
        let own_prefix = |vendor: &&str| self.lists.author(vendor) == Some(author);
        let stripped = self
            .lists
            .vendors()
            .filter(own_prefix)
            .filter_map(|vendor| short.strip_prefix(vendor).and_then(|rest| rest.strip_prefix('-')))
            .find(|rest| fold(rest) == plain.fold);
        stripped.unwrap_or(short).to_owned()
    }

    fn coin(&mut self, author: &str, name: &str) -> String {
        let lower = name.to_lowercase().replace(['_', ' ', ':'], "-");
        let slug = match author {
            "anthropic" => format!("{author}/{}", dots_between_digits(&lower)),
            _ => format!("{author}/{lower}"),
        };
        self.learn(&slug);
        slug
    }
}

/// One way to read a name: what is left of it, and what was cut off its end.
#[derive(Debug, Clone)]
struct Try {
    fold: String,
    variant: Option<String>,
    quantization: Option<String>,
    /// Letters cut off the end.
    cut: usize,
}

/// The readings of a folded name, the most literal first.
fn tries(name: &str, variants: &[String]) -> Vec<Try> {
    let whole = Try { fold: name.to_owned(), variant: None, quantization: None, cut: 0 };
    let mut found = vec![whole.clone()];
    if let Some(cut) = cut_format(&whole) {
        found.push(cut);
    }
    for variant in variants {
        let ending = format!("-{}", fold(variant));
        if let Some(rest) = name.strip_suffix(&ending).filter(|rest| !rest.is_empty()) {
            let cut = Try {
                fold: rest.to_owned(),
                variant: Some(fold(variant)),
                quantization: None,
                cut: ending.len(),
            };
            found.extend(cut_format(&cut));
            found.push(cut);
        }
    }
    for reading in found.clone() {
        for shorter in
            [without_date(&reading.fold), reading.fold.strip_suffix("-latest")].into_iter().flatten()
        {
            let cut = reading.cut + reading.fold.len() - shorter.len();
            found.push(Try { fold: shorter.to_owned(), cut, ..reading.clone() });
        }
    }
    found
}

fn cut_format(reading: &Try) -> Option<Try> {
    let (ending, format) = FORMATS.iter().find(|(ending, _)| reading.fold.ends_with(ending))?;
    let rest = reading.fold.strip_suffix(ending)?;
    let word = ending.trim_start_matches('-').to_owned();
    Some(Try {
        fold: rest.to_owned(),
        variant: Some(reading.variant.as_ref().map_or(word.clone(), |variant| format!("{variant}-{word}"))),
        quantization: format.map(str::to_owned),
        cut: reading.cut + ending.len(),
    })
}

/// `claude-opus-4-8` is spelled `claude-opus-4.8`: a dash between two single digits is a point.
fn dots_between_digits(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let digit = |index: Option<usize>| index.and_then(|i| letters.get(i)).is_some_and(char::is_ascii_digit);
    let point = |(index, letter): (usize, &char)| {
        let between = digit(index.checked_sub(1)) && digit(Some(index + 1));
        let lone = !digit(index.checked_sub(2)) && !digit(Some(index + 2));
        if *letter == '-' && between && lone { '.' } else { *letter }
    };
    letters.iter().enumerate().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_names_meet_at_one_slug() {
        let lists = Lists::get().unwrap();
        let mut namer = Namer::new(lists);
        // provider, its id, slug, variant, quantization
        type Case<'a> = (&'a str, &'a str, &'a str, Option<&'a str>, Option<&'a str>);
        let rows: &[Case<'_>] = &[
            ("anthropic", "claude-sonnet-4-5", "anthropic/claude-sonnet-4.5", None, None),
            ("anthropic", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4.5", None, None),
            ("anthropic", "claude-opus-4-8", "anthropic/claude-opus-4.8", None, None),
            ("openai", "gpt-4o-2024-08-06", "openai/gpt-4o-2024-08-06", None, None),
            ("openai", "gpt-5-chat-latest", "openai/gpt-5-chat", None, None),
            ("fireworks", "accounts/fireworks/models/glm-5p1", "z-ai/glm-5.1", None, None),
            (
                "fireworks",
                "accounts/fireworks/routers/kimi-k2p6-fast",
                "moonshotai/kimi-k2.6",
                Some("fast"),
                None,
            ),
            ("deepinfra", "deepseek-ai/DeepSeek-V3.2", "deepseek/deepseek-v3.2", None, None),
            (
                "deepinfra",
                "meta-llama/Llama-3.3-70B-Instruct-Turbo",
                "meta-llama/llama-3.3-70b-instruct",
                Some("turbo"),
                None,
            ),
            ("digitalocean", "alibaba-qwen3-32b", "qwen/qwen3-32b", None, None),
            ("gmicloud", "zai-org/GLM-5.1-FP8", "z-ai/glm-5.1", Some("fp8"), Some("fp8")),
            ("groq", "llama-3.1-8b-instant", "meta-llama/llama-3.1-8b-instruct", None, None),
            ("vultr", "nvidia/DeepSeek-V3.2-NVFP4", "deepseek/deepseek-v3.2", Some("nvfp4"), Some("nvfp4")),
            ("nebius", "nvidia/Nemotron-Nobody-Knows", "nvidia/nemotron-nobody-knows", None, None),
            ("synthetic", "hf:zai-org/GLM-4.7", "z-ai/glm-4.7", None, None),
            ("ovhcloud", "meta-llama-3_3-70b-instruct", "meta-llama/llama-3.3-70b-instruct", None, None),
            ("ovhcloud", "mistral-7b-instruct-v0.3", "mistralai/mistral-7b-instruct-v0.3", None, None),
            ("novita", "deepseek/deepseek-ocr", "deepseek/deepseek-ocr", None, None),
        ];
        for (provider, id, slug, variant, quantization) in rows {
            let company = lists.company(provider).unwrap();
            let named = namer.name(company, id, None);
            let expected = Named {
                slug: (*slug).to_owned(),
                variant: variant.map(str::to_owned),
                quantization: quantization.map(str::to_owned),
            };
            assert_eq!(named, Some(expected), "{provider} {id}");
        }
        let company = lists.company("deepinfra").unwrap();
        assert_eq!(namer.name(company, "someone-unknown/Tune-9B", None), None);
    }

    #[test]
    fn dates_are_cut_only_where_they_are_dates() {
        for (fold, expected) in [
            ("claude-3-opus-20240229", Some("claude-3-opus")),
            ("gpt-4o-2024-08-06", Some("gpt-4o")),
            ("qwen3-235b-a22b-2507", None),
            ("glm-4-32b", None),
        ] {
            assert_eq!(without_date(fold), expected, "{fold}");
        }
    }
}
