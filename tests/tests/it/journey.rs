//! A newcomer's whole way in a real browser with real clients, and every page under the eyes of axe-core.

use crate::scripts::Scripts;
use e2e::Stack;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_buys_calls_and_sees_the_truth_to_the_nano_dollar() {
    let stack = Stack::one().await.unwrap();
    let scripts = Scripts::of(&stack).await.unwrap();
    scripts.browser("journey.mjs").await.unwrap();
    stack.settled(Duration::from_secs(10)).await.unwrap();
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_usable_by_everyone_in_light_and_dark_wide_and_narrow() {
    let stack = Stack::one().await.unwrap();
    let scripts = Scripts::of(&stack).await.unwrap();
    // Something for the pages to show.
    scripts.node("dropin.mjs").await.unwrap();
    scripts.browser("pages.mjs").await.unwrap();
}
