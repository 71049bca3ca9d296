//! One draft: what publishing it would change, what was held back and why, and the two decisions. Every
//! publication passes `catalog`'s own check first; a refused draft changes nothing.

use super::drafts::Row;
use crate::format;
use crate::frame::{Frame, Notice, page, page_with, see_other};
use crate::trouble::{Answer, Trouble};
use crate::visit::{Post, Visit};
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use catalog::Catalog;
use catalog::diff::{self, Diff, PriceChange, Refusal};
use catalog::draft::{DraftContent, DraftState, DraftSummary, HeldBack, PublishedSince};
use catalog::ports::{CatalogDesk, Published};
use kernel::ids::DraftId;
use kernel::{Clock, Moment};
use std::collections::{BTreeMap, BTreeSet};

/// Rows shown of a long list; the rest is counted.
const SHOWN: usize = 200;
/// A date a little in the past is "now": the form was filled in meanwhile.
const GRACE_MINUTES: i64 = 60;

/// A price that changes.
struct Change {
    model: String,
    tag: String,
    class: String,
    old: String,
    new: String,
    percent: String,
    tone: &'static str,
}

impl Change {
    fn new(change: &PriceChange) -> Self {
        let price = |text: &Option<String>| text.as_deref().map_or_else(|| "–".to_owned(), format::decimal);
        Self {
            model: change.model.clone(),
            tag: change.tag.clone(),
            class: change.class.replace('_', " "),
            old: price(&change.old),
            new: price(&change.new),
            percent: change.percent.map_or_else(|| "–".to_owned(), |percent| format!("{percent:+}%")),
            tone: match change.percent {
                Some(percent) if percent.abs() > 50 => "bad",
                Some(percent) if percent.abs() > 10 => "warn",
                _ => "quiet",
            },
        }
    }
}

/// Held-back rows of one reason.
struct HeldGroup {
    code: String,
    count: usize,
    rows: Vec<HeldBack>,
}

#[derive(Template)]
#[template(path = "staff/draft.html")]
struct DraftPage {
    frame: Frame,
    id: String,
    row: Row,
    open: bool,
    diff: Diff,
    changes: Vec<Change>,
    new_endpoints: Vec<String>,
    hidden_changes: usize,
    hidden_new: usize,
    held: Vec<HeldGroup>,
    refusals: Vec<Refusal>,
    /// What was published after this draft was made; it cannot be published any more.
    since: Vec<Since>,
    effective: String,
    effective_error: String,
}

impl DraftPage {
    fn can_publish(&self) -> bool {
        self.open && self.refusals.is_empty() && self.since.is_empty() && !self.diff.is_empty()
    }
}

/// A publication that came between.
struct Since {
    version: i64,
    source: String,
    by: String,
    at: String,
    /// Endpoints that this draft names too.
    ours: Vec<String>,
    others: usize,
}

impl Since {
    fn new(since: &PublishedSince, draft: &DraftContent) -> Self {
        let names: BTreeSet<String> = draft
            .endpoints
            .iter()
            .map(|endpoint| format!("{} at {}", endpoint.model, endpoint.tag))
            .collect();
        let ours: Vec<String> =
            since.endpoints.iter().filter(|name| names.contains(*name)).cloned().collect();
        Self {
            version: since.version,
            source: since.source.clone(),
            by: since.by.clone(),
            at: format::time(since.at),
            others: since.endpoints.len() - ours.len(),
            ours,
        }
    }
}

/// What was just done.
#[derive(serde::Deserialize)]
pub(crate) struct Done {
    #[serde(default)]
    done: String,
}

pub(crate) async fn show(
    visit: Visit,
    path: web::Path<String>,
    query: web::Query<Done>,
    desk: web::Data<dyn CatalogDesk>,
    catalog: web::Data<Catalog>,
    clock: web::Data<dyn Clock>,
) -> Answer {
    visit.staff()?;
    let (summary, content) = find(&path, desk.get_ref()).await?;
    let mut shown = draft_page(&visit, &summary, &content, &catalog, clock.now());
    shown.since = since(&summary, &content, desk.get_ref()).await?;
    shown.frame.notice = match query.done.as_str() {
        "published" => Some(Notice::good("Published. All gateways have these prices within a second.")),
        "scheduled" => Some(Notice::good("Published. The prices come into force at the effective date.")),
        "stale" => Some(Notice::bad("Not published: another draft went live after this one was made.")),
        "closed" => {
            Some(Notice::bad("Somebody published or discarded this draft before you. Nothing was changed."))
        }
        _ => None,
    };
    page(&shown)
}

async fn find(id: &str, desk: &dyn CatalogDesk) -> Result<(DraftSummary, DraftContent), Trouble> {
    let id: DraftId = id.parse().map_err(|_not_an_id| Trouble::NotFound)?;
    desk.draft(id).await?.ok_or(Trouble::NotFound)
}

async fn since(
    summary: &DraftSummary,
    content: &DraftContent,
    desk: &dyn CatalogDesk,
) -> Result<Vec<Since>, Trouble> {
    let base = content.base.filter(|_| summary.state == DraftState::Open);
    let Some(base) = base else { return Ok(Vec::new()) };
    let published = desk.published_since(base).await?;
    Ok(published.iter().map(|one| Since::new(one, content)).collect())
}

fn draft_page(
    visit: &Visit,
    summary: &DraftSummary,
    content: &DraftContent,
    catalog: &Catalog,
    now: Moment,
) -> DraftPage {
    let live = catalog.snapshot();
    let open = summary.state == DraftState::Open;
    let diff = diff::diff(&live, content);
    let mut changes: Vec<&PriceChange> = diff.price_changes.iter().collect();
    // The largest jump first: what a person must see.
    changes.sort_by_key(|change| std::cmp::Reverse(change.percent.map_or(i64::MAX, i64::abs)));
    let new = diff.new_endpoints.iter().map(|endpoint| format!("{} at {}", endpoint.model, endpoint.tag));
    DraftPage {
        frame: visit.frame("Draft"),
        id: summary.id.to_string(),
        row: Row::new(summary),
        open,
        changes: changes.into_iter().take(SHOWN).map(Change::new).collect(),
        new_endpoints: new.take(SHOWN).collect(),
        hidden_changes: diff.price_changes.len().saturating_sub(SHOWN),
        hidden_new: diff.new_endpoints.len().saturating_sub(SHOWN),
        held: grouped(&content.held_back),
        refusals: if open {
            diff::check_publishable(content, &live).err().unwrap_or_default()
        } else {
            Vec::new()
        },
        since: Vec::new(),
        effective: format::datetime_local(now),
        effective_error: String::new(),
        diff,
    }
}

fn grouped(held: &[HeldBack]) -> Vec<HeldGroup> {
    let mut groups: BTreeMap<&str, Vec<&HeldBack>> = BTreeMap::new();
    for row in held {
        groups.entry(&row.code).or_default().push(row);
    }
    let mut groups: Vec<HeldGroup> = groups
        .into_iter()
        .map(|(code, rows)| HeldGroup {
            code: code.replace('_', " "),
            count: rows.len(),
            rows: rows.into_iter().take(SHOWN).cloned().collect(),
        })
        .collect();
    groups.sort_by_key(|group| group.count);
    groups
}

pub(crate) async fn publish(
    post: Post,
    path: web::Path<String>,
    desk: web::Data<dyn CatalogDesk>,
    catalog: web::Data<Catalog>,
    clock: web::Data<dyn Clock>,
) -> Answer {
    let staff = post.visit.staff()?;
    let (summary, content) = find(&path, desk.get_ref()).await?;
    let now = clock.now();
    let refused = |error: String| {
        let mut shown = draft_page(&post.visit, &summary, &content, &catalog, now);
        post.fields.text("effective").clone_into(&mut shown.effective);
        shown.effective_error = error;
        page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown)
    };
    let effective = match effective(post.fields.text("effective"), now) {
        Ok(effective) => effective,
        Err(error) => return refused(error),
    };
    if diff::check_publishable(&content, &catalog.snapshot()).is_err() {
        return refused(String::new());
    }
    match desk.publish(summary.id, &staff.email, effective).await? {
        Published::Done { .. } if effective > now => {
            see_other(&format!("/drafts/{}?done=scheduled", summary.id))
        }
        Published::Done { .. } => see_other(&format!("/drafts/{}?done=published", summary.id)),
        Published::NotOpen => see_other(&format!("/drafts/{}?done=closed", summary.id)),
        // The page lists what came between and says what to do.
        Published::Stale { .. } => see_other(&format!("/drafts/{}?done=stale", summary.id)),
        Published::Missing => Err(Trouble::NotFound),
    }
}

/// When the prices come into force: empty or just past is now, the distant past is refused, because
/// requests were already priced.
fn effective(typed: &str, now: Moment) -> Result<Moment, String> {
    if typed.is_empty() {
        return Ok(now);
    }
    let parsed = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
        .into_iter()
        .find_map(|form| chrono::NaiveDateTime::parse_from_str(typed, form).ok());
    let at = parsed.ok_or("Enter a date and time in UTC, like 2026-12-01T00:00.")?.and_utc();
    if at > now + chrono::Duration::days(366) {
        return Err("Choose a date within a year.".to_owned());
    }
    if at < now - chrono::Duration::minutes(GRACE_MINUTES) {
        return Err("Prices never change in the past: choose now or a later time.".to_owned());
    }
    Ok(at.max(now))
}

pub(crate) async fn discard(post: Post, path: web::Path<String>, desk: web::Data<dyn CatalogDesk>) -> Answer {
    let staff = post.visit.staff()?;
    let id: DraftId = path.parse().map_err(|_not_an_id| Trouble::NotFound)?;
    match desk.discard(id, &staff.email).await? {
        Published::Done { .. } | Published::Stale { .. } => see_other("/drafts?done=discarded"),
        Published::NotOpen => see_other(&format!("/drafts/{id}?done=closed")),
        Published::Missing => Err(Trouble::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_come_into_force_now_or_later() {
        let now = Moment::from_timestamp(1_795_183_420, 0).unwrap();
        assert_eq!(effective("", now), Ok(now));
        assert_eq!(effective("2026-11-20T14:03", now), Ok(now));
        let later = effective("2026-12-01T00:00", now).unwrap();
        assert_eq!(later.to_rfc3339(), "2026-12-01T00:00:00+00:00");
        for typed in ["2026-11-19T00:00", "2028-01-01T00:00", "tomorrow", "2026-13-01T00:00"] {
            assert!(effective(typed, now).is_err(), "{typed}");
        }
    }
}
