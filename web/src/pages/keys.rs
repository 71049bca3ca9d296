//! API keys: list, create (shown once), disable, delete after a question.

use super::models::Choice;
use crate::format;
use crate::frame::{Frame, Notice, page, page_with, see_other};
use crate::snippets::{Snippets, starter_model};
use crate::trouble::{Answer, Trouble};
use crate::visit::{Fields, Post, Visit};
use accounts::api_key::{KeyKind, KeySecret, LimitReset, Pepper};
use accounts::ports::{KeyChange, KeyUsage, Keys, NewKey, SignedIn};
use accounts::{KeyRecord, Role};
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use catalog::Catalog;
use kernel::{Clock, Entropy, Moment, NanoUsd};

pub(crate) const WHO_MANAGES: &str =
    "Owners, admins and developers manage keys. Ask one of them, or ask for another role.";
const LIST: u32 = 200;
const NAME_MAX: usize = 80;

/// A key in the list.
struct Row {
    name: String,
    label: String,
    hash: String,
    management: bool,
    state: &'static str,
    tone: &'static str,
    disabled: bool,
    usage: String,
    usage_exact: String,
    limit: String,
    /// Spent share of the limit for the meter, 0 to 100; `None` without a limit.
    used_percent: Option<u64>,
    last_used: String,
    expires: String,
}

impl Row {
    fn new(entry: &KeyUsage, now: Moment) -> Self {
        let key = &entry.key;
        let (state, tone) = match key.check(key.kind, now) {
            Ok(()) => ("Active", "good"),
            Err(accounts::api_key::KeyRefusal::Expired) => ("Expired", "quiet"),
            Err(_) => ("Disabled", "warn"),
        };
        Self {
            name: key.name.clone(),
            label: key.label.clone(),
            hash: key.hash.clone(),
            management: key.kind == KeyKind::Management,
            state,
            tone,
            disabled: key.disabled,
            usage: format::spend(entry.usage),
            usage_exact: format::exact(entry.usage),
            limit: key
                .limit
                .map_or_else(|| "No limit".to_owned(), |limit| limit_text(limit, key.limit_reset)),
            used_percent: key.limit.map(|limit| percent(in_period(entry), limit)),
            last_used: entry.last_used_at.map_or_else(|| "Never".to_owned(), format::time),
            expires: key.expires_at.map(format::date).unwrap_or_default(),
        }
    }

    fn meter(&self) -> u64 {
        self.used_percent.unwrap_or(0)
    }
}

fn limit_text(limit: NanoUsd, reset: LimitReset) -> String {
    let period = match reset {
        LimitReset::None => "in total",
        LimitReset::Daily => "a day",
        LimitReset::Weekly => "a week",
        LimitReset::Monthly => "a month",
    };
    format!("{} {period}", format::exact(limit))
}

/// What counts against the limit in its current period.
fn in_period(entry: &KeyUsage) -> NanoUsd {
    match entry.key.limit_reset {
        LimitReset::None => entry.usage,
        LimitReset::Daily => entry.usage_daily,
        LimitReset::Weekly => entry.usage_weekly,
        LimitReset::Monthly => entry.usage_monthly,
    }
}

/// The length of a meter, not an amount: 0 to 100.
fn percent(used: NanoUsd, limit: NanoUsd) -> u64 {
    let used = u128::from(used.get().unsigned_abs()) * 100;
    used.checked_div(u128::from(limit.get().unsigned_abs()))
        .and_then(|percent| u64::try_from(percent.min(100)).ok())
        .unwrap_or(100)
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    frame: Frame,
    rows: Vec<Row>,
    api_base: String,
    may_manage: bool,
}

/// What was just done, named in the address after a redirect.
#[derive(serde::Deserialize)]
pub(crate) struct Done {
    #[serde(default)]
    done: String,
}

pub(crate) async fn list(
    visit: Visit,
    query: web::Query<Done>,
    keys: web::Data<dyn Keys>,
    clock: web::Data<dyn Clock>,
) -> Answer {
    let member = visit.signed()?;
    let now = clock.now();
    let found = keys.keys(member.org.id, 0, LIST, now).await?;
    let notice = match query.done.as_str() {
        "disabled" => Some(Notice::good("The key is disabled: calls with it are refused from now on.")),
        "enabled" => Some(Notice::good("The key works again.")),
        "deleted" => Some(Notice::good("The key is deleted. Its past calls stay in the logs.")),
        _ => None,
    };
    page(&KeysPage {
        frame: visit.frame("API keys").noting(notice),
        rows: found.iter().map(|entry| Row::new(entry, now)).collect(),
        api_base: visit.site.api_base.clone(),
        may_manage: member.member.role.manages_keys(),
    })
}

/// The form for a new key with what was typed and what is wrong with it.
#[derive(Template)]
#[template(path = "key_new.html")]
struct NewKeyPage {
    frame: Frame,
    name: String,
    name_error: String,
    limit: String,
    limit_error: String,
    kinds: Vec<Choice>,
    resets: Vec<Choice>,
    expiries: Vec<Choice>,
}

const KINDS: [(&str, &str); 2] =
    [("model", "API key: calls models"), ("management", "Management key: manages keys, never calls models")];
const RESETS: [(&str, &str); 4] =
    [("", "Never: a total"), ("daily", "Every day"), ("weekly", "Every Monday"), ("monthly", "Every month")];
const EXPIRIES: [(&str, &str); 5] =
    [("", "Never"), ("1", "In a day"), ("7", "In a week"), ("30", "In 30 days"), ("365", "In a year")];

impl NewKeyPage {
    fn new(visit: &Visit, fields: &Fields) -> Self {
        let choices = |options: &[(&str, &str)], current: &str| {
            options.iter().map(|(value, label)| Choice::new(value, label, current)).collect()
        };
        Self {
            frame: visit.frame("Create an API key"),
            name: fields.text("name").to_owned(),
            name_error: String::new(),
            limit: fields.text("limit").to_owned(),
            limit_error: String::new(),
            kinds: choices(&KINDS, fields.text("kind")),
            resets: choices(&RESETS, fields.text("reset")),
            expiries: choices(&EXPIRIES, fields.text("expires")),
        }
    }
}

pub(crate) async fn new_form(visit: Visit) -> Answer {
    visit.may(Role::manages_keys, WHO_MANAGES)?;
    page(&NewKeyPage::new(&visit, &Fields::default()))
}

/// The one page that shows a key.
#[derive(Template)]
#[template(path = "key_shown.html")]
struct KeyShownPage {
    frame: Frame,
    name: String,
    secret: String,
    limit: String,
    expires: String,
    snippets: Snippets,
    /// It manages keys and calls nothing.
    management: bool,
    api_base: String,
    /// Without credits the first call would be refused.
    needs_credits: bool,
}

pub(crate) async fn create(
    post: Post,
    keys: web::Data<dyn Keys>,
    pepper: web::Data<Pepper>,
    catalog: web::Data<Catalog>,
    clock: web::Data<dyn Clock>,
    entropy: web::Data<dyn Entropy>,
) -> Answer {
    let visit = &post.visit;
    let member = visit.may(Role::manages_keys, WHO_MANAGES)?;
    // An unknown word makes an ordinary key.
    let kind = KeyKind::parse(post.fields.text("kind")).unwrap_or(KeyKind::Model);
    let secret = KeySecret::draw(kind, entropy.get_ref());
    let hash = draw_hash(entropy.get_ref());
    let new = match read(&post.fields, member, &secret, &pepper, hash, clock.now()) {
        Ok(new) => new,
        Err(wrong) => {
            let mut form = NewKeyPage::new(visit, &post.fields);
            form.name_error = wrong.name;
            form.limit_error = wrong.limit;
            return page_with(StatusCode::UNPROCESSABLE_ENTITY, &form);
        }
    };
    let record = keys.add_key(&new).await?;
    let snapshot = catalog.snapshot();
    let model = starter_model(&snapshot).map_or("author/model", |model| model.slug.as_str());
    page(&shown(visit, &record, &secret, model))
}

fn shown(visit: &Visit, record: &KeyRecord, secret: &KeySecret, model: &str) -> KeyShownPage {
    let limit = record.limit.map(|limit| limit_text(limit, record.limit_reset));
    KeyShownPage {
        frame: visit.frame("Your new API key"),
        name: record.name.clone(),
        secret: secret.reveal().to_owned(),
        limit: limit.unwrap_or_else(|| "No limit of its own".to_owned()),
        expires: record.expires_at.map_or_else(|| "Never".to_owned(), format::date),
        snippets: Snippets::new(&visit.site.api_base, Some(secret.reveal()), model),
        management: secret.kind() == KeyKind::Management,
        api_base: visit.site.api_base.clone(),
        needs_credits: secret.kind() == KeyKind::Model
            && visit.balance.is_some_and(|balance| balance.balance <= NanoUsd::ZERO),
    }
}

/// What is wrong with the form, by field.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wrong {
    name: String,
    limit: String,
}

fn read(
    fields: &Fields,
    member: &SignedIn,
    secret: &KeySecret,
    pepper: &Pepper,
    hash: String,
    now: Moment,
) -> Result<NewKey, Wrong> {
    let name = fields.text("name");
    let mut wrong = Wrong::default();
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        wrong.name = format!("Give the key a name of at most {NAME_MAX} characters.");
    }
    let limit = read_limit(fields.text("limit")).map_err(|error| wrong.limit = error).ok().flatten();
    if wrong != Wrong::default() {
        return Err(wrong);
    }
    let reset = Some(fields.text("reset")).filter(|text| !text.is_empty());
    let days: Option<i64> = fields.text("expires").parse().ok().filter(|days| (1..=3650).contains(days));
    Ok(NewKey {
        org: member.org.id,
        workspace: member.org.default_workspace,
        creator: member.member.id,
        kind: secret.kind(),
        digest: pepper.digest(secret),
        hash,
        name: name.to_owned(),
        label: secret.label(),
        // A management key spends nothing.
        limit: limit.filter(|_| secret.kind() == KeyKind::Model),
        limit_reset: LimitReset::parse(reset).unwrap_or(LimitReset::None),
        include_byok_in_limit: false,
        expires_at: days.map(|days| now + chrono::Duration::days(days)),
        at: now,
    })
}

/// An empty field is no limit; zero or less is a mistake, not "nothing".
fn read_limit(typed: &str) -> Result<Option<NanoUsd>, String> {
    if typed.trim().is_empty() {
        return Ok(None);
    }
    NanoUsd::parse_dollars(&crate::query::plain_dollars(typed).unwrap_or_default())
        .ok()
        .filter(|limit| *limit > NanoUsd::ZERO && *limit <= NanoUsd::REDIS_MAX)
        .map(Some)
        .ok_or_else(|| "Enter a limit in dollars above zero, like 5 or 0.50, or leave it empty.".to_owned())
}

fn draw_hash(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) async fn disable(
    post: Post,
    path: web::Path<String>,
    keys: web::Data<dyn Keys>,
    clock: web::Data<dyn Clock>,
) -> Answer {
    switch(&post, &path, keys.get_ref(), clock.now(), true).await?;
    see_other("/keys?done=disabled")
}

pub(crate) async fn enable(
    post: Post,
    path: web::Path<String>,
    keys: web::Data<dyn Keys>,
    clock: web::Data<dyn Clock>,
) -> Answer {
    switch(&post, &path, keys.get_ref(), clock.now(), false).await?;
    see_other("/keys?done=enabled")
}

async fn switch(
    post: &Post,
    hash: &str,
    keys: &dyn Keys,
    now: Moment,
    disabled: bool,
) -> Result<(), Trouble> {
    let member = post.visit.may(Role::manages_keys, WHO_MANAGES)?;
    let change = KeyChange { disabled: Some(disabled), ..KeyChange::default() };
    keys.change_key(member.org.id, hash, &change, now).await?.ok_or(Trouble::NotFound)?;
    Ok(())
}

/// The question before deleting.
#[derive(Template)]
#[template(path = "confirm_delete.html")]
pub(crate) struct ConfirmDeletePage {
    pub frame: Frame,
    pub what: &'static str,
    pub name: String,
    pub detail: String,
    pub consequence: &'static str,
    pub action: String,
    pub back: &'static str,
}

pub(crate) async fn delete_form(
    visit: Visit,
    path: web::Path<String>,
    keys: web::Data<dyn Keys>,
    clock: web::Data<dyn Clock>,
) -> Answer {
    let member = visit.may(Role::manages_keys, WHO_MANAGES)?;
    let found = keys.key(member.org.id, &path, clock.now()).await?.ok_or(Trouble::NotFound)?;
    page(&ConfirmDeletePage {
        frame: visit.frame("Delete a key"),
        what: "API key",
        name: found.key.name.clone(),
        detail: found.key.label.clone(),
        consequence: "Programs that use it are refused at once. This cannot be undone; its past calls stay in the logs. To stop a key for a while, disable it instead.",
        action: format!("/keys/{}/delete", found.key.hash),
        back: "/keys",
    })
}

pub(crate) async fn delete(
    post: Post,
    path: web::Path<String>,
    keys: web::Data<dyn Keys>,
    clock: web::Data<dyn Clock>,
) -> Answer {
    let member = post.visit.may(Role::manages_keys, WHO_MANAGES)?;
    if keys.delete_key(member.org.id, &path, clock.now()).await? {
        see_other("/keys?done=deleted")
    } else {
        Err(Trouble::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_dollars_above_zero_or_empty() {
        assert_eq!(read_limit(""), Ok(None));
        assert_eq!(read_limit("$5"), Ok(Some(NanoUsd::new(5_000_000_000))));
        assert_eq!(read_limit("1,000.25"), Ok(Some(NanoUsd::new(1_000_250_000_000))));
        for typed in ["0", "-1", "five", "0.0000000001", "99999999999"] {
            assert!(read_limit(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn a_meter_is_full_at_its_limit_and_never_over() {
        for (used, limit, expected) in [(0, 100, 0), (50, 100, 50), (250, 100, 100), (1, 0, 100)] {
            assert_eq!(percent(NanoUsd::new(used), NanoUsd::new(limit)), expected);
        }
    }
}
