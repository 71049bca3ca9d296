//! Official clients: what they parse of the simulators proves the simulators, what they parse of the gateway proves
//! that it is a drop-in. Their language's own exceptions show every refusal. And the OpenAPI document.

use crate::scripts::{Scripts, aimock, empty_key};
use e2e::{Options, Stack, eventually};
use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn official_clients_parse_what_the_simulators_send() {
    let stack = Stack::start(Options { gateways: 0, ..Options::default() }).await.unwrap();
    let scripts = Scripts::of_simulators(&stack).unwrap();
    // Each to its end, so that every script tells all that it found.
    let (python, node, payments) = tokio::join!(
        scripts.python("simulator.py"),
        scripts.node("simulator.mjs"),
        scripts.python("payments.py")
    );
    python.and(node).and(payments).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_of_openrouter_and_openai_work_by_changing_the_base_url() {
    let stack = Stack::one().await.unwrap();
    let empty = empty_key(&stack).await.unwrap();
    let limited = stack.add_provider("limited", "1", "2").await.unwrap();
    let down = stack.add_provider("down", "1", "2").await.unwrap();
    let scripts = Scripts::of(&stack)
        .await
        .unwrap()
        .with("FAREBOX_EMPTY_KEY", &empty.secret)
        .with("FAREBOX_FAULTY_MODELS", &format!("{limited},{down}"));
    let (python, node) = tokio::join!(scripts.python("dropin.py"), scripts.node("dropin.mjs"));
    python.and(node).unwrap();
    scripts.python("refusals.py").await.unwrap();
    stack.settled(Duration::from_secs(10)).await.unwrap();
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_mock_serves_as_an_upstream_that_was_added_on_the_command_line() {
    let stack = Stack::one().await.unwrap();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut mock = aimock(port).unwrap();
    let base = format!("http://127.0.0.1:{port}/v1");
    let add = ["provider", "add", "aimock", "--base-url", &base, "--model", "gpt-4o"];
    let prices = ["--price-prompt", "1", "--price-completion", "2"];
    let ran = stack.farebox(&[&add[..], &prices[..]].concat()).await.unwrap();
    assert!(ran.success, "{}", ran.output);
    assert!(ran.output.contains("aimock/gpt-4o"), "{}", ran.output);
    let live = format!("{}/api/v1/models/aimock/gpt-4o/endpoints", stack.gateway(0).unwrap().url());
    for url in [live, format!("{base}/models")] {
        eventually(Duration::from_secs(20), "the mock and its model are there", || async {
            Ok(stack.http.get(&url).send().await.ok().filter(|answer| answer.status() == 200))
        })
        .await
        .unwrap();
    }
    let scripts = Scripts::of(&stack).await.unwrap().with("FAREBOX_MODEL", "aimock/gpt-4o");
    scripts.python("aimock.py").await.unwrap();
    stack.settled(Duration::from_secs(10)).await.unwrap();
    stack.verify().await.unwrap();
    mock.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_is_pinned_and_every_route_in_it_exists() {
    let stack = Stack::one().await.unwrap();
    let printed = stack.farebox(&["openapi"]).await.unwrap().output;
    let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let kept = std::fs::read_to_string(pinned).unwrap_or_default();
    assert!(
        printed.trim_end() == kept.trim_end(),
        "docs/openapi.json is not what the handlers say; write it anew: farebox openapi > docs/openapi.json"
    );
    let (_, key, manager) = stack.demo().await.unwrap();
    let served = key.get("/openapi.json").await.unwrap();
    let document: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(served.body, document);
    let routes = document["paths"].as_object().unwrap();
    assert!(routes.len() >= 9, "{routes:?}");
    for (path, methods) in routes {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace("{author}", "openai").replace("{slug}", "gpt-4o-mini");
            // Handles of nobody: the door itself answers, and says which thing was not found.
            let path = path.replace("{hash}", &"0".repeat(64));
            let method = method.to_uppercase().parse().unwrap();
            let asked = manager.request(method, &path).body("{}").send().await.unwrap();
            let (status, text) = (asked.status(), asked.text().await.unwrap());
            assert_ne!(status, 405, "{path}");
            assert!(!text.contains("does not exist. The API is described"), "{path}: {text}");
        }
    }
    let nothing = key.get("/no/such/route").await.unwrap();
    assert_eq!(nothing.status, 404);
    assert!(nothing.text.contains("/api/v1/openapi.json"), "{}", nothing.text);
}
