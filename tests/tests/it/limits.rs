//! Hard limits of every scope: key, member, workspace and organization, for whole answers, streams and the
//! browser's own calls.

use crate::support::{BOOKED, ask};
use e2e::{Key, KeyWish, Stack, eventually, text_of};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";
const SOON: Duration = Duration::from_secs(10);

async fn put(manager: &Key, scope: &str, body: &Value) -> Value {
    let answer = manager.send(Method::PUT, &format!("/limits/{scope}"), body).await.unwrap();
    assert_eq!(answer.status, 200, "{scope}: {}", answer.text);
    answer.body["data"].clone()
}

/// Whole and streamed, by key and by browser: all refused, or all served.
async fn all(callers: &[Key], served: bool) -> anyhow::Result<Option<()>> {
    let body = ask(MODEL, "Hello.", 20);
    for caller in callers {
        let whole = caller.chat(&body).await?;
        let streamed = caller.stream(&body).await?;
        let fits = |status: u16| if served { status == 200 } else { status == 403 };
        if !fits(whole.status) || !fits(streamed.status) {
            return Ok(None);
        }
        if !served {
            assert_eq!(whole.error_type(), "permission_denied", "{}", whole.text);
        }
    }
    Ok(Some(()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scope_bounds_whole_answers_streams_and_the_browser() {
    let stack = Stack::one().await.unwrap();
    let (mut customer, key) = stack.paying("10").await.unwrap();
    let manager = customer.management_key(&stack).await.unwrap();
    let about = key.get("/key").await.unwrap().body["data"].clone();
    let (member, workspace) =
        (text_of(&about, "/creator_user_id").to_owned(), text_of(&about, "/workspace_id").to_owned());
    let browser = stack.key(0, &customer.token().await.unwrap()).unwrap();
    let callers = [key.clone(), browser];
    all(&callers, true).await.unwrap().expect("without a limit everybody is served");
    for scope in ["organization", workspace.as_str(), member.as_str()] {
        let set = put(&manager, scope, &json!({ "limit": 0.000000001, "limit_reset": "monthly" })).await;
        assert_eq!((text_of(&set, "/scope"), text_of(&set, "/limit_reset")), (scope, "monthly"), "{set}");
        let refused = eventually(SOON, "the limit holds for everybody", || all(&callers, false));
        refused.await.unwrap_or_else(|error| panic!("{scope}: {error}"));
        let read = manager.get(&format!("/limits/{scope}")).await.unwrap();
        assert_eq!(read.body["data"]["limit"].to_string(), "1e-9", "{scope}: {}", read.text);
        put(&manager, scope, &json!({ "limit": null })).await;
        let served = eventually(SOON, "without it everybody is served again", || all(&callers, true));
        served.await.unwrap_or_else(|error| panic!("{scope}: {error}"));
    }
    let own = customer.key(&stack, KeyWish { limit: "0.000000001", reset: "" }).await.unwrap();
    all(std::slice::from_ref(&own), false).await.unwrap().expect("the key's own limit");

    for (scope, status) in [("wsp_0000000000000000000000", 404), ("nothing", 404)] {
        let refused =
            manager.send(Method::PUT, &format!("/limits/{scope}"), &json!({ "limit": 1 })).await.unwrap();
        assert_eq!(refused.status, status, "{scope}: {}", refused.text);
    }
    let wrong = key.send(Method::PUT, "/limits/organization", &json!({ "limit": 1 })).await.unwrap();
    assert_eq!(wrong.status, 403, "only management keys: {}", wrong.text);
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}
