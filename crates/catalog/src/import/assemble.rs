//! Joins the rows of a source into a draft: each becomes an endpoint of a model at a provider, or is held
//! back with its reason. Reads no format; judges prices with `check` and names with `names`.

use super::check::{Fault, jumps, rates_and_tiers};
use super::names::{Named, Namer, fold};
use super::row::{Facts, Row};
use super::{Against, Sheet, held, keep};
use crate::draft::{DraftContent, EndpointDraft, HeldBack};
use crate::lists::{Company, Kind, Lists};
use crate::model::{Endpoint, Modality, Model, Provider};
use crate::snapshot::{Listing, Snapshot};
use crate::tariff::Rates;
use chrono::NaiveDate;
use kernel::{Moment, PicoUsd};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Words in a provider's id that mean it does not chat.
const NOT_CHAT: &[&str] = &[
    "embed",
    "rerank",
    "whisper",
    "-tts",
    "-asr",
    "transcri",
    "realtime",
    "minilm",
    "bge-",
    "moderation",
    "prompt-guard",
    "content-safety",
    "safety-guard",
    "voicechat",
    "-ocr-2",
    "paddleocr",
];

/// Makes the draft. Deterministic: the order of the source does not matter.
pub(crate) fn assemble(sheet: Sheet, namer: Namer<'_>, lists: &Lists, against: Against<'_>) -> DraftContent {
    let mut work = Work {
        namer,
        lists,
        against,
        canonical: sheet.canonical,
        brought: sheet.providers.into_iter().map(|p| (p.slug.clone(), p)).collect(),
        providers: BTreeMap::new(),
        models: BTreeMap::new(),
        endpoints: Vec::new(),
        tags: HashSet::new(),
        held_back: sheet.held_back,
    };
    let mut rows = sheet.rows;
    // Authors first, so their spelling and their facts win; shorter ids first, so an undated name wins.
    rows.sort_by_cached_key(|row| {
        let host_only = lists.company(&row.provider).is_none_or(|company| company.author.is_none());
        (host_only, row.provider.clone(), row.id.len(), row.id.clone())
    });
    for row in rows {
        if let Err(fault) = work.take(&row) {
            let name = row.model.as_deref().unwrap_or(&row.id);
            work.held_back.push(held(&row.provider, name, &fault));
        }
    }
    work.finish()
}

struct Work<'a> {
    namer: Namer<'a>,
    lists: &'a Lists,
    against: Against<'a>,
    canonical: HashMap<String, Facts>,
    /// Providers that the file itself defines.
    brought: HashMap<String, Provider>,
    providers: BTreeMap<String, Provider>,
    models: BTreeMap<String, Model>,
    endpoints: Vec<EndpointDraft>,
    tags: HashSet<(String, String)>,
    held_back: Vec<HeldBack>,
}

impl Work<'_> {
    fn take(&mut self, row: &Row) -> Result<(), Fault> {
        let provider = self.provider(row)?;
        let company = self.lists.company(&row.provider).filter(|company| company.kind == Kind::Host);
        sellable(row, company, self.lists)?;
        let (mut rates, mut tiers) = rates_and_tiers(row)?;
        speaks(row, &rates)?;
        let named = self.named(row, company)?;
        let live = self.against.live.and_then(|live| live_endpoint(live, row, &named.slug));
        if let (Some((_, endpoint)), false) = (live, row.confirm_jump) {
            steady("the live price", &endpoint.tariff.rates, &rates)?;
        }
        self.second_opinion(row, &mut rates)?;
        if let Some(factor) = company.and_then(|company| company.cache_write_1h_factor) {
            let all = std::iter::once(&mut rates).chain(tiers.iter_mut().map(|tier| &mut tier.rates));
            all.for_each(|rates| price_hour_writes(rates, factor));
        }
        if let (Some((_, endpoint)), false) = (live, row.confirm_drop) {
            keep::unstated(&endpoint.tariff, &mut rates, &mut tiers)?;
        }
        let listing = self.against.live.and_then(|live| live.find(&named.slug));
        let facts = with_live(&row.facts, live.map(|(_, endpoint)| endpoint));
        let extra = company.map_or(&[][..], |company| &company.parameters);
        let draft = endpoint_draft(row, &named, &facts, (&provider, extra), rates)?;
        let draft = EndpointDraft { tiers, ..draft };
        if !self.tags.insert((draft.model.clone(), draft.tag.clone())) {
            let reason = format!("{} already has an endpoint of {} in this file", draft.tag, draft.model);
            return Err(Fault::new("duplicate", reason));
        }
        self.model(row, &facts, &draft, listing);
        self.providers.entry(provider.slug.clone()).or_insert(provider);
        self.endpoints.push(draft);
        Ok(())
    }

    /// From the file itself, the live catalog, or the list of known companies.
    fn provider(&self, row: &Row) -> Result<Provider, Fault> {
        if let Some(provider) = self.brought.get(&row.provider) {
            return Ok(provider.clone());
        }
        if let Some(provider) = self.against.live.and_then(|live| live.provider(&row.provider)) {
            return Ok(provider.as_ref().clone());
        }
        match self.lists.company(&row.provider) {
            Some(company) => match company.kind.code() {
                None => Ok(company.provider(&row.provider)),
                Some(code) => Err(Fault::new(code, company.reason.clone().unwrap_or_default())),
            },
            None => Err(Fault::new(
                "unknown_provider",
                format!("{} is neither live nor known; state it under \"providers\"", row.provider),
            )),
        }
    }

    fn named(&mut self, row: &Row, company: Option<&Company>) -> Result<Named, Fault> {
        if let Some(slug) = &row.model {
            let valid = crate::model_ref::is_slug(slug);
            let named = Named { slug: slug.clone(), variant: None, quantization: None };
            return if valid {
                Ok(named)
            } else {
                Err(Fault::new("bad_model", format!("{slug} is not of the form author/slug")))
            };
        }
        company.and_then(|company| self.namer.name(company, &row.id, row.base_model.as_deref())).ok_or_else(
            || Fault::new("unmatched", format!("nothing says which model {} is, or who made it", row.id)),
        )
    }

    /// Compares with the second source, and takes from it the one price that models.dev lacks.
    fn second_opinion(&self, row: &Row, rates: &mut Rates) -> Result<(), Fault> {
        let Some(second) = self.against.second.and_then(|book| book.find(&row.provider, &row.id)) else {
            return Ok(());
        };
        let theirs = Rates { prompt: second.prompt, completion: second.completion, ..Rates::default() };
        steady("the second source", &theirs, rates)?;
        let same = second.prompt == rates.prompt && second.completion == rates.completion;
        if same && rates.cache_write.is_some() && rates.cache_write_1h.is_none() {
            rates.cache_write_1h = second.cache_write_1h;
        }
        Ok(())
    }

    fn model(&mut self, row: &Row, facts: &Facts, draft: &EndpointDraft, listing: Option<&Listing>) {
        let slug = &draft.model;
        if let Some(model) = self.models.get_mut(slug) {
            model.context_length = model.context_length.max(draft.context_length);
            return;
        }
        let best = self.canonical.get(slug).unwrap_or(facts);
        let mut model = match listing {
            Some(listing) => Model {
                reasons_by_default: facts.reasons_by_default.or(listing.model.reasons_by_default),
                ..listing.model.clone()
            },
            None => new_model(slug, best, facts, self.lists, row.model.is_some()),
        };
        model.context_length = model.context_length.max(draft.context_length);
        self.models.insert(slug.clone(), model);
    }

    fn finish(mut self) -> DraftContent {
        self.endpoints.sort_by(|a, b| (&a.model, &a.tag).cmp(&(&b.model, &b.tag)));
        self.held_back
            .sort_by(|a, b| (&a.code, &a.provider, &a.model).cmp(&(&b.code, &b.provider, &b.model)));
        DraftContent {
            base: self.against.live.map(|live| live.version),
            providers: self.providers.into_values().collect(),
            models: self.models.into_values().collect(),
            endpoints: self.endpoints,
            held_back: self.held_back,
        }
    }
}

/// What can be said before looking at prices.
fn sellable(row: &Row, company: Option<&Company>, lists: &Lists) -> Result<(), Fault> {
    if row.facts.deprecated {
        return Err(Fault::new("deprecated", "the source marks it as deprecated"));
    }
    let lower = row.id.to_lowercase();
    if row.model.is_none() && (row.facts.not_chat || NOT_CHAT.iter().any(|word| lower.contains(word))) {
        return Err(Fault::new("not_chat", "it does not answer chats"));
    }
    if let Some(hold) = company.and_then(|c| c.hold.iter().find(|hold| hold.matches(&row.id))) {
        return Err(Fault { code: stable(&hold.code), reason: format!("it {}", hold.reason) });
    }
    let Some(company) = company.filter(|_| row.model.is_none()) else { return Ok(()) };
    let folded = fold(row.id.rsplit('/').next().unwrap_or(&row.id));
    let bare = lists.vendors().filter_map(|v| folded.strip_prefix(&fold(v))?.strip_prefix('-')).last();
    for name in std::iter::once(folded.as_str()).chain(bare) {
        let open = name.starts_with("gpt-oss");
        let maker = lists.family_author(name);
        if lists.is_closed(name) && !open && maker.is_some() && maker != company.author.as_deref() {
            let reason = format!("a closed model of another company, resold by {}", company.name);
            return Err(Fault::new("reseller", reason));
        }
    }
    Ok(())
}

/// Codes of the list are few; an unknown one would be a word nobody can look up.
fn stable(code: &str) -> &'static str {
    match code {
        "dialect" => "dialect",
        "unpriced" => "unpriced",
        "duplicate" => "duplicate",
        "subscription_plan" => "subscription_plan",
        _ => "listed",
    }
}

/// It answers in text, and in nothing that has no price here.
fn speaks(row: &Row, rates: &Rates) -> Result<(), Fault> {
    let output = &row.facts.output;
    if !output.is_empty() && !output.contains(&Modality::Text) {
        return Err(Fault::new("not_chat", "it does not answer in text"));
    }
    if output.contains(&Modality::Image) || output.contains(&Modality::Video) {
        return Err(Fault::new("not_chat", "it makes pictures, which have no price here yet"));
    }
    if output.contains(&Modality::Audio) && rates.audio_completion.is_none() {
        return Err(Fault::new("not_chat", "it speaks, and the source has no price for that"));
    }
    Ok(())
}

fn steady(what: &str, old: &Rates, new: &Rates) -> Result<(), Fault> {
    for (class, old, new) in
        [("prompt", old.prompt, new.prompt), ("completion", old.completion, new.completion)]
    {
        if old > PicoUsd::ZERO && jumps(old, new) {
            let (old, new) = (old.per_million(), new.per_million());
            let reason =
                format!("the {class} price is ${new} per million, {what} says ${old}: more than half off");
            return Err(Fault::new("price_jump", reason));
        }
    }
    Ok(())
}

/// A provider that sells long cache writes must never be without their price: they cost more than others.
fn price_hour_writes(rates: &mut Rates, factor: i64) {
    if rates.cache_write.is_some() && rates.cache_write_1h.is_none() {
        rates.cache_write_1h = rates.prompt.get().checked_mul(factor).map(PicoUsd::new);
    }
}

/// The live endpoint that a row would change.
fn live_endpoint<'s>(live: &'s Snapshot, row: &Row, slug: &str) -> Option<(&'s Listing, &'s Arc<Endpoint>)> {
    let listing = live.find(slug)?;
    let mut at_provider = listing.endpoints.iter().filter(|e| e.provider == row.provider);
    let exact = listing.endpoints.iter().find(|e| e.provider == row.provider && e.provider_model == row.id);
    let endpoint = exact.or_else(|| if row.model.is_some() { at_provider.next() } else { None })?;
    Some((listing, endpoint))
}

/// What a row leaves out is as it is now.
fn with_live(facts: &Facts, live: Option<&Arc<Endpoint>>) -> Facts {
    let mut facts = facts.clone();
    if let Some(endpoint) = live {
        facts.context = facts.context.or(Some(endpoint.context_length.into()));
        facts.max_prompt = facts.max_prompt.or(endpoint.max_prompt_tokens.map(u64::from));
        facts.max_completion = facts.max_completion.or(Some(endpoint.max_completion_tokens.into()));
        facts.quantization = facts.quantization.or_else(|| endpoint.quantization.clone());
        facts.parameters = facts.parameters.or_else(|| Some(endpoint.supported_parameters.clone()));
    }
    facts
}

fn endpoint_draft(
    row: &Row,
    named: &Named,
    facts: &Facts,
    (provider, extra): (&Provider, &[String]),
    rates: Rates,
) -> Result<EndpointDraft, Fault> {
    let size = |tokens: Option<u64>| tokens.and_then(|t| u32::try_from(t).ok()).filter(|tokens| *tokens > 0);
    let context = size(facts.context)
        .ok_or_else(|| Fault::new("incomplete", "the source does not say how long the context is"))?;
    let completion = size(facts.max_completion.or(facts.context))
        .ok_or_else(|| Fault::new("incomplete", "the source does not say how long an answer may be"))?;
    let tag = match &named.variant {
        Some(variant) => format!("{}/{variant}", provider.slug),
        None => provider.slug.clone(),
    };
    Ok(EndpointDraft {
        model: named.slug.clone(),
        provider: provider.slug.clone(),
        provider_model: row.id.clone(),
        tag,
        context_length: context,
        max_prompt_tokens: size(facts.max_prompt).filter(|prompt| *prompt < context),
        max_completion_tokens: completion.min(context),
        quantization: named.quantization.clone().or_else(|| facts.quantization.clone()),
        supported_parameters: facts.supported_parameters(&provider.dialect, extra),
        rates,
        tiers: Vec::new(),
        free: false,
    })
}

fn new_model(slug: &str, best: &Facts, row: &Facts, lists: &Lists, named_by_source: bool) -> Model {
    let author = slug.split_once('/').map_or("", |(author, _)| author);
    let bare = slug.split_once('/').map_or(slug, |(_, name)| name);
    let name = best.name.as_deref().or(row.name.as_deref()).unwrap_or(bare);
    let name = if named_by_source { name } else { plain_name(name) };
    let name = match lists.author_name(author) {
        Some(author) if !named_by_source && !name.contains(": ") => format!("{author}: {name}"),
        _ => name.to_owned(),
    };
    let or_text = |list: &[Modality]| if list.is_empty() { vec![Modality::Text] } else { list.to_vec() };
    Model {
        slug: slug.to_owned(),
        name,
        description: best.description.clone().unwrap_or_default(),
        created: best.release_date.as_deref().and_then(moment).unwrap_or_default(),
        context_length: 0,
        input_modalities: or_text(&best.input),
        output_modalities: or_text(&best.output),
        knowledge_cutoff: best.knowledge.clone(),
        open_weights: best.open_weights,
        hugging_face_id: best.hugging_face_id.clone().or_else(|| row.hugging_face_id.clone()),
        family: best.family.clone().or_else(|| row.family.clone()),
        reasoning: best.reasoning,
        reasons_by_default: row.reasons_by_default,
    }
}

/// A provider's display name without its path and without how it serves the model.
fn plain_name(name: &str) -> &str {
    let mut name = name.rsplit('/').next().unwrap_or(name).trim();
    for ending in [" TEE", "-TEE", " (Turbo)", " Turbo", " FP8", "-FP8", " Lite"] {
        name = name.strip_suffix(ending).unwrap_or(name);
    }
    name
}

/// Midnight UTC of `YYYY-MM-DD`, or of the first day of `YYYY-MM` or `YYYY`.
fn moment(date: &str) -> Option<Moment> {
    let full = match date.len() {
        4 => format!("{date}-01-01"),
        7 => format!("{date}-01"),
        _ => date.to_owned(),
    };
    let day = NaiveDate::parse_from_str(&full, "%Y-%m-%d").ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc())
}
