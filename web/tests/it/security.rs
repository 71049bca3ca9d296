//! Forms from elsewhere, hostile names, headers, cookies, guessing, open redirects, session fixation.

use crate::browser::{Browser, SITE};
use crate::fakes::{DEMO_EMAIL, PASSWORD, World};
use accounts::Role;
use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use kernel::Clock as _;

const FORMS: [&str; 10] = [
    "/sign-out",
    "/theme",
    "/account/token",
    "/keys",
    "/keys/x/disable",
    "/keys/x/enable",
    "/keys/x/delete",
    "/provider-keys",
    "/provider-keys/x/delete",
    "/credits/purchases",
];

#[actix_web::test]
async fn a_form_without_our_token_changes_nothing() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    let other = Browser::customer(&world).await.csrf();
    for path in FORMS.into_iter().chain(["/sign-in", "/sign-up"]) {
        for fields in [vec![], vec![("csrf", "")], vec![("csrf", other.as_str())]] {
            let page = customer.post_raw(path, &fields).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path} {fields:?}");
            page.says("This form has expired");
        }
    }
    assert!(world.purchases.all.lock().is_empty());
    assert!(world.keys.keys.lock().is_empty());
}

#[actix_web::test]
async fn a_form_from_another_site_is_refused_even_with_the_token() {
    let world = World::fresh(SITE).await;
    let mut customer = Browser::customer(&world).await;
    for origin in
        ["https://evil.example", "null", "http://localhost:8081", "http://localhost:8080.evil.example"]
    {
        customer.origin = Some(origin.to_owned());
        for path in FORMS {
            let page = customer.post(path, &[("name", "k"), ("amount", "10")]).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{origin} {path}");
        }
    }
    customer.origin = None;
    let request = TestRequest::post()
        .uri("/account/token")
        .insert_header(("cookie", customer.cookie()))
        .insert_header(("sec-fetch-site", "cross-site"))
        .set_form([("csrf", customer.csrf())]);
    assert_eq!(customer.send(request).await.status, StatusCode::FORBIDDEN);
    customer.origin = Some("http://127.0.0.1:8080".to_owned());
    assert_eq!(customer.post("/account/token", &[]).await.status, StatusCode::OK, "the same machine");
}

#[actix_web::test]
async fn every_answer_carries_the_protecting_headers() {
    let world = World::fresh(SITE).await;
    let browser = Browser::stranger(&world);
    let mut nonces = Vec::new();
    for path in ["/", "/sign-in", "/nope", "/dashboard", web::assets::url("farebox.css")] {
        let page = browser.get(path).await;
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("referrer-policy"), "strict-origin-when-cross-origin");
        let policy = page.header("content-security-policy").to_owned();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(policy.contains("form-action 'self' http://localhost:9797;"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        nonces.push(policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned());
    }
    let page = browser.get("/").await;
    let nonce =
        page.header("content-security-policy").split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert!(page.body.contains(&format!("<script nonce=\"{nonce}\"")), "the page's nonce is the header's");
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 5, "a nonce is used once");
    assert!(page.header("cache-control").contains("no-store"));
}

#[actix_web::test]
async fn cookies_are_closed_to_scripts_and_bound_to_the_host_over_tls() {
    let world = World::fresh("https://farebox.example").await;
    let browser = Browser::stranger(&world);
    let request = TestRequest::get().uri("/sign-in");
    let page = browser.send(request).await;
    let cookie = page.cookies()[0].to_owned();
    assert!(cookie.starts_with("__Host-fb_form="), "{cookie}");
    for flag in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    assert!(page.header("strict-transport-security").contains("max-age=31536000"));
}

#[actix_web::test]
async fn signing_in_starts_a_new_session_and_ends_the_old_one() {
    let world = World::fresh(SITE).await;
    let planted = Browser::customer(&world).await;
    let before = world.people.session_count();
    let page = planted.post("/sign-in", &[("email", "Demo@Farebox.example "), ("password", PASSWORD)]).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/dashboard"));
    let cookie = page.cookies()[0];
    assert!(cookie.starts_with("fb_session=") && cookie.contains("HttpOnly"), "{cookie}");
    assert!(!planted.cookie().contains(cookie.split(['=', ';']).nth(1).unwrap()), "a new token");
    assert_eq!(world.people.session_count(), before);
    assert_eq!(planted.get("/keys").await.status, StatusCode::SEE_OTHER, "the planted session is dead");
}

#[actix_web::test]
async fn signing_out_ends_the_session_in_the_store() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    let page = customer.post("/sign-out", &[]).await;
    assert_eq!(page.location(), "/");
    assert_eq!(world.people.session_count(), 0);
    assert_eq!(customer.get("/keys").await.status, StatusCode::SEE_OTHER);
}

#[actix_web::test]
async fn the_way_back_stays_on_this_site() {
    let world = World::fresh(SITE).await;
    let browser = Browser::stranger(&world);
    let sign_in = |next| {
        let browser = browser.clone();
        async move {
            let fields = [("email", DEMO_EMAIL), ("password", PASSWORD), ("next", next)];
            browser.post("/sign-in", &fields).await.location().to_owned()
        }
    };
    assert_eq!(sign_in("/logs?model=a%2Fb").await, "/logs?model=a%2Fb");
    for next in
        ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/a\r\nx: y"]
    {
        assert_eq!(sign_in(next).await, "/dashboard", "{next:?}");
    }
    let page = browser.get("/sign-in?next=https%3A%2F%2Fevil.example").await;
    page.says("name=\"next\" value=\"\"");
    page.never_says("href=\"https://evil.example");
}

#[actix_web::test]
async fn a_wrong_password_and_an_unknown_email_look_the_same() {
    let world = World::fresh(SITE).await;
    let browser = Browser::stranger(&world);
    let wrong = browser.post("/sign-in", &[("email", DEMO_EMAIL), ("password", "not the right one")]).await;
    let unknown = browser.post("/sign-in", &[("email", "who@farebox.example"), ("password", "x")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(unknown.status, wrong.status);
    let strip = |page: &crate::browser::Shown, email: &str| {
        let body = page.body.replace(email, "EMAIL");
        body.split("nonce=\"")
            .map(|part| part.split_once('"').map_or(part, |(_, rest)| rest))
            .collect::<String>()
    };
    assert_eq!(strip(&wrong, DEMO_EMAIL), strip(&unknown, "who@farebox.example"));
    assert_eq!(world.people.session_count(), 0);
}

#[actix_web::test]
async fn guessing_is_stopped_without_locking_the_owner_out() {
    let world = World::fresh(SITE).await;
    let browser = Browser::stranger(&world);
    let guess = [("email", DEMO_EMAIL), ("password", "not the right one")];
    for _ in 0..8 {
        assert_eq!(browser.post("/sign-in", &guess).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let page = browser.post("/sign-in", &[("email", DEMO_EMAIL), ("password", PASSWORD)]).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(page.header("retry-after"), "900");
    let owner = TestRequest::post()
        .uri("/sign-in")
        .peer_addr("198.51.100.7:4000".parse().unwrap())
        .insert_header(("cookie", browser.cookie()))
        .insert_header(("origin", SITE))
        .set_form([("csrf", browser.csrf().as_str()), ("email", DEMO_EMAIL), ("password", PASSWORD)]);
    assert_eq!(browser.send(owner).await.status, StatusCode::SEE_OTHER, "from elsewhere the owner gets in");
}

#[actix_web::test]
async fn signing_up_says_what_to_mend_and_keeps_what_was_typed() {
    let world = World::fresh(SITE).await;
    let browser = Browser::stranger(&world);
    let rows = [
        ("nonsense", PASSWORD, "Enter an email address like name@example.com."),
        ("new@farebox.example", "short", "Use at least 10 characters."),
        ("new@farebox.example", "password1234", "among the first that attackers try"),
        (DEMO_EMAIL, PASSWORD, "has an account already"),
    ];
    for (email, password, sentence) in rows {
        let page = browser.post("/sign-up", &[("email", email), ("password", password)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{email}");
        page.says(sentence);
        page.says(&format!("value=\"{email}\""));
        page.never_says(&format!("value=\"{password}\""));
    }
    let page = browser.post("/sign-up", &[("email", "new@farebox.example"), ("password", PASSWORD)]).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/dashboard"));
    assert!(page.cookies().iter().any(|cookie| cookie.starts_with("fb_session=")));
}

#[actix_web::test]
async fn hostile_names_are_shown_as_text() {
    const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'{{7*7}}";
    let world = World::lived_in(SITE).await;
    let customer = Browser::customer(&world).await;
    let page = customer.make_key(&[("name", HOSTILE)]).await;
    assert_eq!(page.status, StatusCode::OK);
    page.never_says("<script>alert");
    {
        let mut calls = world.reports.calls.lock();
        calls[0].key_name = Some(HOSTILE.to_owned());
        calls[0].record.model = HOSTILE.to_owned();
        calls[0].record.app_title = Some(HOSTILE.to_owned());
        calls[0].record.error = Some(HOSTILE.to_owned());
        let mut days = world.reports.days.lock();
        days[0].model = HOSTILE.to_owned();
    }
    let id = world.reports.calls.lock()[0].record.id;
    let receipt = format!("/logs/{id}");
    for path in
        ["/keys", "/logs", receipt.as_str(), "/usage", "/models?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"]
    {
        let page = customer.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        page.never_says("<script>alert");
        page.never_says("<img src=x");
        assert!(page.body.contains("&#60;script&#62;alert") || path == "/keys", "{path}");
    }
    customer.get("/keys").await.says("&#60;script&#62;alert");
}

#[actix_web::test]
async fn the_gateway_token_is_for_those_who_may_call_models() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    let page = customer.post("/account/token", &[]).await;
    let body: serde_json::Value = serde_json::from_str(&page.body).unwrap();
    assert_eq!(body["expires_in"], 300);
    let claims = world.tokens.verify(body["token"].as_str().unwrap(), world.clock.now()).unwrap();
    let demo = world.demo();
    assert_eq!((claims.org, claims.member), (demo.org.id, demo.member.id));
    assert_eq!(claims.account, demo.org.account);
    assert_eq!(page.header("cache-control"), "no-store");
    for (role, status) in [
        (Role::Developer, StatusCode::OK),
        (Role::Viewer, StatusCode::FORBIDDEN),
        (Role::Billing, StatusCode::FORBIDDEN),
    ] {
        world.people.set_role(DEMO_EMAIL, role);
        assert_eq!(customer.post("/account/token", &[]).await.status, status, "{role:?}");
    }
    let stranger = Browser::stranger(&world).post("/account/token", &[]).await;
    assert_eq!(stranger.status, StatusCode::SEE_OTHER);
}

#[actix_web::test]
async fn roles_see_what_they_may_and_are_told_who_may_the_rest() {
    let world = World::lived_in(SITE).await;
    let customer = Browser::customer(&world).await;
    let rows = [
        (Role::Viewer, "/credits", StatusCode::FORBIDDEN),
        (Role::Developer, "/credits", StatusCode::FORBIDDEN),
        (Role::Billing, "/credits", StatusCode::OK),
        (Role::Viewer, "/keys/new", StatusCode::FORBIDDEN),
        (Role::Billing, "/keys/new", StatusCode::FORBIDDEN),
        (Role::Developer, "/keys/new", StatusCode::OK),
        (Role::Viewer, "/keys", StatusCode::OK),
        (Role::Viewer, "/logs", StatusCode::OK),
        (Role::Admin, "/credits", StatusCode::OK),
    ];
    for (role, path, status) in rows {
        world.people.set_role(DEMO_EMAIL, role);
        let page = customer.get(path).await;
        assert_eq!(page.status, status, "{role:?} {path}");
        if status == StatusCode::FORBIDDEN {
            page.says("Ask one of them");
        }
    }
    world.people.set_role(DEMO_EMAIL, Role::Viewer);
    customer.get("/keys").await.never_says("/disable");
    let hash = world.keys.keys.lock()[0].key.hash.clone();
    for act in ["disable", "delete"] {
        let page = customer.post(&format!("/keys/{hash}/{act}"), &[]).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{act}");
    }
    assert!(!world.keys.keys.lock()[0].key.disabled);
}
