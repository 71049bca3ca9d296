//! API keys: list, disable, delete after a question. Making one is `new_key`.

use crate::format;
use crate::frame::{Frame, Notice, page, see_other};
use crate::trouble::{Answer, Trouble};
use crate::visit::{Post, Visit};
use accounts::Role;
use accounts::api_key::{KeyKind, LimitReset};
use accounts::ports::{KeyChange, KeyUsage, Keys};
use actix_web::web;
use askama::Template;
use kernel::{Clock, Moment, NanoUsd};

pub(crate) const WHO_MANAGES: &str =
    "Owners, admins and developers manage keys. Ask one of them, or ask for another role.";
const LIST: u32 = 200;

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

pub(crate) fn limit_text(limit: NanoUsd, reset: LimitReset) -> String {
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
        "made" => Some(Notice::good(
            "That form has made its key already, and a key is shown only once. If you did not copy it, delete it and create another.",
        )),
        "shown" => Some(Notice::good(
            "That key was shown already, and a key is shown only once. If you did not copy it, delete it and create another.",
        )),
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
    fn a_meter_is_full_at_its_limit_and_never_over() {
        for (used, limit, expected) in [(0, 100, 0), (50, 100, 50), (250, 100, 100), (1, 0, 100)] {
            assert_eq!(percent(NanoUsd::new(used), NanoUsd::new(limit)), expected);
        }
    }
}
