//! A browser without a screen: cookies, forms with their token, and what came back.

use crate::fakes::World;
use accounts::session::SessionToken;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{App, test};
use kernel::Entropy as _;
use web::{PublicDeps, StaffDeps, configure_public, configure_staff};

/// What came back.
pub(crate) struct Shown {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Shown {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location")
    }

    pub(crate) fn cookies(&self) -> Vec<&str> {
        self.headers.get_all("set-cookie").map(|value| value.to_str().unwrap()).collect()
    }

    /// The page without header and footer, for the message of a failed test.
    fn main(&self) -> &str {
        let main = self.body.split("<main").nth(1).unwrap_or(&self.body);
        main.split("</main>").next().unwrap_or(main)
    }

    /// The page contains this text.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        assert!(self.body.contains(text), "no {text:?}, status {}: {}", self.status, self.main());
    }

    #[track_caller]
    pub(crate) fn never_says(&self, text: &str) {
        assert!(!self.body.contains(text), "{text:?} in {}", self.main());
    }
}

/// Which site it looks at.
#[derive(Clone)]
enum Target {
    Public(Box<PublicDeps>),
    Staff(Box<StaffDeps>),
}

/// One visitor.
#[derive(Clone)]
pub(crate) struct Browser {
    target: Target,
    prefix: &'static str,
    secret: SessionToken,
    signed_in: bool,
    pub(crate) origin: Option<String>,
}

impl Browser {
    pub(crate) fn stranger(world: &World) -> Self {
        Self {
            target: Target::Public(Box::new(world.public_deps())),
            prefix: "fb",
            secret: draw(world),
            signed_in: false,
            origin: Some(world.url.clone()),
        }
    }

    pub(crate) async fn customer(world: &World) -> Self {
        let secret = world.session().await;
        Self { secret, signed_in: true, ..Self::stranger(world) }
    }

    pub(crate) fn at_staff_door(world: &World) -> Self {
        let target = Target::Staff(Box::new(world.staff_deps()));
        Self { target, prefix: "fb_staff", ..Self::stranger(world) }
    }

    pub(crate) async fn staff(world: &World) -> Self {
        Self { secret: world.staff_session().await, signed_in: true, ..Self::at_staff_door(world) }
    }

    /// With another configuration of the public site.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut PublicDeps)) -> Self {
        if let Target::Public(deps) = &mut self.target {
            change(deps);
        }
        self
    }

    pub(crate) fn csrf(&self) -> String {
        self.secret.csrf()
    }

    pub(crate) fn cookie(&self) -> String {
        let name = if self.signed_in { "session" } else { "form" };
        format!("{}_{name}={}", self.prefix, self.secret.reveal())
    }

    pub(crate) async fn get(&self, path: &str) -> Shown {
        let request = test::TestRequest::get().uri(path).insert_header(("cookie", self.cookie()));
        self.send(request).await
    }

    /// The same with a cookie more, as `name=value`.
    pub(crate) async fn get_with(&self, path: &str, cookie: &str) -> Shown {
        let cookies = format!("{}; {cookie}", self.cookie());
        self.send(test::TestRequest::get().uri(path).insert_header(("cookie", cookies))).await
    }

    /// Sends the form of a new key, and looks at the page it leads to.
    pub(crate) async fn make_key(&self, fields: &[(&str, &str)]) -> Shown {
        let form = self.get("/keys/new").await;
        let made = self.send_key(&form, fields).await;
        self.get_with(made.location(), carried(&made)).await
    }

    /// Sends the form of a new key.
    pub(crate) async fn send_key(&self, form: &Shown, fields: &[(&str, &str)]) -> Shown {
        let once = form.body.split_once("name=\"once\" value=\"").unwrap().1.split('"').next().unwrap();
        let mut all = vec![("once", once)];
        all.extend_from_slice(fields);
        self.post("/keys", &all).await
    }

    /// Sends a form with the right token.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let csrf = self.csrf();
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend_from_slice(fields);
        self.post_raw(path, &all).await
    }

    pub(crate) async fn post_raw(&self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let mut request = test::TestRequest::post()
            .uri(path)
            .peer_addr("203.0.113.9:4000".parse().unwrap())
            .insert_header(("cookie", self.cookie()))
            .set_form(fields);
        if let Some(origin) = &self.origin {
            request = request.insert_header(("origin", origin.clone()));
        }
        self.send(request).await
    }

    pub(crate) async fn send(&self, request: test::TestRequest) -> Shown {
        let target = self.target.clone();
        let app = App::new().configure(move |config| match target {
            Target::Public(deps) => configure_public(config, *deps),
            Target::Staff(deps) => configure_staff(config, *deps),
        });
        let app = test::init_service(app).await;
        let response = test::call_service(&app, request.to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
        Shown { status, headers, body }
    }
}

/// The cookie of an answer without its attributes.
pub(crate) fn carried(answer: &Shown) -> &str {
    let cookies = answer.cookies();
    assert!(!cookies.is_empty(), "no cookie, status {}", answer.status);
    cookies[0].split(';').next().unwrap()
}

fn draw(world: &World) -> SessionToken {
    let token = SessionToken::draw(world.entropy.as_ref());
    // Two strangers are two browsers.
    let _ = world.entropy.next_u64();
    token
}

pub(crate) const SITE: &str = "http://localhost:8080";
