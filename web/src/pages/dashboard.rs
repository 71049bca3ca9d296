//! The first page after signing in: what is left to do until the first answer, then what was spent.

use crate::format;
use crate::frame::{BalanceText, Frame, page};
use crate::snippets::{Snippets, starter_model};
use crate::trouble::Answer;
use crate::visit::Visit;
use accounts::ports::Keys;
use actix_web::web;
use askama::Template;
use billing::reports::{Reports, UsageFilter};
use catalog::Catalog;
use kernel::{Clock, NanoUsd};

/// One step of the checklist.
struct Step {
    done: bool,
    title: &'static str,
    text: String,
    href: &'static str,
    action: &'static str,
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct DashboardPage {
    frame: Frame,
    balance: BalanceText,
    steps: Vec<Step>,
    /// Index of the first open step.
    current: usize,
    snippets: Snippets,
    model: String,
    requests: String,
    tokens: String,
    spent: String,
}

impl DashboardPage {
    fn is_ready(&self) -> bool {
        self.current >= self.steps.len()
    }
}

pub(crate) async fn show(
    visit: Visit,
    keys: web::Data<dyn Keys>,
    reports: web::Data<dyn Reports>,
    catalog: web::Data<Catalog>,
    clock: web::Data<dyn Clock>,
) -> Answer {
    let org = visit.signed()?.org.id;
    let now = clock.now();
    let has_key = !keys.keys(org, 0, 1, now).await?.is_empty();
    let ever = reports.totals(org, &UsageFilter::default()).await?;
    let month = UsageFilter { from: Some(now - chrono::Duration::days(30)), ..UsageFilter::default() };
    let recent = reports.totals(org, &month).await?;
    let bought = visit.balance.is_some_and(|balance| balance.granted > NanoUsd::ZERO);
    let steps = checklist(bought, has_key, ever.requests > 0);
    let snapshot = catalog.snapshot();
    let model = starter_model(&snapshot).map_or("author/model", |model| model.slug.as_str());
    page(&DashboardPage {
        frame: visit.frame("Overview"),
        balance: visit.balance_text(),
        current: steps.iter().position(|step| !step.done).unwrap_or(steps.len()),
        steps,
        snippets: Snippets::new(&visit.site.api_base, None, model),
        model: model.to_owned(),
        requests: format::count(recent.requests),
        tokens: format::compact(recent.prompt_tokens.saturating_add(recent.completion_tokens)),
        spent: format::spend(recent.charge),
    })
}

fn checklist(bought: bool, has_key: bool, called: bool) -> Vec<Step> {
    vec![
        Step {
            done: bought,
            title: "Buy credits",
            text: "From $5. The fee is shown before you pay; inference has no markup.".to_owned(),
            href: "/credits",
            action: "Buy credits",
        },
        Step {
            done: has_key,
            title: "Create an API key",
            text: "One key for every model. Give it a limit and it can never spend more.".to_owned(),
            href: "/keys/new",
            action: "Create a key",
        },
        Step {
            done: called,
            title: "Make your first call",
            text: "Point any OpenAI client at our base URL, or try a model right in the browser.".to_owned(),
            href: "/models",
            action: "Choose a model",
        },
    ]
}
