//! API keys and provider keys: shown once, stored as fingerprints and sealed, never across organizations.

use crate::browser::{Browser, SITE, Shown, carried};
use crate::fakes::World;
use accounts::api_key::{KeySecret, LimitReset};
use accounts::seal::Sealer;
use actix_web::http::StatusCode;
use kernel::ids::OrgId;
use kernel::{Clock as _, ExposeSecret as _, NanoUsd};

#[actix_web::test]
async fn a_new_key_is_shown_once_with_its_limit_and_ready_code() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    let fields = [("name", "Agent"), ("limit", "$5"), ("reset", "weekly"), ("expires", "30")];
    let page = customer.make_key(&fields).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("cache-control"), "no-store");
    let text = secret_in(&page);
    let secret = KeySecret::parse(&text).unwrap();
    assert_eq!(page.body.matches(text.as_str()).count(), 4, "the key itself and three snippets");
    page.says("base_url=&#34;http://localhost:8080/api/v1&#34;");
    page.says("$5.00 a week");
    page.says("Your balance is empty");

    let stored = world.keys.keys.lock()[0].key.clone();
    assert_eq!((stored.limit, stored.limit_reset), (Some(NanoUsd::new(5_000_000_000)), LimitReset::Weekly));
    assert_eq!(stored.expires_at, Some(world.clock.now() + chrono::Duration::days(30)));
    assert_eq!(stored.org, world.demo().org.id);
    assert_eq!(stored.label, secret.label());
    assert_eq!(stored.hash.len(), 64);
    let list = customer.get("/keys").await;
    list.says("Agent");
    list.says(&secret.label());
    list.never_says(&text);
}

#[actix_web::test]
async fn a_faulty_key_form_keeps_its_input_and_makes_nothing() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    let form = customer.get("/keys/new").await;
    let page = customer.send_key(&form, &[("name", ""), ("limit", "-5"), ("reset", "daily")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.says("Give the key a name");
    page.says("Enter a limit in dollars above zero");
    page.says("value=\"-5\"");
    page.says("value=\"daily\" selected");
    assert!(world.keys.keys.lock().is_empty());
}

fn secret_in(page: &Shown) -> String {
    let at = page.body.find("sk-fb-v1-").unwrap();
    page.body[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}

#[actix_web::test]
async fn an_unknown_choice_is_refused_by_the_name_of_its_field() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    let form = customer.get("/keys/new").await;
    for (field, value) in [
        ("kind", "root"),
        ("reset", "yearly"),
        ("reset", "none"),
        ("expires", "soon"),
        ("expires", "0"),
        ("expires", "-1"),
        ("expires", "99999"),
    ] {
        let page = customer.send_key(&form, &[("name", "Agent"), (field, value)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{field} {value}");
        page.says(&format!("“{value}” is not one of the choices of the field “{field}”"));
        page.says(&format!("id=\"{field}-error\""));
        assert!(world.keys.keys.lock().is_empty(), "{field} {value}");
    }
}

#[actix_web::test]
async fn a_form_that_is_sent_twice_makes_one_key_and_both_answers_show_it() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    let form = customer.get("/keys/new").await;
    let fields = [("name", "Agent"), ("limit", "5")];
    let (first, second) = tokio::join!(customer.send_key(&form, &fields), customer.send_key(&form, &fields));
    assert_eq!((first.status, second.status), (StatusCode::SEE_OTHER, StatusCode::SEE_OTHER));
    assert_eq!(world.keys.keys.lock().len(), 1);
    let shown = [&first, &second].map(|answer| customer.get_with(answer.location(), carried(answer)));
    let [one, two] = shown;
    assert_eq!(secret_in(&one.await), secret_in(&two.await));
    let other = customer.send_key(&customer.get("/keys/new").await, &fields).await;
    assert_ne!(other.location(), first.location());
    assert_eq!(world.keys.keys.lock().len(), 2, "another form makes another key");

    world.clock.advance(std::time::Duration::from_secs(301));
    let late = customer.send_key(&form, &fields).await;
    assert_eq!(late.location(), "/keys?done=made");
    assert!(late.cookies().is_empty());
    assert_eq!(world.keys.keys.lock().len(), 2);
    customer.get(late.location()).await.says("has made its key already");
}

#[actix_web::test]
async fn a_made_key_is_shown_once_to_its_maker_and_is_in_no_address() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    let form = customer.get("/keys/new").await;
    let made = customer.send_key(&form, &[("name", "Agent")]).await;
    let (way, cookie) = (made.location(), carried(&made));
    let all = made.cookies()[0];
    assert!(all.contains("HttpOnly") && all.contains("Max-Age=300"), "{all}");
    let page = customer.get_with(way, cookie).await;
    let secret = secret_in(&page);
    for text in [way, cookie, form.body.as_str()] {
        assert!(!text.contains(&secret) && !text.contains(&secret[9..30]), "{text}");
    }
    assert!(page.cookies()[0].starts_with("fb_new_key=;") && page.cookies()[0].contains("Max-Age=0"));

    let again = customer.get(way).await;
    assert_eq!(again.location(), "/keys?done=shown", "the browser has no cookie any more");
    customer.get("/keys?done=shown").await.says("shown already");
    let second = customer.send_key(&customer.get("/keys/new").await, &[("name", "Other")]).await;
    assert_eq!(customer.get_with(second.location(), cookie).await.location(), "/keys?done=shown");
    assert_eq!(Browser::stranger(&world).get_with(way, cookie).await.status, StatusCode::SEE_OTHER);
    world.clock.advance(std::time::Duration::from_secs(300));
    assert_eq!(customer.get_with(way, cookie).await.location(), "/keys?done=shown", "too late");
    assert_eq!(world.keys.keys.lock().len(), 2, "looking makes nothing");
}

#[actix_web::test]
async fn a_key_is_disabled_enabled_and_deleted_after_a_question() {
    let world = World::lived_in(SITE).await;
    let customer = Browser::customer(&world).await;
    let hash = world.keys.keys.lock()[0].key.hash.clone();
    let disabled = || world.keys.keys.lock()[0].key.disabled;
    let page = customer.post(&format!("/keys/{hash}/disable"), &[]).await;
    assert_eq!(page.location(), "/keys?done=disabled");
    assert!(disabled());
    customer.get("/keys?done=disabled").await.says("calls with it are refused from now on");
    customer.post(&format!("/keys/{hash}/enable"), &[]).await;
    assert!(!disabled());
    customer.get(&format!("/keys/{hash}/delete")).await.says("Delete this API key?");
    assert_eq!(world.keys.keys.lock().len(), 3, "asking deletes nothing");
    assert_eq!(customer.post(&format!("/keys/{hash}/delete"), &[]).await.location(), "/keys?done=deleted");
    assert_eq!(world.keys.keys.lock().len(), 2);
}

#[actix_web::test]
async fn keys_of_other_organizations_do_not_exist() {
    let world = World::lived_in(SITE).await;
    let customer = Browser::customer(&world).await;
    let other = OrgId::from_uuid(Default::default());
    for entry in world.keys.keys.lock().iter_mut() {
        entry.key.org = other;
    }
    let hash = world.keys.keys.lock()[0].key.hash.clone();
    for act in ["disable", "enable", "delete"] {
        let page = customer.post(&format!("/keys/{hash}/{act}"), &[]).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{act}");
    }
    assert_eq!(customer.get(&format!("/keys/{hash}/delete")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.keys.keys.lock().len(), 3);
    customer.get("/keys").await.says("No keys yet");
}

#[actix_web::test]
async fn a_provider_key_is_sealed_for_its_organization_and_never_shown_again() {
    const SECRET: &str = "sk-ant-very-secret-4f2a";
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    let fields = [("provider", "anthropic"), ("secret", SECRET), ("name", ""), ("fallback", "1")];
    let page = customer.post("/provider-keys", &fields).await;
    assert_eq!(page.location(), "/provider-keys?done=added");
    let (org, key, sealed) = world.provider_keys.keys.lock()[0].clone();
    assert_eq!((key.hint.as_str(), key.name.as_str(), key.fallback), ("4f2a", "anthropic", true));
    let sealer = Sealer::new(&[5; 32]);
    assert_eq!(sealer.open(org, "provider_key", &sealed).unwrap().expose_secret(), SECRET);
    let list = customer.get("/provider-keys").await;
    list.says("…4f2a");
    list.never_says(SECRET);

    let question = customer.get(&format!("/provider-keys/{}/delete", key.id)).await;
    question.says("Delete this provider key?");
    world.provider_keys.keys.lock()[0].0 = OrgId::from_uuid(Default::default());
    let foreign = customer.post(&format!("/provider-keys/{}/delete", key.id), &[]).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    world.provider_keys.keys.lock()[0].0 = org;
    customer.post(&format!("/provider-keys/{}/delete", key.id), &[]).await;
    assert!(world.provider_keys.keys.lock().is_empty());
}

#[actix_web::test]
async fn a_faulty_provider_key_is_not_kept_not_even_in_the_form() {
    let world = World::fresh(SITE).await;
    let customer = Browser::customer(&world).await;
    for (provider, secret) in
        [("nobody", "sk-good-enough"), ("anthropic", "with a space"), ("anthropic", "x")]
    {
        let page = customer.post("/provider-keys", &[("provider", provider), ("secret", secret)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{provider} {secret}");
        page.never_says(&format!("value=\"{secret}\""));
    }
    assert!(world.provider_keys.keys.lock().is_empty());
}
