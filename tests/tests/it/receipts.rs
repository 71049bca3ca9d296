//! Signed receipts of real calls: by API and page, checked offline by the binary alone, and every forgery refused.

use crate::support::{BOOKED, ask};
use e2e::{Stack, nano_at, text_of};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A folder of this test's own for the files that a customer would keep.
fn folder(stack: &Stack) -> PathBuf {
    let port = stack.gateway(0).unwrap().url().rsplit(':').next().unwrap().to_owned();
    let folder = std::env::temp_dir().join(format!("farebox-receipts-{}-{port}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_a_real_call_is_checked_offline_and_its_forgeries_are_refused() {
    let stack = Stack::one().await.unwrap();
    let (mut customer, key) = stack.paying("10").await.unwrap();
    let rule = json!({ "provider": "groq", "times": 1, "script": { "status": 429 } });
    stack.providers.script(rule).await.unwrap();
    let mut body = ask("meta-llama/llama-3.3-70b-instruct", "Hello.", 50);
    body["provider"] = json!({ "order": ["groq"] });
    let reply = key.chat(&body).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text);
    let path = format!("/generation/receipt?id={}", reply.generation());
    // The route waits for the ledger by itself.
    let answer = key.get(&path).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    let receipt = &answer.body["receipt"];
    assert_eq!(nano_at(receipt, "/charge_usd").unwrap(), reply.cost().unwrap(), "{receipt}");
    assert!(nano_at(receipt, "/hold_usd").unwrap() >= reply.cost().unwrap());
    assert_eq!(text_of(receipt, "/paid_by"), "credits");
    assert_eq!(text_of(receipt, "/closing"), "settled");
    assert_eq!(receipt["attempts"].as_array().unwrap().len(), 2, "{receipt}");
    assert_eq!(receipt["attempts"][0]["status"], 429);
    assert_eq!(receipt["tokens"]["completion"], reply.body["usage"]["completion_tokens"]);
    assert!(!text_of(receipt, "/price/rates/prompt_per_million").is_empty(), "{receipt}");
    let shown = key.receipt(reply.generation()).await.unwrap();
    assert_eq!(text_of(&shown, "/provider_name"), reply.header("x-provider-name"), "one name everywhere");
    assert_eq!(text_of(&shown, "/farebox/provider"), text_of(receipt, "/provider"), "the slug is there too");

    let gateway = stack.gateway(0).unwrap().url();
    let published =
        stack.http.get(format!("{gateway}/.well-known/farebox-receipt-keys.json")).send().await.unwrap();
    assert_eq!(published.status(), 200);
    let keys = published.text().await.unwrap();
    let folder = folder(&stack);
    let (file, keys_file) = (folder.join("receipt.json"), folder.join("keys.json"));
    std::fs::write(&keys_file, &keys).unwrap();
    let page = customer.site.get(&format!("/logs/{}/receipt.json", reply.generation())).await.unwrap();
    let from_page: Value = serde_json::from_str(&page.body).unwrap();
    assert_eq!(from_page, answer.body, "page and API give one receipt");

    let verify = async |content: &Value| {
        std::fs::write(&file, content.to_string()).unwrap();
        let arguments = ["receipt", "verify", file.to_str().unwrap(), "--keys", keys_file.to_str().unwrap()];
        // No configuration at all: the binary alone.
        stack.farebox_bare(&arguments).await.unwrap()
    };
    let good = verify(&answer.body).await;
    assert!(good.success && good.output.contains("The receipt is valid"), "{}", good.output);
    for (pointer, value) in [
        ("/receipt/charge_usd", json!("0")),
        ("/receipt/tokens/completion", json!(1)),
        ("/receipt/attempts", json!([])),
        ("/receipt/id", json!("gen-other")),
        ("/signature/value", json!("AAAA")),
    ] {
        let mut forged = answer.body.clone();
        *forged.pointer_mut(pointer).unwrap() = value;
        let bad = verify(&forged).await;
        assert!(!bad.success && bad.output.contains("NOT valid"), "{pointer}: {}", bad.output);
    }

    let (_other, stranger) = stack.paying("5").await.unwrap();
    assert_eq!(stranger.get(&path).await.unwrap().status, 404, "another organization's receipt");
    std::fs::remove_dir_all(&folder).unwrap();
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}
