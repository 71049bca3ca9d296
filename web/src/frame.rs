//! What every page has around it: theme, nonce, form token, who is signed in, and the notice at the top.

use crate::assets;
use crate::query::Query;
use crate::site::{Realm, Site};
use crate::trouble::Answer;
use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use askama::Template;

/// Light, dark, or as the system says. Kept in a cookie, so the first byte is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Theme {
    #[default]
    Auto,
    Light,
    Dark,
}

impl Theme {
    pub(crate) const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.as_str() == text)
    }

    #[must_use]
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::Light => "Light",
            Self::Dark => "Dark",
        }
    }
}

/// Drawn by the shield for every request, before anybody knows who asks.
#[derive(Debug, Clone)]
pub(crate) struct Basis {
    pub theme: Theme,
    /// Random per response; scripts without it do not run.
    pub nonce: String,
    /// Path and query of this request.
    pub here: String,
}

/// Who is signed in, as the header shows it.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    pub email: String,
    /// `None` for staff.
    pub balance: Option<BalanceText>,
}

/// The balance as text: whole cents for reading and every digit beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BalanceText {
    /// `false` when the credit engine does not answer; the texts are empty then.
    pub known: bool,
    pub cents: String,
    pub exact: String,
}

/// What was just done, or what failed, shown at the top of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub bad: bool,
    pub text: String,
}

impl Notice {
    pub(crate) fn good(text: impl Into<String>) -> Self {
        Self { bad: false, text: text.into() }
    }

    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self { bad: true, text: text.into() }
    }
}

/// A link of a navigation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NavLink {
    pub href: &'static str,
    pub text: &'static str,
}

const fn link(href: &'static str, text: &'static str) -> NavLink {
    NavLink { href, text }
}

const PUBLIC: [NavLink; 3] =
    [link("/models", "Models"), link("/providers", "Providers"), link("/pricing", "Pricing")];
const ACCOUNT: [NavLink; 6] = [
    link("/dashboard", "Overview"),
    link("/keys", "Keys"),
    link("/usage", "Usage"),
    link("/logs", "Logs"),
    link("/credits", "Credits"),
    link("/provider-keys", "Provider keys"),
];
const STAFF: [NavLink; 4] = [
    link("/drafts", "Drafts"),
    link("/prices", "Prices"),
    link("/payments", "Payments"),
    link("/switches", "Kill switch"),
];

/// Everything around a page.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub title: String,
    pub theme: Theme,
    pub nonce: String,
    pub csrf: String,
    pub here: String,
    pub staff: bool,
    pub simulated: bool,
    pub viewer: Option<Viewer>,
    pub notice: Option<Notice>,
}

impl Frame {
    #[must_use]
    pub(crate) fn new(title: &str, basis: &Basis, site: &Site, csrf: String, viewer: Option<Viewer>) -> Self {
        Self {
            title: title.to_owned(),
            theme: basis.theme,
            nonce: basis.nonce.clone(),
            csrf,
            here: basis.here.clone(),
            staff: site.realm == Realm::Staff,
            simulated: site.simulated,
            viewer,
            notice: None,
        }
    }

    #[must_use]
    pub(crate) fn noting(mut self, notice: Option<Notice>) -> Self {
        self.notice = notice;
        self
    }

    /// The address of an embedded file.
    #[must_use]
    pub(crate) fn asset(&self, name: &str) -> &'static str {
        assets::url(name)
    }

    #[must_use]
    pub(crate) fn themes(&self) -> [Theme; 3] {
        Theme::ALL
    }

    #[must_use]
    pub(crate) fn main_nav(&self) -> &'static [NavLink] {
        match (self.staff, &self.viewer) {
            (false, _) => &PUBLIC,
            (true, Some(_)) => &STAFF,
            (true, None) => &[],
        }
    }

    #[must_use]
    pub(crate) fn account_nav(&self) -> &'static [NavLink] {
        &ACCOUNT
    }

    /// Whether a navigation link leads to this page or to a page above it.
    #[must_use]
    pub(crate) fn is_here(&self, href: &str) -> bool {
        let path = self.here.split(['?', '#']).next().unwrap_or_default();
        path == href || path.strip_prefix(href).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Signing in leads back to this page.
    #[must_use]
    pub(crate) fn sign_in_href(&self) -> String {
        let path = self.here.split('?').next().unwrap_or_default();
        let next = if matches!(path, "/" | "/sign-in" | "/sign-up") { "" } else { self.here.as_str() };
        Query::new().with("next", next).on("/sign-in")
    }
}

/// Renders a page. Pages depend on who asks, so no cache keeps them.
pub(crate) fn page<T: Template>(template: &T) -> Answer {
    page_with(StatusCode::OK, template)
}

pub(crate) fn page_with<T: Template>(status: StatusCode, template: &T) -> Answer {
    let body = template.render()?;
    Ok(HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(body))
}

/// After a change: go and look at the result (303, so that reloading does not send the form again).
pub(crate) fn see_other(path: &str) -> Answer {
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, path)).finish())
}
