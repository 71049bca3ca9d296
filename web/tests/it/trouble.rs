//! What visitors see when something is missing or a store is away.

use crate::browser::{Browser, SITE};
use crate::fakes::World;
use actix_web::http::{Method, StatusCode};
use actix_web::test::TestRequest;
use actix_web::{App, HttpServer};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use web::configure_public;

#[actix_web::test]
async fn an_unknown_address_gets_a_page_with_a_way_on() {
    let world = World::fresh(SITE).await;
    for browser in [Browser::stranger(&world), Browser::customer(&world).await] {
        for path in ["/nope", "/models/no/such", "/models/no", "/assets/x/y"] {
            let page = browser.get(path).await;
            assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
            page.says("There is no such page");
            page.says("href=\"/models\"");
        }
    }
    Browser::customer(&world).await.get("/nope").await.says("Sign out");
}

#[actix_web::test]
async fn a_foreign_method_gets_405_with_those_that_work() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    let staff = Browser::staff(&world).await;
    let rows = [
        (&customer, "/", "GET, HEAD"),
        (&customer, "/models", "GET, HEAD"),
        (&customer, "/models/a/b", "GET, HEAD"),
        (&customer, "/keys", "GET, HEAD, POST"),
        (&customer, "/keys/x/disable", "POST"),
        (&customer, "/credits/purchases", "GET, HEAD, POST"),
        (&customer, "/logs/x", "GET, HEAD"),
        (&customer, "/assets/x/y", "GET, HEAD"),
        (&staff, "/drafts", "GET, HEAD, POST"),
        (&staff, "/drafts/x/publish", "POST"),
        (&staff, "/prices", "GET, HEAD"),
    ];
    for (browser, path, allowed) in rows {
        for method in [Method::DELETE, Method::PUT, Method::PATCH] {
            let request = TestRequest::default().method(method.clone()).uri(path);
            let page = browser.send(request.insert_header(("cookie", browser.cookie()))).await;
            assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(page.header("allow"), allowed, "{method} {path}");
            page.says(&format!("answers {allowed} only"));
        }
    }
    assert_eq!(customer.get("/keys/x/disable").await.header("allow"), "POST");
    assert_eq!(customer.post("/models", &[]).await.header("allow"), "GET, HEAD");
    let door = Browser::at_staff_door(&world);
    let hidden = door.send(TestRequest::delete().uri("/drafts")).await;
    assert_eq!((hidden.status, hidden.header("allow")), (StatusCode::SEE_OTHER, ""));
}

/// A real connection: a form that never ends is refused, and the connection with it.
#[actix_web::test]
async fn a_form_that_does_not_arrive_is_refused_in_time() {
    let world = World::fresh(SITE).await;
    let mut deps = world.public_deps();
    deps.site.form_patience = Duration::from_millis(300);
    let server = HttpServer::new(move || App::new().configure(|cfg| configure_public(cfg, deps.clone())));
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    let running = server.run();
    let handle = running.handle();
    let serving = actix_web::rt::spawn(running);
    let mut line = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "POST /sign-in HTTP/1.1\r\nhost: localhost:8080\r\ncontent-length: 500\r\n\
                content-type: application/x-www-form-urlencoded\r\n\r\nemail=a";
    line.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), line.read_to_end(&mut answer)).await;
    read.expect("the connection stays open").unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("took too long to arrive"), "{answer}");
    handle.stop(false).await;
    serving.await.unwrap().unwrap();
}

#[actix_web::test]
async fn the_style_page_exists_in_development_only() {
    let world = World::fresh(SITE).await;
    let production = Browser::stranger(&world).with(|deps| deps.site.development = false);
    assert_eq!(production.get("/style").await.status, StatusCode::NOT_FOUND);
    assert_eq!(Browser::stranger(&world).get("/style").await.status, StatusCode::OK);
}

#[actix_web::test]
async fn the_banner_says_that_providers_are_simulated() {
    let world = World::fresh(SITE).await;
    Browser::stranger(&world).get("/").await.says("payments are simulated");
    let real = Browser::stranger(&world).with(|deps| deps.site.simulated = false);
    real.get("/").await.never_says("simulated");
}

#[actix_web::test]
async fn a_page_stands_without_its_balance() {
    let world = World::lived_in(SITE).await;
    world.engine.down.store(true, Ordering::SeqCst);
    let customer = Browser::customer(&world).await;
    for path in ["/dashboard", "/credits", "/models", "/logs"] {
        let page = customer.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        page.says("Balance unavailable");
        page.never_says("$0.00</b>");
    }
}

#[actix_web::test]
async fn a_store_that_is_away_is_a_503_with_retry_after_and_no_inner_words() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    world.purchases.down.store(true, Ordering::SeqCst);
    let page = customer.get("/credits").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(page.header("retry-after"), "5");
    page.says("Nothing was changed and nothing was charged");
    page.never_says("secret host name");
    page.says("href=\"/credits\">Try again");
    world.people.down.store(true, Ordering::SeqCst);
    let page = customer.get("/models").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "who asks is unknown: not a signed-out page");
    assert_eq!(Browser::stranger(&world).get("/models").await.status, StatusCode::OK);
}

#[actix_web::test]
async fn malformed_requests_are_refused_in_words() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    let request = TestRequest::post()
        .uri("/keys")
        .insert_header(("cookie", customer.cookie()))
        .insert_header(("origin", SITE))
        .insert_header(("content-type", "application/json"))
        .set_payload("{}");
    let page = customer.send(request).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    page.says("This request makes no sense");
    page.never_says("Try again</a>");
    assert_eq!(customer.get("/credits/purchases").await.location(), "/credits");
    let large = "x".repeat(100 * 1024);
    assert_eq!(customer.post("/keys", &[("name", large.as_str())]).await.status, StatusCode::BAD_REQUEST);
}

#[actix_web::test]
async fn head_answers_like_get() {
    let world = World::fresh(SITE).await;
    let request = TestRequest::default().method(actix_web::http::Method::HEAD).uri("/");
    assert_eq!(Browser::stranger(&world).send(request).await.status, StatusCode::OK);
}
