//! The list of drafts, and making one from a price file that staff paste or choose.

use super::FILE_BYTES;
use crate::format;
use crate::frame::{Frame, Notice, page, page_with, see_other};
use crate::trouble::{Answer, Trouble};
use crate::visit::{Post, Visit};
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use catalog::Catalog;
use catalog::draft::{DraftContent, DraftState, DraftSummary};
use catalog::import::{self, ImportError};
use catalog::ports::CatalogDesk;
use std::sync::Arc;

const LIST: u32 = 100;

/// A draft in the list.
pub(crate) struct Row {
    pub href: String,
    pub source: String,
    pub state: &'static str,
    pub tone: &'static str,
    pub created: String,
    pub by: String,
    pub endpoints: String,
    pub held_back: String,
    pub effective: String,
}

impl Row {
    pub(crate) fn new(draft: &DraftSummary) -> Self {
        let (state, tone) = match draft.state {
            DraftState::Open => ("Open", "warn"),
            DraftState::Published => ("Published", "good"),
            DraftState::Discarded => ("Discarded", "quiet"),
        };
        let count = |number: usize| format::count(u64::try_from(number).unwrap_or(u64::MAX));
        Self {
            href: format!("/drafts/{}", draft.id),
            source: draft.source.clone(),
            state,
            tone,
            created: format::time(draft.created_at),
            by: draft.created_by.clone(),
            endpoints: count(draft.endpoints),
            held_back: count(draft.held_back),
            effective: draft.effective_from.map_or_else(|| "–".to_owned(), format::time),
        }
    }
}

#[derive(Template)]
#[template(path = "staff/drafts.html")]
struct DraftsPage {
    frame: Frame,
    rows: Vec<Row>,
    live_version: i64,
    live_models: String,
    live_endpoints: String,
}

/// What was just done.
#[derive(serde::Deserialize)]
pub(crate) struct Done {
    #[serde(default)]
    done: String,
}

pub(crate) async fn list(
    visit: Visit,
    query: web::Query<Done>,
    desk: web::Data<dyn CatalogDesk>,
    catalog: web::Data<Catalog>,
) -> Answer {
    visit.staff()?;
    let drafts = desk.drafts(LIST).await?;
    let live = catalog.snapshot();
    let notice =
        (query.done == "discarded").then(|| Notice::good("The draft is discarded. Nothing went live."));
    let count = |number: usize| format::count(u64::try_from(number).unwrap_or(u64::MAX));
    page(&DraftsPage {
        frame: visit.frame("Drafts").noting(notice),
        rows: drafts.iter().map(Row::new).collect(),
        live_version: live.version,
        live_models: count(live.listings().len()),
        live_endpoints: count(live.endpoint_count()),
    })
}

#[derive(Template)]
#[template(path = "staff/draft_new.html")]
struct NewDraftPage {
    frame: Frame,
    source: String,
    content: String,
    error: String,
}

pub(crate) async fn new_form(visit: Visit) -> Answer {
    visit.staff()?;
    page(&NewDraftPage {
        frame: visit.frame("Import a price file"),
        source: String::new(),
        content: String::new(),
        error: String::new(),
    })
}

pub(crate) async fn create(
    post: Post,
    desk: web::Data<dyn CatalogDesk>,
    catalog: web::Data<Catalog>,
) -> Answer {
    let staff = post.visit.staff()?;
    let named = post.fields.text("source");
    let source = if named.is_empty() { "pasted price file" } else { named };
    let source: String = source.chars().filter(|c| !c.is_control()).take(120).collect();
    let content = post.fields.raw("content");
    match read(content, &source, catalog.into_inner()).await? {
        Ok(draft) => {
            let id = desk.add_draft(&source, &staff.email, &draft).await?;
            see_other(&format!("/drafts/{id}"))
        }
        Err(error) => page_with(
            StatusCode::UNPROCESSABLE_ENTITY,
            &NewDraftPage {
                frame: post.visit.frame("Import a price file"),
                source,
                content: content.to_owned(),
                error,
            },
        ),
    }
}

/// Reads a file off the async threads: large ones take a while.
async fn read(
    content: &str,
    source: &str,
    catalog: Arc<Catalog>,
) -> Result<Result<DraftContent, String>, Trouble> {
    if content.trim().is_empty() {
        return Ok(Err("Choose a file or paste its content.".to_owned()));
    }
    if content.len() > FILE_BYTES {
        return Ok(Err("The file is larger than 5 MiB: import it on the command line.".to_owned()));
    }
    let (content, source) = (content.to_owned(), source.to_owned());
    let work = web::block(move || import::read(content.as_bytes(), &source, Some(&catalog.snapshot())));
    let read: Result<DraftContent, ImportError> =
        work.await.map_err(|error| Trouble::Unavailable(error.to_string()))?;
    Ok(read.map_err(|error| format!("This file cannot be imported: {error}.")))
}
