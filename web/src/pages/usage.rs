//! Usage by day and model: totals, stacked bars, and the same numbers as a table.

use super::models::Choice;
use crate::chart::{COLORS, Chart, Day};
use crate::format;
use crate::frame::{Frame, page};
use crate::query::Query;
use crate::trouble::{Answer, Trouble};
use crate::visit::Visit;
use accounts::ports::Keys;
use actix_web::web;
use askama::Template;
use billing::reports::{DayModelUsage, Reports, UsageFilter};
use kernel::ids::KeyId;
use kernel::{Clock, Moment, NanoUsd};
use std::collections::BTreeMap;

/// What the visitor asks for.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    days: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    key: String,
}

const PERIODS: [(&str, &str); 3] = [("7", "7 days"), ("30", "30 days"), ("90", "90 days")];

impl Asked {
    fn days(&self) -> i64 {
        self.days.parse().ok().filter(|days| [7, 30, 90].contains(days)).unwrap_or(30)
    }

    fn query(&self) -> Query {
        Query::new()
            .with("days", self.days.as_str())
            .with("model", self.model.as_str())
            .with("key", self.key.as_str())
    }
}

/// A period to choose, as a link.
struct Period {
    label: &'static str,
    href: String,
    chosen: bool,
}

/// A model in the table and in the legend.
struct ModelRow {
    model: String,
    href: String,
    series: usize,
    requests: String,
    prompt: String,
    completion: String,
    spent: String,
    own_key: String,
}

/// A day in the table for screen readers.
struct DayRow {
    day: String,
    requests: String,
    tokens: String,
    spent: String,
}

#[derive(Template)]
#[template(path = "usage.html")]
struct UsagePage {
    frame: Frame,
    asked: Asked,
    periods: Vec<Period>,
    keys: Vec<Choice>,
    spent: String,
    spent_exact: String,
    requests: String,
    prompt: String,
    completion: String,
    chart: Chart,
    models: Vec<ModelRow>,
    days: Vec<DayRow>,
}

pub(crate) async fn show(
    visit: Visit,
    query: web::Query<Asked>,
    reports: web::Data<dyn Reports>,
    keys: web::Data<dyn Keys>,
    clock: web::Data<dyn Clock>,
) -> Answer {
    let org = visit.signed()?.org.id;
    let asked = query.into_inner();
    let now = clock.now();
    let from = midnight(now - chrono::Duration::days(asked.days() - 1));
    let filter = UsageFilter {
        from: Some(from),
        key: read_key(&asked.key)?,
        model: Some(asked.model.clone()).filter(|model| !model.is_empty()),
        ..UsageFilter::default()
    };
    let rows = reports.usage_by_day(org, &filter).await?;
    let totals = reports.totals(org, &filter).await?;
    let keys = keys.keys(org, 0, 100, now).await?;
    let models = by_model(&rows);
    let days: Vec<Moment> = (0..asked.days()).map(|day| from + chrono::Duration::days(day)).collect();
    page(&UsagePage {
        frame: visit.frame("Usage"),
        periods: periods(&asked),
        keys: std::iter::once(Choice::new("", "All keys", &asked.key))
            .chain(keys.iter().map(|k| Choice::new(&k.key.id.to_string(), &k.key.name, &asked.key)))
            .collect(),
        spent: format::spend(totals.charge),
        spent_exact: format::exact(totals.charge),
        requests: format::count(totals.requests),
        prompt: format::compact(totals.prompt_tokens),
        completion: format::compact(totals.completion_tokens),
        chart: chart(&rows, &models, &days),
        days: day_rows(&rows),
        models: models.iter().enumerate().map(|(series, sum)| model_row(series, sum, &asked)).collect(),
        asked,
    })
}

/// An empty filter is all keys; a text that is no key id is nobody's page.
pub(crate) fn read_key(text: &str) -> Result<Option<KeyId>, Trouble> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_not_an_id| Trouble::NotFound)
}

fn midnight(at: Moment) -> Moment {
    at.date_naive().and_time(chrono::NaiveTime::MIN).and_utc()
}

fn periods(asked: &Asked) -> Vec<Period> {
    let link = |(value, label): &(&'static str, &'static str)| Period {
        label,
        href: Asked { days: (*value).to_owned(), ..asked.clone() }.query().on("/usage"),
        chosen: asked.days().to_string() == *value,
    };
    PERIODS.iter().map(link).collect()
}

/// The sum of a model or a day. Sums that leave the range stop growing: they are for reading only.
#[derive(Default)]
struct Sum {
    name: String,
    requests: u64,
    prompt: u64,
    completion: u64,
    charge: NanoUsd,
    own_key: NanoUsd,
}

impl Sum {
    fn add(&mut self, row: &DayModelUsage) {
        self.requests = self.requests.saturating_add(row.requests);
        self.prompt = self.prompt.saturating_add(row.prompt_tokens);
        self.completion = self.completion.saturating_add(row.completion_tokens);
        self.charge = self.charge.checked_add(row.charge).unwrap_or(self.charge);
        self.own_key = self.own_key.checked_add(row.byok_list_price).unwrap_or(self.own_key);
    }
}

/// Dearest first: the order of the legend and of the stack.
fn by_model(rows: &[DayModelUsage]) -> Vec<Sum> {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for row in rows {
        sums.entry(&row.model).or_default().add(row);
    }
    let mut sums: Vec<Sum> =
        sums.into_iter().map(|(name, sum)| Sum { name: name.to_owned(), ..sum }).collect();
    sums.sort_by_key(|sum| std::cmp::Reverse((sum.charge, sum.requests)));
    sums
}

fn model_row(series: usize, sum: &Sum, asked: &Asked) -> ModelRow {
    let only = Asked { model: sum.name.clone(), ..asked.clone() };
    ModelRow {
        model: sum.name.clone(),
        href: only.query().on("/usage"),
        series: series.min(COLORS - 1),
        requests: format::count(sum.requests),
        prompt: format::count(sum.prompt),
        completion: format::count(sum.completion),
        spent: format::spend(sum.charge),
        own_key: if sum.own_key > NanoUsd::ZERO { format::spend(sum.own_key) } else { "–".to_owned() },
    }
}

fn chart(rows: &[DayModelUsage], models: &[Sum], days: &[Moment]) -> Chart {
    let series_of =
        |model: &str| models.iter().position(|sum| sum.name == model).unwrap_or(COLORS).min(COLORS - 1);
    let columns: Vec<Day> = days
        .iter()
        .map(|day| {
            let name = day.format("%Y-%m-%d").to_string();
            let mut values = vec![0_u64; COLORS];
            let mut total = NanoUsd::ZERO;
            for row in rows.iter().filter(|row| row.day == name) {
                if let Some(value) = values.get_mut(series_of(&row.model)) {
                    *value = value.saturating_add(row.charge.get().unsigned_abs());
                }
                total = total.checked_add(row.charge).unwrap_or(total);
            }
            let label = day.format("%b %-d").to_string();
            Day { tip: format!("{label}: {}", format::spend(total)), label, values }
        })
        .collect();
    Chart::stacked(&columns, axis)
}

/// Nano-dollars on the axis.
fn axis(nano: u64) -> String {
    let amount = NanoUsd::new(i64::try_from(nano).unwrap_or(i64::MAX));
    format::exact(amount)
}

fn day_rows(rows: &[DayModelUsage]) -> Vec<DayRow> {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for row in rows {
        sums.entry(&row.day).or_default().add(row);
    }
    let row = |(day, sum): (&str, Sum)| DayRow {
        day: day.to_owned(),
        requests: format::count(sum.requests),
        tokens: format::count(sum.prompt.saturating_add(sum.completion)),
        spent: format::spend(sum.charge),
    };
    sums.into_iter().rev().map(row).collect()
}
