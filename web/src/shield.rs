//! Around every request of a site: draws the nonce, sets the headers that protect the visitor, and turns
//! trouble into a page. Decides nothing about who may do what.

use crate::frame::{Basis, Frame, Theme, page_with};
use crate::site::Site;
use crate::trouble::Trouble;
use crate::visit::FreshFormCookie;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::cookie::{Cookie, SameSite, time::Duration as CookieAge};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, web};
use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use kernel::Entropy;

/// The page shown instead of the one that was asked for.
#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage {
    frame: Frame,
    status: u16,
    headline: String,
    advice: String,
    /// Where asking again is harmless; empty for a form, which the visitor sends again themselves.
    again: String,
}

/// The middleware.
pub(crate) async fn shield(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let basis = Basis { theme: theme_of(&request), nonce: nonce(&request), here: here(&request) };
    request.extensions_mut().insert(basis.clone());
    let response = next.call(request).await?.map_into_boxed_body();
    let mut response = explain(response, &basis);
    let request = response.request().clone();
    let site = request.app_data::<web::Data<Site>>().map(|site| site.get_ref());
    if let Some(site) = site {
        set_headers(response.headers_mut(), site, &basis.nonce);
        let fresh = request.extensions().get::<FreshFormCookie>().map(|cookie| cookie.0.clone());
        if let Some(value) = fresh {
            let cookie = cookie(site, "form", value, None);
            response.response_mut().add_cookie(&cookie)?;
        }
    }
    Ok(response)
}

/// A cookie that scripts cannot read and other sites' forms do not carry. `None` lives as long as the browser.
pub(crate) fn cookie(site: &Site, name: &str, value: String, days: Option<i64>) -> Cookie<'static> {
    let mut cookie = Cookie::build(site.cookie_name(name), value)
        .path("/")
        .http_only(true)
        .secure(site.https())
        .same_site(SameSite::Lax)
        .finish();
    cookie.set_max_age(days.map(CookieAge::days));
    cookie
}

fn theme_of(request: &ServiceRequest) -> Theme {
    let site = request.app_data::<web::Data<Site>>();
    let name = site.map(|site| site.cookie_name("theme")).unwrap_or_default();
    request.cookie(&name).and_then(|cookie| Theme::parse(cookie.value())).unwrap_or_default()
}

fn nonce(request: &ServiceRequest) -> String {
    let mut bytes = [0; 16];
    if let Some(entropy) = request.app_data::<web::Data<dyn Entropy>>() {
        entropy.fill(&mut bytes);
    }
    STANDARD_NO_PAD.encode(bytes)
}

fn here(request: &ServiceRequest) -> String {
    request.uri().path_and_query().map(ToString::to_string).unwrap_or_default()
}

/// Gives a failed response its page. A redirect needs none.
fn explain(response: ServiceResponse<BoxBody>, basis: &Basis) -> ServiceResponse<BoxBody> {
    let Some(error) = response.response().error() else { return response };
    let status = response.status();
    let words = match error.as_error::<Trouble>() {
        Some(Trouble::SignIn { .. }) => return response,
        Some(trouble) => {
            if status.is_server_error() {
                tracing::error!(error = %trouble, page = %basis.here, "a page failed");
            }
            trouble.words()
        }
        None if status.is_server_error() => Trouble::Broken(error.to_string()).words(),
        None => Trouble::Invalid("Go back, check what was sent and try again.".to_owned()).words(),
    };
    let request = response.request().clone();
    let Some(frame) = frame_of(&request, &words.0) else { return response };
    let again = if request.method().is_safe() && status.is_server_error() {
        frame.here.clone()
    } else {
        String::new()
    };
    let page = TroublePage { frame, status: status.as_u16(), headline: words.0, advice: words.1, again };
    let Ok(mut page) = page_with(status, &page) else { return response };
    for name in [header::RETRY_AFTER, header::ALLOW, header::CONNECTION] {
        if let Some(value) = response.headers().get(&name) {
            page.headers_mut().insert(name, value.clone());
        }
    }
    ServiceResponse::new(request, page)
}

/// The frame that the visit made, or one for nobody.
fn frame_of(request: &HttpRequest, title: &str) -> Option<Frame> {
    let known = request.extensions().get::<Frame>().cloned();
    let frame = match known {
        Some(frame) => frame,
        None => {
            let site = request.app_data::<web::Data<Site>>()?;
            let basis = request.extensions().get::<Basis>().cloned()?;
            Frame::new(title, &basis, site, String::new(), None)
        }
    };
    Some(Frame { title: title.to_owned(), ..frame })
}

fn set_headers(headers: &mut HeaderMap, site: &Site, nonce: &str) {
    let fixed = [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()"),
    ];
    for (name, value) in fixed {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if site.https() {
        let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    if let Ok(policy) = HeaderValue::from_str(&policy(site, nonce)) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}

/// Scripts run only with this response's nonce; forms end here or at the payment provider; nobody frames us.
fn policy(site: &Site, nonce: &str) -> String {
    let forms = site.checkout_origins.join(" ");
    let api = site.api_origin();
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self'; \
         connect-src 'self' {api}; form-action 'self' {forms}; frame-ancestors 'none'; base-uri 'none'"
    )
}
