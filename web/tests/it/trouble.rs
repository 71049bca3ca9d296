//! What visitors see when something is missing or a store is away.

use crate::browser::{Browser, SITE};
use crate::fakes::World;
use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use std::sync::atomic::Ordering;

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
    let deleted = Browser::stranger(&world).send(TestRequest::delete().uri("/keys")).await;
    assert!(deleted.status.is_client_error());
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
