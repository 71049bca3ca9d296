//! Joins ports and adapters. No rule of the business is here; every port is made once a process, except what
//! belongs to a worker's own thread.

use crate::accesses::ConfiguredAccesses;
use crate::config::Config;
use crate::jobs::epochs::Lives;
use crate::own_keys::OwnKeyCache;
use crate::revocation::RevokingKeys;
use accounts::Pepper;
use accounts::receipt_key::ReceiptSigner;
use accounts::seal::Sealer;
use accounts::token::TokenSigner;
use anyhow::Context as _;
use billing::Credits;
use billing::desk::PurchaseDesk;
use billing::dispute_desk::DisputeDesk;
use billing::fees::{ByokFee, PurchaseFee};
use billing::money_desk::MoneyDesk;
use billing::refund_desk::RefundDesk;
use catalog::ports::PublishedCatalog as _;
use catalog::{Catalog, Snapshot};
use gateway::Pipeline;
use gateway::http::health::Readiness;
use gateway::intake::Intake;
use gateway::key_cache::{KeyCache, Sources};
use gateway::lookups::Lookups;
use gateway::metrics::Metrics;
use gateway::settlements::Settlements;
use gateway::stage::admit::Cashier;
use gateway::stage::authenticate::Doorkeeper;
use gateway::stage::call::Caller;
use gateway::stage::route::Switchboard;
use gateway::tasks::Tasks;
use gateway::trace::Tracing;
use gateway::upstream::{Limits, Upstream};
use kernel::clock::SystemClock;
use kernel::rng::SystemEntropy;
use kernel::{Clock, Entropy, ExposeSecret as _};
use parking_lot::Mutex;
use payments::{StripeClient, StripeConfig};
use prometheus::Registry;
use routing::HealthBoard;
use std::sync::Arc;
use store_postgres::PgStore;
use store_redis::{Epochs, RedisEngine};

/// Everything that all workers of a process share.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) config: Arc<Config>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) store: Arc<PgStore>,
    pub(crate) engine: Arc<RedisEngine>,
    pub(crate) epochs: Epochs,
    pub(crate) lives: Lives,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) keys: Arc<KeyCache>,
    pub(crate) own_keys: Arc<OwnKeyCache>,
    /// Keys as their organizations manage them: what is revoked is blocked first.
    pub(crate) managed_keys: Arc<RevokingKeys>,
    pub(crate) health: Arc<Mutex<HealthBoard>>,
    pub(crate) accesses: Arc<ConfiguredAccesses>,
    pub(crate) payments: Arc<StripeClient>,
    pub(crate) desk: PurchaseDesk,
    pub(crate) peppers: Vec<Pepper>,
    pub(crate) sealer: Sealer,
    pub(crate) tokens: TokenSigner,
    pub(crate) receipt_signer: ReceiptSigner,
    pub(crate) purchase_fee: PurchaseFee,
    pub(crate) byok_fee: ByokFee,
    pub(crate) registry: Registry,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tracing: Arc<Tracing>,
    pub(crate) tasks: Tasks,
    pub(crate) readiness: Readiness,
    pub(crate) intake: Intake,
}

/// PostgreSQL alone: for commands that need nothing else.
pub(crate) async fn store(config: &Config) -> anyhow::Result<PgStore> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let url = config.database_url.expose_secret();
    PgStore::connect(url, config.database_connections, clock, entropy)
        .await
        .context("PostgreSQL does not answer")
}

/// Connects to everything and reads what must be known before a port opens.
pub(crate) async fn build(config: Config, tracing: Tracing) -> anyhow::Result<House> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let database = config.database_url.expose_secret();
    let store =
        PgStore::connect(database, config.database_connections, Arc::clone(&clock), Arc::clone(&entropy));
    let store = Arc::new(store.await.context("PostgreSQL does not answer")?);
    store_redis::load_library(config.redis_admin_url.expose_secret())
        .await
        .context("Redis does not answer")?;
    let epochs = Epochs::new(&[]);
    let engine = RedisEngine::connect(config.redis_url.expose_secret(), epochs.clone()).await;
    let engine = Arc::new(engine.context("Redis does not answer")?);
    check_redis(&engine, &config).await?;
    let now = clock.now();
    let first = store.snapshot(now).await.unwrap_or_else(|error| {
        tracing::error!(%error, "no catalog could be loaded; the next attempt follows");
        Snapshot::empty(now)
    });
    let catalog = Arc::new(Catalog::new(first));
    let payments = Arc::new(StripeClient::new(&stripe_config(&config))?);
    let (purchase_fee, byok_fee) = (store.purchase_fee(now).await?, store.byok_fee(now).await?);
    let live = payments.live();
    let desk = PurchaseDesk::new(payments.clone(), store.clone(), store.clone(), Arc::clone(&clock), live);
    let registry = Registry::new();
    let lookups = Lookups::register(&registry)?;
    let sources = Sources { keys: store.clone(), shelf: engine.clone(), blocks: engine.clone() };
    Ok(House {
        peppers: config.peppers.iter().map(|(version, secret)| Pepper::new(*version, secret.0)).collect(),
        sealer: Sealer::new(&config.seal_key.0),
        tokens: TokenSigner::from_seed(&config.jwt_seed.0),
        receipt_signer: receipt_signer(&config)?,
        accesses: Arc::new(ConfiguredAccesses::new(&config)),
        metrics: Arc::new(Metrics::register(&registry)?),
        keys: Arc::new(KeyCache::new(sources, lookups.clone(), Arc::clone(&clock))),
        own_keys: Arc::new(OwnKeyCache::new(store.clone(), engine.clone(), lookups, Arc::clone(&clock))),
        managed_keys: Arc::new(RevokingKeys::new(store.clone(), engine.clone(), Arc::clone(&clock))),
        tracing: Arc::new(tracing),
        config: Arc::new(config),
        health: Arc::default(),
        tasks: Tasks::new(),
        readiness: Readiness::default(),
        intake: Intake::default(),
        clock,
        entropy,
        store,
        engine,
        epochs,
        lives: Lives::default(),
        catalog,
        payments,
        desk,
        purchase_fee,
        byok_fee,
        registry,
    })
}

fn receipt_signer(config: &Config) -> anyhow::Result<ReceiptSigner> {
    let (first, older) = config.receipt_seeds.split_first().context("FAREBOX_RECEIPT_SEED is empty")?;
    let older: Vec<[u8; 32]> = older.iter().map(|seed| seed.0).collect();
    Ok(ReceiptSigner::from_seeds(&first.0, &older))
}

/// Says what is wrong with Redis' settings, and refuses to sell on one that loses balances.
async fn check_redis(engine: &RedisEngine, config: &Config) -> anyhow::Result<()> {
    for hazard in engine.hazards().await.context("Redis does not answer")? {
        anyhow::ensure!(!(config.production() && hazard.is_fatal()), "Redis: {hazard}");
        tracing::warn!(%hazard, "Redis is not set as it should be");
    }
    Ok(())
}

fn stripe_config(config: &Config) -> StripeConfig {
    let mut stripe = StripeConfig::new(config.stripe_secret_key.clone());
    stripe.base_url.clone_from(&config.stripe_api_base);
    stripe
}

impl House {
    /// Credits over one engine connection.
    pub(crate) fn credits(&self, engine: &Arc<RedisEngine>) -> Credits {
        Credits::new(engine.clone(), engine.clone(), self.store.clone(), Arc::clone(&self.clock))
    }

    /// Refunds over one engine connection.
    pub(crate) fn refund_desk(&self, engine: &Arc<RedisEngine>) -> RefundDesk {
        RefundDesk {
            provider: self.payments.clone(),
            refunds: self.store.clone(),
            purchases: self.store.clone(),
            grants: self.store.clone(),
            purse: Arc::new(self.credits(engine)),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Every desk of payments over one engine connection.
    pub(crate) fn money_desk(&self, engine: &Arc<RedisEngine>) -> MoneyDesk {
        MoneyDesk {
            purchases: self.desk.clone(),
            refunds: self.refund_desk(engine),
            disputes: DisputeDesk {
                provider: self.payments.clone(),
                disputes: self.store.clone(),
                grants: self.store.clone(),
                clock: Arc::clone(&self.clock),
                live: self.payments.live(),
                site: self.config.site_url.clone(),
            },
        }
    }

    pub(crate) fn doorkeeper(&self) -> Doorkeeper {
        Doorkeeper {
            keys: self.keys.clone(),
            members: self.store.clone(),
            peppers: self.peppers.clone(),
            tokens: self.tokens.clone(),
        }
    }

    /// The pepper of new keys.
    pub(crate) fn pepper(&self) -> anyhow::Result<Pepper> {
        self.peppers.first().cloned().context("FAREBOX_KEY_PEPPER is empty")
    }

    /// The stages of one worker: its own connections to Redis and to the providers.
    pub(crate) fn pipeline(
        &self,
        engine: &Arc<RedisEngine>,
        settlements: &Settlements,
    ) -> anyhow::Result<Pipeline> {
        let upstream = Upstream::new(Limits::STANDARD).context("the upstream client could not be built")?;
        Ok(Pipeline {
            doorkeeper: self.doorkeeper(),
            switchboard: Switchboard {
                catalog: Arc::clone(&self.catalog),
                health: Arc::clone(&self.health),
                accesses: self.accesses.clone(),
                own_keys: self.own_keys.clone(),
                sealer: self.sealer.clone(),
                entropy: Arc::clone(&self.entropy),
            },
            cashier: Cashier {
                credits: self.credits(engine),
                byok: self.byok_fee,
                hold_lifetime: self.config.hold_lifetime,
                site_url: self.config.site_url.clone(),
                settlements: settlements.clone(),
                tasks: self.tasks.clone(),
                intake: self.intake.clone(),
            },
            caller: Caller { upstream, accesses: self.accesses.clone(), clock: Arc::clone(&self.clock) },
            metrics: Arc::clone(&self.metrics),
            tracing: Arc::clone(&self.tracing),
            clock: Arc::clone(&self.clock),
        })
    }
}
