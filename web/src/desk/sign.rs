//! Staff sign in with email and password; accounts are made on the command line.

use crate::frame::{page, page_with, see_other};
use crate::pages::sign::{Next, SignDesk, SignPage, with_session, without_session, wrong};
use crate::site::local_path;
use crate::trouble::Answer;
use crate::visit::{Post, Visit};
use accounts::Email;
use accounts::ports::StaffDesk;
use accounts::session::SessionToken;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use kernel::SecretString;

/// Staff sign in again every half day.
const SESSION_HOURS: i64 = 12;

fn empty(visit: &Visit, next: &str) -> SignPage {
    let mut form = SignPage::new(visit, false, next);
    form.staff = true;
    form
}

pub(crate) async fn form(visit: Visit, query: web::Query<Next>) -> Answer {
    if visit.is_signed_in() {
        return see_other("/drafts");
    }
    page(&empty(&visit, &query.next))
}

pub(crate) async fn sign_in(
    post: Post,
    request: HttpRequest,
    staff: web::Data<dyn StaffDesk>,
    desk: SignDesk,
) -> Answer {
    let address = post.visit.site.client_address(&request);
    let mut form = empty(&post.visit, post.fields.text("next"));
    form.email = post.fields.text("email").to_owned();
    let Ok(email) = Email::parse(&form.email) else {
        form.email_error = "Enter an email address like name@example.com.".to_owned();
        return page_with(StatusCode::UNPROCESSABLE_ENTITY, &form);
    };
    let (id, stored) = staff.staff_credentials(&email).await?.unzip();
    desk.check(&address, email.as_str())?;
    let secret = SecretString::from(post.fields.raw("password").to_owned());
    let fits = desk.passwords.verify(secret, stored).await?;
    let Some(id) = id.filter(|_| fits) else {
        form.form_error = wrong();
        return page_with(StatusCode::UNPROCESSABLE_ENTITY, &form);
    };
    desk.attempts.succeeded(&address, email.as_str());
    if let Some(old) = post.visit.session() {
        staff.end_staff_session(&old.digest()).await?;
    }
    let token = SessionToken::draw(desk.entropy.get_ref());
    let now = desk.clock.now();
    let until = now + chrono::Duration::hours(SESSION_HOURS);
    staff.add_staff_session(id, &token.digest(), now, until).await?;
    Ok(with_session(&post.visit.site, &token, local_path(&form.next).unwrap_or("/drafts")))
}

pub(crate) async fn sign_out(post: Post, staff: web::Data<dyn StaffDesk>) -> Answer {
    if let Some(token) = post.visit.session() {
        staff.end_staff_session(&token.digest()).await?;
    }
    Ok(without_session(&post.visit.site, "/sign-in"))
}
