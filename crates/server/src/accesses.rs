//! How providers are reached: with our credential, or in development through the simulator.

use crate::config::Config;
use catalog::Provider;
use gateway::stage::call::Accesses;
use gateway::upstream::Access;
use kernel::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Credentials and the simulator's address, fixed at start.
pub(crate) struct ConfiguredAccesses {
    credentials: BTreeMap<String, SecretString>,
    simulator_url: Option<String>,
}

impl ConfiguredAccesses {
    pub(crate) fn new(config: &Config) -> Self {
        Self { credentials: config.credentials.clone(), simulator_url: config.simulator_url.clone() }
    }

    /// Whether any provider of the catalog is answered by the simulator.
    pub(crate) fn simulates(&self) -> bool {
        self.simulator_url.is_some()
    }

    /// The credentials that tell which providers we reach by ourselves; `None` where all are reached.
    pub(crate) fn credentials(&self) -> Option<Arc<BTreeSet<String>>> {
        let known = || Arc::new(self.credentials.keys().cloned().collect());
        if self.simulates() { None } else { Some(known()) }
    }

    fn credential(&self, provider: &Provider) -> Option<SecretString> {
        provider.credential_env.as_deref().and_then(|name| self.credentials.get(name)).cloned()
    }

    fn simulated(&self, provider: &Provider) -> Option<Access> {
        let base = self.simulator_url.as_ref()?;
        let base_url = format!("{}/{}/v1", base.trim_end_matches('/'), provider.slug);
        Some(Access { base_url, key: Some(SecretString::from("sk-simulated")), simulated: true })
    }
}

impl Accesses for ConfiguredAccesses {
    fn own(&self, provider: &Provider) -> Option<Access> {
        let base_url = provider.base_url.trim_end_matches('/').to_owned();
        match (self.credential(provider), &provider.credential_env) {
            (Some(key), _) => Some(Access { base_url, key: Some(key), simulated: false }),
            // A server of the operator's own that needs no credential.
            (None, None) => Some(Access { base_url, key: None, simulated: false }),
            (None, Some(_)) => self.simulated(provider),
        }
    }

    fn reaches(&self, provider: &Provider) -> bool {
        let known = |name: &String| self.credentials.contains_key(name);
        self.simulates() || provider.credential_env.as_ref().is_none_or(known)
    }

    fn for_customer_key(&self, provider: &Provider) -> Access {
        let real = Access {
            base_url: provider.base_url.trim_end_matches('/').to_owned(),
            key: None,
            simulated: false,
        };
        // Where the simulator stands in for a provider, it does so for customers' keys too: nothing real is called.
        match self.credential(provider) {
            None if provider.credential_env.is_some() => self.simulated(provider).unwrap_or(real),
            _ => real,
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_provider_of_the_built_in_price_list_has_a_dialect_and_readable_quirks() {
        let content = catalog::seed::draft().unwrap();
        assert!(content.providers.len() >= 40);
        for provider in &content.providers {
            assert!(dialects::registry::find(&provider.dialect).is_some(), "{}", provider.slug);
            if !provider.quirks.is_null() {
                let quirks: Result<dialects::Quirks, _> = serde_json::from_value(provider.quirks.clone());
                assert!(quirks.is_ok(), "{}: {quirks:?}", provider.slug);
            }
        }
    }
}
