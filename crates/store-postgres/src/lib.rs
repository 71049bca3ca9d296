//! What is remembered: the one PostgreSQL adapter of every port of accounts, billing and catalog.
//!
//! Each port has a file; each port method is one transaction. It decides no business and knows no wire
//! shapes. Queries are checked against the schema at compile time.

mod audit;
mod catalog_desk;
mod catalog_read;
mod confirmations;
mod convert;
mod disputes;
mod epochs;
mod error;
mod fee_rules;
mod ingest;
mod key_directory;
mod keys;
mod kill_switch;
mod ledger;
mod limits;
mod mail;
mod notices;
mod partitions;
mod people;
mod posting;
mod provider_keys;
mod purchases;
mod receipts;
mod refunds;
mod reports;
mod shelf;
mod staff;
mod states;
mod tariffs;
mod windows;

pub use accounts::limits::LimitOwner;
pub use notices::{Notice, Notices, notices};

use error::Named as _;
use kernel::{Clock, Entropy, StoreError};
use parking_lot::Mutex;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use std::collections::BTreeSet;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

/// How long a caller waits for a free connection before the store counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The PostgreSQL store. Cheap to clone; all clones share one pool.
#[derive(Clone)]
pub struct PgStore {
    pool: PgPool,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Days whose partitions this process has seen to.
    days: Arc<Mutex<BTreeSet<chrono::NaiveDate>>>,
}

impl std::fmt::Debug for PgStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgStore").field("connections", &self.pool.size()).finish_non_exhaustive()
    }
}

impl PgStore {
    /// Opens a pool of at most so many connections. Ids are drawn from the clock and the entropy.
    ///
    /// # Errors
    /// `Unavailable` when the server does not answer, `Corrupt` when the URL is none.
    pub async fn connect(
        url: &str,
        max_connections: u32,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        let bounded = [
            ("statement_timeout", "30s"),
            ("lock_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "60s"),
            ("timezone", "UTC"),
        ];
        let options = options(url)?.options(bounded);
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await
            .named("connect")?;
        Ok(Self { pool, clock, entropy, days: Arc::default() })
    }

    /// Applies the embedded migrations that the database lacks, on a connection without time limits.
    ///
    /// # Errors
    /// `Corrupt` when an applied migration differs from the embedded one, `Unavailable` for the rest.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let options = (*self.pool.connect_options())
            .clone()
            .options([("statement_timeout", "0"), ("lock_timeout", "0")]);
        let mut connection = PgConnection::connect_with(&options).await.named("connect to migrate")?;
        let outcome = sqlx::migrate!("../../migrations").run(&mut connection).await;
        connection.close().await.named("migrate")?;
        outcome.map_err(error::migration)
    }

    /// Whether the server answers: for readiness.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query_scalar!("SELECT 1").fetch_one(&self.pool).await.named("ping").map(|_one| ())
    }

    /// Closes the pool; waits for running statements.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    fn new_id(&self) -> uuid::Uuid {
        kernel::ids::new_uuid_v7(self.clock.as_ref(), self.entropy.as_ref())
    }
}

fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    // The text of a URL may carry a password, so the error does not repeat it.
    PgConnectOptions::from_str(url).map_err(|_secret| StoreError::corrupt("the database URL cannot be read"))
}
