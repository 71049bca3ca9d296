//! The customer's own keys at providers: add (sealed, never shown again), list, delete.

use super::keys::{ConfirmDeletePage, WHO_MANAGES};
use super::models::Choice;
use crate::format;
use crate::frame::{Frame, Notice, page, page_with, see_other};
use crate::trouble::{Answer, Trouble};
use crate::visit::{Fields, Post, Visit};
use accounts::Role;
use accounts::ports::{NewProviderKey, ProviderKey, ProviderKeys};
use accounts::seal::Sealer;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use billing::fees::{Allowance, ByokFee};
use catalog::{Catalog, Provider, Snapshot};
use kernel::ids::{OrgId, ProviderKeyId};
use kernel::{Clock, Entropy};

/// The purpose sealed with a key, so that it opens as nothing else.
pub(crate) const PURPOSE: &str = "provider_key";
const SECRET_MAX: usize = 4096;

struct Row {
    id: String,
    provider: String,
    name: String,
    hint: String,
    disabled: bool,
    fallback: bool,
    added: String,
}

#[derive(Template)]
#[template(path = "provider_keys.html")]
struct ProviderKeysPage {
    frame: Frame,
    rows: Vec<Row>,
    providers: Vec<Choice>,
    name: String,
    /// The box is ticked unless the visitor cleared it.
    fallback: bool,
    provider_error: String,
    secret_error: String,
    allowance: String,
    rate: String,
    may_manage: bool,
}

/// The free allowance in words.
pub(crate) fn allowance(fee: &ByokFee) -> String {
    match fee.allowance {
        Allowance::Requests(requests) => format!("{} requests a month", format::count(requests)),
        Allowance::ListPrice(amount) => format!("{} of list price a month", format::cents(amount)),
    }
}

/// What was just done.
#[derive(serde::Deserialize)]
pub(crate) struct Done {
    #[serde(default)]
    done: String,
}

/// What the page reads.
struct Sources<'a> {
    keys: &'a dyn ProviderKeys,
    catalog: &'a Catalog,
    fee: &'a ByokFee,
}

pub(crate) async fn list(
    visit: Visit,
    query: web::Query<Done>,
    keys: web::Data<dyn ProviderKeys>,
    catalog: web::Data<Catalog>,
    fee: web::Data<ByokFee>,
) -> Answer {
    let sources = Sources { keys: keys.get_ref(), catalog: &catalog, fee: &fee };
    let mut shown = provider_keys_page(&visit, &sources, &Fields::default()).await?;
    shown.fallback = true;
    shown.frame.notice = match query.done.as_str() {
        "added" => Some(Notice::good("The key is stored. Calls to this provider use it from now on.")),
        "deleted" => Some(Notice::good("The key is deleted. Calls to this provider use your credits again.")),
        _ => None,
    };
    page(&shown)
}

async fn provider_keys_page(
    visit: &Visit,
    from: &Sources<'_>,
    fields: &Fields,
) -> Result<ProviderKeysPage, Trouble> {
    let member = visit.signed()?;
    let snapshot = from.catalog.snapshot();
    let found = from.keys.provider_keys(member.org.id).await?;
    Ok(ProviderKeysPage {
        frame: visit.frame("Provider keys"),
        rows: found.iter().map(|key| row(key, &snapshot)).collect(),
        providers: choices(&snapshot, fields.text("provider")),
        name: fields.text("name").to_owned(),
        fallback: fields.ticked("fallback"),
        provider_error: String::new(),
        secret_error: String::new(),
        allowance: allowance(from.fee),
        rate: format::basis_points(from.fee.basis_points),
        may_manage: member.member.role.manages_keys(),
    })
}

fn row(key: &ProviderKey, snapshot: &Snapshot) -> Row {
    Row {
        id: key.id.to_string(),
        provider: snapshot.provider(&key.provider).map_or_else(|| key.provider.clone(), |p| p.name.clone()),
        name: key.name.clone(),
        hint: key.hint.clone(),
        disabled: key.disabled,
        fallback: key.fallback,
        added: format::date(key.created_at),
    }
}

/// Whether a provider issues keys at all: an operator's own server without one would take any text.
fn takes_keys(provider: &Provider) -> bool {
    provider.credential_env.is_some()
}

fn choices(snapshot: &Snapshot, current: &str) -> Vec<Choice> {
    let serving = super::providers::serving(snapshot);
    std::iter::once(Choice::new("", "Choose a provider", current))
        .chain(
            serving
                .iter()
                .filter(|(p, _)| takes_keys(p))
                .map(|(p, _)| Choice::new(&p.slug, &p.name, current)),
        )
        .collect()
}

pub(crate) async fn create(
    post: Post,
    keys: web::Data<dyn ProviderKeys>,
    catalog: web::Data<Catalog>,
    fee: web::Data<ByokFee>,
    desk: SealDesk,
) -> Answer {
    let member = post.visit.may(Role::manages_keys, WHO_MANAGES)?;
    let known = catalog.snapshot().provider(post.fields.text("provider")).is_some_and(|p| takes_keys(p));
    let secret = post.fields.text("secret");
    let plausible = (8..=SECRET_MAX).contains(&secret.len()) && secret.chars().all(|c| c.is_ascii_graphic());
    if !known || !plausible {
        let sources = Sources { keys: keys.get_ref(), catalog: &catalog, fee: &fee };
        let mut form = provider_keys_page(&post.visit, &sources, &post.fields).await?;
        if !known {
            form.provider_error = "Choose the provider that issued the key.".to_owned();
        }
        if !plausible {
            form.secret_error =
                "Paste the whole key as the provider shows it, without spaces. It was not kept.".to_owned();
        }
        return page_with(StatusCode::UNPROCESSABLE_ENTITY, &form);
    }
    keys.add_provider_key(&desk.seal(member.org.id, &post.fields, secret)?).await?;
    see_other("/provider-keys?done=added")
}

/// What sealing takes.
pub(crate) struct SealDesk {
    sealer: web::Data<Sealer>,
    clock: web::Data<dyn Clock>,
    entropy: web::Data<dyn Entropy>,
}

impl SealDesk {
    fn seal(&self, org: OrgId, fields: &Fields, secret: &str) -> Result<NewProviderKey, Trouble> {
        let sealed = self.sealer.seal(org, PURPOSE, secret, self.entropy.get_ref());
        let provider = fields.text("provider").to_owned();
        let named: String = fields.text("name").chars().filter(|c| !c.is_control()).take(80).collect();
        let hint: String = secret.chars().skip(secret.chars().count().saturating_sub(4)).collect();
        Ok(NewProviderKey {
            org,
            name: if named.is_empty() { provider.clone() } else { named },
            provider,
            hint,
            sealed: sealed.map_err(|error| Trouble::Broken(error.to_string()))?,
            fallback: fields.ticked("fallback"),
            at: self.clock.now(),
        })
    }
}

impl actix_web::FromRequest for SealDesk {
    type Error = Trouble;
    type Future = std::future::Ready<Result<Self, Trouble>>;

    fn from_request(
        request: &actix_web::HttpRequest,
        _payload: &mut actix_web::dev::Payload,
    ) -> Self::Future {
        let desk = || {
            Some(Self {
                sealer: request.app_data::<web::Data<Sealer>>()?.clone(),
                clock: request.app_data::<web::Data<dyn Clock>>()?.clone(),
                entropy: request.app_data::<web::Data<dyn Entropy>>()?.clone(),
            })
        };
        std::future::ready(desk().ok_or_else(|| Trouble::Broken("sealing is not wired".to_owned())))
    }
}

pub(crate) async fn delete_form(
    visit: Visit,
    path: web::Path<String>,
    keys: web::Data<dyn ProviderKeys>,
    catalog: web::Data<Catalog>,
) -> Answer {
    let member = visit.may(Role::manages_keys, WHO_MANAGES)?;
    let id: ProviderKeyId = path.parse().map_err(|_not_an_id| Trouble::NotFound)?;
    let found = keys.provider_keys(member.org.id).await?;
    let key = found.iter().find(|key| key.id == id).ok_or(Trouble::NotFound)?;
    let row = row(key, &catalog.snapshot());
    page(&ConfirmDeletePage {
        frame: visit.frame("Delete a provider key"),
        what: "provider key",
        name: format!("{} ({})", row.name, row.provider),
        detail: format!("…{}", row.hint),
        consequence: "Calls to this provider are paid from your credits from now on. The key itself stays valid at the provider: revoke it there if it leaked.",
        action: format!("/provider-keys/{id}/delete"),
        back: "/provider-keys",
    })
}

pub(crate) async fn delete(post: Post, path: web::Path<String>, keys: web::Data<dyn ProviderKeys>) -> Answer {
    let member = post.visit.may(Role::manages_keys, WHO_MANAGES)?;
    let id: ProviderKeyId = path.parse().map_err(|_not_an_id| Trouble::NotFound)?;
    if keys.delete_provider_key(member.org.id, id).await? {
        see_other("/provider-keys?done=deleted")
    } else {
        Err(Trouble::NotFound)
    }
}
