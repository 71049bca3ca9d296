//! The request log and the receipt of one call: what was asked, who answered, what it cost and why.

use super::models::Choice;
use super::usage::read_key;
use crate::format;
use crate::frame::{Frame, page};
use crate::query::Query;
use crate::trouble::{Answer, Trouble};
use crate::visit::Visit;
use accounts::ports::Keys;
use actix_web::web;
use askama::Template;
use billing::generation::AttemptRecord;
use billing::reports::{Generation, Reports, UsageFilter};
use catalog::Catalog;
use kernel::ids::GenerationId;
use kernel::{Clock, NanoUsd};

const PAGE: u32 = 50;

/// What the visitor asks for.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    model: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    before: String,
}

/// A call in the list.
struct Row {
    id: String,
    when: String,
    model: String,
    provider: String,
    key: String,
    prompt: String,
    completion: String,
    cost: String,
    exact: String,
    speed: String,
    finish: String,
    tone: &'static str,
}

impl Row {
    fn new(call: &Generation) -> Self {
        let record = &call.record;
        let (finish, tone) = ending(call);
        Self {
            id: record.id.to_string(),
            when: format::second(call.created_at),
            model: record.model.clone(),
            provider: record.provider.clone(),
            key: key_name(call),
            prompt: format::count(record.usage.prompt),
            completion: format::count(record.usage.completion),
            cost: format::fine(call.charge),
            exact: format::exact(call.charge),
            speed: format::speed(record.usage.completion, record.generation_ms),
            finish,
            tone,
        }
    }
}

fn key_name(call: &Generation) -> String {
    match (&call.key_name, call.record.key) {
        (Some(name), _) => name.clone(),
        (None, Some(_)) => "Deleted key".to_owned(),
        (None, None) => "Browser".to_owned(),
    }
}

/// How the call ended, and the color that says whether it went well.
fn ending(call: &Generation) -> (String, &'static str) {
    let record = &call.record;
    match (&record.error, record.cancelled) {
        (Some(error), _) => (error.replace('_', " "), "bad"),
        (None, true) => ("client left".to_owned(), "warn"),
        (None, false) => {
            (record.finish_reason.clone().unwrap_or_else(|| "stop".to_owned()).replace('_', " "), "good")
        }
    }
}

#[derive(Template)]
#[template(path = "logs.html")]
struct LogsPage {
    frame: Frame,
    rows: Vec<Row>,
    models: Vec<Choice>,
    keys: Vec<Choice>,
    filtered: bool,
    /// Older calls; empty at the end.
    older: String,
    /// The newest calls; empty when they are shown.
    newest: String,
}

pub(crate) async fn list(
    visit: Visit,
    query: web::Query<Asked>,
    reports: web::Data<dyn Reports>,
    keys: web::Data<dyn Keys>,
    catalog: web::Data<Catalog>,
    clock: web::Data<dyn Clock>,
) -> Answer {
    let org = visit.signed()?.org.id;
    let asked = query.into_inner();
    let filter = UsageFilter {
        key: read_key(&asked.key)?,
        model: Some(asked.model.clone()).filter(|model| !model.is_empty()),
        ..UsageFilter::default()
    };
    let before = Some(asked.before.as_str()).filter(|text| !text.is_empty());
    let before: Option<GenerationId> =
        before.map(str::parse).transpose().map_err(|_not_an_id| Trouble::NotFound)?;
    let calls = reports.generations(org, &filter, before, PAGE).await?;
    let keys = keys.keys(org, 0, 100, clock.now()).await?;
    let full = u32::try_from(calls.len()).is_ok_and(|shown| shown == PAGE);
    let base = Query::new().with("model", asked.model.as_str()).with("key", asked.key.as_str());
    let last = calls.last().filter(|_| full).map(|call| call.record.id.to_string());
    page(&LogsPage {
        frame: visit.frame("Logs"),
        rows: calls.iter().map(Row::new).collect(),
        models: model_choices(&catalog, &asked.model),
        keys: std::iter::once(Choice::new("", "All keys", &asked.key))
            .chain(keys.iter().map(|k| Choice::new(&k.key.id.to_string(), &k.key.name, &asked.key)))
            .collect(),
        filtered: !asked.model.is_empty() || !asked.key.is_empty(),
        older: last.map(|id| base.clone().with("before", id).on("/logs")).unwrap_or_default(),
        newest: if before.is_some() { base.on("/logs") } else { String::new() },
    })
}

fn model_choices(catalog: &Catalog, current: &str) -> Vec<Choice> {
    let snapshot = catalog.snapshot();
    let mut slugs: Vec<&str> = snapshot.listings().iter().map(|l| l.model.slug.as_str()).collect();
    if !current.is_empty() {
        // A model that is no longer sold keeps its place in the filter.
        slugs.push(current);
    }
    slugs.sort_unstable();
    slugs.dedup();
    std::iter::once(Choice::new("", "All models", current))
        .chain(slugs.into_iter().map(|slug| Choice::new(slug, slug, current)))
        .collect()
}

/// One try, placed on a common time axis of 0 to 1000.
struct Attempt {
    provider: String,
    own_key: bool,
    status: String,
    outcome: String,
    tone: &'static str,
    took: String,
    x: u64,
    width: u64,
}

/// Label and value of a fact.
struct Fact {
    label: &'static str,
    text: String,
}

fn fact(label: &'static str, text: impl Into<String>) -> Fact {
    Fact { label, text: text.into() }
}

#[derive(Template)]
#[template(path = "generation.html")]
struct GenerationPage {
    frame: Frame,
    id: String,
    model: String,
    model_href: String,
    ending: String,
    tone: &'static str,
    charge: String,
    own_key: bool,
    simulated: bool,
    summary: Vec<Fact>,
    tokens: Vec<Fact>,
    estimated: bool,
    money: Vec<Fact>,
    attempts: Vec<Attempt>,
    origin: Vec<Fact>,
}

pub(crate) async fn show(visit: Visit, path: web::Path<String>, reports: web::Data<dyn Reports>) -> Answer {
    let org = visit.signed()?.org.id;
    let id: GenerationId = path.parse().map_err(|_not_an_id| Trouble::NotFound)?;
    let call = reports.generation(org, id).await?.ok_or(Trouble::NotFound)?;
    let (ending, tone) = ending(&call);
    let record = &call.record;
    page(&GenerationPage {
        frame: visit.frame("Receipt"),
        id: record.id.to_string(),
        model: record.model.clone(),
        model_href: format!("/models/{}", record.model),
        ending,
        tone,
        charge: format::exact(call.charge),
        own_key: record.provider_key.is_some(),
        simulated: record.simulated,
        summary: summary(&call),
        tokens: tokens(&call),
        estimated: record.usage_source == "estimated",
        money: money(&call),
        attempts: attempts(&record.attempts),
        origin: origin(&call),
    })
}

fn summary(call: &Generation) -> Vec<Fact> {
    let record = &call.record;
    vec![
        fact("Provider", record.provider.clone()),
        fact("Started", format!("{} UTC", format::second(call.created_at))),
        fact("First token after", format::millis(record.latency_ms)),
        fact("Then streamed for", format::millis(record.generation_ms)),
        fact("Speed", format::speed(record.usage.completion, record.generation_ms)),
        fact("Answer", if record.streamed { "Streamed" } else { "In one piece" }),
    ]
}

fn tokens(call: &Generation) -> Vec<Fact> {
    let usage = &call.record.usage;
    let classes = [
        ("Input", usage.prompt, true),
        ("of it read from cache", usage.cache_read, false),
        ("of it written to cache", usage.cache_write, false),
        ("of it written to cache for an hour", usage.cache_write_1h, false),
        ("of it audio", usage.audio_prompt, false),
        ("Output", usage.completion, true),
        ("of it reasoning", usage.reasoning, false),
        ("of it audio output", usage.audio_completion, false),
        ("Images", call.record.extras.images, false),
    ];
    let shown = classes.into_iter().filter(|(_, count, always)| *always || *count > 0);
    shown.map(|(label, count, _)| fact(label, format::count(count))).collect()
}

fn money(call: &Generation) -> Vec<Fact> {
    let record = &call.record;
    let own_key = record.provider_key.is_some();
    let mut facts = vec![
        fact("Set aside before the call", format::exact(call.held)),
        fact("Price at the list", format::exact(record.list_price)),
    ];
    if own_key {
        facts.push(fact("Paid to the provider by", "your own key"));
        facts.push(fact("Fee for the own key", format::exact(call.charge)));
    } else {
        facts.push(fact("Charged to your credits", format::exact(call.charge)));
    }
    if call.uncollected > NanoUsd::ZERO {
        facts.push(fact("Not covered, and not charged", format::exact(call.uncollected)));
    }
    facts.push(fact(
        "Price version",
        format!("{} (price list {})", record.tariff_version, record.catalog_version),
    ));
    facts
}

fn origin(call: &Generation) -> Vec<Fact> {
    let record = &call.record;
    let mut facts = vec![fact("Key", key_name(call))];
    let optional = [
        ("App", &record.app_title),
        ("App address", &record.app_referer),
        ("End user", &record.end_user),
        ("Conversation", &record.session),
        ("Provider's own id", &record.upstream_id),
        ("Provider's finish reason", &record.native_finish_reason),
    ];
    facts.extend(optional.into_iter().filter_map(|(label, text)| Some(fact(label, text.clone()?))));
    facts
}

fn attempts(records: &[AttemptRecord]) -> Vec<Attempt> {
    let end = records.iter().map(|a| u64::from(a.started_ms) + u64::from(a.duration_ms)).max().unwrap_or(1);
    let place = |ms: u32| (u64::from(ms) * 1000).checked_div(end).unwrap_or_default();
    let one = |record: &AttemptRecord| Attempt {
        provider: record.provider.clone(),
        own_key: record.own_key,
        status: if record.status == 0 { "–".to_owned() } else { record.status.to_string() },
        outcome: record.outcome.replace('_', " "),
        tone: if record.outcome == "ok" { "good" } else { "bad" },
        took: format::millis(record.duration_ms),
        x: place(record.started_ms),
        width: place(record.duration_ms).max(4),
    };
    records.iter().map(one).collect()
}
