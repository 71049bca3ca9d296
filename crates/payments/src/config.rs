//! The configuration of Stripe, checked as a whole before anything is sent: every fault is named at once.
//!
//! It reads no file and no environment; the server passes what it found.

use kernel::{ExposeSecret, SecretString};
use std::time::Duration;

/// Characters after `whsec_` in Stripe's own webhook secrets; shorter ones are somebody's invention.
const WEBHOOK_SECRET_LENGTH: usize = 32;

/// Where and as whom Stripe is called.
#[derive(Debug, Clone)]
pub struct StripeConfig {
    /// `sk_test_…`, `sk_live_…`, or a restricted `rk_…`.
    pub secret_key: SecretString,
    /// Stripe's own address when absent; that of a simulator in development.
    pub base_url: Option<String>,
    /// For one answer, connecting included.
    pub timeout: Duration,
}

impl StripeConfig {
    /// Long enough for Stripe's slowest calls, short enough for a person who waits for a page.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// Stripe itself, with the usual patience.
    #[must_use]
    pub fn new(secret_key: SecretString) -> Self {
        Self { secret_key, base_url: None, timeout: Self::TIMEOUT }
    }
}

/// What is wrong with the configuration. The texts never repeat a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFault {
    #[error("the Stripe secret key is missing")]
    KeyMissing,
    #[error("the Stripe secret key must start with sk_test_, sk_live_, rk_test_ or rk_live_")]
    KeyForm,
    #[error("a live Stripe key must not be used in development: it moves real money")]
    LiveKeyInDevelopment,
    #[error("a Stripe test key must not be used in production: anybody could pay with a test card")]
    TestKeyInProduction,
    #[error("the Stripe webhook secret is missing: anybody could announce payments")]
    WebhookSecretMissing,
    #[error("the Stripe webhook secret must start with whsec_ and have at least 32 characters after it")]
    WebhookSecretForm,
    #[error("the address of the payment provider is not an http or https address")]
    Address,
    #[error("a live Stripe key must not travel over plain http")]
    PlainAddress,
}

/// Checks both secrets. Returns whether real money moves (`live`), or every fault found.
///
/// Production means live keys and development means test keys, without exception: a shop that grants credit
/// for test cards, and a laptop that charges real ones, are both one mistyped variable away.
pub fn check_config(
    secret_key: &SecretString,
    webhook_secret: &SecretString,
    production: bool,
) -> Result<bool, Vec<ConfigFault>> {
    let key = key_fault(secret_key.expose_secret(), production);
    let webhook = webhook_fault(webhook_secret.expose_secret());
    let faults: Vec<_> = [key, webhook].into_iter().flatten().collect();
    if faults.is_empty() { Ok(is_live(secret_key)) } else { Err(faults) }
}

/// Whether a key moves real money.
#[must_use]
pub fn is_live(secret_key: &SecretString) -> bool {
    let key = secret_key.expose_secret();
    key.starts_with("sk_live_") || key.starts_with("rk_live_")
}

fn key_fault(key: &str, production: bool) -> Option<ConfigFault> {
    let body = |prefix: &str| key.strip_prefix(prefix);
    let live = body("sk_live_").or_else(|| body("rk_live_"));
    let test = body("sk_test_").or_else(|| body("rk_test_"));
    match (live, test) {
        _ if key.is_empty() => Some(ConfigFault::KeyMissing),
        (Some(rest), _) | (_, Some(rest)) if !is_token(rest) => Some(ConfigFault::KeyForm),
        (None, None) => Some(ConfigFault::KeyForm),
        (Some(_), _) if !production => Some(ConfigFault::LiveKeyInDevelopment),
        (None, Some(_)) if production => Some(ConfigFault::TestKeyInProduction),
        _ => None,
    }
}

fn webhook_fault(secret: &str) -> Option<ConfigFault> {
    if secret.is_empty() {
        return Some(ConfigFault::WebhookSecretMissing);
    }
    let rest = secret.strip_prefix("whsec_").filter(|rest| rest.len() >= WEBHOOK_SECRET_LENGTH);
    if rest.is_some_and(is_token) { None } else { Some(ConfigFault::WebhookSecretForm) }
}

/// Some visible ASCII: a quote's closing mark, a space or a line break in a variable is a copying mistake.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\''))
}
