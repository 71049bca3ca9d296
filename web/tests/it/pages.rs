//! Every page renders, with data and without, and keeps to what the content security policy allows.

use crate::browser::{Browser, SITE, Shown};
use crate::fakes::{DEMO_EMAIL, World};
use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use catalog::{Catalog, Snapshot};
use kernel::{Clock as _, NanoUsd};
use std::sync::Arc;

const PUBLIC: [(&str, &str); 8] = [
    ("/", "One key for every model"),
    ("/models", "anthropic/claude-sonnet-5"),
    ("/models?q=claude&sort=price", "1 of 9"),
    ("/models/anthropic/claude-sonnet-5", "Endpoints and prices"),
    ("/providers", "Northgrid"),
    ("/pricing", "$26,375.00"),
    ("/sign-in", "Welcome back"),
    ("/sign-up", "Create your account"),
];

/// The whole outcome policy is on its page, and what sells or charges leads there.
#[actix_web::test]
async fn the_outcome_policy_is_public_row_by_row() {
    let world = World::lived_in(SITE).await;
    let page = Browser::stranger(&world).get("/billing-policy").await;
    sound("policy", &page);
    assert_eq!(page.body.matches("<th scope=\"row\"").count(), billing::outcomes::ROWS.len());
    page.says("client takes nothing for 45 s");
    page.says("farebox-receipt-keys.json");
    let customer = Browser::customer(&world).await;
    for path in ["/models", "/models/openai/gpt-5.4", "/credits", "/pricing"] {
        customer.get(path).await.says("href=\"/billing-policy\"");
    }
}

const ACCOUNT: [(&str, &str); 9] = [
    ("/dashboard", "Overview"),
    ("/credits", "Buy credits"),
    ("/credits/confirm?amount=10", "Pay $10.80"),
    ("/keys", "API keys"),
    ("/keys/new", "Create an API key"),
    ("/provider-keys", "Provider keys"),
    ("/usage", "Usage"),
    ("/logs", "Logs"),
    ("/style", "Components"),
];

/// What holds for every page, whatever it shows.
#[track_caller]
fn sound(path: &str, page: &Shown) {
    assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.body);
    let body = &page.body;
    assert!(body.contains("<html lang=\"en\""), "{path}");
    assert!(body.contains("class=\"skip\""), "{path}: skip link");
    assert!(body.matches("<h1").count() >= 1, "{path}: heading");
    assert!(!body.contains(" style="), "{path}: the policy allows no style attributes");
    for handler in [" onclick", " onload", " onsubmit", " onerror", "javascript:"] {
        assert!(!body.contains(handler), "{path}: {handler}");
    }
    let scripts = body.matches("<script").count();
    assert_eq!(scripts, body.matches("<script nonce=\"").count(), "{path}: a script without nonce");
    assert_eq!(body.matches("<table").count(), body.matches("<caption").count(), "{path}: captions");
    for (form, rest) in body.match_indices("method=\"post\"").map(|(at, _)| (at, &body[at..])) {
        let form_body = rest.split("</form>").next().unwrap();
        assert!(form_body.contains("name=\"csrf\" value=\""), "{path}: form at {form} without token");
    }
}

#[actix_web::test]
async fn public_pages_render_for_strangers_and_customers() {
    let world = World::lived_in(SITE).await;
    let (stranger, customer) = (Browser::stranger(&world), Browser::customer(&world).await);
    for (path, needle) in PUBLIC {
        let page = stranger.get(path).await;
        sound(path, &page);
        page.says(needle);
        page.says("Sign in");
        if !path.starts_with("/sign") {
            let page = customer.get(path).await;
            sound(path, &page);
            page.says(DEMO_EMAIL);
            page.says("$18.20");
        }
    }
}

#[actix_web::test]
async fn account_pages_render_with_a_month_of_use_and_with_none() {
    for world in [World::lived_in(SITE).await, World::fresh(SITE).await] {
        let customer = Browser::customer(&world).await;
        for (path, needle) in ACCOUNT {
            let page = customer.get(path).await;
            sound(path, &page);
            page.says(needle);
        }
    }
}

#[actix_web::test]
async fn pages_render_while_nothing_is_for_sale() {
    let mut world = World::fresh(SITE).await;
    world.catalog = Arc::new(Catalog::new(Snapshot::empty(world.clock.now())));
    let customer = Browser::customer(&world).await;
    for path in ["/", "/models", "/providers", "/dashboard", "/provider-keys", "/logs"] {
        sound(path, &customer.get(path).await);
    }
}

#[actix_web::test]
async fn account_pages_lead_strangers_to_the_sign_in_page_and_back() {
    let world = World::fresh(SITE).await;
    let stranger = Browser::stranger(&world);
    for path in ["/dashboard", "/credits", "/keys", "/keys/new", "/provider-keys", "/usage", "/logs"] {
        let page = stranger.get(path).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{path}");
        assert_eq!(page.location(), format!("/sign-in?next={}", path.replace('/', "%2F")));
    }
}

#[actix_web::test]
async fn the_models_list_filters_sorts_and_says_when_nothing_matches() {
    let world = World::fresh(SITE).await;
    let browser = Browser::stranger(&world);
    let page = browser.get("/models?provider=redwood&sort=price").await;
    page.says("3 of 9");
    page.never_says("anthropic/claude-sonnet-5</small>");
    let order = |slug: &str| page.body.find(&format!("{slug}</small>")).unwrap();
    assert!(order("meta-llama/llama-5-70b-instruct") < order("qwen/qwen4-coder"), "cheapest first");
    assert!(page.body.contains("aria-sort=\"ascending\""));
    browser.get("/models?modality=image").await.says("4 of 9");
    browser.get("/models?q=nothing-like-this").await.says("No model matches");
    browser.get("/models?page=999999999999999999999").await.says("Models");
}

#[actix_web::test]
async fn logs_go_on_page_by_page_and_end() {
    let world = World::lived_in(SITE).await;
    let customer = Browser::customer(&world).await;
    let first = customer.get("/logs").await;
    assert_eq!(first.body.matches(": receipt").count(), 50);
    let at = first.body.find("before=").unwrap();
    let cursor: String = first.body[at..].chars().take_while(|c| *c != '"').collect();
    let second = customer.get(&format!("/logs?{cursor}")).await;
    assert_eq!(second.body.matches(": receipt").count(), 10);
    second.never_says("Older calls");
    customer.get("/logs?model=qwen%2Fqwen4-coder").await.says("qwen/qwen4-coder");
    for bad in ["/logs?before=nonsense", "/logs?key=nonsense", "/usage?key=nonsense"] {
        assert_eq!(customer.get(bad).await.status, StatusCode::NOT_FOUND, "{bad}");
    }
}

#[actix_web::test]
async fn a_receipt_shows_attempts_tokens_price_version_and_the_exact_charge() {
    let world = World::lived_in(SITE).await;
    let customer = Browser::customer(&world).await;
    let call = world.reports.calls.lock()[1].clone();
    let page = customer.get(&format!("/logs/{}", call.record.id)).await;
    sound("receipt", &page);
    for text in ["$0.001562407", "rate limited", "429", "1,024", "3 (price list 7)", "$0.06144", "Simulated"]
    {
        page.says(text);
    }
    for text in ["$3.00", "$15.00", "of it corrected later", "Settled, final"] {
        page.says(text);
    }
    let path = format!("/logs/{}/receipt.json", call.record.id);
    let file = customer.get(&path).await;
    assert!(file.header("content-disposition").starts_with("attachment; filename=\"receipt-gen-"));
    let signed: serde_json::Value = serde_json::from_str(&file.body).unwrap();
    let keys = world.public_deps().receipt_signer.published();
    let (receipt, _) = accounts::receipt_key::check(&signed, &keys).unwrap();
    assert_eq!(receipt["charge_usd"], "0.001562407");
    assert_eq!(Browser::stranger(&world).get(&path).await.status, StatusCode::SEE_OTHER);
    let estimated = world.reports.calls.lock()[3].record.id;
    customer.get(&format!("/logs/{estimated}")).await.says("Our own count");
    let mut foreign = call;
    foreign.record.org = kernel::ids::OrgId::from_uuid(Default::default());
    *world.reports.calls.lock() = vec![foreign.clone()];
    assert_eq!(customer.get(&path).await.status, StatusCode::NOT_FOUND);
    let page = customer.get(&format!("/logs/{}", foreign.record.id)).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND, "another organization's call");
}

#[actix_web::test]
async fn usage_adds_up_and_filters_by_model_and_period() {
    let world = World::lived_in(SITE).await;
    let customer = Browser::customer(&world).await;
    let days = world.reports.days.lock().clone();
    let total: i64 = days.iter().map(|day| day.charge.get()).sum();
    let page = customer.get("/usage").await;
    page.says(&format!("Exactly {}", web::format::exact(NanoUsd::new(total))));
    assert_eq!(page.body.matches("<title>").count(), 31, "thirty columns and the page's own title");
    let one = customer.get("/usage?days=7&model=deepseek%2Fdeepseek-v4").await;
    one.says("Only deepseek/deepseek-v4");
    one.never_says("</span><a href=\"/usage?days=7&#38;model=openai");
}

#[actix_web::test]
async fn the_checklist_follows_what_was_done() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    let page = customer.get("/dashboard").await;
    assert_eq!(page.body.matches("class=\"done\"").count(), 0);
    world.engine.balance.lock().granted = NanoUsd::new(1);
    assert_eq!(customer.get("/dashboard").await.body.matches("class=\"done\"").count(), 1);
    let lived_in = World::lived_in(SITE).await;
    Browser::customer(&lived_in).await.get("/dashboard").await.never_says("class=\"todo\"");
}

#[actix_web::test]
async fn the_theme_is_kept_in_a_cookie_and_rendered_by_the_server() {
    let world = World::fresh(SITE).await;
    let browser = Browser::stranger(&world);
    let set = browser.post("/theme", &[("theme", "dark"), ("next", "/models?q=a")]).await;
    assert_eq!(set.location(), "/models?q=a");
    assert!(set.cookies().iter().any(|cookie| cookie.starts_with("fb_theme=dark")));
    let request = TestRequest::get().uri("/").insert_header(("cookie", "fb_theme=dark"));
    browser.send(request).await.says("data-theme=\"dark\"");
    let hostile = TestRequest::get().uri("/").insert_header(("cookie", "fb_theme=\"><script>"));
    browser.send(hostile).await.says("data-theme=\"auto\"");
    assert_eq!(browser.post("/theme", &[("theme", "pink")]).await.status, StatusCode::BAD_REQUEST);
    let away = browser.post("/theme", &[("theme", "dark"), ("next", "//evil.example")]).await;
    assert_eq!(away.location(), "/");
}

#[actix_web::test]
async fn assets_are_named_by_content_and_kept_for_ever() {
    let world = World::fresh(SITE).await;
    let browser = Browser::stranger(&world);
    for name in ["farebox.css", "farebox.js", "try.js", "purchase.js", "mark.svg"] {
        let page = browser.get(web::assets::url(name)).await;
        assert_eq!(page.status, StatusCode::OK, "{name}");
        assert!(page.header("cache-control").contains("immutable"));
    }
    assert_eq!(browser.get("/assets/0000000000000000/farebox.css").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        browser.get("/assets/0000000000000000/..%2f..%2fCargo.toml").await.status,
        StatusCode::NOT_FOUND
    );
}
