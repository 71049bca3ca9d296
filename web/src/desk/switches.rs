//! The kill switch: providers and endpoints taken out of sale at once, each with its reason, and brought back.

use crate::format;
use crate::frame::{Frame, Notice, page, page_with, see_other};
use crate::trouble::{Answer, Trouble};
use crate::visit::{Post, Visit};
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use catalog::Catalog;
use catalog::switch::{KillSwitch, SwitchEntry, SwitchKind, Turn};
use kernel::Clock;
use std::collections::HashSet;

const LOG: u32 = 200;
const REASON_MAX: usize = 300;

/// A turn in the log.
struct Row {
    what: String,
    off: bool,
    by: String,
    at: String,
    reason: String,
}

/// What is off now.
struct Off {
    kind: &'static str,
    subject: String,
    since: String,
    by: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "staff/switches.html")]
struct SwitchesPage {
    frame: Frame,
    off: Vec<Off>,
    log: Vec<Row>,
    providers: Vec<String>,
    subject: String,
    reason: String,
    error: String,
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
    switch: web::Data<dyn KillSwitch>,
    catalog: web::Data<Catalog>,
) -> Answer {
    visit.staff()?;
    let notice = match query.done.as_str() {
        "off" => {
            Some(Notice::good("Switched off. No gateway starts another call there; calls under way go on."))
        }
        "on" => Some(Notice::good("Back in sale on every gateway.")),
        _ => None,
    };
    let mut shown = switches(&visit, switch.get_ref(), &catalog).await?;
    shown.frame.notice = notice;
    page(&shown)
}

async fn switches(
    visit: &Visit,
    switch: &dyn KillSwitch,
    catalog: &Catalog,
) -> Result<SwitchesPage, Trouble> {
    let log = switch.switch_log(LOG).await?;
    let mut seen = HashSet::new();
    // The newest turn of each subject is what holds.
    let last: Vec<&SwitchEntry> =
        log.iter().filter(|entry| seen.insert((entry.kind, entry.subject.as_str()))).collect();
    let off: Vec<Off> = last.into_iter().filter(|entry| entry.off).map(off).collect();
    let is_off = |slug: &str| off.iter().any(|row| row.kind == "provider" && row.subject == slug);
    let snapshot = catalog.snapshot();
    let slugs = snapshot.providers().iter().map(|provider| provider.slug.clone());
    let mut providers: Vec<String> = slugs.filter(|slug| !is_off(slug)).collect();
    providers.sort_unstable();
    Ok(SwitchesPage {
        frame: visit.frame("Kill switch"),
        log: log.iter().map(row).collect(),
        off,
        providers,
        subject: String::new(),
        reason: String::new(),
        error: String::new(),
    })
}

fn off(entry: &SwitchEntry) -> Off {
    Off {
        kind: entry.kind.as_str(),
        subject: entry.subject.clone(),
        since: format::time(entry.at),
        by: entry.by.clone(),
        reason: entry.reason.clone(),
    }
}

fn row(entry: &SwitchEntry) -> Row {
    Row {
        what: format!("{} {}", entry.kind.as_str(), entry.subject),
        off: entry.off,
        by: entry.by.clone(),
        at: format::time(entry.at),
        reason: entry.reason.clone(),
    }
}

/// `kind`, `subject`, `reason`, and `on` to bring it back.
pub(crate) async fn turn(
    post: Post,
    switch: web::Data<dyn KillSwitch>,
    catalog: web::Data<Catalog>,
    clock: web::Data<dyn Clock>,
) -> Answer {
    let staff = post.visit.staff()?;
    let (subject, reason) = (post.fields.text("subject"), post.fields.text("reason"));
    let off = !post.fields.ticked("on");
    let kind = SwitchKind::parse(post.fields.text("kind"));
    let sound = (1..=REASON_MAX).contains(&reason.chars().count()) && !reason.chars().any(char::is_control);
    let error = match kind {
        None => "Choose what to switch: a provider or an endpoint.".to_owned(),
        Some(_) if !sound => {
            format!("Say why, in at most {REASON_MAX} characters: it is kept with the turn.")
        }
        Some(kind) => {
            let turn = Turn { kind, subject, off, by: &staff.email, reason };
            if switch.turn(&turn, clock.now()).await? {
                return see_other(if off { "/switches?done=off" } else { "/switches?done=on" });
            }
            format!("There is no {} “{subject}”.", kind.as_str())
        }
    };
    let mut shown = switches(&post.visit, switch.get_ref(), &catalog).await?;
    subject.clone_into(&mut shown.subject);
    reason.clone_into(&mut shown.reason);
    shown.error = error;
    page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown)
}
