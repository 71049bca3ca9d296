//! Where the pages stand: their own address, the API's address, what a browser may be sent to, and which
//! of the two sites (the public one or the staff desk) this is.

use actix_web::HttpRequest;

/// Which of the two sites. They share looks, never sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Realm {
    Public,
    Staff,
}

/// A site as it was configured. All addresses are absolute and without a trailing slash; links that leave
/// the page are built from them, never from a request's `Host`.
#[derive(Debug, Clone)]
pub struct Site {
    pub realm: Realm,
    /// Scheme, host and port, e.g. `https://farebox.example`.
    pub url: String,
    /// What clients set as their base URL, e.g. `https://farebox.example/api/v1`.
    pub api_base: String,
    /// Origins of the payment provider's hosted pages; a form may end there.
    pub checkout_origins: Vec<String>,
    /// Some providers are simulated: every page says so.
    pub simulated: bool,
    /// Environment variables for which we have a credential. `None`: every provider is reached (simulated ones
    /// included), so no endpoint needs the customer's own key.
    pub credentials: Option<std::sync::Arc<std::collections::BTreeSet<String>>>,
    /// Shows `/style`, the page of all components.
    pub development: bool,
    /// An edge proxy of ours appends the client's address to `X-Forwarded-For`.
    pub trust_proxy: bool,
    /// A form whose body has not arrived after this long is refused, so that nobody holds a connection for ever.
    pub form_patience: std::time::Duration,
}

impl Site {
    #[must_use]
    pub fn https(&self) -> bool {
        self.url.starts_with("https://")
    }

    /// `__Host-` keeps other hosts of the domain from planting cookies; browsers accept it over TLS only.
    #[must_use]
    pub fn cookie_name(&self, base: &str) -> String {
        let realm = match self.realm {
            Realm::Public => "fb",
            Realm::Staff => "fb_staff",
        };
        if self.https() { format!("__Host-{realm}_{base}") } else { format!("{realm}_{base}") }
    }

    /// Whether a provider works only with the customer's own key, because we have none.
    #[must_use]
    pub fn needs_own_key(&self, provider: &catalog::Provider) -> bool {
        match (&self.credentials, &provider.credential_env) {
            (Some(known), Some(name)) => !known.contains(name),
            (None, _) | (_, None) => false,
        }
    }

    /// Whether a request's `Origin` is this site. The local names of one machine are the same site.
    #[must_use]
    pub fn is_own_origin(&self, origin: &str) -> bool {
        let local = |text: &str| text.replace("//127.0.0.1", "//localhost").replace("//[::1]", "//localhost");
        local(&origin.to_ascii_lowercase()) == local(&self.url.to_ascii_lowercase())
    }

    /// The address behind a request, for limits. Of a forwarded list only the last entry, which our own
    /// proxy wrote, is believed.
    #[must_use]
    pub fn client_address(&self, request: &HttpRequest) -> String {
        let forwarded = request.headers().get("x-forwarded-for").and_then(|value| value.to_str().ok());
        let last = forwarded.and_then(|list| list.rsplit(',').next()).map(|text| text.trim().to_owned());
        let peer = || request.peer_addr().map(|address| address.ip().to_string());
        let address = if self.trust_proxy { last.or_else(peer) } else { peer() };
        address.unwrap_or_else(|| "unknown".to_owned())
    }

    /// Scheme, host and port of the API, for the content security policy.
    #[must_use]
    pub fn api_origin(&self) -> &str {
        let start = self.api_base.find("://").map_or(0, |at| at + 3);
        let end = self.api_base.char_indices().find(|(at, c)| *at >= start && *c == '/').map(|(at, _)| at);
        end.and_then(|at| self.api_base.get(..at)).unwrap_or(&self.api_base)
    }
}

/// A path to go to after signing in: only one of our own. Anything else becomes `None`.
#[must_use]
pub fn local_path(next: &str) -> Option<&str> {
    let clean = next.len() <= 500 && next.chars().all(|c| !c.is_control() && c != '\\' && !c.is_whitespace());
    (clean && next.starts_with('/') && !next.starts_with("//")).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(url: &str) -> Site {
        Site {
            realm: Realm::Public,
            url: url.to_owned(),
            api_base: format!("{url}/api/v1"),
            checkout_origins: Vec::new(),
            simulated: false,
            development: false,
            credentials: None,
            trust_proxy: false,
            form_patience: std::time::Duration::from_secs(1),
        }
    }

    #[test]
    fn only_own_paths_survive_as_a_way_back() {
        for next in ["/", "/keys", "/logs?model=a%2Fb&before=gen-1"] {
            assert_eq!(local_path(next), Some(next));
        }
        for next in [
            "",
            "keys",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/\t/evil.example",
            "/a b",
            "/a\nSet-Cookie: x",
            "javascript:alert(1)",
        ] {
            assert_eq!(local_path(next), None, "{next}");
        }
    }

    #[test]
    fn an_origin_is_ours_only_when_scheme_host_and_port_agree() {
        let local = site("http://localhost:8080");
        for origin in ["http://localhost:8080", "http://127.0.0.1:8080", "http://LOCALHOST:8080"] {
            assert!(local.is_own_origin(origin), "{origin}");
        }
        for origin in [
            "http://localhost:8081",
            "https://localhost:8080",
            "null",
            "",
            "http://localhost:8080.evil.example",
        ] {
            assert!(!local.is_own_origin(origin), "{origin}");
        }
        assert!(!site("https://farebox.example").is_own_origin("https://farebox.example.evil.example"));
    }

    #[test]
    fn cookies_are_bound_to_the_host_over_tls() {
        assert_eq!(site("https://farebox.example").cookie_name("session"), "__Host-fb_session");
        assert_eq!(site("http://localhost:8080").cookie_name("session"), "fb_session");
        assert_eq!(site("https://farebox.example").api_origin(), "https://farebox.example");
    }
}
