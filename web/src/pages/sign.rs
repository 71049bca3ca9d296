//! Signing up, in and out with email and password. A wrong password and an unknown email give the same
//! answer after the same work.

use crate::attempts::Attempts;
use crate::frame::{Frame, page, page_with, see_other};
use crate::passwords::Passwords;
use crate::query::Query;
use crate::shield::cookie;
use crate::site::{Site, local_path};
use crate::trouble::{Answer, Trouble};
use crate::visit::{Post, Visit};
use accounts::Email;
use accounts::password;
use accounts::ports::{NewPerson, People, SignUp};
use accounts::session::{IDLE_DAYS, SessionToken};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use kernel::ids::PersonId;
use kernel::{Clock, Entropy, SecretString};

/// The form for both; `up` says which.
#[derive(Template)]
#[template(path = "sign.html")]
pub(crate) struct SignPage {
    pub frame: Frame,
    pub up: bool,
    pub staff: bool,
    pub next: String,
    pub email: String,
    pub email_error: String,
    pub password_error: String,
    /// About both fields together.
    pub form_error: String,
}

impl SignPage {
    pub(crate) fn new(visit: &Visit, up: bool, next: &str) -> Self {
        let title = if up { "Create an account" } else { "Sign in" };
        Self {
            frame: visit.frame(title),
            up,
            staff: false,
            next: local_path(next).unwrap_or_default().to_owned(),
            email: String::new(),
            email_error: String::new(),
            password_error: String::new(),
            form_error: String::new(),
        }
    }

    /// The other form, with the same way back.
    fn other_href(&self) -> String {
        let path = if self.up { "/sign-in" } else { "/sign-up" };
        Query::new().with("next", self.next.as_str()).on(path)
    }

    fn refused(&self) -> Answer {
        page_with(StatusCode::UNPROCESSABLE_ENTITY, self)
    }
}

/// Where the visitor wanted to go.
#[derive(serde::Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    pub next: String,
}

pub(crate) async fn sign_up_form(visit: Visit, query: web::Query<Next>) -> Answer {
    if visit.is_signed_in() {
        return see_other("/dashboard");
    }
    page(&SignPage::new(&visit, true, &query.next))
}

pub(crate) async fn sign_in_form(visit: Visit, query: web::Query<Next>) -> Answer {
    if visit.is_signed_in() {
        return see_other(local_path(&query.next).unwrap_or("/dashboard"));
    }
    page(&SignPage::new(&visit, false, &query.next))
}

pub(crate) async fn sign_up(
    post: Post,
    request: HttpRequest,
    people: web::Data<dyn People>,
    desk: SignDesk,
) -> Answer {
    let address = post.visit.site.client_address(&request);
    let mut form = SignPage::new(&post.visit, true, post.fields.text("next"));
    form.email = post.fields.text("email").to_owned();
    let secret = SecretString::from(post.fields.raw("password").to_owned());
    let email = Email::parse(&form.email);
    if let Err(error) = &email {
        form.email_error = sentence(&error.to_string());
    }
    if let Err(error) = password::check(&secret) {
        form.password_error = sentence(&error.to_string());
    }
    let Ok(email) = email else { return form.refused() };
    if !form.password_error.is_empty() {
        return form.refused();
    }
    desk.check(&address, email.as_str())?;
    let person = NewPerson {
        email: email.clone(),
        password_hash: desk.passwords.hash(secret).await?,
        at: desk.clock.now(),
    };
    match people.sign_up(&person).await? {
        SignUp::Done { person, .. } => {
            desk.attempts.succeeded(&address, email.as_str());
            let way = local_path(&form.next).unwrap_or("/dashboard");
            start_session(&post.visit, people.get_ref(), &desk, person, way).await
        }
        SignUp::EmailTaken => {
            form.email_error = "This address has an account already: sign in instead.".to_owned();
            form.refused()
        }
    }
}

pub(crate) async fn sign_in(
    post: Post,
    request: HttpRequest,
    people: web::Data<dyn People>,
    desk: SignDesk,
) -> Answer {
    let address = post.visit.site.client_address(&request);
    let mut form = SignPage::new(&post.visit, false, post.fields.text("next"));
    form.email = post.fields.text("email").to_owned();
    let Ok(email) = Email::parse(&form.email) else {
        form.email_error = "Enter an email address like name@example.com.".to_owned();
        return form.refused();
    };
    let found = people.credentials(&email).await?;
    desk.check(&address, email.as_str())?;
    let (person, stored) = found.unzip();
    let secret = SecretString::from(post.fields.raw("password").to_owned());
    let fits = desk.passwords.verify(secret, stored).await?;
    match person.filter(|_| fits) {
        Some(person) => {
            desk.attempts.succeeded(&address, email.as_str());
            let way = local_path(&form.next).unwrap_or("/dashboard");
            start_session(&post.visit, people.get_ref(), &desk, person, way).await
        }
        None => {
            form.form_error = wrong();
            form.refused()
        }
    }
}

/// The one answer to a wrong password and to an unknown email.
pub(crate) fn wrong() -> String {
    "Email and password do not fit together. Check both and try again.".to_owned()
}

pub(crate) async fn sign_out(post: Post, people: web::Data<dyn People>) -> Answer {
    if let Some(token) = post.visit.session() {
        people.end_session(&token.digest()).await?;
    }
    Ok(without_session(&post.visit.site, "/"))
}

/// What both sites need to check a password.
pub(crate) struct SignDesk {
    pub passwords: web::Data<Passwords>,
    pub attempts: web::Data<Attempts>,
    pub clock: web::Data<dyn Clock>,
    pub entropy: web::Data<dyn Entropy>,
}

impl SignDesk {
    /// Refuses an address that has guessed too often.
    pub(crate) fn check(&self, address: &str, email: &str) -> Result<(), Trouble> {
        self.attempts.enter(address, email).map_err(|seconds| Trouble::TooMany { seconds })
    }
}

impl actix_web::FromRequest for SignDesk {
    type Error = Trouble;
    type Future = std::future::Ready<Result<Self, Trouble>>;

    fn from_request(request: &HttpRequest, _payload: &mut actix_web::dev::Payload) -> Self::Future {
        let desk = || {
            Some(Self {
                passwords: request.app_data::<web::Data<Passwords>>()?.clone(),
                attempts: request.app_data::<web::Data<Attempts>>()?.clone(),
                clock: request.app_data::<web::Data<dyn Clock>>()?.clone(),
                entropy: request.app_data::<web::Data<dyn Entropy>>()?.clone(),
            })
        };
        std::future::ready(desk().ok_or_else(|| Trouble::Broken("signing in is not wired".to_owned())))
    }
}

/// A new token at every sign-in: a token planted before is worth nothing after.
async fn start_session(
    visit: &Visit,
    people: &dyn People,
    desk: &SignDesk,
    person: PersonId,
    way: &str,
) -> Answer {
    if let Some(old) = visit.session() {
        people.end_session(&old.digest()).await?;
    }
    let token = SessionToken::draw(desk.entropy.get_ref());
    let now = desk.clock.now();
    people.add_session(person, &token.digest(), now, now + chrono::Duration::days(IDLE_DAYS)).await?;
    Ok(with_session(&visit.site, &token, way))
}

pub(crate) fn with_session(site: &Site, token: &SessionToken, way: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .cookie(cookie(site, "session", token.reveal().to_owned(), Some(IDLE_DAYS)))
        .insert_header(("location", way))
        .finish()
}

pub(crate) fn without_session(site: &Site, way: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .cookie(cookie(site, "session", String::new(), Some(0)))
        .insert_header(("location", way))
        .finish()
}

/// An error's lower-case text as a sentence.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}
