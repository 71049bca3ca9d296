//! A database for one test: copied from a migrated template, dropped at the end, whatever the end is.

use futures_util::FutureExt as _;
use kernel::clock::FixedClock;
use kernel::rng::SystemEntropy;
use kernel::{Clock, Entropy as _, Moment};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use store_postgres::PgStore;

/// `pg_advisory_lock` key under which one process makes the template.
const TEMPLATE_LOCK: i64 = 7_309_455;

pub(crate) struct Db {
    pub(crate) url: String,
    pub(crate) store: PgStore,
    pub(crate) clock: Arc<FixedClock>,
}

impl Db {
    /// Runs SQL as the superuser, with no word from the store.
    pub(crate) async fn sql(&self, sql: &'static str) {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Runs SQL that breaks the rules: triggers are switched off, the named constraints are dropped before.
    pub(crate) async fn plant(&self, sql: &'static str) {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        sqlx::raw_sql("SET session_replication_role = replica").execute(&mut connection).await.unwrap();
        let done = sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        assert!(done.rows_affected() > 0, "nothing was planted by {sql}");
        connection.close().await.unwrap();
    }

    /// The error of SQL that the database must refuse.
    pub(crate) async fn refused(&self, sql: &'static str) -> String {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let error = sqlx::raw_sql(sql).execute(&mut connection).await.unwrap_err();
        error.to_string()
    }

    /// One number.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let row = sqlx::raw_sql(sql).fetch_one(&mut connection).await.unwrap();
        row.get(0)
    }
}

/// The moment at which every test begins: a Friday noon.
pub(crate) fn noon() -> Moment {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

/// Runs a test on a database of its own.
pub(crate) async fn with_db<F: AsyncFnOnce(Db)>(test: F) {
    let server = testkit::postgres::url();
    let name = format!("farebox_test_{:016x}", SystemEntropy.next_u64());
    let template = template(&server).await;
    admin(&server, format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
    let clock = Arc::new(FixedClock::at(noon()));
    let url = named(&server, &name);
    let shared: Arc<dyn Clock> = Arc::<FixedClock>::clone(&clock);
    let store = PgStore::connect(&url, 8, shared, Arc::new(SystemEntropy)).await.unwrap();
    let db = Db { url, store: store.clone(), clock };
    let outcome = AssertUnwindSafe(test(db)).catch_unwind().await;
    store.close().await;
    admin(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// The migrated template of these very migrations; made by whoever comes first.
async fn template(server: &str) -> String {
    let migrations = sqlx::migrate!("../../migrations");
    let sum = migrations
        .iter()
        .flat_map(|one| one.checksum.iter())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let name = format!("farebox_template_{sum:016x}");
    let mut connection = PgConnection::connect(server).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})")))
        .execute(&mut connection)
        .await
        .unwrap();
    let asked = format!("SELECT 1 FROM pg_database WHERE datname = '{name}'");
    let there = sqlx::raw_sql(AssertSqlSafe(asked)).fetch_optional(&mut connection).await.unwrap().is_some();
    if !there {
        // Under another name until it is complete: a test that dies half-way leaves no half template.
        let draft = format!("{name}_draft");
        admin(server, format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)")).await;
        admin(server, format!("CREATE DATABASE {draft}")).await;
        let clock = Arc::new(FixedClock::at(noon()));
        let store =
            PgStore::connect(&named(server, &draft), 1, clock, Arc::new(SystemEntropy)).await.unwrap();
        store.migrate().await.unwrap();
        store.migrate().await.unwrap();
        store.close().await;
        admin(server, format!("ALTER DATABASE {draft} RENAME TO {name}")).await;
    }
    connection.close().await.unwrap();
    name
}

async fn admin(server: &str, sql: String) {
    let mut connection = PgConnection::connect(server).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// The same server, another database.
fn named(server: &str, name: &str) -> String {
    let (base, query) =
        server.split_once('?').map_or((server, String::new()), |(base, q)| (base, format!("?{q}")));
    let (base, _) = base.rsplit_once('/').unwrap();
    format!("{base}/{name}{query}")
}
