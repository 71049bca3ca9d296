//! A new API key: the form, its making, and the one page that shows it.
//!
//! The form carries a random token from which handle and secret follow, so a form that is sent twice makes one
//! key. Between the form and the page the secret travels in a cookie that only we can open, for one member, for
//! minutes, and it is taken away with the page: reloading shows nothing and makes nothing.

use super::keys::{WHO_MANAGES, limit_text};
use super::models::Choice;
use crate::format;
use crate::frame::{Frame, page, page_with, see_other};
use crate::query;
use crate::shield::cookie;
use crate::snippets::{Snippets, starter_model};
use crate::trouble::{Answer, Trouble};
use crate::visit::{Fields, Post, Visit};
use accounts::api_key::{KeyKind, KeySecret, LimitReset, Pepper};
use accounts::ports::{Keys, NewKey, SignedIn};
use accounts::seal::Sealer;
use accounts::session::SessionToken;
use accounts::{FormKey, KeyRecord, Role};
use actix_web::cookie::time::Duration as CookieAge;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::Catalog;
use kernel::{Clock, Entropy, ExposeSecret as _, Moment, NanoUsd, StoreErrorKind};

const NAME_MAX: usize = 80;
/// For this long after its making a key can still be shown to who made it.
const SHOWN_SECONDS: i64 = 300;
const COOKIE: &str = "new_key";

/// The form with what was typed and what is wrong with it.
#[derive(Template)]
#[template(path = "key_new.html")]
struct NewKeyPage {
    frame: Frame,
    /// Sent back with the form; see the top of this file.
    once: String,
    name: String,
    limit: String,
    kinds: Vec<Choice>,
    resets: Vec<Choice>,
    expiries: Vec<Choice>,
    wrong: Wrong,
}

/// What is wrong with the form, by field.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wrong {
    name: String,
    kind: String,
    limit: String,
    reset: String,
    expires: String,
}

type Options = [(&'static str, &'static str)];

const KINDS: &Options =
    &[("model", "API key: calls models"), ("management", "Management key: manages keys, never calls models")];
const RESETS: &Options =
    &[("", "Never: a total"), ("daily", "Every day"), ("weekly", "Every Monday"), ("monthly", "Every month")];
const EXPIRIES: &Options =
    &[("", "Never"), ("1", "In a day"), ("7", "In a week"), ("30", "In 30 days"), ("365", "In a year")];

impl NewKeyPage {
    fn new(visit: &Visit, fields: &Fields, once: &SessionToken, wrong: Wrong) -> Self {
        let choices = |options: &Options, current: &str| {
            options.iter().map(|(value, label)| Choice::new(value, label, current)).collect()
        };
        Self {
            frame: visit.frame("Create an API key"),
            once: once.reveal().to_owned(),
            name: fields.text("name").to_owned(),
            limit: fields.text("limit").to_owned(),
            kinds: choices(KINDS, fields.text("kind")),
            resets: choices(RESETS, fields.text("reset")),
            expiries: choices(EXPIRIES, fields.text("expires")),
            wrong,
        }
    }
}

pub(crate) async fn form(visit: Visit, entropy: web::Data<dyn Entropy>) -> Answer {
    visit.may(Role::manages_keys, WHO_MANAGES)?;
    let once = SessionToken::draw(entropy.get_ref());
    page(&NewKeyPage::new(&visit, &Fields::default(), &once, Wrong::default()))
}

pub(crate) async fn create(
    post: Post,
    keys: web::Data<dyn Keys>,
    pepper: web::Data<Pepper>,
    sealer: web::Data<Sealer>,
    clock: web::Data<dyn Clock>,
    entropy: web::Data<dyn Entropy>,
) -> Answer {
    let visit = &post.visit;
    let member = visit.may(Role::manages_keys, WHO_MANAGES)?;
    let (once, now) = (post.fields.once()?, clock.now());
    let wish = match Wish::read(&post.fields) {
        Ok(wish) => wish,
        Err(wrong) => {
            let form = NewKeyPage::new(visit, &post.fields, &once, wrong);
            return page_with(StatusCode::UNPROCESSABLE_ENTITY, &form);
        }
    };
    let key = FormKey::of(&pepper, wish.kind, member.org.id, member.member.id, &once);
    let record = add(keys.get_ref(), member, wish.new_key(member, &pepper, &key, now)).await?;
    let age = now.signed_duration_since(record.created_at);
    if record.label != key.secret.label() || age >= chrono::Duration::seconds(SHOWN_SECONDS) {
        return see_other("/keys?done=made");
    }
    let until = record.created_at + chrono::Duration::seconds(SHOWN_SECONDS);
    let text = format!("{}:{}", until.timestamp(), key.secret.reveal());
    let sealed = sealer.seal(member.org.id, &purpose(member, &record.hash), &text, entropy.get_ref());
    let sealed = sealed.map_err(|error| Trouble::Broken(error.to_string()))?;
    let mut carrier = cookie(&visit.site, COOKIE, URL_SAFE_NO_PAD.encode(sealed), None);
    carrier.set_max_age(CookieAge::seconds(SHOWN_SECONDS));
    let mut answer = HttpResponse::SeeOther();
    answer.cookie(carrier).insert_header(("location", format!("/keys/{}/created", record.hash)));
    Ok(answer.finish())
}

/// The key of this form: made now, or by the same form a moment ago.
async fn add(keys: &dyn Keys, member: &SignedIn, new: NewKey) -> Result<KeyRecord, Trouble> {
    let known = || keys.key(member.org.id, &new.hash, new.at);
    if let Some(made) = known().await? {
        return Ok(made.key);
    }
    match keys.add_key(&new).await {
        Err(error) if error.kind == StoreErrorKind::Conflict => {
            // Both clicks of a double click were here; the other one was faster.
            known().await?.map(|made| made.key).ok_or_else(|| error.into())
        }
        made => Ok(made?),
    }
}

/// What a sealed secret is for: opened for another key or by another member it is nothing.
fn purpose(member: &SignedIn, hash: &str) -> String {
    format!("new_key:{}:{hash}", member.member.id)
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

pub(crate) async fn created(
    visit: Visit,
    request: HttpRequest,
    keys: web::Data<dyn Keys>,
    sealer: web::Data<Sealer>,
    catalog: web::Data<Catalog>,
    clock: web::Data<dyn Clock>,
) -> Answer {
    let member = visit.may(Role::manages_keys, WHO_MANAGES)?;
    let hash = request.match_info().query("hash");
    let found = keys.key(member.org.id, hash, clock.now()).await?.ok_or(Trouble::NotFound)?;
    let carried = request.cookie(&visit.site.cookie_name(COOKIE));
    let sealed = carried.and_then(|cookie| URL_SAFE_NO_PAD.decode(cookie.value()).ok());
    let opened = sealed.and_then(|sealed| open(&sealer, member, &found.key, &sealed, clock.now()));
    let Some(secret) = opened else { return see_other("/keys?done=shown") };
    let snapshot = catalog.snapshot();
    let model = starter_model(&snapshot).map_or("author/model", |model| model.slug.as_str());
    let mut answer = page(&shown(&visit, &found.key, &secret, model))?;
    if request.method() != Method::HEAD {
        let gone = cookie(&visit.site, COOKIE, String::new(), Some(0));
        answer.add_cookie(&gone).map_err(|error| Trouble::Broken(error.to_string()))?;
    }
    Ok(answer)
}

fn open(
    sealer: &Sealer,
    member: &SignedIn,
    record: &KeyRecord,
    sealed: &[u8],
    now: Moment,
) -> Option<KeySecret> {
    let text = sealer.open(member.org.id, &purpose(member, &record.hash), sealed).ok()?;
    let (until, secret) = text.expose_secret().split_once(':')?;
    let alive = now.timestamp() < until.parse().ok()?;
    KeySecret::parse(secret).ok().filter(|_| alive)
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

/// What the form asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    name: String,
    kind: KeyKind,
    limit: Option<NanoUsd>,
    reset: LimitReset,
    days: Option<i64>,
}

impl Wish {
    /// Every field is taken as it was sent or refused by name: nothing is guessed.
    fn read(fields: &Fields) -> Result<Self, Wrong> {
        let mut wrong = Wrong::default();
        let name = fields.text("name");
        if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
            wrong.name = format!("Give the key a name of at most {NAME_MAX} characters.");
        }
        let limit = read_limit(fields.text("limit")).map_err(|error| wrong.limit = error).ok().flatten();
        // A form without the field asks for an ordinary key.
        let kind = Some(fields.text("kind")).filter(|word| !word.is_empty()).unwrap_or("model");
        let kind = KeyKind::parse(kind);
        if kind.is_none() {
            wrong.kind = unknown("kind", fields);
        }
        let reset = LimitReset::parse(Some(fields.text("reset")).filter(|text| !text.is_empty()));
        if reset.is_none() {
            wrong.reset = unknown("reset", fields);
        }
        let days = fields.text("expires");
        let days = if days.is_empty() { Ok(None) } else { days.parse().map(Some) };
        let days = days.ok().filter(|days: &Option<i64>| days.is_none_or(|days| (1..=3650).contains(&days)));
        if days.is_none() {
            wrong.expires = unknown("expires", fields);
        }
        match (kind, reset, days) {
            (Some(kind), Some(reset), Some(days)) if wrong == Wrong::default() => {
                Ok(Self { name: name.to_owned(), kind, limit, reset, days })
            }
            _ => Err(wrong),
        }
    }

    fn new_key(self, member: &SignedIn, pepper: &Pepper, key: &FormKey, now: Moment) -> NewKey {
        NewKey {
            org: member.org.id,
            workspace: member.org.default_workspace,
            creator: member.member.id,
            kind: self.kind,
            digest: pepper.digest(&key.secret),
            hash: key.hash.clone(),
            name: self.name,
            label: key.secret.label(),
            // A management key spends nothing.
            limit: self.limit.filter(|_| self.kind == KeyKind::Model),
            limit_reset: self.reset,
            include_byok_in_limit: false,
            expires_at: self.days.map(|days| now + chrono::Duration::days(days)),
            at: now,
        }
    }
}

fn unknown(field: &str, fields: &Fields) -> String {
    let sent: String = fields.text(field).chars().take(40).collect();
    format!("“{sent}” is not one of the choices of the field “{field}”. Choose one from the list.")
}

/// An empty field is no limit; zero or less is a mistake, not "nothing".
fn read_limit(typed: &str) -> Result<Option<NanoUsd>, String> {
    if typed.trim().is_empty() {
        return Ok(None);
    }
    NanoUsd::parse_dollars(&query::plain_dollars(typed).unwrap_or_default())
        .ok()
        .filter(|limit| *limit > NanoUsd::ZERO && *limit <= NanoUsd::REDIS_MAX)
        .map(Some)
        .ok_or_else(|| "Enter a limit in dollars above zero, like 5 or 0.50, or leave it empty.".to_owned())
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
}
