//! Who is looking at a page: session, role, balance and form token, as an extractor. And the forms they
//! send, which count only with our token and from our own origin.

use crate::format;
use crate::frame::{BalanceText, Basis, Frame, Viewer};
use crate::site::{Realm, Site};
use crate::trouble::Trouble;
use accounts::ports::{People, SignedIn, Staff, StaffDesk};
use accounts::{Role, session::SessionToken};
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use billing::Credits;
use billing::engine::Balance;
use kernel::{Clock, Entropy};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

/// Largest form of the public site.
pub(crate) const FORM_BYTES: usize = 64 * 1024;

/// Told to the shield: this browser has no form cookie yet.
#[derive(Clone)]
pub(crate) struct FreshFormCookie(pub String);

/// Who speaks.
#[derive(Debug, Clone)]
enum Speaker {
    Nobody,
    Member(Box<SignedIn>),
    Staff(Staff),
}

/// One request of one visitor.
pub(crate) struct Facts {
    pub site: web::Data<Site>,
    basis: Basis,
    speaker: Speaker,
    /// The live session's token; forms of nobody are bound to a cookie of their own.
    session: Option<SessionToken>,
    form_secret: SessionToken,
    pub balance: Option<Balance>,
}

/// The extractor. Cheap to clone; the second one in a request costs nothing.
#[derive(Clone)]
pub(crate) struct Visit(Rc<Facts>);

impl std::ops::Deref for Visit {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

impl Facts {
    /// The frame of a page with this title.
    pub(crate) fn frame(&self, title: &str) -> Frame {
        Frame::new(title, &self.basis, &self.site, self.form_secret.csrf(), self.viewer())
    }

    fn viewer(&self) -> Option<Viewer> {
        match &self.speaker {
            Speaker::Nobody => None,
            Speaker::Member(member) => {
                Some(Viewer { email: member.email.clone(), balance: Some(self.balance_text()) })
            }
            Speaker::Staff(staff) => Some(Viewer { email: staff.email.clone(), balance: None }),
        }
    }

    pub(crate) fn balance_text(&self) -> BalanceText {
        self.balance.map_or_else(BalanceText::default, |balance| BalanceText {
            known: true,
            cents: format::cents(balance.balance),
            exact: format::exact(balance.balance),
        })
    }

    pub(crate) fn member(&self) -> Option<&SignedIn> {
        match &self.speaker {
            Speaker::Member(member) => Some(member),
            Speaker::Nobody | Speaker::Staff(_) => None,
        }
    }

    /// The member, or the way to the sign-in page and back.
    pub(crate) fn signed(&self) -> Result<&SignedIn, Trouble> {
        self.member().ok_or_else(|| self.to_sign_in())
    }

    /// The member, when their role allows it; else `who` says whose role does.
    pub(crate) fn may(&self, rule: fn(Role) -> bool, who: &'static str) -> Result<&SignedIn, Trouble> {
        let member = self.signed()?;
        if rule(member.member.role) { Ok(member) } else { Err(Trouble::Forbidden(who)) }
    }

    pub(crate) fn staff(&self) -> Result<&Staff, Trouble> {
        match &self.speaker {
            Speaker::Staff(staff) => Ok(staff),
            Speaker::Nobody | Speaker::Member(_) => Err(self.to_sign_in()),
        }
    }

    pub(crate) fn is_signed_in(&self) -> bool {
        !matches!(self.speaker, Speaker::Nobody)
    }

    /// The token of the session this request came with, live or not, so that it can be ended.
    pub(crate) fn session(&self) -> Option<&SessionToken> {
        self.session.as_ref()
    }

    fn to_sign_in(&self) -> Trouble {
        Trouble::SignIn { next: self.basis.here.clone() }
    }
}

impl FromRequest for Visit {
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Trouble>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { visit(&request).await })
    }
}

async fn visit(request: &HttpRequest) -> Result<Visit, Trouble> {
    let known = request.extensions().get::<Visit>().cloned();
    if let Some(known) = known {
        return Ok(known);
    }
    let site = data::<Site>(request)?;
    let basis = request.extensions().get::<Basis>().cloned();
    let basis = basis.ok_or_else(|| Trouble::Broken("a page outside the shield".to_owned()))?;
    let token = token_in(request, &site.cookie_name("session"));
    let speaker = match &token {
        Some(token) => speaker(request, site.realm, token).await?,
        None => Speaker::Nobody,
    };
    let form_secret = match (&speaker, &token) {
        (Speaker::Member(_) | Speaker::Staff(_), Some(token)) => token.clone(),
        _ => anonymous_secret(request, &site)?,
    };
    let balance = match &speaker {
        Speaker::Member(member) => balance(request, member).await?,
        Speaker::Nobody | Speaker::Staff(_) => None,
    };
    let visit = Visit(Rc::new(Facts { site, basis, speaker, session: token, form_secret, balance }));
    request.extensions_mut().insert(visit.frame(""));
    request.extensions_mut().insert(visit.clone());
    Ok(visit)
}

async fn speaker(request: &HttpRequest, realm: Realm, token: &SessionToken) -> Result<Speaker, Trouble> {
    let now = data::<dyn Clock>(request)?.now();
    Ok(match realm {
        Realm::Public => {
            let member = data::<dyn People>(request)?.session(&token.digest(), now).await?;
            member.map_or(Speaker::Nobody, |member| Speaker::Member(Box::new(member)))
        }
        Realm::Staff => {
            let staff = data::<dyn StaffDesk>(request)?.staff_session(&token.digest(), now).await?;
            staff.map_or(Speaker::Nobody, Speaker::Staff)
        }
    })
}

/// The header shows the balance; a page is still good without it.
async fn balance(request: &HttpRequest, member: &SignedIn) -> Result<Option<Balance>, Trouble> {
    match data::<Credits>(request)?.balance(member.org.account).await {
        Ok(balance) => Ok(Some(balance)),
        Err(error) => {
            tracing::warn!(error = %error, "a page is shown without its balance");
            Ok(None)
        }
    }
}

fn anonymous_secret(request: &HttpRequest, site: &Site) -> Result<SessionToken, Trouble> {
    if let Some(known) = token_in(request, &site.cookie_name("form")) {
        return Ok(known);
    }
    let fresh = SessionToken::draw(data::<dyn Entropy>(request)?.get_ref());
    request.extensions_mut().insert(FreshFormCookie(fresh.reveal().to_owned()));
    Ok(fresh)
}

fn token_in(request: &HttpRequest, name: &str) -> Option<SessionToken> {
    request.cookie(name).and_then(|cookie| SessionToken::parse(cookie.value()))
}

fn data<T: ?Sized + 'static>(request: &HttpRequest) -> Result<web::Data<T>, Trouble> {
    let found = request.app_data::<web::Data<T>>().cloned();
    found.ok_or_else(|| Trouble::Broken(format!("not wired: {}", std::any::type_name::<T>())))
}

/// The fields of a form, as they were typed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first value of a name, trimmed; empty when there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// Untrimmed: for passwords and pasted files.
    pub(crate) fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    /// The random token of a form that acts once, however often it is sent.
    pub(crate) fn once(&self) -> Result<SessionToken, Trouble> {
        SessionToken::parse(self.raw("once")).ok_or(Trouble::ForeignForm)
    }

    /// Whether a box is ticked.
    pub(crate) fn ticked(&self, name: &str) -> bool {
        !self.raw(name).is_empty()
    }
}

/// A form sent by this site's own page: origin and token were checked.
pub(crate) struct Post {
    pub visit: Visit,
    pub fields: Fields,
}

impl FromRequest for Post {
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Trouble>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let mut payload = payload.take();
        Box::pin(async move {
            let visit = visit(&request).await?;
            if !from_own_origin(&request, &visit.site) {
                return Err(Trouble::ForeignForm);
            }
            let form = web::Form::<Vec<(String, String)>>::from_request(&request, &mut payload);
            let form = tokio::time::timeout(visit.site.form_patience, form).await;
            let form = form.map_err(|_elapsed| Trouble::Slow)?;
            let fields = Fields(form.map_err(|error| too_much(&error))?.into_inner());
            if !visit.form_secret.csrf_matches(fields.raw("csrf")) {
                return Err(Trouble::ForeignForm);
            }
            Ok(Self { visit, fields })
        })
    }
}

/// Browsers send `Origin` with every form; without it only a same-origin fetch mark is believed.
fn from_own_origin(request: &HttpRequest, site: &Site) -> bool {
    let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or("null"));
    match (text(header::ORIGIN.as_str()), text("sec-fetch-site")) {
        (Some(origin), _) => site.is_own_origin(origin),
        (None, Some(relation)) => relation == "same-origin",
        (None, None) => true,
    }
}

fn too_much(error: &actix_web::Error) -> Trouble {
    Trouble::Invalid(format!("The form could not be read: {error}."))
}
