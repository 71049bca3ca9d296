//! Staff import a price file with faults and publish the rest on the page: all gateways have it within a second.

use crate::scripts::Scripts;
use e2e::{Options, Stack};
use reqwest::Method;
use std::time::Duration;

const EMAIL: &str = "curator@e2e.example";
const PASSWORD: &str = "a curator's long password";

#[tokio::test(flavor = "multi_thread")]
async fn a_price_file_with_faults_is_cleaned_published_and_charged_by_within_a_second() {
    let stack = Stack::start(Options { gateways: 2, ..Options::default() }).await.unwrap();
    let weak = stack.farebox_typing(&["staff", "add", EMAIL], "short\n").await.unwrap();
    assert!(!weak.success, "a short password was taken: {}", weak.output);
    let added = stack.farebox_typing(&["staff", "add", EMAIL], &format!("{PASSWORD}\n")).await.unwrap();
    assert!(added.success, "{}", added.output);
    let scripts = Scripts::of(&stack)
        .await
        .unwrap()
        .with("FAREBOX_STAFF_EMAIL", EMAIL)
        .with("FAREBOX_STAFF_PASSWORD", PASSWORD);
    scripts.browser("staff.mjs").await.unwrap();
    stack.settled(Duration::from_secs(10)).await.unwrap();
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_staff_desk_is_on_the_public_port() {
    let stack = Stack::one().await.unwrap();
    let gateway = stack.gateway(0).unwrap();
    let rows = [
        (Method::GET, "/drafts"),
        (Method::POST, "/drafts"),
        (Method::GET, "/drafts/new"),
        (Method::POST, "/drafts/x/publish"),
        (Method::POST, "/drafts/x/discard"),
        (Method::GET, "/prices"),
    ];
    for (method, path) in rows {
        let public = stack.http.request(method.clone(), format!("{}{path}", gateway.url()));
        assert_eq!(public.send().await.unwrap().status(), 404, "{method} {path} on the public port");
        let stranger = stack.http.request(method.clone(), format!("{}{path}", gateway.staff_url()));
        let status = stranger.send().await.unwrap().status();
        assert!(!status.is_success(), "{method} {path} on the staff port for a stranger: {status}");
    }
    for path in ["/models", "/api/v1/models", "/v1/models", "/webhooks/stripe", "/metrics"] {
        let asked = stack.http.get(format!("{}{path}", gateway.staff_url())).send().await.unwrap();
        assert!(!asked.status().is_success(), "{path} on the staff port: {}", asked.status());
    }
}
