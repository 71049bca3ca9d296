//! Money that goes back, over the real binary: refunds by the button and by staff, disputes that freeze, and
//! messages that come twice, in the wrong order, or not at all.

use crate::support::{BOOKED, DOLLAR, ask};
use e2e::{KeyWish, Site, Stack, eventually};
use serde_json::{Value, json};

const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";
const PASSWORD: &str = "a cashier's long password";

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What follows a marker on a page, up to the next slash or quotation mark.
fn after<'a>(page: &'a str, marker: &str) -> &'a str {
    page.split_once(marker).and_then(|(_, rest)| rest.split(['/', '"']).next()).unwrap_or_default()
}

/// The newest purchase: its number in addresses and the payment behind it.
async fn newest(stack: &Stack, customer: &mut e2e::Customer) -> (String, String) {
    let page = customer.site.get("/credits").await.unwrap();
    let payment = stack.database.ask("SELECT payment FROM purchase ORDER BY id DESC LIMIT 1").unwrap();
    (after(&page.body, "href=\"/credits/purchases/").to_owned(), payment)
}

async fn balance_is(stack: &Stack, account: &e2e::Customer, nano: i64) {
    eventually(BOOKED, "the balance", || async { Ok((account.balance(stack)? == nano).then_some(())) })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn unused_credits_go_back_once_by_the_button_and_come_back_when_the_bank_refuses() {
    let stack = Stack::one().await.unwrap();
    let mut customer = stack.customer().await.unwrap();
    customer.buy(&stack, "10.00").await.unwrap();
    let key = customer.key(&stack, KeyWish::default()).await.unwrap();
    let spent = key.chat(&ask(MODEL, "Use a little of it.", 50)).await.unwrap().cost().unwrap();
    stack.settled(BOOKED).await.unwrap();
    let (purchase, _) = newest(&stack, &mut customer).await;
    let page = format!("/credits/purchases/{purchase}");
    let shown = customer.site.get(&page).await.unwrap();
    assert!(shown.body.contains("Refund $9.99"), "the offer is the unused rest in whole cents");
    let sent = customer.site.submit(&page, &format!("{page}/refund"), &[]).await.unwrap();
    assert_eq!(sent.status, 303, "{}", sent.body);
    balance_is(&stack, &customer, 10 * DOLLAR - spent - 9_990_000_000).await;
    let shown = customer.site.get(&page).await.unwrap();
    assert!(
        shown.body.contains("Refunded to the card") && !shown.body.contains("Refund $"),
        "{}",
        shown.body
    );
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();

    let refund = stack.database.ask("SELECT provider_id FROM refund").unwrap();
    stack.payments.webhooks(json!({ "mode": "duplicate" })).await.unwrap();
    stack.payments.control(&format!("refunds/{refund}/fail")).await.unwrap();
    balance_is(&stack, &customer, 10 * DOLLAR - spent).await;
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispute_freezes_and_its_end_decides_in_whatever_order_messages_come() {
    let stack = Stack::one().await.unwrap();
    let mut customer = stack.customer().await.unwrap();
    customer.buy(&stack, "10.00").await.unwrap();
    let key = customer.key(&stack, KeyWish::default()).await.unwrap();
    let question = ask(MODEL, "Am I frozen?", 50);
    assert_eq!(key.chat(&question).await.unwrap().status, 200);
    stack.settled(BOOKED).await.unwrap();
    let before = customer.balance(&stack).unwrap();
    let (purchase, payment) = newest(&stack, &mut customer).await;
    stack.payments.webhooks(json!({ "mode": "reordered" })).await.unwrap();
    let dispute = stack.payments.control(&format!("dispute/{payment}")).await.unwrap();
    balance_is(&stack, &customer, before - 10_800_000_000).await;
    let refused = eventually(BOOKED, "the account is frozen", || async {
        let reply = key.chat(&question).await?;
        Ok((reply.status == 403).then_some(reply))
    })
    .await
    .unwrap();
    assert!(
        refused.text.contains("disputed at the bank") && refused.text.contains("/credits"),
        "{}",
        refused.text
    );
    let page = customer.site.get("/credits").await.unwrap();
    assert!(page.body.contains("this account is frozen"));
    let shown = customer.site.get(&format!("/credits/purchases/{purchase}")).await.unwrap();
    assert!(!shown.body.contains("Refund $"), "nothing is refunded while a payment is disputed");
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();

    stack.payments.webhooks(json!({ "mode": "duplicate" })).await.unwrap();
    stack.payments.control(&format!("disputes/{}/won", text(&dispute, "/id"))).await.unwrap();
    balance_is(&stack, &customer, before).await;
    eventually(BOOKED, "the account is free", || async {
        Ok((key.chat(&question).await?.status == 200).then_some(()))
    })
    .await
    .unwrap();
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}

async fn staff(stack: &Stack, email: &str) -> Site {
    let added = stack.farebox_typing(&["staff", "add", email], &format!("{PASSWORD}\n")).await.unwrap();
    assert!(added.success, "{}", added.output);
    let mut site = Site::new(&stack.gateway(0).unwrap().staff_url(), stack.http.clone());
    let fields = [("email", email), ("password", PASSWORD)];
    let signed = site.submit("/sign-in", "/sign-in", &fields).await.unwrap();
    assert_eq!(signed.status, 303);
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_refund_more_than_a_hundred_dollars_only_with_four_eyes() {
    let stack = Stack::one().await.unwrap();
    let mut customer = stack.customer().await.unwrap();
    customer.buy(&stack, "250.00").await.unwrap();
    let (purchase, _) = newest(&stack, &mut customer).await;
    let mut first = staff(&stack, "first@e2e.example").await;
    let mut second = staff(&stack, "second@e2e.example").await;
    let page = format!("/payments/{purchase}");
    let wish = [("amount", "150.00"), ("reason", "bought twice by mistake")];
    let sent = first.submit(&page, &format!("{page}/refund"), &wish).await.unwrap();
    assert_eq!(sent.status, 303, "{}", sent.body);
    assert_eq!(customer.balance(&stack).unwrap(), 250 * DOLLAR);
    let waiting = second.get("/payments").await.unwrap();
    let decide = format!("/refunds/{}/decide", after(&waiting.body, "action=\"/refunds/"));
    let own = first.submit(&page, &decide, &[("decision", "agree")]).await.unwrap();
    assert_eq!(own.status, 400);
    assert!(own.body.contains("cannot agree to it"), "{}", own.body);
    let agreed = second.submit("/payments", &decide, &[("decision", "agree")]).await.unwrap();
    assert_eq!(agreed.status, 303, "{}", agreed.body);
    balance_is(&stack, &customer, 100 * DOLLAR).await;
    assert_eq!(
        stack.database.number("SELECT count(*) FROM audit_log WHERE action LIKE 'refund.%'").unwrap(),
        2
    );
    stack.settled(BOOKED).await.unwrap();
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_provider_that_is_away_says_so_and_when_to_come_back() {
    let options = e2e::Options {
        environment: vec![("FAREBOX_STRIPE_API_BASE".to_owned(), "http://127.0.0.1:9".to_owned())],
        ..e2e::Options::default()
    };
    let stack = Stack::start(options).await.unwrap();
    let mut customer = stack.customer().await.unwrap();
    let form = "/credits/confirm?amount=10.00";
    let page = customer.site.submit(form, "/credits/purchases", &[("amount", "10.00")]).await.unwrap();
    assert_eq!(page.status, 503);
    assert!(page.body.contains("The payment provider does not answer right now"), "{}", page.body);
    assert_eq!(page.retry_after.as_deref(), Some("5"));
}
