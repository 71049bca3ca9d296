//! Shows every page with sample data, for looking at them: `cargo run -p web --example preview -- 8899`.
//! The public site is at the given port, the staff desk at the next. `/as/demo?next=/keys&theme=dark` signs
//! in and sets the colors. Nothing is stored; nothing here is part of the product.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "sample data, not the product")]
#![expect(clippy::as_conversions, reason = "sample data, not the product")]
#![expect(clippy::print_stdout, dead_code, unused_imports, reason = "shares the tests' fakes")]

#[path = "../tests/it/fakes.rs"]
mod fakes;

use actix_web::cookie::Cookie;
use actix_web::{App, HttpResponse, HttpServer, web as actix};
use fakes::World;
use web::{configure_public, configure_staff};

#[derive(serde::Deserialize)]
struct As {
    #[serde(default)]
    next: String,
    #[serde(default)]
    theme: String,
}

fn enter(prefix: &str, session: &str, query: &As) -> HttpResponse {
    let cookie = |name: &str, value: &str| {
        Cookie::build(format!("{prefix}_{name}"), value.to_owned()).path("/").finish()
    };
    let mut response = HttpResponse::SeeOther();
    if !session.is_empty() {
        response.cookie(cookie("session", session));
    }
    response.cookie(cookie("theme", &query.theme)).insert_header(("location", query.next.as_str())).finish()
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8899);
    let url = format!("http://localhost:{port}");
    let world = World::lived_in(&url).await;
    let empty = World::fresh(&url).await;
    let session = world.session().await.reveal().to_owned();
    let staff_session = world.staff_session().await.reveal().to_owned();
    let (public, staff, fresh) = (world.public_deps(), world.staff_deps(), empty.public_deps());
    let fresh_session = empty.session().await.reveal().to_owned();
    println!("{url}/as/demo?next=/dashboard");
    let site = HttpServer::new(move || {
        let session = session.clone();
        App::new()
            .route(
                "/as/demo",
                actix::get().to(move |query: actix::Query<As>| {
                    let session = session.clone();
                    async move { enter("fb", &session, &query) }
                }),
            )
            .route(
                "/as/nobody",
                actix::get().to(|query: actix::Query<As>| async move { enter("fb", "", &query) }),
            )
            .configure(|config| configure_public(config, public.clone()))
    });
    let desk = HttpServer::new(move || {
        let session = staff_session.clone();
        App::new()
            .route(
                "/as/staff",
                actix::get().to(move |query: actix::Query<As>| {
                    let session = session.clone();
                    async move { enter("fb_staff", &session, &query) }
                }),
            )
            .configure(|config| configure_staff(config, staff.clone()))
    });
    let newcomer = HttpServer::new(move || {
        let session = fresh_session.clone();
        App::new()
            .route(
                "/as/new",
                actix::get().to(move |query: actix::Query<As>| {
                    let session = session.clone();
                    async move { enter("fb", &session, &query) }
                }),
            )
            .configure(|config| configure_public(config, fresh.clone()))
    });
    let site = site.workers(1).bind(("127.0.0.1", port))?.run();
    let desk = desk.workers(1).bind(("127.0.0.1", port + 1))?.run();
    let newcomer = newcomer.workers(1).bind(("127.0.0.1", port + 2))?.run();
    let (site, desk, newcomer) = tokio::join!(site, desk, newcomer);
    site.and(desk).and(newcomer)
}
