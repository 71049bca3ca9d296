//! The staff desk: its own door, drafts, the refusal of what must never go live, publication.

use crate::browser::{Browser, SITE};
use crate::fakes::{DEMO_EMAIL, PASSWORD, STAFF_EMAIL, World};
use actix_web::http::StatusCode;
use catalog::draft::{DraftState, PublishedSince};
use kernel::{Clock as _, PicoUsd};

fn draft_id(world: &World) -> String {
    world.desk.drafts.lock()[0].0.id.to_string()
}

fn state(world: &World) -> DraftState {
    world.desk.drafts.lock()[0].0.state
}

#[actix_web::test]
async fn the_desk_has_a_door_of_its_own() {
    let world = World::lived_in(SITE).await;
    let door = Browser::at_staff_door(&world);
    for path in ["/", "/drafts", "/drafts/new", "/prices", "/nope"] {
        let page = door.get(path).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{path}");
        assert!(page.location().starts_with("/sign-in"), "{path}");
    }
    let customer = door.post("/sign-in", &[("email", DEMO_EMAIL), ("password", PASSWORD)]).await;
    assert_eq!(customer.status, StatusCode::UNPROCESSABLE_ENTITY, "customers are not staff");
    let page = door.post("/sign-in", &[("email", STAFF_EMAIL), ("password", PASSWORD)]).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/drafts"));
    assert!(page.cookies()[0].starts_with("fb_staff_session="));
    let public = Browser::stranger(&world);
    assert_eq!(public.get("/drafts").await.status, StatusCode::NOT_FOUND, "not on the public site");
    let wrong_door = public.post("/sign-in", &[("email", STAFF_EMAIL), ("password", PASSWORD)]).await;
    assert_eq!(wrong_door.status, StatusCode::UNPROCESSABLE_ENTITY, "staff are not customers");
}

#[actix_web::test]
async fn every_desk_page_renders() {
    let world = World::lived_in(SITE).await;
    let staff = Browser::staff(&world).await;
    let endpoint = world.catalog.snapshot().listings()[0].endpoints[0].id;
    let pages = [
        ("/drafts".to_owned(), "models-2026-11-20.json"),
        ("/drafts/new".to_owned(), "Import a price file"),
        (format!("/drafts/{}", draft_id(&world)), "Changed prices"),
        ("/prices?q=claude".to_owned(), "anthropic/claude-sonnet-5"),
        ("/switches".to_owned(), "Kill switch"),
        (format!("/prices/{endpoint}"), "Price history"),
    ];
    for (path, needle) in pages {
        let page = staff.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        page.says(needle);
        page.never_says(" style=");
    }
    assert_eq!(staff.get("/nope").await.status, StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn a_draft_shows_old_and_new_prices_and_what_was_held_back() {
    let world = World::lived_in(SITE).await;
    let page = Browser::staff(&world).await.get(&format!("/drafts/{}", draft_id(&world))).await;
    for text in [
        "$14.00",
        "$22.40",
        "+60%",
        "$3.00",
        "$2.70",
        "-10%",
        "zero price",
        "a free model is marked by staff",
    ] {
        page.says(text);
    }
}

#[actix_web::test]
async fn publishing_happens_once_now_or_later() {
    let world = World::lived_in(SITE).await;
    let staff = Browser::staff(&world).await;
    let publish = format!("/drafts/{}/publish", draft_id(&world));
    for wrong in ["2026-11-01T00:00", "soon", "2030-01-01T00:00"] {
        let page = staff.post(&publish, &[("effective", wrong)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        page.says(&format!("value=\"{wrong}\""));
    }
    assert_eq!(state(&world), DraftState::Open);
    let page = staff.post(&publish, &[("effective", "2026-12-01T00:00")]).await;
    assert!(page.location().ends_with("?done=scheduled"), "{}", page.location());
    let summary = world.desk.drafts.lock()[0].0.clone();
    assert_eq!(summary.effective_from.unwrap().to_rfc3339(), "2026-12-01T00:00:00+00:00");
    let again = staff.post(&publish, &[]).await;
    assert!(again.location().ends_with("?done=closed"));
    staff.get(again.location()).await.says("before you");
}

#[actix_web::test]
async fn a_draft_on_an_older_price_list_is_refused_with_what_came_between() {
    let world = World::lived_in(SITE).await;
    let staff = Browser::staff(&world).await;
    let path = format!("/drafts/{}", draft_id(&world));
    staff.get(&path).await.never_says("older price list");
    world.desk.since.lock().push(PublishedSince {
        version: 8,
        source: "rival.json".to_owned(),
        by: "ben@farebox.example".to_owned(),
        at: world.clock.now(),
        endpoints: vec!["openai/gpt-5.4 at openai".to_owned(), "other/model at else".to_owned()],
    });
    let refused = staff.post(&format!("{path}/publish"), &[]).await;
    assert_eq!(refused.location(), format!("{path}?done=stale"));
    assert_eq!(state(&world), DraftState::Open);
    let page = staff.get(refused.location()).await;
    for text in [
        "Not published: another draft went live",
        "Import its file again",
        "rival.json",
        "openai/gpt-5.4 at openai; 1 other endpoints",
    ] {
        page.says(text);
    }
    assert!(page.body.contains("Publishing…\" disabled"), "the button is off");
    let gone = staff.post(&format!("{path}/discard"), &[]).await;
    assert_eq!(gone.location(), "/drafts?done=discarded");
}

#[actix_web::test]
async fn the_kill_switch_is_turned_with_a_reason_and_turned_back() {
    let world = World::lived_in(SITE).await;
    let staff = Browser::staff(&world).await;
    staff.get("/switches").await.says("Nothing is switched off");
    for (fields, text) in [
        (vec![("kind", "provider"), ("subject", "northgrid"), ("reason", "")], "Say why"),
        (vec![("kind", "planet"), ("subject", "northgrid"), ("reason", "x")], "Choose what to switch"),
        (vec![("kind", "provider"), ("subject", "nobody"), ("reason", "x")], "There is no provider “nobody”"),
    ] {
        let page = staff.post("/switches", &fields).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{fields:?}");
        page.says(text);
    }
    assert!(world.desk.turns.lock().is_empty());
    let off = [("kind", "provider"), ("subject", "northgrid"), ("reason", "wrong answers since noon")];
    let turned = staff.post("/switches", &off).await;
    assert_eq!(turned.location(), "/switches?done=off");
    let page = staff.get(turned.location()).await;
    page.says("wrong answers since noon");
    page.says("Bring back");
    page.never_says("<option value=\"northgrid\"");
    assert_eq!(world.desk.turns.lock()[0].by, STAFF_EMAIL);
    let on = [("kind", "provider"), ("subject", "northgrid"), ("reason", "mended"), ("on", "1")];
    assert_eq!(staff.post("/switches", &on).await.location(), "/switches?done=on");
    let page = staff.get("/switches").await;
    page.says("Nothing is switched off");
    page.says("mended");
    assert_eq!(Browser::at_staff_door(&world).post("/switches", &off).await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.desk.turns.lock().len(), 2);
}

#[actix_web::test]
async fn a_draft_with_a_zero_price_is_refused_with_its_reason() {
    let world = World::lived_in(SITE).await;
    world.desk.drafts.lock()[0].1.endpoints[2].rates.completion = PicoUsd::ZERO;
    let staff = Browser::staff(&world).await;
    let page = staff.post(&format!("/drafts/{}/publish", draft_id(&world)), &[]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.says("This draft cannot be published");
    page.says("a price of zero is never published");
    assert_eq!(state(&world), DraftState::Open);
}

#[actix_web::test]
async fn a_draft_is_discarded_and_a_stranger_decides_nothing() {
    let world = World::lived_in(SITE).await;
    let id = draft_id(&world);
    let door = Browser::at_staff_door(&world);
    for act in ["publish", "discard"] {
        assert_eq!(door.post(&format!("/drafts/{id}/{act}"), &[]).await.status, StatusCode::SEE_OTHER);
        let staff = Browser::staff(&world).await;
        assert_eq!(staff.post_raw(&format!("/drafts/{id}/{act}"), &[]).await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(state(&world), DraftState::Open);
    let page = Browser::staff(&world).await.post(&format!("/drafts/{id}/discard"), &[]).await;
    assert_eq!(page.location(), "/drafts?done=discarded");
    assert_eq!(state(&world), DraftState::Discarded);
}

#[actix_web::test]
async fn a_price_file_becomes_a_draft_and_rubbish_is_explained() {
    let world = World::fresh(SITE).await;
    let staff = Browser::staff(&world).await;
    for rubbish in ["", "not json", "{\"a\": 1}"] {
        let page = staff.post("/drafts", &[("source", "my file"), ("content", rubbish)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{rubbish}");
        page.says("value=\"my file\"");
    }
    let file = r#"{"rows": []}"#;
    let page = staff.post("/drafts", &[("source", "rows.json"), ("content", file)]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.body);
    let drafts = world.desk.drafts.lock();
    assert_eq!((drafts[0].0.source.as_str(), drafts[0].0.created_by.as_str()), ("rows.json", STAFF_EMAIL));
}
