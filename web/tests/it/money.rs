//! Buying credits: the fee before paying, the order to the payment provider, the page that confirms itself.

use crate::browser::{Browser, SITE};
use crate::fakes::World;
use actix_web::http::StatusCode;
use kernel::{Cents, Clock as _};

#[actix_web::test]
async fn the_fee_is_shown_in_dollars_and_percent_before_paying() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    let rows = [("amount=10", "$0.80", "8.00%", "$10.80"), ("custom=%24100", "$5.50", "5.50%", "$105.50")];
    for (query, fee, percent, total) in rows {
        let page = customer.get(&format!("/credits/confirm?{query}")).await;
        for text in [fee, percent, total] {
            page.says(text);
        }
    }
    assert!(world.purchases.all.lock().is_empty(), "looking at a fee buys nothing");
}

#[actix_web::test]
async fn an_amount_that_is_not_sold_keeps_what_was_typed_and_says_what_is() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    for (typed, sentence) in
        [("4.99", "smallest purchase is $5.00"), ("99999", "largest purchase is"), ("abc", "Enter an amount")]
    {
        let page = customer.get(&format!("/credits/confirm?custom={typed}")).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{typed}");
        page.says(sentence);
        page.says(&format!("value=\"{typed}\""));
        let posted = customer.post("/credits/purchases", &[("amount", typed)]).await;
        assert_eq!(posted.status, StatusCode::BAD_REQUEST, "{typed}");
    }
    assert!(world.purchases.all.lock().is_empty());
}

#[actix_web::test]
async fn a_purchase_is_recorded_then_paid_elsewhere_and_confirms_itself() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    let page =
        customer.post("/credits/purchases", &[("amount", "10.00"), ("fee", "0"), ("total", "0.01")]).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "http://localhost:9797/pay/cs_1"));
    let purchase = world.purchases.all.lock()[0].clone();
    assert_eq!((purchase.amount, purchase.fee), (Cents::new(1000), Cents::new(80)));
    assert_eq!(purchase.session.as_deref(), Some("cs_1"));
    let order = world.payments.orders.lock()[0].clone();
    assert_eq!(order.total, Cents::new(1080));
    assert_eq!(order.success_url, format!("{SITE}/credits/purchases/{}", purchase.id));
    assert_eq!(order.cancel_url, format!("{SITE}/credits/purchases/{}?cancelled=1", purchase.id));

    let path = format!("/credits/purchases/{}", purchase.id);
    let waiting = customer.get(&path).await;
    waiting.says("Confirming your payment");
    waiting.says("http-equiv=\"refresh\"");
    waiting.says("data-purchase-status");
    assert_eq!(customer.get(&format!("{path}/status")).await.body, r#"{"state":"open"}"#);
    customer.get(&format!("{path}?cancelled=1")).await.says("You have not paid yet");

    world.purchases.pay(purchase.id, world.clock.now());
    assert_eq!(customer.get(&format!("{path}/status")).await.body, r#"{"state":"granted"}"#);
    let done = customer.get(&path).await;
    done.says("$10.00 of credits are on your account.");
    done.never_says("http-equiv=\"refresh\"");
    customer.get("/credits").await.says("badge good\">Paid");
}

#[actix_web::test]
async fn a_purchase_of_others_does_not_exist() {
    let world = World::lived_in(SITE).await;
    let customer = Browser::customer(&world).await;
    let mut foreign = world.purchases.all.lock()[0].clone();
    foreign.org = kernel::ids::OrgId::from_uuid(Default::default());
    *world.purchases.all.lock() = vec![foreign.clone()];
    for path in
        [format!("/credits/purchases/{}", foreign.id), format!("/credits/purchases/{}/status", foreign.id)]
    {
        assert_eq!(customer.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}
