//! The receipt of one call: what was tried, what was used and at which prices, what was set aside and taken,
//! and the same as a signed file that can be checked without us.

use super::logs::{ending, key_name};
use crate::format;
use crate::frame::{Frame, page};
use crate::trouble::{Answer, Trouble};
use crate::visit::Visit;
use accounts::receipt_key::ReceiptSigner;
use actix_web::{HttpResponse, web};
use askama::Template;
use billing::generation::AttemptRecord;
use billing::receipt::{Closing, ReceiptFacts, Receipts};
use billing::reports::Generation;
use kernel::NanoUsd;
use kernel::ids::GenerationId;

async fn find(visit: &Visit, id: &str, receipts: &dyn Receipts) -> Result<ReceiptFacts, Trouble> {
    let org = visit.signed()?.org.id;
    let id: GenerationId = id.parse().map_err(|_not_an_id| Trouble::NotFound)?;
    receipts.receipt(org, id).await?.ok_or(Trouble::NotFound)
}

/// The signed receipt as a file.
pub(crate) async fn file(
    visit: Visit,
    path: web::Path<String>,
    receipts: web::Data<dyn Receipts>,
    signer: web::Data<ReceiptSigner>,
) -> Answer {
    let facts = find(&visit, &path, receipts.get_ref()).await?;
    let signed = signer.sign(facts.document(&visit.site.url));
    let signed = signed.map_err(|error| Trouble::Broken(error.to_string()))?;
    let name = format!("attachment; filename=\"receipt-{}.json\"", facts.generation.record.id);
    Ok(HttpResponse::Ok()
        .insert_header(("content-disposition", name))
        .insert_header(("cache-control", "no-store"))
        .json(signed))
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
    prices: Vec<Fact>,
    attempts: Vec<Attempt>,
    origin: Vec<Fact>,
}

pub(crate) async fn show(visit: Visit, path: web::Path<String>, receipts: web::Data<dyn Receipts>) -> Answer {
    let facts = find(&visit, &path, receipts.get_ref()).await?;
    let call = &facts.generation;
    let (ending, tone) = ending(call);
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
        summary: summary(call),
        tokens: tokens(call),
        estimated: record.usage_source == "estimated",
        money: money(&facts),
        prices: prices(&facts),
        attempts: attempts(&record.attempts),
        origin: origin(call),
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

fn money(facts: &ReceiptFacts) -> Vec<Fact> {
    let call = &facts.generation;
    let own_key = call.record.provider_key.is_some();
    let mut shown = vec![
        fact("Set aside before the call", format::exact(call.held)),
        fact("Price at the list", format::exact(call.record.list_price)),
    ];
    if own_key {
        shown.push(fact("Paid to the provider by", "your own key"));
        shown.push(fact("Fee for the own key", format::exact(facts.fee())));
    } else {
        shown.push(fact("Charged to your credits", format::exact(call.charge)));
    }
    if facts.adjusted != NanoUsd::ZERO {
        shown.push(fact("of it corrected later", format::exact(facts.adjusted)));
    }
    if call.uncollected > NanoUsd::ZERO {
        shown.push(fact("Not covered, and not charged", format::exact(call.uncollected)));
    }
    shown.push(fact("Books", closing(facts.closing)));
    shown
}

fn closing(closing: Closing) -> &'static str {
    match closing {
        Closing::Settled => "Settled, final",
        Closing::Swept => "Closed at the last known use",
        Closing::Released => "Given back, nothing charged",
    }
}

/// The prices in force when the call began, for this length of prompt.
fn prices(facts: &ReceiptFacts) -> Vec<Fact> {
    let record = &facts.generation.record;
    let version = format!("{} (price list {})", record.tariff_version, record.catalog_version);
    let mut shown = vec![fact("Price version", version)];
    let Some(rates) = facts.rates() else { return shown };
    let labels = [
        ("Input, per million", "prompt_per_million"),
        ("Read from cache, per million", "cache_read_per_million"),
        ("Written to cache, per million", "cache_write_per_million"),
        ("Written for an hour, per million", "cache_write_1h_per_million"),
        ("Audio in, per million", "audio_prompt_per_million"),
        ("Output, per million", "completion_per_million"),
        ("Reasoning, per million", "reasoning_per_million"),
        ("Audio out, per million", "audio_completion_per_million"),
        ("Each image", "image"),
        ("Each request", "request"),
    ];
    let named = billing::receipt::rates(rates);
    let price = |name: &str| named.get(name).and_then(|price| price.as_str()).map(format::decimal);
    shown.extend(labels.into_iter().filter_map(|(label, name)| Some(fact(label, price(name)?))));
    shown
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
