//! Staff switch a provider off: every gateway stops calling it within a second, and calls it again when it is
//! brought back.

use crate::support::{BOOKED, ask};
use e2e::{Options, Site, Stack, eventually};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

const EMAIL: &str = "switch@e2e.example";
const PASSWORD: &str = "a long password for the desk";
const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_switched_off_is_called_by_no_gateway_until_it_is_brought_back() {
    let stack = Stack::start(Options { gateways: 2, ..Options::default() }).await.unwrap();
    let (_customer, key) = stack.paying("10").await.unwrap();
    let keys = [key.clone(), key.at(&stack.gateway(1).unwrap().url())];
    let added = stack.farebox_typing(&["staff", "add", EMAIL], &format!("{PASSWORD}\n")).await.unwrap();
    assert!(added.success, "{}", added.output);
    let mut desk = Site::new(&stack.gateway(0).unwrap().staff_url(), stack.http.clone());
    let signed =
        desk.submit("/sign-in", "/sign-in", &[("email", EMAIL), ("password", PASSWORD)]).await.unwrap();
    assert_eq!(signed.status, 303, "{}", signed.body);

    let mut only = ask("meta-llama/llama-3.3-70b-instruct", "Hello.", 20);
    only["provider"] = json!({ "only": ["groq"] });
    let free = ask("meta-llama/llama-3.3-70b-instruct", "Hello.", 20);
    let all = async |served: bool| {
        for key in &keys {
            let reply = key.chat(&only).await?;
            if (reply.status == 200) != served {
                return Ok::<_, anyhow::Error>(None);
            }
            assert!(served || reply.status == 404, "{}", reply.text);
        }
        Ok(Some(()))
    };
    all(true).await.unwrap().expect("it is served before");
    let off = [("kind", "provider"), ("subject", "groq"), ("reason", "an end-to-end test")];
    let turned = desk.submit("/switches", "/switches", &off).await.unwrap();
    assert_eq!(turned.location.as_deref(), Some("/switches?done=off"), "{}", turned.body);
    let begun = Instant::now();
    eventually(SOON, "no gateway calls it", || all(false)).await.unwrap();
    println!("every gateway had stopped {} ms after the turn", begun.elapsed().as_millis());
    for key in &keys {
        let other = key.chat(&free).await.unwrap();
        assert_eq!(other.status, 200, "others serve the model: {}", other.text);
        assert_ne!(other.header("x-provider-name"), "Groq");
    }
    let audited =
        "SELECT count(*) FROM audit_log WHERE action = 'catalog.switch_off' AND actor = 'switch@e2e.example'";
    assert_eq!(stack.database.number(audited).unwrap(), 1);
    let on = [("kind", "provider"), ("subject", "groq"), ("reason", "the test is over"), ("on", "1")];
    assert_eq!(desk.submit("/switches", "/switches", &on).await.unwrap().status, 303);
    eventually(SOON, "every gateway calls it again", || all(true)).await.unwrap();
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}
