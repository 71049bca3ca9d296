//! The ports of a process: API and site on the public one, the staff desk on its own, metrics on a third.

use crate::webhook::{self, WebhookDoor};
use crate::wiring::House;
use actix_web::dev::Server;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer, web as routes};
use anyhow::Context as _;
use gateway::http::account::AccountDoor;
use gateway::http::body::Bodies;
use gateway::http::catalog::CatalogDoor;
use gateway::http::chat_completions::ChatDoor;
use gateway::http::generation::GenerationDoor;
use gateway::http::keys::KeysDoor;
use gateway::http::limits::LimitsDoor;
use gateway::http::receipt::ReceiptDoor;
use gateway::http::user_models::UserModelsDoor;
use gateway::http::{
    account, answer, catalog, chat_completions, generation, health, keys, limits, openapi, receipt,
    user_models,
};
use gateway::refusal::{Kind, Refusal};
use gateway::settlements::Settlements;
use kernel::ExposeSecret as _;
use prometheus::Encoder as _;
use std::sync::Arc;
use store_redis::RedisEngine;
use web::{Attempts, Passwords, PublicDeps, Realm, Site, StaffDeps};

/// Bytes of all headers of a request.
const HEADER_BYTES: usize = 16 * 1024;
/// Passwords hashed at once, 19 MiB each.
const HASHES_AT_ONCE: usize = 4;

/// What the public port needs, made once a worker.
#[derive(Clone)]
struct Doors {
    chat: ChatDoor,
    account: AccountDoor,
    keys: KeysDoor,
    catalog: CatalogDoor,
    generation: GenerationDoor,
    receipt: ReceiptDoor,
    limits: LimitsDoor,
    user_models: UserModelsDoor,
    webhook: WebhookDoor,
    pages: PublicDeps,
}

/// What all workers share beside the house.
struct Shared<'a> {
    attempts: Arc<Attempts>,
    bodies: Bodies,
    settlements: &'a Settlements,
}

fn doors(house: &House, engine: &Arc<RedisEngine>, shared: &Shared<'_>) -> anyhow::Result<Doors> {
    let Shared { attempts, bodies, settlements } = shared;
    let account = AccountDoor {
        doorkeeper: house.doorkeeper(),
        credits: house.credits(engine),
        keys: house.managed_keys.clone(),
        clock: Arc::clone(&house.clock),
    };
    let generation = GenerationDoor {
        account: account.clone(),
        reports: house.store.clone(),
        catalog: Arc::clone(&house.catalog),
    };
    Ok(Doors {
        chat: ChatDoor {
            pipeline: Arc::new(house.pipeline(engine, settlements)?),
            tasks: house.tasks.clone(),
            entropy: Arc::clone(&house.entropy),
            readiness: house.readiness.clone(),
            bodies: bodies.clone(),
        },
        keys: KeysDoor {
            account: account.clone(),
            pepper: house.pepper()?,
            entropy: Arc::clone(&house.entropy),
        },
        limits: LimitsDoor { account: account.clone(), limits: house.store.clone() },
        user_models: UserModelsDoor { account: account.clone(), catalog: Arc::clone(&house.catalog) },
        catalog: CatalogDoor { catalog: Arc::clone(&house.catalog), clock: Arc::clone(&house.clock) },
        receipt: ReceiptDoor {
            generation: generation.clone(),
            receipts: house.store.clone(),
            signer: house.receipt_signer.clone(),
            issuer: house.config.site_url.clone(),
        },
        generation,
        webhook: WebhookDoor::new(house, engine)?,
        pages: pages(house, engine, attempts)?,
        account,
    })
}

fn site(house: &House, realm: Realm) -> Site {
    let config = &house.config;
    let url = if realm == Realm::Public { &config.site_url } else { &config.staff_url };
    let checkout = config.stripe_api_base.clone().unwrap_or_else(|| "https://checkout.stripe.com".to_owned());
    // A simulator on this machine is reached by either name.
    let local = checkout.replace("//127.0.0.1", "//localhost");
    Site {
        realm,
        url: url.clone(),
        api_base: format!("{}/api/v1", config.site_url),
        checkout_origins: if local == checkout { vec![checkout] } else { vec![checkout, local] },
        simulated: house.accesses.simulates(),
        credentials: house.accesses.credentials(),
        development: !config.production(),
        trust_proxy: config.trust_proxy,
        // Staff paste price files of megabytes.
        form_patience: std::time::Duration::from_secs(if realm == Realm::Public { 15 } else { 120 }),
    }
}

fn passwords(house: &House) -> Passwords {
    Passwords::new(accounts::password::Cost::STANDARD, HASHES_AT_ONCE, Arc::clone(&house.entropy))
}

fn pages(house: &House, engine: &Arc<RedisEngine>, attempts: &Arc<Attempts>) -> anyhow::Result<PublicDeps> {
    Ok(PublicDeps {
        site: site(house, Realm::Public),
        people: house.store.clone(),
        keys: house.managed_keys.clone(),
        pepper: house.pepper()?,
        provider_keys: house.own_keys.clone(),
        sealer: house.sealer.clone(),
        purchases: house.store.clone(),
        refunds: house.refund_desk(engine),
        disputes: house.store.clone(),
        payments: house.payments.clone(),
        reports: house.store.clone(),
        receipts: house.store.clone(),
        receipt_signer: house.receipt_signer.clone(),
        credits: house.credits(engine),
        catalog: Arc::clone(&house.catalog),
        tokens: house.tokens.clone(),
        passwords: passwords(house),
        attempts: Arc::clone(attempts),
        purchase_fee: house.purchase_fee,
        byok_fee: house.byok_fee,
        clock: Arc::clone(&house.clock),
        entropy: Arc::clone(&house.entropy),
    })
}

/// API and site. Workers get their own stages; every one has its own connections.
pub(crate) fn public(
    house: &House,
    engines: &[Arc<RedisEngine>],
    settlements: &Settlements,
) -> anyhow::Result<Server> {
    let attempts = Arc::new(Attempts::new(Arc::clone(&house.clock)));
    let bodies = Bodies::default();
    let shared = Shared { attempts, bodies, settlements };
    let made: anyhow::Result<Vec<Doors>> =
        engines.iter().map(|engine| doors(house, engine, &shared)).collect();
    let made = Arc::new(made?);
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let readiness = house.readiness.clone();
    let factory = move || {
        let turn = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let doors = made.get(turn % made.len().max(1)).cloned();
        let readiness = readiness.clone();
        App::new().configure(move |cfg| {
            health::configure(cfg, readiness);
            if let Some(doors) = doors {
                public_routes(cfg, doors);
            }
        })
    };
    let server = HttpServer::new(factory)
        .workers(engines.len().max(1))
        .tcp_nodelay(true)
        .h1_allow_half_closed(false)
        .keep_alive(std::time::Duration::from_secs(75))
        .client_request_timeout(std::time::Duration::from_secs(30))
        .shutdown_timeout(house.config.drain_patience.as_secs())
        .disable_signals();
    let listen = house.config.public_listen;
    Ok(server.bind(listen).with_context(|| format!("{listen} cannot be opened"))?.run())
}

fn public_routes(cfg: &mut ServiceConfig, doors: Doors) {
    let Doors { chat, account, keys, catalog, generation, receipt, limits, user_models, webhook, pages } =
        doors;
    webhook::configure(cfg, webhook);
    receipt::configure_keys(cfg, &receipt.signer);
    for base in ["/api/v1", "/v1"] {
        cfg.service(
            routes::scope(base)
                .app_data(Data::new(chat.clone()))
                .app_data(Data::new(account.clone()))
                .app_data(Data::new(keys.clone()))
                .app_data(Data::new(catalog.clone()))
                .app_data(Data::new(generation.clone()))
                .app_data(Data::new(receipt.clone()))
                .app_data(Data::new(limits.clone()))
                .app_data(Data::new(user_models.clone()))
                .app_data(routes::PayloadConfig::new(1024 * 1024))
                .configure(api_routes)
                .wrap(actix_web::middleware::from_fn(bounded_headers))
                .default_service(routes::to(no_such_route)),
        );
    }
    web::configure_public(cfg, pages);
}

fn api_routes(cfg: &mut ServiceConfig) {
    chat_completions::configure(cfg);
    account::configure(cfg);
    keys::configure(cfg);
    catalog::configure(cfg);
    generation::configure(cfg);
    receipt::configure(cfg);
    limits::configure(cfg);
    user_models::configure(cfg);
    openapi::configure(cfg);
}

async fn no_such_route(request: actix_web::HttpRequest) -> HttpResponse {
    let shown: String = request.path().chars().take(100).collect();
    let message =
        format!("{} {shown} does not exist. The API is described at /api/v1/openapi.json.", request.method());
    answer::refusal(&Refusal::new(Kind::NotFound, message))
}

/// Answers preflights, refuses headers larger than 16 KiB before anything is read, and lets every origin read.
async fn bounded_headers(
    request: actix_web::dev::ServiceRequest,
    next: actix_web::middleware::Next<impl actix_web::body::MessageBody + 'static>,
) -> Result<actix_web::dev::ServiceResponse<actix_web::body::BoxBody>, actix_web::Error> {
    if request.method() == actix_web::http::Method::OPTIONS {
        return Ok(request.into_response(preflight()));
    }
    let bytes: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > HEADER_BYTES {
        let message = "The request's headers are larger than 16 KiB. Send fewer or shorter ones.";
        let refused = answer::refusal(&Refusal::new(Kind::HeadersTooLarge, message));
        return Ok(request.into_response(refused));
    }
    let mut response = next.call(request).await?.map_into_boxed_body();
    let anywhere = actix_web::http::header::HeaderValue::from_static("*");
    response.headers_mut().insert(actix_web::http::header::ACCESS_CONTROL_ALLOW_ORIGIN, anywhere);
    Ok(response)
}

/// What a browser of another site asks before it calls: keys are in a header, so every origin may.
fn preflight() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header(("access-control-allow-origin", "*"))
        .insert_header(("access-control-allow-methods", "GET, POST, PATCH, DELETE, OPTIONS"))
        .insert_header(("access-control-allow-headers", "*, Authorization, Content-Type, X-Api-Key"))
        .insert_header(("access-control-max-age", "86400"))
        .finish()
}

/// The staff desk, never reachable from the public port.
pub(crate) fn staff(house: &House) -> anyhow::Result<Server> {
    let deps = StaffDeps {
        site: site(house, Realm::Staff),
        staff: house.store.clone(),
        desk: house.store.clone(),
        grants: house.store.clone(),
        refunds: house.refund_desk(&house.engine),
        disputes: house.store.clone(),
        mail: house.store.clone(),
        switch: house.store.clone(),
        catalog: Arc::clone(&house.catalog),
        passwords: passwords(house),
        attempts: Arc::new(Attempts::new(Arc::clone(&house.clock))),
        clock: Arc::clone(&house.clock),
        entropy: Arc::clone(&house.entropy),
    };
    let readiness = house.readiness.clone();
    let factory = move || {
        let (deps, readiness) = (deps.clone(), readiness.clone());
        App::new().configure(move |cfg| {
            health::configure(cfg, readiness);
            web::configure_staff(cfg, deps);
        })
    };
    let server = HttpServer::new(factory).workers(1).h1_allow_half_closed(false).disable_signals();
    let listen = house.config.staff_listen;
    Ok(server.bind(listen).with_context(|| format!("{listen} cannot be opened"))?.run())
}

/// Prometheus metrics and the same health routes.
pub(crate) fn metrics(house: &House) -> anyhow::Result<Server> {
    let (registry, readiness) = (house.registry.clone(), house.readiness.clone());
    let factory = move || {
        let (registry, readiness) = (registry.clone(), readiness.clone());
        App::new().configure(move |cfg| {
            health::configure(cfg, readiness);
            cfg.app_data(Data::new(registry));
            cfg.route("/metrics", routes::get().to(exposition));
        })
    };
    let server = HttpServer::new(factory).workers(1).disable_signals();
    let listen = house.config.metrics_listen;
    Ok(server.bind(listen).with_context(|| format!("{listen} cannot be opened"))?.run())
}

async fn exposition(registry: Data<prometheus::Registry>) -> HttpResponse {
    let mut text = Vec::new();
    match prometheus::TextEncoder::new().encode(&registry.gather(), &mut text) {
        Ok(()) => HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text),
        Err(error) => {
            tracing::error!(%error, "metrics could not be written");
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// One engine a worker. Each connects on its worker's own thread, with the first request there; that Redis
/// answers at all was seen when the house was built.
pub(crate) fn engines(house: &House) -> anyhow::Result<Vec<Arc<RedisEngine>>> {
    let url = house.config.redis_url.expose_secret();
    let engine = |_worker| Ok(Arc::new(RedisEngine::on_first_use(url, house.epochs.clone())?));
    (0..house.config.workers).map(engine).collect()
}
