//! The hosted page as a browser without JavaScript uses it.

use serde_json::json;

use crate::harness::Shop;

async fn press(shop: &Shop, session: &str, button: &str) -> (u16, Option<String>, String) {
    let request = shop.client.post(shop.url(&format!("/c/pay/{session}/{button}"))).body("email=a%40b.test");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let response = request.send().await.unwrap();
    let location = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), location, response.text().await.unwrap())
}

#[tokio::test]
async fn the_page_says_what_it_is_and_what_is_bought() {
    let shop = Shop::start(|_| {});
    let session = shop.session().await;
    let page = shop.client.get(session["url"].as_str().unwrap()).send().await.unwrap().text().await.unwrap();
    for words in ["Payment simulator", "Credits", "Fee", "10.80 USD", "Decline", "Cancel"] {
        assert!(page.contains(words), "{words}");
    }
    let missing = shop.client.get(shop.url("/c/pay/cs_none")).send().await.unwrap();
    assert_eq!(missing.status(), 404);
}

#[tokio::test]
async fn paying_twice_charges_once_and_leads_to_the_success_address() {
    let shop = Shop::start(|_| {});
    let session = shop.session().await;
    let id = session["id"].as_str().unwrap();
    let target = Some(format!("http://shop.test/ok?s={id}"));
    for _ in 0..2 {
        let (status, location, _) = press(&shop, id, "pay").await;
        assert_eq!((status, &location), (303, &target));
    }
    assert_eq!(shop.get("/v1/charges").await["data"].as_array().unwrap().len(), 1);
    let paid = shop.get(&format!("/v1/checkout/sessions/{id}")).await;
    assert_eq!(paid["customer_details"]["email"], "a@b.test");
    let page = shop.client.get(session["url"].as_str().unwrap()).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("has been paid") && !page.contains("<form"));
}

#[tokio::test]
async fn a_declined_card_says_so_and_can_be_tried_again() {
    let shop = Shop::start(|_| {});
    let id = shop.session().await["id"].as_str().unwrap().to_owned();
    let (status, _, page) = press(&shop, &id, "decline").await;
    assert_eq!(status, 402);
    assert!(page.contains("Your card was declined") && page.contains("<form"));
    let open = shop.get(&format!("/v1/checkout/sessions/{id}?expand[]=payment_intent")).await;
    assert_eq!((&open["status"], &open["payment_status"]), (&json!("open"), &json!("unpaid")));
    assert_eq!(open["payment_intent"]["last_payment_error"]["code"], "card_declined");
    assert_eq!(press(&shop, &id, "pay").await.0, 303);
    let paid = shop.get(&format!("/v1/checkout/sessions/{id}")).await;
    assert_eq!(paid["payment_intent"], open["payment_intent"]["id"]);
    let expected = [
        "payment_intent.payment_failed",
        "charge.failed",
        "payment_intent.succeeded",
        "charge.succeeded",
        "checkout.session.completed",
    ];
    assert_eq!(shop.event_types().await, expected);
}

#[tokio::test]
async fn cancelling_leads_back_and_changes_nothing() {
    let shop = Shop::start(|_| {});
    let session = shop.session().await;
    let id = session["id"].as_str().unwrap();
    let (status, location, _) = press(&shop, id, "cancel").await;
    assert_eq!((status, location.as_deref()), (303, Some("http://shop.test/no")));
    assert_eq!(shop.get(&format!("/v1/checkout/sessions/{id}")).await, session);
}
