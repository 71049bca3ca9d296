//! The rows of the route tables: an address with what it answers. Every other method gets 405 and the list of
//! those that work, as a page; an address that is not in a table is 404.

use crate::site::Realm;
use crate::trouble::{Answer, Trouble};
use crate::visit::Visit;
use actix_web::web;
use actix_web::{Resource, Route, guard};

/// GET, and HEAD for those who only ask whether a page is there.
pub(crate) fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// An address that is only read.
pub(crate) fn page_at(path: &str, page: Route) -> Resource {
    web::resource(path).route(page).default_service(otherwise("GET, HEAD"))
}

/// An address that only takes a form.
pub(crate) fn form_at(path: &str, form: Route) -> Resource {
    web::resource(path).route(form).default_service(otherwise("POST"))
}

/// An address with a page and the form that it sends to itself.
pub(crate) fn both_at(path: &str, page: Route, form: Route) -> Resource {
    web::resource(path).route(page).route(form).default_service(otherwise("GET, HEAD, POST"))
}

fn otherwise(allowed: &'static str) -> Route {
    web::to(move |visit: Visit| async move { refuse(&visit, allowed) })
}

/// Strangers at the staff desk learn nothing about which addresses exist.
fn refuse(visit: &Visit, allowed: &'static str) -> Answer {
    if visit.site.realm == Realm::Staff {
        visit.staff()?;
    }
    Err(Trouble::Method(allowed))
}
