//! `farebox catalog …`: import a price file into a draft, show what it would change, publish it.

use crate::commands::say;
use anyhow::{Context as _, bail};
use catalog::diff::{self, Diff};
use catalog::draft::DraftContent;
use catalog::ports::{CatalogDesk as _, Published, PublishedCatalog as _};
use kernel::Moment;
use kernel::clock::{Clock as _, SystemClock};
use kernel::ids::DraftId;
use std::collections::BTreeMap;
use std::path::Path;
use store_postgres::PgStore;

/// Who did it, in the audit log.
const BY: &str = "command line";

/// Reads a price file into a draft and prints what it would change.
pub(crate) async fn import(store: &PgStore, file: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let live = store.snapshot(SystemClock::new().now()).await?;
    let content = catalog::import::read(&bytes, &name, Some(&live))?;
    let id = store.add_draft(&name, BY, &content).await?;
    print(&diff::diff(&live, &content), &content)?;
    say(&format!(
        "Draft {id} was made. Look at it with `farebox catalog diff {id}`, then `farebox catalog publish {id}`."
    ))
}

/// Prints what a draft would change.
pub(crate) async fn show(store: &PgStore, id: DraftId) -> anyhow::Result<()> {
    let Some((_, content)) = store.draft(id).await? else { bail!("there is no draft {id}") };
    let live = store.snapshot(SystemClock::new().now()).await?;
    print(&diff::diff(&live, &content), &content)
}

/// Publishes a draft, now or from a moment on.
pub(crate) async fn publish(store: &PgStore, id: DraftId, from: Option<Moment>) -> anyhow::Result<()> {
    let Some((_, content)) = store.draft(id).await? else { bail!("there is no draft {id}") };
    let now = SystemClock::new().now();
    guard(&content, store, now).await?;
    match store.publish(id, BY, from.unwrap_or(now)).await? {
        Published::Done { version, changed_endpoints } => {
            say(&format!("Published as catalog version {version}: {changed_endpoints} endpoints changed."))
        }
        Published::NotOpen => bail!("draft {id} was published or discarded before"),
        Published::Stale { live } => bail!(
            "draft {id} was made before catalog version {live} was published: import its file again, so that it \
             is compared with today's prices, and look at the new draft"
        ),
        Published::Missing => bail!("there is no draft {id}"),
    }
}

async fn guard(content: &DraftContent, store: &PgStore, now: Moment) -> anyhow::Result<()> {
    let live = store.snapshot(now).await?;
    if let Err(refusals) = diff::check_publishable(content, &live) {
        let lines: Vec<String> =
            refusals.iter().map(|r| format!("  {} at {}: {}", r.model, r.tag, r.text)).collect();
        bail!("the draft must not be published:\n{}", lines.join("\n"));
    }
    Ok(())
}

/// Publishes the built-in price list where nothing is live yet. Twice is once.
pub(crate) async fn seed(store: &PgStore) -> anyhow::Result<()> {
    let live = store.version().await?;
    if live > 0 {
        return say(&format!("The catalog is at version {live}; the built-in price list is not needed."));
    }
    let content = catalog::seed::draft()?;
    let now = SystemClock::new().now();
    guard(&content, store, now).await?;
    let id = store.add_draft("built-in price list", BY, &content).await?;
    match store.publish(id, BY, now).await? {
        Published::Done { changed_endpoints, .. } => say(&format!(
            "Published the built-in price list: {} models, {} providers, {changed_endpoints} endpoints.",
            content.models.len(),
            content.providers.len(),
        )),
        other => bail!("the built-in price list was not published: {other:?}"),
    }
}

fn print(diff: &Diff, content: &DraftContent) -> anyhow::Result<()> {
    say(&format!(
        "New: {} providers, {} models, {} endpoints. Prices changed: {}. Otherwise changed: {}. Unchanged: {}.",
        diff.new_providers.len(),
        diff.new_models.len(),
        diff.new_endpoints.len(),
        diff.price_changes.len(),
        diff.other_changes.len(),
        diff.unchanged_endpoints,
    ))?;
    for warning in &diff.warnings {
        say(&format!("Warning: {warning:?}"))?;
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &content.held_back {
        *reasons.entry(row.code.as_str()).or_default() += 1;
    }
    for (code, count) in reasons {
        say(&format!("Held back, {code}: {count}"))?;
    }
    Ok(())
}
