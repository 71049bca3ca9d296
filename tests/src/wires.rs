//! The wires of a stack: proxies between the gateways and what they stand on, which a test can hurt.

use anyhow::Context as _;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use testkit::proxy::Proxy;

/// From the gateways to their stores and providers.
#[derive(Debug)]
pub struct Wires {
    pub redis: Proxy,
    pub postgres: Proxy,
    pub providers: Proxy,
}

impl Wires {
    /// Puts wires in the way of the addresses in an environment.
    pub(crate) async fn over(environment: &mut BTreeMap<String, String>) -> anyhow::Result<Self> {
        let mut wire = async |name: &str| -> anyhow::Result<Proxy> {
            let address = environment.get_mut(name).with_context(|| format!("{name} is not set"))?;
            let mut url = reqwest::Url::parse(address)?;
            let port = url.port().with_context(|| format!("{name} has no port"))?;
            let proxy = Proxy::start((Ipv4Addr::LOCALHOST, port).into()).await?;
            anyhow::ensure!(url.set_port(Some(proxy.address().port())).is_ok(), "{name} takes no port");
            url.as_str().trim_end_matches('/').clone_into(address);
            Ok(proxy)
        };
        Ok(Self {
            redis: wire("FAREBOX_REDIS_URL").await?,
            postgres: wire("FAREBOX_DATABASE_URL").await?,
            providers: wire("FAREBOX_SIMULATOR_URL").await?,
        })
    }
}
