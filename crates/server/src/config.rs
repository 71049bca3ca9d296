//! The one reader of configuration: a TOML file, then the environment, checked as a whole before a port
//! opens. Every fault is reported at once. Nothing else reads the environment.

use billing::backlog::BacklogBounds;
use kernel::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whether simulators may stand in and secrets may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Development,
    Production,
}

/// 32 secret bytes that print as nothing.
#[derive(Clone)]
pub(crate) struct Secret32(pub(crate) [u8; 32]);

impl std::fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) mode: Mode,
    pub(crate) database_url: SecretString,
    pub(crate) database_connections: u32,
    pub(crate) redis_url: SecretString,
    /// Every Redis process by its own address, to seal one that was replaced.
    pub(crate) redis_nodes: Vec<SecretString>,
    /// How long a Redis process that was replaced and cannot be asked may still write.
    pub(crate) redis_fence: Duration,
    /// For loading the function library; the gateway's own user need not be allowed to.
    pub(crate) redis_admin_url: SecretString,
    pub(crate) public_listen: SocketAddr,
    pub(crate) staff_listen: SocketAddr,
    pub(crate) metrics_listen: SocketAddr,
    pub(crate) site_url: String,
    pub(crate) staff_url: String,
    /// The first one signs new keys; the others still open old ones.
    pub(crate) peppers: Vec<(i16, Secret32)>,
    pub(crate) seal_key: Secret32,
    pub(crate) jwt_seed: Secret32,
    /// The first signs receipts; the others are still published.
    pub(crate) receipt_seeds: Vec<Secret32>,
    pub(crate) stripe_secret_key: SecretString,
    pub(crate) stripe_webhook_secret: SecretString,
    pub(crate) stripe_api_base: Option<String>,
    pub(crate) simulator_url: Option<String>,
    pub(crate) otlp_endpoint: Option<String>,
    pub(crate) workers: usize,
    pub(crate) journal_dir: PathBuf,
    pub(crate) journal_segment_bytes: u64,
    pub(crate) hold_lifetime: Duration,
    pub(crate) drain_patience: Duration,
    /// How much may wait for the ledger.
    pub(crate) backlog: BacklogBounds,
    pub(crate) trust_proxy: bool,
    /// Where a debug build kills itself; a release has no such places.
    #[cfg(debug_assertions)]
    pub(crate) failpoints: String,
    pub(crate) log: String,
    /// Provider credentials by the name of their variable.
    pub(crate) credentials: BTreeMap<String, SecretString>,
}

/// For tests of crashes; no setting of the product.
const FAILPOINTS: &str = "FAREBOX_FAILPOINTS";

/// Every setting: its variable, whether production insists on it, and what it is for. `check-config` prints it.
pub(crate) const SETTINGS: [(&str, &str); 32] = [
    ("FAREBOX_MODE", "development or production"),
    ("FAREBOX_DATABASE_URL", "PostgreSQL 15 or newer"),
    ("FAREBOX_DATABASE_CONNECTIONS", "connections of the pool (20)"),
    ("FAREBOX_REDIS_URL", "Redis 7 or newer, with appendonly yes"),
    ("FAREBOX_REDIS_ADMIN_URL", "user that may load functions (FAREBOX_REDIS_URL)"),
    (
        "FAREBOX_REDIS_NODES",
        "every Redis process by its own address, after commas, to seal one that was replaced",
    ),
    ("FAREBOX_REDIS_FENCE_SECONDS", "a replaced Redis that does not answer is waited for (5)"),
    ("FAREBOX_PUBLIC_LISTEN", "address of API and site (127.0.0.1:8080)"),
    ("FAREBOX_STAFF_LISTEN", "address of the staff desk (127.0.0.1:8081)"),
    ("FAREBOX_METRICS_LISTEN", "address of /metrics (127.0.0.1:9090)"),
    ("FAREBOX_SITE_URL", "how customers reach the site (http://localhost:8080)"),
    ("FAREBOX_STAFF_URL", "how staff reach the desk (http://localhost:8081)"),
    ("FAREBOX_KEY_PEPPER", "v1:64 hex digits; older ones after a comma"),
    ("FAREBOX_SEAL_KEY", "64 hex digits that seal the customers' provider keys"),
    (
        "FAREBOX_RECEIPT_SEED",
        "64 hex digits, the Ed25519 seed of receipts; older ones after a comma (from FAREBOX_JWT_SEED)",
    ),
    ("FAREBOX_JWT_SEED", "64 hex digits, the Ed25519 seed of browser tokens"),
    ("FAREBOX_STRIPE_SECRET_KEY", "sk_live_… or sk_test_…"),
    ("FAREBOX_STRIPE_WEBHOOK_SECRET", "whsec_…"),
    ("FAREBOX_STRIPE_API_BASE", "only for a payments simulator"),
    ("FAREBOX_SIMULATOR_URL", "only in development: stands in for providers without a credential"),
    ("FAREBOX_OTLP_ENDPOINT", "OpenTelemetry collector, e.g. http://localhost:4318"),
    ("FAREBOX_WORKERS", "worker threads (one a core)"),
    (
        "FAREBOX_JOURNAL_DIR",
        "folder on a local disk for unfinished calls (/var/lib/farebox/journal; development: .farebox/journal)",
    ),
    ("FAREBOX_JOURNAL_SEGMENT_MIB", "size of a journal's files; two are always kept (64)"),
    ("FAREBOX_HOLD_LIFETIME_SECONDS", "a hold that nobody renews is swept after (120)"),
    ("FAREBOX_DRAIN_SECONDS", "how long streams may end after SIGTERM (120)"),
    (
        "FAREBOX_UNBOOKED_SECONDS",
        "new calls are refused while a settlement waits for the ledger so long (900)",
    ),
    ("FAREBOX_UNBOOKED_ENTRIES", "… while so many wait in Redis (2000000)"),
    ("FAREBOX_UNBOOKED_MIB", "… while one shard of them takes so much of Redis' memory (1024)"),
    ("FAREBOX_TRUST_PROXY", "true when an edge proxy of yours sets X-Forwarded-For"),
    ("FAREBOX_LOG", "log filter (info)"),
    ("FAREBOX_CONFIG", "path of a TOML file with the same names in lower case, without the prefix"),
];

/// Values by variable name, from file and environment, with the faults found so far.
struct Reader {
    values: BTreeMap<String, String>,
    faults: Vec<String>,
}

/// All that is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} fault(s):\n{}", .0.len(), .0.iter().map(|f| format!("  - {f}")).collect::<Vec<_>>().join("\n"))]
pub(crate) struct ConfigFaults(pub(crate) Vec<String>);

impl Config {
    /// Reads the file (if one is named) and the environment.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, ConfigFaults> {
        let environment = environment();
        let named = file.map(Path::to_path_buf).or_else(|| environment.get("FAREBOX_CONFIG").map(Into::into));
        let mut values = match named {
            Some(path) => read_file(&path).map_err(|fault| ConfigFaults(vec![fault]))?,
            None => BTreeMap::new(),
        };
        values.extend(environment);
        Self::from_values(values)
    }

    /// Checks a set of values as a whole.
    pub(crate) fn from_values(values: BTreeMap<String, String>) -> Result<Self, ConfigFaults> {
        let mut reader = Reader { values, faults: Vec::new() };
        let config = reader.read();
        reader.unknown();
        if reader.faults.is_empty() { Ok(config) } else { Err(ConfigFaults(reader.faults)) }
    }

    pub(crate) fn production(&self) -> bool {
        self.mode == Mode::Production
    }
}

impl Reader {
    fn read(&mut self) -> Config {
        let mode = self.mode();
        let redis_url = self.secret("FAREBOX_REDIS_URL");
        let config = Config {
            mode,
            database_url: self.secret("FAREBOX_DATABASE_URL"),
            database_connections: self.number("FAREBOX_DATABASE_CONNECTIONS", 20, 2..=1000),
            redis_admin_url: self
                .text("FAREBOX_REDIS_ADMIN_URL")
                .map_or_else(|| redis_url.clone(), SecretString::from),
            redis_url,
            redis_nodes: self.list("FAREBOX_REDIS_NODES"),
            redis_fence: self.seconds("FAREBOX_REDIS_FENCE_SECONDS", 5, 0..=600),
            public_listen: self.address("FAREBOX_PUBLIC_LISTEN", "127.0.0.1:8080"),
            staff_listen: self.address("FAREBOX_STAFF_LISTEN", "127.0.0.1:8081"),
            metrics_listen: self.address("FAREBOX_METRICS_LISTEN", "127.0.0.1:9090"),
            site_url: self.url("FAREBOX_SITE_URL", "http://localhost:8080"),
            staff_url: self.url("FAREBOX_STAFF_URL", "http://localhost:8081"),
            peppers: self.peppers(),
            seal_key: self.hex("FAREBOX_SEAL_KEY"),
            jwt_seed: self.hex("FAREBOX_JWT_SEED"),
            receipt_seeds: self.receipt_seeds(),
            stripe_secret_key: self.secret("FAREBOX_STRIPE_SECRET_KEY"),
            stripe_webhook_secret: self.secret("FAREBOX_STRIPE_WEBHOOK_SECRET"),
            stripe_api_base: self.text("FAREBOX_STRIPE_API_BASE"),
            simulator_url: self.text("FAREBOX_SIMULATOR_URL"),
            otlp_endpoint: self.text("FAREBOX_OTLP_ENDPOINT"),
            workers: usize::try_from(self.number("FAREBOX_WORKERS", cores(), 1..=512)).unwrap_or(1),
            journal_dir: self.journal_dir(mode),
            journal_segment_bytes: u64::from(self.number("FAREBOX_JOURNAL_SEGMENT_MIB", 64, 1..=1024)) << 20,
            hold_lifetime: self.seconds("FAREBOX_HOLD_LIFETIME_SECONDS", 120, 2..=3600),
            drain_patience: self.seconds("FAREBOX_DRAIN_SECONDS", 120, 0..=3600),
            backlog: self.backlog(),
            trust_proxy: self.flag("FAREBOX_TRUST_PROXY"),
            #[cfg(debug_assertions)]
            failpoints: self.text(FAILPOINTS).unwrap_or_default(),
            log: self.text("FAREBOX_LOG").unwrap_or_else(|| "info".to_owned()),
            credentials: self.credentials(),
        };
        self.check_stripe(&config);
        self.check_production(&config);
        config
    }

    fn text(&self, name: &str) -> Option<String> {
        self.values.get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn fault(&mut self, name: &str, what: &str) {
        self.faults.push(format!("{name}: {what}"));
    }

    fn mode(&mut self) -> Mode {
        match self.text("FAREBOX_MODE").as_deref() {
            None | Some("production") => Mode::Production,
            Some("development") => Mode::Development,
            Some(_) => {
                self.fault("FAREBOX_MODE", "must be development or production");
                Mode::Production
            }
        }
    }

    fn secret(&mut self, name: &str) -> SecretString {
        if self.text(name).is_none() {
            self.fault(name, "is required");
        }
        SecretString::from(self.text(name).unwrap_or_default())
    }

    fn number(&mut self, name: &str, default: u32, range: std::ops::RangeInclusive<u32>) -> u32 {
        let Some(text) = self.text(name) else { return default };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                self.fault(name, &format!("must be a number from {} to {}", range.start(), range.end()));
                default
            }
        }
    }

    fn seconds(&mut self, name: &str, default: u32, range: std::ops::RangeInclusive<u32>) -> Duration {
        Duration::from_secs(u64::from(self.number(name, default, range)))
    }

    /// Without a setting of its own, the key of receipts follows from the seed of browser tokens.
    fn receipt_seeds(&mut self) -> Vec<Secret32> {
        let Some(text) = self.text("FAREBOX_RECEIPT_SEED") else {
            let seed = self.text("FAREBOX_JWT_SEED").as_deref().and_then(parse_hex);
            return seed.iter().map(|seed| Secret32(accounts::seal::derive(&seed.0, "receipts"))).collect();
        };
        let seeds: Option<Vec<Secret32>> = text.split(',').map(|part| parse_hex(part.trim())).collect();
        seeds.unwrap_or_else(|| {
            self.fault("FAREBOX_RECEIPT_SEED", "must be 64 hex digits; older ones follow after a comma");
            Vec::new()
        })
    }

    fn backlog(&mut self) -> BacklogBounds {
        BacklogBounds {
            oldest: self.seconds("FAREBOX_UNBOOKED_SECONDS", 900, 1..=86_400),
            entries: u64::from(self.number("FAREBOX_UNBOOKED_ENTRIES", 2_000_000, 1..=1_000_000_000)),
            shard_bytes: u64::from(self.number("FAREBOX_UNBOOKED_MIB", 1024, 1..=1_048_576)) << 20,
        }
    }

    fn journal_dir(&self, mode: Mode) -> PathBuf {
        let default = match mode {
            Mode::Production => "/var/lib/farebox/journal",
            Mode::Development => ".farebox/journal",
        };
        self.text("FAREBOX_JOURNAL_DIR").unwrap_or_else(|| default.to_owned()).into()
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.text(name).as_deref() {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(_) => {
                self.fault(name, "must be true or false");
                false
            }
        }
    }

    fn list(&self, name: &str) -> Vec<SecretString> {
        let text = self.text(name).unwrap_or_default();
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| SecretString::from(part.to_owned())).collect()
    }

    fn address(&mut self, name: &str, default: &str) -> SocketAddr {
        let text = self.text(name).unwrap_or_else(|| default.to_owned());
        text.parse().unwrap_or_else(|_malformed| {
            self.fault(name, "must be an address like 127.0.0.1:8080");
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn url(&mut self, name: &str, default: &str) -> String {
        let text = self.text(name).unwrap_or_else(|| default.to_owned());
        let sound = reqwest::Url::parse(&text)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.path() == "/");
        if !sound {
            self.fault(name, "must be scheme, host and port, like https://farebox.example");
        }
        text.trim_end_matches('/').to_owned()
    }

    fn hex(&mut self, name: &str) -> Secret32 {
        let text = self.text(name).unwrap_or_default();
        parse_hex(&text).unwrap_or_else(|| {
            self.fault(name, "must be 64 hex digits (openssl rand -hex 32)");
            Secret32([0; 32])
        })
    }

    fn peppers(&mut self) -> Vec<(i16, Secret32)> {
        let text = self.text("FAREBOX_KEY_PEPPER").unwrap_or_default();
        let one = |part: &str| {
            let (version, digits) = part.trim().strip_prefix('v')?.split_once(':')?;
            Some((version.parse().ok()?, parse_hex(digits)?))
        };
        let peppers: Option<Vec<_>> = text.split(',').map(one).collect();
        peppers.unwrap_or_else(|| {
            self.fault(
                "FAREBOX_KEY_PEPPER",
                "must be v1: and 64 hex digits; older ones follow after a comma",
            );
            Vec::new()
        })
    }

    /// Credentials are the variables that end like one and are not our own.
    fn credentials(&self) -> BTreeMap<String, SecretString> {
        const ENDS: [&str; 5] = ["_API_KEY", "_TOKEN", "_PAT", "_KEY", "_ACCESS_TOKEN"];
        let is_credential =
            |name: &str| !name.starts_with("FAREBOX_") && ENDS.iter().any(|end| name.ends_with(end));
        let set = self.values.iter().filter(|(name, value)| is_credential(name) && !value.trim().is_empty());
        set.map(|(name, value)| (name.clone(), SecretString::from(value.trim().to_owned()))).collect()
    }

    fn check_stripe(&mut self, config: &Config) {
        let present = !config.stripe_secret_key.expose_secret().is_empty();
        if !present || config.stripe_webhook_secret.expose_secret().is_empty() {
            return;
        }
        let checked = payments::check_config(
            &config.stripe_secret_key,
            &config.stripe_webhook_secret,
            config.production(),
        );
        for fault in checked.err().unwrap_or_default() {
            self.faults.push(format!("Stripe: {fault}"));
        }
    }

    fn check_production(&mut self, config: &Config) {
        if !config.production() {
            return;
        }
        if config.simulator_url.is_some() {
            self.fault("FAREBOX_SIMULATOR_URL", "simulators are refused in production");
        }
        if config.stripe_api_base.is_some() {
            self.fault("FAREBOX_STRIPE_API_BASE", "a payments simulator is refused in production");
        }
        for (name, url) in [("FAREBOX_SITE_URL", &config.site_url), ("FAREBOX_STAFF_URL", &config.staff_url)]
        {
            if !url.starts_with("https://") {
                self.fault(name, "must be https in production");
            }
        }
    }

    fn unknown(&mut self) {
        let known = |name: &str| SETTINGS.iter().any(|(setting, _)| *setting == name);
        // Test and development scripts export names of their own.
        const FOREIGN: [&str; 3] = ["FAREBOX_TEST_", "FAREBOX_DEV_", "FAREBOX_BIN"];
        let point = |name: &str| cfg!(debug_assertions) && name == FAILPOINTS;
        let strange: Vec<String> = self
            .values
            .keys()
            .filter(|name| name.starts_with("FAREBOX_") && !known(name) && !point(name))
            .filter(|name| !FOREIGN.iter().any(|prefix| name.starts_with(prefix)))
            .cloned()
            .collect();
        for name in strange {
            tracing::warn!(name, "unknown setting");
        }
    }
}

fn parse_hex(text: &str) -> Option<Secret32> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(Secret32(bytes))
}

fn cores() -> u32 {
    std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok()).unwrap_or(1)
}

fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// A TOML file of plain values: `database_url = "…"` is `FAREBOX_DATABASE_URL`.
fn read_file(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let table: toml::Table = text.parse().map_err(|error| format!("{}: {error}", path.display()))?;
    let mut values = BTreeMap::new();
    for (name, value) in table {
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            _ => return Err(format!("{}: {name} must be a plain value", path.display())),
        };
        values.insert(format!("FAREBOX_{}", name.to_uppercase()), text);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> BTreeMap<String, String> {
        let hex = "0123456789abcdef".repeat(4);
        [
            ("FAREBOX_MODE", "development".to_owned()),
            ("FAREBOX_DATABASE_URL", "postgres://x".to_owned()),
            ("FAREBOX_REDIS_URL", "redis://x".to_owned()),
            ("FAREBOX_KEY_PEPPER", format!("v2:{hex},v1:{hex}")),
            ("FAREBOX_SEAL_KEY", hex.clone()),
            ("FAREBOX_JWT_SEED", hex),
            ("FAREBOX_STRIPE_SECRET_KEY", "sk_test_0123456789abcdef".to_owned()),
            ("FAREBOX_STRIPE_WEBHOOK_SECRET", format!("whsec_{}", "a".repeat(48))),
            ("OPENAI_API_KEY", "sk-x".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    #[test]
    fn a_sound_configuration_is_read_whole() {
        let config = Config::from_values(sound()).unwrap();
        assert_eq!(config.peppers.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [2, 1]);
        assert!(config.credentials.contains_key("OPENAI_API_KEY"));
        let shown = format!("{config:?}");
        for secret in ["sk-x", "sk_test", "whsec", "postgres://", "239, 1", "[1, 35"] {
            assert!(!shown.contains(secret), "{secret}");
        }
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let mut values = sound();
        for (name, value) in [
            ("FAREBOX_MODE", "staging"),
            ("FAREBOX_REDIS_URL", ""),
            ("FAREBOX_KEY_PEPPER", "v1:short"),
            ("FAREBOX_SEAL_KEY", "zz"),
            ("FAREBOX_PUBLIC_LISTEN", "here"),
            ("FAREBOX_WORKERS", "0"),
            ("FAREBOX_TRUST_PROXY", "maybe"),
            ("FAREBOX_SITE_URL", "farebox.example/path"),
        ] {
            values.insert(name.to_owned(), value.to_owned());
        }
        let faults = Config::from_values(values).unwrap_err().0;
        for name in [
            "MODE",
            "REDIS_URL",
            "KEY_PEPPER",
            "SEAL_KEY",
            "PUBLIC_LISTEN",
            "WORKERS",
            "TRUST_PROXY",
            "SITE_URL",
        ] {
            assert!(faults.iter().any(|fault| fault.contains(name)), "{name}: {faults:?}");
        }
    }

    #[test]
    fn production_refuses_simulators_and_plain_http() {
        let mut values = sound();
        values.insert("FAREBOX_MODE".to_owned(), "production".to_owned());
        values.insert("FAREBOX_SIMULATOR_URL".to_owned(), "http://127.0.0.1:1".to_owned());
        values.insert("FAREBOX_STRIPE_API_BASE".to_owned(), "http://127.0.0.1:2".to_owned());
        let faults = Config::from_values(values).unwrap_err().0;
        for name in ["SIMULATOR_URL", "STRIPE_API_BASE", "SITE_URL", "STAFF_URL", "Stripe"] {
            assert!(faults.iter().any(|fault| fault.contains(name)), "{name}: {faults:?}");
        }
    }
}
