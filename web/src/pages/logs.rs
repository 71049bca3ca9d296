//! The request log: what was asked, who answered, what it cost. One call's receipt is `receipt`.

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
use billing::reports::{Generation, Reports, UsageFilter};
use catalog::Catalog;
use kernel::Clock;
use kernel::ids::GenerationId;

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

pub(crate) fn key_name(call: &Generation) -> String {
    match (&call.key_name, call.record.key) {
        (Some(name), _) => name.clone(),
        (None, Some(_)) => "Deleted key".to_owned(),
        (None, None) => "Browser".to_owned(),
    }
}

/// How the call ended, and the color that says whether it went well.
pub(crate) fn ending(call: &Generation) -> (String, &'static str) {
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
